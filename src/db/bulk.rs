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
    many: String,
    copy: String,
}

/// Rows per statement on SQLite: beyond it the statement costs more to look up and bind than it saves.
const ROWS_PER_STATEMENT: usize = 50;

/// Bytes of COPY data sent at once.
const COPY_BYTES: usize = 64 * 1024;

impl BulkTable {
    /// Describes a table; its name and columns come from the catalogue, never from what people send.
    pub fn new(name: &str, columns: Vec<Column>) -> Self {
        let names = columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>().join(", ");
        let many = insert_text(name, &names, columns.len(), ROWS_PER_STATEMENT);
        let copy = format!("COPY {name} ({names}) FROM STDIN");
        Self { name: name.to_owned(), columns, many, copy }
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
    /// Inserts rows whose values lie one after the other in `cells`, as many per row as the table has columns.
    ///
    /// # Errors
    /// Where the database is out of reach, or a row breaks a rule of the table: then none is in.
    pub async fn insert_rows(&mut self, table: &BulkTable, cells: Vec<Arg>) -> Result<(), DbError> {
        if cells.is_empty() {
            return Ok(());
        }
        match self {
            Self::Sqlite(tx) => insert_sqlite(tx, table, cells).await,
            Self::Postgres(tx) => copy_postgres(tx, table, &cells).await,
        }
        .map_err(|error| DbError::new("write rows", error).at(&table.name))
    }
}

async fn insert_sqlite(tx: &mut sqlx::SqliteConnection, table: &BulkTable, cells: Vec<Arg>) -> Result<(), sqlx::Error> {
    let width = table.columns.len();
    let mut left = cells.len() / width;
    let mut cells = cells.into_iter();
    while left > 0 {
        let rows = left.min(ROWS_PER_STATEMENT);
        let mut bound = SqliteArguments::default();
        bound.reserve(rows * width, 0);
        for cell in cells.by_ref().take(rows * width) {
            match cell {
                Arg::Int(value) => bound.add(value),
                Arg::Real(value) => bound.add(value),
                Arg::Text(value) | Arg::Json(value) => bound.add(value),
                Arg::Bool(value) => bound.add(value),
                Arg::Instant(value) => bound.add(value.as_ref().map(instant_text)),
            }
            .map_err(sqlx::Error::Encode)?;
        }
        let text = if rows == ROWS_PER_STATEMENT {
            table.many.clone()
        } else {
            let names = table.columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>().join(", ");
            insert_text(&table.name, &names, width, rows)
        };
        // The last, shorter statement of a chunk has one of many lengths: it would only push others out of the cache.
        let persistent = rows == ROWS_PER_STATEMENT;
        sqlx::query_with(AssertSqlSafe(text).into_sql_str(), bound).persistent(persistent).execute(&mut *tx).await?;
        left -= rows;
    }
    Ok(())
}

fn insert_text(table: &str, names: &str, width: usize, rows: usize) -> String {
    let row = format!("({})", vec!["?"; width].join(","));
    format!("INSERT INTO {table} ({names}) VALUES {}", vec![row; rows].join(","))
}

async fn copy_postgres(tx: &mut sqlx::PgConnection, table: &BulkTable, cells: &[Arg]) -> Result<(), sqlx::Error> {
    let mut copy = tx.copy_in_raw(&table.copy).await?;
    let mut buffer = String::with_capacity(COPY_BYTES + 4096);
    for row in cells.chunks_exact(table.columns.len()) {
        for (index, cell) in row.iter().enumerate() {
            if index > 0 {
                buffer.push('\t');
            }
            push_copy_text(&mut buffer, cell);
        }
        buffer.push('\n');
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
