//! What an update does to records.

use std::collections::BTreeMap;

use eventferry::import::RunEnd;
use eventferry::model::{Dataset, JobState};
use serde_json::json;

use crate::fixtures::archive::{Archive, RECORDS};
use crate::fixtures::importing::{Ferry, Imported};
use crate::support::databases::on_both_databases;

/// Created, updated, unchanged, gone.
fn counts(imported: &Imported, dataset: &str) -> [u64; 4] {
    let counts = imported.dataset(dataset);
    [counts.created, counts.updated, counts.unchanged, counts.gone]
}

/// The ids of a dataset's records that were written since an earlier look.
async fn touched(ferry: &Ferry, table: &str, before: &BTreeMap<String, eventferry::clock::Timestamp>) -> Vec<String> {
    let now = ferry.written(table).await;
    now.into_iter().filter(|(id, time)| before.get(id) != Some(time)).map(|(id, _)| id).collect()
}

on_both_databases! {
    async fn an_archive_with_the_same_content_touches_nothing(database: TestDatabase) {
        let ferry = Ferry::on(database);
        ferry.import(Archive::dash().zip()).await.assert_clean();
        let before = ferry.snapshot().await;
        let imported = ferry.import(Archive::dash().below("packed otherwise").zip()).await;
        imported.assert_clean();
        for (dataset, count) in RECORDS {
            assert_eq!(counts(&imported, dataset), [0, 0, count, 0], "{dataset}");
        }
        assert_eq!(imported.report.links.session_speakers, 4);
        assert_eq!(imported.report.media.stored, 6);
        assert_eq!(ferry.snapshot().await, before);
    }

    async fn only_the_records_that_changed_are_touched(database: TestDatabase) {
        let ferry = Ferry::on(database);
        let first = ferry.import(Archive::dash().zip()).await;
        let (sessions, speakers) = (ferry.written("sessions").await, ferry.written("speakers").await);
        let event = ferry.written("events").await;
        let imported = ferry
            .import(
                Archive::dash()
                    .set("sessions", "/1/subtitle", "With a rod")
                    .set("speakers", "/0/mobile", "555")
                    .push("sessions", json!({"id": 5, "title": "New", "track": {"id": 1, "name": "Ropes"}}))
                    .zip(),
            )
            .await;
        imported.assert_clean();
        assert_eq!(counts(&imported, "sessions"), [1, 1, 3, 0]);
        assert_eq!(counts(&imported, "speakers"), [0, 1, 2, 0]);
        assert_eq!(counts(&imported, "tracks"), [0, 0, 2, 0]);
        assert_eq!(touched(&ferry, "sessions", &sessions).await, ["2", "5"]);
        assert_eq!(touched(&ferry, "speakers", &speakers).await, ["1"]);
        assert_eq!(touched(&ferry, "events", &event).await, [""; 0]);
        let (old, new) = (first.report.job, imported.report.job);
        assert_eq!(
            ferry.rows("source_id, job_id", "sessions").await,
            [format!("1|{old}"), format!("2|{new}"), format!("3|{old}"), format!("4|{old}"), format!("5|{new}")]
        );
        assert_eq!(ferry.count("sessions WHERE created_at = updated_at").await, 4);
    }

    async fn an_absent_key_keeps_the_value_and_null_or_empty_clears_it(database: TestDatabase) {
        let ferry = Ferry::on(database);
        let archive = Archive::dash()
            .set("speakers", "/0/mobile", "555")
            .set("speakers", "/0/shoe-size", 43)
            .set("speakers", "/1/mobile", "666")
            .set("event", "/latitude", 56.5);
        ferry.import(archive.clone().zip()).await.assert_clean();
        let imported = ferry
            .import(
                archive
                    .remove("speakers", "/0/mobile")
                    .remove("speakers", "/0/shoe-size")
                    .remove("speakers", "/0/photo-url")
                    .remove("speakers", "/0/is-featured")
                    .set("speakers", "/0/organisation", json!(null))
                    .set("speakers", "/1/mobile", "")
                    .set("speakers", "/1/email", json!(null))
                    .remove("sessions", "/0/starts-at")
                    .set("sessions", "/1/starts-at", json!(null))
                    .set("sessions", "/2/ends-at", "")
                    .remove("session_types", "/0/length")
                    .set("session_types", "/1/length", json!(null))
                    .remove("microlocations", "/0/floor")
                    .set("microlocations", "/1/floor", json!(null))
                    .remove("event", "/latitude")
                    .set("event", "/longitude", json!(null))
                    .remove("event", "/description")
                    .set("event", "/event-copyright", json!(null))
                    .zip(),
            )
            .await;
        assert_eq!(imported.state(), JobState::Succeeded);
        assert_eq!(
            ferry
                .rows(
                    "source_id, mobile, organisation, photo_url, extra, CASE WHEN is_featured THEN 'on' END",
                    "speakers WHERE source_id = '1'"
                )
                .await,
            [r#"1|555|-|/images/speakers/Tova_Lind_1.png|{"shoe-size":43}|on"#]
        );
        assert_eq!(ferry.count("speakers WHERE source_id = '2' AND coalesce(mobile, '') = '' AND email IS NULL").await, 1);
        assert_eq!(
            ferry.rows("source_id", "sessions WHERE starts_at IS NOT NULL AND starts_at_offset IS NOT NULL").await,
            ["1", "3", "4"]
        );
        assert_eq!(ferry.rows("source_id", "sessions WHERE ends_at IS NOT NULL").await, ["1", "2", "4"]);
        assert_eq!(
            ferry.rows("source_id, length, length_minutes", "session_types").await,
            ["1|00:30|30", "2|-|-"]
        );
        assert_eq!(ferry.rows("source_id, floor", "microlocations").await, ["1|0", "2|-"]);
        assert_eq!(ferry.rows("latitude, longitude, description, copyright", "events").await, ["56.5|-|<p>Two days</p>|-"]);
        assert_eq!(ferry.count("media WHERE dataset = 'speakers' AND state = 'stored'").await, 1);
    }

    async fn a_record_without_a_word_about_what_is_required_keeps_it(database: TestDatabase) {
        let ferry = Ferry::on(database);
        ferry.import(Archive::dash().zip()).await.assert_clean();
        let imported = ferry
            .import(
                Archive::dash()
                    .set("tracks", "/0/color", "#ffffff")
                    .remove("tracks", "/0/name")
                    .file("session_types", json!([{"id": 1}, {"id": 2}]))
                    .zip(),
            )
            .await;
        imported.assert_clean();
        assert_eq!(counts(&imported, "tracks"), [0, 1, 1, 0]);
        assert_eq!(counts(&imported, "session_types"), [0, 0, 2, 0]);
        assert_eq!(ferry.rows("source_id, name, color", "tracks").await, ["1|Ropes|#ffffff", "2|Tides|#aa5500"]);
        assert_eq!(ferry.rows("name", "session_types").await, ["Talk", "Workshop"]);
    }

    async fn what_is_gone_from_a_whole_file_is_marked_and_comes_back(database: TestDatabase) {
        let ferry = Ferry::on(database);
        ferry.import(Archive::dash().zip()).await.assert_clean();
        let before = ferry.written("sessions").await;
        let without = Archive::dash().remove("sessions", "/3").remove("sessions", "/2").edit("speakers", |speakers| {
            speakers[2]["sessions"] = json!([]);
        });
        let imported = ferry.import(without.zip()).await;
        imported.assert_clean();
        assert_eq!(counts(&imported, "sessions"), [0, 0, 2, 2]);
        assert_eq!(ferry.rows("source_id, title", "sessions WHERE gone_at IS NOT NULL").await, ["3|Splicing", "4|Closing"]);
        assert_eq!(touched(&ferry, "sessions", &before).await, ["3", "4"]);

        // Marked once: the same archive again does not touch them.
        let marked = ferry.written("sessions").await;
        ferry.import(without.below("again").zip()).await.assert_clean();
        assert_eq!(touched(&ferry, "sessions", &marked).await, [""; 0]);

        let imported = ferry.import(Archive::dash().set("sessions", "/3/title", "Closing words").zip()).await;
        imported.assert_clean();
        assert_eq!(counts(&imported, "sessions"), [0, 2, 2, 0]);
        assert_eq!(ferry.count("sessions WHERE gone_at IS NOT NULL").await, 0);
        assert_eq!(ferry.rows("title", "sessions WHERE source_id IN ('3', '4')").await, ["Closing words", "Splicing"]);
        assert_eq!(ferry.count("session_speakers").await, 4);
    }

    async fn nothing_is_gone_from_a_file_that_is_absent_or_broken(database: TestDatabase) {
        let ferry = Ferry::on(database);
        ferry.import(Archive::flat().zip()).await.assert_clean();
        for archive in [
            Archive::flat().without("sponsors").without_media("images/sponsors/Buoy_1.png"),
            Archive::flat().raw("sponsors", "[{\"id\": 1, \"name\": \"Buoy & Sons\"}"),
            Archive::flat().file("sponsors", json!({"sponsors": []})),
            // One of these may be the second sponsor.
            Archive::flat().remove("sponsors", "/1").push("sponsors", json!({"name": "Lantern Works"})),
            Archive::flat().remove("sponsors", "/1").push("sponsors", json!("Lantern Works")),
        ] {
            let imported = ferry.import(archive.zip()).await;
            assert_eq!(imported.dataset("sponsors").gone, 0);
            assert_eq!(ferry.count("sponsors WHERE gone_at IS NULL").await, 2);
        }
        let imported = ferry.import(Archive::flat().file("sponsors", json!([])).zip()).await;
        assert_eq!(imported.dataset("sponsors").gone, 2);
        assert_eq!(ferry.count("sponsors WHERE gone_at IS NULL").await, 0);
        assert_eq!(ferry.count("sponsors").await, 2, "never deleted");
    }

    async fn social_links_are_gone_only_where_the_archive_speaks_of_them(database: TestDatabase) {
        let ferry = Ferry::on(database);
        ferry.import(Archive::dash().zip()).await.assert_clean();
        // The current server's archives have no word about them.
        for archive in [Archive::dash().remove("event", "/social-links"), Archive::flat().without("social_links")] {
            let imported = ferry.import(archive.zip()).await;
            imported.assert_clean();
            assert_eq!(counts(&imported, "social_links"), [0, 0, 0, 0]);
            assert_eq!(ferry.count("social_links WHERE gone_at IS NULL").await, 2);
        }
        let imported = ferry.import(Archive::dash().remove("event", "/social-links/1").zip()).await;
        assert_eq!(counts(&imported, "social_links"), [0, 0, 1, 1]);
        let imported = ferry.import(Archive::dash().set("event", "/social-links", json!(null)).zip()).await;
        assert_eq!(imported.dataset("social_links").gone, 1);
        assert_eq!(ferry.count("social_links WHERE gone_at IS NULL").await, 0);
    }

    async fn social_links_that_are_no_list_leave_those_that_are_there(database: TestDatabase) {
        let ferry = Ferry::on(database);
        ferry.import(Archive::dash().zip()).await.assert_clean();
        let imported = ferry.import(Archive::dash().set("event", "/social-links", "https://x.example.org").zip()).await;
        assert_eq!(imported.state(), JobState::Partial);
        assert_eq!(imported.codes(), [("FIELD_TYPE", 1)].into());
        assert_eq!(ferry.count("social_links WHERE gone_at IS NULL").await, 2);
    }

    async fn nothing_is_gone_from_a_dataset_of_which_every_record_is_bad(database: TestDatabase) {
        let ferry = Ferry::on(database);
        ferry.import(Archive::dash().zip()).await.assert_clean();
        let bad = json!([{"id": 2, "title": null}, {"id": 9, "title": null}]);
        let archive = Archive::dash().file("sessions", bad).remove("sponsors", "/1").zip();
        let running = ferry.start("harbour.zip", &archive).await;
        let plan = ferry.plan(&running).await;
        assert_eq!((plan.datasets[&Dataset::Sessions].gone, plan.datasets[&Dataset::Sponsors].gone), (0, 1));
        let RunEnd::Outcome(report) = ferry.run(&running).await else { panic!("no outcome") };
        let imported = ferry.end(&running, *report).await;
        assert_eq!(imported.state(), JobState::Partial);
        assert_eq!((imported.dataset("sessions").rejected, imported.dataset("sessions").gone), (2, 0));
        assert_eq!(imported.dataset("sponsors").gone, 1, "the others are looked at as ever");
        assert_eq!(ferry.count("sessions WHERE gone_at IS NULL").await, 4);
    }

    async fn a_job_that_fails_marks_nothing_gone(database: TestDatabase) {
        let ferry = Ferry::on(database);
        ferry.import(Archive::dash().zip()).await.assert_clean();
        let before = ferry.snapshot().await;
        let archive = Archive::empty()
            .file("meta", json!({"root_url": "https://events.example.org"}))
            .file("event", json!({
                "id": 41, "identifier": "h4rb0ur1", "name": "Harbour Days", "starts-at": "2019-05-04T09:00:00+03:00",
                "latitude": "north",
            }))
            .file("sponsors", json!([]))
            .file("speakers", json!([{"id": 1, "name": null}]))
            .file("sessions", json!([]));
        let running = ferry.start("harbour.zip", archive.zip()).await;
        let plan = ferry.plan(&running).await;
        assert_eq!(plan.state, JobState::Failed);
        assert!(plan.datasets.values().all(|counts| counts.gone == 0), "{plan:?}");
        let RunEnd::Outcome(report) = ferry.run(&running).await else { panic!("no outcome") };
        let imported = ferry.end(&running, *report).await;
        assert_eq!(imported.state(), JobState::Failed);
        assert!(imported.report.event.is_none(), "it went into none");
        assert!(imported.report.datasets.values().all(|counts| counts.gone == 0), "{:?}", imported.report);
        assert_eq!(ferry.snapshot().await, before);
    }

    async fn a_rejected_record_keeps_its_old_version(database: TestDatabase) {
        let ferry = Ferry::on(database);
        ferry.import(Archive::dash().zip()).await.assert_clean();
        let before = ferry.written("sessions").await;
        let imported = ferry
            .import(
                Archive::dash()
                    .set("sessions", "/0/title", "New title")
                    .set("sessions", "/0/starts-at", "some day")
                    .set("sessions", "/0/speakers", json!([]))
                    .set("sessions", "/1/title", json!(null))
                    .set("event", "/latitude", "north")
                    .set("event", "/name", "Harbour Days")
                    .set("event", "/description", "New")
                    .zip(),
            )
            .await;
        assert_eq!(imported.state(), JobState::Partial);
        assert_eq!(counts(&imported, "sessions"), [0, 0, 2, 0]);
        assert_eq!(imported.dataset("sessions").rejected, 2);
        assert_eq!(imported.dataset("event").rejected, 1);
        assert_eq!(touched(&ferry, "sessions", &before).await, [""; 0]);
        assert_eq!(ferry.rows("source_id, title", "sessions WHERE source_id IN ('1', '2')").await,
            ["1|Knots for beginners", "2|Reading the tide"]);
        assert_eq!(ferry.rows("description", "events").await, ["<p>Two days</p>"]);
        assert_eq!(ferry.count("sessions WHERE gone_at IS NOT NULL").await, 0);
        assert_eq!(ferry.count("session_speakers").await, 4);
    }

    async fn media_follow_the_fields_that_name_them(database: TestDatabase) {
        let ferry = Ferry::on(database);
        let first = Archive::dash().set("speakers", "/1/photo-url", "/images/later.png");
        let imported = ferry.import(first.clone().zip()).await;
        assert_eq!(imported.codes(), [("MEDIA_MISSING", 1)].into());
        let sponsor = "dataset = 'sponsors' AND field = 'logo_url'";
        assert_eq!(ferry.count(&format!("media WHERE {sponsor}")).await, 1);

        // The file is there now, another one has other bytes, a third is not named any more.
        let second = first
            .media("images/later.png", "later")
            .without_media("images/logo.png")
            .media("images/logo.png", "another logo")
            .set("sponsors", "/0/logo-url", json!(null));
        let imported = ferry.import(second.zip()).await;
        assert_eq!(imported.codes(), [("MEDIA_UNREFERENCED", 1)].into());
        let path = "(SELECT m.path, m.state, m.bytes, s.source_id FROM media AS m JOIN speakers AS s ON s.id = m.record_id \
                    WHERE m.dataset = 'speakers') AS files";
        assert_eq!(
            ferry.rows("source_id, path, state, bytes", path).await,
            ["1|images/speakers/Tova_Lind_1.png|stored|4", "2|images/later.png|stored|5"]
        );
        assert_eq!(ferry.count(&format!("media WHERE {sponsor}")).await, 0);
        assert_eq!(ferry.rows("bytes", "media WHERE field = 'logo_url' AND dataset = 'event'").await, ["12"]);
        assert_eq!(ferry.count("media WHERE state <> 'stored' AND state <> 'remote'").await, 0);
    }

    async fn two_records_of_one_id_stay_two(database: TestDatabase) {
        let ferry = Ferry::on(database);
        let twins = |second: &str| {
            Archive::dash().push("sessions", json!({"id": 4, "title": second, "track": {"id": 1, "name": "Ropes"}}))
        };
        ferry.import(twins("Closing party").zip()).await;
        let imported = ferry.import(twins("Closing ball").zip()).await;
        assert_eq!(counts(&imported, "sessions"), [0, 1, 4, 0]);
        assert_eq!(
            ferry.rows("source_id, title", "sessions WHERE source_id LIKE '4%'").await,
            ["4|Closing", "4~2|Closing ball"]
        );
        let imported = ferry.import(Archive::dash().zip()).await;
        assert_eq!(imported.dataset("sessions").gone, 1);
        assert_eq!(ferry.rows("source_id", "sessions WHERE gone_at IS NOT NULL").await, ["4~2"]);
    }
}

#[tokio::test]
async fn a_way_there_and_back_ends_where_it_began() {
    let ferry = Ferry::on_sqlite().await;
    let a = Archive::dash().set("sessions", "/0/subtitle", json!(null));
    let b = Archive::dash()
        .set("sessions", "/0/subtitle", "B")
        .set("sessions", "/1/track", json!({"id": 1, "name": "Ropes"}))
        .set("sessions", "/2/speakers", json!([{"id": 1, "name": "Tova Lind"}]))
        .set("speakers", "/2/sessions", json!([]))
        .edit("speakers", |speakers| {
            speakers[0]["sessions"].as_array_mut().unwrap().push(json!({"id": 3, "title": "Splicing"}));
        })
        .set("speakers", "/0/photo-url", json!(null))
        .without_media("images/speakers/Tova_Lind_1.png");
    let said = async || {
        let mut said = ferry.rows("source_id, title, track_id, content_hash", "sessions").await;
        said.extend(ferry.rows("source_id, subtitle", "sessions WHERE coalesce(subtitle, '') <> ''").await);
        said.extend(ferry.rows("session_id, speaker_id", "session_speakers").await);
        said.extend(ferry.rows("source_id, photo_url, content_hash", "speakers").await);
        said.extend(ferry.rows("dataset, record_id, field, path, state, sha256", "media").await);
        said
    };
    ferry.import(a.zip()).await.assert_clean();
    let first = said().await;
    ferry.import(b.zip()).await.assert_clean();
    assert_ne!(said().await, first);
    let back = ferry.import(a.zip()).await;
    // The same bytes as the last but one import: a way back and no duplicate.
    back.assert_clean();
    assert_eq!(said().await, first);
    let again = ferry.import(a.zip()).await;
    assert_eq!(again.state(), JobState::Duplicate);
}
