//! Jobs as people see them.

use super::{job_id, optional_job_id, progress_text, to_int};
use crate::clock::Timestamp;
use crate::db::{Arg, Database, DbError, Row, Sql};
use crate::model::{JobId, JobState};

/// Everything that people see of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobView {
    /// Its id; sorts by arrival.
    pub id: JobId,
    /// What it does; a word of [`super::JobKind`], or one of a newer daemon.
    pub kind: String,
    /// Whose it is.
    pub account: String,
    /// What it does now.
    pub state: JobState,
    /// The dropped file's name.
    pub archive_name: String,
    /// The dropped file's size in bytes.
    pub archive_bytes: u64,
    /// SHA-256 of the dropped file in hex, once the outcome is frozen.
    pub archive_sha256: Option<String>,
    /// Which event the archive speaks of, once that is known.
    pub source_key: Option<String>,
    /// Whether the same bytes are to be imported again.
    pub again: bool,
    /// The job that this one repeats.
    pub retry_of: Option<JobId>,
    /// The job that this one is a duplicate of, or a supplement to.
    pub related_job: Option<JobId>,
    /// When the file was claimed.
    pub created_at: Timestamp,
    /// When it is due, where it waits.
    pub run_at: Timestamp,
    /// When work on it began.
    pub started_at: Option<Timestamp>,
    /// When its outcome was frozen.
    pub finished_at: Option<Timestamp>,
    /// Attempts that are used up.
    pub attempts: u64,
    /// Snoozes in a row without progress.
    pub outages: u64,
    /// Deaths of the process while it ran, without a checkpoint in between.
    pub strikes: u64,
    /// Whether a person wants it cancelled.
    pub cancel_requested: bool,
    /// What last went wrong.
    pub last_trouble: Option<String>,
    /// What it waits for; none while it goes on and after its end.
    pub waits_for: Option<String>,
    /// Since when.
    pub waits_since: Option<Timestamp>,
    /// The job that it waits for.
    pub blocked_on: Option<JobId>,
    /// What it does, as a phrase: `importing sessions`.
    pub stage: Option<String>,
    /// Records of the stage that are done.
    pub stage_done: u64,
    /// Records of the stage in all; 0 where that is not known.
    pub stage_total: u64,
    /// The event that the archive goes into.
    pub event_id: Option<i64>,
    /// Whether this job made it.
    pub event_created: bool,
    /// How it ended, in one sentence.
    pub summary: Option<String>,
    /// Where the result files lie.
    pub result_folder: Option<String>,
    /// Where the dropped file is.
    pub source_state: SourceState,
    /// Its path after the job.
    pub source_path: Option<String>,
    /// Whether handlers are called; none where neither a command nor the archive has said so.
    pub with_handlers: Option<bool>,
    /// Whether it waits for what is as it should be: its hours, a handler. It does so also while it looks whether it has to.
    pub is_held: bool,
    /// More about what it waits for: `1,940 undelivered`.
    pub waits_detail: Option<String>,
}

impl JobView {
    /// The line that says how far it is, as [`progress_text`] puts it; none before it has begun.
    pub fn progress(&self) -> Option<String> {
        self.stage.as_deref().map(|stage| progress_text(stage, self.stage_done, self.stage_total))
    }
}

/// Where a dropped file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceState {
    /// In the work folder, for its job.
    Held,
    /// In the work folder, or already moved: that is not recorded yet.
    Leaving,
    /// In `done/` or `rejected/`.
    Moved,
}

/// Which jobs to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only this account's.
    pub account: Option<String>,
    /// Only in one of these states; empty for any.
    pub states: Vec<JobState>,
    /// At most so many.
    pub limit: u64,
}

/// What an abbreviated id stands for.
#[derive(Clone, Debug, PartialEq)]
pub enum Lookup {
    /// One job.
    Found(Box<JobView>),
    /// Several; up to ten of them.
    Ambiguous(Vec<JobId>),
    /// None.
    Unknown,
}

/// Ids of an ambiguous abbreviation that are named.
const NAMED_WHEN_AMBIGUOUS: i64 = 10;

const LIST: Sql = Sql::same(
    "list jobs",
    concat!(
        "SELECT ",
        view_columns!(),
        " FROM jobs WHERE (CAST($1 AS TEXT) IS NULL OR account = $1) \
         AND (CAST($2 AS TEXT) IS NULL OR $2 LIKE '%,' || state || ',%') ORDER BY id DESC LIMIT $3"
    ),
);

const BY_ID: Sql = Sql::same("read a job", concat!("SELECT ", view_columns!(), " FROM jobs WHERE id = $1"));

const BY_PREFIX: Sql = Sql::same(
    "look for a job",
    concat!("SELECT ", view_columns!(), " FROM jobs WHERE id LIKE $1 || '%' ORDER BY id LIMIT $2"),
);

const STATE: Sql = Sql::same("read the state of a job", "SELECT state FROM jobs WHERE id = $1");

const OUTCOME: Sql = Sql::same("read the outcome of a job", "SELECT outcome FROM jobs WHERE id = $1");

const COUNTS: Sql = Sql::same(
    "count the jobs",
    "SELECT state, count(*) FROM jobs WHERE CAST($1 AS TEXT) IS NULL OR account = $1 GROUP BY state",
);

const UNFINISHED: Sql =
    Sql::same("count the unfinished jobs", concat!("SELECT count(*) FROM jobs WHERE ", unfinished!()));

/// The first condition is the one by which SQLite finds the index.
const QUEUED: Sql = Sql::same(
    "count the queued jobs",
    "SELECT count(*) FROM jobs WHERE state IN ('queued', 'paused') AND state = 'queued' AND kind IN ('import', 'export')",
);

/// The first condition is the one by which SQLite finds the index.
const ENDING: Sql = Sql::same(
    "count the jobs of an account that may end soon",
    concat!(
        "SELECT count(*) FROM jobs WHERE ",
        unfinished!(),
        " AND state <> 'paused' AND account = $1 AND run_at <= $2"
    ),
);

pub(super) const STATEMENTS: &[Sql] = &[LIST, BY_ID, BY_PREFIX, STATE, OUTCOME, COUNTS, UNFINISHED, QUEUED, ENDING];

/// Jobs, the newest first.
///
/// # Errors
/// Where the database is out of reach.
pub async fn list(database: &Database, filter: &Filter) -> Result<Vec<JobView>, DbError> {
    let states = (!filter.states.is_empty())
        .then(|| filter.states.iter().fold(String::from(","), |words, state| words + state.as_str() + ","));
    let args = [Arg::from(filter.account.clone()), Arg::from(states), Arg::from(to_int(filter.limit))];
    let rows = database.fetch_all(&LIST, &args).await?;
    rows.iter().map(|row| Ok(view(row)?.0)).collect()
}

/// The job of an id, or of the beginning of one.
///
/// # Errors
/// Where the database is out of reach.
pub async fn get(database: &Database, id_or_prefix: &str) -> Result<Lookup, DbError> {
    let wanted = id_or_prefix.to_ascii_lowercase();
    if wanted.is_empty() || !wanted.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-') {
        return Ok(Lookup::Unknown);
    }
    if let Some(row) = database.fetch_optional(&BY_ID, &[Arg::from(&wanted)]).await? {
        return Ok(Lookup::Found(Box::new(view(&row)?.0)));
    }
    let rows = database.fetch_all(&BY_PREFIX, &[Arg::from(&wanted), Arg::from(NAMED_WHEN_AMBIGUOUS)]).await?;
    match rows.as_slice() {
        [] => Ok(Lookup::Unknown),
        [row] => Ok(Lookup::Found(Box::new(view(row)?.0))),
        several => Ok(Lookup::Ambiguous(several.iter().map(|row| job_id(row, 0)).collect::<Result<_, _>>()?)),
    }
}

/// The state of a job, where there is such a job.
///
/// # Errors
/// Where the database is out of reach.
pub async fn state_of(database: &Database, job: JobId) -> Result<Option<JobState>, DbError> {
    database.fetch_optional(&STATE, &[Arg::from(job)]).await?.map(|row| state(&row, 0)).transpose()
}

/// The frozen outcome of a job as JSON, once there is one.
///
/// # Errors
/// Where the database is out of reach.
pub async fn outcome(database: &Database, job: JobId) -> Result<Option<String>, DbError> {
    match database.fetch_optional(&OUTCOME, &[Arg::from(job)]).await? {
        Some(row) => row.get(0),
        None => Ok(None),
    }
}

/// How many jobs there are in each state, of one account or of all; states without jobs count 0.
///
/// # Errors
/// Where the database is out of reach.
pub async fn counts(database: &Database, account: Option<&str>) -> Result<Vec<(JobState, u64)>, DbError> {
    let mut counts: Vec<_> = JobState::ALL.into_iter().map(|state| (state, 0)).collect();
    for row in database.fetch_all(&COUNTS, &[Arg::from(account)]).await? {
        let counted = state(&row, 0)?;
        for (state, count) in &mut counts {
            if *state == counted {
                *count = row.count(1)?;
            }
        }
    }
    Ok(counts)
}

/// How many jobs have not ended.
///
/// # Errors
/// Where the database is out of reach.
pub async fn unfinished(database: &Database) -> Result<u64, DbError> {
    count(database, &UNFINISHED, &[]).await
}

/// How many jobs wait for a daemon, those that are due later too.
///
/// # Errors
/// Where the database is out of reach.
pub async fn queued(database: &Database) -> Result<u64, DbError> {
    count(database, &QUEUED, &[]).await
}

/// How many jobs of an account have not ended, without those that are paused or due later.
///
/// # Errors
/// Where the database is out of reach.
pub async fn ending(database: &Database, account: &str, now: Timestamp) -> Result<u64, DbError> {
    count(database, &ENDING, &[account.into(), now.into()]).await
}

async fn count(database: &Database, sql: &Sql, args: &[Arg]) -> Result<u64, DbError> {
    match database.fetch_optional(sql, args).await? {
        Some(row) => row.count(0),
        None => Ok(0),
    }
}

/// Reads the columns of `view_columns!`, which come first, and says which one is next.
pub(super) fn view(row: &Row) -> Result<(JobView, usize), DbError> {
    let state = state(row, 3)?;
    let waits = match state {
        JobState::Queued | JobState::Blocked | JobState::Paused => true,
        JobState::Running => row.get(33)?,
        JobState::Succeeded | JobState::Partial | JobState::Failed | JobState::Cancelled | JobState::Duplicate => false,
    };
    let view = JobView {
        id: job_id(row, 0)?,
        kind: row.get(1)?,
        account: row.get(2)?,
        state,
        archive_name: row.get(4)?,
        archive_bytes: row.count(5)?,
        archive_sha256: row.get(6)?,
        source_key: row.get(7)?,
        again: row.get(8)?,
        retry_of: optional_job_id(row, 9)?,
        related_job: optional_job_id(row, 10)?,
        created_at: row.get(11)?,
        run_at: row.get(12)?,
        started_at: row.get(13)?,
        finished_at: row.get(14)?,
        attempts: row.count(15)?,
        outages: row.count(16)?,
        strikes: row.count(17)?,
        cancel_requested: row.get(18)?,
        last_trouble: row.get(19)?,
        waits_for: row.get::<Option<String>>(20)?.filter(|_| waits),
        waits_since: row.get::<Option<Timestamp>>(21)?.filter(|_| waits),
        blocked_on: optional_job_id(row, 22)?,
        stage: row.get(23)?,
        stage_done: row.count(24)?,
        stage_total: row.count(25)?,
        event_id: row.get(26)?,
        event_created: row.get(27)?,
        summary: row.get(28)?,
        result_folder: row.get(29)?,
        source_state: source_state(row, 30)?,
        source_path: row.get(31)?,
        with_handlers: row.get(32)?,
        is_held: row.get(33)?,
        waits_detail: row.get::<Option<String>>(34)?.filter(|_| waits),
    };
    Ok((view, 35))
}

pub(super) fn state(row: &Row, column: usize) -> Result<JobState, DbError> {
    let word: String = row.get(column)?;
    JobState::parse(&word).ok_or_else(|| {
        DbError::unusable("read the state of a job", format!("`{word}` is none that this program knows"))
    })
}

fn source_state(row: &Row, column: usize) -> Result<SourceState, DbError> {
    let word: String = row.get(column)?;
    match word.as_str() {
        "held" => Ok(SourceState::Held),
        "leaving" => Ok(SourceState::Leaving),
        "moved" => Ok(SourceState::Moved),
        _ => Err(DbError::unusable("read where a dropped file is", format!("`{word}` is no such place"))),
    }
}
