//! Every place where a crash could leave two truths: after each, everything ends as if nothing had happened.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Duration;

use eventferry::inbox::{CopyOrder, Moment, copy_in};
use eventferry::model::{JobId, JobState};
use eventferry::signal::{FailPoint, Injection};
use eventferry::store::jobs::{self, Cancellation, SourceState};
use serde_json::Value;

use super::archives::harbour;
use super::points::{Blow, strike};
use crate::support::daemon::{Setup, TestDaemon, with_each_database};

/// Everything that people and programs see afterwards, without ids of jobs and times.
#[derive(Debug, PartialEq)]
pub(crate) struct Picture {
    tables: Vec<String>,
    results: Vec<(String, Value)>,
    problems: Vec<String>,
    files: Vec<String>,
    mails: Vec<String>,
    notifications: Vec<String>,
}

/// So small that the archive takes several chunks.
async fn several_chunks(setup: Setup) -> TestDaemon {
    setup.set("import.chunk_records", "2").start().await
}

pub(crate) async fn picture(daemon: &TestDaemon) -> Picture {
    let jobs = daemon.jobs().await;
    let names: BTreeMap<String, String> =
        jobs.iter().enumerate().map(|(index, job)| (job.id.to_string(), format!("<job {index}>"))).collect();
    let plain = |text: &str| {
        let text = names.iter().fold(text.to_owned(), |text, (id, name)| text.replace(id, name));
        without_times(&text)
    };
    let mut results = Vec::new();
    let mut files = Vec::new();
    for job in &jobs {
        let ended = daemon.ended_job(job.clone());
        let mut result: Value = serde_json::from_slice(&fs::read(ended.folder.join("result.json")).unwrap()).unwrap();
        for time in ["started", "finished"] {
            result[time] = Value::Null;
        }
        results.push((job.archive_name.clone(), serde_json::from_str(&plain(&result.to_string())).unwrap()));
    }
    for folder in ["outbox", "done", "rejected", "media", "mail", "work", "inbox"] {
        files.extend(
            daemon.files(folder).iter().filter(|file| !file.starts_with("work/.owners")).map(|file| plain(file)),
        );
    }
    files.sort();
    let problems = "SELECT code || '|' || coalesce(file, '-') || '|' || message FROM problems ORDER BY job_id, number";
    let mails = daemon.mails(None).await;
    let mails =
        mails.iter().map(|mail| plain(&format!("{} {} {:?} {}", mail.kind, mail.state, mail.recipient, mail.subject)));
    let notifications: Vec<String> = daemon.column("SELECT kind || '|' || title FROM notifications ORDER BY id").await;
    Picture {
        tables: daemon.tables().await,
        results,
        problems: daemon.column(problems).await,
        files,
        mails: mails.collect(),
        notifications,
    }
}

/// `20261122T040000Z` becomes `<time>`.
pub(super) fn without_times(text: &str) -> String {
    let bytes = text.as_bytes();
    let is_time = |at: usize| {
        bytes.len() >= at + 16
            && bytes[at..at + 16].iter().enumerate().all(|(index, byte)| match index {
                8 => *byte == b'T',
                15 => *byte == b'Z',
                _ => byte.is_ascii_digit(),
            })
    };
    let mut plain = String::new();
    let mut skip = 0;
    for (at, character) in text.char_indices() {
        if at >= skip && is_time(at) {
            plain.push_str("<time>");
            skip = at + 16;
        } else if at >= skip {
            plain.push(character);
        }
    }
    plain
}

/// The picture that an undisturbed run leaves, and how often it passes each point.
async fn undisturbed(setup: Setup, points: &[FailPoint]) -> (Picture, BTreeMap<FailPoint, u32>) {
    let daemon = several_chunks(setup).await;
    daemon.import("berlin", "harbour.zip", harbour().zip()).await;
    let picture = picture(&daemon).await;
    let visits = points.iter().map(|point| (*point, daemon.signals.visits(*point))).collect();
    daemon.finish().await;
    (picture, visits)
}

/// Drops the archive, has it cancelled when some of it has gone in, and strikes while it is taken back; up to its last picture.
async fn cancelled(setup: Setup, point: FailPoint, blow: Option<(Blow, u32)>) -> (Picture, u32) {
    let mut daemon = several_chunks(setup.set("import.chunk_pause", "1s")).await;
    daemon.drop_file("berlin", "harbour.zip", harbour().zip());
    while daemon.signals.visits(FailPoint::MediaBeforeRow) == 0 {
        daemon.clock.advance(Duration::from_secs(1));
        daemon.look().await;
    }
    let job = daemon.job("harbour.zip").await;
    if matches!(blow, Some((Blow::Abort, _))) {
        daemon.die().await;
    }
    assert_eq!(jobs::cancel(&daemon.database, job.id, daemon.clock.now()).await.unwrap(), Cancellation::Requested);
    if let Some((blow, visit)) = blow {
        strike(&mut daemon, blow, point, visit, |_| {}).await;
    }
    daemon.idle_in_steps().await;
    let picture = picture(&daemon).await;
    let visits = daemon.signals.visits(point);
    assert_eq!(daemon.job("harbour.zip").await.state, JobState::Cancelled);
    daemon.finish().await;
    (picture, visits)
}

/// At each of `points`, all of which an event passes that is being taken back.
pub(super) async fn each_step_back(points: &[FailPoint], setup: fn() -> Setup, blow: Blow) {
    for point in points {
        let (expected, visits) = cancelled(setup(), *point, None).await;
        assert!(visits > 2, "{point:?}: {visits}");
        for visit in [1, 2, visits - 1, visits] {
            let (found, _) = cancelled(setup(), *point, Some((blow, visit))).await;
            assert_eq!(found.tables, expected.tables, "{blow:?} at visit {visit} of {point:?}");
            assert_eq!((found.files, found.mails), (expected.files.clone(), expected.mails.clone()));
        }
    }
}

/// At the first, the second and the last visit of each of `points`, all of which an import passes.
pub(super) async fn each_point(points: &[FailPoint], setup: fn() -> Setup, blow: Blow) {
    let (expected, visits) = undisturbed(setup(), points).await;
    for (point, visits) in visits {
        assert!(visits > 0, "{point:?} is never reached");
        for visit in BTreeSet::from([1, 2.min(visits), visits]) {
            let mut daemon = several_chunks(setup()).await;
            let begin = |daemon: &TestDaemon| daemon.drop_file("berlin", "harbour.zip", harbour().zip());
            strike(&mut daemon, blow, point, visit, begin).await;
            daemon.idle().await;
            let found = picture(&daemon).await;
            assert_eq!(found, expected, "{blow:?} at visit {visit} of {point:?}");
            daemon.finish().await;
        }
    }
}

/// Points that one archive passes in one life after the other, each of which dies there.
const IN_TURN: [FailPoint; 11] = [
    FailPoint::ClaimBeforeRename,
    FailPoint::ClaimAfterRename,
    FailPoint::Checked,
    FailPoint::ChunkBeforeCommit,
    FailPoint::ChunkAfterCommit,
    FailPoint::MediaBeforeRow,
    FailPoint::Frozen,
    FailPoint::ResultFilesBeforeManifest,
    FailPoint::ResultFilesWritten,
    FailPoint::FinalBeforeMove,
    FailPoint::MovedBeforeRow,
];

async fn a_death_at_each_point_in_turn(setup: fn() -> Setup) {
    let (expected, _) = undisturbed(setup(), &[]).await;
    let mut daemon = several_chunks(setup()).await;
    daemon.signals.inject(IN_TURN[0], 1, Injection::Die);
    daemon.drop_file("berlin", "harbour.zip", harbour().zip());
    for (life, point) in IN_TURN.into_iter().enumerate() {
        // What is found at a start settles first.
        while daemon.signals.visits(point) == 0 {
            daemon.clock.advance(Duration::from_secs(1));
            daemon.look().await;
        }
        daemon.die().await;
        if let Some(next) = IN_TURN.get(life + 1) {
            daemon.signals.inject(*next, 1, Injection::Die);
        }
        daemon.start().await;
    }
    daemon.idle().await;
    assert_eq!(picture(&daemon).await, expected);
    daemon.finish().await;
}

#[tokio::test]
async fn a_death_at_each_point_in_turn_leaves_no_trace_on_sqlite() {
    a_death_at_each_point_in_turn(Setup::sqlite).await;
}

#[tokio::test]
async fn a_death_at_each_point_in_turn_leaves_no_trace_on_postgres() {
    a_death_at_each_point_in_turn(Setup::postgres).await;
}

with_each_database! {
    async fn a_repeat_whose_command_has_died_before_the_row_is_still_a_repeat(setup: Setup) {
        let mut daemon = setup.start().await;
        let first = daemon.import("berlin", "harbour.zip", harbour().zip()).await;
        let source = daemon.root().join(first.job.source_path.as_ref().unwrap());
        daemon.stop().await;
        let job = JobId(daemon.clock.new_id());
        let order = CopyOrder {
            job,
            account: "berlin",
            archive_name: Some(&first.job.archive_name),
            again: true,
            retry_of: Some(first.job.id),
            with_handlers: None,
        };
        drop(copy_in(&daemon.root().join("work"), &source, &order, Moment::now(&daemon.clock)).unwrap());
        daemon.start().await;
        daemon.idle().await;
        let again = daemon.ended("harbour.zip").await;
        assert_eq!((again.job.id, again.job.retry_of), (job, Some(first.job.id)));
        assert_eq!(again.report.related_job, Some(first.job.id));
        assert_eq!(again.job.state, JobState::Partial, "not a duplicate");
        daemon.finish().await;
    }

    async fn a_single_run_ends_where_only_an_outage_is_waited_for(setup: Setup) {
        let daemon = setup.start().await;
        daemon.signals.inject(FailPoint::Checked, 1, Injection::Fail);
        daemon.drop_file("berlin", "harbour.zip", harbour().zip());
        daemon.signals.reached(FailPoint::Checked, 1).await;
        daemon.daemon_idle().await;
        assert_eq!(daemon.job("harbour.zip").await.state, JobState::Paused);
        daemon.finish().await;
    }

    async fn a_failed_move_of_the_dropped_file_is_tried_again_soon(setup: Setup) {
        let daemon = setup.start().await;
        daemon.signals.inject(FailPoint::FinalBeforeMove, 1, Injection::Fail);
        daemon.drop_file("berlin", "harbour.zip", harbour().zip());
        daemon.signals.reached(FailPoint::FinalBeforeMove, 1).await;
        let failed = daemon.clock.monotonic();
        while daemon.job("harbour.zip").await.source_state != SourceState::Moved {
            // It is due after half a minute; the disk may be slower than this clock.
            if daemon.clock.monotonic() - failed < Duration::from_mins(5) {
                daemon.clock.advance(Duration::from_secs(1));
            }
            daemon.look().await;
        }
        daemon.finish().await;
    }
}
