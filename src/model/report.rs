//! The outcome of a job, as `result.json` says it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::catalogue::Dataset;
use super::job::{JobId, JobState};
use super::problem::{Code, Problem};
use chrono::{DateTime, Utc};

/// Version of the format of `result.json`; grows when a field changes its meaning or goes.
pub const REPORT_VERSION: u32 = 1;

/// Everything that became of one archive. `result.json` is exactly this.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// Version of this format.
    pub version: u32,
    /// The job's id.
    pub job: JobId,
    /// The job's final state.
    pub state: JobState,
    /// Why, in one sentence for people.
    pub summary: String,
    /// The account that dropped the file.
    pub account: String,
    /// The dropped file.
    pub archive: ArchiveReport,
    /// The event it went into; none where nothing was imported.
    pub event: Option<EventReport>,
    /// Another job that says more: the one this is a duplicate of, a retry of, or a supplement to.
    pub related_job: Option<JobId>,
    /// Counts per dataset, in loading order.
    pub datasets: Datasets,
    /// Links between records of this archive that are in the database.
    pub links: LinkCounts,
    /// References to media, one count per reference.
    pub media: MediaCounts,
    /// What is wrong, in the order of the archive; at most as many as `limits.problems_kept`, errors before warnings. Why
    /// the job as a whole failed, and that there are more problems, comes on top of these.
    pub problems: Vec<Problem>,
    /// How many problems there are of each code, those beyond the kept ones too.
    pub problem_counts: BTreeMap<Code, u64>,
    /// When work on it began.
    pub started: DateTime<Utc>,
    /// When the outcome was settled.
    pub finished: DateTime<Utc>,
}

/// The dropped file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ArchiveReport {
    /// Its name; bytes that are no UTF-8 are shown as `\xNN`.
    pub name: String,
    /// SHA-256 of its bytes in hex; none where it could not be read.
    pub sha256: Option<String>,
    /// Its size in bytes.
    pub bytes: u64,
}

/// The event that an archive went into.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EventReport {
    /// Its id in the database.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// Whether this job made it.
    pub created: bool,
}

/// What became of the records of one dataset:
/// `read + rebuilt = created + updated + unchanged + rejected + merged`, except where the job was stopped midway, which has
/// written only some of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DatasetCounts {
    /// Records in the file.
    pub read: u64,
    /// Records made from the objects nested in others.
    pub rebuilt: u64,
    /// New in the database.
    pub created: u64,
    /// Changed in the database.
    pub updated: u64,
    /// Already in the database as given.
    pub unchanged: u64,
    /// Not imported because of an error.
    pub rejected: u64,
    /// Equal to an earlier record of the file and dropped.
    pub merged: u64,
    /// In the database, and no longer in the archive.
    pub gone: u64,
}

impl DatasetCounts {
    /// Whether every record that was read or rebuilt is accounted for.
    pub fn is_balanced(&self) -> bool {
        self.read + self.rebuilt == self.created + self.updated + self.unchanged + self.rejected + self.merged
    }
}

/// Counts of each dataset.
pub type Datasets = BTreeMap<Dataset, DatasetCounts>;

/// Links whose both ends are in the database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LinkCounts {
    /// Pairs of a session and one of its speakers.
    pub session_speakers: u64,
    /// Sessions that have their track.
    pub sessions_with_track: u64,
    /// Sessions that have their room.
    pub sessions_with_microlocation: u64,
    /// Sessions that have their type.
    pub sessions_with_session_type: u64,
}

/// References to media: `referenced = stored + missing + remote`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MediaCounts {
    /// Fields that name a picture, a slide set, an audio or a video.
    pub referenced: u64,
    /// Those whose file is in the archive and in the store.
    pub stored: u64,
    /// Those whose file is not in the archive, or cannot be read.
    pub missing: u64,
    /// Those that are links to elsewhere.
    pub remote: u64,
}

impl Report {
    /// Whether the job was stopped after it had changed an event that was there before: that much stays.
    pub fn was_stopped_midway(&self) -> bool {
        matches!(self.state, JobState::Failed | JobState::Cancelled)
            && self.event.as_ref().is_some_and(|event| !event.created)
    }

    /// Number of data files that are as a whole not in, whose records nobody can count.
    pub fn unreadable_files(&self) -> u64 {
        self.unparsed_files() + self.lost_files()
    }

    /// Those of them that can be unpacked, so that `rejected.zip` has them.
    pub fn unparsed_files(&self) -> u64 {
        self.sum_of(&[Code::JsonSyntax, Code::WrongTopLevel])
    }

    /// Those of them that cannot.
    pub fn lost_files(&self) -> u64 {
        self.sum_of(&[
            Code::CrcMismatch,
            Code::EntryDamaged,
            Code::Encrypted,
            Code::UnsupportedMethod,
            Code::DuplicateEntry,
            Code::FileNotRead,
        ])
    }

    fn sum_of(&self, codes: &[Code]) -> u64 {
        codes.iter().filter_map(|code| self.problem_counts.get(code)).sum()
    }

    /// Number of problems that left something out. That they left out everything is none of its own.
    pub fn errors(&self) -> u64 {
        self.count_of(super::problem::Severity::Error) - self.sum_of(&[Code::RejectedAsAWhole])
    }

    /// Number of problems that left nothing out.
    pub fn warnings(&self) -> u64 {
        self.count_of(super::problem::Severity::Warning)
    }

    fn count_of(&self, severity: super::problem::Severity) -> u64 {
        self.problem_counts.iter().filter(|(code, _)| code.severity() == severity).map(|(_, count)| count).sum()
    }
}
