//! Single values: times, zones, lengths, numbers, switches, texts.

use eventferry::clock::Timestamp;
use eventferry::model::{Code, JobState};
use serde_json::{Value, json};

use super::import;
use crate::fixtures::archive::Archive;
use crate::fixtures::importing::Ferry;
use crate::support::databases::on_both_databases;

on_both_databases! {
    async fn times_are_kept_in_utc_with_the_offset_that_was_given(database: TestDatabase) {
        let ferry = Ferry::on(database);
        let given = [
            ("2019-05-04T09:00:00+03:00", "2019-05-04T06:00:00Z", "+03:00"),
            ("2019-05-04T09:00:00 ", "2019-05-04T06:00:00Z", "-"),
            (" 2019-05-04T09:00:00-07:00", "2019-05-04T16:00:00Z", "-07:00"),
            ("2019-05-04 06:00:00+00:00", "2019-05-04T06:00:00Z", "+00:00"),
            ("2019-05-04T06:00:00Z", "2019-05-04T06:00:00Z", "Z"),
            ("2019-05-04T06:00:00.250000+00:00", "2019-05-04T06:00:00.250Z", "+00:00"),
            // Riga is at +02:00 in winter.
            ("2019-01-04T09:00:00", "2019-01-04T07:00:00Z", "-"),
        ];
        let sessions: Vec<Value> = given
            .iter()
            .enumerate()
            .map(|(index, (text, _, _))| json!({"id": index + 1, "title": "At", "starts-at": text, "track_id": 1}))
            .collect();
        let archive = Archive::flat().file("sessions", sessions).without_media("slides/session_2.pdf");
        let imported = ferry.import(archive.zip()).await;
        imported.assert_clean();
        let times: Vec<Timestamp> = ferry.column("SELECT starts_at FROM sessions ORDER BY source_id").await;
        let offsets = ferry.rows("source_id, starts_at_offset", "sessions").await;
        for (index, (text, utc, offset)) in given.into_iter().enumerate() {
            assert_eq!(times[index], utc.parse::<Timestamp>().unwrap(), "{text}");
            assert_eq!(offsets[index], format!("{}|{offset}", index + 1), "{text}");
        }
    }

    async fn a_blank_date_is_none(database: TestDatabase) {
        let ferry = Ferry::on(database);
        let imported = ferry
            .import(Archive::dash().set("sessions", "/0/starts-at", "").set("sessions", "/0/ends-at", " ").zip())
            .await;
        imported.assert_clean();
        assert_eq!(ferry.rows("source_id", "sessions WHERE starts_at IS NULL AND ends_at IS NULL").await, ["1"]);
    }

    async fn an_end_before_the_start_is_kept_as_given(database: TestDatabase) {
        let ferry = Ferry::on(database);
        let archive = Archive::dash()
            .set("event", "/ends-at", "2019-05-01T18:00:00+03:00")
            .set("sessions", "/1/ends-at", "2019-05-04T09:59:59+03:00")
            // The end is the start, in another zone.
            .set("sessions", "/2/ends-at", "2019-05-05T06:00:00Z");
        let imported = ferry.import(archive.zip()).await;
        assert_eq!(imported.state(), JobState::Succeeded);
        assert_eq!(imported.codes(), [("END_BEFORE_START", 2)].into());
        let told: Vec<_> = imported.problems.iter()
            .map(|problem| (problem.file.clone().unwrap(), problem.position, problem.source_id.clone().unwrap()))
            .collect();
        assert_eq!(told, [
            ("event".to_owned(), Some(1), "41".to_owned()), ("sessions".to_owned(), Some(2), "2".to_owned())
        ]);
        let end: Timestamp = ferry.value("SELECT ends_at FROM sessions WHERE source_id = '2'").await;
        assert_eq!(end, "2019-05-04T06:59:59Z".parse::<Timestamp>().unwrap());
    }

    async fn numbers_may_be_texts_and_blank_ones_are_none(database: TestDatabase) {
        let ferry = Ferry::on(database);
        let archive = Archive::dash()
            .set("event", "/latitude", " 56.25 ")
            .set("event", "/longitude", "")
            .set("microlocations", "/0/floor", "4")
            .set("microlocations", "/1/floor", "")
            .set("sponsors", "/1/level", 3);
        let imported = ferry.import(archive.zip()).await;
        imported.assert_clean();
        assert_eq!(ferry.rows("latitude, longitude", "events").await, ["56.25|-"]);
        assert_eq!(ferry.rows("source_id, floor", "microlocations").await, ["1|4", "2|-"]);
        assert_eq!(ferry.rows("source_id, level", "sponsors").await, ["1|1", "2|3"]);
    }

    async fn a_blank_switch_is_off(database: TestDatabase) {
        let ferry = Ferry::on(database);
        let archive = Archive::dash()
            .set("speakers", "/0/is-featured", "")
            .set("speakers", "/1/is-featured", "true")
            .set("speakers", "/2/is-featured", json!(null));
        ferry.import(archive.zip()).await.assert_clean();
        let shown = "source_id, CASE WHEN is_featured THEN 'on' WHEN NOT is_featured THEN 'off' END";
        assert_eq!(ferry.rows(shown, "speakers").await, ["1|off", "2|on", "3|-"]);
    }

    async fn texts_are_kept_as_given(database: TestDatabase) {
        let ferry = Ferry::on(database);
        let long = format!("<p onclick=\"x\">line\r\nline</p>\t{}", "ā𝄞 ".repeat(2_000));
        let archive = Archive::dash()
            .set("sessions", "/0/long-abstract", long.as_str())
            .set("sessions", "/1/short-abstract", "  blanks around  ")
            .raw("tracks", r#"[{"id": 1, "name": "R\u006fpes", "description": "\ud834\udd1e \"\\\/"}, {"id": 2, "name": "Tides"}]"#)
            .without_media("images/tracks/image_1.png");
        ferry.import(archive.zip()).await.assert_clean();
        let kept: String = ferry.value("SELECT long_abstract FROM sessions WHERE source_id = '1'").await;
        assert!(kept == long);
        assert_eq!(ferry.rows("short_abstract", "sessions WHERE source_id = '2'").await, ["  blanks around  "]);
        assert_eq!(ferry.rows("name, description", "tracks WHERE source_id = '1'").await, ["Ropes|𝄞 \"\\/"]);
    }

    async fn a_nul_character_is_taken_out_and_told(database: TestDatabase) {
        let ferry = Ferry::on(database);
        let archive = Archive::dash()
            .set("sessions", "/0/short-abstract", "a\0b")
            .set("sessions", "/0/unknown", "c\0d")
            .set("sessions", "/0/starts-at", "2019-05-04T09:00:00+03:00\0");
        let imported = ferry.import(archive.zip()).await;
        // A date with a NUL is no date.
        assert_eq!(imported.state(), JobState::Partial);
        assert_eq!(imported.dataset("sessions").rejected, 1);
        let archive = Archive::dash()
            .set("sessions", "/0/short-abstract", "a\0b")
            .set("sessions", "/0/unknown", "c\0d")
            .set("event", "/description", "\0")
            .set("event", "/event-copyright", json!({"holder": "x\0y"}));
        let imported = ferry.import(archive.zip()).await;
        assert_eq!(imported.state(), JobState::Succeeded);
        assert_eq!(ferry.rows("short_abstract", "sessions WHERE source_id = '1'").await, ["ab"]);
        assert!(imported.all(Code::NulCharacter).len() >= 2, "{:?}", imported.problems);
    }

    async fn every_state_is_kept(database: TestDatabase) {
        let ferry = Ferry::on(database);
        let states = ["accepted", "rejected", "draft", "pending", "canceled", "withdrawn"];
        let sessions: Vec<Value> = states
            .iter()
            .enumerate()
            .map(|(index, state)| json!({"id": index + 1, "title": "One", "state": state, "track": {"id": 1}, "microlocation": null}))
            .collect();
        let archive = Archive::flat().file("sessions", sessions).without_media("slides/session_2.pdf");
        let imported = ferry.import(archive.zip()).await;
        imported.assert_clean();
        assert_eq!(ferry.count("sessions WHERE microlocation_id IS NULL").await, 6);
        assert_eq!(ferry.count("sessions WHERE state = 'rejected'").await, 1);
    }
}

#[tokio::test]
async fn zones_get_their_canonical_name_and_a_guess_is_told() {
    for (given, canonical, code) in [
        ("Europe/Riga", "Europe/Riga", None),
        ("US/Pacific", "America/Los_Angeles", None),
        ("Asia/Calcutta", "Asia/Kolkata", None),
        ("US / Pacific", "America/Los_Angeles", Some("TIMEZONE_GUESSED")),
        ("Hawaii-Aleutian", "Pacific/Honolulu", Some("TIMEZONE_GUESSED")),
        ("europe/riga", "Europe/Riga", Some("TIMEZONE_GUESSED")),
        ("Middle Earth", "Middle Earth", Some("TIMEZONE_UNKNOWN")),
    ] {
        let (ferry, imported) = import(Archive::dash().set("event", "/timezone", given)).await;
        assert_eq!(imported.state(), JobState::Succeeded, "{given}");
        assert_eq!(imported.codes(), code.map(|code| (code, 1)).into_iter().collect(), "{given}");
        assert_eq!(ferry.value::<String>("SELECT timezone FROM events").await, canonical);
        if let Some(problem) = imported.problems.first() {
            assert_eq!(
                (problem.file.as_deref(), problem.field.as_deref(), problem.value.as_deref()),
                (Some("event"), Some("timezone"), Some(given))
            );
        }
    }
}

#[tokio::test]
async fn times_without_an_offset_are_read_in_the_guessed_zone() {
    let (ferry, imported) = import(Archive::underscore().set("event", "/timezone", "US / Pacific")).await;
    assert_eq!(imported.codes(), [("TIMEZONE_GUESSED", 1)].into());
    let start: Timestamp = ferry.value("SELECT starts_at FROM sessions WHERE source_id = '1'").await;
    assert_eq!(start, "2019-05-04T16:00:00Z".parse::<Timestamp>().unwrap());
    let start: Timestamp = ferry.value("SELECT starts_at FROM events").await;
    assert_eq!(start, "2019-05-04T16:00:00Z".parse::<Timestamp>().unwrap());
}

#[tokio::test]
async fn lengths_are_minutes_where_they_are_clear() {
    let lengths = [
        (json!("00:30"), Some(30)),
        (json!("0:30"), Some(30)),
        (json!("01.30"), Some(90)),
        (json!("00.45"), Some(45)),
        (json!("24.00"), Some(1440)),
        (json!("45 minutes"), Some(45)),
        (json!("2 hours"), Some(120)),
        (json!("00.2 Hour"), None),
        (json!("00.20 minutes"), None),
        (json!("0.3"), None),
        (json!("00:75"), None),
        (json!("long"), None),
        // The digit after the dot may have had a nought behind it.
        (json!(3.25), None),
        (json!(1), None),
    ];
    let types: Vec<Value> = lengths
        .iter()
        .enumerate()
        .map(|(index, (length, _))| json!({"id": index + 1, "name": "Kind", "length": length}))
        .chain([json!({"id": 91, "name": "Kind", "length": ""}), json!({"id": 92, "name": "Kind", "length": null})])
        .collect();
    let (ferry, imported) = import(Archive::flat().file("session_types", types)).await;
    assert_eq!(imported.state(), JobState::Succeeded);
    let unclear = lengths.iter().filter(|(_, minutes)| minutes.is_none()).count();
    assert_eq!(imported.codes(), [("LENGTH_UNCLEAR", unclear as u64)].into());
    for (index, (length, minutes)) in lengths.iter().enumerate() {
        let given = length.as_str().map_or_else(|| length.to_string(), str::to_owned);
        let shown = minutes.map_or("-".to_owned(), |minutes: i64| minutes.to_string());
        assert_eq!(
            ferry.rows("length, length_minutes", &format!("session_types WHERE source_id = '{}'", index + 1)).await,
            [format!("{given}|{shown}")]
        );
    }
    assert_eq!(ferry.count("session_types WHERE source_id IN ('91', '92') AND length_minutes IS NULL").await, 2);
    let problem = imported.problems.iter().find(|problem| problem.source_id.as_deref() == Some("10")).unwrap();
    assert_eq!(
        (problem.file.as_deref(), problem.position, problem.field.as_deref(), problem.value.as_deref()),
        (Some("session_types"), Some(10), Some("length"), Some("0.3"))
    );
}

#[tokio::test]
async fn a_key_that_is_given_twice_has_its_last_value() {
    let (ferry, imported) = import(
        Archive::dash()
            .raw("tracks", r#"[{"id": 1, "name": "Old", "name": "Ropes"}, {"id": 2, "name": "Tides"}]"#)
            .without_media("images/tracks/image_1.png"),
    )
    .await;
    assert_eq!(imported.state(), JobState::Succeeded);
    assert_eq!(imported.codes(), [("DUPLICATE_KEY", 1)].into());
    assert_eq!(ferry.rows("name", "tracks").await, ["Ropes", "Tides"]);
}

#[tokio::test]
async fn a_byte_order_mark_is_no_part_of_a_file() {
    let mut bytes = b"\xef\xbb\xbf".to_vec();
    bytes.extend(br#"[{"id": 1, "name": "Ropes"}, {"id": 2, "name": "Tides"}]"#);
    let (_, imported) = import(Archive::dash().raw("tracks", bytes).without_media("images/tracks/image_1.png")).await;
    imported.assert_clean();
    assert_eq!(imported.dataset("tracks").created, 2);
}
