//! Files in the inbox that are no jobs yet, and what was said about them: so that a restart does not say it again.

use crate::clock::Timestamp;
use crate::db::{Database, DbError, Row, Sql, Tx};

/// How a file in the inbox stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArrivalState {
    /// It keeps changing.
    Arriving,
    /// It is at rest, but not whole.
    Incomplete,
    /// It stays where it is.
    Refused,
}

impl ArrivalState {
    /// All states.
    pub const ALL: [Self; 3] = [Self::Arriving, Self::Incomplete, Self::Refused];

    /// The word used in the table.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Arriving => "arriving",
            Self::Incomplete => "incomplete",
            Self::Refused => "refused",
        }
    }

    /// Reads the word back.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }
}

/// A file in the inbox that is no job yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArrivalRow {
    /// Where it lies: `folder/name` or `name`, what cannot be shown as `\xNN`.
    pub path: String,
    /// Whose it is; none where its folder is no account's.
    pub account: Option<String>,
    /// How it stands.
    pub state: ArrivalState,
    /// What tells this state of the file from another; only the inbox reads it.
    pub identity: String,
    /// Its size.
    pub bytes: u64,
    /// `CODE: sentence`; none while it keeps changing.
    pub reason: Option<String>,
    /// When it was first seen under this name.
    pub first_seen: Timestamp,
    /// When it was last seen to be another than before.
    pub changed_at: Timestamp,
    /// When its owner (incomplete) or the admin (refused) was told.
    pub told_at: Option<Timestamp>,
}

const LIST: Sql = Sql::same(
    "list the files that wait in the inbox",
    "SELECT path, account, state, identity, bytes, reason, first_seen, changed_at, told_at
     FROM arrivals ORDER BY first_seen, path",
);

const SAVE: Sql = Sql::same(
    "note a file that waits in the inbox",
    "INSERT INTO arrivals (path, account, state, identity, bytes, reason, first_seen, changed_at, told_at)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
     ON CONFLICT (path) DO UPDATE SET
        account = excluded.account, state = excluded.state, identity = excluded.identity, bytes = excluded.bytes,
        reason = excluded.reason, first_seen = excluded.first_seen, changed_at = excluded.changed_at,
        told_at = excluded.told_at",
);

const FORGET: Sql = Sql::same("forget a file that waited in the inbox", "DELETE FROM arrivals WHERE path = $1");

/// Every statement on arrivals, for the test that prepares each on both databases.
pub fn statements() -> Vec<Sql> {
    vec![LIST, SAVE, FORGET]
}

/// All files that wait, those first that were seen first.
///
/// # Errors
/// Where the database is out of reach, or a row was not written by this program.
pub async fn list(database: &Database) -> Result<Vec<ArrivalRow>, DbError> {
    database.fetch_all(&LIST, &[]).await?.iter().map(read).collect()
}

/// Notes a file, in place of what was noted of that path.
///
/// # Errors
/// Where the database is out of reach.
pub async fn save(tx: &mut Tx, row: &ArrivalRow) -> Result<(), DbError> {
    let args = [
        (&row.path).into(),
        row.account.clone().into(),
        row.state.as_str().into(),
        (&row.identity).into(),
        i64::try_from(row.bytes).unwrap_or(i64::MAX).into(),
        row.reason.clone().into(),
        row.first_seen.into(),
        row.changed_at.into(),
        row.told_at.into(),
    ];
    tx.execute(&SAVE, &args).await.map(drop)
}

/// Forgets a file; one that was not noted is as good.
///
/// # Errors
/// Where the database is out of reach.
pub async fn forget(tx: &mut Tx, path: &str) -> Result<(), DbError> {
    tx.execute(&FORGET, &[path.into()]).await.map(drop)
}

fn read(row: &Row) -> Result<ArrivalRow, DbError> {
    let state: String = row.get(2)?;
    Ok(ArrivalRow {
        path: row.get(0)?,
        account: row.get(1)?,
        // A word of a later version: the file is looked at anew.
        state: ArrivalState::parse(&state).unwrap_or(ArrivalState::Arriving),
        identity: row.get(3)?,
        bytes: row.count(4)?,
        reason: row.get(5)?,
        first_seen: row.get(6)?,
        changed_at: row.get(7)?,
        told_at: row.get(8)?,
    })
}
