//! Bad input: a clear problem, a final state, a report and a mail, and never a half-written event.

use std::fs;
use std::time::Duration;

use eventferry::inbox::InboxView;
use eventferry::mail::MailKind;
use eventferry::model::{Code, JobState};
use eventferry::storage::hex;
use eventferry::store::mails::{self, MailState, NewMail};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::archives::{Archive, harbour};
use super::results::assert_valid;
use crate::fixtures::zips::{Packing, ZipEntry, unzip, zip};
use crate::support::daemon::{Ended, TestDaemon, with_each_database};

/// An archive that is refused as a whole.
struct Bad {
    name: &'static str,
    bytes: Vec<u8>,
    code: Code,
    file: Option<&'static str>,
}

/// The harbour's entries, one of them otherwise, or one more.
fn with_entry(name: &str, change: impl Fn(ZipEntry) -> ZipEntry) -> Vec<u8> {
    let mut entries: Vec<ZipEntry> =
        (unzip(&harbour().zip()).into_iter()).map(|(name, content)| ZipEntry::new(name, content)).collect();
    match entries.iter_mut().find(|entry| entry.name == name.as_bytes()) {
        Some(entry) => *entry = change(entry.clone()),
        None => entries.push(change(ZipEntry::new(name, b"x".to_vec()))),
    }
    zip(&entries)
}

fn as_is(entry: ZipEntry) -> ZipEntry {
    entry
}

fn bad_archives() -> Vec<Bad> {
    let bad = |name, bytes, code, file| Bad { name, bytes, code, file };
    let one_byte_less = {
        let zip = harbour().zip();
        zip[..zip.len() - 1].to_vec()
    };
    vec![
        bad("pdf.zip", b"%PDF-1.7 not a zip".to_vec(), Code::NotAZip, None),
        bad("parent.zip", with_entry("../up", as_is), Code::UnsafeEntryName, Some("../up")),
        bad("absolute.zip", with_entry("/etc/passwd", as_is), Code::UnsafeEntryName, Some("/etc/passwd")),
        bad(
            "link.zip",
            with_entry("images/link", |entry| ZipEntry { mode: Some(0o120_777), ..entry }),
            Code::EntryIsLink,
            Some("images/link"),
        ),
        bad(
            "bomb.zip",
            with_entry("images/bomb", |entry| ZipEntry { content: vec![0; 20 << 20], ..entry }),
            Code::LimitRatio,
            Some("images/bomb"),
        ),
        bad(
            "crc.zip",
            with_entry("event", |entry| ZipEntry { crc: Some(1), ..entry }),
            Code::CrcMismatch,
            Some("event"),
        ),
        bad(
            "encrypted.zip",
            with_entry("event", |entry| ZipEntry { flags: 1, packing: Packing::Stored, ..entry }),
            Code::Encrypted,
            Some("event"),
        ),
        bad("list.zip", harbour().with_bytes("event", "[]").zip(), Code::WrongTopLevel, Some("event")),
        bad(
            "deep.zip",
            harbour()
                .with_bytes(
                    "event",
                    format!("{{\"id\":1,\"name\":\"Deep\",\"x\":{}1{}}}", "[".repeat(5000), "]".repeat(5000)),
                )
                .zip(),
            Code::LimitJsonDepth,
            Some("event"),
        ),
        bad(
            "latin.zip",
            harbour().with_bytes("event", b"{\"id\": 1, \"name\": \"Caf\xe9\"}".to_vec()).zip(),
            Code::Encoding,
            Some("event"),
        ),
        bad(
            "eventless.zip",
            Archive::of(1, "x").without("event").with_tracks(1, 2).zip(),
            Code::EventMissing,
            Some("event"),
        ),
        bad("cut.zip", one_byte_less, Code::Incomplete, None),
    ]
}

/// Mails begin sentences with capitals and wrap them.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}

/// Everybody who should be is told of the end of a refused archive.
async fn assert_told(daemon: &TestDaemon, ended: &Ended, wanted: &Bad) {
    let name = wanted.name;
    assert_eq!(ended.job.state, JobState::Failed, "{name}: {:#?}", ended.report);
    assert_valid(ended);
    let problem = ended.report.problems.iter().find(|problem| problem.code == wanted.code);
    let Some(problem) = problem else { panic!("{name}: {:#?}", ended.report.problems) };
    assert_eq!(problem.file.as_deref(), wanted.file, "{name}: {problem:#?}");
    assert!(!problem.message.is_empty() && !problem.hint.is_empty(), "{name}: {problem:?}");
    let path = ended.job.source_path.as_ref().unwrap();
    assert!(path.starts_with("rejected/berlin/"), "{name}: {path}");
    assert_eq!(fs::read(daemon.root().join(path)).unwrap(), wanted.bytes, "{name}");
    let text = fs::read_to_string(ended.folder.join("report.txt")).unwrap();
    assert!(text.contains(wanted.code.as_str()), "{name}: {text}");
    let mails = daemon.mails(Some(ended.job.id)).await;
    assert_eq!(mails.len(), 1, "{name}");
    assert_eq!((mails[0].kind.as_str(), mails[0].state.as_str()), ("import_failed", "sent"), "{name}");
    let text = words(&mails[0].text);
    assert!(text.contains(&words(wanted.code.as_str())) && text.contains(&words(&problem.hint)), "{name}: {text}");
}

with_each_database! {
    async fn bad_archives_are_refused_with_everything_said_and_nothing_written(setup: Setup) {
        let daemon = setup.start().await;
        let bad = bad_archives();
        for wanted in &bad {
            daemon.drop_file("berlin", wanted.name, &wanted.bytes);
            if wanted.code == Code::Incomplete {
                daemon.until_inbox(|view| view.incomplete == 1).await;
                daemon.clock.advance(Duration::from_hours(25));
            }
            daemon.idle().await;
            assert_told(&daemon, &daemon.ended(wanted.name).await, wanted).await;
        }
        assert_eq!(daemon.count("events").await, 0);
        assert_eq!(daemon.tables().await, [""; 0]);
        // What is outside of the archive's place is untouched.
        assert!(!daemon.root().join("up").exists() && !daemon.root().join("work/up").exists());
        daemon.finish().await;
    }

    async fn damage_that_is_not_the_events_leaves_out_what_it_touches(setup: Setup) {
        let daemon = setup.start().await;
        let damaged = [
            ("crc.zip", with_entry("sessions", |entry| ZipEntry { crc: Some(1), ..entry }), Code::CrcMismatch, "sessions"),
            ("encrypted.zip", with_entry("sessions", |entry| ZipEntry { flags: 1, packing: Packing::Stored, ..entry }), Code::Encrypted, "sessions"),
            ("object.zip", harbour().with_bytes("sessions", "{}").zip(), Code::WrongTopLevel, "sessions"),
            ("deep.zip", harbour().with_bytes("sessions", format!("[{}1{}]", "[".repeat(5000), "]".repeat(5000))).zip(), Code::LimitJsonDepth, "sessions"),
            ("latin.zip", harbour().with_bytes("sessions", b"[{\"id\": 1, \"title\": \"Caf\xe9\"}]".to_vec()).zip(), Code::Encoding, "sessions"),
        ];
        for (name, bytes, code, file) in damaged {
            let ended = daemon.import("berlin", name, bytes).await;
            assert_eq!(ended.job.state, JobState::Partial, "{name}: {:#?}", ended.report);
            assert_valid(&ended);
            let problems: Vec<_> = ended.report.problems.iter().filter(|problem| problem.code == code).collect();
            let [problem] = problems[..] else { panic!("{name}: {:#?}", ended.report.problems) };
            assert_eq!(problem.file.as_deref(), Some(file), "{name}");
            assert_eq!(daemon.count("sessions").await, 0, "{name}");
        }
        let bytes = with_entry("images/speakers/ada.png", |entry| ZipEntry { crc: Some(1), ..entry });
        let ended = daemon.import("default", "picture.zip", bytes).await;
        assert_eq!(ended.job.state, JobState::Partial, "for its broken session_types");
        assert_eq!((ended.report.media.stored, ended.report.media.missing), (1, 2));
        daemon.finish().await;
    }

    async fn half_an_upload_waits_is_told_once_and_is_rejected_in_the_end(setup: Setup) {
        let mut daemon = setup.start().await;
        let zip = harbour().zip();
        daemon.drop_file("berlin", "half.zip", &zip[..zip.len() / 2]);
        daemon.drop_file("default", "resumed.zip", &zip[..zip.len() / 2]);
        daemon.until_inbox(|view| view.incomplete == 2).await;
        daemon.clock.advance(Duration::from_mins(14));
        daemon.scanned().await;
        assert_eq!((daemon.count("mails").await, daemon.count("jobs").await), (0, 0));
        daemon.clock.advance(Duration::from_mins(2));
        while daemon.count("mails WHERE state = 'sent'").await < 2 {
            daemon.clock.advance(Duration::from_secs(1));
            daemon.look().await;
        }
        let mails = daemon.mails(None).await;
        let mut told: Vec<_> = mails.iter().map(|mail| (mail.kind.as_str(), mail.recipient.as_deref().unwrap())).collect();
        told.sort_unstable();
        assert_eq!(told, [("incomplete_upload", "berlin@example.org"), ("incomplete_upload", "crew@example.org")]);

        daemon.stop().await;
        daemon.start().await;
        daemon.until_inbox(|view| view.incomplete == 2).await;
        daemon.clock.advance(Duration::from_hours(1));
        daemon.scanned().await;
        assert_eq!(daemon.count("mails").await, 2, "a restart tells nothing twice");

        // One goes on, as a client does that continues.
        let path = daemon.inbox_path("default", "resumed.zip");
        let mut file = fs::OpenOptions::new().append(true).open(path).unwrap();
        std::io::Write::write_all(&mut file, &zip[zip.len() / 2..]).unwrap();
        drop(file);
        daemon.idle_but_for(&["berlin/half.zip"]).await;
        assert_eq!(daemon.ended("resumed.zip").await.job.state, JobState::Partial);

        daemon.clock.advance(Duration::from_hours(24));
        daemon.idle().await;
        let ended = daemon.ended("half.zip").await;
        assert_eq!(ended.job.state, JobState::Failed);
        assert_eq!(ended.report.problems.iter().map(|problem| problem.code).collect::<Vec<_>>(), [Code::Incomplete]);
        assert!(ended.job.source_path.unwrap().starts_with("rejected/berlin/"));
        assert_eq!(daemon.count("events").await, 1);
        daemon.finish().await;
    }

    async fn more_mails_than_are_sent_in_one_go_do_not_wait_for_the_clock(setup: Setup) {
        let mut daemon = setup.prepare().await;
        let mut tx = daemon.database.begin().await.unwrap();
        for number in 0..120 {
            let mail = NewMail {
                id: daemon.clock.new_id(),
                subject_key: number.to_string(),
                kind: MailKind::Admin.as_str(),
                job: None,
                account: None,
                recipient: Some("admin@example.org".to_owned()),
                state: MailState::Queued,
                message_id: format!("<{number}@example.org>"),
                subject: "Trouble".to_owned(),
                text: "Trouble".to_owned(),
                html: "<p>Trouble</p>".to_owned(),
                attachment: None,
                created_at: daemon.clock.now(),
            };
            mails::queue(&mut tx, &mail).await.unwrap();
        }
        tx.commit().await.unwrap();
        daemon.start().await;
        while daemon.count("mails WHERE state = 'sent'").await < 120 {
            tokio::task::yield_now().await;
        }
        daemon.finish().await;
    }

    async fn what_is_nobodys_stays_and_the_admin_is_told_once(setup: Setup) {
        let mut daemon = setup.prepare().await;
        let inbox = daemon.root().join("inbox");
        fs::create_dir(inbox.join("nobody")).unwrap();
        fs::write(inbox.join("nobody/event.zip"), harbour().zip()).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", inbox.join("link.zip")).unwrap();
        daemon.start().await;
        let staying = ["link.zip", "nobody"];
        daemon.idle_but_for(&staying).await;
        for _ in 0..2 {
            daemon.stop().await;
            daemon.start().await;
            daemon.idle_but_for(&staying).await;
            daemon.clock.advance(Duration::from_hours(2));
            daemon.scanned().await;
        }
        let mails = daemon.mails(None).await;
        assert_eq!(mails.len(), 2, "{mails:#?}");
        assert!(mails.iter().all(|mail| mail.kind == "admin" && mail.recipient.as_deref() == Some("admin@example.org")));
        assert!(mails.iter().any(|mail| mail.text.contains("nobody") && mail.text.contains("belongs to no account")));
        assert!(mails.iter().any(|mail| mail.text.contains("link.zip") && mail.text.contains("symbolic link")));
        for (name, why, advice) in [
            ("nobody", "this folder belongs to no account", "Add the account to the configuration"),
            ("link.zip", "this is a symbolic link, not a file", "It is left alone, remove it"),
        ] {
            let path = inbox.join(name).display().to_string();
            let mail = mails.iter().find(|mail| mail.text.contains(&path)).unwrap();
            assert!(mail.text.contains(&format!("\nWhy: {why}\n")), "{}", mail.text);
            assert!(mail.text.contains(&format!("\nWhat to do: {advice}")), "{}", mail.text);
            assert!(mail.text.contains(&format!("`{path}` stays as it is until then")), "{}", mail.text);
        }
        assert_eq!(daemon.count("jobs").await, 0);
        assert!(inbox.join("nobody/event.zip").exists());
        daemon.finish_but_for(&staying).await;
    }
}

impl TestDaemon {
    /// Lets the clock go on until the inbox stands as wanted.
    async fn until_inbox(&self, wanted: impl Fn(&InboxView) -> bool) {
        let mut view = self.inbox();
        while !wanted(&view.borrow_and_update()) {
            self.clock.advance(Duration::from_secs(1));
            self.look().await;
        }
    }

    /// Lets the clock go on until the inbox was scanned twice more.
    async fn scanned(&self) {
        let scans = self.inbox().borrow().scans;
        self.until_inbox(|view| view.scans >= scans + 2 && !view.is_busy).await;
    }
}

with_each_database! {
    async fn an_archive_whose_server_has_an_endless_address_keeps_nobody_waiting(setup: Setup) {
        let daemon = setup.start().await;
        // So that no database can make it short.
        let endless: String = (0..400).map(|number: u32| hex(&Sha256::digest(number.to_be_bytes()))).collect();
        let archive = harbour().with("meta", &json!({"root_url": endless}));
        daemon.drop_file("berlin", "endless.zip", archive.zip());
        daemon.drop_file("default", "harbour.zip", harbour().zip());
        daemon.idle().await;
        assert_eq!(daemon.ended("harbour.zip").await.job.state, JobState::Partial);
        assert_eq!(daemon.ended("endless.zip").await.job.state, JobState::Partial);
        // It is known again.
        let again = daemon.import("berlin", "again.zip", archive.with_tracks(900, 1).zip()).await;
        assert!(!again.report.event.unwrap().created);
        daemon.finish().await;
    }
}
