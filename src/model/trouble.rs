//! What the admin is told.

use super::JobId;

/// Something that no account can mend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminTrouble {
    /// What it is about; told once.
    pub subject_key: String,
    /// The job it is about.
    pub job: Option<JobId>,
    /// A title.
    pub title: String,
    /// What has happened.
    pub what: String,
    /// Why.
    pub why: String,
    /// What to do.
    pub what_now: String,
}
