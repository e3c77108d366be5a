//! Jobs: from the row that a claim writes to the row that says how it ended.
//!
//! A running job belongs to a [`Lease`]: its owner (random per process) and the epoch of the claim. Every update of a
//! running job is fenced by it and touches one row or fails with [`LeaseError::Fenced`].

macro_rules! unfinished {
    () => {
        "state IN ('queued', 'running', 'blocked', 'paused')"
    };
}

macro_rules! fence {
    () => {
        "id = $1 AND state = 'running' AND owner = $2 AND epoch = $3"
    };
}

macro_rules! view_columns {
    () => {
        "id, kind, account, state, archive_name, archive_bytes, archive_sha256, source_key, again, retry_of, \
         related_job, created_at, run_at, started_at, finished_at, attempts, outages, strikes, cancel_requested, \
         last_trouble, waits_for, waits_since, blocked_on, stage, stage_done, stage_total, event_id, event_created, \
         summary, result_folder, source_state, source_path, with_handlers, held, waits_detail"
    };
}

mod arrive;
mod claim;
mod end;
mod forget;
mod lease;
mod progress;
mod rescue;
mod source_turn;
mod view;

use std::fmt;

use uuid::Uuid;

use crate::db::{Arg, Database, DbError, Row, Sql, Tx};
use crate::model::JobId;

pub use arrive::{Cancellation, Insertion, NewExport, NewJob, cancel, insert, insert_export};
pub use claim::{ClaimRequest, ClaimedJob, MustEnd, claim_next, reload};
pub use end::{Ending, Frozen, SourceToMove, finish, freeze, leaves_again, mark_moved, sources_to_move};
pub use forget::forget;
pub use lease::{
    CancelRequested, CheckpointUpdate, Hold, beat, checkpoint, go_on, is_held, note_handlers, note_hold, note_progress,
    pause, release, retry_later, snooze, strike,
};
pub use progress::{progress_text, waiting_text};
pub use rescue::{Blame, Seen, free_stranded, rescue, running_of_others};
pub use source_turn::{SourceTurn, block_on, take_event_turn, take_source_turn};
pub use view::{
    Filter, JobView, Lookup, SourceState, counts, ending, get, list, outcome, queued, state_of, unfinished,
};

/// What a job does. A daemon leaves rows of a kind that it does not know alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobKind {
    /// Brings an archive into the database.
    Import,
    /// Writes events into files.
    Export,
}

impl JobKind {
    /// The word used in the table.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Import => "import",
            Self::Export => "export",
        }
    }
}

/// Names a process that runs jobs; random, made at its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OwnerId(pub Uuid);

impl fmt::Display for OwnerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The right to update a running job. It ends when the job leaves the state `running`, by whoever's hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lease {
    /// The job.
    pub job: JobId,
    /// The process that claimed it.
    pub owner: OwnerId,
    /// Counts the claims of this job.
    pub epoch: i64,
}

impl Lease {
    /// The arguments of `fence!`, with those of the statement behind them.
    fn args(&self, rest: impl IntoIterator<Item = Arg>) -> Vec<Arg> {
        let mut args = vec![Arg::from(self.job), Arg::from(self.owner.to_string()), Arg::from(self.epoch)];
        args.extend(rest);
        args
    }
}

/// Why a running job was not updated.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// The lease has ended: whatever was not committed with it must be dropped.
    #[error("could not go on with job `{0}`: it has ended, or another claim has taken it over; nothing is to be done")]
    Fenced(JobId),
    /// The database did not do it.
    #[error(transparent)]
    Database(#[from] DbError),
}

/// Every statement on jobs, for the test that prepares each on both databases.
pub fn statements() -> Vec<Sql> {
    [
        arrive::STATEMENTS,
        claim::STATEMENTS,
        end::STATEMENTS,
        forget::STATEMENTS,
        lease::STATEMENTS,
        rescue::STATEMENTS,
        source_turn::STATEMENTS,
        view::STATEMENTS,
    ]
    .concat()
}

/// Runs a fenced statement inside a transaction.
async fn update_leased(
    tx: &mut Tx,
    sql: &Sql,
    lease: &Lease,
    rest: impl IntoIterator<Item = Arg>,
) -> Result<(), LeaseError> {
    match tx.execute(sql, &lease.args(rest)).await? {
        1 => Ok(()),
        _ => Err(LeaseError::Fenced(lease.job)),
    }
}

/// Runs a fenced statement in a transaction of its own.
async fn update_leased_alone(
    database: &Database,
    sql: &Sql,
    lease: &Lease,
    rest: impl IntoIterator<Item = Arg>,
) -> Result<(), LeaseError> {
    let mut tx = database.begin().await?;
    update_leased(&mut tx, sql, lease, rest).await?;
    Ok(tx.commit().await?)
}

/// What a job waits for that another one holds up.
fn behind(blocker: JobId, name: &str, kind: &str) -> String {
    let what = if kind == JobKind::Export.as_str() {
        "an export of the same account"
    } else {
        "an import into the same event"
    };
    format!("job {blocker} (`{name}`), {what}")
}

fn job_id(row: &Row, column: usize) -> Result<JobId, DbError> {
    let text: String = row.get(column)?;
    text.parse().map_err(|error| DbError::unusable("read the id of a job", format!("`{text}` is none: {error}")))
}

fn optional_job_id(row: &Row, column: usize) -> Result<Option<JobId>, DbError> {
    match row.get::<Option<String>>(column)? {
        Some(_) => job_id(row, column).map(Some),
        None => Ok(None),
    }
}

fn owner_id(row: &Row, column: usize) -> Result<OwnerId, DbError> {
    let text: String = row.get(column)?;
    let id = text
        .parse()
        .map_err(|error| DbError::unusable("read the owner of a job", format!("`{text}` is no owner's id: {error}")))?;
    Ok(OwnerId(id))
}

/// Counts are never negative, and none comes near the end of `i64`.
fn to_int(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
