//! Media files on the local disk, each under the SHA-256 of its bytes.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::fsx::{self, AtomicFile};

/// The store: `<root>/<first two digits>/<SHA-256 in hex>`.
#[derive(Clone, Debug)]
pub struct MediaStore {
    root: PathBuf,
}

/// A file in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// SHA-256 of its bytes in hex.
    pub sha256: String,
    /// Its size.
    pub bytes: u64,
}

impl MediaStore {
    /// The store in this folder, which is made where it is not there.
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// Streams bytes into the store; equal bytes are kept once. A crash leaves a temporary file that a sweep takes, or
    /// a whole file under its hash.
    ///
    /// # Errors
    /// Those of `reader` as they are, and those of the disk.
    pub fn put(&self, reader: &mut dyn Read) -> io::Result<Stored> {
        fsx::create_folders(&self.root)?;
        let mut file = AtomicFile::create(&self.root.join("incoming"))?;
        let mut hash = Sha256::new();
        let mut bytes = 0;
        let mut buffer = vec![0; 128 * 1024];
        loop {
            let read = match reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            hash.update(&buffer[..read]);
            file.write_all(&buffer[..read])?;
            bytes += read as u64;
        }
        let sha256 = hex(&hash.finalize());
        let path = self.path_of(&sha256);
        if std::fs::metadata(&path).is_ok_and(|there| there.len() == bytes) {
            return Ok(Stored { sha256, bytes });
        }
        if let Some(folder) = path.parent() {
            fsx::create_folders(folder)?;
        }
        file.commit_as(&path)?;
        Ok(Stored { sha256, bytes })
    }

    /// Where a file lies.
    pub fn path_of(&self, sha256: &str) -> PathBuf {
        self.root.join(sha256.get(..2).unwrap_or("00")).join(sha256)
    }

    /// The hashes of all files in the store.
    ///
    /// # Errors
    /// Where a folder cannot be read.
    pub fn list(&self) -> io::Result<Vec<String>> {
        let mut found = Vec::new();
        for folder in folders_in(&self.root)? {
            for entry in std::fs::read_dir(folder)? {
                let name = entry?.file_name();
                if let Some(name) = name.to_str().filter(|name| name.len() == 64) {
                    found.push(name.to_owned());
                }
            }
        }
        Ok(found)
    }

    /// Takes a file out of the store.
    ///
    /// # Errors
    /// Where the disk fails; that it is not there is none.
    pub fn remove(&self, sha256: &str) -> io::Result<()> {
        fsx::remove_file(&self.path_of(sha256))
    }

    /// Removes what crashed imports have left half written.
    ///
    /// # Errors
    /// Where the folder cannot be read.
    pub fn sweep_temporaries(&self) -> io::Result<u64> {
        if !self.root.exists() {
            return Ok(0);
        }
        fsx::sweep_temporaries(&self.root)
    }
}

fn folders_in(root: &Path) -> io::Result<Vec<PathBuf>> {
    let mut folders = Vec::new();
    let entries = match std::fs::read_dir(root) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(folders),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            folders.push(entry.path());
        }
    }
    Ok(folders)
}

/// Bytes in hex.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed step fails the test")]
mod tests {
    use super::*;

    #[test]
    fn equal_bytes_are_kept_once_under_their_hash() {
        let folder = tempfile::tempdir().unwrap();
        let store = MediaStore::new(folder.path().join("media"));
        let first = store.put(&mut &b"abc"[..]).unwrap();
        let second = store.put(&mut &b"abc"[..]).unwrap();
        assert_eq!(first, second);
        // FIPS 180-2, appendix B.1.
        assert_eq!(first.sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(std::fs::read(store.path_of(&first.sha256)).unwrap(), b"abc");
        assert_eq!(store.list().unwrap(), std::slice::from_ref(&first.sha256));
        store.remove(&first.sha256).unwrap();
        assert!(store.list().unwrap().is_empty());
        assert_eq!(store.sweep_temporaries().unwrap(), 0);
    }
}
