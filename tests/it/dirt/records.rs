//! Records that are wrong: told with file, position, id, field and value, left out, and all others go in.

use eventferry::model::{Code, JobState, Problem, Severity};
use serde_json::{Value, json};

use super::import;
use crate::fixtures::archive::Archive;
use crate::fixtures::importing::{Ferry, Imported};
use crate::fixtures::zips::ZipEntry;
use crate::support::databases::on_both_databases;

/// What a problem points at.
fn place(problem: &Problem) -> String {
    let part = |part: &Option<String>| part.clone().unwrap_or("-".to_owned());
    let position = problem.position.map_or("-".to_owned(), |position| position.to_string());
    format!(
        "{} {} {position} {} {} {}",
        problem.code,
        part(&problem.file),
        part(&problem.source_id),
        part(&problem.field),
        part(&problem.value)
    )
}

fn places(imported: &Imported) -> Vec<String> {
    imported.problems.iter().filter(|problem| problem.severity == Severity::Error).map(place).collect()
}

on_both_databases! {
    async fn bad_records_stay_out_and_all_others_go_in(database: TestDatabase) {
        let ferry = Ferry::on(database);
        let session = |id: Value, change: &dyn Fn(&mut Value)| {
            let mut session = json!({"id": id, "title": "Bad", "track_id": 1});
            change(&mut session);
            session
        };
        let archive = Archive::flat()
            .push("sessions", session(json!(10), &|session| drop(session.as_object_mut().unwrap().shift_remove("id"))))
            .push("sessions", session(json!(null), &|_| {}))
            .push("sessions", session(json!(12), &|session| session["title"] = json!(null)))
            .push("sessions", session(json!(13), &|session| drop(session.as_object_mut().unwrap().shift_remove("title"))))
            .push("sessions", session(json!(14), &|session| session["title"] = json!({"en": "Bad"})))
            .push("sessions", session(json!(15), &|session| session["starts_at"] = json!("tomorrow")))
            .push("sessions", session(json!(16), &|session| session["ends_at"] = json!(20190504)))
            .push("sessions", session(json!(17), &|session| session["track_id"] = json!([1])))
            .push("sessions", json!("a text"))
            .set("microlocations", "/1/floor", "third")
            .set("event", "/latitude", "north");
        let imported = ferry.import(archive.zip()).await;
        let told = places(&imported);
        assert_eq!(told.len(), 12, "{told:#?}");
        for (place, value) in [
            // Without its event nothing of the archive can go in.
            ("EVENT_MISSING event", ""),
            ("NUMBER_INVALID event 1 41 latitude", "north"),
            ("NUMBER_INVALID microlocations 2 2 floor", "third"),
            ("ID_MISSING sessions 5 - id", ""),
            ("ID_MISSING sessions 6 - id", ""),
            ("FIELD_REQUIRED sessions 7 12 title", ""),
            ("FIELD_REQUIRED sessions 8 13 title", ""),
            ("FIELD_TYPE sessions 9 14 title", "Bad"),
            ("DATE_INVALID sessions 10 15 starts_at", "tomorrow"),
            ("FIELD_TYPE sessions 11 16 ends_at", "20190504"),
            ("FIELD_TYPE sessions 12 17 track_id", "1"),
            ("RECORD_NOT_AN_OBJECT sessions 13 - -", "a text"),
        ] {
            assert!(
                told.iter().any(|told| told.starts_with(place) && told.contains(value)),
                "`{place}` with `{value}` is not in {told:#?}"
            );
        }
        assert_eq!(imported.state(), JobState::Failed);
        ferry.assert_no_records().await;

        let imported = ferry.import(archive.set("event", "/latitude", "56.95").zip()).await;
        assert_eq!(imported.state(), JobState::Partial);
        let counts = imported.dataset("sessions");
        assert_eq!((counts.read, counts.created, counts.rejected), (13, 4, 9));
        let counts = imported.dataset("microlocations");
        assert_eq!((counts.read, counts.created, counts.rejected), (2, 1, 1));
        assert_eq!(ferry.rows("source_id", "sessions").await, ["1", "2", "3", "4"]);
    }

    async fn a_value_is_told_as_a_person_wrote_it(database: TestDatabase) {
        let ferry = Ferry::on(database);
        let archive = Archive::flat()
            .set("sessions", "/0/starts_at", "next \"Friday\"")
            .set("sessions", "/1/title", json!(["a", 1]))
            .set("sessions", "/2/ends_at", json!(20190504))
            .set("tracks", "/0/name", "Ro\0pes")
            .raw("sponsors", r#"["just a text", {"id": "2", "id": 2, "name": "Twice"}]"#)
            .without_media("images/sponsors/Buoy_1.png");
        let imported = ferry.import(archive.zip()).await;
        let values: Vec<_> = imported.problems.iter().filter_map(|problem| problem.value.as_deref()).collect();
        // Compared without blanks, since the fixture writes lists over several lines.
        let values: Vec<String> = values.iter().map(|value| value.split_whitespace().collect()).collect();
        assert_eq!(values, ["justatext", "2", "Ro\u{2400}pes", "next\"Friday\"", r#"["a",1]"#, "20190504"]);
    }

    async fn bytes_that_are_no_utf_8_spoil_their_record_only(database: TestDatabase) {
        let ferry = Ferry::on(database);
        let mut bytes = br#"[{"id": 1, "name": "R"#.to_vec();
        bytes.extend(b"\xf6pes");
        bytes.extend(br#""}, {"id": 2, "name": "Tides"}]"#);
        let archive = Archive::flat()
            .raw("tracks", bytes)
            .without_media("images/tracks/image_1.png")
            .raw("session_types", r#"[{"id": 1, "name": "half \ud834"}, {"id": 2, "name": "Workshop"}]"#);
        let imported = ferry.import(archive.zip()).await;
        assert_eq!(imported.state(), JobState::Partial);
        let told = places(&imported);
        assert_eq!(told.len(), 2, "{told:#?}");
        assert!(told[0].starts_with("ENCODING tracks 1 "), "{told:#?}");
        assert!(told[1].starts_with("ENCODING session_types 1 1 name"), "{told:#?}");
        assert_eq!(ferry.rows("name", "tracks").await, ["Tides"]);
        assert_eq!(ferry.rows("name", "session_types").await, ["Workshop"]);
    }
}

#[tokio::test]
async fn every_record_needs_its_name() {
    for (file, field) in [
        ("microlocations", "name"),
        ("tracks", "name"),
        ("session_types", "name"),
        ("speakers", "name"),
        ("sponsors", "name"),
        ("sessions", "title"),
    ] {
        let (_, imported) = import(Archive::dash().set(file, &format!("/1/{field}"), json!(null))).await;
        assert_eq!(imported.state(), JobState::Partial, "{file}");
        assert_eq!(places(&imported), [format!("FIELD_REQUIRED {file} 2 2 {field} -")]);
        assert_eq!(imported.dataset(file).rejected, 1);

        let (ferry, imported) = import(Archive::dash().set(file, &format!("/1/{field}"), " ")).await;
        assert_eq!(imported.state(), JobState::Succeeded, "a blank one is a warning: {file}");
        assert_eq!(imported.codes().get("FIELD_BLANK"), Some(&1), "{file}");
        assert_eq!(ferry.count(&format!("{file} WHERE source_id = '2'")).await, 1);
    }
    let (ferry, imported) = import(Archive::dash().set("event", "/name", json!(null))).await;
    assert_eq!(imported.state(), JobState::Failed);
    assert!(places(&imported).contains(&"FIELD_REQUIRED event 1 41 name -".to_owned()), "{:?}", imported.problems);
    ferry.assert_no_records().await;
}

#[tokio::test]
async fn a_reference_to_a_record_that_stays_out_is_kept_and_not_told_again() {
    let (ferry, imported) = import(
        Archive::flat().set("microlocations", "/0/floor", "cellar").set("sessions", "/0/speaker_ids", json!([1])).set(
            "speakers",
            "/0/name",
            json!(null),
        ),
    )
    .await;
    assert_eq!(imported.state(), JobState::Partial);
    assert_eq!(imported.report.errors(), 2);
    assert!(!imported.codes().contains_key("DANGLING_REFERENCE"), "{:?}", imported.problems);
    assert_eq!(imported.report.links.sessions_with_microlocation, 1);
    assert_eq!(imported.report.links.session_speakers, 0);
    assert_eq!(
        ferry
            .rows(
                "u.target_dataset, u.target_source_id, s.source_id",
                "unresolved_references AS u JOIN sessions AS s ON s.id = u.record_id"
            )
            .await,
        ["microlocations|1|1", "microlocations|1|2", "speakers|1|1"]
    );
}

#[tokio::test]
async fn a_file_with_the_wrong_top_level_counts_as_not_there() {
    for (wrong, found) in [(json!({"sessions": []}), 0), (json!("x"), 0), (json!(null), 0), (json!(5), 0)] {
        let (ferry, imported) = import(Archive::dash().file("tracks", wrong.clone())).await;
        assert_eq!(imported.state(), JobState::Partial, "{wrong}");
        assert_eq!(places(&imported).len(), 1, "{:?}", imported.problems);
        assert!(places(&imported)[0].starts_with("WRONG_TOP_LEVEL tracks"), "{:?}", imported.problems);
        let counts = imported.dataset("tracks");
        assert_eq!((counts.read, counts.rebuilt), (found, 2), "rebuilt from the sessions");
        assert_eq!(ferry.count("sessions WHERE track_id IS NOT NULL").await, 4);
    }
    let (ferry, imported) = import(Archive::dash().file("event", json!([{"id": 1, "name": "In a list"}]))).await;
    assert_eq!(imported.state(), JobState::Failed);
    assert!(imported.codes().contains_key("WRONG_TOP_LEVEL"), "{:?}", imported.problems);
    ferry.assert_no_records().await;
}

#[tokio::test]
async fn broken_json_anywhere_in_a_file_discards_all_of_it() {
    let records = r#"[{"id": 1, "name": "Ropes"}, {"id": 2, "name": "Tides"}"#;
    for (text, what) in [
        (records.to_owned(), "no end"),
        (format!("{records}] []"), "something behind the end"),
        (format!("{records},]"), "a comma too many"),
        (format!("{records} {{\"id\": 3}}]"), "a comma too few"),
        (format!("{records}, {{\"id\": 3, \"name\": \"X\"]"), "the wrong bracket"),
        (format!("{records}, {{\"id\": 3, name: \"X\"}}]"), "a key without quotes"),
        (format!("{records}, {{\"id\": 3, \"name\": 'X'}}]"), "single quotes"),
        (format!("{records}, {{\"id\": 03, \"name\": \"X\"}}]"), "a nought in front"),
        (format!("{records}, {{\"id\": 3, \"name\": \"X\ny\"}}]"), "a line end in a text"),
        (format!("{records}, {{\"id\": 3, \"name\": NaN}}]"), "NaN"),
        (format!("{records}, nul]"), "half a null"),
        (format!("{records}, {{\"id\": 3, \"name\": \"X\", \"deep\": {{\"a\": [1, }}}}]"), "inside of an unknown key"),
        (String::new(), "nothing"),
        ("   ".to_owned(), "blanks"),
    ] {
        let (ferry, imported) =
            import(Archive::flat().raw("tracks", text).without_media("images/tracks/image_1.png")).await;
        assert_eq!(imported.state(), JobState::Partial, "{what}");
        assert_eq!(imported.codes().get("JSON_SYNTAX"), Some(&1), "{what}: {:?}", imported.problems);
        assert_eq!(imported.report.errors(), 1, "{what}: {:?}", imported.problems);
        assert_eq!(imported.dataset("tracks").read, 0, "{what}");
        assert_eq!(ferry.count("tracks").await, 0, "{what}");
        assert_eq!(ferry.count("sessions").await, 4, "{what}");
    }
}

#[tokio::test]
async fn a_file_that_is_empty_or_in_utf_16_is_told_to_be_that() {
    let utf_16: Vec<u8> = "[]".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let marked: Vec<u8> = [0xff, 0xfe].into_iter().chain(utf_16.clone()).collect();
    let cases = [
        (Vec::new(), "is empty", "fill it, or leave it out"),
        (b"\xef\xbb\xbf \n".to_vec(), "is empty", "fill it, or leave it out"),
        (utf_16, "is text in UTF-16", "save it again as UTF-8"),
        (marked, "is text in UTF-16", "save it again as UTF-8"),
        (b"[{]".to_vec(), "is not valid JSON: line 1", "a JSON checker shows it"),
    ];
    for (bytes, what, hint) in cases {
        let (_, imported) = import(Archive::dash().raw("tracks", bytes)).await;
        let problem = imported.only(Code::JsonSyntax);
        assert!(problem.message.contains(what) && problem.hint.contains(hint), "{problem:?}");
        assert_eq!(problem.value.is_some(), what.contains("JSON"), "{problem:?}");
    }
}

#[tokio::test]
async fn a_data_file_with_a_wrong_checksum_counts_as_not_there() {
    let bytes = br#"[{"id": 1, "name": "Ropes"}]"#;
    let entry = ZipEntry { crc: Some(0x1234_5678), ..ZipEntry::new("tracks", bytes) };
    let (ferry, imported) = import(Archive::dash().without("tracks").entry(entry)).await;
    assert_eq!(imported.state(), JobState::Partial);
    assert_eq!(places(&imported).len(), 1, "{:?}", imported.problems);
    assert!(places(&imported)[0].starts_with("CRC_MISMATCH tracks"), "{:?}", imported.problems);
    assert_eq!(imported.dataset("tracks").rebuilt, 2);
    assert_eq!(ferry.count("tracks").await, 2);
}

#[tokio::test]
async fn problems_come_in_the_order_of_the_archive() {
    let (_, imported) = import(
        Archive::dash()
            .set("sessions", "/2/title", json!(null))
            .set("sessions", "/0/starts-at", "soon")
            .set("speakers", "/1/name", json!(null))
            .set("microlocations", "/1/name", json!(null))
            .set("sponsors", "/0/name", json!(null)),
    )
    .await;
    let told: Vec<String> = imported
        .problems
        .iter()
        .filter(|problem| problem.severity == Severity::Error)
        .map(|problem| format!("{} {}", problem.file.as_deref().unwrap(), problem.position.unwrap()))
        .collect();
    assert_eq!(told, ["microlocations 2", "sponsors 1", "speakers 2", "sessions 1", "sessions 3"]);
}

#[tokio::test]
async fn problems_beyond_the_limit_are_counted_and_the_cut_is_told() {
    let mut ferry = Ferry::on_sqlite().await;
    ferry.limits.problems_kept = 10;
    let sessions: Vec<Value> = (0..50).map(|id| json!({"id": id, "title": null})).collect();
    let archive = Archive::flat().file("sessions", sessions).without_media("slides/session_2.pdf");
    let running = ferry.start("many.zip", archive.zip()).await;
    let eventferry::import::RunEnd::Outcome(report) = ferry.run(&running).await else { panic!("no outcome") };
    let problems = eventferry::store::problems::list(&ferry.database, report.job).await.unwrap();
    assert_eq!(report.state, JobState::Partial);
    let count =
        |word: &str| report.problem_counts.iter().find(|(code, _)| code.as_str() == word).map(|(_, count)| *count);
    assert_eq!(count("FIELD_REQUIRED"), Some(50));
    assert_eq!(count("PROBLEMS_TRUNCATED"), Some(1));
    assert!(problems.len() <= 11, "{}", problems.len());
}

#[tokio::test]
async fn social_links_that_are_no_list_are_a_field_of_the_wrong_type() {
    for (links, value) in
        [(json!({"Site": "x"}), "\"Site\""), (json!("https://x.example.org"), "https"), (json!(7), "7")]
    {
        let (ferry, imported) = import(Archive::dash().set("event", "/social-links", links)).await;
        assert_eq!(imported.state(), JobState::Failed);
        let told = places(&imported);
        assert!(
            told.iter().any(|told| told.starts_with("FIELD_TYPE event 1 41 social_links ") && told.contains(value)),
            "{told:#?}"
        );
        ferry.assert_no_records().await;
    }
}

#[tokio::test]
async fn an_event_that_is_there_and_cannot_be_used_is_not_told_to_be_absent() {
    let said = |imported: &Imported| {
        let problem = imported.only(Code::EventMissing);
        (problem.message.clone(), imported.report.summary.clone())
    };
    let (_, imported) = import(Archive::dash().set("event", "/latitude", "north")).await;
    let (message, summary) = said(&imported);
    assert!(message.contains("record of the event could not be used") && !message.contains("no readable"), "{message}");
    assert!(!summary.contains("no readable"), "{summary}");
    for archive in [Archive::dash().without("event"), Archive::dash().raw("event", "{")] {
        let (_, imported) = import(archive).await;
        assert!(said(&imported).0.contains("no readable file `event`"));
    }
}
