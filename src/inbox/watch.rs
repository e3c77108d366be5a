//! The kernel's events as a wake-up. They say where to look sooner than the next scan would; nothing depends on them.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use notify::event::{AccessKind, AccessMode, CreateKind, EventKind, ModifyKind, RenameMode};
use notify::{ErrorKind, Event, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

use super::scan::FolderIdentity;
use super::settling::Arrival;

/// Most names that are kept between two looks; beyond it everything is scanned.
const MOST_CHANGES: usize = 4096;

/// What events have told since the last look.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    /// Where something came or was finished.
    pub(super) paths: BTreeMap<PathBuf, Arrival>,
    /// Whether everything must be scanned.
    pub(super) everything: bool,
    /// How often the kernel has dropped events.
    pub(super) overflows: u64,
    /// A watch that the kernel or the library has given up.
    failure: Option<String>,
}

/// What the watcher's thread and the inbox share.
#[derive(Debug, Default)]
pub(super) struct Wakes {
    changes: Mutex<Changes>,
    /// The folders that are watched. Never locked while the watcher is called, which waits for its thread.
    armed: Mutex<HashMap<PathBuf, FolderIdentity>>,
    woken: Notify,
}

impl Wakes {
    /// Waits until there is something to look at; returns at once where there is already.
    pub(super) async fn woken(&self) {
        self.woken.notified().await;
    }

    fn changes(&self) -> MutexGuard<'_, Changes> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn armed(&self) -> MutexGuard<'_, HashMap<PathBuf, FolderIdentity>> {
        self.armed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in one event; runs on the watcher's thread.
    fn take_in(&self, event: notify::Result<Event>) {
        let wakes = match event {
            Ok(event) if takes_watch_away(&event) => {
                let mut armed = self.armed();
                let gone = event.paths.iter().any(|path| armed.remove(path).is_some());
                self.changes().everything |= gone;
                gone
            }
            Ok(event) => self.changes().take_in(event),
            Err(error) => {
                let mut changes = self.changes();
                changes.failure = Some(said(&error));
                changes.everything = true;
                true
            }
        };
        if wakes {
            self.woken.notify_one();
        }
    }
}

/// Whether a watched folder may be gone, and its watch with it. Of other names that go the next scan is soon enough.
fn takes_watch_away(event: &Event) -> bool {
    matches!(event.kind, EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(RenameMode::From)))
}

impl Changes {
    /// Says whether there is something to look at.
    fn take_in(&mut self, event: Event) -> bool {
        if event.need_rescan() {
            self.overflows += 1;
            self.everything = true;
            return true;
        }
        let arrival = match event.kind {
            // Reading the folders and the files causes events as well, and so does each piece of an upload.
            EventKind::Access(AccessKind::Close(AccessMode::Write)) | EventKind::Create(CreateKind::File) => {
                Arrival::Seen
            }
            EventKind::Modify(ModifyKind::Name(RenameMode::To)) => Arrival::RenamedIn,
            EventKind::Create(_) => {
                self.everything = true;
                return true;
            }
            _ => return false,
        };
        for path in event.paths {
            if self.paths.len() >= MOST_CHANGES && !self.paths.contains_key(&path) {
                self.everything = true;
                continue;
            }
            let known = self.paths.entry(path).or_insert(arrival);
            // What is written to after it was renamed in is not finished by the renaming.
            *known = arrival;
        }
        true
    }
}

/// The watches on the inbox and on the accounts' folders.
#[derive(Debug)]
pub(super) struct InboxWatch {
    inbox: PathBuf,
    wakes: Arc<Wakes>,
    watcher: Option<RecommendedWatcher>,
    failure: Option<String>,
}

impl InboxWatch {
    /// Watches nothing until [`InboxWatch::arm`].
    pub(super) fn new(inbox: &Path) -> Self {
        Self { inbox: inbox.to_owned(), wakes: Arc::default(), watcher: None, failure: None }
    }

    /// What wakes the inbox.
    pub(super) fn wakes(&self) -> Arc<Wakes> {
        Arc::clone(&self.wakes)
    }

    /// Takes what events have told since the last call.
    pub(super) fn changes(&mut self) -> Changes {
        let mut changes = std::mem::take(&mut *self.wakes.changes());
        if let Some(failure) = changes.failure.take() {
            self.failure = Some(failure);
            self.watcher = None;
        }
        changes
    }

    /// Watches exactly `folders`, of which the inbox itself is none: new ones, those that another has replaced, and those
    /// that could not be watched the last time. To be called before a scan, which then finds what came before the watch.
    pub(super) fn arm(&mut self, folders: &[(Option<String>, FolderIdentity)]) {
        let wanted: HashMap<PathBuf, FolderIdentity> = folders
            .iter()
            .map(|(folder, identity)| {
                (folder.as_ref().map_or_else(|| self.inbox.clone(), |folder| self.inbox.join(folder)), *identity)
            })
            .collect();
        self.failure = None;
        let mut watcher = match self.watcher.take().map_or_else(|| self.open(), Ok) {
            Ok(watcher) => watcher,
            Err(error) => {
                self.failure = Some(said(&error));
                return;
            }
        };
        let (stale, missing) = self.differences(&wanted);
        for path in stale {
            // A watch that went with its folder is not found any more.
            let _ = watcher.unwatch(&path);
        }
        for (path, identity) in missing {
            // Noted first, so that the event of its going is not missed.
            self.wakes.armed().insert(path.clone(), identity);
            if let Err(error) = watcher.watch(&path, RecursiveMode::NonRecursive) {
                self.wakes.armed().remove(&path);
                // Where it is gone again the next scan will see.
                if !matches!(error.kind, ErrorKind::PathNotFound) {
                    self.failure = Some(said(&error));
                }
            }
        }
        self.watcher = Some(watcher);
    }

    /// What is armed and not wanted, which is disarmed, and what is wanted and not armed.
    fn differences(&self, wanted: &HashMap<PathBuf, FolderIdentity>) -> (Vec<PathBuf>, Vec<(PathBuf, FolderIdentity)>) {
        let mut armed = self.wakes.armed();
        let stale =
            armed.extract_if(|path, identity| wanted.get(path) != Some(identity)).map(|(path, _)| path).collect();
        let missing = wanted
            .iter()
            .filter(|(path, _)| !armed.contains_key(*path))
            .map(|(path, identity)| (path.clone(), *identity))
            .collect();
        (stale, missing)
    }

    /// Why scanning alone must do, at least for some folders.
    pub(super) fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    fn open(&self) -> notify::Result<RecommendedWatcher> {
        self.wakes.armed().clear();
        let wakes = Arc::clone(&self.wakes);
        notify::recommended_watcher(move |event| wakes.take_in(event))
    }
}

fn said(error: &notify::Error) -> String {
    match &error.kind {
        ErrorKind::MaxFilesWatch => {
            "the kernel's limit of watches is reached, so new files are only seen by the scan; \
                                     raise `fs.inotify.max_user_watches`"
                .to_owned()
        }
        ErrorKind::Io(io) if io.raw_os_error() == Some(rustix::io::Errno::MFILE.raw_os_error()) => {
            "the kernel's limit of watchers or of open files is reached, so new files are only seen by the scan; raise \
             `fs.inotify.max_user_instances` or the limit of open files"
                .to_owned()
        }
        _ => format!("the inbox cannot be watched ({error}), so new files are only seen by the scan"),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

    use notify::event::{DataChange, Flag, MetadataKind};

    use super::*;

    fn told(wakes: &Wakes, kind: EventKind, path: &str) {
        wakes.take_in(Ok(Event::new(kind).add_path(PathBuf::from(path))));
    }

    fn watch() -> InboxWatch {
        InboxWatch::new(Path::new("/inbox"))
    }

    #[test]
    fn creation_closing_and_renaming_in_point_to_a_file() {
        let mut watch = watch();
        let wakes = watch.wakes();
        told(&wakes, EventKind::Create(CreateKind::File), "/inbox/linked.zip");
        told(&wakes, EventKind::Access(AccessKind::Close(AccessMode::Write)), "/inbox/written.zip");
        told(&wakes, EventKind::Modify(ModifyKind::Name(RenameMode::To)), "/inbox/renamed.zip");
        let changes = watch.changes();
        let expected = [
            ("/inbox/linked.zip", Arrival::Seen),
            ("/inbox/renamed.zip", Arrival::RenamedIn),
            ("/inbox/written.zip", Arrival::Seen),
        ];
        assert_eq!(changes.paths, expected.map(|(path, arrival)| (PathBuf::from(path), arrival)).into());
        assert!(!changes.everything);
        assert_eq!(watch.changes(), Changes::default(), "told once");
    }

    #[test]
    fn what_reading_and_writing_cause_wakes_nobody() {
        let mut watch = watch();
        let wakes = watch.wakes();
        for kind in [
            EventKind::Access(AccessKind::Open(AccessMode::Any)),
            EventKind::Access(AccessKind::Close(AccessMode::Read)),
            EventKind::Modify(ModifyKind::Data(DataChange::Any)),
            EventKind::Modify(ModifyKind::Metadata(MetadataKind::Any)),
        ] {
            told(&wakes, kind, "/inbox/event.zip");
        }
        assert_eq!(watch.changes(), Changes::default());
    }

    #[test]
    fn a_file_that_is_written_to_after_it_was_renamed_in_is_not_finished() {
        let mut watch = watch();
        let wakes = watch.wakes();
        told(&wakes, EventKind::Modify(ModifyKind::Name(RenameMode::To)), "/inbox/event.zip");
        told(&wakes, EventKind::Access(AccessKind::Close(AccessMode::Write)), "/inbox/event.zip");
        assert_eq!(watch.changes().paths.values().collect::<Vec<_>>(), [&Arrival::Seen]);
    }

    #[test]
    fn dropped_events_are_counted_and_ask_for_a_scan() {
        let mut watch = watch();
        watch.wakes().take_in(Ok(Event::new(EventKind::Other).set_flag(Flag::Rescan)));
        let changes = watch.changes();
        assert_eq!((changes.overflows, changes.everything), (1, true));
    }

    #[test]
    fn more_names_than_are_kept_ask_for_a_scan() {
        let mut watch = watch();
        let wakes = watch.wakes();
        for number in 0..=MOST_CHANGES {
            told(&wakes, EventKind::Create(CreateKind::File), &format!("/inbox/{number}"));
        }
        let changes = watch.changes();
        assert_eq!((changes.paths.len(), changes.everything), (MOST_CHANGES, true));
    }

    #[test]
    fn the_limit_of_watches_is_a_failure_that_the_next_scan_tries_to_mend() {
        let root = tempfile::tempdir().unwrap();
        let mut watch = InboxWatch::new(root.path());
        watch.wakes().take_in(Err(notify::Error::new(ErrorKind::MaxFilesWatch)));
        assert!(watch.changes().everything);
        assert!(watch.failure().is_some_and(|failure| failure.contains("fs.inotify.max_user_watches")));
        let identity = FolderIdentity::of(&root.path().metadata().unwrap());
        watch.arm(&[(None, identity)]);
        assert_eq!(watch.failure(), None);
    }

    #[tokio::test]
    async fn a_folder_that_was_deleted_and_made_again_is_watched_again() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("inbox");
        let mut watch = InboxWatch::new(&folder);
        let wakes = watch.wakes();
        for round in 0..3 {
            std::fs::create_dir(&folder).unwrap();
            watch.arm(&[(None, FolderIdentity::of(&folder.metadata().unwrap()))]);
            let file = folder.join(format!("{round}.zip"));
            std::fs::File::create(&file).unwrap();
            while !watch.changes().paths.contains_key(&file) {
                wakes.woken().await;
            }
            std::fs::remove_dir_all(&folder).unwrap();
            while !watch.changes().everything {
                wakes.woken().await;
            }
        }
    }
}
