//! The outcome of an import on the screen: what became of it, and where to look.

use std::io::Write;

use super::daemon::Daemon;
use super::mail::MailDocument;
use super::show::Screen;
use super::{Failure, show};
use crate::app::App;
use crate::config::MailTransport;
use crate::model::job::RestingPlace;
use crate::model::report::DatasetCounts;
use crate::model::words::capital;
use crate::model::{Dataset, Problem, Report, Severity};
use crate::outbox;
use crate::store::jobs::JobView;
use crate::store::mails::{self, MailState};

/// Problems that are shown; the files have all of them.
const SHOWN: usize = 10;

/// Blanks before what is said below the first line of a problem.
const BELOW: usize = 6;

/// Writes the outcome of a job; `daemon` is the one beside this process.
pub(super) async fn write_report(
    out: &mut dyn Write,
    screen: Screen,
    app: &App,
    daemon: &Daemon,
    view: &JobView,
    report: &Report,
) -> Result<(), Failure> {
    let style = show::Tone::of_state(report.state).style();
    writeln!(out, "\n{style}{}{style:#}: {}", capital(report.state.as_str()), show::safe(&report.summary))?;
    if let Some(event) = &report.event {
        let is_changed = report.datasets.values().any(|counts| counts.created + counts.updated + counts.gone > 0);
        let verb = match (event.created, is_changed) {
            (true, _) => "new",
            (false, true) => "updated",
            (false, false) => "unchanged",
        };
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
    write_problems(out, screen, report)?;
    write_places(out, app, daemon, view, report).await
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
            writeln!(out, "  {:<15} {}", dataset.plural(), said.join(", "))?;
        }
    }
    Ok(())
}

/// Writes the first problems.
fn write_problems(out: &mut dyn Write, screen: Screen, report: &Report) -> Result<(), Failure> {
    let (errors, warnings, problems) = (report.errors(), report.warnings(), &report.problems);
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
    for problem in errors_first(problems).take(SHOWN) {
        write_problem(out, screen, problem)?;
    }
    if problems.len() > SHOWN {
        writeln!(out, "  … and {} more", problems.len() - SHOWN)?;
    }
    Ok(())
}

/// Errors before warnings, each in the order of the archive.
pub(super) fn errors_first(problems: &[Problem]) -> impl Iterator<Item = &Problem> {
    let of = move |severity| problems.iter().filter(move |problem: &&Problem| problem.severity == severity);
    of(Severity::Error).chain(of(Severity::Warning))
}

/// Writes one problem: how bad, what, where, which value, and what to do.
pub(super) fn write_problem(out: &mut dyn Write, screen: Screen, problem: &Problem) -> Result<(), Failure> {
    let style = match problem.severity {
        Severity::Error => show::Tone::Bad.style(),
        Severity::Warning => show::Tone::Doubtful.style(),
    };
    let word = problem.severity.as_str();
    write!(out, "  {style}{word}{style:#} ")?;
    let what = format!("{} {}{}", problem.code, place_of(problem), show::safe(&problem.message));
    show::write_wrapped(out, screen, word.len() + 3, BELOW, &what)?;
    let mut below = |text: &str| {
        write!(out, "{:BELOW$}", "")?;
        show::write_wrapped(out, screen, BELOW, BELOW, text)
    };
    if let Some(value) = &problem.value {
        let field = problem.field.as_deref().unwrap_or("value");
        below(&format!("{}: {}", show::safe(field), show::safe(value)))?;
    }
    below(&show::safe(&problem.hint))?;
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
async fn write_places(
    out: &mut dyn Write,
    app: &App,
    daemon: &Daemon,
    view: &JobView,
    report: &Report,
) -> Result<(), Failure> {
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
            // Only one that is held has not been tried by now.
            MailState::Queued if *daemon == Daemon::Stopped && mail.attempts == 0 && mail.last_error.is_none() => {
                "waits for others, to go with them in a digest before this command ends".to_owned()
            }
            MailState::Queued => MailDocument::from(&mail).describe(app.services.clock.now(), daemon).0,
            MailState::Digest => "goes with others in a digest".to_owned(),
            MailState::Failed => format!("not sent: {}", mail.last_error.as_deref().unwrap_or("it was refused")),
        };
        writeln!(out, "  mail      {}", show::safe(&told))?;
    }
    writeln!(out, "  job       {}", report.job)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

    use super::*;
    use crate::model::Code;

    fn written(columns: Option<u16>, problem: &Problem) -> String {
        let mut out = Vec::new();
        write_problem(&mut out, Screen { columns }, problem).unwrap();
        anstream::adapter::strip_str(&String::from_utf8(out).unwrap()).to_string()
    }

    #[test]
    fn a_problem_begins_with_its_severity_and_is_wrapped_on_a_terminal_only() {
        let problem =
            Problem::new(Code::MediaMissing, "this file is not in the archive", "add the file, or live without")
                .in_file("speakers")
                .at(3)
                .in_field("photo_url")
                .with_value("/images/a.png");
        let lines = "  warning MEDIA_MISSING speakers record 3: this file is not in the archive\n\
                     \u{20}     photo_url: /images/a.png\n\
                     \u{20}     add the file, or live without\n";
        assert_eq!(written(None, &problem), lines);
        let wrapped = "  warning MEDIA_MISSING speakers record\n\
                       \u{20}     3: this file is not in the archive\n\
                       \u{20}     photo_url: /images/a.png\n\
                       \u{20}     add the file, or live without\n";
        assert_eq!(written(Some(41), &problem), wrapped);
    }

    #[test]
    fn errors_come_first_and_keep_their_order() {
        let problem = |code| Problem::new(code, "", "");
        let all = [Code::MediaMissing, Code::FieldType, Code::NameMismatch, Code::DateInvalid].map(problem);
        let codes: Vec<Code> = errors_first(&all).map(|problem| problem.code).collect();
        assert_eq!(codes, [Code::FieldType, Code::DateInvalid, Code::MediaMissing, Code::NameMismatch]);
    }
}
