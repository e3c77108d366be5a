//! Events made up for tests, in memory.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use uuid::Uuid;

use crate::export::program::{
    Event, Order, Privacy, Programme, ReadError, Room, Selection, Session, SessionKind, Source, Speaker, SpeakerName,
    Stream, Track, Which,
};

/// A programme with its sessions and speakers.
pub(super) struct Memory {
    pub(super) programme: Programme,
    pub(super) sessions: Vec<Session>,
    pub(super) speakers: Vec<Speaker>,
    /// After how many sessions reading fails.
    pub(super) fails_after: Option<usize>,
}

impl Source for Memory {
    fn programme(&self) -> &Programme {
        &self.programme
    }

    fn sessions(&self, selection: &Selection) -> Stream<'_, Session> {
        let wanted = |session: &&Session| {
            let is_in = selection
                .starts_in
                .as_ref()
                .is_none_or(|range| session.starts_at.is_some_and(|start| range.contains(&start)));
            is_in
                && match selection.which {
                    Which::All => true,
                    Which::Scheduled => session.is_accepted() && session.starts_at.is_some(),
                    Which::Unscheduled => session.is_accepted() && session.starts_at.is_none(),
                }
        };
        let mut found: Vec<_> = self.sessions.iter().filter(wanted).cloned().collect();
        assert_eq!(selection.order, Order::Start);
        found.sort_by_key(|session| (session.starts_at.is_none(), session.starts_at, session.id));
        let fails_after = self.fails_after.unwrap_or(usize::MAX);
        Box::new(found.into_iter().enumerate().map(move |(index, session)| {
            if index < fails_after { Ok(session) } else { Err(ReadError("the disk is gone".to_owned())) }
        }))
    }

    fn speakers(&self) -> Stream<'_, Speaker> {
        Box::new(self.speakers.iter().cloned().map(Ok))
    }
}

/// An empty event in Berlin with two rooms and two tracks.
pub(super) fn empty(name: &str) -> Memory {
    let room = |id: i64, name: &str| Room { uuid: uuid(1000 + id), id, name: name.to_owned() };
    let track = |id: i64, name: &str, color: &str| Track {
        uuid: uuid(2000 + id),
        id,
        name: name.to_owned(),
        color: Some(color.to_owned()),
    };
    Memory {
        programme: Programme {
            event: Event {
                uuid: uuid(1),
                slug: "event".to_owned(),
                name: name.to_owned(),
                starts_at: Some(at("2026-05-21T07:00:00Z")),
                ends_at: Some(at("2026-05-22T16:00:00Z")),
                location: text("Kosmos, Berlin"),
                ..Event::default()
            },
            zone: Tz::Europe__Berlin,
            rooms: vec![room(11, "Main hall"), room(12, "Side room")],
            tracks: vec![track(21, "Web & Mobile", "#ffee00"), track(22, "Hardware", "#0a0a40")],
            kinds: vec![SessionKind { id: 31, name: "Talk".to_owned(), minutes: Some(20) }],
            links: Vec::new(),
            sponsors: Vec::new(),
            changed_at: at("2026-05-01T00:00:00Z"),
            privacy: Privacy::Public,
        },
        sessions: Vec::new(),
        speakers: Vec::new(),
        fails_after: None,
    }
}

/// Two days with five sessions: four with a time, one without.
pub(super) fn small() -> Memory {
    let mut event = empty("Open Days 2026");
    event.speakers = vec![
        speaker(41, "Łukasz Żółć", "Institut für Äpfel"),
        speaker(42, "Ada Lovelace", "Analytical Engines"),
        speaker(43, "Nobody Here", "Rejected Ltd"),
    ];
    event.speakers[0].short_biography = text("<p>Grows <b>apples</b>.</p>");
    let ada = event.speakers[1].who.clone();
    let mut opening = session(1, "Opening café", Some("2026-05-21T07:00:00Z"), Some("2026-05-21T07:30:00Z"));
    opening.speakers = vec![event.speakers[0].who.clone()];
    opening.short_abstract = text("<p>Coffee and <em>words</em> of welcome.</p>");
    (opening.room, opening.track) = (Some(0), Some(0));
    let mut engines = session(2, "Engines", Some("2026-05-21T07:15:00Z"), Some("2026-05-21T08:15:00Z"));
    engines.speakers = vec![ada];
    (engines.room, engines.track, engines.kind) = (Some(1), Some(1), Some(0));
    let mut straße = session(3, "Straße der Zukunft", Some("2026-05-22T08:00:00Z"), Some("2026-05-22T09:00:00Z"));
    (straße.room, straße.track) = (Some(0), Some(1));
    let night = session(4, "Night walk", Some("2026-05-22T22:30:00Z"), None);
    let mut later = session(5, "Some day", None, None);
    later.track = Some(0);
    let mut rejected = session(6, "Rejected talk", Some("2026-05-21T09:00:00Z"), None);
    rejected.state = text("rejected");
    rejected.speakers = vec![event.speakers[2].who.clone()];
    event.sessions = vec![opening, engines, straße, night, later, rejected];
    event
}

/// A session with nothing but a title and its times.
pub(super) fn session(id: i64, title: &str, start: Option<&str>, end: Option<&str>) -> Session {
    Session {
        uuid: uuid(id),
        id,
        source_id: id.to_string(),
        title: title.to_owned(),
        subtitle: None,
        short_abstract: None,
        long_abstract: None,
        starts_at: start.map(at),
        ends_at: end.map(at),
        room: None,
        track: None,
        kind: None,
        language: None,
        level: None,
        state: text("accepted"),
        comments: None,
        slides_url: None,
        audio_url: None,
        video_url: None,
        signup_url: None,
        speakers: Vec::new(),
        sequence: 0,
        created_at: at("2026-01-01T00:00:00Z"),
        updated_at: at("2026-01-01T00:00:00Z"),
    }
}

/// A speaker with nothing but a name and an organisation.
pub(super) fn speaker(id: i64, name: &str, organisation: &str) -> Speaker {
    Speaker {
        who: SpeakerName { uuid: uuid(3000 + id), id, name: name.to_owned(), organisation: text(organisation) },
        source_id: id.to_string(),
        position: None,
        country: None,
        city: None,
        short_biography: None,
        long_biography: None,
        photo_url: None,
        links: Vec::new(),
        is_featured: false,
        email: None,
        mobile: None,
        address: None,
        updated_at: at("2026-01-01T00:00:00Z"),
    }
}

/// An instant.
pub(super) fn at(instant: &str) -> DateTime<Utc> {
    instant.parse().unwrap()
}

/// An id.
pub(super) fn uuid(number: i64) -> Uuid {
    Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0000 | u128::from(number.unsigned_abs()))
}

/// A text.
pub(super) fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}
