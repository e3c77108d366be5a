//! `eventferry jobs`: one per dropped archive.

mod cancel;
mod document;
mod list;
mod retry;
mod show;

use std::io::Write;

use clap::{Args, Subcommand};

use super::show::safe;
use super::{Context, Exit, Failure};
use crate::db::Database;
use crate::model::JobState;
use crate::store::jobs::{self, JobView, Lookup};

pub(super) use document::{JobDocument, describe};

/// Jobs: one per dropped archive.
#[derive(Debug, Subcommand)]
pub(super) enum JobsCommand {
    /// List jobs, the newest first
    List(ListArgs),
    /// Show everything about one job
    Show(ShowArgs),
    /// Import the archive of a job that has ended once more, as a new job
    ///
    /// The archive is copied from `done` or `rejected`. The same bytes are imported again even if they are in already.
    Retry(JobArgs),
    /// Stop a job
    ///
    /// It stops between two chunks. An event that it has made is removed again; an update stops where it is, and the
    /// result says where.
    Cancel(JobArgs),
}

/// Which jobs to list.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  eventferry jobs list --state failed --state partial\n  eventferry jobs list --account berlin --json"
)]
pub(super) struct ListArgs {
    /// Only this account's
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// Only those in this state; may be repeated
    #[arg(long, value_name = "STATE", value_parser = state_parser())]
    state: Vec<JobState>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    limit: u64,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Which job to show.
#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    /// Its id, or the beginning of it
    #[arg(value_name = "ID")]
    id: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Which job.
#[derive(Debug, Args)]
pub(super) struct JobArgs {
    /// Its id, or the beginning of it
    #[arg(value_name = "ID")]
    id: String,
}

/// Runs one of them.
pub(super) async fn run(command: &JobsCommand, context: &Context, out: &mut dyn Write) -> Result<Exit, Failure> {
    let database = context.open_database().await?;
    match command {
        JobsCommand::List(args) => list::run(args, context, &database, out).await?,
        JobsCommand::Show(args) => show::run(args, context, &database, out).await?,
        JobsCommand::Retry(args) => retry::run(args, context, &database, out).await?,
        JobsCommand::Cancel(args) => cancel::run(args, context, &database, out).await?,
    }
    database.close().await;
    Ok(Exit::AllIn)
}

/// The job of an id or of the beginning of one.
///
/// # Errors
/// Where there is none, or several.
async fn find(database: &Database, id: &str) -> Result<JobView, Failure> {
    match jobs::get(database, id).await? {
        Lookup::Found(job) => Ok(*job),
        Lookup::Ambiguous(ids) => {
            let ids: Vec<String> = ids.iter().map(|id| format!("\n  {id}")).collect();
            Err(Failure::could_not_run(format!(
                "several jobs begin with `{}`; say more of the id:{}",
                safe(id),
                ids.concat()
            )))
        }
        Lookup::Unknown => Err(Failure::could_not_run(format!(
            "there is no job `{}`; `eventferry jobs list` shows the newest",
            safe(id)
        ))),
    }
}

fn state_parser() -> impl clap::builder::TypedValueParser<Value = JobState> {
    use clap::builder::TypedValueParser as _;
    clap::builder::PossibleValuesParser::new(JobState::ALL.map(JobState::as_str))
        .try_map(|word| JobState::parse(&word).ok_or("no such state"))
}
