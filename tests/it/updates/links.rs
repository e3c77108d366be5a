//! What an update does to links and references.

use eventferry::model::JobState;
use serde_json::{Value, json};

use crate::fixtures::archive::Archive;
use crate::fixtures::importing::Ferry;
use crate::support::databases::on_both_databases;

/// Session and speaker of every link.
async fn pairs(ferry: &Ferry) -> Vec<String> {
    ferry
        .rows(
            "s.source_id, k.source_id",
            "session_speakers AS p JOIN sessions AS s ON s.id = p.session_id JOIN speakers AS k ON k.id = p.speaker_id",
        )
        .await
}

/// Session, and its track.
async fn tracks(ferry: &Ferry) -> Vec<String> {
    ferry.rows("s.source_id, t.name", "sessions AS s LEFT JOIN tracks AS t ON t.id = s.track_id").await
}

/// An archive in which no session and no speaker says who speaks where.
fn silent() -> Archive {
    let forget = |key: &'static str| {
        move |records: &mut Value| {
            for record in records.as_array_mut().unwrap() {
                record.as_object_mut().unwrap().shift_remove(key);
            }
        }
    };
    Archive::dash().edit("sessions", forget("speakers")).edit("speakers", forget("sessions"))
}

const ALL: [&str; 4] = ["1|1", "2|1", "2|2", "3|3"];

on_both_databases! {
    async fn links_stay_where_the_archive_does_not_state_them(database: TestDatabase) {
        let ferry = Ferry::on(database);
        ferry.import(Archive::dash().zip()).await.assert_clean();
        // The current server's archives have no word about speakers.
        let imported = ferry.import(Archive::flat().zip()).await;
        imported.assert_clean();
        assert_eq!(pairs(&ferry).await, ALL);
        assert_eq!(imported.dataset("sessions").created, 0);
        let imported = ferry.import(silent().zip()).await;
        imported.assert_clean();
        assert_eq!(pairs(&ferry).await, ALL);
    }

    async fn links_change_where_either_side_states_them(database: TestDatabase) {
        let ferry = Ferry::on(database);
        ferry.import(Archive::dash().zip()).await.assert_clean();

        // Only session 2 states its speakers: theirs change, those of others stay.
        let archive = silent().set("sessions", "/1/speakers", json!([{"id": 3, "name": "Ada Quill"}]));
        let imported = ferry.import(archive.zip()).await;
        imported.assert_clean();
        assert_eq!(pairs(&ferry).await, ["1|1", "2|3", "3|3"]);
        assert_eq!(imported.dataset("sessions").updated, 1);

        // Only speaker 3 states its sessions.
        let archive = silent().set("speakers", "/2/sessions", json!([{"id": 4, "title": "Closing"}]));
        ferry.import(archive.zip()).await.assert_clean();
        assert_eq!(pairs(&ferry).await, ["1|1", "4|3"]);

        let archive = silent().set("sessions", "/0/speakers", json!([]));
        ferry.import(archive.zip()).await.assert_clean();
        assert_eq!(pairs(&ferry).await, ["4|3"]);

        ferry.import(Archive::dash().zip()).await.assert_clean();
        assert_eq!(pairs(&ferry).await, ALL);
    }

    async fn a_speaker_adds_links_to_sessions_that_are_not_in_the_archive(database: TestDatabase) {
        let ferry = Ferry::on(database);
        ferry.import(Archive::dash().zip()).await.assert_clean();
        let archive = Archive::dash().without("sessions").without_media("slides/session_2.pdf").set(
            "speakers",
            "/0/sessions",
            json!([{"id": 4, "title": "Closing"}, {"id": 1, "title": "Knots for beginners"}, {"id": 2}]),
        );
        let imported = ferry.import(archive.zip()).await;
        imported.assert_clean();
        assert_eq!(pairs(&ferry).await, ["1|1", "2|1", "2|2", "3|3", "4|1"]);
        assert_eq!(imported.report.links.session_speakers, 5);
    }

    async fn a_list_that_is_null_clears_the_links(database: TestDatabase) {
        let ferry = Ferry::on(database);
        ferry.import(Archive::dash().zip()).await.assert_clean();
        ferry.import(silent().set("sessions", "/1/speakers", json!(null)).zip()).await.assert_clean();
        assert_eq!(pairs(&ferry).await, ["1|1", "3|3"]);
        ferry.import(silent().set("speakers", "/0/sessions", json!(null)).zip()).await.assert_clean();
        assert_eq!(pairs(&ferry).await, ["3|3"]);
    }

    async fn a_relation_stays_where_it_is_absent_and_goes_where_it_is_empty(database: TestDatabase) {
        let ferry = Ferry::on(database);
        ferry.import(Archive::dash().zip()).await.assert_clean();
        let archive = Archive::dash()
            .remove("sessions", "/0/track")
            .set("sessions", "/1/track", json!({}))
            .set("sessions", "/2/track", json!(null))
            .set("sessions", "/3/track", json!({"id": 2, "name": "Tides"}));
        let imported = ferry.import(archive.zip()).await;
        assert_eq!(imported.state(), JobState::Succeeded);
        assert_eq!(tracks(&ferry).await, ["1|Ropes", "2|-", "3|-", "4|Tides"]);
        assert_eq!(imported.dataset("sessions").updated, 3);
    }

    async fn a_reference_is_resolved_when_its_record_arrives(database: TestDatabase) {
        let ferry = Ferry::on(database);
        let later = json!({"id": 9, "name": "Late Arrival"});
        let first = Archive::flat()
            .set("sessions", "/0/track_id", 55)
            .set("sessions", "/3/speaker_ids", json!([9, 1]))
            .set("speakers", "/0/sessions", json!([77]));
        let imported = ferry.import(first.clone().zip()).await;
        assert_eq!(imported.codes(), [("DANGLING_REFERENCE", 3), ("LINKS_DISAGREE", 1)].into());
        assert_eq!(ferry.count("unresolved_references").await, 3);
        let before = ferry.written("sessions").await;

        let second = first
            .push("tracks", json!({"id": "55", "name": "Fog"}))
            .push("speakers", later)
            .push("sessions", json!({"id": 77, "title": "Arrived", "track_id": 1}));
        let imported = ferry.import(second.zip()).await;
        assert_eq!(imported.codes(), [("LINKS_DISAGREE", 1)].into());
        assert_eq!(imported.dataset("tracks").created, 1);
        assert_eq!(tracks(&ferry).await, ["1|Fog", "2|Tides", "3|Ropes", "4|Ropes", "77|Ropes"]);
        assert_eq!(pairs(&ferry).await, ["4|1", "4|9", "77|1"]);
        assert_eq!(ferry.count("unresolved_references").await, 0);
        assert_eq!(imported.report.links.sessions_with_track, 5);
        assert_eq!(imported.report.links.session_speakers, 3);
        let now = ferry.written("sessions").await;
        assert_eq!((now["2"], now["3"]), (before["2"], before["3"]));
    }

    async fn a_reference_that_was_taken_back_is_not_resolved(database: TestDatabase) {
        let ferry = Ferry::on(database);
        let first = Archive::flat().set("sessions", "/0/track_id", 55).set("sessions", "/1/track_id", 55)
            .set("sessions", "/3/speaker_ids", json!([9]));
        ferry.import(first.clone().zip()).await;
        let second = first.set("sessions", "/0/track_id", 2).set("sessions", "/1/track_id", json!(null))
            .set("sessions", "/3/speaker_ids", json!([]));
        let imported = ferry.import(second.clone().zip()).await;
        assert_eq!(imported.codes(), [("FORM_FIELD_MISSING", 1)].into(), "session 2 has no track");
        assert_eq!(ferry.count("unresolved_references").await, 0);
        let third = second.push("tracks", json!({"id": 55, "name": "Fog"}))
            .push("speakers", json!({"id": 9, "name": "Late"}));
        ferry.import(third.zip()).await;
        assert_eq!(tracks(&ferry).await, ["1|Tides", "2|-", "3|Ropes", "4|Ropes"]);
        assert_eq!(pairs(&ferry).await, [""; 0]);
    }

    async fn a_reference_to_what_the_database_has_is_none_that_dangles(database: TestDatabase) {
        let ferry = Ferry::on(database);
        ferry.import(Archive::flat().zip()).await.assert_clean();
        let archive = Archive::flat()
            .without("tracks").without_media("images/tracks/image_1.png")
            .without("microlocations")
            .set("sessions", "/3/microlocation_id", 2)
            .set("sessions", "/3/speaker_ids", json!([1]))
            .without("speakers").without_media("images/speakers/Tova_Lind_1.png");
        let imported = ferry.import(archive.zip()).await;
        imported.assert_clean();
        assert_eq!(imported.report.links.sessions_with_track, 4);
        assert_eq!(imported.report.links.sessions_with_microlocation, 4);
        assert_eq!(pairs(&ferry).await, ["4|1"]);
    }

    async fn what_was_rebuilt_is_met_again(database: TestDatabase) {
        let ferry = Ferry::on(database);
        let archive = Archive::dash().without("session_types").without("speakers")
            .without_media("images/speakers/Tova_Lind_1.png");
        ferry.import(archive.clone().zip()).await;
        let before = ferry.snapshot().await;
        let imported = ferry.import(archive.below("again").zip()).await;
        let counts = imported.dataset("session_types");
        assert_eq!((counts.rebuilt, counts.created, counts.updated, counts.unchanged), (2, 0, 0, 2));
        assert_eq!(ferry.snapshot().await, before);
        // The files are there now and say more.
        let imported = ferry.import(Archive::dash().zip()).await;
        imported.assert_clean();
        let counts = imported.dataset("session_types");
        assert_eq!((counts.read, counts.created, counts.gone), (2, 0, 0));
        assert_eq!(imported.dataset("speakers").updated, 3);
        assert_eq!(pairs(&ferry).await, ALL);
    }
}
