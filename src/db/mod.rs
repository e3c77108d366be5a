//! One handle to either database: SQLite (bundled) or PostgreSQL. The only place that names `sqlx`.
//!
//! A statement is an [`Sql`] constant with `$1` placeholders that serves both; arguments are [`Arg`]s, rows are
//! [`Row`]s. Writes happen in a [`Tx`], which on SQLite is `BEGIN IMMEDIATE` on the one writing connection.
#![expect(clippy::disallowed_methods, reason = "the one place that hands SQL to the library")]

mod bulk;
mod error;
mod migrate;
mod row;
mod sql;

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Executor, Postgres, Sqlite};

pub use bulk::{BulkTable, Column, ColumnType};
pub use error::{DbError, DbErrorKind};
pub use row::{FromColumn, Row};
pub use sql::{Arg, Sql};

/// Which database serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// The built-in one, a file.
    Sqlite,
    /// A server, version 15 or later.
    Postgres,
}

/// Where the database is and how it is used.
#[derive(Clone, Debug)]
pub struct DatabaseOptions {
    /// `sqlite:PATH` or `postgres://…`.
    pub url: String,
    /// Connections at the same time (for SQLite: readers beside the one writer).
    pub connections: u32,
    /// How long a statement waits for a lock (SQLite) or a free connection.
    pub busy_timeout: Duration,
}

/// An open database. Clones share their connections.
#[derive(Clone, Debug)]
pub struct Database {
    pools: Pools,
}

#[derive(Clone, Debug)]
enum Pools {
    Sqlite { writer: SqlitePool, readers: SqlitePool, path: PathBuf },
    Postgres(PgPool),
}

/// Pages in the write-ahead log before SQLite copies them back: 40 MiB, which nearly halves the cost of big imports.
const WAL_AUTOCHECKPOINT_PAGES: &str = "10000";

/// Page cache of the writing connection in KiB (negative is SQLite's way to say KiB).
const WRITER_CACHE: &str = "-12288";

/// Page cache of each reading connection in KiB.
const READER_CACHE: &str = "-2048";

/// The oldest PostgreSQL that is tested, as `server_version_num` counts.
const OLDEST_SERVER: i64 = 150_000;

const SERVER_VERSION: Sql =
    Sql::per("ask for the server's version", "SELECT 150000", "SELECT current_setting('server_version_num')::bigint");

impl Database {
    /// Opens the database, creates the SQLite file where it is not there, and brings the tables up to date.
    ///
    /// # Errors
    /// [`DbErrorKind::Unreachable`] where nothing answers, [`DbErrorKind::Newer`] where a newer eventferry has
    /// written it, [`DbErrorKind::Unusable`] where the address or the server's version is wrong.
    pub async fn open(options: &DatabaseOptions) -> Result<Self, DbError> {
        let database = if let Some(path) = options.url.strip_prefix("sqlite:") {
            Self::open_sqlite(Path::new(path), options).await?
        } else {
            Self::open_postgres(options).await?
        };
        migrate::run(&database).await?;
        Ok(database)
    }

    async fn open_sqlite(path: &Path, options: &DatabaseOptions) -> Result<Self, DbError> {
        let base = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(options.busy_timeout)
            .pragma("wal_autocheckpoint", WAL_AUTOCHECKPOINT_PAGES)
            .pragma("temp_store", "MEMORY");
        let writer = SqlitePoolOptions::new()
            .min_connections(1)
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(false)
            .acquire_timeout(options.busy_timeout)
            .connect_with(base.clone().pragma("cache_size", WRITER_CACHE).statement_cache_capacity(256))
            .await
            .map_err(|error| DbError::new("open the database file", error).at(path.display()))?;
        let readers = SqlitePoolOptions::new()
            .max_connections(options.connections.max(1))
            .acquire_timeout(options.busy_timeout)
            .test_before_acquire(false)
            .connect_lazy_with(base.pragma("cache_size", READER_CACHE).pragma("query_only", "ON"));
        Ok(Self { pools: Pools::Sqlite { writer, readers, path: path.to_owned() } })
    }

    async fn open_postgres(options: &DatabaseOptions) -> Result<Self, DbError> {
        let connect = PgConnectOptions::from_str(&options.url)
            .map_err(|error| DbError::new("read the database address", error))?
            .application_name("eventferry")
            .options([("timezone", "UTC"), ("lock_timeout", "60s")]);
        let pool = PgPoolOptions::new()
            .max_connections(options.connections.max(2))
            .acquire_timeout(options.busy_timeout.min(Duration::from_secs(30)))
            .connect_with(connect)
            .await
            .map_err(|error| DbError::new("connect to PostgreSQL", error))?;
        let database = Self { pools: Pools::Postgres(pool) };
        let rows = database.fetch_all(&SERVER_VERSION, &[]).await?;
        let version: i64 = rows.first().map_or(Ok(0), |row| row.get(0))?;
        if version < OLDEST_SERVER {
            return Err(DbError::unusable(
                "use the PostgreSQL server",
                format!("it is version {}, at least version 15 is needed", version / 10_000),
            ));
        }
        Ok(database)
    }

    /// Which database it is.
    pub fn backend(&self) -> Backend {
        match &self.pools {
            Pools::Sqlite { .. } => Backend::Sqlite,
            Pools::Postgres(_) => Backend::Postgres,
        }
    }

    /// The SQLite file, where it is one.
    pub fn file(&self) -> Option<&Path> {
        match &self.pools {
            Pools::Sqlite { path, .. } => Some(path),
            Pools::Postgres(_) => None,
        }
    }

    /// Begins a transaction that may write.
    ///
    /// # Errors
    /// Where the database is out of reach or stays locked.
    pub async fn begin(&self) -> Result<Tx, DbError> {
        match &self.pools {
            Pools::Sqlite { writer, .. } => writer
                .begin_with("BEGIN IMMEDIATE")
                .await
                .map(Tx::Sqlite)
                .map_err(|error| DbError::new("begin a transaction", error)),
            Pools::Postgres(pool) => {
                pool.begin().await.map(Tx::Postgres).map_err(|error| DbError::new("begin a transaction", error))
            }
        }
    }

    /// Begins a transaction that only reads, and sees one state of the tables from its first statement to its end.
    ///
    /// # Errors
    /// Where the database is out of reach.
    pub async fn begin_snapshot(&self) -> Result<Tx, DbError> {
        let failed = |error| DbError::new("begin a snapshot", error);
        match &self.pools {
            Pools::Sqlite { readers, .. } => readers.begin().await.map(Tx::Sqlite).map_err(failed),
            Pools::Postgres(pool) => pool
                .begin_with("BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
                .await
                .map(Tx::Postgres)
                .map_err(failed),
        }
    }

    /// Reads rows outside of a transaction.
    ///
    /// # Errors
    /// Where the database is out of reach or refuses the statement.
    pub async fn fetch_all(&self, sql: &Sql, args: &[Arg]) -> Result<Vec<Row>, DbError> {
        match &self.pools {
            Pools::Sqlite { readers, .. } => sql::fetch_all_sqlite(readers, sql, args).await,
            Pools::Postgres(pool) => sql::fetch_all_postgres(pool, sql, args).await,
        }
    }

    /// Reads at most one row outside of a transaction.
    ///
    /// # Errors
    /// As [`Database::fetch_all`].
    pub async fn fetch_optional(&self, sql: &Sql, args: &[Arg]) -> Result<Option<Row>, DbError> {
        Ok(self.fetch_all(sql, args).await?.into_iter().next())
    }

    /// Runs one statement in a transaction of its own and says how many rows it touched.
    ///
    /// # Errors
    /// Where the database is out of reach or refuses the statement.
    pub async fn execute(&self, sql: &Sql, args: &[Arg]) -> Result<u64, DbError> {
        let mut tx = self.begin().await?;
        let touched = tx.execute(sql, args).await?;
        tx.commit().await?;
        Ok(touched)
    }

    /// Asks the database to compile a statement, without running it.
    ///
    /// # Errors
    /// Where it is no statement for this database.
    pub async fn prepare(&self, sql: &Sql) -> Result<(), DbError> {
        match &self.pools {
            Pools::Sqlite { writer, .. } => writer.prepare(sql.text(Backend::Sqlite)).await.map(drop),
            Pools::Postgres(pool) => pool.prepare(sql.text(Backend::Postgres)).await.map(drop),
        }
        .map_err(|error| DbError::new("prepare a statement", error).at(sql.name()))
    }

    /// Closes every connection; on SQLite the write-ahead log is copied back.
    pub async fn close(&self) {
        match &self.pools {
            Pools::Sqlite { writer, readers, .. } => {
                readers.close().await;
                writer.close().await;
            }
            Pools::Postgres(pool) => pool.close().await,
        }
    }
}

/// A transaction; dropped without [`Tx::commit`] it is rolled back.
#[derive(Debug)]
pub enum Tx {
    /// On SQLite.
    Sqlite(sqlx::Transaction<'static, Sqlite>),
    /// On PostgreSQL.
    Postgres(sqlx::Transaction<'static, Postgres>),
}

impl Tx {
    /// Which database it runs on.
    pub fn backend(&self) -> Backend {
        match self {
            Self::Sqlite(_) => Backend::Sqlite,
            Self::Postgres(_) => Backend::Postgres,
        }
    }

    /// Runs a statement and says how many rows it touched.
    ///
    /// # Errors
    /// Where the database is out of reach or refuses the statement.
    pub async fn execute(&mut self, sql: &Sql, args: &[Arg]) -> Result<u64, DbError> {
        match self {
            Self::Sqlite(tx) => sql::execute_sqlite(&mut **tx, sql, args).await,
            Self::Postgres(tx) => sql::execute_postgres(&mut **tx, sql, args).await,
        }
    }

    /// Reads rows.
    ///
    /// # Errors
    /// Where the database is out of reach or refuses the statement.
    pub async fn fetch_all(&mut self, sql: &Sql, args: &[Arg]) -> Result<Vec<Row>, DbError> {
        match self {
            Self::Sqlite(tx) => sql::fetch_all_sqlite(&mut **tx, sql, args).await,
            Self::Postgres(tx) => sql::fetch_all_postgres(&mut **tx, sql, args).await,
        }
    }

    /// Reads at most one row.
    ///
    /// # Errors
    /// As [`Tx::fetch_all`].
    pub async fn fetch_optional(&mut self, sql: &Sql, args: &[Arg]) -> Result<Option<Row>, DbError> {
        Ok(self.fetch_all(sql, args).await?.into_iter().next())
    }

    /// Makes everything in it durable.
    ///
    /// # Errors
    /// Where the database is out of reach: whether it was committed is then not known.
    pub async fn commit(self) -> Result<(), DbError> {
        match self {
            Self::Sqlite(tx) => tx.commit().await,
            Self::Postgres(tx) => tx.commit().await,
        }
        .map_err(|error| DbError::new("commit", error))
    }

    /// Takes everything in it back.
    ///
    /// # Errors
    /// Where the database is out of reach: nothing of it was committed all the same.
    pub async fn rollback(self) -> Result<(), DbError> {
        match self {
            Self::Sqlite(tx) => tx.rollback().await,
            Self::Postgres(tx) => tx.rollback().await,
        }
        .map_err(|error| DbError::new("roll back", error))
    }
}
