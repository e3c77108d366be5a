//! The real binary, as a person or a script starts it.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use chrono::{DateTime, TimeDelta};
use eventferry::clock::Timestamp;
use eventferry::db::{Arg, Column, ColumnType, Database, DatabaseOptions};
use eventferry::mail::{Addressed, MailKind, Rendered, for_queue};
use eventferry::model::{Code, Dataset, JobId, JobState, Problem};
use eventferry::queue::lock::InstanceLock;
use eventferry::store::arrivals::{self, ArrivalRow, ArrivalState};
use eventferry::store::jobs::{
    self, CheckpointUpdate, ClaimRequest, Ending, Filter, JobKind, Lease, Lookup, NewJob, OwnerId, claim_next, finish,
    insert,
};
use eventferry::store::notifications::{self, NewNotification};
use eventferry::store::records::{self, NewRecord, Writing};
use eventferry::store::{events, mails, problems};
use serde_json::Value;
use tempfile::TempDir;
use uuid::Uuid;

use crate::support::binary::{eventferry, run, run_to_end, succeed};

async fn open(root: &Path) -> Database {
    let url = format!("sqlite:{}", root.join("eventferry.db").display());
    Database::open(&DatabaseOptions { url, connections: 2, busy_timeout: Duration::from_secs(10) }).await.unwrap()
}

/// A root with an empty database.
async fn empty() -> TempDir {
    let root = tempfile::tempdir().unwrap();
    open(root.path()).await.close().await;
    root
}

fn start() -> Timestamp {
    DateTime::from_timestamp(1_790_000_000, 0).unwrap()
}

fn job(number: u32) -> JobId {
    format!("0199a0f2-7c3e-7bd1-8a44-{number:012}").parse().unwrap()
}

fn new_job(number: u32, name: &str) -> NewJob {
    NewJob {
        id: job(number),
        kind: JobKind::Import,
        account: "default".to_owned(),
        archive_name: name.to_owned(),
        archive_bytes: 2_048,
        source_key: Some("https://example.org 7".to_owned()),
        again: false,
        retry_of: None,
        with_handlers: None,
        created_at: start() + TimeDelta::seconds(i64::from(number)),
    }
}

/// A job that a daemon has claimed.
async fn claimed(database: &Database, number: u32) -> Lease {
    insert(database, &new_job(number, "summit.zip")).await.unwrap();
    let request = ClaimRequest {
        owner: OwnerId(Uuid::from_u128(1)),
        per_account: 2,
        strikes: 5,
        attempts: 5,
        now: start() + TimeDelta::minutes(1),
        horizon: start() + TimeDelta::hours(1),
    };
    claim_next(database, &request).await.unwrap().unwrap().0
}

#[test]
fn help_says_when_a_single_run_ends() {
    let root = tempfile::tempdir().unwrap();
    let help = succeed(root.path(), &["run", "--help"]).out;
    let help: Vec<&str> = help.split_whitespace().collect();
    assert!(help.join(" ").contains("stays paused"), "{help:?}");
}

#[test]
fn help_names_the_exit_codes_and_every_command() {
    let root = tempfile::tempdir().unwrap();
    let help = succeed(root.path(), &["--help"]).out;
    for word in
        ["Exit codes:", "import", "check", "jobs", "events", "accounts", "status", "config", "mail", "completions"]
    {
        assert!(help.contains(word), "{word} is missing:\n{help}");
    }
    assert!(succeed(root.path(), &["--version"]).out.starts_with("eventferry "));
}

#[test]
fn wrong_arguments_could_not_run() {
    let root = tempfile::tempdir().unwrap();
    for args in [&["frobnicate"][..], &["jobs", "list", "--state", "sleeping"], &["--set", "nonsense", "status"], &[]] {
        let ended = run(root.path(), args);
        assert_eq!(ended.code, 3, "{args:?}: {ended:?}");
        assert_eq!(ended.out, "", "{args:?}");
        assert_ne!(ended.err, "", "{args:?}");
    }
}

#[test]
fn a_configuration_is_checked_with_all_faults_at_once() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("mine.toml");
    fs::write(&file, "[queue]\nlease = \"1s\"\nlese = 5\n[import]\non_error = \"shrug\"\n").unwrap();
    let config = file.to_str().unwrap();
    for command in [&["config", "check"][..], &["status"], &["jobs", "list"]] {
        let ended = run(root.path(), &[&["--config", config][..], command].concat());
        assert_eq!(ended.code, 3, "{ended:?}");
        assert_eq!(ended.out, "");
        for word in ["queue.lease", "queue.lese", "import.on_error", "shrug", "mine.toml", "to do:"] {
            assert!(ended.err.contains(word), "{word} is missing:\n{}", ended.err);
        }
    }
    fs::write(&file, "[queue]\nlease = \"60s\"\n").unwrap();
    let good = succeed(root.path(), &["--config", config, "config", "check"]);
    assert!(good.out.contains("mine.toml"), "{good:?}");
    assert_eq!(succeed(root.path(), &["--config", config, "-q", "config", "check"]).out, "");
}

#[test]
fn the_blocks_of_readme_and_docs_can_be_pasted_as_they_stand() {
    let root = tempfile::tempdir().unwrap();
    let secret = root.path().join("secret");
    fs::write(&secret, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").unwrap();
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = fs::read_dir(project.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let pages = docs.filter(|path| path.extension().is_some_and(|ending| ending == "md"));
    let mut pasted = 0;
    for page in pages.chain([project.join("README.md")]) {
        let text = fs::read_to_string(&page).unwrap();
        let mut config = String::new();
        // One below the other, as somebody does who reads on.
        for block in text.split("```toml\n").skip(1) {
            config.push_str(block.split("```").next().unwrap());
            let here = config.replace("/etc/eventferry/tickets-secret", secret.to_str().unwrap());
            let file = root.path().join("pasted.toml");
            fs::write(&file, here).unwrap();
            succeed(root.path(), &["--config", file.to_str().unwrap(), "config", "check"]);
            pasted += 1;
        }
    }
    assert!(pasted >= 4, "{pasted}");
}

#[test]
fn a_broken_mail_template_is_found_by_the_check() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("templates")).unwrap();
    fs::write(root.path().join("templates/imported.txt"), "{% if %}").unwrap();
    let ended = run(root.path(), &["config", "check"]);
    assert_eq!(ended.code, 3);
    assert!(ended.err.contains("imported.txt"), "{ended:?}");
}

#[test]
fn settings_are_shown_with_their_origin_and_secrets_masked() {
    let root = tempfile::tempdir().unwrap();
    let secret = "smtp.password=hunter2";
    let url = "database.url=postgres://ferry:hunter3@db.example.org/events";
    let args = ["--set", secret, "--set", "smtp.user=ferry", "--set", url, "config", "show"];
    let shown = succeed(root.path(), &args).out;
    assert!(!shown.contains("hunter"), "{shown}");
    let line = |key: &str| shown.lines().find(|line| line.starts_with(key)).unwrap().to_owned();
    let words = |key: &str| line(key).split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(words("smtp.password "), ["smtp.password", "***", "flag", "`--set`"]);
    assert_eq!(words("queue.lease "), ["queue.lease", "45s", "default"]);
    assert!(line("database.url ").contains("postgres://ferry:***@db.example.org/events"));
    assert!(line("folders.root ").contains("flag `--root`"));

    let json =
        succeed(root.path(), &["--set", secret, "--set", "smtp.user=ferry", "config", "show", "smtp.pass", "--json"]);
    assert_eq!(json.json()[0]["key"], "smtp.password");
    assert_eq!(json.json()[0]["value"], "***");
    assert_eq!(run(root.path(), &["config", "show", "nothing"]).code, 3);
}

#[test]
fn the_printed_defaults_are_a_configuration_without_fault() {
    let root = tempfile::tempdir().unwrap();
    let defaults = succeed(root.path(), &["config", "defaults"]).out;
    let file = root.path().join("defaults.toml");
    fs::write(&file, &defaults).unwrap();
    succeed(root.path(), &["--config", file.to_str().unwrap(), "config", "check"]);
    assert!(defaults.contains("# Time between two signs of life"));
}

#[test]
fn looking_makes_no_database_and_says_what_would() {
    let root = tempfile::tempdir().unwrap();
    for args in [&["jobs", "list"][..], &["events", "list"], &["mail", "list"], &["jobs", "show", "0199"]] {
        let ended = run(root.path(), args);
        assert_eq!(ended.code, 3, "{args:?}: {ended:?}");
        assert!(ended.err.contains("there is no database at") && ended.err.contains("eventferry run"), "{ended:?}");
    }
    let status = succeed(root.path(), &["status", "--json"]).json();
    assert_eq!(status["database"]["state"], "missing");
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn an_empty_database_has_nothing_to_list() {
    let root = empty().await;
    for (args, expected) in
        [(["jobs", "list"], "No jobs.\n"), (["events", "list"], "No events.\n"), (["mail", "list"], "No mails.\n")]
    {
        assert_eq!(succeed(root.path(), &args).out, expected);
        assert_eq!(succeed(root.path(), &[args[0], args[1], "--json"]).json(), Value::Array(Vec::new()));
        assert_eq!(succeed(root.path(), &[args[0], args[1], "--quiet"]).out, "");
    }
    for args in
        [["jobs", "show", "0199"], ["jobs", "cancel", "0199"], ["events", "show", "7"], ["events", "delete", "7"]]
    {
        let ended = run(root.path(), &args);
        assert_eq!(ended.code, 3, "{args:?}: {ended:?}");
        assert!(ended.err.contains("there is no "), "{ended:?}");
    }
}

#[tokio::test]
async fn jobs_are_listed_the_newest_first_and_by_state() {
    let root = empty().await;
    let database = open(root.path()).await;
    insert(&database, &new_job(1, "first.zip")).await.unwrap();
    insert(&database, &new_job(2, "seco\u{1b}nd.zip")).await.unwrap();
    database.close().await;

    let page = succeed(root.path(), &["jobs", "list"]).out;
    let lines: Vec<&str> = page.lines().collect();
    assert_eq!(lines.len(), 3, "{page}");
    assert!(lines[1].starts_with(&job(2).to_string()) && lines[1].contains("seco\\x1bnd.zip"), "{page}");
    assert!(lines[1].contains("blocked") && lines[1].contains("an import into the same event"), "{page}");
    assert!(lines[2].contains("queued") && lines[2].contains("2026-09-21 14:13:21Z"), "{page}");
    assert!(!page.contains('\u{1b}'), "{page}");

    let blocked = succeed(root.path(), &["jobs", "list", "--state", "blocked", "--state", "failed", "--json"]).json();
    assert_eq!(blocked.as_array().unwrap().len(), 1);
    assert_eq!(blocked[0]["id"], job(2).to_string());
    assert_eq!(blocked[0]["waits"]["job"], job(1).to_string());
    for command in [["jobs", "list"], ["events", "list"]] {
        let unknown = run(root.path(), &[&command[..], &["--account", "other"]].concat());
        assert_eq!((unknown.code, unknown.out.as_str()), (3, ""), "{unknown:?}");
        assert!(unknown.err.contains("there is no account `other`"), "{unknown:?}");
    }
    // One that the configuration has no more, and one that has done nothing yet.
    let renamed = ["--set", "inbox.default_account=renamed"];
    let left = succeed(root.path(), &[&renamed[..], &["jobs", "list", "--account", "default", "--json"]].concat());
    assert_eq!(left.json().as_array().unwrap().len(), 2);
    let none = succeed(root.path(), &[&renamed[..], &["events", "list", "--account", "default"]].concat());
    assert_eq!(none.out, "No events.\n");
    let new = succeed(root.path(), &[&renamed[..], &["jobs", "list", "--account", "renamed"]].concat());
    assert_eq!(new.out, "No jobs.\n");
    let limited = succeed(root.path(), &["jobs", "list", "--limit", "1"]).out;
    assert!(limited.ends_with("There are more; `--limit 10` shows them.\n"), "{limited}");
}

#[tokio::test]
async fn a_job_is_shown_by_the_beginning_of_its_id_with_problems_and_mails() {
    let root = empty().await;
    let database = open(root.path()).await;
    insert(&database, &new_job(1, "first.zip")).await.unwrap();
    insert(&database, &new_job(2, "second.zip")).await.unwrap();
    let late =
        Problem::new(Code::DateInvalid, "`x` is no date", "write 2026-09-21T09:00:00Z").in_file("sessions").at(12);
    let dangling = Problem::new(Code::DanglingReference, "no such track", "add it").in_file("sessions");
    let mut tx = database.begin().await.unwrap();
    problems::insert(&mut tx, job(2), 1, &[dangling, late.clone(), late]).await.unwrap();
    let rendered = Rendered { subject: "Partly imported".to_owned(), text: String::new(), html: String::new() };
    let addressed = Addressed {
        id: Uuid::from_u128(9),
        subject_key: "2",
        kind: MailKind::Partial,
        job: Some(job(2)),
        account: Some("default"),
        recipient: None,
        switched_on: true,
        domain: "example.org",
        attachment: None,
        now: start(),
    };
    mails::queue(&mut tx, &for_queue(&addressed, rendered)).await.unwrap();
    tx.commit().await.unwrap();
    database.close().await;

    let page = succeed(root.path(), &["jobs", "show", &job(2).to_string()]).out;
    assert!(page.contains("second.zip (2.0 KiB)"), "{page}");
    assert!(page.contains("waits for job"), "{page}");
    let row = |code: &str| page.lines().position(|line| line.contains(code)).unwrap();
    assert!(row("DATE_INVALID") < row("DANGLING_REFERENCE"), "errors come first:\n{page}");
    let line = page.lines().nth(row("DATE_INVALID")).unwrap();
    assert!(line.contains("sessions, record 12: `x` is no date") && line.contains("write 2026-"), "{line}");
    assert!(page.contains("Mail \"Partly imported\": not sent: there is no address"), "{page}");

    let json = succeed(root.path(), &["jobs", "show", &job(2).to_string(), "--json"]).json();
    assert_eq!(json["problem_counts"]["DATE_INVALID"], 2);
    assert_eq!(json["problems"].as_array().unwrap().len(), 3);
    assert_eq!(json["mails"][0]["state"], "no_address");

    let ambiguous = run(root.path(), &["jobs", "show", "0199a0f2"]);
    assert_eq!(ambiguous.code, 3);
    assert!(
        ambiguous.err.contains(&job(1).to_string()) && ambiguous.err.contains(&job(2).to_string()),
        "{ambiguous:?}"
    );
}

#[tokio::test]
async fn a_job_is_cancelled_once_and_refused_after_its_end() {
    let root = empty().await;
    let database = open(root.path()).await;
    let lease = claimed(&database, 1).await;
    let id = lease.job.to_string();
    let asked = succeed(root.path(), &["jobs", "cancel", &id[..13]]);
    assert!(asked.out.contains("after its current chunk"), "{asked:?}");
    let Lookup::Found(view) = jobs::get(&database, &id).await.unwrap() else { panic!("the job is gone") };
    assert!(view.cancel_requested);

    end(&database, &lease, JobState::Cancelled).await;
    let late = run(root.path(), &["jobs", "cancel", &id]);
    assert_eq!(late.code, 2, "{late:?}");
    assert!(late.err.contains("it has ended as cancelled"), "{late:?}");
    database.close().await;
}

async fn end(database: &Database, lease: &Lease, state: JobState) {
    let mut tx = database.begin().await.unwrap();
    let ending = Ending { state, summary: "That was it".to_owned(), result_folder: None, finished_at: start() };
    finish(&mut tx, lease, &ending).await.unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn a_job_that_has_ended_is_repeated_as_a_new_job_that_names_it() {
    let root = empty().await;
    let database = open(root.path()).await;
    let lease = claimed(&database, 1).await;
    let id = lease.job.to_string();
    let running = run(root.path(), &["jobs", "retry", &id]);
    assert_eq!(running.code, 2);
    assert!(running.err.contains("it has not ended, it is running"), "{running:?}");

    end(&database, &lease, JobState::Failed).await;
    let moving = run(root.path(), &["jobs", "retry", &id]);
    assert_eq!(moving.code, 2);
    assert!(moving.err.contains("try again in a moment"), "{moving:?}");

    let kept = "rejected/default/summit_1.zip";
    jobs::mark_moved(&database, lease.job, Some(kept)).await.unwrap();
    let missing = run(root.path(), &["jobs", "retry", &id]);
    assert_eq!(missing.code, 2);
    assert!(missing.err.contains("drop it again"), "{missing:?}");

    fs::create_dir_all(root.path().join("rejected/default")).unwrap();
    fs::write(root.path().join(kept), b"PK the archive").unwrap();
    let repeated = succeed(root.path(), &["jobs", "retry", &id]);
    assert!(repeated.out.contains("No daemon runs here"), "{repeated:?}");

    let jobs = succeed(root.path(), &["jobs", "list", "--json"]).json();
    let new = &jobs[0];
    assert_eq!(new["retry_of"], id);
    assert_eq!(new["again"], true);
    assert_eq!(new["state"], "queued");
    assert_eq!(new["archive"]["name"], "summit.zip");
    assert_eq!(new["archive"]["bytes"], 14);
    let copy = root.path().join("work").join(new["id"].as_str().unwrap()).join("source.zip");
    assert_eq!(fs::read(copy).unwrap(), b"PK the archive");
    assert!(root.path().join(kept).exists());

    let twice = run(root.path(), &["jobs", "retry", &id]);
    assert_eq!(twice.code, 2);
    assert!(twice.err.contains("repeats it already"), "{twice:?}");
    assert_eq!(succeed(root.path(), &["jobs", "list", "--json"]).json().as_array().unwrap().len(), 2);
    database.close().await;
}

/// A record without any value but its name.
#[tokio::test]
async fn work_is_not_put_into_the_folder_of_another_user() {
    let root = empty().await;
    let file = root.path().join("a.zip");
    fs::write(&file, "PK").unwrap();
    let work = root.path().join("theirs");
    fs::create_dir(&work).unwrap();
    let set = if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(&work, Some(65_534), None).unwrap();
        format!("folders.work={}", work.display())
    } else {
        "folders.work=/usr".to_owned()
    };
    let refused = run(root.path(), &["--set", &set, "import", file.to_str().unwrap()]);
    assert_eq!((refused.code, refused.out.as_str()), (3, ""));
    assert!(refused.err.contains("belongs to the user") && refused.err.contains("sudo -u"), "{}", refused.err);
    assert_eq!(jobs::list(&open(root.path()).await, &Filter::default()).await.unwrap(), []);
}

fn named(dataset: Dataset, id: i64, column: &str, name: &str) -> NewRecord {
    let cell = |known: &Column| match known.kind {
        _ if known.name == column => Arg::from(name),
        ColumnType::Int => Arg::Int(None),
        ColumnType::Real => Arg::Real(None),
        ColumnType::Text => Arg::Text(None),
        ColumnType::Bool => Arg::Bool(None),
        ColumnType::Instant => Arg::Instant(None),
        ColumnType::Json => Arg::Json(None),
    };
    let cells = records::field_columns(dataset).iter().map(cell).collect();
    NewRecord { id, source_id: id.to_string(), cells, extra: "{}".to_owned(), content_hash: String::new() }
}

/// An event with three tracks; says its id.
async fn new_event(database: &Database, name: &str) -> i64 {
    let mut tx = database.begin().await.unwrap();
    let event = records::take_ids(&mut tx, "events", 1).await.unwrap();
    let record = named(Dataset::Event, event, "name", name);
    records::insert_event(&mut tx, "default", "https://example.org", job(1), start(), record).await.unwrap();
    let first = records::take_ids(&mut tx, "tracks", 3).await.unwrap();
    let tracks = (first..first + 3).map(|id| named(Dataset::Tracks, id, "name", "A track"));
    let writing = Writing { event_id: event, job: job(1), now: start() };
    records::insert(&mut tx, Dataset::Tracks, &writing, tracks).await.unwrap();
    events::add_owner(&mut tx, event, "default", None, None, start()).await.unwrap();
    tx.commit().await.unwrap();
    event
}

#[tokio::test]
async fn events_are_listed_and_shown_with_their_records_and_jobs() {
    let root = empty().await;
    let database = open(root.path()).await;
    let first = new_event(&database, "Summit\u{7} 2026").await.to_string();
    let second = new_event(&database, "Meetup").await.to_string();
    database.close().await;

    let page = succeed(root.path(), &["events", "list"]).out;
    assert!(page.lines().nth(1).unwrap().contains("Summit\\x07 2026"), "{page}");
    assert!(page.lines().nth(2).unwrap().contains("https://example.org"), "{page}");
    let rest = succeed(root.path(), &["events", "list", "--after", &first, "--json"]).json();
    assert_eq!(rest.as_array().unwrap().len(), 1);
    assert_eq!(rest[0]["name"], "Meetup");
    let limited = succeed(root.path(), &["events", "list", "--limit", "1"]).out;
    assert!(limited.ends_with(&format!("There are more; `--after {first}` shows them.\n")), "{limited}");

    let shown = succeed(root.path(), &["events", "show", &second, "--json"]).json();
    assert_eq!(shown["owners"][0], "default");
    let tracks = shown["records"].as_array().unwrap().iter().find(|count| count["dataset"] == "tracks").unwrap();
    assert_eq!(tracks["records"], 3);
    assert!(succeed(root.path(), &["events", "show", &second]).out.contains("Meetup"));
}

#[tokio::test]
async fn an_event_is_deleted_only_with_a_yes_and_while_nobody_imports_into_it() {
    let root = empty().await;
    let database = open(root.path()).await;
    let kept = new_event(&database, "Meetup").await;
    let event = new_event(&database, "Summit").await;
    let id = event.to_string();

    let unasked = run(root.path(), &["events", "delete", &id]);
    assert_eq!(unasked.code, 3);
    assert!(
        unasked.err.contains("`Summit`") && unasked.err.contains("3 records") && unasked.err.contains("--yes"),
        "{unasked:?}"
    );

    let lease = claimed(&database, 1).await;
    let mut tx = database.begin().await.unwrap();
    let update = CheckpointUpdate {
        stage: "importing tracks".to_owned(),
        stage_done: 1,
        stage_total: 3,
        checkpoint: "{}".to_owned(),
        event_id: Some(event),
        event_created: false,
    };
    jobs::checkpoint(&mut tx, &lease, &update).await.unwrap();
    tx.commit().await.unwrap();
    let busy = run(root.path(), &["events", "delete", &id, "--yes"]);
    assert_eq!(busy.code, 2);
    assert!(busy.err.contains(&format!("job {} imports into it", lease.job)), "{busy:?}");
    let page = succeed(root.path(), &["jobs", "list"]).out;
    assert!(page.contains("Importing tracks (1/3)"), "{page}");

    end(&database, &lease, JobState::Succeeded).await;
    // One row a chunk: deleting takes several.
    let deleted = succeed(root.path(), &["--set", "import.chunk_records=1", "events", "delete", &id, "--yes"]);
    assert!(deleted.out.contains("with 3 records"), "{deleted:?}");
    assert_eq!(run(root.path(), &["events", "show", &id]).code, 3);
    let left = events::record_counts(&database, kept).await.unwrap();
    assert_eq!(left.iter().map(|(_, records, _)| records).sum::<u64>(), 3);
    let gone = events::record_counts(&database, event).await.unwrap();
    assert_eq!(gone.iter().map(|(_, records, _)| records).sum::<u64>(), 0);
    database.close().await;
}

#[test]
fn a_test_mail_is_written_where_the_transport_says_and_its_fate_is_told() {
    let root = tempfile::tempdir().unwrap();
    let sent = succeed(root.path(), &["mail", "test", "someone@example.org"]);
    assert!(sent.out.contains("someone@example.org") && sent.out.contains("nothing leaves this machine"), "{sent:?}");
    let mails: Vec<_> = fs::read_dir(root.path().join("mail")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(mails.len(), 1);
    let mail = fs::read_to_string(&mails[0]).unwrap();
    assert!(mail.contains("To: someone@example.org\r\n"), "{mail}");

    let wrong = run(root.path(), &["mail", "test", "nobody"]);
    assert_eq!(wrong.code, 3);
    assert!(wrong.err.contains("the test mail was not sent: `nobody` is no mail address"), "{wrong:?}");
    let off = run(root.path(), &["--set", "mail.transport=none", "mail", "test", "someone@example.org"]);
    assert_eq!(off.code, 3);
    assert!(off.err.contains("`mail.transport` is \"none\""), "{off:?}");
    // Nothing listens on port 1.
    let smtp = [
        "mail.transport=smtp",
        "smtp.host=127.0.0.1",
        "smtp.port=1",
        "smtp.encryption=none",
        "mail.from=f@example.org",
    ];
    let mut args: Vec<&str> = smtp.iter().flat_map(|assignment| ["--set", assignment]).collect();
    args.extend(["mail", "test", "someone@example.org"]);
    let refused = run(root.path(), &args);
    assert_eq!(refused.code, 3);
    assert!(refused.err.contains("the test mail was not sent"), "{refused:?}");
}

#[tokio::test]
async fn accounts_are_listed_with_their_policies_and_last_job() {
    let root = empty().await;
    let file = root.path().join("mine.toml");
    let berlin = "[[accounts]]\nname = \"berlin\"\nemail = \"team@example.org\"\non_error = \"reject\"\nwith_handlers = true\nallow = []\n";
    fs::write(&file, berlin).unwrap();
    let database = open(root.path()).await;
    insert(&database, &new_job(1, "first.zip")).await.unwrap();
    database.close().await;
    let config = file.to_str().unwrap();

    let accounts = succeed(root.path(), &["--config", config, "accounts", "list", "--json"]).json();
    assert_eq!(accounts[0]["name"], "default");
    assert_eq!(accounts[0]["is_default"], true);
    assert_eq!(accounts[0]["folder"], root.path().join("inbox").to_str().unwrap());
    assert_eq!(accounts[0]["last_job"]["id"], job(1).to_string());
    assert_eq!(accounts[1]["on_error"], "reject");
    assert_eq!((&accounts[0]["with_handlers"], &accounts[1]["with_handlers"]), (&false.into(), &true.into()));
    assert_eq!(accounts[1]["email"], "team@example.org");
    let folder = root.path().join("inbox/berlin");
    assert_eq!(accounts[1]["folder"], folder.to_str().unwrap());
    assert_eq!(accounts[1]["folder_exists"], false);
    let page = succeed(root.path(), &["--config", config, "accounts", "list"]).out;
    assert!(
        page.lines().any(|line| line.starts_with("berlin ")
            && line.contains("on_error reject")
            && line.contains("with_handlers true")),
        "{page}"
    );
    assert!(page.contains(&format!("{} (missing)", folder.display())), "{page}");
    assert!(page.lines().any(|line| line.starts_with("default (default)") && line.contains("no mails")), "{page}");
    fs::create_dir_all(folder).unwrap();
    let page = succeed(root.path(), &["--config", config, "accounts", "list"]).out;
    assert!(!page.contains("inbox/berlin (missing)"), "{page}");
}

#[tokio::test]
async fn status_shows_the_daemon_jobs_files_and_mails_at_once() {
    let root = empty().await;
    let database = open(root.path()).await;
    insert(&database, &new_job(1, "first.zip")).await.unwrap();
    insert(&database, &new_job(2, "second.zip")).await.unwrap();
    let mut tx = database.begin().await.unwrap();
    let half = ArrivalRow {
        path: "berlin/half.zip".to_owned(),
        account: Some("berlin".to_owned()),
        state: ArrivalState::Incomplete,
        identity: String::new(),
        bytes: 3 << 20,
        reason: Some("INCOMPLETE: the end is missing".to_owned()),
        first_seen: start(),
        changed_at: start(),
        told_at: None,
    };
    arrivals::save(&mut tx, &half).await.unwrap();
    let told = NewNotification {
        id: Uuid::from_u128(9),
        subject_key: "arrival".to_owned(),
        kind: MailKind::Admin.as_str(),
        job: None,
        account: None,
        title: "Not taken: nobody".to_owned(),
        body: String::new(),
        created_at: start(),
    };
    assert!(notifications::keep(&mut tx, &told).await.unwrap());
    tx.commit().await.unwrap();
    database.close().await;

    let page = succeed(root.path(), &["status"]).out;
    let has = |words: &[&str]| page.lines().any(|line| words.iter().all(|word| line.contains(word)));
    assert!(has(&["Daemon", "not running"]), "{page}");
    assert!(has(&["Jobs", "1 queued, 1 blocked"]), "{page}");
    assert!(has(&["berlin/half.zip", "incomplete", "3.0 MiB", "the end is missing"]), "{page}");
    assert!(has(&["second.zip", "blocked", "waits for job"]), "{page}");

    assert!(page.contains("\nTold to the admin\nnot sent: `mail.admin` is not set\n"), "{page}");
    let set = ["--set", "mail.admin=admin@example.org", "status"];
    assert!(!succeed(root.path(), &set).out.contains("is not set"));

    assert!(has(&["Inbox", "missing, so nothing is taken"]), "{page}");
    fs::create_dir(root.path().join("inbox")).unwrap();
    assert!(!succeed(root.path(), &["status"]).out.contains("missing, so"));

    let _lock = InstanceLock::take(root.path()).unwrap();
    let status = succeed(root.path(), &["status", "--json"]).json();
    assert_eq!(status["version"], 1);
    assert_eq!(status["daemon"]["state"], "running");
    assert_eq!(status["daemon"]["process"], std::process::id());
    assert_eq!(status["inbox"]["exists"], true);
    assert_eq!(status["jobs"]["counts"]["blocked"], 1);
    assert_eq!(status["jobs"]["unfinished"].as_array().unwrap().len(), 2);
    assert_eq!(status["files"][0]["path"], "berlin/half.zip");
    assert_eq!(status["free_space"][0]["is_low"], false);
}

/// A command as a user that owns nothing, who can get at the program wherever it was built; this user where it is no root.
fn as_another_user(root: &Path, args: &[&str]) -> Command {
    let mut command = eventferry(root, args);
    if rustix::process::geteuid().is_root() {
        let program = root.join("program");
        if !program.exists() {
            fs::copy(command.get_program(), &program).unwrap();
        }
        command = Command::new(program);
        command.env_clear().arg("--root").arg(root).args(args).uid(65_534).gid(65_534);
    }
    command
}

#[tokio::test]
async fn a_database_that_this_user_may_not_use_is_told_with_its_owner_and_what_to_do() {
    let root = empty().await;
    let file = root.path().join("eventferry.db");
    let is_root = rustix::process::geteuid().is_root();
    let archive = root.path().join("a.zip");
    fs::write(&archive, "PK").unwrap();
    let commands: [&[&str]; 3] = [&["jobs", "list"], &["accounts", "list"], &["check", archive.to_str().unwrap()]];
    let expected = if is_root { "sudo -u root eventferry" } else { "chmod u+rwX" };
    for (folder_mode, file_mode) in [(0o755, 0o600), (0o755, 0o444), (0o711, 0o400)] {
        // One who owns the folder is not kept out by its mode alone.
        fs::set_permissions(root.path(), Permissions::from_mode(folder_mode)).unwrap();
        fs::set_permissions(&file, Permissions::from_mode(if is_root { file_mode } else { 0o400 })).unwrap();
        for args in commands {
            let ended = run_to_end(as_another_user(root.path(), args));
            assert_eq!((ended.code, ended.out.as_str()), (3, ""), "{args:?}: {ended:?}");
            assert!(ended.err.contains(expected), "{args:?}: {ended:?}");
            assert!(!ended.err.contains("passes by itself") && !ended.err.contains("code:"), "{ended:?}");
        }
        let status = run_to_end(as_another_user(root.path(), &["status"]));
        assert_eq!((status.code, status.err.as_str()), (3, ""), "it is said once: {status:?}");
        assert_eq!(status.out.matches(expected).count(), 1, "{status:?}");
    }
}

#[test]
fn a_database_at_a_path_that_can_hold_none_is_told_with_what_is_there() {
    let root = tempfile::tempdir().unwrap();
    let missing = format!("database.url=sqlite:{}", root.path().join("no/folder/x.db").display());
    let folder = format!("database.url=sqlite:{}", root.path().display());
    let archive = root.path().join("a.zip");
    fs::write(&archive, "PK").unwrap();
    let archive = archive.to_str().unwrap();
    for (set, expected) in [(missing, "is not there; make it"), (folder, "is a folder; let `database.url` name a file")]
    {
        for args in [&["jobs", "list"][..], &["check", archive], &["import", archive], &["run", "--once"]] {
            let ended = run(root.path(), &[&["--set", &set], args].concat());
            assert_eq!(ended.code, 3, "{args:?}: {ended:?}");
            assert!(ended.err.contains(expected), "{args:?}: {ended:?}");
            assert!(!ended.err.contains("passes by itself"), "{args:?}: {ended:?}");
        }
    }
}

#[test]
fn a_database_out_of_reach_is_told_with_the_rest_of_the_status() {
    let root = tempfile::tempdir().unwrap();
    let url = "database.url=postgres://ferry:hunter2@127.0.0.1:1/events";
    let ended = run(root.path(), &["--set", url, "--set", "database.busy_timeout=1s", "status"]);
    assert_eq!(ended.code, 3, "{ended:?}");
    assert!(ended.out.contains("Daemon") && ended.out.contains("could not connect to PostgreSQL"), "{ended:?}");
    assert!(ended.out.contains("127.0.0.1:1") && ended.out.contains("refused"), "{ended:?}");
    assert_eq!(ended.out.matches("unknown").count(), 2, "neither jobs nor mails are said to be none: {ended:?}");
    assert!(!ended.out.contains("hunter2") && !ended.err.contains("hunter2"), "{ended:?}");
    assert!(!ended.err.contains("could not connect"), "it is said once: {ended:?}");
}

#[test]
fn completions_are_printed_for_each_shell() {
    let root = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = succeed(root.path(), &["completions", shell]).out;
        assert!(script.contains("completions") && script.contains("log-level"), "{shell}");
    }
    assert_eq!(run(root.path(), &["completions", "tcsh"]).code, 3);
}
