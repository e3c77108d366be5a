//! Writing many rows at once: several rows per statement on SQLite, arrays of values on PostgreSQL.

use sqlx::postgres::PgArguments;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Arguments, AssertSqlSafe, SqlSafeStr};

use super::sql::instant_text;
use super::{Arg, DbError, Tx};
use crate::clock::Timestamp;

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
    arrays: String,
}

/// Values per statement on SQLite: beyond it the statement costs more to look up and bind than it saves.
const VALUES_PER_STATEMENT: usize = 2_000;

/// Bytes per statement on PostgreSQL. Over TCP, COPY takes two writes for whatever it brings, and the second waits for the
/// receipt of the first, which the server delays by 40 ms.
const BYTES_PER_STATEMENT: usize = 256 * 1024;

impl BulkTable {
    /// Describes a table; its name and columns come from the catalogue, never from what people send.
    pub fn new(name: &str, columns: Vec<Column>) -> Self {
        let names = columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>().join(", ");
        let rows_per_statement = (VALUES_PER_STATEMENT / columns.len().max(1)).max(1);
        let many = insert_text(name, &names, columns.len(), rows_per_statement);
        let arrays = arrays_text(name, &names, &columns);
        Self { name: name.to_owned(), columns, rows_per_statement, many, arrays }
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
        tracing::trace!(statement = "write rows", table = table.name, "in a transaction");
        let failed = |error| DbError::new("write rows", error).at(&table.name);
        match self {
            Self::Sqlite(tx, file) => file.note(insert_sqlite(tx, table, cells).await.map_err(failed)),
            Self::Postgres(tx) => insert_postgres(tx, table, cells).await.map_err(failed),
        }
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

async fn insert_postgres(
    tx: &mut sqlx::PgConnection,
    table: &BulkTable,
    cells: impl Iterator<Item = Arg> + Send,
) -> Result<(), sqlx::Error> {
    let mut arrays = Arrays::of(table);
    for cell in cells {
        arrays.add(cell)?;
        if arrays.is_full() {
            arrays.write(&mut *tx, table).await?;
            arrays = Arrays::of(table);
        }
    }
    if arrays.cells > 0 {
        arrays.write(tx, table).await?;
    }
    Ok(())
}

/// Rows for PostgreSQL, one array for each column: a statement takes one round trip, whatever its rows.
struct Arrays {
    columns: Vec<Array>,
    cells: usize,
    bytes: usize,
}

enum Array {
    Int(Vec<Option<i64>>),
    Real(Vec<Option<f64>>),
    Text(Vec<Option<String>>),
    Bool(Vec<Option<bool>>),
    Instant(Vec<Option<Timestamp>>),
}

impl Arrays {
    fn of(table: &BulkTable) -> Self {
        let array = |column: &Column| match column.kind {
            ColumnType::Int => Array::Int(Vec::new()),
            ColumnType::Real => Array::Real(Vec::new()),
            ColumnType::Text | ColumnType::Json => Array::Text(Vec::new()),
            ColumnType::Bool => Array::Bool(Vec::new()),
            ColumnType::Instant => Array::Instant(Vec::new()),
        };
        Self { columns: table.columns.iter().map(array).collect(), cells: 0, bytes: 0 }
    }

    fn add(&mut self, cell: Arg) -> Result<(), sqlx::Error> {
        let width = self.columns.len();
        match (&mut self.columns[self.cells % width], cell) {
            (Array::Int(values), Arg::Int(value)) => values.push(value),
            (Array::Real(values), Arg::Real(value)) => values.push(value),
            (Array::Text(values), Arg::Text(value) | Arg::Json(value)) => {
                self.bytes += value.as_ref().map_or(0, String::len);
                values.push(value);
            }
            (Array::Bool(values), Arg::Bool(value)) => values.push(value),
            (Array::Instant(values), Arg::Instant(value)) => values.push(value),
            (_, cell) => return Err(sqlx::Error::Encode(format!("a column cannot hold {cell:?}").into())),
        }
        self.cells += 1;
        self.bytes += size_of::<Arg>();
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.bytes >= BYTES_PER_STATEMENT && self.cells.is_multiple_of(self.columns.len())
    }

    async fn write(self, tx: &mut sqlx::PgConnection, table: &BulkTable) -> Result<(), sqlx::Error> {
        let mut bound = PgArguments::default();
        for array in self.columns {
            match array {
                Array::Int(values) => bound.add(values),
                Array::Real(values) => bound.add(values),
                Array::Text(values) => bound.add(values),
                Array::Bool(values) => bound.add(values),
                Array::Instant(values) => bound.add(values),
            }
            .map_err(sqlx::Error::Encode)?;
        }
        let text = AssertSqlSafe(table.arrays.clone()).into_sql_str();
        sqlx::query_with(text, bound).execute(tx).await.map(drop)
    }
}

fn arrays_text(table: &str, names: &str, columns: &[Column]) -> String {
    let types: Vec<_> = columns
        .iter()
        .map(|column| match column.kind {
            ColumnType::Int => "bigint",
            ColumnType::Real => "double precision",
            ColumnType::Text | ColumnType::Json => "text",
            ColumnType::Bool => "boolean",
            ColumnType::Instant => "timestamptz",
        })
        .collect();
    let arrays: Vec<_> = types.iter().zip(1..).map(|(kind, number)| format!("${number}::{kind}[]")).collect();
    let values: Vec<_> = columns
        .iter()
        .map(|column| match column.kind {
            ColumnType::Json => format!("rows.{}::json", column.name),
            _ => format!("rows.{}", column.name),
        })
        .collect();
    format!(
        "INSERT INTO {table} ({names}) SELECT {} FROM unnest({}) AS rows ({names})",
        values.join(", "),
        arrays.join(", ")
    )
}
