//! What each fuzz target does with its bytes. `tests/it/hostile/corpus.rs` does the same with the corpus and with past findings, so
//! that they are guarded where nobody fuzzes.
//!
//! A body panics where the code under it is wrong. Bytes that are bad are no error: they have an answer.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use eventferry::archive::{Archive, Limits, OpenError, ReadError, Wholeness, fault_of, probe};
use eventferry::format::split::{Bounds, syntax_within};
use eventferry::format::{Converter, Piece, RawRecord, SplitError, Splitter, Top, forms};
use eventferry::import::examine;
use eventferry::model::Dataset;

/// Bounds so small that inputs of a few KiB pass them in both directions.
pub(crate) fn limits() -> Limits {
    Limits {
        archive_bytes: 1 << 20,
        entries: 64,
        entry_bytes: 1 << 20,
        total_bytes: 2 << 20,
        ratio: 200,
        path_length: 128,
        json_depth: 32,
        records: 100_000,
        record_bytes: 16 * 1024,
        problems_kept: 100,
    }
}

/// Looks at an archive, opens it and reads every entry: a file that opens counts as whole, and what is read has its checksum.
pub(crate) fn open(bytes: &[u8]) {
    let limits = limits();
    let wholeness = probe(&file_of(bytes)).expect("the disk is in order");
    let archive = match Archive::open(file_of(bytes), &limits) {
        Ok(archive) => archive,
        Err(OpenError::Fault(fault)) => {
            assert!(!fault.message.is_empty() && !fault.hint.is_empty(), "{fault:?}");
            return;
        }
        Err(OpenError::Io(error)) => panic!("the disk is in order: {error}"),
    };
    assert_eq!(wholeness, Wholeness::Whole, "it opens");
    archive.begin_pass();
    let mut total = 0;
    for entry in archive.entries() {
        archive.find(&entry.path);
        let mut reader = match archive.reader(entry.index) {
            Ok(reader) => reader,
            Err(ReadError::Fault(_)) => continue,
            Err(ReadError::Io(error)) => panic!("the disk is in order: {error}"),
        };
        let mut content = Vec::new();
        match reader.read_to_end(&mut content) {
            Ok(_) => {
                assert_eq!(content.len() as u64, entry.declared, "{}", entry.name);
                assert_eq!(crc32fast::hash(&content), entry.crc, "{}", entry.name);
            }
            Err(error) => assert!(fault_of(&error).is_some(), "the disk is in order: {error}"),
        }
        total += content.len() as u64;
    }
    assert!(total <= limits.total_bytes + BUFFER, "{total} bytes were given");
}

/// What a reader may have handed on before a limit was seen to be passed.
const BUFFER: u64 = 64 * 1024;

/// Reads the records of a file of each shape; the first byte chooses the dataset. A reader that gives a byte at a time makes no
/// difference.
pub(crate) fn records(bytes: &[u8]) {
    let Some((choice, text)) = bytes.split_first() else { return };
    let dataset = Dataset::ALL[usize::from(*choice) % Dataset::ALL.len()];
    let top = if dataset == Dataset::Event { Top::Object } else { Top::Array };
    let whole = said_of(dataset, top, text);
    // Every state is met at the end of a buffer; long inputs show nothing new by that.
    if text.len() <= 2048 {
        assert_eq!(whole, said_of(dataset, top, Drip(text)));
    }
}

/// What is said of each record of a file, and at last of the file.
fn said_of(dataset: Dataset, top: Top, reader: impl Read) -> Vec<String> {
    let limits = limits();
    let mut converter = Converter::new(dataset, chrono_tz::Europe::Berlin);
    let mut splitter = Splitter::new(reader, top, Bounds { bytes: limits.record_bytes, depth: limits.json_depth });
    let mut said = Vec::new();
    loop {
        let (place, bytes) = match splitter.next_piece() {
            Ok(Some(Piece::Element { place, bytes, .. })) => (place, bytes),
            Ok(Some(other)) => {
                said.push(format!("{other:?}"));
                continue;
            }
            Ok(None) => return said,
            Err(SplitError::Io(error)) => panic!("memory gives no errors: {error}"),
            Err(error) => {
                said.push(format!("{error:?}"));
                return said;
            }
        };
        let Ok(text) = std::str::from_utf8(bytes) else { continue };
        match RawRecord::parse(text) {
            Ok(raw) if dataset == Dataset::CustomForms && forms::is_whole(&raw) => {
                for field in forms::fields(&raw, 100).unwrap_or_default() {
                    let raw = RawRecord::parse(&field).expect("what is made of a form is JSON");
                    said.push(format!("{:?}", converter.convert(&raw)));
                }
            }
            Ok(raw) => {
                let converted = converter.convert(&raw);
                RawRecord::parse(&converted.extra).expect("what is kept of a record is JSON");
                said.push(format!("{converted:?}"));
            }
            Err(error) => said.push(format!("{:?}", syntax_within(place, bytes, &error))),
        }
    }
}

/// Gives one byte at a time.
struct Drip<'a>(&'a [u8]);

impl Read for Drip<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some((first, rest)) = self.0.split_first() else { return Ok(0) };
        buffer[0] = *first;
        self.0 = rest;
        Ok(1)
    }
}

/// Checks an archive from the first byte to the last problem; twice the same gives the same answer.
pub(crate) fn check(bytes: &[u8], scratch: &Path) {
    let limits = limits();
    let problems = examine(file_of(bytes), &limits, scratch).expect("the disk is in order");
    for problem in &problems {
        assert!(!problem.message.is_empty() && !problem.hint.is_empty(), "{problem:?}");
    }
    assert!(problems.len() <= limits.problems_kept + 1, "{} problems are kept", problems.len());
}

fn file_of(bytes: &[u8]) -> File {
    let flags = rustix::fs::MemfdFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::memfd_create("archive", flags).expect("memory is there"));
    file.write_all(bytes).expect("memory is there");
    file
}
