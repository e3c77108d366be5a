#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed step fails the test")]

use std::collections::{BTreeMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::DateTime;
use tokio::sync::watch as channel;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::clock::Clock;
use crate::db::{Database, DatabaseOptions};
use crate::model::JobId;
use crate::signal::{FailPoint, Injected, Injection, Signals};
use crate::store::arrivals::{self, ArrivalState};

mod claims;
mod model;
mod refusals;
mod waiting;

/// What the rest of the daemon was asked and told.
#[derive(Debug, Default)]
struct Rest {
    rows: BTreeMap<JobId, Claimed>,
    news: Vec<InboxNews>,
    is_down: bool,
}

/// An inbox on a manual clock. A scan comes every second, so that each second that passes ends in a new view.
struct Setting {
    root: tempfile::TempDir,
    clock: Clock,
    signals: Signals,
    database: Database,
    rest: Arc<Mutex<Rest>>,
}

async fn database_in(folder: &Path, name: &str) -> Database {
    let url = format!("sqlite:{}", folder.join(name).display());
    Database::open(&DatabaseOptions { url, connections: 2, busy_timeout: Duration::from_secs(5) }).await.unwrap()
}

/// A running inbox.
struct Running {
    clock: Clock,
    view: channel::Receiver<InboxView>,
    cancel: CancellationToken,
    task: JoinHandle<Result<(), Injected>>,
}

impl Setting {
    async fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        for folder in ["inbox/fossasia", "inbox/pycon", "work"] {
            fs::create_dir_all(root.path().join(folder)).unwrap();
        }
        Self {
            clock: Clock::manual(DateTime::from_timestamp(1_790_000_000, 0).unwrap()),
            signals: Signals::armed(),
            database: database_in(root.path(), "test.db").await,
            rest: Arc::default(),
            root,
        }
    }

    fn inbox(&self) -> PathBuf {
        self.root.path().join("inbox")
    }

    fn work(&self) -> PathBuf {
        self.root.path().join("work")
    }

    fn folders(&self) -> Folders {
        Folders {
            inbox: self.inbox(),
            work: self.work(),
            accounts: ["default", "fossasia", "pycon"].map(str::to_owned).into(),
            default_account: "default".to_owned(),
            ignored: Ignored::new([".*", "*.part", "*.filepart", "*.partial", "*.tmp", "~$*", "__MACOSX", "Thumbs.db"]),
        }
    }

    fn hooks(&self) -> Hooks {
        let (record, is_recorded, tell) = (Arc::clone(&self.rest), Arc::clone(&self.rest), Arc::clone(&self.rest));
        Hooks {
            record: Arc::new(move |claimed: Claimed| {
                let rest = Arc::clone(&record);
                Box::pin(async move {
                    let mut rest = rest.lock().unwrap();
                    if rest.is_down {
                        return Err("the database does not answer".into());
                    }
                    rest.rows.entry(claimed.job).or_insert(claimed);
                    Ok(())
                })
            }),
            is_recorded: Arc::new(move |job| {
                let rest = Arc::clone(&is_recorded);
                Box::pin(async move { Ok(rest.lock().unwrap().rows.contains_key(&job)) })
            }),
            tell: Arc::new(move |news| {
                let rest = Arc::clone(&tell);
                Box::pin(async move {
                    let mut rest = rest.lock().unwrap();
                    if rest.is_down {
                        return Err("the database does not answer".into());
                    }
                    rest.news.push(news);
                    Ok(())
                })
            }),
        }
    }

    /// Starts the inbox and waits until it has scanned once.
    async fn start(&self) -> Running {
        let mut running = self.start_unseen();
        running.view.changed().await.unwrap();
        running
    }

    fn start_unseen(&self) -> Running {
        let options = InboxOptions {
            folders: self.folders(),
            patience: Patience {
                settle: Duration::from_secs(2),
                incomplete_after: Duration::from_secs(900),
                incomplete_reject: Duration::from_secs(86_400),
                retry: Duration::from_secs(30),
            },
            scan_every: Duration::from_secs(1),
            watch: false,
        };
        let deps = InboxDeps {
            clock: self.clock.clone(),
            signals: self.signals.clone(),
            database: self.database.clone(),
            hooks: self.hooks(),
        };
        let (sender, view) = channel::channel(InboxView::default());
        let cancel = CancellationToken::new();
        let task = tokio::spawn(run(options, deps, sender, cancel.clone()));
        Running { clock: self.clock.clone(), view, cancel, task }
    }

    fn drop_file(&self, path: impl AsRef<Path>, bytes: &[u8]) {
        File::create(self.inbox().join(path)).unwrap().write_all(bytes).unwrap();
    }

    fn append(&self, path: impl AsRef<Path>, bytes: &[u8]) {
        File::options().append(true).open(self.inbox().join(path)).unwrap().write_all(bytes).unwrap();
    }

    fn rows(&self) -> Vec<Claimed> {
        self.rest.lock().unwrap().rows.values().cloned().collect()
    }

    fn news(&self) -> Vec<InboxNews> {
        self.rest.lock().unwrap().news.clone()
    }

    fn set_down(&self, is_down: bool) {
        self.rest.lock().unwrap().is_down = is_down;
    }

    /// Names in a folder below the root, sorted.
    fn names(&self, folder: &str) -> Vec<OsString> {
        let entries = fs::read_dir(self.root.path().join(folder)).unwrap();
        let mut names: Vec<OsString> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    }

    fn source_of(&self, claimed: &Claimed) -> Vec<u8> {
        fs::read(self.work().join(claimed.job.to_string()).join("source.zip")).unwrap()
    }
}

impl Running {
    /// Lets time pass, at least a second, and waits until the inbox has done what was due.
    async fn pass(&mut self, seconds: u64) -> InboxView {
        assert!(seconds > 0);
        self.clock.advance(Duration::from_secs(seconds));
        self.view.changed().await.unwrap();
        self.view.wait_for(|view| !view.is_busy).await.unwrap();
        self.view.borrow_and_update().clone()
    }

    async fn stop(self) {
        self.cancel.cancel();
        self.task.await.unwrap().unwrap();
    }
}

/// A whole zip with one stored entry.
fn small_zip(content: &[u8]) -> Vec<u8> {
    let name = b"event";
    let size = u32::try_from(content.len()).unwrap().to_le_bytes();
    let mut common = vec![20, 0, 0, 0, 0, 0, 0, 0, 0x21, 0];
    common.extend(crc32fast::hash(content).to_le_bytes());
    common.extend(size);
    common.extend(size);
    common.extend([5, 0, 0, 0]);
    let mut zip = b"PK\x03\x04".to_vec();
    zip.extend(&common);
    zip.extend(name);
    zip.extend(content);
    let directory = u32::try_from(zip.len()).unwrap();
    zip.extend(b"PK\x01\x02\x14\x00");
    zip.extend(&common);
    zip.extend([0; 14]);
    zip.extend(name);
    let directory_size = u32::try_from(zip.len()).unwrap() - directory;
    zip.extend(b"PK\x05\x06\x00\x00\x00\x00\x01\x00\x01\x00");
    zip.extend(directory_size.to_le_bytes());
    zip.extend(directory.to_le_bytes());
    zip.extend([0, 0]);
    zip
}
