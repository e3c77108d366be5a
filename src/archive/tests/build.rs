//! Zips made byte by byte, so that they can lie.
#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::fs::File;
use std::io::{self, Read, Write};

use flate2::Compression;
use flate2::write::DeflateEncoder;

use crate::archive::{Archive, FaultCode, Limits, OpenError, ReadError, fault_of};

/// An entry; the numbers are written as they stand.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) name: Vec<u8>,
    pub(super) bytes: Vec<u8>,
    pub(super) flags: u16,
    pub(super) method: u16,
    pub(super) crc: u32,
    pub(super) compressed: u64,
    pub(super) declared: u64,
    pub(super) attributes: u32,
    pub(super) extra: Vec<u8>,
    /// The numbers go into a zip64 field.
    pub(super) zip64: bool,
    /// The local header says nothing, a descriptor follows the bytes.
    pub(super) descriptor: bool,
    /// The directory names this place instead of the right one.
    pub(super) offset: Option<u64>,
}

pub(super) fn stored(name: &str, bytes: &[u8]) -> Part {
    Part {
        name: name.as_bytes().to_vec(),
        bytes: bytes.to_vec(),
        flags: 0,
        method: 0,
        crc: crc32fast::hash(bytes),
        compressed: bytes.len() as u64,
        declared: bytes.len() as u64,
        attributes: 0o100_644 << 16,
        extra: Vec::new(),
        zip64: false,
        descriptor: false,
        offset: None,
    }
}

pub(super) fn deflated(name: &str, bytes: &[u8]) -> Part {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::new(6));
    encoder.write_all(bytes).unwrap();
    let packed = encoder.finish().unwrap();
    Part { method: 8, compressed: packed.len() as u64, bytes: packed, ..stored(name, bytes) }
}

/// A whole file; the end record can be made to lie as well.
#[derive(Debug, Clone, Default)]
pub(super) struct Zip {
    pub(super) parts: Vec<Part>,
    pub(super) comment: Vec<u8>,
    pub(super) zip64: bool,
    pub(super) disk: u16,
    pub(super) entries: Option<u64>,
    /// So far behind its first entry the rest is said to be.
    pub(super) gap: u64,
}

pub(super) fn zip(parts: Vec<Part>) -> Vec<u8> {
    Zip { parts, ..Zip::default() }.bytes()
}

impl Zip {
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut directory = Vec::new();
        for part in &self.parts {
            let gap = if out.is_empty() { 0 } else { self.gap };
            let offset = part.offset.unwrap_or(out.len() as u64 + gap);
            write_local(&mut out, part);
            write_central(&mut directory, part, offset);
        }
        let start = out.len() as u64 + self.gap;
        let size = directory.len() as u64;
        out.extend(directory);
        let entries = self.entries.unwrap_or(self.parts.len() as u64);
        if self.zip64 {
            let at = out.len() as u64 + self.gap;
            out.extend(b"PK\x06\x06");
            out.extend(44_u64.to_le_bytes());
            out.extend([45, 0, 45, 0]);
            out.extend([0; 8]);
            for number in [entries, entries, size, start] {
                out.extend(number.to_le_bytes());
            }
            out.extend(b"PK\x06\x07");
            out.extend([0; 4]);
            out.extend(at.to_le_bytes());
            out.extend(1_u32.to_le_bytes());
        }
        let short = |number: u64| if self.zip64 { 0xFFFF } else { number as u16 };
        let long = |number: u64| if self.zip64 { 0xFFFF_FFFF } else { number as u32 };
        out.extend(b"PK\x05\x06");
        out.extend(self.disk.to_le_bytes());
        out.extend(self.disk.to_le_bytes());
        out.extend(short(entries).to_le_bytes());
        out.extend(short(entries).to_le_bytes());
        out.extend(long(size).to_le_bytes());
        out.extend(long(start).to_le_bytes());
        out.extend((self.comment.len() as u16).to_le_bytes());
        out.extend(&self.comment);
        out
    }
}

fn write_local(out: &mut Vec<u8>, part: &Part) {
    let flags = if part.descriptor { part.flags | 8 } else { part.flags };
    out.extend(b"PK\x03\x04\x14\x00");
    out.extend(flags.to_le_bytes());
    out.extend(part.method.to_le_bytes());
    out.extend([0, 0, 0x21, 0]);
    let known = !part.descriptor;
    out.extend(if known { part.crc } else { 0 }.to_le_bytes());
    out.extend(if known { part.compressed as u32 } else { 0 }.to_le_bytes());
    out.extend(if known { part.declared as u32 } else { 0 }.to_le_bytes());
    out.extend((part.name.len() as u16).to_le_bytes());
    out.extend(0_u16.to_le_bytes());
    out.extend(&part.name);
    out.extend(&part.bytes);
    if part.descriptor {
        out.extend(b"PK\x07\x08");
        out.extend(part.crc.to_le_bytes());
        out.extend((part.compressed as u32).to_le_bytes());
        out.extend((part.declared as u32).to_le_bytes());
    }
}

fn write_central(out: &mut Vec<u8>, part: &Part, offset: u64) {
    let mut extra = part.extra.clone();
    if part.zip64 {
        extra.extend([1, 0, 24, 0]);
        for number in [part.declared, part.compressed, offset] {
            extra.extend(number.to_le_bytes());
        }
    }
    let number = |number: u64| if part.zip64 { 0xFFFF_FFFF } else { number as u32 };
    out.extend(b"PK\x01\x02\x14\x03\x14\x00");
    out.extend(if part.descriptor { part.flags | 8 } else { part.flags }.to_le_bytes());
    out.extend(part.method.to_le_bytes());
    out.extend([0, 0, 0x21, 0]);
    out.extend(part.crc.to_le_bytes());
    out.extend(number(part.compressed).to_le_bytes());
    out.extend(number(part.declared).to_le_bytes());
    out.extend((part.name.len() as u16).to_le_bytes());
    out.extend((extra.len() as u16).to_le_bytes());
    out.extend([0; 6]);
    out.extend(part.attributes.to_le_bytes());
    out.extend(number(offset).to_le_bytes());
    out.extend(&part.name);
    out.extend(&extra);
}

pub(super) fn file_of(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file
}

pub(super) fn open(bytes: &[u8]) -> Archive {
    Archive::open(file_of(bytes), &Limits::default()).unwrap()
}

/// Why an archive is refused, and about which entry.
pub(super) fn refusal(bytes: &[u8], limits: &Limits) -> (FaultCode, Option<String>) {
    match Archive::open(file_of(bytes), limits).unwrap_err() {
        OpenError::Fault(fault) => (fault.code, fault.entry),
        OpenError::Io(error) => unreachable!("{error}"),
    }
}

pub(super) fn read(archive: &Archive, index: usize) -> Result<Vec<u8>, FaultCode> {
    let mut reader = archive.reader(index).map_err(|error| match error {
        ReadError::Fault(fault) => fault.code,
        ReadError::Io(error) => unreachable!("{error}"),
    })?;
    let mut bytes = Vec::new();
    match reader.read_to_end(&mut bytes) {
        Ok(_) => Ok(bytes),
        Err(error) => {
            assert_eq!(fault_of(&reader.read(&mut [0]).unwrap_err()), fault_of(&error));
            Err(code_of(&error))
        }
    }
}

pub(super) fn code_of(error: &io::Error) -> FaultCode {
    fault_of(error).unwrap().code
}
