//! What the steps of a load share, and what happens between two chunks: pauses, waits for handlers and hours, turns.

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::feed::ChunkSize;
use super::outgoing::{Changed, Listening, Origin};
use super::{OnProgress, RunError, Step, hold};
use crate::clock::{Clock, Timestamp};
use crate::config::Account;
use crate::db::{Database, Tx};
use crate::fsx::FileIdentity;
use crate::model::OnExisting;
use crate::model::throttle::CHUNK_RECORDS_WITH_HANDLERS;
use crate::model::window::Window;
use crate::pace::{Audience, Pacer, PauseEnd, Turn};
use crate::signal::Signals;
use crate::storage::MediaStore;
use crate::store::jobs::{self, CheckpointUpdate, Hold, Lease};
use crate::store::records::Writing;

/// What the steps of a load share.
pub(super) struct Context<'a> {
    pub(super) database: &'a Database,
    pub(super) clock: &'a Clock,
    pub(super) signals: &'a Signals,
    pub(super) media: &'a MediaStore,
    pub(super) account: &'a Account,
    pub(super) lease: Lease,
    pub(super) pacer: &'a Pacer,
    pub(super) audience: &'a Audience,
    pub(super) with_handlers: bool,
    pub(super) listening: Listening,
    /// When the writing of the chunk at hand began, in monotonic time.
    pub(super) chunk_begun: Duration,
    /// Records that a chunk may have to be written in time, as the last ones have shown.
    pub(super) records_in_time: usize,
    pub(super) turn: Arc<Mutex<Turn>>,
    pub(super) stop: &'a CancellationToken,
    pub(super) on_progress: OnProgress,
    pub(super) on_existing: OnExisting,
    pub(super) is_supplement: bool,
    pub(super) watched: File,
    pub(super) identity: FileIdentity,
}

impl Context<'_> {
    pub(super) fn writing(&self, event_id: i64) -> Writing {
        Writing { event_id, job: self.lease.job, now: self.clock.now() }
    }

    /// Whoever has uploaded the file may still hold it open.
    pub(super) fn check_source(&self) -> Result<(), RunError> {
        let now = FileIdentity::of_file(&self.watched)?;
        if is_same_content(&now, &self.identity) {
            Ok(())
        } else {
            Err(RunError::Changed("its size or time of change is another".to_owned()))
        }
    }

    pub(super) fn report_progress(&self, update: &CheckpointUpdate) {
        let (done, total) = (update.stage_done, update.stage_total);
        (self.on_progress)(Step::At { stage: &update.stage, done, total });
    }

    /// Whether handlers are told of what is written.
    pub(super) fn is_told(&self) -> bool {
        !self.listening.is_empty()
    }

    /// Writes what handlers are told of a chunk into its transaction.
    pub(super) async fn tell(&self, tx: &mut Tx, event: i64, changes: &[Changed]) -> Result<(), RunError> {
        if changes.is_empty() || !self.is_told() {
            return Ok(());
        }
        let origin = Origin { account: &self.account.name, job: self.lease.job, event, clock: self.clock };
        Ok(self.listening.tell(tx, &origin, changes).await?)
    }

    /// How much is read ahead as one chunk, by the bounds in force.
    pub(super) fn chunk_size(&self) -> ChunkSize {
        let pacer = self.pacer.clone();
        Arc::new(move || pacer.throttle())
    }

    /// How many records may go into the next chunk, by the bounds in force.
    pub(super) fn chunk_records(&self) -> usize {
        let throttle = self.pacer.throttle();
        let by_rate =
            throttle.records_per_second.map_or(usize::MAX, |rate| usize::try_from(rate).unwrap_or(usize::MAX));
        let by_handlers = if self.is_told() { CHUNK_RECORDS_WITH_HANDLERS } else { usize::MAX };
        throttle.chunk_records.min(by_rate).min(by_handlers).min(self.records_in_time).max(1)
    }

    /// Learns from a chunk how many records fit into the time that one may take.
    fn learn(&mut self, written: usize) {
        let taken = self.clock.monotonic().saturating_sub(self.chunk_begun);
        let most = self.pacer.throttle().chunk_time;
        let per_record = taken / u32::try_from(written.max(1)).unwrap_or(u32::MAX);
        let fit = most.as_nanos().checked_div(per_record.as_nanos()).unwrap_or(u128::MAX);
        self.records_in_time = usize::try_from(fit).unwrap_or(usize::MAX).max(1);
    }

    pub(super) async fn between_chunks(&mut self, written: usize) -> Result<(), RunError> {
        self.learn(written);
        if self.is_told() {
            self.audience.written.ring();
        }
        if self.stop.is_cancelled() || self.pacer.pause(written, self.chunk_begun, self.stop).await == PauseEnd::Stopped
        {
            return Err(RunError::Interrupted);
        }
        self.wait_for_handlers().await?;
        self.turn.lock().await.breathe().await;
        match self.pacer.closed_until() {
            Some((window, opens)) => Err(closed(window, opens, self.clock.now())),
            None => Ok(()),
        }
    }

    /// Waits until the handlers of the job are not too far behind. Others have the turn meanwhile, and the lease is kept
    /// as long as something moves and not too many wait like this.
    pub(super) async fn wait_for_handlers(&mut self) -> Result<(), RunError> {
        if !self.with_handlers {
            return Ok(());
        }
        let mut delivered = self.audience.delivered.listen();
        let mut wait: Option<Wait> = None;
        loop {
            // A reload may change them while the job waits.
            self.listening.interests = self.audience.of_account(&self.account.name);
            if self.listening.is_empty() {
                break;
            }
            let look = hold::look(self.database, &self.listening, self.lease.job, self.clock.now()).await?;
            self.listening.off = look.off;
            let Some(hold) = look.hold else { break };
            let at = self.clock.monotonic();
            let wait = wait.get_or_insert_with(|| Wait {
                pending: look.pending,
                moved: at,
                noted: None,
                waits_for: String::new(),
            });
            if look.pending < wait.pending {
                (wait.pending, wait.moved) = (look.pending, at);
            }
            if at.saturating_sub(wait.moved) >= hold::PATIENCE {
                return Err(RunError::Held(hold, hold::LOOK_AGAIN));
            }
            self.note_wait(wait, &hold).await?;
            if !self.turn.lock().await.rest() {
                return Err(RunError::Held(hold, hold::LOOK_AGAIN));
            }
            tokio::select! {
                () = self.stop.cancelled() => return Err(RunError::Interrupted),
                () = delivered.heard() => {}
                () = self.clock.sleep(hold::LOOK_EVERY) => {}
            }
        }
        if let Some(wait) = wait {
            tracing::info!(job.id = %self.lease.job, waited_for = wait.waits_for, "a job goes on");
            self.turn.lock().await.breathe().await;
        }
        Ok(())
    }

    /// Shows what the job waits for, at most once a second as long as that is the same.
    async fn note_wait(&self, wait: &mut Wait, hold: &Hold) -> Result<(), RunError> {
        let at = self.clock.monotonic();
        let is_fresh = wait.noted.is_some_and(|noted| at.saturating_sub(noted) < hold::LOOK_EVERY);
        if wait.waits_for == hold.waits_for && is_fresh {
            return Ok(());
        }
        let (cancel, since) = jobs::note_hold(self.database, &self.lease, hold, self.clock.now()).await?;
        if cancel.0 {
            return Err(RunError::Cancelled);
        }
        if wait.waits_for != hold.waits_for {
            let text = jobs::waiting_text(&hold.waits_for, since, hold.detail.as_deref());
            tracing::info!(job.id = %self.lease.job, "a job is {text}");
        }
        (self.on_progress)(Step::Waits { hold, since });
        (wait.noted, wait.waits_for) = (Some(at), hold.waits_for.clone());
        Ok(())
    }
}

/// What is known of a wait for handlers.
struct Wait {
    /// The fewest undelivered messages so far.
    pending: u64,
    /// When they last became fewer, in monotonic time.
    moved: Duration,
    /// When the wait was last shown.
    noted: Option<Duration>,
    waits_for: String,
}

/// The longest until what an import waits for is looked at again.
pub const LONGEST_LOOK: Duration = Duration::from_mins(1);

/// Has to wait for the hours in which imports may write.
pub(super) fn closed(window: Window, opens: Timestamp, now: Timestamp) -> RunError {
    let until = (opens - now).to_std().unwrap_or_default();
    RunError::Held(hold::of_window(window), until.min(LONGEST_LOOK))
}

/// A rename changes the time of change of a file, so that is looked at only from the claim on.
fn is_same_content(one: &FileIdentity, other: &FileIdentity) -> bool {
    one.size == other.size && one.modified_ns == other.modified_ns && one.changed_ns == other.changed_ns
}
