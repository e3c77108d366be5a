//! Whether the SQLite file is still the one that was opened.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio_util::sync::CancellationToken;

use super::DbError;

/// What SQLite keeps beside the file: the write-ahead log and its index.
const COMPANIONS: [&str; 2] = ["-wal", "-shm"];

/// Device and inode: what stays the same of a file while it is written to, and differs when another one takes its name.
type Identity = (u64, u64);

/// The place of a database and the file that was there when it was opened.
#[derive(Debug)]
pub struct SqliteFile {
    path: PathBuf,
    opened: OnceLock<Opened>,
    replaced: CancellationToken,
    is_read_only: AtomicBool,
}

#[derive(Debug)]
struct Opened {
    file: Identity,
    companions: Vec<(PathBuf, Identity)>,
}

impl SqliteFile {
    /// At a path; nothing is held against it before [`SqliteFile::is_open`].
    pub(super) fn at(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            opened: OnceLock::new(),
            replaced: CancellationToken::new(),
            is_read_only: AtomicBool::new(false),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Notes which file it is. What cannot be looked at is not watched.
    pub(super) fn is_open(&self) {
        let Some(file) = identity(&self.path) else { return };
        let companions = COMPANIONS.iter().filter_map(|ending| {
            let path = self.companion(ending);
            identity(&path).map(|identity| (path, identity))
        });
        self.opened.get_or_init(|| Opened { file, companions: companions.collect() });
    }

    fn companion(&self, ending: &str) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(ending);
        name.into()
    }

    /// Takes note of what came of a step that may have written.
    pub(super) fn note<T>(&self, result: Result<T, DbError>) -> Result<T, DbError> {
        if result.as_ref().is_err_and(DbError::is_read_only) {
            self.is_read_only.store(true, Ordering::Relaxed);
        }
        result
    }

    /// Whether the connection that writes is to be given up for a new one: where a disk fails in the moment in which a file is
    /// opened, SQLite opens it for reading, and never again for writing.
    pub(super) fn takes_no_writes(&self) -> bool {
        self.is_read_only.swap(false, Ordering::Relaxed)
    }

    /// Refuses a step where another file has taken the place of the one that is open: what is written to that one is
    /// lost, and what is read from it is not what others see.
    pub(super) fn check(&self, step: &'static str) -> Result<(), DbError> {
        let Some(opened) = self.opened.get() else { return Ok(()) };
        let why = match fs::metadata(&self.path) {
            Ok(metadata) if of(&metadata) == opened.file => return Ok(()),
            Ok(_) => "another file lies in the place of the database that is open",
            Err(error) if error.kind() == ErrorKind::NotFound => "the file of the database that is open is gone",
            // The step itself says what is wrong with the disk.
            Err(_) => return Ok(()),
        };
        self.replaced.cancel();
        Err(DbError::replaced(step, why).at(self.path.display()))
    }

    pub(super) async fn replaced(&self) {
        self.replaced.cancelled().await;
    }

    pub(super) fn is_replaced(&self) -> bool {
        self.replaced.is_cancelled()
    }

    pub(super) fn stale_companions(&self) -> Vec<PathBuf> {
        let Some(opened) = self.opened.get().filter(|_| self.is_replaced()) else { return Vec::new() };
        let is_same = |(path, known): &&(PathBuf, Identity)| identity(path) == Some(*known);
        opened.companions.iter().filter(is_same).map(|(path, _)| path.clone()).collect()
    }
}

fn identity(path: &Path) -> Option<Identity> {
    fs::metadata(path).ok().map(|metadata| of(&metadata))
}

fn of(metadata: &fs::Metadata) -> Identity {
    (metadata.dev(), metadata.ino())
}
