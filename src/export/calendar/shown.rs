//! A session as `schedule.xml` and `schedule.json` show it.

use chrono::{DateTime, TimeDelta, Timelike, Utc};
use uuid::Uuid;

use crate::export::calendar::days;
use crate::export::calendar::names::{self, Names};
use crate::export::calendar::text::{self, About};
use crate::export::program::{NoteCode, Programme, Session, Span, SpeakerName};

/// A session, its texts cleaned and its times written.
#[derive(Debug)]
pub(super) struct Shown {
    /// Stable across renames.
    pub(super) guid: Uuid,
    /// The id here, 1 or more.
    pub(super) id: i64,
    /// Its name in addresses.
    pub(super) slug: String,
    /// Its title, never empty.
    pub(super) title: String,
    /// Its subtitle.
    pub(super) subtitle: Option<String>,
    /// Its type; `other` where it has none.
    pub(super) kind: String,
    /// Its begin, with offset.
    pub(super) date: String,
    /// Its begin by the clock, `HH:MM`.
    pub(super) start: String,
    /// Its end, with offset.
    pub(super) end: String,
    /// How long it takes.
    pub(super) length: TimeDelta,
    /// The short text about it.
    pub(super) short: Option<String>,
    /// The long text about it.
    pub(super) long: Option<String>,
    /// Its language.
    pub(super) language: Option<String>,
    /// Who speaks.
    pub(super) persons: Vec<Person>,
    /// Recordings and the page for signing up.
    pub(super) links: Vec<Reference>,
    /// Slides.
    pub(super) attachments: Vec<Reference>,
}

/// A speaker.
#[derive(Debug)]
pub(super) struct Person {
    /// Stable across renames.
    pub(super) guid: Uuid,
    /// The id here.
    pub(super) id: i64,
    /// The name, never empty.
    pub(super) name: String,
}

/// A link of a session.
#[derive(Debug)]
pub(super) struct Reference {
    /// A word of the schema: `media`, `slides`, `related`.
    pub(super) kind: &'static str,
    /// What a person reads.
    pub(super) title: &'static str,
    /// Where it is.
    pub(super) url: String,
}

/// Makes a session ready, and notes what had to be changed.
pub(super) fn shown(
    session: &Session,
    span: Span,
    programme: &Programme,
    names: &Names,
    about: &mut About<'_>,
) -> Shown {
    let local = span.start.with_timezone(&programme.zone);
    if local.date_naive() != programme.day_of(span.start) {
        about.note(NoteCode::AfterMidnight, local.naive_local());
    }
    let title = title(session, about);
    let (short, long) = texts(session, about);
    let mut reference = |kind, title, url: &Option<String>| {
        text::link(about, title, url.as_deref()).map(|url| Reference { kind, title, url })
    };
    let links = [
        reference("media", "Video", &session.video_url),
        reference("media", "Audio", &session.audio_url),
        reference("related", "Sign-up", &session.signup_url),
    ];
    let slides = reference("slides", "Slides", &session.slides_url);
    Shown {
        guid: session.uuid,
        id: session.id,
        slug: names::session_slug(&names.acronym, session.id, &title),
        title,
        subtitle: text::optional_line(about, "subtitle", session.subtitle.as_deref()),
        kind: names.kind(session).unwrap_or("other").to_owned(),
        date: days::written(span.start, programme.zone),
        start: format!("{:02}:{:02}", local.hour(), local.minute()),
        end: days::written(span.end, programme.zone),
        length: whole_seconds(span.end) - whole_seconds(span.start),
        short,
        long,
        language: text::optional_line(about, "language", session.language.as_deref()),
        persons: session.speakers.iter().map(|speaker| person(speaker, about)).collect(),
        links: links.into_iter().flatten().collect(),
        attachments: slides.into_iter().collect(),
    }
}

/// A session's title, or what stands for it.
pub(super) fn title(session: &Session, about: &mut About<'_>) -> String {
    text::name(about, "title", &session.title, || format!("Session {}", session.id))
}

/// The short and the long text about a session; one that says the same as the other is given once.
pub(super) fn texts(session: &Session, about: &mut About<'_>) -> (Option<String>, Option<String>) {
    let short = text::paragraphs(about, "short abstract", session.short_abstract.as_deref());
    let long = text::paragraphs(about, "long abstract", session.long_abstract.as_deref());
    let long = long.filter(|long| short.as_ref() != Some(long));
    (short, long)
}

/// A speaker's name, or what stands for it.
pub(super) fn speaker_name(speaker: &SpeakerName, about: &mut About<'_>) -> String {
    text::name(about, "name of a speaker", &speaker.name, || format!("Speaker {}", speaker.id))
}

/// An instant without the part of its second.
pub(super) fn whole_seconds(instant: DateTime<Utc>) -> DateTime<Utc> {
    instant.with_nanosecond(0).unwrap_or(instant)
}

fn person(speaker: &SpeakerName, about: &mut About<'_>) -> Person {
    Person { guid: speaker.uuid, id: speaker.id, name: speaker_name(speaker, about) }
}
