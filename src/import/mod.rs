//! An archive becomes an event: check, plan, load, media, report.
//!
//! [`run`] is the whole way. Nothing is written to the domain tables before the check has read every byte; from then on
//! only trouble outside (disk, database) can stop it, and the same job goes on after its last chunk.

mod cells;
mod check;
mod context;
mod definitions;
mod dry;
mod ends;
mod error;
mod examine;
mod feed;
mod head;
mod hold;
mod links;
mod load;
mod outgoing;
mod plan;
mod problems;
mod references;
mod rejects;
mod scratch;
mod source;
mod write;

use std::cell::Cell;
use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono_tz::Tz;
use sha2::{Digest, Sha256};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::archive::{self, Archive, Limits};
use crate::clock::{Clock, Timestamp};
use crate::config::{Account, Allow};
use crate::db::Database;
use crate::format::zone;
use crate::fsx::{self, FileIdentity};
use crate::model::job::RetryReason;
use crate::model::report::{Datasets, EventReport, LinkCounts, MediaCounts};
use crate::model::words::counted;
use crate::model::{Code, Dataset, JobId, JobState, OnError, OnExisting, Problem, Report};
use crate::pace::{Audience, Pacer, Turn};
use crate::signal::{FailPoint, Signals};
use crate::storage::{MediaStore, hex};
use crate::store::jobs::{self, Hold, Lease, SourceTurn};
use crate::store::{events, records};

use check::{CheckError, CheckInput};
pub use context::LONGEST_LOOK;
use context::{Context, closed};
pub use dry::{Plan, PlanError, PlannedEvent, plan};
use error::{RunError, Stop};
pub use examine::examine;
use feed::Feed;
use head::Head;
pub use load::Checkpoint;
use load::Stage;
use outgoing::Listening;
use plan::Target;
use source::{Layout, ReadError};

/// What serves every import.
#[derive(Clone, Debug)]
pub struct Services {
    /// The database.
    pub database: Database,
    /// The time.
    pub clock: Clock,
    /// Fail points.
    pub signals: Signals,
    /// The media store.
    pub media: MediaStore,
    /// What an archive may take.
    pub limits: Limits,
    /// How fast all imports together may be.
    pub pacer: Pacer,
    /// Handlers.
    pub audience: Audience,
}

/// One import.
#[derive(Clone, Debug)]
pub struct Import {
    /// The right to work on the job.
    pub lease: Lease,
    /// Whose it is, with the policies in force.
    pub account: Account,
    /// The claimed archive.
    pub archive: PathBuf,
    /// Where bookkeeping may be written; on the same file system as nothing in particular.
    pub folder: PathBuf,
    /// The dropped file's name, for people.
    pub archive_name: String,
    /// When work on it began.
    pub started: Timestamp,
    /// Whether bytes that were imported before are imported again.
    pub again: bool,
    /// Where an earlier run has stopped, as it wrote it.
    pub checkpoint: Option<String>,
    /// Whether a person wants it cancelled already.
    pub cancel_requested: bool,
    /// The job that this one repeats.
    pub retry_of: Option<JobId>,
    /// Whether handlers are called; none where the archive or its account says so.
    pub with_handlers: Option<bool>,
    /// Whether it had to wait when it was here last.
    pub was_held: bool,
}

/// What an import is about.
#[derive(Clone, Copy, Debug)]
pub enum Step<'a> {
    /// It goes on.
    At {
        /// What it does, as a phrase in lower case.
        stage: &'a str,
        /// Records of the stage that are done.
        done: u64,
        /// Records of the stage in all; 0 where that is not known.
        total: u64,
    },
    /// It waits.
    Waits {
        /// What for.
        hold: &'a Hold,
        /// Since when.
        since: Timestamp,
    },
}

/// Told of progress; what it does must be quick.
pub type OnProgress = Arc<dyn Fn(Step<'_>) + Send + Sync>;

/// How a run ended. A report is the outcome; the problems in it, where it has some, take the place of the job's rows.
#[derive(Debug)]
pub enum RunEnd {
    /// There is an outcome.
    Outcome(Box<Report>),
    /// Another import into the same event is before this one.
    BlockedOn(JobId),
    /// It has to wait for something that is as it should be.
    Held {
        /// What for.
        hold: Hold,
        /// How long until that is looked at again.
        look_after: Duration,
    },
    /// The daemon stops; the job goes on after the last chunk.
    Interrupted,
    /// Something outside is in the way and will pass.
    Outage(String),
    /// Trying again may help, not for ever. Begins with the words of a [`RetryReason`].
    Retry(String),
    /// The job is another's now.
    LeaseLost,
}

/// Imports the archive of a job: from its check to the frozen outcome.
pub async fn run(
    services: &Services,
    import: &Import,
    turn: Arc<Mutex<Turn>>,
    stop: &CancellationToken,
    on_progress: OnProgress,
) -> RunEnd {
    let mut run = Run { services, import, turn, stop, on_progress, mode: Mode::Real, facts: Facts::default() };
    let mut from = run.checkpoint();
    for _ in 0..REPLANS {
        let end = match from {
            Ok(from) => run.once(from).await,
            Err(error) => Err(error),
        };
        match end {
            Ok(report) => return RunEnd::Outcome(Box::new(report)),
            // Problem rows may have been written by now.
            Err(RunError::Replan) => from = run.latest_checkpoint().await,
            Err(error) => return run.end_of(error).await,
        }
    }
    RunEnd::Retry(RetryReason::EventContested.words().to_owned())
}

/// Ends a job as failed for a reason outside of its archive: what it has made is taken back.
pub async fn give_up(
    services: &Services,
    import: &Import,
    turn: Arc<Mutex<Turn>>,
    stop: &CancellationToken,
    problem: Problem,
) -> RunEnd {
    let on_progress: OnProgress = Arc::new(|_| {});
    let mut run = Run { services, import, turn, stop, on_progress, mode: Mode::Real, facts: Facts::default() };
    run.fail(problem).await
}

/// Ends a job as cancelled that has come to an outcome; this one is dropped.
pub async fn cancel(
    services: &Services,
    import: &Import,
    turn: Arc<Mutex<Turn>>,
    stop: &CancellationToken,
    outcome: Report,
) -> RunEnd {
    let on_progress: OnProgress = Arc::new(|_| {});
    let facts = Facts {
        sha256: outcome.archive.sha256,
        bytes: outcome.archive.bytes,
        event_name: outcome.event.map(|event| event.name),
        datasets: outcome.datasets,
        media: outcome.media,
        problems: outcome.problems,
        problem_counts: outcome.problem_counts,
        related_job: outcome.related_job,
    };
    let mut run = Run { services, import, turn, stop, on_progress, mode: Mode::Real, facts };
    run.end_early(JobState::Cancelled, None).await
}

/// The name, in the job's folder, of the archive with what was rejected; it is there before the outcome is.
pub const REJECTED_FILE: &str = "rejected.zip";

/// Steps of the check between two looks for a wish to cancel.
const STEPS_BETWEEN_NOTES: u32 = 10;

/// How often the choice of an event is made anew before the job waits.
const REPLANS: u32 = 5;

/// Reads an archive's head: which event it speaks of. None where that cannot be told.
///
/// # Errors
/// Where the disk fails.
pub fn peek(file: File, limits: &Limits) -> io::Result<Option<String>> {
    let archive = match Archive::open(file, limits) {
        Ok(archive) => archive,
        Err(archive::OpenError::Io(error)) => return Err(error),
        Err(archive::OpenError::Fault(_)) => return Ok(None),
    };
    let layout = source::layout(&archive);
    match head::read(&archive, &layout, limits) {
        Ok(head) => Ok(head.source_key()),
        Err(ReadError::Io(error)) => Err(error),
        Err(ReadError::Archive(_) | ReadError::File(_) | ReadError::Stopped(_)) => Ok(None),
    }
}

/// What is known of the archive, for the report of whatever end it takes.
#[derive(Debug, Default)]
struct Facts {
    sha256: Option<String>,
    bytes: u64,
    event_name: Option<String>,
    datasets: Datasets,
    media: MediaCounts,
    problems: Vec<Problem>,
    problem_counts: BTreeMap<Code, u64>,
    related_job: Option<JobId>,
}

struct Run<'a> {
    services: &'a Services,
    import: &'a Import,
    turn: Arc<Mutex<Turn>>,
    stop: &'a CancellationToken,
    on_progress: OnProgress,
    mode: Mode,
    facts: Facts,
}

/// Whether anything is to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Real,
    Dry,
}

/// An archive that was opened.
struct Opened {
    archive: Archive,
    layout: Layout,
    head: Head,
    watched: File,
    identity: FileIdentity,
}

impl Run<'_> {
    /// One go at the whole way.
    async fn once(&mut self, from: Option<Checkpoint>) -> Result<Report, RunError> {
        self.facts = Facts::default();
        let mut from = from.filter(|from| !from.is_fresh());
        if let Some((event, taking_back)) =
            from.as_ref().and_then(|from| from.event.clone().map(|event| (event, from.taking_back)))
            && (taking_back || events::get(&self.services.database, event.id).await?.is_none())
        {
            self.take_back(&event, from.as_ref()).await?;
            from = None;
        }
        if self.import.cancel_requested && from.is_none() {
            return Err(RunError::Cancelled);
        }
        self.gate().await?;
        let opened = self.open().await?;
        self.take_source_turn(&opened.head).await?;
        self.note_handlers(&opened.head).await?;
        if from.is_none()
            && let Some(report) = self.duplicate(&opened.head).await?
        {
            return Ok(report);
        }
        let policy = self.policy(&opened.head)?;
        let target = self.target(&opened.head, &policy, from.as_ref()).await?;
        self.take_event_turn(&target).await?;
        let is_supplement = opened.head.directives.supplement_of.is_some();
        self.facts.related_job = opened.head.directives.supplement_of.or(self.import.retry_of);
        let Opened { archive, layout, head, watched, identity } = opened;
        let (feed, problems) = self.check(archive, layout, &head, &target, is_supplement).await?;
        if let Some(from) = from.as_ref().filter(|from| from.stage > Stage::Problems) {
            // What was found before the event was chosen is not found again.
            self.facts.problem_counts.clone_from(&from.problem_counts);
        }
        self.services.signals.reach(FailPoint::Checked)?;
        let mut context = Context {
            database: &self.services.database,
            clock: &self.services.clock,
            signals: &self.services.signals,
            media: &self.services.media,
            account: &self.import.account,
            lease: self.import.lease,
            pacer: &self.services.pacer,
            audience: &self.services.audience,
            with_handlers: policy.with_handlers,
            listening: Listening::default(),
            chunk_begun: Duration::ZERO,
            records_in_time: usize::MAX,
            turn: Arc::clone(&self.turn),
            stop: self.stop,
            on_progress: Arc::clone(&self.on_progress),
            on_existing: policy.on_existing,
            is_supplement,
            watched,
            identity,
        };
        if let Some(refusal) = self.refusal(&feed, &head, &target, policy.on_error) {
            return Err(RunError::Refused(Box::new(refusal)));
        }
        let checkpoint = load::load(&mut context, &feed, &head, &target, &problems, from).await?;
        context.check_source()?;
        let report = self.succeed(&checkpoint).await?;
        if report.state == JobState::Partial
            && let Some(event) = &report.event
        {
            let (path, event, job) = (self.import.folder.join(REJECTED_FILE), event.id, self.import.lease.job);
            let written = tokio::task::spawn_blocking(move || rejects::write(&path, &feed, event, job)).await;
            written??;
        }
        Ok(report)
    }

    /// What is as it was when the job was last here need not be checked again to see that it has to wait on.
    async fn gate(&self) -> Result<(), RunError> {
        if self.import.cancel_requested {
            return Ok(());
        }
        if let Some((window, opens)) = self.services.pacer.closed_until() {
            return Err(closed(window, opens, self.services.clock.now()));
        }
        if !self.import.was_held {
            return Ok(());
        }
        let (database, clock) = (&self.services.database, &self.services.clock);
        let interests = self.services.audience.of_account(&self.import.account.name);
        let listening = Listening { interests, off: Vec::new() };
        match hold::look(database, &listening, self.import.lease.job, clock.now()).await?.hold {
            Some(hold) => Err(RunError::Held(hold, hold::LOOK_AGAIN)),
            None => Ok(jobs::go_on(database, &self.import.lease).await?),
        }
    }

    /// What the archive says of handlers is remembered, for the end of the job.
    async fn note_handlers(&self, head: &Head) -> Result<(), RunError> {
        match (self.import.with_handlers, head.directives.with_handlers) {
            (None, Some(are_called)) if self.import.account.allows(Allow::WithHandlers) => {
                Ok(jobs::note_handlers(&self.services.database, &self.import.lease, are_called).await?)
            }
            _ => Ok(()),
        }
    }

    async fn take_back(&self, event: &load::EventPlace, from: Option<&Checkpoint>) -> Result<(), RunError> {
        load::take_back(self.services, &self.turn, &self.import.account.name, &self.import.lease, event, from).await
    }

    fn checkpoint(&self) -> Result<Option<Checkpoint>, RunError> {
        let Some(text) = &self.import.checkpoint else { return Ok(None) };
        serde_json::from_str(text)
            .map(Some)
            .map_err(|error| RunError::Broken(format!("the checkpoint of an earlier run cannot be read: {error}")))
    }

    async fn open(&mut self) -> Result<Opened, RunError> {
        let (path, limits) = (self.import.archive.clone(), self.services.limits.clone());
        let is_claimed = self.mode == Mode::Real;
        let opened = tokio::task::spawn_blocking(move || open(&path, &limits, is_claimed)).await;
        let (opened, sha256) = opened??;
        self.facts.bytes = opened.identity.size;
        self.facts.sha256 = Some(sha256);
        self.facts.event_name = opened.head.event.as_ref().map(|event| event.name.clone());
        Ok(opened)
    }

    async fn take_source_turn(&self, head: &Head) -> Result<(), RunError> {
        let Some(key) = self.source_key(head).await? else { return Ok(()) };
        match jobs::take_source_turn(&self.services.database, &self.import.lease, &key).await? {
            SourceTurn::Granted => Ok(()),
            SourceTurn::BlockedOn(other) => Err(RunError::BlockedOn(other)),
        }
    }

    /// Two archives may name one event each in its own way, and have no key in common.
    async fn take_event_turn(&self, target: &Target) -> Result<(), RunError> {
        let Target::Existing(event) = target else { return Ok(()) };
        match jobs::take_event_turn(&self.services.database, &self.import.lease, &self.import.account.name, event.id)
            .await?
        {
            SourceTurn::Granted => Ok(()),
            SourceTurn::BlockedOn(other) => Err(RunError::BlockedOn(other)),
        }
    }

    /// Where the archive names the event by its id here, it waits for imports of that event's own source.
    async fn source_key(&self, head: &Head) -> Result<Option<String>, RunError> {
        let Some(id) = head.directives.event else { return Ok(head.source_key()) };
        Ok(events::get(&self.services.database, id).await?.map(|event| {
            let id = event.identifier.filter(|text| !text.trim().is_empty()).unwrap_or(event.source_id);
            head::source_key(&event.root_url, &id)
        }))
    }

    /// The outcome where the same bytes were imported last.
    async fn duplicate(&mut self, head: &Head) -> Result<Option<Report>, RunError> {
        if self.import.again || head.directives.again == Some(true) {
            return Ok(None);
        }
        let Some(sha256) = self.facts.sha256.clone() else { return Ok(None) };
        let same = events::with_last_bytes(&self.services.database, &self.import.account.name, &sha256).await?;
        let Some(same) = same.into_iter().next() else { return Ok(None) };
        self.facts.related_job = same.job;
        let summary = match same.job {
            Some(job) => format!("The same file was imported by job {job}; nothing was changed."),
            None => "The same file was imported before; nothing was changed.".to_owned(),
        };
        let event = EventReport { id: same.event_id, name: same.event_name.unwrap_or_default(), created: false };
        Ok(Some(self.report(JobState::Duplicate, summary, Some(event), LinkCounts::default())))
    }

    fn policy(&self, head: &Head) -> Result<Policy, RunError> {
        let account = &self.import.account;
        let directives = &head.directives;
        let asked = [
            (directives.on_error.is_some(), Allow::OnError, "on_error"),
            (directives.on_existing.is_some(), Allow::OnExisting, "on_existing"),
            (directives.event.is_some() && directives.supplement_of.is_none(), Allow::Event, "event"),
            (directives.again.is_some(), Allow::Again, "again"),
            (directives.with_handlers.is_some(), Allow::WithHandlers, "with_handlers"),
        ];
        for (is_asked, allow, key) in asked {
            if is_asked && !account.allows(allow) {
                return Err(RunError::Refused(Box::new(
                    Problem::new(
                        Code::PolicyInvalid,
                        format!("the archive asks for `{key}`, which this account may not; nothing was imported"),
                        "leave it out, or ask the admin to allow it for the account",
                    )
                    .in_file(source::DIRECTIVES_FILE)
                    .in_field(key),
                )));
            }
        }
        Ok(Policy {
            on_error: directives.on_error.unwrap_or(account.on_error),
            on_existing: directives.on_existing.unwrap_or(account.on_existing),
            with_handlers: self.import.with_handlers.or(directives.with_handlers).unwrap_or(account.with_handlers),
        })
    }

    async fn target(&self, head: &Head, policy: &Policy, from: Option<&Checkpoint>) -> Result<Target, RunError> {
        let database = &self.services.database;
        if let Some(place) = from.and_then(|from| from.event.as_ref()) {
            let event = events::get(database, place.id).await?;
            return Ok(Target::Existing(Box::new(event.ok_or(RunError::Replan)?)));
        }
        if let Some(id) = head.directives.event {
            let event = events::get(database, id).await?.filter(|event| event.account == self.import.account.name);
            return match event {
                Some(event) => Ok(Target::Existing(Box::new(event))),
                None => Err(RunError::Refused(Box::new(
                    Problem::new(
                        Code::EventUnknown,
                        format!("the archive wants to go into event {id}, which this account does not have"),
                        if head.directives.supplement_of.is_some() {
                            "the event was deleted since: drop your whole archive again"
                        } else {
                            "correct the number, or leave it out"
                        },
                    )
                    .in_file(source::DIRECTIVES_FILE)
                    .in_field("event")
                    .with_value(&id.to_string()),
                ))),
            };
        }
        let Some(event) = &head.event else { return Ok(Target::New { warning: None }) };
        let candidates = events::candidates(
            database,
            &self.import.account.name,
            &head.root_url,
            &event.source_id,
            event.identifier.as_deref(),
        )
        .await?;
        plan::choose(&candidates, event, policy.on_existing).map_err(RunError::Refused)
    }

    async fn check(
        &mut self,
        archive: Archive,
        layout: Layout,
        head: &Head,
        target: &Target,
        is_supplement: bool,
    ) -> Result<(Arc<Feed>, Vec<Problem>), RunError> {
        let existing = match target {
            Target::Existing(event) => Some(event.id),
            Target::New { .. } => None,
        };
        let zone = zone_of(head, target);
        let (services, import) = (self.services.clone(), self.import.clone());
        let (turn, stop, mode) = (Arc::clone(&self.turn), self.stop.clone(), self.mode);
        let on_progress = Arc::clone(&self.on_progress);
        let (runtime, job) = (tokio::runtime::Handle::current(), self.import.lease.job);
        let checked = tokio::task::spawn_blocking(move || {
            let known = |dataset: Dataset, ids: Vec<String>| -> Result<HashSet<String>, CheckError> {
                let Some(event) = existing.filter(|_| !ids.is_empty()) else { return Ok(HashSet::new()) };
                let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
                Ok(runtime
                    .block_on(records::known(&services.database, dataset, event, &ids, job))?
                    .into_iter()
                    .collect())
            };
            let steps = Cell::new(0_u32);
            let step = |dataset: Dataset, read: u64| -> Result<(), CheckError> {
                if stop.is_cancelled() {
                    return Err(CheckError::Stopped(Stop::Soft));
                }
                let stage = format!("checking {}", dataset.plural());
                on_progress(Step::At { stage: &stage, done: read, total: 0 });
                steps.set(steps.get().wrapping_add(1));
                if mode == Mode::Real && read > 0 && steps.get().is_multiple_of(STEPS_BETWEEN_NOTES) {
                    match runtime.block_on(jobs::note_progress(&services.database, &import.lease, &stage, read, 0)) {
                        Ok(jobs::CancelRequested(false)) => {}
                        Ok(jobs::CancelRequested(true)) => return Err(CheckError::Stopped(Stop::Cancelled)),
                        Err(jobs::LeaseError::Fenced(_)) => return Err(CheckError::Stopped(Stop::LeaseLost)),
                        Err(jobs::LeaseError::Database(error)) => return Err(error.into()),
                    }
                }
                runtime.block_on(async { turn.lock().await.breathe().await });
                Ok(())
            };
            let limits = services.limits.clone();
            let checked = check::check(&CheckInput {
                archive: &archive,
                layout: &layout,
                limits: &limits,
                scratch: &import.folder,
                zone,
                is_supplement,
                known: &known,
                step: &step,
            })?;
            Ok::<_, CheckError>(Feed { archive, layout, limits, zone, checked })
        });
        let mut feed = checked.await??;
        let warning = match target {
            Target::New { warning } => warning.as_deref().cloned(),
            Target::Existing(_) => None,
        };
        for problem in head.problems.iter().cloned().chain(warning) {
            feed.checked.problems.add(problem);
        }
        self.facts.media = feed.checked.media;
        self.facts.datasets.clone_from(&feed.checked.counts);
        self.facts.problem_counts = feed.checked.problems.counts();
        let problems = feed.checked.problems.list();
        self.facts.problems.clone_from(&problems);
        Ok((Arc::new(feed), problems))
    }

    /// Why nothing of a checked archive may go in.
    fn refusal(&self, feed: &Feed, head: &Head, target: &Target, on_error: OnError) -> Option<Problem> {
        let checked = &feed.checked;
        let event = checked.counts.get(&Dataset::Event).copied().unwrap_or_default();
        let has_event = event.read > event.rejected && head.event.is_some();
        if matches!(target, Target::New { .. }) && !has_event {
            let problem = if event.read > 0 {
                Problem::new(
                    Code::EventMissing,
                    "the record of the event could not be used; without it there is no event to import into",
                    "correct what the other problems say of the file `event`",
                )
            } else {
                Problem::new(
                    Code::EventMissing,
                    "the archive has no readable file `event`; without it there is no event to import into",
                    source::where_the_event_is(&feed.archive, &feed.layout),
                )
            };
            return Some(problem.in_file("event"));
        }
        let errors = checked.problems.errors();
        (on_error == OnError::Reject && errors > 0).then(|| {
            Problem::new(
                Code::RejectedAsAWhole,
                format!(
                    "{} found, and {} all or nothing; nothing was imported",
                    counted(errors, "error was", "errors were"),
                    if head.directives.on_error.is_some() {
                        "the archive's own `eventferry.json` wants"
                    } else {
                        "this account wants"
                    }
                ),
                "mend the errors and drop the archive again",
            )
        })
    }
}

struct Policy {
    on_error: OnError,
    on_existing: OnExisting,
    with_handlers: bool,
}

/// Opens the archive, hashes its bytes, and reads its head.
fn open(path: &std::path::Path, limits: &Limits, is_claimed: bool) -> Result<(Opened, String), RunError> {
    let mut watched = match fsx::open_regular(path) {
        Ok(file) => file,
        Err(error) if is_claimed && is_lost(path, &error) => return Err(RunError::Changed(error.to_string())),
        Err(error) => return Err(RunError::Io(io::Error::other(error))),
    };
    let identity = FileIdentity::of_file(&watched)?;
    let file = watched.try_clone()?;
    let archive = match Archive::open(file, limits) {
        Ok(archive) => archive,
        Err(archive::OpenError::Io(error)) => return Err(error.into()),
        Err(archive::OpenError::Fault(fault)) => {
            return Err(RunError::Refused(Box::new(source::problem_of(&fault))));
        }
    };
    let sha256 = hash(&mut watched)?;
    let layout = source::layout(&archive);
    let head = match head::read(&archive, &layout, limits) {
        Ok(head) => head,
        Err(ReadError::Io(error)) => return Err(error.into()),
        Err(ReadError::Archive(problem) | ReadError::File(problem) | ReadError::Stopped(problem)) => {
            return Err(RunError::Refused(Box::new(problem)));
        }
    };
    Ok((Opened { archive, layout, head, watched, identity }, sha256))
}

/// Whether a claimed archive is not what was claimed, and will not be by itself. Where its whole folder is gone, so may be the disk.
fn is_lost(path: &std::path::Path, error: &fsx::OpenError) -> bool {
    match error {
        fsx::OpenError::NotRegular { .. } | fsx::OpenError::HardLinked { .. } => true,
        fsx::OpenError::Io { source, .. } => {
            source.kind() == io::ErrorKind::NotFound && path.parent().is_some_and(std::path::Path::is_dir)
        }
    }
}

fn hash(file: &mut File) -> io::Result<String> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex(&hash.finalize())),
            read => hash.update(&buffer[..read]),
        }
    }
}

fn zone_of(head: &Head, target: &Target) -> Tz {
    let known = match target {
        Target::Existing(event) => event.timezone.as_deref().and_then(zone::recognise).map(|found| found.zone),
        Target::New { .. } => None,
    };
    head.event.as_ref().and_then(|event| event.zone).or(known).unwrap_or(Tz::UTC)
}
