//! A made-up event that shows everything once, to try out a template.

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use uuid::Uuid;

use crate::export::program::{
    Event, Link, Privacy, Programme, Room, Selection, Session, SessionKind, Source, Speaker, SpeakerName, Sponsor,
    Stream, Track, Which,
};

/// How many sessions it has: one with a time, one without.
pub(super) const SESSIONS: u64 = 2;

/// The event.
pub(super) struct Trial(Programme);

impl Trial {
    pub(super) fn new() -> Self {
        let day = DateTime::UNIX_EPOCH;
        let event = Event {
            slug: "trial".to_owned(),
            name: "Trial".to_owned(),
            starts_at: Some(day),
            ends_at: Some(day + TimeDelta::days(1)),
            location: words("Town hall"),
            description: words("<p>About</p>"),
            owner_name: words("Organisers"),
            owner_description: words("<p>About</p>"),
            url: words("https://example.org/"),
            ticket_url: words("https://example.org/tickets"),
            code_of_conduct: words("<p>Be kind</p>"),
            ..Event::default()
        };
        Self(Programme {
            event,
            zone: Tz::UTC,
            rooms: vec![Room { uuid: Uuid::nil(), id: 1, name: "Room".to_owned() }],
            tracks: vec![Track { uuid: Uuid::nil(), id: 1, name: "Track".to_owned(), color: words("#224466") }],
            kinds: vec![SessionKind { id: 1, name: "Talk".to_owned(), minutes: Some(30) }],
            links: vec![link()],
            sponsors: vec![Sponsor {
                name: "Sponsor".to_owned(),
                url: words("https://example.org/"),
                kind: words("Gold"),
            }],
            changed_at: day,
            privacy: Privacy::Public,
        })
    }
}

impl Source for Trial {
    fn programme(&self) -> &Programme {
        &self.0
    }

    fn sessions(&self, selection: &Selection) -> Stream<'_, Session> {
        let scheduled = [(1, Some(DateTime::UNIX_EPOCH)), (2, None)];
        let which = selection.which;
        Box::new(scheduled.into_iter().map(|(id, start)| Ok(session(id, start))).filter(move |session| {
            session.as_ref().is_ok_and(|session| match which {
                Which::All => true,
                Which::Scheduled => session.starts_at.is_some(),
                Which::Unscheduled => session.starts_at.is_none(),
            })
        }))
    }

    fn speakers(&self) -> Stream<'_, Speaker> {
        Box::new(std::iter::once(Ok(Speaker {
            who: who(),
            source_id: "1".to_owned(),
            position: words("Engineer"),
            country: words("Germany"),
            city: words("Berlin"),
            short_biography: words("<p>About</p>"),
            long_biography: None,
            photo_url: None,
            links: vec![link()],
            is_featured: false,
            email: None,
            mobile: None,
            address: None,
            updated_at: DateTime::UNIX_EPOCH,
        })))
    }
}

fn session(id: i64, starts_at: Option<DateTime<Utc>>) -> Session {
    Session {
        uuid: Uuid::from_u128(id.unsigned_abs().into()),
        id,
        source_id: id.to_string(),
        title: "Session".to_owned(),
        subtitle: words("Subtitle"),
        short_abstract: words("<p>About</p>"),
        long_abstract: None,
        starts_at,
        ends_at: starts_at.map(|start| start + TimeDelta::hours(1)),
        room: Some(0),
        track: Some(0),
        kind: Some(0),
        language: words("English"),
        level: words("Beginner"),
        state: None,
        comments: None,
        slides_url: words("https://example.org/slides"),
        audio_url: words("https://example.org/audio"),
        video_url: words("https://example.org/video"),
        signup_url: words("https://example.org/signup"),
        speakers: vec![who()],
        sequence: 0,
        created_at: DateTime::UNIX_EPOCH,
        updated_at: DateTime::UNIX_EPOCH,
    }
}

fn who() -> SpeakerName {
    SpeakerName { uuid: Uuid::nil(), id: 1, name: "Speaker".to_owned(), organisation: words("Organisation") }
}

fn link() -> Link {
    Link { name: "Website".to_owned(), url: "https://example.org/".to_owned() }
}

fn words(text: &str) -> Option<String> {
    Some(text.to_owned())
}
