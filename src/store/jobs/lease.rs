//! What the holder of a lease does to its job short of ending it.

use super::{Lease, LeaseError, OwnerId, job_id, to_int, update_leased_alone};
use crate::clock::Timestamp;
use crate::db::{Arg, Database, DbError, Sql, Tx};
use crate::model::JobId;

/// Whether a person wants the job cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CancelRequested(pub bool);

/// What a job waits for short of its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// What: `handler `tickets``.
    pub waits_for: String,
    /// More about it: `1,940 undelivered`.
    pub detail: Option<String>,
}

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

const HELD: Sql = Sql::same(
    "look for the leases of an owner",
    "SELECT id, epoch FROM jobs WHERE state = 'running' AND owner = $1 ORDER BY id",
);

const BEAT: Sql = Sql::same("renew a lease", concat!("UPDATE jobs SET beat = beat + 1 WHERE ", fence!()));

const IS_HELD: Sql = Sql::same("look at a lease", concat!("SELECT 1 FROM jobs WHERE ", fence!()));

const CHECKPOINT: Sql = Sql::same(
    "write a checkpoint",
    concat!(
        "UPDATE jobs SET beat = beat + 1, strikes = 0, outages = 0, held = FALSE, waits_for = NULL, \
         waits_since = NULL, waits_detail = NULL, stage = $4, \
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
        "UPDATE jobs SET state = 'paused', owner = NULL, run_at = $4, last_trouble = $5, waits_for = $5, waits_detail = NULL, held = FALSE, \
         waits_since = CASE WHEN outages > 0 AND waits_since IS NOT NULL THEN waits_since ELSE $6 END, \
         outages = outages + 1 WHERE ",
        fence!()
    ),
);

const RETRY_LATER: Sql = Sql::same(
    "let a job try again later",
    concat!(
        "UPDATE jobs SET state = 'queued', owner = NULL, run_at = $4, last_trouble = $5, waits_for = $5, waits_detail = NULL, held = FALSE, \
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

/// What is waited for since when is kept as long as it is the same.
const NOTE_HOLD: Sql = Sql::same(
    "note what a job waits for",
    concat!(
        "UPDATE jobs SET beat = beat + 1, held = TRUE, \
         waits_since = CASE WHEN waits_for = $4 AND waits_since IS NOT NULL THEN waits_since ELSE $6 END, \
         waits_for = $4, waits_detail = $5 WHERE ",
        fence!(),
        " RETURNING cancel_requested, waits_since"
    ),
);

const PAUSE: Sql = Sql::same(
    "let a job wait",
    concat!(
        "UPDATE jobs SET state = 'paused', owner = NULL, run_at = $7, held = TRUE, \
         waits_since = CASE WHEN waits_for = $4 AND waits_since IS NOT NULL THEN waits_since ELSE $6 END, \
         waits_for = $4, waits_detail = $5 WHERE ",
        fence!()
    ),
);

const GO_ON: Sql = Sql::same(
    "note that a job waits no longer",
    concat!(
        "UPDATE jobs SET beat = beat + 1, held = FALSE, waits_for = NULL, waits_since = NULL, waits_detail = NULL WHERE ",
        fence!()
    ),
);

const NOTE_HANDLERS: Sql = Sql::same(
    "note whether handlers are called for a job",
    concat!("UPDATE jobs SET beat = beat + 1, with_handlers = $4 WHERE ", fence!()),
);

pub(super) const STATEMENTS: &[Sql] = &[
    HELD,
    BEAT,
    IS_HELD,
    CHECKPOINT,
    NOTE_PROGRESS,
    RELEASE,
    SNOOZE,
    RETRY_LATER,
    STRIKE,
    NOTE_HOLD,
    PAUSE,
    GO_ON,
    NOTE_HANDLERS,
];

/// Shows that a process lives: the beat of each of its running jobs grows. Says which ones those are, with the epoch.
///
/// Each in a transaction of its own: a beat waits for the chunk of its job, and one that held another job meanwhile could
/// close a circle with that one's chunk.
///
/// # Errors
/// Where the database is out of reach.
pub async fn beat(database: &Database, owner: OwnerId) -> Result<Vec<(JobId, i64)>, DbError> {
    let mut held = Vec::new();
    for row in database.fetch_all(&HELD, &[Arg::from(owner.to_string())]).await? {
        let lease = Lease { job: job_id(&row, 0)?, owner, epoch: row.get(1)? };
        if database.execute(&BEAT, &lease.args([])).await? == 1 {
            held.push((lease.job, lease.epoch));
        }
    }
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

/// Shows what a running job waits for while it holds its lease. Says since when it waits for that.
///
/// # Errors
/// As [`note_progress`].
pub async fn note_hold(
    database: &Database,
    lease: &Lease,
    hold: &Hold,
    now: Timestamp,
) -> Result<(CancelRequested, Timestamp), LeaseError> {
    let mut tx = database.begin().await?;
    let row = tx.fetch_optional(&NOTE_HOLD, &lease.args(hold.args(now))).await?;
    let row = row.ok_or(LeaseError::Fenced(lease.job))?;
    let noted = (CancelRequested(row.get(0)?), row.get(1)?);
    tx.commit().await?;
    Ok(noted)
}

/// Gives a running job back, `paused`, until `run_at`, for what `hold` says. It uses up no attempt and is no outage.
///
/// # Errors
/// As [`note_progress`].
pub async fn pause(
    database: &Database,
    lease: &Lease,
    hold: &Hold,
    run_at: Timestamp,
    now: Timestamp,
) -> Result<(), LeaseError> {
    let args = hold.args(now).into_iter().chain([Arg::from(run_at)]);
    update_leased_alone(database, &PAUSE, lease, args).await
}

/// Shows that a running job waits no longer.
///
/// # Errors
/// As [`note_progress`].
pub async fn go_on(database: &Database, lease: &Lease) -> Result<(), LeaseError> {
    update_leased_alone(database, &GO_ON, lease, []).await
}

/// Remembers whether handlers are called for a job, once that is decided.
///
/// # Errors
/// As [`note_progress`].
pub async fn note_handlers(database: &Database, lease: &Lease, are_called: bool) -> Result<(), LeaseError> {
    update_leased_alone(database, &NOTE_HANDLERS, lease, [Arg::from(are_called)]).await
}

impl Hold {
    fn args(&self, now: Timestamp) -> [Arg; 3] {
        [Arg::from(&self.waits_for), Arg::from(self.detail.as_deref()), Arg::from(now)]
    }
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
