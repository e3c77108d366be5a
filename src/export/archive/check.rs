//! The finished archive, read as an import would read it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;

use crate::archive::{Archive, Limits, OpenError, ReadError};
use crate::export::program::{RenderError, Rendered};
use crate::format::split::Bounds;
use crate::format::{Piece, SplitError, Splitter, Top};
use crate::model::Dataset;

/// What is in an archive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Records by dataset.
    pub records: BTreeMap<Dataset, u64>,
    /// Files that hold no records.
    pub others: u64,
}

/// Reads every byte of an archive that was rendered against its checksums, and counts its records.
///
/// # Errors
/// [`RenderError::Invalid`] where an import would not take it whole or it does not hold what was rendered,
/// [`RenderError::Write`] where the disk fails.
pub fn check(file: File, limits: &Limits, rendered: &Rendered) -> Result<Checked, RenderError> {
    let archive = Archive::open(file, limits).map_err(|error| match error {
        OpenError::Io(error) => RenderError::Write(error),
        OpenError::Fault(fault) => RenderError::Invalid(fault.message),
    })?;
    let mut checked = Checked::default();
    let mut buffer = vec![0; 128 * 1024];
    for (index, entry) in archive.entries().iter().enumerate() {
        let mut reader = archive.reader(index).map_err(|error| match error {
            ReadError::Io(error) => RenderError::Write(error),
            ReadError::Fault(fault) => RenderError::Invalid(fault.message),
        })?;
        match Dataset::of_file(&entry.path) {
            Some(dataset) => {
                let count = count_records(reader, dataset, limits)?;
                checked.records.insert(dataset, count);
            }
            None => {
                while reader.read(&mut buffer).map_err(of_reader)? > 0 {}
                checked.others += 1;
            }
        }
    }
    for (dataset, expected) in [(Dataset::Sessions, rendered.sessions), (Dataset::Speakers, rendered.speakers)] {
        let found = checked.records.get(&dataset).copied();
        if found != Some(expected) {
            let found = found.unwrap_or(0);
            return Err(RenderError::Invalid(format!("it has {found} {dataset}, and {expected} were written")));
        }
    }
    Ok(checked)
}

fn count_records(reader: impl Read, dataset: Dataset, limits: &Limits) -> Result<u64, RenderError> {
    let bounds = Bounds { bytes: limits.record_bytes, depth: limits.json_depth };
    let top = if dataset == Dataset::Event { Top::Object } else { Top::Array };
    let mut splitter = Splitter::new(reader, top, bounds);
    let mut count = 0;
    loop {
        let (position, why) = match splitter.next_piece() {
            Ok(None) => return Ok(count),
            Ok(Some(Piece::Element { .. })) => {
                count += 1;
                continue;
            }
            Ok(Some(Piece::TooLarge { position })) => (position, "has more bytes than an import takes"),
            Ok(Some(Piece::TooDeep { position })) => (position, "is nested more deeply than an import takes"),
            Err(SplitError::Io(error)) => return Err(of_reader(error)),
            Err(SplitError::Syntax(syntax)) => {
                return Err(RenderError::Invalid(format!("{dataset}: {}", syntax.message)));
            }
            Err(SplitError::WrongTop { found }) => {
                return Err(RenderError::Invalid(format!("{dataset}: it holds {found}")));
            }
        };
        return Err(RenderError::Invalid(format!("record {position} of {dataset} {why}")));
    }
}

fn of_reader(error: std::io::Error) -> RenderError {
    match crate::archive::fault_of(&error) {
        Some(fault) => RenderError::Invalid(fault.message.clone()),
        None => RenderError::Write(error),
    }
}
