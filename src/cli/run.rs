//! `eventferry run`: the daemon.

use std::io::Write;

use clap::Args;

use super::{Context, Exit, Failure};

/// Watches the inbox and works on what is dropped, until it is stopped.
///
/// Stopping softly (SIGTERM, Ctrl-C) ends every job after its current chunk; the next start goes on there.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Work on everything that is there, then exit
    #[arg(long)]
    pub(crate) once: bool,
}

/// Runs until it is stopped, or with `--once` until nothing is left to do.
pub(super) async fn run(_args: &RunArgs, _context: Context, _out: &mut dyn Write) -> Result<Exit, Failure> {
    Err(Failure::could_not_run("`run` is not wired yet"))
}
