//! A dry run: what an import would do, without doing it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use super::feed::{self, Feed};
use super::load::ROWS_AT_ONCE;
use super::plan::Target;
use super::write::{self, EventState, Memory};
use super::{Import, Mode, OnProgress, Run, RunError, Services};
use crate::model::report::{ArchiveReport, DatasetCounts, Datasets, LinkCounts, MediaCounts};
use crate::model::words::counted;
use crate::model::{Code, Dataset, JobState, Problem};
use crate::pace::Turn;
use crate::store::events::EventRow;
use crate::store::records::{self, Writing};

/// What an import of an archive would do, as `eventferry check` says it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plan {
    /// The state in which the job would end.
    pub state: JobState,
    /// Why, in one sentence.
    pub summary: String,
    /// The archive.
    pub archive: ArchiveReport,
    /// The event that it would go into; none where a new one would be made.
    pub event: Option<PlannedEvent>,
    /// What would become of the records.
    pub datasets: Datasets,
    /// References to media.
    pub media: MediaCounts,
    /// Every problem, in the order of the archive.
    pub problems: Vec<Problem>,
    /// How many of each code.
    pub problem_counts: BTreeMap<Code, u64>,
}

/// An event that is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlannedEvent {
    /// Its id here.
    pub id: i64,
    /// Its name.
    pub name: String,
}

/// Why no plan could be made.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The file or the disk cannot be read.
    #[error("could not read the archive: {0}")]
    Io(std::io::Error),
    /// Something else failed.
    #[error("could not check the archive: {0}")]
    Failed(String),
}

/// Checks an archive and says what importing it would do. Nothing is written; the bookkeeping goes to `import.folder`.
///
/// # Errors
/// Where the file cannot be read or the database is out of reach; a bad archive is a plan that says so.
pub async fn plan(
    services: &Services,
    import: &Import,
    turn: Turn,
    on_progress: OnProgress,
) -> Result<Plan, PlanError> {
    let stop = tokio_util::sync::CancellationToken::new();
    let turn = Arc::new(tokio::sync::Mutex::new(turn));
    let mut run =
        Run { services, import, turn, stop: &stop, on_progress, mode: Mode::Dry, facts: super::Facts::default() };
    match run.plan().await {
        Ok(plan) => Ok(plan),
        Err(RunError::Refused(problem)) => Ok(run.refused(*problem)),
        Err(RunError::Io(error)) => Err(PlanError::Io(error)),
        Err(RunError::Changed(why) | RunError::Outage(why) | RunError::Broken(why) | RunError::Panicked(why)) => {
            Err(PlanError::Failed(why))
        }
        Err(
            RunError::Cancelled
            | RunError::Interrupted
            | RunError::BlockedOn(_)
            | RunError::Held(..)
            | RunError::LeaseLost
            | RunError::Replan,
        ) => Err(PlanError::Failed("it was stopped".to_owned())),
    }
}

impl Run<'_> {
    async fn plan(&mut self) -> Result<Plan, RunError> {
        let opened = self.open().await?;
        if let Some(report) = self.duplicate(&opened.head).await? {
            let event = report.event.map(|event| PlannedEvent { id: event.id, name: event.name });
            return Ok(self.plan_of(JobState::Duplicate, report.summary, event));
        }
        let policy = self.policy(&opened.head)?;
        let target = self.target(&opened.head, &policy, None).await?;
        let is_supplement = opened.head.directives.supplement_of.is_some();
        let (feed, _) = self.check(opened.archive, opened.layout, &opened.head, &target, is_supplement).await?;
        if let Some(refusal) = self.refusal(&feed, &opened.head, &target, policy.on_error) {
            return Err(RunError::Refused(Box::new(refusal)));
        }
        let event = match &target {
            Target::New { .. } => {
                for counts in self.facts.datasets.values_mut() {
                    counts.created = counts.read + counts.rebuilt - counts.rejected - counts.merged;
                }
                None
            }
            Target::Existing(event) => {
                self.compare(&feed, event, &target, is_supplement).await?;
                Some(PlannedEvent { id: event.id, name: event.name.clone().unwrap_or_default() })
            }
        };
        let errors = self.error_count();
        let (state, summary) = if errors == 0 {
            (JobState::Succeeded, "Everything would be imported.".to_owned())
        } else if feed.checked.fails() {
            return Ok(self.plan_of(JobState::Failed, "Nothing would be imported.".to_owned(), None));
        } else {
            (
                JobState::Partial,
                format!("It would be imported, but {} would leave something out.", counted(errors, "error", "errors")),
            )
        };
        Ok(self.plan_of(state, summary, event))
    }

    /// Meets every record as the load would, and takes it back.
    async fn compare(
        &mut self,
        feed: &Arc<Feed>,
        event: &EventRow,
        target: &Target,
        is_supplement: bool,
    ) -> Result<(), RunError> {
        let database = &self.services.database;
        let writing = Writing { event_id: event.id, job: self.import.lease.job, now: self.services.clock.now() };
        let state = EventState { was_there: true, has_unresolved: false, is_told: false };
        let mut memory = Memory::default();
        feed.archive.begin_pass();
        for dataset in Dataset::ALL {
            let mut counts = self.facts.datasets.get(&dataset).copied().unwrap_or_default();
            if counts.read + counts.rebuilt > 0 {
                let pacer = self.services.pacer.clone();
                let size: feed::ChunkSize = Arc::new(move || pacer.throttle());
                let mut chunks = feed::start(feed, dataset, 0, size);
                while let Some(chunk) = chunks.recv().await {
                    let chunk = chunk?;
                    let mut tx = database.begin().await?;
                    for written in
                        write_chunk(&mut tx, feed, dataset, &writing, state, target, &mut memory, chunk.records).await?
                    {
                        counts.created += written.created;
                        counts.updated += written.updated;
                        counts.unchanged += written.unchanged;
                    }
                    tx.rollback().await?;
                    // What was made in the transaction is gone with it.
                    memory = Memory::default();
                    if chunk.is_last {
                        break;
                    }
                }
            }
            if feed.checked.tells_what_is_gone(dataset) && !is_supplement && dataset != Dataset::Event {
                counts.gone = self.count_gone(feed, dataset, event.id).await?;
            }
            self.facts.datasets.insert(dataset, counts);
        }
        Ok(())
    }

    async fn count_gone(&self, feed: &Feed, dataset: Dataset, event: i64) -> Result<u64, RunError> {
        let Some(definitions) = feed.checked.definitions.get(&dataset) else { return Ok(0) };
        let (mut gone, mut after) = (0, 0);
        loop {
            let mut tx = self.services.database.begin().await?;
            let page = records::page(&mut tx, dataset, event, after, ROWS_AT_ONCE as i64).await?;
            tx.rollback().await?;
            let Some(last) = page.last else { return Ok(gone) };
            for (source_id, _) in page.records {
                gone += u64::from(!definitions.has(&source_id)?);
            }
            after = last;
        }
    }

    fn refused(&mut self, problem: Problem) -> Plan {
        let summary = format!("Nothing would be imported: {}.", problem.message);
        *self.facts.problem_counts.entry(problem.code).or_insert(0) += 1;
        self.facts.problems.insert(0, problem);
        for counts in self.facts.datasets.values_mut() {
            counts.rejected = counts.read + counts.rebuilt - counts.merged;
        }
        self.plan_of(JobState::Failed, summary, None)
    }

    fn plan_of(&mut self, state: JobState, summary: String, event: Option<PlannedEvent>) -> Plan {
        let report = self.report(state, summary, None, LinkCounts::default());
        Plan {
            state,
            summary: report.summary,
            archive: report.archive,
            event,
            datasets: report.datasets,
            media: report.media,
            problems: std::mem::take(&mut self.facts.problems),
            problem_counts: report.problem_counts,
        }
    }
}

#[expect(clippy::too_many_arguments, reason = "the two ways of writing a chunk want different ones")]
async fn write_chunk(
    tx: &mut crate::db::Tx,
    feed: &Feed,
    dataset: Dataset,
    writing: &Writing,
    state: EventState,
    target: &Target,
    memory: &mut Memory,
    chunk: Vec<feed::LoadRecord>,
) -> Result<Vec<DatasetCounts>, RunError> {
    if dataset != Dataset::Event {
        return Ok(vec![
            write::write(tx, feed, dataset, writing, state, memory, write::prepare(memory, chunk)).await?.counts,
        ]);
    }
    let mut counts = Vec::new();
    for record in chunk {
        counts.push(write::write_event(tx, feed, writing, target, false, record).await?.counts);
    }
    Ok(counts)
}
