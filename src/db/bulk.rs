//! Writing many rows at once: several rows per statement on SQLite, COPY on PostgreSQL.

use std::fmt::Write as _;

use sqlx::sqlite::SqliteArguments;
use sqlx::{Arguments, AssertSqlSafe, SqlSafeStr};

use super::sql::{instant_text, push_instant};
use super::{Arg, DbError, Tx};

/// What a column holds, for what must be written out in a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnType {
    /// Whole numbers.
    Int,
    /// Numbers.
    Real,
    /// Texts.
    Text,
    /// True or false.
    Bool,
    /// Instants.
    Instant,
    /// JSON.
    Json,
}

/// A column of a table that is written in bulk.
#[derive(Clone, Debug)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub kind: ColumnType,
}

/// A table that is written in bulk, with the texts of its statements made once.
#[derive(Debug)]
pub struct BulkTable {
    name: String,
    columns: Vec<Column>,
    rows_per_statement: usize,
    many: String,
    copy: String,
}

/// Values per statement on SQLite: beyond it the statement costs more to look up and bind than it saves.
const VALUES_PER_STATEMENT: usize = 2_000;

/// Bytes of COPY data sent at once.
const COPY_BYTES: usize = 64 * 1024;

impl BulkTable {
    /// Describes a table; its name and columns come from the catalogue, never from what people send.
    pub fn new(name: &str, columns: Vec<Column>) -> Self {
        let names = columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>().join(", ");
        let rows_per_statement = (VALUES_PER_STATEMENT / columns.len().max(1)).max(1);
        let many = insert_text(name, &names, columns.len(), rows_per_statement);
        let copy = format!("COPY {name} ({names}) FROM STDIN");
        Self { name: name.to_owned(), columns, rows_per_statement, many, copy }
    }

    /// The table's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its columns, in the order in which rows give their values.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }
}

impl Tx {
    /// Inserts rows whose values come one after the other from `cells`, as many per row as the table has columns.
    ///
    /// Values are taken while the database is busy with the rows before them, so what it costs to make them is best left
    /// to the iterator.
    ///
    /// # Errors
    /// Where the database is out of reach, or a row breaks a rule of the table: some may be in, the transaction is to be
    /// dropped.
    pub async fn insert_rows(
        &mut self,
        table: &BulkTable,
        cells: impl Iterator<Item = Arg> + Send,
    ) -> Result<(), DbError> {
        let mut cells = cells.peekable();
        if cells.peek().is_none() {
            return Ok(());
        }
        match self {
            Self::Sqlite(tx) => insert_sqlite(tx, table, cells).await,
            Self::Postgres(tx) => copy_postgres(tx, table, cells).await,
        }
        .map_err(|error| DbError::new("write rows", error).at(&table.name))
    }
}

async fn insert_sqlite(
    tx: &mut sqlx::SqliteConnection,
    table: &BulkTable,
    mut cells: impl Iterator<Item = Arg> + Send,
) -> Result<(), sqlx::Error> {
    let mut next = bind_rows(table, &mut cells)?;
    while let Some((rows, bound)) = next {
        let is_full = rows == table.rows_per_statement;
        let text = if is_full {
            table.many.clone()
        } else {
            let names = table.columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>().join(", ");
            insert_text(&table.name, &names, table.columns.len(), rows)
        };
        // The last, shorter statement of a chunk has one of many lengths: it would only push others out of the cache.
        let write = sqlx::query_with(AssertSqlSafe(text).into_sql_str(), bound).persistent(is_full).execute(&mut *tx);
        let (written, following) = futures_util::join!(write, async { bind_rows(table, &mut cells) });
        written?;
        next = following?;
    }
    Ok(())
}

/// Takes the values of the next statement; none where there are no more.
fn bind_rows(
    table: &BulkTable,
    cells: &mut impl Iterator<Item = Arg>,
) -> Result<Option<(usize, SqliteArguments)>, sqlx::Error> {
    let most = table.rows_per_statement * table.columns.len();
    let mut bound = SqliteArguments::default();
    bound.reserve(most, 0);
    let mut count = 0;
    for cell in cells.take(most) {
        count += 1;
        match cell {
            Arg::Int(value) => bound.add(value),
            Arg::Real(value) => bound.add(value),
            Arg::Text(value) | Arg::Json(value) => bound.add(value),
            Arg::Bool(value) => bound.add(value),
            Arg::Instant(value) => bound.add(value.as_ref().map(instant_text)),
        }
        .map_err(sqlx::Error::Encode)?;
    }
    Ok((count > 0).then(|| (count / table.columns.len(), bound)))
}

fn insert_text(table: &str, names: &str, width: usize, rows: usize) -> String {
    let row = format!("({})", vec!["?"; width].join(","));
    format!("INSERT INTO {table} ({names}) VALUES {}", vec![row; rows].join(","))
}

async fn copy_postgres(
    tx: &mut sqlx::PgConnection,
    table: &BulkTable,
    cells: impl Iterator<Item = Arg> + Send,
) -> Result<(), sqlx::Error> {
    let mut copy = tx.copy_in_raw(&table.copy).await?;
    let mut buffer = String::with_capacity(COPY_BYTES + 4096);
    let last = table.columns.len() - 1;
    let mut column = 0;
    for cell in cells {
        push_copy_text(&mut buffer, &cell);
        if column < last {
            buffer.push('\t');
            column += 1;
            continue;
        }
        buffer.push('\n');
        column = 0;
        if buffer.len() >= COPY_BYTES {
            copy.send(buffer.as_bytes()).await?;
            buffer.clear();
        }
    }
    copy.send(buffer.as_bytes()).await?;
    copy.finish().await.map(drop)
}

/// One value in COPY's text format (PostgreSQL manual, COPY, "Text Format").
fn push_copy_text(buffer: &mut String, cell: &Arg) {
    let written = match cell {
        Arg::Int(Some(value)) => write!(buffer, "{value}"),
        Arg::Real(Some(value)) => write!(buffer, "{value:?}"),
        Arg::Bool(Some(value)) => write!(buffer, "{value}"),
        Arg::Instant(Some(value)) => {
            push_instant(buffer, value);
            Ok(())
        }
        Arg::Text(Some(value)) | Arg::Json(Some(value)) => {
            push_escaped(buffer, value);
            Ok(())
        }
        Arg::Int(None) | Arg::Real(None) | Arg::Bool(None) | Arg::Instant(None) | Arg::Text(None) | Arg::Json(None) => {
            buffer.write_str("\\N")
        }
    };
    // Writing to a `String` cannot fail.
    debug_assert!(written.is_ok());
}

fn push_escaped(buffer: &mut String, text: &str) {
    let bytes = text.as_bytes();
    if memchr::memchr3(b'\\', b'\n', b'\r', bytes).is_none() && memchr::memchr(b'\t', bytes).is_none() {
        buffer.push_str(text);
        return;
    }
    let mut rest = text;
    while let Some(at) = rest.bytes().position(|byte| matches!(byte, b'\\' | b'\n' | b'\r' | b'\t')) {
        buffer.push_str(&rest[..at]);
        buffer.push_str(match rest.as_bytes()[at] {
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            _ => "\\\\",
        });
        rest = &rest[at + 1..];
    }
    buffer.push_str(rest);
}
