//! Claims jobs, runs them side by side, keeps their leases, and takes over those of dead processes. Knows a [`Runner`],
//! not what jobs do.

mod backoff;
mod drive;
pub mod lock;
mod watch;

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use chrono::TimeDelta;
use tokio::sync::{Notify, watch as value};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::{Clock, Timestamp};
use crate::db::{Database, DbError};
use crate::model::{JobId, JobState};
use crate::pace::{Turn, Turns};
use crate::store::handlers;
use crate::store::jobs::{self, Blame, ClaimRequest, ClaimedJob, Hold, Lease, LeaseError, OwnerId};

use drive::Driver;
use lock::{DeadOwner, OwnerLock};
use watch::Watch;

/// Does what a job is there for.
pub trait Runner: Send + Sync + 'static {
    /// Runs a claimed job to an outcome. Between chunks it lets the turn breathe and looks at `stop`: set, the daemon
    /// stops or the lease is lost, and the job ends with [`Outcome::Interrupted`] as soon as its chunk is done. Every
    /// write is fenced by `lease`. Where `job.must_end` says so, it only ends the job.
    fn run(
        &self,
        lease: Lease,
        job: ClaimedJob,
        turn: Turn,
        stop: CancellationToken,
    ) -> impl Future<Output = Outcome> + Send;
}

/// How a run of a job came out; it carries the decision of what follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The job has its final state.
    Done,
    /// Something failed that may pass. It uses up an attempt.
    RetryLater {
        /// What, as people read it: `it could not …`.
        reason: String,
    },
    /// Something outside is out of order: database, disk, receiver. It uses up no attempt.
    Snooze {
        /// What the job waits for.
        reason: String,
    },
    /// It must wait for something that is as it should be: its hours, a receiver that wants a rest. It uses up no attempt.
    Paused {
        /// What for.
        hold: Hold,
        /// How long until that is looked at again.
        look_after: Duration,
    },
    /// It ended between two chunks because `stop` was set. It uses up no attempt.
    Interrupted,
    /// It must wait until another job has ended.
    Blocked {
        /// That one.
        on: JobId,
    },
    /// A fenced write was refused: the job is somebody else's by now.
    LeaseLost,
}

/// How a queue works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueSettings {
    /// Jobs that work at the same time, and jobs of one account that are open; four times as many are open in all, beside
    /// those that rest.
    pub parallel: usize,
    /// How often the leases are renewed and dead owners looked for.
    pub heartbeat: Duration,
    /// How long an owner may give no sign of life.
    pub lease: Duration,
    /// How often to look for jobs that somebody else has inserted or that have become due.
    pub poll: Duration,
    /// The first wait after a failure.
    pub retry_first: Duration,
    /// The longest wait after failures.
    pub retry_max: Duration,
    /// The longest that a job may be put off, by whatever.
    pub longest_wait: Duration,
    /// Attempts before a job is ended as failed.
    pub attempts: u64,
    /// Deaths of the process without a checkpoint in between before a job is quarantined.
    pub strikes: u64,
    /// The folder with the locks of the owners of this machine.
    pub owners: PathBuf,
}

/// Open jobs per working one: those beyond wait for their turn, so that a long archive does not keep short ones out.
const OPEN_PER_WORKING: usize = 4;

/// Runs jobs until it is told to stop.
#[derive(Debug)]
pub struct Queue<R> {
    driver: Driver<R>,
    handle: QueueHandle,
    watch: Watch,
    jobs: TaskTracker,
    next_beat: Duration,
    trouble: Trouble,
}

/// Wakes a queue and asks after it. Clones are the same queue's.
#[derive(Clone, Debug)]
pub struct QueueHandle {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    wake: Notify,
    claims_held: AtomicBool,
    looks_asked: AtomicU64,
    look: value::Sender<Look>,
    trouble: value::Sender<Option<Arc<str>>>,
}

/// What the queue saw when it had nothing more to claim.
#[derive(Clone, Copy, Debug, Default)]
struct Look {
    number: u64,
    idle: bool,
}

impl QueueHandle {
    /// Says that there may be a job to claim.
    pub fn wake(&self) {
        self.shared.wake.notify_one();
    }

    /// Lets no further job begin, as while the disk is low; those that are open go on.
    pub fn hold_claims(&self) {
        self.shared.claims_held.store(true, Ordering::Relaxed);
    }

    /// Lets jobs begin again.
    pub fn allow_claims(&self) {
        self.shared.claims_held.store(false, Ordering::Relaxed);
        self.wake();
    }

    /// Why the queue cannot work with the database; none where it can.
    pub fn trouble(&self) -> value::Receiver<Option<Arc<str>>> {
        self.shared.trouble.subscribe()
    }

    /// Waits until the queue is idle: it looked after this call, none of its jobs is open, and no job is queued, not
    /// even for later. Jobs that wait for an outage to end, or behind such a job or another daemon's, do not count.
    pub async fn idle(&self) {
        self.look_until(|look| look.idle).await;
    }

    /// Waits until the queue has looked once, after this call, for leases, dead owners where that is due, and jobs to
    /// claim.
    pub async fn look(&self) {
        self.look_until(|_| true).await;
    }

    async fn look_until(&self, wanted: impl Fn(&Look) -> bool) {
        let number = self.shared.looks_asked.fetch_add(1, Ordering::Relaxed) + 1;
        let mut look = self.shared.look.subscribe();
        self.wake();
        // The sender lives in `shared`, which this future borrows: it cannot be closed.
        let _ = look.wait_for(|look| look.number >= number && wanted(look)).await;
    }
}

/// The database out of reach, said once and not in every round.
#[derive(Debug, Default)]
struct Trouble {
    rounds: u32,
}

impl<R: Runner> Queue<R> {
    /// Makes a queue with an owner's id of its own; nothing begins before [`Queue::run`].
    pub fn new(database: Database, clock: Clock, settings: QueueSettings, runner: Arc<R>) -> Self {
        let (look, _) = value::channel(Look::default());
        let shared = Shared {
            wake: Notify::new(),
            claims_held: AtomicBool::new(false),
            looks_asked: AtomicU64::new(0),
            look,
            trouble: value::channel(None).0,
        };
        let handle = QueueHandle { shared: Arc::new(shared) };
        let watch = Watch::new(settings.lease, settings.heartbeat * 2);
        let driver = Driver {
            owner: OwnerId(clock.new_id()),
            turns: Turns::new(settings.parallel),
            open: Arc::default(),
            left_behind: Arc::default(),
            handle: handle.clone(),
            database,
            clock,
            settings: Arc::new(settings),
            runner,
        };
        Self { driver, handle, watch, jobs: TaskTracker::new(), next_beat: Duration::ZERO, trouble: Trouble::default() }
    }

    /// Wakes this queue and asks after it.
    pub fn handle(&self) -> QueueHandle {
        self.handle.clone()
    }

    /// The id under which this process owns jobs.
    pub fn owner(&self) -> OwnerId {
        self.driver.owner
    }

    /// Runs jobs until `stop` is set, then waits for the open ones to end at their next chunk and gives them back.
    /// Trouble with the database never ends it.
    ///
    /// `others` is everything else that this owner does under leases: only when that has ended as well, its lock goes. One that dies
    /// before that is found dead by it.
    pub async fn run(mut self, stop: CancellationToken, others: impl Future<Output = ()>) {
        let lock = self.lock_owner();
        self.next_beat = self.driver.clock.monotonic();
        while !stop.is_cancelled() {
            let done = self.round(&stop).await;
            let pause = self.pause_after(done);
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = self.handle.shared.wake.notified() => {}
                () = self.driver.clock.sleep(pause) => {}
            }
        }
        self.wait_for_open_jobs().await;
        others.await;
        self.leave(lock);
    }

    /// One look at everything: leases, dead owners, jobs to claim, and whether anything is left.
    async fn round(&mut self, stop: &CancellationToken) -> Result<(), DbError> {
        let asked = self.handle.shared.looks_asked.load(Ordering::Relaxed);
        if self.driver.clock.monotonic() >= self.next_beat {
            self.beat().await?;
            self.rescue().await?;
            jobs::free_stranded(&self.driver.database).await?;
            // Only now: after trouble with the database the next round makes up for it at once.
            self.next_beat = self.driver.clock.monotonic() + self.driver.settings.heartbeat;
        }
        while self.claim(stop).await? {}
        let idle = self.driver.open().is_empty() && jobs::queued(&self.driver.database).await? == 0;
        self.handle.shared.look.send_replace(Look { number: asked, idle });
        Ok(())
    }

    /// Renews every lease, and finds out which are lost and which are held without being known.
    async fn beat(&self) -> Result<(), DbError> {
        let driver = &self.driver;
        let leases = driver.open().leases();
        let held = jobs::beat(&driver.database, driver.owner).await?;
        for lease in &leases {
            if !held.contains(&(lease.job, lease.epoch)) && !has_ended(&driver.database, lease.job).await? {
                driver.open().lose(lease);
            }
        }
        for (job, epoch) in held {
            let lease = Lease { job, owner: driver.owner, epoch };
            if !leases.contains(&lease) {
                // Claimed in a commit whose answer was lost, or left behind by a run that could not give it back.
                tracing::warn!(job.id = %job, "a job is held that does not run here; it is given back");
                give_back(&driver.database, &lease, driver.clock.now()).await?;
            }
        }
        Ok(())
    }

    /// Queues the jobs of owners that are dead: those of this machine by their locks, at once; others by their beats.
    async fn rescue(&mut self) -> Result<(), DbError> {
        let driver = &self.driver;
        let dead = lock::dead_owners(&driver.settings.owners).unwrap_or_else(|error| {
            tracing::warn!(%error, "the locks of dead daemons could not be read; their jobs wait for the lease to end");
            Vec::new()
        });
        // Read after the locks were taken: a dead owner claims nothing more.
        let running = jobs::running_of_others(&driver.database, driver.owner).await?;
        let overdue = self.watch.look(&running, driver.clock.monotonic());
        for seen in &running {
            let gone = dead.iter().find(|gone| gone.owner == seen.owner);
            let blame = match gone {
                Some(gone) => gone.blame,
                None if overdue.contains(seen) => Blame::Strike,
                None => continue,
            };
            if jobs::rescue(&driver.database, seen, blame).await? {
                tracing::warn!(job.id = %seen.job, owner = %seen.owner, "a job was taken from a daemon that is gone");
            }
        }
        for gone in dead {
            handlers::leave_all(&driver.database, gone.owner).await?;
            bury(gone);
        }
        Ok(())
    }

    /// Claims one job and lets it run; false where there is none, or no room for one.
    async fn claim(&self, stop: &CancellationToken) -> Result<bool, DbError> {
        let driver = &self.driver;
        // Those that rest may do so for long: they keep nobody else from beginning.
        let most_open = driver.turns.parallel() * OPEN_PER_WORKING + driver.turns.resting();
        let held = self.handle.shared.claims_held.load(Ordering::Relaxed);
        if held || stop.is_cancelled() || driver.open().len() >= most_open {
            return Ok(false);
        }
        let now = driver.clock.now();
        // Only a clock that was set back makes it look as if a job was put off for longer.
        let horizon = TimeDelta::from_std(driver.settings.longest_wait).unwrap_or(TimeDelta::MAX);
        let request = ClaimRequest {
            owner: driver.owner,
            per_account: u64::try_from(driver.turns.parallel()).unwrap_or(u64::MAX),
            strikes: driver.settings.strikes,
            attempts: driver.settings.attempts,
            now,
            horizon: now.checked_add_signed(horizon).unwrap_or(now),
        };
        let Some((lease, job)) = jobs::claim_next(&driver.database, &request).await? else { return Ok(false) };
        let stop = stop.child_token();
        driver.open().add(lease, stop.clone());
        self.jobs.spawn(driver.clone().drive(lease, job, stop));
        Ok(true)
    }

    fn pause_after(&mut self, round: Result<(), DbError>) -> Duration {
        let settings = &self.driver.settings;
        match round {
            Ok(()) => {
                if self.trouble.rounds > 0 {
                    tracing::info!(rounds = self.trouble.rounds, "the database answers the queue again");
                }
                self.trouble.rounds = 0;
                self.show_trouble(None);
                let until_beat = self.next_beat.saturating_sub(self.driver.clock.monotonic());
                settings.poll.min(until_beat)
            }
            Err(error) => {
                if self.trouble.rounds == 0 {
                    tracing::error!(%error, "the queue cannot work with the database; it tries again until it can");
                }
                self.trouble.rounds = self.trouble.rounds.saturating_add(1);
                self.show_trouble(Some(error.to_string().into()));
                let factor = 2_u32.checked_pow(self.trouble.rounds).unwrap_or(u32::MAX);
                settings.poll.saturating_mul(factor).min(settings.heartbeat)
            }
        }
    }

    fn show_trouble(&self, trouble: Option<Arc<str>>) {
        self.handle.shared.trouble.send_if_modified(|shown| {
            let is_new = *shown != trouble;
            *shown = trouble;
            is_new
        });
    }

    /// A chunk may take longer than a lease lasts: the heart goes on beating until the last job has ended.
    async fn wait_for_open_jobs(&mut self) {
        self.jobs.close();
        while !self.jobs.is_empty() {
            tokio::select! {
                () = self.jobs.wait() => {}
                () = self.driver.clock.sleep(self.driver.settings.heartbeat) => {
                    if let Err(error) = self.beat().await {
                        tracing::warn!(%error, "the leases could not be renewed during the stop");
                    }
                }
            }
        }
    }

    fn lock_owner(&self) -> Option<OwnerLock> {
        let folder = &self.driver.settings.owners;
        OwnerLock::take(folder, self.driver.owner)
            .inspect_err(|error| {
                tracing::warn!(
                    %error,
                    folder = %folder.display(),
                    "this daemon cannot show that it lives; after its death its jobs wait for their lease to end"
                );
            })
            .ok()
    }

    fn leave(&self, lock: Option<OwnerLock>) {
        let Some(mut lock) = lock else { return };
        let left = if self.driver.left_behind.load(Ordering::Relaxed) { lock.mark_released() } else { lock.remove() };
        if let Err(error) = left {
            tracing::warn!(%error, "the lock of this daemon could not be put away");
        }
    }
}

async fn has_ended(database: &Database, job: JobId) -> Result<bool, DbError> {
    Ok(jobs::state_of(database, job).await?.is_some_and(JobState::is_final))
}

async fn give_back(database: &Database, lease: &Lease, now: Timestamp) -> Result<(), DbError> {
    match jobs::release(database, lease, now).await {
        Ok(()) | Err(LeaseError::Fenced(_)) => Ok(()),
        Err(LeaseError::Database(error)) => Err(error),
    }
}

fn bury(gone: DeadOwner) {
    if let Err(error) = gone.bury() {
        tracing::warn!(%error, "the lock of a daemon that is gone could not be removed");
    }
}
