//! What the holder of a lease does to its job short of ending it.

use super::{Lease, LeaseError, OwnerId, job_id, to_int, update_leased_alone};
use crate::clock::Timestamp;
use crate::db::{Arg, Database, DbError, Sql, Tx};
use crate::model::JobId;

/// Whether a person wants the job cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CancelRequested(pub bool);

/// Where a job is after a chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointUpdate {
    /// What it does, as a phrase in lower case: `importing sessions`.
    pub stage: String,
    /// Records of the stage that are done.
    pub stage_done: u64,
    /// Records of the stage in all; 0 where that is not known.
    pub stage_total: u64,
    /// Where to go on after a restart, as JSON; kept byte for byte.
    pub checkpoint: String,
    /// The event that the archive goes into.
    pub event_id: Option<i64>,
    /// Whether this job made it.
    pub event_created: bool,
}

const BEAT: Sql = Sql::same(
    "renew the leases",
    "UPDATE jobs SET beat = beat + 1 WHERE state = 'running' AND owner = $1 RETURNING id, epoch",
);

const IS_HELD: Sql = Sql::same("look at a lease", concat!("SELECT 1 FROM jobs WHERE ", fence!()));

const CHECKPOINT: Sql = Sql::same(
    "write a checkpoint",
    concat!(
        "UPDATE jobs SET beat = beat + 1, strikes = 0, outages = 0, waits_for = NULL, waits_since = NULL, stage = $4, \
         stage_done = $5, stage_total = $6, checkpoint = $7, event_id = $8, event_created = $9 WHERE ",
        fence!(),
        " RETURNING cancel_requested"
    ),
);

const NOTE_PROGRESS: Sql = Sql::same(
    "note the progress of a job",
    concat!(
        "UPDATE jobs SET beat = beat + 1, stage = $4, stage_done = $5, stage_total = $6 WHERE ",
        fence!(),
        " RETURNING cancel_requested"
    ),
);

pub(super) const RELEASE: Sql = Sql::same(
    "give a job back",
    concat!("UPDATE jobs SET state = 'queued', owner = NULL, run_at = $4 WHERE ", fence!()),
);

/// The outage lasts since its first snooze, however often the job has tried since.
const SNOOZE: Sql = Sql::same(
    "let a job wait for an outage to end",
    concat!(
        "UPDATE jobs SET state = 'paused', owner = NULL, run_at = $4, last_trouble = $5, waits_for = $5, \
         waits_since = CASE WHEN outages > 0 AND waits_since IS NOT NULL THEN waits_since ELSE $6 END, \
         outages = outages + 1 WHERE ",
        fence!()
    ),
);

const RETRY_LATER: Sql = Sql::same(
    "let a job try again later",
    concat!(
        "UPDATE jobs SET state = 'queued', owner = NULL, run_at = $4, last_trouble = $5, waits_for = $5, \
         waits_since = $6, attempts = attempts + 1 WHERE ",
        fence!()
    ),
);

const STRIKE: Sql = Sql::same(
    "give a job back with a strike",
    concat!(
        "UPDATE jobs SET state = 'queued', owner = NULL, run_at = $4, last_trouble = $5, strikes = strikes + 1 WHERE ",
        fence!()
    ),
);

pub(super) const STATEMENTS: &[Sql] = &[BEAT, IS_HELD, CHECKPOINT, NOTE_PROGRESS, RELEASE, SNOOZE, RETRY_LATER, STRIKE];

/// Shows that a process lives: the beat of each of its running jobs grows. Says which ones those are, with the epoch.
///
/// # Errors
/// Where the database is out of reach.
pub async fn beat(database: &Database, owner: OwnerId) -> Result<Vec<(JobId, i64)>, DbError> {
    let mut tx = database.begin().await?;
    let rows = tx.fetch_all(&BEAT, &[Arg::from(owner.to_string())]).await?;
    let held = rows.iter().map(|row| Ok((job_id(row, 0)?, row.get(1)?))).collect::<Result<_, DbError>>()?;
    tx.commit().await?;
    Ok(held)
}

/// Whether the lease still holds.
///
/// # Errors
/// Where the database is out of reach.
pub async fn is_held(database: &Database, lease: &Lease) -> Result<bool, DbError> {
    Ok(database.fetch_optional(&IS_HELD, &lease.args([])).await?.is_some())
}

/// Writes a checkpoint inside the transaction of the data it speaks of. Progress takes strikes and outages back.
///
/// # Errors
/// [`LeaseError::Fenced`] where the job is no longer this lease's: the transaction must be dropped. Else where the
/// database is out of reach.
pub async fn checkpoint(tx: &mut Tx, lease: &Lease, update: &CheckpointUpdate) -> Result<CancelRequested, LeaseError> {
    let args = lease.args([
        Arg::from(update.stage.as_str()),
        Arg::from(to_int(update.stage_done)),
        Arg::from(to_int(update.stage_total)),
        Arg::Json(Some(update.checkpoint.clone())),
        Arg::from(update.event_id),
        Arg::from(update.event_created),
    ]);
    cancel_requested(tx, &CHECKPOINT, lease, &args).await
}

/// Shows how far a job is where nothing was written that a restart could build on: strikes stay.
///
/// # Errors
/// [`LeaseError::Fenced`] where the job is no longer this lease's; else where the database is out of reach.
pub async fn note_progress(
    database: &Database,
    lease: &Lease,
    stage: &str,
    done: u64,
    total: u64,
) -> Result<CancelRequested, LeaseError> {
    let mut tx = database.begin().await?;
    let args = lease.args([Arg::from(stage), Arg::from(to_int(done)), Arg::from(to_int(total))]);
    let requested = cancel_requested(&mut tx, &NOTE_PROGRESS, lease, &args).await?;
    tx.commit().await?;
    Ok(requested)
}

async fn cancel_requested(tx: &mut Tx, sql: &Sql, lease: &Lease, args: &[Arg]) -> Result<CancelRequested, LeaseError> {
    match tx.fetch_optional(sql, args).await? {
        Some(row) => Ok(CancelRequested(row.get(0)?)),
        None => Err(LeaseError::Fenced(lease.job)),
    }
}

/// Gives a running job back as it is: a soft stop. It uses up no attempt.
///
/// # Errors
/// As [`note_progress`].
pub async fn release(database: &Database, lease: &Lease, now: Timestamp) -> Result<(), LeaseError> {
    update_leased_alone(database, &RELEASE, lease, [Arg::from(now)]).await
}

/// Lets a running job wait, `paused`, for something outside until `run_at`. It uses up no attempt.
///
/// # Errors
/// As [`note_progress`].
pub async fn snooze(
    database: &Database,
    lease: &Lease,
    reason: &str,
    run_at: Timestamp,
    now: Timestamp,
) -> Result<(), LeaseError> {
    update_leased_alone(database, &SNOOZE, lease, [Arg::from(run_at), Arg::from(reason), Arg::from(now)]).await
}

/// Lets a running job try again at `run_at`. It uses up an attempt.
///
/// # Errors
/// As [`note_progress`].
pub async fn retry_later(
    database: &Database,
    lease: &Lease,
    reason: &str,
    run_at: Timestamp,
    now: Timestamp,
) -> Result<(), LeaseError> {
    update_leased_alone(database, &RETRY_LATER, lease, [Arg::from(run_at), Arg::from(reason), Arg::from(now)]).await
}

/// Gives a running job back until `run_at` after it broke its runner in a way that the runner could not report.
///
/// # Errors
/// As [`note_progress`].
pub async fn strike(database: &Database, lease: &Lease, reason: &str, run_at: Timestamp) -> Result<(), LeaseError> {
    update_leased_alone(database, &STRIKE, lease, [Arg::from(run_at), Arg::from(reason)]).await
}
