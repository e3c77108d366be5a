//! Crashes, soft stops and cancelling: an import goes on after its last chunk, or ends where it is.

use std::fs::OpenOptions;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use eventferry::db::Database;
use eventferry::import::{RunEnd, Step};
use eventferry::model::job::RetryReason;
use eventferry::model::{Code, JobState, Problem, Report};
use eventferry::signal::{FailPoint, Injection, Signals};
use eventferry::store::events;
use eventferry::store::jobs::{self, Cancellation};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::supplements::supplement;
use crate::fixtures::archive::Archive;
use crate::fixtures::importing::{Ferry, Imported, Running};
use crate::support::databases::on_both_databases;

/// An archive with something of everything: problems, links from both sides, doubles, rebuilt and dangling records.
fn rich() -> Archive {
    Archive::dash()
        .without("session_types")
        .set("sessions", "/0/title", json!(null))
        .push("sessions", json!({"id": 4, "title": "Another four", "track": {"id": 99}, "speakers": []}))
        .edit("speakers", |speakers| {
            speakers[2]["sessions"].as_array_mut().unwrap().push(json!({"id": 2, "title": "Reading the tide"}));
        })
        .media("images/spare.png", "spare")
}

/// A later version of it: some changed, some gone, some new.
fn richer() -> Archive {
    rich()
        .set("sessions", "/1/title", "Reading the tides")
        .remove("sessions", "/2")
        .push("sessions", json!({"id": 7, "title": "New", "track": {"id": 2, "name": "Tides"}}))
        .push("tracks", json!({"id": 99, "name": "Arrived"}))
        .set("speakers", "/0/mobile", "555")
        .remove("sponsors", "/1")
}

/// What is in the tables, but for who wrote it when.
async fn said(ferry: &Ferry) -> Vec<String> {
    let mut said = Vec::new();
    for table in [
        "events",
        "social_links",
        "custom_forms",
        "microlocations",
        "sponsors",
        "speakers",
        "tracks",
        "session_types",
        "sessions",
    ] {
        said.extend(
            ferry
                .rows("source_id, content_hash, extra, CASE WHEN gone_at IS NULL THEN 'here' ELSE 'gone' END", table)
                .await,
        );
    }
    said.extend(
        ferry
            .rows(
                "s.source_id, k.source_id",
                "session_speakers AS p JOIN sessions AS s ON s.id = p.session_id JOIN speakers AS k ON k.id = p.speaker_id",
            )
            .await,
    );
    said.extend(
        ferry
            .rows(
                "s.source_id, t.name, k.name",
                "sessions AS s LEFT JOIN tracks AS t ON t.id = s.track_id LEFT JOIN session_types AS k ON k.id = s.session_type_id",
            )
            .await,
    );
    said.extend(ferry.rows("dataset, field, path, state, sha256", "media").await);
    said.extend(ferry.rows("target_dataset, target_source_id, dataset, field", "unresolved_references").await);
    said
}

/// What a report says, but for ids and times.
fn outcome(report: &Report) -> impl PartialEq + std::fmt::Debug + use<> {
    (report.state, report.datasets.clone(), report.links, report.media, report.problem_counts.clone())
}

/// Imports both archives without trouble: what is then in the tables, and both reports.
async fn undisturbed() -> (Vec<String>, Vec<String>, Imported, Imported) {
    let mut ferry = Ferry::on_sqlite().await;
    ferry.chunk_records = 1;
    let first = ferry.import(rich().zip()).await;
    let after_first = said(&ferry).await;
    let second = ferry.import(richer().zip()).await;
    (after_first, said(&ferry).await, first, second)
}

/// Runs a job that stops at one visit of a point, then goes on to its end. None where it was not stopped.
async fn stop_and_go_on(
    ferry: &mut Ferry,
    archive: &Archive,
    point: FailPoint,
    visit: u32,
    injection: Injection,
) -> Option<Imported> {
    let running = ferry.start("harbour.zip", archive.zip()).await;
    ferry.signals = Signals::armed();
    ferry.signals.inject(point, visit, injection);
    let end = ferry.run(&running).await;
    ferry.signals = Signals::default();
    match (end, injection) {
        (RunEnd::Outcome(report), _) => {
            ferry.end(&running, *report).await;
            None
        }
        (RunEnd::Outage(_), Injection::Fail) | (RunEnd::LeaseLost, Injection::Die) => {
            let running = ferry.resume(running).await;
            match ferry.run(&running).await {
                RunEnd::Outcome(report) => Some(ferry.end(&running, *report).await),
                other => panic!("after {point:?} {visit}: {other:?}"),
            }
        }
        (other, _) => panic!("at {point:?} {visit}: {other:?}"),
    }
}

#[tokio::test]
async fn an_import_that_was_interrupted_anywhere_ends_like_any_other() {
    let (after_first, after_second, first, second) = undisturbed().await;
    assert_eq!(first.state(), JobState::Partial);
    for point in
        [FailPoint::Checked, FailPoint::ChunkBeforeCommit, FailPoint::ChunkAfterCommit, FailPoint::MediaBeforeRow]
    {
        let mut visit = 0;
        loop {
            visit += 1;
            let mut ferry = Ferry::on_sqlite().await;
            ferry.chunk_records = 1;
            let injection = if visit % 2 == 0 { Injection::Die } else { Injection::Fail };
            let Some(resumed) = stop_and_go_on(&mut ferry, &rich(), point, visit, injection).await else { break };
            assert_eq!(outcome(&resumed.report), outcome(&first.report), "{point:?} {visit}");
            assert_eq!(resumed.problems, first.problems, "{point:?} {visit}");
            assert!(said(&ferry).await == after_first, "{point:?} {visit}");
            let Some(resumed) = stop_and_go_on(&mut ferry, &richer(), point, visit, injection).await else { continue };
            assert_eq!(outcome(&resumed.report), outcome(&second.report), "update, {point:?} {visit}");
            assert_eq!(resumed.problems, second.problems, "update, {point:?} {visit}");
            assert!(said(&ferry).await == after_second, "update, {point:?} {visit}");
        }
        assert!(visit > 1, "{point:?} was never reached");
    }
}

#[tokio::test]
async fn a_supplement_that_was_interrupted_anywhere_makes_every_record_that_its_records_bring() {
    let nested = |track: u32| json!({"id": track, "title": "Corrected", "track": {"id": track, "name": format!("Track {track}")}, "speakers": []});
    let sessions: Vec<_> = (81..=87).map(nested).collect();
    let mut visit = 0;
    loop {
        visit += 1;
        let mut ferry = Ferry::on_sqlite().await;
        ferry.chunk_records = 2;
        let first = ferry.import(Archive::dash().set("sessions", "/1/title", json!(null)).zip()).await;
        let archive = supplement(&first).file("sessions", json!(sessions));
        let point = FailPoint::ChunkAfterCommit;
        let Some(resumed) = stop_and_go_on(&mut ferry, &archive, point, visit, Injection::Die).await else { break };
        assert_eq!(resumed.state(), JobState::Succeeded, "{visit}: {:?}", resumed.problems);
        let tracks = resumed.dataset("tracks");
        assert_eq!((tracks.rebuilt, tracks.created), (7, 7), "{visit}");
        assert_eq!(ferry.count("tracks").await, 9, "{visit}");
        let joined = "sessions AS s JOIN tracks AS t ON t.id = s.track_id WHERE s.source_id = t.source_id AND s.source_id LIKE '8_'";
        assert_eq!(ferry.count(joined).await, 7, "{visit}");
    }
    assert!(visit > 8, "{visit}");
}

on_both_databases! {
    async fn what_was_said_before_an_interruption_is_said_after_it(database: TestDatabase) {
        let mut ferry = Ferry::on(database);
        ferry.chunk_records = 1;
        ferry.import(Archive::dash().zip()).await.assert_clean();
        let other = Archive::dash()
            .set("event", "/name", "Harbour Nights")
            .set("event", "/starts-at", "2019-06-04T09:00:00+03:00")
            .set("event", "/ends-at", json!(null));
        let running = stop_after(&mut ferry, &other, 9).await;
        let RunEnd::Outcome(report) = ferry.run(&running).await else { panic!("no outcome") };
        let imported = ferry.end(&running, *report).await;
        assert_eq!(imported.state(), JobState::Succeeded);
        assert_eq!(imported.codes(), [("EVENT_ID_REUSED", 1)].into());
        assert!(imported.report.event.unwrap().created);
        assert_eq!(ferry.count("events").await, 2);
    }

    async fn a_soft_stop_ends_at_the_next_chunk_and_the_job_goes_on(database: TestDatabase) {
        let mut ferry = Ferry::on(database);
        ferry.chunk_records = 1;
        let running = stop_after(&mut ferry, &Archive::dash(), 5).await;
        let before = ferry.snapshot().await.len();
        let stop = CancellationToken::new();
        stop.cancel();
        assert!(matches!(ferry.run_until(&running, &stop).await, RunEnd::Interrupted));
        assert!(ferry.snapshot().await.len() <= before + 2, "no more than the chunk that was begun");
        let running = ferry.resume(running).await;
        let RunEnd::Outcome(report) = ferry.run(&running).await else { panic!("no outcome") };
        let imported = ferry.end(&running, *report).await;
        imported.assert_clean();
        assert_eq!(imported.dataset("sessions").created, 4);
    }

    async fn a_cancelled_import_takes_its_event_back(database: TestDatabase) {
        let mut ferry = Ferry::on(database);
        ferry.chunk_records = 1;
        ferry.import(Archive::dash().set("event", "/id", 1).set("event", "/identifier", "first").zip()).await.assert_clean();
        let before = ferry.snapshot().await;
        for chunk in [1, 4, 12, 20] {
            let running = stop_after(&mut ferry, &rich(), chunk).await;
            let now = ferry.clock.now();
            let asked = jobs::cancel(&ferry.database, running.lease.job, now).await.unwrap();
            assert_eq!(asked, Cancellation::Requested);
            let imported = outcome_of(&ferry, running).await;
            assert_eq!(imported.state(), JobState::Cancelled, "after chunk {chunk}");
            assert!(imported.report.event.is_none());
            assert_eq!(ferry.snapshot().await, before, "after chunk {chunk}");
        }
        // It leaves no hash.
        let imported = ferry.import(rich().zip()).await;
        assert_eq!(imported.state(), JobState::Partial);
    }

    async fn a_cancelled_update_stops_where_it_is_and_says_where(database: TestDatabase) {
        let mut ferry = Ferry::on(database);
        let event = ferry.import(Archive::dash().zip()).await.event();
        let changed = Archive::dash()
            .set("event", "/description", "Changed")
            .set("microlocations", "/0/name", "Changed")
            .set("sessions", "/0/title", "Changed")
            .set("sessions", "/3/title", "Changed");
        // Event, links, forms, rooms: each is a chunk of its own.
        let running = stop_after(&mut ferry, &changed, 4).await;
        let now = ferry.clock.now();
        assert_eq!(jobs::cancel(&ferry.database, running.lease.job, now).await.unwrap(), Cancellation::Requested);
        let imported = outcome_of(&ferry, running).await;
        assert_eq!(imported.state(), JobState::Cancelled);
        assert_eq!(imported.event(), event);
        assert_eq!(ferry.rows("description", "events").await, ["Changed"]);
        assert_eq!(ferry.rows("name", "microlocations WHERE source_id = '1'").await, ["Changed"]);
        assert_eq!(ferry.count("sessions WHERE title = 'Changed'").await, 0);
        assert_eq!(imported.dataset("event").updated, 1);
        assert_eq!(imported.dataset("microlocations").updated, 1);
        assert_eq!(imported.dataset("sessions").updated, 0);
        assert!(imported.report.summary.contains("rooms"), "{}", imported.report.summary);
    }

    async fn the_way_back_from_a_cancelled_update_is_no_duplicate(database: TestDatabase) {
        let mut ferry = Ferry::on(database);
        let event = ferry.import(Archive::dash().zip()).await.event();
        let changed = Archive::dash().set("event", "/description", "Changed").set("sessions", "/3/title", "Changed");
        let running = stop_after(&mut ferry, &changed, 2).await;
        let now = ferry.clock.now();
        assert_eq!(jobs::cancel(&ferry.database, running.lease.job, now).await.unwrap(), Cancellation::Requested);
        assert_eq!(outcome_of(&ferry, running).await.state(), JobState::Cancelled);
        assert_eq!(ferry.rows("description", "events").await, ["Changed"]);
        let back = ferry.import(Archive::dash().zip()).await;
        back.assert_clean();
        assert_eq!((back.event(), back.dataset("event").updated), (event, 1));
        assert_eq!(ferry.rows("description", "events").await, ["<p>Two days</p>"]);
        // What is there now was imported last, and whole.
        assert_eq!(ferry.import(Archive::dash().zip()).await.state(), JobState::Duplicate);
    }

    async fn a_cancelled_update_that_wrote_nothing_leaves_the_hash(database: TestDatabase) {
        let ferry = Ferry::on(database);
        ferry.import(Archive::dash().zip()).await.assert_clean();
        let running = ferry.start("harbour.zip", Archive::dash().set("event", "/description", "Changed").zip()).await;
        let now = ferry.clock.now();
        assert_eq!(jobs::cancel(&ferry.database, running.lease.job, now).await.unwrap(), Cancellation::Requested);
        assert_eq!(outcome_of(&ferry, running).await.state(), JobState::Cancelled);
        assert_eq!(ferry.import(Archive::dash().zip()).await.state(), JobState::Duplicate);
    }

    async fn a_job_that_was_cancelled_before_it_began_does_nothing(database: TestDatabase) {
        let ferry = Ferry::on(database);
        let running = ferry.start("harbour.zip", Archive::dash().zip()).await;
        let now = ferry.clock.now();
        assert_eq!(jobs::cancel(&ferry.database, running.lease.job, now).await.unwrap(), Cancellation::Requested);
        let imported = outcome_of(&ferry, running).await;
        assert_eq!(imported.state(), JobState::Cancelled);
        ferry.assert_no_records().await;
        ferry.import(Archive::dash().zip()).await.assert_clean();
    }

    async fn another_import_into_the_same_event_waits(database: TestDatabase) {
        let mut ferry = Ferry::on(database);
        let first = stop_after(&mut ferry, &Archive::dash(), 3).await;
        let changed = Archive::dash().set("event", "/name", "Harbour Nights").set("event", "/id", 99);
        let second = ferry.start("second.zip", changed.zip()).await;
        assert!(matches!(ferry.run(&second).await, RunEnd::BlockedOn(job) if job == first.lease.job));
        let RunEnd::Outcome(report) = ferry.run(&first).await else { panic!("no outcome") };
        assert!(matches!(ferry.run(&second).await, RunEnd::BlockedOn(job) if job == first.lease.job));
        ferry.end(&first, *report).await.assert_clean();
        let RunEnd::Outcome(report) = ferry.run(&second).await else { panic!("no outcome") };
        let imported = ferry.end(&second, *report).await;
        imported.assert_clean();
        assert!(!imported.report.event.unwrap().created);
        assert_eq!(ferry.count("events").await, 1);
    }
}

on_both_databases! {
    async fn the_plan_is_made_anew_where_another_import_has_made_the_event(database: TestDatabase) {
        let mut ferry = Ferry::on(database);
        // Its problems are written, its event is not made.
        let first = stop_after(&mut ferry, &rich(), 1).await;
        ferry.assert_no_records().await;
        // The same event without its identifier: nothing says yet that both are one.
        let other = Archive::dash().remove("event", "/identifier").remove("sessions", "/3");
        let event = ferry.import(other.zip()).await.event();
        let RunEnd::Outcome(report) = ferry.run(&first).await else { panic!("no outcome") };
        let imported = ferry.end(&first, *report).await;
        assert_eq!(imported.state(), JobState::Partial);
        assert_eq!(imported.event(), event);
        assert!(!imported.report.event.as_ref().unwrap().created);
        assert_eq!(ferry.count("events").await, 1);
    }

    async fn an_event_that_is_deleted_after_the_plan_is_made_anew(database: TestDatabase) {
        let ferry = Ferry::on(database);
        let event = ferry.import(Archive::dash().zip()).await.event();
        let running = ferry.start("harbour.zip", Archive::dash().set("sessions", "/0/subtitle", "New").zip()).await;
        let (database, here) = (ferry.services().database, tokio::runtime::Handle::current());
        let is_deleted = AtomicBool::new(false);
        // The check runs where waiting is allowed, after the plan was made.
        let on_progress = move |step: Step<'_>| {
            if is_at(step, "checking event") && !is_deleted.swap(true, Ordering::Relaxed) {
                here.block_on(delete(&database, event));
            }
        };
        let RunEnd::Outcome(report) = ferry.run_watched(&running, Arc::new(on_progress)).await else {
            panic!("no outcome")
        };
        let imported = ferry.end(&running, *report).await;
        imported.assert_clean();
        assert!(imported.report.event.as_ref().unwrap().created);
        assert_ne!(imported.event(), event);
        assert_eq!(imported.dataset("sessions").created, 4);
        assert_eq!((ferry.count("events").await, ferry.count("sessions").await), (1, 4));
    }

    async fn a_file_that_grows_while_it_is_read_is_tried_again_for_that_reason(database: TestDatabase) {
        let ferry = Ferry::on(database);
        let running = ferry.start("harbour.zip", Archive::dash().zip()).await;
        let source = running.import.archive.clone();
        let on_progress = move |step: Step<'_>| {
            if is_at(step, "checking event") {
                OpenOptions::new().append(true).open(&source).unwrap().write_all(b"more").unwrap();
            }
        };
        let RunEnd::Retry(reason) = ferry.run_watched(&running, Arc::new(on_progress)).await else { panic!("no retry") };
        assert_eq!(RetryReason::of(&reason), Some(RetryReason::SourceChanged), "{reason}");
        ferry.assert_no_records().await;
    }

    async fn an_event_that_is_deleted_between_two_chunks_is_made_anew(database: TestDatabase) {
        let mut ferry = Ferry::on(database);
        for chunk in [1, 2, 5, 9] {
            let imported = ferry.import(rich().zip()).await;
            let before = said(&ferry).await;
            let running = stop_after(&mut ferry, &rich().set("event", "/description", "Changed"), chunk).await;
            delete(&ferry.database, imported.event()).await;
            let RunEnd::Outcome(report) = ferry.run(&running).await else { panic!("no outcome") };
            let again = ferry.end(&running, *report).await;
            assert_eq!(again.state(), JobState::Partial, "after chunk {chunk}");
            assert!(again.report.event.as_ref().unwrap().created);
            assert_eq!(again.codes(), imported.codes());
            assert_eq!(said(&ferry).await.len(), before.len());
            delete(&ferry.database, again.event()).await;
        }
    }

    async fn what_is_half_deleted_is_not_taken_for_the_original_of_a_duplicate(database: TestDatabase) {
        let ferry = Ferry::on(database);
        let event = ferry.import(Archive::dash().zip()).await.event();
        let mut tx = ferry.database.begin().await.unwrap();
        assert!(events::delete_some(&mut tx, event, 1).await.unwrap());
        tx.commit().await.unwrap();
        let imported = ferry.import(Archive::dash().zip()).await;
        imported.assert_clean();
        assert_eq!(imported.event(), event);
    }

    async fn a_job_that_is_given_up_says_why_and_takes_its_event_back(database: TestDatabase) {
        let mut ferry = Ferry::on(database);
        for chunk in [1, 3, 6] {
            let running = stop_after(&mut ferry, &rich(), chunk).await;
            let why = Problem::new(Code::Quarantined, "the process died over it five times", "ask the admin");
            let RunEnd::Outcome(report) = ferry.give_up(&running, why).await else { panic!("no outcome") };
            let imported = ferry.end(&running, *report).await;
            assert_eq!(imported.state(), JobState::Failed);
            assert_eq!(imported.all(Code::Quarantined).len(), 1, "after chunk {chunk}: {:?}", imported.problems);
            // The account's own user may stay.
            let left: Vec<_> = ferry.snapshot().await.into_iter().filter(|row| !row.starts_with("users: ")).collect();
            assert_eq!(left, [""; 0], "after chunk {chunk}");
        }
    }
}

/// Deletes an event in pieces.
/// Whether an import is at this stage.
fn is_at(step: Step<'_>, wanted: &str) -> bool {
    matches!(step, Step::At { stage, .. } if stage == wanted)
}

async fn delete(database: &Database, event: i64) {
    loop {
        let mut tx = database.begin().await.unwrap();
        let has_more = events::delete_some(&mut tx, event, 3).await.unwrap();
        tx.commit().await.unwrap();
        if !has_more {
            return;
        }
    }
}

/// Runs a job to its outcome, as it is claimed next.
async fn outcome_of(ferry: &Ferry, running: Running) -> Imported {
    let running = ferry.resume(running).await;
    match ferry.run(&running).await {
        RunEnd::Outcome(report) => ferry.end(&running, *report).await,
        other => panic!("no outcome but {other:?}"),
    }
}

/// Stops a job after its `chunk`-th chunk.
pub(super) async fn stop_after(ferry: &mut Ferry, archive: &Archive, chunk: u32) -> Running {
    let running = ferry.start("harbour.zip", archive.zip()).await;
    ferry.signals = Signals::armed();
    ferry.signals.inject(FailPoint::ChunkAfterCommit, chunk, Injection::Fail);
    let end = ferry.run(&running).await;
    ferry.signals = Signals::default();
    assert!(matches!(end, RunEnd::Outage(_)), "{end:?}");
    ferry.resume(running).await
}
