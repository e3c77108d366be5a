#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::io::Read;
use std::os::unix::fs::FileExt;

use super::build::{Part, Zip, code_of, deflated, file_of, open, read, stored, zip};
use crate::archive::{Archive, FaultCode, Limits, ReadError, Wholeness, probe};

const MIB: usize = 1024 * 1024;

fn open_within(bytes: &[u8], limits: &Limits) -> Archive {
    Archive::open(file_of(bytes), limits).unwrap()
}

fn text() -> Vec<u8> {
    (0..20_000_u32).flat_map(|number| number.to_string().into_bytes()).collect()
}

#[test]
fn an_archive_and_its_readers_can_go_to_another_thread() {
    fn is_send<T: Send + 'static>(_: &T) {}
    fn is_sync<T: Sync>(_: &T) {}
    let archive = open(&zip(vec![stored("event", b"{}")]));
    is_sync(&archive);
    is_send(&archive.reader(0).unwrap());
    is_send(&archive);
}

#[test]
fn readers_do_not_disturb_each_other() {
    let archive = open(&zip(vec![deflated("a", &text()), stored("b", &text())]));
    let mut readers = [archive.reader(0).unwrap(), archive.reader(1).unwrap(), archive.reader(0).unwrap()];
    drop(archive);
    let mut read: [Vec<u8>; 3] = Default::default();
    let mut buffer = [0; 777];
    loop {
        let mut moved = false;
        for (reader, read) in readers.iter_mut().zip(&mut read) {
            let length = reader.read(&mut buffer).unwrap();
            read.extend(&buffer[..length]);
            moved |= length > 0;
        }
        if !moved {
            break;
        }
    }
    assert!(read.iter().all(|bytes| *bytes == text()));
    assert!(readers.iter().all(|reader| reader.count() == text().len() as u64));
}

#[test]
fn the_numbers_of_zip64_are_read() {
    let parts = vec![Part { zip64: true, ..deflated("event", &text()) }, stored("b", b"2")];
    let archive = open(&Zip { parts, zip64: true, ..Zip::default() }.bytes());
    assert_eq!(archive.entries()[0].declared, text().len() as u64);
    assert_eq!(read(&archive, 0), Ok(text()));
    assert_eq!(read(&archive, 1), Ok(b"2".to_vec()));
}

#[test]
fn entries_beyond_four_gib_are_read() {
    let parts = vec![stored("a", b"1"), Part { zip64: true, ..deflated("event", &text()) }];
    let gap = 5 << 30;
    let bytes = Zip { parts, zip64: true, gap, ..Zip::default() }.bytes();
    let (first, rest) = bytes.split_at(30 + 1 + 1);
    let file = file_of(first);
    file.write_all_at(rest, first.len() as u64 + gap).unwrap();
    assert_eq!(probe(&file).unwrap(), Wholeness::Whole);
    let archive = Archive::open(file, &Limits::default()).unwrap();
    assert_eq!(read(&archive, 0), Ok(b"1".to_vec()));
    assert_eq!(read(&archive, 1), Ok(text()));
}

#[test]
fn sizes_that_follow_the_bytes_do_no_harm() {
    let parts =
        vec![Part { descriptor: true, ..deflated("event", &text()) }, Part { descriptor: true, ..stored("b", b"2") }];
    let archive = open(&zip(parts));
    assert_eq!(read(&archive, 0), Ok(text()));
    assert_eq!(read(&archive, 1), Ok(b"2".to_vec()));
}

#[test]
fn an_entry_without_bytes_is_read() {
    let archive = open(&zip(vec![deflated("a", b""), stored("b", b"")]));
    assert_eq!(read(&archive, 0), Ok(Vec::new()));
    assert_eq!(read(&archive, 1), Ok(Vec::new()));
}

#[test]
fn a_bomb_is_stopped_by_its_ratio_whatever_size_it_states() {
    for declared in [1, 64 * MIB as u64] {
        let archive = open(&zip(vec![Part { declared, ..deflated("event", &vec![0; 64 * MIB]) }]));
        let mut reader = archive.reader(0).unwrap();
        let mut buffer = vec![0; 64 * 1024];
        let error = loop {
            match reader.read(&mut buffer) {
                Ok(length) => assert_ne!(length, 0),
                Err(error) => break error,
            }
        };
        assert_eq!(code_of(&error), FaultCode::LimitRatio);
        let most = archive.entries()[0].compressed * 1000 + buffer.len() as u64;
        assert!(reader.count() <= most, "{} of {most}", reader.count());
    }
}

#[test]
fn small_entries_may_be_as_dense_as_they_like() {
    let archive = open(&zip(vec![deflated("event", &vec![b' '; MIB])]));
    assert!(archive.entries()[0].compressed * 1000 < MIB as u64 + 100_000);
    let limits = Limits { ratio: 2, ..Limits::default() };
    let archive = open_within(&zip(vec![deflated("event", &vec![b' '; MIB])]), &limits);
    assert_eq!(read(&archive, 0).unwrap().len(), MIB);
    let archive = open_within(&zip(vec![deflated("event", &vec![b' '; MIB + 1])]), &limits);
    assert_eq!(read(&archive, 0), Err(FaultCode::LimitRatio));
}

#[test]
fn an_entry_that_states_little_and_gives_much_is_stopped() {
    let limits = Limits { entry_bytes: 1000, ..Limits::default() };
    let archive = open_within(&zip(vec![Part { declared: 10, ..deflated("event", &text()) }]), &limits);
    assert_eq!(read(&archive, 0), Err(FaultCode::LimitEntryBytes));
}

#[test]
fn the_total_counts_over_one_pass() {
    let limits = Limits { total_bytes: 10, ..Limits::default() };
    let archive = open_within(&zip(vec![stored("a", b"123456"), stored("b", b"1234")]), &limits);
    for _ in 0..3 {
        archive.begin_pass();
        assert!(read(&archive, 0).is_ok());
        assert!(read(&archive, 1).is_ok());
    }
    assert_eq!(read(&archive, 1), Err(FaultCode::LimitTotalBytes));
    archive.begin_pass();
    assert!(read(&archive, 1).is_ok());
}

#[test]
fn an_index_that_is_not_there_is_an_error_and_no_fault() {
    let archive = open(&zip(vec![]));
    assert!(archive.entries().is_empty());
    assert!(matches!(archive.reader(0), Err(ReadError::Io(_))));
}

#[test]
fn a_file_that_was_cut_after_it_was_opened_gives_a_fault() {
    let file = file_of(&zip(vec![stored("event", &text())]));
    let archive = Archive::open(file.try_clone().unwrap(), &Limits::default()).unwrap();
    file.set_len(100).unwrap();
    assert_eq!(read(&archive, 0), Err(FaultCode::EntryDamaged));
}

#[test]
fn an_empty_buffer_is_not_the_end() {
    let archive = open(&zip(vec![stored("event", b"{}")]));
    let mut reader = archive.reader(0).unwrap();
    assert_eq!(reader.read(&mut []).unwrap(), 0);
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, b"{}");
}
