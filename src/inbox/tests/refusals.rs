//! What stays where it is, told once.

use std::os::unix::net::UnixListener;

use super::*;

fn refusals(news: &[InboxNews]) -> Vec<(String, RefusalCode)> {
    let mut all: Vec<(String, RefusalCode)> = news
        .iter()
        .flat_map(|news| match news {
            InboxNews::Refused(refusals) => {
                refusals.iter().map(|refusal| (refusal.path.clone(), refusal.code)).collect()
            }
            InboxNews::Incomplete(_) => Vec::new(),
        })
        .collect();
    all.sort();
    all
}

#[tokio::test]
async fn what_is_no_regular_file_of_an_account_stays_and_is_told_once_over_a_restart() {
    let setting = Setting::new().await;
    let (inbox, zip) = (setting.inbox(), small_zip(b"{}"));
    File::create(setting.root.path().join("secret")).unwrap().write_all(&zip).unwrap();
    std::os::unix::fs::symlink("../secret", inbox.join("link.zip")).unwrap();
    std::os::unix::fs::symlink("nowhere", inbox.join("dangling.zip")).unwrap();
    std::os::unix::fs::symlink("fossasia", inbox.join("default")).unwrap();
    fs::hard_link(setting.root.path().join("secret"), inbox.join("hard.zip")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        inbox.join("fossasia/pipe.zip"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o666),
        0,
    )
    .unwrap();
    let _socket = UnixListener::bind(inbox.join("socket.zip")).unwrap();
    fs::create_dir(inbox.join("stranger")).unwrap();
    setting.drop_file("stranger/event.zip", &zip);
    fs::create_dir(inbox.join("lost+found")).unwrap();
    fs::create_dir(inbox.join("pycon/deep")).unwrap();
    setting.drop_file("pycon/deep/event.zip", &zip);

    let mut running = setting.start().await;
    let view = running.pass(2).await;
    let expected = [
        ("dangling.zip", RefusalCode::NotARegularFile),
        ("default", RefusalCode::NotARegularFile),
        ("fossasia/pipe.zip", RefusalCode::NotARegularFile),
        ("hard.zip", RefusalCode::MoreThanOneLink),
        ("link.zip", RefusalCode::NotARegularFile),
        ("pycon/deep", RefusalCode::Subfolder),
        ("socket.zip", RefusalCode::NotARegularFile),
        ("stranger", RefusalCode::UnknownAccount),
    ]
    .map(|(path, code)| (path.to_owned(), code));
    assert_eq!(refusals(&setting.news()), expected);
    assert_eq!(setting.news().len(), 1, "all of one scan together");
    assert_eq!((view.refused, view.is_idle()), (8, true));
    running.pass(100_000).await;
    running.stop().await;
    let mut running = setting.start().await;
    running.pass(2).await;
    running.pass(100_000).await;
    assert_eq!(setting.news().len(), 1);
    assert!(setting.rows().is_empty());
    assert!(inbox.join("hard.zip").exists() && inbox.join("stranger/event.zip").exists());
    running.stop().await;
}

#[tokio::test]
async fn a_hard_link_that_an_upload_ends_with_is_no_refusal() {
    let setting = Setting::new().await;
    setting.drop_file("event.zip.tmp", &small_zip(b"{}"));
    let mut running = setting.start().await;
    // Some servers rename by link and unlink.
    fs::hard_link(setting.inbox().join("event.zip.tmp"), setting.inbox().join("event.zip")).unwrap();
    running.pass(1).await;
    fs::remove_file(setting.inbox().join("event.zip.tmp")).unwrap();
    running.pass(1).await;
    running.pass(2).await;
    assert_eq!(setting.rows().len(), 1);
    assert!(setting.news().is_empty());
    running.stop().await;
}

#[tokio::test]
async fn a_refused_file_that_is_mended_becomes_a_job_and_a_later_one_is_told_again() {
    let setting = Setting::new().await;
    setting.drop_file("one.zip", &small_zip(b"{}"));
    let other = setting.root.path().join("other");
    fs::hard_link(setting.inbox().join("one.zip"), &other).unwrap();
    let mut running = setting.start().await;
    running.pass(2).await;
    assert_eq!(setting.news().len(), 1);
    fs::remove_file(other).unwrap();
    running.pass(1).await;
    running.pass(2).await;
    assert_eq!(setting.rows().len(), 1);
    assert!(arrivals::list(&setting.database).await.unwrap().is_empty());
    std::os::unix::fs::symlink("x", setting.inbox().join("one.zip")).unwrap();
    running.pass(1).await;
    running.pass(2).await;
    assert_eq!(setting.news().len(), 2);
    running.stop().await;
}

#[tokio::test]
async fn an_empty_folder_of_nobody_is_told_of_when_something_lies_in_it() {
    let setting = Setting::new().await;
    fs::create_dir(setting.inbox().join("stranger")).unwrap();
    let mut running = setting.start().await;
    assert!(running.pass(60).await.is_idle());
    assert!(setting.news().is_empty());
    setting.drop_file("stranger/event.zip", b"x");
    running.pass(1).await;
    running.pass(2).await;
    assert_eq!(refusals(&setting.news()), [("stranger".to_owned(), RefusalCode::UnknownAccount)]);
    running.stop().await;
}

#[tokio::test]
async fn every_name_is_kept_byte_for_byte() {
    let setting = Setting::new().await;
    let zip = small_zip(b"{}");
    let names: Vec<Vec<u8>> = vec![
        b"new\nline.zip".to_vec(),
        vec![b'n'; 255],
        b"latin\xe9.zip".to_vec(),
        b"-rf".to_vec(),
        "party \u{1f389}.zip".into(),
        b"blank.zip ".to_vec(),
        b"back\\x0aslash.zip".to_vec(),
        b"..x".to_vec(),
    ];
    let mut ignored = Vec::new();
    for name in &names {
        let name = OsString::from_vec(name.clone());
        if setting.folders().ignored.covers(&name) {
            ignored.push(name.clone());
        }
        setting.drop_file(Path::new("fossasia").join(&name), &zip);
    }
    assert_eq!(ignored, ["..x"]);
    let mut running = setting.start().await;
    running.pass(2).await;
    running.stop().await;
    assert_eq!(setting.names("inbox/fossasia"), [OsString::from("..x")]);
    let mut kept = HashSet::new();
    for row in setting.rows() {
        let note = fs::read_to_string(setting.work().join(row.job.to_string()).join("claim.json")).unwrap();
        let note: serde_json::Value = serde_json::from_str(&note).unwrap();
        let path = InboxPath::from_key(note["inbox_path"].as_str().unwrap()).unwrap();
        assert_eq!(path.folder.as_deref(), Some("fossasia"));
        assert!(!row.archive_name.chars().any(char::is_control), "{:?}", row.archive_name);
        kept.insert(path.name.into_vec());
    }
    assert_eq!(kept, names.into_iter().filter(|name| name != b"..x").collect());
}

/// Set in the copy of this test that runs without rights.
const WITHOUT_RIGHTS: &str = "EVENTFERRY_TEST_WITHOUT_RIGHTS";

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "rights bind no root, so the test runs itself as somebody else")]
async fn what_may_not_be_read_or_moved_stays_and_is_told_once_and_others_go_on() {
    use std::os::unix::process::CommandExt as _;

    if rustix::process::geteuid().is_root() {
        // The folders above the program may be closed to others.
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("test");
        fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
        set_mode(folder.path(), 0o755);
        let name = "inbox::tests::refusals::what_may_not_be_read_or_moved_stays_and_is_told_once_and_others_go_on";
        let output = std::process::Command::new(program)
            .args(["--exact", name])
            .env(WITHOUT_RIGHTS, "1")
            .current_dir("/")
            .uid(65534)
            .gid(65534)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && said.contains("1 passed"),
            "{said}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        return;
    }
    let setting = Setting::new().await;
    let zip = small_zip(b"{}");
    for name in ["unreadable.zip", "fine.zip", "fossasia/stuck.zip", "pycon/hidden.zip"] {
        setting.drop_file(name, &zip);
    }
    set_mode(&setting.inbox().join("unreadable.zip"), 0o000);
    set_mode(&setting.inbox().join("fossasia"), 0o555);
    set_mode(&setting.inbox().join("pycon"), 0o000);
    let mut running = setting.start().await;
    running.pass(2).await;
    running.pass(1).await;
    assert_eq!(setting.rows().len(), 1);
    let expected =
        ["fossasia/stuck.zip", "pycon", "unreadable.zip"].map(|path| (path.to_owned(), RefusalCode::Permission));
    assert_eq!(refusals(&setting.news()), expected);
    for _ in 0..5 {
        running.pass(5_000).await;
    }
    assert_eq!(refusals(&setting.news()).len(), 3);
    assert!(setting.names("work").len() == 1, "nothing is left of the tries");

    set_mode(&setting.inbox().join("unreadable.zip"), 0o644);
    set_mode(&setting.inbox().join("fossasia"), 0o755);
    set_mode(&setting.inbox().join("pycon"), 0o755);
    running.pass(1).await;
    running.pass(5_000).await;
    assert_eq!(setting.rows().len(), 4);
    assert!(arrivals::list(&setting.database).await.unwrap().is_empty());
    running.stop().await;
}

fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}
