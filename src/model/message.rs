//! What handlers are sent: CloudEvents 1.0, structured, as JSON.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::catalogue::Dataset;
use super::handler::{Action, Change};
use super::job::{JobId, JobState};
use super::problem::Code;
use super::report::{ArchiveReport, Datasets, EventReport, LinkCounts, MediaCounts, Report};

/// Largest message, in bytes. CloudEvents asks everybody to take messages of this size; larger ones carry a reference.
pub const MESSAGE_BYTES: usize = 64 * 1024;

/// The version of CloudEvents.
const SPEC_VERSION: &str = "1.0";

/// What the data is.
const DATA_TYPE: &str = "application/json";

/// A message with its data. What is sent is exactly this; of `data` and `dataref` there is one.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Message<T> {
    /// The version of CloudEvents: `1.0`.
    pub specversion: String,
    /// The message's id, the same in every attempt.
    pub id: Uuid,
    /// Which installation it comes from, as the handler's configuration says.
    pub source: String,
    /// What has happened, such as `eventferry.session.created.v1`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What it has happened to: `events/12/sessions/34`, `events/12/sessions` for a chunk, `jobs/ID`.
    pub subject: String,
    /// When it has happened.
    pub time: DateTime<Utc>,
    /// `application/json`
    pub datacontenttype: String,
    /// Where the data is to be had, of a message that would be larger than 64 KiB: `eventferry:messages/ID`, which
    /// `eventferry handlers show ID --json` prints.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dataref: Option<String>,
    /// What has happened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<T>,
}

/// A change to one record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RecordData {
    /// The account whose archive brought it.
    pub account: String,
    /// The job that brought it.
    pub job: JobId,
    /// The event's id in the database.
    pub event: i64,
    /// What kind of record it is.
    pub dataset: Dataset,
    /// The change.
    #[serde(flatten)]
    pub change: RecordChange,
}

/// Changes to records of one dataset, which were committed together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ChunkData {
    /// The account whose archive brought them.
    pub account: String,
    /// The job that brought them.
    pub job: JobId,
    /// The event's id in the database.
    pub event: i64,
    /// What kind of records they are.
    pub dataset: Dataset,
    /// The changes.
    pub records: Vec<RecordChange>,
}

/// What has become of a record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RecordChange {
    /// What has happened.
    pub action: Change,
    /// Its id in the database.
    pub id: i64,
    /// Its id in the archive.
    pub source_id: String,
    /// What it says now, under the names of the columns of its table; none where it is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<Map<String, Value>>,
    /// The columns that say something else than before, of an update.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changed: Vec<String>,
    /// What these columns said before, as far as that is known.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub previous: Map<String, Value>,
}

/// The end of an import.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ImportData {
    /// The account that dropped the file.
    pub account: String,
    /// The job.
    pub job: JobId,
    /// Its final state.
    pub state: JobState,
    /// Why, in one sentence for people.
    pub summary: String,
    /// The dropped file.
    pub archive: ArchiveReport,
    /// The event it went into; none where nothing was imported.
    pub event: Option<EventReport>,
    /// Another job that says more.
    pub related_job: Option<JobId>,
    /// Counts per dataset.
    pub datasets: Datasets,
    /// Links between records of the archive that are in the database.
    pub links: LinkCounts,
    /// References to media.
    pub media: MediaCounts,
    /// How many problems there are of each code.
    pub problem_counts: BTreeMap<Code, u64>,
    /// The folder with the result files, below the outbox.
    pub result_folder: String,
    /// When work on it began.
    pub started: DateTime<Utc>,
    /// When the outcome was settled.
    pub finished: DateTime<Utc>,
}

impl ImportData {
    /// What a report says, but for its problems.
    pub fn of(report: &Report, result_folder: &str) -> Self {
        Self {
            account: report.account.clone(),
            job: report.job,
            state: report.state,
            summary: report.summary.clone(),
            archive: report.archive.clone(),
            event: report.event.clone(),
            related_job: report.related_job,
            datasets: report.datasets.clone(),
            links: report.links,
            media: report.media,
            problem_counts: report.problem_counts.clone(),
            result_folder: result_folder.to_owned(),
            started: report.started,
            finished: report.finished,
        }
    }
}

/// The end of an export.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ExportData {
    /// The account whose events were exported.
    pub account: String,
    /// The job.
    pub job: JobId,
    /// Its final state.
    pub state: JobState,
    /// Why, in one sentence for people.
    pub summary: String,
    /// The schedule's name, or `by hand`.
    pub schedule: String,
    /// When it was due; none by hand.
    pub due_at: Option<DateTime<Utc>>,
    /// The events.
    pub events: Vec<ExportedEvent>,
    /// When work on it began.
    pub started: DateTime<Utc>,
    /// When the outcome was settled.
    pub finished: DateTime<Utc>,
}

/// What became of one event of an export.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ExportedEvent {
    /// Its id in the database.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// `exported`, `unchanged`, `empty`, `failed`
    pub state: String,
    /// The folder with the files, below the outbox; none where there is none.
    pub folder: Option<String>,
}

/// A message that is ready to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// Its id.
    pub id: Uuid,
    /// Its type.
    pub kind: String,
    /// What it is about.
    pub subject: String,
    /// What is sent.
    pub body: String,
    /// The data as JSON, where what is sent only refers to it.
    pub data: Option<String>,
}

/// What a message says of itself.
#[derive(Clone, Debug)]
pub struct Envelope<'a> {
    /// Its id.
    pub id: Uuid,
    /// Which installation it comes from.
    pub source: &'a str,
    /// What has happened.
    pub kind: String,
    /// What it has happened to.
    pub subject: String,
    /// When.
    pub time: DateTime<Utc>,
}

impl Envelope<'_> {
    /// The message about this data. One that would be too large refers to it instead.
    pub fn around(self, data: &impl Serialize) -> Made {
        // Data is made of texts, numbers and maps with text keys: it can always be written as JSON.
        let text = serde_json::to_string(data).unwrap_or_default();
        let raw = serde_json::from_str::<&RawValue>(&text).ok();
        let body = self.body(raw, None);
        if body.len() <= MESSAGE_BYTES {
            return Made { id: self.id, kind: self.kind, subject: self.subject, body, data: None };
        }
        let body = self.body(None, Some(format!("eventferry:messages/{}", self.id)));
        Made { id: self.id, kind: self.kind, subject: self.subject, body, data: Some(text) }
    }

    fn body(&self, data: Option<&RawValue>, dataref: Option<String>) -> String {
        let message = Message {
            specversion: SPEC_VERSION.to_owned(),
            id: self.id,
            source: self.source.to_owned(),
            kind: self.kind.clone(),
            subject: self.subject.clone(),
            time: self.time,
            datacontenttype: DATA_TYPE.to_owned(),
            dataref,
            data,
        };
        serde_json::to_string(&message).unwrap_or_default()
    }
}

/// The type of a message about one record: `eventferry.session.created.v1`.
pub fn record_kind(dataset: Dataset, change: Change) -> String {
    format!("eventferry.{}.{}.v1", word_of(dataset), change.action().as_str())
}

/// The type of a message about a chunk of records: `eventferry.session.changes.v1`.
pub fn chunk_kind(dataset: Dataset) -> String {
    format!("eventferry.{}.changes.v1", word_of(dataset))
}

/// The type of a message about a job: `eventferry.import.finished.v1`.
pub fn job_kind(action: Action) -> String {
    format!("eventferry.{}.v1", action.as_str())
}

/// What a message about a record is about.
pub fn record_subject(event: i64, dataset: Dataset, id: i64) -> String {
    match dataset {
        Dataset::Event => format!("events/{event}"),
        _ => format!("events/{event}/{}/{id}", dataset.as_str()),
    }
}

/// What a message about records of one dataset is about.
pub fn chunk_subject(event: i64, dataset: Dataset) -> String {
    format!("events/{event}/{}", dataset.as_str())
}

/// What a message about a job is about.
pub fn job_subject(job: JobId) -> String {
    format!("jobs/{job}")
}

/// One record of a dataset, as one word.
fn word_of(dataset: Dataset) -> &'static str {
    match dataset {
        Dataset::Event => "event",
        Dataset::SocialLinks => "social_link",
        Dataset::CustomForms => "custom_form",
        Dataset::Microlocations => "microlocation",
        Dataset::Sponsors => "sponsor",
        Dataset::Speakers => "speaker",
        Dataset::Tracks => "track",
        Dataset::SessionTypes => "session_type",
        Dataset::Sessions => "session",
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed step fails the test")]
mod tests {
    use serde_json::json;

    use super::*;

    fn envelope() -> Envelope<'static> {
        Envelope {
            id: Uuid::from_u128(7),
            source: "eventferry",
            kind: record_kind(Dataset::SessionTypes, Change::Updated),
            subject: record_subject(12, Dataset::SessionTypes, 34),
            time: "2026-11-28T18:00:00Z".parse().unwrap(),
        }
    }

    #[test]
    fn a_message_is_a_structured_cloud_event() {
        let made = envelope().around(&json!({ "id": 34 }));
        let body: Value = serde_json::from_str(&made.body).unwrap();
        assert_eq!(
            body,
            json!({
                "specversion": "1.0", "id": "00000000-0000-0000-0000-000000000007", "source": "eventferry",
                "type": "eventferry.session_type.updated.v1", "subject": "events/12/session_types/34",
                "time": "2026-11-28T18:00:00Z", "datacontenttype": "application/json", "data": { "id": 34 },
            })
        );
        assert_eq!(made.data, None);
    }

    #[test]
    fn a_message_of_more_than_64_kib_refers_to_its_data() {
        let overhead = envelope().around(&json!("")).body.len();
        let fits = envelope().around(&json!("x".repeat(MESSAGE_BYTES - overhead)));
        assert_eq!((fits.body.len(), fits.data.is_none()), (65_536, true));

        let text = "x".repeat(MESSAGE_BYTES - overhead + 1);
        let large = envelope().around(&json!(text));
        assert_eq!(large.data.unwrap(), format!("\"{text}\""));
        let body: Value = serde_json::from_str(&large.body).unwrap();
        assert_eq!(body["dataref"], "eventferry:messages/00000000-0000-0000-0000-000000000007");
        assert_eq!(body.get("data"), None);
    }
}
