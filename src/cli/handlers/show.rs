//! `eventferry handlers show`

use std::io::Write;

use serde::Serialize;
use serde_json::Value;

use super::super::daemon;
use super::super::show::{
    Tone, cell, grouped, number, safe, time_and_age, toned, write_facts, write_heading, write_json, write_table,
};
use super::super::{Context, Failure};
use super::document::MessageDocument;
use super::{HandlerDocument, ShowArgs, gather, message_id, state_line, unknown};
use crate::db::Database;
use crate::store::deliveries::{self, Content, DeliveryState};

/// A handler with its newest messages that are not delivered.
#[derive(Serialize)]
struct Everything {
    #[serde(flatten)]
    handler: HandlerDocument,
    undelivered_messages: Vec<MessageDocument>,
    dead_letters: Vec<MessageDocument>,
}

/// A message with what it says.
#[derive(Serialize)]
struct WholeMessage {
    #[serde(flatten)]
    message: MessageDocument,
    /// What is sent.
    body: Value,
    /// The data, also where the body only refers to it.
    data: Value,
}

/// Shows a handler or a message.
pub(super) async fn run(
    args: &ShowArgs,
    context: &Context,
    database: &Database,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let handlers = gather(&context.settings, database).await?;
    if let Some(handler) = handlers.into_iter().find(|handler| handler.name == args.what) {
        return show_handler(handler, args, context, database, out).await;
    }
    let Some(id) = message_id(database, &args.what).await? else { return Err(unknown(&args.what)) };
    match deliveries::get(database, &id).await? {
        Some((view, content)) => show_message(MessageDocument::from(&view), &content, args, context, out),
        None => Err(unknown(&args.what)),
    }
}

async fn show_handler(
    handler: HandlerDocument,
    args: &ShowArgs,
    context: &Context,
    database: &Database,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let limit = i64::from(args.limit);
    let list = async |state| deliveries::list(database, &handler.name, state, limit).await;
    let undelivered = list(DeliveryState::Pending).await?.iter().map(MessageDocument::from).collect();
    let dead = list(DeliveryState::Dead).await?.iter().map(MessageDocument::from).collect();
    let everything = Everything { handler, undelivered_messages: undelivered, dead_letters: dead };
    if args.json {
        return Ok(write_json(out, &everything)?);
    }
    let now = context.clock.now();
    let handler = &everything.handler;
    let (line, tone) = state_line(handler, now);
    let mut facts = vec![("Handler", cell(&handler.name)), ("State", toned(line, tone))];
    if let (Some(kind), Some(target)) = (handler.kind, &handler.target) {
        facts.push(("Receiver", cell(format!("{kind} {target}"))));
    }
    facts.extend([
        ("Undelivered", cell(grouped(handler.undelivered))),
        ("Dead letters", cell(grouped(handler.dead))),
        ("Delivered", cell(grouped(handler.delivered))),
        (
            "Last delivered",
            cell(handler.last_delivered_at.map_or_else(|| "never".to_owned(), |at| time_and_age(at, now))),
        ),
    ]);
    write_facts(out, context.screen, facts)?;
    write_messages("Undelivered", &everything.undelivered_messages, handler.undelivered, context, out)?;
    write_messages("Dead letters", &everything.dead_letters, handler.dead, context, out)?;
    if handler.dead > 0 {
        writeln!(out, "`eventferry handlers replay --handler {}` sends the dead letters again.", safe(&handler.name))?;
    }
    Ok(())
}

fn write_messages(
    heading: &str,
    messages: &[MessageDocument],
    all: u64,
    context: &Context,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    if messages.is_empty() {
        return Ok(());
    }
    write_heading(out, heading)?;
    let (now, daemon) = (context.clock.now(), daemon::look(&context.settings));
    let rows = messages.iter().map(|message| {
        let again = message.next_attempt_at.and_then(|next| match daemon.none_here("sends it") {
            None if next > now => Some(format!("tried again {}", time_and_age(next, now))),
            none_here => none_here,
        });
        let line: Vec<String> = again.into_iter().chain(message.last_error.clone()).collect();
        let line = line.join("; ");
        vec![
            cell(&message.id),
            cell(&message.kind),
            cell(&message.subject),
            number(u64::try_from(message.attempts).unwrap_or(0)),
            toned(line, if message.next_attempt_at.is_some() { Tone::Plain } else { Tone::Bad }),
        ]
    });
    write_table(out, context.screen, &["Message", "Type", "About", "Tries", ""], rows.collect())?;
    let shown = u64::try_from(messages.len()).unwrap_or(u64::MAX);
    if all > shown {
        writeln!(out, "and {}; `--limit` shows more", super::super::show::counted(all - shown, "more", "more"))?;
    }
    Ok(())
}

fn show_message(
    message: MessageDocument,
    content: &Content,
    args: &ShowArgs,
    context: &Context,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let read = |text: &str| serde_json::from_str(text).unwrap_or_else(|_| Value::from(text));
    let body: Value = read(&content.body);
    let data = match &content.data {
        Some(data) => read(data),
        None => body["data"].clone(),
    };
    if args.json {
        return Ok(write_json(out, &WholeMessage { message, body, data })?);
    }
    let now = context.clock.now();
    let mut facts = vec![
        ("Message", cell(&message.id)),
        ("Type", cell(&message.kind)),
        ("About", cell(&message.subject)),
        ("Handler", cell(&message.handler)),
        ("State", cell(message.state)),
        ("Job", cell(&message.job)),
        ("Account", cell(&message.account)),
        ("Written", cell(time_and_age(message.created_at, now))),
        ("Failed tries", cell(message.attempts.to_string())),
    ];
    let mut add = |name, value: Option<String>| {
        if let Some(value) = value {
            facts.push((name, cell(value)));
        }
    };
    let none_here = daemon::look(&context.settings).none_here("sends it");
    add("Tried again", message.next_attempt_at.map(|at| none_here.unwrap_or_else(|| time_and_age(at, now))));
    add("Settled", message.finished_at.map(|at| time_and_age(at, now)));
    add("Last error", message.last_error.clone());
    write_facts(out, context.screen, facts)?;
    write_heading(out, "Data")?;
    for line in format!("{data:#}").lines() {
        writeln!(out, "{}", safe(line))?;
    }
    Ok(())
}
