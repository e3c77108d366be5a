//! An export run from the folder it is built in to `latest`.
//!
//! `<exports>/<event>/<time>/` holds the files, `SHA256SUMS` and `export.json`. `latest` leads to the newest good run, and
//! `latest-<schedule>` to that of each schedule. A run by hand with fewer formats leaves `latest` where it is, and a private
//! one never takes the place of a public one. A run is built in a folder beside them whose name begins with a dot, and gets
//! its name when everything in it is on the disk.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::render::file_at;
use super::report::{EventExport, ExportedFile};
use crate::clock::Timestamp;
use crate::fsx;
use crate::model::JobId;
use crate::model::export::{BY_HAND, Keep};
use crate::store::jobs::Lease;

/// The name of the list of hashes, as `sha256sum --check` reads it.
pub const SUMS: &str = "SHA256SUMS";

/// The name of the manifest.
pub const MANIFEST: &str = "export.json";

/// The name of the link to the newest good run.
pub(crate) const LATEST: &str = "latest";

/// How the names of folders begin in which runs are built.
const BUILDING: &str = ".building-";

/// How long after its last change a folder that is built in is taken for abandoned.
const ABANDONED_AFTER: Duration = Duration::from_hours(48);

/// Bytes of a schedule's name in the name of its link.
const SCOPE_BYTES: usize = 80;

/// The folders of one event's exports.
#[derive(Clone, Debug)]
pub(crate) struct EventFolder {
    /// Where its runs lie.
    pub(crate) runs: PathBuf,
    /// Where the run of this claim of the job is built.
    pub(crate) building: PathBuf,
    /// How the names of such folders of the job begin.
    of_job: String,
}

impl EventFolder {
    /// The folders of an event below the account's `exports` folder, for a claim of a job. One that is frozen and wakes after
    /// the next claim builds beside it.
    pub(crate) fn of(exports: &Path, event: &str, lease: &Lease) -> Self {
        let runs = exports.join(event);
        let of_job = format!("{BUILDING}{}-", lease.job);
        let building = runs.join(format!("{of_job}{}", lease.epoch));
        Self { runs, building, of_job }
    }

    /// An empty folder to build in. What earlier claims of the job have built is removed.
    ///
    /// # Errors
    /// Where the disk fails.
    pub(crate) fn begin(&self) -> io::Result<()> {
        fsx::create_folders(&self.runs)?;
        for entry in fs::read_dir(&self.runs)? {
            let entry = entry?;
            if entry.file_name().to_str().is_some_and(|name| name.starts_with(&self.of_job)) {
                fs::remove_dir_all(entry.path())?;
            }
        }
        fsx::create_folders(&self.building)
    }

    /// Removes what was built.
    ///
    /// # Errors
    /// Where the disk fails; that nothing is there is none.
    pub(crate) fn discard(&self) -> io::Result<()> {
        match fs::remove_dir_all(&self.building) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }

    /// The manifest of the newest good run of a scope, or else of any.
    pub(crate) fn latest(&self, scope: &str) -> Option<EventExport> {
        let own = own_link(scope).and_then(|link| read_manifest(&self.runs.join(link)));
        own.or_else(|| read_manifest(&self.runs.join(LATEST)))
    }

    /// The run that an interrupted attempt of this job has published.
    pub(crate) fn published_by(&self, job: JobId, began: Timestamp) -> Option<EventExport> {
        let runs = (0..).map(|again| self.runs.join(run_name(began, again))).take_while(|run| run.is_dir());
        runs.filter_map(|run| read_manifest(&run)).find(|found| found.job == job)
    }

    /// The files of a run that still have the bytes they were published with, by path, with their SHA-256. People have the
    /// outbox in their hands.
    pub(crate) fn whole_files(&self, run: &EventExport) -> BTreeMap<String, String> {
        let Some(name) = run_of(run) else { return BTreeMap::new() };
        let folder = self.runs.join(name);
        let files = run.formats.iter().flat_map(|format| &format.files);
        let is_whole = |file: &&ExportedFile| {
            file_at(&folder, &file.path).is_ok_and(|there| (there.bytes, &there.sha256) == (file.bytes, &file.sha256))
        };
        files.filter(is_whole).map(|file| (file.path.clone(), file.sha256.clone())).collect()
    }
}

/// The link to the newest good run of a schedule; exports by hand have none of their own.
fn own_link(scope: &str) -> Option<String> {
    (scope != BY_HAND).then(|| format!("{LATEST}-{}", fsx::safe_component(scope, SCOPE_BYTES)))
}

/// Whether `latest` may lead to a run from now on. A public run takes the place of a private one, never the other way round;
/// else it must be the next one of the same schedule, hold all that is there, or be a schedule's where that is not.
fn may_be_latest(new: &EventExport, latest: Option<&EventExport>) -> bool {
    let Some(latest) = latest else { return true };
    if new.private != latest.private {
        return latest.private;
    }
    let holds = |format| new.formats.iter().any(|made| made.format == format);
    let holds_all = latest.formats.iter().all(|made| holds(made.format));
    let is_scheduled = new.scope != BY_HAND;
    holds_all || (is_scheduled && (new.scope == latest.scope || latest.scope == BY_HAND))
}

/// The name of a run's folder.
pub(crate) fn run_of(run: &EventExport) -> Option<&str> {
    run.folder.as_deref()?.rsplit('/').next()
}

fn read_manifest(folder: &Path) -> Option<EventExport> {
    let text = fs::read_to_string(folder.join(MANIFEST)).ok()?;
    serde_json::from_str(&text).ok()
}

/// The name of a run: when it began, to the second, so that names sort by time.
fn run_name(began: Timestamp, again: u32) -> String {
    let name = began.format("%Y%m%dT%H%M%SZ").to_string();
    if again == 0 { name } else { format!("{name}-{}", again + 1) }
}

/// Whether every file of a run has the bytes of the run before (what is whole of it), and there is none more or less.
pub(crate) fn is_unchanged(new: &EventExport, before: &EventExport, whole: &BTreeMap<String, String>) -> bool {
    let all = new.formats.iter().flat_map(|format| &format.files);
    let files: BTreeMap<String, String> = all.map(|file| (file.path.clone(), file.sha256.clone())).collect();
    let count = before.formats.iter().map(|format| format.files.len()).sum::<usize>();
    files == *whole && count == files.len() && new.private == before.private
}

/// Gives a run that is built its name, and lets `latest` lead to it where it may. Files with the bytes of the run before become links
/// to that run's, so that they are not on the disk twice.
///
/// A crash leaves the folder it is built in, or the run under its name with or without `latest` leading to it; the same
/// call again finishes it.
///
/// # Errors
/// Where the disk fails.
pub(crate) fn publish(
    folder: &EventFolder,
    manifest: &mut EventExport,
    before: Option<&str>,
    began: Timestamp,
) -> io::Result<()> {
    let mut sums = String::new();
    let mut files: Vec<_> = manifest.formats.iter_mut().flat_map(|format| &mut format.files).collect();
    files.sort_by(|one, other| one.path.cmp(&other.path));
    for file in files {
        if file.unchanged {
            let new = folder.building.join(&file.path);
            // Where the run before cannot be linked to, the new file has the same bytes.
            if let Some(before) = before {
                let _ = fsx::replace_with_link(&folder.runs.join(before).join(&file.path), &new);
            }
        }
        sums.push_str(&format!("{}  {}\n", file.sha256, file.path));
    }
    fsx::write_atomic(&folder.building.join(SUMS), sums.as_bytes())?;
    let below = manifest.folder.take().unwrap_or_default();
    let mut again = 0;
    let name = loop {
        let name = run_name(began, again);
        manifest.folder = Some(format!("{below}/{name}"));
        let mut text = serde_json::to_string_pretty(manifest)?;
        text.push('\n');
        fsx::write_atomic(&folder.building.join(MANIFEST), text.as_bytes())?;
        fsx::sync_tree(&folder.building)?;
        match fsx::rename_no_replace(&folder.building, &folder.runs.join(&name)) {
            Ok(()) => break name,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => again += 1,
            Err(error) => return Err(error),
        }
    };
    fsx::sync_folder(&folder.runs)?;
    point_links(folder, manifest, &name)
}

/// Lets the links lead to a run.
///
/// # Errors
/// Where the disk fails.
pub(crate) fn point_links(folder: &EventFolder, manifest: &EventExport, run: &str) -> io::Result<()> {
    if let Some(link) = own_link(&manifest.scope) {
        fsx::replace_symlink(Path::new(run), &folder.runs.join(link))?;
    }
    if may_be_latest(manifest, read_manifest(&folder.runs.join(LATEST)).as_ref()) {
        fsx::replace_symlink(Path::new(run), &folder.runs.join(LATEST))?;
    }
    Ok(())
}

/// Removes runs of this scope that are too many or too old, never one that a link leads to; says how many.
///
/// # Errors
/// Where the folder cannot be read.
pub(crate) fn retain(folder: &EventFolder, scope: &str, keep: Keep, now: Timestamp) -> io::Result<u64> {
    fsx::sweep_temporaries(&folder.runs)?;
    let mut linked: Vec<PathBuf> = Vec::new();
    let mut runs: Vec<String> = Vec::new();
    for entry in fs::read_dir(&folder.runs)? {
        let entry = entry?;
        linked.extend(fs::read_link(entry.path()).ok());
        let name = entry.file_name();
        if name.as_encoded_bytes().starts_with(BUILDING.as_bytes()) && is_abandoned(&entry.path(), now) {
            fs::remove_dir_all(entry.path())?;
        }
        let is_own = || read_manifest(&entry.path()).is_some_and(|run| run.scope == scope);
        if let Some(name) = name.to_str().filter(|name| began_of(name).is_some() && is_own()) {
            runs.push(name.to_owned());
        }
    }
    runs.sort_unstable();
    let newest_first = runs.iter().rev().enumerate();
    let mut removed = 0;
    for (rank, name) in newest_first {
        let is_latest = linked.iter().any(|run| run == Path::new(name));
        let too_many = keep.runs > 0 && rank >= keep.runs as usize;
        let age = began_of(name).and_then(|began| (now - began).to_std().ok()).unwrap_or_default();
        let too_old = keep.days > 0 && age > Duration::from_hours(24) * keep.days;
        if !is_latest && (too_many || too_old) {
            fs::remove_dir_all(folder.runs.join(name))?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// Whether a job that never came back has left the folder.
fn is_abandoned(folder: &Path, now: Timestamp) -> bool {
    let modified = fs::symlink_metadata(folder).and_then(|metadata| metadata.modified());
    modified.is_ok_and(|modified| (now - Timestamp::from(modified)).to_std().is_ok_and(|age| age > ABANDONED_AFTER))
}

/// When a run began, by its name.
fn began_of(name: &str) -> Option<Timestamp> {
    let stamp = name.get(..16)?;
    let rest = name.get(16..)?;
    let is_again = rest.is_empty() || rest.strip_prefix('-').is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit()));
    let at = chrono::NaiveDateTime::parse_from_str(stamp, "%Y%m%dT%H%M%SZ").ok()?;
    is_again.then(|| at.and_utc())
}

/// Counts and hashes what goes through.
pub(crate) struct Hashing<W> {
    inner: W,
    hash: sha2::Sha256,
    bytes: u64,
}

impl<W: Write> Hashing<W> {
    pub(crate) fn new(inner: W) -> Self {
        Self { inner, hash: sha2::Digest::new(), bytes: 0 }
    }

    /// What was written to, how much it was, and its SHA-256 in hex.
    pub(crate) fn finish(self) -> (W, u64, String) {
        (self.inner, self.bytes, crate::storage::hex(&sha2::Digest::finalize(self.hash)))
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        sha2::Digest::update(&mut self.hash, &bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed step fails the test")]
mod tests {
    use super::*;
    use crate::store::jobs::OwnerId;

    #[test]
    fn a_claim_that_has_lost_its_job_does_not_touch_what_the_next_one_builds() {
        let exports = tempfile::tempdir().unwrap();
        let job = JobId(uuid::Uuid::from_u128(1));
        let of = |epoch| {
            EventFolder::of(exports.path(), "harbour", &Lease { job, owner: OwnerId(uuid::Uuid::nil()), epoch })
        };
        let (first, second) = (of(1), of(2));
        first.begin().unwrap();
        fsx::write_atomic(&first.building.join("schedule.ics"), b"half").unwrap();
        second.begin().unwrap();
        assert!(!first.building.exists(), "nobody else would remove it");
        fsx::write_atomic(&second.building.join("schedule.ics"), b"whole").unwrap();
        first.discard().unwrap();
        assert_eq!(fs::read_to_string(second.building.join("schedule.ics")).unwrap(), "whole");
    }
}
