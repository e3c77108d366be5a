//! `eventferry handlers list`

use std::io::Write;

use super::super::show::{cell, number, time_and_age, toned, write_json, write_table};
use super::super::{Context, Failure};
use super::{gather, state_line};
use crate::db::Database;

/// Lists handlers.
pub(super) async fn run(
    json: bool,
    context: &Context,
    database: &Database,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let handlers = gather(&context.settings, database).await?;
    if json {
        return Ok(write_json(out, &handlers)?);
    }
    if handlers.is_empty() {
        writeln!(
            out,
            "No handlers are configured: add a `[[handlers]]` block (`eventferry config defaults` shows one)."
        )?;
        return Ok(());
    }
    let now = context.clock.now();
    let rows = handlers.iter().map(|handler| {
        let (line, tone) = state_line(handler, now);
        vec![
            cell(&handler.name),
            cell(handler.target.as_deref().unwrap_or_default()),
            number(handler.undelivered),
            number(handler.dead),
            cell(handler.last_delivered_at.map_or_else(|| "never".to_owned(), |at| time_and_age(at, now))),
            toned(line, tone),
        ]
    });
    let heads = ["Handler", "Target", "Undelivered", "Dead", "Last delivered", ""];
    Ok(write_table(out, context.screen, &heads, rows.collect())?)
}
