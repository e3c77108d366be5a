//! Why a run ends before its end.

use std::io;
use std::time::Duration;

use tokio::task::JoinError;

use super::check::CheckError;
use super::feed::FeedError;
use crate::db::{DbError, DbErrorKind};
use crate::model::{JobId, Problem, words};
use crate::signal::{Injected, Injection};
use crate::store::jobs::{Hold, LeaseError};

/// Why the steps of a run ended early.
#[derive(Debug)]
pub(crate) enum RunError {
    /// The archive is not taken, and why.
    Refused(Box<Problem>),
    /// A person wants it cancelled.
    Cancelled,
    /// The archive reads otherwise than in the check.
    Changed(String),
    /// Something outside is out of order and will pass.
    Outage(String),
    /// Something here is wrong, and will be the next time.
    Broken(String),
    /// A step panicked, with these words.
    Panicked(String),
    /// The disk fails.
    Io(io::Error),
    /// The daemon stops.
    Interrupted,
    /// Another import comes first.
    BlockedOn(JobId),
    /// It must wait for something that is as it should be, and looks again after that long.
    Held(Hold, Duration),
    /// The job is another's now.
    LeaseLost,
    /// The event is not what the plan was made for.
    Replan,
}

/// Why a job stops before its end without having failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The daemon stops.
    Soft,
    /// The lease is lost.
    LeaseLost,
    /// A person wants it cancelled.
    Cancelled,
}

impl From<io::Error> for RunError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<Injected> for RunError {
    fn from(injected: Injected) -> Self {
        match injected.injection {
            Injection::Fail => Self::Outage(injected.to_string()),
            Injection::Die => Self::LeaseLost,
        }
    }
}

impl From<JoinError> for RunError {
    fn from(error: JoinError) -> Self {
        match error.try_into_panic() {
            Ok(panic) => Self::Panicked(words::of_panic(panic.as_ref())),
            // The runtime is shutting down, which says nothing of the archive.
            Err(_) => Self::Interrupted,
        }
    }
}

impl From<CheckError> for RunError {
    fn from(error: CheckError) -> Self {
        match error {
            CheckError::Refused(problem) => Self::Refused(problem),
            CheckError::Io(error) => Self::Io(error),
            CheckError::Db(error) => Self::from(error),
            CheckError::Stopped(Stop::Soft) => Self::Interrupted,
            CheckError::Stopped(Stop::LeaseLost) => Self::LeaseLost,
            CheckError::Stopped(Stop::Cancelled) => Self::Cancelled,
        }
    }
}

impl From<FeedError> for RunError {
    fn from(error: FeedError) -> Self {
        match error {
            FeedError::Changed(why) => Self::Changed(why),
            FeedError::Io(error) => Self::Io(error),
            FeedError::Closed => Self::Changed("the reader ended early".to_owned()),
        }
    }
}

impl From<LeaseError> for RunError {
    fn from(error: LeaseError) -> Self {
        match error {
            LeaseError::Fenced(_) => Self::LeaseLost,
            LeaseError::Database(error) => Self::from(error),
        }
    }
}

impl From<DbError> for RunError {
    fn from(error: DbError) -> Self {
        match error.kind() {
            // Where the file was replaced the process ends, and the job goes on with the next one.
            DbErrorKind::Unreachable
            | DbErrorKind::Locked
            | DbErrorKind::Disk
            | DbErrorKind::Conflict
            | DbErrorKind::Replaced => Self::Outage(error.to_string()),
            DbErrorKind::Constraint | DbErrorKind::Newer | DbErrorKind::Unusable => Self::Broken(error.to_string()),
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic, reason = "a failed step fails the test")]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_a_thread_that_panicked_says_something_of_the_archive() {
        let panicked = tokio::task::spawn_blocking(|| panic!("a record of {} bytes", 7)).await.unwrap_err();
        let error = RunError::from(panicked);
        assert!(matches!(&error, RunError::Panicked(words) if words == "a record of 7 bytes"), "{error:?}");

        let cancelled = tokio::spawn(std::future::pending::<()>());
        cancelled.abort();
        let error = RunError::from(cancelled.await.unwrap_err());
        assert!(matches!(error, RunError::Interrupted), "{error:?}");
    }
}
