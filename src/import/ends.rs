//! How a run ends: what its report says, and what becomes of what it has written.

use std::io;

use super::load::{self, Checkpoint};
use super::{Run, RunEnd, RunError};
use crate::model::job::RetryReason;
use crate::model::report::{ArchiveReport, EventReport, LinkCounts, REPORT_VERSION};
use crate::model::words::{capital, counted};
use crate::model::{Code, Dataset, JobState, Problem, Report, Severity};
use crate::store::{events, jobs, problems as problems_of_jobs};

impl Run<'_> {
    pub(super) async fn succeed(&mut self, checkpoint: &Checkpoint) -> Result<Report, RunError> {
        self.facts.datasets.clone_from(&checkpoint.datasets);
        let mut event = self.event_report(checkpoint).await?;
        let errors: u64 = self.error_count();
        let imported =
            checkpoint.datasets.values().any(|counts| counts.created + counts.updated + counts.unchanged > 0);
        let name = event.as_ref().map_or("", |event| event.name.as_str());
        let (state, summary) = if errors == 0 {
            (JobState::Succeeded, format!("“{name}” is in, with everything the archive holds."))
        } else if imported {
            (
                JobState::Partial,
                format!("“{name}” is in, but {} left something out.", counted(errors, "error", "errors")),
            )
        } else {
            event = None;
            (JobState::Failed, "Nothing could be imported.".to_owned())
        };
        Ok(self.report(state, summary, event, checkpoint.links))
    }

    pub(super) fn error_count(&self) -> u64 {
        let is_error = |code: &Code| code.severity() == Severity::Error;
        self.facts.problem_counts.iter().filter(|(code, _)| is_error(code)).map(|(_, count)| count).sum()
    }

    async fn event_report(&self, checkpoint: &Checkpoint) -> Result<Option<EventReport>, RunError> {
        let Some(place) = &checkpoint.event else { return Ok(None) };
        let event = events::get(&self.services.database, place.id).await?;
        let name = event.and_then(|event| event.name).unwrap_or_default();
        Ok(Some(EventReport { id: place.id, name, created: place.created }))
    }

    pub(super) fn report(
        &self,
        state: JobState,
        summary: String,
        event: Option<EventReport>,
        links: LinkCounts,
    ) -> Report {
        let mut datasets = self.facts.datasets.clone();
        for dataset in Dataset::ALL {
            datasets.entry(dataset).or_default();
        }
        Report {
            version: REPORT_VERSION,
            job: self.import.lease.job,
            state,
            summary,
            account: self.import.account.name.clone(),
            archive: ArchiveReport {
                name: self.import.archive_name.clone(),
                sha256: self.facts.sha256.clone(),
                bytes: self.facts.bytes,
            },
            event,
            related_job: self.facts.related_job,
            datasets,
            links,
            media: self.facts.media,
            problems: Vec::new(),
            problem_counts: self.facts.problem_counts.clone(),
            started: self.import.started,
            finished: self.services.clock.now(),
        }
    }

    /// What an early end means for the job.
    pub(super) async fn end_of(&mut self, error: RunError) -> RunEnd {
        match error {
            RunError::Refused(problem) => self.fail(*problem).await,
            RunError::Panicked(why) => {
                tracing::error!(job.id = %self.import.lease.job, why, "the import panicked");
                self.fail(internal("the program failed over this file")).await
            }
            RunError::Broken(why) => {
                tracing::error!(job.id = %self.import.lease.job, why, "the import cannot go on");
                self.fail(internal(&why)).await
            }
            RunError::Cancelled => self.end_early(JobState::Cancelled, None).await,
            RunError::Changed(why) => RunEnd::Retry(format!("{}: {why}", RetryReason::SourceChanged.words())),
            RunError::Outage(why) => RunEnd::Outage(why),
            RunError::Io(error) => RunEnd::Outage(format!("the disk does not do what it should: {error}")),
            RunError::Interrupted => RunEnd::Interrupted,
            RunError::BlockedOn(other) => RunEnd::BlockedOn(other),
            RunError::Held(hold, look_after) => RunEnd::Held { hold, look_after },
            RunError::LeaseLost => RunEnd::LeaseLost,
            RunError::Replan => RunEnd::Retry(RetryReason::EventContested.words().to_owned()),
        }
    }

    /// Ends the job as failed.
    pub(super) async fn fail(&mut self, problem: Problem) -> RunEnd {
        self.end_early(JobState::Failed, Some(problem)).await
    }

    /// Ends the job before its end: what it has made is taken back, what it has changed stays, and the report says so.
    pub(super) async fn end_early(&mut self, state: JobState, why: Option<Problem>) -> RunEnd {
        match self.try_end_early(state, why).await {
            Ok(report) => RunEnd::Outcome(Box::new(report)),
            Err(RunError::LeaseLost) => RunEnd::LeaseLost,
            Err(RunError::Interrupted) => RunEnd::Interrupted,
            Err(RunError::Outage(why)) => RunEnd::Outage(why),
            Err(RunError::Io(error)) => RunEnd::Outage(format!("the disk does not do what it should: {error}")),
            Err(error) => RunEnd::Outage(format!("the outcome cannot be written: {error:?}")),
        }
    }

    async fn try_end_early(&mut self, state: JobState, why: Option<Problem>) -> Result<Report, RunError> {
        let checkpoint = self.latest_checkpoint().await?;
        self.facts.bytes = match std::fs::metadata(&self.import.archive) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error.into()),
        };
        self.recall_problems().await?;
        let cause = why.as_ref().map(|problem| sentence(&problem.message));
        if let Some(problem) = why {
            *self.facts.problem_counts.entry(problem.code).or_insert(0) += 1;
            self.facts.problems.insert(0, problem);
        }
        if let Some(checkpoint) = checkpoint.as_ref().filter(|checkpoint| checkpoint.has_changed_an_event()) {
            let doing = load::phrase(checkpoint.stage);
            let summary = match cause {
                Some(cause) => format!("{cause} It had come to {doing}; what was written before that stays."),
                None => format!("It was cancelled while {doing}; what was written before that stays."),
            };
            self.facts.datasets.clone_from(&checkpoint.datasets);
            let event = self.event_report(checkpoint).await?;
            return Ok(self.early_report(state, summary, event, checkpoint.links));
        }
        let made = checkpoint.as_ref().and_then(|from| from.event.clone()).filter(|event| event.created);
        if let Some(event) = made {
            self.take_back(&event, checkpoint.as_ref()).await?;
        }
        for counts in self.facts.datasets.values_mut() {
            // What was good was left out with the bad: every record and file is accounted for.
            counts.rejected = counts.read + counts.rebuilt - counts.merged;
            (counts.created, counts.updated, counts.unchanged, counts.gone) = (0, 0, 0, 0);
        }
        self.facts.media.stored = 0;
        self.facts.media.missing = self.facts.media.referenced - self.facts.media.remote;
        let summary = cause.unwrap_or_else(|| "It was cancelled; nothing of it is in.".to_owned());
        Ok(self.early_report(state, summary, None, LinkCounts::default()))
    }

    /// A run that has checked nothing itself takes the problems that an earlier one has written.
    async fn recall_problems(&mut self) -> Result<(), RunError> {
        if self.facts.problems.is_empty() {
            self.facts.problems = problems_of_jobs::list(&self.services.database, self.import.lease.job).await?;
        }
        if self.facts.problem_counts.is_empty() {
            for problem in &self.facts.problems {
                *self.facts.problem_counts.entry(problem.code).or_insert(0) += 1;
            }
        }
        Ok(())
    }

    /// A report with its problems, which are not rows yet, or not all of them.
    fn early_report(
        &mut self,
        state: JobState,
        summary: String,
        event: Option<EventReport>,
        links: LinkCounts,
    ) -> Report {
        let problems = std::mem::take(&mut self.facts.problems);
        Report { problems, ..self.report(state, summary, event, links) }
    }

    /// The checkpoint as it is in the database now: a run may have written some since it was claimed.
    pub(super) async fn latest_checkpoint(&self) -> Result<Option<Checkpoint>, RunError> {
        let now = jobs::reload(&self.services.database, &self.import.lease).await?;
        Ok(now.checkpoint.and_then(|text| serde_json::from_str(&text).ok()))
    }
}

fn internal(why: &str) -> Problem {
    Problem::new(
        Code::Internal,
        format!("the import failed in a way that is not the archive's fault: {why}"),
        "ask the admin to look into the log, and drop the archive again",
    )
}

/// A clause as a sentence of its own.
fn sentence(clause: &str) -> String {
    capital(clause) + "."
}
