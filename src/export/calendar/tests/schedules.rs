//! `schedule.xml` and `schedule.json` against their schemas, and what they say.

use std::path::PathBuf;

use serde_json::Value;

use super::{InMemory, at, event, json_of, read_with, session, speaker, troubled, xml_of};
use crate::export::program::NoteCode;

/// A schema of c3voc's, where the tests are told where they are; the project has none of its own.
fn schema(name: &str) -> Option<PathBuf> {
    std::env::var_os("EVENTFERRY_SCHEMAS").map(|folder| PathBuf::from(folder).join(name))
}

fn assert_valid_xml(file: &str) {
    let schema = schema("c3voc-schedule.xml.xsd").map(|schema| schema.to_str().unwrap().to_owned());
    let held_against = schema.iter().flat_map(|schema| ["--schema", schema]);
    let args: Vec<&str> = ["--noout"].into_iter().chain(held_against).chain(["-"]).collect();
    read_with("xmllint".as_ref(), &args, file);
}

pub(super) fn assert_valid_json(file: &str) -> Value {
    let file: Value = serde_json::from_str(file).unwrap();
    let Some(schema) = schema("c3voc-schema.json") else { return file };
    let schema: Value = serde_json::from_slice(&std::fs::read(schema).unwrap()).unwrap();
    let validator = jsonschema::options().should_validate_formats(true).build(&schema).unwrap();
    let errors: Vec<String> =
        validator.iter_errors(&file).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(errors.is_empty(), "{errors:#?}");
    file
}

/// What `xmllint` finds under a path.
fn found(file: &str, path: &str) -> String {
    read_with("xmllint".as_ref(), &["--xpath", &format!("string({path})"), "-"], file).trim_end().to_owned()
}

pub(super) fn assert_both_valid(source: &InMemory) -> Value {
    assert_valid_xml(&xml_of(source).1);
    assert_valid_json(&json_of(source).1)
}

#[test]
fn an_event_without_sessions_is_valid() {
    let file = assert_both_valid(&event("Europe/Berlin"));
    assert_eq!(file["schedule"]["conference"]["daysCount"], 1);
    assert_eq!(file["schedule"]["conference"]["days"][0]["date"], "2024-02-01");
}

#[test]
fn an_event_without_anything_is_valid() {
    let mut source = event("UTC");
    source.programme.event = crate::export::program::Event::default();
    source.programme.rooms.clear();
    source.programme.tracks.clear();
    let file = assert_both_valid(&source);
    assert_eq!(file["schedule"]["conference"]["acronym"], "event");
}

#[test]
fn an_event_with_every_kind_of_bad_data_is_valid_and_the_notes_say_what_was_done() {
    let source = troubled();
    assert_both_valid(&source);
    for (rendered, _) in [xml_of(&source), json_of(&source)] {
        let count = |code| rendered.notes.count(code);
        assert_eq!(rendered.sessions, 11);
        assert_eq!(count(NoteCode::NotAccepted), 1);
        assert_eq!(count(NoteCode::NotScheduled), 2, "without a begin, and in the year 262142");
        assert_eq!(count(NoteCode::EndGuessed), 2);
        assert_eq!(count(NoteCode::OutsideEvent), 2, "1880 and 2031");
        assert_eq!(count(NoteCode::WithoutRoom), 2);
        assert_eq!(count(NoteCode::AfterMidnight), 1);
        assert_eq!(count(NoteCode::Overlapping), 3, "one in the first room, two in the second");
        assert_eq!(count(NoteCode::CharactersRemoved), 2);
        assert_eq!(count(NoteCode::NameGiven), 3, "a room, a title, a speaker");
        assert_eq!(count(NoteCode::LinkLeftOut), 1);
        assert_eq!(count(NoteCode::EventWithoutStart), 0);
    }
    assert_eq!(xml_of(&source).0.notes.count(NoteCode::LengthCut), 1, "eight days");
    assert_eq!(json_of(&source).0.notes.count(NoteCode::LengthCut), 0);
}

#[test]
fn a_session_after_midnight_stands_under_the_day_before() {
    let mut source = event("Europe/Berlin");
    // 20:00, 03:59 and 04:00 in Berlin.
    source.sessions = vec![
        session(1, "2024-05-10T18:00:00Z"),
        session(2, "2024-05-11T01:59:00Z"),
        session(3, "2024-05-11T02:00:00Z"),
    ];
    let file = assert_both_valid(&source);
    let days = &file["schedule"]["conference"]["days"];
    assert_eq!(days[0]["day_start"], "2024-05-10T04:00:00+02:00");
    assert_eq!(days[0]["day_end"], "2024-05-11T04:00:00+02:00");
    let starts = |day: usize| {
        let sessions = days[day]["rooms"]["Great Hall"].as_array().unwrap().iter();
        sessions.map(|session| session["start"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(starts(0), ["20:00", "03:59"]);
    assert_eq!(starts(1), ["04:00"]);
    let (_, file) = xml_of(&source);
    assert_eq!(found(&file, "/schedule/day[1]/room/event[2]/date"), "2024-05-11T03:59:00+02:00");
    assert_eq!(found(&file, "count(/schedule/day)"), "2");
}

#[test]
fn both_formats_say_the_same_of_a_session() {
    let mut source = event("America/New_York");
    let mut talk = session(7, "2024-03-10T06:30:00Z");
    talk.title = "Ärger & <Freude> ]]>".to_owned();
    talk.subtitle = Some("second\nline".to_owned());
    talk.short_abstract = Some("<p>First</p><p>Second &lt;b&gt;</p>".to_owned());
    talk.long_abstract = Some("1 < 2\nnext".to_owned());
    talk.ends_at = Some(at("2024-03-10T08:00:00Z"));
    talk.language = Some("en".to_owned());
    (talk.room, talk.track, talk.kind) = (Some(1), Some(1), Some(0));
    talk.speakers = vec![speaker(4, "Ada Lovelace"), speaker(5, "Zuse")];
    talk.video_url = Some("https://open.example/v?a=1&b=2".to_owned());
    talk.slides_url = Some("http://open.example/s.pdf".to_owned());
    source.sessions = vec![talk];
    let file = assert_both_valid(&source);
    let conference = &file["schedule"]["conference"];
    assert_eq!(conference["time_zone_name"], "America/New_York");
    assert_eq!(conference["tracks"][0]["color"], "#00aaff");
    assert_eq!(conference["tracks"][1], serde_json::json!({"name": "2nd Track", "slug": "track-2nd-track"}));
    assert_eq!(conference["rooms"][1]["slug"], "saal-a");
    let expected = serde_json::json!({
        "guid": "00000000-0000-0000-0000-00005e550007", "id": 7, "date": "2024-03-10T01:30:00-05:00", "start": "01:30",
        "end": "2024-03-10T04:00:00-04:00", "duration": "01:30", "room": "Saal Ä",
        "slug": "open_days-7-arger-freude", "url": "https://open.example/days", "title": "Ärger & <Freude> ]]>",
        "subtitle": "second line", "language": "en", "track": "2nd Track", "type": "Talk",
        "abstract": "First\n\nSecond <b>", "description": "1 < 2\nnext",
        "persons": [
            {"guid": "00000000-0000-0000-0000-00005bea0004", "id": 4, "name": "Ada Lovelace"},
            {"guid": "00000000-0000-0000-0000-00005bea0005", "id": 5, "name": "Zuse"},
        ],
        "links": [{"url": "https://open.example/v?a=1&b=2", "title": "Video", "type": "media"}],
        "attachments": [{"url": "http://open.example/s.pdf", "title": "Slides", "type": "slides"}],
    });
    assert_eq!(conference["days"][0]["date"], "2024-03-09");
    assert_eq!(conference["days"][0]["rooms"]["Saal Ä"][0], expected);
    let (_, xml) = xml_of(&source);
    for (path, key) in [
        ("@guid", "guid"),
        ("date", "date"),
        ("start", "start"),
        ("duration", "duration"),
        ("room", "room"),
        ("slug", "slug"),
        ("url", "url"),
        ("title", "title"),
        ("subtitle", "subtitle"),
        ("language", "language"),
        ("track", "track"),
        ("type", "type"),
        ("abstract", "abstract"),
        ("description", "description"),
    ] {
        assert_eq!(found(&xml, &format!("//event/{path}")), expected[key].as_str().unwrap(), "{key}");
    }
    assert_eq!(found(&xml, "//person[2]/@guid"), "00000000-0000-0000-0000-00005bea0005");
    assert_eq!(found(&xml, "//link/@href"), "https://open.example/v?a=1&b=2");
    assert_eq!(found(&xml, "//attachment/@href"), "http://open.example/s.pdf");
}

#[test]
fn guids_and_ids_stay_when_everything_is_renamed() {
    let mut source = event("Europe/Berlin");
    source.sessions = vec![session(1, "2024-05-10T18:00:00Z")];
    let guids = |file: &str| {
        let pieces: Vec<String> = file.split("\"guid\":\"").skip(1).map(|rest| rest[..36].to_owned()).collect();
        pieces
    };
    let before = guids(&json_of(&source).1);
    source.programme.event.name = "Another".to_owned();
    source.programme.event.slug = "another".to_owned();
    source.programme.rooms[0].name = "Small Hall".to_owned();
    source.sessions[0].title = "Renamed".to_owned();
    assert_eq!(guids(&json_of(&source).1), before);
    assert_eq!(before.len(), 3);
}

#[test]
fn a_zone_whose_name_the_schema_refuses_is_left_out_of_the_json() {
    for (zone, shown) in [
        ("US/Pacific", None),
        ("EST5EDT", None),
        ("Etc/UTC", Some("UTC")),
        ("America/Argentina/Ushuaia", Some("America/Argentina/Ushuaia")),
        ("Asia/Ho_Chi_Minh", Some("Asia/Ho_Chi_Minh")),
        ("Etc/GMT+5", None),
        ("NZ", None),
    ] {
        let file = assert_both_valid(&event(zone));
        assert_eq!(file["schedule"]["conference"]["time_zone_name"].as_str(), shown, "{zone}");
    }
}

#[test]
fn no_personal_data_is_in_a_file() {
    let mut source = event("Europe/Berlin");
    source.sessions = vec![session(1, "2024-05-10T18:00:00Z")];
    for (_, file) in [xml_of(&source), json_of(&source), super::ics_of(&source)] {
        assert!(!file.contains("not to be shown"));
    }
}

#[test]
fn the_same_data_gives_the_same_bytes() {
    let source = troubled();
    assert_eq!(xml_of(&source), xml_of(&source));
    assert_eq!(json_of(&source), json_of(&source));
}

#[test]
fn a_check_refuses_half_a_file() {
    use crate::export::calendar::{json, xml};
    let (_, file) = xml_of(&troubled());
    for cut in [0, 1, file.len() / 2, file.len() - 3] {
        assert!(xml::check(&mut &file.as_bytes()[..cut]).is_err(), "{cut}");
    }
    assert!(xml::check(&mut file.replace("&amp;", "&nothing;").as_bytes()).is_err());
    assert!(xml::check(&mut file.replace("guid=", "other=").as_bytes()).is_err());
    assert!(xml::check(&mut format!("{file}<schedule/>").as_bytes()).is_err());
    let (_, file) = json_of(&troubled());
    for cut in [0, 1, file.len() / 2, file.len() - 3] {
        assert!(json::check(&mut &file.as_bytes()[..cut]).is_err(), "{cut}");
    }
    assert!(json::check(&mut file.replace("\"daysCount\":4", "\"daysCount\":5").as_bytes()).is_err());
    assert!(json::check(&mut format!("{file}{{}}").as_bytes()).is_err());
}
