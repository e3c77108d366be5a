//! The bytes of one entry: inflated, counted, and held against their checksum.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::DeflateDecoder;

use super::fault::{Fault, FaultCode};
use super::limits::Limits;
use super::open::{Entry, too_large, too_much_in_all};

/// Small entries inflate well beyond the ratio without any harm.
const RATIO_FROM: u64 = 1024 * 1024;
const BUFFER: usize = 64 * 1024;

/// Compressed bytes of an entry, read by position.
#[derive(Debug)]
pub(super) struct Source {
    file: Arc<File>,
    position: u64,
    left: u64,
    failed: bool,
}

impl Source {
    pub(super) fn new(file: Arc<File>, position: u64, length: u64) -> Self {
        Self { file, position, left: length, failed: false }
    }
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let result = self.file.read_at(&mut buffer[..length], self.position);
        self.failed = result.is_err();
        if let Ok(length) = result {
            self.position += length as u64;
            self.left -= length as u64;
        }
        result
    }
}

#[derive(Debug)]
enum Body {
    Stored(Source),
    Deflated(DeflateDecoder<BufReader<Source>>),
}

impl Body {
    fn source_failed(&self) -> bool {
        match self {
            Self::Stored(source) => source.failed,
            Self::Deflated(decoder) => decoder.get_ref().get_ref().failed,
        }
    }
}

/// Reads the bytes of an entry. What is wrong with them is an [`io::Error`] that [`fault_of`](super::fault_of) tells from one of
/// the disk; the checksum is verified when the end is reached, so an entry is good only once `read` has given 0.
#[derive(Debug)]
pub struct EntryReader {
    body: Body,
    name: String,
    compressed: u64,
    declared: u64,
    expected_crc: u32,
    crc: crc32fast::Hasher,
    count: u64,
    limits: Limits,
    inflated: Arc<AtomicU64>,
    state: State,
}

#[derive(Debug)]
enum State {
    Reading,
    Finished,
    Faulty(Fault),
}

impl EntryReader {
    pub(super) fn new(source: Source, entry: &Entry, limits: &Limits, inflated: Arc<AtomicU64>) -> Self {
        let body = if entry.is_deflated() {
            Body::Deflated(DeflateDecoder::new(BufReader::with_capacity(BUFFER, source)))
        } else {
            Body::Stored(source)
        };
        Self {
            body,
            name: entry.name.clone(),
            compressed: entry.compressed,
            declared: entry.declared,
            expected_crc: entry.crc,
            crc: crc32fast::Hasher::new(),
            count: 0,
            limits: limits.clone(),
            inflated,
            state: State::Reading,
        }
    }

    /// Bytes read so far.
    pub fn count(&self) -> u64 {
        self.count
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let length = bytes.len() as u64;
        self.count += length;
        let total = self.inflated.fetch_add(length, Ordering::Relaxed) + length;
        if self.count > self.limits.entry_bytes {
            return Err(too_large(&self.name, &self.limits));
        }
        if total > self.limits.total_bytes {
            return Err(too_much_in_all(&self.limits));
        }
        if self.count > RATIO_FROM && self.count > self.limits.ratio.saturating_mul(self.compressed) {
            let (name, ratio) = (&self.name, self.limits.ratio);
            let message = format!(
                "the entry `{name}` becomes more than {ratio} times larger when unpacked, as only a zip bomb does"
            );
            let hint = "leave it out, or store it without compression";
            return Err(Fault::new(FaultCode::LimitRatio, message, hint).of_entry(name));
        }
        self.crc.update(bytes);
        Ok(())
    }

    fn check_end(&self) -> Result<(), Fault> {
        let name = &self.name;
        if self.count != self.declared {
            let message = format!("the entry `{name}` should have {} bytes, but has {}", self.declared, self.count);
            return Err(damaged(name, message));
        }
        if self.crc.clone().finalize() != self.expected_crc {
            let message = format!("the checksum of the entry `{name}` is wrong, its bytes were changed");
            return Err(Fault::new(FaultCode::CrcMismatch, message, MEND).of_entry(name));
        }
        Ok(())
    }

    fn fail(&mut self, fault: Fault) -> io::Error {
        self.state = State::Faulty(fault.clone());
        fault.into_io()
    }
}

const MEND: &str = "make the archive anew and upload it again";

fn damaged(name: &str, message: String) -> Fault {
    Fault::new(FaultCode::EntryDamaged, message, MEND).of_entry(name)
}

impl Read for EntryReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &self.state {
            State::Reading if !buffer.is_empty() => {}
            State::Reading | State::Finished => return Ok(0),
            State::Faulty(fault) => return Err(fault.clone().into_io()),
        }
        let result = match &mut self.body {
            Body::Stored(source) => source.read(buffer),
            Body::Deflated(decoder) => decoder.read(buffer),
        };
        match result {
            Ok(0) => match self.check_end() {
                Ok(()) => {
                    self.state = State::Finished;
                    Ok(0)
                }
                Err(fault) => Err(self.fail(fault)),
            },
            Ok(length) => match self.take(&buffer[..length]) {
                Ok(()) => Ok(length),
                Err(fault) => Err(self.fail(fault)),
            },
            Err(error) if self.body.source_failed() => Err(error),
            Err(_) => {
                let message = format!("the entry `{}` is damaged and cannot be unpacked", self.name);
                let fault = damaged(&self.name, message);
                Err(self.fail(fault))
            }
        }
    }
}
