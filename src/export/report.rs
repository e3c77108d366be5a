//! What became of an export: `export.json` of each event, and the outcome of the job.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::program::Notes;
use crate::model::export::Format;
use crate::model::{JobId, JobState};

/// Version of `export.json` and of the outcome; grows when a field changes its meaning or goes.
pub const EXPORT_VERSION: u32 = 1;

/// Everything that became of an export job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExportReport {
    /// Version of this format.
    pub version: u32,
    /// The job's id.
    pub job: JobId,
    /// The job's final state.
    pub state: JobState,
    /// Why, in one sentence for people.
    pub summary: String,
    /// Whose events.
    pub account: String,
    /// The schedule's name, or `by hand`.
    pub scope: String,
    /// When it was due; none by hand.
    pub due_at: Option<DateTime<Utc>>,
    /// The formats that were asked for.
    pub formats: Vec<Format>,
    /// One per event.
    pub events: Vec<EventExport>,
    /// When work on it began.
    pub started: DateTime<Utc>,
    /// When the outcome was settled.
    pub finished: DateTime<Utc>,
}

/// What became of one event. `export.json` is exactly this.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EventExport {
    /// Version of this format.
    pub version: u32,
    /// The job's id.
    pub job: JobId,
    /// The schedule's name, or `by hand`.
    pub scope: String,
    /// The event.
    pub event: ExportedEvent,
    /// What became of it.
    pub state: EventState,
    /// Why nothing was published, where that is so.
    pub error: Option<String>,
    /// The folder of this run, below the outbox; the newest good one where nothing was published.
    pub folder: Option<String>,
    /// Whether personal data is in it.
    pub private: bool,
    /// What was counted.
    pub counts: EventCounts,
    /// The files.
    pub formats: Vec<FormatExport>,
    /// What was found in the event, whatever the format.
    pub notes: Notes,
    /// What has changed since the last good run of the same scope; none at the first.
    pub changes: Option<ChangesSince>,
    /// The state of the data: nothing was changed after it.
    pub data_changed_at: Option<DateTime<Utc>>,
    /// When the data was looked at for changes; none where it was not.
    pub data_read_at: Option<DateTime<Utc>>,
    /// When the run began.
    pub exported_at: DateTime<Utc>,
}

/// The event of an export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportedEvent {
    /// Its id here.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// Its zone.
    pub zone: String,
}

/// What became of one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EventState {
    /// There is a new folder.
    Published,
    /// Every file has the bytes that it had before: there is no new folder.
    Unchanged,
    /// The event has no sessions and no speakers: nothing was published.
    Empty,
    /// Nothing was published.
    Failed,
}

/// The words of [`EventState`] in mails.
pub const EVENT_STATE_WORDS: [&str; 4] = ["exported", "unchanged", "empty", "failed"];

/// What was counted in an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventCounts {
    /// Sessions that are not gone.
    pub sessions: u64,
    /// Of those: sessions that take place.
    pub accepted: u64,
    /// Of those: sessions whose begin is known. Only they are in schedules.
    pub scheduled: u64,
    /// Speakers that are not gone.
    pub speakers: u64,
}

/// One format of an export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormatExport {
    /// Which.
    pub format: Format,
    /// Its files.
    pub files: Vec<ExportedFile>,
    /// Sessions in it; in all files together.
    pub sessions: u64,
    /// Speakers in it, where it lists them.
    pub speakers: u64,
    /// How its files were checked, in words.
    pub checked: String,
    /// What this format left out or changed.
    pub notes: Notes,
}

/// One file of an export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportedFile {
    /// Its path in the run's folder.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// SHA-256 in hex.
    pub sha256: String,
    /// Whether the run before had the same bytes: they were not written again.
    pub unchanged: bool,
}

/// What has changed since an earlier run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangesSince {
    /// The earlier run's begin.
    pub since: DateTime<Utc>,
    /// Sessions that are new.
    pub added: u64,
    /// Sessions at another time or in another room.
    pub moved: u64,
    /// Sessions that no longer take place.
    pub removed: u64,
    /// Sessions of which something else has changed.
    pub changed: u64,
    /// The first of them.
    pub named: Vec<NamedChange>,
}

/// One session that has changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedChange {
    /// `added`, `moved` or `removed`.
    pub what: String,
    /// Its title.
    pub title: String,
    /// When and where it is, or was.
    pub place: String,
}
