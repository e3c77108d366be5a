//! Halves of claims that a crash has left, finished or taken back. Nothing that is the only copy is ever removed.

use std::collections::{BTreeSet, HashSet};
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use tracing::{error, info, warn};

use super::blocking;
use super::claim::{Claimed, Found, Note, SOURCE_FILE, Verdict, read_note, take_back};
use super::hooks::{HookError, Hooks};
use super::path::InboxPath;
use super::scan::Folders;
use super::settling::Moment;
use crate::db::DbError;
use crate::fsx;
use crate::model::JobId;

/// What recovery has found in the folder of a job that has no row.
enum Half {
    /// An archive that needs its row; with the lock on its note.
    Adopt(Claimed, Option<File>),
    /// Nothing of value; it was removed.
    TakenBack,
    /// Somebody is working on it.
    Busy,
    /// Things that are not the inbox's.
    Foreign,
}

/// Finishes or takes back every claim of which only a half is there. `settled` keeps the jobs whose rows are known to be
/// there, so that the database is asked once for each. Says which archives got their rows.
///
/// # Errors
/// Where the work folder cannot be read or a hook fails; the same call again goes on.
pub async fn recover(
    folders: &Folders,
    hooks: &Hooks,
    settled: &mut HashSet<JobId>,
    now: Moment,
) -> Result<Vec<JobId>, HookError> {
    let work = folders.work.clone();
    let jobs = blocking(move || jobs_in(&work)).await??;
    settled.retain(|job| jobs.contains(job));
    let mut adopted = Vec::new();
    for job in jobs {
        if settled.contains(&job) {
            continue;
        }
        let folder = folders.work.join(job.to_string());
        let note = blocking(move || read_note(&folder)).await?;
        let note = match note {
            Ok(Found::Locked) => continue,
            Ok(note) => note,
            Err(error) => {
                warn!(job.id = %job, %error, "A claim in the work folder cannot be read");
                continue;
            }
        };
        // Asked with the lock held, so that whoever held it before has written the row or never will.
        if (hooks.is_recorded)(job).await? {
            settled.insert(job);
            continue;
        }
        let all = folders.clone();
        match blocking(move || mend(&all, job, note, now)).await? {
            Ok(Half::Adopt(claimed, lock)) => {
                match (hooks.record)(claimed).await {
                    Ok(()) => warn!(job.id = %job, "Finished a claim that was interrupted"),
                    // Of this one job the database takes no row. The others must not wait for it.
                    Err(error) if !passes(&error) => {
                        error!(job.id = %job, %error, "A claimed archive cannot become a job; it stays in the work folder");
                        continue;
                    }
                    Err(error) => return Err(error),
                }
                drop(lock);
                settled.insert(job);
                adopted.push(job);
            }
            Ok(Half::TakenBack) => info!(job.id = %job, "Took back a claim that was interrupted"),
            Ok(Half::Busy) => {}
            Ok(Half::Foreign) => {
                warn!(job.id = %job, "The work folder has things of a job that is not known");
                settled.insert(job);
            }
            Err(error) => warn!(job.id = %job, %error, "A claim that was interrupted cannot be mended"),
        }
    }
    Ok(adopted)
}

/// Whether the same again may pass.
fn passes(error: &HookError) -> bool {
    error.downcast_ref::<DbError>().is_none_or(|error| error.kind().passes())
}

fn jobs_in(work: &Path) -> io::Result<BTreeSet<JobId>> {
    let entries = match std::fs::read_dir(work) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BTreeSet::new()),
        entries => entries?,
    };
    let mut jobs = BTreeSet::new();
    for entry in entries {
        let entry = entry?;
        if let Some(job) = entry.file_name().to_str().and_then(|name| name.parse().ok())
            && entry.file_type()?.is_dir()
        {
            jobs.insert(job);
        }
    }
    Ok(jobs)
}

fn mend(folders: &Folders, job: JobId, note: Found, now: Moment) -> io::Result<Half> {
    let folder = folders.work.join(job.to_string());
    let source = folder.join(SOURCE_FILE);
    let bytes = match std::fs::symlink_metadata(&source) {
        Ok(metadata) => Some(metadata.len()),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    match (note, bytes) {
        (Found::Locked, _) => Ok(Half::Busy),
        (Found::Whole(note, lock), Some(bytes)) => {
            finish_move(folders, &note, &folder, &source)?;
            Ok(Half::Adopt(note.claimed(bytes), Some(lock)))
        }
        (Found::Torn(lock), Some(bytes)) => Ok(Half::Adopt(without_note(folders, job, bytes, now), Some(lock))),
        (Found::Missing, Some(bytes)) => Ok(Half::Adopt(without_note(folders, job, bytes, now), None)),
        // The lock is held until the folder is gone. The file lies in the inbox, if anywhere, and will be seen again.
        (Found::Whole(..) | Found::Torn(_) | Found::Missing, None) => match take_back(&folder) {
            Ok(()) => Ok(Half::TakenBack),
            Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => Ok(Half::Foreign),
            Err(error) => Err(error),
        },
    }
}

/// Where the file system moves in two steps, the file may still have its name in the inbox as well.
fn finish_move(folders: &Folders, note: &Note, folder: &Path, source: &Path) -> io::Result<()> {
    let Some(path) = note.inbox_path.as_deref().and_then(InboxPath::from_key) else { return Ok(()) };
    let original = path.under(&folders.inbox);
    let (moved, there) = (std::fs::symlink_metadata(source)?, std::fs::symlink_metadata(&original));
    if there.is_ok_and(|there| (there.dev(), there.ino()) == (moved.dev(), moved.ino())) {
        fsx::rename_no_replace(&original, source)?;
    }
    fsx::sync_folder(folder)?;
    match fsx::sync_folder(&path.parent(&folders.inbox)) {
        // The account's folder is gone, and the old name with it.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        synced => synced,
    }
}

fn without_note(folders: &Folders, job: JobId, bytes: u64, now: Moment) -> Claimed {
    Claimed {
        job,
        account: folders.default_account.clone(),
        archive_name: format!("{job}.zip"),
        bytes,
        again: false,
        retry_of: None,
        with_handlers: None,
        verdict: Verdict::Whole,
        seen: now.wall,
        claimed: now.wall,
        remark: Some(
            "The note with this archive's name and account was lost in a crash, so it was imported for the default \
             account under the name of its job. Drop it again in the folder of the right account if it is another's."
                .to_owned(),
        ),
    }
}
