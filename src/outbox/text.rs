//! `report.txt`: the report for the person who dropped the archive.

use std::io::{self, Write};

use unicode_width::UnicodeWidthStr;

use super::layout::{COLUMNS, counted, cut, grouped, heading, table, wrap};
use super::{ERRORS_FILE, REJECTED_FILE, RESULT_FILE};
use crate::fsx::display_name;
use crate::model::job::RestingPlace;
use crate::model::report::DatasetCounts;
use crate::model::words::capital;
use crate::model::{Code, Dataset, JobState, Problem, Report, Severity};

/// Whether `rejected.zip` lies beside the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RejectedZip {
    /// It does, and the report says how to use it.
    Beside,
    /// There is none.
    None,
}

/// Writes the report as plain text: UTF-8, lines of at most 80 columns, nothing that a terminal would obey.
///
/// The first line says what happened, the next paragraphs why and whether anything is to be done; then the figures, every
/// kept problem in the order of the archive, and what to do with the files beside it.
///
/// # Errors
/// Those of `out`.
pub fn write_text(out: &mut impl Write, report: &Report, rejected: RejectedZip) -> io::Result<()> {
    let all = total(report);
    put(out, &wrap("", &headline(report, &all)))?;
    put(out, "\n")?;
    if !report.summary.is_empty() {
        put(out, &wrap("", &display_name(&report.summary)))?;
        put(out, "\n")?;
    }
    put(out, &wrap("To do: ", &to_do(report, rejected)))?;
    put(out, "\n")?;
    put(out, &facts(report))?;
    put(out, &records(report, &all))?;
    put(out, &links(report))?;
    put(out, &media(report))?;
    put(out, &problem_counts(report))?;
    for (index, problem) in report.problems.iter().enumerate() {
        put(out, &problem_text(index + 1, problem))?;
    }
    if rejected == RejectedZip::Beside {
        put(out, &correcting(all.rejected, report.unparsed_files()))?;
    }
    put(out, &files(report, rejected))
}

fn put(out: &mut impl Write, text: &str) -> io::Result<()> {
    out.write_all(text.as_bytes())
}

fn total(report: &Report) -> DatasetCounts {
    let mut all = DatasetCounts::default();
    for counts in report.datasets.values() {
        all.read += counts.read;
        all.rebuilt += counts.rebuilt;
        all.created += counts.created;
        all.updated += counts.updated;
        all.unchanged += counts.unchanged;
        all.rejected += counts.rejected;
        all.merged += counts.merged;
        all.gone += counts.gone;
    }
    all
}

/// One line, with the name cut where it would not fit: it stands in full below.
fn headline(report: &Report, all: &DatasetCounts) -> String {
    let created = report.event.as_ref().is_some_and(|event| event.created);
    let verb = if created { "imported" } else { "brought up to date" };
    let (name, outcome) = match report.state {
        JobState::Succeeded if created => (subject(report), "is imported: everything is in.".to_owned()),
        JobState::Succeeded if all.created + all.updated + all.gone == 0 => {
            (subject(report), "was up to date: nothing had to be changed.".to_owned())
        }
        JobState::Succeeded => (subject(report), "is brought up to date: everything is in.".to_owned()),
        JobState::Partial => (subject(report), format!("is {verb}, except {}.", left_out(report, all))),
        JobState::Failed if report.was_stopped_midway() => {
            (subject(report), "is only partly brought up to date: it could not go on.".to_owned())
        }
        JobState::Failed => (archive_name(report), "was not imported.".to_owned()),
        JobState::Cancelled if report.was_stopped_midway() => {
            (subject(report), "is only partly brought up to date: a person stopped it.".to_owned())
        }
        JobState::Cancelled => (archive_name(report), "is not imported: a person stopped it.".to_owned()),
        JobState::Duplicate => (archive_name(report), "was imported before: nothing was changed.".to_owned()),
        JobState::Queued | JobState::Running | JobState::Blocked | JobState::Paused => {
            (archive_name(report), format!("is not finished: the import is {}.", report.state))
        }
    };
    let room = COLUMNS.saturating_sub(outcome.width() + 1);
    format!("{} {outcome}", cut(&name, room))
}

fn subject(report: &Report) -> String {
    report.event.as_ref().map_or_else(|| archive_name(report), |event| display_name(&event.name))
}

fn archive_name(report: &Report) -> String {
    display_name(&report.archive.name)
}

fn left_out(report: &Report, all: &DatasetCounts) -> String {
    let mut parts = Vec::new();
    if all.rejected > 0 {
        parts.push(counted(all.rejected, "record", "records"));
    }
    let files = report.unreadable_files();
    if files > 0 {
        parts.push(counted(files, "unreadable file", "unreadable files"));
    }
    if parts.is_empty() {
        parts.push(format!("what {} left out", counted(report.errors(), "error", "errors")));
    }
    parts.join(" and ")
}

fn to_do(report: &Report, rejected: RejectedZip) -> String {
    let again = "correct what is listed under “Problems” in your archive and drop the whole archive again.";
    match (report.state, rejected) {
        (JobState::Succeeded, _) if report.warnings() == 0 => "nothing.".to_owned(),
        (JobState::Succeeded, _) => format!(
            "nothing has to be done. {} below may be worth a look: something is in otherwise than given, or looks wrong.",
            counted(report.warnings(), "warning", "warnings")
        ),
        (JobState::Partial, RejectedZip::Beside) => {
            let files = if report.lost_files() > 0 {
                " Whole files that are damaged or not read are not in it: mend them in your archive and drop the whole of it again."
            } else {
                ""
            };
            format!(
                "correct what is in {REJECTED_FILE} and drop it into the inbox; “Correcting” below says how.{files}"
            )
        }
        (JobState::Partial, RejectedZip::None) => {
            format!("{again} What is in already stays; only what has changed is written.")
        }
        (JobState::Failed, _) if is_our_fault(report) => {
            "nothing is wrong with what you did. Please tell whoever runs this eventferry, with the job's number below."
                .to_owned()
        }
        (JobState::Failed, _) if report.was_stopped_midway() => {
            format!("{again} What was written until then stays; only what has changed is written.")
        }
        (JobState::Failed, _) => format!("{again} Nothing of it is in, so nothing has to be taken back."),
        (JobState::Cancelled, _) if report.was_stopped_midway() => {
            "drop the archive again to finish it, or an older archive of the event to go back.".to_owned()
        }
        (JobState::Cancelled, _) => "nothing. If you still want it imported, drop the archive again.".to_owned(),
        (JobState::Duplicate, _) => {
            "nothing. If you meant to drop a newer version, look whether you picked the right file.".to_owned()
        }
        (JobState::Queued | JobState::Running | JobState::Blocked | JobState::Paused, _) => "wait.".to_owned(),
    }
}

fn is_our_fault(report: &Report) -> bool {
    report.problem_counts.contains_key(&Code::Internal) || report.problem_counts.contains_key(&Code::Quarantined)
}

fn facts(report: &Report) -> String {
    let archive = format!("{} ({})", archive_name(report), counted(report.archive.bytes, "byte", "bytes"));
    let mut page = wrap("Archive   ", &archive);
    if let Some(event) = &report.event {
        let origin = if event.created { "made by this import" } else { "was there before" };
        page += &wrap("Event     ", &format!("{} (number {}, {origin})", display_name(&event.name), event.id));
    }
    page += &wrap("Account   ", &display_name(&report.account));
    page += &wrap("Started   ", &format!("{} UTC", report.started.format("%Y-%m-%d %H:%M:%S")));
    page += &wrap("Finished  ", &format!("{} UTC", report.finished.format("%Y-%m-%d %H:%M:%S")));
    page += &wrap("Job       ", &report.job.to_string());
    if let Some(job) = report.related_job {
        page += &wrap("See also  ", &format!("{job} (another job)"));
    }
    page
}

/// A column of the table of records: its title, its figure, and what it means where the title does not say it.
type Column = (&'static str, fn(&DatasetCounts) -> u64, &'static str);

const FIGURES: [Column; 8] = [
    ("read", |counts| counts.read, ""),
    ("rebuilt", |counts| counts.rebuilt, "made from what other records say about them; their own file has none"),
    ("new", |counts| counts.created, ""),
    ("changed", |counts| counts.updated, ""),
    ("unchanged", |counts| counts.unchanged, ""),
    ("rejected", |counts| counts.rejected, "left out because of an error, or with the rest where nothing was imported"),
    ("merged", |counts| counts.merged, "equal to an earlier record of the same file"),
    ("gone", |counts| counts.gone, "no longer in the archive; marked, not deleted"),
];

/// Shown even where every figure is 0: those of an import without trouble.
const ALWAYS_SHOWN: [&str; 4] = ["read", "new", "changed", "unchanged"];

fn records(report: &Report, all: &DatasetCounts) -> String {
    let shown: Vec<&Column> =
        FIGURES.iter().filter(|(title, figure, _)| ALWAYS_SHOWN.contains(title) || figure(all) > 0).collect();
    let row = |name: &str, counts: &DatasetCounts| -> Vec<String> {
        let figure = |column: &&Column| match column.1(counts) {
            0 => "-".to_owned(),
            number => grouped(number),
        };
        std::iter::once(name.to_owned()).chain(shown.iter().map(figure)).collect()
    };
    let counts: Vec<_> = report.datasets.iter().filter(|(_, counts)| **counts != DatasetCounts::default()).collect();
    if counts.is_empty() {
        return String::new();
    }
    let mut rows = vec![std::iter::once(String::new()).chain(shown.iter().map(|column| column.0.to_owned())).collect()];
    rows.extend(counts.iter().map(|(dataset, counts)| row(&dataset.plural(), counts)));
    rows.push(row("together", all));
    let mut page = heading("Records") + &table(&rows);
    for (index, (title, _, meaning)) in shown.iter().filter(|column| !column.2.is_empty()).enumerate() {
        if index == 0 {
            page.push('\n');
        }
        page += &wrap(&format!("{title:8}  "), meaning);
    }
    page
}

fn links(report: &Report) -> String {
    let Some(sessions) = report.datasets.get(&Dataset::Sessions) else { return String::new() };
    let present = sessions.created + sessions.updated + sessions.unchanged;
    if present == 0 {
        return String::new();
    }
    let of_all = |count: u64| format!("{} of {}", grouped(count), grouped(present));
    let rows = [
        ("sessions with a track", of_all(report.links.sessions_with_track)),
        ("sessions with a room", of_all(report.links.sessions_with_microlocation)),
        ("sessions with a type", of_all(report.links.sessions_with_session_type)),
        ("pairs of session and speaker", grouped(report.links.session_speakers)),
    ];
    heading("Links") + &table(&rows.map(|(name, figure)| vec![name.to_owned(), figure]))
}

fn media(report: &Report) -> String {
    let media = &report.media;
    if media.referenced == 0 {
        return String::new();
    }
    let is_in = media.stored > 0 || report.event.is_some();
    let rows = [
        ("named in the archive", media.referenced),
        ("stored", media.stored),
        (if is_in { "missing or damaged" } else { "not stored, as nothing was imported" }, media.missing),
        ("links to elsewhere", media.remote),
    ];
    heading("Pictures, slides, audio, video") + &table(&rows.map(|(name, count)| vec![name.to_owned(), grouped(count)]))
}

fn problem_counts(report: &Report) -> String {
    if report.problem_counts.is_empty() {
        return heading("Problems") + "none\n";
    }
    let errors = counted(report.errors(), "error", "errors");
    let warnings = counted(report.warnings(), "warning", "warnings");
    let mut page = heading(&format!("Problems: {errors}, {warnings}"));
    let mut rows = Vec::new();
    for severity in [Severity::Error, Severity::Warning] {
        for (code, count) in report.problem_counts.iter().filter(|(code, _)| code.severity() == severity) {
            rows.push(vec![format!("{:7}  {code}", severity.as_str()), grouped(*count)]);
        }
    }
    page += &table(&rows);
    let all: u64 = report.problem_counts.values().sum();
    let kept = u64::try_from(report.problems.len()).unwrap_or(u64::MAX);
    if kept < all {
        let note = format!("Listed are the first {} of {}.", grouped(kept), grouped(all));
        page += &format!("\n{}", wrap("", &note));
    }
    page
}

fn problem_text(number: usize, problem: &Problem) -> String {
    let title = format!("{} {} in {}", problem.severity.as_str().to_uppercase(), problem.code, place(problem));
    let mut page = format!("\n{}", wrap(&format!("{number}. "), &title));
    page += &wrap("   ", &capital(&display_name(&problem.message)));
    if let Some(value) = &problem.value {
        page += &wrap("   Value:  ", &format!("\"{}\"", display_name(value)));
    }
    if !problem.hint.is_empty() {
        page += &wrap("   To do:  ", &display_name(&problem.hint));
    }
    page
}

fn place(problem: &Problem) -> String {
    let mut parts = vec![problem.file.as_ref().map_or_else(|| "the archive as a whole".to_owned(), display_name)];
    parts.extend(problem.position.map(|position| format!("record {position}")));
    parts.extend(problem.source_id.as_ref().map(|id| format!("id {}", display_name(id))));
    parts.extend(problem.field.as_ref().map(|field| format!("field {}", display_name(field))));
    parts.join(", ")
}

fn correcting(rejected: u64, unparsed: u64) -> String {
    let records = match rejected {
        0 => None,
        1 => Some("the record that was left out".to_owned()),
        many => Some(format!("the {} records that were left out", grouped(many))),
    };
    let files = match unparsed {
        0 => None,
        1 => Some("the whole file that could not be read".to_owned()),
        many => Some(format!("the {} whole files that could not be read", grouped(many))),
    };
    let left_out: Vec<String> = records.into_iter().chain(files).collect();
    let given = if rejected + unparsed == 1 { "as your archive gave it" } else { "as your archive gave them" };
    let left_out = if left_out.is_empty() { "what was left out".to_owned() } else { left_out.join(" and ") };
    let mut page = heading("Correcting");
    page += &wrap(
        "",
        &format!(
            "{REJECTED_FILE}, beside this report, holds {left_out}, {given}, and eventferry.json, which names the event \
             and must stay in it."
        ),
    );
    page.push('\n');
    page += &wrap("1. ", &format!("Unpack {REJECTED_FILE}."));
    page += &wrap("2. ", "Correct its files; leave eventferry.json as it is.");
    page += &wrap("3. ", "Zip the files again, eventferry.json too, under any name that ends in .zip.");
    page += &wrap("4. ", "Drop the zip into the inbox, as you did with the archive.");
    page.push('\n');
    page + &wrap(
        "",
        "Only what is in it is imported then; everything else stays as it is. You can as well correct your archive and \
         drop the whole of it again.",
    )
}

fn files(report: &Report, rejected: RejectedZip) -> String {
    let mut page = heading("Beside this report");
    if rejected == RejectedZip::Beside {
        page += &wrap(&format!("{REJECTED_FILE}  "), "what was left out");
    }
    page += &wrap(&format!("{ERRORS_FILE}    "), "the problems as a table, for a spreadsheet");
    page += &wrap(&format!("{RESULT_FILE}   "), "all of this for programs");
    page.push('\n');
    let files = match report.state.resting_place() {
        RestingPlace::Done => "finished",
        RestingPlace::Rejected => "rejected",
    };
    page + &wrap("", &format!("The archive itself is now among the {files} files, with the job's number in its name."))
}
