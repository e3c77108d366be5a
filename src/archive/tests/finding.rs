#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

use super::build::{Part, open, stored, zip};
use crate::archive::Archive;

/// An archive with this part and an event, so that there is no folder around everything.
fn beside_event(part: Part) -> Archive {
    open(&zip(vec![part, stored("event", b"{}")]))
}

fn named(names: &[&str]) -> Archive {
    open(&zip(names.iter().map(|name| stored(name, b"")).collect()))
}

fn paths(archive: &Archive) -> Vec<&str> {
    archive.entries().iter().map(|entry| entry.path.as_str()).collect()
}

#[test]
fn the_one_folder_around_everything_is_cut() {
    assert_eq!(
        paths(&named(&["e/", "e/event", "e/images/", "e/images/a.png"])),
        ["", "event", "images", "images/a.png"]
    );
    assert_eq!(paths(&named(&["e\\event", "e\\images\\a.png"])), ["event", "images/a.png"]);
}

#[test]
fn what_a_system_leaves_behind_does_not_count_for_the_folder() {
    let archive = named(&[".DS_Store", "e/event", "e/._event", "__MACOSX/e/._event", "Thumbs.db"]);
    assert_eq!(paths(&archive), [".DS_Store", "event", "._event", "__MACOSX/e/._event", "Thumbs.db"]);
}

#[test]
fn two_folders_or_a_file_beside_them_are_left_as_they_are() {
    for names in [&["a/event", "b/event"][..], &["a/event", "event"], &["ab/event", "a/event"], &["a/"], &["event"]] {
        let expected: Vec<&str> = names.iter().map(|name| name.trim_end_matches('/')).collect();
        assert_eq!(paths(&named(names)), expected);
    }
}

#[test]
fn only_one_folder_is_cut() {
    assert_eq!(paths(&named(&["a/b/event"])), ["b/event"]);
}

#[test]
fn the_index_of_an_entry_is_its_place() {
    let archive = named(&["b", "a", "c/d"]);
    assert!(archive.entries().iter().enumerate().all(|(place, entry)| entry.index == place));
    assert_eq!(["b", "a", "c/d", "c"].map(|path| archive.find(path)), [Some(0), Some(1), Some(2), None]);
}

#[test]
fn a_path_is_found_below_the_folder_around_everything() {
    let archive = named(&["e/event", "e/images/speakers/1.png"]);
    for path in
        ["images/speakers/1.png", "/images/speakers/1.png", "./images//speakers/1.png", "\\images\\speakers\\1.png"]
    {
        assert_eq!(archive.find(path), Some(1), "{path}");
    }
    assert_eq!(archive.find("Images/speakers/1.png"), None);
    assert_eq!(archive.find(""), None);
}

#[test]
fn a_folder_is_no_file() {
    assert_eq!(named(&["event", "images/"]).find("images"), None);
}

#[test]
fn composed_and_decomposed_letters_are_the_same() {
    assert_eq!(named(&["images/Mu\u{308}ller.png", "event"]).find("images/M\u{fc}ller.png"), Some(0));
    assert_eq!(named(&["images/M\u{fc}ller.png", "event"]).find("images/Mu\u{308}ller.png"), Some(0));
}

#[test]
fn names_in_an_old_code_are_decoded() {
    let part = Part { name: b"images/M\x81ller.png".to_vec(), ..stored("", b"") };
    let archive = beside_event(part);
    assert_eq!(archive.entries()[0].name, "images/M\u{fc}ller.png");
    assert_eq!(archive.entries()[0].raw_name, b"images/M\x81ller.png");
    assert_eq!(archive.find("images/Müller.png"), Some(0));
}

#[test]
fn a_name_in_latin_1_is_found() {
    let part = Part { name: b"images/M\xfcller.png".to_vec(), ..stored("", b"") };
    assert_eq!(beside_event(part).find("images/Müller.png"), Some(0));
}

#[test]
fn a_name_that_was_misread_before_it_was_written_is_found() {
    // UTF-8 `ü` is C3 BC: `├╝` in code page 437, `Ã¼` in Latin-1.
    for name in ["images/M├╝ller.png", "images/MÃ¼ller.png"] {
        assert_eq!(named(&[name, "event"]).find("images/Müller.png"), Some(0), "{name}");
        assert_eq!(named(&["images/Müller.png", "event"]).find(name), Some(0), "{name}");
    }
}

#[test]
fn the_name_in_utf_8_beside_the_old_one_counts_where_it_belongs_to_it() {
    let raw = b"images/M_ller.png";
    let mut field = vec![1];
    field.extend(crc32fast::hash(raw).to_le_bytes());
    field.extend("images/Müller.png".as_bytes());
    let with = |field: &[u8]| {
        let mut extra = vec![0x75, 0x70, u8::try_from(field.len()).unwrap(), 0];
        extra.extend(field);
        open(&zip(vec![Part { name: raw.to_vec(), extra, ..stored("", b"") }])).entries()[0].name.clone()
    };
    assert_eq!(with(&field), "images/Müller.png");
    field[1] ^= 1;
    assert_eq!(with(&field), "images/M_ller.png");
}

#[test]
fn percent_encoding_is_the_last_try() {
    let archive = named(&["images/a b.png", "images/100%25.png", "images/100%.png", "images/é.png", "event"]);
    assert_eq!(archive.find("images/a%20b.png"), Some(0));
    assert_eq!(archive.find("images/100%25.png"), Some(1));
    assert_eq!(archive.find("images/100%.png"), Some(2));
    assert_eq!(archive.find("images/e%CC%81.png"), Some(3));
    assert_eq!(archive.find("images/%C3%A9.png"), Some(3));
    assert_eq!(archive.find("images/%FF.png"), None);
}

#[test]
fn the_folder_around_everything_may_be_named() {
    assert_eq!(named(&["e/event", "e/images/1.png"]).find("/e/images/1.png"), Some(1));
    assert_eq!(named(&["images/1.png", "images/2.png"]).find("images/2.png"), Some(1));
    assert_eq!(named(&["e/event", "e/e/event"]).find("e/event"), Some(1), "the path goes before the whole name");
}

#[test]
fn a_name_that_windows_misread_is_found_in_both_directions() {
    let (right, misread) = ("images/It’s “Zoë”.png", "images/Itâ€™s â€œZoÃ«â€\u{9d}.png");
    for (name, path) in [(right, misread), (misread, right)] {
        assert_eq!(beside_event(stored(name, b"")).find(path), Some(0), "{name} as {path}");
    }
}
