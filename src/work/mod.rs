//! A job from its claim to its end: import or export, result files, final state, mail, and the move of a dropped file.

mod export;
mod finish;
mod handlers;
mod progress;
mod sources;
mod sweep;
mod tell;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::clock::Timestamp;
use crate::config::{Account, Settings};
use crate::fsx;
use crate::import::{self, Import, OnProgress, RunEnd, Services, Step};
use crate::mail::Templates;
use crate::model::job::RetryReason;
use crate::model::words::{capital, counted};
use crate::model::{Code, JobId, JobState, Problem};
use crate::outbox::{self, STATUS_VERSION, Status, StatusOutcome, StatusWriter};
use crate::pace::Turn;
use crate::queue::{Outcome, Runner};
use crate::store::jobs::{self, ClaimedJob, Hold, JobKind, Lease, MustEnd};

pub use sources::{MoveError, WorkFolder, move_sources};
pub use sweep::{Swept, sweep};
pub use tell::{admin_rows, tell_admin, tell_incomplete};

/// The name of a claimed archive in the folder of its job.
pub const SOURCE_FILE: &str = "source.zip";

/// Told of the progress of every job.
pub type Watcher = Arc<dyn Fn(JobId, &str, u64, u64) + Send + Sync>;

/// Runs imports and exports.
pub struct Worker {
    /// The settings in force.
    pub settings: Arc<Settings>,
    /// What serves every import.
    pub services: Services,
    /// What serves every export.
    pub exports: crate::export::Services,
    /// The templates of mails.
    pub templates: Arc<Templates>,
    /// Told of progress, where somebody looks on.
    pub watcher: Option<Watcher>,
    /// Told that there is a mail to send.
    pub mail_wake: Arc<Notify>,
}

impl Runner for Worker {
    async fn run(&self, lease: Lease, job: ClaimedJob, turn: Turn, stop: CancellationToken) -> Outcome {
        if job.job.kind == JobKind::Export.as_str() {
            return self.run_export(lease, job, stop).await;
        }
        let import = self.import_of(lease, &job);
        let outcome = self.run_import(&import, &job, turn, &stop).await;
        if !matches!(outcome, Outcome::Done) {
            self.hide_what_is_anothers(&import).await;
        }
        outcome
    }
}

impl Worker {
    async fn run_import(&self, import: &Import, job: &ClaimedJob, turn: Turn, stop: &CancellationToken) -> Outcome {
        let turn = Arc::new(tokio::sync::Mutex::new(turn));
        if let Some(outcome) = &job.outcome {
            return match serde_json::from_str(outcome) {
                Ok(report) => self.finish(import, report).await,
                Err(error) => Outcome::Snooze { reason: format!("the frozen outcome cannot be read: {error}") },
            };
        }
        tracing::info!(job.id = %import.lease.job, account = import.account.name, archive = import.archive_name, "a job begins");
        let services = &self.services;
        let mut end = match &job.must_end {
            Some(reason) => import::give_up(services, import, Arc::clone(&turn), stop, problem_of(reason)).await,
            None => {
                let (on_progress, shown) = self.show_progress(import);
                let end = import::run(services, import, Arc::clone(&turn), stop, on_progress).await;
                // What the end of a job removes must not come back.
                shown.stop().await;
                end
            }
        };
        loop {
            end = match end {
                RunEnd::Outcome(report) => match self.freeze(import, *report).await {
                    finish::Freeze::Frozen(report) => return self.finish(import, *report).await,
                    finish::Freeze::CancelFirst(report) => {
                        import::cancel(services, import, Arc::clone(&turn), stop, *report).await
                    }
                    finish::Freeze::Ended(outcome) => return outcome,
                },
                RunEnd::Held { hold, look_after } => {
                    self.show_pause(import, job, &hold);
                    return Outcome::Paused { hold, look_after };
                }
                RunEnd::BlockedOn(on) => return Outcome::Blocked { on },
                RunEnd::Interrupted => return Outcome::Interrupted,
                RunEnd::Outage(reason) => {
                    tracing::warn!(job.id = %import.lease.job, reason, "a job waits for something outside");
                    return Outcome::Snooze { reason };
                }
                RunEnd::Retry(reason) => return Outcome::RetryLater { reason },
                RunEnd::LeaseLost => return Outcome::LeaseLost,
            };
        }
    }

    /// A daemon that was frozen may show its progress after another one has ended the job.
    async fn hide_what_is_anothers(&self, import: &Import) {
        if jobs::is_held(&self.services.database, &import.lease).await.is_ok_and(|is_held| !is_held) {
            let folder = self.settings.folders().outbox.join(result_folder(import));
            if let Err(error) = fsx::remove_file(&folder.join(outbox::STATUS_FILE)) {
                tracing::debug!(job.id = %import.lease.job, %error, "the progress could not be removed");
            }
        }
    }

    fn import_of(&self, lease: Lease, claimed: &ClaimedJob) -> Import {
        let job = &claimed.job;
        let folder = self.folder_of(lease.job);
        Import {
            lease,
            account: account_of(&self.settings, &job.account),
            archive: folder.join(SOURCE_FILE),
            folder,
            archive_name: job.archive_name.clone(),
            started: job.started_at.unwrap_or(job.created_at),
            again: job.again,
            checkpoint: claimed.checkpoint.clone(),
            cancel_requested: job.cancel_requested,
            retry_of: job.retry_of,
            with_handlers: job.with_handlers,
            was_held: job.is_held,
        }
    }

    /// What people read in `status.json` while nobody works on the job.
    fn show_pause(&self, import: &Import, claimed: &ClaimedJob, hold: &Hold) {
        let (job, now) = (&claimed.job, self.services.clock.now());
        let is_same = job.waits_for.as_deref() == Some(&hold.waits_for);
        let since = job.waits_since.filter(|_| is_same).unwrap_or(now);
        let stage = job.stage.as_deref().unwrap_or_default();
        let at = Status { state: JobState::Paused, ..status_at(job.id, stage, job.stage_done, job.stage_total, now) };
        let folder = self.settings.folders().outbox.join(result_folder(import));
        let status = waiting(&at, hold, since, now);
        if let Err(error) = StatusWriter::new(&folder).offer(&status, self.services.clock.monotonic()) {
            tracing::debug!(job.id = %job.id, %error, "the progress could not be written");
        }
    }

    fn folder_of(&self, job: JobId) -> PathBuf {
        self.settings.folders().work.join(job.to_string())
    }

    /// Shows progress in `status.json`, at most once a second, and to whoever looks on.
    fn show_progress(&self, import: &Import) -> (OnProgress, progress::CatchingUp) {
        let folder = self.settings.folders().outbox.join(result_folder(import));
        let status = Arc::new(Mutex::new(StatusWriter::new(&folder)));
        let kept = Arc::new(Notify::new());
        let catching_up = progress::catch_up(Arc::clone(&status), Arc::clone(&kept), self.services.clock.clone());
        let clock = self.services.clock.clone();
        let watcher = self.watcher.clone();
        let job = import.lease.job;
        let before = Mutex::new(status_at(job, "", 0, 0, clock.now()));
        let on_progress: OnProgress = Arc::new(move |step| {
            let mut last = before.lock().unwrap_or_else(PoisonError::into_inner);
            let status_now = match step {
                Step::At { stage, done, total } => {
                    if let Some(watcher) = &watcher {
                        watcher(job, stage, done, total);
                    }
                    *last = status_at(job, stage, done, total, clock.now());
                    last.clone()
                }
                Step::Waits { hold, since } => waiting(&last, hold, since, clock.now()),
            };
            drop(last);
            let mut status = status.lock().unwrap_or_else(PoisonError::into_inner);
            match status.offer(&status_now, clock.monotonic()) {
                Ok(StatusOutcome::Written) => {}
                Ok(StatusOutcome::TooEarly(_)) => kept.notify_one(),
                Err(error) => tracing::debug!(job.id = %job, %error, "the progress could not be written"),
            }
        });
        (on_progress, catching_up)
    }
}

/// The account of a job; one that is no longer configured keeps its name and has the default policies.
pub fn account_of(settings: &Settings, name: &str) -> Account {
    if let Some(account) = settings.account(name) {
        return account.clone();
    }
    let fallback = settings.default_account().cloned();
    let mut account = fallback.unwrap_or_else(|| Account {
        name: String::new(),
        email: None,
        display_name: String::new(),
        on_error: settings.import.on_error,
        on_existing: settings.import.on_existing,
        with_handlers: settings.import.with_handlers,
        allow: Vec::new(),
    });
    account.name = name.to_owned();
    account.display_name = name.to_owned();
    account.email = None;
    account
}

/// What `status.json` says of a job that goes on.
fn status_at(job: JobId, stage: &str, done: u64, total: u64, now: Timestamp) -> Status {
    Status {
        version: STATUS_VERSION,
        job,
        state: JobState::Running,
        stage: Some(stage.to_owned()).filter(|stage| !stage.is_empty()),
        done,
        total,
        text: jobs::progress_text(stage, done, total),
        waits_for: None,
        waits_since: None,
        updated: now,
    }
}

/// What `status.json` says of the same job while it waits.
fn waiting(at: &Status, hold: &Hold, since: Timestamp, now: Timestamp) -> Status {
    Status {
        text: capital(&jobs::waiting_text(&hold.waits_for, since, hold.detail.as_deref())),
        waits_for: Some(hold.waits_for.clone()),
        waits_since: Some(since),
        updated: now,
        ..at.clone()
    }
}

/// Where the results of a job lie, below the outbox.
fn result_folder(import: &Import) -> String {
    outbox::folder_name(&import.account.name, &import.archive_name, import.started, import.lease.job)
}

fn problem_of(reason: &MustEnd) -> Problem {
    match reason {
        MustEnd::Quarantined { strikes } => Problem::new(
            Code::Quarantined,
            format!("the program died {} over this file; it was put aside", counted(*strikes, "time", "times")),
            "ask the admin to report it with the file",
        ),
        MustEnd::Exhausted { reason } => {
            let (code, hint) = match RetryReason::of(reason) {
                Some(RetryReason::SourceChanged) => {
                    (Code::ChangedWhileReading, "drop the archive again when nobody writes to it any more")
                }
                Some(RetryReason::EventContested) => {
                    (Code::GaveUp, "drop the archive again when no other import of its event is at work")
                }
                None => (
                    Code::GaveUp,
                    "drop the archive again; where that fails as well, ask the admin to look into the log",
                ),
            };
            Problem::new(code, format!("it was tried again and again, and in the end {reason}"), hint)
        }
        MustEnd::Panicked { reason } => Problem::new(
            Code::Internal,
            format!("the program failed over this file: {reason}"),
            "ask the admin to look into the log, and drop the archive again",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_that_was_tried_too_often_says_why() {
        let code_of = |reason: &str| {
            let problem = problem_of(&MustEnd::Exhausted { reason: reason.to_owned() });
            assert!(problem.message.ends_with(reason), "{}", problem.message);
            problem.code
        };
        assert_eq!(code_of("the file was changed while it was read: it grew"), Code::ChangedWhileReading);
        assert_eq!(code_of("others keep changing which event is meant"), Code::GaveUp);
        assert_eq!(code_of("its run ended without a result"), Code::GaveUp);
    }
}
