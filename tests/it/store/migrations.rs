//! Bringing the tables up to date.

use std::time::Duration;

use eventferry::db::{Database, DatabaseOptions, Sql};
use tokio::task::JoinSet;

use super::insert_job;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn processes_that_start_at_the_same_time_make_the_tables_once() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..10 {
        let url = format!("sqlite:{}", folder.path().join(format!("{round}.db")).display());
        let mut starts = JoinSet::new();
        for _ in 0..4 {
            let options = DatabaseOptions { url: url.clone(), connections: 1, busy_timeout: Duration::from_secs(10) };
            starts.spawn(async move { Database::open(&options).await });
        }
        for opened in starts.join_all().await {
            opened.unwrap();
        }
    }
}

#[tokio::test]
async fn a_database_that_holds_something_is_copied_before_its_tables_change() {
    for holds_something in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("eventferry.db");
        let url = format!("sqlite:{}", file.display());
        let options = DatabaseOptions { url, connections: 1, busy_timeout: Duration::from_secs(10) };
        let database = Database::open(&options).await.unwrap();
        if holds_something {
            insert_job(&database, 1).await;
        }
        // As the program before the last step has left it.
        for step in [
            "DROP TABLE deliveries",
            "DROP TABLE handlers",
            "ALTER TABLE jobs DROP COLUMN with_handlers",
            "ALTER TABLE jobs DROP COLUMN held",
            "ALTER TABLE jobs DROP COLUMN waits_detail",
            "DELETE FROM id_counters WHERE name = 'deliveries'",
            "DELETE FROM _sqlx_migrations WHERE version = 3",
        ] {
            database.execute(&Sql::built("go back", step.to_owned()), &[]).await.unwrap();
        }
        database.close().await;
        Database::open(&options).await.unwrap().close().await;
        let copy = folder.path().join("eventferry.db.before-version-3");
        assert_eq!(copy.exists(), holds_something);
    }
}
