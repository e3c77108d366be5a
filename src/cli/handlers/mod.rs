//! `eventferry handlers`: who is told of what was imported, and what became of the messages.

mod document;
mod list;
mod replay;
mod show;
mod switch;
mod test;

use std::io::Write;

use chrono::{DateTime, NaiveDate, NaiveTime};
use clap::{Args, Subcommand};

use super::show::safe;
use super::{Context, Exit, Failure};
use crate::clock::Timestamp;
use crate::db::Database;
use crate::store::deliveries;

pub(super) use document::{HandlerDocument, gather, state_line};

/// Event handlers.
#[derive(Debug, Subcommand)]
pub(super) enum HandlersCommand {
    /// List the handlers with what waits for them
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show a handler with its undelivered messages and dead letters, or one message
    Show(ShowArgs),
    /// Send messages again: one, or the dead letters of a handler
    Replay(ReplayArgs),
    /// Let the messages of a handler wait
    ///
    /// Imports go on until as many wait as `max_pending` allows.
    Pause(NameArgs),
    /// Deliver messages again to a handler that is paused, switched off or left alone, and try at once what waits
    Resume(NameArgs),
    /// Send a handler a message that means nothing, and tell what it says
    ///
    /// Nothing of it is kept. Exit code 3 where it was not taken.
    Test(NameArgs),
}

/// Which handler.
#[derive(Debug, Args)]
pub(super) struct NameArgs {
    /// Its name
    #[arg(value_name = "NAME")]
    name: String,
}

/// What to show.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  eventferry handlers show tickets\n  eventferry handlers show 0199a0f2-7c3e-7bd1-8a44-000000000001 --json"
)]
pub(super) struct ShowArgs {
    /// The name of a handler, or the id of a message or its beginning
    #[arg(value_name = "NAME|ID")]
    what: String,
    /// At most so many messages of each state
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    limit: u32,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What to send again.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  eventferry handlers replay 0199a0f2-7c3e-7bd1-8a44-000000000001\n  eventferry handlers replay --handler tickets\n  eventferry handlers replay --handler tickets --since 2026-11-28 --delivered"
)]
pub(super) struct ReplayArgs {
    /// The id of one message or its beginning, whether it was delivered or put aside
    #[arg(value_name = "ID", required_unless_present = "handler", conflicts_with = "handler")]
    id: Option<String>,
    /// The dead letters of this handler
    #[arg(long, value_name = "NAME")]
    handler: Option<String>,
    /// Only those written at or after this time (UTC): 2026-11-28 or 2026-11-28T14:00:00Z
    #[arg(long, value_name = "TIME", value_parser = time_of, requires = "handler")]
    since: Option<Timestamp>,
    /// Only those written before this time
    #[arg(long, value_name = "TIME", value_parser = time_of, requires = "handler")]
    until: Option<Timestamp>,
    /// Those that were delivered as well, for a receiver that has lost them
    #[arg(long, requires = "handler")]
    delivered: bool,
}

fn time_of(text: &str) -> Result<Timestamp, String> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok(time.to_utc());
    }
    match text.parse::<NaiveDate>() {
        Ok(date) => Ok(date.and_time(NaiveTime::MIN).and_utc()),
        Err(_) => Err("is neither a date (2026-11-28) nor a time (2026-11-28T14:00:00Z)".to_owned()),
    }
}

/// Runs one of them.
pub(super) async fn run(command: &HandlersCommand, context: &Context, out: &mut dyn Write) -> Result<Exit, Failure> {
    if let HandlersCommand::Test(args) = command {
        return test::run(args, context, out).await;
    }
    let database = context.open_database().await?;
    match command {
        HandlersCommand::List { json } => list::run(*json, context, &database, out).await?,
        HandlersCommand::Show(args) => show::run(args, context, &database, out).await?,
        HandlersCommand::Replay(args) => replay::run(args, context, &database, out).await?,
        HandlersCommand::Pause(args) => switch::pause(args, context, &database, out).await?,
        HandlersCommand::Resume(args) => switch::resume(args, context, &database, out).await?,
        HandlersCommand::Test(_) => {}
    }
    database.close().await;
    Ok(Exit::AllIn)
}

/// The whole id of the message that is meant; none where there is no such message.
async fn message_id(database: &Database, prefix: &str) -> Result<Option<String>, Failure> {
    /// Ids that are named where several begin alike.
    const NAMED: usize = 10;
    let mut ids = deliveries::beginning_with(database, prefix, i64::try_from(NAMED).unwrap_or(i64::MAX)).await?;
    match ids.as_slice() {
        [] | [_] => Ok(ids.pop()),
        several => Err(Failure::could_not_run(format!(
            "several messages begin with `{}`, write more of the one you mean:\n  {}{}",
            safe(prefix),
            several.join("\n  "),
            if several.len() == NAMED { "\n  …" } else { "" }
        ))),
    }
}

/// Why there is nothing to do with a handler.
fn unknown(name: &str) -> Failure {
    Failure::could_not_run(format!(
        "there is no handler `{}`; `eventferry handlers list` shows those of the configuration, and those of which \
         messages are left",
        safe(name)
    ))
}
