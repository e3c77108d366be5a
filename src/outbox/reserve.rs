//! Space that is kept back in the outbox, so that a full disk can still be told of.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use crate::fsx;

/// Its name; a dot file, which people and SFTP clients pass over.
const RESERVE_FILE: &str = ".eventferry-reserve";

/// How much of the floor of free space is kept back.
const PART_OF_FLOOR: u64 = 32;

/// The most that is kept back. The results of the largest job are a few megabytes.
const MOST_BYTES: u64 = 16 << 20;

/// A file that has its blocks on the disk and nothing in it.
#[derive(Clone, Debug)]
pub struct Reserve {
    path: PathBuf,
    bytes: u64,
}

impl Reserve {
    /// That of an outbox whose disk is to keep `floor` bytes free: a part of them; none where it need not keep any.
    pub fn of(outbox: &Path, floor: u64) -> Self {
        Self { path: outbox.join(RESERVE_FILE), bytes: (floor / PART_OF_FLOOR).min(MOST_BYTES) }
    }

    /// How much it keeps back.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes the space, where it is not taken yet. A crash leaves a part of it, and the same call again takes the rest.
    ///
    /// # Errors
    /// Those of the file system: nothing is kept back.
    pub fn take(&self) -> io::Result<()> {
        if self.bytes == 0 {
            return self.give_up().map(drop);
        }
        if std::fs::metadata(&self.path).is_ok_and(|there| there.len() == self.bytes) {
            return Ok(());
        }
        let taken = File::options().write(true).create(true).truncate(true).open(&self.path).and_then(|file| {
            fsx::allocate(&file, self.bytes)?;
            file.sync_all()
        });
        taken.inspect_err(|_| {
            // A part of it helps nobody.
            let _ = self.give_up();
        })
    }

    /// Gives the space back to the disk; says whether there was any.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn give_up(&self) -> io::Result<bool> {
        let is_there = self.path.try_exists()?;
        fsx::remove_file(&self.path)?;
        Ok(is_there)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed step fails the test")]
mod tests {
    use std::fs;
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn it_takes_real_space_once_and_gives_it_back() {
        let outbox = tempfile::tempdir().unwrap();
        let reserve = Reserve::of(outbox.path(), 32 << 20);
        assert_eq!(reserve.bytes(), 1 << 20);
        for _ in 0..2 {
            reserve.take().unwrap();
            let file = fs::metadata(outbox.path().join(RESERVE_FILE)).unwrap();
            assert_eq!(file.len(), 1 << 20);
            assert!(file.blocks() * 512 >= 1 << 20, "{}", file.blocks());
        }
        assert!(reserve.give_up().unwrap());
        assert!(!reserve.give_up().unwrap());
        assert_eq!(fs::read_dir(outbox.path()).unwrap().count(), 0);
    }

    #[test]
    fn where_no_space_need_be_free_nothing_is_kept_back() {
        let outbox = tempfile::tempdir().unwrap();
        Reserve::of(outbox.path(), 1 << 40).take().unwrap();
        assert_eq!(Reserve::of(outbox.path(), 1 << 40).bytes(), 16 << 20);
        Reserve::of(outbox.path(), 0).take().unwrap();
        assert_eq!(fs::read_dir(outbox.path()).unwrap().count(), 0);
    }
}
