//! The check alone, without a database or a job: what fuzzing and its tests hold against arbitrary bytes.

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::path::Path;

use chrono_tz::Tz;

use super::check::{self, CheckError, CheckInput, Checked};
use super::source::{self, ReadError};
use super::{Head, head};
use crate::archive::{Archive, Limits, OpenError};
use crate::model::{Dataset, Problem};

/// Checks an archive as an import into a new event does, and gives every problem that it finds, in the order of the archive. An
/// archive that is refused as a whole has the one problem that says why.
///
/// Bookkeeping that grows with the archive goes to files without names in `scratch`. The file must not change meanwhile.
///
/// # Errors
/// Those of the disk; whatever the bytes are, they are a problem and no error.
pub fn examine(file: File, limits: &Limits, scratch: &Path) -> io::Result<Vec<Problem>> {
    let archive = match Archive::open(file, limits) {
        Ok(archive) => archive,
        Err(OpenError::Fault(fault)) => return Ok(vec![source::problem_of(&fault)]),
        Err(OpenError::Io(error)) => return Err(error),
    };
    let layout = source::layout(&archive);
    let head = match head::read(&archive, &layout, limits) {
        Ok(head) => head,
        Err(ReadError::Archive(problem) | ReadError::File(problem) | ReadError::Stopped(problem)) => {
            return Ok(vec![problem]);
        }
        Err(ReadError::Io(error)) => return Err(error),
    };
    let input = CheckInput {
        archive: &archive,
        layout: &layout,
        limits,
        scratch,
        zone: head.event.as_ref().and_then(|event| event.zone).unwrap_or(Tz::UTC),
        is_supplement: head.directives.supplement_of.is_some(),
        known: &|_: Dataset, _: Vec<String>| Ok(HashSet::new()),
        step: &|_: Dataset, _: u64| Ok(()),
    };
    match check::check(&input) {
        Ok(checked) => Ok(all_problems(checked, head)),
        Err(CheckError::Refused(problem)) => Ok(vec![*problem]),
        Err(CheckError::Io(error)) => Err(error),
        Err(CheckError::Db(error)) => Err(io::Error::other(error)),
        Err(CheckError::Stopped(_)) => Err(io::Error::other("nobody has stopped it")),
    }
}

fn all_problems(mut checked: Checked, head: Head) -> Vec<Problem> {
    for problem in head.problems {
        checked.problems.add(problem);
    }
    checked.problems.list()
}
