//! Jobs: one per dropped archive.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Names a job; sorts by the time the archive was claimed (UUID version 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct JobId(pub Uuid);

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for JobId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// Why a job is tried again, where that is known. The row of a job keeps the words, with more behind them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryReason {
    /// Somebody wrote to the claimed file.
    SourceChanged,
    /// Other imports made, changed or deleted the event that was meant, again and again.
    EventContested,
}

impl RetryReason {
    /// A clause for people.
    pub fn words(self) -> &'static str {
        match self {
            Self::SourceChanged => "the file was changed while it was read",
            Self::EventContested => "others keep changing which event is meant",
        }
    }

    /// The reason whose words a text begins with.
    pub fn of(text: &str) -> Option<Self> {
        [Self::SourceChanged, Self::EventContested].into_iter().find(|reason| text.starts_with(reason.words()))
    }
}

/// What people see a job do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Waits for its turn or for the time of its next attempt.
    Queued,
    /// A daemon works on it.
    Running,
    /// Waits for another import into the same event.
    Blocked,
    /// Waits for something outside: a disk, a database, a receiver.
    Paused,
    /// Everything is in.
    Succeeded,
    /// Something is in, and something was rejected.
    Partial,
    /// Nothing is in.
    Failed,
    /// A person stopped it.
    Cancelled,
    /// The same bytes were imported before.
    Duplicate,
}

impl JobState {
    /// All states, in the order people read them.
    pub const ALL: [Self; 9] = [
        Self::Queued,
        Self::Running,
        Self::Blocked,
        Self::Paused,
        Self::Succeeded,
        Self::Partial,
        Self::Failed,
        Self::Cancelled,
        Self::Duplicate,
    ];

    /// The word used in tables, files and mails.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Blocked => "blocked",
            Self::Paused => "paused",
            Self::Succeeded => "succeeded",
            Self::Partial => "partial",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Duplicate => "duplicate",
        }
    }

    /// Reads the word back.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }

    /// Whether the job has ended for good.
    pub fn is_final(self) -> bool {
        match self {
            Self::Queued | Self::Running | Self::Blocked | Self::Paused => false,
            Self::Succeeded | Self::Partial | Self::Failed | Self::Cancelled | Self::Duplicate => true,
        }
    }

    /// The folder that keeps the dropped file after the job.
    pub fn resting_place(self) -> RestingPlace {
        match self {
            Self::Succeeded | Self::Partial | Self::Duplicate => RestingPlace::Done,
            Self::Queued | Self::Running | Self::Blocked | Self::Paused | Self::Failed | Self::Cancelled => {
                RestingPlace::Rejected
            }
        }
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where a dropped file lies after its job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestingPlace {
    /// `done/<account>/`
    Done,
    /// `rejected/<account>/`
    Rejected,
}
