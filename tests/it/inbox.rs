//! The inbox with real folders, the kernel's real events, the real SFTP server and both databases.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, TimeDelta};
use eventferry::clock::{Clock, Timestamp};
use eventferry::db::{Database, DatabaseOptions};
use eventferry::inbox::{
    Claimed, Folders, Health, Hooks, Ignored, InboxDeps, InboxNews, InboxOptions, InboxView, Patience, Verdict, run,
};
use eventferry::signal::{Injected, Signals};
use eventferry::store::arrivals::{self, ArrivalRow, ArrivalState};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::support::postgres::PostgresDatabase;

/// So long that a test would not end if it waited for it.
const NEVER: Duration = Duration::from_secs(100_000);

/// How an inbox is to be woken and how long a file must be at rest.
#[derive(Clone, Copy)]
struct Timing {
    watch: bool,
    scan_every: Duration,
    settle: Duration,
}

/// Events alone: scans come only where something asks for them.
const BY_EVENTS: Timing = Timing { watch: true, scan_every: NEVER, settle: Duration::from_millis(100) };

/// An inbox on the machine's clock, with a job table that is a map.
struct Inbox {
    root: TempDir,
    jobs: watch::Receiver<BTreeMap<String, Claimed>>,
    news: Arc<Mutex<Vec<InboxNews>>>,
    view: watch::Receiver<InboxView>,
    cancel: CancellationToken,
    task: JoinHandle<Result<(), Injected>>,
}

impl Inbox {
    async fn start(timing: Timing) -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("inbox/fossasia")).unwrap();
        fs::create_dir(root.path().join("work")).unwrap();
        let (sender, jobs) = watch::channel(BTreeMap::new());
        let sender = Arc::new(sender);
        let news = Arc::new(Mutex::new(Vec::new()));
        let (kept, told) = (Arc::clone(&sender), Arc::clone(&news));
        let hooks = Hooks {
            record: Arc::new(move |claimed: Claimed| {
                sender.send_modify(|jobs| {
                    let twice = jobs.insert(claimed.job.to_string(), claimed);
                    assert!(twice.is_none(), "{twice:?}");
                });
                Box::pin(async { Ok(()) })
            }),
            is_recorded: Arc::new(move |job| {
                let is_there = kept.borrow().contains_key(&job.to_string());
                Box::pin(async move { Ok(is_there) })
            }),
            tell: Arc::new(move |news| {
                told.lock().unwrap().push(news);
                Box::pin(async { Ok(()) })
            }),
        };
        let options = InboxOptions {
            folders: Folders {
                inbox: root.path().join("inbox"),
                work: root.path().join("work"),
                accounts: ["default", "fossasia", "pycon"].map(str::to_owned).into(),
                default_account: "default".to_owned(),
                ignored: Ignored::new([".*", "*.part", "*.filepart", "*.partial", "*.tmp"]),
            },
            patience: Patience {
                settle: timing.settle,
                incomplete_after: NEVER,
                incomplete_reject: NEVER * 2,
                retry: NEVER,
            },
            scan_every: timing.scan_every,
            watch: timing.watch,
        };
        let database = open_sqlite(root.path()).await;
        let deps = InboxDeps { clock: Clock::system(), signals: Signals::default(), database, hooks };
        let (sender, mut view) = watch::channel(InboxView::default());
        let cancel = CancellationToken::new();
        let task = tokio::spawn(run(options, deps, sender, cancel.clone()));
        view.changed().await.unwrap();
        Self { root, jobs, news, view, cancel, task }
    }

    fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.root.path().join("inbox").join(name)
    }

    /// Waits until so many archives were claimed and gives them in the order of their names.
    async fn claimed(&mut self, count: usize) -> Vec<Claimed> {
        let jobs = self.jobs.wait_for(|jobs| jobs.len() >= count).await.unwrap().clone();
        let mut jobs: Vec<Claimed> = jobs.into_values().collect();
        jobs.sort_by(|one, other| one.archive_name.cmp(&other.archive_name));
        assert_eq!(jobs.len(), count);
        jobs
    }

    async fn seen(&mut self, condition: impl FnMut(&InboxView) -> bool) -> InboxView {
        self.view.wait_for(condition).await.unwrap().clone()
    }

    fn source_of(&self, claimed: &Claimed) -> Vec<u8> {
        fs::read(self.root.path().join("work").join(claimed.job.to_string()).join("source.zip")).unwrap()
    }

    /// Stops it and makes sure that there is a folder of work for each claim, and nothing else anywhere.
    async fn stop(self) {
        self.cancel.cancel();
        self.task.await.unwrap().unwrap();
        let mut folders: Vec<String> = fs::read_dir(self.root.path().join("work"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        folders.sort();
        assert_eq!(folders, self.jobs.borrow().keys().cloned().collect::<Vec<_>>());
        assert_eq!(*self.news.lock().unwrap(), []);
    }
}

async fn open_sqlite(folder: &Path) -> Database {
    open(format!("sqlite:{}", folder.join("test.db").display())).await
}

async fn open(url: String) -> Database {
    let options = DatabaseOptions { url, connections: 2, busy_timeout: Duration::from_secs(10) };
    Database::open(&options).await.unwrap()
}

/// Runs SFTP commands against the real server on a pipe; each must succeed.
async fn sftp(commands: String) {
    let output = tokio::task::spawn_blocking(move || {
        let mut client = Command::new("sftp")
            .args(["-q", "-b", "-", "-D", "/usr/lib/openssh/sftp-server"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        client.stdin.take().unwrap().write_all(commands.as_bytes()).unwrap();
        client.wait_with_output().unwrap()
    })
    .await
    .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn write(path: &Path, bytes: &[u8]) {
    File::create(path).unwrap().write_all(bytes).unwrap();
}

/// A whole zip with one stored entry of so many bytes.
fn zip_of(bytes: usize) -> Vec<u8> {
    let content = vec![b'x'; bytes];
    let size = u32::try_from(bytes).unwrap().to_le_bytes();
    let mut common = vec![20, 0, 0, 0, 0, 0, 0, 0, 0x21, 0];
    common.extend(crc32fast::hash(&content).to_le_bytes());
    common.extend([size, size].concat());
    common.extend([5, 0, 0, 0]);
    let header = [b"PK\x03\x04", &common[..], b"event"].concat();
    let entry = [b"PK\x01\x02\x14\x00", &common[..], &[0; 14], b"event"].concat();
    let offset = u32::try_from(header.len() + bytes).unwrap().to_le_bytes();
    let length = u32::try_from(entry.len()).unwrap().to_le_bytes();
    [&header, &content, &entry, &b"PK\x05\x06\0\0\0\0\x01\0\x01\0"[..], &length, &offset, &[0, 0]].concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_way_to_upload_over_sftp_becomes_one_claim() {
    let mut inbox = Inbox::start(BY_EVENTS).await;
    let local = inbox.root.path().join("local.zip");
    let zip = zip_of(60_000);
    write(&local, &zip);
    let (local, folder) = (local.display(), inbox.path("fossasia"));
    let folder = folder.display();
    sftp(format!(
        "put {local} {folder}/put.zip\n\
         put -p {local} {folder}/preserved.zip\n\
         put {local} {folder}/renamed.zip.part\n\
         rename {folder}/renamed.zip.part {folder}/renamed.zip\n\
         put {local} {folder}/linked.zip.part\n\
         rename -l {folder}/linked.zip.part {folder}/linked.zip\n\
         put {local} \"{folder}/with blank .zip \"\n"
    ))
    .await;
    let claimed = inbox.claimed(5).await;
    let names: Vec<&str> = claimed.iter().map(|claimed| claimed.archive_name.as_str()).collect();
    assert_eq!(names, ["linked.zip", "preserved.zip", "put.zip", "renamed.zip", "with blank .zip "]);
    for claimed in &claimed {
        assert_eq!((claimed.account.as_str(), claimed.verdict, claimed.again), ("fossasia", Verdict::Whole, false));
        assert_eq!(inbox.source_of(claimed), zip);
    }
    inbox.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_was_cut_waits_until_it_is_resumed() {
    let mut inbox = Inbox::start(BY_EVENTS).await;
    let local = inbox.root.path().join("local.zip");
    let zip = zip_of(60_000);
    write(&local, &zip);
    write(&inbox.path("event.zip"), &zip[..33_000]);
    let view = inbox.seen(|view| view.incomplete == 1).await;
    assert!(view.is_idle() && inbox.jobs.borrow().is_empty());
    sftp(format!("reput {} {}\n", local.display(), inbox.path("event.zip").display())).await;
    let claimed = inbox.claimed(1).await;
    assert_eq!(inbox.source_of(&claimed[0]), zip);
    inbox.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_renamed_into_the_inbox_is_claimed_at_once() {
    let mut inbox = Inbox::start(Timing { settle: NEVER, ..BY_EVENTS }).await;
    let outside = inbox.root.path().join("outside.zip");
    for name in ["top.zip", "fossasia/deep.zip"] {
        write(&outside, &zip_of(0));
        fs::rename(&outside, inbox.path(name)).unwrap();
    }
    let claimed = inbox.claimed(2).await;
    let accounts: Vec<&str> = claimed.iter().map(|claimed| claimed.account.as_str()).collect();
    assert_eq!(accounts, ["fossasia", "default"]);
    inbox.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_folder_of_an_account_that_appears_is_read_and_watched() {
    let mut inbox = Inbox::start(BY_EVENTS).await;
    fs::create_dir(inbox.path("pycon")).unwrap();
    write(&inbox.path("pycon/first.zip"), &zip_of(0));
    inbox.claimed(1).await;
    write(&inbox.path("pycon/second.zip"), &zip_of(0));
    assert_eq!(inbox.claimed(2).await[1].account, "pycon");
    fs::remove_dir(inbox.path("pycon")).unwrap();
    let aside = inbox.root.path().join("aside");
    fs::create_dir(&aside).unwrap();
    write(&aside.join("third.zip"), &zip_of(0));
    fs::rename(&aside, inbox.path("pycon")).unwrap();
    inbox.claimed(3).await;
    write(&inbox.path("pycon/fourth.zip"), &zip_of(0));
    inbox.claimed(4).await;
    inbox.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_inbox_that_was_deleted_and_made_again_serves_on() {
    let mut inbox = Inbox::start(Timing { scan_every: Duration::from_millis(50), ..BY_EVENTS }).await;
    for round in 1..=3 {
        fs::remove_dir_all(inbox.path("")).unwrap();
        inbox.seen(|view| matches!(&view.health, Health::Paused(reason) if reason.contains("is missing"))).await;
        fs::create_dir(inbox.path("")).unwrap();
        write(&inbox.path(format!("{round}.zip")), &zip_of(0));
        inbox.claimed(round).await;
        inbox.seen(|view| view.health == Health::Good).await;
    }
    inbox.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_scan_alone_suffices() {
    let timing = Timing { watch: false, scan_every: Duration::from_millis(20), settle: Duration::from_millis(50) };
    let mut inbox = Inbox::start(timing).await;
    write(&inbox.path("fossasia/event.zip"), &zip_of(0));
    fs::create_dir(inbox.path("pycon")).unwrap();
    write(&inbox.path("pycon/other.zip"), &zip_of(0));
    inbox.claimed(2).await;
    inbox.seen(InboxView::is_idle).await;
    inbox.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_files_dropped_at_once_each_becomes_one_claim() {
    let mut inbox = Inbox::start(BY_EVENTS).await;
    let zip = zip_of(0);
    for number in 0..300 {
        let folder = if number % 3 == 0 { "" } else { "fossasia" };
        write(&inbox.path(folder).join(format!("{number:03}.zip")), &zip);
    }
    let names: Vec<String> = inbox.claimed(300).await.into_iter().map(|claimed| claimed.archive_name).collect();
    assert_eq!(names, (0..300).map(|number| format!("{number:03}.zip")).collect::<Vec<_>>());
    let view = inbox.seen(InboxView::is_idle).await;
    assert_eq!((view.claimed, view.incomplete, view.refused), (300, 0, 0));
    inbox.stop().await;
}

/// Set in the copy of a test that runs where the kernel grants no watches.
const WITHOUT_WATCHES: &str = "EVENTFERRY_TEST_WITHOUT_WATCHES";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_the_kernel_grants_no_watches_the_scan_serves_alone_and_says_so() {
    if let Ok(limit) = std::env::var(WITHOUT_WATCHES) {
        let timing = Timing { scan_every: Duration::from_millis(20), ..BY_EVENTS };
        let mut inbox = Inbox::start(timing).await;
        inbox.seen(|view| matches!(&view.health, Health::Degraded(reason) if reason.contains(&limit))).await;
        write(&inbox.path("fossasia/event.zip"), &zip_of(0));
        inbox.claimed(1).await;
        inbox.stop().await;
        return;
    }
    for (key, limit) in [("watches", "max_user_watches"), ("instances", "max_user_instances")] {
        let name = "inbox::where_the_kernel_grants_no_watches_the_scan_serves_alone_and_says_so";
        let output = Command::new("unshare")
            .args(["--user", "--map-root-user", "sh", "-c"])
            .arg(format!("echo 0 > /proc/sys/user/max_inotify_{key} && exec \"$0\" \"$@\""))
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", name])
            .env(WITHOUT_WATCHES, limit)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && said.contains("1 passed"),
            "{said}{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

fn arrival(path: &str, first_seen: Timestamp) -> ArrivalRow {
    ArrivalRow {
        path: path.to_owned(),
        account: Some("fossasia".to_owned()),
        state: ArrivalState::Arriving,
        identity: "1:2:3:4:5".to_owned(),
        bytes: 3,
        reason: None,
        first_seen,
        changed_at: first_seen,
        told_at: None,
    }
}

#[tokio::test]
async fn arrivals_are_kept_changed_and_forgotten_on_sqlite() {
    let root = tempfile::tempdir().unwrap();
    check_arrivals(&open_sqlite(root.path()).await).await;
}

#[tokio::test]
async fn arrivals_are_kept_changed_and_forgotten_on_postgresql() {
    let postgres = PostgresDatabase::create();
    let database = open(postgres.url()).await;
    check_arrivals(&database).await;
    database.close().await;
}

async fn check_arrivals(database: &Database) {
    for statement in arrivals::statements() {
        database.prepare(&statement).await.unwrap();
    }
    let start = DateTime::from_timestamp_millis(1_790_000_000_123).unwrap();
    let old = arrival("fossasia/b.zip", start);
    let new = arrival("a\\x0a.zip", start + TimeDelta::milliseconds(1));
    let same = arrival("fossasia/a \u{1f389}.zip", start);
    let mut tx = database.begin().await.unwrap();
    for row in [&new, &old, &same] {
        arrivals::save(&mut tx, row).await.unwrap();
    }
    tx.commit().await.unwrap();
    assert_eq!(arrivals::list(database).await.unwrap(), [same.clone(), old.clone(), new.clone()]);

    let told = ArrivalRow {
        account: None,
        state: ArrivalState::Refused,
        identity: String::new(),
        bytes: u64::try_from(i64::MAX).unwrap(),
        reason: Some("SUBFOLDER: files lie too deep".to_owned()),
        changed_at: start + TimeDelta::seconds(5),
        told_at: Some(start + TimeDelta::seconds(9)),
        ..old
    };
    let mut tx = database.begin().await.unwrap();
    arrivals::save(&mut tx, &told).await.unwrap();
    arrivals::forget(&mut tx, &same.path).await.unwrap();
    arrivals::forget(&mut tx, "never-seen.zip").await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(arrivals::list(database).await.unwrap(), [told, new]);
}
