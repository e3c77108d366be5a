//! Jobs side by side, their leases, and what becomes of them when something goes wrong. Each job does what its test
//! says.

use std::collections::BTreeMap;
use std::future::{Future, ready};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use eventferry::clock::{Clock, Timestamp};
use eventferry::db::{Database, Sql};
use eventferry::model::{JobId, JobState};
use eventferry::pace::Turn;
use eventferry::queue::{Outcome, Queue, QueueHandle, QueueSettings, Runner};
use eventferry::store::jobs::{
    self, Cancellation, CheckpointUpdate, ClaimRequest, ClaimedJob, Ending, JobKind, JobView, Lease, LeaseError,
    Lookup, MustEnd, NewJob, OwnerId, SourceTurn,
};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::sync::{Mutex, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::support::databases::on_both_databases;

/// A job that has begun and does nothing until it is told.
struct Begun {
    lease: Lease,
    job: ClaimedJob,
    stop: CancellationToken,
    act: UnboundedSender<Act>,
}

enum Act {
    /// Writes the final state and returns.
    End(JobState),
    Return(Outcome),
    Panic,
    /// Lets its turn breathe and says when it has one again.
    Breathe(oneshot::Sender<()>),
    /// Gives its turn back and says whether it may.
    Rest(oneshot::Sender<bool>),
}

impl Begun {
    fn number(&self) -> u128 {
        self.lease.job.0.as_u128() - FIRST_ID
    }

    fn act(&self, act: Act) {
        assert!(self.act.send(act).is_ok(), "the job has returned already");
    }

    async fn rests(&self) -> bool {
        let (sender, done) = oneshot::channel();
        self.act(Act::Rest(sender));
        done.await.unwrap()
    }
}

struct ToldRunner {
    database: Database,
    begun: UnboundedSender<Begun>,
}

impl Runner for ToldRunner {
    async fn run(&self, lease: Lease, job: ClaimedJob, mut turn: Turn, stop: CancellationToken) -> Outcome {
        let (act, acts) = mpsc::unbounded_channel();
        let acts = Mutex::new(acts);
        let _ = self.begun.send(Begun { lease, job, stop, act });
        loop {
            // A test that is over tells nothing more: the job stays where it is.
            let Some(act) = acts.lock().await.recv().await else { return std::future::pending().await };
            match act {
                Act::End(state) => return end(&self.database, &lease, state).await,
                Act::Return(outcome) => return outcome,
                Act::Panic => panic!("on purpose"),
                Act::Breathe(done) => {
                    turn.breathe().await;
                    let _ = done.send(());
                }
                Act::Rest(done) => {
                    let _ = done.send(turn.rest());
                }
            }
        }
    }
}

async fn end(database: &Database, lease: &Lease, state: JobState) -> Outcome {
    let mut tx = database.begin().await.unwrap();
    let ending = Ending { state, summary: "over".to_owned(), result_folder: None, finished_at: start() };
    match jobs::finish(&mut tx, lease, &ending).await {
        Ok(_) => tx.commit().await.unwrap(),
        Err(LeaseError::Fenced(_)) => return Outcome::LeaseLost,
        Err(LeaseError::Database(error)) => panic!("{error}"),
    }
    Outcome::Done
}

/// A queue at work, with a clock of its own.
struct Daemon {
    clock: Clock,
    owner: OwnerId,
    handle: QueueHandle,
    begun: UnboundedReceiver<Begun>,
    stop: CancellationToken,
    work: JoinHandle<()>,
}

impl Daemon {
    fn start(database: &Database, owners: &Path, parallel: usize) -> Self {
        Self::start_beside(database, owners, parallel, ready(()))
    }

    /// With something else that the owner does.
    fn start_beside(
        database: &Database,
        owners: &Path,
        parallel: usize,
        others: impl Future<Output = ()> + Send + 'static,
    ) -> Self {
        let clock = Clock::manual(start());
        let (sender, begun) = mpsc::unbounded_channel();
        let runner = Arc::new(ToldRunner { database: database.clone(), begun: sender });
        let settings = QueueSettings {
            parallel,
            heartbeat: Duration::from_secs(10),
            lease: Duration::from_secs(45),
            poll: Duration::from_secs(1),
            retry_first: Duration::from_secs(5),
            retry_max: Duration::from_secs(600),
            longest_wait: Duration::from_secs(1200),
            attempts: 3,
            strikes: 5,
            owners: owners.to_owned(),
        };
        let queue = Queue::new(database.clone(), clock.clone(), settings, runner);
        let (owner, handle, stop) = (queue.owner(), queue.handle(), CancellationToken::new());
        let work = tokio::spawn(queue.run(stop.clone(), others));
        Self { clock, owner, handle, begun, stop, work }
    }

    async fn next(&mut self) -> Begun {
        self.handle.wake();
        self.begun.recv().await.expect("the queue is at work")
    }

    /// Nothing further begins, whatever is due.
    async fn begins_nothing(&mut self) {
        self.handle.look().await;
        // What was claimed begins in a task of its own, which a second look lets go first.
        self.handle.look().await;
        assert!(self.begun.try_recv().is_err(), "a job began");
    }

    async fn advance(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
        self.handle.look().await;
    }

    /// The process is gone between two instructions. Its jobs never go on.
    async fn die(self) {
        self.work.abort();
        assert!(self.work.await.unwrap_err().is_cancelled());
    }

    /// Waits until a job is as wanted; its row is written while the queue looks on.
    async fn until(&self, database: &Database, number: u128, wanted: impl Fn(&JobView) -> bool) -> JobView {
        loop {
            let view = job(database, number).await;
            if wanted(&view) {
                return view;
            }
            self.handle.look().await;
        }
    }
}

const FIRST_ID: u128 = 0x0193_5000_0000_7000_8000_0000_0000_0000;

fn id(number: u128) -> JobId {
    JobId(Uuid::from_u128(FIRST_ID + number))
}

fn start() -> Timestamp {
    "2026-11-22T04:00:00Z".parse().unwrap()
}

async fn insert(database: &Database, number: u128, account: &str) {
    let job = NewJob {
        id: id(number),
        kind: JobKind::Import,
        account: account.to_owned(),
        archive_name: format!("{number}.zip"),
        archive_bytes: 1,
        source_key: None,
        again: false,
        retry_of: None,
        with_handlers: None,
        created_at: start(),
    };
    jobs::insert(database, &job).await.unwrap();
}

async fn job(database: &Database, number: u128) -> JobView {
    match jobs::get(database, &id(number).to_string()).await.unwrap() {
        Lookup::Found(view) => *view,
        other => panic!("job {number} is {other:?}"),
    }
}

async fn count(database: &Database, state: JobState) -> u64 {
    let counts = jobs::counts(database, None).await.unwrap();
    counts.into_iter().find(|(counted, _)| *counted == state).unwrap().1
}

async fn beat_of(database: &Database, number: u128) -> i64 {
    let running = jobs::running_of_others(database, OwnerId(Uuid::nil())).await.unwrap();
    running.iter().find(|seen| seen.job == id(number)).expect("the job is running").beat
}

async fn checkpoint(database: &Database, lease: &Lease) -> Result<(), LeaseError> {
    let update = CheckpointUpdate {
        stage: "importing sessions".to_owned(),
        stage_done: 1,
        stage_total: 2,
        checkpoint: "{}".to_owned(),
        event_id: None,
        event_created: false,
    };
    let mut tx = database.begin().await.unwrap();
    jobs::checkpoint(&mut tx, lease, &update).await?;
    tx.commit().await.unwrap();
    Ok(())
}

/// From now on every statement on jobs fails.
async fn take_the_tables_away(database: &Database) {
    database.execute(&Sql::same("hide", "ALTER TABLE jobs RENAME TO hidden"), &[]).await.unwrap();
}

async fn bring_the_tables_back(database: &Database) {
    database.execute(&Sql::same("show", "ALTER TABLE hidden RENAME TO jobs"), &[]).await.unwrap();
}

fn files_in(folder: &Path) -> usize {
    std::fs::read_dir(folder).unwrap().count()
}

on_both_databases! {
    async fn a_job_runs_to_its_end_and_the_queue_is_idle(database: TestDatabase) {
        let owners = tempfile::tempdir().unwrap();
        let mut daemon = Daemon::start(&database, owners.path(), 2);
        daemon.handle.idle().await;
        insert(&database, 1, "a").await;
        let begun = daemon.next().await;
        assert_eq!((begun.number(), begun.lease.owner), (1, daemon.owner));
        begun.act(Act::End(JobState::Succeeded));
        daemon.handle.idle().await;
        assert_eq!(job(&database, 1).await.state, JobState::Succeeded);
    }

    async fn a_job_that_somebody_else_inserted_is_found_by_the_next_poll(database: TestDatabase) {
        let owners = tempfile::tempdir().unwrap();
        let mut daemon = Daemon::start(&database, owners.path(), 2);
        daemon.begins_nothing().await;
        insert(&database, 1, "a").await;
        daemon.clock.advance(Duration::from_secs(1));
        assert_eq!(daemon.begun.recv().await.unwrap().number(), 1);
    }

    async fn two_daemons_over_one_database_run_each_job_once(database: TestDatabase) {
        let owners = tempfile::tempdir().unwrap();
        for number in 0..24 {
            insert(&database, number, ["a", "b", "c"][usize::try_from(number).unwrap() % 3]).await;
        }
        let mut one = Daemon::start(&database, owners.path(), 2);
        let mut two = Daemon::start(&database.open_again().await, owners.path(), 2);
        let mut runs = BTreeMap::new();
        for _ in 0..24 {
            let begun = tokio::select! { begun = one.begun.recv() => begun, begun = two.begun.recv() => begun }.unwrap();
            *runs.entry(begun.number()).or_insert(0) += 1;
            begun.act(Act::End(JobState::Succeeded));
        }
        one.handle.idle().await;
        two.handle.idle().await;
        one.begins_nothing().await;
        two.begins_nothing().await;
        assert_eq!(runs, (0..24).map(|number| (number, 1)).collect());
        assert_eq!(count(&database, JobState::Succeeded).await, 24);
    }

    async fn never_more_jobs_work_or_are_open_than_they_may(database: TestDatabase) {
        let owners = tempfile::tempdir().unwrap();
        for (number, account) in ["a", "a", "a", "b", "b", "b", "c", "d", "e", "f", "g", "h", "i"].into_iter().enumerate() {
            insert(&database, u128::try_from(number).unwrap(), account).await;
        }
        let mut daemon = Daemon::start(&database, owners.path(), 2);
        let mut working = vec![daemon.next().await, daemon.next().await];
        let mut ended = 0;
        while let Some(begun) = working.pop() {
            daemon.begins_nothing().await;
            let open = count(&database, JobState::Running).await;
            assert!(open <= 8, "{open} jobs are open");
            begun.act(Act::End(JobState::Succeeded));
            ended += 1;
            if ended + working.len() < 13 {
                working.insert(0, daemon.next().await);
            }
        }
        assert_eq!(ended, 13);
        daemon.handle.idle().await;
    }

    async fn jobs_that_rest_keep_no_other_accounts_from_beginning_and_only_so_many_may(database: TestDatabase) {
        let owners = tempfile::tempdir().unwrap();
        for (number, account) in ["a", "b", "c", "d", "e", "f", "g", "h", "i"].into_iter().enumerate() {
            insert(&database, u128::try_from(number).unwrap(), account).await;
        }
        let mut daemon = Daemon::start(&database, owners.path(), 1);
        let mut open = Vec::new();
        for _ in 0..4 {
            let begun = daemon.next().await;
            assert!(begun.rests().await);
            open.push(begun);
        }
        let fifth = daemon.next().await;
        assert_eq!(fifth.number(), 4);
        assert!(!fifth.rests().await, "four rest already");
        daemon.begins_nothing().await;
        assert_eq!(count(&database, JobState::Running).await, 8, "no more than four beside them are open");
        fifth.act(Act::End(JobState::Succeeded));
        for number in 5..9 {
            let begun = daemon.next().await;
            assert_eq!(begun.number(), number);
            begun.act(Act::End(JobState::Succeeded));
        }
        for begun in open {
            begun.act(Act::End(JobState::Succeeded));
        }
        daemon.handle.idle().await;
    }

    async fn one_account_has_no_more_open_jobs_than_may_work(database: TestDatabase) {
        let owners = tempfile::tempdir().unwrap();
        for number in 0..9 {
            insert(&database, number, "a").await;
        }
        let mut daemon = Daemon::start(&database, owners.path(), 2);
        daemon.next().await;
        daemon.next().await;
        daemon.begins_nothing().await;
        assert_eq!(count(&database, JobState::Running).await, 2);
    }

    async fn a_long_archive_of_one_account_lets_a_short_one_of_another_pass(database: TestDatabase) {
        let owners = tempfile::tempdir().unwrap();
        insert(&database, 1, "a").await;
        let mut daemon = Daemon::start(&database, owners.path(), 1);
        let long = daemon.next().await;
        insert(&database, 2, "b").await;
        insert(&database, 3, "a").await;
        daemon.begins_nothing().await;

        let (sender, breathed) = oneshot::channel();
        long.act(Act::Breathe(sender));
        let short = daemon.next().await;
        assert_eq!(short.number(), 2);
        short.act(Act::End(JobState::Succeeded));
        breathed.await.unwrap();
        assert_eq!(job(&database, 3).await.state, JobState::Queued);
        long.act(Act::End(JobState::Succeeded));
        assert_eq!(daemon.next().await.number(), 3);
    }

    async fn a_job_waits_until_the_one_before_it_has_ended(database: TestDatabase) {
        let owners = tempfile::tempdir().unwrap();
        insert(&database, 1, "a").await;
        insert(&database, 2, "a").await;
        let mut daemon = Daemon::start(&database, owners.path(), 2);
        let (first, second) = (daemon.next().await, daemon.next().await);
        assert_eq!(jobs::take_source_turn(&database, &first.lease, "k").await.unwrap(), SourceTurn::Granted);
        assert_eq!(jobs::take_source_turn(&database, &second.lease, "k").await.unwrap(), SourceTurn::BlockedOn(id(1)));
        second.act(Act::Return(Outcome::Blocked { on: id(1) }));
        let waiting = daemon.until(&database, 2, |view| view.state == JobState::Blocked).await;
        assert_eq!((waiting.blocked_on, waiting.attempts), (Some(id(1)), 0));
        daemon.begins_nothing().await;

        first.act(Act::End(JobState::Failed));
        let second = daemon.next().await;
        assert_eq!(jobs::take_source_turn(&database, &second.lease, "k").await.unwrap(), SourceTurn::Granted);
        second.act(Act::End(JobState::Succeeded));
        daemon.handle.idle().await;
    }

    async fn a_job_whose_blocker_vanished_is_swept_free(database: TestDatabase) {
        let owners = tempfile::tempdir().unwrap();
        insert(&database, 1, "a").await;
        insert(&database, 2, "a").await;
        let mut daemon = Daemon::start(&database, owners.path(), 2);
        let (first, second) = (daemon.next().await, daemon.next().await);
        second.act(Act::Return(Outcome::Blocked { on: first.lease.job }));
        daemon.until(&database, 2, |view| view.state == JobState::Blocked).await;
        database.execute(&Sql::same("lose", "DELETE FROM jobs WHERE state = 'running'"), &[]).await.unwrap();
        daemon.begins_nothing().await;
        daemon.clock.advance(Duration::from_secs(10));
        assert_eq!(daemon.next().await.number(), 2);
    }

    async fn a_cancelled_job_that_waits_is_handed_out_to_be_ended(database: TestDatabase) {
        let owners = tempfile::tempdir().unwrap();
        insert(&database, 1, "a").await;
        let mut daemon = Daemon::start(&database, owners.path(), 2);
        daemon.next().await.act(Act::Return(Outcome::Snooze { reason: "the disk is full".to_owned() }));
        daemon.until(&database, 1, |view| view.state == JobState::Paused).await;
        assert_eq!(jobs::cancel(&database, id(1), start()).await.unwrap(), Cancellation::Requested);
        let begun = daemon.next().await;
        assert!(begun.job.job.cancel_requested);
        begun.act(Act::End(JobState::Cancelled));
        daemon.handle.idle().await;
        assert_eq!(job(&database, 1).await.state, JobState::Cancelled);
    }

    async fn a_failing_job_comes_back_later_and_later_and_is_ended_after_its_last_attempt(database: TestDatabase) {
        let owners = tempfile::tempdir().unwrap();
        insert(&database, 1, "a").await;
        let mut daemon = Daemon::start(&database, owners.path(), 2);
        for (attempt, longest) in [(1, 5), (2, 10), (3, 20)] {
            let begun = daemon.next().await;
            assert_eq!(begun.job.must_end, None);
            let failed_at = daemon.clock.now();
            begun.act(Act::Return(Outcome::RetryLater { reason: format!("trouble {attempt}") }));
            let view = daemon.until(&database, 1, |view| view.attempts == attempt).await;
            let wait = view.run_at - failed_at;
            assert!(wait <= TimeDelta::seconds(longest) && wait * 4 >= TimeDelta::seconds(3 * longest), "{wait}");
            assert_eq!((view.state, view.waits_for), (JobState::Queued, Some(format!("trouble {attempt}"))));
            daemon.begins_nothing().await;
            daemon.clock.advance(Duration::from_secs(u64::try_from(longest).unwrap()));
        }
        let begun = daemon.next().await;
        assert_eq!(begun.job.must_end, Some(MustEnd::Exhausted { reason: "trouble 3".to_owned() }));
        begun.act(Act::End(JobState::Failed));
        daemon.handle.idle().await;
    }

    async fn an_outage_uses_up_no_attempt_however_often_it_is_met(database: TestDatabase) {
        let owners = tempfile::tempdir().unwrap();
        insert(&database, 1, "a").await;
        let mut daemon = Daemon::start(&database, owners.path(), 2);
        for outages in 1..=12 {
            let begun = daemon.next().await;
            assert_eq!(begun.job.must_end, None);
            begun.act(Act::Return(Outcome::Snooze { reason: "the disk is full".to_owned() }));
            let view = daemon.until(&database, 1, |view| view.outages == outages).await;
            assert_eq!((view.state, view.attempts, view.waits_since), (JobState::Paused, 0, Some(start())));
            assert!(view.run_at - daemon.clock.now() <= TimeDelta::seconds(600));
            daemon.clock.advance(Duration::from_secs(600));
        }
        let begun = daemon.next().await;
        checkpoint(&database, &begun.lease).await.unwrap();
        begun.act(Act::Return(Outcome::Snooze { reason: "the disk is full".to_owned() }));
        let view = daemon.until(&database, 1, |view| view.state == JobState::Paused).await;
        assert!(view.run_at - daemon.clock.now() <= TimeDelta::seconds(5));
    }

    async fn a_panic_fails_one_job_and_no_other(database: TestDatabase) {
        let owners = tempfile::tempdir().unwrap();
        insert(&database, 1, "a").await;
        insert(&database, 2, "b").await;
        let mut daemon = Daemon::start(&database, owners.path(), 2);
        let (poison, other) = (daemon.next().await, daemon.next().await);
        poison.act(Act::Panic);
        let again = daemon.next().await;
        assert_eq!(again.lease, poison.lease);
        assert_eq!(again.job.must_end, Some(MustEnd::Panicked { reason: "on purpose".to_owned() }));
        again.act(Act::End(JobState::Failed));
        other.act(Act::End(JobState::Succeeded));
        daemon.handle.idle().await;
        assert_eq!((job(&database, 1).await.state, job(&database, 1).await.strikes), (JobState::Failed, 0));
        assert_eq!(job(&database, 2).await.state, JobState::Succeeded);
    }

    async fn a_runner_that_panics_at_the_end_too_is_not_asked_again_at_once(database: TestDatabase) {
        let owners = tempfile::tempdir().unwrap();
        insert(&database, 1, "a").await;
        let mut daemon = Daemon::start(&database, owners.path(), 2);
        daemon.next().await.act(Act::Panic);
        daemon.next().await.act(Act::Panic);
        let view = daemon.until(&database, 1, |view| view.state == JobState::Queued).await;
        assert_eq!((view.strikes, view.last_trouble.as_deref()), (1, Some("on purpose")));
        daemon.begins_nothing().await;
        daemon.clock.advance(Duration::from_secs(5));
        assert_eq!(daemon.next().await.job.must_end, None);
    }

    async fn a_run_that_says_done_without_an_end_is_a_failed_attempt(database: TestDatabase) {
        let owners = tempfile::tempdir().unwrap();
        insert(&database, 1, "a").await;
        let mut daemon = Daemon::start(&database, owners.path(), 2);
        daemon.next().await.act(Act::Return(Outcome::Done));
        let view = daemon.until(&database, 1, |view| view.attempts == 1).await;
        assert_eq!(view.state, JobState::Queued);
        daemon.begins_nothing().await;
    }

    async fn an_owner_shows_that_it_lives_until_everything_it_does_has_ended(database: TestDatabase) {
        let owners = tempfile::tempdir().unwrap();
        let locks = || std::fs::read_dir(owners.path()).unwrap().count();
        let (reached, is_reached) = oneshot::channel();
        let (end, ended) = oneshot::channel::<()>();
        let others = async move {
            reached.send(()).unwrap();
            ended.await.unwrap();
        };
        let daemon = Daemon::start_beside(&database, owners.path(), 2, others);
        daemon.handle.look().await;
        daemon.stop.cancel();
        is_reached.await.unwrap();
        // What dies now holds leases without a job.
        assert_eq!(locks(), 1);
        end.send(()).unwrap();
        daemon.work.await.unwrap();
        assert_eq!(locks(), 0);
    }

    async fn a_soft_stop_waits_for_the_chunk_and_gives_every_job_back(database: TestDatabase) {
        let owners = tempfile::tempdir().unwrap();
        for (number, account) in [(1, "a"), (2, "b"), (3, "c")] {
            insert(&database, number, account).await;
        }
        let mut daemon = Daemon::start(&database, owners.path(), 1);
        let begun = daemon.next().await;
        daemon.begins_nothing().await;
        assert_eq!(count(&database, JobState::Running).await, 3);

        daemon.stop.cancel();
        begun.stop.cancelled().await;
        // Its chunk takes longer than the lease: the heart beats on.
        let before = beat_of(&database, 1).await;
        while beat_of(&database, 1).await == before {
            daemon.clock.advance(Duration::from_secs(10));
        }
        assert!(!daemon.work.is_finished());
        begun.act(Act::Return(Outcome::Interrupted));
        daemon.work.await.unwrap();

        assert!(daemon.begun.try_recv().is_err(), "a job began during the stop");
        assert_eq!(count(&database, JobState::Queued).await, 3);
        for number in 1..=3 {
            let view = job(&database, number).await;
            assert_eq!((view.attempts, view.outages, view.strikes), (0, 0, 0));
        }
        assert_eq!(files_in(owners.path()), 0);
    }

    async fn a_dead_daemon_of_this_machine_loses_its_jobs_at_once(database: TestDatabase) {
        let owners = tempfile::tempdir().unwrap();
        insert(&database, 1, "a").await;
        let mut dead = Daemon::start(&database, owners.path(), 2);
        dead.next().await;
        dead.die().await;
        let mut heir = Daemon::start(&database, owners.path(), 2);
        let begun = heir.next().await;
        assert_eq!((begun.lease.owner, begun.job.job.strikes), (heir.owner, 1));
        assert_eq!(files_in(owners.path()), 1);
    }

    async fn a_running_daemon_takes_the_jobs_of_a_dead_one_with_its_next_heartbeat(database: TestDatabase) {
        let owners = tempfile::tempdir().unwrap();
        insert(&database, 1, "a").await;
        let mut dead = Daemon::start(&database, owners.path(), 2);
        dead.next().await;
        let mut heir = Daemon::start(&database, owners.path(), 2);
        heir.begins_nothing().await;
        dead.die().await;
        heir.clock.advance(Duration::from_secs(10));
        assert_eq!(heir.next().await.number(), 1);
    }

    async fn a_dead_daemon_of_another_machine_loses_its_jobs_when_the_lease_is_over(database: TestDatabase) {
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        insert(&database, 1, "a").await;
        let mut dead = Daemon::start(&database, there.path(), 2);
        dead.next().await;
        dead.die().await;
        let mut heir = Daemon::start(&database, here.path(), 2);
        heir.begins_nothing().await;
        for _ in 0..4 {
            heir.advance(10).await;
        }
        heir.begins_nothing().await;
        heir.advance(10).await;
        assert_eq!(heir.next().await.number(), 1);
    }

    async fn a_daemon_that_shows_signs_of_life_keeps_its_long_job(database: TestDatabase) {
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        insert(&database, 1, "a").await;
        let mut busy = Daemon::start(&database, there.path(), 2);
        let begun = busy.next().await;
        let mut other = Daemon::start(&database, here.path(), 2);
        other.begins_nothing().await;
        // Five minutes, in which their wall clocks part.
        for round in 0..30 {
            busy.advance(10).await;
            other.clock.shift_wall(TimeDelta::seconds(if round % 2 == 0 { 86_400 } else { -86_300 }));
            other.advance(10).await;
        }
        other.begins_nothing().await;
        assert!(!begun.stop.is_cancelled());
        assert!(jobs::is_held(&database, &begun.lease).await.unwrap());
    }

    async fn a_frozen_daemon_loses_its_job_and_its_late_commit_is_refused(database: TestDatabase) {
        let owners = tempfile::tempdir().unwrap();
        insert(&database, 1, "a").await;
        let mut frozen = Daemon::start(&database, owners.path(), 2);
        let late = frozen.next().await;
        let mut heir = Daemon::start(&database, owners.path(), 2);
        heir.begins_nothing().await;
        for _ in 0..5 {
            heir.advance(10).await;
        }
        let begun = heir.next().await;
        assert_eq!((begun.lease.epoch, begun.job.job.strikes), (2, 1));

        assert!(matches!(checkpoint(&database, &late.lease).await, Err(LeaseError::Fenced(_))));
        // It thaws, and learns from its next heartbeat that the job is not its own any more.
        frozen.advance(10).await;
        late.stop.cancelled().await;
        late.act(Act::End(JobState::Failed));
        frozen.begins_nothing().await;
        checkpoint(&database, &begun.lease).await.unwrap();
        begun.act(Act::End(JobState::Succeeded));
        heir.handle.idle().await;
        frozen.handle.idle().await;
        assert_eq!((job(&database, 1).await.state, job(&database, 1).await.strikes), (JobState::Succeeded, 0));
    }

    async fn a_job_that_its_process_dies_of_is_quarantined_and_others_flow(database: TestDatabase) {
        let owners = tempfile::tempdir().unwrap();
        insert(&database, 1, "a").await;
        for death in 0..5 {
            let mut daemon = Daemon::start(&database, owners.path(), 1);
            let begun = daemon.next().await;
            assert_eq!((begun.number(), begun.job.must_end), (1, None), "death {death}");
            daemon.die().await;
        }
        insert(&database, 2, "b").await;
        let mut daemon = Daemon::start(&database, owners.path(), 2);
        let mut begun = [daemon.next().await, daemon.next().await];
        begun.sort_by_key(Begun::number);
        assert_eq!(begun[0].job.must_end, Some(MustEnd::Quarantined { strikes: 5 }));
        begun[0].act(Act::End(JobState::Failed));
        begun[1].act(Act::End(JobState::Succeeded));
        daemon.handle.idle().await;
    }

    async fn trouble_with_the_database_never_ends_the_queue(database: TestDatabase) {
        let owners = tempfile::tempdir().unwrap();
        let mut daemon = Daemon::start(&database, owners.path(), 2);
        daemon.handle.look().await;
        take_the_tables_away(&database).await;
        for _ in 0..50 {
            daemon.clock.advance(Duration::from_secs(10));
            daemon.handle.wake();
            tokio::task::yield_now().await;
        }
        bring_the_tables_back(&database).await;
        insert(&database, 1, "a").await;
        let begun = daemon.next().await;

        // A job that ends its run meanwhile is put right as soon as that can be written.
        take_the_tables_away(&database).await;
        begun.act(Act::Return(Outcome::RetryLater { reason: "no answer".to_owned() }));
        for _ in 0..50 {
            daemon.clock.advance(Duration::from_secs(1));
            tokio::task::yield_now().await;
        }
        bring_the_tables_back(&database).await;
        let view = loop {
            daemon.clock.advance(Duration::from_secs(1));
            daemon.handle.look().await;
            let view = job(&database, 1).await;
            if view.attempts > 0 {
                break view;
            }
        };
        assert_eq!((view.attempts, view.strikes), (1, 0));
    }

    async fn a_stop_while_the_database_is_away_is_held_against_no_job(database: TestDatabase) {
        let owners = tempfile::tempdir().unwrap();
        insert(&database, 1, "a").await;
        let mut daemon = Daemon::start(&database, owners.path(), 2);
        let begun = daemon.next().await;
        daemon.handle.look().await;
        take_the_tables_away(&database).await;
        daemon.stop.cancel();
        begun.act(Act::Return(Outcome::Interrupted));
        daemon.work.await.unwrap();
        bring_the_tables_back(&database).await;
        assert_eq!(job(&database, 1).await.state, JobState::Running);

        let mut heir = Daemon::start(&database, owners.path(), 2);
        assert_eq!(heir.next().await.job.job.strikes, 0);
    }

    async fn a_claim_whose_answer_was_lost_is_given_back(database: TestDatabase) {
        let owners = tempfile::tempdir().unwrap();
        let mut daemon = Daemon::start(&database, owners.path(), 2);
        daemon.handle.hold_claims();
        daemon.handle.look().await;
        insert(&database, 1, "a").await;
        let request = ClaimRequest {
            owner: daemon.owner,
            per_account: 2,
            strikes: 5,
            attempts: 3,
            now: start(),
            horizon: start() + TimeDelta::hours(1),
        };
        jobs::claim_next(&database, &request).await.unwrap().unwrap();
        daemon.handle.allow_claims();
        daemon.begins_nothing().await;
        daemon.clock.advance(Duration::from_secs(10));
        let begun = daemon.next().await;
        assert_eq!((begun.lease.epoch, begun.job.job.strikes, begun.job.job.attempts), (2, 0, 0));
    }

    async fn no_job_begins_while_claims_are_held(database: TestDatabase) {
        let owners = tempfile::tempdir().unwrap();
        let mut daemon = Daemon::start(&database, owners.path(), 2);
        daemon.handle.hold_claims();
        insert(&database, 1, "a").await;
        daemon.begins_nothing().await;
        daemon.handle.allow_claims();
        assert_eq!(daemon.begun.recv().await.unwrap().number(), 1);
    }
}
