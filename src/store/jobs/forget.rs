//! Jobs that ended long ago.

use super::to_int;
use crate::clock::Timestamp;
use crate::db::{Arg, Database, DbError, Row, Sql};

/// What still speaks of a job keeps it: messages and mails that are to go out, a job that waits for it.
const OLD: Sql = Sql::same(
    "list old jobs",
    "SELECT j.id FROM jobs AS j WHERE j.state IN ('succeeded', 'partial', 'duplicate', 'failed', 'cancelled') \
     AND j.source_state = 'moved' AND j.finished_at < $1 \
     AND NOT EXISTS (SELECT 1 FROM deliveries AS d WHERE d.job_id = j.id AND d.state = 'pending') \
     AND NOT EXISTS (SELECT 1 FROM mails AS m WHERE m.job_id = j.id AND m.state = 'queued') \
     AND NOT EXISTS (SELECT 1 FROM jobs AS w WHERE w.blocked_on = j.id AND w.state = 'blocked') \
     ORDER BY j.id LIMIT $2",
);

const FORGET_PROBLEMS: Sql = Sql::same("forget the problems of a job", "DELETE FROM problems WHERE job_id = $1");

const FORGET_SLOTS: Sql = Sql::same("forget the slot of an export", "DELETE FROM schedule_slots WHERE job_id = $1");

const FORGET: Sql = Sql::same("forget a job", "DELETE FROM jobs WHERE id = $1 AND source_state = 'moved'");

pub(super) const STATEMENTS: &[Sql] = &[OLD, FORGET_PROBLEMS, FORGET_SLOTS, FORGET];

/// Deletes at most `limit` jobs that ended before an instant, with their problems; says how many. What they have imported
/// stays, and so does what is known of its bytes.
///
/// # Errors
/// Where the database is out of reach.
pub async fn forget(database: &Database, before: Timestamp, limit: u64) -> Result<u64, DbError> {
    let rows = database.fetch_all(&OLD, &[before.into(), to_int(limit).into()]).await?;
    let ids: Vec<String> = rows.iter().map(|row: &Row| row.get(0)).collect::<Result<_, _>>()?;
    let mut forgotten = 0;
    for id in ids {
        let mut tx = database.begin().await?;
        for sql in [&FORGET_PROBLEMS, &FORGET_SLOTS] {
            tx.execute(sql, &[Arg::from(id.as_str())]).await?;
        }
        forgotten += tx.execute(&FORGET, &[Arg::from(id.as_str())]).await?;
        tx.commit().await?;
    }
    Ok(forgotten)
}
