//! What exports remember of earlier ones: names that must not change, the last good run, the sessions that calendars
//! have seen.

use std::sync::LazyLock;

use uuid::Uuid;

use crate::clock::Timestamp;
use crate::db::{Arg, BulkTable, Column, ColumnType, Database, DbError, Sql, Tx};
use crate::model::JobId;

/// Every statement but that of the insertion in bulk, for the test that prepares them.
pub const STATEMENTS: [&Sql; 10] = [
    &SALT,
    &NEW_SALT,
    &FOLDER,
    &NEW_FOLDER,
    &LAST_RUN,
    &REMEMBER_RUN,
    &CHANGE_SESSION,
    &REMOVE_SESSIONS,
    &CHANGES,
    &NAMED,
];

const SALT: Sql = Sql::same("read the salt of this installation", "SELECT salt FROM installation WHERE id = 1");

const NEW_SALT: Sql = Sql::same(
    "make the salt of this installation",
    "INSERT INTO installation (id, salt, created_at) VALUES (1, $1, $2) ON CONFLICT DO NOTHING",
);

/// The salt of this installation; `fresh` becomes it where there is none yet.
///
/// # Errors
/// Where the database is out of reach.
pub async fn salt(database: &Database, fresh: Uuid, now: Timestamp) -> Result<Uuid, DbError> {
    let mut tx = database.begin().await?;
    tx.execute(&NEW_SALT, &[fresh.to_string().into(), now.into()]).await?;
    let row = tx.fetch_optional(&SALT, &[]).await?;
    tx.commit().await?;
    let text: String = row.map_or(Ok(String::new()), |row| row.get(0))?;
    text.parse().map_err(|error| DbError::unusable(SALT.name(), format!("`{text}` is no UUID: {error}")))
}

const FOLDER: Sql =
    Sql::same("read the export folder of an event", "SELECT folder FROM export_folders WHERE event_id = $1");

const NEW_FOLDER: Sql = Sql::same(
    "choose the export folder of an event",
    "INSERT INTO export_folders (event_id, folder) VALUES ($1, $2) ON CONFLICT (event_id) DO NOTHING",
);

/// The name of an event's export folder; `wanted` becomes it where none was chosen yet.
///
/// # Errors
/// Where the database is out of reach.
pub async fn folder_of(database: &Database, event: i64, wanted: &str) -> Result<String, DbError> {
    let mut tx = database.begin().await?;
    tx.execute(&NEW_FOLDER, &[event.into(), wanted.into()]).await?;
    let row = tx.fetch_optional(&FOLDER, &[event.into()]).await?;
    tx.commit().await?;
    row.map_or_else(|| Ok(wanted.to_owned()), |row| row.get(0))
}

const LAST_RUN: Sql = Sql::same(
    "read the last good export of an event",
    "SELECT observed_at, folder, job_id FROM export_runs WHERE event_id = $1 AND scope = $2",
);

const REMEMBER_RUN: Sql = Sql::same(
    "remember a good export of an event",
    "INSERT INTO export_runs (event_id, scope, job_id, observed_at, folder) VALUES ($1, $2, $3, $4, $5) \
     ON CONFLICT (event_id, scope) DO UPDATE SET job_id = excluded.job_id, observed_at = excluded.observed_at, \
     folder = excluded.folder",
);

/// When the sessions of an event were last looked at by a good export of this scope, where there was one.
///
/// # Errors
/// Where the database is out of reach.
pub async fn last_run(database: &Database, event: i64, scope: &str) -> Result<Option<Timestamp>, DbError> {
    let row = database.fetch_optional(&LAST_RUN, &[event.into(), scope.into()]).await?;
    row.map(|row| row.get(0)).transpose()
}

/// Remembers a good export.
///
/// # Errors
/// Where the database is out of reach.
pub async fn remember_run(
    tx: &mut Tx,
    event: i64,
    scope: &str,
    job: JobId,
    observed_at: Timestamp,
    folder: &str,
) -> Result<(), DbError> {
    let args = [event.into(), scope.into(), job.into(), observed_at.into(), folder.into()];
    tx.execute(&REMEMBER_RUN, &args).await.map(drop)
}

/// What calendars show of a session, as an export is about to show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// The session.
    pub session: i64,
    /// How often it has changed.
    pub sequence: u32,
    /// A digest of everything that calendars show.
    pub digest: String,
    /// When and where it is.
    pub place: String,
    /// Its title.
    pub title: String,
}

static OBSERVED: LazyLock<BulkTable> = LazyLock::new(|| {
    let column = |(name, kind): (&str, ColumnType)| Column { name: name.to_owned(), kind };
    let columns = [
        ("event_id", ColumnType::Int),
        ("session_id", ColumnType::Int),
        ("sequence", ColumnType::Int),
        ("digest", ColumnType::Text),
        ("place", ColumnType::Text),
        ("title", ColumnType::Text),
        ("added_at", ColumnType::Instant),
    ];
    BulkTable::new("export_sessions", columns.map(column).to_vec())
});

const CHANGE_SESSION: Sql = Sql::same(
    "note a changed session",
    "UPDATE export_sessions SET sequence = $3, digest = $4, title = $6, changed_at = $7, \
     moved_at = CASE WHEN place = $5 THEN moved_at ELSE $7 END, \
     added_at = CASE WHEN removed_at IS NULL THEN added_at ELSE $7 END, place = $5, removed_at = NULL \
     WHERE event_id = $1 AND session_id = $2",
);

const REMOVE_SESSIONS: Sql = Sql::per(
    "note sessions that no longer take place",
    "UPDATE export_sessions SET removed_at = $2, sequence = sequence + 1, digest = '' WHERE event_id = $1 \
     AND removed_at IS NULL AND session_id NOT IN (SELECT value FROM json_each($3))",
    "UPDATE export_sessions SET removed_at = $2, sequence = sequence + 1, digest = '' WHERE event_id = $1 \
     AND removed_at IS NULL AND session_id NOT IN (SELECT json_array_elements_text($3::text::json)::bigint)",
);

const CHANGES: Sql = Sql::same(
    "count what has changed since an export",
    "SELECT count(CASE WHEN removed_at IS NULL AND added_at > $2 THEN 1 END), \
     count(CASE WHEN removed_at IS NULL AND added_at <= $2 AND moved_at > $2 THEN 1 END), \
     count(CASE WHEN removed_at > $2 AND added_at <= $2 THEN 1 END), \
     count(CASE WHEN removed_at IS NULL AND added_at <= $2 AND changed_at > $2 AND (moved_at IS NULL OR moved_at <= $2) \
     THEN 1 END) FROM export_sessions WHERE event_id = $1",
);

const NAMED: Sql = Sql::same(
    "name what has changed since an export",
    "SELECT CASE WHEN removed_at > $2 THEN 'removed' WHEN added_at > $2 THEN 'added' ELSE 'moved' END, title, place \
     FROM export_sessions WHERE event_id = $1 AND ((removed_at IS NULL AND (added_at > $2 OR moved_at > $2)) \
     OR (removed_at > $2 AND added_at <= $2)) ORDER BY 1, title LIMIT $3",
);

/// Notes what an export is about to show: sessions that calendars have not seen, and those that have changed.
///
/// # Errors
/// Where the database is out of reach, or one of the new ones was noted already.
pub async fn note_sessions(
    tx: &mut Tx,
    event: i64,
    new: &[Observed],
    changed: &[Observed],
    now: Timestamp,
) -> Result<(), DbError> {
    let cells = |session: &Observed| -> [Arg; 7] {
        [
            event.into(),
            session.session.into(),
            i64::from(session.sequence).into(),
            Arg::from(&session.digest),
            Arg::from(&session.place),
            Arg::from(&session.title),
            now.into(),
        ]
    };
    let rows: Vec<Arg> = new.iter().flat_map(cells).collect();
    tx.insert_rows(&OBSERVED, rows.into_iter()).await?;
    for session in changed {
        tx.execute(&CHANGE_SESSION, &cells(session)).await?;
    }
    Ok(())
}

/// Notes that of the sessions that calendars have seen only those that are `shown` now still take place.
///
/// # Errors
/// Where the database is out of reach.
pub async fn note_removed(tx: &mut Tx, event: i64, shown: &[i64], now: Timestamp) -> Result<(), DbError> {
    let shown = serde_json::to_string(shown).unwrap_or_default();
    tx.execute(&REMOVE_SESSIONS, &[event.into(), now.into(), shown.into()]).await.map(drop)
}

/// What has changed since an instant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Sessions that are new.
    pub added: u64,
    /// Sessions at another time or in another room.
    pub moved: u64,
    /// Sessions that no longer take place.
    pub removed: u64,
    /// Sessions of which something else has changed.
    pub changed: u64,
    /// The first of them: `added`, `moved` or `removed`, title, when and where.
    pub named: Vec<(String, String, String)>,
}

/// What has changed since an instant.
///
/// # Errors
/// Where the database is out of reach.
pub async fn changes_since(
    database: &Database,
    event: i64,
    since: Timestamp,
    named_at_most: i64,
) -> Result<Changes, DbError> {
    let mut changes = Changes::default();
    if let Some(row) = database.fetch_optional(&CHANGES, &[event.into(), since.into()]).await? {
        (changes.added, changes.moved, changes.removed, changes.changed) =
            (row.count(0)?, row.count(1)?, row.count(2)?, row.count(3)?);
    }
    for row in database.fetch_all(&NAMED, &[event.into(), since.into(), named_at_most.into()]).await? {
        changes.named.push((row.get(0)?, row.get(1)?, row.get(2)?));
    }
    Ok(changes)
}
