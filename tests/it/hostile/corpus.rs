//! What the fuzz targets begin with, and what they have found: each file goes through the body of its target.

use std::fs;
use std::path::PathBuf;

#[path = "../../../fuzz/bodies.rs"]
mod bodies;

/// The files of a target: its corpus, and what was found by it.
fn files_of(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let fuzz = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let mut files = Vec::new();
    for folder in ["corpus", "findings"] {
        let entries = fs::read_dir(fuzz.join(folder).join(target)).into_iter().flatten();
        files.extend(entries.map(|entry| entry.unwrap().path()).map(|path| (path.clone(), fs::read(path).unwrap())));
    }
    files.sort();
    assert!(files.iter().filter(|(path, _)| path.starts_with(fuzz.join("corpus"))).count() >= 9, "{files:?}");
    files
}

/// Goes through all files, and says which of them panic.
fn replay(target: &str, body: impl Fn(&[u8]) + std::panic::RefUnwindSafe) {
    let panics = |bytes: &[u8]| std::panic::catch_unwind(|| body(bytes)).is_err();
    let bad: Vec<PathBuf> =
        files_of(target).into_iter().filter(|(_, bytes)| panics(bytes)).map(|(path, _)| path).collect();
    assert_eq!(bad, [""; 0].map(PathBuf::from));
}

#[test]
fn every_archive_of_the_corpus_is_opened_or_refused() {
    replay("open", bodies::open);
}

#[test]
fn every_data_file_of_the_corpus_is_read_or_refused() {
    replay("records", bodies::records);
}

#[test]
fn every_archive_of_the_corpus_is_checked_or_refused() {
    let scratch = tempfile::tempdir().unwrap();
    replay("check", |bytes| bodies::check(bytes, scratch.path()));
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0, "the check has left files");
}

#[test]
fn no_archive_of_the_corpus_breaks_what_another_target_does() {
    let scratch = tempfile::tempdir().unwrap();
    replay("open", |bytes| bodies::check(bytes, scratch.path()));
    replay("check", bodies::open);
}
