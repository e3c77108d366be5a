//! A database that is away, slow to agree, or answers nobody: no attempt is used up, nothing is lost or doubled, and
//! readiness says what is the matter.

use std::io::Write;
use std::process::{Child, Command};
use std::time::Duration;

use eventferry::app::Readiness;
use eventferry::model::JobState;
use eventferry::signal::FailPoint;
use serde_json::json;

use crate::daemon::archives::{Archive, harbour};
use crate::daemon::faults::{Picture, picture};
use crate::support::child::start_and_hear;
use crate::support::daemon::{Setup, TestDaemon};
use crate::support::effort;
use crate::support::proxy::{Fate, Proxy};

const COMMITTED: FailPoint = FailPoint::ChunkAfterCommit;

/// Every night at five; the clock of a test begins at four.
const NIGHTLY: &str = r#"[{name = "nightly", account = "berlin", cron = "0 5 * * *", formats = ["sessions.csv"]}]"#;

/// A daemon whose connections go through a proxy; the test's own do not.
async fn behind_a_proxy(change: impl FnOnce(Setup) -> Setup) -> (TestDaemon, Proxy) {
    let setup = Setup::postgres();
    let direct = setup.url().unwrap();
    let proxy = Proxy::before(&direct);
    let setup = setup.set("database.url", &proxy.url(&direct)).set("database.busy_timeout", "5s");
    (change(setup.set("import.chunk_records", "2")).start().await, proxy)
}

impl TestDaemon {
    /// Lets the clock go on until readiness stands as wanted.
    async fn until_readiness(&self, wanted: impl Fn(&Readiness) -> bool) {
        let readiness = self.readiness();
        while !wanted(&readiness.borrow()) {
            self.clock.advance(Duration::from_secs(1));
            // The test's own connection is not disturbed; asking over it gives the daemon time.
            self.count("jobs").await;
        }
    }

    async fn until_not_ready_because_of(&self, word: &str) {
        self.until_readiness(|readiness| matches!(readiness, Readiness::NotReady(why) if why.contains(word))).await;
    }

    async fn until_ready(&self) {
        self.until_readiness(|readiness| *readiness == Readiness::Ready).await;
    }

    /// Lets the clock go on until so many chunks were committed in this life.
    async fn until_committed(&self, chunks: u32) {
        while self.signals.visits(COMMITTED) < chunks {
            self.clock.advance(Duration::from_secs(1));
            self.count("jobs").await;
        }
    }

    /// Lets the clock go on until every job has ended, whatever stands in the way meanwhile.
    async fn until_ended(&self) {
        while self.count("jobs WHERE state IN ('succeeded', 'partial', 'failed')").await == 0
            || self.count("jobs WHERE state NOT IN ('succeeded', 'partial', 'failed')").await > 0
        {
            self.clock.advance(Duration::from_secs(1));
        }
    }

    /// Nothing of an outage is held against a job.
    async fn assert_no_attempt_was_used(&self) {
        assert_eq!(self.count("jobs WHERE attempts > 0 OR strikes > 0").await, 0);
    }
}

/// What an import leaves that nothing disturbs.
async fn undisturbed() -> Picture {
    let daemon = Setup::postgres().set("import.chunk_records", "2").start().await;
    daemon.import("berlin", "harbour.zip", harbour().zip()).await;
    let picture = picture(&daemon).await;
    daemon.finish().await;
    picture
}

/// Which of `count` places are tried: all in the long form, else some from the first to the last.
fn places(count: u32) -> Vec<u32> {
    let stride = if effort::is_long() { 1 } else { (count / 6).max(1) };
    let mut places: Vec<u32> = (1..=count).step_by(stride as usize).collect();
    if places.last() != Some(&count) {
        places.push(count);
    }
    places
}

#[tokio::test]
async fn the_answer_to_any_commit_may_be_lost() {
    let expected = undisturbed().await;
    let (daemon, proxy) = behind_a_proxy(|setup| setup).await;
    proxy.judge(|_| Fate::Pass);
    daemon.import("berlin", "harbour.zip", harbour().zip()).await;
    let commits = proxy.commits();
    daemon.finish().await;
    assert!(commits > 15, "{commits}");
    for place in places(commits) {
        let (daemon, proxy) = behind_a_proxy(|setup| setup).await;
        proxy.judge(move |number| if number == place { Fate::AnswerLost } else { Fate::Pass });
        daemon.drop_file("berlin", "harbour.zip", harbour().zip());
        daemon.until_ended().await;
        daemon.idle().await;
        assert_eq!(proxy.disturbed(), 1, "commit {place} of {commits}");
        assert_eq!(picture(&daemon).await, expected, "commit {place} of {commits}");
        daemon.assert_no_attempt_was_used().await;
        daemon.finish().await;
    }
}

#[tokio::test]
async fn every_fifth_transaction_may_be_refused_for_others() {
    let expected = undisturbed().await;
    for offset in if effort::is_long() { 0..5 } else { 0..2 } {
        let (daemon, proxy) = behind_a_proxy(|setup| setup).await;
        proxy.judge(move |number| if number % 5 == offset { Fate::Refused } else { Fate::Pass });
        daemon.drop_file("berlin", "harbour.zip", harbour().zip());
        daemon.until_ended().await;
        assert!(proxy.disturbed() > 3, "{}", proxy.disturbed());
        proxy.judge(|_| Fate::Pass);
        daemon.idle().await;
        assert_eq!(picture(&daemon).await, expected, "offset {offset}");
        daemon.assert_no_attempt_was_used().await;
        daemon.finish().await;
    }
}

#[tokio::test]
async fn a_server_that_is_away_in_mid_chunk_for_hours_leaves_no_trace() {
    let setup = |setup: Setup| setup.set("import.chunk_pause", "1s").set("export", NIGHTLY);
    let (daemon, proxy) = behind_a_proxy(setup).await;
    daemon.import_in_steps("berlin", "river.zip", &one_session()).await;
    daemon.drop_file("berlin", "harbour.zip", harbour().zip());
    let before = daemon.signals.visits(COMMITTED);
    daemon.until_committed(before + 3).await;

    proxy.down();
    daemon.until_not_ready_because_of("database").await;
    // A file that comes meanwhile waits in the inbox; an export falls due.
    daemon.drop_file("default", "meanwhile.zip", Archive::of(9, "Meanwhile").zip());
    daemon.clock.advance(Duration::from_hours(3));
    assert_eq!(daemon.count("jobs WHERE kind = 'export'").await, 0);

    proxy.up();
    daemon.until_ready().await;
    daemon.until_ended().await;
    while daemon.count("jobs WHERE kind = 'export' AND state = 'succeeded'").await == 0 {
        daemon.clock.advance(Duration::from_secs(1));
    }
    daemon.idle_in_steps().await;
    assert_eq!(daemon.job("harbour.zip").await.state, JobState::Partial);
    assert_eq!(daemon.job("meanwhile.zip").await.state, JobState::Succeeded);
    assert_eq!((daemon.count("sessions").await, daemon.count("tracks").await), (5, 2));
    daemon.assert_no_attempt_was_used().await;

    // The schedule goes on the night after.
    daemon.clock.advance(Duration::from_hours(24));
    while daemon.count("jobs WHERE kind = 'export' AND state = 'succeeded'").await < 2 {
        daemon.clock.advance(Duration::from_secs(1));
    }
    daemon.finish().await;
}

#[tokio::test]
async fn sessions_that_the_server_ends_between_chunks_are_opened_again() {
    let (daemon, _proxy) = behind_a_proxy(|setup| setup.set("import.chunk_pause", "1s")).await;
    daemon.drop_file("berlin", "harbour.zip", harbour().zip());
    for chunk in 1..=4 {
        daemon.until_committed(chunk).await;
        daemon.server().sql(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
             WHERE datname = current_database() AND pid <> pg_backend_pid()",
        );
    }
    daemon.until_ended().await;
    daemon.idle_in_steps().await;
    assert_eq!(picture(&daemon).await, undisturbed().await);
    daemon.assert_no_attempt_was_used().await;
    daemon.finish().await;
}

/// Another program that holds SQLite's write lock.
struct Holder(Child);

impl Holder {
    fn of(file: &std::path::Path) -> Self {
        let program = "import sqlite3, sys\n\
                       connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=60)\n\
                       connection.execute('BEGIN IMMEDIATE')\n\
                       print('held', flush=True)\n\
                       sys.stdin.readline()\n\
                       connection.execute('ROLLBACK')\n\
                       connection.close()\n";
        let (child, line) = start_and_hear(Command::new("python3").args(["-c", program]).arg(file));
        assert_eq!(line, "held\n");
        Self(child)
    }

    fn let_go(mut self) {
        self.0.stdin.take().unwrap().write_all(b"\n").unwrap();
        assert!(self.0.wait().unwrap().success());
    }
}

#[tokio::test]
async fn a_database_file_that_another_program_keeps_locked_is_waited_for() {
    let setup = Setup::sqlite().set("import.chunk_records", "2").set("import.chunk_pause", "1s");
    let daemon = setup.set("database.busy_timeout", "1s").start().await;
    daemon.drop_file("berlin", "harbour.zip", harbour().zip());
    daemon.until_committed(3).await;

    let holder = Holder::of(&daemon.root().join("eventferry.db"));
    daemon.until_not_ready_because_of("locked").await;
    daemon.clock.advance(Duration::from_mins(1));
    holder.let_go();
    daemon.until_ready().await;
    daemon.until_ended().await;
    daemon.idle_in_steps().await;
    assert_eq!(daemon.job("harbour.zip").await.state, JobState::Partial);
    assert_eq!(daemon.count("sessions").await, 4);
    daemon.assert_no_attempt_was_used().await;
    daemon.finish().await;
}

fn one_session() -> Archive {
    Archive::of(8, "River Days").with("sessions", &json!([{"id": 1, "title": "Rowing"}]))
}

impl TestDaemon {
    async fn import_in_steps(&self, account: &str, name: &str, archive: &Archive) {
        self.drop_file(account, name, archive.zip());
        self.idle_in_steps().await;
    }
}
