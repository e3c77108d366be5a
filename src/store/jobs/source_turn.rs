//! Imports of one account with the same source key run one after the other, in order of arrival; so do its exports.

use super::{Lease, LeaseError, behind, job_id, update_leased};
use crate::clock::Timestamp;
use crate::db::{Arg, Database, DbError, Sql, Tx};
use crate::model::JobId;

/// Whether a running job may go on with the source that its archive speaks of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceTurn {
    /// It may, until it ends: no other import with this source key begins meanwhile.
    Granted,
    /// It must wait for this job; the runner gives its claim back with it.
    BlockedOn(JobId),
}

/// The unfinished job that comes first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ahead {
    pub(super) job: JobId,
    pub(super) archive_name: String,
    pub(super) kind: String,
}

/// Two daemons that ask for the same source are served one after the other. SQLite has one writer anyway.
const LOCK_SOURCE: Sql =
    Sql::per("lock a source", "SELECT 1 WHERE $1 IS NOT NULL", "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))");

const EARLIER: Sql = Sql::same(
    "look for an earlier import of the same source",
    concat!(
        "SELECT id FROM jobs WHERE account = $1 AND source_key = $2 AND id < $3 AND ",
        unfinished!(),
        " ORDER BY id DESC LIMIT 1"
    ),
);

const HOLDER: Sql = Sql::same(
    "look for the import that has a source",
    concat!(
        "SELECT id FROM jobs WHERE account = $1 AND source_key = $2 AND id > $3 AND source_turn AND ",
        unfinished!(),
        " ORDER BY id LIMIT 1"
    ),
);

const NAME_SOURCE: Sql = Sql::same(
    "note the source of a job",
    concat!(
        "UPDATE jobs SET source_turn = (source_turn AND coalesce(source_key = $4, FALSE)), source_key = $4 WHERE ",
        fence!(),
        " RETURNING source_turn, account"
    ),
);

const OTHER_WITH_EVENT: Sql = Sql::same(
    "look for imports into an event",
    concat!(
        "SELECT id FROM jobs WHERE account = $1 AND event_id = $2 AND id <> $3 AND ",
        unfinished!(),
        " ORDER BY id LIMIT 1"
    ),
);

const NAME_EVENT: Sql = Sql::same("note the event of a job", concat!("UPDATE jobs SET event_id = $4 WHERE ", fence!()));

const GRANT: Sql = Sql::same("grant a source", concat!("UPDATE jobs SET source_turn = TRUE WHERE ", fence!()));

/// Locks it, so that it does not end before the one that waits for it has said so.
const BLOCKER: Sql = Sql::per(
    "read the job that another one waits for",
    concat!("SELECT archive_name, kind FROM jobs WHERE id = $1 AND ", unfinished!()),
    concat!("SELECT archive_name, kind FROM jobs WHERE id = $1 AND ", unfinished!(), " FOR UPDATE"),
);

/// A job that is to be cancelled waits for nobody: the next claim ends it.
const BLOCK: Sql = Sql::same(
    "let a job wait for another",
    concat!(
        "UPDATE jobs SET state = CASE WHEN cancel_requested THEN 'queued' ELSE 'blocked' END, \
         blocked_on = CASE WHEN cancel_requested THEN NULL ELSE $4 END, \
         owner = NULL, source_turn = FALSE, waits_for = $5, waits_since = $6 WHERE ",
        fence!()
    ),
);

pub(super) const STATEMENTS: &[Sql] =
    &[LOCK_SOURCE, EARLIER, HOLDER, NAME_SOURCE, OTHER_WITH_EVENT, NAME_EVENT, GRANT, BLOCKER, BLOCK];

/// Notes which source a running job's archive speaks of and asks for its turn: it comes when every earlier unfinished
/// import with this key has ended, and no later one holds it. Asked again, a granted turn stays granted.
///
/// # Errors
/// [`LeaseError::Fenced`] where the job is no longer this lease's; else where the database is out of reach.
pub async fn take_source_turn(database: &Database, lease: &Lease, source_key: &str) -> Result<SourceTurn, LeaseError> {
    let mut tx = database.begin().await?;
    let named = tx.fetch_optional(&NAME_SOURCE, &lease.args([Arg::from(source_key)])).await?;
    let Some(row) = named else { return Err(LeaseError::Fenced(lease.job)) };
    let holds: bool = row.get(0)?;
    let account: String = row.get(1)?;
    if holds {
        tx.commit().await?;
        return Ok(SourceTurn::Granted);
    }
    // Committed, so that whoever waits for the lock on the source sees this key, and nobody waits for this row.
    tx.commit().await?;

    let mut tx = database.begin().await?;
    let turn = match ahead_of(&mut tx, lease.job, &account, source_key).await? {
        Some(ahead) => SourceTurn::BlockedOn(ahead.job),
        None => {
            update_leased(&mut tx, &GRANT, lease, []).await?;
            SourceTurn::Granted
        }
    };
    tx.commit().await?;
    Ok(turn)
}

/// Notes into which event a running job goes, where no other unfinished import goes there; the one that has made it is one. A
/// job that has to wait notes nothing, so that nobody waits for it over this event.
///
/// # Errors
/// As [`take_source_turn`].
pub async fn take_event_turn(
    database: &Database,
    lease: &Lease,
    account: &str,
    event_id: i64,
) -> Result<SourceTurn, LeaseError> {
    let mut tx = database.begin().await?;
    tx.fetch_all(&LOCK_SOURCE, &[Arg::from(format!("{account}/event {event_id}"))]).await?;
    let others = [Arg::from(account), Arg::from(event_id), Arg::from(lease.job)];
    let turn = match tx.fetch_optional(&OTHER_WITH_EVENT, &others).await? {
        Some(row) => SourceTurn::BlockedOn(job_id(&row, 0)?),
        None => {
            update_leased(&mut tx, &NAME_EVENT, lease, [Arg::from(event_id)]).await?;
            SourceTurn::Granted
        }
    };
    tx.commit().await?;
    Ok(turn)
}

/// Gives a running job back until another one has ended; where that has ended meanwhile, or the job itself is to be
/// cancelled, it is queued.
///
/// # Errors
/// As [`take_source_turn`].
pub async fn block_on(database: &Database, lease: &Lease, blocker: JobId, now: Timestamp) -> Result<(), LeaseError> {
    let mut tx = database.begin().await?;
    match tx.fetch_optional(&BLOCKER, &[Arg::from(blocker)]).await? {
        Some(row) => {
            let archive_name: String = row.get(0)?;
            let waits_for = behind(blocker, &archive_name, &row.get::<String>(1)?);
            let args = [Arg::from(blocker), Arg::from(waits_for), Arg::from(now)];
            update_leased(&mut tx, &BLOCK, lease, args).await?;
        }
        None => update_leased(&mut tx, &super::lease::RELEASE, lease, [Arg::from(now)]).await?,
    }
    Ok(tx.commit().await?)
}

/// The newest unfinished import of this source that arrived before `job`; where there is none, the one that holds the
/// turn. Waiting for earlier ones, and for the holder only, never closes a circle.
pub(super) async fn ahead_of(
    tx: &mut Tx,
    job: JobId,
    account: &str,
    source_key: &str,
) -> Result<Option<Ahead>, DbError> {
    tx.fetch_all(&LOCK_SOURCE, &[Arg::from(format!("{account}/{source_key}"))]).await?;
    let of_source = [Arg::from(account), Arg::from(source_key), Arg::from(job)];
    loop {
        let first = match tx.fetch_optional(&EARLIER, &of_source).await? {
            Some(earlier) => Some(earlier),
            None => tx.fetch_optional(&HOLDER, &of_source).await?,
        };
        let Some(first) = first else { return Ok(None) };
        let first = job_id(&first, 0)?;
        // It may have ended since it was read; then the next one is looked for.
        if let Some(row) = tx.fetch_optional(&BLOCKER, &[Arg::from(first)]).await? {
            return Ok(Some(Ahead { job: first, archive_name: row.get(0)?, kind: row.get(1)? }));
        }
    }
}
