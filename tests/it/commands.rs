//! `check`, `import` and `run --once` of the real binary, on archives that are good, dirty and broken.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use eventferry::db::{Database, DatabaseOptions, Sql};
use serde_json::Value;
use tempfile::TempDir;

use crate::fixtures::archive::{Archive, RECORDS};
use crate::support::binary::{Ended, eventferry, run, run_to_end, succeed};
use crate::support::smtp::{Options, SmtpServer};

/// A root, and archives beside it.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["root", "tmp"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        Self { folder }
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    /// Writes a file beside the root; gives its path.
    fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        let path = self.folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Runs a command whose temporary files have to be gone afterwards.
    fn run(&self, args: &[&str]) -> Ended {
        let scratch = self.folder.path().join("tmp");
        let mut command = eventferry(&self.root(), args);
        command.env("TMPDIR", &scratch);
        let ended = run_to_end(command);
        assert_eq!(files(&scratch), BTreeMap::new(), "left over by {args:?}");
        ended
    }
}

/// Everything clean.
fn good() -> Vec<u8> {
    Archive::flat().zip()
}

/// One session without its title: an error, and the others are good.
fn dirty() -> Vec<u8> {
    Archive::flat().set("sessions", "/1/title", Value::Null).zip()
}

/// An upload that broke off.
fn broken() -> Vec<u8> {
    let mut bytes = good();
    bytes.truncate(bytes.len() / 2);
    bytes
}

/// Every file below a folder with its bytes, by its path in it.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            found.extend(files(&path).into_iter().map(|(below, bytes)| (format!("{name}/{below}"), bytes)));
            found.insert(format!("{name}/"), Vec::new());
        } else {
            found.insert(name, fs::read(&path).unwrap());
        }
    }
    found
}

/// The only file that ends like this.
fn only(files: &BTreeMap<String, Vec<u8>>, prefix: &str, suffix: &str) -> String {
    let found: Vec<&String> = files.keys().filter(|name| name.starts_with(prefix) && name.ends_with(suffix)).collect();
    assert_eq!(found.len(), 1, "{prefix}…{suffix}: {found:?}");
    found[0].clone()
}

/// The words behind a word that begins a line.
fn place(out: &str, word: &str) -> String {
    let line = out.lines().find(|line| line.trim_start().starts_with(word)).unwrap_or_else(|| panic!("{word}: {out}"));
    line.trim_start().strip_prefix(word).unwrap().trim().to_owned()
}

/// The only archive at the place that the outcome names: where it was still on its way then, that is its folder.
fn kept_archive(out: &str) -> PathBuf {
    let place = PathBuf::from(place(out, "archive"));
    if place.is_file() {
        return place;
    }
    let names: Vec<String> = files(&place).into_keys().collect();
    assert_eq!(names.len(), 1, "{names:?}");
    place.join(&names[0])
}

async fn open(root: &Path) -> Database {
    let url = format!("sqlite:{}", root.join("eventferry.db").display());
    Database::open(&DatabaseOptions { url, connections: 2, busy_timeout: Duration::from_secs(10) }).await.unwrap()
}

async fn count(root: &Path, table: &str) -> i64 {
    let database = open(root).await;
    let sql = Sql::built("count rows", format!("SELECT count(*) FROM {table}"));
    let rows = database.fetch_all(&sql, &[]).await.unwrap();
    let count = rows[0].get(0).unwrap();
    database.close().await;
    count
}

#[test]
fn a_good_archive_is_checked_with_its_plan() {
    let place = Place::new();
    let file = place.file("harbour.zip", good());
    let ended = place.run(&["check", &file]);
    assert_eq!((ended.code, ended.err.as_str()), (0, ""), "{ended:?}");
    assert!(ended.out.starts_with("Fine: "), "{}", ended.out);
    assert!(ended.out.contains("It would make a new event."), "{}", ended.out);
    assert!(ended.out.contains("sessions        4 created"), "{}", ended.out);
    assert!(ended.out.contains("Problems: 0 errors, 0 warnings"), "{}", ended.out);

    let json = place.run(&["check", "--json", &file]);
    assert_eq!((json.code, json.err.as_str()), (0, ""), "{json:?}");
    let plan = json.json();
    assert_eq!(plan["state"], "succeeded");
    assert_eq!(plan["event"], Value::Null);
    assert_eq!(plan["archive"]["name"], "harbour.zip");
    assert_eq!(plan["archive"]["bytes"], good().len());
    for (dataset, records) in RECORDS {
        let counts = &plan["datasets"][dataset];
        assert_eq!((&counts["created"], &counts["rejected"]), (&records.into(), &0.into()), "{dataset}: {counts}");
    }
    assert_eq!(plan["problems"], Value::Array(Vec::new()));
    assert_eq!(files(&place.root()), BTreeMap::new(), "a check writes nothing");
}

#[test]
fn a_dirty_archive_is_checked_with_every_problem() {
    let place = Place::new();
    let file = place.file("harbour.zip", dirty());
    let ended = place.run(&["check", &file]);
    assert_eq!((ended.code, ended.err.as_str()), (1, ""), "{ended:?}");
    assert!(ended.out.starts_with("With errors: "), "{}", ended.out);
    assert!(ended.out.contains("sessions        3 created, 1 rejected"), "{}", ended.out);
    assert!(ended.out.contains("Problems: 1 error, "), "{}", ended.out);
    assert!(ended.out.contains("\n  error FIELD_REQUIRED sessions record 2 (id 2): "), "{}", ended.out);

    let json = place.run(&["check", "--json", &file]);
    assert_eq!((json.code, json.err.as_str()), (1, ""), "{json:?}");
    let plan = json.json();
    assert_eq!(plan["state"], "partial");
    assert_eq!(plan["datasets"]["sessions"]["created"], 3);
    assert_eq!(plan["datasets"]["sessions"]["rejected"], 1);
    assert_eq!(plan["problem_counts"]["FIELD_REQUIRED"], 1);
    let errors: Vec<&Value> =
        plan["problems"].as_array().unwrap().iter().filter(|problem| problem["severity"] == "error").collect();
    assert_eq!(errors.len(), 1, "{errors:?}");
    let told = ["file", "position", "source_id", "field"].map(|key| errors[0][key].to_string());
    assert_eq!(told, ["\"sessions\"", "2", "\"2\"", "\"title\""]);
    assert_ne!(errors[0]["hint"], "");
    assert_eq!(files(&place.root()), BTreeMap::new(), "a check writes nothing");
}

#[test]
fn a_broken_archive_is_checked_and_would_be_rejected() {
    let place = Place::new();
    for (bytes, code) in [(broken(), "INCOMPLETE"), (b"{\"id\": 1}".to_vec(), "NOT_A_ZIP"), (Vec::new(), "EMPTY_FILE")]
    {
        let file = place.file("harbour.zip", bytes);
        let ended = place.run(&["check", &file]);
        assert_eq!((ended.code, ended.err.as_str()), (2, ""), "{ended:?}");
        assert!(ended.out.starts_with("Rejected: "), "{}", ended.out);
        assert!(ended.out.contains("Problems: 1 error, 0 warnings"), "{}", ended.out);
        assert!(!ended.out.contains("It would"), "{}", ended.out);
        let json = place.run(&["check", "--json", &file]);
        assert_eq!((json.code, json.err.as_str()), (2, ""), "{json:?}");
        let plan = json.json();
        assert_eq!(plan["state"], "failed");
        assert_eq!(plan["problem_counts"][code], 1, "{plan}");
    }
    assert_eq!(files(&place.root()), BTreeMap::new(), "a check writes nothing");
}

#[test]
fn a_check_that_cannot_be_made_says_why() {
    let place = Place::new();
    let missing = place.folder.path().join("missing.zip");
    let ended = place.run(&["check", missing.to_str().unwrap()]);
    assert_eq!((ended.code, ended.out.as_str()), (3, ""), "{ended:?}");
    let told = format!(
        "eventferry: could not read the archive: cannot open `{}` (No such file or directory (os error 2)): check that it \
         is there and that eventferry may read it\n",
        missing.display()
    );
    assert_eq!(ended.err, told);
    let account = place.run(&["check", "--account", "nobody", &place.file("harbour.zip", good())]);
    assert_eq!((account.code, account.out.as_str()), (3, ""), "{account:?}");
    assert!(account.err.contains("there is no account `nobody`"), "{account:?}");
    let folder = place.run(&["check", place.folder.path().to_str().unwrap()]);
    assert_eq!(folder.code, 3, "{folder:?}");
    assert_eq!(files(&place.root()), BTreeMap::new());
}

#[tokio::test]
async fn a_check_beside_an_imported_event_changes_neither_database_nor_folders() {
    let place = Place::new();
    let file = place.file("harbour.zip", good());
    succeed(&place.root(), &["--quiet", "import", &file]);
    let root = place.root();
    // What lies in the inbox may be checked as well.
    fs::create_dir_all(root.join("inbox")).unwrap();
    let changed = Archive::flat().set("tracks", "/0/name", "Cables").push("tracks", serde_json::json!({"id": 9}));
    fs::write(root.join("inbox/harbour.zip"), changed.zip()).unwrap();
    open(&root).await.close().await;
    let before = files(&root);

    let ended = place.run(&["check", root.join("inbox/harbour.zip").to_str().unwrap(), "--json"]);
    assert_eq!((ended.code, ended.err.as_str()), (1, ""), "{ended:?}");
    let plan = ended.json();
    assert_eq!(plan["event"]["name"], "Harbour Days");
    let tracks = &plan["datasets"]["tracks"];
    let counts = ["created", "updated", "unchanged", "rejected"].map(|key| tracks[key].as_u64().unwrap());
    assert_eq!(counts, [0, 1, 1, 1], "{tracks}");
    assert_eq!(plan["datasets"]["sessions"]["unchanged"], 4);
    let text = place.run(&["check", root.join("inbox/harbour.zip").to_str().unwrap()]);
    assert!(text.out.contains("It would go into event 1 (Harbour Days)."), "{}", text.out);

    let twice = place.run(&["check", &file]);
    assert_eq!(twice.code, 0, "{twice:?}");
    for (name, bytes) in files(&root) {
        assert!(before.get(&name) == Some(&bytes), "`{name}` is new or changed");
    }
    assert_eq!(files(&root).len(), before.len());
}

#[tokio::test]
async fn a_good_archive_is_imported_with_plain_lines_and_says_where_to_look() {
    let place_of = Place::new();
    let (root, file) = (place_of.root(), place_of.file("harbour.zip", good()));
    let ended = place_of.run(&["import", &file]);
    assert_eq!(ended.code, 0, "{ended:?}");

    // Neither stdout nor stderr is a terminal.
    for text in [&ended.out, &ended.err] {
        assert!(!text.contains('\u{1b}') && !text.contains('\r'), "{text:?}");
    }
    let job = place(&ended.out, "job");
    let lines: Vec<&str> = ended.err.lines().collect();
    assert_eq!(lines[0], format!("Importing {file} as job {job}"));
    assert!(lines[1..].iter().all(|line| !line.is_empty() && !line.contains('(')), "a line per stage: {lines:?}");
    assert!(lines.windows(2).all(|pair| pair[0] != pair[1]), "no line comes twice in a row: {lines:?}");

    let out = &ended.out;
    assert!(out.contains("\nSucceeded: ") && out.contains("Event 1 (new): Harbour Days"), "{out}");
    assert!(out.contains("sessions        4 created") && out.contains("No problems."), "{out}");
    let results = PathBuf::from(place(out, "results"));
    assert!(results.starts_with(root.join("outbox/default")), "{}", results.display());
    let names: Vec<String> = files(&results).into_keys().collect();
    assert_eq!(names, ["errors.csv", "report.txt", "result.json"]);
    let report: Value = serde_json::from_slice(&fs::read(results.join("result.json")).unwrap()).unwrap();
    assert_eq!(report["job"], job);
    assert_eq!(report["state"], "succeeded");
    let archive = kept_archive(out);
    assert!(archive.starts_with(root.join("done/default")) && fs::read(&archive).unwrap() == good(), "{out}");
    assert_eq!(Path::new(&place(out, "database")), root.join("eventferry.db"));
    assert_eq!(fs::read(&file).unwrap(), good(), "the original stays");
    for (dataset, records) in RECORDS {
        let table = if dataset == "event" { "events" } else { dataset };
        assert_eq!(count(&root, table).await, i64::try_from(records).unwrap(), "{dataset}");
    }
    assert_eq!(count(&root, "session_speakers").await, 0, "the archive has no word about who speaks where");

    let again = place_of.run(&["import", &file]);
    assert_eq!(again.code, 0, "{again:?}");
    assert!(again.out.contains("\nDuplicate: "), "{}", again.out);
    assert!(again.out.contains("\nEvent 1 (unchanged): Harbour Days"), "{}", again.out);
    let forced = place_of.run(&["import", "--again", &file, "--json"]);
    let report = forced.json();
    assert_eq!((forced.code, &report["state"]), (0, &"succeeded".into()), "{forced:?}");
    assert_eq!(report["datasets"]["sessions"]["unchanged"], 4);
    assert_eq!(forced.err, "", "JSON is all there is");
}

#[tokio::test]
async fn a_dirty_archive_is_imported_in_part() {
    let place_of = Place::new();
    let ended = place_of.run(&["import", &place_of.file("harbour.zip", dirty())]);
    assert_eq!(ended.code, 1, "{ended:?}");
    let out = &ended.out;
    assert!(out.contains("\nPartial: ") && out.contains("sessions        3 created, 1 rejected"), "{out}");
    assert!(out.contains("\n  error FIELD_REQUIRED sessions record 2 (id 2): "), "{out}");
    assert!(out.contains("rejected.zip holds what was left out"), "{out}");
    let results = PathBuf::from(place(out, "results"));
    let names: Vec<String> = files(&results).into_keys().collect();
    assert_eq!(names, ["errors.csv", "rejected.zip", "report.txt", "result.json"]);
    assert_eq!(count(&place_of.root(), "sessions").await, 3);
    assert!(kept_archive(out).starts_with(place_of.root().join("done/default")), "{out}");
}

#[test]
fn the_counts_of_a_job_add_up_on_the_screen() {
    let place = Place::new();
    let doubled = Archive::dash().without("session_types").edit("tracks", |tracks| {
        let first = tracks[0].clone();
        tracks.as_array_mut().unwrap().push(first);
    });
    let counts_of = |bytes: Vec<u8>| {
        let report = place.run(&["import", "--json", &place.file("harbour.zip", bytes)]).json();
        let page = succeed(&place.root(), &["jobs", "show", report["job"].as_str().unwrap()]).out;
        let lines = page.lines().skip_while(|line| !line.starts_with("Dataset ")).take_while(|line| !line.is_empty());
        lines.map(|line| line.split_whitespace().map(str::to_owned).collect()).collect::<Vec<Vec<String>>>()
    };
    let table = counts_of(doubled.zip());
    let header = ["Dataset", "Read", "Rebuilt", "Created", "Updated", "Unchanged", "Rejected", "Merged", "Gone"];
    assert_eq!(table[0], header);
    for row in table[1..].iter().filter(|row| row.len() == header.len()) {
        let figures: Vec<u64> = row[1..].iter().map(|figure| figure.parse().unwrap()).collect();
        assert_eq!(figures[..2].iter().sum::<u64>(), figures[2..7].iter().sum::<u64>(), "{row:?}");
    }
    let figure = |dataset: &str, column: usize| {
        table.iter().find(|row| row[0] == dataset).unwrap_or_else(|| panic!("{table:?}"))[column].clone()
    };
    assert_ne!((figure("session_types", 2), figure("tracks", 7)), ("0".to_owned(), "0".to_owned()));
    assert_eq!(figure("tracks", 7), "1");
    let clean = counts_of(Archive::dash().set("event", "/id", 42).set("event", "/name", "Other").zip());
    assert!(!clean[0].iter().any(|title| title == "Rebuilt" || title == "Merged"), "{:?}", clean[0]);
}

#[tokio::test]
async fn a_broken_archive_is_rejected_at_once() {
    let place_of = Place::new();
    let ended = place_of.run(&["import", &place_of.file("harbour.zip", broken())]);
    assert_eq!(ended.code, 2, "{ended:?}");
    let out = &ended.out;
    assert!(out.contains("\nFailed: ") && out.contains("  error INCOMPLETE "), "{out}");
    let results = PathBuf::from(place(out, "results"));
    assert!(results.join("result.json").exists(), "{out}");
    let archive = kept_archive(out);
    assert!(archive.starts_with(place_of.root().join("rejected/default")), "{out}");
    assert_eq!(fs::read(archive).unwrap(), broken());
    for table in ["events", "sessions", "media"] {
        assert_eq!(count(&place_of.root(), table).await, 0, "{table}");
    }
}

#[test]
fn the_worst_of_several_files_is_the_exit_code_and_each_is_tried() {
    let place = Place::new();
    let good = place.file("good.zip", good());
    let dirty = place.file(
        "dirty.zip",
        Archive::flat()
            .set("event", "/id", 42)
            .set("event", "/name", "Other")
            .push("tracks", serde_json::json!({"id": 9}))
            .zip(),
    );
    let broken = place.file("broken.zip", broken());
    let missing = place.folder.path().join("missing.zip").to_str().unwrap().to_owned();
    assert_eq!(place.run(&["import", &dirty, &good]).code, 1);
    let ended = place.run(&["import", &broken, &missing, &good]);
    assert_eq!(ended.code, 3, "{ended:?}");
    assert!(ended.out.contains("\nFailed: ") && ended.out.contains("\nDuplicate: "), "{}", ended.out);
    assert!(ended.err.contains(&format!("eventferry: `{missing}` cannot be read: ")), "{}", ended.err);
    let json = place.run(&["import", "--json", &missing, &good]);
    assert_eq!((json.code, &json.json()["state"]), (3, &"duplicate".into()), "{json:?}");
    assert_eq!(json.err.matches("missing.zip").count(), 1, "{}", json.err);
    assert_eq!(place.run(&["import", &broken, &good]).code, 2);
}

#[test]
fn an_import_of_what_is_not_there_could_not_run() {
    let place = Place::new();
    let missing = place.folder.path().join("missing.zip");
    let ended = place.run(&["import", missing.to_str().unwrap()]);
    assert_eq!((ended.code, ended.out.as_str()), (3, ""), "{ended:?}");
    assert!(ended.err.contains("missing.zip` cannot be read: No such file"), "{ended:?}");
    let folder = place.run(&["import", place.folder.path().to_str().unwrap()]);
    assert_eq!(folder.code, 3, "{folder:?}");
    assert!(folder.err.contains("is no file; name an archive"), "{folder:?}");
    let account = place.run(&["import", "--account", "nobody", missing.to_str().unwrap()]);
    assert_eq!(account.code, 3, "{account:?}");
    assert!(account.err.contains("there is no account `nobody`"), "{account:?}");
    assert_eq!(files(&place.root()), BTreeMap::new(), "it looks before it makes anything");
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_left_alone() {
    let place = Place::new();
    let (root, file) = (place.root(), place.file("harbour.zip", good()));
    let database = open(&root).await;
    let newer = Sql::same(
        "pretend to be newer",
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (999, 'what is to come', TRUE, 'x', 0)",
    );
    database.execute(&newer, &[]).await.unwrap();
    database.close().await;
    let before = fs::read(root.join("eventferry.db")).unwrap();
    for args in [&["import", &file][..], &["check", &file], &["run", "--once"], &["jobs", "list"]] {
        let ended = place.run(args);
        assert_eq!((ended.code, ended.out.as_str()), (3, ""), "{args:?}: {ended:?}");
        assert!(ended.err.contains("version 999") && ended.err.contains("install the newer eventferry"), "{ended:?}");
    }
    assert!(fs::read(root.join("eventferry.db")).unwrap() == before, "nothing was written");
}

#[tokio::test]
async fn run_once_takes_what_lies_in_the_inbox_to_its_end() {
    let place = Place::new();
    let root = place.root();
    let config = place.file("mine.toml", "[[accounts]]\nname = \"berlin\"\nemail = \"berlin@example.org\"\n");
    fs::create_dir_all(root.join("inbox/berlin")).unwrap();
    fs::write(root.join("inbox/good.zip"), good()).unwrap();
    fs::write(root.join("inbox/berlin/dirty.zip"), dirty()).unwrap();
    fs::write(root.join("inbox/text.zip"), "no zip at all").unwrap();
    fs::write(root.join("inbox/half.zip.part"), broken()).unwrap();
    let once = ["--config", &config, "--set", "inbox.settle=10ms", "run", "--once"];
    let ended = place.run(&once);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.out.starts_with("Working on what lies in `"), "{ended:?}");

    let left = files(&root);
    let inbox: Vec<&String> = left.keys().filter(|name| name.starts_with("inbox/") && !name.ends_with('/')).collect();
    assert_eq!(inbox, ["inbox/half.zip.part"], "an upload that goes on is no archive yet");
    assert!(!left.keys().any(|name| name.starts_with("work/") && name.ends_with("source.zip")), "{:?}", left.keys());
    for (folder, name, results, bytes) in [
        ("done/default/", "good", "outbox/default/", good()),
        ("done/berlin/", "dirty", "outbox/berlin/", dirty()),
        ("rejected/default/", "text", "outbox/default/", b"no zip at all".to_vec()),
    ] {
        let kept: Vec<&String> = left.keys().filter(|path| path.starts_with(folder) && path.contains(name)).collect();
        assert_eq!(kept.len(), 1, "{name}: {kept:?}");
        assert!(left[kept[0]] == bytes, "{name}");
        only(&left, results, &format!("latest/{name}.json"));
    }
    let mails: Vec<&String> = left.keys().filter(|name| name.starts_with("mail/") && name.ends_with(".eml")).collect();
    assert_eq!(mails.len(), 1, "only `berlin` has an address: {mails:?}");
    assert_eq!(count(&root, "events").await, 2);
    assert_eq!(count(&root, "sessions").await, 7);

    let jobs = succeed(&root, &["jobs", "list", "--json"]).json();
    let mut states: Vec<String> = jobs
        .as_array()
        .unwrap()
        .iter()
        .map(|job| format!("{} {}", job["archive"]["name"].as_str().unwrap(), job["state"].as_str().unwrap()))
        .collect();
    states.sort();
    assert_eq!(states, ["dirty.zip partial", "good.zip succeeded", "text.zip failed"]);

    // With nothing to do it ends as well.
    let idle = place.run(&[&once[..], &["--quiet"]].concat());
    assert_eq!((idle.code, idle.out.as_str(), idle.err.as_str()), (0, "", ""), "{idle:?}");
    assert_eq!(run(&root, &["jobs", "list", "--json"]).json(), jobs);
}

#[test]
fn jobs_that_end_together_are_told_in_one_digest_before_the_command_ends() {
    let settings = r#"accounts=[{name = "berlin", email = "berlin@example.org"}]"#;
    for is_dropped in [true, false] {
        let place = Place::new();
        let archives: Vec<String> = (1..=8)
            .map(|id| {
                let archive = Archive::flat().set("event", "/id", id).set("event", "/name", format!("Days {id}"));
                place.file(&format!("{id}.zip"), archive.zip())
            })
            .collect();
        let mut args = vec!["--set", settings, "--set", "mail.digest_over=2", "--set", "inbox.settle=10ms"];
        if is_dropped {
            fs::create_dir_all(place.root().join("inbox/berlin")).unwrap();
            for archive in &archives {
                fs::copy(archive, place.root().join("inbox/berlin").join(Path::new(archive).file_name().unwrap()))
                    .unwrap();
            }
            args.extend(["run", "--once"]);
        } else {
            args.extend(["import", "--account", "berlin"]);
            args.extend(archives.iter().map(String::as_str));
        }
        let ended = place.run(&args);
        assert_eq!(ended.code, 0, "{ended:?}");
        let mails = run(&place.root(), &["mail", "list", "--json"]).json();
        let mails = mails.as_array().unwrap();
        let of = |kind: &str, state: &str| {
            mails.iter().filter(|mail| mail["kind"] == kind && mail["state"] == state).count()
        };
        let (single, folded, digests) = (of("imported", "sent"), of("imported", "digest"), of("digest", "sent"));
        assert_eq!((single + folded, mails.len()), (8, 8 + digests), "{mails:#?}");
        assert!(digests > 0, "{mails:#?}");
    }
}

#[test]
fn an_import_without_a_daemon_says_what_became_of_its_mail() {
    const HERE: &str = "no daemon runs here, `eventferry run` sends it";
    for (reply, said, listed) in [
        ("550 5.1.1 nobody here", "not sent: ", "failed: "),
        ("450 4.2.0 greylisted", "waits to be sent: ", "waits to be sent: "),
    ] {
        let server = SmtpServer::start(&Options {
            refused: BTreeMap::from([("berlin@example.org".to_owned(), reply.to_owned())]),
            ..Options::default()
        });
        let place = Place::new();
        let archive = place.file("harbour.zip", good());
        let port = format!("smtp.port={}", server.port());
        let mut args = vec!["--set", r#"accounts=[{name = "berlin", email = "berlin@example.org"}]"#, "--set", &port];
        for setting in
            ["mail.transport=smtp", "mail.from=ferry@example.org", "smtp.host=127.0.0.1", "smtp.encryption=none"]
        {
            args.extend(["--set", setting]);
        }
        let ended = place.run(&[&args[..], &["import", "--account", "berlin", &archive]].concat());
        assert_eq!(ended.code, 0, "{ended:?}");
        let mails = place.run(&[&args[..], &["mail", "list"]].concat()).out;
        for (text, expected) in [(&ended.out, said), (&mails, listed)] {
            assert!(text.contains(expected) && reply.split(' ').all(|word| text.contains(word)), "{text}");
            assert_eq!(text.contains(HERE), reply.starts_with('4'), "{text}");
        }
    }
}

#[test]
fn an_event_is_exported_by_hand_and_its_files_are_copied_where_they_are_wanted() {
    let place = Place::new();
    let archive = place.file("harbour.zip", good());
    assert_eq!(place.run(&["import", &archive]).code, 0);
    let wanted = place.folder.path().join("wanted");
    let ended = place.run(&["export", "Harbour Days", "--out", wanted.to_str().unwrap()]);
    assert_eq!(ended.code, 0, "{ended:#?}");
    assert!(ended.out.contains("Succeeded: 1 event exported"), "{}", ended.out);
    assert!(!ended.err.contains('\r'), "plain lines where there is no terminal: {:?}", ended.err);
    let copied = wanted.join("harbour-days-1");
    for name in [
        "event.zip",
        "schedule.xml",
        "schedule.json",
        "schedule.ics",
        "schedule.html",
        "sessions.csv",
        "speakers.csv",
        "event.xlsx",
    ] {
        assert!(copied.join(name).metadata().unwrap().len() > 0, "{name}");
    }
    let mut check = Command::new("sha256sum");
    check.args(["--check", "--quiet", "SHA256SUMS"]).current_dir(&copied);
    let sums = run_to_end(check);
    assert_eq!((sums.code, sums.out.as_str()), (0, ""), "{}", sums.err);

    let again = place.run(&["import", copied.join("event.zip").to_str().unwrap()]);
    assert_eq!(again.code, 0, "{}", again.out);
    assert!(!again.out.contains("created") && !again.out.contains("updated,"), "{}", again.out);
}

#[test]
fn an_export_that_cannot_be_copied_says_that_it_went_well_and_where_it_lies() {
    let place = Place::new();
    let archive = place.file("harbour.zip", good());
    assert_eq!(place.run(&["import", &archive]).code, 0);
    let in_the_way = place.file("in-the-way", "a file");
    let ended = place.run(&["export", "1", "--format", "sessions.csv", "--out", &in_the_way]);
    assert_eq!(ended.code, 3, "{ended:?}");
    assert!(ended.out.contains("Succeeded: 1 event exported"), "{}", ended.out);
    assert!(!ended.out.contains("Copied into"), "{}", ended.out);
    let lies = format!("the export itself went well and lies in `{}", place.root().join("outbox").display());
    assert!(ended.err.contains(&lies) && ended.err.contains(&in_the_way), "{}", ended.err);
}

#[test]
fn an_unknown_kind_of_media_is_named() {
    let ended = Place::new().run(&["export", "1", "--media", "image,pictures"]);
    assert_eq!(ended.code, 3, "{ended:?}");
    assert!(ended.err.contains("`pictures` is no kind of media; there are `image`"), "{}", ended.err);
}

#[test]
fn an_export_of_what_is_not_there_says_so_and_makes_no_job() {
    let place = Place::new();
    let archive = place.file("harbour.zip", good());
    let accounts = r#"accounts=[{name = "berlin"}]"#;
    assert_eq!(place.run(&["--set", accounts, "import", "--account", "berlin", &archive]).code, 0);
    let jobs = place.run(&["jobs", "list", "--json"]).out;
    let of_berlin = "belongs to account `berlin`; add `--account berlin`";
    for (event, said) in [
        ("Nowhere", "no event matches `Nowhere`; `eventferry events list` shows them"),
        ("99", "no event matches `99`; `eventferry events list` shows them"),
        ("1", &format!("event 1 {of_berlin}")),
        ("Harbour Days", &format!("event `Harbour Days` {of_berlin}")),
        ("all", "account `default` has no events; `eventferry events list` shows those of all"),
    ] {
        let ended = place.run(&["--set", accounts, "export", event]);
        assert_eq!((ended.code, ended.out.as_str()), (3, ""), "{event}: {ended:?}");
        assert!(ended.err.contains(said), "{event}: {}", ended.err);
    }
    assert_eq!(place.run(&["jobs", "list", "--json"]).out, jobs);

    // What is there is exported all the same.
    let ended = place.run(&["--set", accounts, "export", "--account", "berlin", "1", "99"]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.out.contains("Partial: 1 event exported, no event matches `99`"), "{}", ended.out);
}

#[test]
fn schedules_are_listed_with_their_next_times_in_their_zone_and_in_utc() {
    let place = Place::new();
    let export = r#"export=[{name = "nightly", cron = "30 2 * * 1-5", zone = "Europe/Berlin", formats = ["archive"]}]"#;
    let ended = place.run(&["--set", export, "schedule", "list", "--json"]);
    assert_eq!(ended.code, 0, "{}", ended.err);
    let listed: Value = serde_json::from_str(&ended.out).unwrap();
    let next = listed[0]["next"].as_array().unwrap();
    assert_eq!(next.len(), 5);
    for time in next {
        let local = time["local"].as_str().unwrap();
        assert!(local.contains(" 02:30:00 CE") && !local.starts_with('S'), "{local}");
        let utc = time["utc"].as_str().unwrap();
        assert!(utc.contains("T00:30:00") || utc.contains("T01:30:00"), "{utc}");
    }
    assert_eq!((listed[0]["name"].as_str(), listed[0]["zone"].as_str()), (Some("nightly"), Some("Europe/Berlin")));
}
