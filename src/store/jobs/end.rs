//! How a job ends: the outcome is frozen, the final state is set, the dropped file is moved.

use super::lease::CancelRequested;
use super::{Lease, LeaseError, behind, job_id, view};
use crate::clock::Timestamp;
use crate::db::{Arg, Database, DbError, Sql, Tx};
use crate::model::{JobId, JobState};

/// The outcome of a job; the result files are made of it and of the problem rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frozen {
    /// Everything that became of the archive, as JSON; kept byte for byte.
    pub outcome: String,
    /// When it was settled.
    pub finished_at: Timestamp,
    /// SHA-256 of the archive in hex, where it could be read.
    pub archive_sha256: Option<String>,
    /// The job that this one is a duplicate of, or a supplement to.
    pub related_job: Option<JobId>,
}

/// The end of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// A final state.
    pub state: JobState,
    /// Why, in one sentence for people.
    pub summary: String,
    /// Where the result files lie.
    pub result_folder: Option<String>,
    /// When its outcome was frozen, or now.
    pub finished_at: Timestamp,
}

/// A dropped file that still lies in the work folder though its job has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceToMove {
    /// The job.
    pub job: JobId,
    /// Whose it was.
    pub account: String,
    /// The file's name as people see it.
    pub archive_name: String,
    /// The final state; it says into which folder the file goes.
    pub state: JobState,
    /// When the outcome was frozen.
    pub finished_at: Timestamp,
}

const FREEZE: Sql = Sql::same(
    "freeze the outcome of a job",
    concat!(
        "UPDATE jobs SET beat = beat + 1, strikes = 0, outcome = $4, finished_at = $5, archive_sha256 = $6, \
         related_job = $7 WHERE outcome IS NULL AND ",
        fence!(),
        " RETURNING cancel_requested"
    ),
);

const FINISH: Sql = Sql::same(
    "end a job",
    concat!(
        "UPDATE jobs SET state = $4, summary = $5, result_folder = $6, finished_at = coalesce(finished_at, $7), \
         owner = NULL, source_turn = FALSE, held = FALSE, waits_for = NULL, waits_since = NULL, waits_detail = NULL, \
         source_state = CASE WHEN kind = 'import' THEN 'leaving' ELSE source_state END WHERE ",
        fence!()
    ),
);

const FREE_OLDEST: Sql = Sql::same(
    "free the next job of a source",
    "UPDATE jobs SET state = 'queued', blocked_on = NULL, waits_for = NULL, waits_since = NULL \
     WHERE state = 'blocked' AND id = (SELECT min(id) FROM jobs WHERE state = 'blocked' AND blocked_on = $1) \
     RETURNING id, archive_name, kind",
);

const WAIT_FOR_FREED: Sql = Sql::same(
    "line up behind the next job of a source",
    "UPDATE jobs SET blocked_on = $2, waits_for = $3 WHERE state = 'blocked' AND blocked_on = $1",
);

const TO_MOVE: Sql = Sql::same(
    "list the sources to move",
    "SELECT id, account, archive_name, state, coalesce(finished_at, created_at) FROM jobs \
     WHERE source_state = 'leaving' AND id > $1 AND coalesce($2, id) = id ORDER BY id LIMIT $3",
);

const MARK_MOVED: Sql = Sql::same(
    "note where a source lies",
    "UPDATE jobs SET source_state = 'moved', source_path = $2 WHERE id = $1 AND source_state = 'leaving'",
);

const LEAVES_AGAIN: Sql = Sql::same(
    "note that a source has turned up",
    "UPDATE jobs SET source_state = 'leaving' WHERE id = $1 AND source_state = 'moved' AND source_path IS NULL",
);

pub(super) const STATEMENTS: &[Sql] = &[FREEZE, FINISH, FREE_OLDEST, WAIT_FOR_FREED, TO_MOVE, MARK_MOVED, LEAVES_AGAIN];

/// Freezes the outcome inside the caller's transaction. After its commit nobody can cancel the job; where cancelling
/// was asked for before, the caller sees it here and may drop the transaction and cancel instead.
///
/// # Errors
/// [`LeaseError::Fenced`] where the job is no longer this lease's, or has an outcome already. Else where the database
/// is out of reach.
pub async fn freeze(tx: &mut Tx, lease: &Lease, frozen: &Frozen) -> Result<CancelRequested, LeaseError> {
    let args = lease.args([
        Arg::Json(Some(frozen.outcome.clone())),
        Arg::from(frozen.finished_at),
        Arg::from(frozen.archive_sha256.clone()),
        Arg::from(frozen.related_job),
    ]);
    match tx.fetch_optional(&FREEZE, &args).await? {
        Some(row) => Ok(CancelRequested(row.get(0)?)),
        None => Err(LeaseError::Fenced(lease.job)),
    }
}

/// Ends a job inside the caller's transaction, which queues its mail as well. The oldest job that waited for it is
/// queued, the others wait for that one; returns it.
///
/// # Errors
/// [`LeaseError::Fenced`] where the job is no longer this lease's: the transaction must be dropped. Else where the
/// database is out of reach.
pub async fn finish(tx: &mut Tx, lease: &Lease, ending: &Ending) -> Result<Option<JobId>, LeaseError> {
    let args = [
        Arg::from(ending.state.as_str()),
        Arg::from(ending.summary.as_str()),
        Arg::from(ending.result_folder.clone()),
        Arg::from(ending.finished_at),
    ];
    super::update_leased(tx, &FINISH, lease, args).await?;
    let Some(row) = tx.fetch_optional(&FREE_OLDEST, &[Arg::from(lease.job)]).await? else { return Ok(None) };
    let freed = job_id(&row, 0)?;
    let archive_name: String = row.get(1)?;
    let waits_for = behind(freed, &archive_name, &row.get::<String>(2)?);
    tx.execute(&WAIT_FOR_FREED, &[Arg::from(lease.job), Arg::from(freed), Arg::from(waits_for)]).await?;
    Ok(Some(freed))
}

/// The oldest `limit` jobs whose dropped file is still to be moved.
///
/// # Errors
/// Where the database is out of reach.
pub async fn sources_to_move(
    database: &Database,
    after: Option<JobId>,
    of: Option<JobId>,
    limit: u64,
) -> Result<Vec<SourceToMove>, DbError> {
    let after = after.map_or_else(String::new, |job| job.to_string());
    let args = [Arg::from(after), Arg::from(of.map(|job| job.to_string())), Arg::from(super::to_int(limit))];
    let rows = database.fetch_all(&TO_MOVE, &args).await?;
    rows.iter()
        .map(|row| {
            Ok(SourceToMove {
                job: job_id(row, 0)?,
                account: row.get(1)?,
                archive_name: row.get(2)?,
                state: view::state(row, 3)?,
                finished_at: row.get(4)?,
            })
        })
        .collect()
}

/// Notes that the dropped file of an ended job lies at `path`, or nowhere; said twice, the first one stands.
///
/// # Errors
/// Where the database is out of reach.
pub async fn mark_moved(database: &Database, job: JobId, path: Option<&str>) -> Result<(), DbError> {
    database.execute(&MARK_MOVED, &[Arg::from(job), Arg::from(path.map(str::to_owned))]).await.map(drop)
}

/// Notes that the dropped file of an ended job, which was nowhere, lies in the work folder after all.
///
/// # Errors
/// Where the database is out of reach.
pub async fn leaves_again(database: &Database, job: JobId) -> Result<(), DbError> {
    database.execute(&LEAVES_AGAIN, &[Arg::from(job)]).await.map(drop)
}
