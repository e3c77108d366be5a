//! A job comes, and a person calls it off.

use super::source_turn::{self, Ahead};
use super::{JobKind, behind};
use crate::clock::Timestamp;
use crate::db::{Arg, Database, DbError, Sql, Tx};
use crate::model::{JobId, JobState};

/// A job that is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewJob {
    /// Its id; sorts by arrival.
    pub id: JobId,
    /// What it does.
    pub kind: JobKind,
    /// Whose it is.
    pub account: String,
    /// The dropped file's name as people see it.
    pub archive_name: String,
    /// The dropped file's size in bytes.
    pub archive_bytes: u64,
    /// Which event the archive speaks of, where that is known before the archive is read.
    pub source_key: Option<String>,
    /// Whether the same bytes are to be imported again.
    pub again: bool,
    /// The job that this one repeats.
    pub retry_of: Option<JobId>,
    /// Whether handlers are called; none where the archive or its account says so.
    pub with_handlers: Option<bool>,
    /// When the file was claimed.
    pub created_at: Timestamp,
}

/// An export that is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewExport {
    /// Its id; sorts by time.
    pub id: JobId,
    /// Whose events are exported.
    pub account: String,
    /// What it is called in lists.
    pub name: String,
    /// What is to be exported, as JSON; kept byte for byte.
    pub request: String,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it may begin.
    pub run_at: Timestamp,
}

/// What became of the wish for a new job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Insertion {
    /// It is there now.
    New {
        /// The unfinished job that it waits for.
        blocked_on: Option<JobId>,
    },
    /// It was there before, and is as it was.
    Known,
}

/// What became of the wish to cancel a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancellation {
    /// It will end as cancelled as soon as a daemon gets to it; asking twice is the same.
    Requested,
    /// Its outcome is frozen: it ends as it would have.
    TooLate,
    /// It has ended.
    Ended(JobState),
    /// There is no such job.
    Unknown,
}

const INSERT: Sql = Sql::same(
    "insert a job",
    "INSERT INTO jobs (id, kind, account, state, archive_name, archive_bytes, source_key, source_turn, again, retry_of, \
     created_at, run_at, epoch, beat, attempts, outages, strikes, cancel_requested, waits_for, waits_since, blocked_on, \
     stage_done, stage_total, event_created, source_state, with_handlers) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, FALSE, $8, $9, $10, $10, 0, 0, 0, 0, 0, FALSE, $11, $12, $13, 0, 0, FALSE, \
     'held', $14) ON CONFLICT (id) DO NOTHING",
);

const INSERT_EXPORT: Sql = Sql::same(
    "insert an export",
    "INSERT INTO jobs (id, kind, account, state, archive_name, archive_bytes, source_turn, again, created_at, run_at, \
     epoch, beat, attempts, outages, strikes, cancel_requested, stage_done, stage_total, event_created, source_state, \
     request) \
     VALUES ($1, $2, $3, $4, $5, 0, FALSE, FALSE, $6, $7, 0, 0, 0, 0, 0, FALSE, 0, 0, FALSE, 'moved', $8)",
);

const STATE: Sql = Sql::per(
    "read a job to cancel it",
    "SELECT state FROM jobs WHERE id = $1",
    "SELECT state FROM jobs WHERE id = $1 FOR UPDATE",
);

/// A running job keeps its owner, who sees the wish at its next checkpoint; all others are handed out at once.
const CANCEL: Sql = Sql::same(
    "cancel a job",
    concat!(
        "UPDATE jobs SET cancel_requested = TRUE, \
         run_at = CASE WHEN state = 'running' THEN run_at ELSE $2 END, \
         waits_for = CASE WHEN state = 'running' THEN waits_for ELSE NULL END, \
         waits_since = CASE WHEN state = 'running' THEN waits_since ELSE NULL END, \
         waits_detail = CASE WHEN state = 'running' THEN waits_detail ELSE NULL END, \
         blocked_on = NULL, \
         state = CASE WHEN state = 'running' THEN state ELSE 'queued' END \
         WHERE id = $1 AND outcome IS NULL AND ",
        unfinished!()
    ),
);

pub(super) const STATEMENTS: &[Sql] = &[INSERT, INSERT_EXPORT, STATE, CANCEL];

/// Inserts a job as `queued`, or as `blocked` where an earlier import with its source key is unfinished. A job that is
/// there already stays as it is.
///
/// # Errors
/// Where the database is out of reach; the same call may be made again.
pub async fn insert(database: &Database, job: &NewJob) -> Result<Insertion, DbError> {
    let mut tx = database.begin().await?;
    let ahead = match &job.source_key {
        Some(key) => source_turn::ahead_of(&mut tx, job.id, &job.account, key).await?,
        None => None,
    };
    let (state, waits_for, waits_since) = match &ahead {
        Some(Ahead { job: blocker, archive_name, kind }) => {
            (JobState::Blocked, Some(behind(*blocker, archive_name, kind)), Some(job.created_at))
        }
        None => (JobState::Queued, None, None),
    };
    let blocked_on = ahead.map(|ahead| ahead.job);
    let inserted = tx
        .execute(
            &INSERT,
            &[
                Arg::from(job.id),
                Arg::from(job.kind.as_str()),
                Arg::from(&job.account),
                Arg::from(state.as_str()),
                Arg::from(&job.archive_name),
                Arg::from(super::to_int(job.archive_bytes)),
                Arg::from(job.source_key.clone()),
                Arg::from(job.again),
                Arg::from(job.retry_of),
                Arg::from(job.created_at),
                Arg::from(waits_for),
                Arg::from(waits_since),
                Arg::from(blocked_on),
                Arg::Bool(job.with_handlers),
            ],
        )
        .await?;
    tx.commit().await?;
    Ok(if inserted == 1 { Insertion::New { blocked_on } } else { Insertion::Known })
}

/// Inserts an export as `queued` inside the caller's transaction, which takes its slot as well.
///
/// # Errors
/// Where the database is out of reach.
pub async fn insert_export(tx: &mut Tx, export: &NewExport) -> Result<(), DbError> {
    let args = [
        Arg::from(export.id),
        Arg::from(JobKind::Export.as_str()),
        Arg::from(&export.account),
        Arg::from(JobState::Queued.as_str()),
        Arg::from(&export.name),
        Arg::from(export.created_at),
        Arg::from(export.run_at),
        Arg::from(&export.request),
    ];
    tx.execute(&INSERT_EXPORT, &args).await.map(drop)
}

/// Asks for a job to be cancelled. Whoever runs it next, or now, ends it with its files and its mail.
///
/// # Errors
/// Where the database is out of reach; the same call may be made again.
pub async fn cancel(database: &Database, job: JobId, now: Timestamp) -> Result<Cancellation, DbError> {
    let mut tx = database.begin().await?;
    let Some(row) = tx.fetch_optional(&STATE, &[Arg::from(job)]).await? else {
        return Ok(Cancellation::Unknown);
    };
    let state = super::view::state(&row, 0)?;
    if state.is_final() {
        return Ok(Cancellation::Ended(state));
    }
    let cancelled = tx.execute(&CANCEL, &[Arg::from(job), Arg::from(now)]).await?;
    tx.commit().await?;
    Ok(if cancelled == 1 { Cancellation::Requested } else { Cancellation::TooLate })
}
