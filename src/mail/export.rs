//! The mail about exports.

use serde::Serialize;

use super::MailKind;
use super::templates::{Rendered, Templates};
use super::words::{clean, counted, moment, number};
use crate::clock::Timestamp;
use crate::model::JobState;
use crate::model::export::BY_HAND;

/// Events that a mail names one by one.
const EVENTS: usize = 20;

/// An export job that has ended, for its account.
#[derive(Clone, Debug)]
pub struct ExportMail<'a> {
    /// What this installation calls itself.
    pub public_name: &'a str,
    /// The name by which the account's people are greeted.
    pub display_name: Option<&'a str>,
    /// How it ended.
    pub state: JobState,
    /// What became of it, in one sentence.
    pub summary: &'a str,
    /// The schedule's name, or `by hand`.
    pub scope: &'a str,
    /// The formats that were asked for.
    pub formats: Vec<&'static str>,
    /// What became of each event.
    pub events: Vec<ExportedEventMail>,
    /// Failures of the schedule in a row, this one included; 0 by hand and where it went well.
    pub failures: u64,
    /// Whether it went well and the run of the schedule before it did not.
    pub recovered: bool,
    /// The job.
    pub job: &'a str,
    /// The account.
    pub account: &'a str,
    /// When it began.
    pub started: Timestamp,
}

/// What became of one event.
#[derive(Clone, Debug, Default)]
pub struct ExportedEventMail {
    /// Its name.
    pub name: String,
    /// `exported`, `unchanged`, `empty` or `failed`.
    pub state: &'static str,
    /// Why it was not exported.
    pub error: Option<String>,
    /// Where the files lie; the last good ones where it was not exported.
    pub folder: Option<String>,
    /// Sessions in schedules.
    pub scheduled: u64,
    /// Sessions that are in no schedule: without a time, or not accepted.
    pub not_scheduled: u64,
    /// Sessions that are new, moved, removed, otherwise changed since the last run; none at the first.
    pub changes: Option<[u64; 4]>,
    /// The first changes: what, title, when and where.
    pub named: Vec<(String, String, String)>,
    /// What was left out or changed, in words.
    pub notes: Vec<String>,
}

#[derive(Serialize)]
struct View {
    kind: &'static str,
    public_name: String,
    display_name: Option<String>,
    headline: String,
    tone: &'static str,
    summary: String,
    scope: Option<String>,
    formats: String,
    format_count: usize,
    kept: Option<&'static str>,
    events: Vec<EventView>,
    more_events: u64,
    failures: u64,
    recovered: bool,
    job: String,
    account: String,
    started: String,
}

#[derive(Serialize)]
struct EventView {
    name: String,
    state: &'static str,
    error: Option<String>,
    folder: Option<String>,
    scheduled: String,
    not_scheduled: u64,
    changes: Option<String>,
    named: Vec<ChangeView>,
    notes: Vec<String>,
}

#[derive(Serialize)]
struct ChangeView {
    what: String,
    title: String,
    place: String,
}

/// The mail about an export job that has ended.
pub fn render_export(templates: &Templates, mail: &ExportMail<'_>) -> Rendered {
    let kind = mail.kind();
    templates.fill(kind, &view(kind, mail))
}

impl ExportMail<'_> {
    /// Which mail it is. A schedule that finds nothing new says so only where that is news.
    pub fn kind(&self) -> MailKind {
        if self.state != JobState::Succeeded {
            return MailKind::ExportFailed;
        }
        let has_news = self.scope == BY_HAND || self.recovered || self.count("exported") > 0;
        if has_news { MailKind::Exported } else { MailKind::ExportUnchanged }
    }

    fn count(&self, state: &str) -> u64 {
        self.events.iter().filter(|event| event.state == state).count() as u64
    }

    /// What happened to how many events, as the subject says it.
    fn headline(&self) -> String {
        let (exported, unchanged) = (self.count("exported"), self.count("unchanged"));
        let what = match self.state {
            JobState::Succeeded if exported > 0 => "Exported",
            JobState::Succeeded if unchanged > 0 => "Unchanged",
            JobState::Succeeded => "Nothing to export",
            JobState::Partial if exported > 0 => "Partly exported",
            JobState::Partial => "Not all exported",
            JobState::Cancelled => "Export cancelled",
            _ => "Export failed",
        };
        let all = self.events.len() as u64;
        let of_all = |count: u64| match count {
            0 => counted(all, "event"),
            count if count == all => counted(all, "event"),
            count => format!("{} of {}", number(count), counted(all, "event")),
        };
        let whose = match self.events.as_slice() {
            [] => clean(self.scope),
            [one] => clean(&one.name),
            _ if exported > 0 && unchanged > 0 => format!("{}, {} unchanged", of_all(exported), number(unchanged)),
            _ if exported == 0 && self.state == JobState::Partial => format!("{} unchanged", of_all(unchanged)),
            _ => of_all(exported.max(unchanged)),
        };
        format!("{what}: {whose}")
    }

    /// What the events that were not exported still have.
    fn kept(&self) -> Option<&'static str> {
        let has_kept = |event: &ExportedEventMail| matches!(event.state, "empty" | "failed") && event.folder.is_some();
        let is_any_good = self.count("exported") + self.count("unchanged") > 0;
        match (self.events.iter().any(has_kept), is_any_good) {
            (false, _) => None,
            (true, false) => Some("The last good export stays where it is."),
            (true, true) => Some("What was not exported keeps its last good export."),
        }
    }
}

fn view(kind: MailKind, mail: &ExportMail<'_>) -> View {
    View {
        kind: kind.as_str(),
        public_name: clean(mail.public_name),
        display_name: mail.display_name.map(clean).filter(|name| !name.is_empty()),
        headline: mail.headline(),
        tone: match mail.state {
            JobState::Succeeded => "good",
            JobState::Partial => "fair",
            _ => "bad",
        },
        summary: clean(mail.summary),
        scope: Some(clean(mail.scope)).filter(|scope| scope != BY_HAND),
        formats: mail.formats.join(", "),
        format_count: mail.formats.len(),
        kept: mail.kept(),
        events: mail.events.iter().take(EVENTS).map(event_view).collect(),
        more_events: (mail.events.len().saturating_sub(EVENTS)) as u64,
        failures: mail.failures,
        recovered: mail.recovered,
        job: clean(mail.job),
        account: clean(mail.account),
        started: moment(mail.started),
    }
}

fn event_view(event: &ExportedEventMail) -> EventView {
    EventView {
        name: clean(&event.name),
        state: event.state,
        error: event.error.as_deref().map(clean),
        folder: event.folder.as_deref().map(clean),
        scheduled: counted(event.scheduled, "session"),
        not_scheduled: event.not_scheduled,
        changes: event.changes.map(changes_in_words),
        named: (event.named.iter())
            .map(|(what, title, place)| ChangeView { what: clean(what), title: clean(title), place: clean(place) })
            .collect(),
        notes: event.notes.iter().map(|note| clean(note)).collect(),
    }
}

fn changes_in_words(counts: [u64; 4]) -> String {
    let words = ["added", "moved", "removed", "changed otherwise"];
    let parts: Vec<String> = (counts.into_iter().zip(words))
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{} {word}", number(count)))
        .collect();
    if parts.is_empty() { "no session has changed".to_owned() } else { format!("sessions: {}", parts.join(", ")) }
}

/// Made-up facts with which overridden templates are tried: everything, and nothing that may be missing.
pub(super) fn samples() -> Vec<(MailKind, minijinja::Value)> {
    let event = |state| ExportedEventMail {
        name: "Sample".to_owned(),
        state,
        error: Some("it failed".to_owned()),
        folder: Some("outbox/sample".to_owned()),
        scheduled: 1,
        not_scheduled: 1,
        changes: Some([1, 1, 1, 1]),
        named: vec![("moved".to_owned(), "A session".to_owned(), "a place".to_owned())],
        notes: vec!["a note".to_owned()],
    };
    let full = ExportMail {
        public_name: "eventferry",
        display_name: Some("Sample"),
        state: JobState::Partial,
        summary: "1 event exported",
        scope: "nightly",
        formats: vec!["archive"],
        events: ["exported", "unchanged", "empty", "failed"].map(event).to_vec(),
        failures: 2,
        recovered: true,
        job: "j",
        account: "sample",
        started: Timestamp::UNIX_EPOCH,
    };
    let bare_event = ExportedEventMail { name: "Sample".to_owned(), state: "exported", ..ExportedEventMail::default() };
    let bare = ExportMail {
        display_name: None,
        scope: BY_HAND,
        state: JobState::Succeeded,
        events: vec![bare_event],
        failures: 0,
        recovered: false,
        ..full.clone()
    };
    let mut samples = Vec::new();
    for mail in [full, bare] {
        for kind in [MailKind::Exported, MailKind::ExportUnchanged, MailKind::ExportFailed] {
            let facts = view(kind, &mail);
            samples.push((kind, minijinja::Value::from(minijinja::value::Serde(facts))));
        }
    }
    samples
}
