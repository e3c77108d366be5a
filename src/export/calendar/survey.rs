//! The first pass over an event: which days it has, and what is left out of its schedule.

use std::collections::BTreeSet;

use chrono::{DateTime, NaiveDate, Utc};

use crate::export::calendar::days;
use crate::export::calendar::text::About;
use crate::export::program::{NoteCode, Notes, Order, Programme, RenderError, Selection, Session, Source, Span, Which};

/// What the first pass found.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// The days that have sessions.
    pub(super) days: BTreeSet<NaiveDate>,
    /// From the first begin to the last end.
    pub(super) range: Option<(DateTime<Utc>, DateTime<Utc>)>,
    /// Sessions that have no room.
    pub(super) without_room: u64,
}

/// Sessions of which a file is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    /// All.
    Event,
    /// Those in a room.
    Room(usize),
    /// Those of a track.
    Track(usize),
}

impl Of {
    /// The selection of these sessions.
    pub(super) fn selection(self, which: Which, order: Order) -> Selection {
        let (room, track) = match self {
            Self::Event => (None, None),
            Self::Room(room) => (Some(Some(room)), None),
            Self::Track(track) => (None, Some(track)),
        };
        Selection { which, starts_in: None, room, track, order }
    }
}

/// Looks at every session, those that are left out included.
pub(super) fn survey(source: &dyn Source, of: Of, notes: &mut Notes) -> Result<Survey, RenderError> {
    let programme = source.programme();
    let event_days = event_days(programme);
    let mut survey = Survey::default();
    for session in source.sessions(&of.selection(Which::All, Order::Id)) {
        let session = session?;
        let mut about = About { source_id: Some(&session.source_id), title: &session.title, notes };
        let Some(span) = shown_span(&session, programme, &mut about) else { continue };
        let day = programme.day_of(span.start);
        survey.days.insert(day);
        let (first, last) = survey.range.unwrap_or((span.start, span.end));
        survey.range = Some((first.min(span.start), last.max(span.end)));
        if !span.end_is_given {
            let found = if session.ends_at.is_some() { "the end lies before the begin" } else { "no end" };
            let minutes = (span.end - span.start).num_minutes();
            about.note(NoteCode::EndGuessed, format_args!("{found}; {minutes} minutes are shown"));
        }
        if event_days.0.is_some_and(|first| day < first) || event_days.1.is_some_and(|last| day > last) {
            about.note(NoteCode::OutsideEvent, day);
        }
        if session.room.is_none() {
            survey.without_room += 1;
            about.note(NoteCode::WithoutRoom, "");
        }
    }
    Ok(survey)
}

/// When a session is shown; none where it is not, which is noted.
fn shown_span(session: &Session, programme: &Programme, about: &mut About<'_>) -> Option<Span> {
    if !session.is_accepted() {
        about.note(NoteCode::NotAccepted, session.state.as_deref().unwrap_or_default());
        return None;
    }
    let Some(start) = session.starts_at else {
        about.note(NoteCode::NotScheduled, "no begin");
        return None;
    };
    let span = days::span(session, programme);
    if span.is_none() {
        about.note(NoteCode::NotScheduled, format_args!("a year that the format cannot say: {start}"));
    }
    span
}

/// The first and the last day of the event, as far as they are known.
fn event_days(programme: &Programme) -> (Option<NaiveDate>, Option<NaiveDate>) {
    let event = &programme.event;
    // An event that begins or ends in the night has both days.
    let first = event.starts_at.map(|instant| programme.day_of(instant));
    let last = event.ends_at.map(|instant| instant.with_timezone(&programme.zone).date_naive());
    // An end before the begin says nothing.
    (first, last.filter(|last| first.is_none_or(|first| *last >= first)))
}

/// Which rooms are taken until when, while sessions pass by in the order of their begin.
#[derive(Debug)]
pub(super) struct Occupied(Vec<Option<DateTime<Utc>>>);

impl Occupied {
    /// No room is taken.
    pub(super) fn new(programme: &Programme) -> Self {
        Self(vec![None; programme.rooms.len()])
    }

    /// Takes a session's room, and notes where it is taken already.
    pub(super) fn take(&mut self, session: &Session, span: Span, about: &mut About<'_>) {
        let Some(until) = session.room.and_then(|room| self.0.get_mut(room)) else { return };
        if let Some(taken) = *until
            && span.start < taken
        {
            about.note(NoteCode::Overlapping, format_args!("begins {}, the room is taken until {taken}", span.start));
        }
        *until = Some(until.map_or(span.end, |taken| taken.max(span.end)));
    }
}
