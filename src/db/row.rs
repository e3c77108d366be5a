//! Rows as both databases give them.

use chrono::DateTime;
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, ValueRef as _};

use super::DbError;
use crate::clock::Timestamp;

/// A row that was read; columns are counted from 0.
#[derive(Debug)]
pub enum Row {
    /// From SQLite.
    Sqlite(SqliteRow),
    /// From PostgreSQL.
    Postgres(PgRow),
}

impl Row {
    /// The value of a column.
    ///
    /// # Errors
    /// Where the column holds something else, which is a fault of the statement or of a foreign hand in the tables.
    pub fn get<T: FromColumn>(&self, column: usize) -> Result<T, DbError> {
        T::from_column(self, column).map_err(|error| DbError::new("read a column", error).at(column))
    }

    /// The count in a column; 0 where a foreign hand has made it negative.
    ///
    /// # Errors
    /// Where the column holds something else.
    pub fn count(&self, column: usize) -> Result<u64, DbError> {
        Ok(u64::try_from(self.get::<i64>(column)?).unwrap_or(0))
    }
}

/// What a column can be read as.
pub trait FromColumn: Sized {
    /// Reads it.
    ///
    /// # Errors
    /// Where the column holds something else.
    fn from_column(row: &Row, column: usize) -> Result<Self, sqlx::Error>;
}

macro_rules! from_column {
    ($($type:ty),+) => {
        $(impl FromColumn for $type {
            fn from_column(row: &Row, column: usize) -> Result<Self, sqlx::Error> {
                match row {
                    Row::Sqlite(row) => row.try_get_unchecked(column),
                    Row::Postgres(row) => row.try_get_unchecked(column),
                }
            }
        })+
    };
}

from_column!(i64, Option<i64>, f64, Option<f64>, bool, Option<bool>);

impl FromColumn for Option<String> {
    fn from_column(row: &Row, column: usize) -> Result<Self, sqlx::Error> {
        match row {
            Row::Sqlite(row) => row.try_get_unchecked(column),
            Row::Postgres(row) => row.try_get_unchecked(column),
        }
    }
}

impl FromColumn for String {
    fn from_column(row: &Row, column: usize) -> Result<Self, sqlx::Error> {
        match row {
            Row::Sqlite(row) => row.try_get_unchecked(column),
            Row::Postgres(row) => row.try_get_unchecked(column),
        }
    }
}

impl FromColumn for Option<Timestamp> {
    fn from_column(row: &Row, column: usize) -> Result<Self, sqlx::Error> {
        match row {
            Row::Sqlite(row) => {
                if row.try_get_raw(column)?.is_null() {
                    return Ok(None);
                }
                let text: String = row.try_get_unchecked(column)?;
                let instant = DateTime::parse_from_rfc3339(&text)
                    .map_err(|error| sqlx::Error::ColumnDecode { index: column.to_string(), source: error.into() })?;
                Ok(Some(instant.to_utc()))
            }
            Row::Postgres(row) => row.try_get_unchecked(column),
        }
    }
}

impl FromColumn for Timestamp {
    fn from_column(row: &Row, column: usize) -> Result<Self, sqlx::Error> {
        Option::<Self>::from_column(row, column)?.ok_or_else(|| sqlx::Error::ColumnDecode {
            index: column.to_string(),
            source: "there is no instant".into(),
        })
    }
}
