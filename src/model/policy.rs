//! What an account, or an archive where its account allows it, wants done.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What happens to an archive in which some records are bad.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnError {
    /// Good records go in, bad ones into `rejected.zip`.
    #[default]
    Skip,
    /// With any error nothing is written.
    Reject,
}

/// What happens to an archive of an event that is already in the database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnExisting {
    /// The event is updated.
    #[default]
    Update,
    /// A second event is made.
    Create,
    /// The archive is refused.
    Reject,
}

impl OnError {
    /// The word used in configuration and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Skip => "skip",
            Self::Reject => "reject",
        }
    }

    /// Reads the word back.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Skip, Self::Reject].into_iter().find(|policy| policy.as_str() == word)
    }
}

impl OnExisting {
    /// The word used in configuration and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Update => "update",
            Self::Create => "create",
            Self::Reject => "reject",
        }
    }

    /// Reads the word back.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Update, Self::Create, Self::Reject].into_iter().find(|policy| policy.as_str() == word)
    }
}
