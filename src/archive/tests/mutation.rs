//! Whatever the bytes are, there is an answer, and what is read has its checksum.

use proptest::prelude::*;

use super::build::{Part, Zip, deflated, file_of, read, stored};
use crate::archive::{Archive, Limits, OpenError, Wholeness, probe};

fn small() -> Vec<u8> {
    let parts = vec![
        deflated("event", b"{\"id\": 1, \"name\": \"a a a a a a a a a\"}"),
        Part { zip64: true, ..stored("speakers", b"[]") },
        Part { descriptor: true, ..deflated("images/a.png", b"pixels") },
    ];
    Zip { parts, zip64: true, comment: b"c".to_vec(), ..Zip::default() }.bytes()
}

/// Looks, opens and reads; a file that opens counts as whole, and a disk that is in order gives no I/O error.
fn go_through(bytes: &[u8]) {
    let limits = Limits { total_bytes: 1024 * 1024, ..Limits::default() };
    let wholeness = probe(&file_of(bytes));
    match Archive::open(file_of(bytes), &limits) {
        Ok(archive) => {
            assert!(matches!(wholeness, Ok(Wholeness::Whole)), "{wholeness:?}");
            for entry in archive.entries() {
                if let Ok(read) = read(&archive, entry.index) {
                    assert_eq!(crc32fast::hash(&read), entry.crc);
                    assert_eq!(read.len() as u64, entry.declared);
                }
                archive.find(&entry.path);
            }
        }
        Err(OpenError::Fault(_)) => assert!(wholeness.is_ok(), "{wholeness:?}"),
        Err(OpenError::Io(error)) => unreachable!("{error}"),
    }
}

#[test]
fn every_byte_may_be_anything() {
    let bytes = small();
    for at in 0..bytes.len() {
        for value in [0, 1, 0x7F, 0x80, 0xFF, bytes[at] ^ 1, bytes[at].wrapping_add(1)] {
            let mut changed = bytes.clone();
            changed[at] = value;
            go_through(&changed);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn random_bytes_do_no_harm(tail in proptest::collection::vec(any::<u8>(), 0..300)) {
        go_through(&tail);
        go_through(&[&b"PK\x03\x04"[..], &tail].concat());
        let mut ended = [&b"PK\x03\x04"[..], &tail, b"PK\x05\x06"].concat();
        ended.extend(tail.iter().chain(&[0; 18]).take(16));
        ended.extend([0, 0]);
        go_through(&ended);
    }

    #[test]
    fn random_changes_do_no_harm(changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<[u8; 4]>()), 1..6)) {
        let mut bytes = small();
        for (at, value) in changes {
            let at = at.index(bytes.len() - 4);
            bytes[at..at + 4].copy_from_slice(&value);
        }
        go_through(&bytes);
    }

    #[test]
    fn what_was_packed_is_what_is_read(bytes in proptest::collection::vec(any::<u8>(), 0..5000), name in "[a-zé]{1,20}") {
        let zip = Zip { parts: vec![deflated(&name, &bytes), stored("0", &bytes)], ..Zip::default() }.bytes();
        let archive = super::build::open(&zip);
        prop_assert_eq!(read(&archive, 0), Ok(bytes.clone()));
        prop_assert_eq!(read(&archive, 1), Ok(bytes));
    }
}
