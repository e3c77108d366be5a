//! Records as exports read them: many in one text, since a row of its own for each would cost more than its content.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::LazyLock;

use serde::Deserialize;

use crate::db::{DbError, Row, Sql, Tx};
use crate::model::catalogue::{Dataset, Field, FieldKind};

/// Most records of a page.
const PAGE_RECORDS: i64 = 500;

/// Bytes of texts in a page, about at most; a record that is larger is a page of its own.
const PAGE_BYTES: i64 = 256 * 1024;

/// Rows of media that are read at once.
const MEDIA_ROWS: i64 = 500;

/// What is said about an event beside its record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventHead {
    /// The server that it came from; empty where that is not known.
    pub root_url: String,
    /// Its zone, as stored.
    pub timezone: Option<String>,
    /// Whether some of its references wait for records.
    pub has_unresolved: bool,
}

/// The ids here of an event's records of one dataset that were not read yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remaining {
    after: i64,
    last: i64,
}

/// Some records, in the order of their ids.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// A JSON list of lists, one for each record: its id here, its id in the archive, the columns of its fields in the
    /// catalogue's order, and what the catalogue does not know as a text of JSON.
    ///
    /// Instants are `2018-03-22T01:30:00.000Z`, with up to six digits after the dot. JSON is a text of JSON. Booleans may
    /// be `0` and `1`. Numbers with a fraction are `null` here. A reference is the id in the archive of what it refers
    /// to. Lists of references have no column.
    pub records: String,
    /// Numbers with a fraction, by id here of the record, in the catalogue's order. As text SQLite does not give all of
    /// their digits.
    pub decimals: HashMap<i64, Vec<Option<f64>>>,
    /// For sessions a JSON list of pairs: the id here of a session, the id in the archive of one of its speakers; in the
    /// order of the first. It may name sessions that are not in the page.
    pub links: Option<String>,
    /// Where references wait: by id here of the record, the field, and the ids in the archive of what is not there.
    pub unresolved: HashMap<i64, Vec<(String, String)>>,
}

/// A field that names a media file, or did so when it was last imported.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct MediaRow {
    /// The id here of the record.
    pub record_id: i64,
    /// Its id in the archive.
    pub source_id: String,
    /// Its name or title.
    pub name: Option<String>,
    /// The field.
    pub field: String,
    /// The path of the file in the archive that it came with.
    pub path: String,
    /// SHA-256 of its bytes in hex, where it is in the store.
    pub sha256: Option<String>,
}

struct Statements {
    span: Sql,
    boundary: Sql,
    page: Sql,
    decimals: Option<Sql>,
    media: Sql,
}

static STATEMENTS: LazyLock<Vec<Statements>> = LazyLock::new(|| Dataset::ALL.into_iter().map(statements_of).collect());

const HEAD: Sql = Sql::same(
    "read an event to export",
    "SELECT root_url, timezone, (SELECT count(*) FROM (SELECT 1 FROM unresolved_references WHERE event_id = $1 \
     LIMIT 1) AS any_row) FROM events WHERE id = $1",
);

const LINKS: Sql = Sql::per(
    "read the speakers of sessions to export",
    "SELECT json_group_array(json_array(l.session_id, p.source_id)) FROM session_speakers AS l \
     CROSS JOIN speakers AS p ON p.id = l.speaker_id WHERE l.session_id > $1 AND l.session_id <= $2 \
     AND p.event_id = $3",
    "SELECT coalesce(json_agg(json_build_array(l.session_id, p.source_id) ORDER BY l.session_id), '[]')::text \
     FROM session_speakers AS l JOIN speakers AS p ON p.id = l.speaker_id \
     WHERE l.session_id > $1 AND l.session_id <= $2 AND p.event_id = $3",
);

const UNRESOLVED: Sql = Sql::per(
    "read the references that wait, to export them",
    "SELECT json_group_array(json_array(record_id, field, target_source_id)) FROM unresolved_references \
     WHERE dataset = $1 AND record_id > $2 AND record_id <= $3 AND event_id = $4",
    "SELECT coalesce(json_agg(json_build_array(record_id, field, target_source_id)), '[]')::text \
     FROM unresolved_references WHERE dataset = $1 AND record_id > $2 AND record_id <= $3 AND event_id = $4",
);

/// Every statement, for the test that prepares them.
pub fn statements() -> Vec<Sql> {
    let mut all = vec![HEAD, LINKS, UNRESOLVED];
    for statements in STATEMENTS.iter() {
        all.extend([
            statements.span.clone(),
            statements.boundary.clone(),
            statements.page.clone(),
            statements.media.clone(),
        ]);
        all.extend(statements.decimals.clone());
    }
    all
}

fn of(dataset: Dataset) -> &'static Statements {
    &STATEMENTS[dataset as usize]
}

fn statements_of(dataset: Dataset) -> Statements {
    let definition = dataset.definition();
    let table = definition.table;
    let event = if dataset == Dataset::Event { "id" } else { "event_id" };
    // A plus keeps the databases from finding the event's rows by an index and sorting them anew for every page.
    let within = format!("+s.{event} = $1 AND s.id > $2 AND s.id <= $3 AND s.gone_at IS NULL");
    let mut joins = String::new();
    for field in definition.fields {
        if let FieldKind::Reference(target) = field.kind {
            let target = target.definition().table;
            // Writing to a `String` cannot fail.
            let _ = write!(joins, " LEFT JOIN {target} ON {target}.id = s.{}", field.name);
        }
    }
    let decimals: Vec<&str> = decimals(dataset).map(|field| field.name).collect();
    let boundary = |words| {
        format!(
            "SELECT max(id) FROM (SELECT id, sum(size) OVER (ORDER BY id) - size AS size_before FROM (SELECT s.id, {} AS \
             size FROM {table} AS s WHERE {within} ORDER BY s.id LIMIT {PAGE_RECORDS}) AS sized) AS summed \
             WHERE size_before < {PAGE_BYTES}",
            size(dataset, words)
        )
    };
    let name = definition.fields.iter().find(|field| field.required);
    let media = format!(
        "(SELECT m.record_id, s.source_id, {} AS name, m.field, m.path, CASE WHEN m.state = 'stored' THEN m.sha256 END \
         AS sha256 FROM media AS m JOIN {table} AS s ON s.id = m.record_id WHERE m.dataset = '{dataset}' \
         AND m.event_id = $1 AND (m.record_id, m.field) > ($2, $3) AND m.state <> 'remote' AND s.{event} = $1 \
         AND s.gone_at IS NULL ORDER BY m.record_id, m.field LIMIT {MEDIA_ROWS}) AS rows_of_page",
        name.map_or("NULL".to_owned(), |field| format!("s.{}", field.name)),
    );
    let media_columns = "record_id, source_id, name, field, path, sha256";
    Statements {
        span: Sql::built(
            "look for records to export",
            format!("SELECT min(id), max(id) FROM {table} WHERE {event} = $1"),
        ),
        boundary: Sql::built_per("measure records to export", boundary(Words::Sqlite), boundary(Words::Postgres)),
        page: Sql::built_per(
            "read records to export",
            format!(
                "SELECT json_group_array(json_array({})) FROM {table} AS s{joins} WHERE {within}",
                columns(dataset, Words::Sqlite)
            ),
            format!(
                "SELECT coalesce(json_agg(json_build_array({}) ORDER BY s.id), '[]')::text FROM {table} AS s{joins} \
                 WHERE {within}",
                columns(dataset, Words::Postgres)
            ),
        ),
        decimals: (!decimals.is_empty()).then(|| {
            let given: Vec<String> = decimals.iter().map(|name| format!("s.{name} IS NOT NULL")).collect();
            Sql::built(
                "read numbers to export",
                format!(
                    "SELECT s.id, s.{} FROM {table} AS s WHERE {within} AND ({})",
                    decimals.join(", s."),
                    given.join(" OR ")
                ),
            )
        }),
        media: Sql::built_per(
            "read media to export",
            format!("SELECT json_group_array(json_array({media_columns}) ORDER BY record_id, field) FROM {media}"),
            format!(
                "SELECT coalesce(json_agg(json_build_array({media_columns}) ORDER BY record_id, field), '[]')::text \
                 FROM {media}"
            ),
        ),
    }
}

/// Whose SQL it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Words {
    Sqlite,
    Postgres,
}

fn decimals(dataset: Dataset) -> impl Iterator<Item = &'static Field> {
    dataset.fields().iter().filter(|field| field.kind == FieldKind::Decimal)
}

/// The columns of a record as [`Page::records`] has them.
fn columns(dataset: Dataset, words: Words) -> String {
    let mut columns = vec!["s.id".to_owned(), "s.source_id".to_owned()];
    let json = |name: &str| match words {
        Words::Sqlite => format!("s.{name}"),
        Words::Postgres => format!("s.{name}::text"),
    };
    for field in dataset.fields() {
        let name = field.name;
        match (field.kind, words) {
            (FieldKind::Text | FieldKind::Zone | FieldKind::Media | FieldKind::Integer | FieldKind::Boolean, _) => {
                columns.push(format!("s.{name}"));
            }
            (FieldKind::Decimal, _) => columns.push("NULL".to_owned()),
            (FieldKind::Instant, words) => {
                columns.push(match words {
                    Words::Sqlite => format!("s.{name}"),
                    Words::Postgres => {
                        format!("to_char(s.{name} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')")
                    }
                });
                columns.push(format!("s.{name}_offset"));
            }
            (FieldKind::Length, _) => columns.extend([format!("s.{name}"), format!("s.{name}_minutes")]),
            (FieldKind::Json, _) => columns.push(json(name)),
            (FieldKind::Reference(target), _) => columns.push(format!("{}.source_id", target.definition().table)),
            (FieldKind::References(_), _) => {}
        }
    }
    columns.push(json("extra"));
    columns.join(", ")
}

/// The bytes of what can be long in a record. SQLite knows the length of a text without reading it.
fn size(dataset: Dataset, words: Words) -> String {
    let mut sizes = Vec::new();
    for field in dataset.fields() {
        match (field.kind, words) {
            (FieldKind::Text, _) | (FieldKind::Json, Words::Sqlite) => sizes.push(format!("s.{}", field.name)),
            (FieldKind::Json, Words::Postgres) => sizes.push(format!("s.{}::text", field.name)),
            _ => {}
        }
    }
    sizes.push(if words == Words::Postgres { "s.extra::text".to_owned() } else { "s.extra".to_owned() });
    let sizes: Vec<String> = sizes.into_iter().map(|column| format!("coalesce(octet_length({column}), 0)")).collect();
    sizes.join(" + ")
}

/// What is said about an event beside its record; none where it is not there.
///
/// # Errors
/// Where the database is out of reach.
pub async fn head(tx: &mut Tx, event_id: i64) -> Result<Option<EventHead>, DbError> {
    let Some(row) = tx.fetch_optional(&HEAD, &[event_id.into()]).await? else { return Ok(None) };
    let waiting: i64 = row.get(2)?;
    Ok(Some(EventHead { root_url: row.get(0)?, timezone: row.get(1)?, has_unresolved: waiting > 0 }))
}

/// Where the records of a dataset begin and end; none where the event has none.
///
/// # Errors
/// Where the database is out of reach.
pub async fn all(tx: &mut Tx, dataset: Dataset, event_id: i64) -> Result<Option<Remaining>, DbError> {
    let Some(row) = tx.fetch_optional(&of(dataset).span, &[event_id.into()]).await? else { return Ok(None) };
    let (first, last): (Option<i64>, Option<i64>) = (row.get(0)?, row.get(1)?);
    Ok(first.zip(last).map(|(first, last)| Remaining { after: first - 1, last }))
}

/// The next records of an event that are not gone; none after the last.
///
/// # Errors
/// Where the database is out of reach.
pub async fn page(
    tx: &mut Tx,
    dataset: Dataset,
    event_id: i64,
    head: &EventHead,
    remaining: &mut Remaining,
) -> Result<Option<Page>, DbError> {
    let mut args = [event_id.into(), remaining.after.into(), remaining.last.into()];
    let row = tx.fetch_optional(&of(dataset).boundary, &args).await?;
    let Some(upto) = row.map_or(Ok(None), |row| row.get::<Option<i64>>(0))? else { return Ok(None) };
    args[2] = upto.into();
    let records = text(&tx.fetch_all(&of(dataset).page, &args).await?)?;
    let mut numbers = HashMap::new();
    if let Some(sql) = &of(dataset).decimals {
        let count = decimals(dataset).count();
        for row in tx.fetch_all(sql, &args).await? {
            let values = (1..=count).map(|column| row.get(column)).collect::<Result<_, _>>()?;
            numbers.insert(row.get(0)?, values);
        }
    }
    let links = if dataset == Dataset::Sessions {
        Some(text(&tx.fetch_all(&LINKS, &[remaining.after.into(), upto.into(), event_id.into()]).await?)?)
    } else {
        None
    };
    let mut unresolved: HashMap<i64, Vec<(String, String)>> = HashMap::new();
    if head.has_unresolved {
        let args = [dataset.as_str().into(), remaining.after.into(), upto.into(), event_id.into()];
        let rows: Vec<(i64, String, String)> = parse(&text(&tx.fetch_all(&UNRESOLVED, &args).await?)?)?;
        for (record, field, target) in rows {
            unresolved.entry(record).or_default().push((field, target));
        }
    }
    remaining.after = upto;
    Ok(Some(Page { records, decimals: numbers, links, unresolved }))
}

/// The next fields of an event's records that name a media file, and no link to elsewhere, behind the one with this id
/// and field (at first 0 and nothing), in an order of the database's own; none after the last.
///
/// # Errors
/// Where the database is out of reach.
pub async fn media(tx: &mut Tx, dataset: Dataset, event_id: i64, after: (i64, &str)) -> Result<Vec<MediaRow>, DbError> {
    let args = [event_id.into(), after.0.into(), after.1.into()];
    parse(&text(&tx.fetch_all(&of(dataset).media, &args).await?)?)
}

fn text(rows: &[Row]) -> Result<String, DbError> {
    rows.first().map_or_else(|| Ok("[]".to_owned()), |row| row.get(0))
}

fn parse<T: serde::de::DeserializeOwned>(text: &str) -> Result<Vec<T>, DbError> {
    serde_json::from_str(text).map_err(|error| DbError::unusable("read what is to be exported", error.to_string()))
}
