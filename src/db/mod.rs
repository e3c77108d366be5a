//! One handle to either database: SQLite (bundled) or PostgreSQL. The only place that names `sqlx`.
//!
//! A statement is an [`Sql`] constant with `$1` placeholders that serves both; arguments are [`Arg`]s, rows are
//! [`Row`]s. Writes happen in a [`Tx`], which on SQLite is `BEGIN IMMEDIATE` on the one writing connection.
#![expect(clippy::disallowed_methods, reason = "the one place that hands SQL to the library")]

mod bulk;
mod error;
mod file;
mod migrate;
mod row;
mod sql;

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection, Executor, Postgres, Sqlite};

pub use bulk::{BulkTable, Column, ColumnType};
pub use error::{DbError, DbErrorKind};
pub use row::{FromColumn, Row};
pub use sql::{Arg, Sql};

use file::SqliteFile;

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
    Sqlite { writer: SqlitePool, readers: SqlitePool, file: Arc<SqliteFile> },
    Postgres(PgPool),
}

/// Pages in the write-ahead log before SQLite copies them back: 40 MiB, which nearly halves the cost of big imports.
const WAL_AUTOCHECKPOINT_PAGES: &str = "10000";

/// How soon a database file is opened again that somebody else has locked.
const OPEN_AGAIN: Duration = Duration::from_millis(20);

/// Page cache of the writing connection in KiB (negative is SQLite's way to say KiB).
const WRITER_CACHE: &str = "-12288";

/// Page cache of each reading connection in KiB.
const READER_CACHE: &str = "-2048";

/// How long a server may take to answer before whoever waits is told for what.
const SILENT_FOR: Duration = Duration::from_secs(1);

/// How long a server that did not answer is asked once more, to learn why.
const ASK_WHY_FOR: Duration = Duration::from_secs(5);

/// The oldest PostgreSQL that is tested, as `server_version_num` counts.
const OLDEST_SERVER: i64 = 150_000;

/// How long a transaction may stand still on PostgreSQL before the server takes it back. A daemon that is frozen in the
/// middle of a chunk would otherwise keep the others from every job as long as it sleeps.
const STANDSTILL: &str = "30s";

/// A snapshot holds nothing up, and whoever reads it may write a large file meanwhile.
const BEGIN_SNAPSHOT: &str = "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY; \
                              SET LOCAL idle_in_transaction_session_timeout = 0";

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
        migrate::run(&database).await.map_err(|error| match database.file() {
            Some(file) => error.in_file(file),
            None => error,
        })?;
        if let Pools::Sqlite { file, .. } = &database.pools {
            file.is_open();
        }
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
        let file = Arc::new(SqliteFile::at(path));
        let written = Arc::clone(&file);
        let writer = SqlitePoolOptions::new()
            .min_connections(1)
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(false)
            .before_acquire(move |connection, _| {
                let can_write = !written.takes_no_writes();
                Box::pin(async move { Ok(can_write && is_at_rest(connection)) })
            })
            .acquire_timeout(options.busy_timeout);
        let connect = base.clone().pragma("cache_size", WRITER_CACHE).statement_cache_capacity(256);
        let begun = Instant::now();
        let writer = loop {
            let opened = writer.clone().connect_with(connect.clone()).await;
            match opened.map_err(|error| DbError::new("open the database file", error).in_file(path)) {
                Ok(writer) => break writer,
                // A file that is new becomes one with a WAL; SQLite lets nobody else wait for that.
                Err(error) if error.kind() == DbErrorKind::Locked && begun.elapsed() < options.busy_timeout => {
                    tokio::time::sleep(OPEN_AGAIN).await;
                }
                Err(error) => return Err(error),
            }
        };
        let readers = SqlitePoolOptions::new()
            .max_connections(options.connections.max(1))
            .acquire_timeout(options.busy_timeout)
            .test_before_acquire(false)
            .before_acquire(|connection, _| Box::pin(async move { Ok(is_at_rest(connection)) }))
            .connect_lazy_with(base.pragma("cache_size", READER_CACHE).pragma("query_only", "ON"));
        Ok(Self { pools: Pools::Sqlite { writer, readers, file } })
    }

    async fn open_postgres(options: &DatabaseOptions) -> Result<Self, DbError> {
        let connect = PgConnectOptions::from_str(&options.url)
            .map_err(|error| DbError::new("read the database address", error))?
            .application_name("eventferry")
            .options([
                ("timezone", "UTC"),
                ("lock_timeout", "60s"),
                ("idle_in_transaction_session_timeout", STANDSTILL),
            ]);
        let place = format!("{}:{}", connect.get_host(), connect.get_port());
        let patience = options.busy_timeout.min(Duration::from_secs(30));
        // It waits for a server that is about to start, and does not say so.
        let mut connecting = std::pin::pin!(
            PgPoolOptions::new()
                .max_connections(options.connections.max(2))
                .acquire_timeout(patience)
                .connect_with(connect.clone())
        );
        let pool = match tokio::time::timeout(SILENT_FOR, &mut connecting).await {
            Ok(pool) => pool,
            Err(_) => {
                tracing::warn!("cannot reach PostgreSQL at {place} yet; trying for {} s", patience.as_secs());
                connecting.await
            }
        };
        let pool = match pool {
            // Nor does it say for what it has waited.
            Err(error @ sqlx::Error::PoolTimedOut) => {
                let again = tokio::time::timeout(ASK_WHY_FOR, PgConnection::connect_with(&connect)).await;
                Err(again.ok().and_then(Result::err).unwrap_or(error))
            }
            pool => pool,
        };
        let pool = pool.map_err(|error| DbError::new("connect to PostgreSQL", error).at(place))?;
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
            Pools::Sqlite { file, .. } => Some(file.path()),
            Pools::Postgres(_) => None,
        }
    }

    /// Returns when another file lies in the place of the SQLite file, or none: nothing can be read or written any more.
    /// With PostgreSQL it never returns.
    pub async fn replaced(&self) {
        match &self.pools {
            Pools::Sqlite { file, .. } => file.replaced().await,
            Pools::Postgres(_) => std::future::pending().await,
        }
    }

    /// Whether that has been found out.
    pub fn is_replaced(&self) -> bool {
        matches!(&self.pools, Pools::Sqlite { file, .. } if file.is_replaced())
    }

    /// The files beside a SQLite file that was replaced which still are those of the old one. The new one must not be
    /// opened with them: SQLite would take over pages of the old one.
    pub fn stale_companions(&self) -> Vec<PathBuf> {
        match &self.pools {
            Pools::Sqlite { file, .. } => file.stale_companions(),
            Pools::Postgres(_) => Vec::new(),
        }
    }

    /// Begins a transaction that may write.
    ///
    /// # Errors
    /// Where the database is out of reach or stays locked.
    pub async fn begin(&self) -> Result<Tx, DbError> {
        match &self.pools {
            Pools::Sqlite { writer, file, .. } => {
                file.check("begin a transaction")?;
                let tx = writer.begin_with("BEGIN IMMEDIATE").await;
                let tx = tx.map_err(|error| DbError::new("begin a transaction", error))?;
                Ok(Tx::Sqlite(tx, Arc::clone(file)))
            }
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
            Pools::Sqlite { readers, file, .. } => {
                file.check("begin a snapshot")?;
                Ok(Tx::Sqlite(readers.begin().await.map_err(failed)?, Arc::clone(file)))
            }
            Pools::Postgres(pool) => pool.begin_with(BEGIN_SNAPSHOT).await.map(Tx::Postgres).map_err(failed),
        }
    }

    /// Reads rows outside of a transaction.
    ///
    /// # Errors
    /// Where the database is out of reach or refuses the statement.
    pub async fn fetch_all(&self, sql: &Sql, args: &[Arg]) -> Result<Vec<Row>, DbError> {
        match &self.pools {
            Pools::Sqlite { readers, file, .. } => {
                file.check(sql.name())?;
                sql::fetch_all_sqlite(readers, sql, args).await
            }
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

/// Whether a SQLite connection can be used again. Where the disk is full or fails, SQLite rolls back by itself; the library
/// does not learn of it and begins nothing more on that connection, which is therefore given up for a new one.
fn is_at_rest(connection: &sqlx::SqliteConnection) -> bool {
    !connection.is_in_transaction()
}

/// A transaction; dropped without [`Tx::commit`] it is rolled back.
#[derive(Debug)]
pub enum Tx {
    /// On SQLite, with the file that it is in.
    Sqlite(sqlx::Transaction<'static, Sqlite>, Arc<SqliteFile>),
    /// On PostgreSQL.
    Postgres(sqlx::Transaction<'static, Postgres>),
}

impl Tx {
    /// Which database it runs on.
    pub fn backend(&self) -> Backend {
        match self {
            Self::Sqlite(..) => Backend::Sqlite,
            Self::Postgres(_) => Backend::Postgres,
        }
    }

    /// Runs a statement and says how many rows it touched.
    ///
    /// # Errors
    /// Where the database is out of reach or refuses the statement.
    pub async fn execute(&mut self, sql: &Sql, args: &[Arg]) -> Result<u64, DbError> {
        tracing::trace!(statement = sql.name(), "in a transaction");
        match self {
            Self::Sqlite(tx, file) => file.note(sql::execute_sqlite(&mut **tx, sql, args).await),
            Self::Postgres(tx) => sql::execute_postgres(&mut **tx, sql, args).await,
        }
    }

    /// Reads rows.
    ///
    /// # Errors
    /// Where the database is out of reach or refuses the statement.
    pub async fn fetch_all(&mut self, sql: &Sql, args: &[Arg]) -> Result<Vec<Row>, DbError> {
        tracing::trace!(statement = sql.name(), "in a transaction");
        match self {
            Self::Sqlite(tx, file) => file.note(sql::fetch_all_sqlite(&mut **tx, sql, args).await),
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
        tracing::trace!(statement = "commit", "in a transaction");
        match self {
            Self::Sqlite(tx, file) => {
                file.check("commit")?;
                tx.commit().await
            }
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
            Self::Sqlite(tx, _) => tx.rollback().await,
            Self::Postgres(tx) => tx.rollback().await,
        }
        .map_err(|error| DbError::new("roll back", error))
    }
}
