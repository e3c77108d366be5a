//! How much is in memory, what is done twice, and what fails.

use std::cell::Cell as Counter;
use std::io::{self, Write};
use std::rc::Rc;

use super::*;
use crate::export::program::RenderError;

/// Counts the lines that come out.
struct Lines(Rc<Counter<i64>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let lines = bytes.iter().filter(|byte| **byte == b'\n').count();
        self.0.set(self.0.get() + i64::try_from(lines).unwrap());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn csv_holds_only_a_few_of_fifty_thousand_sessions_at_a_time() {
    let written = Rc::new(Counter::new(0));
    let held_at_most = Rc::new(Counter::new(0));
    let (seen, most) = (Rc::clone(&written), Rc::clone(&held_at_most));
    let source = Fake::new(programme(Privacy::Public)).with_sessions(50_000, move |number| {
        most.set(most.get().max(number - seen.get()));
        Ok(session(number))
    });
    let rendered = csv::render_sessions(&source, &mut Lines(Rc::clone(&written))).unwrap();
    assert_eq!((rendered.sessions, written.get()), (50_000, 50_001));
    assert!(held_at_most.get() < 200, "{} were read and not written", held_at_most.get());
}

/// The most memory that this process has had, in KiB.
fn most_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Set in the process that has the measurement to itself.
const ALONE: &str = "EVENTFERRY_TEST_ALONE";

#[test]
fn a_workbook_of_fifty_thousand_sessions_takes_no_more_memory_than_a_small_one() {
    if std::env::var_os(ALONE).is_none() {
        let name = "a_workbook_of_fifty_thousand_sessions_takes_no_more_memory_than_a_small_one";
        let path = module_path!().split_once("::").map(|(_, module)| format!("{module}::{name}")).unwrap();
        #[expect(clippy::disallowed_methods, reason = "other tests share this process and its memory")]
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", &path])
            .env(ALONE, "1")
            .output();
        let output = output.unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    // 50 MB of titles, several times what may be added.
    let large = |count| {
        Fake::new(programme(Privacy::Public)).with_sessions(count, |number| {
            Ok(Session { title: format!("{number} {}", "x".repeat(1_000)), ..session(number) })
        })
    };
    workbook(&large(500), folder.path());
    let before = most_memory();
    let (_, rendered) = workbook(&large(50_000), folder.path());
    let added = most_memory() - before;
    assert_eq!(rendered.sessions, 50_000);
    assert!(added < 8 * 1_024, "{added} KiB more");
}

#[test]
fn the_same_data_gives_the_same_bytes() {
    let source = Fake::new(programme(Privacy::Private))
        .with_sessions(50, |number| {
            Ok(Session { starts_at: Some(at("2026-10-25T00:30:00Z")), room: Some(1), ..session(number) })
        })
        .with_speakers(20, speaker);
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    assert!(workbook(&source, one.path()) == workbook(&source, other.path()));
    assert!(csv_of_sessions(&source) == csv_of_sessions(&source));
    assert!(csv_of_speakers(&source) == csv_of_speakers(&source));
}

#[test]
fn rows_that_a_sheet_does_not_carry_are_left_out_and_noted() {
    let folder = tempfile::tempdir().unwrap();
    let source = Fake::new(programme(Privacy::Public)).with_sessions(5, |number| Ok(session(number)));
    let mut bytes = Vec::new();
    let rendered = xlsx::render_into(&source, &mut bytes, folder.path(), 3).unwrap();
    assert_eq!(rendered.sessions, 3);
    let (_, noted) = rendered.notes.iter().find(|(code, _)| *code == NoteCode::RowsLeftOut).unwrap();
    let titles: Vec<&str> = noted.examples.iter().map(|example| example.title.as_str()).collect();
    assert_eq!((noted.count, titles), (2, vec!["Session 3", "Session 4"]));
    let book = read_by_python("xlsx", &bytes);
    assert_eq!(book["sheets"][0]["rows"].as_array().unwrap().len(), 4);
    assert_eq!(book["sheets"][0]["filter"], "A1:S4");
}

#[test]
fn a_source_that_fails_half_way_fails_the_file() {
    let source = Fake::new(programme(Privacy::Public)).with_sessions(10, |number| {
        if number == 5 { Err(ReadError("the database is gone".to_owned())) } else { Ok(session(number)) }
    });
    let folder = tempfile::tempdir().unwrap();
    let of_csv = csv::render_sessions(&source, &mut Vec::new()).unwrap_err();
    let of_workbook = xlsx::render(&source, &folder.path().join("event.xlsx")).unwrap_err();
    assert!(matches!((of_csv, of_workbook), (RenderError::Read(_), RenderError::Read(_))));
}

#[test]
fn a_disk_that_is_full_is_an_error_and_no_panic() {
    /// A disk that is full after some bytes.
    struct Full(usize);
    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            match self.0.checked_sub(bytes.len()) {
                Some(left) => {
                    self.0 = left;
                    Ok(bytes.len())
                }
                None => Err(io::ErrorKind::StorageFull.into()),
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    let source = Fake::new(programme(Privacy::Public)).with_sessions(200, |number| Ok(session(number)));
    for room in [0, 2, 100, 5_000] {
        let error = csv::render_sessions(&source, &mut Full(room)).unwrap_err();
        assert!(matches!(error, RenderError::Write(_)), "{error}");
        let folder = tempfile::tempdir().unwrap();
        let error = xlsx::render_into(&source, &mut Full(room), folder.path(), 1_000).unwrap_err();
        assert!(matches!(error, RenderError::Write(_)), "{error}");
    }
    let nowhere = xlsx::render(&source, Path::new("/nowhere/event.xlsx")).unwrap_err();
    assert!(matches!(nowhere, RenderError::Write(error) if error.kind() == io::ErrorKind::NotFound));
}
