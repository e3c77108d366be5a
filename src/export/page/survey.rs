//! What has to be known of all sessions before the first is written, in one pass that keeps no session.

use std::collections::BTreeMap;
use std::ops::Range;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};

use crate::export::program::{NoteCode, Notes, Programme, ReadError, Selection, Session, Source, Span};

/// What a pass over the sessions found.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// The days with sessions, in order.
    pub(super) days: Vec<Day>,
    /// Sessions that take place at a time that is not known.
    pub(super) unscheduled: u64,
    /// Sessions per room, by index.
    pub(super) rooms: Vec<u64>,
    /// Sessions per track, by index.
    pub(super) tracks: Vec<u64>,
    /// Who speaks in these sessions.
    pub(super) speakers: IdSet,
    /// What this page leaves out or guesses.
    pub(super) notes: Notes,
}

/// A day with sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Day {
    pub(super) date: NaiveDate,
    pub(super) sessions: u64,
    first: DateTime<Utc>,
    last: DateTime<Utc>,
}

impl Survey {
    /// Reads all sessions once.
    pub(super) fn of(source: &dyn Source) -> Result<Self, ReadError> {
        let programme = source.programme();
        let mut survey =
            Self { rooms: vec![0; programme.rooms.len()], tracks: vec![0; programme.tracks.len()], ..Self::default() };
        // Until when each room is taken, so far.
        let mut taken: Vec<Option<DateTime<Utc>>> = vec![None; programme.rooms.len()];
        for session in source.sessions(&Selection::ALL) {
            let session = session?;
            if !session.is_accepted() {
                let state = session.state.as_deref().unwrap_or_default();
                survey.note(NoteCode::NotAccepted, &session, state);
                continue;
            }
            survey.count(&session);
            match session.span(programme) {
                Some(span) => {
                    survey.place(programme, &session, span);
                    survey.note_overlap(&mut taken, &session, span);
                }
                None => survey.unscheduled += 1,
            }
        }
        if programme.event.starts_at.is_none() {
            survey.notes.add(
                NoteCode::EventWithoutStart,
                None,
                &programme.event.name,
                "the first session's day counts",
            );
        }
        Ok(survey)
    }

    /// From when to when sessions of a day begin.
    pub(super) fn range(&self, day: usize) -> Option<Range<DateTime<Utc>>> {
        let last = self.days.get(day)?.last;
        let end = last.checked_add_signed(TimeDelta::seconds(1)).unwrap_or(last);
        let end = self.days.get(day + 1).map_or(end, |next| end.min(next.first));
        Some(self.days[day].first..end)
    }

    /// How many sessions the page shows.
    pub(super) fn sessions(&self) -> u64 {
        self.unscheduled + self.days.iter().map(|day| day.sessions).sum::<u64>()
    }

    fn count(&mut self, session: &Session) {
        if let Some(count) = session.room.and_then(|room| self.rooms.get_mut(room)) {
            *count += 1;
        }
        if let Some(count) = session.track.and_then(|track| self.tracks.get_mut(track)) {
            *count += 1;
        }
        for speaker in &session.speakers {
            self.speakers.insert(speaker.id);
        }
    }

    /// Puts a session under its day. Sessions come by their begin; where a clock that is set back makes the date go back
    /// too, the later day keeps them.
    fn place(&mut self, programme: &Programme, session: &Session, span: Span) {
        let date = programme.day_of(span.start);
        match self.days.last_mut() {
            Some(day) if date <= day.date => {
                day.sessions += 1;
                day.last = span.start;
            }
            _ => self.days.push(Day { date, sessions: 1, first: span.start, last: span.start }),
        }
        let local = span.start.with_timezone(&programme.zone).naive_local();
        if local.date() != date {
            self.note(NoteCode::AfterMidnight, session, &format!("{} stands under {date}", local.format("%F %H:%M")));
        }
        if !span.end_is_given {
            self.note(NoteCode::EndGuessed, session, &format!("{} minutes", (span.end - span.start).num_minutes()));
        }
        let event = &programme.event;
        let is_early = event.starts_at.is_some_and(|start| date < programme.day_of(start));
        let is_late = event.ends_at.is_some_and(|end| date > programme.day_of(end));
        if is_early || is_late {
            self.note(NoteCode::OutsideEvent, session, &date.to_string());
        }
        if session.room.is_none() {
            self.note(NoteCode::WithoutRoom, session, "it stands in a column of its own");
        }
    }

    fn note_overlap(&mut self, taken: &mut [Option<DateTime<Utc>>], session: &Session, span: Span) {
        let Some(until) = session.room.and_then(|room| taken.get_mut(room)) else { return };
        if until.is_some_and(|until| span.start < until && span.start < span.end) {
            self.note(NoteCode::Overlapping, session, "they stand side by side");
        }
        *until = (*until).max(Some(span.end));
    }

    fn note(&mut self, code: NoteCode, session: &Session, detail: &str) {
        self.notes.add(code, Some(&session.source_id), &session.title, detail);
    }
}

/// Ids of records, 64 to an entry: ids of one event lie close together.
#[derive(Debug, Default)]
pub(super) struct IdSet(BTreeMap<i64, u64>);

impl IdSet {
    fn insert(&mut self, id: i64) {
        *self.0.entry(id.div_euclid(64)).or_default() |= 1 << id.rem_euclid(64);
    }

    pub(super) fn contains(&self, id: i64) -> bool {
        self.0.get(&id.div_euclid(64)).is_some_and(|bits| bits & (1 << id.rem_euclid(64)) != 0)
    }

    pub(super) fn len(&self) -> u64 {
        self.0.values().map(|bits| u64::from(bits.count_ones())).sum()
    }
}
