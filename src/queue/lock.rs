//! Locks that the kernel lets go when their process dies.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::store::jobs::{Blame, OwnerId};

/// Keeps a second daemon away from the same root. The file stays; only its lock counts.
#[derive(Debug)]
pub struct InstanceLock {
    _file: File,
}

/// Why the root could not be locked.
#[derive(Debug, thiserror::Error)]
pub enum InstanceLockError {
    /// A daemon is at work there.
    #[error(
        "could not lock `{path}`: another eventferry (process {process}) works there; stop that one first, or give this \
         one a root of its own with `--root`"
    )]
    Taken {
        /// The lock file.
        path: PathBuf,
        /// The other one's process id, as it wrote it down.
        process: String,
    },
    /// The file cannot be locked.
    #[error("could not lock `{path}`: {source}; the root must be a folder that eventferry may write to")]
    Io {
        /// The lock file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
}

impl InstanceLock {
    /// Locks `<root>/eventferry.lock` until the value is dropped or the process ends, and writes the process id into
    /// it.
    ///
    /// # Errors
    /// Where another process holds it, or the file cannot be written.
    pub fn take(root: &Path) -> Result<Self, InstanceLockError> {
        let path = root.join("eventferry.lock");
        let fault = |source| InstanceLockError::Io { path: path.clone(), source };
        let mut file = open(&path).map_err(fault)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut process = String::new();
                // It is only told to a person; where it cannot be read, the refusal says so.
                let _ = file.read_to_string(&mut process);
                let process = match process.trim() {
                    "" => "of unknown id".to_owned(),
                    id => id.to_owned(),
                };
                return Err(InstanceLockError::Taken { path, process });
            }
            Err(TryLockError::Error(source)) => return Err(fault(source)),
        }
        overwrite(&mut file, &format!("{}\n", std::process::id())).map_err(fault)?;
        Ok(Self { _file: file })
    }
}

/// Shows the daemons of this machine that the process which owns jobs lives: `<folder>/<owner>.lock`. Dropped, it
/// leaves the file behind unlocked, as a death would.
#[derive(Debug)]
pub struct OwnerLock {
    path: PathBuf,
    file: File,
}

/// What the file of an owner says that had to leave jobs behind when it stopped softly.
const RELEASED: &str = "released\n";

impl OwnerLock {
    /// Makes and locks the file of an owner.
    ///
    /// # Errors
    /// Where the folder cannot be written or its file system knows no locks.
    pub fn take(folder: &Path, owner: OwnerId) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let path = folder.join(format!("{owner}.lock"));
        loop {
            let file = open(&path)?;
            if let Err(error) = file.try_lock() {
                let _ = fs::remove_file(&path);
                return Err(error.into());
            }
            // Between the two steps a rescuer may have taken it for a dead one's and removed it.
            if is_still_there(&file, &path)? {
                return Ok(Self { path, file });
            }
        }
    }

    /// Says that jobs which are still this owner's are left behind without being at fault.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn mark_released(&mut self) -> io::Result<()> {
        overwrite(&mut self.file, RELEASED)
    }

    /// Removes the file: the owner has given all its jobs back.
    ///
    /// # Errors
    /// Where the file cannot be removed; a rescuer will.
    pub fn remove(self) -> io::Result<()> {
        fs::remove_file(&self.path)
    }
}

/// An owner of this machine whose process is dead. It is locked meanwhile, so that two rescuers do not meet.
#[derive(Debug)]
pub struct DeadOwner {
    /// Who it was.
    pub owner: OwnerId,
    /// Whether its jobs may be what it died of.
    pub blame: Blame,
    path: PathBuf,
    _file: File,
}

impl DeadOwner {
    /// Removes its file, after its jobs were rescued.
    ///
    /// # Errors
    /// Where the file cannot be removed.
    pub fn bury(self) -> io::Result<()> {
        fs::remove_file(&self.path)
    }
}

/// The owners that have a file in the folder which nobody locks. An owner on another machine has none here, or its lock
/// is held there.
///
/// # Errors
/// Where the folder cannot be read; one that is not there holds nobody.
pub fn dead_owners(folder: &Path) -> io::Result<Vec<DeadOwner>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut dead = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if let Some(owner) = owner_of(&path)
            && let Some(found) = look(&path, owner)?
        {
            dead.push(found);
        }
    }
    Ok(dead)
}

fn look(path: &Path, owner: OwnerId) -> io::Result<Option<DeadOwner>> {
    let mut file = match OpenOptions::new().read(true).write(true).open(path) {
        Ok(file) => file,
        // It ended well, or was buried, in between.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if file.try_lock().is_err() || !is_still_there(&file, path)? {
        return Ok(None);
    }
    let mut said = String::new();
    file.read_to_string(&mut said)?;
    let blame = if said == RELEASED { Blame::None } else { Blame::Strike };
    Ok(Some(DeadOwner { owner, blame, path: path.to_owned(), _file: file }))
}

fn owner_of(path: &Path) -> Option<OwnerId> {
    let name = path.file_name()?.to_str()?;
    name.strip_suffix(".lock")?.parse().ok().map(OwnerId)
}

fn is_still_there(file: &File, path: &Path) -> io::Result<bool> {
    let held = file.metadata()?;
    match fs::symlink_metadata(path) {
        Ok(named) => Ok((named.dev(), named.ino()) == (held.dev(), held.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)
}

/// A crash in between leaves an empty or a half line, which stands for nothing.
fn overwrite(file: &mut File, text: &str) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

    use uuid::Uuid;

    use super::*;

    fn owner(number: u128) -> OwnerId {
        OwnerId(Uuid::from_u128(number))
    }

    fn dead(folder: &Path) -> Vec<(OwnerId, Blame)> {
        dead_owners(folder).unwrap().iter().map(|dead| (dead.owner, dead.blame)).collect()
    }

    #[test]
    fn a_second_daemon_on_one_root_is_refused_and_told_which_process_is_there() {
        let root = tempfile::tempdir().unwrap();
        let lock = InstanceLock::take(root.path()).unwrap();
        let refusal = InstanceLock::take(root.path()).unwrap_err().to_string();
        assert!(refusal.contains(&format!("(process {})", std::process::id())), "{refusal}");
        assert!(refusal.contains("eventferry.lock"), "{refusal}");
        drop(lock);
        InstanceLock::take(root.path()).unwrap();
    }

    #[test]
    fn a_root_that_is_not_there_cannot_be_locked() {
        let root = tempfile::tempdir().unwrap();
        let fault = InstanceLock::take(&root.path().join("nowhere")).unwrap_err().to_string();
        assert!(fault.contains("nowhere/eventferry.lock"), "{fault}");
    }

    #[test]
    fn an_owner_is_dead_as_soon_as_nobody_holds_its_lock() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(dead(&folder.path().join("none")), []);
        let lock = OwnerLock::take(folder.path(), owner(1)).unwrap();
        assert_eq!(dead(folder.path()), []);
        drop(lock);
        assert_eq!(dead(folder.path()), [(owner(1), Blame::Strike)]);
        for gone in dead_owners(folder.path()).unwrap() {
            gone.bury().unwrap();
        }
        assert_eq!(dead(folder.path()), []);
    }

    #[test]
    fn an_owner_that_stopped_softly_is_not_held_against_its_jobs() {
        let folder = tempfile::tempdir().unwrap();
        let mut lock = OwnerLock::take(folder.path(), owner(1)).unwrap();
        lock.mark_released().unwrap();
        drop(lock);
        assert_eq!(dead(folder.path()), [(owner(1), Blame::None)]);
    }

    #[test]
    fn an_owner_that_has_given_everything_back_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        OwnerLock::take(folder.path(), owner(1)).unwrap().remove().unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn two_rescuers_do_not_find_the_same_dead_owner_at_the_same_time() {
        let folder = tempfile::tempdir().unwrap();
        drop(OwnerLock::take(folder.path(), owner(1)).unwrap());
        let mine = dead_owners(folder.path()).unwrap();
        assert_eq!(mine.len(), 1);
        assert_eq!(dead(folder.path()), []);
    }
}
