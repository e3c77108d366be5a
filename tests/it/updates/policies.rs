//! Which errors stop an archive, and which bytes were imported before.

use eventferry::config::Allow;
use eventferry::model::{Code, JobState, OnError};
use serde_json::json;

use crate::fixtures::archive::Archive;
use crate::fixtures::importing::{Ferry, account};
use crate::support::databases::on_both_databases;

/// One bad session among good ones.
fn spoilt() -> Archive {
    Archive::dash().set("sessions", "/3/title", json!(null))
}

on_both_databases! {
    async fn all_or_nothing_writes_nothing(database: TestDatabase) {
        let mut ferry = Ferry::on(database);
        ferry.account.on_error = OnError::Reject;
        let imported = ferry.import(spoilt().zip()).await;
        assert_eq!(imported.state(), JobState::Failed);
        assert!(imported.report.event.is_none());
        assert_eq!(imported.codes(), [("FIELD_REQUIRED", 1), ("REJECTED_AS_A_WHOLE", 1)].into());
        assert_eq!(imported.only(Code::FieldRequired).position, Some(4));
        assert_eq!(imported.dataset("sessions").rejected, 4);
        ferry.assert_no_records().await;
        assert_eq!(ferry.media().list().unwrap(), [""; 0]);

        ferry.import(Archive::dash().zip()).await.assert_clean();
        let before = ferry.snapshot().await;
        let imported = ferry.import(spoilt().set("sessions", "/0/title", "Other").zip()).await;
        assert_eq!(imported.state(), JobState::Failed);
        assert_eq!(ferry.snapshot().await, before);

        // A warning is no error.
        let imported = ferry.import(Archive::dash().set("event", "/timezone", "US / Pacific").zip()).await;
        assert_eq!(imported.state(), JobState::Succeeded);
        assert_eq!(imported.codes(), [("TIMEZONE_GUESSED", 1)].into());
    }

    async fn the_same_bytes_are_a_duplicate_and_change_nothing(database: TestDatabase) {
        let ferry = Ferry::on(database);
        let archive = spoilt().zip();
        let first = ferry.import(&archive).await;
        assert_eq!(first.state(), JobState::Partial);
        let before = ferry.snapshot().await;
        let again = ferry.import_as("renamed.zip", &archive).await;
        assert_eq!(again.state(), JobState::Duplicate);
        assert_eq!(again.report.related_job, Some(first.report.job));
        assert_eq!(again.event(), first.event());
        assert!(!again.report.event.as_ref().unwrap().created);
        assert_eq!(again.problems, []);
        assert_eq!(ferry.snapshot().await, before);
        assert_eq!(again.report.archive.sha256, first.report.archive.sha256);
    }
}

#[tokio::test]
async fn an_archive_may_ask_for_all_or_nothing() {
    let mut ferry = Ferry::on_sqlite().await;
    let asking = spoilt().file("eventferry.json", json!({"on_error": "reject"}));
    let imported = ferry.import(asking.zip()).await;
    assert_eq!(imported.codes(), [("FIELD_REQUIRED", 1), ("REJECTED_AS_A_WHOLE", 1)].into());
    ferry.assert_no_records().await;

    ferry.account.on_error = OnError::Reject;
    let imported = ferry.import(asking.file("eventferry.json", json!({"on_error": "skip"})).zip()).await;
    assert_eq!(imported.state(), JobState::Partial);
    assert_eq!(imported.dataset("sessions").created, 3);
}

#[tokio::test]
async fn where_nothing_could_be_imported_the_job_has_failed() {
    let ferry = Ferry::on_sqlite().await;
    let imported = ferry.import(Archive::dash().set("event", "/starts-at", "soon").zip()).await;
    assert_eq!(imported.state(), JobState::Failed);
    ferry.assert_no_records().await;

    // An update of which nothing is good.
    ferry.import(Archive::dash().zip()).await.assert_clean();
    let before = ferry.snapshot().await;
    let bad = Archive::empty()
        .file(
            "event",
            json!({"id": 41, "name": "Harbour Days", "starts-at": "2019-05-04T09:00:00+03:00", "latitude": "north"}),
        )
        .file("meta", json!({"root_url": "https://events.example.org"}))
        .file("tracks", json!([{"id": 1, "name": null}, {"id": 2, "name": null}]));
    let imported = ferry.import(bad.zip()).await;
    assert_eq!(imported.state(), JobState::Failed, "{:?}", imported.problems);
    assert_eq!(ferry.snapshot().await, before);
}

#[tokio::test]
async fn only_the_latest_bytes_are_a_duplicate() {
    let ferry = Ferry::on_sqlite().await;
    let (a, b) = (Archive::dash().zip(), Archive::dash().set("sessions", "/3/title", "B").zip());
    ferry.import(&a).await.assert_clean();
    ferry.import(&b).await.assert_clean();
    let back = ferry.import(&a).await;
    back.assert_clean();
    assert_eq!(back.dataset("sessions").updated, 1);
    assert_eq!(ferry.rows("title", "sessions WHERE source_id = '4'").await, ["Closing"]);
    assert_eq!(ferry.import(&a).await.state(), JobState::Duplicate);
}

#[tokio::test]
async fn another_event_in_between_is_no_way_back() {
    let ferry = Ferry::on_sqlite().await;
    let a = Archive::dash().zip();
    let other = Archive::dash().set("event", "/id", 7).set("event", "/identifier", "0th3r").zip();
    ferry.import(&a).await.assert_clean();
    ferry.import(&other).await.assert_clean();
    assert_eq!(ferry.import(&a).await.state(), JobState::Duplicate);
    assert_eq!(ferry.import(&other).await.state(), JobState::Duplicate);
}

#[tokio::test]
async fn a_failed_job_leaves_no_hash() {
    let mut ferry = Ferry::on_sqlite().await;
    ferry.account.on_error = OnError::Reject;
    let archive = spoilt().zip();
    assert_eq!(ferry.import(&archive).await.state(), JobState::Failed);
    ferry.account.on_error = OnError::Skip;
    let imported = ferry.import(&archive).await;
    assert_eq!(imported.state(), JobState::Partial);
    assert_eq!(imported.dataset("sessions").created, 3);
}

#[tokio::test]
async fn another_account_has_its_own_duplicates() {
    let mut ferry = Ferry::on_sqlite().await;
    let archive = Archive::dash().zip();
    ferry.import(&archive).await.assert_clean();
    ferry.account = account("lighthouse");
    ferry.import(&archive).await.assert_clean();
    assert_eq!(ferry.count("events").await, 2);
}

#[tokio::test]
async fn the_same_bytes_are_imported_again_where_that_is_asked_for() {
    let mut ferry = Ferry::on_sqlite().await;
    let archive = Archive::dash().zip();
    ferry.import(&archive).await.assert_clean();
    ferry.again = true;
    let imported = ferry.import(&archive).await;
    imported.assert_clean();
    assert_eq!(imported.dataset("sessions").unchanged, 4);

    ferry.again = false;
    let asking = Archive::dash().file("eventferry.json", json!({"again": true})).zip();
    ferry.import(&asking).await.assert_clean();
    let imported = ferry.import(&asking).await;
    imported.assert_clean();
    assert_eq!(imported.dataset("sessions").unchanged, 4);

    ferry.account.allow = vec![Allow::OnError];
    let imported = ferry.import(&asking).await;
    assert_ne!(imported.state(), JobState::Succeeded, "its account does not allow that");
}
