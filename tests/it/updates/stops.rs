//! Crashes, soft stops and cancelling: an import goes on after its last chunk, or ends where it is.

use eventferry::import::RunEnd;
use eventferry::model::{JobState, Report};
use eventferry::signal::{FailPoint, Injection, Signals};
use eventferry::store::jobs::{self, Cancellation};
use serde_json::json;
use tokio_util::sync::CancellationToken;

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
    for table in
        ["events", "social_links", "custom_forms", "microlocations", "sponsors", "speakers", "tracks", "session_types", "sessions"]
    {
        said.extend(ferry.rows("source_id, content_hash, extra, CASE WHEN gone_at IS NULL THEN 'here' ELSE 'gone' END", table).await);
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

on_both_databases! {
    async fn an_import_that_was_interrupted_anywhere_ends_like_any_other(database: TestDatabase) {
        drop(database);
        let (after_first, after_second, first, second) = undisturbed().await;
        assert_eq!(first.state(), JobState::Partial);
        for point in [FailPoint::Checked, FailPoint::ChunkBeforeCommit, FailPoint::ChunkAfterCommit, FailPoint::MediaBeforeRow] {
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
                assert!(said(&ferry).await == after_second, "update, {point:?} {visit}");
            }
            assert!(visit > 1, "{point:?} was never reached");
        }
    }
}

/// Stops a job after its `chunk`-th chunk.
async fn stop_after(ferry: &mut Ferry, archive: &Archive, chunk: u32) -> Running {
    let running = ferry.start("harbour.zip", archive.zip()).await;
    ferry.signals = Signals::armed();
    ferry.signals.inject(FailPoint::ChunkAfterCommit, chunk, Injection::Fail);
    let end = ferry.run(&running).await;
    ferry.signals = Signals::default();
    assert!(matches!(end, RunEnd::Outage(_)), "{end:?}");
    ferry.resume(running).await
}
