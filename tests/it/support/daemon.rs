//! A whole daemon over a root of its own: it can be stopped, killed and started again, and must leave nothing behind.

mod abort;
mod remains;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use eventferry::app::{App, Daemon, Parts, Readiness};
use eventferry::clock::{Clock, Timestamp};
use eventferry::config::{Overrides, Settings, Sources};
use eventferry::db::{Backend, Database, DatabaseOptions, FromColumn, Sql};
use eventferry::inbox::{Health, InboxView};
use eventferry::model::{JobId, Report};
use eventferry::queue::QueueHandle;
use eventferry::queue::lock::InstanceLock;
use eventferry::signal::Signals;
use eventferry::store::jobs::{self, Filter, JobView, SourceState};
use eventferry::work::Watcher;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::{Mutex, watch};

use super::postgres::PostgresDatabase;

/// The accounts that every daemon here has; `default` gets what lies in the inbox itself.
const CONFIGURATION: &str = r#"
[mail]
admin = "admin@example.org"

[[accounts]]
name = "default"
email = "crew@example.org"

[[accounts]]
name = "berlin"
email = "berlin@example.org"
"#;

/// Tables with what was imported, jobs and times left out.
const DOMAIN_TABLES: [&str; 14] = [
    "events",
    "social_links",
    "custom_forms",
    "microlocations",
    "sponsors",
    "speakers",
    "tracks",
    "session_types",
    "sessions",
    "session_speakers",
    "unresolved_references",
    "media",
    "users",
    "event_roles",
];

/// Columns that differ between two runs of the same.
const TIMES_AND_JOBS: [&str; 4] = ["job_id", "created_at", "updated_at", "gone_at"];

/// How a daemon is to be set up.
pub(crate) struct Setup {
    server: Option<PostgresDatabase>,
    set: Vec<(String, String)>,
    watcher: Option<Watcher>,
    signals: Signals,
}

impl Setup {
    /// With a database file under its root.
    pub(crate) fn sqlite() -> Self {
        Self::new(None)
    }

    /// With a database of its own in the server that `tests/run` starts.
    pub(crate) fn postgres() -> Self {
        Self::new(Some(PostgresDatabase::create()))
    }

    fn new(server: Option<PostgresDatabase>) -> Self {
        let mut setup = Self { server, set: Vec::new(), watcher: None, signals: Signals::armed() };
        if let Some(url) = setup.server.as_ref().map(PostgresDatabase::url) {
            setup = setup.set("database.url", &url);
        }
        // The clock of a test goes on by seconds while a chunk is written, which says nothing of how long that takes.
        let setup = setup.set("import.chunk_time", "1h").set("import.chunk_pause", "0s");
        setup.set("queue.free_space_floor", "0").set("database.connections", "4")
    }

    /// Another value for a key of the configuration.
    pub(crate) fn set(mut self, key: &str, value: &str) -> Self {
        self.set.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Where the server is, where there is one.
    pub(crate) fn url(&self) -> Option<String> {
        self.server.as_ref().map(PostgresDatabase::url)
    }

    /// Somebody who looks on while jobs run.
    pub(crate) fn watched_by(mut self, watcher: Watcher) -> Self {
        self.watcher = Some(watcher);
        self
    }

    /// Makes root and database; nothing runs yet.
    pub(crate) async fn prepare(self) -> TestDaemon {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        for inbox in ["inbox", "inbox/berlin"] {
            fs::create_dir_all(root.join(inbox)).unwrap();
        }
        let file = folder.path().join("eventferry.toml");
        fs::write(&file, CONFIGURATION).unwrap();
        let overrides = Overrides { root: Some(root.clone()), set: self.set, log_level: None };
        let sources = Sources { file: Some(file), environment: BTreeMap::new(), overrides };
        let settings = Settings::load(&sources).unwrap();
        let url = match &self.server {
            Some(server) => server.url(),
            None => format!("sqlite:{}", root.join("eventferry.db").display()),
        };
        let options = DatabaseOptions { url, connections: 2, busy_timeout: Duration::from_secs(30) };
        let database = Database::open(&options).await.unwrap();
        TestDaemon {
            database,
            clock: Clock::manual("2026-11-22T04:00:00Z".parse().unwrap()),
            signals: self.signals,
            settings,
            sources,
            watcher: self.watcher,
            life: None,
            is_finished: false,
            server: self.server,
            folder,
        }
    }

    /// As [`Setup::prepare`], and starts the daemon.
    pub(crate) async fn start(self) -> TestDaemon {
        let mut daemon = self.prepare().await;
        daemon.start().await;
        daemon
    }
}

/// A root with its database, and the daemon on it while it lives. End a test with [`TestDaemon::finish`].
pub(crate) struct TestDaemon {
    pub(crate) database: Database,
    pub(crate) clock: Clock,
    /// The points of the present life, and of the next ones until others are set.
    pub(crate) signals: Signals,
    pub(crate) settings: Settings,
    sources: Sources,
    watcher: Option<Watcher>,
    life: Option<Life>,
    is_finished: bool,
    server: Option<PostgresDatabase>,
    folder: TempDir,
}

/// One process, as far as a test can have several.
struct Life {
    app: App,
    daemon: Arc<Mutex<Option<Daemon>>>,
    queue: QueueHandle,
    inbox: watch::Receiver<InboxView>,
    readiness: watch::Receiver<Readiness>,
    lock: Option<InstanceLock>,
    runtime: Option<Runtime>,
}

impl Drop for Life {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for TestDaemon {
    fn drop(&mut self) {
        assert!(
            self.is_finished || std::thread::panicking(),
            "nobody has looked at what the daemon has left: `finish` it"
        );
    }
}

/// What became of a job, as its owner reads it.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) job: JobView,
    /// `result.json`
    pub(crate) report: Report,
    /// The folder with the result files.
    pub(crate) folder: PathBuf,
}

/// A mail in the table, whatever has become of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TestMail {
    pub(crate) kind: String,
    pub(crate) state: String,
    pub(crate) recipient: Option<String>,
    pub(crate) subject: String,
    pub(crate) text: String,
}

impl TestDaemon {
    pub(crate) fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    /// Reads the settings anew with another value, for the next life.
    pub(crate) fn set(&mut self, key: &str, value: &str) {
        self.sources.overrides.set.push((key.to_owned(), value.to_owned()));
        self.settings = Settings::load(&self.sources).unwrap();
    }

    /// Starts a life on the root, and waits until everything is at work.
    pub(crate) async fn start(&mut self) {
        assert!(self.life.is_none(), "it runs already");
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (settings, clock, signals) = (self.settings.clone(), self.clock.clone(), self.signals.clone());
        let watcher = self.watcher.clone();
        let begun = runtime.spawn(async move {
            let app = App::open(settings, clock, signals).await.unwrap();
            let lock = app.lock().unwrap();
            let mut daemon = app.start(Parts::All, watcher).unwrap();
            daemon.ready().await;
            (app, lock, daemon)
        });
        let (app, lock, daemon) = begun.await.unwrap();
        let (queue, inbox, readiness) = (daemon.queue().clone(), daemon.inbox(), daemon.readiness());
        let daemon = Arc::new(Mutex::new(Some(daemon)));
        self.life = Some(Life { app, daemon, queue, inbox, readiness, lock, runtime: Some(runtime) });
    }

    pub(crate) fn is_alive(&self) -> bool {
        self.life.is_some()
    }

    fn life(&self) -> &Life {
        self.life.as_ref().expect("it does not run")
    }

    /// Whether it says that it can do what it is there for.
    pub(crate) fn readiness(&self) -> watch::Receiver<Readiness> {
        self.life().readiness.clone()
    }

    /// The database's own server, where it has one.
    pub(crate) fn server(&self) -> &PostgresDatabase {
        self.server.as_ref().expect("it is on PostgreSQL")
    }

    pub(crate) fn inbox(&self) -> watch::Receiver<InboxView> {
        self.life().inbox.clone()
    }

    /// Runs something where the daemon runs, so that connections stay with its life.
    async fn in_life<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> T {
        self.life().runtime.as_ref().unwrap().spawn(work).await.unwrap()
    }

    /// What `run --once` waits for.
    pub(crate) async fn daemon_idle(&self) {
        let daemon = Arc::clone(&self.life().daemon);
        self.in_life(async move { daemon.lock().await.as_mut().unwrap().idle().await.unwrap() }).await;
    }

    /// Waits until every message to handlers that can be delivered now is delivered.
    pub(crate) async fn messages_at_rest(&self) {
        let daemon = Arc::clone(&self.life().daemon);
        self.in_life(async move { daemon.lock().await.as_mut().unwrap().deliver_messages().await }).await;
    }

    /// Takes over a configuration that has changed, as SIGHUP does; says what takes effect with the next start only.
    pub(crate) fn reload(&mut self, changes: &[(&str, &str)]) -> Vec<String> {
        for (key, value) in changes {
            self.set(key, value);
        }
        self.life().app.reload(&self.settings)
    }

    /// Stops softly.
    pub(crate) async fn stop(&mut self) {
        let mut life = self.life.take().expect("it does not run");
        let runtime = life.runtime.take().unwrap();
        let daemon = Arc::clone(&life.daemon);
        runtime.spawn(async move { daemon.lock().await.take().unwrap().stop().await }).await.unwrap();
        drop(life.lock.take());
        end(runtime).await;
    }

    /// Ends as a killed process does: nothing that is under way is finished or cleaned up.
    pub(crate) async fn die(&mut self) {
        let mut life = self.life.take().expect("it does not run");
        let runtime = life.runtime.take().unwrap();
        drop(life);
        end(runtime).await;
        self.signals = Signals::armed();
    }

    /// The path of a name in the inbox of an account.
    pub(crate) fn inbox_path(&self, account: &str, name: &str) -> PathBuf {
        let inbox = self.root().join("inbox");
        if account == "default" { inbox.join(name) } else { inbox.join(account).join(name) }
    }

    /// Uploads a file beside the inbox and renames it into place, as careful clients do. The clock goes on a little, so
    /// that ids sort by arrival.
    pub(crate) fn drop_file(&self, account: &str, name: &str, bytes: impl AsRef<[u8]>) {
        self.clock.advance(Duration::from_millis(5));
        let beside = self.folder.path().join("upload");
        fs::write(&beside, bytes).unwrap();
        fs::rename(&beside, self.inbox_path(account, name)).unwrap();
    }

    /// Drops a file, waits for its end, and tells what became of it.
    pub(crate) async fn import(&self, account: &str, name: &str, bytes: impl AsRef<[u8]>) -> Ended {
        self.drop_file(account, name, bytes);
        self.idle().await;
        self.ended(name).await
    }

    /// Lets the queue look once.
    pub(crate) async fn look(&self) {
        self.life().queue.look().await;
    }

    /// Waits until nothing is left to do, and lets the time pass that this takes.
    pub(crate) async fn idle(&self) {
        self.idle_but_for(&[]).await;
    }

    /// As [`TestDaemon::idle`], with files that stay in the inbox.
    pub(crate) async fn idle_but_for(&self, staying: &[&str]) {
        loop {
            self.inbox_at_rest(staying).await;
            self.life().queue.idle().await;
            self.messages_at_rest().await;
            let Some(wait) = self.waits().await else { return };
            self.clock.advance(wait.max(Duration::from_secs(1)));
            self.look().await;
        }
    }

    /// Lets time pass, a second at a time, until no job is left; for jobs that wait for the clock while they run.
    pub(crate) async fn idle_in_steps(&self) {
        self.inbox_at_rest(&[]).await;
        while jobs::unfinished(&self.database).await.unwrap() > 0 {
            self.clock.advance(Duration::from_secs(1));
            self.look().await;
        }
        self.idle().await;
    }

    /// How long until something happens by itself; none where nothing will.
    async fn waits(&self) -> Option<Duration> {
        let now = self.clock.now();
        let jobs = self.jobs().await;
        let mut next: Option<Timestamp> = jobs.iter().filter(|job| !job.state.is_final()).map(|job| job.run_at).min();
        if jobs.iter().any(|job| job.source_state == SourceState::Leaving) {
            next = next.max(Some(now + TimeDelta::seconds(30)));
        }
        let mails: Vec<Timestamp> = self.column("SELECT next_attempt_at FROM mails WHERE state = 'queued'").await;
        let messages = "SELECT next_attempt_at FROM deliveries WHERE state = 'pending'";
        let messages: Vec<Timestamp> = self.column(messages).await;
        next = next.into_iter().chain(mails).chain(messages).min();
        next.map(|next| (next - now).to_std().unwrap_or_default())
    }

    /// Waits until the inbox holds nothing that is on its way to a job.
    pub(crate) async fn inbox_at_rest(&self, staying: &[&str]) {
        let mut view = self.inbox();
        loop {
            let seen = view.borrow_and_update().clone();
            let waits_for_time = matches!(seen.health, Health::Paused(_)) || (seen.settling > 0 && !seen.is_busy);
            if waits_for_time {
                while !view.has_changed().unwrap() {
                    self.clock.advance(Duration::from_secs(1));
                    self.look().await;
                }
                continue;
            }
            let stays: BTreeSet<String> = staying.iter().map(|name| (*name).to_owned()).collect();
            let judged = stays.is_empty() || seen.incomplete + seen.refused == stays.len();
            if judged && seen.is_idle() && self.in_inbox() == stays && self.every_claim_has_its_row().await {
                return;
            }
            view.changed().await.unwrap();
        }
    }

    /// What lies in the inbox: files, and folders that are no account's.
    pub(crate) fn in_inbox(&self) -> BTreeSet<String> {
        let inbox = self.root().join("inbox");
        let mut found = BTreeSet::new();
        for name in names(&inbox) {
            if self.settings.account(&name).is_some() && inbox.join(&name).is_dir() {
                found.extend(names(&inbox.join(&name)).into_iter().map(|file| format!("{name}/{file}")));
            } else {
                found.insert(name);
            }
        }
        found
    }

    async fn every_claim_has_its_row(&self) -> bool {
        for name in names(&self.root().join("work")) {
            if let Ok(job) = name.parse::<JobId>()
                && jobs::state_of(&self.database, job).await.unwrap().is_none()
            {
                return false;
            }
        }
        true
    }

    /// All jobs in the order of their arrival.
    pub(crate) async fn jobs(&self) -> Vec<JobView> {
        let mut jobs = jobs::list(&self.database, &Filter { limit: 100_000, ..Filter::default() }).await.unwrap();
        jobs.reverse();
        jobs
    }

    /// The newest job of a file name.
    pub(crate) async fn job(&self, name: &str) -> JobView {
        let jobs = self.jobs().await;
        jobs.into_iter().rfind(|job| job.archive_name == name).unwrap_or_else(|| panic!("there is no job of `{name}`"))
    }

    /// What became of the newest job of a file name.
    pub(crate) async fn ended(&self, name: &str) -> Ended {
        let job = self.job(name).await;
        self.ended_job(job)
    }

    pub(crate) fn ended_job(&self, job: JobView) -> Ended {
        assert!(job.state.is_final(), "{job:#?}");
        let folder = self.root().join("outbox").join(job.result_folder.as_ref().expect("it has its results"));
        let report = serde_json::from_slice(&fs::read(folder.join("result.json")).unwrap()).unwrap();
        Ended { job, report, folder }
    }

    /// The mails of the table, the oldest first; `about` is a job's id, or else all.
    pub(crate) async fn mails(&self, about: Option<JobId>) -> Vec<TestMail> {
        let filter = about.map_or("TRUE".to_owned(), |job| format!("job_id = '{job}'"));
        let sql = format!("SELECT kind, state, recipient, subject, body_text FROM mails WHERE {filter} ORDER BY id");
        let rows = self.database.fetch_all(&Sql::built("look at the mails", sql), &[]).await.unwrap();
        let mail = |row: &eventferry::db::Row| TestMail {
            kind: row.get(0).unwrap(),
            state: row.get(1).unwrap(),
            recipient: row.get(2).unwrap(),
            subject: row.get(3).unwrap(),
            text: row.get(4).unwrap(),
        };
        rows.iter().map(mail).collect()
    }

    /// The first column of every row.
    pub(crate) async fn column<T: FromColumn>(&self, sql: &str) -> Vec<T> {
        let rows = self.database.fetch_all(&Sql::built("look at the tables", sql.to_owned()), &[]).await.unwrap();
        rows.iter().map(|row| row.get(0).unwrap()).collect()
    }

    /// How many rows there are in a table, or in what follows `FROM`.
    pub(crate) async fn count(&self, from: &str) -> i64 {
        self.column(&format!("SELECT count(*) FROM {from}")).await[0]
    }

    /// Every row of every table that an import writes to, without columns of times and jobs.
    pub(crate) async fn tables(&self) -> Vec<String> {
        let mut tables = Vec::new();
        for table in DOMAIN_TABLES {
            let columns: Vec<String> = match self.database.backend() {
                Backend::Sqlite => self.column(&format!("SELECT name FROM pragma_table_info('{table}')")).await,
                Backend::Postgres => {
                    self.column(&format!(
                        "SELECT column_name::text FROM information_schema.columns WHERE table_name = '{table}' \
                         ORDER BY ordinal_position"
                    ))
                    .await
                }
            };
            let shown: Vec<String> = columns
                .iter()
                .filter(|column| !TIMES_AND_JOBS.contains(&column.as_str()))
                .map(|column| format!("coalesce(CAST({column} AS TEXT), '-')"))
                .collect();
            let gone = if columns.iter().any(|column| column == "gone_at") { "gone_at IS NULL" } else { "TRUE" };
            let sql = format!(
                "SELECT {} || '|' || CAST({gone} AS TEXT) AS shown FROM {table} ORDER BY shown",
                shown.join(" || '|' || ")
            );
            let rows: Vec<String> = self.column(&sql).await;
            tables.extend(rows.into_iter().map(|row| format!("{table}: {row}")));
        }
        tables
    }

    /// Every file below a folder of the root, by its path, sorted.
    pub(crate) fn files(&self, folder: &str) -> Vec<String> {
        let root = self.root();
        let mut found = Vec::new();
        walk(&root.join(folder), &mut |path| found.push(path.strip_prefix(&root).unwrap().display().to_string()));
        found.sort();
        found
    }
}

/// Waits until everything that ran there is gone.
async fn end(runtime: Runtime) {
    tokio::task::spawn_blocking(move || runtime.shutdown_timeout(Duration::from_secs(20))).await.unwrap();
}

/// The names in a folder that are not hidden; none where it is not there.
fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let names = entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    names.filter(|name| !name.starts_with('.')).collect()
}

fn walk(folder: &Path, visit: &mut impl FnMut(&Path)) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            walk(&entry.path(), visit);
        } else {
            visit(&entry.path());
        }
    }
}

/// Runs each test with a daemon on SQLite and one on PostgreSQL, as `name::on_sqlite` and `name::on_postgres`.
macro_rules! with_each_database {
    ($($(#[$attribute:meta])* async fn $name:ident($setup:ident: Setup) $body:block)+) => {
        $($(#[$attribute])* mod $name {
            use super::*;

            async fn body($setup: $crate::support::daemon::Setup) $body

            #[tokio::test]
            async fn on_sqlite() {
                body($crate::support::daemon::Setup::sqlite()).await;
            }

            #[tokio::test]
            async fn on_postgres() {
                body($crate::support::daemon::Setup::postgres()).await;
            }
        })+
    };
}

pub(crate) use with_each_database;
