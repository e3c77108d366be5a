//! The end of a job: the outcome is frozen, result files are made of it, and one transaction says that it is over.

use std::io;
use std::path::Path;

use super::handlers::Ended;
use super::{Worker, result_folder, tell};
use crate::db::DbError;
use crate::fsx;
use crate::import::{Import, REJECTED_FILE};
use crate::model::handler::Action;
use crate::model::message::ImportData;
use crate::model::{JobState, Report};
use crate::outbox::{self, Reserve};
use crate::queue::Outcome;
use crate::signal::{FailPoint, Injected, Injection};
use crate::store::jobs::{self, Ending, Frozen, LeaseError};
use crate::store::{deliveries, events, problems};

/// What became of the wish to freeze an outcome.
pub(super) enum Freeze {
    /// It is frozen; nobody can cancel the job any more.
    Frozen(Box<Report>),
    /// Somebody wanted it cancelled before; with the outcome as it was.
    CancelFirst(Box<Report>),
    /// It could not be done now.
    Ended(Outcome),
}

impl Worker {
    /// Freezes the outcome of a job in one transaction.
    pub(super) async fn freeze(&self, import: &Import, report: Report) -> Freeze {
        match self.try_freeze(import, &report).await {
            Ok(true) => Freeze::Frozen(Box::new(report)),
            Ok(false) => Freeze::CancelFirst(Box::new(report)),
            Err(error) => Freeze::Ended(error.into()),
        }
    }

    /// The problems are rows, not a part of the outcome; where it brings some, they are written with it.
    async fn try_freeze(&self, import: &Import, report: &Report) -> Result<bool, FinishError> {
        let without_problems = Report { problems: Vec::new(), ..report.clone() };
        let frozen = Frozen {
            outcome: serde_json::to_string(&without_problems).map_err(io::Error::from)?,
            finished_at: report.finished,
            archive_sha256: report.archive.sha256.clone(),
            related_job: report.related_job,
        };
        let mut tx = self.services.database.begin().await?;
        let cancel = jobs::freeze(&mut tx, &import.lease, &frozen).await?;
        if cancel.0 && report.state != JobState::Cancelled {
            tx.rollback().await?;
            return Ok(false);
        }
        if !report.problems.is_empty() {
            problems::replace(&mut tx, report.job, &report.problems).await?;
        }
        tx.commit().await?;
        self.services.signals.reach(FailPoint::Frozen)?;
        Ok(true)
    }

    /// Writes the result files of a frozen outcome, ends the job, and moves the dropped file.
    pub(super) async fn finish(&self, import: &Import, mut report: Report) -> Outcome {
        match self.try_finish(import, &mut report).await {
            Ok(()) => {
                let reason = (report.state == JobState::Failed).then_some(report.summary.as_str());
                tracing::info!(
                    job.id = %report.job,
                    state = report.state.as_str(),
                    account = report.account,
                    archive = report.archive.name,
                    reason,
                    duration_ms = (report.finished - report.started).num_milliseconds(),
                    "a job has ended"
                );
                Outcome::Done
            }
            Err(error) => error.into(),
        }
    }

    async fn try_finish(&self, import: &Import, report: &mut Report) -> Result<(), FinishError> {
        let database = &self.services.database;
        report.problems = problems::list(database, report.job).await?;
        let folder = result_folder(import);
        self.write_files(import, &folder, report).await?;
        self.services.signals.reach(FailPoint::ResultFilesWritten)?;

        let now = self.services.clock.now();
        let told = tell::of_job(self, import, report, &folder);
        let ended = Ended {
            job: report.job,
            account: &report.account,
            action: Action::of_import(report.state),
            with_handlers: self.handlers_of(report.job, &report.account).await?,
            event_id: report.event.as_ref().map(|event| event.id),
            now,
        };
        let messages = self.messages_of_end(&ended, &ImportData::of(report, &folder));
        let mut tx = database.begin().await?;
        let ending = Ending {
            state: report.state,
            summary: report.summary.clone(),
            result_folder: Some(folder),
            finished_at: report.finished,
        };
        jobs::finish(&mut tx, &import.lease, &ending).await?;
        events::settle_bytes(&mut tx, report, now).await?;
        told.keep(&mut tx).await?;
        deliveries::insert(&mut tx, messages).await?;
        tx.commit().await?;
        self.mail_wake.notify_one();
        self.services.audience.written.ring();
        self.services.signals.reach(FailPoint::FinalBeforeMove)?;
        super::move_sources(&self.settings, &self.services, Some(report.job)).await?;
        Ok(())
    }

    async fn write_files(&self, import: &Import, folder: &str, report: &Report) -> Result<(), FinishError> {
        let outbox = self.settings.folders().outbox.clone();
        let reserve = Reserve::of(&outbox, self.settings.queue.free_space_floor);
        let rejected = import.folder.join(REJECTED_FILE);
        let (folder, report, signals) = (folder.to_owned(), report.clone(), self.services.signals.clone());
        let now = self.services.clock.now();
        let written = tokio::task::spawn_blocking(move || -> Result<(), FinishError> {
            let into = outbox.join(&folder);
            let failed = |error: io::Error| FinishError::Trouble(cannot_write(&into, &error));
            fsx::create_folders(&into).map_err(failed)?;
            if report.state == JobState::Partial && rejected.try_exists().map_err(failed)? {
                fsx::move_file(&rejected, &into.join(outbox::REJECTED_FILE)).map_err(failed)?;
            }
            signals.reach(FailPoint::ResultFilesBeforeManifest)?;
            match outbox::write(&outbox, &folder, &report, now) {
                // This is what the reserve is there for.
                Err(error) if error.kind() == io::ErrorKind::StorageFull && reserve.give_up().map_err(failed)? => {
                    outbox::write(&outbox, &folder, &report, now).map_err(failed)
                }
                written => written.map_err(failed),
            }
        });
        written.await.map_err(|error| FinishError::Trouble(error.to_string()))?
    }
}

/// Why there are no result files yet, and what to do about the folder that they were to lie in.
fn cannot_write(into: &Path, error: &io::Error) -> String {
    let at_hand = into.ancestors().find(|folder| folder.exists()).unwrap_or(into).display();
    let advice = match error.kind() {
        io::ErrorKind::PermissionDenied => format!("let eventferry write to `{at_hand}`"),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => format!("make room for `{at_hand}`"),
        io::ErrorKind::ReadOnlyFilesystem => format!("mount what carries `{at_hand}` so that it can be written"),
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => format!("make a folder of `{at_hand}`"),
        _ => format!("look at `{at_hand}` and its disk"),
    };
    format!("the result files cannot be written: {error}; {advice}")
}

/// Why a job could not be ended now.
pub(super) enum FinishError {
    LeaseLost,
    Trouble(String),
}

impl From<FinishError> for Outcome {
    fn from(error: FinishError) -> Self {
        match error {
            FinishError::LeaseLost => Self::LeaseLost,
            FinishError::Trouble(reason) => {
                tracing::warn!(reason, "a job cannot be ended now");
                Self::Snooze { reason }
            }
        }
    }
}

impl From<io::Error> for FinishError {
    fn from(error: io::Error) -> Self {
        Self::Trouble(format!("the result files cannot be written: {error}"))
    }
}

impl From<DbError> for FinishError {
    fn from(error: DbError) -> Self {
        Self::Trouble(error.to_string())
    }
}

impl From<LeaseError> for FinishError {
    fn from(error: LeaseError) -> Self {
        match error {
            LeaseError::Fenced(_) => Self::LeaseLost,
            LeaseError::Database(error) => Self::from(error),
        }
    }
}

impl From<Injected> for FinishError {
    fn from(injected: Injected) -> Self {
        match injected.injection {
            Injection::Fail => Self::Trouble(injected.to_string()),
            Injection::Die => Self::LeaseLost,
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

    use super::*;

    #[test]
    fn what_keeps_result_files_away_is_told_with_the_folder_and_what_to_do() {
        let outbox = tempfile::tempdir().unwrap();
        let into = outbox.path().join("default/2026_summit_7");
        let told = |kind: io::ErrorKind| cannot_write(&into, &kind.into());
        let at_hand = outbox.path().display();
        assert_eq!(
            told(io::ErrorKind::PermissionDenied),
            format!("the result files cannot be written: permission denied; let eventferry write to `{at_hand}`")
        );
        fsx::create_folders(&outbox.path().join("default")).unwrap();
        assert!(told(io::ErrorKind::StorageFull).ends_with(&format!("; make room for `{at_hand}/default`")));
    }
}
