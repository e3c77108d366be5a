//! Whether a daemon works on a root, without getting in its way.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::Serialize;

/// The file that a daemon keeps locked while it runs; its process id stands in it.
const LOCK_FILE: &str = "eventferry.lock";

/// The kernel's list of locks, see `proc_locks(5)`.
const LOCKS: &str = "/proc/locks";

/// What is known of a daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub(super) enum Daemon {
    /// One works on this root, on this machine.
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

/// Looks for the daemon of a root. The lock is only looked up, never tried: a daemon that is just starting must get it.
pub(super) fn look(root: &Path) -> Daemon {
    let path = root.join(LOCK_FILE);
    let inode = match fs::symlink_metadata(&path) {
        Ok(metadata) => metadata.ino(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Daemon::Stopped,
        Err(error) => return Daemon::Unknown { why: format!("cannot look at `{}`: {error}", path.display()) },
    };
    match fs::read_to_string(LOCKS) {
        Ok(locks) => holder(&locks, inode).map_or(Daemon::Stopped, |process| Daemon::Running { process }),
        Err(error) => Daemon::Unknown { why: format!("cannot read `{LOCKS}`: {error}") },
    }
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
        assert_eq!(look(root.path()), Daemon::Stopped);
        let file = fs::File::create_new(root.path().join(LOCK_FILE)).unwrap();
        assert_eq!(look(root.path()), Daemon::Stopped);
        file.try_lock().unwrap();
        assert_eq!(look(root.path()), Daemon::Running { process: std::process::id() });
        drop(file);
        assert_eq!(look(root.path()), Daemon::Stopped);
    }
}
