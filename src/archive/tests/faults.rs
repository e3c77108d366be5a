//! Each fault, by an archive that has it.

use super::build::{Part, Zip, deflated, file_of, open, read, refusal, stored, zip};
use crate::archive::{Archive, FaultCode, Limits, OpenError};

fn limits() -> Limits {
    Limits::default()
}

fn refused(parts: Vec<Part>) -> (FaultCode, Option<String>) {
    refusal(&zip(parts), &limits())
}

fn about(code: FaultCode, entry: &str) -> (FaultCode, Option<String>) {
    (code, Some(entry.to_owned()))
}

#[test]
fn an_empty_file_is_refused() {
    assert_eq!(refusal(b"", &limits()), (FaultCode::EmptyFile, None));
}

#[test]
fn a_file_that_is_no_zip_is_refused() {
    assert_eq!(refusal(b"%PDF-1.7", &limits()), (FaultCode::NotAZip, None));
    let kinds = [
        (&b"Rar!\x1a\x07\0 and so on"[..], "a RAR archive"),
        (b"7z\xbc\xaf\x27\x1c\0\x04", "a 7z archive"),
        (b"\x1f\x8b\x08", "a gzip file"),
        (b"\xef\xbb\xbf\n[1]", "JSON text"),
        (b"{", "JSON text"),
    ];
    for (bytes, kind) in kinds {
        let Err(OpenError::Fault(fault)) = Archive::open(file_of(bytes), &limits()) else { unreachable!() };
        assert_eq!(fault.code, FaultCode::NotAZip);
        assert_eq!(fault.message, format!("the file is no zip archive but {kind}, whatever its name says"));
    }
}

#[test]
fn a_program_that_unpacks_itself_is_refused() {
    let mut bytes = b"MZ program".to_vec();
    bytes.extend(zip(vec![stored("event", b"{}")]));
    assert_eq!(refusal(&bytes, &limits()), (FaultCode::NotAZip, None));
}

#[test]
fn half_an_archive_is_refused() {
    let bytes = zip(vec![stored("event", b"{}")]);
    assert_eq!(refusal(&bytes[..bytes.len() / 2], &limits()), (FaultCode::Incomplete, None));
}

#[test]
fn an_archive_with_fewer_entries_than_it_says_is_refused() {
    let bytes = Zip { parts: vec![stored("event", b"{}")], entries: Some(2), ..Zip::default() }.bytes();
    assert_eq!(refusal(&bytes, &limits()), (FaultCode::Incomplete, None));
}

#[test]
fn an_archive_with_more_entries_than_it_says_is_refused() {
    let parts = vec![stored("event", b"{}"), stored("speakers", b"[]")];
    let bytes = Zip { parts, entries: Some(1), ..Zip::default() }.bytes();
    assert_eq!(refusal(&bytes, &limits()), (FaultCode::Incomplete, None));
}

#[test]
fn a_part_of_a_split_archive_is_refused() {
    let bytes = Zip { parts: vec![stored("event", b"{}")], disk: 1, ..Zip::default() }.bytes();
    assert_eq!(refusal(&bytes, &limits()), (FaultCode::MultiDisk, None));
}

#[test]
fn an_entry_with_a_password_is_named_when_it_is_read() {
    let archive = open(&zip(vec![Part { flags: 1, ..stored("event", b"{}") }, stored("speakers", b"[]")]));
    assert!(archive.entries()[0].encrypted);
    assert_eq!(read(&archive, 0), Err(FaultCode::Encrypted));
    assert_eq!(read(&archive, 1), Ok(b"[]".to_vec()));
}

#[test]
fn an_entry_of_an_unknown_method_is_named_when_it_is_read() {
    let archive = open(&zip(vec![Part { method: 12, ..stored("event", b"{}") }]));
    assert!(!archive.entries()[0].method_supported);
    assert_eq!(read(&archive, 0), Err(FaultCode::UnsupportedMethod));
}

#[test]
fn changed_bytes_are_told_by_their_checksum() {
    let part = stored("event", b"{}");
    let archive = open(&zip(vec![Part { crc: part.crc ^ 1, ..part }]));
    assert_eq!(read(&archive, 0), Err(FaultCode::CrcMismatch));
}

#[test]
fn bytes_that_cannot_be_inflated_are_damage() {
    let archive = open(&zip(vec![Part { method: 8, ..stored("event", &[0xFF; 40]) }]));
    assert_eq!(read(&archive, 0), Err(FaultCode::EntryDamaged));
}

#[test]
fn deflated_bytes_that_stop_early_are_damage() {
    let mut part = deflated("event", &(0..=255).collect::<Vec<u8>>());
    part.bytes.truncate(20);
    part.compressed = 20;
    assert_eq!(read(&open(&zip(vec![part])), 0), Err(FaultCode::EntryDamaged));
}

#[test]
fn a_size_that_lies_is_damage() {
    for declared in [1, 3] {
        let archive = open(&zip(vec![Part { declared, ..deflated("event", b"{}") }]));
        assert_eq!(read(&archive, 0), Err(FaultCode::EntryDamaged), "{declared}");
    }
}

#[test]
fn two_names_for_the_same_bytes_overlap() {
    let parts = vec![stored("event", b"{}"), Part { offset: Some(0), ..stored("speakers", b"{}") }];
    assert_eq!(refused(parts).0, FaultCode::OverlappingEntries);
}

#[test]
fn an_entry_that_contains_the_next_overlaps() {
    let long = Part { compressed: 40, declared: 40, ..stored("event", b"{}") };
    assert_eq!(refused(vec![long, stored("speakers", b"[]")]), about(FaultCode::OverlappingEntries, "event"));
}

#[test]
fn an_entry_that_reaches_into_the_directory_overlaps() {
    let long = Part { compressed: 3, declared: 3, ..stored("event", b"{}") };
    assert_eq!(refused(vec![long]), about(FaultCode::OverlappingEntries, "event"));
}

#[test]
fn an_entry_beyond_the_end_of_the_file_is_not_there() {
    let long = Part { compressed: 4000, ..stored("event", b"{}") };
    assert_eq!(refused(vec![long]), about(FaultCode::Incomplete, "event"));
    let far = Part { offset: Some(u64::MAX), zip64: true, ..stored("event", b"{}") };
    assert_eq!(refused(vec![far]), about(FaultCode::Incomplete, "event"));
}

#[test]
fn entries_of_the_same_path_cannot_be_read_and_the_others_can() {
    let parts = vec![stored("a/event", b"1"), stored("a/b", b"2"), stored("a\\.\\event", b"3")];
    let archive = open(&zip(parts));
    assert_eq!(archive.duplicates(), [0, 2]);
    assert_eq!(read(&archive, 0), Err(FaultCode::DuplicateEntry));
    assert_eq!(read(&archive, 1), Ok(b"2".to_vec()));
    assert_eq!(read(&archive, 2), Err(FaultCode::DuplicateEntry));
}

#[test]
fn entries_of_the_very_same_name_are_seen_as_two() {
    let archive = open(&zip(vec![stored("event", b"1"), stored("event", b"2")]));
    assert_eq!(archive.duplicates(), [0, 1]);
}

#[test]
fn names_that_lead_out_of_the_archive_are_refused() {
    for name in [
        "../event",
        "a/../../b",
        "a\\..\\b",
        "..",
        "/etc/passwd",
        "\\\\host\\share",
        "C:\\event",
        "c:event",
        "a\0b",
        "",
    ] {
        assert_eq!(refused(vec![stored(name, b"{}")]), about(FaultCode::UnsafeEntryName, name), "{name:?}");
    }
}

#[test]
fn names_that_only_look_odd_are_taken() {
    let names = ["..a", "a..b", "a/...", "1:2", "ab:c", "a b", "~", "-rf"];
    let archive = open(&zip(names.iter().map(|name| stored(name, b"")).collect()));
    assert_eq!(archive.entries().iter().map(|entry| entry.name.as_str()).collect::<Vec<_>>(), names);
}

#[test]
fn a_link_is_refused() {
    let part = Part { attributes: 0o120_777 << 16, ..stored("images/a", b"/etc/passwd") };
    assert_eq!(refused(vec![part]), about(FaultCode::EntryIsLink, "images/a"));
}

#[test]
fn each_limit_holds_what_it_allows_and_refuses_one_more() {
    let bytes = zip(vec![stored("a", b"12345"), stored("bcd", b"123")]);
    let size = bytes.len() as u64;
    type Setting = (FaultCode, fn(&mut Limits, u64), u64);
    let settings: [Setting; 5] = [
        (FaultCode::LimitArchiveBytes, |limits, value| limits.archive_bytes = value, size),
        (FaultCode::LimitEntries, |limits, value| limits.entries = value, 2),
        (FaultCode::LimitEntryBytes, |limits, value| limits.entry_bytes = value, 5),
        (FaultCode::LimitTotalBytes, |limits, value| limits.total_bytes = value, 8),
        (FaultCode::LimitPathLength, |limits, value| limits.path_length = value as usize, 3),
    ];
    for (code, set, value) in settings {
        let mut limits = limits();
        set(&mut limits, value);
        let archive = Archive::open(file_of(&bytes), &limits);
        assert!(archive.is_ok(), "{code:?}: {archive:?}");
        set(&mut limits, value - 1);
        assert_eq!(refusal(&bytes, &limits).0, code);
    }
}

#[test]
fn too_many_entries_are_counted_even_where_the_end_record_lies() {
    let parts = (0..9).map(|number| stored(&number.to_string(), b"")).collect();
    let bytes = Zip { parts, entries: Some(1), ..Zip::default() }.bytes();
    assert_eq!(refusal(&bytes, &Limits { entries: 3, ..limits() }).0, FaultCode::LimitEntries);
}

#[test]
fn what_is_refused_whole_and_what_is_not() {
    let of_an_entry = [
        FaultCode::CrcMismatch,
        FaultCode::EntryDamaged,
        FaultCode::Encrypted,
        FaultCode::UnsupportedMethod,
        FaultCode::DuplicateEntry,
    ];
    assert!(of_an_entry.iter().all(|code| !code.refuses_archive()));
    assert!(FaultCode::LimitRatio.refuses_archive());
    assert!(FaultCode::Incomplete.refuses_archive());
    assert_eq!(FaultCode::NotAZip.as_str(), "NOT_A_ZIP");
}

#[test]
fn a_fault_says_what_to_do() {
    let bytes = zip(vec![stored("../event", b"{}")]);
    let Err(OpenError::Fault(fault)) = Archive::open(file_of(&bytes), &limits()) else { unreachable!() };
    assert_eq!(fault.message, "the name of the entry `../event` is not allowed: it has a part `..`");
    assert_eq!(fault.hint, "zip the folder of the event itself, with plain names in it");
}
