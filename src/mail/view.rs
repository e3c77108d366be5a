//! What the templates of a job's mail see: the report in words and numbers that are fit to print.

use std::collections::BTreeMap;

use serde::Serialize;

use super::words::{clean, counted, duration, moment, number, size};
use crate::model::report::{DatasetCounts, LinkCounts, MediaCounts};
use crate::model::words::capital;
use crate::model::{Code, Dataset, JobState, Problem, Report, Severity};

/// How many kinds of problem a mail shows, errors first.
const GROUPS: usize = 12;

/// How many problems of each kind a mail shows.
const EXAMPLES: usize = 3;

/// What a job's mail says beyond the report.
#[derive(Clone, Debug)]
pub struct JobMailContext<'a> {
    /// What this installation calls itself.
    pub public_name: &'a str,
    /// The name by which the account's people are greeted.
    pub display_name: Option<&'a str>,
    /// The folder with the result files, as the reader can find it.
    pub result_folder: &'a str,
    /// The folder that keeps the dropped file.
    pub archive_folder: Option<&'a str>,
    /// The folder into which a corrected archive is dropped.
    pub inbox_folder: Option<&'a str>,
    /// Whether `rejected.zip` lies among the results.
    pub rejected_zip: bool,
    /// What is done with `errors.csv`.
    pub errors_csv: ErrorsCsv,
}

/// Whether `errors.csv` comes with the mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorsCsv {
    /// There is none.
    Absent,
    /// It is attached.
    Attached,
    /// It is too large to be attached: its size in bytes.
    TooLarge(u64),
}

/// The variables of the templates of a job's mail. Texts from the archive are single lines without control characters.
#[derive(Clone, Debug, Serialize)]
pub(super) struct JobView {
    kind: &'static str,
    state: &'static str,
    public_name: String,
    display_name: Option<String>,
    job: String,
    account: String,
    archive: String,
    archive_size: String,
    archive_sha256: Option<String>,
    archive_folder: Option<String>,
    inbox_folder: Option<String>,
    event: Option<String>,
    event_id: Option<i64>,
    event_created: bool,
    related_job: Option<String>,
    summary: String,
    /// What follows on `was cancelled`.
    cancelled: String,
    /// Why nothing is in, in a few words.
    reason: String,
    /// Whether nobody can mend it by correcting the archive.
    fault_is_ours: bool,
    /// What came in, in a few words: `371 sessions, 341 speakers`.
    counts: String,
    rejected: u64,
    rejected_words: String,
    errors: u64,
    error_words: String,
    warnings: u64,
    warning_words: String,
    changed: bool,
    columns: Vec<&'static str>,
    datasets: Vec<DatasetRow>,
    links: Option<String>,
    media: Option<String>,
    problems: Vec<ProblemGroup>,
    /// How many kinds of problem are not shown.
    more_problem_kinds: usize,
    result_folder: String,
    rejected_zip: bool,
    /// What `rejected.zip` holds: `the rejected records and the file that could not be read`.
    left_out: String,
    /// Whether something that was written before the job's early end stays.
    stopped_midway: bool,
    errors_csv_attached: bool,
    /// The size of an `errors.csv` that is too large to be attached.
    errors_csv_size: Option<String>,
    started: String,
    finished: String,
    took: String,
}

#[derive(Clone, Debug, Serialize)]
struct DatasetRow {
    name: String,
    cells: Vec<String>,
}

#[derive(Clone, Debug, Serialize)]
struct ProblemGroup {
    code: &'static str,
    severity: &'static str,
    count: u64,
    count_words: String,
    message: Option<String>,
    hint: Option<String>,
    examples: Vec<Example>,
    /// How many problems of this kind are not shown.
    more: u64,
}

#[derive(Clone, Debug, Serialize)]
struct Example {
    /// `sessions.json, record 12, id 4711, field starts_at`
    place: String,
    value: Option<String>,
    /// What is wrong, where that is not what the group says.
    message: Option<String>,
}

/// A column of the table of counts.
struct Column {
    name: &'static str,
    count: fn(&DatasetCounts) -> u64,
}

const COLUMNS: [Column; 6] = [
    Column { name: "created", count: |counts| counts.created },
    Column { name: "updated", count: |counts| counts.updated },
    Column { name: "unchanged", count: |counts| counts.unchanged },
    Column { name: "rejected", count: |counts| counts.rejected },
    Column { name: "merged", count: |counts| counts.merged },
    Column { name: "gone", count: |counts| counts.gone },
];

pub(super) fn job_view(kind: super::MailKind, report: &Report, context: &JobMailContext<'_>) -> JobView {
    let total = |count: fn(&DatasetCounts) -> u64| -> u64 { report.datasets.values().map(count).sum() };
    let rejected = total(|counts| counts.rejected);
    let columns: Vec<&Column> = COLUMNS.iter().filter(|column| total(column.count) > 0).collect();
    let groups = problem_groups(report);
    let more_problem_kinds = groups.len().saturating_sub(GROUPS);
    let (errors, warnings) = (report.errors(), report.warnings());
    JobView {
        kind: kind.as_str(),
        state: report.state.as_str(),
        public_name: clean(context.public_name),
        display_name: context.display_name.map(clean).filter(|name| !name.is_empty()),
        job: report.job.to_string(),
        account: clean(&report.account),
        archive: clean(&report.archive.name),
        archive_size: size(report.archive.bytes),
        archive_sha256: report.archive.sha256.as_deref().map(clean),
        archive_folder: context.archive_folder.map(clean),
        inbox_folder: context.inbox_folder.map(clean),
        event: report.event.as_ref().map(|event| clean(&event.name)).filter(|name| !name.is_empty()),
        event_id: report.event.as_ref().map(|event| event.id),
        event_created: report.event.as_ref().is_some_and(|event| event.created),
        related_job: report.related_job.map(|job| job.to_string()),
        summary: sentence(&report.summary),
        cancelled: after_cancelled(&sentence(&report.summary)),
        reason: reason(report),
        fault_is_ours: [Code::Internal, Code::Quarantined].iter().any(|code| report.problem_counts.contains_key(code)),
        counts: counts_in_words(report),
        rejected,
        rejected_words: counted(rejected, "record"),
        errors,
        error_words: counted(errors, "error"),
        warnings,
        warning_words: counted(warnings, "warning"),
        changed: total(|counts| counts.created + counts.updated + counts.gone) > 0,
        datasets: dataset_rows(report, &columns),
        columns: columns.iter().map(|column| column.name).collect(),
        links: (report.state != JobState::Duplicate).then(|| links_in_words(&report.links)).flatten(),
        media: media_in_words(&report.media),
        problems: groups.into_iter().take(GROUPS).collect(),
        more_problem_kinds,
        result_folder: clean(context.result_folder),
        rejected_zip: context.rejected_zip,
        left_out: left_out(rejected, report.unparsed_files()),
        stopped_midway: report.was_stopped_midway(),
        errors_csv_attached: context.errors_csv == ErrorsCsv::Attached,
        errors_csv_size: match context.errors_csv {
            ErrorsCsv::TooLarge(bytes) => Some(size(bytes)),
            ErrorsCsv::Attached | ErrorsCsv::Absent => None,
        },
        started: moment(report.started),
        finished: moment(report.finished),
        took: duration(report.finished - report.started),
    }
}

fn left_out(rejected: u64, unparsed: u64) -> String {
    let records = if rejected == 1 { "the rejected record" } else { "the rejected records" };
    let files = if unparsed == 1 { "the file that could not be read" } else { "the files that could not be read" };
    match (rejected, unparsed) {
        (_, 0) => records.to_owned(),
        (0, _) => files.to_owned(),
        (..) => format!("{records} and {files}"),
    }
}

/// A text as a sentence of its own: a capital in front, a stop behind.
fn sentence(text: &str) -> String {
    let text = clean(text);
    let has_stop = text.is_empty() || text.ends_with(['.', '!', '?', '…']);
    capital(&text) + if has_stop { "" } else { "." }
}

/// The rest of a summary, behind words that say already that it was cancelled.
fn after_cancelled(summary: &str) -> String {
    match summary.strip_prefix("It was cancelled") {
        Some(rest) => rest.to_owned(),
        None if summary.is_empty() => ".".to_owned(),
        None => format!(". {summary}"),
    }
}

/// Why nothing of an archive is in: what its first error says, in the few words that a subject has room for.
fn reason(report: &Report) -> String {
    let errors: Vec<Code> =
        report.problem_counts.keys().copied().filter(|code| code.severity() == Severity::Error).collect();
    let first = report.problems.iter().find(|problem| problem.severity == Severity::Error);
    let words = |code: Code| -> Option<&'static str> {
        match code {
            Code::EmptyFile => Some("the file is empty"),
            Code::NotAZip => Some("not a zip file"),
            Code::Incomplete => Some("the file is not whole"),
            Code::MultiDisk => Some("a zip file in several parts"),
            Code::Encrypted => Some("the zip file is encrypted"),
            Code::OverlappingEntries | Code::DuplicateEntry => Some("a damaged zip file"),
            Code::UnsafeEntryName => Some("a file name leads out of the archive"),
            Code::EntryIsLink => Some("a link among the files"),
            Code::LimitArchiveBytes
            | Code::LimitEntries
            | Code::LimitEntryBytes
            | Code::LimitTotalBytes
            | Code::LimitRatio
            | Code::LimitRecords
            | Code::LimitPathLength => Some("the archive is larger than allowed"),
            Code::ChangedWhileReading => Some("the file was changed while it was read"),
            Code::Internal => Some("a fault of the importer"),
            Code::Quarantined => Some("put aside after several crashes"),
            Code::GaveUp => Some("tried again and again without success"),
            Code::Cancelled => Some("cancelled"),
            Code::EventMissing => Some("no event that can be used"),
            Code::EventAmbiguous => Some("it could be more than one event"),
            Code::EventExists => Some("the event is there already"),
            Code::EventUnknown => Some("the named event is not there"),
            Code::PolicyInvalid => Some("eventferry.json cannot be followed"),
            _ => None,
        }
    };
    // What stops a whole archive says more than an error in one of its records, wherever it stands.
    let of_archive = first
        .and_then(|problem| words(problem.code))
        .or_else(|| errors.iter().find_map(|code| words(*code)))
        .map(str::to_owned);
    of_archive.unwrap_or_else(|| match report.errors() {
        0 => clean(&report.summary),
        errors => counted(errors, "error"),
    })
}

/// `371 sessions, 341 speakers`: what is in the database; where that is neither, the two largest other datasets.
fn counts_in_words(report: &Report) -> String {
    let in_database = |dataset: Dataset| -> u64 {
        report.datasets.get(&dataset).map_or(0, |counts| counts.created + counts.updated + counts.unchanged)
    };
    let words = |datasets: &[Dataset]| -> Vec<String> {
        let filled = datasets.iter().filter(|dataset| in_database(**dataset) > 0);
        filled.map(|dataset| counted(in_database(*dataset), dataset.definition().singular)).collect()
    };
    let mut parts = words(&[Dataset::Sessions, Dataset::Speakers]);
    if parts.is_empty() {
        let mut others: Vec<Dataset> = Dataset::ALL.into_iter().filter(|dataset| *dataset != Dataset::Event).collect();
        others.sort_by_key(|dataset| std::cmp::Reverse(in_database(*dataset)));
        others.truncate(2);
        parts = words(&others);
    }
    parts.join(", ")
}

fn dataset_rows(report: &Report, columns: &[&Column]) -> Vec<DatasetRow> {
    let filled = report.datasets.iter().filter(|(_, counts)| columns.iter().any(|column| (column.count)(counts) > 0));
    filled
        .map(|(dataset, counts)| DatasetRow {
            name: dataset.plural(),
            cells: columns
                .iter()
                .map(|column| match (column.count)(counts) {
                    0 => String::new(),
                    value => number(value),
                })
                .collect(),
        })
        .collect()
}

fn links_in_words(links: &LinkCounts) -> Option<String> {
    let pairs = (links.session_speakers > 0)
        .then(|| format!("{} of a session and a speaker", counted(links.session_speakers, "pair")));
    let with: Vec<String> = [
        (links.sessions_with_track, "track"),
        (links.sessions_with_microlocation, "room"),
        (links.sessions_with_session_type, "type"),
    ]
    .into_iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, what)| format!("{} with a {what}", number(count)))
    .collect();
    let with = (!with.is_empty()).then(|| format!("sessions: {}", with.join(", ")));
    let parts: Vec<String> = [pairs, with].into_iter().flatten().collect();
    (!parts.is_empty()).then(|| format!("{}.", parts.join("; ")))
}

fn media_in_words(media: &MediaCounts) -> Option<String> {
    if media.referenced == 0 {
        return None;
    }
    let parts: Vec<String> = [
        (media.stored, format!("{} stored", number(media.stored))),
        (media.missing, format!("{} missing or unreadable", number(media.missing))),
        (media.remote, format!("{} to elsewhere", counted(media.remote, "link"))),
    ]
    .into_iter()
    .filter_map(|(count, words)| (count > 0).then_some(words))
    .collect();
    Some(format!("{} to media files: {}.", counted(media.referenced, "reference"), parts.join(", ")))
}

/// The problems by code: errors before warnings, otherwise in the order of the archive.
fn problem_groups(report: &Report) -> Vec<ProblemGroup> {
    let mut order: Vec<Code> = Vec::new();
    let mut by_code: BTreeMap<Code, Vec<&Problem>> = BTreeMap::new();
    for problem in &report.problems {
        let problems = by_code.entry(problem.code).or_default();
        if problems.is_empty() {
            order.push(problem.code);
        }
        problems.push(problem);
    }
    order.extend(report.problem_counts.keys().filter(|code| !by_code.contains_key(code)));
    order.sort_by_key(|code| code.severity());
    order.into_iter().map(|code| group(code, report, by_code.get(&code).map_or(&[], Vec::as_slice))).collect()
}

fn group(code: Code, report: &Report, problems: &[&Problem]) -> ProblemGroup {
    let kept = u64::try_from(problems.len()).unwrap_or(u64::MAX);
    let count = report.problem_counts.get(&code).copied().unwrap_or(0).max(kept);
    let first = problems.first();
    let message = first.map(|problem| sentence(&problem.message));
    let examples: Vec<Example> = problems
        .iter()
        .take(EXAMPLES)
        .map(|problem| Example {
            place: place(problem),
            value: problem.value.as_deref().map(clean),
            message: Some(sentence(&problem.message)).filter(|text| Some(text) != message.as_ref()),
        })
        .filter(|example| !example.place.is_empty() || example.value.is_some() || example.message.is_some())
        .collect();
    let shown = u64::try_from(problems.len().min(EXAMPLES)).unwrap_or(u64::MAX);
    ProblemGroup {
        code: code.as_str(),
        severity: code.severity().as_str(),
        count,
        count_words: counted(count, code.severity().as_str()),
        message,
        hint: first.map(|problem| sentence(&problem.hint)).filter(|hint| !hint.is_empty()),
        examples,
        more: count.saturating_sub(shown),
    }
}

fn place(problem: &Problem) -> String {
    let parts = [
        problem.file.as_deref().map(clean),
        problem.position.map(|position| format!("record {}", number(position))),
        problem.source_id.as_deref().map(|id| format!("id {}", clean(id))),
        problem.field.as_deref().map(|field| format!("field {}", clean(field))),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}
