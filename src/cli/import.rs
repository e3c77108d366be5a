//! `eventferry import`: archives that are at hand.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;

use super::{Context, Exit, Failure};

/// Imports archives now. Each is copied, never moved, and goes the same way as a dropped one: job, result files, mail.
///
/// Exit code: 0 all in (or the same bytes were in already), 1 in with errors, 2 rejected, 3 could not run; the worst of all files.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  eventferry import conference.zip\n  eventferry import --account berlin --again *.zip"
)]
pub(crate) struct ImportArgs {
    /// The archives
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Import for this account instead of the default one
    #[arg(long, value_name = "NAME")]
    pub(crate) account: Option<String>,
    /// Import the same bytes again
    #[arg(long)]
    pub(crate) again: bool,
    /// Update the event with this id, whatever the archive's own ids say
    #[arg(long, value_name = "ID")]
    pub(crate) event: Option<i64>,
    /// Print each result as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Imports the files one after the other; the worst outcome is the exit code.
pub(super) async fn run(_args: &ImportArgs, _context: Context, _out: &mut dyn Write) -> Result<Exit, Failure> {
    Err(Failure::could_not_run("`import` is not wired yet"))
}
