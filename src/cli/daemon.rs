//! Whether a daemon works here, without getting in its way.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::config::{DatabaseAddress, Settings};

/// The file in the root that the one process which uses a SQLite file keeps locked, see `queue::lock`.
const LOCK_FILE: &str = "eventferry.lock";

/// The folder in the work folder where each process that runs jobs keeps a file locked.
const OWNERS_FOLDER: &str = ".owners";

/// The kernel's list of locks, see `proc_locks(5)`.
const LOCKS: &str = "/proc/locks";

/// What is known of a daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub(super) enum Daemon {
    /// One works here, on this machine.
    Running {
        /// Its process id.
        process: u32,
    },
    /// None does, on this machine.
    Stopped,
    /// It cannot be told.
    Unknown {
        /// Why not.
        why: String,
    },
}

impl Daemon {
    /// What is said of something that waits for a daemon, where none runs; `does` is what one would do with it.
    pub(super) fn none_here(&self, does: &str) -> Option<String> {
        (*self == Self::Stopped).then(|| format!("no daemon runs here, `eventferry run` {does}"))
    }
}

/// Looks for the process that works on jobs here. Locks are only looked up, never tried: a daemon that is just starting
/// must get them. With PostgreSQL there may be others on other machines.
pub(super) fn look(settings: &Settings) -> Daemon {
    let files = match &settings.database.address {
        DatabaseAddress::Sqlite(_) => Ok(vec![settings.folders().root.join(LOCK_FILE)]),
        DatabaseAddress::Postgres(_) => owners(&settings.folders().work.join(OWNERS_FOLDER)),
    };
    match files.and_then(|files| holder_of_any(&files)) {
        Ok(Some(process)) => Daemon::Running { process },
        Ok(None) => Daemon::Stopped,
        Err(error) => Daemon::Unknown { why: error.to_string() },
    }
}

fn owners(folder: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect(),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn holder_of_any(files: &[PathBuf]) -> io::Result<Option<u32>> {
    let mut inodes = Vec::new();
    for file in files {
        match fs::symlink_metadata(file) {
            Ok(metadata) => inodes.push(metadata.ino()),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    if inodes.is_empty() {
        return Ok(None);
    }
    let locks = fs::read_to_string(LOCKS)?;
    Ok(inodes.into_iter().find_map(|inode| holder(&locks, inode)))
}

/// The process that holds a file locked for writing: `1: FLOCK  ADVISORY  WRITE 708 08:01:13548 0 EOF`.
fn holder(locks: &str, inode: u64) -> Option<u32> {
    locks.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, "FLOCK", _, "WRITE", process, file, ..] = words[..] else { return None };
        let (_, locked) = file.rsplit_once(':')?;
        (locked.parse() == Ok(inode)).then(|| process.parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

    use super::*;
    use crate::config::{Overrides, Sources};
    use crate::queue::lock::InstanceLock;

    #[test]
    fn the_holder_of_a_lock_is_read_from_the_kernels_list() {
        let locks = "1: POSIX  ADVISORY  WRITE 3568 fd:00:2531452 0 EOF\n\
                     2: FLOCK  ADVISORY  WRITE 708 fd:00:77 0 EOF\n\
                     2: -> FLOCK  ADVISORY  WRITE 709 fd:00:77 0 EOF\n\
                     3: FLOCK  ADVISORY  READ 710 fd:00:78 0 EOF\n";
        assert_eq!(holder(locks, 77), Some(708));
        assert_eq!(holder(locks, 78), None);
        assert_eq!(holder(locks, 2_531_452), None);
        assert_eq!(holder("", 77), None);
    }

    #[test]
    fn a_daemon_runs_as_long_as_its_lock_is_held() {
        let root = tempfile::tempdir().unwrap();
        let overrides = Overrides { root: Some(root.path().to_owned()), ..Overrides::default() };
        let settings = Settings::load(&Sources { overrides, ..Sources::default() }).unwrap();
        assert_eq!(look(&settings), Daemon::Stopped);
        let lock = InstanceLock::take(root.path()).unwrap();
        assert_eq!(look(&settings), Daemon::Running { process: std::process::id() });
        drop(lock);
        assert_eq!(look(&settings), Daemon::Stopped);
    }
}
