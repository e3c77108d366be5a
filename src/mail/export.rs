//! The mail about exports.

use serde::Serialize;

use super::MailKind;
use super::templates::{Rendered, Templates};
use super::words::{clean, counted, moment, number};
use crate::clock::Timestamp;

/// Events that a mail names one by one.
const EVENTS: usize = 20;

/// An export job that has ended, for its account.
#[derive(Clone, Debug)]
pub struct ExportMail<'a> {
    /// What this installation calls itself.
    pub public_name: &'a str,
    /// The name by which the account's people are greeted.
    pub display_name: Option<&'a str>,
    /// Whether everything went well.
    pub went_well: bool,
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
    went_well: bool,
    summary: String,
    scope: Option<String>,
    formats: String,
    format_count: usize,
    title: String,
    events: Vec<EventView>,
    more_events: u64,
    failures: u64,
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
    let kind = if mail.went_well { MailKind::Exported } else { MailKind::ExportFailed };
    templates.fill(kind, &view(kind, mail))
}

fn view(kind: MailKind, mail: &ExportMail<'_>) -> View {
    let title = match mail.events.as_slice() {
        [] => clean(mail.scope),
        [one] => clean(&one.name),
        several => counted(several.len() as u64, "event"),
    };
    View {
        kind: kind.as_str(),
        public_name: clean(mail.public_name),
        display_name: mail.display_name.map(clean).filter(|name| !name.is_empty()),
        went_well: mail.went_well,
        summary: clean(mail.summary),
        scope: Some(clean(mail.scope)).filter(|scope| scope != crate::model::export::BY_HAND),
        formats: mail.formats.join(", "),
        format_count: mail.formats.len(),
        title,
        events: mail.events.iter().take(EVENTS).map(event_view).collect(),
        more_events: (mail.events.len().saturating_sub(EVENTS)) as u64,
        failures: mail.failures,
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
        went_well: true,
        summary: "1 event exported",
        scope: "nightly",
        formats: vec!["archive"],
        events: ["exported", "unchanged", "empty", "failed"].map(event).to_vec(),
        failures: 2,
        job: "j",
        account: "sample",
        started: Timestamp::UNIX_EPOCH,
    };
    let bare_event = ExportedEventMail { name: "Sample".to_owned(), state: "exported", ..ExportedEventMail::default() };
    let bare = ExportMail {
        display_name: None,
        scope: crate::model::export::BY_HAND,
        events: vec![bare_event],
        failures: 0,
        ..full.clone()
    };
    let mut samples = Vec::new();
    for mail in [full, bare] {
        for kind in [MailKind::Exported, MailKind::ExportFailed] {
            let facts = view(kind, &mail);
            samples.push((kind, minijinja::Value::from(minijinja::value::Serde(facts))));
        }
    }
    samples
}
