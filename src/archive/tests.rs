#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::fs::File;
use std::io::{Cursor, Read, Write};

use super::*;

fn file_of(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file
}

#[test]
fn what_was_written_is_read_back() {
    let mut writer = Writer::new(Cursor::new(Vec::new()));
    writer.add("top/event", &mut &b"{}"[..]).unwrap();
    writer.add("top/images/a.png", &mut &b"pixels"[..]).unwrap();
    let bytes = writer.finish().unwrap().into_inner();
    assert_eq!(probe(&file_of(&bytes)).unwrap(), Wholeness::Whole);
    let archive = Archive::open(file_of(&bytes), &Limits::default()).unwrap();
    let index = archive.find("/images/a.png").unwrap();
    let mut read = Vec::new();
    archive.reader(index).unwrap().read_to_end(&mut read).unwrap();
    assert_eq!(read, b"pixels");
    assert_eq!(archive.entries()[0].path, "event");
}
