//! Bookkeeping that grows with the archive, on disk: sorted lists of short records of fixed length, and texts by number.
//!
//! The files lie in the job's work folder and are made anew by every run; a crash leaves nothing that is read again.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::fsx::unnamed_file;

/// Records kept in memory before a run is written.
const RECORDS_IN_MEMORY: usize = 32 * 1024;

const BUFFER: usize = 32 * 1024;

/// Sorts any number of records of `N` bytes in bounded memory.
#[derive(Debug)]
pub(crate) struct Sorter<const N: usize> {
    path: PathBuf,
    buffer: Vec<[u8; N]>,
    runs: Vec<File>,
}

impl<const N: usize> Sorter<N> {
    /// A sorter that writes to files named after `name` in `folder` when it must.
    pub(crate) fn new(folder: &Path, name: &str) -> Self {
        Self { path: folder.join(name), buffer: Vec::new(), runs: Vec::new() }
    }

    pub(crate) fn push(&mut self, record: [u8; N]) -> io::Result<()> {
        self.buffer.push(record);
        if self.buffer.len() >= RECORDS_IN_MEMORY {
            self.buffer.sort_unstable();
            let run = unnamed_file(&self.path)?;
            let mut writer = BufWriter::with_capacity(BUFFER, run);
            for record in self.buffer.drain(..) {
                writer.write_all(&record)?;
            }
            self.runs.push(writer.into_inner().map_err(io::IntoInnerError::into_error)?);
        }
        Ok(())
    }

    pub(crate) fn finish(mut self) -> io::Result<Sorted<N>> {
        self.buffer.sort_unstable();
        if self.runs.is_empty() {
            self.buffer.shrink_to_fit();
            return Ok(Sorted { memory: self.buffer, file: None, count: 0 }.counted());
        }
        let mut sources = Vec::with_capacity(self.runs.len() + 1);
        for run in self.runs {
            sources.push(Source::File(Reader::at_start(&run)?));
        }
        sources.push(Source::Memory(self.buffer.into_iter()));
        let mut heads = BinaryHeap::with_capacity(sources.len());
        for (index, source) in sources.iter_mut().enumerate() {
            if let Some(record) = source.next()? {
                heads.push(Reverse((record, index)));
            }
        }
        let file = unnamed_file(&self.path)?;
        let mut writer = BufWriter::with_capacity(BUFFER, file);
        let mut count = 0;
        while let Some(Reverse((record, index))) = heads.pop() {
            writer.write_all(&record)?;
            count += 1;
            if let Some(next) = sources[index].next()? {
                heads.push(Reverse((next, index)));
            }
        }
        let file = writer.into_inner().map_err(io::IntoInnerError::into_error)?;
        Ok(Sorted { memory: Vec::new(), file: Some(file), count })
    }
}

enum Source<const N: usize> {
    File(Reader<N>),
    Memory(std::vec::IntoIter<[u8; N]>),
}

impl<const N: usize> Source<N> {
    fn next(&mut self) -> io::Result<Option<[u8; N]>> {
        match self {
            Self::File(reader) => reader.next(),
            Self::Memory(records) => Ok(records.next()),
        }
    }
}

/// Reads records of a file in order, without moving the file's own position.
#[derive(Debug)]
pub(crate) struct Reader<const N: usize> {
    inner: BufReader<At>,
}

#[derive(Debug)]
struct At {
    file: File,
    offset: u64,
}

impl Read for At {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}

impl<const N: usize> Reader<N> {
    fn at_start(file: &File) -> io::Result<Self> {
        let at = At { file: file.try_clone()?, offset: 0 };
        Ok(Self { inner: BufReader::with_capacity(BUFFER, at) })
    }

    fn next(&mut self) -> io::Result<Option<[u8; N]>> {
        let mut record = [0; N];
        match self.inner.read_exact(&mut record) {
            Ok(()) => Ok(Some(record)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Records in ascending order of their bytes.
#[derive(Debug)]
pub(crate) struct Sorted<const N: usize> {
    memory: Vec<[u8; N]>,
    file: Option<File>,
    count: u64,
}

impl<const N: usize> Sorted<N> {
    pub(crate) fn empty() -> Self {
        Self { memory: Vec::new(), file: None, count: 0 }
    }

    fn counted(self) -> Self {
        Self { count: self.memory.len() as u64, ..self }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Walks over all records in order.
    pub(crate) fn cursor(&self) -> io::Result<Cursor<'_, N>> {
        let source = match &self.file {
            None => CursorSource::Memory(self.memory.iter()),
            Some(file) => CursorSource::File(Reader::at_start(file)?),
        };
        let mut cursor = Cursor { source, head: None };
        cursor.advance()?;
        Ok(cursor)
    }

    /// The first record that begins with `prefix`.
    pub(crate) fn first_with_prefix(&self, prefix: &[u8]) -> io::Result<Option<[u8; N]>> {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = u64::midpoint(low, high);
            if self.get(middle)?[..prefix.len()] < *prefix {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        if low == self.count {
            return Ok(None);
        }
        Ok(Some(self.get(low)?).filter(|record| record.starts_with(prefix)))
    }

    /// Whether a record begins with `prefix`.
    pub(crate) fn has(&self, prefix: &[u8]) -> io::Result<bool> {
        Ok(self.first_with_prefix(prefix)?.is_some())
    }

    /// Adds the records of another list.
    pub(crate) fn merge(&mut self, folder: &Path, more: Self) -> io::Result<()> {
        if more.is_empty() {
            return Ok(());
        }
        if self.is_empty() {
            *self = more;
            return Ok(());
        }
        let mut merged = Sorter::new(folder, "merged");
        for list in [&*self, &more] {
            let mut cursor = list.cursor()?;
            while let Some(record) = cursor.take()? {
                merged.push(record)?;
            }
        }
        *self = merged.finish()?;
        Ok(())
    }

    fn get(&self, index: u64) -> io::Result<[u8; N]> {
        match &self.file {
            None => Ok(usize::try_from(index).ok().and_then(|index| self.memory.get(index)).copied().unwrap_or([0; N])),
            Some(file) => {
                let mut record = [0; N];
                file.read_exact_at(&mut record, index * N as u64)?;
                Ok(record)
            }
        }
    }
}

/// A place in a sorted list.
#[derive(Debug)]
pub(crate) struct Cursor<'a, const N: usize> {
    source: CursorSource<'a, N>,
    head: Option<[u8; N]>,
}

#[derive(Debug)]
enum CursorSource<'a, const N: usize> {
    Memory(std::slice::Iter<'a, [u8; N]>),
    File(Reader<N>),
}

impl<const N: usize> Cursor<'_, N> {
    /// The record at this place.
    pub(crate) fn head(&self) -> Option<&[u8; N]> {
        self.head.as_ref()
    }

    /// Goes to the next record.
    pub(crate) fn advance(&mut self) -> io::Result<()> {
        self.head = match &mut self.source {
            CursorSource::Memory(records) => records.next().copied(),
            CursorSource::File(reader) => reader.next()?,
        };
        Ok(())
    }

    /// Takes the record at this place, and goes to the next one.
    pub(crate) fn take(&mut self) -> io::Result<Option<[u8; N]>> {
        let taken = self.head;
        if taken.is_some() {
            self.advance()?;
        }
        Ok(taken)
    }

    /// Takes the record at this place if it begins with `prefix`.
    pub(crate) fn take_if_begins_with(&mut self, prefix: &[u8]) -> io::Result<Option<[u8; N]>> {
        if self.head.is_some_and(|head| head.starts_with(prefix)) { self.take() } else { Ok(None) }
    }
}

/// Texts by number, in the order in which they were added.
#[derive(Debug)]
pub(crate) struct Texts {
    offsets: BufWriter<File>,
    bytes: BufWriter<File>,
    end: u64,
    count: u64,
}

impl Texts {
    pub(crate) fn new(folder: &Path, name: &str) -> io::Result<Self> {
        Ok(Self {
            offsets: BufWriter::with_capacity(BUFFER, unnamed_file(&folder.join(format!("{name}.offsets")))?),
            bytes: BufWriter::with_capacity(BUFFER, unnamed_file(&folder.join(format!("{name}.texts")))?),
            end: 0,
            count: 0,
        })
    }

    /// Adds a text and says its number, counted from 0.
    pub(crate) fn push(&mut self, text: &str) -> io::Result<u64> {
        self.bytes.write_all(text.as_bytes())?;
        self.end += text.len() as u64;
        self.offsets.write_all(&self.end.to_be_bytes())?;
        self.count += 1;
        Ok(self.count - 1)
    }

    /// Makes what was added readable.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.offsets.flush()?;
        self.bytes.flush()
    }

    /// The text with this number; empty where there is none. Only what was flushed can be read.
    pub(crate) fn get(&self, number: u64) -> io::Result<String> {
        if number >= self.count {
            return Ok(String::new());
        }
        let end = self.offset(number)?;
        let start = if number == 0 { 0 } else { self.offset(number - 1)? };
        let mut text = vec![0; usize::try_from(end - start).unwrap_or(0)];
        self.bytes.get_ref().read_exact_at(&mut text, start)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    fn offset(&self, number: u64) -> io::Result<u64> {
        let mut bytes = [0; 8];
        self.offsets.get_ref().read_exact_at(&mut bytes, number * 8)?;
        Ok(u64::from_be_bytes(bytes))
    }
}

/// The eight bytes of `record` at `from`, as a number.
pub(crate) fn number_at<const N: usize>(record: &[u8; N], from: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&record[from..from + 8]);
    u64::from_be_bytes(bytes)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed step fails the test")]
mod tests {
    use super::*;

    #[test]
    fn more_records_than_fit_into_memory_come_back_in_order_and_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let mut sorter = Sorter::<8>::new(folder.path(), "numbers");
        let count = RECORDS_IN_MEMORY as u64 * 3 + 7;
        for number in 0..count {
            // 7919 is prime and no divisor of the count: every number below it comes once, out of order.
            sorter.push((number * 7919 % count).to_be_bytes()).unwrap();
        }
        let sorted = sorter.finish().unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        let mut cursor = sorted.cursor().unwrap();
        for expected in 0..count {
            assert_eq!(cursor.head().map(|record| number_at(record, 0)), Some(expected));
            cursor.advance().unwrap();
        }
        assert_eq!(cursor.head(), None);
        let found = |prefix: &[u8]| sorted.first_with_prefix(prefix).unwrap().map(|record| number_at(&record, 0));
        assert_eq!(found(&5_u64.to_be_bytes()), Some(5));
        assert_eq!(found(&count.to_be_bytes()), None);
        assert_eq!(found(&0x300_u64.to_be_bytes()[..7]), Some(0x300));
        assert_eq!(found(&u64::MAX.to_be_bytes()[..1]), None);
        let mut cursor = sorted.cursor().unwrap();
        let mut group = 0;
        while cursor.take_if_begins_with(&0_u64.to_be_bytes()[..7]).unwrap().is_some() {
            group += 1;
        }
        assert_eq!((group, cursor.take().unwrap()), (256, Some(256_u64.to_be_bytes())));
    }

    #[test]
    fn two_lists_become_one() {
        let folder = tempfile::tempdir().unwrap();
        let list = |numbers: &[u64]| {
            let mut sorter = Sorter::<8>::new(folder.path(), "numbers");
            numbers.iter().for_each(|number| sorter.push(number.to_be_bytes()).unwrap());
            sorter.finish().unwrap()
        };
        let (mut one, mut none) = (list(&[3, 1]), list(&[]));
        one.merge(folder.path(), list(&[])).unwrap();
        one.merge(folder.path(), list(&[2, 3])).unwrap();
        none.merge(folder.path(), one).unwrap();
        let mut cursor = none.cursor().unwrap();
        let mut all = Vec::new();
        while let Some(record) = cursor.take().unwrap() {
            all.push(number_at(&record, 0));
        }
        assert_eq!(all, [1, 2, 3, 3]);
    }

    #[test]
    fn texts_come_back_by_their_number() {
        let folder = tempfile::tempdir().unwrap();
        let mut texts = Texts::new(folder.path(), "ids").unwrap();
        for text in ["a", "", "çde"] {
            texts.push(text).unwrap();
        }
        texts.flush().unwrap();
        assert_eq!([0, 1, 2, 3].map(|number| texts.get(number).unwrap()), ["a", "", "çde", ""]);
    }
}
