//! The daemon as systemd and an admin see it: readiness, signals, one daemon per root, log lines.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use eventferry::db::{Database, DatabaseOptions, Sql};
use serde_json::Value;

use crate::fixtures::archive::Archive;
use crate::support::binary::{Process, eventferry, run, run_to_end};
use crate::support::postgres::PostgresDatabase;
use crate::support::service::Service;

/// Where the journal of a machine listens, see `systemd-journald.socket`.
const JOURNAL: &str = "/run/systemd/journal/socket";

async fn open(url: String) -> Database {
    Database::open(&DatabaseOptions { url, connections: 2, busy_timeout: Duration::from_secs(10) }).await.unwrap()
}

async fn open_in(root: &Path) -> Database {
    open(format!("sqlite:{}", root.join("eventferry.db").display())).await
}

async fn count(database: &Database, sql: &'static str) -> i64 {
    database.fetch_all(&Sql::same("count", sql), &[]).await.unwrap()[0].get(0).unwrap()
}

#[tokio::test]
async fn it_is_ready_only_after_the_first_scan() {
    let service = Service::new();
    let server = PostgresDatabase::create();
    let database = open(server.url()).await;
    // A scan begins with what the table knows.
    let mut held = database.begin().await.unwrap();
    held.execute(&Sql::same("hold the scan", "LOCK TABLE arrivals IN ACCESS EXCLUSIVE MODE"), &[]).await.unwrap();
    let url = format!("database.url={}", server.url());
    let mut process = Process::start(service.command(&["--set", &url, "run"]));
    let waiting = "SELECT count(*) FROM pg_locks WHERE relation = 'arrivals'::regclass AND NOT granted";
    while count(&database, waiting).await == 0 {
        process.assert_alive();
    }
    service.assert_silent();

    held.rollback().await.unwrap();
    service.said("READY=1");
    process.terminate();
    service.said("STOPPING=1");
    let ended = process.ended();
    assert_eq!((ended.code, ended.out.as_str()), (0, ""), "{ended:?}");
    database.close().await;
}

#[tokio::test]
async fn what_lay_in_the_inbox_at_the_start_was_found_by_the_first_scan() {
    let service = Service::new();
    fs::write(service.root().join("inbox/harbour.zip"), Archive::flat().zip()).unwrap();
    // Nothing wakes it, and the next scan is far.
    let quiet = ["--set", "inbox.watch=false", "--set", "inbox.scan_every=1h", "--set", "inbox.settle=10ms"];
    let mut process = Process::start(service.command(&[&quiet[..], &["run"]].concat()));
    service.said("READY=1");
    let database = open_in(&service.root()).await;
    while count(&database, "SELECT count(*) FROM jobs WHERE source_state = 'moved'").await == 0 {
        process.assert_alive();
    }
    assert_eq!(count(&database, "SELECT count(*) FROM jobs WHERE state = 'succeeded'").await, 1);
    database.close().await;
    process.terminate();
    service.said("STOPPING=1");
    assert_eq!(process.ended().code, 0);
}

#[test]
fn waiting_for_a_server_that_does_not_answer_is_said_and_ended_by_a_signal() {
    let service = Service::new();
    let archive = service.root().join("a.zip");
    fs::write(&archive, Archive::flat().zip()).unwrap();
    // It takes connections, and never says a word.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = silent.local_addr().unwrap().to_string();
    let url = format!("database.url=postgres://u:p@{place}/x");
    let import = ["import", archive.to_str().unwrap()];
    for (args, code) in [(&["run"][..], 0), (&import[..], 3), (&["export", "all"][..], 3)] {
        let mut process = Process::start(service.command(&[&["--set", &url], args].concat()));
        process.wait_for(&format!("cannot reach PostgreSQL at {place} yet; trying for 30 s"));
        process.terminate();
        let ended = process.ended();
        assert_eq!((ended.code, ended.out.as_str()), (code, ""), "{args:?}: {ended:?}");
        assert!(ended.err.contains("stopped before the database was open"), "{args:?}: {ended:?}");
    }
}

#[tokio::test]
async fn with_a_locked_database_it_is_never_ready() {
    let service = Service::new();
    let database = open_in(&service.root()).await;
    let held = database.begin().await.unwrap();
    let ended = run_to_end(service.command(&["--set", "database.busy_timeout=1s", "run"]));
    assert_eq!((ended.code, ended.out.as_str()), (3, ""), "{ended:?}");
    assert!(ended.err.contains("database is locked") && ended.err.contains("try again"), "{ended:?}");
    service.assert_silent();
    held.rollback().await.unwrap();
    database.close().await;
}

#[test]
fn a_second_daemon_on_the_same_root_is_refused_with_one_line() {
    let (first, second) = (Service::new(), Service::new());
    let mut process = Process::start(first.command(&["run"]));
    first.said("READY=1");
    let mut command = eventferry(&first.root(), &["run"]);
    command.env("NOTIFY_SOCKET", second.socket_path());
    for command in [command, eventferry(&first.root(), &["run", "--once"])] {
        let ended = run_to_end(command);
        assert_eq!((ended.code, ended.out.as_str()), (3, ""), "{ended:?}");
        assert_eq!(ended.err.lines().count(), 1, "{ended:?}");
        let holder = format!("another eventferry (process {}) works there", process.id());
        assert!(ended.err.contains(&holder) && ended.err.contains("eventferry.lock"), "{ended:?}");
    }
    second.assert_silent();
    process.assert_alive();
    process.terminate();
    assert_eq!(process.ended().code, 0);
    // The root is free again.
    assert_eq!(run(&first.root(), &["run", "--once", "--quiet"]).code, 0);
}

#[test]
fn the_daemon_does_the_work_of_an_import_on_its_root() {
    let service = Service::new();
    let file = service.folder().join("harbour.zip");
    fs::write(&file, Archive::flat().zip()).unwrap();
    let process = Process::start(service.command(&["run"]));
    service.said("READY=1");
    let ended = run(&service.root(), &["import", file.to_str().unwrap()]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.out.contains("\nSucceeded: "), "{ended:?}");
    process.terminate();
    assert_eq!(process.ended().code, 0);
}

#[test]
fn a_watchdog_hears_of_it_as_long_as_it_runs() {
    let service = Service::new();
    let mut command = service.command(&["run"]);
    command.env("WATCHDOG_USEC", "300000");
    let process = Process::start(command);
    service.said("READY=1");
    for _ in 0..3 {
        service.said("WATCHDOG=1");
    }
    process.terminate();
    service.said("STOPPING=1");
    assert_eq!(process.ended().code, 0);
}

#[tokio::test]
async fn a_manager_that_does_not_read_what_it_is_told_holds_nothing_up() {
    let service = Service::new();
    let mut command = service.command(&["--set", "inbox.settle=10ms", "run"]);
    // A sign of life every ten milliseconds: the socket is full long before the archive is in.
    command.env("WATCHDOG_USEC", "30000");
    let mut process = Process::start(command);
    service.said("READY=1");
    for number in 0..3 {
        fs::write(service.root().join(format!("inbox/{number}.zip")), Archive::flat().zip()).unwrap();
    }
    let database = open_in(&service.root()).await;
    while count(&database, "SELECT count(*) FROM jobs WHERE source_state = 'moved'").await < 3 {
        process.assert_alive();
    }
    database.close().await;
    process.terminate();
    assert_eq!(process.ended().code, 0);
}

#[test]
fn without_a_journal_text_goes_to_stderr_and_says_so() {
    let service = Service::new();
    let ended = run(&service.root(), &["--set", "log.format=journald", "run", "--once"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    if Path::new(JOURNAL).exists() {
        assert_eq!(ended.err, "", "everything has gone to the journal of this machine");
        return;
    }
    let lines: Vec<&str> = ended.err.lines().collect();
    assert!(lines[0].contains("WARN") && lines[0].contains("The journal cannot be reached"), "{lines:?}");
    let ready = lines.iter().find(|line| line.contains("ready: archives that are dropped are imported"));
    assert!(ready.unwrap().contains("INFO"), "{lines:?}");
    assert!(lines.last().unwrap().ends_with("stopped"), "{lines:?}");
}

#[test]
fn the_log_names_the_file_of_each_job_and_says_why_one_failed_and_who_is_told() {
    let service = Service::new();
    let inbox = service.root().join("inbox");
    fs::write(inbox.join("harbour.zip"), Archive::flat().zip()).unwrap();
    fs::write(inbox.join("bad\nname.zip"), "no zip at all").unwrap();
    fs::create_dir(inbox.join("strangers")).unwrap();
    fs::write(inbox.join("strangers/a.zip"), "x").unwrap();
    let once = ["--set", "inbox.settle=10ms", "run", "--once"];
    let text = run(&service.root(), &once).err;
    let has = |words: &[&str]| text.lines().any(|line| words.iter().all(|word| line.contains(word)));
    for archive in ["archive=\"harbour.zip\"", "archive=\"bad"] {
        for event in ["Claimed an archive", "a job begins", "a job has ended"] {
            assert!(has(&[event, archive]), "{event}, {archive}: {text}");
        }
    }
    assert!(has(&["a job has ended", "archive=\"bad", "state=\"failed\"", "reason=\""]), "{text}");
    assert!(!has(&["archive=\"harbour.zip\"", "reason="]), "{text}");
    assert!(has(&["a file stays in the inbox; `mail.admin` is not set", "strangers"]), "{text}");
    assert!(text.lines().all(|line| line.contains(" INFO ")), "a name stays on its line: {text}");

    fs::create_dir(inbox.join("others")).unwrap();
    fs::write(inbox.join("others/a.zip"), "x").unwrap();
    let text = run(&service.root(), &[&["--set", "mail.admin=admin@example.org"], &once[..]].concat()).err;
    assert!(text.contains("a file stays in the inbox; the admin is told"), "{text}");
}

#[test]
fn the_log_is_text_or_one_object_a_line_and_keeps_to_its_level() {
    let service = Service::new();
    fs::write(service.root().join("inbox/harbour.zip"), Archive::flat().zip()).unwrap();
    let once = ["--set", "inbox.settle=10ms", "run", "--once"];
    let json = run(&service.root(), &[&["--set", "log.format=json"], &once[..]].concat());
    assert_eq!(json.code, 0, "{json:?}");
    let lines: Vec<Value> = json.err.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.len() > 2, "{lines:?}");
    for line in &lines {
        for key in ["timestamp", "level", "target", "message"] {
            assert!(line[key].is_string(), "no {key}: {line}");
        }
    }
    assert!(lines.iter().any(|line| line["inbox"].is_string()), "fields stand beside the message: {lines:?}");

    let text = run(&service.root(), &once);
    assert_eq!(text.code, 0, "{text:?}");
    assert!(!text.err.contains('\u{1b}'), "no colours where there is no terminal: {text:?}");
    assert!(text.err.lines().all(|line| line.contains(" INFO ")), "{text:?}");
    let quiet = run(&service.root(), &[&["--quiet"], &once[..]].concat());
    assert_eq!((quiet.code, quiet.out.as_str(), quiet.err.as_str()), (0, "", ""), "{quiet:?}");
    let warnings = run(&service.root(), &[&["--log-level", "warn"], &once[..]].concat());
    assert_eq!((warnings.code, warnings.err.as_str()), (0, ""), "{warnings:?}");
    let wrong = run(&service.root(), &[&["--log-level", "eventferry=loud"], &once[..]].concat());
    assert_eq!(wrong.code, 3, "{wrong:?}");
}
