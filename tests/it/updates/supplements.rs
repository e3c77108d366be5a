//! What was rejected, corrected and dropped again: it only adds.

use eventferry::import::{REJECTED_FILE, RunEnd};
use eventferry::model::{JobId, JobState};
use serde_json::{Value, json};

use crate::fixtures::archive::{Archive, RECORDS};
use crate::fixtures::importing::{Ferry, Imported};
use crate::fixtures::zips::{ZipEntry, unzip, zip};
use crate::support::databases::on_both_databases;

/// An archive with nothing but the mark of a supplement.
pub(super) fn supplement(first: &Imported) -> Archive {
    let job: JobId = first.report.job;
    Archive::empty()
        .file("eventferry.json", json!({"version": 1, "supplement_of": job.to_string(), "event": first.event()}))
}

async fn pairs(ferry: &Ferry) -> Vec<String> {
    ferry
        .rows(
            "s.source_id, k.source_id",
            "session_speakers AS p JOIN sessions AS s ON s.id = p.session_id JOIN speakers AS k ON k.id = p.speaker_id",
        )
        .await
}

/// A session of the made-up event, as dialect B writes it.
fn session(id: u32) -> Value {
    json!({
        "id": id, "title": "Corrected", "track": {"id": 2, "name": "Tides"}, "microlocation": {"id": 1, "name": "Crane Hall"},
        "session-type": {"id": 1, "name": "Talk"}, "speakers": [{"id": 1, "name": "Tova Lind"}],
    })
}

on_both_databases! {
    async fn a_supplement_adds_and_marks_nothing_gone(database: TestDatabase) {
        let ferry = Ferry::on(database);
        let first = ferry.import(Archive::dash().set("sessions", "/1/title", json!(null)).zip()).await;
        assert_eq!(first.state(), JobState::Partial);
        assert_eq!(pairs(&ferry).await, ["1|1", "3|3"]);
        let before = ferry.snapshot().await;

        let archive = supplement(&first).file("sessions", json!([session(2)]));
        let second = ferry.import_as("rejected.zip", archive.zip()).await;
        second.assert_clean();
        assert_eq!(second.event(), first.event());
        assert_eq!(second.report.related_job, Some(first.report.job));
        let counts = second.dataset("sessions");
        assert_eq!((counts.read, counts.created, counts.gone), (1, 1, 0));
        assert_eq!(ferry.count("sessions WHERE gone_at IS NULL").await, 4);
        assert_eq!(
            ferry
                .rows(
                    "s.title, t.name, r.name, k.name",
                    "sessions AS s JOIN tracks AS t ON t.id = s.track_id JOIN microlocations AS r ON r.id = s.microlocation_id \
                     JOIN session_types AS k ON k.id = s.session_type_id WHERE s.source_id = '2'"
                )
                .await,
            ["Corrected|Tides|Crane Hall|Talk"]
        );
        assert!(pairs(&ferry).await.contains(&"2|1".to_owned()));
        let links = second.report.links;
        assert_eq!(
            (links.session_speakers, links.sessions_with_track, links.sessions_with_microlocation,
             links.sessions_with_session_type),
            (1, 1, 1, 1)
        );
        // All that was there is as it was.
        let after = ferry.snapshot().await;
        let lost: Vec<_> = before
            .iter()
            .filter(|row| !after.contains(row) && !row.starts_with("unresolved_references"))
            .collect();
        assert_eq!(lost, [""; 0]);
    }

    async fn references_of_the_first_archive_are_resolved_by_the_supplement(database: TestDatabase) {
        let ferry = Ferry::on(database);
        let first = ferry
            .import(
                Archive::flat()
                    .set("microlocations", "/0/floor", "cellar")
                    .set("speakers", "/1/name", json!(null))
                    .set("sessions", "/0/speaker_ids", json!([2, 3]))
                    .zip(),
            )
            .await;
        assert_eq!(first.state(), JobState::Partial);
        assert_eq!(first.report.links.sessions_with_microlocation, 1);
        let archive = supplement(&first)
            .file("microlocations", json!([{"id": 1, "name": "Crane Hall", "floor": -1}]))
            .file("speakers", json!([{"id": 2, "name": "Imre Sol"}]));
        let second = ferry.import(archive.zip()).await;
        second.assert_clean();
        assert_eq!(pairs(&ferry).await, ["1|2", "1|3"]);
        assert_eq!(
            ferry
                .rows("s.source_id, r.name", "sessions AS s JOIN microlocations AS r ON r.id = s.microlocation_id")
                .await,
            ["1|Crane Hall", "2|Crane Hall", "3|Net Loft"]
        );
        assert_eq!(ferry.count("unresolved_references").await, 0);
        assert_eq!(ferry.count("microlocations WHERE gone_at IS NOT NULL").await, 0);
    }

    async fn a_corrected_speaker_brings_its_links(database: TestDatabase) {
        let ferry = Ferry::on(database);
        // Who speaks where stands with the speakers only.
        let silent = Archive::dash().edit("sessions", |sessions| {
            for session in sessions.as_array_mut().unwrap() {
                session.as_object_mut().unwrap().shift_remove("speakers");
            }
        });
        let first = ferry.import(silent.set("speakers", "/0/name", json!(null)).zip()).await;
        assert_eq!(pairs(&ferry).await, ["2|2", "3|3"]);
        let speaker = json!({
            "id": 1, "name": "Tova Lind",
            "sessions": [{"id": 1, "title": "Knots for beginners"}, {"id": 2, "title": "Reading the tide"}],
        });
        let second = ferry.import(supplement(&first).file("speakers", json!([speaker])).zip()).await;
        second.assert_clean();
        assert_eq!(pairs(&ferry).await, ["1|1", "2|1", "2|2", "3|3"]);
        assert_eq!(second.report.links.session_speakers, 2);
    }

    async fn a_corrected_session_brings_the_records_nested_in_it(database: TestDatabase) {
        let ferry = Ferry::on(database);
        // The only session that names this track is bad: nothing says that the track is there.
        let spoilt = Archive::dash()
            .set("sessions", "/3/track", json!({"id": 78, "name": "Fog"}))
            .set("sessions", "/3/title", json!(null));
        let first = ferry.import(spoilt.zip()).await;
        assert_eq!(first.state(), JobState::Partial);
        assert_eq!(ferry.count("tracks").await, 2);

        let mut corrected = session(4);
        corrected["track"] = json!({"id": 78, "name": "Fog"});
        let second = ferry.import(supplement(&first).file("sessions", json!([corrected])).zip()).await;
        assert_eq!(second.codes(), [("RECORDS_REBUILT", 1)].into());
        assert_eq!(
            ferry.rows("s.source_id, t.name", "sessions AS s JOIN tracks AS t ON t.id = s.track_id WHERE s.source_id = '4'").await,
            ["4|Fog"]
        );
        // Records that are there are not made anew from what is nested.
        assert_eq!(ferry.count("tracks").await, 3);
        assert_eq!(ferry.count("microlocations").await, 2);
    }
}

on_both_databases! {
    async fn what_was_rejected_can_be_corrected_and_dropped_again(database: TestDatabase) {
        let ferry = Ferry::on(database);
        let spoilt = Archive::dash()
            .set("sessions", "/1/starts-at", "soon")
            .set("microlocations", "/1/floor", "third")
            .set("speakers", "/0/name", json!(null))
            .set("event", "/latitude", 56.95);
        let running = ferry.start("harbour.zip", spoilt.zip()).await;
        let RunEnd::Outcome(report) = ferry.run(&running).await else { panic!("no outcome") };
        let rejected = std::fs::read(running.import.folder.join(REJECTED_FILE)).unwrap();
        let first = ferry.end(&running, *report).await;
        assert_eq!(first.state(), JobState::Partial);
        let rejected_records: u64 = first.report.datasets.values().map(|counts| counts.rejected).sum();
        assert_eq!(rejected_records, 3);

        // Not corrected it is as bad as before, and changes nothing.
        let before = ferry.snapshot().await;
        let same = ferry.import(&rejected).await;
        assert_eq!(same.state(), JobState::Failed, "{:?}", same.problems);
        assert_eq!(ferry.snapshot().await, before);

        let corrections = [("\"soon\"", "\"2019-05-04T10:00:00+03:00\""), ("\"third\"", "3"), ("\"name\": null", "\"name\": \"Tova Lind\"")];
        let mut corrected = 0;
        let entries: Vec<ZipEntry> = unzip(&rejected)
            .into_iter()
            .map(|(name, bytes)| {
                let Ok(mut text) = String::from_utf8(bytes.clone()) else { return ZipEntry::new(name, bytes) };
                for (wrong, right) in corrections {
                    let before = text.clone();
                    text = text.replace(wrong, right);
                    corrected += usize::from(text != before);
                }
                ZipEntry::new(name, text)
            })
            .collect();
        assert_eq!(corrected, 3, "the rejected records stand in it as they were given");
        let second = ferry.import_as("rejected.zip", zip(&entries)).await;
        assert_eq!(second.state(), JobState::Succeeded, "{:?}", second.problems);
        assert_eq!(second.report.errors(), 0);
        assert_eq!(second.event(), first.event());
        for dataset in ["sessions", "microlocations", "speakers"] {
            assert_eq!((second.dataset(dataset).created, second.dataset(dataset).gone), (1, 0), "{dataset}");
        }
        assert_eq!(pairs(&ferry).await, ["1|1", "2|1", "2|2", "3|3"]);
        assert_eq!(ferry.count("unresolved_references").await, 0);
        assert_eq!(ferry.count("sessions WHERE microlocation_id IS NOT NULL").await, 3);
        assert_eq!(ferry.count("media WHERE dataset = 'speakers' AND state = 'stored'").await, 1, "the picture came along");
        assert_eq!(ferry.count("media WHERE dataset = 'sessions' AND state = 'stored'").await, 1, "the slides came along");

        // Now it says what a clean archive would have said.
        let whole = ferry.import(Archive::dash().zip()).await;
        whole.assert_clean();
        for (dataset, count) in RECORDS {
            assert_eq!(whole.dataset(dataset).unchanged, count, "{dataset}");
        }
    }
}

#[tokio::test]
async fn a_supplement_may_change_what_is_there_and_be_corrected_twice() {
    let ferry = Ferry::on_sqlite().await;
    let first = ferry.import(Archive::dash().set("sessions", "/1/title", json!(null)).zip()).await;
    let mut still_bad = session(2);
    still_bad["title"] = json!(null);
    let second = ferry.import(supplement(&first).file("sessions", json!([still_bad])).zip()).await;
    assert_eq!(second.state(), JobState::Failed);
    assert_eq!(ferry.count("sessions").await, 3);
    let third = ferry.import(supplement(&first).file("sessions", json!([session(2), session(1)])).zip()).await;
    third.assert_clean();
    let counts = third.dataset("sessions");
    assert_eq!((counts.created, counts.updated, counts.gone), (1, 1, 0));
    assert_eq!(ferry.count("sessions WHERE gone_at IS NOT NULL").await, 0);
    assert_eq!(ferry.rows("title", "sessions WHERE source_id = '1'").await, ["Corrected"]);
}

#[tokio::test]
async fn a_supplement_goes_nowhere_without_its_event() {
    let ferry = Ferry::on_sqlite().await;
    let first = ferry.import(Archive::dash().zip()).await;
    let archive = Archive::empty()
        .file("eventferry.json", json!({"supplement_of": first.report.job.to_string(), "event": first.event() + 1}))
        .file("sessions", json!([session(9)]));
    let before = ferry.snapshot().await;
    let imported = ferry.import(archive.zip()).await;
    assert_eq!(imported.state(), JobState::Failed);
    assert_eq!(imported.codes(), [("EVENT_UNKNOWN", 1)].into());
    assert_eq!(ferry.snapshot().await, before);
}

#[tokio::test]
async fn the_first_archive_after_its_supplement_is_no_duplicate() {
    let ferry = Ferry::on_sqlite().await;
    let archive = Archive::dash().set("sessions", "/1/title", json!(null)).zip();
    let first = ferry.import(&archive).await;
    ferry.import(supplement(&first).file("sessions", json!([session(2)])).zip()).await.assert_clean();
    let again = ferry.import(&archive).await;
    assert_eq!(again.state(), JobState::Partial);
    assert_eq!(ferry.rows("title", "sessions WHERE source_id = '2'").await, ["Corrected"], "a bad one changes nothing");
}
