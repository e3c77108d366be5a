//! Statements and their arguments.

use std::borrow::Cow;

use chrono::{Datelike, SecondsFormat, Timelike};
use futures_util::TryStreamExt;
use sqlx::postgres::PgArguments;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Arguments, AssertSqlSafe, Executor, Postgres, SqlSafeStr, SqlStr, Sqlite};

use super::row::Row;
use super::{Backend, DbError};
use crate::clock::Timestamp;

/// A statement in the words of both databases, with `$1` placeholders. Its name stands in errors.
#[derive(Clone, Debug)]
pub struct Sql {
    name: &'static str,
    sqlite: Cow<'static, str>,
    postgres: Cow<'static, str>,
}

impl Sql {
    /// One text for both: the rule.
    pub const fn same(name: &'static str, text: &'static str) -> Self {
        Self { name, sqlite: Cow::Borrowed(text), postgres: Cow::Borrowed(text) }
    }

    /// A text for each: the exception.
    pub const fn per(name: &'static str, sqlite: &'static str, postgres: &'static str) -> Self {
        Self { name, sqlite: Cow::Borrowed(sqlite), postgres: Cow::Borrowed(postgres) }
    }

    /// One text for both, put together from the catalogue; never from what people send.
    pub fn built(name: &'static str, text: String) -> Self {
        Self { name, sqlite: Cow::Owned(text.clone()), postgres: Cow::Owned(text) }
    }

    /// A text for each, put together from the catalogue; never from what people send.
    pub fn built_per(name: &'static str, sqlite: String, postgres: String) -> Self {
        Self { name, sqlite: Cow::Owned(sqlite), postgres: Cow::Owned(postgres) }
    }

    /// What it is called in errors.
    pub fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) fn text(&self, backend: Backend) -> SqlStr {
        let text = match backend {
            Backend::Sqlite => &self.sqlite,
            Backend::Postgres => &self.postgres,
        };
        match text {
            Cow::Borrowed(text) => text.into_sql_str(),
            Cow::Owned(text) => AssertSqlSafe(text.clone()).into_sql_str(),
        }
    }
}

/// One argument of a statement.
#[derive(Clone, Debug, PartialEq)]
pub enum Arg {
    /// A whole number.
    Int(Option<i64>),
    /// A number.
    Real(Option<f64>),
    /// A text.
    Text(Option<String>),
    /// True or false.
    Bool(Option<bool>),
    /// An instant.
    Instant(Option<Timestamp>),
    /// JSON, kept byte for byte.
    Json(Option<String>),
}

macro_rules! from {
    ($($type:ty => |$value:ident| $arg:expr;)+) => {
        $(impl From<$type> for Arg {
            fn from($value: $type) -> Self {
                $arg
            }
        })+
    };
}

from! {
    i64 => |value| Self::Int(Some(value));
    Option<i64> => |value| Self::Int(value);
    f64 => |value| Self::Real(Some(value));
    bool => |value| Self::Bool(Some(value));
    &str => |value| Self::Text(Some(value.to_owned()));
    String => |value| Self::Text(Some(value));
    &String => |value| Self::Text(Some(value.clone()));
    Option<String> => |value| Self::Text(value);
    Option<&str> => |value| Self::Text(value.map(str::to_owned));
    Timestamp => |value| Self::Instant(Some(value));
    Option<Timestamp> => |value| Self::Instant(value);
    crate::model::JobId => |value| Self::Text(Some(value.to_string()));
    Option<crate::model::JobId> => |value| Self::Text(value.map(|id| id.to_string()));
}

/// How SQLite keeps an instant: ISO 8601 with milliseconds, which sorts as text. Bulk writing spends its time here, so the
/// digits are written one by one.
pub(super) fn instant_text(instant: &Timestamp) -> String {
    let local = instant.naive_utc();
    let (year, millis) = (local.year(), local.nanosecond() / 1_000_000);
    // A leap second has 1,000 milliseconds and more.
    let (Ok(year @ 0..=9999), 0..1000) = (u32::try_from(year), millis) else {
        return instant.to_rfc3339_opts(SecondsFormat::Millis, true);
    };
    let mut text = String::with_capacity(24);
    push_digits::<4>(&mut text, year);
    for (mark, number) in
        [('-', local.month()), ('-', local.day()), ('T', local.hour()), (':', local.minute()), (':', local.second())]
    {
        text.push(mark);
        push_digits::<2>(&mut text, number);
    }
    text.push('.');
    push_digits::<3>(&mut text, millis);
    text.push('Z');
    text
}

fn push_digits<const N: usize>(text: &mut String, mut number: u32) {
    let mut digits = ['0'; N];
    for digit in digits.iter_mut().rev() {
        *digit = char::from_digit(number % 10, 10).unwrap_or('0');
        number /= 10;
    }
    text.extend(digits);
}

/// JSON that PostgreSQL is to keep byte for byte (its type `json`, not `jsonb`).
struct RawJson<'a>(&'a str);

impl sqlx::Type<Postgres> for RawJson<'_> {
    fn type_info() -> sqlx::postgres::PgTypeInfo {
        sqlx::postgres::PgTypeInfo::with_name("json")
    }
}

impl sqlx::Encode<'_, Postgres> for RawJson<'_> {
    fn encode_by_ref(
        &self,
        buffer: &mut sqlx::postgres::PgArgumentBuffer,
    ) -> Result<sqlx::encode::IsNull, sqlx::error::BoxDynError> {
        buffer.extend_from_slice(self.0.as_bytes());
        Ok(sqlx::encode::IsNull::No)
    }
}

fn sqlite_arguments(args: &[Arg]) -> Result<SqliteArguments, sqlx::error::BoxDynError> {
    let mut bound = SqliteArguments::default();
    bound.reserve(args.len(), 0);
    for arg in args {
        match arg {
            Arg::Int(value) => bound.add(*value)?,
            Arg::Real(value) => bound.add(*value)?,
            Arg::Text(value) | Arg::Json(value) => bound.add(value.clone())?,
            Arg::Bool(value) => bound.add(*value)?,
            Arg::Instant(value) => bound.add(value.as_ref().map(instant_text))?,
        }
    }
    Ok(bound)
}

fn postgres_arguments(args: &[Arg]) -> Result<PgArguments, sqlx::error::BoxDynError> {
    let mut bound = PgArguments::default();
    bound.reserve(args.len(), 0);
    for arg in args {
        match arg {
            Arg::Int(value) => bound.add(*value)?,
            Arg::Real(value) => bound.add(*value)?,
            Arg::Text(value) => bound.add(value.as_deref())?,
            Arg::Bool(value) => bound.add(*value)?,
            Arg::Instant(value) => bound.add(*value)?,
            Arg::Json(value) => bound.add(value.as_deref().map(RawJson))?,
        }
    }
    Ok(bound)
}

pub(super) async fn execute_sqlite<'c, E>(executor: E, sql: &Sql, args: &[Arg]) -> Result<u64, DbError>
where
    E: Executor<'c, Database = Sqlite>,
{
    let bound = sqlite_arguments(args).map_err(|error| DbError::new(sql.name, sqlx::Error::Encode(error)))?;
    let done = sqlx::query_with(sql.text(Backend::Sqlite), bound).execute(executor).await;
    Ok(done.map_err(|error| DbError::new(sql.name, error))?.rows_affected())
}

pub(super) async fn execute_postgres<'c, E>(executor: E, sql: &Sql, args: &[Arg]) -> Result<u64, DbError>
where
    E: Executor<'c, Database = Postgres>,
{
    let bound = postgres_arguments(args).map_err(|error| DbError::new(sql.name, sqlx::Error::Encode(error)))?;
    let done = sqlx::query_with(sql.text(Backend::Postgres), bound).execute(executor).await;
    Ok(done.map_err(|error| DbError::new(sql.name, error))?.rows_affected())
}

pub(super) async fn fetch_all_sqlite<'c, E>(executor: E, sql: &Sql, args: &[Arg]) -> Result<Vec<Row>, DbError>
where
    E: Executor<'c, Database = Sqlite>,
{
    let bound = sqlite_arguments(args).map_err(|error| DbError::new(sql.name, sqlx::Error::Encode(error)))?;
    sqlx::query_with(sql.text(Backend::Sqlite), bound)
        .fetch(executor)
        .map_ok(Row::Sqlite)
        .try_collect()
        .await
        .map_err(|error| DbError::new(sql.name, error))
}

pub(super) async fn fetch_all_postgres<'c, E>(executor: E, sql: &Sql, args: &[Arg]) -> Result<Vec<Row>, DbError>
where
    E: Executor<'c, Database = Postgres>,
{
    let bound = postgres_arguments(args).map_err(|error| DbError::new(sql.name, sqlx::Error::Encode(error)))?;
    sqlx::query_with(sql.text(Backend::Postgres), bound)
        .fetch(executor)
        .map_ok(Row::Postgres)
        .try_collect()
        .await
        .map_err(|error| DbError::new(sql.name, error))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed step fails the test")]
mod tests {
    use super::*;

    #[test]
    fn an_instant_is_written_as_chrono_writes_it() {
        for text in [
            "2018-03-22T01:30:00Z",
            "0000-01-01T00:00:00Z",
            "9999-12-31T23:59:59.999999Z",
            "2016-12-31T23:59:60.5Z",
            "-0001-01-01T00:00:00.001Z",
            "+10000-01-01T00:00:00Z",
        ] {
            let instant: Timestamp = text.parse().unwrap();
            assert_eq!(instant_text(&instant), instant.to_rfc3339_opts(SecondsFormat::Millis, true));
        }
    }
}
