//! Opening an archive: everything that can be told from its directory is checked before an entry is read.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::directory::{Found, Header, Step, Tail, Walk, data_start, find_tail, read_whole};
use super::fault::{Fault, FaultCode, OpenError, ReadError};
use super::limits::Limits;
use super::probe::begins_like_a_zip;
use super::reader::{EntryReader, Source};
use super::{find, names};
use crate::model::words::counted;

const STORED: u16 = 0;
const DEFLATED: u16 = 8;
const ENCRYPTED_FLAGS: u16 = 0x0001 | 0x0040 | 0x2000;
const KIND_OF_FILE: u32 = 0o170_000;
const KIND_LINK: u32 = 0o120_000;

/// One entry of an archive, as its directory states it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its place in [`Archive::entries`].
    pub index: usize,
    /// Its name with `/` between the parts and none at the end.
    pub name: String,
    /// The name below the one folder in which everything lies, where there is such a folder; else the name.
    pub path: String,
    /// The name as it stands in the directory.
    pub raw_name: Vec<u8>,
    /// Whether it is a folder.
    pub is_dir: bool,
    /// Bytes in the archive.
    pub compressed: u64,
    /// Bytes it is said to have when inflated; readers count for themselves.
    pub declared: u64,
    /// Whether its compression can be read here.
    pub method_supported: bool,
    /// Whether a password is needed.
    pub encrypted: bool,
    /// The CRC-32 that its bytes must give.
    pub crc: u32,
    pub(super) method: u16,
    pub(super) data_start: u64,
}

/// An archive whose directory was found good. Readers are independent of each other.
#[derive(Debug)]
pub struct Archive {
    file: Arc<File>,
    limits: Limits,
    entries: Vec<Entry>,
    /// Files only, sorted by path.
    by_path: Vec<usize>,
    /// Sorted.
    duplicates: Vec<usize>,
    /// The one folder around everything, with a `/`.
    top: Option<String>,
    inflated: Arc<AtomicU64>,
}

impl Archive {
    /// Opens a zip. The file must not change afterwards.
    ///
    /// # Errors
    /// A fault where the archive is refused as a whole, an I/O error where the disk fails.
    pub fn open(file: File, limits: &Limits) -> Result<Self, OpenError> {
        let length = file.metadata()?.len();
        let tail = check_ends(&file, length, limits)?;
        let mut entries = Vec::new();
        let mut spans = Vec::new();
        let mut declared: u64 = 0;
        let mut walk = Walk::new(&file, &tail);
        loop {
            let header = match walk.step()? {
                Step::Header(header) => header,
                Step::End => break,
                Step::Broken { why } => return Err(incomplete(&why).into()),
            };
            if entries.len() as u64 >= limits.entries {
                return Err(too_many_entries(limits).into());
            }
            let offset = header.offset;
            let mut entry = check_header(header, entries.len(), limits)?;
            let data = data_start(&file, offset)?;
            let end = data.and_then(|data| data.checked_add(entry.compressed));
            let (Some(data), Some(end)) = (data, end.filter(|end| *end <= length)) else {
                return Err(incomplete(&format!("the entry `{}` is not there whole", entry.name))
                    .of_entry(&entry.name)
                    .into());
            };
            entry.data_start = data;
            declared = declared.saturating_add(entry.declared);
            spans.push((offset, end, entry.index));
            entries.push(entry);
        }
        if !tail.agrees(entries.len() as u64) {
            let should = counted(tail.entries, "entry", "entries");
            let why = format!("it should have {should}, but its directory has {}", entries.len());
            return Err(incomplete(&why).into());
        }
        if declared > limits.total_bytes {
            return Err(too_much_in_all(limits).into());
        }
        check_overlap(&mut spans, &tail, &entries)?;
        let top = strip_top(&mut entries);
        let (by_path, duplicates) = sort_paths(&entries);
        let file = Arc::new(file);
        Ok(Self { file, limits: limits.clone(), entries, by_path, duplicates, top, inflated: Arc::default() })
    }

    /// The entries in the order of the directory.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The entries that share their path with another, in order; none of them can be read.
    pub fn duplicates(&self) -> &[usize] {
        &self.duplicates
    }

    /// Starts counting anew for `limits.total_bytes`. To be called while no entry is being read.
    pub fn begin_pass(&self) {
        self.inflated.store(0, Ordering::Relaxed);
    }

    /// A reader of an entry's bytes, which may be used in another thread and outlives the archive.
    ///
    /// # Errors
    /// A fault where the entry is encrypted, compressed in an unknown way, or one of several with its path.
    pub fn reader(&self, index: usize) -> Result<EntryReader, ReadError> {
        let Some(entry) = self.entries.get(index) else {
            let text = format!("there is no entry {index}, the archive has {}", self.entries.len());
            return Err(ReadError::Io(io::Error::new(io::ErrorKind::InvalidInput, text)));
        };
        check_readable(entry, self.duplicates.binary_search(&index).is_ok())?;
        let source = Source::new(Arc::clone(&self.file), entry.data_start, entry.compressed);
        Ok(EntryReader::new(source, entry, &self.limits, Arc::clone(&self.inflated)))
    }

    /// The file that a path in the data means: as it is written, or as some tool may have changed it on its way. The
    /// folder around everything may be named: an archive of nothing but `images/` has that one.
    pub fn find(&self, path: &str) -> Option<usize> {
        find::find(path, &|path| {
            self.find_exactly(path).or_else(|| self.find_exactly(path.strip_prefix(self.top.as_deref()?)?))
        })
    }

    fn find_exactly(&self, path: &str) -> Option<usize> {
        let place = self.by_path.partition_point(|index| self.entries[*index].path.as_str() < path);
        self.by_path.get(place).copied().filter(|index| self.entries[*index].path == path)
    }
}

fn check_ends(file: &File, length: u64, limits: &Limits) -> Result<Tail, OpenError> {
    if length == 0 {
        return Err(Fault::new(FaultCode::EmptyFile, "the file is empty", "upload the archive again").into());
    }
    if !begins_like_a_zip(file, length)? {
        return Err(no_zip(file, length)?.into());
    }
    if length > limits.archive_bytes {
        let message = format!("the archive has {length} bytes, {} are allowed", limits.archive_bytes);
        let hint = "leave out large media, or ask the admin to raise `limits.archive_bytes`";
        return Err(Fault::new(FaultCode::LimitArchiveBytes, message, hint).into());
    }
    match find_tail(file, length)? {
        Found::Nothing { why } => Err(incomplete(&why).into()),
        Found::MultiDisk => {
            let message = "the archive is one part of a zip that was split into several";
            Err(Fault::new(FaultCode::MultiDisk, message, "make one zip that is not split").into())
        }
        Found::Tail(tail) if tail.entries > limits.entries => Err(too_many_entries(limits).into()),
        Found::Tail(tail) => Ok(tail),
    }
}

/// What is often taken for a zip is called by its name.
fn no_zip(file: &File, length: u64) -> io::Result<Fault> {
    let mut start = [0; 8];
    let start = &mut start[..usize::try_from(length).unwrap_or(8).min(8)];
    let start = if read_whole(file, start, 0)? { &*start } else { &[] };
    let archiver =
        [(&b"Rar!"[..], "a RAR archive"), (b"7z\xbc\xaf\x27\x1c", "a 7z archive"), (b"\x1f\x8b", "a gzip file")]
            .into_iter()
            .find(|(magic, _)| start.starts_with(magic));
    let text = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start).trim_ascii_start();
    let (message, hint) = match archiver {
        Some((_, what)) => (
            format!("the file is no zip archive but {what}, whatever its name says"),
            "unpack it, zip what is in it, and upload that",
        ),
        None if text.starts_with(b"{") || text.starts_with(b"[") => (
            "the file is no zip archive but JSON text, whatever its name says".to_owned(),
            "zip it together with the other files of the event, and upload that",
        ),
        None => ("the file is no zip archive".to_owned(), "save the event as a zip archive and upload that"),
    };
    Ok(Fault::new(FaultCode::NotAZip, message, hint))
}

fn incomplete(why: &str) -> Fault {
    Fault::new(FaultCode::Incomplete, format!("the archive is not whole: {why}"), "upload it again, or make it anew")
}

fn too_many_entries(limits: &Limits) -> Fault {
    let message = format!("the archive has more than {} entries", limits.entries);
    Fault::new(FaultCode::LimitEntries, message, "split it, or ask the admin to raise `limits.entries`")
}

pub(super) fn too_much_in_all(limits: &Limits) -> Fault {
    let message =
        format!("the entries of the archive have more than {} bytes in all when unpacked", limits.total_bytes);
    Fault::new(
        FaultCode::LimitTotalBytes,
        message,
        "leave out large media, or ask the admin to raise `limits.total_bytes`",
    )
}

pub(super) fn too_large(name: &str, limits: &Limits) -> Fault {
    let message = format!("the entry `{name}` has more than {} bytes when unpacked", limits.entry_bytes);
    let hint = "make it smaller, or ask the admin to raise `limits.entry_bytes`";
    Fault::new(FaultCode::LimitEntryBytes, message, hint).of_entry(name)
}

fn check_header(header: Header, index: usize, limits: &Limits) -> Result<Entry, Fault> {
    let decoded = names::decode(&header.name, header.unicode_name.as_deref());
    if header.name.len().max(decoded.len()) > limits.path_length {
        let shown: String = decoded.chars().take(80).collect();
        let message = format!("the name of an entry is longer than {} bytes: `{shown}…`", limits.path_length);
        let hint = "give it a shorter name, or put it into fewer folders";
        return Err(Fault::new(FaultCode::LimitPathLength, message, hint).of_entry(&shown));
    }
    if let Some(danger) = names::danger(&decoded) {
        let message = format!("the name of the entry `{}` is not allowed: {danger}", decoded.escape_debug());
        let hint = "zip the folder of the event itself, with plain names in it";
        return Err(Fault::new(FaultCode::UnsafeEntryName, message, hint).of_entry(&decoded));
    }
    if (header.attributes >> 16) & KIND_OF_FILE == KIND_LINK {
        let message = format!("the entry `{decoded}` is a link to another file");
        let hint = "put the file itself into the archive (`zip` without `--symlinks`)";
        return Err(Fault::new(FaultCode::EntryIsLink, message, hint).of_entry(&decoded));
    }
    if header.disk != 0 {
        let message = format!("the entry `{decoded}` is in another part of a zip that was split into several");
        return Err(Fault::new(FaultCode::MultiDisk, message, "make one zip that is not split").of_entry(&decoded));
    }
    if header.declared > limits.entry_bytes {
        return Err(too_large(&decoded, limits));
    }
    let name = names::normalise(&decoded);
    Ok(Entry {
        index,
        path: name.clone(),
        name,
        raw_name: header.name,
        is_dir: names::is_folder(&decoded),
        compressed: header.compressed,
        declared: header.declared,
        method_supported: matches!(header.method, STORED | DEFLATED),
        encrypted: header.flags & ENCRYPTED_FLAGS != 0,
        crc: header.crc,
        method: header.method,
        data_start: 0,
    })
}

/// Entries that share bytes let a small archive inflate to a huge one.
fn check_overlap(spans: &mut [(u64, u64, usize)], tail: &Tail, entries: &[Entry]) -> Result<(), Fault> {
    spans.sort_unstable();
    let starts = spans.iter().skip(1).map(|span| span.0).chain([tail.start]);
    for (span, next) in spans.iter().zip(starts) {
        if span.1 > next {
            let name = &entries[span.2].name;
            let message = format!("the entry `{name}` overlaps with what comes after it");
            let hint = "make the archive anew with another tool";
            return Err(Fault::new(FaultCode::OverlappingEntries, message, hint).of_entry(name));
        }
    }
    Ok(())
}

fn strip_top(entries: &mut [Entry]) -> Option<String> {
    let top = names::common_top(entries.iter().map(|entry| (entry.name.as_str(), entry.is_dir))).map(str::to_owned)?;
    for entry in entries {
        if let Some(rest) = entry.name.strip_prefix(&top)
            && (rest.is_empty() || rest.starts_with('/'))
        {
            entry.path = rest.trim_start_matches('/').to_owned();
        }
    }
    Some(format!("{top}/"))
}

/// The files in the order of their paths, and those that share one.
fn sort_paths(entries: &[Entry]) -> (Vec<usize>, Vec<usize>) {
    let mut by_path: Vec<usize> = entries.iter().filter(|entry| !entry.is_dir).map(|entry| entry.index).collect();
    by_path.sort_by_key(|index| entries[*index].path.as_str());
    let groups = by_path.chunk_by(|left, right| entries[*left].path == entries[*right].path);
    let mut duplicates = groups.filter(|group| group.len() > 1).flatten().copied().collect::<Vec<usize>>();
    duplicates.sort_unstable();
    (by_path, duplicates)
}

fn check_readable(entry: &Entry, is_duplicate: bool) -> Result<(), Fault> {
    let name = &entry.name;
    let fault = if entry.encrypted {
        let message = format!("the entry `{name}` is encrypted");
        Fault::new(FaultCode::Encrypted, message, "make the archive without a password")
    } else if !entry.method_supported {
        let message =
            format!("the entry `{name}` is compressed in a way that is not known here (method {})", entry.method);
        Fault::new(FaultCode::UnsupportedMethod, message, "make the archive with the usual compression (deflate)")
    } else if is_duplicate {
        let message = format!("the archive has several entries with the name `{name}`");
        Fault::new(FaultCode::DuplicateEntry, message, "leave only the right one in the archive")
    } else {
        return Ok(());
    };
    Err(fault.of_entry(name))
}

impl Entry {
    pub(super) fn is_deflated(&self) -> bool {
        self.method == DEFLATED
    }
}
