//! What lies in the inbox: one look at its folder and at the accounts' folders in it.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::path::{Ignored, InboxPath};
use super::settling::RefusalCode;
use crate::fsx::FileIdentity;

/// Most names that one call of [`page`] keeps in memory.
pub const PAGE: usize = 10_000;

/// Where drops are looked for and whose they are.
#[derive(Clone, Debug)]
pub struct Folders {
    /// The inbox; an absolute path.
    pub inbox: PathBuf,
    /// Where claimed archives lie, on the same file system; an absolute path.
    pub work: PathBuf,
    /// Accounts that exist.
    pub accounts: BTreeSet<String>,
    /// The account of what lies in the inbox itself.
    pub default_account: String,
    /// Names that are no drops.
    pub ignored: Ignored,
}

/// Which folder it is, even where another one takes its name (and, on some file systems, its inode number) later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FolderIdentity {
    /// The device.
    pub dev: u64,
    inode: u64,
    born: Option<SystemTime>,
}

impl FolderIdentity {
    /// Of a folder's own metadata.
    pub fn of(metadata: &Metadata) -> Self {
        Self { dev: metadata.dev(), inode: metadata.ino(), born: metadata.created().ok() }
    }
}

/// Something in the inbox that is no ignored name and no account's folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sight {
    /// Where.
    pub path: InboxPath,
    /// What it was at that moment.
    pub identity: FileIdentity,
}

/// A part of what lies in the inbox.
#[derive(Debug, Default)]
pub struct Page {
    /// In the order of their paths.
    pub sights: Vec<Sight>,
    /// What could not be looked at; told to the admin.
    pub unreadable: Vec<(InboxPath, io::Error)>,
    /// Where the next page begins; none where this was the last.
    pub next: Option<InboxPath>,
}

/// The folders to watch and to read: the inbox itself, as none, and those of accounts that are there.
///
/// # Errors
/// Where the inbox itself is not there or cannot be looked at.
pub(super) fn folders(folders: &Folders) -> io::Result<Vec<(Option<String>, FolderIdentity)>> {
    let mut there = vec![(None, FolderIdentity::of(&std::fs::metadata(&folders.inbox)?))];
    for account in &folders.accounts {
        // A link of that name is no folder: whoever may write to the inbox could let it point anywhere.
        if let Ok(metadata) = std::fs::symlink_metadata(folders.inbox.join(account))
            && metadata.is_dir()
        {
            there.push((Some(account.clone()), FolderIdentity::of(&metadata)));
        }
    }
    Ok(there)
}

/// Reads up to `limit` names behind `after`, in the order of [`InboxPath`]. Whatever stands in the way of one account's folder
/// does not keep the others from being read.
///
/// # Errors
/// Where the inbox itself cannot be read.
pub fn page(folders: &Folders, after: Option<&InboxPath>, limit: usize) -> io::Result<Page> {
    let mut page = Page::default();
    if after.is_none_or(|after| after.folder.is_none()) {
        let behind = after.map(|after| after.name.as_os_str());
        let names = names(&folders.inbox, behind, limit, |name| {
            folders.ignored.covers(name) || is_account_folder(folders, name)
        })?;
        page.look_at_all(folders, None, names, limit);
    }
    for account in &folders.accounts {
        if page.next.is_some() {
            break;
        }
        let behind = match after.and_then(|after| after.folder.as_ref().map(|folder| (folder, &after.name))) {
            Some((folder, _)) if account < folder => continue,
            Some((folder, name)) if account == folder => Some(name.as_os_str()),
            _ => None,
        };
        let path = folders.inbox.join(account);
        if !is_account_folder(folders, account.as_ref()) {
            continue;
        }
        let room = limit - page.sights.len();
        match names(&path, behind, room, |name| folders.ignored.covers(name)) {
            Ok(names) => page.look_at_all(folders, Some(account), names, room),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => page.unreadable.push((InboxPath::new(None, account.clone()), error)),
        }
    }
    Ok(page)
}

impl Page {
    fn look_at_all(&mut self, folders: &Folders, folder: Option<&str>, names: BTreeSet<OsString>, room: usize) {
        let full = names.len() == room;
        if full {
            self.next = Some(names.last().map_or_else(
                || InboxPath { folder: folder.map(str::to_owned), name: OsString::new() },
                |last| InboxPath::new(folder, last.clone()),
            ));
        }
        for name in names {
            let path = InboxPath::new(folder, name);
            match look(&folders.inbox, &path) {
                Ok(Some(identity)) => self.sights.push(Sight { path, identity }),
                Ok(None) => {}
                Err(error) => self.unreadable.push((path, error)),
            }
        }
    }
}

/// What lies at `path` now, without opening it or following links; none where nothing does.
///
/// # Errors
/// Where its folder may not be searched.
pub(super) fn look(inbox: &Path, path: &InboxPath) -> io::Result<Option<FileIdentity>> {
    match FileIdentity::of_path(&path.under(inbox)) {
        Ok(identity) => Ok(Some(identity)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether a name in the inbox is the folder of an account, and not a file or a link of that name.
pub(super) fn is_account_folder(folders: &Folders, name: &OsStr) -> bool {
    name.to_str().is_some_and(|name| folders.accounts.contains(name))
        && std::fs::symlink_metadata(folders.inbox.join(name)).is_ok_and(|metadata| metadata.is_dir())
}

/// Says why something that is no file, judged by its metadata, is refused; none for a regular file, and for a folder without
/// content, of which nobody need hear.
///
/// # Errors
/// Where it is gone or its folder may not be searched.
pub(super) fn refusal(folders: &Folders, path: &InboxPath) -> io::Result<Option<(RefusalCode, String)>> {
    let full = path.under(&folders.inbox);
    let file_type = std::fs::symlink_metadata(&full)?.file_type();
    if file_type.is_file() {
        return Ok(None);
    }
    if file_type.is_dir() {
        // A folder that cannot be read is told of as well: nobody knows what waits in it.
        if !has_content(&full, &folders.ignored).unwrap_or(true) {
            return Ok(None);
        }
        return Ok(Some(match &path.folder {
            None => (
                RefusalCode::UnknownAccount,
                "this folder belongs to no account; add the account to the configuration, or move the files to the \
                 folder of an account"
                    .to_owned(),
            ),
            Some(folder) => (
                RefusalCode::Subfolder,
                format!(
                    "files in a folder within an account's folder are not imported; move them to `{folder}/` itself"
                ),
            ),
        }));
    }
    let kind = if file_type.is_symlink() {
        "a symbolic link"
    } else if file_type.is_fifo() {
        "a named pipe"
    } else if file_type.is_socket() {
        "a socket"
    } else {
        "a device"
    };
    Ok(Some((RefusalCode::NotARegularFile, format!("this is {kind}, not a file; it is left alone, remove it"))))
}

fn has_content(folder: &Path, ignored: &Ignored) -> io::Result<bool> {
    for entry in std::fs::read_dir(folder)? {
        if !ignored.covers(&entry?.file_name()) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The `limit` smallest names behind `behind`. The whole folder is read, but never more than that kept.
fn names(
    folder: &Path,
    behind: Option<&OsStr>,
    limit: usize,
    left_out: impl Fn(&OsStr) -> bool,
) -> io::Result<BTreeSet<OsString>> {
    let mut names = BTreeSet::new();
    if limit == 0 {
        return Ok(names);
    }
    for entry in std::fs::read_dir(folder)? {
        let name = entry?.file_name();
        let too_late = names.len() == limit && names.last().is_some_and(|last| *last <= name);
        if too_late || behind.is_some_and(|behind| name.as_os_str() <= behind) || left_out(&name) {
            continue;
        }
        names.insert(name);
        if names.len() > limit {
            names.pop_last();
        }
    }
    Ok(names)
}
