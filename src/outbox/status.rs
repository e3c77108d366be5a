//! `status.json`: what a job does at the moment.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::STATUS_FILE;
use crate::clock::Timestamp;
use crate::fsx;
use crate::model::{JobId, JobState};

/// Version of the format of `status.json`; grows when a field changes its meaning or goes.
pub const STATUS_VERSION: u32 = 1;

/// Shortest time between two writings.
const PERIOD: Duration = Duration::from_secs(1);

/// What a job does at the moment. `status.json` is exactly this.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    /// Version of this format: [`STATUS_VERSION`].
    pub version: u32,
    /// The job's id.
    pub job: JobId,
    /// The job's state, not yet a final one.
    pub state: JobState,
    /// Name of the stage, as in the job table; none before the first.
    pub stage: Option<String>,
    /// How much of the stage is done, in units of the stage.
    pub done: u64,
    /// How much there is to do in the stage; 0 where that is not known.
    pub total: u64,
    /// The progress in words for people, such as `Importing sessions (240/371)`.
    pub text: String,
    /// What it waits for, for people.
    pub waits_for: Option<String>,
    /// Since when it waits for that.
    pub waits_since: Option<Timestamp>,
    /// When this was written.
    pub updated: Timestamp,
}

/// Renews the `status.json` of one job at most once a second.
#[derive(Debug)]
pub struct StatusWriter {
    folder: PathBuf,
    last: Option<Duration>,
    /// The newest that came too early.
    kept: Option<Status>,
}

/// What became of a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusOutcome {
    /// It is in the file.
    Written,
    /// It came too early and is kept: [`StatusWriter::catch_up`] writes it after this time, unless a newer one comes.
    TooEarly(Duration),
}

impl StatusWriter {
    /// For the job whose results go into `folder`, which is made with the first writing.
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), last: None, kept: None }
    }

    /// Writes the status unless it comes within a second of the last one. `now` is monotonic time
    /// ([`crate::clock::Clock::monotonic`]).
    ///
    /// A crash leaves the old file or the new one; the end of the job removes it.
    ///
    /// # Errors
    /// Those of the file system. A failed writing counts: the next one is tried a second later.
    pub fn offer(&mut self, status: &Status, now: Duration) -> io::Result<StatusOutcome> {
        if let Some(wait) = self.wait(now) {
            self.kept = Some(status.clone());
            return Ok(StatusOutcome::TooEarly(wait));
        }
        self.kept = None;
        self.write(status, now)?;
        Ok(StatusOutcome::Written)
    }

    /// Writes the newest status that came too early, where there is one and its time has come; else says how long that
    /// takes. Times and failures are as for [`StatusWriter::offer`].
    ///
    /// # Errors
    /// Those of the file system.
    pub fn catch_up(&mut self, now: Duration) -> io::Result<Option<Duration>> {
        let Some(status) = self.kept.take() else { return Ok(None) };
        if let Some(wait) = self.wait(now) {
            self.kept = Some(status);
            return Ok(Some(wait));
        }
        self.write(&status, now)?;
        Ok(None)
    }

    fn wait(&self, now: Duration) -> Option<Duration> {
        self.last.and_then(|last| (last + PERIOD).checked_sub(now)).filter(|wait| !wait.is_zero())
    }

    fn write(&mut self, status: &Status, now: Duration) -> io::Result<()> {
        self.last = Some(now);
        fsx::create_folders(&self.folder)?;
        let mut bytes = serde_json::to_vec_pretty(status)?;
        bytes.push(b'\n');
        fsx::write_atomic(&self.folder.join(STATUS_FILE), &bytes)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

    use serde_json::json;

    use super::*;

    fn status(done: u64) -> Status {
        Status {
            version: STATUS_VERSION,
            job: JobId("01932b5e-7c00-7000-8000-000000000001".parse().unwrap()),
            state: JobState::Running,
            stage: Some("sessions".to_owned()),
            done,
            total: 371,
            text: format!("Importing sessions ({done}/371)"),
            waits_for: None,
            waits_since: None,
            updated: "2026-11-22T04:18:03Z".parse().unwrap(),
        }
    }

    fn written(folder: &Path) -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(folder.join("status.json")).unwrap()).unwrap()
    }

    #[test]
    fn a_status_says_everything_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let nested = folder.path().join("account/job");
        let outcome = StatusWriter::new(&nested).offer(&status(240), Duration::from_secs(9)).unwrap();
        assert_eq!(outcome, StatusOutcome::Written);
        let expected = json!({
            "version": 1, "job": "01932b5e-7c00-7000-8000-000000000001", "state": "running", "stage": "sessions",
            "done": 240, "total": 371, "text": "Importing sessions (240/371)", "waits_for": null, "waits_since": null,
            "updated": "2026-11-22T04:18:03Z",
        });
        assert_eq!(written(&nested), expected);
    }

    #[test]
    fn a_second_lies_between_two_writings() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = StatusWriter::new(folder.path());
        writer.offer(&status(1), Duration::ZERO).unwrap();
        let early = writer.offer(&status(2), Duration::from_millis(700)).unwrap();
        assert_eq!(early, StatusOutcome::TooEarly(Duration::from_millis(300)));
        assert_eq!(written(folder.path())["done"], 1);
        assert_eq!(writer.offer(&status(3), Duration::from_secs(1)).unwrap(), StatusOutcome::Written);
        assert_eq!(written(folder.path())["done"], 3);
    }

    #[test]
    fn the_last_status_of_a_second_is_written_when_it_has_passed_and_no_second_has_two() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = StatusWriter::new(folder.path());
        let mut written_at = Vec::new();
        let mut before = None;
        // A status every 130 ms for five seconds, and whoever catches up looks every 10 ms.
        for tick in 0..600_u64 {
            let now = Duration::from_millis(tick * 10);
            if tick % 13 == 0 && tick < 500 {
                writer.offer(&status(tick), now).unwrap();
            }
            writer.catch_up(now).unwrap();
            let found = written(folder.path())["done"].as_u64();
            if found != before {
                written_at.push(tick * 10);
                before = found;
            }
        }
        assert_eq!(before, Some(494), "the last that was offered");
        assert_eq!(written_at, [0, 1000, 2000, 3000, 4000, 5000]);
        assert_eq!(writer.catch_up(Duration::from_secs(60)).unwrap(), None);
    }

    #[test]
    fn a_failed_writing_is_not_tried_again_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let in_the_way = folder.path().join("file");
        drop(std::fs::File::create(&in_the_way).unwrap());
        let mut writer = StatusWriter::new(&in_the_way);
        assert!(writer.offer(&status(1), Duration::ZERO).is_err());
        let again = writer.offer(&status(1), Duration::from_millis(1)).unwrap();
        assert_eq!(again, StatusOutcome::TooEarly(Duration::from_millis(999)));
    }
}
