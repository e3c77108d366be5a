//! Three dialects of keys, in any mix.

use serde_json::{Value, json};

use super::import;
use crate::fixtures::archive::{Archive, RECORDS};
use crate::fixtures::importing::{Ferry, account};
use crate::support::databases::on_both_databases;

on_both_databases! {
    async fn a_clean_archive_in_any_dialect_is_in_without_a_word(database: TestDatabase) {
        let mut ferry = Ferry::on(database);
        for (name, archive, pairs) in [
            ("underscore", Archive::underscore(), 4),
            ("dash", Archive::dash(), 4),
            ("flat", Archive::flat(), 0),
        ] {
            ferry.account = account(name);
            let imported = ferry.import(archive.zip()).await;
            imported.assert_clean();
            for (dataset, count) in RECORDS {
                let counts = imported.dataset(dataset);
                assert_eq!((counts.read, counts.created), (count, count), "{dataset} in {name}");
            }
            let links = imported.report.links;
            assert_eq!(
                (links.session_speakers, links.sessions_with_track, links.sessions_with_microlocation,
                 links.sessions_with_session_type),
                (pairs, 4, 3, 4),
                "{name}"
            );
            let media = imported.report.media;
            assert_eq!((media.referenced, media.stored, media.missing, media.remote), (7, 6, 0, 1), "{name}");
            let event = imported.report.event.as_ref().unwrap();
            assert!(event.created);
            assert_eq!(event.name, "Harbour Days");
            let owner = ferry
                .value::<String>(&format!(
                    "SELECT u.account FROM event_roles AS r JOIN users AS u ON u.id = r.user_id \
                     WHERE r.event_id = {} AND r.role = 'owner'",
                    event.id
                ))
                .await;
            assert_eq!(owner, name);
        }
    }

    async fn all_dialects_give_the_same_rows(database: TestDatabase) {
        let mut ferry = Ferry::on(database);
        let mut told = Vec::new();
        for (name, archive) in
            [("underscore", Archive::underscore()), ("dash", Archive::dash()), ("flat", Archive::flat())]
        {
            ferry.account = account(name);
            let event = ferry.import(archive.zip()).await.event();
            told.push(rows_of(&ferry, event).await);
        }
        assert_eq!(told[0], told[1]);
        assert_eq!(told[1], told[2]);
        let rows = &told[0];
        assert!(rows.contains(&"sessions: 2|Reading the tide|2|1|2|/slides/session_2.pdf|-".to_owned()), "{rows:#?}");
        assert!(rows.contains(&"sessions: 4|Closing|1|-|1|-|-".to_owned()), "{rows:#?}");
        assert!(rows.contains(&"starts: 2019-05-04T06:00:00+00:00".to_owned()), "{rows:#?}");
    }

    async fn unknown_keys_are_kept_with_their_record_as_they_were_given(database: TestDatabase) {
        let ferry = Ferry::on(database);
        let archive = Archive::dash()
            .set("sessions", "/0/seat-plan", json!({"rows": [1, 2], "Note": "as given"}))
            .set("event", "/pipeline", json!(null))
            .raw("tracks", r#"[{"id": 1, "name": "Ropes", "weight": 1.10, "big": 123456789012345678901234567890},
                               {"id": 2, "name": "Tides", "Ümlaut": "\u00e4"}]"#);
        let imported = ferry.import(archive.without_media("images/tracks/image_1.png").zip()).await;
        imported.assert_clean();

        let extra: String = ferry.value("SELECT CAST(extra AS TEXT) FROM sessions WHERE source_id = '1'").await;
        let extra: Value = serde_json::from_str(&extra).unwrap();
        assert_eq!(extra, json!({"seat-plan": {"rows": [1, 2], "Note": "as given"}}));
        let extra: String = ferry.value("SELECT CAST(extra AS TEXT) FROM events").await;
        assert_eq!(serde_json::from_str::<Value>(&extra).unwrap(), json!({"pipeline": null}));
        let extra: Vec<String> = ferry.column("SELECT CAST(extra AS TEXT) FROM tracks ORDER BY source_id").await;
        assert!(extra[0].contains("1.10") && extra[0].contains("123456789012345678901234567890"), "{extra:?}");
        assert_eq!(serde_json::from_str::<Value>(&extra[1]).unwrap(), json!({"Ümlaut": "ä"}));
    }
}

/// What an event's rows say, under the names that all dialects share.
async fn rows_of(ferry: &Ferry, event: i64) -> Vec<String> {
    let mut rows = Vec::new();
    for (table, columns) in [
        (
            "events",
            "name, source_id, identifier, root_url, location_name, timezone, description, original_image_url, logo_url, \
             owner_name, owner_description, external_event_url, ticket_url, email, privacy, state, event_type, \
             event_topic, event_sub_topic, code_of_conduct, latitude, longitude, copyright, speakers_call",
        ),
        ("social_links", "source_id, name, link"),
        ("microlocations", "source_id, name, floor"),
        ("sponsors", "source_id, name, logo_url, level, type, url"),
        ("speakers", "source_id, name, email, photo_url, organisation, is_featured"),
        ("tracks", "source_id, name, color, track_image_url"),
        ("session_types", "source_id, name, length, length_minutes"),
        ("custom_forms", "form, field_identifier, is_required, is_included"),
    ] {
        let key = if table == "events" { "id" } else { "event_id" };
        let found = ferry.rows(columns, &format!("{table} WHERE {key} = {event}")).await;
        rows.extend(found.into_iter().map(|row| format!("{table}: {row}")));
    }
    let sessions = format!(
        "(SELECT s.*, t.source_id AS track, r.source_id AS room, k.source_id AS kind FROM sessions AS s \
         LEFT JOIN tracks AS t ON t.id = s.track_id LEFT JOIN microlocations AS r ON r.id = s.microlocation_id \
         LEFT JOIN session_types AS k ON k.id = s.session_type_id WHERE s.event_id = {event}) AS whole"
    );
    // A blank media field is none.
    let found = ferry.rows("source_id, title, track, room, kind, slides_url, audio_url", &sessions).await;
    rows.extend(found.into_iter().map(|row| format!("sessions: {row}")));
    let starts: Vec<eventferry::clock::Timestamp> =
        ferry.column(&format!("SELECT starts_at FROM sessions WHERE event_id = {event} ORDER BY starts_at")).await;
    rows.extend(starts.iter().map(|start| format!("starts: {}", start.to_rfc3339())));
    rows
}

#[tokio::test]
async fn dialects_mix_within_an_archive_a_file_and_a_record() {
    let (ferry, imported) = import(
        Archive::dash()
            .remove("event", "/location-name")
            .set("event", "/location_name", "Pier 4")
            .remove("event", "/starts-at")
            .set("event", "/Starts_At", "2019-05-04T09:00:00+03:00")
            .file(
                "forms",
                json!([{"id": 9, "session_form": "{\"title\":{\"include\":1,\"require\":1}}", "speaker-form": "{}"}]),
            )
            .set(
                "sessions",
                "/0",
                json!({
                    "id": 1, "title": "Knots for beginners", "start_time": "2019-05-04T09:00:00+03:00",
                    "ends-at": "2019-05-04T09:30:00+03:00", "track_id": 2, "microlocation": {"id": 2},
                    "SESSION-TYPE": {"id": 1, "name": "Talk"}, "speakers": [{"id": 1, "name": "Tova Lind"}],
                }),
            ),
    )
    .await;
    imported.assert_clean();
    assert_eq!(ferry.value::<String>("SELECT location_name FROM events").await, "Pier 4");
    assert_eq!(ferry.value::<i64>("SELECT count(*) FROM events WHERE starts_at IS NOT NULL").await, 1);
    assert_eq!(
        ferry
            .rows(
                "s.source_id, t.name, r.name, k.name, (starts_at IS NOT NULL AND ends_at IS NOT NULL)",
                "sessions AS s JOIN tracks AS t ON t.id = s.track_id JOIN microlocations AS r ON r.id = s.microlocation_id \
                 JOIN session_types AS k ON k.id = s.session_type_id WHERE s.source_id = '1'"
            )
            .await,
        ["1|Tides|Net Loft|Talk|1"]
    );
    assert_eq!(ferry.rows("form, field_identifier", "custom_forms").await, ["session|title"]);
}

#[tokio::test]
async fn the_canonical_key_wins_and_the_other_is_kept_as_unknown() {
    for (slides, slides_url) in [("first", "second"), ("second", "first")] {
        let mut record = json!({"id": 9, "title": "Both", "track_id": 1});
        for place in ["first", "second"] {
            if slides == place {
                record["slides"] = json!("/slides/other.pdf");
            }
            if slides_url == place {
                record["slides_url"] = json!("/slides/session_2.pdf");
            }
        }
        let (ferry, imported) = import(Archive::flat().push("sessions", record)).await;
        // The other is no reference to media: it is not missed.
        imported.assert_clean();
        assert_eq!(
            ferry.rows("slides_url, extra", "sessions WHERE source_id = '9'").await,
            [r#"/slides/session_2.pdf|{"slides":"/slides/other.pdf"}"#]
        );
        assert_eq!(imported.report.media.referenced, 8);
    }
}

#[tokio::test]
async fn a_canonical_key_that_is_empty_wins_all_the_same() {
    let record = json!({"id": 9, "title": "Both", "track_id": 1, "slides": "", "slides_url": "/slides/session_2.pdf"});
    let (ferry, imported) = import(Archive::flat().push("sessions", record)).await;
    imported.assert_clean();
    assert_eq!(
        ferry.rows("slides_url, extra", "sessions WHERE source_id = '9'").await,
        [r#"/slides/session_2.pdf|{"slides":""}"#]
    );
}

#[tokio::test]
async fn a_session_may_have_a_name_instead_of_a_title() {
    let (ferry, imported) =
        import(Archive::dash().remove("sessions", "/3/title").set("sessions", "/3/name", "Closing words")).await;
    imported.assert_clean();
    assert_eq!(ferry.rows("title, extra", "sessions WHERE source_id = '4'").await, ["Closing words|{}"]);
}
