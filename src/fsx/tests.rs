#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

use rustix::fs::Mode;
use tempfile::{TempDir, tempdir};

use super::*;

/// Where a second file system is, for moves across the border.
const OTHER_FILE_SYSTEM: &str = "/dev/shm";

fn put(path: &Path, text: &str) {
    File::create(path).unwrap().write_all(text.as_bytes()).unwrap();
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

fn names(folder: &TempDir) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder.path()).unwrap().map(|entry| display_name(entry.unwrap().file_name())).collect();
    names.sort();
    names
}

#[test]
fn an_atomic_write_replaces_the_whole_file_and_leaves_nothing_else() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("a");
    write_atomic(&path, b"a long first text").unwrap();
    write_atomic(&path, b"short").unwrap();
    assert_eq!(text(&path), "short");
    assert_eq!(names(&folder), ["a"]);
}

#[test]
fn an_atomic_file_is_not_seen_before_its_commit() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("a");
    put(&path, "old");
    let mut file = AtomicFile::create(&path).unwrap();
    file.write_all(b"new").unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    file.write_all(b"N").unwrap();
    assert_eq!(text(&path), "old");
    file.commit().unwrap();
    assert_eq!(text(&path), "New");
}

#[test]
fn an_atomic_file_that_is_given_up_leaves_the_old_one_and_no_temporary() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("a");
    put(&path, "old");
    drop(AtomicFile::create(&path).unwrap());
    assert_eq!(text(&path), "old");
    assert_eq!(names(&folder), ["a"]);
}

#[test]
fn a_commit_as_new_does_not_replace() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("a");
    put(&path, "old");
    let error = AtomicFile::create(&path).unwrap().commit_new().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert_eq!(names(&folder), ["a"]);
    assert_eq!(text(&path), "old");
}

#[test]
fn the_sweep_takes_the_leftovers_of_a_crash_and_not_what_is_being_written() {
    let folder = tempdir().unwrap();
    put(&folder.path().join(".eventferry-tmp-77-0"), "half");
    put(&folder.path().join(".hidden"), "kept");
    put(&folder.path().join("eventferry-tmp-1"), "kept");
    let mut file = AtomicFile::create(&folder.path().join("a")).unwrap();
    assert_eq!(sweep_temporaries(folder.path()).unwrap(), 1);
    file.write_all(b"whole").unwrap();
    file.commit().unwrap();
    assert_eq!(names(&folder), [".hidden", "a", "eventferry-tmp-1"]);
    assert_eq!(sweep_temporaries(&folder.path().join("none")).unwrap(), 0);
}

#[test]
fn a_leftover_under_the_next_temporary_name_is_passed_over() {
    let folder = tempdir().unwrap();
    let own = |number: u64| folder.path().join(format!(".eventferry-tmp-{}-{number}", std::process::id()));
    // The counter is shared with the tests beside this one, so a whole stretch is taken.
    for number in 0..200 {
        put(&own(number), "half");
    }
    write_atomic(&folder.path().join("a"), b"whole").unwrap();
    assert_eq!(text(&folder.path().join("a")), "whole");
    assert_eq!(text(&own(0)), "half");
}

#[test]
fn a_rename_replaces_nothing() {
    let folder = tempdir().unwrap();
    let (from, to) = (folder.path().join("from"), folder.path().join("to"));
    put(&from, "from");
    put(&to, "to");
    for rename in [rename_no_replace, link_and_unlink] {
        assert_eq!(rename(&from, &to).unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(rename(&from, &from).unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!((text(&from), text(&to)), ("from".to_owned(), "to".to_owned()));
    }
    fs::remove_file(&to).unwrap();
    symlink("nowhere", &to).unwrap();
    assert_eq!(rename_no_replace(&from, &to).unwrap_err().kind(), ErrorKind::AlreadyExists);
}

#[test]
fn a_file_system_without_such_renames_is_served_by_links() {
    let folder = tempdir().unwrap();
    let (from, to) = (folder.path().join("from"), folder.path().join("to"));
    put(&from, "text");
    link_and_unlink(&from, &to).unwrap();
    assert_eq!(names(&folder), ["to"]);
    assert_eq!(text(&to), "text");
}

#[test]
fn a_crash_between_link_and_unlink_is_finished_by_the_same_call() {
    for rename in [rename_no_replace, link_and_unlink, move_file] {
        let folder = tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        put(&from, "text");
        fs::hard_link(&from, &to).unwrap();
        rename(&from, &to).unwrap();
        assert_eq!(names(&folder), ["to"]);
    }
}

#[test]
fn two_spellings_of_one_name_are_never_taken_for_two_names() {
    let folder = tempdir().unwrap();
    let (path, link) = (folder.path().join("a"), folder.path().join("b"));
    put(&path, "text");
    fs::hard_link(&path, &link).unwrap();
    fs::create_dir(folder.path().join("sub")).unwrap();
    let spelled_otherwise = folder.path().join("sub/../a");
    for rename in [rename_no_replace, link_and_unlink, move_file] {
        assert_eq!(rename(&spelled_otherwise, &path).unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(text(&path), "text");
    }
}

#[test]
fn a_move_is_done_once_however_often_it_is_asked_for() {
    let folder = tempdir().unwrap();
    let (from, to) = (folder.path().join("from"), folder.path().join("to"));
    put(&from, "text");
    move_file(&from, &to).unwrap();
    move_file(&from, &to).unwrap();
    assert_eq!(names(&folder), ["to"]);
    let nowhere = folder.path().join("nowhere");
    assert_eq!(move_file(&from, &nowhere).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(move_file(&to, &folder.path().join("no/folder")).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn a_move_onto_other_bytes_fails_and_onto_the_same_bytes_is_finished() {
    let folder = tempdir().unwrap();
    let (from, to) = (folder.path().join("from"), folder.path().join("to"));
    put(&from, "text");
    put(&to, "tent");
    assert_eq!(move_file(&from, &to).unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(names(&folder), ["from", "to"]);
    put(&to, "text");
    move_file(&from, &to).unwrap();
    assert_eq!(names(&folder), ["to"]);
}

#[test]
fn a_move_crosses_file_systems_and_finishes_what_a_crash_has_left() {
    let (here, there) = (tempdir().unwrap(), tempfile::tempdir_in(OTHER_FILE_SYSTEM).unwrap());
    let (from, to) = (here.path().join("from"), there.path().join("to"));
    let device = |folder: &TempDir| FileIdentity::of_path(folder.path()).unwrap().device;
    assert_ne!(
        device(&here),
        device(&there),
        "the test needs two file systems: set TMPDIR to another than {OTHER_FILE_SYSTEM}"
    );
    put(&from, &"text".repeat(100_000));
    let modified = FileIdentity::of_path(&from).unwrap().modified_ns;
    move_file(&from, &to).unwrap();
    assert_eq!((names(&here).len(), names(&there)), (0, vec!["to".to_owned()]));
    assert_eq!(text(&to).len(), 400_000);
    assert_eq!(FileIdentity::of_path(&to).unwrap().modified_ns, modified);

    // Copied, not yet removed.
    put(&from, &"text".repeat(100_000));
    move_file(&from, &to).unwrap();
    assert_eq!((names(&here).len(), names(&there).len()), (0, 1));

    put(&from, "other");
    assert_eq!(move_file(&from, &to).unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!((names(&here).len(), names(&there).len()), (1, 1));
}

#[test]
fn folders_are_made_with_those_above_them() {
    let folder = tempdir().unwrap();
    let deep = folder.path().join("a/b/c");
    create_folders(&deep).unwrap();
    create_folders(&deep).unwrap();
    assert!(deep.is_dir());
    put(&folder.path().join("file"), "");
    assert_eq!(create_folders(&folder.path().join("file")).unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert!(create_folders(&folder.path().join("file/b")).is_err());
    sync_folder(&deep).unwrap();
}

#[test]
fn removing_what_is_gone_is_as_good() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("a");
    put(&path, "");
    remove_file(&path).unwrap();
    remove_file(&path).unwrap();
    assert!(names(&folder).is_empty());
}

#[test]
fn free_space_is_that_of_the_file_system() {
    let folder = tempdir().unwrap();
    assert!(free_space(folder.path()).unwrap() > 0);
    assert!(free_space(&folder.path().join("none")).is_err());
}

#[test]
fn an_identity_changes_with_the_content_and_not_with_reading() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("a");
    put(&path, "one");
    let before = FileIdentity::of_path(&path).unwrap();
    assert_eq!(before.size, 3);
    assert_eq!(FileIdentity::of_file(&open_regular(&path).unwrap()).unwrap(), before);
    text(&path);
    assert_eq!(FileIdentity::of_path(&path).unwrap(), before);
    OpenOptions::new().append(true).open(&path).unwrap().write_all(b"!").unwrap();
    assert_ne!(FileIdentity::of_path(&path).unwrap(), before);
    symlink(&path, folder.path().join("link")).unwrap();
    assert_ne!(FileIdentity::of_path(&folder.path().join("link")).unwrap().inode, before.inode);
}

#[test]
fn nothing_but_a_regular_file_with_one_name_is_opened() {
    let folder = tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    put(&at("file"), "text");
    let mut read = String::new();
    open_regular(&at("file")).unwrap().read_to_string(&mut read).unwrap();
    assert_eq!(read, "text");

    symlink(at("file"), at("link")).unwrap();
    fs::create_dir(at("folder")).unwrap();
    rustix::fs::mknodat(CWD, at("pipe"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let _listener = UnixListener::bind(at("socket")).unwrap();
    let cases = [("link", "a symbolic link"), ("folder", "a folder"), ("pipe", "a pipe"), ("socket", "a socket")];
    for (name, expected) in cases {
        let error = open_regular(&at(name)).unwrap_err();
        assert!(matches!(error, OpenError::NotRegular { kind, .. } if kind == expected), "{name}: {error}");
    }
    assert!(matches!(open_regular(Path::new("/dev/null")), Err(OpenError::NotRegular { kind: "a device", .. })));
    fs::hard_link(at("file"), at("twin")).unwrap();
    assert!(matches!(open_regular(&at("file")), Err(OpenError::HardLinked { links: 2, .. })));
    assert!(matches!(open_regular(&at("none")), Err(OpenError::Io { .. })));
}

#[test]
fn a_shown_name_is_one_line_without_tricks() {
    assert_eq!(display_name("Größe 日本.zip"), "Größe 日本.zip");
    assert_eq!(display_name(OsString::from_vec(b"M\xfcnchen.zip".to_vec())), "M\\xfcnchen.zip");
    assert_eq!(display_bytes(b"a\xe2\x82"), "a\\xe2\\x82");
    assert_eq!(display_name("a\r\nb\tc\u{1b}[0m\u{7f}"), "a\\r\\nb\\tc\\x1b[0m\\x7f");
    assert_eq!(display_name("fdp\u{202e}exe\u{85}\u{2028}"), "fdp\\u{202e}exe\\u{85}\\u{2028}");
    assert_eq!(display_name("a\\b"), "a\\b");
}

#[test]
fn a_safe_component_keeps_letters_of_any_script() {
    let cases = [
        ("FOSSASIASummit2018-oes1.19.1", "FOSSASIASummit2018-oes1.19.1"),
        ("東京 2026", "東京_2026"),
        ("Cafe\u{301} Été", "Café_Été"),
        ("../../etc/passwd", "_._.._etc_passwd"),
        ("..", "_."),
        (".hidden", "_hidden"),
        ("-rf", "_rf"),
        ("", "_"),
        ("a\0b\nc:d*e\\f", "a_b_c_d_e_f"),
    ];
    for (given, expected) in cases {
        assert_eq!(safe_component(given, 100), expected, "{given:?}");
    }
}

#[test]
fn a_safe_component_is_cut_between_characters() {
    assert_eq!(safe_component("ééé", 5), "éé");
    assert_eq!(safe_component("日本", 2), "_");
    assert_eq!(safe_component("abc", 3), "abc");
}

proptest::proptest! {
    #[test]
    fn a_safe_component_is_always_one_visible_component(name: String, max_bytes in 1_usize..60) {
        let safe = safe_component(&name, max_bytes);
        proptest::prop_assert!(!safe.is_empty() && safe.len() <= max_bytes);
        proptest::prop_assert!(!safe.starts_with(['.', '-']));
        proptest::prop_assert!(!safe.contains(['/', '\0']) && !safe.chars().any(char::is_control));
        proptest::prop_assert_eq!(&safe_component(&safe, max_bytes), &safe);
    }
}
