//! One test body on both databases.

use std::ops::Deref;
use std::time::Duration;

use eventferry::db::{Database, DatabaseOptions};
use tempfile::TempDir;

use super::postgres::PostgresDatabase;

/// An empty database with its tables, gone with this value.
#[derive(Debug)]
pub(crate) struct TestDatabase {
    database: Database,
    options: DatabaseOptions,
    _place: Place,
}

#[derive(Debug)]
#[expect(dead_code, reason = "kept until the test is over")]
enum Place {
    Folder(TempDir),
    Server(PostgresDatabase),
}

impl TestDatabase {
    /// A file of its own.
    pub(crate) async fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("eventferry.db").display());
        Self::open(url, Place::Folder(folder)).await
    }

    /// A database of its own in the server that `tests/run` starts.
    pub(crate) async fn postgres() -> Self {
        let server = PostgresDatabase::create();
        Self::open(server.url(), Place::Server(server)).await
    }

    async fn open(url: String, place: Place) -> Self {
        let options = DatabaseOptions { url, connections: 4, busy_timeout: Duration::from_secs(20) };
        let database = Database::open(&options).await.unwrap();
        Self { database, options, _place: place }
    }

    /// The same database, opened as another daemon would.
    pub(crate) async fn open_again(&self) -> Database {
        Database::open(&self.options).await.unwrap()
    }
}

impl Deref for TestDatabase {
    type Target = Database;

    fn deref(&self) -> &Database {
        &self.database
    }
}

/// Runs each test on SQLite and on PostgreSQL, as `name::on_sqlite` and `name::on_postgres`:
///
/// ```ignore
/// on_both_databases! {
///     async fn a_row_comes_back_as_it_went(database: TestDatabase) {
///         database.execute(&INSERT, &[]).await.unwrap();
///     }
/// }
/// ```
macro_rules! on_both_databases {
    ($($(#[$attribute:meta])* async fn $name:ident($database:ident: TestDatabase) $body:block)+) => {
        $($(#[$attribute])* mod $name {
            use super::*;

            async fn body($database: $crate::support::databases::TestDatabase) $body

            #[tokio::test]
            async fn on_sqlite() {
                body($crate::support::databases::TestDatabase::sqlite().await).await;
            }

            #[tokio::test]
            async fn on_postgres() {
                body($crate::support::databases::TestDatabase::postgres().await).await;
            }
        })+
    };
}

pub(crate) use on_both_databases;
