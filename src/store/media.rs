//! Rows that say which field names which media file, and whether it is in the store.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::records::Writing;
use crate::db::{Arg, BulkTable, Column, ColumnType, Database, DbError, Sql, Tx};
use crate::model::Dataset;

/// What is known about the file that a field names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MediaState {
    /// It is in the archive at this path, and not in the store yet.
    Pending {
        /// The path in the archive.
        path: String,
    },
    /// It is not in the archive, or cannot be read.
    Missing {
        /// The path as given.
        path: String,
        /// Why.
        reason: String,
    },
    /// It is a link to elsewhere.
    Remote {
        /// The link.
        link: String,
    },
}

/// A field that names a media file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaReference {
    /// The record's dataset.
    pub dataset: Dataset,
    /// The record's id here.
    pub record_id: i64,
    /// The field.
    pub field: &'static str,
    /// What is known.
    pub state: MediaState,
}

static TABLE: LazyLock<BulkTable> = LazyLock::new(|| {
    let text = |name: &str| Column { name: name.to_owned(), kind: ColumnType::Text };
    let int = |name: &str| Column { name: name.to_owned(), kind: ColumnType::Int };
    let instant = |name: &str| Column { name: name.to_owned(), kind: ColumnType::Instant };
    BulkTable::new(
        "media",
        vec![
            text("dataset"),
            int("record_id"),
            text("field"),
            int("event_id"),
            text("path"),
            text("state"),
            text("reason"),
            text("job_id"),
            instant("created_at"),
            instant("updated_at"),
        ],
    )
});

const DELETE: Sql =
    Sql::same("forget a media file", "DELETE FROM media WHERE dataset = $1 AND record_id = $2 AND field = $3");

const KNOWN: Sql = Sql::per(
    "look for media of records",
    "SELECT json_group_array(json_array(record_id, field, CASE WHEN state = 'stored' THEN sha256 END)) FROM media \
     WHERE dataset = $1 AND state <> 'remote' AND record_id IN (SELECT value FROM json_each($2))",
    "SELECT coalesce(json_agg(json_build_array(record_id, field, CASE WHEN state = 'stored' THEN sha256 END)), \
     '[]')::text FROM media WHERE dataset = $1 AND state <> 'remote' \
     AND record_id IN (SELECT json_array_elements_text($2::text::json)::bigint)",
);

const EXPECT: Sql = Sql::same(
    "note that a media file is to be stored",
    "UPDATE media SET state = 'pending', path = $4, reason = NULL, job_id = $5, updated_at = $6 \
     WHERE dataset = $1 AND record_id = $2 AND field = $3",
);

// The list of states is that of the index.
const STORED: Sql = Sql::same(
    "note that a media file is stored",
    "UPDATE media SET state = 'stored', sha256 = $3, bytes = $4, reason = NULL, job_id = $5, updated_at = $6 \
     WHERE event_id = $1 AND path = $2 AND state IN ('pending', 'stored') AND state = 'pending'",
);

const IS_USED: Sql = Sql::same("look for a use of a media file", "SELECT 1 FROM media WHERE sha256 = $1 LIMIT 1");

/// Every statement, for the test that prepares them.
pub fn statements() -> Vec<Sql> {
    vec![DELETE, KNOWN, EXPECT, STORED, IS_USED]
}

/// Writes what fields name; none of them may have a row.
///
/// # Errors
/// Where the database is out of reach, or one has a row.
pub async fn insert(tx: &mut Tx, writing: &Writing, references: &[MediaReference]) -> Result<(), DbError> {
    let mut cells: Vec<Arg> = Vec::with_capacity(references.len() * TABLE.columns().len());
    for reference in references {
        let (state, path, reason) = match &reference.state {
            MediaState::Pending { path } => ("pending", path, None),
            MediaState::Missing { path, reason } => ("missing", path, Some(reason.as_str())),
            MediaState::Remote { link } => ("remote", link, None),
        };
        cells.extend([
            reference.dataset.as_str().into(),
            reference.record_id.into(),
            reference.field.into(),
            writing.event_id.into(),
            path.into(),
            state.into(),
            reason.into(),
            writing.job.into(),
            writing.now.into(),
            writing.now.into(),
        ]);
    }
    tx.insert_rows(&TABLE, cells.into_iter()).await
}

/// Forgets what a field named.
///
/// # Errors
/// Where the database is out of reach.
pub async fn delete(tx: &mut Tx, dataset: Dataset, record_id: i64, field: &str) -> Result<(), DbError> {
    tx.execute(&DELETE, &[dataset.as_str().into(), record_id.into(), field.into()]).await.map(drop)
}

/// SHA-256 of the file of each field of these records that names one; none where it is not in the store.
pub type KnownFiles = HashMap<(i64, String), Option<String>>;

/// What is known of the files that these records name; links to elsewhere are not among them.
///
/// # Errors
/// Where the database is out of reach.
pub async fn known(tx: &mut Tx, dataset: Dataset, records: &[i64]) -> Result<KnownFiles, DbError> {
    let list = serde_json::to_string(records).unwrap_or_default();
    let rows = tx.fetch_all(&KNOWN, &[dataset.as_str().into(), list.into()]).await?;
    let text = rows.first().map_or_else(|| Ok("[]".to_owned()), |row| row.get::<String>(0))?;
    let found: Vec<(i64, String, Option<String>)> = serde_json::from_str(&text)
        .map_err(|error| DbError::unusable("read the media of records", error.to_string()))?;
    Ok(found.into_iter().map(|(record, field, sha256)| ((record, field), sha256)).collect())
}

/// Notes that the file of a field, which has a row, is the one at `path` of the archive, to be stored.
///
/// # Errors
/// Where the database is out of reach.
pub async fn expect(
    tx: &mut Tx,
    dataset: Dataset,
    writing: &Writing,
    record_id: i64,
    field: &str,
    path: &str,
) -> Result<(), DbError> {
    let args =
        [dataset.as_str().into(), record_id.into(), field.into(), path.into(), writing.job.into(), writing.now.into()];
    tx.execute(&EXPECT, &args).await.map(drop)
}

/// Notes that the file at `path` of the archive, which was expected, is in the store.
///
/// # Errors
/// Where the database is out of reach.
pub async fn mark_stored(tx: &mut Tx, writing: &Writing, path: &str, sha256: &str, bytes: u64) -> Result<(), DbError> {
    let args = [
        writing.event_id.into(),
        path.into(),
        sha256.into(),
        i64::try_from(bytes).unwrap_or(i64::MAX).into(),
        writing.job.into(),
        writing.now.into(),
    ];
    tx.execute(&STORED, &args).await.map(drop)
}

/// Whether any event uses a stored file.
///
/// # Errors
/// Where the database is out of reach.
pub async fn is_used(database: &Database, sha256: &str) -> Result<bool, DbError> {
    Ok(database.fetch_optional(&IS_USED, &[sha256.into()]).await?.is_some())
}
