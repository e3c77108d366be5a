//! A disk that is full or fails under the SQLite file.

use std::fs;

use eventferry::db::{DbErrorKind, Sql};

use crate::fixtures::archive::Archive;
use crate::support::binary::{Process, run, succeed};
use crate::support::databases::TestDatabase;
use crate::support::service::Service;

const FILL: Sql = Sql::same(
    "fill the disk",
    "INSERT INTO arrivals (path, state, identity, bytes, reason, first_seen, changed_at) \
     VALUES ($1, 'arriving', '1', 1, $2, '2026-11-22T04:00:00.000Z', '2026-11-22T04:00:00.000Z')",
);

#[tokio::test]
async fn a_full_disk_ends_one_transaction_and_the_next_one_begins() {
    let database = TestDatabase::sqlite().await;
    for round in 0..3 {
        let mut tx = database.begin().await.unwrap();
        tx.execute(&Sql::same("let no page be added", "PRAGMA max_page_count = 1"), &[]).await.unwrap();
        let much = "x".repeat(100_000);
        let full = tx.execute(&FILL, &["full.zip".into(), much.into()]).await.unwrap_err();
        assert_eq!(full.kind(), DbErrorKind::Disk, "{full}");
        drop(tx);
        // With space again; the bound was that of a connection.
        database.execute(&FILL, &[format!("{round}.zip").into(), "x".repeat(100_000).into()]).await.unwrap();
    }
    let rows = database.fetch_all(&Sql::same("count", "SELECT count(*) FROM arrivals"), &[]).await.unwrap();
    assert_eq!(rows[0].get::<i64>(0).unwrap(), 3);
}

#[test]
fn a_database_file_that_is_replaced_stops_the_daemon_before_it_writes_into_the_wrong_one() {
    let service = Service::new();
    let root = service.root();
    // A restored backup: a whole database with something in it.
    let backup = service.folder().join("backup");
    fs::create_dir_all(backup.join("inbox")).unwrap();
    fs::write(backup.join("inbox/harbour.zip"), Archive::flat().zip()).unwrap();
    assert_eq!(run(&backup, &["--set", "inbox.settle=10ms", "run", "--once", "--quiet"]).code, 0);
    let restored = fs::read(backup.join("eventferry.db")).unwrap();

    let process = Process::start(service.command(&["--set", "inbox.settle=10ms", "run"]));
    service.said("READY=1");
    fs::rename(backup.join("eventferry.db"), root.join("eventferry.db")).unwrap();
    let ended = process.ended();
    assert_eq!((ended.code, ended.out.as_str()), (3, ""), "{ended:?}");
    let last = ended.err.lines().last().unwrap();
    assert!(last.contains("another file was put in the place of the database"), "{ended:?}");
    assert!(last.contains("eventferry.db-wal.of-the-replaced-database"), "{ended:?}");
    assert_eq!(fs::read(root.join("eventferry.db")).unwrap(), restored);
    assert!(!root.join("eventferry.db-wal").exists() && !root.join("eventferry.db-shm").exists());

    // The next start works with the file that is there now.
    let status = succeed(&root, &["status", "--json"]).json();
    assert_eq!(status["jobs"]["counts"]["succeeded"], 1, "{status}");
    assert_eq!(run(&root, &["run", "--once", "--quiet"]).code, 0);
}

#[test]
fn a_database_file_that_is_removed_stops_the_daemon() {
    let service = Service::new();
    let process = Process::start(service.command(&["run"]));
    service.said("READY=1");
    fs::remove_file(service.root().join("eventferry.db")).unwrap();
    let ended = process.ended();
    assert_eq!(ended.code, 3, "{ended:?}");
    assert!(!service.root().join("eventferry.db").exists(), "no new one is made in its place");
}

#[test]
fn systemd_reads_when_dropped_archives_wait_and_when_they_do_not_any_more() {
    let service = Service::new();
    let fast = ["--set", "inbox.scan_every=1s", "run"];
    let process = Process::start(service.command(&fast));
    service.said("READY=1");
    let (inbox, aside) = (service.root().join("inbox"), service.folder().join("aside"));
    fs::rename(&inbox, &aside).unwrap();
    service.said_like("STATUS of a missing inbox", |line| {
        line.starts_with("STATUS=not ready: ") && line.contains("inbox") && line.contains("is missing")
    });
    fs::rename(&aside, &inbox).unwrap();
    service.said("STATUS=importing what is dropped");
    process.terminate();
    let ended = process.ended();
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.err.contains("not ready: ") && ended.err.contains("ready again: "), "{ended:?}");
}
