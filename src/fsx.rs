//! Files that appear whole or not at all, moves that replace nothing, names that are safe to use and to show.
//!
//! The only place that renames files and writes them under their final names. Each function says what a crash leaves.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{AtFlags, CWD, FallocateFlags, FileType, OFlags, RenameFlags, Statx, StatxFlags};
use rustix::io::Errno;

mod names;
#[cfg(test)]
mod tests;

pub use names::{display_bytes, display_name, safe_component};

/// How the names of unfinished files begin. They are dot files: the inbox and most SFTP clients pass them over.
pub const TEMPORARY_PREFIX: &str = ".eventferry-tmp-";

/// Writes a whole file, replacing what is there.
///
/// A crash leaves the old file or the new one whole, and perhaps a temporary beside it (see [`sweep_temporaries`]).
///
/// # Errors
/// Those of the file system. Only where the very last step, the sync of the folder, fails is the new file in place.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = AtomicFile::create(path)?;
    file.write_all(bytes)?;
    file.commit()
}

/// A file that is written piece by piece and appears under its name, whole, with [`AtomicFile::commit`].
///
/// Until then it has a temporary name in the same folder; dropping it removes that. A crash leaves the temporary.
/// Writes are not buffered.
#[derive(Debug)]
pub struct AtomicFile {
    file: File,
    temporary: PathBuf,
    target: PathBuf,
    committed: bool,
}

impl AtomicFile {
    /// Begins a file that will have the name `path`; its folder must be there.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn create(path: &Path) -> io::Result<Self> {
        let (file, temporary) = create_temporary(folder_of(path))?;
        Ok(Self { file, temporary, target: path.to_owned(), committed: false })
    }

    /// Syncs the file, gives it its name, replacing what is there, and syncs the folder.
    ///
    /// A crash leaves the old file or the new one, and in the first case perhaps the temporary.
    ///
    /// # Errors
    /// Those of the file system. Only where the very last step, the sync of the folder, fails is the new file in place.
    pub fn commit(mut self) -> io::Result<()> {
        self.file.sync_all()?;
        rustix::fs::rename(&self.temporary, &self.target)?;
        self.committed = true;
        sync_folder(folder_of(&self.target))
    }

    /// As [`AtomicFile::commit`], under another name on the same file system, for names that the bytes decide.
    ///
    /// # Errors
    /// As [`AtomicFile::commit`].
    pub fn commit_as(mut self, path: &Path) -> io::Result<()> {
        path.clone_into(&mut self.target);
        self.commit()
    }

    /// As [`AtomicFile::commit`], but fails with `AlreadyExists` where the name is taken.
    ///
    /// # Errors
    /// Those of the file system, and `AlreadyExists`.
    pub fn commit_new(mut self) -> io::Result<()> {
        self.file.sync_all()?;
        rename_no_replace(&self.temporary, &self.target)?;
        self.committed = true;
        sync_folder(folder_of(&self.target))
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if !self.committed {
            // What cannot be removed now is found by the sweep.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Seek for AtomicFile {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        self.file.seek(position)
    }
}

/// A file to write and read that has lost its name `path` as soon as it is open: it goes with the process, however that
/// ends.
///
/// A crash leaves nothing, or an empty file under that name.
///
/// # Errors
/// Those of the file system.
pub fn unnamed_file(path: &Path) -> io::Result<File> {
    let file = File::options().read(true).write(true).create(true).truncate(true).open(path)?;
    fs::remove_file(path)?;
    Ok(file)
}

/// Removes the temporaries that crashes have left in `folder` (not in the folders inside it) and says how many.
/// One that is still being written, by whichever process, stays: its writer holds a lock on it. No folder, nothing to do.
///
/// A crash leaves fewer of them.
///
/// # Errors
/// Those of the file system.
pub fn sweep_temporaries(folder: &Path) -> io::Result<u64> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0),
        entries => entries?,
    };
    let mut swept = 0;
    for entry in entries {
        let entry = entry?;
        if entry.file_name().as_encoded_bytes().starts_with(TEMPORARY_PREFIX.as_bytes())
            && entry.file_type()?.is_file()
            && sweep_temporary(&entry.path())?
        {
            swept += 1;
        }
    }
    Ok(swept)
}

fn sweep_temporary(path: &Path) -> io::Result<bool> {
    // Open for writing, since network file systems lock only such files.
    let file = match without_following().write(true).open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        file => file?,
    };
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(false),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn create_temporary(folder: &Path) -> io::Result<(File, PathBuf)> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    loop {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(format!("{TEMPORARY_PREFIX}{}-{number}", std::process::id()));
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(file) => {
                // Where a file system knows no locks the sweep cannot lock either, and leaves the file alone.
                let _ = file.lock();
                // Between its creation and its lock a sweep may have taken the file for a leftover.
                if statx_of_file(&file)?.stx_nlink > 0 {
                    return Ok((file, path));
                }
            }
            // A process of the same number left it, perhaps on another machine.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
}

/// Gives `from` the name `to` on the same file system, unless `to` is taken. Syncs nothing: see [`sync_folder`].
///
/// A crash leaves one of the two names. File systems that cannot rename without replacing get a second link and lose the
/// first; there a crash can leave both names of the one file, and the same call again removes `from`.
///
/// # Errors
/// `AlreadyExists` where `to` is taken, `CrossesDevices`, and the others of the file system.
pub fn rename_no_replace(from: &Path, to: &Path) -> io::Result<()> {
    match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(()),
        Err(Errno::INVAL | Errno::NOSYS) => link_and_unlink(from, to),
        Err(Errno::EXIST) => finish_link_and_unlink(from, to),
        Err(error) => Err(error.into()),
    }
}

fn link_and_unlink(from: &Path, to: &Path) -> io::Result<()> {
    match rustix::fs::linkat(CWD, from, CWD, to, AtFlags::empty()) {
        Ok(()) => Ok(rustix::fs::unlink(from)?),
        Err(Errno::EXIST) => finish_link_and_unlink(from, to),
        Err(error) => Err(error.into()),
    }
}

/// Removes `from` where it and `to` are two links to one file; that they are two shows in their folders or last names.
fn finish_link_and_unlink(from: &Path, to: &Path) -> io::Result<()> {
    let (one, other) = (statx_of_path(from)?, statx_of_path(to)?);
    let (one_folder, other_folder) = (fs::canonicalize(folder_of(from))?, fs::canonicalize(folder_of(to))?);
    let two_names = one_folder != other_folder || from.file_name() != to.file_name();
    if two_names && one.stx_nlink > 1 && are_one_file(&one, &other) {
        Ok(rustix::fs::unlink(from)?)
    } else {
        Err(ErrorKind::AlreadyExists.into())
    }
}

/// Moves a regular file, also to another file system, and syncs both folders. When it returns `Ok`, the file lies
/// whole under `to` and not under `from`: also where an earlier call had moved it and the caller never learnt.
///
/// Nothing is replaced and nothing gets another name. `to` must therefore be a name that belongs to this one file.
/// A crash leaves the file under `from`, under `to`, or (across file systems) under both; the same call again finishes it.
///
/// # Errors
/// `AlreadyExists` where `to` is taken by other bytes, `NotFound` where neither is there, and those of the file system.
pub fn move_file(from: &Path, to: &Path) -> io::Result<()> {
    match rename_no_replace(from, to) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::NotFound && !is_there(from)? && is_there(to)? => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists && have_equal_bytes(from, to)? => fs::remove_file(from)?,
        Err(error) if error.kind() == ErrorKind::CrossesDevices => copy_and_remove(from, to)?,
        Err(error) => return Err(error),
    }
    sync_folder(folder_of(to))?;
    sync_folder(folder_of(from))
}

fn copy_and_remove(from: &Path, to: &Path) -> io::Result<()> {
    let mut source = open_without_following(from)?;
    let metadata = source.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "only a regular file can move to another file system"));
    }
    let mut copy = AtomicFile::create(to)?;
    io::copy(&mut source, &mut copy.file)?;
    copy.file.set_permissions(metadata.permissions())?;
    copy.file.set_modified(metadata.modified()?)?;
    match copy.commit_new() {
        Err(error) if error.kind() == ErrorKind::AlreadyExists && have_equal_bytes(from, to)? => {}
        result => result?,
    }
    fs::remove_file(from)
}

fn have_equal_bytes(one: &Path, other: &Path) -> io::Result<bool> {
    let (mut one, mut other) = (open_without_following(one)?, open_without_following(other)?);
    let (one_metadata, other_metadata) = (one.metadata()?, other.metadata()?);
    if !one_metadata.is_file() || !other_metadata.is_file() || one_metadata.len() != other_metadata.len() {
        return Ok(false);
    }
    // A name that is its own twin would be equal, and then removed.
    if are_one_file(&statx_of_file(&one)?, &statx_of_file(&other)?) {
        return Ok(false);
    }
    let (mut one_bytes, mut other_bytes) = (vec![0; COMPARED_BYTES], vec![0; COMPARED_BYTES]);
    loop {
        let count = one.read(&mut one_bytes)?;
        if count == 0 {
            return Ok(other.read(&mut other_bytes)? == 0);
        }
        match other.read_exact(&mut other_bytes[..count]) {
            Ok(()) if one_bytes[..count] == other_bytes[..count] => {}
            Ok(()) => return Ok(false),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(false),
            Err(error) => return Err(error),
        }
    }
}

const COMPARED_BYTES: usize = 64 * 1024;

/// Whether the name is there, a dangling link too.
fn is_there(path: &Path) -> io::Result<bool> {
    match statx_of_path(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Removes a file and syncs its folder; one that is gone already is as good.
///
/// A crash leaves the file or not.
///
/// # Errors
/// Those of the file system.
pub fn remove_file(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Ok(()) => sync_folder(folder_of(path)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Makes the names in a folder survive a power cut.
///
/// # Errors
/// Those of the file system, except that it cannot sync folders (some network mounts).
pub fn sync_folder(path: &Path) -> io::Result<()> {
    match rustix::fs::fsync(File::open(path)?) {
        Ok(()) | Err(Errno::INVAL | Errno::NOTSUP) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Syncs every file and folder below `path`, and itself.
///
/// # Errors
/// Those of the file system.
pub fn sync_tree(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            sync_tree(&entry.path())?;
        } else if kind.is_file() {
            File::open(entry.path())?.sync_all()?;
        }
    }
    sync_folder(path)
}

/// Lets `path` be a second name of the file `existing`, whatever it was before.
///
/// A crash leaves what was there, or the new name, and perhaps a temporary beside it.
///
/// # Errors
/// Those of the file system: what was there stays.
pub fn replace_with_link(existing: &Path, path: &Path) -> io::Result<()> {
    let temporary = temporary_name(folder_of(path), "link");
    remove_file(&temporary)?;
    fs::hard_link(existing, &temporary)?;
    rename_over(&temporary, path)
}

/// Lets `link` be a symbolic link to `target`, whatever it was before, in one rename; syncs the folder.
///
/// A crash leaves what was there, or the new link, and perhaps a temporary beside it.
///
/// # Errors
/// Those of the file system: what was there stays. Only where the very last step, the sync of the folder, fails is the new
/// link in place.
pub fn replace_symlink(target: &Path, link: &Path) -> io::Result<()> {
    let temporary = temporary_name(folder_of(link), "symlink");
    remove_file(&temporary)?;
    std::os::unix::fs::symlink(target, &temporary)?;
    rename_over(&temporary, link)?;
    sync_folder(folder_of(link))
}

/// A name that no other call of this process has.
fn temporary_name(folder: &Path, what: &str) -> PathBuf {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    folder.join(format!("{TEMPORARY_PREFIX}{what}-{}-{number}", std::process::id()))
}

fn rename_over(from: &Path, to: &Path) -> io::Result<()> {
    match rustix::fs::rename(from, to) {
        Ok(()) => {
            // Two names of one file stay both where one is renamed over the other.
            remove_file(from)
        }
        Err(error) => {
            let _ = fs::remove_file(from);
            Err(error.into())
        }
    }
}

/// A free name beside a file: its own with `.WHY` behind it, and a number where that is taken.
pub fn beside(path: &Path, why: &str) -> PathBuf {
    let name = |number: u32| {
        let mut name = path.as_os_str().to_owned();
        name.push(if number == 0 { format!(".{why}") } else { format!(".{why}.{number}") });
        PathBuf::from(name)
    };
    (0..).map(name).find(|name| !is_there(name).unwrap_or(true)).unwrap_or_else(|| name(u32::MAX))
}

/// Gives a file blocks on the disk for so many bytes, with zeros in them.
///
/// A crash leaves some of them.
///
/// # Errors
/// Those of the file system.
pub fn allocate(file: &File, bytes: u64) -> io::Result<()> {
    match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, bytes) {
        Ok(()) => Ok(()),
        // Where a file system cannot promise blocks they are written.
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => io::copy(&mut io::repeat(0).take(bytes), &mut &*file).map(drop),
        Err(error) => Err(error.into()),
    }
}

/// Makes a folder and those above it where they are missing, and syncs each folder that got a new one.
///
/// A crash leaves some of them; the same call again makes the rest.
///
/// # Errors
/// Those of the file system; where the name is taken by something else, `AlreadyExists`.
pub fn create_folders(path: &Path) -> io::Result<()> {
    if path.as_os_str().is_empty() || path.is_dir() {
        return Ok(());
    }
    let above = folder_of(path);
    create_folders(above)?;
    match DirBuilder::new().create(path) {
        Ok(()) => sync_folder(above),
        Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Waits until no other holder has the folder locked, and locks it until the returned file is dropped or the process ends.
///
/// Where a file system knows no locks on folders there is none: use it where a lost race is ugly, not wrong.
///
/// # Errors
/// Those of opening the folder.
pub fn lock_folder(path: &Path) -> io::Result<File> {
    let folder = File::open(path)?;
    let _ = folder.lock();
    Ok(folder)
}

/// Bytes that an unprivileged user may still write to the file system of `path`.
///
/// # Errors
/// Those of the file system.
pub fn free_space(path: &Path) -> io::Result<u64> {
    let figures = rustix::fs::statvfs(path)?;
    Ok(figures.f_bavail.saturating_mul(figures.f_frsize))
}

/// What tells one state of one file from another. Times are nanoseconds since 1970, cut to what 64 bits hold.
///
/// Renaming and linking change `changed_ns` on most file systems, and nothing else here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileIdentity {
    /// The file system.
    pub device: u64,
    /// The file in it.
    pub inode: u64,
    /// Bytes.
    pub size: u64,
    /// When the content changed, as far as the owner does not set it otherwise.
    pub modified_ns: i64,
    /// When the content, the name or the rights changed; nobody can set it.
    pub changed_ns: i64,
}

impl FileIdentity {
    /// Of what has this name; a link counts as itself.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn of_path(path: &Path) -> io::Result<Self> {
        Ok(Self::of(&statx_of_path(path)?))
    }

    /// Of an open file.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn of_file(file: &File) -> io::Result<Self> {
        Ok(Self::of(&statx_of_file(file)?))
    }

    fn of(statx: &Statx) -> Self {
        Self {
            device: rustix::fs::makedev(statx.stx_dev_major, statx.stx_dev_minor),
            inode: statx.stx_ino,
            size: statx.stx_size,
            modified_ns: nanoseconds(statx.stx_mtime.tv_sec, statx.stx_mtime.tv_nsec),
            changed_ns: nanoseconds(statx.stx_ctime.tv_sec, statx.stx_ctime.tv_nsec),
        }
    }
}

fn nanoseconds(seconds: i64, nanoseconds: u32) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(i64::from(nanoseconds))
}

/// Why a file that somebody dropped was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A link, a folder, a pipe, a socket or a device.
    #[error("`{path}` is {kind}, not a regular file: put a copy of the file itself there")]
    NotRegular {
        /// Its name, for people.
        path: String,
        /// What it is, with its article.
        kind: &'static str,
    },
    /// The file has other names as well, so that others can change it, or its uploader is just renaming it.
    #[error("`{path}` has {links} names (hard links): put a copy there, or remove the other names")]
    HardLinked {
        /// Its name, for people.
        path: String,
        /// How many names it has.
        links: u32,
    },
    /// The file system refused.
    #[error("cannot open `{path}` ({source}): check that it is there and that eventferry may read it")]
    Io {
        /// Its name, for people.
        path: String,
        /// What it said.
        source: io::Error,
    },
}

/// Opens a regular file with one name for reading. Follows no link at its last name and never blocks, whatever lies there.
///
/// # Errors
/// [`OpenError`] says which of its rules the file breaks, or what the file system said.
pub fn open_regular(path: &Path) -> Result<File, OpenError> {
    let failed = |source: io::Error| OpenError::Io { path: display_name(path), source };
    // Looked at first: opening a pipe or a device can have effects of its own.
    check_regular(path, &statx_of_path(path).map_err(failed)?)?;
    let file = match open_without_following(path) {
        // A link has taken its place.
        Err(error) if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => {
            return Err(OpenError::NotRegular { path: display_name(path), kind: "a symbolic link" });
        }
        file => file.map_err(failed)?,
    };
    check_regular(path, &statx_of_file(&file).map_err(failed)?)?;
    Ok(file)
}

fn check_regular(path: &Path, statx: &Statx) -> Result<(), OpenError> {
    let kind = match FileType::from_raw_mode(statx.stx_mode.into()) {
        FileType::RegularFile if statx.stx_nlink > 1 => {
            return Err(OpenError::HardLinked { path: display_name(path), links: statx.stx_nlink });
        }
        FileType::RegularFile => return Ok(()),
        FileType::Directory => "a folder",
        FileType::Symlink => "a symbolic link",
        FileType::Fifo => "a pipe",
        FileType::Socket => "a socket",
        _ => "a device",
    };
    Err(OpenError::NotRegular { path: display_name(path), kind })
}

fn open_without_following(path: &Path) -> io::Result<File> {
    without_following().read(true).open(path)
}

fn without_following() -> OpenOptions {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY).bits();
    let mut options = OpenOptions::new();
    options.custom_flags(flags.cast_signed());
    options
}

fn are_one_file(one: &Statx, other: &Statx) -> bool {
    let (one, other) = (FileIdentity::of(one), FileIdentity::of(other));
    (one.device, one.inode) == (other.device, other.inode)
}

fn statx_of_path(path: &Path) -> io::Result<Statx> {
    Ok(rustix::fs::statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BASIC_STATS)?)
}

fn statx_of_file(file: &File) -> io::Result<Statx> {
    Ok(rustix::fs::statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)?)
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}
