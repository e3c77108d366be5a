//! `schedule.ics`, read back by an independent reader that knows no zone but from the file itself.

use std::collections::{BTreeMap, HashSet};

use chrono::{SecondsFormat, TimeDelta};
use serde_json::Value;

use super::{InMemory, at, event, given, ics_of, read_with, session, speaker, troubled};
use crate::export::calendar::ics::{self, Part};
use crate::export::program::NoteCode;

const READER: &str = include_str!("read_calendar.py");

pub(super) fn read_back(file: &str) -> Value {
    let python = given("EVENTFERRY_PYTHON", "a Python that has `icalendar`");
    serde_json::from_str(&read_with(&python, &["-c", READER], file)).unwrap()
}

fn part_of(source: &InMemory, part: Part) -> String {
    let mut file = Vec::new();
    let rendered = ics::render(source, part, &mut file).unwrap();
    assert_eq!(ics::check(&mut file.as_slice()).unwrap(), rendered.sessions);
    String::from_utf8(file).unwrap()
}

/// Half-hourly sessions around every clock change of a year in the zones under test.
fn around_clock_changes(zone: &str) -> InMemory {
    let mut source = event(zone);
    let changes = [
        "2024-03-10T07:00:00Z",
        "2024-03-31T01:00:00Z",
        "2024-04-06T15:00:00Z",
        "2024-10-05T15:30:00Z",
        "2024-10-27T01:00:00Z",
        "2024-11-03T06:00:00Z",
    ];
    for change in changes {
        for step in -8..8 {
            let start = at(change) + TimeDelta::minutes(30 * step);
            let id = source.sessions.len() as i64 + 1;
            source.sessions.push(session(id, &start.to_rfc3339()));
        }
    }
    source
}

fn assert_instants(source: &InMemory, read: &Value) {
    let expected: BTreeMap<String, (String, String)> = source
        .sessions
        .iter()
        .map(|session| {
            let text = |instant: Option<chrono::DateTime<chrono::Utc>>| {
                instant.unwrap().to_rfc3339_opts(SecondsFormat::Secs, true)
            };
            (format!("{}@eventferry", session.uuid), (text(session.starts_at), text(session.ends_at)))
        })
        .collect();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let events = read["events"].as_array().unwrap();
    let found: BTreeMap<String, (String, String)> =
        events.iter().map(|event| (text(&event["uid"]), (text(&event["start"]), text(&event["end"])))).collect();
    assert_eq!(found, expected);
    assert_eq!(events.len(), expected.len(), "no UID stands twice");
}

#[test]
fn every_session_is_at_its_right_instant_over_all_clock_changes() {
    let zones = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "UTC", "Asia/Kolkata", "Europe/Dublin"];
    for zone in zones {
        let source = around_clock_changes(zone);
        let read = read_back(&ics_of(&source).1);
        assert_instants(&source, &read);
        assert_eq!(read["zones"], i32::from(zone != "UTC"), "{zone}");
    }
}

#[test]
fn sessions_keep_the_clock_of_the_zone_but_for_an_hour_that_comes_twice() {
    let mut source = event("Europe/Berlin");
    source.sessions = vec![session(1, "2024-10-27T00:30:00Z"), session(2, "2024-10-27T08:00:00Z")];
    let (_, file) = ics_of(&source);
    assert!(file.contains("\r\nDTSTART:20241027T003000Z\r\nDTEND:20241027T013000Z\r\n"), "{file}");
    assert!(file.contains("\r\nDTSTART;TZID=Europe/Berlin:20241027T090000\r\n"), "{file}");
}

#[test]
fn sessions_many_years_apart_are_at_their_right_instants() {
    for zone in ["Europe/Berlin", "Africa/Casablanca", "Pacific/Apia", "Europe/Istanbul", "America/Sao_Paulo"] {
        let mut source = event(zone);
        // Noon and midnight by turns, every fifty days from 1955 to 2023.
        let starts = (0..500).map(|step| at("1955-06-01T00:00:00Z") + TimeDelta::hours(1200 * step + 12 * (step % 2)));
        source.sessions = (1..).zip(starts).map(|(id, start)| session(id, &start.to_rfc3339())).collect();
        assert_instants(&source, &read_back(&ics_of(&source).1));
    }
}

#[test]
fn a_session_of_the_nineteenth_century_is_at_its_right_instant() {
    let mut source = event("Europe/Berlin");
    source.sessions = vec![session(1, "1880-01-01T12:00:00Z"), session(2, "1900-01-01T12:00:00Z")];
    assert_instants(&source, &read_back(&ics_of(&source).1));
}

#[test]
fn calendars_of_rooms_and_tracks_hold_exactly_theirs() {
    let mut source = event("Europe/Berlin");
    for id in 1..=12 {
        let mut talk = session(id, &format!("2024-05-10T{:02}:00:00Z", 6 + id));
        talk.room = [Some(0), Some(1), None][(id % 3) as usize];
        talk.track = [Some(0), None, Some(1), Some(1)][(id % 4) as usize];
        source.sessions.push(talk);
    }
    let ids = |part: Part| {
        let read = read_back(&part_of(&source, part));
        let uids = read["events"].as_array().unwrap().iter().map(|event| event["uid"].as_str().unwrap().to_owned());
        uids.collect::<HashSet<_>>()
    };
    let expected = |numbers: &[i64]| {
        let uids = numbers.iter().map(|id| format!("00000000-0000-0000-0000-{:012x}@eventferry", 0x5e55_0000 + id));
        uids.collect::<HashSet<_>>()
    };
    assert_eq!(ids(Part::Event), expected(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]));
    assert_eq!(ids(Part::Room(0)), expected(&[3, 6, 9, 12]));
    assert_eq!(ids(Part::Room(1)), expected(&[1, 4, 7, 10]));
    assert_eq!(ids(Part::Track(0)), expected(&[4, 8, 12]));
    assert_eq!(ids(Part::Track(1)), expected(&[2, 3, 6, 7, 10, 11]));
    assert_eq!(read_back(&part_of(&source, Part::Track(1)))["name"], "Open Days: 2nd Track");
    assert!(ics::render(&source, Part::Room(2), &mut Vec::new()).is_err());
}

#[test]
fn a_calendar_without_sessions_is_valid() {
    for zone in ["UTC", "Europe/Berlin", "Asia/Kolkata"] {
        let read = read_back(&part_of(&event(zone), Part::Room(0)));
        assert_eq!((read["events"].as_array().unwrap().len(), &read["zones"]), (0, &Value::from(1)));
    }
}

#[test]
fn a_reader_finds_the_texts_as_they_are() {
    let mut source = event("Europe/Berlin");
    let mut talk = session(1, "2024-05-10T18:00:00Z");
    talk.title = "Commas, semicolons; back\\slashes: \"quotes\" \\n 🚢".to_owned();
    talk.long_abstract = Some(format!("<p>{}</p><p>second</p>", "ñandú 🚢 , ; ".repeat(40)));
    (talk.room, talk.track, talk.kind) = (Some(1), Some(0), Some(0));
    talk.speakers = vec![speaker(1, "Ada"), speaker(2, "مريم")];
    talk.speakers[0].organisation = Some("Engines, Ltd".to_owned());
    talk.language = Some("English".to_owned());
    talk.sequence = 5;
    source.sessions = vec![talk];
    let event = &read_back(&ics_of(&source).1)["events"][0];
    assert_eq!(event["summary"], "Commas, semicolons; back\\slashes: \"quotes\" \\n 🚢");
    assert_eq!(event["location"], "Saal Ä, Old Mill, Springfield");
    assert_eq!(event["categories"], serde_json::json!(["Science", "Talk"]));
    assert_eq!(event["sequence"], 5);
    assert_eq!(event["stamp"], "2024-01-02T03:04:05Z");
    assert_eq!(event["status"], "CONFIRMED");
    let expected = format!(
        "Speakers: Ada (Engines, Ltd), مريم\n\n{}\n\nsecond\n\nLanguage: English",
        "ñandú 🚢 , ; ".repeat(40).trim_end()
    );
    assert_eq!(event["description"], expected.as_str());
}

#[test]
fn an_event_with_every_kind_of_bad_data_is_read() {
    let source = troubled();
    let (rendered, file) = ics_of(&source);
    let read = read_back(&file);
    assert_eq!(read["events"].as_array().unwrap().len(), 11);
    assert_eq!(rendered.notes.count(NoteCode::NotScheduled), 2);
    assert_eq!(rendered.notes.count(NoteCode::NotAccepted), 1);
    assert_eq!(rendered.notes.count(NoteCode::Overlapping), 3);
    assert_eq!(ics_of(&source), (rendered, file));
}

#[test]
fn a_check_refuses_what_calendars_do_not_read() {
    let (_, file) = ics_of(&troubled());
    let refused = |file: &str| assert!(ics::check(&mut file.as_bytes()).is_err(), "{file}");
    refused("");
    refused(&file[..file.len() / 2]);
    refused(&file.replace("\r\n", "\n"));
    refused(&file.replacen("\r\n ", "", 1));
    refused(&file.replace("TZID:Europe/Berlin", "TZID:Europe/Paris"));
    refused(&file.replacen("END:VEVENT", "END:VTODO", 1));
    refused(&file.replacen("\r\nDTSTAMP", "\r\nX-STAMP", 1));
    refused(&file.replacen("SUMMARY:", "SUMMARY:\u{7}", 1));
    refused(&format!("{file}{file}"));
}
