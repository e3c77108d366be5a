#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};

use super::build::{file_of, open, read};
use crate::archive::{Wholeness, Writer, probe};

fn write(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = Writer::new(Cursor::new(Vec::new()));
    for (name, mut bytes) in entries.iter().copied() {
        writer.add(name, &mut bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

#[test]
fn what_was_written_is_read_in_its_order() {
    let bytes = write(&[("speakers", &[b'a'; 200_000]), ("event", b"{}"), ("images/ü.png", &[b'b'; 1000])]);
    assert_eq!(probe(&file_of(&bytes)).unwrap(), Wholeness::Whole);
    let archive = open(&bytes);
    let names: Vec<&str> = archive.entries().iter().map(|entry| entry.name.as_str()).collect();
    assert_eq!(names, ["speakers", "event", "images/ü.png"]);
    assert_eq!(read(&archive, 0).unwrap(), [b'a'; 200_000]);
    assert_eq!(read(&archive, 1).unwrap(), b"{}");
    assert_eq!(read(&archive, 2).unwrap(), [b'b'; 1000]);
}

#[test]
fn text_is_packed_and_media_is_stored() {
    let archive = open(&write(&[("speakers", &[b'a'; 5000]), ("a.PNG", &[b'b'; 5000])]));
    assert!(archive.entries()[0].compressed < 100);
    assert_eq!(archive.entries()[1].compressed, 5000);
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let entries: &[(&str, &[u8])] = &[("event", b"{\"id\": 1}"), ("images/a.png", b"pixels")];
    assert_eq!(write(entries), write(entries));
    // The DOS date 0x0021 with the time 0 is 1980-01-01 00:00:00.
    assert_eq!(write(entries)[10..14], [0, 0, 0x21, 0]);
}

#[test]
fn names_that_would_be_refused_are_not_written() {
    for name in ["../a", "/a", "C:a", ""] {
        let error = Writer::new(Cursor::new(Vec::new())).add(name, &mut io::empty()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{name}");
    }
}

#[test]
fn a_name_is_written_once() {
    let mut writer = Writer::new(Cursor::new(Vec::new()));
    writer.add("event", &mut io::empty()).unwrap();
    assert!(writer.add("event", &mut io::empty()).is_err());
}

#[test]
fn an_error_of_the_reader_comes_through() {
    struct Failing;
    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::from(io::ErrorKind::TimedOut))
        }
    }
    let error = Writer::new(Cursor::new(Vec::new())).add("event", &mut Failing).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
}

#[test]
fn a_zip_without_entries_is_written() {
    assert!(open(&write(&[])).entries().is_empty());
}

/// A disk on which the call after so many is refused; those after it are not.
#[derive(Debug)]
struct Brittle {
    bytes: Cursor<Vec<u8>>,
    calls_left: Option<u32>,
}

impl Brittle {
    fn call(&mut self) -> io::Result<()> {
        self.calls_left = match self.calls_left {
            Some(0) => {
                self.calls_left = None;
                return Err(io::Error::from(io::ErrorKind::StorageFull));
            }
            left => left.map(|left| left - 1),
        };
        Ok(())
    }
}

impl Write for Brittle {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.call()?;
        self.bytes.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Brittle {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.call()?;
        self.bytes.seek(to)
    }
}

#[test]
fn whichever_call_the_disk_refuses_the_writer_ends_with_that_error_and_nothing_else() {
    let write = |calls_left| {
        let mut writer = Writer::new(Brittle { bytes: Cursor::default(), calls_left: Some(calls_left) });
        writer.add("speakers", &mut [b'a'; 100_000].as_slice())?;
        writer.add("images/a.png", &mut [b'b'; 100_000].as_slice())?;
        writer.add_with("event", |entry| entry.write_all(b"{}"))?;
        writer.finish()
    };
    let whole = write(u32::MAX).unwrap().bytes.into_inner();
    let mut refused = 0;
    while let Err(error) = write(refused) {
        assert_eq!(error.kind(), io::ErrorKind::StorageFull, "call {refused}: {error}");
        refused += 1;
    }
    assert!(refused > 20, "{refused}");
    assert_eq!(write(refused).unwrap().bytes.into_inner(), whole);
}
