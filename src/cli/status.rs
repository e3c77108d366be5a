//! `eventferry status`: everything at once.

mod gather;

use std::io::Write;

use clap::Args;

use super::daemon::Daemon;
use super::handlers::{HandlerDocument, state_line};
use super::jobs::describe;
use super::show::{
    Cell, Tone, cell, counted, grouped, lasting, safe, short_ids, size, time, time_and_age, toned, write_facts,
    write_heading, write_json, write_table,
};
use super::{Context, Exit, Failure};
use crate::clock::Timestamp;
use crate::model::JobState;

use gather::{DatabaseStatus, Gathered, ScheduleStatus, Status, gather};

/// Everything at once: the daemon, jobs with their progress, files in the inbox that wait or are incomplete, mails,
/// free space, and what the admin was told last.
///
/// Exit code 0 where all of it could be read, 3 where the database could not.
#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Prints everything at once.
pub(super) async fn run(args: &StatusArgs, context: &Context, out: &mut dyn Write) -> Result<Exit, Failure> {
    let Gathered { status, trouble } = gather(context).await;
    match (args.json, trouble) {
        (true, trouble) => {
            write_json(out, &status)?;
            trouble.map_or(Ok(Exit::AllIn), Err)
        }
        (false, trouble) => {
            write_status(&status, context, out)?;
            // The page has said why.
            Ok(trouble.map_or(Exit::AllIn, |failure| failure.exit()))
        }
    }
}

/// When an export runs next, and whether it fails.
fn schedule_line(schedule: &ScheduleStatus) -> Cell {
    let next = schedule.next.map_or_else(|| "never again".to_owned(), |next| format!("next {}", time(next)));
    let line = format!("{}, {next}", schedule.name);
    if schedule.failures == 0 {
        return cell(line);
    }
    let error = schedule.last_error.as_deref().unwrap_or_default();
    toned(format!("{line}; failed {} times in a row: {error}", schedule.failures), Tone::Bad)
}

/// How a handler does, and what waits for it.
fn handler_line(handler: &HandlerDocument, now: Timestamp) -> Cell {
    let (line, tone) = state_line(handler, now);
    let mut told = vec![format!("{}, {line}", handler.name)];
    if handler.undelivered > 0 {
        told.push(format!("{} undelivered", grouped(handler.undelivered)));
    }
    if handler.dead > 0 {
        told.push(counted(handler.dead, "dead letter", "dead letters"));
    }
    let tone = if handler.dead > 0 { Tone::Bad } else { tone };
    toned(told.join("; "), tone)
}

fn write_status(status: &Status, context: &Context, out: &mut dyn Write) -> Result<(), Failure> {
    let mut facts = vec![
        ("Root", cell(&status.root)),
        ("Daemon", daemon(&status.daemon)),
        ("Database", database(&status.database)),
        ("Inbox", inbox(status)),
        ("Jobs", jobs(status)),
        ("Mails", mails(status)),
    ];
    facts.extend(status.schedules.iter().map(|schedule| ("Export", schedule_line(schedule))));
    let now = context.clock.now();
    facts.extend(status.handlers.iter().map(|handler| ("Handler", handler_line(handler, now))));
    facts.extend(status.free_space.iter().map(|space| {
        let floor = format!("{} free, no job begins below {} ({})", size(space.bytes), size(space.floor), space.folder);
        ("Disk", toned(floor, if space.is_low { Tone::Bad } else { Tone::Plain }))
    }));
    write_facts(out, context.screen, facts)?;
    write_jobs(status, context, out)?;
    write_files(status, context, out)?;
    write_mails(status, context, out)?;
    write_told(status, context, out)
}

fn daemon(daemon: &Daemon) -> Cell {
    match daemon {
        Daemon::Running { process } => toned(format!("running (process {process})"), Tone::Good),
        Daemon::Stopped => toned("not running on this machine; `eventferry run` starts it", Tone::Doubtful),
        Daemon::Unknown { why } => toned(format!("unknown: {why}"), Tone::Doubtful),
    }
}

fn database(database: &DatabaseStatus) -> Cell {
    match database {
        DatabaseStatus::Good { place } => cell(place),
        DatabaseStatus::Missing { place } => {
            toned(format!("{place}: not there yet, the first run or import makes it"), Tone::Doubtful)
        }
        DatabaseStatus::Failing { place, why } => toned(format!("{place}: {why}"), Tone::Bad),
    }
}

fn inbox(status: &Status) -> Cell {
    let folder = &status.inbox.folder;
    match (status.inbox.exists, &status.database) {
        (true, _) => cell(folder),
        (false, DatabaseStatus::Missing { .. }) => {
            toned(format!("{folder}: not there yet, the first run or import makes it"), Tone::Doubtful)
        }
        (false, _) => toned(
            format!("{folder}: missing, so nothing is taken; create it, or mount the file system on which it lies"),
            Tone::Bad,
        ),
    }
}

/// `1 running, 2 blocked, 371 succeeded`
fn jobs(status: &Status) -> Cell {
    let some = status.jobs.counts.iter().filter(|(_, count)| **count > 0);
    let words: Vec<String> = some.map(|(state, count)| format!("{count} {state}")).collect();
    counts_cell(status, &words)
}

/// `2 queued, 1 failed, 40 sent`
fn mails(status: &Status) -> Cell {
    let words: Vec<String> =
        status.mails.counts.iter().map(|(state, count)| format!("{count} {}", state.replace('_', " "))).collect();
    counts_cell(status, &words)
}

fn counts_cell(status: &Status, words: &[String]) -> Cell {
    match &status.database {
        DatabaseStatus::Failing { .. } => toned("unknown", Tone::Doubtful),
        _ if words.is_empty() => toned("none", Tone::Faint),
        _ => cell(words.join(", ")),
    }
}

fn write_jobs(status: &Status, context: &Context, out: &mut dyn Write) -> Result<(), Failure> {
    let unfinished = &status.jobs.unfinished;
    if unfinished.is_empty() {
        return Ok(());
    }
    write_heading(out, "Jobs that have not ended")?;
    let now = context.clock.now();
    let ids = short_ids(context.screen, &unfinished.iter().map(|job| job.id).collect::<Vec<_>>());
    let rows = unfinished.iter().zip(ids).map(|(job, id)| {
        let state = toned(job.state.as_str(), Tone::of_state(job.state));
        vec![cell(id), state, cell(&job.account), cell(&job.archive.name), cell(describe(job, now, &status.daemon))]
    });
    write_table(out, context.screen, &["Job", "State", "Account", "Archive", ""], rows.collect())?;
    let all: u64 = JobState::ALL
        .iter()
        .filter(|state| !state.is_final())
        .filter_map(|state| status.jobs.counts.get(state.as_str()))
        .sum();
    let hidden = all.saturating_sub(u64::try_from(unfinished.len()).unwrap_or(u64::MAX));
    if hidden > 0 {
        writeln!(out, "and {}; `eventferry jobs list` shows all", counted(hidden, "more", "more"))?;
    }
    Ok(())
}

fn write_files(status: &Status, context: &Context, out: &mut dyn Write) -> Result<(), Failure> {
    if status.files.is_empty() {
        return Ok(());
    }
    write_heading(out, "Files in the inbox")?;
    let now = context.clock.now();
    let rows = status.files.iter().map(|file| {
        let tone = match file.state {
            "arriving" => Tone::Busy,
            "incomplete" => Tone::Doubtful,
            _ => Tone::Bad,
        };
        let reason = file.reason.as_deref().unwrap_or("is still changing, or was just seen");
        vec![
            cell(&file.path),
            toned(file.state, tone),
            cell(size(file.bytes)),
            cell(lasting(now - file.first_seen)),
            cell(reason),
        ]
    });
    write_table(out, context.screen, &["File", "State", "Size", "For", ""], rows.collect())?;
    Ok(())
}

fn write_mails(status: &Status, context: &Context, out: &mut dyn Write) -> Result<(), Failure> {
    if status.mails.troubled.is_empty() {
        return Ok(());
    }
    write_heading(out, "Mails that wait or failed")?;
    let now = context.clock.now();
    let rows = status.mails.troubled.iter().map(|mail| {
        let (line, tone) = mail.describe(now, &status.daemon);
        let to = mail.recipient.as_deref().unwrap_or("nobody");
        vec![cell(lasting(now - mail.created_at)), cell(to), cell(&mail.subject), toned(line, tone)]
    });
    write_table(out, context.screen, &["For", "To", "Subject", ""], rows.collect())?;
    Ok(())
}

fn write_told(status: &Status, context: &Context, out: &mut dyn Write) -> Result<(), Failure> {
    if status.told_admin.is_empty() {
        return Ok(());
    }
    write_heading(out, "Told to the admin")?;
    if context.settings.mail.admin.is_none() {
        writeln!(out, "not sent: `mail.admin` is not set")?;
    }
    let now = context.clock.now();
    for told in &status.told_admin {
        writeln!(out, "{}  {}", time_and_age(told.at, now), safe(&told.title))?;
    }
    Ok(())
}
