//! Who refers to whom: rebuilt, dangling, doubled, disagreeing.

use eventferry::model::{Code, JobState};
use serde_json::{Value, json};

use super::import;
use crate::fixtures::archive::Archive;
use crate::fixtures::importing::{Ferry, Imported};
use crate::support::databases::on_both_databases;

const PAIRS: &str =
    "session_speakers AS p JOIN sessions AS s ON s.id = p.session_id JOIN speakers AS k ON k.id = p.speaker_id";

/// Session, name of the related record, its source id.
async fn related(ferry: &Ferry, relation: &str) -> Vec<String> {
    ferry
        .rows(
            "s.source_id, r.name, r.source_id",
            &format!("sessions AS s LEFT JOIN {relation}s AS r ON r.id = s.{relation}_id"),
        )
        .await
}

/// A problem's message names exactly these numbers.
fn numbers(text: &str) -> Vec<&str> {
    text.split(|character: char| !character.is_ascii_digit()).filter(|part| !part.is_empty()).collect()
}

on_both_databases! {
    async fn absent_types_tracks_and_rooms_are_rebuilt_from_the_sessions(database: TestDatabase) {
        let ferry = Ferry::on(database);
        let archive = Archive::dash().without("session_types").without("tracks").without("microlocations");
        let imported = ferry.import(archive.zip()).await;
        assert_eq!(imported.state(), JobState::Succeeded);
        assert_eq!(imported.codes(), [("RECORDS_REBUILT", 3)].into());
        for (dataset, file) in
            [("session_types", "session_types"), ("tracks", "tracks"), ("microlocations", "microlocations")]
        {
            let counts = imported.dataset(dataset);
            assert_eq!((counts.read, counts.rebuilt, counts.created), (0, 2, 2), "{dataset}");
            let problem = imported.problems.iter().find(|problem| problem.file.as_deref() == Some(file)).unwrap();
            assert_eq!(numbers(&problem.message), ["2"]);
        }
        assert_eq!(
            ferry.rows("source_id, name, length, length_minutes", "session_types").await,
            ["1|Talk|00:30|30", "2|Workshop|01.30|90"]
        );
        assert_eq!(ferry.rows("source_id, name, floor", "microlocations").await, ["1|Crane Hall|0", "2|Net Loft|3"]);
        assert_eq!(
            related(&ferry, "track").await,
            ["1|Ropes|1", "2|Tides|2", "3|Ropes|1", "4|Ropes|1"]
        );
        assert_eq!(
            related(&ferry, "microlocation").await,
            ["1|Crane Hall|1", "2|Crane Hall|1", "3|Net Loft|2", "4|-|-"]
        );
        assert_eq!(imported.report.media.stored, 6, "the picture of the rebuilt track too");
    }

    async fn a_file_that_is_no_json_counts_as_not_there(database: TestDatabase) {
        let ferry = Ferry::on(database);
        let broken = "[\n  {\n    \"id\": 1,\n    \"name\": \"Talk\",\n    \"length\": \"00:30\"\n  }\n    {\n    \"id\": 2\n  }\n]";
        let archive = Archive::dash()
            .raw("session_types", broken)
            // Both nested objects carry the id 1 and differ in name.
            .set("sessions", "/1/session-type/id", 1);
        let imported = ferry.import(archive.zip()).await;
        assert_eq!(imported.state(), JobState::Partial);
        assert_eq!(imported.codes(), [("JSON_SYNTAX", 1), ("RECORDS_REBUILT", 1)].into());
        let problem = imported.only(Code::JsonSyntax);
        assert_eq!(problem.file.as_deref(), Some("session_types"));
        assert!(problem.message.contains("line 7, column 5"), "{problem:?}");
        assert!(problem.value.as_ref().unwrap().contains('{'), "a quote of the place: {problem:?}");
        let counts = imported.dataset("session_types");
        assert_eq!((counts.read, counts.rebuilt, counts.created), (0, 2, 2));
        assert_eq!(ferry.count("session_types").await, 2);
        let types: Vec<String> = related(&ferry, "session_type").await;
        let name_of = |row: &String| row.split('|').nth(1).unwrap().to_owned();
        assert_eq!(types.iter().map(name_of).collect::<Vec<_>>(), ["Talk", "Workshop", "Talk", "Talk"]);
        assert_eq!(imported.report.links.sessions_with_session_type, 4);
        assert_eq!(imported.dataset("sessions").created, 4);
    }

    async fn the_same_id_with_other_content_is_kept_under_a_fresh_id(database: TestDatabase) {
        let ferry = Ferry::on(database);
        let archive = Archive::dash()
            .set("speakers", "/2/id", 2)
            .set("speakers", "/2/sessions", json!([{"id": 3, "title": "Splicing"}]))
            .set("sessions", "/2/speakers", json!([{"id": 2, "name": "Ada Quill"}]))
            .set("sessions", "/3/speakers", json!([{"id": 2}]));
        let imported = ferry.import(archive.zip()).await;
        assert_eq!(imported.state(), JobState::Succeeded);
        let problem = imported.only(Code::DuplicateId);
        assert_eq!(
            (problem.file.as_deref(), problem.position, problem.source_id.as_deref()),
            (Some("speakers"), Some(3), Some("2"))
        );
        let told = numbers(&problem.message);
        assert!(told.contains(&"2") && told.contains(&"3"), "both positions: {}", problem.message);
        assert_eq!(ferry.rows("source_id, name", "speakers").await, ["1|Tova Lind", "2|Imre Sol", "2~2|Ada Quill"]);
        // By the name beside it; without one to the first.
        assert_eq!(
            ferry.rows("s.source_id, k.name", PAIRS).await,
            ["1|Tova Lind", "2|Imre Sol", "2|Tova Lind", "3|Ada Quill", "4|Imre Sol"]
        );
        assert!(!imported.codes().contains_key("NAME_MISMATCH"), "{:?}", imported.problems);
        assert_eq!(imported.dataset("speakers").created, 3);
    }

    async fn links_of_both_sides_are_brought_together(database: TestDatabase) {
        let ferry = Ferry::on(database);
        let archive = Archive::dash()
            // Session 1 does not name speaker 1 any more; speaker 3 does not name session 3; session 4 names speaker 2.
            .set("sessions", "/0/speakers", json!([]))
            .set("speakers", "/2/sessions", json!([]))
            .set("sessions", "/3/speakers", json!([{"id": 2, "name": "Imre Sol"}]));
        let imported = ferry.import(archive.zip()).await;
        assert_eq!(imported.state(), JobState::Succeeded);
        assert_eq!(imported.codes(), [("LINKS_DISAGREE", 1)].into());
        let told = numbers(&imported.only(Code::LinksDisagree).message);
        assert_eq!(told, ["2", "1"], "two only with the session, one only with the speaker");
        assert_eq!(
            ferry.rows("s.source_id, k.source_id", PAIRS).await,
            ["1|1", "2|1", "2|2", "3|3", "4|2"]
        );
        assert_eq!(imported.report.links.session_speakers, 5);
    }
}

#[tokio::test]
async fn a_single_record_that_a_file_lacks_is_rebuilt_beside_it() {
    let (ferry, imported) = import(
        Archive::dash()
            .set("sessions", "/3/microlocation", json!({"id": 77, "name": "Ferry deck", "floor": -1}))
            .set("sessions", "/3/track", json!({"id": 78, "name": "Fog"}))
            .set("sessions", "/3/session-type", json!({"id": 79, "name": "Walk", "length": "0:45"})),
    )
    .await;
    assert_eq!(imported.codes(), [("RECORDS_REBUILT", 3)].into());
    for dataset in ["microlocations", "tracks", "session_types"] {
        let counts = imported.dataset(dataset);
        assert_eq!((counts.read, counts.rebuilt, counts.created), (2, 1, 3), "{dataset}");
    }
    assert_eq!(related(&ferry, "microlocation").await[3], "4|Ferry deck|77");
    assert_eq!(related(&ferry, "track").await[3], "4|Fog|78");
    assert_eq!(related(&ferry, "session_type").await[3], "4|Walk|79");
    assert_eq!(ferry.rows("floor", "microlocations WHERE source_id = '77'").await, ["-1"]);
    assert_eq!(ferry.rows("length_minutes", "session_types WHERE source_id = '79'").await, ["45"]);
}

#[tokio::test]
async fn one_missing_id_under_several_names_is_several_records() {
    let nested = |name: &str| json!({"id": 5, "name": name});
    let (ferry, imported) = import(
        Archive::dash()
            .set("sessions", "/0/track", nested("Fog"))
            .set("sessions", "/1/track", nested("Ice"))
            .set("sessions", "/2/track", nested("Fog"))
            // Without a name it is the first.
            .set("sessions", "/3/track", json!({"id": 5})),
    )
    .await;
    assert_eq!(imported.codes(), [("RECORDS_REBUILT", 1)].into());
    assert_eq!(imported.dataset("tracks").rebuilt, 2);
    let names: Vec<String> =
        related(&ferry, "track").await.iter().map(|row| row.split('|').nth(1).unwrap().to_owned()).collect();
    assert_eq!(names, ["Fog", "Ice", "Fog", "Fog"]);
    assert_eq!(imported.report.links.sessions_with_track, 4);
}

#[tokio::test]
async fn a_dangling_reference_without_a_name_is_told_and_kept() {
    let (ferry, imported) =
        import(Archive::flat().set("sessions", "/0/track_id", 55).set("sessions", "/1/track_id", "55 ").set(
            "sessions",
            "/2/microlocation_id",
            json!({"id": 56, "name": "  "}),
        ))
        .await;
    assert_eq!(imported.state(), JobState::Succeeded);
    assert_eq!(imported.codes(), [("DANGLING_REFERENCE", 2)].into(), "one per id, not per session");
    let told: Vec<_> = imported
        .all(Code::DanglingReference)
        .iter()
        .map(|problem| {
            let part = |part: &Option<String>| part.clone().unwrap_or_default();
            format!("{} {} {}", part(&problem.file), part(&problem.field), part(&problem.value))
        })
        .collect();
    assert_eq!(
        told.into_iter().collect::<std::collections::BTreeSet<_>>(),
        ["sessions track_id 55".to_owned(), "sessions microlocation_id 56".to_owned()].into()
    );
    assert_eq!(imported.dataset("sessions").created, 4);
    assert_eq!(
        ferry
            .rows(
                "u.target_dataset, u.target_source_id, s.source_id, u.field",
                "unresolved_references AS u JOIN sessions AS s ON s.id = u.record_id"
            )
            .await,
        ["microlocations|56|3|microlocation_id", "tracks|55|1|track_id", "tracks|55|2|track_id",]
    );
    assert_eq!(imported.report.links.sessions_with_track, 2);
}

#[tokio::test]
async fn speakers_are_rebuilt_only_where_their_whole_file_is_missing_or_broken() {
    for archive in [Archive::dash().without("speakers"), Archive::dash().raw("speakers", "[{]")] {
        let (ferry, imported) = import(archive).await;
        let counts = imported.dataset("speakers");
        assert_eq!((counts.read, counts.rebuilt, counts.created), (0, 3, 3));
        assert_eq!(
            ferry.rows("s.source_id, k.name", PAIRS).await,
            ["1|Tova Lind", "2|Imre Sol", "2|Tova Lind", "3|Ada Quill"]
        );
        assert_eq!(imported.report.links.session_speakers, 4);
        assert_eq!(imported.all(Code::RecordsRebuilt).len(), 1);
        assert_eq!(imported.all(Code::LinksDisagree).len(), 0);
    }

    let (ferry, imported) = import(Archive::dash().remove("speakers", "/2")).await;
    assert_eq!(imported.codes(), [("DANGLING_REFERENCE", 1)].into());
    assert_eq!(imported.only(Code::DanglingReference).value.as_deref(), Some("3"));
    assert_eq!(ferry.count("speakers").await, 2);
    assert_eq!(imported.report.links.session_speakers, 3);
}

#[tokio::test]
async fn sessions_are_never_rebuilt() {
    let (ferry, imported) = import(Archive::dash().edit("speakers", |speakers| {
        speakers[0]["sessions"].as_array_mut().unwrap().push(json!({"id": 4379, "title": "Deleted long ago"}));
    }))
    .await;
    assert_eq!(imported.codes(), [("DANGLING_REFERENCE", 1)].into());
    let problem = imported.only(Code::DanglingReference);
    assert_eq!((problem.file.as_deref(), problem.value.as_deref()), (Some("speakers"), Some("4379")));
    assert_eq!(ferry.count("sessions").await, 4);

    let (ferry, imported) = import(Archive::dash().without("sessions").without_media("slides/session_2.pdf")).await;
    assert_eq!(imported.codes(), [("DANGLING_REFERENCE", 3)].into());
    assert_eq!(imported.dataset("sessions").rebuilt, 0);
    assert_eq!(ferry.count("sessions").await, 0);
}

#[tokio::test]
async fn ids_are_the_same_as_text_and_as_number() {
    let (ferry, imported) = import(
        Archive::dash()
            .set("speakers", "/0/id", "1")
            .set("tracks", "/0/id", " 1 ")
            .set("microlocations", "/1/id", "2")
            .set("sessions", "/0/id", "1")
            .set("sessions", "/1/session-type/id", "2 ")
            .set("sessions", "/1/speakers/0/id", "1"),
    )
    .await;
    imported.assert_clean();
    assert_eq!(imported.report.links.session_speakers, 4);
    assert_eq!(imported.report.links.sessions_with_track, 4);
    assert_eq!(ferry.rows("source_id", "tracks").await, ["1", "2"]);
}

#[tokio::test]
async fn an_empty_relation_is_none() {
    for nothing in
        [json!({}), json!(null), json!({"id": null}), json!({"id": null, "name": null}), json!(""), json!({"id": " "})]
    {
        let (ferry, imported) = import(Archive::dash().set("sessions", "/1/microlocation", nothing.clone()).set(
            "sessions",
            "/1/session-type",
            nothing.clone(),
        ))
        .await;
        imported.assert_clean();
        assert_eq!(related(&ferry, "microlocation").await[1], "2|-|-", "{nothing}");
        assert_eq!(related(&ferry, "session_type").await[1], "2|-|-", "{nothing}");
        assert_eq!(ferry.count("unresolved_references").await, 0);
        assert_eq!(imported.report.links.sessions_with_microlocation, 2);
    }
}

#[tokio::test]
async fn speakers_without_an_id_are_dropped_from_a_list() {
    let (ferry, imported) = import(
        Archive::dash()
            .set(
                "sessions",
                "/3/speakers",
                json!([{"id": null, "name": null}, {"id": "", "name": "", "organisation": "x"}, {}]),
            )
            .edit("speakers", |speakers| {
                speakers[0]["sessions"].as_array_mut().unwrap().push(json!({"id": null}));
            }),
    )
    .await;
    imported.assert_clean();
    assert_eq!(ferry.count("session_speakers").await, 4);
}

#[tokio::test]
async fn the_same_reference_twice_is_one_link() {
    let (ferry, imported) = import(
        Archive::dash()
            .set(
                "sessions",
                "/3/speakers",
                json!([{"id": 3, "name": "Ada Quill"}, {"id": "3"}, {"id": 3, "name": "Ada Quill"}]),
            )
            .edit("speakers", |speakers| {
                let list = speakers[2]["sessions"].as_array_mut().unwrap();
                list.push(json!({"id": 4, "title": "Closing"}));
                list.push(json!({"id": 4, "title": "Closing"}));
            }),
    )
    .await;
    imported.assert_clean();
    assert_eq!(ferry.count("session_speakers").await, 5);
    assert_eq!(imported.report.links.session_speakers, 5);
}

#[tokio::test]
async fn equal_records_are_merged_and_told() {
    let twin = |archive: Archive| {
        archive.edit("sessions", |sessions| {
            let mut twin = sessions[1].clone();
            // Equal but for the form of the key and the order of keys.
            let title = twin.as_object_mut().unwrap().shift_remove("title").unwrap();
            twin["Title"] = title;
            sessions.as_array_mut().unwrap().push(twin);
        })
    };
    let (ferry, imported) = import(twin(Archive::dash())).await;
    assert_eq!(imported.state(), JobState::Succeeded);
    assert_eq!(imported.codes(), [("DUPLICATE_RECORD", 1)].into());
    let problem = imported.only(Code::DuplicateRecord);
    assert_eq!(
        (problem.file.as_deref(), problem.position, problem.source_id.as_deref()),
        (Some("sessions"), Some(5), Some("2"))
    );
    assert!(numbers(&problem.message).contains(&"2"), "{problem:?}");
    let counts = imported.dataset("sessions");
    assert_eq!((counts.read, counts.created, counts.merged), (5, 4, 1));
    assert_eq!(ferry.count("sessions").await, 4);
    assert_eq!(ferry.count("session_speakers").await, 4);
}

#[tokio::test]
async fn three_records_with_one_id_are_three_records() {
    let more = |title: &str| json!({"id": 4, "title": title, "track": {"id": 1, "name": "Ropes"}});
    let (ferry, imported) = import(
        Archive::dash()
            .push("sessions", more("Closing (again)"))
            .push("sessions", more("Closing (at last)"))
            .push("sessions", more("Closing (again)"))
            .edit("speakers", |speakers| {
                speakers[0]["sessions"].as_array_mut().unwrap().push(json!({"id": 4, "title": "Closing (at last)"}));
            }),
    )
    .await;
    assert_eq!(imported.all(Code::DuplicateId).len(), 2);
    assert_eq!(imported.all(Code::DuplicateRecord).len(), 1);
    assert_eq!(
        ferry.rows("source_id, title", "sessions WHERE title LIKE 'Closing%'").await,
        ["4|Closing", "4~2|Closing (again)", "4~3|Closing (at last)"]
    );
    assert!(ferry.rows("s.source_id, k.source_id", PAIRS).await.contains(&"4~3|1".to_owned()));
}

#[tokio::test]
async fn a_fresh_id_is_never_one_that_is_taken() {
    let more = |id: &str, title: &str| json!({"id": id, "title": title, "track_id": 1});
    let (ferry, imported) = import(
        Archive::dash().push("sessions", more("4~2", "Not the second")).push("sessions", more("4", "The second")),
    )
    .await;
    assert_eq!(imported.all(Code::DuplicateId).len(), 1);
    assert_eq!(ferry.count("sessions").await, 6);
    assert_eq!(ferry.rows("title", "sessions WHERE source_id = '4~2'").await, ["Not the second"]);
}

/// Counts of the mismatches by file and field.
fn mismatches(imported: &Imported) -> Vec<String> {
    let mut told: Vec<String> = imported
        .all(Code::NameMismatch)
        .iter()
        .map(|problem| {
            let field = problem.field.as_deref().unwrap();
            format!("{} {field} {:?}", problem.file.as_deref().unwrap(), numbers(&problem.message))
        })
        .collect();
    told.sort();
    told
}

#[tokio::test]
async fn where_id_and_name_disagree_the_id_wins_and_it_is_told_once_per_field() {
    let (ferry, imported) = import(
        Archive::dash()
            .set("sessions", "/0/microlocation/name", "Net Loft")
            .set("sessions", "/1/microlocation/name", "Somewhere")
            // Blanks around a name are no difference, no name is none either.
            .set("sessions", "/2/microlocation/name", " Net Loft ")
            .set("sessions", "/0/track/name", "")
            .set("sessions", "/3/track/name", "Fog")
            .set("sessions", "/1/speakers/0/name", "Somebody")
            .set("speakers", "/2/sessions/0/title", "Spiking"),
    )
    .await;
    assert_eq!(imported.state(), JobState::Succeeded);
    assert_eq!(
        mismatches(&imported),
        [
            r#"sessions microlocation_id ["2"]"#,
            r#"sessions speaker_ids ["1"]"#,
            r#"sessions track_id ["1"]"#,
            r#"speakers session_ids ["1"]"#,
        ]
    );
    assert_eq!(related(&ferry, "microlocation").await, ["1|Crane Hall|1", "2|Crane Hall|1", "3|Net Loft|2", "4|-|-"]);
    assert_eq!(related(&ferry, "track").await[3], "4|Ropes|1");
}

#[tokio::test]
async fn a_record_without_a_name_is_not_named_otherwise() {
    let (_, imported) =
        import(Archive::dash().set("tracks", "/0/name", json!(null)).set("sessions", "/1/title", "")).await;
    assert_eq!(imported.state(), JobState::Partial);
    assert_eq!(mismatches(&imported), [""; 0], "{:?}", imported.problems);
}

#[tokio::test]
async fn one_side_alone_is_no_disagreement() {
    let without = |file: &'static str, key: &'static str| {
        Archive::dash().edit(file, move |records| {
            for record in records.as_array_mut().unwrap() {
                record.as_object_mut().unwrap().shift_remove(key).unwrap();
            }
        })
    };
    for archive in [without("sessions", "speakers"), without("speakers", "sessions")] {
        let (ferry, imported) = import(archive).await;
        imported.assert_clean();
        assert_eq!(ferry.count("session_speakers").await, 4);
        assert_eq!(imported.report.links.session_speakers, 4);
    }
}

#[tokio::test]
async fn plain_ids_serve_as_well_as_objects() {
    let (ferry, imported) = import(
        Archive::flat()
            .set("sessions", "/0/speaker_ids", json!([1, "2"]))
            .set("sessions", "/1/speakers", json!([3]))
            .set("sessions", "/2/session_type", json!(2))
            .remove("sessions", "/2/session_type_id"),
    )
    .await;
    imported.assert_clean();
    assert_eq!(ferry.rows("s.source_id, k.source_id", PAIRS).await, ["1|1", "1|2", "2|3"]);
    assert_eq!(related(&ferry, "session_type").await[2], "3|Workshop|2");
}

#[tokio::test]
async fn people_are_never_merged_by_their_address() {
    let (ferry, imported) = import(Archive::dash().edit("speakers", |speakers| {
        for speaker in speakers.as_array_mut().unwrap() {
            speaker["email"] = Value::from("office@example.org");
        }
    }))
    .await;
    imported.assert_clean();
    assert_eq!(ferry.count("speakers WHERE email = 'office@example.org'").await, 3);
    assert_eq!(ferry.count("users").await, 1, "only the account's own");
}

#[tokio::test]
async fn what_happened_once_is_told_in_the_singular() {
    let (_, imported) = import(
        Archive::dash()
            .set("sessions", "/0/track", json!({"id": 99}))
            .set("sessions", "/1/microlocation", json!({"id": 1, "name": "Another hall"}))
            .set("sessions", "/2/speakers", json!([]))
            .media("images/spare.png", "spare")
            .media("notes.txt", "notes"),
    )
    .await;
    let message = |code: Code| imported.only(code).message.clone();
    assert!(message(Code::DanglingReference).starts_with("1 record of `sessions` refers to "));
    assert!(message(Code::NameMismatch).starts_with("1 reference of `sessions` names "));
    assert!(message(Code::MediaUnreferenced).starts_with("1 media file is "));
    assert!(message(Code::EntryIgnored).starts_with("1 entry is "));
    for problem in &imported.problems {
        let words: Vec<&str> = problem.message.split(' ').collect();
        let is_odd = words.windows(2).any(|pair| pair[0] == "1" && pair[1].ends_with('s') && pair[1] != "is");
        assert!(!is_odd, "{}", problem.message);
    }
}
