//! Records of the datasets: found again by event and source id, written in bulk, changed one by one.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::LazyLock;

use crate::clock::Timestamp;
use crate::db::{Arg, BulkTable, Column, ColumnType, Database, DbError, Row, Sql, Tx};
use crate::model::JobId;
use crate::model::catalogue::{Dataset, Field, FieldKind};

/// A record that is in the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Existing {
    /// Its id here.
    pub id: i64,
    /// What it said when it was last written.
    pub content_hash: String,
    /// Whether it is marked as gone.
    pub is_gone: bool,
}

/// A record as it is to be written: one value per column of its fields.
#[derive(Clone, Debug, PartialEq)]
pub struct NewRecord {
    /// Its id here, from [`take_ids`].
    pub id: i64,
    /// Its id in the archive.
    pub source_id: String,
    /// The values of [`field_columns`].
    pub cells: Vec<Arg>,
    /// What the catalogue does not know, as a JSON object.
    pub extra: String,
    /// What it says, as a digest.
    pub content_hash: String,
}

/// Who writes, into which event, when.
#[derive(Clone, Copy, Debug)]
pub struct Writing {
    /// The event.
    pub event_id: i64,
    /// The job.
    pub job: JobId,
    /// Now.
    pub now: Timestamp,
}

/// The columns of a dataset's fields, in the catalogue's order.
pub fn field_columns(dataset: Dataset) -> Vec<Column> {
    dataset.fields().iter().flat_map(columns_of).collect()
}

/// The columns of one field: none for lists, two for instants and lengths.
pub fn columns_of(field: &Field) -> Vec<Column> {
    let column = |name: &str, kind| Column { name: name.to_owned(), kind };
    match field.kind {
        FieldKind::Text | FieldKind::Zone | FieldKind::Media => vec![column(field.name, ColumnType::Text)],
        FieldKind::Instant => {
            vec![column(field.name, ColumnType::Instant), column(&format!("{}_offset", field.name), ColumnType::Text)]
        }
        FieldKind::Integer | FieldKind::Reference(_) => vec![column(field.name, ColumnType::Int)],
        FieldKind::Decimal => vec![column(field.name, ColumnType::Real)],
        FieldKind::Boolean => vec![column(field.name, ColumnType::Bool)],
        FieldKind::Json => vec![column(field.name, ColumnType::Json)],
        FieldKind::Length => {
            vec![column(field.name, ColumnType::Text), column(&format!("{}_minutes", field.name), ColumnType::Int)]
        }
        FieldKind::References(_) => Vec::new(),
    }
}

/// The statements of one dataset, made once from the catalogue.
struct Statements {
    table: BulkTable,
    existing: Sql,
    ids: Sql,
    known: Sql,
    read: Sql,
    update: Sql,
    touch: Sql,
    page: Sql,
    mark_gone: Sql,
}

static STATEMENTS: LazyLock<Vec<Statements>> = LazyLock::new(|| Dataset::ALL.into_iter().map(statements_of).collect());

fn of(dataset: Dataset) -> &'static Statements {
    &STATEMENTS[dataset as usize]
}

/// Every statement, for the test that prepares them.
pub fn statements() -> Vec<Sql> {
    let mut all = vec![
        TAKE_IDS,
        INSERTED_LINKS,
        DELETE_LINK,
        UNRESOLVED_TO,
        FORGET_UNRESOLVED,
        RESOLVED,
        ANY_UNRESOLVED,
        LINK_ONCE,
    ];
    for dataset in Dataset::ALL {
        let statements = of(dataset);
        all.extend([statements.read.clone(), statements.update.clone(), statements.touch.clone()]);
        if dataset != Dataset::Event {
            all.extend([
                statements.existing.clone(),
                statements.ids.clone(),
                statements.known.clone(),
                statements.page.clone(),
                statements.mark_gone.clone(),
            ]);
        }
    }
    all.extend(REFERENCE_FIELDS.iter().map(|(_, sql)| sql.clone()));
    all
}

fn statements_of(dataset: Dataset) -> Statements {
    let table = dataset.definition().table;
    let fields = field_columns(dataset);
    let text = |name: &str| Column { name: name.to_owned(), kind: ColumnType::Text };
    let int = |name: &str| Column { name: name.to_owned(), kind: ColumnType::Int };
    let instant = |name: &str| Column { name: name.to_owned(), kind: ColumnType::Instant };
    let mut columns = vec![int("id")];
    if dataset == Dataset::Event {
        columns.extend([text("account"), text("root_url")]);
    } else {
        columns.push(int("event_id"));
    }
    columns.push(text("source_id"));
    columns.extend(fields.iter().cloned());
    columns.push(Column { name: "extra".to_owned(), kind: ColumnType::Json });
    columns.extend([
        text("content_hash"),
        text("job_id"),
        instant("created_at"),
        instant("updated_at"),
        instant("gone_at"),
    ]);

    let names = fields.iter().map(|column| column.name.as_str()).collect::<Vec<_>>().join(", ");
    let mut sets = String::new();
    for (index, column) in fields.iter().enumerate() {
        // Writing to a `String` cannot fail.
        let _ = write!(sets, "{} = ${}, ", column.name, index + 6);
    }
    let within = "event_id = $1 AND source_id IN";
    let of_before =
        "NOT (coalesce(job_id, '') = $3 AND created_at >= (SELECT j.created_at FROM jobs AS j WHERE j.id = $3))";
    Statements {
        table: BulkTable::new(table, columns),
        existing: Sql::built_per(
            "look for records",
            format!(
                "SELECT json_group_array(json_array(source_id, id, content_hash, gone_at IS NOT NULL)) FROM {table} \
                 WHERE {within} (SELECT value FROM json_each($2))"
            ),
            format!(
                "SELECT coalesce(json_agg(json_build_array(source_id, id, content_hash, \
                 CASE WHEN gone_at IS NULL THEN 0 ELSE 1 END)), '[]')::text FROM {table} \
                 WHERE {within} (SELECT json_array_elements_text($2::text::json))"
            ),
        ),
        ids: Sql::built_per(
            "look for referred records",
            format!(
                "SELECT json_group_array(json_array(source_id, id)) FROM {table} \
                 WHERE {within} (SELECT value FROM json_each($2))"
            ),
            format!(
                "SELECT coalesce(json_agg(json_build_array(source_id, id)), '[]')::text FROM {table} \
                 WHERE {within} (SELECT json_array_elements_text($2::text::json))"
            ),
        ),
        known: Sql::built_per(
            "look for records of before",
            format!("SELECT source_id FROM {table} WHERE {within} (SELECT value FROM json_each($2)) AND {of_before}"),
            format!(
                "SELECT source_id FROM {table} WHERE {within} (SELECT json_array_elements_text($2::text::json)) AND {of_before}"
            ),
        ),
        read: Sql::built("read a record", format!("SELECT {names}, extra, source_id FROM {table} WHERE id = $1")),
        update: Sql::built(
            "change a record",
            format!(
                "UPDATE {table} SET {sets}extra = $2, content_hash = $3, job_id = $4, updated_at = $5, gone_at = NULL \
                 WHERE id = $1"
            ),
        ),
        touch: Sql::built(
            "note that a record is back",
            format!("UPDATE {table} SET gone_at = NULL, job_id = $2, updated_at = $3 WHERE id = $1"),
        ),
        page: Sql::built_per(
            "list records",
            format!(
                "SELECT coalesce(max(id), 0), json_group_array(json_array(source_id, id)) FROM (SELECT id, source_id \
                 FROM {table} WHERE event_id = $1 AND id > $2 AND gone_at IS NULL ORDER BY id LIMIT $3) AS page"
            ),
            format!(
                "SELECT coalesce(max(id), 0), coalesce(json_agg(json_build_array(source_id, id)), '[]')::text FROM \
                 (SELECT id, source_id FROM {table} WHERE event_id = $1 AND id > $2 AND gone_at IS NULL \
                 ORDER BY id LIMIT $3) AS page"
            ),
        ),
        mark_gone: Sql::built_per(
            "mark records as gone",
            format!(
                "UPDATE {table} SET gone_at = $2, updated_at = $2, job_id = $3 \
                 WHERE id IN (SELECT value FROM json_each($1))"
            ),
            format!(
                "UPDATE {table} SET gone_at = $2, updated_at = $2, job_id = $3 \
                 WHERE id IN (SELECT json_array_elements_text($1::text::json)::bigint)"
            ),
        ),
    }
}

const TAKE_IDS: Sql =
    Sql::same("take ids", "UPDATE id_counters SET next_id = next_id + $2 WHERE name = $1 RETURNING next_id");

/// Takes `count` ids of a table; returns the first.
///
/// # Errors
/// Where the database is out of reach, or knows no such table.
pub async fn take_ids(tx: &mut Tx, table: &str, count: u64) -> Result<i64, DbError> {
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    let row = tx.fetch_optional(&TAKE_IDS, &[table.into(), count.into()]).await?;
    let row = row.ok_or_else(|| DbError::unusable("take ids", format!("there is no counter `{table}`")))?;
    Ok(row.get::<i64>(0)? - count)
}

/// Which of these records the event has, by source id.
///
/// # Errors
/// Where the database is out of reach.
pub async fn existing(
    tx: &mut Tx,
    dataset: Dataset,
    event_id: i64,
    source_ids: &[&str],
) -> Result<HashMap<String, Existing>, DbError> {
    let rows = tx.fetch_all(&of(dataset).existing, &[event_id.into(), json_list(source_ids).into()]).await?;
    let found: Vec<(String, i64, String, i64)> = from_json(&rows)?;
    let record = |(source_id, id, content_hash, gone)| (source_id, Existing { id, content_hash, is_gone: gone != 0 });
    Ok(found.into_iter().map(record).collect())
}

/// The ids here of these records, by source id.
///
/// # Errors
/// Where the database is out of reach.
pub async fn ids_of(
    tx: &mut Tx,
    dataset: Dataset,
    event_id: i64,
    source_ids: &[&str],
) -> Result<HashMap<String, i64>, DbError> {
    let rows = tx.fetch_all(&of(dataset).ids, &[event_id.into(), json_list(source_ids).into()]).await?;
    Ok(from_json::<(String, i64)>(&rows)?.into_iter().collect())
}

/// Which of these an event had before a job began to write.
///
/// # Errors
/// Where the database is out of reach.
pub async fn known(
    database: &Database,
    dataset: Dataset,
    event_id: i64,
    source_ids: &[&str],
    job: JobId,
) -> Result<Vec<String>, DbError> {
    let args = [event_id.into(), json_list(source_ids).into(), job.into()];
    database.fetch_all(&of(dataset).known, &args).await?.iter().map(|row| row.get(0)).collect()
}

/// Writes new records.
///
/// # Errors
/// Where the database is out of reach, or a record with the same source id is there.
pub async fn insert(
    tx: &mut Tx,
    dataset: Dataset,
    writing: &Writing,
    records: impl Iterator<Item = NewRecord> + Send,
) -> Result<(), DbError> {
    let table = &of(dataset).table;
    let job = writing.job.to_string();
    let cells = records.flat_map(|record| {
        let head: [Arg; 3] = [record.id.into(), writing.event_id.into(), record.source_id.into()];
        let tail = tail(record.extra, record.content_hash, &job, writing.now);
        head.into_iter().chain(record.cells).chain(tail)
    });
    tx.insert_rows(table, cells).await
}

/// Writes a new event; its id here is `record.id`.
///
/// # Errors
/// Where the database is out of reach.
pub async fn insert_event(
    tx: &mut Tx,
    account: &str,
    root_url: &str,
    job: JobId,
    now: Timestamp,
    record: NewRecord,
) -> Result<(), DbError> {
    let head: [Arg; 4] = [record.id.into(), account.into(), root_url.into(), record.source_id.into()];
    let tail = tail(record.extra, record.content_hash, &job.to_string(), now);
    tx.insert_rows(&of(Dataset::Event).table, head.into_iter().chain(record.cells).chain(tail)).await
}

/// The columns behind the fields.
fn tail(extra: String, content_hash: String, job: &str, now: Timestamp) -> [Arg; 6] {
    [Arg::Json(Some(extra)), content_hash.into(), job.into(), now.into(), now.into(), Arg::Instant(None)]
}

/// The values of a record's fields, as [`field_columns`] orders them, and its unknown keys.
///
/// # Errors
/// Where the database is out of reach, or the record is not there.
pub async fn read(tx: &mut Tx, dataset: Dataset, id: i64) -> Result<(Vec<Arg>, String), DbError> {
    let stored = read_whole(tx, dataset, id).await?;
    Ok((stored.cells, stored.extra))
}

/// A record as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// Its id in the archive.
    pub source_id: String,
    /// The values of [`field_columns`].
    pub cells: Vec<Arg>,
    /// What the catalogue does not know, as a JSON object.
    pub extra: String,
}

/// As [`read`], with the source id.
///
/// # Errors
/// As [`read`].
pub async fn read_whole(tx: &mut Tx, dataset: Dataset, id: i64) -> Result<Stored, DbError> {
    let rows = tx.fetch_all(&of(dataset).read, &[id.into()]).await?;
    let row = rows.first().ok_or_else(|| DbError::unusable("read a record", format!("{dataset} {id} is not there")))?;
    let columns = field_columns(dataset);
    let cells =
        columns.iter().enumerate().map(|(index, column)| cell(row, index, column.kind)).collect::<Result<_, _>>()?;
    Ok(Stored { source_id: row.get(columns.len() + 1)?, cells, extra: row.get(columns.len())? })
}

fn cell(row: &Row, index: usize, kind: ColumnType) -> Result<Arg, DbError> {
    Ok(match kind {
        ColumnType::Int => Arg::Int(row.get(index)?),
        ColumnType::Real => Arg::Real(row.get(index)?),
        ColumnType::Text => Arg::Text(row.get(index)?),
        ColumnType::Bool => Arg::Bool(row.get(index)?),
        ColumnType::Instant => Arg::Instant(row.get(index)?),
        ColumnType::Json => Arg::Json(row.get(index)?),
    })
}

/// Writes all fields of a record anew; it is no longer gone.
///
/// # Errors
/// Where the database is out of reach.
pub async fn update(tx: &mut Tx, dataset: Dataset, writing: &Writing, record: NewRecord) -> Result<(), DbError> {
    let mut args: Vec<Arg> = vec![
        record.id.into(),
        Arg::Json(Some(record.extra)),
        record.content_hash.into(),
        writing.job.into(),
        writing.now.into(),
    ];
    args.extend(record.cells);
    tx.execute(&of(dataset).update, &args).await.map(drop)
}

/// Notes that a record that was gone is back, with nothing else changed.
///
/// # Errors
/// Where the database is out of reach.
pub async fn bring_back(tx: &mut Tx, dataset: Dataset, writing: &Writing, id: i64) -> Result<(), DbError> {
    tx.execute(&of(dataset).touch, &[id.into(), writing.job.into(), writing.now.into()]).await.map(drop)
}

/// Some records of an event that are not gone.
#[derive(Debug)]
pub struct Page {
    /// Source ids and ids here.
    pub records: Vec<(String, i64)>,
    /// The highest id of the page; none after the last page.
    pub last: Option<i64>,
}

/// The next records of an event after an id.
///
/// # Errors
/// Where the database is out of reach.
pub async fn page(tx: &mut Tx, dataset: Dataset, event_id: i64, after: i64, limit: i64) -> Result<Page, DbError> {
    let rows = tx.fetch_all(&of(dataset).page, &[event_id.into(), after.into(), limit.into()]).await?;
    let Some(row) = rows.first() else { return Ok(Page { records: Vec::new(), last: None }) };
    let last: i64 = row.get(0)?;
    let records = parse(&row.get::<String>(1)?)?;
    Ok(Page { records, last: (last > 0).then_some(last) })
}

/// Marks records as gone.
///
/// # Errors
/// Where the database is out of reach.
pub async fn mark_gone(tx: &mut Tx, dataset: Dataset, writing: &Writing, ids: &[i64]) -> Result<(), DbError> {
    let list = serde_json::to_string(ids).unwrap_or_default();
    tx.execute(&of(dataset).mark_gone, &[list.into(), writing.now.into(), writing.job.into()]).await.map(drop)
}

static LINKS: LazyLock<BulkTable> = LazyLock::new(|| {
    let int = |name: &str| Column { name: name.to_owned(), kind: ColumnType::Int };
    BulkTable::new("session_speakers", vec![int("session_id"), int("speaker_id")])
});

/// Links sessions with speakers.
///
/// # Errors
/// Where the database is out of reach, or a pair is linked already.
pub async fn insert_links(tx: &mut Tx, pairs: &[(i64, i64)]) -> Result<(), DbError> {
    let cells: Vec<Arg> = pairs.iter().flat_map(|(session, speaker)| [(*session).into(), (*speaker).into()]).collect();
    tx.insert_rows(&LINKS, cells.into_iter()).await
}

const INSERTED_LINKS: Sql = Sql::per(
    "read the speakers of sessions",
    "SELECT json_group_array(json_array(l.session_id, l.speaker_id, s.source_id)) FROM session_speakers AS l \
     JOIN speakers AS s ON s.id = l.speaker_id WHERE l.session_id IN (SELECT value FROM json_each($1))",
    "SELECT coalesce(json_agg(json_build_array(l.session_id, l.speaker_id, s.source_id)), '[]')::text \
     FROM session_speakers AS l JOIN speakers AS s ON s.id = l.speaker_id \
     WHERE l.session_id IN (SELECT json_array_elements_text($1::text::json)::bigint)",
);

/// The speakers of sessions: session, speaker, and the speaker's source id.
///
/// # Errors
/// Where the database is out of reach.
pub async fn links_of(tx: &mut Tx, sessions: &[i64]) -> Result<Vec<(i64, i64, String)>, DbError> {
    let list = serde_json::to_string(sessions).unwrap_or_default();
    from_json(&tx.fetch_all(&INSERTED_LINKS, &[list.into()]).await?)
}

const DELETE_LINK: Sql =
    Sql::same("unlink a speaker", "DELETE FROM session_speakers WHERE session_id = $1 AND speaker_id = $2");

/// Takes a speaker from a session.
///
/// # Errors
/// Where the database is out of reach.
pub async fn delete_link(tx: &mut Tx, session: i64, speaker: i64) -> Result<(), DbError> {
    tx.execute(&DELETE_LINK, &[session.into(), speaker.into()]).await.map(drop)
}

/// A reference to a record that is not there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Unresolved {
    /// What is referred to.
    pub target: Dataset,
    /// Its id in the archive.
    pub target_source_id: String,
    /// What refers to it.
    pub dataset: Dataset,
    /// The id here of what refers to it.
    pub record_id: i64,
    /// The field that refers to it.
    pub field: &'static str,
}

static UNRESOLVED: LazyLock<BulkTable> = LazyLock::new(|| {
    let text = |name: &str| Column { name: name.to_owned(), kind: ColumnType::Text };
    let int = |name: &str| Column { name: name.to_owned(), kind: ColumnType::Int };
    BulkTable::new(
        "unresolved_references",
        vec![
            int("event_id"),
            text("target_dataset"),
            text("target_source_id"),
            text("dataset"),
            int("record_id"),
            text("field"),
        ],
    )
});

/// Keeps references to records that are not there.
///
/// # Errors
/// Where the database is out of reach, or one is kept already.
pub async fn keep_unresolved(tx: &mut Tx, event_id: i64, references: &[Unresolved]) -> Result<(), DbError> {
    let mut cells: Vec<Arg> = Vec::with_capacity(references.len() * 6);
    for reference in references {
        cells.extend([
            event_id.into(),
            reference.target.as_str().into(),
            reference.target_source_id.as_str().into(),
            reference.dataset.as_str().into(),
            reference.record_id.into(),
            reference.field.into(),
        ]);
    }
    tx.insert_rows(&UNRESOLVED, cells.into_iter()).await
}

const FORGET_UNRESOLVED: Sql = Sql::same(
    "forget the unresolved references of a record",
    "DELETE FROM unresolved_references WHERE dataset = $1 AND record_id = $2 AND field = $3",
);

/// Forgets the unresolved references of a field of a record, before it says something else.
///
/// # Errors
/// Where the database is out of reach.
pub async fn forget_unresolved(tx: &mut Tx, dataset: Dataset, record_id: i64, field: &str) -> Result<(), DbError> {
    tx.execute(&FORGET_UNRESOLVED, &[dataset.as_str().into(), record_id.into(), field.into()]).await.map(drop)
}

const ANY_UNRESOLVED: Sql = Sql::same(
    "look for unresolved references",
    "SELECT count(*) FROM (SELECT 1 FROM unresolved_references WHERE event_id = $1 LIMIT 1) AS any_row",
);

/// Whether the event has references to records that are not there.
///
/// # Errors
/// Where the database is out of reach.
pub async fn has_unresolved(tx: &mut Tx, event_id: i64) -> Result<bool, DbError> {
    let rows = tx.fetch_all(&ANY_UNRESOLVED, &[event_id.into()]).await?;
    rows.first().map_or(Ok(false), |row| Ok(row.get::<i64>(0)? > 0))
}

const UNRESOLVED_TO: Sql = Sql::per(
    "read the references that wait for records",
    "SELECT json_group_array(json_array(target_source_id, dataset, record_id, field)) FROM unresolved_references \
     WHERE event_id = $1 AND target_dataset = $2 AND target_source_id IN (SELECT value FROM json_each($3))",
    "SELECT coalesce(json_agg(json_build_array(target_source_id, dataset, record_id, field)), '[]')::text \
     FROM unresolved_references WHERE event_id = $1 AND target_dataset = $2 \
     AND target_source_id IN (SELECT json_array_elements_text($3::text::json))",
);

const RESOLVED: Sql = Sql::same(
    "forget a reference that is resolved",
    "DELETE FROM unresolved_references WHERE event_id = $1 AND target_dataset = $2 AND target_source_id = $3 \
     AND dataset = $4 AND record_id = $5 AND field = $6",
);

static REFERENCE_FIELDS: LazyLock<Vec<((Dataset, &'static str), Sql)>> = LazyLock::new(|| {
    let mut statements = Vec::new();
    for dataset in Dataset::ALL {
        for field in dataset.fields().iter().filter(|field| matches!(field.kind, FieldKind::Reference(_))) {
            let table = dataset.definition().table;
            let text = format!("UPDATE {table} SET {} = $2, job_id = $3, updated_at = $4 WHERE id = $1", field.name);
            statements.push(((dataset, field.name), Sql::built("resolve a reference", text)));
        }
    }
    statements
});

const LINK_ONCE: Sql = Sql::same(
    "link a speaker that has arrived",
    "INSERT INTO session_speakers (session_id, speaker_id) VALUES ($1, $2) ON CONFLICT DO NOTHING",
);

/// Links a speaker with a session, and says whether that is new.
///
/// # Errors
/// Where the database is out of reach.
pub async fn link_once(tx: &mut Tx, session: i64, speaker: i64) -> Result<bool, DbError> {
    Ok(tx.execute(&LINK_ONCE, &[session.into(), speaker.into()]).await? > 0)
}

/// A reference that has taken effect: what says something else since then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Resolved {
    /// The dataset of the record that refers.
    pub dataset: Dataset,
    /// Its id here.
    pub id: i64,
    /// The field; none where a session has got a speaker.
    pub field: Option<&'static str>,
}

/// Lets references that waited for these records (source id, id here) take effect; returns which did.
///
/// # Errors
/// Where the database is out of reach.
pub async fn resolve_arrived(
    tx: &mut Tx,
    target: Dataset,
    writing: &Writing,
    arrived: &HashMap<&str, i64>,
) -> Result<Vec<Resolved>, DbError> {
    let source_ids: Vec<&str> = arrived.keys().copied().collect();
    let args = [writing.event_id.into(), target.as_str().into(), json_list(&source_ids).into()];
    let waiting: Vec<(String, String, i64, String)> = from_json(&tx.fetch_all(&UNRESOLVED_TO, &args).await?)?;
    let mut resolved = Vec::new();
    for (source_id, dataset, record_id, field) in waiting {
        let (Some(id), Some(dataset)) = (arrived.get(source_id.as_str()), Dataset::parse(&dataset)) else { continue };
        let one = REFERENCE_FIELDS.iter().find(|((of, name), _)| *of == dataset && *name == field);
        match (one, target) {
            (Some(((_, name), sql)), _) => {
                let args = [record_id.into(), (*id).into(), writing.job.into(), writing.now.into()];
                tx.execute(sql, &args).await?;
                resolved.push(Resolved { dataset, id: record_id, field: Some(*name) });
            }
            (None, Dataset::Speakers) => {
                link_once(tx, record_id, *id).await?;
                resolved.push(Resolved { dataset: Dataset::Sessions, id: record_id, field: None });
            }
            (None, _) => {
                link_once(tx, *id, record_id).await?;
                resolved.push(Resolved { dataset: Dataset::Sessions, id: *id, field: None });
            }
        }
        let args: [Arg; 6] = [
            writing.event_id.into(),
            target.as_str().into(),
            source_id.into(),
            dataset.as_str().into(),
            record_id.into(),
            field.into(),
        ];
        tx.execute(&RESOLVED, &args).await?;
    }
    Ok(resolved)
}

pub(super) fn json_list<T: serde::Serialize>(items: &[T]) -> String {
    // A list of numbers or texts can always be written as JSON.
    serde_json::to_string(items).unwrap_or_default()
}

fn from_json<T: serde::de::DeserializeOwned>(rows: &[Row]) -> Result<Vec<T>, DbError> {
    let Some(row) = rows.first() else { return Ok(Vec::new()) };
    parse(&row.get::<String>(0)?)
}

fn parse<T: serde::de::DeserializeOwned>(text: &str) -> Result<Vec<T>, DbError> {
    serde_json::from_str(text).map_err(|error| DbError::unusable("read a list of records", error.to_string()))
}
