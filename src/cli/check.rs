//! `eventferry check`: a dry run.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;

use super::{Context, Exit, Failure};

/// Reads an archive to its last byte and prints what an import would do: per dataset to create, to update, unchanged,
/// rejected and gone, and every problem. Nothing is written.
///
/// Exit code: 0 all would be in, 1 with errors, 2 it would be rejected, 3 could not run.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// The archive
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Check for this account instead of the default one
    #[arg(long, value_name = "NAME")]
    pub(crate) account: Option<String>,
    /// Print the plan and the problems as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Prints the plan for one file.
pub(super) async fn run(_args: &CheckArgs, _context: Context, _out: &mut dyn Write) -> Result<Exit, Failure> {
    Err(Failure::could_not_run("`check` is not wired yet"))
}
