//! Event handlers: what they are told of.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::catalogue::Dataset;
use super::job::JobState;

/// What has happened, as handlers ask for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// A record is new.
    Created,
    /// A record says something else than before.
    Updated,
    /// A record is no longer in its archive.
    Gone,
    /// An import has ended with something in, or found its bytes in already.
    ImportFinished,
    /// An import has ended with nothing in, or was cancelled.
    ImportFailed,
    /// An export has ended.
    ExportFinished,
}

impl Action {
    /// Every word with its action.
    pub const WORDS: [(&'static str, Self); 6] = [
        ("created", Self::Created),
        ("updated", Self::Updated),
        ("gone", Self::Gone),
        ("import.finished", Self::ImportFinished),
        ("import.failed", Self::ImportFailed),
        ("export.finished", Self::ExportFinished),
    ];

    /// What the end of an import is to handlers.
    pub fn of_import(state: JobState) -> Self {
        match state {
            JobState::Succeeded | JobState::Partial | JobState::Duplicate => Self::ImportFinished,
            JobState::Failed
            | JobState::Cancelled
            | JobState::Queued
            | JobState::Running
            | JobState::Blocked
            | JobState::Paused => Self::ImportFailed,
        }
    }

    /// The word used in configuration and messages.
    pub fn as_str(self) -> &'static str {
        Self::WORDS.iter().find(|(_, action)| *action == self).map_or("", |(word, _)| word)
    }
}

/// What has happened to one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It is new.
    Created,
    /// It says something else than before.
    Updated,
    /// It is no longer in its archive.
    Gone,
}

impl Change {
    /// The same among all actions.
    pub fn action(self) -> Action {
        match self {
            Self::Created => Action::Created,
            Self::Updated => Action::Updated,
            Self::Gone => Action::Gone,
        }
    }
}

/// How many changes a message tells of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Per {
    /// One.
    #[default]
    Record,
    /// Those of a chunk to one dataset, as many as fit into a message.
    Chunk,
}

/// In which order messages are delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Those about the same record one after the other, as they have happened.
    #[default]
    PerRecord,
    /// In any.
    None,
}

/// What becomes of an import whose handler does not answer for long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenDown {
    /// It waits.
    #[default]
    Hold,
    /// It goes on; the messages wait.
    GoOn,
}

/// Which messages a handler gets, and how the import is bound to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interest {
    /// The handler's name.
    pub handler: String,
    /// Of these accounts; none for all.
    pub accounts: Option<Vec<String>>,
    /// Of these datasets; none for all.
    pub datasets: Option<Vec<Dataset>>,
    /// Of these actions.
    pub actions: Vec<Action>,
    /// How many changes a message tells of.
    pub per: Per,
    /// In which order they are delivered.
    pub order: Order,
    /// What the messages say they come from: a URI reference.
    pub source: String,
    /// Messages of one job that may be undelivered while its import goes on.
    pub max_pending: u64,
    /// What happens where the handler does not answer for long.
    pub when_down: WhenDown,
    /// How long is long.
    pub down_after: std::time::Duration,
}

impl Interest {
    /// Whether the handler is told of anything of this account.
    pub fn listens_to(&self, account: &str) -> bool {
        self.accounts.as_ref().is_none_or(|accounts| accounts.iter().any(|wanted| wanted == account))
    }

    /// Whether the handler is told of this.
    pub fn wants(&self, account: &str, action: Action) -> bool {
        self.actions.contains(&action) && self.listens_to(account)
    }

    /// Whether the handler is told of this change to a record of the dataset.
    pub fn wants_record(&self, account: &str, dataset: Dataset, change: Change) -> bool {
        let is_wanted = self.datasets.as_ref().is_none_or(|datasets| datasets.contains(&dataset));
        is_wanted && self.wants(account, change.action())
    }
}
