#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::io::{Seek, SeekFrom, Write};

use super::build::{Part, Zip, deflated, file_of, open, stored, zip};
use crate::archive::{Archive, Limits, OpenError, Wholeness, probe};

fn look(bytes: &[u8]) -> Wholeness {
    probe(&file_of(bytes)).unwrap()
}

fn is_incomplete(bytes: &[u8]) -> bool {
    matches!(look(bytes), Wholeness::Incomplete { .. })
}

fn small() -> Vec<u8> {
    let inner = zip(vec![stored("inner", b"1")]);
    let parts = vec![stored("nested.zip", &inner), deflated("event", b"{\"id\": 1}"), stored("images/", b"")];
    Zip { parts, comment: b"made by hand".to_vec(), ..Zip::default() }.bytes()
}

#[test]
fn a_zip_is_whole() {
    assert_eq!(look(&small()), Wholeness::Whole);
}

#[test]
fn a_zip_without_entries_is_whole() {
    assert_eq!(look(&zip(vec![])), Wholeness::Whole);
}

#[test]
fn no_bytes_are_empty() {
    assert_eq!(look(b""), Wholeness::Empty);
}

#[test]
fn a_zip_that_is_cut_anywhere_is_incomplete() {
    for bytes in [small(), Zip { parts: vec![stored("a", b"1")], zip64: true, ..Zip::default() }.bytes(), zip(vec![])] {
        for length in 1..bytes.len() {
            assert!(is_incomplete(&bytes[..length]), "{length}");
            let opened = Archive::open(file_of(&bytes[..length]), &Limits::default());
            assert!(matches!(opened, Err(OpenError::Fault(_))), "{length}");
        }
    }
}

#[test]
fn a_zip_cut_behind_a_zip_that_it_contains_is_incomplete() {
    let inner = zip(vec![stored("inner", b"1")]);
    let bytes = zip(vec![stored("nested.zip", &inner), stored("event", b"{}")]);
    let end = 30 + "nested.zip".len() + inner.len();
    assert_eq!(&bytes[end..end + 4], b"PK\x03\x04");
    assert!(is_incomplete(&bytes[..end]));
}

#[test]
fn a_zip_cut_behind_an_empty_zip_that_it_contains_is_incomplete() {
    let outer = zip(vec![stored("slides/none.zip", &zip(Vec::new())), stored("event", b"{}")]);
    let behind_inner = 30 + "slides/none.zip".len() + 22;
    assert!(is_incomplete(&outer[..behind_inner]));
    assert_eq!(look(&outer), Wholeness::Whole);
}

#[test]
fn a_file_that_waits_for_its_bytes_is_incomplete() {
    let bytes = small();
    let file = file_of(&bytes[..50]);
    file.set_len(bytes.len() as u64).unwrap();
    assert!(matches!(probe(&file).unwrap(), Wholeness::Incomplete { .. }));
}

#[test]
fn a_file_that_is_allocated_and_not_filled_from_its_beginning_is_incomplete() {
    let bytes = small();
    let file = file_of(b"");
    file.set_len(bytes.len() as u64).unwrap();
    for at in (0..bytes.len()).rev() {
        assert!(matches!(probe(&file).unwrap(), Wholeness::Incomplete { .. }), "{at}");
        std::os::unix::fs::FileExt::write_all_at(&file, &bytes[at..=at], at as u64).unwrap();
    }
    assert_eq!(probe(&file).unwrap(), Wholeness::Whole);
}

#[test]
fn a_file_of_which_only_beginning_and_end_are_there_is_incomplete() {
    let bytes = small();
    let second = 30 + "nested.zip".len() + zip(vec![stored("inner", b"1")]).len();
    let mut holed = bytes.clone();
    holed[second..second + 20].fill(0);
    let why = "the entry `event` is not there whole".to_owned();
    assert_eq!(look(&holed), Wholeness::Incomplete { why });
}

#[test]
fn other_files_are_no_zips() {
    for bytes in [&b"hello"[..], b"P", b"PK", b"PK\x03", b"PKZIP", b"MZ\x90\0", b"\0\0\0\x01", b"PK\x07\x08"] {
        let expected_incomplete = matches!(bytes, b"P" | b"PK" | b"PK\x03");
        assert_eq!(is_incomplete(bytes), expected_incomplete, "{bytes:?}");
        assert_eq!(look(bytes) == Wholeness::NotZip, !expected_incomplete, "{bytes:?}");
    }
}

#[test]
fn a_program_that_unpacks_itself_is_no_zip() {
    let mut bytes = b"#!/bin/sh\n".to_vec();
    bytes.extend(small());
    assert_eq!(look(&bytes), Wholeness::NotZip);
}

#[test]
fn the_longest_comment_does_not_hide_the_end() {
    let mut comment = vec![b'x'; 0xFFFF];
    comment[100..104].copy_from_slice(b"PK\x05\x06");
    let bytes = Zip { parts: vec![stored("event", b"{}")], comment, ..Zip::default() }.bytes();
    assert_eq!(look(&bytes), Wholeness::Whole);
    assert_eq!(open(&bytes).entries().len(), 1);
}

#[test]
fn an_end_record_in_the_comment_that_fits_nothing_is_passed_over() {
    let mut comment = b"PK\x05\x06".to_vec();
    comment.extend([0, 0, 0, 0, 1, 0, 1, 0, 50, 0, 0, 0, 3, 0, 0, 0, 0, 0]);
    let bytes = Zip { parts: vec![stored("event", b"{}")], comment, ..Zip::default() }.bytes();
    assert_eq!(look(&bytes), Wholeness::Whole);
    assert_eq!(open(&bytes).entries()[0].path, "event");
}

#[test]
fn bytes_behind_the_end_make_it_incomplete() {
    let mut bytes = small();
    bytes.push(0);
    assert!(is_incomplete(&bytes));
}

#[test]
fn zip64_is_whole() {
    let parts = vec![Part { zip64: true, ..stored("event", b"{}") }];
    assert_eq!(look(&Zip { parts, zip64: true, ..Zip::default() }.bytes()), Wholeness::Whole);
}

#[test]
fn descriptors_are_whole() {
    assert_eq!(look(&zip(vec![Part { descriptor: true, ..deflated("event", b"{}") }])), Wholeness::Whole);
}

#[test]
fn a_part_of_a_split_zip_is_as_whole_as_it_will_be() {
    let bytes = Zip { parts: vec![stored("event", b"{}")], disk: 1, ..Zip::default() }.bytes();
    assert_eq!(look(&bytes), Wholeness::Whole);
}

#[test]
fn more_entries_than_16_bits_count_are_whole() {
    let parts: Vec<Part> = (0..65_540).map(|number| stored(&number.to_string(), b"")).collect();
    assert_eq!(look(&zip(parts)), Wholeness::Whole);
}

#[test]
fn looking_leaves_the_position_of_the_file_alone() {
    let mut file = file_of(&small());
    file.seek(SeekFrom::Start(7)).unwrap();
    probe(&file).unwrap();
    assert_eq!(file.stream_position().unwrap(), 7);
    file.write_all(b"x").unwrap();
}
