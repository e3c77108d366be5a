//! The outcome of an import on the screen: what became of it, and where to look.

use std::io::Write;

use super::{Failure, show};
use crate::app::App;
use crate::config::MailTransport;
use crate::model::job::RestingPlace;
use crate::model::report::DatasetCounts;
use crate::model::{Dataset, Problem, Report, Severity};
use crate::outbox;
use crate::store::jobs::JobView;
use crate::store::mails::{self, MailState};

/// Problems that are shown; the files have all of them.
const SHOWN: usize = 10;

/// Writes the outcome of a job.
pub(super) async fn write_report(
    out: &mut dyn Write,
    app: &App,
    view: &JobView,
    report: &Report,
) -> Result<(), Failure> {
    let style = show::Tone::of_state(report.state).style();
    writeln!(out, "\n{style}{}{style:#}: {}", capital(report.state.as_str()), show::safe(&report.summary))?;
    if let Some(event) = &report.event {
        let verb = if event.created { "new" } else { "updated" };
        writeln!(out, "Event {} ({verb}): {}", event.id, show::safe(&event.name))?;
    }
    writeln!(out)?;
    write_counts(out, report.datasets.iter())?;
    let media = &report.media;
    if media.referenced > 0 {
        writeln!(
            out,
            "Media: {} named, {} stored, {} missing, {} elsewhere",
            media.referenced, media.stored, media.missing, media.remote
        )?;
    }
    if report.links.session_speakers > 0 {
        writeln!(out, "Links between sessions and speakers: {}", report.links.session_speakers)?;
    }
    write_problems(out, &report.problems, report.errors(), report.warnings())?;
    write_places(out, app, view, report).await
}

/// Writes what became of the records of each dataset that has any.
pub(super) fn write_counts<'a>(
    out: &mut dyn Write,
    datasets: impl Iterator<Item = (&'a Dataset, &'a DatasetCounts)>,
) -> Result<(), Failure> {
    for (dataset, counts) in datasets {
        let words = [
            (counts.created, "created"),
            (counts.updated, "updated"),
            (counts.unchanged, "unchanged"),
            (counts.rejected, "rejected"),
            (counts.merged, "merged"),
            (counts.gone, "gone"),
            (counts.rebuilt, "of them rebuilt"),
        ];
        let said: Vec<String> =
            words.iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}")).collect();
        if !said.is_empty() {
            writeln!(out, "  {:<15} {}", dataset.as_str().replace('_', " "), said.join(", "))?;
        }
    }
    Ok(())
}

/// Writes the first problems, errors before warnings.
pub(super) fn write_problems(
    out: &mut dyn Write,
    problems: &[Problem],
    errors: u64,
    warnings: u64,
) -> Result<(), Failure> {
    if errors + warnings == 0 {
        writeln!(out, "No problems.")?;
        return Ok(());
    }
    let counted = [(errors, "error", "errors"), (warnings, "warning", "warnings")];
    let said: Vec<String> = counted
        .iter()
        .filter(|(count, ..)| *count > 0)
        .map(|(count, one, many)| show::counted(*count, one, many))
        .collect();
    writeln!(out, "\n{}:", capital(&said.join(", ")))?;
    let errors_first = problems.iter().filter(|problem| problem.severity == Severity::Error);
    let warnings_then = problems.iter().filter(|problem| problem.severity == Severity::Warning);
    for problem in errors_first.chain(warnings_then).take(SHOWN) {
        write_problem(out, problem)?;
    }
    if problems.len() > SHOWN {
        writeln!(out, "  … and {} more", problems.len() - SHOWN)?;
    }
    Ok(())
}

/// Writes one problem: what, where, which value, and what to do.
pub(super) fn write_problem(out: &mut dyn Write, problem: &Problem) -> Result<(), Failure> {
    writeln!(out, "  {} {}{}", problem.code, place_of(problem), show::safe(&problem.message))?;
    if let Some(value) = &problem.value {
        let field = problem.field.as_deref().unwrap_or("value");
        writeln!(out, "      {}: {}", show::safe(field), show::safe(value))?;
    }
    writeln!(out, "      {}", show::safe(&problem.hint))?;
    Ok(())
}

fn place_of(problem: &Problem) -> String {
    let mut place = String::new();
    if let Some(file) = &problem.file {
        place += &show::safe(file);
    }
    if let Some(position) = problem.position {
        place += &format!(" record {position}");
    }
    if let Some(id) = &problem.source_id {
        place += &format!(" (id {})", show::safe(id));
    }
    if place.is_empty() { place } else { format!("{place}: ") }
}

/// Where to look for more.
async fn write_places(out: &mut dyn Write, app: &App, view: &JobView, report: &Report) -> Result<(), Failure> {
    let folders = app.settings.folders();
    writeln!(out, "\nWhere to look:")?;
    if let Some(folder) = &view.result_folder {
        let folder = folders.outbox.join(folder);
        writeln!(out, "  results   {}", show::path(&folder))?;
        if folder.join(outbox::REJECTED_FILE).exists() {
            writeln!(
                out,
                "            {} holds what was left out: correct it and drop it again",
                outbox::REJECTED_FILE
            )?;
        }
    }
    let place = match report.state.resting_place() {
        RestingPlace::Done => &folders.done,
        RestingPlace::Rejected => &folders.rejected,
    };
    match &view.source_path {
        Some(path) => writeln!(out, "  archive   {}", show::path(&folders.root.join(path)))?,
        None => writeln!(out, "  archive   {}", show::path(&place.join(&report.account)))?,
    }
    if let Some(file) = app.services.database.file() {
        writeln!(out, "  database  {}", show::path(file))?;
    }
    for mail in mails::of_job(&app.services.database, report.job).await? {
        let told = match mail.state {
            MailState::Sent if app.settings.mail.transport == MailTransport::File => {
                format!("{} (as a file, until SMTP is configured)", show::path(&folders.mail))
            }
            MailState::Sent => format!("sent to {}", mail.recipient.as_deref().unwrap_or("nobody")),
            MailState::NoAddress => "not sent: the account has no address (`accounts.email`)".to_owned(),
            MailState::Off => "not sent: this kind of mail is switched off".to_owned(),
            MailState::Queued => "waits to be sent".to_owned(),
            MailState::Digest => "goes with others in a digest".to_owned(),
            MailState::Failed => format!("not sent: {}", mail.last_error.as_deref().unwrap_or("it was refused")),
        };
        writeln!(out, "  mail      {}", show::safe(&told))?;
    }
    writeln!(out, "  job       {}", report.job)?;
    Ok(())
}

/// The first letter large.
pub(super) fn capital(text: &str) -> String {
    let mut characters = text.chars();
    let first: String = characters.next().into_iter().flat_map(char::to_uppercase).collect();
    first + characters.as_str()
}
