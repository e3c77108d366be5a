//! `eventferry schedule`: when exports run.

use std::io::Write;

use clap::Subcommand;
use serde::Serialize;

use super::show::{Tone, cell, safe, time, write_heading, write_json};
use super::{Context, Exit, Failure};
use crate::clock::Timestamp;
use crate::config::ExportEntry;
use crate::model::JobId;
use crate::store::schedules::{self, ScheduleRow};
use crate::timetable::due;

/// Times that are shown ahead.
const AHEAD: usize = 5;

/// Runs that are shown back.
const BACK: i64 = 3;

/// When exports run.
#[derive(Debug, Subcommand)]
pub(super) enum ScheduleCommand {
    /// List the next five times of each export, in its zone and in UTC, and how its last runs went
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// A schedule as people see it.
#[derive(Serialize)]
struct ScheduleDocument {
    name: String,
    account: String,
    cron: String,
    zone: String,
    events: Vec<String>,
    formats: Vec<&'static str>,
    private: bool,
    next: Vec<TimeDocument>,
    last: Vec<RunDocument>,
    /// Due times that were missed and not made up for, ever.
    dropped: u64,
    failures: u64,
    failing_since: Option<Timestamp>,
    last_error: Option<String>,
}

#[derive(Serialize)]
struct TimeDocument {
    local: String,
    utc: Timestamp,
}

#[derive(Serialize)]
struct RunDocument {
    due: Timestamp,
    job: JobId,
    state: Option<&'static str>,
    summary: Option<String>,
}

/// Runs one of them.
pub(super) async fn run(command: &ScheduleCommand, context: &Context, out: &mut dyn Write) -> Result<Exit, Failure> {
    match command {
        ScheduleCommand::List { json } => {
            let documents = gather(context).await?;
            if *json {
                write_json(out, &documents)?;
            } else {
                write_list(&documents, context, out)?;
            }
        }
    }
    Ok(Exit::AllIn)
}

async fn gather(context: &Context) -> Result<Vec<ScheduleDocument>, Failure> {
    let settings = &context.settings;
    // What is due is known before there is a database.
    let database = if context.has_database()? { Some(context.open_database().await?) } else { None };
    let rows = match &database {
        Some(database) => schedules::all(database).await?,
        None => Vec::new(),
    };
    let mut documents = Vec::new();
    for entry in &settings.exports {
        let mut last = Vec::new();
        if let Some(database) = &database {
            for (due, job) in schedules::slots(database, &entry.name, BACK).await? {
                last.push(run_document(database, due, job).await?);
            }
        }
        let row = rows.iter().find(|row| row.name == entry.name);
        documents.push(document(entry, row, last, context.clock.now()));
    }
    Ok(documents)
}

async fn run_document(database: &crate::db::Database, due: Timestamp, job: JobId) -> Result<RunDocument, Failure> {
    let view = match crate::store::jobs::get(database, &job.to_string()).await? {
        crate::store::jobs::Lookup::Found(view) => Some(view),
        crate::store::jobs::Lookup::Ambiguous(_) | crate::store::jobs::Lookup::Unknown => None,
    };
    let state = view.as_ref().map(|view| view.state.as_str());
    Ok(RunDocument { due, job, state, summary: view.and_then(|view| view.summary) })
}

fn document(
    entry: &ExportEntry,
    row: Option<&ScheduleRow>,
    last: Vec<RunDocument>,
    now: Timestamp,
) -> ScheduleDocument {
    let mut next = Vec::new();
    let mut after = now;
    while next.len() < AHEAD {
        let Some(due) = due::next_after(&entry.expression, entry.zone, after) else { break };
        let local = due.with_timezone(&entry.zone).format("%a %Y-%m-%d %H:%M:%S %Z").to_string();
        next.push(TimeDocument { local, utc: due });
        after = due;
    }
    ScheduleDocument {
        name: entry.name.clone(),
        account: entry.account.clone(),
        cron: entry.expression.to_string(),
        zone: entry.zone.name().to_owned(),
        events: entry.events.clone(),
        formats: entry.formats.iter().map(|format| format.as_str()).collect(),
        private: entry.private,
        next,
        last,
        dropped: row.map_or(0, |row| row.dropped),
        failures: row.map_or(0, |row| row.failures),
        failing_since: row.and_then(|row| row.failing_since),
        last_error: row.and_then(|row| row.last_error.clone()),
    }
}

fn write_list(documents: &[ScheduleDocument], context: &Context, out: &mut dyn Write) -> Result<(), Failure> {
    if documents.is_empty() {
        writeln!(
            out,
            "No exports are configured: add an `[[export]]` block (`eventferry config defaults` shows one)."
        )?;
    }
    for (index, schedule) in documents.iter().enumerate() {
        if index > 0 {
            writeln!(out)?;
        }
        write_heading(out, &safe(&schedule.name))?;
        writeln!(out, "{} in {}, account {}", safe(&schedule.cron), schedule.zone, safe(&schedule.account))?;
        let private = if schedule.private { ", with personal data" } else { "" };
        writeln!(out, "{} of {}{private}", schedule.formats.join(", "), safe(&schedule.events.join(", ")))?;
        if schedule.failures > 0 {
            let style = Tone::Bad.style();
            let since = schedule.failing_since.map_or_else(String::new, |since| format!(" since {}", time(since)));
            let error = schedule.last_error.as_deref().unwrap_or_default();
            writeln!(out, "{style}failing{style:#}: {} times in a row{since}: {}", schedule.failures, safe(error))?;
        }
        if schedule.dropped > 0 {
            writeln!(out, "{} missed times were not made up for", schedule.dropped)?;
        }
        let rows = schedule.next.iter().map(|next| vec![cell(&next.local), cell(time(next.utc))]).collect();
        super::show::write_table(out, context.screen, &["Next", "UTC"], rows)?;
        for run in &schedule.last {
            let state = run.state.unwrap_or("unknown");
            let summary = run.summary.as_deref().map_or_else(String::new, |summary| format!(": {}", safe(summary)));
            writeln!(out, "last {} {state}{summary} (job {})", time(run.due), run.job)?;
        }
    }
    Ok(())
}
