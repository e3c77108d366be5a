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
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::archive::Limits;
use crate::clock::{Clock, Timestamp};
use crate::db::{Database, DbError, Tx};
use crate::model::JobState;
use crate::model::export::{ALL_EVENTS, ExportRequest, Format};
use crate::signal::{FailPoint, Injected, Injection, Signals};
use crate::storage::MediaStore;
use crate::store::jobs::{self, Lease, LeaseError};
use crate::store::programme::{self as store, EventHead};

pub use publish::{MANIFEST, SUMS};

use archive::ArchiveOptions;
use page::PageTemplate;
use program::{Notes, Privacy, ReadError, RenderError, Source};
use publish::EventFolder;
use read::DatabaseSource;
use report::{
    ChangesSince, EXPORT_VERSION, EventCounts, EventExport, EventState, ExportReport, ExportedEvent, FormatExport,
    NamedChange,
};

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
    /// The page's template.
    pub page: Arc<PageTemplate>,
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
    /// The daemon stops.
    Interrupted,
    /// The database is out of reach; it will pass.
    Outage(String),
    /// The job is another's now.
    LeaseLost,
}

enum Stop {
    Interrupted,
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
    let run = Run { services, export, stop, on_progress };
    let mut events = Vec::new();
    let ended = run.all(&mut events).await;
    match ended {
        Ok(()) => RunEnd::Outcome(Box::new(run.report(events, None))),
        Err(Stop::Cancelled) => RunEnd::Outcome(Box::new(run.report(events, Some(JobState::Cancelled)))),
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
}

impl Run<'_> {
    async fn all(&self, done: &mut Vec<EventExport>) -> Result<(), Stop> {
        let clock = &self.services.clock;
        let salt = store::salt(&self.services.database, clock.new_id(), clock.now()).await?;
        let mut snapshot = self.services.database.begin_snapshot().await?;
        let heads = store::heads(&mut snapshot, Some(&self.export.account), None).await?;
        snapshot.rollback().await?;
        for head in self.wanted(heads) {
            done.push(self.event(&head, salt).await?);
        }
        Ok(())
    }

    fn wanted(&self, heads: Vec<EventHead>) -> Vec<EventHead> {
        let request = &self.export.request;
        let is_state = |head: &EventHead| match &request.state {
            Some(wanted) => head.state.as_deref().is_some_and(|state| state.trim().eq_ignore_ascii_case(wanted)),
            None => true,
        };
        let is_named = |head: &EventHead| request.events.iter().any(|word| means(word, head));
        heads.into_iter().filter(|head| is_state(head) && is_named(head)).collect()
    }

    /// One event: what goes wrong with it alone stands in what is returned.
    async fn event(&self, head: &EventHead, salt: Uuid) -> Result<EventExport, Stop> {
        let (services, export) = (self.services, self.export);
        let name = store::folder_of(&services.database, head.id, &read::slug(head)).await?;
        let below = format!("{}/exports/{name}", export.account);
        let folder = EventFolder::of(&services.outbox.join(&export.account).join("exports"), &name, export.lease.job);
        let began = export.started;
        if let Some(published) = folder.published_by(export.lease.job, began) {
            let run = published.folder.as_deref().and_then(|folder| folder.rsplit('/').next()).unwrap_or_default();
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
        let counts = store::counts(&mut snapshot, head.id).await?;
        made.counts = EventCounts {
            sessions: counts.sessions,
            accepted: counts.accepted,
            scheduled: counts.scheduled,
            speakers: counts.speakers,
        };
        let privacy = if request.private { Privacy::Private } else { Privacy::Public };
        let source = DatabaseSource::open(snapshot, head, salt, privacy, &mut made.notes).await?;
        made.data_changed_at = Some(source.programme().changed_at);
        made.event.zone = source.programme().zone.name().to_owned();
        if counts.sessions == 0 && counts.speakers == 0 {
            made.state = EventState::Empty;
            return Ok(source.into_snapshot().rollback().await?);
        }
        let has_programme = request.formats.iter().any(|format| *format != Format::Archive);
        let source = if has_programme || counts.sessions <= OBSERVED_FOR_ARCHIVES {
            let observe = Observe { database: services.database.clone(), event: head.id, now: self.export.started };
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
            let (template, building) = (Arc::clone(&self.services.page), folder.building.clone());
            let (back, exported) = self
                .in_thread(source, None, move |source, exported| {
                    *exported = Some(render::render(format, source, &template, &building)?);
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
        let request = &self.export.request;
        let privacy = if request.private { Privacy::Private } else { Privacy::Public };
        let options = ArchiveOptions { privacy, media: request.media };
        let path = folder.building.join(ARCHIVE);
        let rendered =
            archive::render(snapshot, event, &options, &self.services.media, File::create_new(&path)?).await?;
        let (limits, building) = (self.services.limits.clone(), folder.building.clone());
        let checked = tokio::task::spawn_blocking(move || -> Result<_, RenderError> {
            let checked = archive::check(File::open(&path)?, &limits, &rendered)?;
            Ok((checked, rendered, render::file_at(&building, ARCHIVE)?))
        });
        let (checked, rendered, file) = checked.await.map_err(|error| Trouble::Event(error.to_string()))??;
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
        let (source, with, result) =
            ended.await.map_err(|error| Trouble::Event(format!("the program failed over it: {error}")))?;
        result?;
        Ok((source, with))
    }

    async fn publish(&self, folder: &EventFolder, below: &str, made: &mut EventExport) -> Result<(), Trouble> {
        let (services, export) = (self.services, self.export);
        if made.state == EventState::Empty {
            return Ok(folder.discard()?);
        }
        self.progress("publishing", 0, 0).await?;
        let since = store::last_run(&services.database, made.event.id, &export.request.scope).await?;
        if let Some(since) = since {
            made.changes = Some(self.changes(made.event.id, since).await?);
        }
        let before = folder.latest(&export.request.scope);
        if let Some(before) = before.as_ref().filter(|before| publish::is_unchanged(made, before)) {
            made.state = EventState::Unchanged;
            made.folder.clone_from(&before.folder);
            for file in made.formats.iter_mut().flat_map(|format| &mut format.files) {
                file.unchanged = true;
            }
            return Ok(folder.discard()?);
        }
        let earlier = before.iter().flat_map(|before| &before.formats).flat_map(|format| &format.files);
        let earlier: std::collections::HashMap<&str, &str> =
            earlier.map(|file| (file.path.as_str(), file.sha256.as_str())).collect();
        for file in made.formats.iter_mut().flat_map(|format| &mut format.files) {
            file.unchanged = earlier.get(file.path.as_str()) == Some(&file.sha256.as_str());
        }
        made.state = EventState::Published;
        made.folder = Some(below.to_owned());
        services.signals.reach(FailPoint::ExportBeforePublish).map_err(Stop::from)?;
        let (thread_folder, mut manifest, began) = (folder.clone(), made.clone(), export.started);
        let (keep, now) = (export.request.keep, services.clock.now());
        let earlier_run = before.and_then(|before| before.folder?.rsplit('/').next().map(str::to_owned));
        let published = tokio::task::spawn_blocking(move || -> io::Result<EventExport> {
            publish::publish(&thread_folder, &mut manifest, earlier_run.as_deref(), began)?;
            if let Err(error) = publish::retain(&thread_folder, keep, now) {
                tracing::warn!(%error, "old exports cannot be removed now");
            }
            Ok(manifest)
        });
        *made = published.await.map_err(|error| Trouble::Event(error.to_string()))??;
        services.signals.reach(FailPoint::ExportAfterPublish).map_err(Stop::from)?;
        Ok(())
    }

    async fn changes(&self, event: i64, since: Timestamp) -> Result<ChangesSince, Stop> {
        let changes = store::changes_since(&self.services.database, event, since, NAMED).await?;
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
        let count = |state: EventState| events.iter().filter(|event| event.state == state).count();
        let (published, unchanged) = (count(EventState::Published), count(EventState::Unchanged));
        let (empty, failed) = (count(EventState::Empty), count(EventState::Failed));
        let state = ended.unwrap_or(match (published + unchanged, empty + failed) {
            (0, _) => JobState::Failed,
            (_, 0) => JobState::Succeeded,
            (_, _) => JobState::Partial,
        });
        ExportReport {
            version: EXPORT_VERSION,
            job: self.export.lease.job,
            state,
            summary: summary(&self.export.request, state, [published, unchanged, empty, failed], &events),
            account: self.export.account.clone(),
            scope: self.export.request.scope.clone(),
            due_at: self.export.request.due_at,
            formats: self.export.request.formats.clone(),
            events,
            started: self.export.started,
            finished: self.services.clock.now(),
        }
    }
}

fn summary(request: &ExportRequest, state: JobState, counts: [usize; 4], events: &[EventExport]) -> String {
    if state == JobState::Cancelled {
        return "cancelled".to_owned();
    }
    if events.is_empty() {
        let wanted = request.events.join("`, `");
        return format!("no event matches `{wanted}`; `eventferry events list` shows them");
    }
    let words = ["exported", "unchanged since the last export", "without sessions and speakers", "failed"];
    let parts: Vec<String> = (counts.into_iter().zip(words))
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{count} {} {word}", if count == 1 { "event" } else { "events" }))
        .collect();
    let first = events.iter().find_map(|event| event.error.as_deref());
    match first {
        Some(error) => format!("{}: {error}", parts.join(", ")),
        None => parts.join(", "),
    }
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
        source.observe(|new, changed| {
            if new.is_empty() && changed.is_empty() {
                return Ok(());
            }
            runtime.block_on(async {
                let mut tx = self.database.begin().await?;
                store::note_sessions(&mut tx, self.event, new, changed, self.now).await?;
                tx.commit().await
            })?;
            Ok(())
        })?;
        runtime
            .block_on(async {
                let mut tx = self.database.begin().await?;
                store::note_removed(&mut tx, self.event, self.now).await?;
                tx.commit().await
            })
            .map_err(ReadError::from)?;
        Ok(())
    }
}
