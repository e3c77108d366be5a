//! `eventferry events list`

use std::io::Write;

use super::super::show::{Tone, cell, time, toned, write_json, write_table};
use super::super::{Context, Failure, Loudness};
use super::{EventDocument, ListArgs};
use crate::db::Database;
use crate::store::events;

/// Lists events.
pub(super) async fn run(
    args: &ListArgs,
    context: &Context,
    database: &Database,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    context.may_list(args.account.as_deref(), database).await?;
    // One more than is shown tells whether there are more.
    let rows = events::list(database, args.account.as_deref(), args.after, i64::from(args.limit) + 1).await?;
    let shown = usize::try_from(args.limit).unwrap_or(usize::MAX);
    let has_more = rows.len() > shown;
    let found: Vec<EventDocument> = rows.iter().take(shown).map(EventDocument::from).collect();
    if args.json {
        return Ok(write_json(out, &found)?);
    }
    write_list(&found, context, out)?;
    if let Some(last) = found.last().filter(|_| has_more && context.loudness == Loudness::Normal) {
        let style = Tone::Faint.style();
        writeln!(out, "{style}There are more; `--after {}` shows them.{style:#}", last.id)?;
    }
    Ok(())
}

fn write_list(found: &[EventDocument], context: &Context, out: &mut dyn Write) -> Result<(), Failure> {
    if found.is_empty() {
        if context.loudness == Loudness::Normal {
            writeln!(out, "No events.")?;
        }
        return Ok(());
    }
    let rows = found.iter().map(|event| {
        vec![
            cell(event.id.to_string()),
            event.name.as_deref().map_or_else(|| toned("(no name)", Tone::Faint), cell),
            cell(&event.account),
            cell(event.starts_at.map(time).unwrap_or_default()),
            cell(source(event)),
        ]
    });
    write_table(out, context.screen, &["Event", "Name", "Account", "Starts", "Source"], rows.collect())?;
    Ok(())
}

/// Server and id there: `https://example.org, 7`.
pub(super) fn source(event: &EventDocument) -> String {
    let source = &event.source;
    let server = if source.root_url.is_empty() { "unknown server" } else { &source.root_url };
    let identifier = source.identifier.as_deref().map(|identifier| format!(" ({identifier})")).unwrap_or_default();
    format!("{server}, {}{identifier}", source.id)
}
