//! One claimed job's way through its runner and back into the table.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::TimeDelta;
use tokio_util::sync::CancellationToken;

use super::backoff::backoff;
use super::{Outcome, QueueHandle, QueueSettings, Runner};
use crate::clock::{Clock, Timestamp};
use crate::db::Database;
use crate::model::{JobId, words};
use crate::pace::Turns;
use crate::store::jobs::{self, ClaimedJob, Hold, Lease, LeaseError, MustEnd, OwnerId};

/// What every job of a queue needs on its way.
#[derive(Debug)]
pub(super) struct Driver<R> {
    pub(super) owner: OwnerId,
    pub(super) turns: Turns,
    pub(super) open: Arc<Mutex<Open>>,
    /// Whether a job could not be given back before the end.
    pub(super) left_behind: Arc<AtomicBool>,
    pub(super) handle: QueueHandle,
    pub(super) database: Database,
    pub(super) clock: Clock,
    pub(super) settings: Arc<QueueSettings>,
    pub(super) runner: Arc<R>,
}

impl<R> Clone for Driver<R> {
    fn clone(&self) -> Self {
        Self {
            owner: self.owner,
            turns: self.turns.clone(),
            open: self.open.clone(),
            left_behind: self.left_behind.clone(),
            handle: self.handle.clone(),
            database: self.database.clone(),
            clock: self.clock.clone(),
            settings: self.settings.clone(),
            runner: self.runner.clone(),
        }
    }
}

/// The jobs that this process has claimed and not yet given back.
#[derive(Debug, Default)]
pub(super) struct Open {
    jobs: HashMap<Lease, CancellationToken>,
}

impl Open {
    pub(super) fn add(&mut self, lease: Lease, stop: CancellationToken) {
        self.jobs.insert(lease, stop);
    }

    pub(super) fn len(&self) -> usize {
        self.jobs.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    pub(super) fn leases(&self) -> Vec<Lease> {
        self.jobs.keys().copied().collect()
    }

    /// Stops a job whose lease is lost. Its writes are refused anyway; this spares it the work.
    pub(super) fn lose(&self, lease: &Lease) {
        if let Some(stop) = self.jobs.get(lease) {
            stop.cancel();
        }
    }
}

/// What a job's row is to say after its run.
#[derive(Debug)]
enum Settlement {
    Nothing,
    Release {
        run_at: Timestamp,
    },
    RetryLater {
        reason: String,
    },
    Snooze {
        reason: String,
    },
    Pause {
        hold: Hold,
        run_at: Timestamp,
    },
    BlockOn(JobId),
    Strike {
        reason: String,
    },
    /// The runner says that the job has ended: where it has not, that is a failure.
    CheckEnded,
}

/// How a run ended, as seen from outside of the runner.
enum Run {
    Ended(Outcome),
    Panicked(String),
}

/// Tries to put a job's row right during a stop before it is left behind.
const TRIES_DURING_STOP: u32 = 3;

impl<R: Runner> Driver<R> {
    pub(super) fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a claimed job and writes down what follows from it.
    pub(super) async fn drive(self, lease: Lease, job: ClaimedJob, stop: CancellationToken) {
        let settlement = self.run(lease, job, &stop).await;
        self.settle(&lease, settlement, &stop).await;
        self.open().jobs.remove(&lease);
        self.handle.wake();
    }

    async fn run(&self, lease: Lease, job: ClaimedJob, stop: &CancellationToken) -> Settlement {
        let reason = match self.run_guarded(lease, job, stop).await {
            Run::Ended(outcome) => return self.settlement_of(outcome, stop),
            Run::Panicked(reason) => reason,
        };
        tracing::error!(job.id = %lease.job, reason, "the runner of a job panicked; the job is ended as failed");
        let job = loop {
            match jobs::reload(&self.database, &lease).await {
                Ok(job) => break ClaimedJob { must_end: Some(MustEnd::Panicked { reason: reason.clone() }), ..job },
                Err(LeaseError::Fenced(_)) => return Settlement::Nothing,
                Err(LeaseError::Database(_)) if stop.is_cancelled() => return Settlement::Strike { reason },
                Err(LeaseError::Database(_)) => self.wait(self.settings.poll, stop).await,
            }
        };
        match self.run_guarded(lease, job, stop).await {
            Run::Ended(outcome) => self.settlement_of(outcome, stop),
            Run::Panicked(again) => {
                tracing::error!(job.id = %lease.job, reason = again, "the runner panicked again when it ended the job");
                Settlement::Strike { reason }
            }
        }
    }

    async fn run_guarded(&self, lease: Lease, job: ClaimedJob, stop: &CancellationToken) -> Run {
        let turn = tokio::select! {
            biased;
            () = stop.cancelled() => return Run::Ended(Outcome::Interrupted),
            turn = self.turns.take(&job.job.account) => turn,
        };
        let (runner, stop) = (self.runner.clone(), stop.clone());
        // Of its own, so that a panic ends this run and nothing else.
        let run = tokio::spawn(async move { runner.run(lease, job, turn, stop).await });
        match run.await {
            Ok(outcome) => Run::Ended(outcome),
            Err(error) => match error.try_into_panic() {
                Ok(panic) => Run::Panicked(words::of_panic(panic.as_ref())),
                // The runtime is shutting down.
                Err(_) => Run::Ended(Outcome::Interrupted),
            },
        }
    }

    fn settlement_of(&self, outcome: Outcome, stop: &CancellationToken) -> Settlement {
        match outcome {
            Outcome::Done => Settlement::CheckEnded,
            Outcome::RetryLater { reason } => Settlement::RetryLater { reason },
            Outcome::Snooze { reason } => Settlement::Snooze { reason },
            Outcome::Paused { hold, look_after } => Settlement::Pause { hold, run_at: self.later(look_after) },
            Outcome::Interrupted => {
                // Without a stop it would be claimed again in the same moment, and again.
                let wait = if stop.is_cancelled() { Duration::ZERO } else { self.settings.retry_first };
                Settlement::Release { run_at: self.later(wait) }
            }
            Outcome::Blocked { on } => Settlement::BlockOn(on),
            Outcome::LeaseLost => Settlement::Nothing,
        }
    }

    /// Tries until the row is right or somebody else's; during a stop only a few times.
    async fn settle(&self, lease: &Lease, settlement: Settlement, stop: &CancellationToken) {
        let mut tries_during_stop = 0;
        let mut said = false;
        loop {
            let error = match self.write(lease, &settlement).await {
                Ok(()) => return,
                Err(LeaseError::Fenced(_)) => {
                    tracing::info!(job.id = %lease.job, "the job has ended or is another daemon's by now");
                    return;
                }
                Err(LeaseError::Database(error)) => error,
            };
            if !said {
                tracing::error!(job.id = %lease.job, %error, "what follows for a job could not be written; it is tried again");
                said = true;
            }
            if stop.is_cancelled() {
                tries_during_stop += 1;
                if tries_during_stop == TRIES_DURING_STOP {
                    self.left_behind.store(true, Ordering::Relaxed);
                    return;
                }
            }
            self.wait(self.settings.poll, stop).await;
        }
    }

    async fn write(&self, lease: &Lease, settlement: &Settlement) -> Result<(), LeaseError> {
        let (database, now) = (&self.database, self.clock.now());
        match settlement {
            Settlement::Nothing => Ok(()),
            Settlement::Release { run_at } => jobs::release(database, lease, *run_at).await,
            Settlement::RetryLater { reason } => {
                let failures = jobs::reload(database, lease).await?.job.attempts;
                jobs::retry_later(database, lease, reason, self.back_off(lease, failures), now).await
            }
            Settlement::Snooze { reason } => {
                let failures = jobs::reload(database, lease).await?.job.outages;
                jobs::snooze(database, lease, reason, self.back_off(lease, failures), now).await
            }
            Settlement::Pause { hold, run_at } => jobs::pause(database, lease, hold, *run_at, now).await,
            Settlement::BlockOn(blocker) => jobs::block_on(database, lease, *blocker, now).await,
            Settlement::Strike { reason } => {
                let failures = jobs::reload(database, lease).await?.job.strikes;
                jobs::strike(database, lease, reason, self.back_off(lease, failures)).await
            }
            Settlement::CheckEnded => match jobs::reload(database, lease).await {
                Err(LeaseError::Fenced(_)) => Ok(()),
                Err(error) => Err(error),
                Ok(job) => {
                    tracing::error!(job.id = %lease.job, "a run says that its job has ended, and it has not");
                    let run_at = self.back_off(lease, job.job.attempts);
                    jobs::retry_later(database, lease, "its run ended without a result", run_at, now).await
                }
            },
        }
    }

    fn back_off(&self, lease: &Lease, failures_before: u64) -> Timestamp {
        self.later(backoff(self.settings.retry_first, self.settings.retry_max, failures_before, lease.job))
    }

    fn later(&self, wait: Duration) -> Timestamp {
        let now = self.clock.now();
        TimeDelta::from_std(wait).ok().and_then(|wait| now.checked_add_signed(wait)).unwrap_or(now)
    }

    /// A stop shortens the wait to nothing; whoever loops here counts its tries.
    async fn wait(&self, duration: Duration, stop: &CancellationToken) {
        if stop.is_cancelled() {
            tokio::task::yield_now().await;
            return;
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.clock.sleep(duration) => {}
        }
    }
}
