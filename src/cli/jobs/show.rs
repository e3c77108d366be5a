//! `eventferry jobs show`

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;

use serde::Serialize;

use super::super::daemon;
use super::super::mail::MailDocument;
use super::super::show::{
    Cell, Tone, cell, grouped, number, path, safe, size, time, time_and_age, toned, write_facts, write_heading,
    write_json, write_table,
};
use super::super::{Context, Failure};
use super::{JobDocument, ShowArgs, describe, find};
use crate::db::Database;
use crate::model::report::{DatasetCounts, Datasets, LinkCounts, MediaCounts};
use crate::model::{Code, Dataset, JobId, Problem, Report, Severity};
use crate::outbox::{RESULT_FILE, TEXT_FILE};
use crate::store::deliveries::{self, DeliveryState};
use crate::store::jobs::JobKind;
use crate::store::{mails, problems};

/// Everything about one job.
#[derive(Serialize)]
struct Everything {
    #[serde(flatten)]
    job: JobDocument,
    /// What its result file counts; none before its end, or where the result is gone.
    counts: Option<Counts>,
    /// How many problems there are of each code, those beyond the kept ones too where the result file is there.
    problem_counts: BTreeMap<Code, u64>,
    problems: Vec<Problem>,
    mails: Vec<MailDocument>,
    /// Messages to handlers: how many are in each state, by handler.
    messages: BTreeMap<String, BTreeMap<&'static str, u64>>,
}

#[derive(Serialize)]
struct Counts {
    datasets: Datasets,
    links: LinkCounts,
    media: MediaCounts,
}

/// Shows one job.
pub(super) async fn run(
    args: &ShowArgs,
    context: &Context,
    database: &Database,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let job = JobDocument::from(&find(database, &args.id).await?);
    let everything = gather(job, context, database).await?;
    if args.json {
        return Ok(write_json(out, &everything)?);
    }
    let mut facts = facts(&everything.job, context);
    facts.extend(everything.messages.iter().map(|(handler, states)| ("Messages", messages(handler, states))));
    write_facts(out, context.screen, facts)?;
    if let Some(counts) = &everything.counts {
        write_counts(counts, context, out)?;
    }
    write_problems(&everything, context, out)?;
    write_mails(&everything.mails, context, out)
}

async fn gather(job: JobDocument, context: &Context, database: &Database) -> Result<Everything, Failure> {
    let kept = problems::list(database, job.id).await?;
    let mails = mails::of_job(database, job.id).await?.iter().map(MailDocument::from).collect();
    let mut messages: BTreeMap<String, BTreeMap<&'static str, u64>> = BTreeMap::new();
    for (handler, state, count) in deliveries::counts_of_job(database, job.id).await? {
        messages.entry(handler).or_default().insert(state.as_str(), count);
    }
    let report = read_report(&job, context);
    let mut problem_counts = BTreeMap::new();
    for problem in &kept {
        *problem_counts.entry(problem.code).or_insert(0) += 1;
    }
    let (counts, problem_counts) = match report {
        None => (None, problem_counts),
        Some(report) => {
            let counts = Counts { datasets: report.datasets, links: report.links, media: report.media };
            (Some(counts), report.problem_counts)
        }
    };
    Ok(Everything { job, counts, problem_counts, problems: kept, mails, messages })
}

/// `tickets: 3 dead, 371 delivered, 12 pending`
fn messages(handler: &str, states: &BTreeMap<&'static str, u64>) -> Cell {
    let words: Vec<String> = states.iter().map(|(state, count)| format!("{} {state}", grouped(*count))).collect();
    let tone = if states.contains_key(DeliveryState::Dead.as_str()) { Tone::Bad } else { Tone::Plain };
    toned(format!("{handler}: {}", words.join(", ")), tone)
}

/// The result file, unless it is not there yet or retention has removed it.
fn read_report(job: &JobDocument, context: &Context) -> Option<Report> {
    let folder = context.settings.folders().outbox.join(job.result_folder.as_ref()?);
    let bytes = fs::read(folder.join(RESULT_FILE)).ok()?;
    serde_json::from_slice(&bytes).ok()
}

fn facts(job: &JobDocument, context: &Context) -> Vec<(&'static str, Cell)> {
    let now = context.clock.now();
    let is_export = job.kind == JobKind::Export.as_str();
    let mut facts = vec![
        ("Job", cell(job.id.to_string())),
        ("State", toned(job.state.as_str(), Tone::of_state(job.state))),
        ("Account", cell(&job.account)),
        if is_export {
            ("Export", cell(&job.archive.name))
        } else {
            ("Archive", cell(format!("{} ({})", job.archive.name, size(job.archive.bytes))))
        },
    ];
    let mut add = |name, value: Option<String>| {
        if let Some(value) = value {
            facts.push((name, cell(value)));
        }
    };
    add("", Some(describe(job, now, &daemon::look(&context.settings))).filter(|line| !line.is_empty()));
    add("Waits since", job.waits.as_ref().map(|waits| time_and_age(waits.since, now)));
    add("Tried again", job.waits.as_ref().filter(|waits| waits.due > now).map(|waits| time_and_age(waits.due, now)));
    add(if is_export { "Asked for" } else { "Dropped" }, Some(time_and_age(job.created_at, now)));
    add("Started", job.started_at.map(time));
    add("Finished", job.finished_at.map(time));
    add("Event", job.event.as_ref().map(|event| format!("{}{}", event.id, if event.created { " (new)" } else { "" })));
    add("Repeats job", job.retry_of.map(|job| job.to_string()));
    add("See job", job.related_job.map(|job| job.to_string()));
    add("Attempts", (job.attempts > 0).then(|| grouped(job.attempts)));
    add("Outages", (job.outages > 0).then(|| grouped(job.outages)));
    add("Strikes", (job.strikes > 0).then(|| grouped(job.strikes)));
    add("Last trouble", job.last_trouble.clone());
    add("SHA-256", job.archive.sha256.clone());
    let outbox = &context.settings.folders().outbox;
    add("Results", job.result_folder.as_ref().map(|folder| path(&outbox.join(folder))));
    add("File", (!is_export).then(|| source(job, context)));
    facts
}

fn source(job: &JobDocument, context: &Context) -> String {
    let folders = context.settings.folders();
    match job.source.as_str() {
        "work" => path(&folders.work.join(job.id.to_string())),
        "moving" => format!("is being moved out of {}", path(&folders.work.join(job.id.to_string()))),
        moved => path(&folders.root.join(moved)),
    }
}

type Figure = fn(&DatasetCounts) -> u64;

/// The columns of the table of records: read and rebuilt are the sum of the others without what is gone.
const FIGURES: [(&str, Figure); 8] = [
    ("Read", |counts| counts.read),
    ("Rebuilt", |counts| counts.rebuilt),
    ("Created", |counts| counts.created),
    ("Updated", |counts| counts.updated),
    ("Unchanged", |counts| counts.unchanged),
    ("Rejected", |counts| counts.rejected),
    ("Merged", |counts| counts.merged),
    ("Gone", |counts| counts.gone),
];

/// Columns that are there only where they have a figure.
const RARE: [&str; 2] = ["Rebuilt", "Merged"];

fn write_counts(counts: &Counts, context: &Context, out: &mut dyn Write) -> Result<(), Failure> {
    write_heading(out, "Records")?;
    let has_figure = |figure: Figure| counts.datasets.values().any(|counts| figure(counts) > 0);
    let figures: Vec<&(&str, Figure)> =
        FIGURES.iter().filter(|(title, figure)| !RARE.contains(title) || has_figure(*figure)).collect();
    let row = |(dataset, counts): (&Dataset, &DatasetCounts)| {
        let figures = figures.iter().map(|(_, figure)| number(figure(counts)));
        std::iter::once(cell(dataset.as_str())).chain(figures).collect::<Vec<Cell>>()
    };
    let has_any = |(_, counts): &(&Dataset, &DatasetCounts)| **counts != DatasetCounts::default();
    let rows: Vec<_> = counts.datasets.iter().filter(has_any).map(row).collect();
    if rows.is_empty() {
        writeln!(out, "None.")?;
    } else {
        let header: Vec<&str> = std::iter::once("Dataset").chain(figures.iter().map(|(title, _)| *title)).collect();
        write_table(out, context.screen, &header, rows)?;
    }
    let media = &counts.media;
    if media.referenced > 0 {
        writeln!(
            out,
            "Media: {} referenced, {} stored, {} missing, {} on other servers.",
            grouped(media.referenced),
            grouped(media.stored),
            grouped(media.missing),
            grouped(media.remote)
        )?;
    }
    Ok(())
}

fn write_problems(everything: &Everything, context: &Context, out: &mut dyn Write) -> Result<(), Failure> {
    if everything.problem_counts.is_empty() {
        return Ok(());
    }
    write_heading(out, "Problems")?;
    let rows = everything.problem_counts.iter().map(|(code, count)| {
        let (severity, tone) = match code.severity() {
            Severity::Error => ("error", Tone::Bad),
            Severity::Warning => ("warning", Tone::Doubtful),
        };
        let first = everything.problems.iter().find(|problem| problem.code == *code);
        let example = first.map(example).unwrap_or_default();
        let hint = first.map(|problem| problem.hint.clone()).unwrap_or_default();
        vec![toned(severity, tone), cell(code.as_str()), number(*count), cell(example), cell(hint)]
    });
    let mut rows: Vec<_> = rows.collect();
    // Errors first; "error" sorts before "warning", and codes keep their order.
    rows.sort_by_key(|row: &Vec<Cell>| row.first().map(Cell::text).map(str::to_owned));
    write_table(out, context.screen, &["", "Code", "Count", "The first one", "To do"], rows)?;
    let hidden = everything.problem_counts.values().sum::<u64>() > 1;
    if let Some(folder) = everything.job.result_folder.as_ref().filter(|_| hidden) {
        let file = context.settings.folders().outbox.join(folder).join(TEXT_FILE);
        writeln!(out, "All of them are in {}", path(&file))?;
    }
    Ok(())
}

/// Where and what: `sessions, record 12 (id 7), starts_at: "x" is no date`.
fn example(problem: &Problem) -> String {
    let mut place = problem.file.clone().unwrap_or_default();
    if let Some(position) = problem.position {
        place.push_str(&format!(", record {}", grouped(position)));
    }
    if let Some(id) = &problem.source_id {
        place.push_str(&format!(" (id {id})"));
    }
    if let Some(field) = &problem.field {
        place.push_str(&format!(", {field}"));
    }
    let place = place.trim_start_matches([',', ' ']);
    if place.is_empty() { problem.message.clone() } else { format!("{place}: {}", problem.message) }
}

fn write_mails(mails: &[MailDocument], context: &Context, out: &mut dyn Write) -> Result<(), Failure> {
    let (now, daemon) = (context.clock.now(), daemon::look(&context.settings));
    for mail in mails {
        let (line, tone) = mail.describe(now, &daemon);
        let style = tone.style();
        let to = mail.recipient.as_deref().map(|to| format!(" to {}", safe(to))).unwrap_or_default();
        writeln!(out, "\nMail \"{}\"{to}: {style}{line}{style:#}", safe(&mail.subject))?;
    }
    Ok(())
}

/// The sentence that names a job in what commands print.
pub(super) fn named(id: JobId, archive: &str) -> String {
    format!("job {id} (`{}`)", safe(archive))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_example_names_place_and_message_as_far_as_they_are_known() {
        let whole = Problem::new(Code::DateInvalid, "`x` is no date", "write it so")
            .in_file("sessions")
            .at(1_200)
            .of_record("7")
            .in_field("starts_at");
        assert_eq!(example(&whole), "sessions, record 1,200 (id 7), starts_at: `x` is no date");
        assert_eq!(example(&Problem::new(Code::NotAZip, "no zip", "send one")), "no zip");
        assert_eq!(example(&Problem::new(Code::NotAZip, "no zip", "").in_field("name")), "name: no zip");
    }
}
