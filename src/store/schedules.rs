//! Schedules: how far each was looked at, its slots, and whether it keeps failing.

use crate::clock::Timestamp;
use crate::db::{Arg, Database, DbError, Row, Sql, Tx};
use crate::model::JobId;

/// A schedule as it was last seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScheduleRow {
    /// Its name.
    pub name: String,
    /// Its expression and zone, as they were.
    pub expression: String,
    /// Due times up to here have their slots, or were dropped by policy.
    pub looked_until: Timestamp,
    /// Due times that were dropped by policy, ever.
    pub dropped: u64,
    /// Failures in a row.
    pub failures: u64,
    /// Since when it fails.
    pub failing_since: Option<Timestamp>,
    /// Why it failed last.
    pub last_error: Option<String>,
}

const ALL: Sql = Sql::same(
    "read the schedules",
    "SELECT name, expression, looked_until, dropped, failures, failing_since, last_error FROM schedules ORDER BY name",
);

const GET: Sql = Sql::per(
    "read a schedule",
    "SELECT name, expression, looked_until, dropped, failures, failing_since, last_error FROM schedules WHERE name = $1",
    "SELECT name, expression, looked_until, dropped, failures, failing_since, last_error FROM schedules WHERE name = $1 \
     FOR UPDATE",
);

const BEGIN: Sql = Sql::same(
    "begin a schedule",
    "INSERT INTO schedules (name, expression, looked_until, dropped, failures) VALUES ($1, $2, $3, 0, 0) \
     ON CONFLICT (name) DO NOTHING",
);

const CHANGE: Sql = Sql::same(
    "note that a schedule was changed",
    "UPDATE schedules SET expression = $2, looked_until = $3 WHERE name = $1",
);

const LOOKED: Sql = Sql::same(
    "note how far a schedule was looked at",
    "UPDATE schedules SET looked_until = $2, dropped = dropped + $3 WHERE name = $1",
);

const TAKE_SLOT: Sql = Sql::same(
    "take the slot of a schedule",
    "INSERT INTO schedule_slots (schedule, due_at, job_id) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
);

const SLOTS: Sql = Sql::same(
    "read the slots of a schedule",
    "SELECT due_at, job_id FROM schedule_slots WHERE schedule = $1 ORDER BY due_at DESC LIMIT $2",
);

const FAILED: Sql = Sql::same(
    "note that a schedule failed",
    "UPDATE schedules SET failures = failures + 1, failing_since = coalesce(failing_since, $2), last_error = $3 \
     WHERE name = $1 RETURNING failures, failing_since",
);

const WENT_WELL: Sql = Sql::same(
    "note that a schedule went well",
    "UPDATE schedules SET failures = 0, failing_since = NULL, last_error = NULL \
     WHERE name = $1 AND failures > 0",
);

/// Every statement, for the test that prepares them.
pub fn statements() -> Vec<Sql> {
    vec![ALL, GET, BEGIN, CHANGE, LOOKED, TAKE_SLOT, SLOTS, FAILED, WENT_WELL]
}

/// All schedules that were ever seen, by name.
///
/// # Errors
/// Where the database is out of reach.
pub async fn all(database: &Database) -> Result<Vec<ScheduleRow>, DbError> {
    database.fetch_all(&ALL, &[]).await?.iter().map(schedule).collect()
}

/// One schedule, held by this transaction; a new one is looked at from `now` on.
///
/// # Errors
/// Where the database is out of reach.
pub async fn hold(tx: &mut Tx, name: &str, expression: &str, now: Timestamp) -> Result<ScheduleRow, DbError> {
    tx.execute(&BEGIN, &[name.into(), expression.into(), now.into()]).await?;
    let row = tx.fetch_optional(&GET, &[name.into()]).await?;
    row.as_ref().map_or_else(|| Err(DbError::unusable(GET.name(), format!("there is no schedule `{name}`"))), schedule)
}

/// Notes that a schedule was changed: what was due before `now` by the new expression is not looked at.
///
/// # Errors
/// Where the database is out of reach.
pub async fn change(tx: &mut Tx, name: &str, expression: &str, now: Timestamp) -> Result<(), DbError> {
    tx.execute(&CHANGE, &[name.into(), expression.into(), now.into()]).await.map(drop)
}

/// Notes up to when a schedule was looked at, and how many due times were dropped.
///
/// # Errors
/// Where the database is out of reach.
pub async fn looked(tx: &mut Tx, name: &str, until: Timestamp, dropped: u64) -> Result<(), DbError> {
    let dropped = i64::try_from(dropped).unwrap_or(i64::MAX);
    tx.execute(&LOOKED, &[name.into(), until.into(), dropped.into()]).await.map(drop)
}

/// Takes the slot of a due time; false where another daemon has it.
///
/// # Errors
/// Where the database is out of reach.
pub async fn take_slot(tx: &mut Tx, name: &str, due: Timestamp, job: JobId) -> Result<bool, DbError> {
    Ok(tx.execute(&TAKE_SLOT, &[name.into(), due.into(), Arg::from(job)]).await? == 1)
}

/// The last slots of a schedule, the newest first: when they were due, and their jobs.
///
/// # Errors
/// Where the database is out of reach.
pub async fn slots(database: &Database, name: &str, limit: i64) -> Result<Vec<(Timestamp, JobId)>, DbError> {
    let rows = database.fetch_all(&SLOTS, &[name.into(), limit.into()]).await?;
    let slot = |row: &Row| {
        let job: String = row.get(1)?;
        let id = job.parse().map_err(|error| DbError::unusable(SLOTS.name(), format!("`{job}`: {error}")))?;
        Ok((row.get(0)?, id))
    };
    rows.iter().map(slot).collect()
}

/// Notes that a run of a schedule failed; returns how often it has in a row, and since when.
///
/// # Errors
/// Where the database is out of reach.
pub async fn failed(tx: &mut Tx, name: &str, now: Timestamp, error: &str) -> Result<(u64, Timestamp), DbError> {
    match tx.fetch_optional(&FAILED, &[name.into(), now.into(), error.into()]).await? {
        Some(row) => Ok((row.count(0)?, row.get(1)?)),
        None => Ok((1, now)),
    }
}

/// Notes that a run of a schedule went well; says whether the one before had failed.
///
/// # Errors
/// Where the database is out of reach.
pub async fn went_well(tx: &mut Tx, name: &str) -> Result<bool, DbError> {
    Ok(tx.execute(&WENT_WELL, &[name.into()]).await? > 0)
}

fn schedule(row: &Row) -> Result<ScheduleRow, DbError> {
    Ok(ScheduleRow {
        name: row.get(0)?,
        expression: row.get(1)?,
        looked_until: row.get(2)?,
        dropped: row.count(3)?,
        failures: row.count(4)?,
        failing_since: row.get(5)?,
        last_error: row.get(6)?,
    })
}
