//! The result files of a job: a pure function of its [`Report`], so that a retry after a crash writes the same bytes.
//!
//! `docs/results.md` describes them for those who read them, `docs/result.schema.json` describes `result.json`.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Write};
use std::path::Path;

use serde::Deserialize;

use crate::clock::Timestamp;
use crate::fsx::{self, AtomicFile};
use crate::model::{JobId, Report};

mod errors;
mod layout;
mod reserve;
#[cfg(test)]
mod sample;
mod schema;
mod status;
#[cfg(test)]
mod tests;
mod text;

pub use errors::write_errors;
pub use reserve::Reserve;
pub use schema::result_schema;
pub use status::{STATUS_VERSION, Status, StatusOutcome, StatusWriter};
pub use text::{RejectedZip, write_text};

/// The report itself; the last file to appear.
pub const RESULT_FILE: &str = "result.json";
/// The report for people.
pub const TEXT_FILE: &str = "report.txt";
/// The problems for a spreadsheet.
pub const ERRORS_FILE: &str = "errors.csv";
/// The records that were left out, to be corrected and dropped again.
pub const REJECTED_FILE: &str = "rejected.zip";
/// What the job does at the moment; gone when it has ended.
pub const STATUS_FILE: &str = "status.json";
/// The folder of each account that keeps the newest result of each archive name.
pub const LATEST_FOLDER: &str = "latest";

/// Longest part of a folder's name that comes from an archive's name, in bytes.
const ARCHIVE_BYTES: usize = 120;

/// The result folder of a job below the outbox: `<account>/<time>_<archive>_<job>`.
///
/// The same job has the same folder however often it is asked for, as long as `started` is the same.
pub fn folder_name(account: &str, archive_name: &str, started: Timestamp, job: JobId) -> String {
    let account = fsx::safe_component(account, ARCHIVE_BYTES);
    format!("{account}/{}_{}_{job}", started.format("%Y%m%dT%H%M%SZ"), archive_component(archive_name))
}

/// The newest result of an archive name, below the outbox: `<account>/latest/<archive>.json`.
pub fn latest_name(account: &str, archive_name: &str) -> String {
    let account = fsx::safe_component(account, ARCHIVE_BYTES);
    format!("{account}/{LATEST_FOLDER}/{}.json", archive_component(archive_name))
}

fn archive_component(archive_name: &str) -> String {
    let stem = match archive_name.char_indices().rev().nth(3) {
        Some((start, _)) if archive_name[start..].eq_ignore_ascii_case(".zip") => &archive_name[..start],
        _ => archive_name,
    };
    fsx::safe_component(stem, ARCHIVE_BYTES)
}

/// Writes the result files of a job that has ended into `outbox/folder` (the name from [`folder_name`]), then the copy
/// under `latest`, and removes `status.json`. `rejected.zip`, where there is one, must lie there already.
///
/// Each file is whole or absent, `result.json` the last of the folder. A crash leaves those that were written and perhaps
/// a temporary; the same call again gives the same files and nothing else.
///
/// # Errors
/// Those of the file system.
pub fn write(outbox: &Path, folder: &str, report: &Report, now: Timestamp) -> io::Result<()> {
    let folder = outbox.join(folder);
    fsx::create_folders(&folder)?;
    fsx::sweep_temporaries(&folder)?;
    let rejected = if fs::exists(folder.join(REJECTED_FILE))? { RejectedZip::Beside } else { RejectedZip::None };
    write_file(&folder.join(TEXT_FILE), |out| write_text(out, report, rejected))?;
    write_file(&folder.join(ERRORS_FILE), |out| write_errors(out, &report.problems))?;
    write_file(&folder.join(RESULT_FILE), |out| write_result(out, report))?;
    write_latest(&outbox.join(latest_name(&report.account, &report.archive.name)), report, now)?;
    fsx::remove_file(&folder.join(STATUS_FILE))
}

fn write_file(path: &Path, content: impl FnOnce(&mut BufWriter<AtomicFile>) -> io::Result<()>) -> io::Result<()> {
    let mut out = BufWriter::new(AtomicFile::create(path)?);
    content(&mut out)?;
    out.into_inner().map_err(io::IntoInnerError::into_error)?.commit()
}

fn write_result(out: &mut impl Write, report: &Report) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, report)?;
    out.write_all(b"\n")
}

/// What decides which of two results is the newer one.
#[derive(Deserialize, PartialEq, Eq, PartialOrd, Ord)]
struct Age {
    finished: Timestamp,
    job: JobId,
}

/// A job that repeats its files after a crash must not push out the result of one that ended after it. One from a time that is
/// still to come was written under a clock that has been set back since.
fn write_latest(path: &Path, report: &Report, now: Timestamp) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fsx::create_folders(folder)?;
    fsx::sweep_temporaries(folder)?;
    let _locked = fsx::lock_folder(folder)?;
    let age = Age { finished: report.finished, job: report.job };
    match age_of(path)? {
        Some(present) if present > age && present.finished <= now => Ok(()),
        _ => write_file(path, |out| write_result(out, report)),
    }
}

/// None where there is no result, or a file that is none and may be replaced.
fn age_of(path: &Path) -> io::Result<Option<Age>> {
    match File::open(path) {
        Ok(file) => match serde_json::from_reader(BufReader::new(file)) {
            Ok(age) => Ok(Some(age)),
            Err(error) if error.is_io() => Err(error.into()),
            Err(_) => Ok(None),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
