//! The central directory of a zip, read by position and in small pieces.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

pub(super) const LOCAL: [u8; 4] = *b"PK\x03\x04";
pub(super) const END: [u8; 4] = *b"PK\x05\x06";
const CENTRAL: [u8; 4] = *b"PK\x01\x02";
const SIGNATURE_OF_DIRECTORY: [u8; 4] = *b"PK\x05\x05";
const END_64: [u8; 4] = *b"PK\x06\x06";
const LOCATOR_64: [u8; 4] = *b"PK\x06\x07";

const END_LENGTH: usize = 22;
const LOCATOR_LENGTH: usize = 20;
const END_64_LENGTH: usize = 56;
const CENTRAL_LENGTH: usize = 46;
const LOCAL_LENGTH: usize = 30;
const LONGEST_COMMENT: usize = 0xFFFF;
const WINDOW: usize = 64 * 1024;

/// Where the directory stands, and how many entries it is said to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tail {
    pub(super) start: u64,
    pub(super) size: u64,
    /// Tools without zip64 keep only the low 16 bits.
    pub(super) entries: u64,
    pub(super) zip64: bool,
}

impl Tail {
    fn end(&self) -> u64 {
        self.start + self.size
    }

    /// Whether `counted` entries are what the end record says.
    pub(super) fn agrees(&self, counted: u64) -> bool {
        if self.zip64 { counted == self.entries } else { counted & 0xFFFF == self.entries & 0xFFFF }
    }
}

/// What the end of the file shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    Tail(Tail),
    MultiDisk,
    Nothing { why: String },
}

/// Looks for the end record: it must reach to the very end of the file, and its directory must be where it says.
pub(super) fn find_tail(file: &File, length: u64) -> io::Result<Found> {
    let window = usize::try_from(length).unwrap_or(usize::MAX).min(END_LENGTH + LONGEST_COMMENT);
    let mut bytes = vec![0; window];
    if !read_whole(file, &mut bytes, length - window as u64)? {
        return Ok(nothing("the file became shorter while it was read"));
    }
    let mut why = "the end of the zip is not there".to_owned();
    for at in memchr::memmem::rfind_iter(&bytes, &END) {
        let Some(record) = bytes.get(at..at + END_LENGTH) else { continue };
        if at + END_LENGTH + usize::from(u16_at(record, 20)) != bytes.len() {
            continue;
        }
        match read_end(file, record, length - window as u64 + at as u64)? {
            Found::Nothing { why: reason } => why = reason,
            found => return Ok(found),
        }
    }
    Ok(Found::Nothing { why })
}

fn nothing(why: &str) -> Found {
    Found::Nothing { why: why.to_owned() }
}

fn read_end(file: &File, record: &[u8], position: u64) -> io::Result<Found> {
    let mut disks = [u32::from(u16_at(record, 4)), u32::from(u16_at(record, 6))];
    let mut entries = [u64::from(u16_at(record, 8)), u64::from(u16_at(record, 10))];
    let mut size = u64::from(u32_at(record, 12));
    let mut start = u64::from(u32_at(record, 16));
    let mut limit = position;
    let mut zip64 = false;
    let wants_64 = disks.contains(&0xFFFF) || entries.contains(&0xFFFF) || size == 0xFFFF_FFFF || start == 0xFFFF_FFFF;
    if wants_64 && let Some(locator) = read_locator(file, position)? {
        if u32_at(&locator, 16) > 1 {
            return Ok(Found::MultiDisk);
        }
        let at = u64_at(&locator, 8);
        let mut end_64 = [0; END_64_LENGTH];
        let inside = at.checked_add(END_64_LENGTH as u64).is_some_and(|end| end <= position - LOCATOR_LENGTH as u64);
        if !inside || !read_whole(file, &mut end_64, at)? || end_64[..4] != END_64 {
            return Ok(nothing("the zip64 end record is not where it should be"));
        }
        disks = [u32_at(&end_64, 16), u32_at(&end_64, 20)];
        entries = [u64_at(&end_64, 24), u64_at(&end_64, 32)];
        size = u64_at(&end_64, 40);
        start = u64_at(&end_64, 48);
        limit = at;
        zip64 = true;
    }
    if start.checked_add(size).is_none_or(|end| end > limit) {
        return Ok(nothing("the directory of the zip does not lie before its end record"));
    }
    if disks != [0, 0] || entries[0] != entries[1] {
        return Ok(Found::MultiDisk);
    }
    if size == 0 && entries[1] == 0 {
        // Nothing else tells the end of an empty zip from that of one which a larger zip contains.
        if start != limit {
            return Ok(nothing("the end of the zip belongs to another zip, which it contains"));
        }
        return Ok(Found::Tail(Tail { start, size, entries: 0, zip64 }));
    }
    let mut signature = [0; 4];
    if size < CENTRAL_LENGTH as u64 || !read_whole(file, &mut signature, start)? || signature != CENTRAL {
        return Ok(nothing("the directory of the zip is not where its end record says"));
    }
    Ok(Found::Tail(Tail { start, size, entries: entries[1], zip64 }))
}

fn read_locator(file: &File, position: u64) -> io::Result<Option<[u8; LOCATOR_LENGTH]>> {
    let Some(at) = position.checked_sub(LOCATOR_LENGTH as u64) else { return Ok(None) };
    let mut locator = [0; LOCATOR_LENGTH];
    Ok((read_whole(file, &mut locator, at)? && locator[..4] == LOCATOR_64).then_some(locator))
}

/// One entry as the directory states it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) flags: u16,
    pub(super) method: u16,
    pub(super) crc: u32,
    pub(super) compressed: u64,
    pub(super) declared: u64,
    pub(super) attributes: u32,
    pub(super) offset: u64,
    pub(super) disk: u32,
    pub(super) name: Vec<u8>,
    /// The name in UTF-8 that some tools write beside the other, where it belongs to that.
    pub(super) unicode_name: Option<Vec<u8>>,
}

/// The headers of a directory, one after another; memory is one window and one header.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    file: &'a File,
    position: u64,
    end: u64,
    window: Vec<u8>,
    window_at: u64,
}

/// A header, the end, or why there is neither.
#[derive(Debug)]
pub(super) enum Step {
    Header(Header),
    End,
    Broken { why: String },
}

impl<'a> Walk<'a> {
    pub(super) fn new(file: &'a File, tail: &Tail) -> Self {
        Self { file, position: tail.start, end: tail.end(), window: Vec::new(), window_at: 0 }
    }

    pub(super) fn step(&mut self) -> io::Result<Step> {
        if self.position == self.end {
            return Ok(Step::End);
        }
        let at = self.position;
        let Some(fixed) = self.bytes(at, CENTRAL_LENGTH.min(usize::try_from(self.end - at).unwrap_or(usize::MAX)))?
        else {
            return Ok(broken(at));
        };
        if fixed.starts_with(&SIGNATURE_OF_DIRECTORY) {
            return Ok(Step::End);
        }
        if fixed.len() < CENTRAL_LENGTH || !fixed.starts_with(&CENTRAL) {
            return Ok(broken(at));
        }
        let mut header = Header {
            flags: u16_at(fixed, 8),
            method: u16_at(fixed, 10),
            crc: u32_at(fixed, 16),
            compressed: u64::from(u32_at(fixed, 20)),
            declared: u64::from(u32_at(fixed, 24)),
            disk: u32::from(u16_at(fixed, 34)),
            attributes: u32_at(fixed, 38),
            offset: u64::from(u32_at(fixed, 42)),
            name: Vec::new(),
            unicode_name: None,
        };
        let name_length = usize::from(u16_at(fixed, 28));
        let extra_length = usize::from(u16_at(fixed, 30));
        let comment_length = u64::from(u16_at(fixed, 32));
        let name_at = at + CENTRAL_LENGTH as u64;
        let next = name_at + (name_length + extra_length) as u64 + comment_length;
        if next > self.end {
            return Ok(broken(at));
        }
        let Some(variable) = self.bytes(name_at, name_length + extra_length)? else { return Ok(broken(at)) };
        let (name, extra) = variable.split_at(name_length);
        header.name = name.to_vec();
        if !read_extra(&mut header, extra) {
            return Ok(broken(at));
        }
        self.position = next;
        Ok(Step::Header(header))
    }

    /// Bytes of the directory; none where the file ends before them.
    fn bytes(&mut self, at: u64, length: usize) -> io::Result<Option<&[u8]>> {
        let within = at >= self.window_at && at + length as u64 <= self.window_at + self.window.len() as u64;
        if !within {
            let wanted = usize::try_from(self.end - at).unwrap_or(usize::MAX).min(WINDOW.max(length));
            self.window.resize(wanted, 0);
            self.window_at = at;
            if !read_whole(self.file, &mut self.window, at)? {
                self.window.clear();
                return Ok(None);
            }
        }
        let from = usize::try_from(at - self.window_at).unwrap_or(usize::MAX);
        Ok(self.window.get(from..from.saturating_add(length)))
    }
}

fn broken(at: u64) -> Step {
    Step::Broken { why: format!("the directory of the zip is damaged at byte {at}") }
}

/// Takes the large numbers of zip64 and the name in UTF-8; false where a number that must be there is not.
fn read_extra(header: &mut Header, mut extra: &[u8]) -> bool {
    let needs = [header.declared, header.compressed, header.offset].contains(&0xFFFF_FFFF) || header.disk == 0xFFFF;
    let mut seen_64 = false;
    while let Some((head, rest)) = extra.split_first_chunk::<4>() {
        let length = usize::from(u16_at(head, 2));
        let Some((field, after)) = rest.split_at_checked(length) else { break };
        match u16_at(head, 0) {
            0x0001 if needs && !seen_64 => {
                seen_64 = true;
                if !read_zip64(header, field) {
                    return false;
                }
            }
            0x7075 if field.len() > 5 && field[0] == 1 && u32_at(field, 1) == crc32fast::hash(&header.name) => {
                header.unicode_name = Some(field[5..].to_vec());
            }
            _ => {}
        }
        extra = after;
    }
    true
}

fn read_zip64(header: &mut Header, mut field: &[u8]) -> bool {
    for number in [&mut header.declared, &mut header.compressed, &mut header.offset] {
        if *number == 0xFFFF_FFFF {
            let Some((bytes, rest)) = field.split_first_chunk::<8>() else { return false };
            *number = u64::from_le_bytes(*bytes);
            field = rest;
        }
    }
    if header.disk == 0xFFFF {
        let Some((bytes, _)) = field.split_first_chunk::<4>() else { return false };
        header.disk = u32::from_le_bytes(*bytes);
    }
    true
}

/// Where the bytes of an entry begin; none where its local header is not in its place.
pub(super) fn data_start(file: &File, offset: u64) -> io::Result<Option<u64>> {
    let mut local = [0; LOCAL_LENGTH];
    if !read_whole(file, &mut local, offset)? || local[..4] != LOCAL {
        return Ok(None);
    }
    let variable = u64::from(u16_at(&local, 26)) + u64::from(u16_at(&local, 28));
    Ok(Some(offset + LOCAL_LENGTH as u64 + variable))
}

/// Fills the buffer from a position; false where the file ends before that.
pub(super) fn read_whole(file: &File, buffer: &mut [u8], position: u64) -> io::Result<bool> {
    if position.checked_add(buffer.len() as u64).is_none_or(|end| end > i64::MAX as u64) {
        return Ok(false);
    }
    match file.read_exact_at(buffer, position) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}
