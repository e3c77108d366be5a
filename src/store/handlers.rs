//! Handlers: who serves each, whether it takes anything, and since when it does not.

use crate::clock::Timestamp;
use crate::db::{Arg, Database, DbError, Row, Sql, Tx};
use crate::store::jobs::OwnerId;

/// The right to write about the messages of a handler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fence {
    /// The handler.
    pub handler: String,
    /// The process.
    pub owner: String,
    /// Counts those who have served the handler.
    pub epoch: i64,
}

/// Whether messages are delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandlerState {
    /// They are.
    On,
    /// A person wants them to wait.
    Paused,
    /// The receiver wants no more, or a person has switched it off: messages are put aside.
    Off,
}

impl HandlerState {
    /// The word in the table.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::Paused => "paused",
            Self::Off => "off",
        }
    }

    /// A state that is none was written by a foreign hand; nothing is delivered in it.
    fn parse(word: &str) -> Self {
        [Self::On, Self::Paused, Self::Off].into_iter().find(|state| state.as_str() == word).unwrap_or(Self::Paused)
    }
}

/// How a handler does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandlerRow {
    /// Its name.
    pub name: String,
    /// The process that serves it, as text.
    pub owner: Option<String>,
    /// Counts those who have served it.
    pub epoch: i64,
    /// Grows as long as the process lives.
    pub beat: i64,
    /// Whether messages are delivered.
    pub state: HandlerState,
    /// Why it is in this state.
    pub state_reason: Option<String>,
    /// Since when.
    pub state_since: Timestamp,
    /// Until when the receiver wants to be left alone.
    pub rest_until: Option<Timestamp>,
    /// Why.
    pub rest_reason: Option<String>,
    /// Since when it has taken nothing, where the last try failed.
    pub failing_since: Option<Timestamp>,
    /// Failed tries since then.
    pub failures: i64,
    /// What went wrong last.
    pub last_error: Option<String>,
    /// When it last took a message.
    pub last_delivered_at: Option<Timestamp>,
}

const ALL: Sql = Sql::same(
    "read the handlers",
    "SELECT name, owner, epoch, beat, state, state_reason, state_since, rest_until, rest_reason, failing_since, \
     failures, last_error, last_delivered_at FROM handlers ORDER BY name",
);

const GET: Sql = Sql::same(
    "read a handler",
    "SELECT name, owner, epoch, beat, state, state_reason, state_since, rest_until, rest_reason, failing_since, \
     failures, last_error, last_delivered_at FROM handlers WHERE name = $1",
);

const BEGIN: Sql = Sql::same(
    "begin a handler",
    "INSERT INTO handlers (name, epoch, beat, state, state_since, failures) VALUES ($1, 0, 0, 'on', $2, 0) \
     ON CONFLICT (name) DO NOTHING",
);

const TAKE: Sql = Sql::same(
    "take a handler",
    "UPDATE handlers SET owner = $2, epoch = epoch + 1, beat = beat + 1 WHERE name = $1 AND epoch = $3 RETURNING epoch",
);

const LEAVE: Sql =
    Sql::same("leave a handler", "UPDATE handlers SET owner = NULL WHERE name = $1 AND owner = $2 AND epoch = $3");

const LEAVE_ALL: Sql = Sql::same("leave all handlers of one", "UPDATE handlers SET owner = NULL WHERE owner = $1");

const BEAT: Sql = Sql::same(
    "show that a handler is served",
    "UPDATE handlers SET beat = beat + 1 WHERE name = $1 AND owner = $2 AND epoch = $3",
);

const SET_STATE: Sql = Sql::same(
    "switch a handler",
    "UPDATE handlers SET state = $2, state_reason = $3, state_since = $4, rest_until = NULL, rest_reason = NULL \
     WHERE name = $1 AND state <> $2",
);

const WENT_WELL: Sql = Sql::same(
    "note that a handler has taken a message",
    "UPDATE handlers SET failing_since = NULL, failures = 0, last_delivered_at = $2 WHERE name = $1",
);

const FAILED: Sql = Sql::same(
    "note that a handler has failed",
    "UPDATE handlers SET failing_since = coalesce(failing_since, $2), failures = failures + $3, last_error = $4 \
     WHERE name = $1",
);

const REST: Sql = Sql::same(
    "leave a handler alone for a while",
    "UPDATE handlers SET rest_until = $2, rest_reason = $3 WHERE name = $1",
);

const WAKE: Sql = Sql::same(
    "leave a handler alone no longer",
    "UPDATE handlers SET rest_until = NULL, rest_reason = NULL WHERE name = $1",
);

/// Every statement of this file, for the test that prepares them on both databases.
pub const STATEMENTS: [&Sql; 12] =
    [&ALL, &GET, &BEGIN, &TAKE, &LEAVE, &LEAVE_ALL, &BEAT, &SET_STATE, &WENT_WELL, &FAILED, &REST, &WAKE];

/// Every handler that was ever served, by name.
///
/// # Errors
/// Where the database is out of reach.
pub async fn all(database: &Database) -> Result<Vec<HandlerRow>, DbError> {
    database.fetch_all(&ALL, &[]).await?.iter().map(handler).collect()
}

/// A handler; none where it was never served.
///
/// # Errors
/// Where the database is out of reach.
pub async fn get(database: &Database, name: &str) -> Result<Option<HandlerRow>, DbError> {
    database.fetch_optional(&GET, &[name.into()]).await?.as_ref().map(handler).transpose()
}

/// Makes sure that a handler has a row.
///
/// # Errors
/// Where the database is out of reach.
pub async fn begin(database: &Database, name: &str, now: Timestamp) -> Result<(), DbError> {
    database.execute(&BEGIN, &[name.into(), now.into()]).await.map(drop)
}

/// Takes a handler over from whoever had it at `epoch`. Returns the epoch of the new owner; none where somebody else was
/// faster.
///
/// # Errors
/// Where the database is out of reach.
pub async fn take(database: &Database, name: &str, owner: &str, epoch: i64) -> Result<Option<i64>, DbError> {
    let mut tx = database.begin().await?;
    let taken = tx.fetch_optional(&TAKE, &[name.into(), owner.into(), epoch.into()]).await?;
    let epoch = taken.map(|row| row.get(0)).transpose()?;
    tx.commit().await?;
    Ok(epoch)
}

/// Gives a handler back.
///
/// # Errors
/// Where the database is out of reach.
pub async fn leave(database: &Database, fence: &Fence) -> Result<(), DbError> {
    database.execute(&LEAVE, &fence.args()).await.map(drop)
}

/// Gives back what a process that is gone has served.
///
/// # Errors
/// Where the database is out of reach.
pub async fn leave_all(database: &Database, owner: OwnerId) -> Result<(), DbError> {
    database.execute(&LEAVE_ALL, &[owner.to_string().into()]).await.map(drop)
}

/// Shows that the owner of a handler lives; false where it is somebody else's by now.
///
/// # Errors
/// Where the database is out of reach.
pub async fn beat(tx: &mut Tx, fence: &Fence) -> Result<bool, DbError> {
    Ok(tx.execute(&BEAT, &fence.args()).await? == 1)
}

/// Switches a handler; false where it is in that state already, or there is none.
///
/// # Errors
/// Where the database is out of reach.
pub async fn set_state(
    tx: &mut Tx,
    name: &str,
    state: HandlerState,
    reason: Option<&str>,
    now: Timestamp,
) -> Result<bool, DbError> {
    Ok(tx.execute(&SET_STATE, &[name.into(), state.as_str().into(), reason.into(), now.into()]).await? == 1)
}

/// Notes that a handler takes messages.
///
/// # Errors
/// Where the database is out of reach.
pub async fn went_well(tx: &mut Tx, name: &str, now: Timestamp) -> Result<(), DbError> {
    tx.execute(&WENT_WELL, &[name.into(), now.into()]).await.map(drop)
}

/// Notes that so many tries have failed, the last one with `error`.
///
/// # Errors
/// Where the database is out of reach.
pub async fn failed(tx: &mut Tx, name: &str, tries: i64, error: &str, now: Timestamp) -> Result<(), DbError> {
    tx.execute(&FAILED, &[name.into(), now.into(), tries.into(), error.into()]).await.map(drop)
}

/// Leaves a handler alone until an instant.
///
/// # Errors
/// Where the database is out of reach.
pub async fn rest(tx: &mut Tx, name: &str, until: Timestamp, reason: &str) -> Result<(), DbError> {
    tx.execute(&REST, &[name.into(), until.into(), reason.into()]).await.map(drop)
}

/// Leaves a handler alone no longer.
///
/// # Errors
/// Where the database is out of reach.
pub async fn wake(tx: &mut Tx, name: &str) -> Result<(), DbError> {
    tx.execute(&WAKE, &[name.into()]).await.map(drop)
}

fn handler(row: &Row) -> Result<HandlerRow, DbError> {
    Ok(HandlerRow {
        name: row.get(0)?,
        owner: row.get(1)?,
        epoch: row.get(2)?,
        beat: row.get(3)?,
        state: HandlerState::parse(&row.get::<String>(4)?),
        state_reason: row.get(5)?,
        state_since: row.get(6)?,
        rest_until: row.get(7)?,
        rest_reason: row.get(8)?,
        failing_since: row.get(9)?,
        failures: row.get(10)?,
        last_error: row.get(11)?,
        last_delivered_at: row.get(12)?,
    })
}

impl Fence {
    /// The arguments of a statement that is fenced.
    fn args(&self) -> [Arg; 3] {
        [(&self.handler).into(), (&self.owner).into(), self.epoch.into()]
    }
}
