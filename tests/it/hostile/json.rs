//! JSON that breaks parsers: depth, repeated keys, numbers that are none, what follows after the end, what is no list.

use eventferry::model::{Code, JobState, Severity};
use serde_json::json;

use crate::fixtures::archive::Archive;
use crate::fixtures::importing::{Ferry, Imported};
use crate::fixtures::zips::Packing;
use crate::support::databases::on_both_databases;

/// `[[[…1…]]]`
fn nested(depth: usize) -> String {
    format!("{}1{}", "[".repeat(depth), "]".repeat(depth))
}

/// The only error, with its code, and where it says that it is.
#[track_caller]
fn only_error(imported: &Imported) -> (Code, Option<&str>, Option<u64>, &str) {
    let errors: Vec<_> = imported.problems.iter().filter(|problem| problem.severity == Severity::Error).collect();
    let [error] = errors[..] else { panic!("{:#?}", imported.problems) };
    (error.code, error.file.as_deref(), error.position, &error.message)
}

const DATA_FILES: [&str; 6] = ["microlocations", "sponsors", "speakers", "tracks", "session_types", "sessions"];

#[tokio::test]
async fn a_million_levels_cost_one_record_wherever_they_stand() {
    let deep = nested(1_000_000);
    let event = || Archive::empty().packed(&[Packing::Stored]).file("event", json!({"id": 1, "name": "Deep"}));
    for file in DATA_FILES {
        let ferry = Ferry::on_sqlite().await;
        let records =
            format!(r#"[{{"id": 1, "name": "a", "title": "a"}}, {{"id": 2, "name": "b", "title": "b", "x": {deep}}}]"#);
        let archive = event().raw(file, records);
        let imported = ferry.import(archive.zip()).await;
        assert_eq!(imported.state(), JobState::Partial, "{file}: {:#?}", imported.problems);
        let (code, told, position, _) = only_error(&imported);
        assert_eq!((code, told, position), (Code::LimitJsonDepth, Some(file), Some(2)));
        assert_eq!((imported.dataset(file).created, imported.dataset(file).rejected), (1, 1), "{file}");
    }
    // Not as a value of a record, but as the whole of a file, and in the files that are no datasets.
    let ferry = Ferry::on_sqlite().await;
    let imported = ferry.import(event().raw("sessions", deep.clone()).zip()).await;
    assert_eq!(only_error(&imported).0, Code::LimitJsonDepth);
    for (archive, code) in [
        (event().raw("event", format!(r#"{{"id": 1, "name": "Deep", "x": {deep}}}"#)), "LIMIT_JSON_DEPTH"),
        (event().raw("eventferry.json", format!(r#"{{"event": {deep}}}"#)), "POLICY_INVALID"),
        (event().raw("meta", format!(r#"{{"root_url": {deep}}}"#)), ""),
        (
            event().raw("forms", json!([{"id": 1, "session_form": format!(r#"{{"title": {deep}}}"#)}]).to_string()),
            "FIELD_TYPE",
        ),
    ] {
        let imported = ferry.import(archive.zip()).await;
        assert!(!imported.codes().contains_key("INTERNAL"), "{:#?}", imported.problems);
        assert!(code.is_empty() || imported.codes().contains_key(code), "{code}: {:#?}", imported.problems);
    }
}

on_both_databases! {
    async fn what_is_no_json_is_told_with_its_place_and_the_rest_goes_in(database: TestDatabase) {
        let ferry = Ferry::on(database);
        let good = r#"{"id": 1, "title": "Fine"}"#;
        let cases: [(String, Code, &str); 12] = [
            (format!("[{good},\n {{\"id\": 2, \"title\": NaN}}]"), Code::JsonSyntax, "line 2, column 21"),
            (format!("[{good},\n {{\"id\": 2, \"x\": -Infinity}}]"), Code::JsonSyntax, "line 2, column 18"),
            (format!("[{good},\n {{\"id\": 2, \"x\": 01}}]"), Code::JsonSyntax, "line 2, column 18"),
            (format!("[{good},\n {{\"id\": 2, \"x\": +1}}]"), Code::JsonSyntax, "line 2, column 17"),
            (format!("[{good},\n {{\"id\": 2, 'x': 1}}]"), Code::JsonSyntax, "line 2, column"),
            (format!("[{good}] x"), Code::JsonSyntax, "line 1, column 30"),
            (format!("[{good}]\n[{good}]"), Code::JsonSyntax, "line 2, column 1"),
            (format!("[{good}"), Code::JsonSyntax, "line 1, column 28"),
            (format!("[{good},]"), Code::JsonSyntax, "line 1, column 29"),
            (good.to_owned(), Code::WrongTopLevel, "an object"),
            ("\"text\"".to_owned(), Code::WrongTopLevel, "a text"),
            ("1e5".to_owned(), Code::WrongTopLevel, "a number"),
        ];
        for (sessions, code, place) in cases {
            let archive = Archive::empty()
                .file("event", json!({"id": 1, "name": "Odd"}))
                .file("tracks", json!([{"id": 1, "name": "Ropes"}]))
                .raw("sessions", sessions.clone());
            let imported = ferry.import(archive.zip()).await;
            assert_eq!(imported.state(), JobState::Partial, "{sessions}: {:#?}", imported.problems);
            let (found, file, _, message) = only_error(&imported);
            assert_eq!((found, file), (code, Some("sessions")), "{sessions}");
            assert!(message.contains(place), "{sessions}: {message}");
            assert_eq!((ferry.count("sessions").await, ferry.count("tracks").await), (0, 1), "{sessions}");
        }
    }

    async fn numbers_beyond_all_bounds_are_values_that_do_not_fit_and_are_kept_where_nobody_reads_them(database: TestDatabase) {
        let ferry = Ferry::on(database);
        let digits = "9".repeat(4_000);
        for (huge, is_nought) in [("1e999999999", false), ("-1e999999999", false), (digits.as_str(), false), ("1e-999999999", true)] {
            let archive = Archive::empty()
                .file("event", json!({"id": 1, "name": "Huge"}))
                .raw(
                    "microlocations",
                    format!(r#"[{{"id": 1, "name": "Deck", "floor": {huge}, "latitude": {huge}}}, {{"id": 2, "name": "Pier", "odd": {huge}}}]"#),
                )
                .raw("sessions", format!(r#"[{{"id": {huge}, "title": "Odd"}}, {{"id": 2, "title": "Fine", "track_id": {huge}}}]"#));
            let imported = ferry.import(archive.zip()).await;
            assert!(!imported.codes().contains_key("INTERNAL"), "{huge}: {:#?}", imported.problems);
            let told = imported.all(Code::NumberInvalid);
            assert_eq!(told.is_empty(), is_nought, "{huge}: {told:#?}");
            for problem in told {
                assert_eq!((problem.file.as_deref(), problem.position), (Some("microlocations"), Some(1)), "{problem:?}");
            }
            assert_eq!(imported.dataset("microlocations").rejected, u64::from(!is_nought), "{huge}");
            let extra = ferry.rows("extra", "microlocations WHERE source_id = '2'").await;
            assert_eq!(extra, [format!(r#"{{"odd":{huge}}}"#)], "kept as it was given");
            assert_eq!(ferry.count("sessions WHERE title = 'Fine'").await, 1, "{huge}: {:#?}", imported.problems);
        }
    }

    async fn of_a_repeated_key_the_last_value_counts_and_it_is_told(database: TestDatabase) {
        let ferry = Ferry::on(database);
        let archive = Archive::empty()
            .file("event", json!({"id": 1, "name": "Twice"}))
            .raw("tracks", r#"[{"id": 7, "name": "Old", "name": "New", "odd": 1, "odd": 2}]"#);
        let imported = ferry.import(archive.zip()).await;
        assert_eq!(imported.codes(), [("DUPLICATE_KEY", 2)].into(), "{:#?}", imported.problems);
        assert!(imported.problems.iter().all(|problem| (problem.file.as_deref(), problem.position) == (Some("tracks"), Some(1))));
        assert_eq!(ferry.rows("name, extra", "tracks").await, [r#"New|{"odd":2}"#]);
    }
}

#[tokio::test]
async fn a_record_of_nothing_but_repeated_keys_is_told_in_bounds() {
    let ferry = Ferry::on_sqlite().await;
    let repeated = r#","a":1"#.repeat(5_000);
    let archive = Archive::empty()
        .file("event", json!({"id": 1, "name": "Again"}))
        .raw("tracks", format!(r#"[{{"id": 1, "name": "Ropes"{repeated}}}]"#));
    let imported = ferry.import(archive.zip()).await;
    assert_eq!(imported.codes(), [("DUPLICATE_KEY", 101)].into());
    let last = imported.problems.iter().filter(|problem| problem.message.contains("4899 more keys are given again"));
    assert_eq!(last.count(), 1, "{:#?}", imported.problems.last());
    assert_eq!(ferry.rows("name, extra", "tracks").await, [r#"Ropes|{"a":1}"#]);
}

#[tokio::test]
async fn a_form_of_very_many_fields_is_refused_before_it_grows() {
    let ferry = Ferry::on_sqlite().await;
    let fields: Vec<String> = (0..30_000).map(|number| format!(r#""f{number}":{{}}"#)).collect();
    let form = json!([{"id": 1, "session_form": format!("{{{}}}", fields.join(",")), "beside": "x".repeat(1 << 20)}]);
    let archive = Archive::empty().file("event", json!({"id": 1, "name": "Forms"})).file("forms", form);
    let imported = ferry.import(archive.zip()).await;
    assert_eq!(imported.state(), JobState::Partial);
    assert_eq!(only_error(&imported).0, Code::LimitRecordBytes);
    assert_eq!(ferry.count("custom_forms").await, 0);
    assert_eq!(ferry.count("events").await, 1);
}

#[tokio::test]
async fn a_list_of_very_many_others_is_refused_before_it_grows() {
    let ferry = Ferry::on_sqlite().await;
    for (count, is_allowed) in [(10_000, true), (10_001, false)] {
        let speakers: Vec<u32> = (0..count).collect();
        let archive = Archive::empty()
            .file("event", json!({"id": count, "name": "Lists"}))
            .file("sessions", json!([{"id": 1, "title": "Everybody", "speaker_ids": speakers}]));
        let imported = ferry.import(archive.zip()).await;
        assert_eq!(imported.dataset("sessions").created, u64::from(is_allowed), "{count}");
        if !is_allowed {
            assert_eq!(only_error(&imported).0, Code::LimitRecordBytes);
            let problem = imported.problems.iter().find(|problem| problem.code == Code::LimitRecordBytes).unwrap();
            assert_eq!(problem.field.as_deref(), Some("speaker_ids"));
            assert!(problem.message.contains("10,001 others, more than the 10,000"), "{}", problem.message);
        }
    }
}

#[tokio::test]
async fn a_field_that_very_many_forms_require_is_told_once() {
    let ferry = Ferry::on_sqlite().await;
    let forms: Vec<_> = (0..1_000)
        .map(|number| {
            json!({
                "id": number, "form": "session", "field_identifier": "subtitle", "is_required": true, "is_included": true
            })
        })
        .collect();
    let archive = Archive::empty()
        .file("event", json!({"id": 1, "name": "Forms"}))
        .file("forms", json!(forms))
        .file("sessions", json!([{"id": 1, "title": "Without"}, {"id": 2, "title": "With", "subtitle": "one"}]));
    let imported = ferry.import(archive.zip()).await;
    assert_eq!(imported.codes().get("FORM_FIELD_MISSING"), Some(&1), "{:?}", imported.problems.first());
    assert_eq!(ferry.count("custom_forms").await, 1_000);
}

#[tokio::test]
async fn records_of_one_id_are_known_by_their_names_whatever_their_number() {
    let mut ferry = Ferry::on_sqlite().await;
    ferry.limits.problems_kept = 50_000;
    // Each name twice, the second time with something else in it: a reference means the first. More than are sorted in memory.
    let tracks: Vec<_> = (0..40_000)
        .map(|number| json!({"id": 1, "name": format!("Track {}", number % 20_000), "color": format!("{number}")}))
        .collect();
    let sessions: Vec<_> = (0..20_000)
        .map(|number| json!({"id": number, "title": "Talk", "track": {"id": 1, "name": format!("Track {number}")}}))
        .chain([
            json!({"id": 20_000, "title": "Unnamed", "track": {"id": 1}}),
            json!({"id": 20_001, "title": "Unknown", "track": {"id": 1, "name": "Track of another event"}}),
        ])
        .collect();
    let archive = Archive::empty()
        .file("event", json!({"id": 1, "name": "Twins"}))
        .file("tracks", json!(tracks))
        .file("sessions", json!(sessions));
    let imported = ferry.import(archive.zip()).await;
    assert_eq!(imported.state(), JobState::Succeeded, "{:?}", imported.problems.first());
    assert_eq!(imported.dataset("tracks").created, 40_000);
    assert_eq!(imported.codes().get("DUPLICATE_ID"), Some(&39_999));
    assert_eq!(imported.codes().get("NAME_MISMATCH"), Some(&1));
    let meant = "sessions JOIN tracks ON tracks.id = sessions.track_id WHERE \
                 tracks.color = CASE WHEN sessions.source_id < '20000' OR length(sessions.source_id) < 5 \
                 THEN sessions.source_id ELSE '0' END";
    assert_eq!(ferry.count(meant).await, 20_002);
}

#[tokio::test]
async fn very_many_records_with_one_id_all_go_in() {
    let mut ferry = Ferry::on_sqlite().await;
    ferry.limits.problems_kept = 50_000;
    let tracks: Vec<_> = (0..50_000).map(|number| json!({"id": 1, "name": format!("Track {}", number / 2)})).collect();
    let archive = Archive::empty().file("event", json!({"id": 1, "name": "Twins"})).file("tracks", json!(tracks));
    let imported = ferry.import(archive.zip()).await;
    assert_eq!(imported.state(), JobState::Succeeded, "{:#?}", imported.problems.first());
    let tracks = imported.dataset("tracks");
    assert_eq!((tracks.read, tracks.created, tracks.merged), (50_000, 25_000, 25_000));
    assert_eq!(ferry.count("tracks").await, 25_000);
}
