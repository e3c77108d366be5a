//! `eventferry events`: what was imported.

mod delete;
mod list;
mod show;

use std::io::Write;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::{Context, Exit, Failure};
use crate::clock::Timestamp;
use crate::db::Database;
use crate::store::events::{self, EventRow};

/// Events that were imported.
#[derive(Debug, Subcommand)]
pub(super) enum EventsCommand {
    /// List events, in the order in which they were made
    List(ListArgs),
    /// Show one event: its source, owners, records and jobs
    Show(ShowArgs),
    /// Delete an event with everything that hangs on it
    ///
    /// Records, links, roles and references to media go; media files that nothing else uses are removed by the daemon
    /// later. Archives, results and jobs stay. Rows are deleted in chunks: where it is interrupted, the same command
    /// again deletes the rest.
    Delete(DeleteArgs),
}

/// Which events to list.
#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// Only this account's
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// Only events with a greater id
    #[arg(long, value_name = "ID", default_value_t = 0)]
    after: i64,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    limit: u32,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Which event to show.
#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    /// Its id
    #[arg(value_name = "ID")]
    id: i64,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Which event to delete.
#[derive(Debug, Args)]
pub(super) struct DeleteArgs {
    /// Its id
    #[arg(value_name = "ID")]
    id: i64,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

/// An event as `--json` prints it; fields may be added.
#[derive(Clone, Debug, Serialize)]
struct EventDocument {
    id: i64,
    account: String,
    name: Option<String>,
    starts_at: Option<Timestamp>,
    timezone: Option<String>,
    source: SourceDocument,
}

/// Where an event came from.
#[derive(Clone, Debug, Serialize)]
struct SourceDocument {
    /// The server; empty where it is not known.
    root_url: String,
    id: String,
    identifier: Option<String>,
}

impl From<&EventRow> for EventDocument {
    fn from(event: &EventRow) -> Self {
        Self {
            id: event.id,
            account: event.account.clone(),
            name: event.name.clone(),
            starts_at: event.starts_at,
            timezone: event.timezone.clone(),
            source: SourceDocument {
                root_url: event.root_url.clone(),
                id: event.source_id.clone(),
                identifier: event.identifier.clone(),
            },
        }
    }
}

/// Runs one of them.
pub(super) async fn run(command: &EventsCommand, context: &Context, out: &mut dyn Write) -> Result<Exit, Failure> {
    let database = context.open_database().await?;
    match command {
        EventsCommand::List(args) => list::run(args, context, &database, out).await?,
        EventsCommand::Show(args) => show::run(args, context, &database, out).await?,
        EventsCommand::Delete(args) => delete::run(args, context, &database, out).await?,
    }
    database.close().await;
    Ok(Exit::AllIn)
}

/// The event of an id.
///
/// # Errors
/// Where there is none.
async fn find(database: &Database, id: i64) -> Result<EventRow, Failure> {
    let missing = || Failure::could_not_run(format!("there is no event {id}; `eventferry events list` shows all"));
    events::get(database, id).await?.ok_or_else(missing)
}
