//! `eventferry handlers pause` and `resume`

use std::io::Write;

use super::super::show::{counted, safe};
use super::super::{Context, Failure, Loudness};
use super::{NameArgs, gather, unknown};
use crate::db::Database;
use crate::store::deliveries;
use crate::store::handlers::{self, HandlerState};

/// Lets the messages of a handler wait.
pub(super) async fn pause(
    args: &NameArgs,
    context: &Context,
    database: &Database,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    switch(args, HandlerState::Paused, Some("by hand"), context, database).await?;
    if context.loudness == Loudness::Normal {
        let name = safe(&args.name);
        writeln!(out, "Handler {name} is paused; `eventferry handlers resume {name}` goes on.")?;
    }
    Ok(())
}

/// Delivers messages again.
pub(super) async fn resume(
    args: &NameArgs,
    context: &Context,
    database: &Database,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    switch(args, HandlerState::On, None, context, database).await?;
    let now = context.clock.now();
    let mut tx = database.begin().await?;
    handlers::wake(&mut tx, &args.name).await?;
    let hurried = deliveries::hurry(&mut tx, &args.name, now).await?;
    tx.commit().await?;
    if context.loudness == Loudness::Normal {
        let name = safe(&args.name);
        let waiting = counted(hurried, "message that was put off is", "messages that were put off are");
        writeln!(out, "Handler {name} is on; {waiting} tried at once.")?;
        let dead = gather(&context.settings, database)
            .await?
            .iter()
            .find(|one| one.name == args.name)
            .map_or(0, |one| one.dead);
        if dead > 0 {
            let dead = counted(dead, "dead letter stays", "dead letters stay");
            writeln!(out, "{dead} aside; `eventferry handlers replay --handler {name}` sends them again.")?;
        }
    }
    Ok(())
}

async fn switch(
    args: &NameArgs,
    state: HandlerState,
    reason: Option<&str>,
    context: &Context,
    database: &Database,
) -> Result<(), Failure> {
    if gather(&context.settings, database).await?.iter().all(|handler| handler.name != args.name) {
        return Err(unknown(&args.name));
    }
    let now = context.clock.now();
    handlers::begin(database, &args.name, now).await?;
    let mut tx = database.begin().await?;
    handlers::set_state(&mut tx, &args.name, state, reason, now).await?;
    Ok(tx.commit().await?)
}
