//! Where a dropped file lies after its job, and what becomes of the job's folder.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::SOURCE_FILE;
use crate::config::Settings;
use crate::fsx;
use crate::import::Services;
use crate::model::JobId;
use crate::model::job::RestingPlace;
use crate::signal::FailPoint;
use crate::store::jobs::{self, SourceToMove};

use super::finish::FinishError;

/// Sources moved in one go.
const AT_ONCE: u64 = 100;

/// Bytes of an archive's name that go into the name of the file that is kept.
const NAME_BYTES: usize = 150;

/// The folder of a claimed archive.
#[derive(Clone, Debug)]
pub struct WorkFolder(PathBuf);

impl WorkFolder {
    /// The folder of a job below the work folder.
    pub fn of(work: &Path, job: JobId) -> Self {
        Self(work.join(job.to_string()))
    }

    /// The claimed archive in it.
    pub fn source(&self) -> PathBuf {
        self.0.join(SOURCE_FILE)
    }

    /// Removes the folder with everything in it but a source.
    ///
    /// # Errors
    /// Where the disk fails.
    pub fn remove(&self) -> io::Result<()> {
        match fs::read_dir(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
            Ok(entries) => {
                for entry in entries {
                    let entry = entry?;
                    if entry.file_name() != SOURCE_FILE {
                        fsx::remove_file(&entry.path())?;
                    }
                }
            }
        }
        match fs::remove_dir(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }
}

/// Moves the dropped files of jobs that have ended (or of this one) to `done/` or `rejected/`, and removes the jobs' folders.
/// What could not be moved now is moved by the next call.
///
/// # Errors
/// Where the database fails; where the disk fails, after the others were moved: another account's folder may be as it should.
pub async fn move_sources(settings: &Settings, services: &Services, of: Option<JobId>) -> Result<u64, MoveError> {
    let mut moved = 0;
    let mut last = None;
    let mut trouble = None;
    loop {
        let sources = jobs::sources_to_move(&services.database, last, of, AT_ONCE).await.map_err(FinishError::from)?;
        last = sources.last().map(|source| source.job);
        if last.is_none() {
            return trouble.map_or(Ok(moved), |reason| Err(MoveError(FinishError::Trouble(reason))));
        }
        for source in sources {
            match move_source(settings, services, &source).await? {
                Ok(()) => moved += 1,
                Err(error) => trouble = trouble.or(Some(format!("`{}`: {error}", source.archive_name))),
            }
        }
    }
}

/// Moves one; the trouble of a disk is the inner error.
async fn move_source(
    settings: &Settings,
    services: &Services,
    source: &SourceToMove,
) -> Result<io::Result<()>, FinishError> {
    let (from, to, kept) = places(settings, source);
    let there = tokio::task::spawn_blocking(move || move_to(&from.source(), &to)).await;
    let is_there = match there.map_err(|error| FinishError::Trouble(error.to_string()))? {
        Ok(is_there) => is_there,
        Err(error) => return Ok(Err(error)),
    };
    if !is_there {
        tracing::warn!(job.id = %source.job, "the archive of a job that has ended is not in the work folder any more");
    }
    services.signals.reach(FailPoint::MovedBeforeRow)?;
    jobs::mark_moved(&services.database, source.job, is_there.then_some(kept.as_str())).await?;
    Ok(WorkFolder::of(&settings.folders().work, source.job).remove())
}

/// Whether the file lies there then: somebody may have taken it away.
fn move_to(from: &Path, to: &Path) -> io::Result<bool> {
    if let Some(folder) = to.parent() {
        fsx::create_folders(folder)?;
    }
    if !from.try_exists()? {
        return to.try_exists();
    }
    match fsx::move_file(from, to) {
        // The job's end and the repeated look may both have come upon it.
        Err(error) if error.kind() == io::ErrorKind::NotFound && to.try_exists()? => Ok(true),
        moved => moved.map(|()| true),
    }
}

/// Why a dropped file was not moved; the next look tries again.
pub struct MoveError(FinishError);

impl std::fmt::Debug for MoveError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl std::fmt::Display for MoveError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            FinishError::LeaseLost => f.write_str("the process is to stop here"),
            FinishError::Trouble(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for MoveError {}

impl From<FinishError> for MoveError {
    fn from(error: FinishError) -> Self {
        Self(error)
    }
}

impl From<MoveError> for FinishError {
    fn from(error: MoveError) -> Self {
        error.0
    }
}

/// Where a file lies, where it goes, and what the job's row says of that: a path below the root.
fn places(settings: &Settings, source: &SourceToMove) -> (WorkFolder, PathBuf, String) {
    let folders = settings.folders();
    let place = match source.state.resting_place() {
        RestingPlace::Done => &folders.done,
        RestingPlace::Rejected => &folders.rejected,
    };
    let name = kept_name(&source.archive_name, source.job);
    let to = place.join(fsx::safe_component(&source.account, NAME_BYTES)).join(name);
    let kept = to.strip_prefix(&folders.root).unwrap_or(&to).display().to_string();
    (WorkFolder::of(&folders.work, source.job), to, kept)
}

/// The archive's name with the job's id in it.
fn kept_name(archive_name: &str, job: JobId) -> String {
    let stem = match archive_name.len().checked_sub(4).and_then(|at| archive_name.split_at_checked(at)) {
        Some((stem, ending)) if ending.eq_ignore_ascii_case(".zip") => stem,
        _ => archive_name,
    };
    format!("{}_{job}.zip", fsx::safe_component(stem, NAME_BYTES))
}
