//! Whatever the texts and times are, all formats stay valid and say the same.

use chrono::{DateTime, Utc};
use proptest::prelude::*;
use serde_json::Value;

use super::{InMemory, event, ics_of, json_of, session, speaker, xml_of};

/// Texts as nobody should write them.
fn odd_text() -> impl Strategy<Value = String> {
    let pieces = prop_oneof![
        Just("]]>".to_owned()),
        Just("\r\n".to_owned()),
        Just("\n ".to_owned()),
        Just("\u{0}\u{1b}\u{7f}\u{85}\u{2028}".to_owned()),
        Just("\u{fffe}\u{ffff}".to_owned()),
        Just("👩‍🚀🚢".to_owned()),
        Just("\u{202e}שלום مرحبا".to_owned()),
        Just("<p>a</p><script>x".to_owned()),
        Just("</b><ul><li><a href='http://x.example/'>y</a>".to_owned()),
        Just("&#7;&#xFFFE;&nbsp;&amp".to_owned()),
        Just("<!--".to_owned()),
        Just("=cmd()".to_owned()),
        Just("http://[::1]:99/%zz?a b#c#d".to_owned()),
        Just("\\n;,:\"".to_owned()),
        "é{300}",
        any::<String>(),
        Just(String::new()),
    ];
    proptest::collection::vec(pieces, 0..4).prop_map(|pieces| pieces.concat())
}

fn odd_instant() -> impl Strategy<Value = Option<DateTime<Utc>>> {
    let usual = 1_700_000_000_i64..1_720_000_000;
    prop_oneof![
        8 => usual.prop_map(|seconds| DateTime::from_timestamp(seconds, 7)),
        1 => (-9_000_000_000_000_i64..9_000_000_000_000).prop_map(|seconds| DateTime::from_timestamp(seconds, 0)),
        1 => Just(None),
    ]
}

fn odd_event() -> impl Strategy<Value = InMemory> {
    let zones = prop_oneof![
        Just("UTC"),
        Just("Europe/Berlin"),
        Just("Australia/Lord_Howe"),
        Just("America/New_York"),
        Just("Pacific/Apia"),
    ];
    let texts = proptest::collection::vec(odd_text(), 12);
    let times = proptest::collection::vec((odd_instant(), odd_instant()), 1..8);
    (zones, texts, times, odd_instant()).prop_map(|(zone, texts, times, begin)| {
        let mut source = event(zone);
        let text = |number: usize| texts[number % texts.len()].clone();
        let head = &mut source.programme.event;
        (head.name, head.slug, head.starts_at) = (text(0), text(1), begin);
        (head.description, head.url, head.logo_url) = (Some(text(2)), Some(text(3)), Some(text(4)));
        (source.programme.rooms[0].name, source.programme.rooms[1].name) = (text(5), text(5));
        (source.programme.tracks[0].name, source.programme.kinds[0].name) = (text(6), text(7));
        for (number, (start, end)) in times.into_iter().enumerate() {
            let mut talk = session(number as i64 + 1, "2024-05-10T18:00:00Z");
            (talk.starts_at, talk.ends_at) = (start, end);
            (talk.title, talk.subtitle) = (text(number), Some(text(number + 1)));
            (talk.short_abstract, talk.long_abstract) = (Some(text(number + 2)), Some(text(number + 3)));
            (talk.language, talk.level) = (Some(text(number + 4)), Some(text(number + 5)));
            (talk.video_url, talk.slides_url) = (Some(text(number + 6)), Some(format!("https://{}", text(number + 7))));
            (talk.room, talk.track, talk.kind) = ([None, Some(0), Some(1)][number % 3], Some(number % 2), Some(0));
            talk.speakers = vec![speaker(1, &text(number + 8))];
            source.sessions.push(talk);
        }
        source
    })
}

fn xml_guids(file: &str) -> Vec<String> {
    let mut reader = quick_xml::Reader::from_str(file);
    reader.config_mut().enable_all_checks(true);
    let mut guids = Vec::new();
    loop {
        match reader.read_event().unwrap() {
            quick_xml::events::Event::Start(start) if start.name().as_ref() == "event" => {
                guids.push(start.try_get_attribute("guid").unwrap().unwrap().value.into_owned());
            }
            quick_xml::events::Event::Eof => return guids,
            _ => {}
        }
    }
}

fn json_guids(file: &str) -> Vec<String> {
    let file: Value = serde_json::from_str(file).unwrap();
    let days = file["schedule"]["conference"]["days"].as_array().unwrap();
    let rooms = days.iter().flat_map(|day| day["rooms"].as_object().unwrap().values());
    let sessions = rooms.flat_map(|room| room.as_array().unwrap());
    sessions.map(|session| session["guid"].as_str().unwrap().to_owned()).collect()
}

/// Reads the file as lines that are unfolded by hand.
fn ics_guids(file: &str) -> Vec<String> {
    assert!(file.ends_with("\r\n"));
    assert!(file.split("\r\n").all(|line| line.len() <= 75 && !line.contains(['\r', '\n'])));
    let whole = file.replace("\r\n ", "");
    let lines: Vec<&str> = whole.trim_end().split("\r\n").collect();
    assert!(lines.iter().all(|line| line.contains(':') && line.starts_with(|first: char| first.is_ascii_uppercase())));
    let is_inside = |from: &str| lines.iter().filter(|line| **line == from).count();
    assert_eq!(is_inside("BEGIN:VEVENT"), is_inside("END:VEVENT"));
    let uids = lines.iter().filter_map(|line| line.strip_prefix("UID:")?.strip_suffix("@eventferry"));
    uids.skip(1).map(str::to_owned).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_format_is_valid_and_has_the_same_sessions(source in odd_event()) {
        let (xml, json, ics) = (xml_of(&source), json_of(&source), ics_of(&source));
        prop_assert_eq!(xml.0.sessions, json.0.sessions);
        prop_assert_eq!(xml.0.sessions, ics.0.sessions);
        super::schedules::assert_valid_json(&json.1);
        let mut guids = [xml_guids(&xml.1), json_guids(&json.1), ics_guids(&ics.1)];
        guids.iter_mut().for_each(|guids| guids.sort());
        prop_assert_eq!(&guids[0], &guids[1]);
        prop_assert_eq!(&guids[0], &guids[2]);
        prop_assert_eq!(guids[0].len() as u64, xml.0.sessions);
    }
}

proptest! {
    // Each case starts a reader.
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_schemas_accept_whatever_the_texts_are(source in odd_event()) {
        super::schedules::assert_both_valid(&source);
        super::calendars::read_back(&ics_of(&source).1);
    }
}
