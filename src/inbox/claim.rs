//! From the inbox to a job: `work/<job>/claim.json`, then `work/<job>/source.zip`, then the job's row.
//!
//! While a claim is under way its process holds a lock on `claim.json`, which ends with the process: a recovery that gets
//! the lock has found a half that nobody will finish.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::path::{InboxPath, escape};
use super::scan::Folders;
use super::settling::{Moment, RefusalCode};
use crate::clock::Timestamp;
use crate::fsx::{self, AtomicFile, FileIdentity};
use crate::model::JobId;
use crate::signal::{FailPoint, Injected, Injection, Signals};

/// The version of `claim.json`.
const VERSION: u32 = 1;

/// The note beside a claimed archive.
pub(super) const CLAIM_FILE: &str = "claim.json";

/// The claimed archive.
pub(super) const SOURCE_FILE: &str = "source.zip";

/// Longest `claim.json` that is read, in bytes: two names of 255 bytes, escaped, and then some.
const CLAIM_BYTES: u64 = 64 * 1024;

/// What the inbox knows of an archive before it is a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// A whole zip, or what a command was told to import: the check says the rest.
    Whole,
    /// It begins like a zip and stayed incomplete for too long: the job fails with `INCOMPLETE`.
    Incomplete,
    /// It stayed empty for too long: the job fails with `EMPTY_FILE`.
    Empty,
    /// It does not begin like a zip: the job fails with `NOT_A_ZIP`.
    NotZip,
}

/// An archive that lies in `work/<job>/source.zip` and needs its job row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimed {
    /// The job it becomes.
    pub job: JobId,
    /// Whose it is.
    pub account: String,
    /// The name it was dropped under, to be shown.
    pub archive_name: String,
    /// Its size.
    pub bytes: u64,
    /// Whether equal bytes are to be imported once more.
    pub again: bool,
    /// The job that this one repeats.
    pub retry_of: Option<JobId>,
    /// Whether handlers are called; none where the archive or its account says so.
    pub with_handlers: Option<bool>,
    /// What is known of it.
    pub verdict: Verdict,
    /// When it was first seen.
    pub seen: Timestamp,
    /// When it was claimed.
    pub claimed: Timestamp,
    /// A sentence for the report, where the claim had to be pieced together.
    pub remark: Option<String>,
}

/// A claim whose row is still to be written. The lock on it lasts until this is dropped.
#[derive(Debug)]
pub struct Held {
    /// What the row says.
    pub claimed: Claimed,
    lock: File,
}

impl Held {
    /// Gives up the lock, once the row is there.
    pub fn release(self) {
        drop(self.lock);
    }
}

/// A settled file that is to be claimed.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Where it lies.
    pub path: InboxPath,
    /// What it was when it was found to be ready.
    pub identity: FileIdentity,
    /// What is known of it.
    pub verdict: Verdict,
    /// When it was first seen.
    pub seen: Timestamp,
}

/// Why a file was not claimed. It lies where it was.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// It is not there any more.
    #[error("the file is gone")]
    Gone,
    /// It is another file than the one that was looked at, or has grown.
    #[error("the file has changed")]
    Changed,
    /// It cannot be moved.
    #[error("{1}")]
    Refused(RefusalCode, String),
    /// The work folder fails: nothing can be claimed until that is mended.
    #[error("cannot claim into `{folder}`: {source}; check that eventferry may write there and that there is room")]
    Work {
        /// The folder of the claim.
        folder: String,
        /// What the file system said.
        source: io::Error,
    },
    /// A test has asked for it.
    #[error(transparent)]
    Injected(#[from] Injected),
}

/// `claim.json`
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Note {
    version: u32,
    pub(super) job: JobId,
    pub(super) account: String,
    /// Where it lay in the inbox, as [`InboxPath::key`]; none where a command brought it.
    pub(super) inbox_path: Option<String>,
    /// The name to be shown.
    pub(super) archive_name: String,
    /// The name's bytes, what cannot be shown as `\xNN`.
    archive_name_bytes: String,
    again: bool,
    /// The job that this one repeats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retry_of: Option<JobId>,
    /// Whether handlers are called, where a command has said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    with_handlers: Option<bool>,
    verdict: Verdict,
    seen: Timestamp,
    claimed: Timestamp,
    /// What the file was before it was moved.
    pub(super) identity: NotedIdentity,
}

/// A [`FileIdentity`] as it is written down.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct NotedIdentity {
    pub(super) device: u64,
    pub(super) inode: u64,
    size: u64,
    modified_ns: i64,
    changed_ns: i64,
}

impl Note {
    /// What the row says of an archive of `bytes`.
    pub(super) fn claimed(self, bytes: u64) -> Claimed {
        Claimed {
            job: self.job,
            account: self.account,
            archive_name: self.archive_name,
            bytes,
            again: self.again,
            retry_of: self.retry_of,
            with_handlers: self.with_handlers,
            verdict: self.verdict,
            seen: self.seen,
            claimed: self.claimed,
            remark: None,
        }
    }
}

/// Claims a file of the inbox: when it returns, the file lies in `work/<job>/source.zip` and every step is on the disk.
///
/// A crash leaves a half that [`super::recover`] finishes or takes back.
///
/// # Errors
/// [`ClaimError`]; the file then lies where it was.
pub fn take(
    folders: &Folders,
    candidate: &Candidate,
    job: JobId,
    now: Moment,
    signals: &Signals,
) -> Result<Held, ClaimError> {
    let folder = folders.work.join(job.to_string());
    let failed = |source| ClaimError::Work { folder: fsx::display_name(&folder), source };
    let note = Note {
        version: VERSION,
        job,
        account: candidate.path.account(&folders.default_account).to_owned(),
        inbox_path: Some(candidate.path.key()),
        archive_name: fsx::display_name(&candidate.path.name),
        archive_name_bytes: escape(candidate.path.name.as_bytes()),
        again: false,
        retry_of: None,
        with_handlers: None,
        verdict: candidate.verdict,
        seen: candidate.seen,
        claimed: now.wall,
        identity: noted(candidate.identity),
    };
    let lock = begin(&folders.work, &folder, &note).map_err(failed)?;
    let moved = signals
        .reach(FailPoint::ClaimBeforeRename)
        .map_err(ClaimError::from)
        .and_then(|()| move_in(folders, candidate, &folder));
    match moved {
        Ok(bytes) => {
            signals.reach(FailPoint::ClaimAfterRename)?;
            Ok(Held { claimed: note.claimed(bytes), lock })
        }
        Err(ClaimError::Injected(injected)) if injected.injection == Injection::Die => Err(injected.into()),
        Err(error) => {
            // What cannot be taken back now is taken back by the next recovery.
            let _ = take_back(&folder);
            Err(error)
        }
    }
}

/// Copies a file that lies anywhere into `work/<job>/source.zip`; the original stays where it is.
///
/// A crash leaves a half copy that [`super::recover`] removes.
///
/// # Errors
/// Where the original is no regular file or cannot be read, or the work folder fails. Nothing is left over then.
pub fn copy_in(work: &Path, original: &Path, order: &CopyOrder<'_>, now: Moment) -> io::Result<Held> {
    // Looked at first: opening a pipe would wait for somebody to write to it.
    if !std::fs::metadata(original)?.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "this is not a regular file"));
    }
    let mut source = File::open(original)?;
    let name = original.file_name().unwrap_or_default();
    let note = Note {
        version: VERSION,
        job: order.job,
        account: order.account.to_owned(),
        inbox_path: None,
        archive_name: order.archive_name.map_or_else(|| fsx::display_name(name), str::to_owned),
        archive_name_bytes: escape(name.as_bytes()),
        again: order.again,
        retry_of: order.retry_of,
        with_handlers: order.with_handlers,
        verdict: Verdict::Whole,
        seen: now.wall,
        claimed: now.wall,
        identity: noted(FileIdentity::of_file(&source)?),
    };
    let folder = work.join(order.job.to_string());
    let lock = begin(work, &folder, &note)?;
    let copied = AtomicFile::create(&folder.join(SOURCE_FILE)).and_then(|mut copy| {
        let bytes = io::copy(&mut source, &mut copy)?;
        copy.commit_new()?;
        Ok(bytes)
    });
    match copied {
        Ok(bytes) => Ok(Held { claimed: note.claimed(bytes), lock }),
        Err(error) => {
            // Nothing but the copy is lost with it; what cannot be removed now is removed by the next recovery.
            let _ = std::fs::remove_file(folder.join(SOURCE_FILE));
            let _ = take_back(&folder);
            Err(error)
        }
    }
}

/// What a command wants imported.
#[derive(Clone, Copy, Debug)]
pub struct CopyOrder<'a> {
    /// The job it becomes.
    pub job: JobId,
    /// Whose it is.
    pub account: &'a str,
    /// The name to be shown; none where it is the file's own.
    pub archive_name: Option<&'a str>,
    /// Whether equal bytes are to be imported once more.
    pub again: bool,
    /// The job that this one repeats.
    pub retry_of: Option<JobId>,
    /// Whether handlers are called; none where the archive or its account says so.
    pub with_handlers: Option<bool>,
}

fn noted(identity: FileIdentity) -> NotedIdentity {
    NotedIdentity {
        device: identity.device,
        inode: identity.inode,
        size: identity.size,
        modified_ns: identity.modified_ns,
        changed_ns: identity.changed_ns,
    }
}

/// Makes the folder of the claim and writes its note, locked.
fn begin(work: &Path, folder: &Path, note: &Note) -> io::Result<File> {
    fsx::create_folders(work)?;
    let text = serde_json::to_vec_pretty(note)?;
    // Another process may take the folder for a leftover until the note is locked; it does so at most once.
    for _ in 0..3 {
        match DirBuilder::new().mode(0o750).create(folder) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let path = folder.join(CLAIM_FILE);
        let mut file = match OpenOptions::new().write(true).create_new(true).open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            file => file?,
        };
        if !lock(&file, &path)? {
            continue;
        }
        let written = file
            .write_all(&text)
            .and_then(|()| file.sync_all())
            .and_then(|()| fsx::sync_folder(folder))
            .and_then(|()| fsx::sync_folder(work));
        return match written {
            Ok(()) => Ok(file),
            Err(error) => {
                let _ = take_back(folder);
                Err(error)
            }
        };
    }
    Err(io::Error::new(ErrorKind::ResourceBusy, "another process keeps removing the folder"))
}

/// Locks `file`; false where somebody else has the lock or `path` is not that file any more.
pub(super) fn lock(file: &File, path: &Path) -> io::Result<bool> {
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(false),
        // A file system without locks serves one daemon only, which never recovers what it is claiming.
        Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Unsupported => return Ok(true),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    let held = file.metadata()?;
    match std::fs::symlink_metadata(path) {
        Ok(there) => Ok((there.dev(), there.ino()) == (held.dev(), held.ino())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Moves the file and makes sure that it is the one that was looked at; says its size.
fn move_in(folders: &Folders, candidate: &Candidate, folder: &Path) -> Result<u64, ClaimError> {
    let original = candidate.path.under(&folders.inbox);
    let source = folder.join(SOURCE_FILE);
    fsx::rename_no_replace(&original, &source).map_err(|error| refused_move(error, folder))?;
    let wanted = candidate.identity;
    match FileIdentity::of_path(&source) {
        // The move itself has changed `changed_ns`.
        Ok(moved) if FileIdentity { changed_ns: wanted.changed_ns, ..moved } == wanted => {}
        // Somebody has put another file there, or goes on writing. Only where the name is taken again does it stay:
        // it then becomes a job, whose check will see what it is.
        _ => {
            if fsx::rename_no_replace(&source, &original).is_ok() {
                return Err(ClaimError::Changed);
            }
        }
    }
    let failed = |source| ClaimError::Work { folder: fsx::display_name(folder), source };
    let synced = fsx::sync_folder(folder).and_then(|()| fsx::sync_folder(&candidate.path.parent(&folders.inbox)));
    let bytes = synced.and_then(|()| std::fs::symlink_metadata(&source)).map(|metadata| metadata.len());
    // The file stays in the work folder, where the next recovery finds it.
    bytes.map_err(failed)
}

fn refused_move(error: io::Error, folder: &Path) -> ClaimError {
    match error.kind() {
        ErrorKind::NotFound => ClaimError::Gone,
        ErrorKind::CrossesDevices => ClaimError::Refused(
            RefusalCode::OtherFileSystem,
            "the inbox and the work folder lie on different file systems, so the file cannot be moved; put both on one"
                .to_owned(),
        ),
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem | ErrorKind::ResourceBusy => ClaimError::Refused(
            RefusalCode::Permission,
            format!(
                "the file cannot be moved out of the inbox ({error}); let eventferry write to its folder, and check for \
                 a sticky folder or an immutable file"
            ),
        ),
        _ => ClaimError::Work { folder: fsx::display_name(folder), source: error },
    }
}

/// Removes the note and the folder of a claim that has no archive; fails, and removes nothing more, where it has one.
pub(super) fn take_back(folder: &Path) -> io::Result<()> {
    if folder.join(SOURCE_FILE).symlink_metadata().is_ok() {
        return Err(ErrorKind::DirectoryNotEmpty.into());
    }
    fsx::sweep_temporaries(folder)?;
    fsx::remove_file(&folder.join(CLAIM_FILE))?;
    match std::fs::remove_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// A note as it was found.
#[derive(Debug)]
pub(super) enum Found {
    /// Somebody is working on it.
    Locked,
    /// It is whole; with the lock on it.
    Whole(Box<Note>, File),
    /// It is torn; with the lock on it.
    Torn(File),
    /// There is none.
    Missing,
}

/// Reads the note in the folder of a claim and locks it.
pub(super) fn read_note(folder: &Path) -> io::Result<Found> {
    let path: PathBuf = folder.join(CLAIM_FILE);
    // Open for writing, since network file systems lock only such files.
    let mut file = match OpenOptions::new().read(true).write(true).open(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Found::Missing),
        file => file?,
    };
    if !lock(&file, &path)? {
        return Ok(Found::Locked);
    }
    let mut text = Vec::new();
    (&mut file).take(CLAIM_BYTES).read_to_end(&mut text)?;
    Ok(match serde_json::from_slice::<Note>(&text) {
        Ok(note) if note.version == VERSION => Found::Whole(Box::new(note), file),
        _ => Found::Torn(file),
    })
}
