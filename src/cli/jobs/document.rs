//! A job as programs read it, and in one line for people.

use serde::Serialize;

use super::super::daemon::Daemon;
use super::super::show::{lasting, safe};
use crate::clock::Timestamp;
use crate::model::{JobId, JobState};
use crate::store::jobs::{JobView, SourceState, waiting_text};

/// A job as `--json` prints it; fields may be added.
#[derive(Clone, Debug, Serialize)]
pub(in crate::cli) struct JobDocument {
    pub(in crate::cli) id: JobId,
    pub(in crate::cli) kind: String,
    pub(in crate::cli) account: String,
    pub(in crate::cli) state: JobState,
    pub(in crate::cli) archive: ArchiveDocument,
    pub(in crate::cli) created_at: Timestamp,
    pub(in crate::cli) started_at: Option<Timestamp>,
    pub(in crate::cli) finished_at: Option<Timestamp>,
    /// What it waits for; none while it runs and after its end.
    pub(in crate::cli) waits: Option<WaitDocument>,
    /// `Importing sessions (240/371)`
    pub(in crate::cli) progress: Option<String>,
    pub(in crate::cli) stage: Option<StageDocument>,
    pub(in crate::cli) summary: Option<String>,
    pub(in crate::cli) event: Option<EventDocument>,
    pub(in crate::cli) retry_of: Option<JobId>,
    pub(in crate::cli) related_job: Option<JobId>,
    pub(in crate::cli) again: bool,
    /// Whether handlers are called; none where neither a command nor the archive has said so.
    pub(in crate::cli) with_handlers: Option<bool>,
    pub(in crate::cli) cancel_requested: bool,
    pub(in crate::cli) attempts: u64,
    pub(in crate::cli) outages: u64,
    pub(in crate::cli) strikes: u64,
    pub(in crate::cli) last_trouble: Option<String>,
    pub(in crate::cli) result_folder: Option<String>,
    /// Where the dropped file is: `work`, `moving` or its path.
    pub(in crate::cli) source: String,
}

/// The dropped file.
#[derive(Clone, Debug, Serialize)]
pub(in crate::cli) struct ArchiveDocument {
    pub(in crate::cli) name: String,
    pub(in crate::cli) bytes: u64,
    pub(in crate::cli) sha256: Option<String>,
}

/// What a job waits for.
#[derive(Clone, Debug, Serialize)]
pub(in crate::cli) struct WaitDocument {
    pub(in crate::cli) reason: Option<String>,
    /// Whether the reason is a sentence that says what is out of order, instead of something that is waited for.
    #[serde(skip)]
    pub(in crate::cli) is_trouble: bool,
    /// More about it: `1,940 undelivered`.
    pub(in crate::cli) detail: Option<String>,
    pub(in crate::cli) since: Timestamp,
    /// When it is tried next, as far as time alone decides.
    pub(in crate::cli) due: Timestamp,
    pub(in crate::cli) job: Option<JobId>,
}

/// How far a job is.
#[derive(Clone, Debug, Serialize)]
pub(in crate::cli) struct StageDocument {
    pub(in crate::cli) name: String,
    pub(in crate::cli) done: u64,
    /// 0 where it is not known.
    pub(in crate::cli) total: u64,
}

/// The event that an archive goes into.
#[derive(Clone, Debug, Serialize)]
pub(in crate::cli) struct EventDocument {
    pub(in crate::cli) id: i64,
    pub(in crate::cli) created: bool,
}

impl From<&JobView> for JobDocument {
    fn from(job: &JobView) -> Self {
        let is_held = job.state == JobState::Running && job.waits_for.is_some();
        let is_waiting = (!job.state.is_final() && job.state != JobState::Running) || is_held;
        Self {
            id: job.id,
            kind: job.kind.clone(),
            account: job.account.clone(),
            state: job.state,
            archive: ArchiveDocument {
                name: job.archive_name.clone(),
                bytes: job.archive_bytes,
                sha256: job.archive_sha256.clone(),
            },
            created_at: job.created_at,
            started_at: job.started_at,
            finished_at: job.finished_at,
            waits: is_waiting.then(|| WaitDocument {
                reason: job.waits_for.clone(),
                is_trouble: job.waits_for.is_some() && job.waits_for == job.last_trouble,
                detail: job.waits_detail.clone(),
                since: job.waits_since.unwrap_or(job.created_at),
                due: job.run_at,
                job: job.blocked_on,
            }),
            progress: if job.state.is_final() { None } else { job.progress() },
            stage: job.stage.clone().map(|name| StageDocument { name, done: job.stage_done, total: job.stage_total }),
            summary: job.summary.clone(),
            event: job.event_id.map(|id| EventDocument { id, created: job.event_created }),
            retry_of: job.retry_of,
            related_job: job.related_job,
            again: job.again,
            with_handlers: job.with_handlers,
            cancel_requested: job.cancel_requested,
            attempts: job.attempts,
            outages: job.outages,
            strikes: job.strikes,
            last_trouble: job.last_trouble.clone(),
            result_folder: job.result_folder.clone(),
            source: match (job.source_state, &job.source_path) {
                (SourceState::Held, _) => "work".to_owned(),
                (SourceState::Leaving, _) => "moving".to_owned(),
                (SourceState::Moved, path) => path.clone().unwrap_or_default(),
            },
        }
    }
}

/// What there is to say about a job now, in one line: what it waits for, how far it is, or how it ended.
pub(in crate::cli) fn describe(job: &JobDocument, now: Timestamp, daemon: &Daemon) -> String {
    let told = match (&job.waits, &job.progress, &job.summary) {
        (Some(waits), _, _) => {
            let lasting = lasting(now - waits.since);
            match (&waits.reason, &waits.detail, daemon.none_here("works on it")) {
                (Some(reason), Some(detail), _) => waiting_text(reason, waits.since, Some(detail)),
                (Some(reason), None, _) if waits.is_trouble => format!("has waited for {lasting}: {reason}"),
                (None, _, Some(none_here)) => format!("waits, for {lasting}; {none_here}"),
                (reason, _, _) => {
                    format!("waits for {}, for {lasting}", reason.as_deref().unwrap_or("a free worker"))
                }
            }
        }
        (None, Some(progress), _) => progress.clone(),
        (None, None, Some(summary)) => summary.clone(),
        (None, None, None) => String::new(),
    };
    let told = safe(&told);
    if job.cancel_requested && !job.state.is_final() { format!("is being cancelled; {told}") } else { told }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

    use chrono::{DateTime, TimeDelta};

    use super::*;

    fn now() -> Timestamp {
        DateTime::from_timestamp(1_790_000_000, 0).unwrap()
    }

    fn job(state: JobState) -> JobView {
        JobView {
            id: "0199a0f2-7c3e-7bd1-8a44-000000000001".parse().unwrap(),
            kind: "import".to_owned(),
            account: "asia".to_owned(),
            state,
            archive_name: "summit.zip".to_owned(),
            archive_bytes: 1_024,
            archive_sha256: None,
            source_key: None,
            again: false,
            retry_of: None,
            related_job: None,
            created_at: now() - TimeDelta::minutes(10),
            run_at: now() - TimeDelta::minutes(10),
            started_at: None,
            finished_at: None,
            attempts: 0,
            outages: 0,
            strikes: 0,
            cancel_requested: false,
            last_trouble: None,
            waits_for: None,
            waits_since: None,
            blocked_on: None,
            stage: Some("importing sessions".to_owned()),
            stage_done: 240,
            stage_total: 371,
            event_id: None,
            event_created: false,
            summary: None,
            result_folder: None,
            source_state: SourceState::Held,
            source_path: None,
            with_handlers: None,
            is_held: false,
            waits_detail: None,
        }
    }

    fn line(job: &JobView) -> String {
        describe(&JobDocument::from(job), now(), &Daemon::Running { process: 1 })
    }

    #[test]
    fn a_running_job_says_how_far_it_is() {
        assert_eq!(line(&job(JobState::Running)), "Importing sessions (240/371)");
    }

    #[test]
    fn a_waiting_job_says_for_what_and_for_how_long() {
        let blocked = JobView {
            waits_for: Some("job 7 (`other.zip`), an import into the same event".to_owned()),
            waits_since: Some(now() - TimeDelta::minutes(3)),
            ..job(JobState::Blocked)
        };
        assert_eq!(line(&blocked), "waits for job 7 (`other.zip`), an import into the same event, for 3 min");
        let queued = job(JobState::Queued);
        assert_eq!(line(&queued), "waits for a free worker, for 10 min");
        let alone = describe(&JobDocument::from(&queued), now(), &Daemon::Stopped);
        assert_eq!(alone, "waits, for 10 min; no daemon runs here, `eventferry run` works on it");
    }

    #[test]
    fn a_job_that_waits_because_something_is_out_of_order_says_what_in_a_sentence() {
        let trouble = Some("the result files cannot be written: no; let eventferry write to `/srv/out`".to_owned());
        let paused = JobView {
            waits_for: trouble.clone(),
            last_trouble: trouble,
            waits_since: Some(now() - TimeDelta::seconds(14)),
            ..job(JobState::Paused)
        };
        assert_eq!(
            line(&paused),
            "has waited for 14 s: the result files cannot be written: no; let eventferry write to `/srv/out`"
        );
    }

    #[test]
    fn a_running_job_that_waits_for_a_handler_says_for_which_and_how_much_is_left() {
        let held = JobView {
            waits_for: Some("handler `tickets`".to_owned()),
            waits_since: Some("2026-09-21T14:02:11Z".parse().unwrap()),
            waits_detail: Some("1,940 undelivered".to_owned()),
            ..job(JobState::Running)
        };
        assert_eq!(line(&held), "waiting for handler `tickets` since 14:02, 1,940 undelivered");
    }

    #[test]
    fn an_ended_job_says_how_it_ended_and_not_how_far_it_was() {
        let ended = JobView { summary: Some("371 sessions\u{7} are in".to_owned()), ..job(JobState::Succeeded) };
        assert_eq!(line(&ended), "371 sessions\\x07 are in");
    }

    #[test]
    fn a_job_that_is_to_be_cancelled_says_so_until_it_has_ended() {
        let cancelling = JobView { cancel_requested: true, ..job(JobState::Running) };
        assert_eq!(line(&cancelling), "is being cancelled; Importing sessions (240/371)");
    }
}
