//! What there is to say about everything.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use super::super::daemon::{self, Daemon};
use super::super::handlers::{self, HandlerDocument};
use super::super::jobs::JobDocument;
use super::super::mail::MailDocument;
use super::super::show::{path, safe};
use super::super::{Context, Failure};
use crate::clock::Timestamp;
use crate::config::{DatabaseAddress, ExportEntry, Settings};
use crate::db::{Database, DbError};
use crate::fsx::{self, FileIdentity};
use crate::mail::MailKind;
use crate::model::JobState;
use crate::store::jobs::{self, Filter};
use crate::store::mails::{self, MailState};
use crate::store::{arrivals, notifications, schedules};
use crate::timetable::due;

/// Version of what `--json` prints; grows when a field changes its meaning or goes.
const VERSION: u32 = 1;

/// Jobs, and mails of each kind, that are shown one by one.
const SHOWN: u32 = 20;

/// How many of the newest notifications are looked through for the admin's.
const NOTIFICATIONS_LOOKED_AT: i64 = 200;

/// How many of the admin's are shown.
const NOTIFICATIONS_SHOWN: usize = 3;

/// Everything, as far as it could be read, and why not all of it.
pub(super) struct Gathered {
    pub(super) status: Status,
    pub(super) trouble: Option<Failure>,
}

/// Everything at once, as `--json` prints it.
#[derive(Serialize)]
pub(super) struct Status {
    version: u32,
    pub(super) root: String,
    pub(super) daemon: Daemon,
    pub(super) database: DatabaseStatus,
    pub(super) inbox: InboxStatus,
    pub(super) free_space: Vec<FreeSpace>,
    pub(super) jobs: Jobs,
    /// Files in the inbox that are no jobs yet.
    pub(super) files: Vec<WaitingFile>,
    /// Exports at set times.
    pub(super) schedules: Vec<ScheduleStatus>,
    /// Event handlers.
    pub(super) handlers: Vec<HandlerDocument>,
    pub(super) mails: Mails,
    /// The newest troubles that the admin has not read.
    pub(super) told_admin: Vec<Told>,
}

/// How the database is.
#[derive(Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub(super) enum DatabaseStatus {
    Good { place: String },
    Missing { place: String },
    Failing { place: String, why: String },
}

/// The folder that archives are dropped into.
#[derive(Serialize)]
pub(super) struct InboxStatus {
    pub(super) folder: String,
    /// Whether it is there; what is not can be the folder of a file system that is not mounted.
    pub(super) exists: bool,
}

/// The space of one file system.
#[derive(Serialize)]
pub(super) struct FreeSpace {
    /// One of the folders on it.
    pub(super) folder: String,
    pub(super) bytes: u64,
    /// Below it no job begins.
    pub(super) floor: u64,
    pub(super) is_low: bool,
}

#[derive(Default, Serialize)]
pub(super) struct Jobs {
    /// By state, states without jobs too.
    pub(super) counts: Words<u64>,
    /// Those that have not ended, the newest first; at most 20.
    pub(super) unfinished: Vec<JobDocument>,
}

/// A file in the inbox that is no job yet.
#[derive(Serialize)]
pub(super) struct WaitingFile {
    /// Below the inbox.
    pub(super) path: String,
    account: Option<String>,
    /// `arriving`, `incomplete` or `refused`
    pub(super) state: &'static str,
    pub(super) bytes: u64,
    pub(super) reason: Option<String>,
    pub(super) first_seen: Timestamp,
    changed_at: Timestamp,
    told_at: Option<Timestamp>,
}

/// An export at set times.
#[derive(Serialize)]
pub(super) struct ScheduleStatus {
    pub(super) name: String,
    /// None where it never runs again.
    pub(super) next: Option<Timestamp>,
    /// Failures in a row.
    pub(super) failures: u64,
    pub(super) failing_since: Option<Timestamp>,
    pub(super) last_error: Option<String>,
}

#[derive(Default, Serialize)]
pub(super) struct Mails {
    /// By state, only those that occur.
    pub(super) counts: BTreeMap<&'static str, i64>,
    /// Mails that wait or failed, the newest first; at most 20 of each.
    pub(super) troubled: Vec<MailDocument>,
}

/// Something that the admin was told.
#[derive(Serialize)]
pub(super) struct Told {
    pub(super) title: String,
    pub(super) at: Timestamp,
}

/// Numbers by word, in the order in which people read them.
#[derive(Default)]
pub(super) struct Words<T>(Vec<(&'static str, T)>);

impl<T> Words<T> {
    pub(super) fn iter(&self) -> impl Iterator<Item = (&'static str, &T)> {
        self.0.iter().map(|(word, value)| (*word, value))
    }

    pub(super) fn get(&self, word: &str) -> Option<&T> {
        self.iter().find(|(known, _)| *known == word).map(|(_, value)| value)
    }
}

impl<T: Serialize> Serialize for Words<T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

/// Looks at everything; what cannot be read is left out and told.
pub(super) async fn gather(context: &Context) -> Gathered {
    let settings = &context.settings;
    let place = place_of(settings);
    let mut status = Status {
        version: VERSION,
        root: path(&settings.folders().root),
        daemon: daemon::look(settings),
        database: DatabaseStatus::Missing { place: place.clone() },
        inbox: InboxStatus { folder: path(&settings.folders().inbox), exists: settings.folders().inbox.is_dir() },
        free_space: free_space(settings),
        jobs: Jobs::default(),
        files: Vec::new(),
        schedules: schedules_of(settings, context.clock.now()),
        handlers: Vec::new(),
        mails: Mails::default(),
        told_admin: Vec::new(),
    };
    let opened = match context.has_database() {
        Ok(false) => return Gathered { status, trouble: None },
        Ok(true) => context.open_database().await,
        Err(failure) => Err(failure),
    };
    let read = match opened {
        Err(failure) => Err(failure),
        Ok(database) => {
            let read = read(&mut status, settings, &database).await;
            database.close().await;
            read.map_err(Failure::from)
        }
    };
    match read {
        Ok(()) => {
            status.database = DatabaseStatus::Good { place };
            Gathered { status, trouble: None }
        }
        Err(failure) => {
            status.database = DatabaseStatus::Failing { place, why: failure.to_string() };
            Gathered { status, trouble: Some(failure) }
        }
    }
}

/// The address as `config show` prints it: without its password.
fn place_of(settings: &Settings) -> String {
    match &settings.database.address {
        DatabaseAddress::Sqlite(file) => format!("SQLite, {}", path(file)),
        DatabaseAddress::Postgres(_) => {
            let url = settings.explain().iter().find(|setting| setting.key == "database.url");
            let shown = url.and_then(|setting| setting.value.as_deref()).unwrap_or("(address from a file)");
            format!("PostgreSQL, {}", safe(shown))
        }
    }
}

async fn read(status: &mut Status, settings: &Settings, database: &Database) -> Result<(), DbError> {
    let counts = jobs::counts(database, None).await?;
    status.jobs.counts = Words(counts.into_iter().map(|(state, count)| (state.as_str(), count)).collect());
    let states = JobState::ALL.into_iter().filter(|state| !state.is_final()).collect();
    let filter = Filter { account: None, states, limit: u64::from(SHOWN) };
    status.jobs.unfinished = jobs::list(database, &filter).await?.iter().map(JobDocument::from).collect();
    for row in arrivals::list(database).await? {
        status.files.push(WaitingFile {
            path: row.path,
            account: row.account,
            state: row.state.as_str(),
            bytes: row.bytes,
            reason: row.reason,
            first_seen: row.first_seen,
            changed_at: row.changed_at,
            told_at: row.told_at,
        });
    }
    for row in schedules::all(database).await? {
        if let Some(schedule) = status.schedules.iter_mut().find(|schedule| schedule.name == row.name) {
            schedule.failures = row.failures;
            schedule.failing_since = row.failing_since;
            schedule.last_error = row.last_error;
        }
    }
    status.handlers = handlers::gather(settings, database).await?;
    status.mails.counts =
        mails::counts(database).await?.into_iter().map(|(state, count)| (state.as_str(), count)).collect();
    for state in [MailState::Queued, MailState::Failed] {
        let found = mails::list(database, Some(state), i64::from(SHOWN)).await?;
        status.mails.troubled.extend(found.iter().map(MailDocument::from));
    }
    let newest = notifications::list(database, None, NOTIFICATIONS_LOOKED_AT).await?;
    let unread = newest.into_iter().filter(|told| told.kind == MailKind::Admin.as_str() && told.read_at.is_none());
    status.told_admin =
        unread.take(NOTIFICATIONS_SHOWN).map(|told| Told { title: told.title, at: told.created_at }).collect();
    Ok(())
}

fn schedules_of(settings: &Settings, now: Timestamp) -> Vec<ScheduleStatus> {
    let schedule = |entry: &ExportEntry| ScheduleStatus {
        name: entry.name.clone(),
        next: due::next_after(&entry.expression, entry.zone, now),
        failures: 0,
        failing_since: None,
        last_error: None,
    };
    settings.exports.iter().map(schedule).collect()
}

/// The file systems that the folders lie on, each once; those that are not there yet say nothing.
fn free_space(settings: &Settings) -> Vec<FreeSpace> {
    let folders = settings.folders();
    let floor = settings.queue.free_space_floor;
    let mut looked_at: Vec<&Path> = vec![&folders.work, &folders.root, &folders.outbox, &folders.media];
    if let DatabaseAddress::Sqlite(file) = &settings.database.address {
        looked_at.extend(file.parent());
    }
    let mut devices = Vec::new();
    let mut spaces = Vec::new();
    for folder in looked_at {
        let (Ok(identity), Ok(bytes)) = (FileIdentity::of_path(folder), fsx::free_space(folder)) else { continue };
        if !devices.contains(&identity.device) {
            devices.push(identity.device);
            spaces.push(FreeSpace { folder: path(folder), bytes, floor, is_low: bytes < floor });
        }
    }
    spaces
}
