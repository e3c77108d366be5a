//! `[folders]`

use std::path::{Component, Path, PathBuf};

use super::database::DatabaseAddress;
use super::reader::{Reader, Rule};

/// Where everything lies; all paths are absolute.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Folders {
    /// The folder under which relative paths are.
    pub root: PathBuf,
    /// Drops, directly or in a folder per account.
    pub inbox: PathBuf,
    /// Claimed archives while their job runs.
    pub work: PathBuf,
    /// Results and exports.
    pub outbox: PathBuf,
    /// Archives after jobs that succeeded, partly succeeded or found a duplicate.
    pub done: PathBuf,
    /// Archives after jobs that failed or were cancelled.
    pub rejected: PathBuf,
    /// Media by their content.
    pub media: PathBuf,
    /// Mails as files.
    pub mail: PathBuf,
    /// Templates of the admin; need not exist.
    pub templates: PathBuf,
}

impl Folders {
    pub(super) fn read(reader: &mut Reader) -> Self {
        // The root itself is relative to the working folder: nothing is above it yet.
        let root = reader.path("folders.root");
        reader.root.clone_from(&root);
        Self {
            root,
            inbox: reader.path("folders.inbox"),
            work: reader.path("folders.work"),
            outbox: reader.path("folders.outbox"),
            done: reader.path("folders.done"),
            rejected: reader.path("folders.rejected"),
            media: reader.path("folders.media"),
            mail: reader.path("folders.mail"),
            templates: reader.path("folders.templates"),
        }
    }

    /// What is found, claimed, swept or kept in one folder must not turn up in another.
    pub(super) fn check(&self, reader: &mut Reader, database: &DatabaseAddress) {
        let folders = [
            ("folders.inbox", &self.inbox),
            ("folders.work", &self.work),
            ("folders.outbox", &self.outbox),
            ("folders.done", &self.done),
            ("folders.rejected", &self.rejected),
            ("folders.media", &self.media),
            ("folders.mail", &self.mail),
            ("folders.templates", &self.templates),
        ];
        for (index, (key, folder)) in folders.iter().enumerate() {
            for (other_key, other) in folders.iter().skip(index + 1) {
                let (folder, other) = (plain(folder), plain(other));
                let apart = !folder.starts_with(&other) && !other.starts_with(&folder);
                let rule = format!("clashes: `{key}` and `{other_key}` must be apart, not one inside the other");
                let remedy = "give each its own folder, such as the defaults";
                reader.require(&[key, other_key], apart, &Rule::new(rule, remedy));
            }
            if let DatabaseAddress::Sqlite(file) = database {
                let apart = !plain(file).starts_with(plain(folder));
                let rule = format!("clashes: the database file must not lie in `{key}`");
                let remedy = "put the database file into a folder of its own";
                reader.require(&["database.url", key], apart, &Rule::new(rule, remedy));
            }
        }
    }
}

/// The path without `.` and `..`, as far as that can be told without looking at links.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                plain.pop();
            }
            other => plain.push(other),
        }
    }
    plain
}
