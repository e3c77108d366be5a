//! `eventferry handlers replay`

use std::io::Write;

use super::super::show::{counted, safe};
use super::super::{Context, Failure, Loudness};
use super::{ReplayArgs, gather, message_id, unknown};
use crate::db::Database;
use crate::store::deliveries::{self, DeliveryState, Replay};

/// Sends messages again.
pub(super) async fn run(
    args: &ReplayArgs,
    context: &Context,
    database: &Database,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let replayed = match (&args.id, &args.handler) {
        (Some(id), _) => replay_one(id, context, database).await?,
        (None, Some(name)) => {
            if gather(&context.settings, database).await?.iter().all(|handler| handler.name != *name) {
                return Err(unknown(name));
            }
            let replay =
                Replay { handler: name.clone(), since: args.since, until: args.until, with_delivered: args.delivered };
            deliveries::replay(database, &replay, context.clock.now()).await?
        }
        // Refused by the command line.
        (None, None) => 0,
    };
    if context.loudness == Loudness::Normal {
        let messages = counted(replayed, "message is", "messages are");
        writeln!(out, "{messages} sent again, under the same id as before, as soon as a daemon looks.")?;
    }
    Ok(())
}

async fn replay_one(id: &str, context: &Context, database: &Database) -> Result<u64, Failure> {
    let found = match message_id(database, id).await? {
        Some(id) => deliveries::get(database, &id).await?,
        None => None,
    };
    let Some((view, _)) = found else {
        return Err(Failure::could_not_run(format!(
            "there is no message `{}`; `eventferry handlers show HANDLER` lists some",
            safe(id)
        )));
    };
    if view.state == DeliveryState::Pending {
        return Err(Failure::refused(format!(
            "message {} is not sent again: it still waits for its first delivery, which comes by itself; \
             `eventferry handlers show {}` says what it waits for",
            view.message_id,
            safe(&view.handler)
        )));
    }
    Ok(u64::from(deliveries::replay_one(database, &view.message_id, context.clock.now()).await?))
}
