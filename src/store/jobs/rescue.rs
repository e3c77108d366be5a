//! Taking jobs from processes that are dead.

use super::{OwnerId, job_id, owner_id};
use crate::db::{Arg, Database, DbError, Sql};
use crate::model::JobId;

/// A running job of another process, as it was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The job.
    pub job: JobId,
    /// Who runs it.
    pub owner: OwnerId,
    /// Counts its claims.
    pub epoch: i64,
    /// Grows as long as the owner lives.
    pub beat: i64,
}

/// Whether the job may be what its owner died of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// It may: that is a strike.
    Strike,
    /// The owner had stopped softly and could not give it back.
    None,
}

const RUNNING_OF_OTHERS: Sql = Sql::same(
    "look at the jobs of other daemons",
    "SELECT id, owner, epoch, beat FROM jobs WHERE state = 'running' AND owner <> $1",
);

/// A sign of life after the look makes the beat another one, and nothing is touched.
const RESCUE: Sql = Sql::same(
    "rescue a job",
    "UPDATE jobs SET state = 'queued', owner = NULL, strikes = strikes + $5 \
     WHERE id = $1 AND state = 'running' AND owner = $2 AND epoch = $3 AND beat = $4",
);

const FREE_STRANDED: Sql = Sql::same(
    "free jobs that wait for nothing",
    "UPDATE jobs SET state = 'queued', blocked_on = NULL, waits_for = NULL, waits_since = NULL \
     WHERE state = 'blocked' AND NOT EXISTS (SELECT 1 FROM jobs AS blocker WHERE blocker.id = jobs.blocked_on \
     AND blocker.state IN ('queued', 'running', 'blocked', 'paused'))",
);

pub(super) const STATEMENTS: &[Sql] = &[RUNNING_OF_OTHERS, RESCUE, FREE_STRANDED];

/// The running jobs of every process but this one.
///
/// # Errors
/// Where the database is out of reach.
pub async fn running_of_others(database: &Database, owner: OwnerId) -> Result<Vec<Seen>, DbError> {
    let rows = database.fetch_all(&RUNNING_OF_OTHERS, &[Arg::from(owner.to_string())]).await?;
    rows.iter()
        .map(|row| Ok(Seen { job: job_id(row, 0)?, owner: owner_id(row, 1)?, epoch: row.get(2)?, beat: row.get(3)? }))
        .collect()
}

/// Takes a job from its dead owner and queues it again; false where it showed a sign of life since it was seen.
///
/// # Errors
/// Where the database is out of reach.
pub async fn rescue(database: &Database, seen: &Seen, blame: Blame) -> Result<bool, DbError> {
    let strikes: i64 = match blame {
        Blame::Strike => 1,
        Blame::None => 0,
    };
    let args = [
        Arg::from(seen.job),
        Arg::from(seen.owner.to_string()),
        Arg::from(seen.epoch),
        Arg::from(seen.beat),
        Arg::from(strikes),
    ];
    Ok(database.execute(&RESCUE, &args).await? == 1)
}

/// Queues blocked jobs whose blocker has ended or vanished, and says how many they were.
///
/// # Errors
/// Where the database is out of reach.
pub async fn free_stranded(database: &Database) -> Result<u64, DbError> {
    database.execute(&FREE_STRANDED, &[]).await
}
