//! Exports: an event is read in one state of the tables, rendered format by format, checked, and published.
//!
//! [`run`] is one job over any number of events. What goes wrong with one event leaves its last good run and the other
//! events alone; only trouble of the database stops the job, which is then tried again.

pub mod archive;
pub mod calendar;
pub mod page;
pub mod program;
mod publish;
mod read;
mod render;
pub mod report;
pub mod tables;

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::archive::Limits;
use crate::clock::{Clock, Timestamp};
use crate::db::{Database, DbError, Tx};
use crate::model::export::{ALL_EVENTS, BY_HAND, ExportRequest, Format, Keep};
use crate::model::{JobId, JobState, words};
use crate::signal::{FailPoint, Injected, Injection, Signals};
use crate::storage::MediaStore;
use crate::store::jobs::{self, Lease, LeaseError, SourceTurn};
use crate::store::programme::{self, EventHead};
use crate::store::remembered;

pub use publish::{MANIFEST, SUMS};

use archive::ArchiveOptions;
use program::{Notes, Privacy, ReadError, RenderError, Source};
use publish::EventFolder;
use read::DatabaseSource;
use report::{
    ChangesSince, EXPORT_VERSION, EventCounts, EventExport, EventState, ExportReport, ExportedEvent, FormatExport,
    NamedChange,
};

/// The key by which exports of an account take turns; no archive has a source of that name.
const TURN: &str = "exports of this account";

/// The name of the event archive.
const ARCHIVE: &str = "event.zip";

/// Changes that are named one by one.
const NAMED: i64 = 30;

/// Sessions up to which an export of nothing but the archive looks for what has changed: beyond, it would cost as much as
/// the archive.
const OBSERVED_FOR_ARCHIVES: u64 = 20_000;

/// What serves every export.
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
    /// What an import would take: an archive is held against it before it is published.
    pub limits: Limits,
    /// Where results lie.
    pub outbox: PathBuf,
    /// Where the admin's template of the page lies, if there is one. It is read anew for each run.
    pub templates: PathBuf,
}

/// One export job.
#[derive(Clone, Debug)]
pub struct Export {
    /// The right to work on the job.
    pub lease: Lease,
    /// Whose events.
    pub account: String,
    /// What is to be done.
    pub request: ExportRequest,
    /// When work on it began; the name of its runs.
    pub started: Timestamp,
}

/// Told of progress: stage, done, total.
pub type OnProgress = Arc<dyn Fn(&str, u64, u64) + Send + Sync>;

/// How a run ended.
#[derive(Debug)]
pub enum RunEnd {
    /// There is an outcome.
    Outcome(Box<ExportReport>),
    /// Another export of the account is before this one.
    BlockedOn(JobId),
    /// The daemon stops.
    Interrupted,
    /// The database is out of reach; it will pass.
    Outage(String),
    /// The job is another's now.
    LeaseLost,
}

enum Stop {
    Interrupted,
    BlockedOn(JobId),
    Cancelled,
    Outage(String),
    LeaseLost,
}

impl From<DbError> for Stop {
    fn from(error: DbError) -> Self {
        Self::Outage(error.to_string())
    }
}

impl From<LeaseError> for Stop {
    fn from(error: LeaseError) -> Self {
        match error {
            LeaseError::Fenced(_) => Self::LeaseLost,
            LeaseError::Database(error) => Self::from(error),
        }
    }
}

impl From<Injected> for Stop {
    fn from(injected: Injected) -> Self {
        match injected.injection {
            Injection::Fail => Self::Outage(injected.to_string()),
            Injection::Die => Self::LeaseLost,
        }
    }
}

/// Exports the events that a request names.
pub async fn run(services: &Services, export: &Export, stop: &CancellationToken, on_progress: OnProgress) -> RunEnd {
    let mut run = Run { services, export, stop, on_progress, missing: None };
    let mut events = Vec::new();
    let ended = run.all(&mut events).await;
    match ended {
        Ok(()) => RunEnd::Outcome(Box::new(run.report(events, None))),
        Err(Stop::Cancelled) => RunEnd::Outcome(Box::new(run.report(events, Some(JobState::Cancelled)))),
        Err(Stop::BlockedOn(job)) => RunEnd::BlockedOn(job),
        Err(Stop::Interrupted) => RunEnd::Interrupted,
        Err(Stop::Outage(reason)) => RunEnd::Outage(reason),
        Err(Stop::LeaseLost) => RunEnd::LeaseLost,
    }
}

struct Run<'a> {
    services: &'a Services,
    export: &'a Export,
    stop: &'a CancellationToken,
    on_progress: OnProgress,
    /// What was asked for and means no event, in words.
    missing: Option<String>,
}

impl Run<'_> {
    async fn all(&mut self, done: &mut Vec<EventExport>) -> Result<(), Stop> {
        // Two exports of one event at the same time would lead the same links to two places.
        match jobs::take_source_turn(&self.services.database, &self.export.lease, TURN).await? {
            SourceTurn::Granted => {}
            SourceTurn::BlockedOn(job) => return Err(Stop::BlockedOn(job)),
        }
        let clock = &self.services.clock;
        let salt = remembered::salt(&self.services.database, clock.new_id(), clock.now()).await?;
        let mut snapshot = self.services.database.begin_snapshot().await?;
        let (wanted, missing) = look_up(&mut snapshot, &self.export.account, &self.export.request).await?;
        snapshot.rollback().await?;
        self.missing = missing;
        for head in wanted {
            done.push(self.event(&head, salt).await?);
        }
        Ok(())
    }

    /// One event: what goes wrong with it alone stands in what is returned.
    async fn event(&self, head: &EventHead, salt: Uuid) -> Result<EventExport, Stop> {
        let (services, export) = (self.services, self.export);
        let name = remembered::folder_of(&services.database, head.id, &read::slug(head)).await?;
        let below = format!("{}/exports/{name}", export.account);
        let folder = EventFolder::of(&services.outbox.join(&export.account).join("exports"), &name, &export.lease);
        let began = export.started;
        if let Some(published) = folder.published_by(export.lease.job, began) {
            let run = publish::run_of(&published).unwrap_or_default();
            if publish::point_links(&folder, &published, run).is_ok() {
                return Ok(published);
            }
        }
        let mut made = EventExport {
            version: EXPORT_VERSION,
            job: export.lease.job,
            scope: export.request.scope.clone(),
            event: ExportedEvent {
                id: head.id,
                name: head.name.clone().unwrap_or_default(),
                zone: head.timezone.clone().unwrap_or_else(|| "UTC".to_owned()),
            },
            state: EventState::Failed,
            error: None,
            folder: folder.latest(&export.request.scope).and_then(|latest| latest.folder),
            private: export.request.private,
            counts: EventCounts::default(),
            formats: Vec::new(),
            notes: Notes::default(),
            changes: None,
            data_changed_at: None,
            data_read_at: None,
            exported_at: began,
        };
        let built = match folder.begin() {
            Ok(()) => self.build(head, salt, &folder, &mut made).await,
            Err(error) => Err(Trouble::Event(format!("the outbox cannot be written: {error}"))),
        };
        let published = match built {
            Ok(()) => self.publish(&folder, &below, &mut made).await,
            Err(trouble) => Err(trouble),
        };
        match published {
            Ok(()) => Ok(made),
            Err(Trouble::Event(reason)) => {
                tracing::warn!(job.id = %export.lease.job, event = head.id, reason, "an event was not exported");
                let _ = folder.discard();
                made.state = EventState::Failed;
                made.folder = folder.latest(&export.request.scope).and_then(|latest| latest.folder);
                made.error = Some(reason);
                Ok(made)
            }
            Err(Trouble::Job(stop)) => {
                let _ = folder.discard();
                Err(stop)
            }
        }
    }

    /// Renders and checks every format into the folder that is built.
    async fn build(
        &self,
        head: &EventHead,
        salt: Uuid,
        folder: &EventFolder,
        made: &mut EventExport,
    ) -> Result<(), Trouble> {
        let (services, request) = (self.services, &self.export.request);
        let mut snapshot = services.database.begin_snapshot().await?;
        let counts = programme::counts(&mut snapshot, head.id).await?;
        made.counts = EventCounts {
            sessions: counts.sessions,
            accepted: counts.accepted,
            scheduled: counts.scheduled,
            speakers: counts.speakers,
        };
        let source = DatabaseSource::open(snapshot, head, salt, self.privacy(), &mut made.notes).await?;
        made.data_changed_at = Some(source.programme().changed_at);
        made.event.zone = source.programme().zone.name().to_owned();
        if counts.sessions == 0 && counts.speakers == 0 {
            made.state = EventState::Empty;
            return Ok(source.into_snapshot().rollback().await?);
        }
        let has_programme = request.formats.iter().any(|format| *format != Format::Archive);
        let source = if has_programme || counts.sessions <= OBSERVED_FOR_ARCHIVES {
            let now = services.clock.now();
            made.data_read_at = Some(now);
            let observe = Observe { database: services.database.clone(), event: head.id, now };
            let (source, notes) = self
                .in_thread(source, made.notes.clone(), move |source, notes| {
                    render::survey(source, notes)?;
                    observe.note(source)
                })
                .await?;
            made.notes = notes;
            source
        } else {
            source
        };
        let snapshot = self.formats(source, folder, made).await?;
        Ok(snapshot.rollback().await?)
    }

    async fn formats(
        &self,
        mut source: DatabaseSource,
        folder: &EventFolder,
        made: &mut EventExport,
    ) -> Result<Tx, Trouble> {
        let formats: Vec<Format> =
            Format::ALL.into_iter().filter(|format| self.export.request.formats.contains(format)).collect();
        let total = formats.len() as u64;
        for (done, format) in formats.iter().copied().enumerate().filter(|(_, format)| *format != Format::Archive) {
            self.progress(&format!("exporting {}", format.as_str()), done as u64, total).await?;
            let (templates, building) = (self.services.templates.clone(), folder.building.clone());
            let (back, exported) = self
                .in_thread(source, None, move |source, exported| {
                    *exported = Some(render::render(format, source, &templates, &building)?);
                    Ok(())
                })
                .await?;
            source = back;
            made.formats.extend(exported);
        }
        let mut snapshot = source.into_snapshot();
        if formats.contains(&Format::Archive) {
            self.progress("exporting archive", total - 1, total).await?;
            made.formats.insert(0, self.archive(&mut snapshot, made.event.id, folder).await?);
        }
        Ok(snapshot)
    }

    async fn archive(&self, snapshot: &mut Tx, event: i64, folder: &EventFolder) -> Result<FormatExport, Trouble> {
        let options = ArchiveOptions { privacy: self.privacy(), media: self.export.request.media };
        let path = folder.building.join(ARCHIVE);
        let rendered =
            archive::render(snapshot, event, &options, &self.services.media, File::create_new(&path)?).await?;
        let (limits, building) = (self.services.limits.clone(), folder.building.clone());
        let checked = tokio::task::spawn_blocking(move || -> Result<_, RenderError> {
            let checked = archive::check(File::open(&path)?, &limits, &rendered)?;
            Ok((checked, rendered, render::file_at(&building, ARCHIVE)?))
        });
        let (checked, rendered, file) = checked.await??;
        let records: u64 = checked.records.values().sum();
        Ok(FormatExport {
            format: Format::Archive,
            files: vec![file],
            sessions: rendered.sessions,
            speakers: rendered.speakers,
            checked: format!("read back as an import would: {records} records"),
            notes: rendered.notes,
        })
    }

    fn privacy(&self) -> Privacy {
        if self.export.request.private { Privacy::Private } else { Privacy::Public }
    }

    /// Runs what blocks in a thread that may, and gives back what it was given.
    async fn in_thread<T: Send + 'static>(
        &self,
        source: DatabaseSource,
        mut with: T,
        work: impl FnOnce(&DatabaseSource, &mut T) -> Result<(), RenderError> + Send + 'static,
    ) -> Result<(DatabaseSource, T), Trouble> {
        let ended = tokio::task::spawn_blocking(move || {
            let result = work(&source, &mut with);
            (source, with, result)
        });
        let (source, with, result) = ended.await?;
        result?;
        Ok((source, with))
    }

    async fn publish(&self, folder: &EventFolder, below: &str, made: &mut EventExport) -> Result<(), Trouble> {
        let (services, export) = (self.services, self.export);
        if made.state == EventState::Empty {
            return Ok(folder.discard()?);
        }
        self.progress("publishing", 0, 0).await?;
        let since = remembered::last_run(&services.database, made.event.id, &export.request.scope).await?;
        if let Some(since) = since.filter(|_| made.data_read_at.is_some()) {
            made.changes = Some(self.changes(made.event.id, since).await?);
        }
        let (thread_folder, scope) = (folder.clone(), export.request.scope.clone());
        let looked = tokio::task::spawn_blocking(move || {
            let before = thread_folder.latest(&scope);
            let whole = before.as_ref().map(|before| thread_folder.whole_files(before)).unwrap_or_default();
            (before, whole)
        });
        let (before, whole) = looked.await?;
        if before.as_ref().is_some_and(|before| empties_schedules(made, before)) {
            made.state = EventState::Empty;
            return Ok(folder.discard()?);
        }
        for file in made.formats.iter_mut().flat_map(|format| &mut format.files) {
            file.unchanged = whole.get(&file.path) == Some(&file.sha256);
        }
        if let Some(before) = before.as_ref().filter(|before| publish::is_unchanged(made, before, &whole)) {
            made.state = EventState::Unchanged;
            made.folder.clone_from(&before.folder);
            let (thread_folder, run) = (folder.clone(), made.clone());
            let (keep, now) = (export.request.keep, services.clock.now());
            let linked = tokio::task::spawn_blocking(move || -> io::Result<()> {
                thread_folder.discard()?;
                publish::point_links(&thread_folder, &run, publish::run_of(&run).unwrap_or_default())?;
                retain(&thread_folder, &run, keep, now);
                Ok(())
            });
            return Ok(linked.await??);
        }
        made.state = EventState::Published;
        made.folder = Some(below.to_owned());
        services.signals.reach(FailPoint::ExportBeforePublish).map_err(Stop::from)?;
        let (thread_folder, mut manifest, began) = (folder.clone(), made.clone(), export.started);
        let (keep, now) = (export.request.keep, services.clock.now());
        let earlier_run = before.and_then(|before| publish::run_of(&before).map(str::to_owned));
        let published = tokio::task::spawn_blocking(move || -> io::Result<EventExport> {
            publish::publish(&thread_folder, &mut manifest, earlier_run.as_deref(), began)?;
            retain(&thread_folder, &manifest, keep, now);
            Ok(manifest)
        });
        *made = published.await??;
        services.signals.reach(FailPoint::ExportAfterPublish).map_err(Stop::from)?;
        Ok(())
    }

    async fn changes(&self, event: i64, since: Timestamp) -> Result<ChangesSince, Stop> {
        let changes = remembered::changes_since(&self.services.database, event, since, NAMED).await?;
        let named = changes.named.into_iter().map(|(what, title, place)| NamedChange { what, title, place });
        Ok(ChangesSince {
            since,
            added: changes.added,
            moved: changes.moved,
            removed: changes.removed,
            changed: changes.changed,
            named: named.collect(),
        })
    }

    async fn progress(&self, stage: &str, done: u64, total: u64) -> Result<(), Stop> {
        if self.stop.is_cancelled() {
            let held = jobs::is_held(&self.services.database, &self.export.lease).await?;
            return Err(if held { Stop::Interrupted } else { Stop::LeaseLost });
        }
        let cancel = jobs::note_progress(&self.services.database, &self.export.lease, stage, done, total).await?;
        (self.on_progress)(stage, done, total);
        if cancel.0 { Err(Stop::Cancelled) } else { Ok(()) }
    }

    fn report(&self, events: Vec<EventExport>, ended: Option<JobState>) -> ExportReport {
        let request = &self.export.request;
        let good = events.iter().any(|event| matches!(event.state, EventState::Published | EventState::Unchanged));
        // An event that has nothing yet is no failure, one that has lost everything is.
        let has_lost = |event: &EventExport| event.state == EventState::Empty && event.folder.is_some();
        let bad = events.iter().any(|event| event.state == EventState::Failed || has_lost(event));
        let is_scheduled = request.due_at.is_some();
        let state = ended.unwrap_or(match (good, bad || self.missing.is_some()) {
            (true, false) => JobState::Succeeded,
            (true, true) => JobState::Partial,
            (false, false) if is_scheduled && !events.is_empty() => JobState::Succeeded,
            (false, _) => JobState::Failed,
        });
        ExportReport {
            version: EXPORT_VERSION,
            job: self.export.lease.job,
            state,
            summary: summary(state, self.missing.as_deref(), &events),
            account: self.export.account.clone(),
            scope: request.scope.clone(),
            due_at: request.due_at,
            formats: request.formats.clone(),
            events,
            started: self.export.started,
            finished: self.services.clock.now(),
        }
    }
}

fn summary(state: JobState, missing: Option<&str>, events: &[EventExport]) -> String {
    if state == JobState::Cancelled {
        return "cancelled".to_owned();
    }
    let words = [
        (EventState::Published, "exported"),
        (EventState::Unchanged, "unchanged since the last export"),
        (EventState::Empty, "without anything to show"),
        (EventState::Failed, "failed"),
    ];
    let mut parts = Vec::new();
    for (state, word) in words {
        let count = events.iter().filter(|event| event.state == state).count();
        if count > 0 {
            parts.push(format!("{count} {} {word}", if count == 1 { "event" } else { "events" }));
        }
    }
    parts.extend(missing.map(str::to_owned));
    match events.iter().find_map(|event| event.error.as_deref()) {
        Some(error) => format!("{}: {error}", parts.join(", ")),
        None => parts.join(", "),
    }
}

/// The events that a request means, and in words what it names that means none.
///
/// # Errors
/// Where the database is out of reach.
pub async fn look_up(
    snapshot: &mut Tx,
    account: &str,
    request: &ExportRequest,
) -> Result<(Vec<EventHead>, Option<String>), DbError> {
    let is_state = |head: &EventHead| match &request.state {
        Some(wanted) => head.state.as_deref().is_some_and(|state| state.trim().eq_ignore_ascii_case(wanted)),
        None => true,
    };
    let is_named = |head: &EventHead| request.events.iter().any(|word| means(word, head));
    let mut wanted = programme::heads(snapshot, Some(account), None).await?;
    wanted.retain(|head| is_state(head) && is_named(head));
    let means_none = |word: &&String| !wanted.iter().any(|head| means(word, head));
    let missing: Vec<&String> = request.events.iter().filter(means_none).collect();
    if missing.is_empty() {
        return Ok((wanted, None));
    }
    let everywhere = programme::heads(snapshot, None, None).await?;
    Ok((wanted, Some(say_missing(&missing, account, request, &everywhere))))
}

fn say_missing(missing: &[&String], account: &str, request: &ExportRequest, everywhere: &[EventHead]) -> String {
    let mut said = Vec::new();
    let mut unknown = Vec::new();
    for word in missing.iter().map(|word| word.trim()) {
        let of_account = |head: &&EventHead| head.account == account && means(word, head);
        let event = if word.parse::<i64>().is_ok() { format!("event {word}") } else { format!("event `{word}`") };
        let own = everywhere.iter().find(of_account);
        match (own, everywhere.iter().find(|head| means(word, head)), &request.state) {
            (None, _, _) if word == ALL_EVENTS => {
                said.push(format!("account `{account}` has no events; `eventferry events list` shows those of all"));
            }
            (Some(_), _, Some(state)) if word == ALL_EVENTS => {
                said.push(format!("no event of account `{account}` is `{state}`"));
            }
            (Some(_), _, Some(state)) => said.push(format!("{event} is not `{state}`")),
            (_, Some(other), _) => said.push(format!(
                "{event} belongs to account `{owner}`; {what_now}",
                owner = other.account,
                what_now = if request.scope == BY_HAND {
                    format!("add `--account {}`", other.account)
                } else {
                    format!("set `account = \"{}\"` in the schedule `{}`", other.account, request.scope)
                },
            )),
            (_, None, _) => unknown.push(word),
        }
    }
    if !unknown.is_empty() {
        said.push(format!("no event matches `{}`; `eventferry events list` shows them", unknown.join("`, `")));
    }
    said.join(", ")
}

/// Whether a word of a request means an event: `all`, its id, its identifier, its name, or that of its folder.
fn means(word: &str, head: &EventHead) -> bool {
    let word = word.trim();
    let same = |text: Option<&str>| text.is_some_and(|text| text.trim().eq_ignore_ascii_case(word));
    word == ALL_EVENTS
        || word.parse() == Ok(head.id)
        || same(head.identifier.as_deref())
        || same(head.name.as_deref())
        || same(Some(&read::slug(head)))
}

fn retain(folder: &EventFolder, run: &EventExport, keep: Keep, now: Timestamp) {
    if let Err(error) = publish::retain(folder, &run.scope, keep, now) {
        tracing::warn!(%error, "old exports cannot be removed now");
    }
}

/// Whether schedules would lose all their sessions.
fn empties_schedules(new: &EventExport, before: &EventExport) -> bool {
    let has_schedules = new.formats.iter().any(|made| made.format.is_schedule());
    has_schedules && new.counts.scheduled == 0 && before.counts.scheduled > 0
}

/// Why an event was not exported.
enum Trouble {
    /// Something about this event, or the disk: the next run may do better.
    Event(String),
    /// The job cannot go on now.
    Job(Stop),
}

impl From<Stop> for Trouble {
    fn from(stop: Stop) -> Self {
        Self::Job(stop)
    }
}

impl From<DbError> for Trouble {
    fn from(error: DbError) -> Self {
        Self::Job(error.into())
    }
}

impl From<JoinError> for Trouble {
    fn from(error: JoinError) -> Self {
        match error.try_into_panic() {
            Ok(panic) => Self::Event(format!("the program failed over it: {}", words::of_panic(panic.as_ref()))),
            // The runtime is shutting down.
            Err(_) => Self::Job(Stop::Interrupted),
        }
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Event(format!("the outbox cannot be written: {error}"))
    }
}

impl From<RenderError> for Trouble {
    fn from(error: RenderError) -> Self {
        match error {
            RenderError::Read(ReadError(reason)) => Self::Job(Stop::Outage(reason)),
            RenderError::Write(error) => Self::from(error),
            RenderError::Template(_) | RenderError::Invalid(_) => Self::Event(error.to_string()),
        }
    }
}

/// Writes down what calendars are about to be shown, before they are: a crash between the two shows it again under the
/// same sequence.
struct Observe {
    database: Database,
    event: i64,
    now: Timestamp,
}

impl Observe {
    fn note(self, source: &DatabaseSource) -> Result<(), RenderError> {
        let runtime = Handle::current();
        let shown = source.observe(|new, changed| {
            if new.is_empty() && changed.is_empty() {
                return Ok(());
            }
            runtime.block_on(async {
                let mut tx = self.database.begin().await?;
                remembered::note_sessions(&mut tx, self.event, new, changed, self.now).await?;
                tx.commit().await
            })?;
            Ok(())
        })?;
        runtime
            .block_on(async {
                let mut tx = self.database.begin().await?;
                remembered::note_removed(&mut tx, self.event, &shown, self.now).await?;
                tx.commit().await
            })
            .map_err(ReadError::from)?;
        Ok(())
    }
}
