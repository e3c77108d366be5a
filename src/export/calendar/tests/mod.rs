//! Tests of the calendar formats: an event in memory, and independent readers of the files.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed step fails the test")]

mod calendars;
mod odd;
mod schedules;
mod steps;

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use uuid::Uuid;

use crate::export::calendar::{ics, json, xml};
use crate::export::program::{
    Event, Order, Privacy, Programme, ReadError, RenderError, Rendered, Room, Selection, Session, SessionKind, Source,
    Speaker, SpeakerName, Stream, Track, Which,
};

/// An event in memory.
#[derive(Debug)]
struct InMemory {
    programme: Programme,
    sessions: Vec<Session>,
}

impl Source for InMemory {
    fn programme(&self) -> &Programme {
        &self.programme
    }

    fn sessions(&self, selection: &Selection) -> Stream<'_, Session> {
        let selection = selection.clone();
        let mut sessions: Vec<&Session> = self.sessions.iter().filter(|session| is_in(session, &selection)).collect();
        let begin = |session: &Session| (session.starts_at.is_none(), session.starts_at, session.id);
        match selection.order {
            Order::Start => sessions.sort_by_key(|session| begin(session)),
            Order::Room => sessions.sort_by_key(|session| (session.room.is_none(), session.room, begin(session))),
            Order::Id => sessions.sort_by_key(|session| session.id),
        }
        Box::new(sessions.into_iter().cloned().map(Ok))
    }

    fn speakers(&self) -> Stream<'_, Speaker> {
        Box::new(std::iter::once(Err(ReadError("calendars do not read speakers".to_owned()))))
    }
}

fn is_in(session: &Session, selection: &Selection) -> bool {
    let is_scheduled = session.is_accepted() && session.starts_at.is_some();
    let by_which = match selection.which {
        Which::All => true,
        Which::Scheduled => is_scheduled,
        Which::Unscheduled => session.is_accepted() && session.starts_at.is_none(),
    };
    let by_time =
        selection.starts_in.as_ref().is_none_or(|range| session.starts_at.is_some_and(|start| range.contains(&start)));
    by_which
        && by_time
        && selection.room.is_none_or(|room| session.room == room)
        && selection.track.is_none_or(|track| session.track == Some(track))
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// An event in a zone with two rooms, two tracks and a type, and no session.
fn event(zone: &str) -> InMemory {
    let zone: Tz = zone.parse().unwrap();
    let room = |id: i64, name: &str| Room { uuid: Uuid::from_u128(1000 + id as u128), id, name: name.to_owned() };
    let track = |id: i64, name: &str, color: &str| Track {
        uuid: Uuid::from_u128(2000 + id as u128),
        id,
        name: name.to_owned(),
        color: Some(color.to_owned()),
    };
    InMemory {
        programme: Programme {
            event: Event {
                uuid: Uuid::from_u128(1),
                slug: "open-days".to_owned(),
                name: "Open Days".to_owned(),
                location: Some("Old Mill, Springfield".to_owned()),
                url: Some("https://open.example/days".to_owned()),
                ..Event::default()
            },
            zone,
            rooms: vec![room(1, "Great Hall"), room(2, "Saal Ä")],
            tracks: vec![track(1, "Science", "#00AAff"), track(2, "2nd Track", "blue")],
            kinds: vec![SessionKind { id: 1, name: "Talk".to_owned(), minutes: Some(45) }],
            links: Vec::new(),
            sponsors: Vec::new(),
            changed_at: at("2024-02-01T10:00:00Z"),
            privacy: Privacy::Public,
        },
        sessions: Vec::new(),
    }
}

/// A session of an hour in the first room.
fn session(id: i64, start: &str) -> Session {
    let starts_at = at(start);
    Session {
        uuid: Uuid::from_u128(0x5e55_0000 + id as u128),
        id,
        source_id: format!("s{id}"),
        title: format!("Session no. {id}"),
        subtitle: None,
        short_abstract: None,
        long_abstract: None,
        starts_at: Some(starts_at),
        ends_at: Some(starts_at + chrono::TimeDelta::hours(1)),
        room: Some(0),
        track: None,
        kind: None,
        language: None,
        level: None,
        state: None,
        comments: Some("not to be shown".to_owned()),
        slides_url: None,
        audio_url: None,
        video_url: None,
        signup_url: None,
        speakers: Vec::new(),
        sequence: 0,
        created_at: at("2024-01-01T00:00:00Z"),
        updated_at: at("2024-01-02T03:04:05Z"),
    }
}

fn speaker(id: i64, name: &str) -> SpeakerName {
    SpeakerName { uuid: Uuid::from_u128(0x5bea_0000 + id as u128), id, name: name.to_owned(), organisation: None }
}

/// An event with one of every kind of bad data, and a good session.
fn troubled() -> InMemory {
    let mut event = event("Europe/Berlin");
    event.programme.event.starts_at = Some(at("2024-05-10T08:00:00Z"));
    event.programme.event.ends_at = Some(at("2024-05-11T16:00:00Z"));
    event.programme.rooms[1].name = "Great  Hall".to_owned();
    let mut sessions: Vec<Session> = (1..=14).map(|id| session(id, "2024-05-10T08:00:00Z")).collect();
    sessions[0].speakers = vec![speaker(1, "Ada <b>"), speaker(2, "\u{202e}مريم"), speaker(3, " ")];
    sessions[0].short_abstract = Some("<p>One &amp; two</p><ul><li>a]]&gt;</li></ul>".to_owned());
    sessions[0].video_url = Some("https://open.example/a video?q=ä".to_owned());
    sessions[0].slides_url = Some("javascript:alert(1)".to_owned());
    sessions[1].starts_at = None;
    sessions[2].state = Some("rejected".to_owned());
    // Overlaps the first.
    sessions[3].starts_at = Some(at("2024-05-10T08:30:00Z"));
    sessions[3].ends_at = Some(at("2024-05-10T08:40:00Z"));
    sessions[4].starts_at = Some(at("2024-05-10T23:30:00Z"));
    sessions[4].ends_at = Some(at("2024-05-10T23:00:00Z"));
    sessions[5].room = None;
    sessions[6].title = "x".repeat(300);
    sessions[6].room = Some(1);
    sessions[7].title = "bell \u{7} and ]]> & =cmd()|'x'".to_owned();
    sessions[7].room = Some(1);
    sessions[8].title = " \u{0} ".to_owned();
    sessions[8].room = Some(1);
    sessions[9].starts_at = Some(at("2031-01-01T12:00:00Z"));
    sessions[9].ends_at = Some(at("2031-01-09T12:00:00Z"));
    sessions[10].ends_at = None;
    sessions[10].starts_at = Some(at("2024-05-11T08:00:00Z"));
    sessions[10].kind = Some(0);
    sessions[11].ends_at = sessions[11].starts_at;
    sessions[11].room = None;
    sessions[12].starts_at = Some(at("1880-01-01T12:00:00Z"));
    sessions[12].ends_at = Some(at("1880-01-01T13:00:00Z"));
    sessions[13].starts_at = Some(DateTime::<Utc>::MAX_UTC);
    sessions[13].ends_at = None;
    event.sessions = sessions;
    event
}

type Render = fn(&dyn Source, &mut dyn Write) -> Result<Rendered, RenderError>;

/// Renders, checks the file as the publisher does, and compares the counts.
fn checked(
    source: &InMemory,
    render: Render,
    check: fn(&mut dyn Read) -> Result<u64, RenderError>,
) -> (Rendered, String) {
    let mut file = Vec::new();
    let rendered = render(source, &mut file).unwrap();
    assert_eq!(check(&mut file.as_slice()).unwrap(), rendered.sessions);
    (rendered, String::from_utf8(file).unwrap())
}

fn xml_of(source: &InMemory) -> (Rendered, String) {
    checked(source, xml::render, xml::check)
}

fn json_of(source: &InMemory) -> (Rendered, String) {
    checked(source, json::render, json::check)
}

fn ics_of(source: &InMemory) -> (Rendered, String) {
    checked(source, |source, out| ics::render(source, ics::Part::Event, out), ics::check)
}

/// A path that the environment gives, since the readers are not part of the project.
fn given(variable: &str, what: &str) -> PathBuf {
    match std::env::var_os(variable) {
        Some(path) => path.into(),
        None => panic!("set {variable} to {what}"),
    }
}

/// Runs an independent reader on a file and returns what it prints.
#[expect(clippy::disallowed_methods, reason = "the independent readers are programs")]
fn read_with(program: &std::path::Path, arguments: &[&str], file: &str) -> String {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{program:?}: {error}"));
    let mut input = child.stdin.take().unwrap();
    let output = std::thread::scope(|scope| {
        // The reader may print before it has read everything, or stop reading.
        scope.spawn(move || drop(input.write_all(file.as_bytes())));
        child.wait_with_output().unwrap()
    });
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
