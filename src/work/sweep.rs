//! What is done now and then: media that nothing uses, results and archives that are too old, folders of ended jobs.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use chrono::Days;

use crate::config::{RetentionSection, Settings};
use crate::db::DbError;
use crate::fsx;
use crate::import::Services;
use crate::model::JobId;
use crate::store::{jobs, mails, media, notifications};

use super::sources::WorkFolder;

/// Jobs that are looked for at a time; each is removed in a transaction of its own, with up to ten thousand problems.
const JOBS_AT_ONCE: u64 = 20;

/// What a sweep has removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Media files.
    pub media: u64,
    /// Archives and result folders.
    pub kept_files: u64,
    /// Folders of jobs that have ended.
    pub work_folders: u64,
    /// Rows of jobs that ended long ago, of mails and of notifications.
    pub rows: u64,
}

/// Sweeps once. Media are swept only while no job is unfinished, so that no import can count on a file that goes.
///
/// # Errors
/// Where the database is out of reach.
pub async fn sweep(settings: &Settings, services: &Services) -> Result<Swept, DbError> {
    let mut swept = Swept { work_folders: sweep_work(settings, services).await?, ..Swept::default() };
    if jobs::unfinished(&services.database).await? == 0 {
        for sha256 in services.media.list().unwrap_or_default() {
            let is_used = media::is_used(&services.database, &sha256).await?;
            if !is_used && jobs::unfinished(&services.database).await? == 0 && services.media.remove(&sha256).is_ok() {
                swept.media += 1;
            }
        }
        let _ = services.media.sweep_temporaries();
    }
    let retention = settings.retention.clone();
    let (settings, now) = (settings.clone(), services.clock.now());
    let kept = tokio::task::spawn_blocking(move || {
        let folders = settings.folders();
        let retention = &settings.retention;
        let now = Duration::from_secs(u64::try_from(now.timestamp()).unwrap_or(0));
        retain(&folders.done, 1, retention.done_days, retention.done_bytes, now, kept_since)
            + retain(&folders.rejected, 1, retention.rejected_days, retention.rejected_bytes, now, kept_since)
            + retain(&folders.outbox, 1, retention.results_days, retention.results_bytes, now, kept_since)
            + retain(&folders.mail, 0, retention.mail_days, None, now, kept_since)
    });
    swept.kept_files = kept.await.unwrap_or(0);
    swept.rows = sweep_rows(&retention, services).await?;
    Ok(swept)
}

/// Removes the rows that are kept for no longer.
async fn sweep_rows(retention: &RetentionSection, services: &Services) -> Result<u64, DbError> {
    let (database, now) = (&services.database, services.clock.now());
    let before = |days: Option<u32>| days.and_then(|days| now.checked_sub_days(Days::new(days.into())));
    let mut rows = 0;
    if let Some(before) = before(retention.mail_days) {
        rows += mails::forget(database, before).await? + notifications::forget(database, before).await?;
    }
    if let Some(before) = before(retention.jobs_days) {
        loop {
            let forgotten = jobs::forget(database, before, JOBS_AT_ONCE).await?;
            rows += forgotten;
            if forgotten < JOBS_AT_ONCE {
                break;
            }
        }
    }
    Ok(rows)
}

/// Folders of jobs that have ended hold nothing that is needed; those without a job are the inbox's to recover.
async fn sweep_work(settings: &Settings, services: &Services) -> Result<u64, DbError> {
    let mut swept = 0;
    let work = &settings.folders().work;
    for path in entries(work) {
        let Some(job) = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse::<JobId>().ok())
        else {
            continue;
        };
        let folder = WorkFolder::of(work, job);
        let has_ended = jobs::state_of(&services.database, job).await?.is_some_and(crate::model::JobState::is_final);
        if !has_ended {
            continue;
        }
        if folder.source().exists() {
            // Where the disk was away when its job ended, it was taken for lost.
            jobs::leaves_again(&services.database, job).await?;
        } else if folder.remove().is_ok() {
            swept += 1;
        }
    }
    Ok(swept)
}

/// Removes what lies `depth` folders below `root` and is older than `days`, and the oldest beyond `bytes`. The folder
/// `latest` stays.
fn retain(
    root: &Path,
    depth: usize,
    days: Option<u32>,
    bytes: Option<u64>,
    now: Duration,
    since: fn(&Metadata) -> Duration,
) -> u64 {
    let mut level = vec![root.to_owned()];
    for _ in 0..depth {
        level = level.iter().flat_map(|folder| entries(folder)).filter(|path| path.is_dir()).collect();
    }
    let mut kept: Vec<(Duration, u64, PathBuf)> = Vec::new();
    for path in level.iter().flat_map(|folder| entries(folder)) {
        let is_kept = path.file_name().is_some_and(|name| name == "latest" || name == "exports");
        if let (false, Ok(metadata)) = (is_kept, fs::symlink_metadata(&path)) {
            kept.push((since(&metadata), size_of(&path), path));
        }
    }
    kept.sort();
    let mut total: u64 = kept.iter().map(|(_, size, _)| size).sum();
    let mut removed = 0;
    for (since, size, path) in kept {
        let is_old = days.is_some_and(|days| now.saturating_sub(since) > Duration::from_hours(24) * days);
        let is_too_much = bytes.is_some_and(|bytes| total > bytes);
        if (is_old || is_too_much) && remove(&path).is_ok() {
            total -= size;
            removed += 1;
        }
    }
    removed
}

/// Since when something lies where it lies, after the epoch. An upload may keep the time that its file had long ago; that it
/// was moved here shows in the time of its last change.
fn kept_since(metadata: &Metadata) -> Duration {
    let changed = Duration::from_secs(u64::try_from(metadata.ctime()).unwrap_or(0));
    modified(metadata).max(changed)
}

fn modified(metadata: &Metadata) -> Duration {
    metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok()).unwrap_or_default()
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect()
}

fn size_of(path: &Path) -> u64 {
    let Ok(metadata) = fs::symlink_metadata(path) else { return 0 };
    if metadata.is_dir() { entries(path).iter().map(|path| size_of(path)).sum() } else { metadata.len() }
}

fn remove(path: &Path) -> io::Result<()> {
    if path.is_dir() { fs::remove_dir_all(path) } else { fsx::remove_file(path) }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed step fails the test")]
mod tests {
    use super::*;

    fn files(root: &Path) -> Vec<String> {
        let mut names: Vec<String> = (entries(&root.join("a")).iter())
            .filter_map(|path| path.file_name().map(|name| name.to_string_lossy().into_owned()))
            .collect();
        names.sort();
        names
    }

    #[test]
    fn an_archive_with_an_old_time_is_kept_from_the_day_on_which_it_was_moved_here() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("old.zip");
        let file = fs::File::create(&path).unwrap();
        file.set_modified(UNIX_EPOCH + Duration::from_hours(24)).unwrap();
        let metadata = fs::metadata(&path).unwrap();
        assert_eq!(modified(&metadata), Duration::from_hours(24));
        let now = kept_since(&metadata);
        assert_eq!(retain(root.path(), 0, Some(400), None, now, kept_since), 0);
        assert_eq!(retain(root.path(), 0, Some(400), None, now + Duration::from_hours(24 * 401), kept_since), 1);
    }

    #[test]
    fn what_is_too_old_or_too_much_goes_the_oldest_first_and_latest_stays() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("a/latest")).unwrap();
        for (name, age) in [("old", 500), ("middle", 20), ("new", 10)] {
            let path = root.path().join("a").join(name);
            let file = fs::File::create(&path).unwrap();
            file.set_len(100).unwrap();
            file.set_modified(UNIX_EPOCH + Duration::from_hours(24 * (1000 - age))).unwrap();
        }
        let now = Duration::from_hours(24 * 1000);
        assert_eq!(retain(root.path(), 1, Some(400), None, now, modified), 1);
        assert_eq!(files(root.path()), ["latest", "middle", "new"]);
        assert_eq!(retain(root.path(), 1, None, Some(150), now, modified), 1);
        assert_eq!(files(root.path()), ["latest", "new"]);
        assert_eq!(retain(root.path(), 1, None, None, now, modified), 0);
    }
}
