#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

mod property;
mod readers;
mod streaming;

use std::path::Path;

use chrono_tz::Europe;
use serde_json::Value;
use uuid::Uuid;

use super::*;
use crate::export::program::{
    Event, Link, ReadError, Rendered, Room, Selection, Session, SessionKind, Source, Speaker, SpeakerName, Sponsor,
    Stream, Track, Which,
};

/// A programme whose records are made when they are asked for.
struct Fake {
    programme: Programme,
    session_count: i64,
    session: Box<dyn Fn(i64) -> Result<Session, ReadError>>,
    speaker_count: i64,
    speaker: Box<dyn Fn(i64) -> Speaker>,
}

impl Fake {
    fn new(programme: Programme) -> Self {
        Self {
            programme,
            session_count: 0,
            session: Box::new(|number| Ok(session(number))),
            speaker_count: 0,
            speaker: Box::new(speaker),
        }
    }

    fn with_sessions(mut self, count: i64, session: impl Fn(i64) -> Result<Session, ReadError> + 'static) -> Self {
        (self.session_count, self.session) = (count, Box::new(session));
        self
    }

    fn with_speakers(mut self, count: i64, speaker: impl Fn(i64) -> Speaker + 'static) -> Self {
        (self.speaker_count, self.speaker) = (count, Box::new(speaker));
        self
    }
}

impl Source for Fake {
    fn programme(&self) -> &Programme {
        &self.programme
    }

    fn sessions(&self, selection: &Selection) -> Stream<'_, Session> {
        assert_eq!(selection.which, Which::All);
        Box::new((0..self.session_count).map(&self.session))
    }

    fn speakers(&self) -> Stream<'_, Speaker> {
        Box::new((0..self.speaker_count).map(|number| Ok((self.speaker)(number))))
    }
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn programme(privacy: Privacy) -> Programme {
    let event = Event {
        uuid: Uuid::from_u128(1),
        slug: "gpn-26".to_owned(),
        name: "Gulaschprogrammiernacht".to_owned(),
        starts_at: Some(at("2026-10-24T08:00:00Z")),
        location: Some("Karlsruhe".to_owned()),
        ..Event::default()
    };
    Programme {
        event,
        zone: Europe::Berlin,
        rooms: vec![
            Room { uuid: Uuid::from_u128(2), id: 1, name: "Saal, groß".to_owned() },
            Room { uuid: Uuid::from_u128(3), id: 2, name: "=Keller".to_owned() },
        ],
        tracks: vec![Track {
            uuid: Uuid::from_u128(4),
            id: 1,
            name: "Hard\"ware".to_owned(),
            color: Some("#ff8800".to_owned()),
        }],
        kinds: vec![SessionKind { id: 1, name: "Vortrag".to_owned(), minutes: Some(45) }],
        links: vec![Link { name: "Blog".to_owned(), url: "https://example.org/blog".to_owned() }],
        sponsors: vec![Sponsor { name: "ACME".to_owned(), url: None, kind: Some("Gold".to_owned()) }],
        changed_at: at("2026-09-01T10:11:12Z"),
        privacy,
    }
}

fn session(number: i64) -> Session {
    Session {
        uuid: Uuid::from_u128(1_000 + u128::try_from(number).unwrap()),
        id: number,
        source_id: (4_379 + number).to_string(),
        title: format!("Session {number}"),
        subtitle: None,
        short_abstract: None,
        long_abstract: None,
        starts_at: None,
        ends_at: None,
        room: None,
        track: None,
        kind: None,
        language: None,
        level: None,
        state: None,
        comments: None,
        slides_url: None,
        audio_url: None,
        video_url: None,
        signup_url: None,
        speakers: vec![],
        sequence: 0,
        created_at: at("2026-01-01T00:00:00Z"),
        updated_at: at("2026-08-01T22:30:00Z"),
    }
}

fn speaker(number: i64) -> Speaker {
    Speaker {
        who: SpeakerName {
            uuid: Uuid::from_u128(2_000 + u128::try_from(number).unwrap()),
            id: number,
            name: format!("Speaker {number}"),
            organisation: None,
        },
        source_id: number.to_string(),
        position: None,
        country: None,
        city: None,
        short_biography: None,
        long_biography: None,
        photo_url: None,
        links: vec![],
        is_featured: false,
        email: None,
        mobile: None,
        address: None,
        updated_at: at("2026-08-01T22:30:00Z"),
    }
}

fn csv_of_sessions(source: &dyn Source) -> (Vec<u8>, Rendered) {
    let mut bytes = Vec::new();
    let rendered = csv::render_sessions(source, &mut bytes).unwrap();
    assert_eq!(csv::check(&mut bytes.as_slice()).unwrap(), rendered.sessions);
    (bytes, rendered)
}

fn csv_of_speakers(source: &dyn Source) -> (Vec<u8>, Rendered) {
    let mut bytes = Vec::new();
    let rendered = csv::render_speakers(source, &mut bytes).unwrap();
    assert_eq!(csv::check(&mut bytes.as_slice()).unwrap(), rendered.speakers);
    (bytes, rendered)
}

fn workbook(source: &dyn Source, folder: &Path) -> (Vec<u8>, Rendered) {
    let path = folder.join("event.xlsx");
    let rendered = xlsx::render(source, &path).unwrap();
    assert_eq!(xlsx::check(&path).unwrap(), rendered.sessions + rendered.speakers);
    let bytes = std::fs::read(&path).unwrap();
    let left: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["event.xlsx"], "nothing else is left");
    (bytes, rendered)
}

/// What Python's `csv` module or `openpyxl` finds in a file. The Python that has them is named by `EVENTFERRY_PYTHON`; else it
/// is `python3`.
#[expect(clippy::disallowed_methods, reason = "the independent reader is another program, and its file a fixture")]
fn read_by_python(kind: &str, bytes: &[u8]) -> Value {
    let python = std::env::var("EVENTFERRY_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(format!("file.{kind}"));
    std::fs::write(&path, bytes).unwrap();
    let output = std::process::Command::new(&python)
        .args(["-c", include_str!("tests/read.py"), kind])
        .arg(&path)
        .output()
        .unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "`{python}` (set EVENTFERRY_PYTHON to one with openpyxl installed) says:\n{complaint}"
    );
    serde_json::from_slice(&output.stdout).unwrap()
}
