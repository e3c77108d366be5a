//! Handing out the next job.

use super::view::{JobView, view};
use super::{Lease, LeaseError, OwnerId};
use crate::clock::Timestamp;
use crate::db::{Arg, Database, DbError, Row, Sql};

/// Who asks for a job, and under which limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimRequest {
    /// The process that asks.
    pub owner: OwnerId,
    /// How many jobs of one account it runs at the same time.
    pub per_account: u64,
    /// With so many strikes a job is only handed out to be ended.
    pub strikes: u64,
    /// With so many attempts a job is only handed out to be ended.
    pub attempts: u64,
    /// Jobs that are due later stay.
    pub now: Timestamp,
    /// Nothing is ever put off beyond this: a job that is due later was put off by a clock that has been set back
    /// since, and is due.
    pub horizon: Timestamp,
}

/// A job as its runner gets it.
#[derive(Clone, Debug, PartialEq)]
pub struct ClaimedJob {
    /// The job, already `running`.
    pub job: JobView,
    /// Where to go on, as [`super::checkpoint`] wrote it.
    pub checkpoint: Option<String>,
    /// The outcome, where it was frozen before: only the reporting is left to do.
    pub outcome: Option<String>,
    /// What an export is to do, as it was asked for.
    pub request: Option<String>,
    /// Why it must not go on but be ended as failed, where that is so. A frozen outcome is kept all the same.
    pub must_end: Option<MustEnd>,
}

/// Why a job is handed out to be ended only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MustEnd {
    /// The process died too often while it ran.
    Quarantined {
        /// How often, without a checkpoint in between.
        strikes: u64,
    },
    /// It has used up its attempts.
    Exhausted {
        /// What went wrong last.
        reason: String,
    },
    /// The runner panicked a moment ago.
    Panicked {
        /// What the panic said.
        reason: String,
    },
}

macro_rules! due {
    () => {
        "state IN ('queued', 'paused') AND kind IN ('import', 'export') AND (run_at <= $1 OR run_at > $2)"
    };
}

/// The account with the fewest running jobs comes first, then the one served least recently, then the oldest job's.
const DUE_ACCOUNTS: Sql = Sql::same(
    "look for accounts with jobs to run",
    concat!(
        "SELECT waiting.account FROM (SELECT account, min(id) AS oldest FROM jobs WHERE ",
        due!(),
        " GROUP BY account) AS waiting \
         LEFT JOIN (SELECT account, count(*) AS jobs, count(CASE WHEN owner = $3 THEN 1 END) AS own FROM jobs \
         WHERE state = 'running' GROUP BY account) AS busy ON busy.account = waiting.account \
         WHERE coalesce(busy.own, 0) < $4 \
         ORDER BY coalesce(busy.jobs, 0), \
         (SELECT max(served.claimed_at) FROM jobs AS served WHERE served.account = waiting.account) NULLS FIRST, \
         waiting.oldest"
    ),
);

macro_rules! claim {
    ($lock:literal) => {
        concat!(
            "UPDATE jobs SET state = 'running', owner = $3, epoch = epoch + 1, beat = beat + 1, claimed_at = $4, \
             started_at = coalesce(started_at, $4), blocked_on = NULL \
             WHERE state IN ('queued', 'paused') AND id = (SELECT id FROM jobs WHERE account = $5 AND ",
            due!(),
            " ORDER BY id LIMIT 1",
            $lock,
            ") RETURNING ",
            view_columns!(),
            ", epoch, checkpoint, outcome, request"
        )
    };
}

const CLAIM: Sql = Sql::per("claim a job", claim!(""), claim!(" FOR UPDATE SKIP LOCKED"));

const RELOAD: Sql = Sql::same(
    "read a claimed job",
    concat!("SELECT ", view_columns!(), ", epoch, checkpoint, outcome, request FROM jobs WHERE ", fence!()),
);

pub(super) const STATEMENTS: &[Sql] = &[DUE_ACCOUNTS, CLAIM, RELOAD];

/// Claims the next job, or says that there is none.
///
/// # Errors
/// Where the database is out of reach. Whether a job was claimed is then not known; [`super::beat`] shows it.
pub async fn claim_next(database: &Database, request: &ClaimRequest) -> Result<Option<(Lease, ClaimedJob)>, DbError> {
    let owner = request.owner.to_string();
    let accounts = database
        .fetch_all(
            &DUE_ACCOUNTS,
            &[
                Arg::from(request.now),
                Arg::from(request.horizon),
                Arg::from(&owner),
                Arg::from(super::to_int(request.per_account)),
            ],
        )
        .await?;
    for account in &accounts {
        let account: String = account.get(0)?;
        let mut tx = database.begin().await?;
        let args = [
            Arg::from(request.now),
            Arg::from(request.horizon),
            Arg::from(&owner),
            Arg::from(request.now),
            Arg::from(account),
        ];
        if let Some(row) = tx.fetch_optional(&CLAIM, &args).await? {
            let (epoch, mut claimed) = claimed(&row)?;
            tx.commit().await?;
            claimed.must_end = must_end(&claimed.job, request);
            let lease = Lease { job: claimed.job.id, owner: request.owner, epoch };
            return Ok(Some((lease, claimed)));
        }
    }
    Ok(None)
}

/// Reads a claimed job anew, as its checkpoints have left it; it may go on.
///
/// # Errors
/// [`LeaseError::Fenced`] where the job is no longer this lease's; else where the database is out of reach.
pub async fn reload(database: &Database, lease: &Lease) -> Result<ClaimedJob, LeaseError> {
    match database.fetch_optional(&RELOAD, &lease.args([])).await? {
        Some(row) => Ok(claimed(&row)?.1),
        None => Err(LeaseError::Fenced(lease.job)),
    }
}

fn claimed(row: &Row) -> Result<(i64, ClaimedJob), DbError> {
    let (job, next) = view(row)?;
    let claimed = ClaimedJob {
        job,
        checkpoint: row.get(next + 1)?,
        outcome: row.get(next + 2)?,
        request: row.get(next + 3)?,
        must_end: None,
    };
    Ok((row.get(next)?, claimed))
}

fn must_end(job: &JobView, request: &ClaimRequest) -> Option<MustEnd> {
    if job.strikes >= request.strikes {
        return Some(MustEnd::Quarantined { strikes: job.strikes });
    }
    (job.attempts >= request.attempts).then(|| MustEnd::Exhausted {
        reason: job.last_trouble.clone().unwrap_or_else(|| "it is not known why".to_owned()),
    })
}
