//! The files in `systemd/` are what systemd understands, and fit together.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const INSTALLED: &str = "/usr/bin/eventferry";

#[test]
fn systemd_verify_has_nothing_to_say_about_the_unit() {
    let folder = tempfile::tempdir().unwrap();
    let output =
        Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(unit_in(folder.path())).output().unwrap();
    // An unknown key is only a warning, with status 0.
    assert_eq!(said(&output), "");
    assert!(output.status.success());
}

#[test]
fn the_unit_is_exposed_to_little() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new("systemd-analyze")
        .args(["security", "--no-pager", "--offline=true", "--threshold=15"])
        .arg(unit_in(folder.path()))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
fn the_binary_understands_the_command_of_the_unit() {
    let unit = read("eventferry.service");
    let command = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
    let arguments = command.strip_prefix(INSTALLED).unwrap().split_whitespace();
    let output = Command::new(env!("CARGO_BIN_EXE_eventferry")).args(arguments).arg("--help").output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
fn sysusers_makes_every_user_and_group_that_the_other_files_name() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new("systemd-sysusers")
        .arg("--dry-run")
        .arg(format!("--root={}", folder.path().display()))
        .arg("--inline")
        .args(entries(&read("eventferry.sysusers")))
        .output()
        .unwrap();
    let said = said(&output);
    assert!(output.status.success(), "{said}");

    let unit = read("eventferry.service");
    let value = |key: &str| unit.lines().find_map(|line| line.strip_prefix(key)).unwrap().to_owned();
    let mut users = vec![value("User=")];
    let mut groups = vec![value("Group=")];
    for entry in entries(&read("eventferry.tmpfiles")) {
        let words: Vec<&str> = entry.split_whitespace().collect();
        users.push(words[3].to_owned());
        groups.push(words[4].to_owned());
    }
    for user in users {
        assert!(said.contains(&format!("Creating user '{user}' ")), "no user `{user}`: {said}");
    }
    for group in groups {
        assert!(said.contains(&format!("Creating group '{group}' ")), "no group `{group}`: {said}");
    }
}

#[test]
fn the_state_folder_has_one_mode_in_both_files() {
    let unit = read("eventferry.service");
    let mode = unit.lines().find_map(|line| line.strip_prefix("StateDirectoryMode=")).unwrap();
    let expected = format!("d /var/lib/eventferry {mode} eventferry eventferry -");
    let found = entries(&read("eventferry.tmpfiles"))
        .iter()
        .any(|entry| entry.split_whitespace().collect::<Vec<_>>().join(" ") == expected);
    assert!(found, "no entry `{expected}`");
}

/// Debian 12 has no `/etc/sysusers.d`.
#[test]
fn the_readme_makes_the_folders_that_it_installs_into() {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let installed: Vec<&str> = readme.lines().filter(|line| line.contains(" systemd/eventferry.")).collect();
    assert_eq!(installed.len(), 3, "{installed:?}");
    for line in installed {
        assert!(line.starts_with("sudo install -D -m 644 ") && !line.ends_with('/'), "{line}");
    }
}

#[test]
fn the_folder_of_an_account_is_made_like_the_inbox() {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let entries = entries(&read("eventferry.tmpfiles"));
    let inbox = entries.iter().map(|entry| entry.split_whitespace().collect::<Vec<_>>());
    let inbox = inbox.into_iter().find(|words| words[1] == "/var/lib/eventferry/inbox").unwrap();
    let [path, mode, user, group] = [inbox[1], inbox[2], inbox[3], inbox[4]];
    let command = format!("sudo install -d -o {user} -g {group} -m {mode} {path}/berlin");
    assert!(readme.lines().any(|line| line == command), "README.md does not say `{command}`");
    let entry = format!("# d {path}/berlin {mode} {user} {group} -");
    assert!(
        read("eventferry.tmpfiles").lines().any(|line| line == entry),
        "eventferry.tmpfiles does not say `{entry}`"
    );
}

/// The unit as a file in `folder`, with the binary under test in place of the installed one.
fn unit_in(folder: &Path) -> PathBuf {
    let unit = read("eventferry.service");
    assert!(unit.contains(INSTALLED));
    let path = folder.join("eventferry.service");
    fs::write(&path, unit.replace(INSTALLED, env!("CARGO_BIN_EXE_eventferry"))).unwrap();
    path
}

fn read(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd").join(name)).unwrap()
}

/// The lines that are no comments.
fn entries(text: &str) -> Vec<String> {
    text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
