//! Mails and notifications in both databases, and their way to a real mail server.

mod smtp;
mod store;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta};
use eventferry::clock::{Clock, Timestamp};
use eventferry::db::{Database, DatabaseOptions};
use eventferry::mail::{
    Addressed, Delivered, Encryption, MailKind, Mailer, MailerSettings, Rendered, Smtp, Templates, Transport,
    for_queue, mailbox,
};
use eventferry::model::JobId;
use eventferry::store::jobs::{self, JobKind, NewJob};
use eventferry::store::mails::{self, MailState};
use tempfile::TempDir;

use super::support::postgres::PostgresDatabase;
use super::support::smtp::{Options, Reply, SmtpServer};

fn start() -> Timestamp {
    DateTime::from_timestamp(1_790_000_000, 0).unwrap()
}

async fn open(url: String) -> Database {
    Database::open(&DatabaseOptions { url, connections: 2, busy_timeout: Duration::from_secs(10) }).await.unwrap()
}

async fn sqlite(folder: &TempDir) -> Database {
    open(format!("sqlite:{}", folder.path().join("eventferry.db").display())).await
}

/// Runs a check on an empty SQLite and on an empty PostgreSQL.
async fn on_both(check: impl AsyncFn(&Database)) {
    let folder = tempfile::tempdir().unwrap();
    let database = sqlite(&folder).await;
    check(&database).await;
    database.close().await;
    let server = PostgresDatabase::create();
    let database = open(server.url()).await;
    check(&database).await;
    database.close().await;
}

fn job(number: u32) -> JobId {
    format!("0199a0f2-7c3e-7bd1-8a44-{number:012}").parse().unwrap()
}

struct Queued<'a> {
    number: u32,
    kind: MailKind,
    recipient: Option<&'a str>,
    attachment: Option<&'a str>,
}

fn imported(number: u32, recipient: &str) -> Queued<'_> {
    Queued { number, kind: MailKind::Imported, recipient: Some(recipient), attachment: None }
}

/// Queues a mail about job `number`; says whether it was new.
async fn queue(database: &Database, clock: &Clock, mail: &Queued<'_>) -> bool {
    let rendered = Rendered {
        subject: format!("Imported: event {}", mail.number),
        text: "Nothing is to be done.\n".to_owned(),
        html: "<html><body><p>Nothing is to be done.</p></body></html>".to_owned(),
    };
    let job = job(mail.number);
    let addressed = Addressed {
        id: clock.new_id(),
        subject_key: &job.to_string(),
        kind: mail.kind,
        job: Some(job),
        account: Some("asia"),
        recipient: mail.recipient,
        switched_on: true,
        domain: "example.org",
        attachment: mail.attachment,
        now: clock.now(),
    };
    let mut tx = database.begin().await.unwrap();
    let is_new = mails::queue(&mut tx, &for_queue(&addressed, rendered)).await.unwrap();
    tx.commit().await.unwrap();
    is_new
}

async fn states(database: &Database) -> Vec<(MailState, i64)> {
    mails::counts(database).await.unwrap()
}

/// The one mail about job `number`.
async fn entry(database: &Database, number: u32) -> mails::MailEntry {
    let mut entries = mails::of_job(database, job(number)).await.unwrap();
    assert_eq!(entries.len(), 1);
    entries.remove(0)
}

fn mailer(database: &Database, clock: &Clock, transport: Transport) -> Mailer {
    let settings = MailerSettings {
        transport,
        from: mailbox(Some("Ferry"), "ferry@example.org").unwrap(),
        public_name: "Summit imports".to_owned(),
        digest_over: 5,
        retry_for: Duration::from_secs(4 * 24 * 60 * 60),
        attachments: PathBuf::from("/nowhere"),
    };
    Mailer::new(database.clone(), clock.clone(), Arc::new(Templates::load(None).unwrap()), settings)
}

fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn queued_mails_become_files_and_each_only_once() {
    on_both(async |database| {
        let (folder, clock) = (tempfile::tempdir().unwrap(), Clock::manual(start()));
        let mailer = mailer(database, &clock, Transport::File { folder: folder.path().to_owned() });
        queue(database, &clock, &imported(1, "a@example.org")).await;
        queue(database, &clock, &Queued { recipient: None, ..imported(2, "") }).await;
        assert_eq!(mailer.deliver_due().await.unwrap(), Delivered { sent: 1, ..Delivered::default() });
        assert_eq!(mailer.deliver_due().await.unwrap(), Delivered::default());
        assert_eq!(mailer.next_wake().await.unwrap(), None);
        let name = format!("20260921T141320Z_imported_a@example.org_{}.imported@example.org.eml", job(1));
        assert_eq!(files(folder.path()), [name]);
        assert_eq!(states(database).await, [(MailState::NoAddress, 1), (MailState::Sent, 1)]);
    })
    .await;
}

#[tokio::test]
async fn many_mails_for_one_recipient_become_one_digest() {
    on_both(async |database| {
        let (folder, clock) = (tempfile::tempdir().unwrap(), Clock::manual(start()));
        let mailer = mailer(database, &clock, Transport::File { folder: folder.path().to_owned() });
        for number in 1..=5 {
            queue(database, &clock, &imported(number, "few@example.org")).await;
        }
        for number in 11..=17 {
            let kind = if number == 12 { MailKind::ImportFailed } else { MailKind::Imported };
            queue(database, &clock, &Queued { kind, ..imported(number, "many@example.org") }).await;
        }
        let admin = Queued { kind: MailKind::Admin, ..imported(20, "many@example.org") };
        queue(database, &clock, &admin).await;
        assert_eq!(mailer.deliver_due().await.unwrap(), Delivered { sent: 5 + 1, ..Delivered::default() });
        assert_eq!(mailer.next_wake().await.unwrap(), Some(start() + TimeDelta::seconds(5)));
        clock.advance(Duration::from_secs(5));
        assert_eq!(mailer.deliver_due().await.unwrap(), Delivered { sent: 1, folded: 7, ..Delivered::default() });
        assert_eq!(states(database).await, [(MailState::Digest, 7), (MailState::Sent, 7)]);
        let digest: Vec<String> =
            files(folder.path()).into_iter().filter(|name| name.contains("_digest_many@example.org_")).collect();
        assert_eq!(digest.len(), 1);
        let text = std::fs::read_to_string(folder.path().join(&digest[0])).unwrap();
        assert!(text.contains("Subject: 7 jobs ended: 1 not imported, 6 imported\r\n"), "{text}");
    })
    .await;
}

#[tokio::test]
async fn mails_that_are_sent_as_fast_as_they_come_are_folded_once_they_are_too_many() {
    on_both(async |database| {
        let (folder, clock) = (tempfile::tempdir().unwrap(), Clock::manual(start()));
        let transport = Transport::File { folder: folder.path().to_owned() };
        let mut sent = 0;
        for number in 1..=12 {
            clock.advance(Duration::from_secs(1));
            queue(database, &clock, &imported(number, "a@example.org")).await;
            // Each time another process: what decides is in the table.
            let mailer = mailer(database, &clock, transport.clone());
            sent += mailer.deliver_due().await.unwrap().sent;
            assert_eq!(sent, u64::from(number.min(5)));
        }
        let mailer = mailer(database, &clock, transport);
        clock.advance(Duration::from_secs(5));
        assert_eq!(mailer.deliver_due().await.unwrap(), Delivered { sent: 1, folded: 7, ..Delivered::default() });
        assert_eq!(states(database).await, [(MailState::Digest, 7), (MailState::Sent, 6)]);

        // A minute later a job that ends alone has its own mail at once.
        clock.advance(Duration::from_secs(60));
        queue(database, &clock, &imported(13, "a@example.org")).await;
        assert_eq!(mailer.deliver_due().await.unwrap(), Delivered { sent: 1, ..Delivered::default() });
        assert_eq!(mailer.next_wake().await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn jobs_that_never_cease_to_end_are_told_of_every_two_minutes() {
    let folder = tempfile::tempdir().unwrap();
    let (database, clock) = (sqlite(&folder).await, Clock::manual(start()));
    let mailer = mailer(&database, &clock, Transport::File { folder: folder.path().join("mail") });
    for number in 1..=600 {
        queue(&database, &clock, &imported(number, "a@example.org")).await;
        mailer.deliver_due().await.unwrap();
        clock.advance(Duration::from_secs(1));
    }
    clock.advance(Duration::from_secs(10));
    mailer.deliver_due().await.unwrap();
    assert_eq!(states(&database).await, [(MailState::Digest, 595), (MailState::Sent, 5 + 5)]);
}

#[tokio::test]
async fn a_mail_waits_for_the_jobs_that_are_about_to_end_but_not_for_ever() {
    on_both(async |database| {
        let (folder, clock) = (tempfile::tempdir().unwrap(), Clock::manual(start()));
        let mailer = mailer(database, &clock, Transport::File { folder: folder.path().to_owned() });
        for number in 101..=105 {
            let waiting = NewJob {
                id: job(number),
                kind: JobKind::Import,
                account: "asia".to_owned(),
                archive_name: format!("{number}.zip"),
                archive_bytes: 1,
                source_key: None,
                again: false,
                retry_of: None,
                with_handlers: None,
                created_at: clock.now(),
            };
            jobs::insert(database, &waiting).await.unwrap();
        }
        queue(database, &clock, &imported(1, "a@example.org")).await;
        for _ in 0..24 {
            assert_eq!(mailer.deliver_due().await.unwrap(), Delivered::default());
            clock.advance(Duration::from_secs(5));
        }
        assert_eq!(mailer.deliver_due().await.unwrap(), Delivered { sent: 1, ..Delivered::default() });
    })
    .await;
}

#[tokio::test]
async fn a_process_that_ends_sends_what_it_held() {
    on_both(async |database| {
        let (folder, clock) = (tempfile::tempdir().unwrap(), Clock::manual(start()));
        let mailer = mailer(database, &clock, Transport::File { folder: folder.path().to_owned() });
        for number in 1..=6 {
            queue(database, &clock, &imported(number, "a@example.org")).await;
            mailer.deliver_due().await.unwrap();
        }
        assert_eq!(states(database).await, [(MailState::Queued, 1), (MailState::Sent, 5)]);
        mailer.hold_no_more().await;
        let delivered = mailer.deliver_due().await.unwrap();
        assert_eq!(delivered, Delivered { sent: 1, ..Delivered::default() }, "one alone is no digest");
        assert_eq!(mailer.next_wake().await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn a_clock_that_is_set_back_holds_no_mail() {
    let folder = tempfile::tempdir().unwrap();
    let (database, clock) = (sqlite(&folder).await, Clock::manual(start()));
    let mailer = mailer(&database, &clock, Transport::File { folder: folder.path().join("mail") });
    for number in 1..=7 {
        queue(&database, &clock, &imported(number, "a@example.org")).await;
    }
    clock.shift_wall(TimeDelta::hours(-1));
    assert_eq!(mailer.deliver_due().await.unwrap(), Delivered { sent: 1, folded: 7, ..Delivered::default() });
}

#[tokio::test]
async fn with_mail_switched_off_nothing_waits() {
    let folder = tempfile::tempdir().unwrap();
    let (database, clock) = (sqlite(&folder).await, Clock::manual(start()));
    queue(&database, &clock, &imported(1, "a@example.org")).await;
    let delivered = mailer(&database, &clock, Transport::None).deliver_due().await.unwrap();
    assert_eq!(delivered, Delivered { off: 1, ..Delivered::default() });
    assert_eq!(entry(&database, 1).await.state, MailState::Off);
}

/// What Python's `email` makes of a message. Line ends of the texts are those of the lines, those of the file its own.
fn read_with_python(message: &[u8]) -> serde_json::Value {
    const SCRIPT: &str = r#"
import email, email.policy, json, sys
m = email.message_from_bytes(sys.stdin.buffer.read(), policy=email.policy.default)
parts = []
defects = len(m.defects)
for part in m.walk():
    defects += len(part.defects) + sum(len(value.defects) for value in part.values() if hasattr(value, "defects"))
    if part.is_multipart(): continue
    content = part.get_payload(decode=True).decode("utf-8")
    if part.get_filename() is None: content = content.replace("\r\n", "\n")
    parts.append([part.get_content_type(), part.get_filename(), content])
print(json.dumps({"subject": m["subject"], "to": str(m["to"]), "from": str(m["from"]), "id": m["message-id"],
    "date": m["date"].datetime.isoformat(), "auto": m["auto-submitted"], "defects": defects, "parts": parts}))
"#;
    let mut python =
        Command::new("python3").args(["-c", SCRIPT]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut python.stdin.take().unwrap(), message).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}

fn settings(server: &SmtpServer, encryption: Encryption) -> Smtp {
    Smtp {
        host: "127.0.0.1".to_owned(),
        port: server.port(),
        encryption,
        user: None,
        password: None,
        timeout: Duration::from_secs(30),
        ca_file: None,
        hello_name: Some("ferry.example.org".to_owned()),
    }
}

#[tokio::test]
async fn one_bad_recipient_does_not_hold_up_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let (database, clock) = (sqlite(&folder).await, Clock::manual(start()));
    let server = SmtpServer::start(&Options {
        refused: BTreeMap::from([("bad@example.org".to_owned(), "550 5.1.1 nobody here".to_owned())]),
        ..Options::default()
    });
    let mailer = mailer(&database, &clock, Transport::Smtp(settings(&server, Encryption::None)));
    for number in 1..=4 {
        let recipient = if number == 2 { "bad@example.org".to_owned() } else { format!("{number}@example.org") };
        queue(&database, &clock, &imported(number, &recipient)).await;
    }
    assert_eq!(mailer.deliver_due().await.unwrap(), Delivered { sent: 3, failed: 1, ..Delivered::default() });
    let failed = entry(&database, 2).await;
    assert_eq!(failed.state, MailState::Failed);
    let reason = failed.last_error.unwrap();
    assert!(reason.contains("550") && reason.contains("nobody here"), "{reason}");
    assert_eq!(server.received().len(), 3);
}

fn message_ids(server: &SmtpServer) -> Vec<String> {
    let heads = server.received().into_iter().map(|mail| String::from_utf8(mail.content).unwrap());
    heads.map(|text| text.lines().find(|line| line.starts_with("Message-ID:")).unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_mail_that_is_cut_off_comes_again_with_the_same_message_id() {
    let folder = tempfile::tempdir().unwrap();
    let (database, clock) = (sqlite(&folder).await, Clock::manual(start()));
    let server = SmtpServer::start(&Options {
        rcpt: vec![Reply::line("450 4.2.0 greylisted")],
        data: vec![Reply::drop_connection()],
        ..Options::default()
    });
    let mailer = mailer(&database, &clock, Transport::Smtp(settings(&server, Encryption::None)));
    queue(&database, &clock, &imported(1, "a@example.org")).await;
    let later = Delivered { later: 1, ..Delivered::default() };
    assert_eq!(mailer.deliver_due().await.unwrap(), later, "greylisted");
    assert_eq!(mailer.deliver_due().await.unwrap(), Delivered::default(), "not yet due");
    assert_eq!(mailer.next_wake().await.unwrap(), Some(start() + TimeDelta::minutes(1)));
    clock.advance(Duration::from_secs(60));
    assert_eq!(mailer.deliver_due().await.unwrap(), later, "cut off");
    clock.advance(Duration::from_secs(5 * 60));
    assert_eq!(mailer.deliver_due().await.unwrap(), Delivered { sent: 1, ..Delivered::default() });
    let expected = format!("Message-ID: <{}.imported@example.org>", job(1));
    assert_eq!(message_ids(&server), [expected.clone(), expected]);
    assert_eq!(entry(&database, 1).await.attempts, 3);
}

#[tokio::test]
async fn an_outage_of_six_hours_uses_up_no_try_and_one_connection_serves_for_all() {
    let folder = tempfile::tempdir().unwrap();
    let (database, clock) = (sqlite(&folder).await, Clock::manual(start()));
    // At once, after 1, 6 and 21 minutes, then each quarter of an hour: 26 tries fail in six hours.
    let server = SmtpServer::start(&Options { mail: vec![Reply::line("421 4.3.2 closing"); 26], ..Options::default() });
    let mailer = mailer(&database, &clock, Transport::Smtp(settings(&server, Encryption::None)));
    for number in 1..=3 {
        queue(&database, &clock, &imported(number, &format!("{number}@example.org"))).await;
    }
    let mut sent = 0;
    for minute in 0..=370 {
        let delivered = mailer.deliver_due().await.unwrap();
        assert_eq!(delivered.failed, 0);
        sent += delivered.sent;
        if minute == 300 {
            let waiting = entry(&database, 3).await;
            assert_eq!((waiting.state, waiting.attempts), (MailState::Queued, 0));
            assert!(waiting.last_error.unwrap().contains("421"), "each mail says why it waits");
        }
        clock.advance(Duration::from_secs(60));
    }
    assert_eq!(sent, 3);
    assert_eq!(server.received().len(), 3);
    assert_eq!(entry(&database, 3).await.last_error, None);
}

#[tokio::test]
async fn a_clock_that_is_set_back_in_an_outage_makes_no_mail_wait_for_longer() {
    let folder = tempfile::tempdir().unwrap();
    let (database, clock) = (sqlite(&folder).await, Clock::manual(start()));
    let server = SmtpServer::start(&Options { mail: vec![Reply::line("421 4.3.2 closing")], ..Options::default() });
    let mailer = mailer(&database, &clock, Transport::Smtp(settings(&server, Encryption::None)));
    queue(&database, &clock, &imported(1, "a@example.org")).await;
    assert_eq!(mailer.deliver_due().await.unwrap().sent, 0);
    clock.shift_wall(TimeDelta::days(-1));
    clock.advance(Duration::from_secs(15 * 60));
    assert_eq!(mailer.deliver_due().await.unwrap().sent, 1);
}

#[tokio::test]
async fn an_outage_of_more_than_four_days_gives_up_what_is_older() {
    let folder = tempfile::tempdir().unwrap();
    let (database, clock) = (sqlite(&folder).await, Clock::manual(start()));
    let server =
        SmtpServer::start(&Options { mail: vec![Reply::line("421 4.3.2 closing"); 1000], ..Options::default() });
    let mailer = mailer(&database, &clock, Transport::Smtp(settings(&server, Encryption::None)));
    queue(&database, &clock, &imported(1, "a@example.org")).await;
    for _ in 0..4 * 24 {
        assert_eq!(mailer.deliver_due().await.unwrap().failed, 0);
        clock.advance(Duration::from_secs(60 * 60));
    }
    queue(&database, &clock, &imported(2, "a@example.org")).await;
    clock.advance(Duration::from_secs(60 * 60));
    assert_eq!(mailer.deliver_due().await.unwrap().failed, 1);
    let given_up = entry(&database, 1).await;
    assert_eq!(given_up.state, MailState::Failed);
    assert!(given_up.last_error.unwrap().starts_with("given up; no mail could be sent"));
    assert_eq!(entry(&database, 2).await.state, MailState::Queued);
}

#[tokio::test]
async fn an_attachment_comes_along_or_the_mail_says_why_not() {
    let folder = tempfile::tempdir().unwrap();
    let (database, clock) = (sqlite(&folder).await, Clock::manual(start()));
    let mailbox_folder = folder.path().join("mail");
    let mailer = mailer(&database, &clock, Transport::File { folder: mailbox_folder.clone() });
    let csv = folder.path().join("errors.csv");
    std::fs::write(&csv, "code\nDATE_INVALID\n").unwrap();
    let large = folder.path().join("large.csv");
    std::fs::write(&large, vec![b'x'; (1 << 20) + 1]).unwrap();
    let missing = folder.path().join("missing.csv");
    for (number, path) in [(1, &csv), (2, &large), (3, &missing)] {
        let attachment = Some(path.to_str().unwrap());
        queue(&database, &clock, &Queued { attachment, ..imported(number, "a@example.org") }).await;
    }
    assert_eq!(mailer.deliver_due().await.unwrap().sent, 3);
    let mails: Vec<serde_json::Value> = files(&mailbox_folder)
        .iter()
        .map(|name| read_with_python(&std::fs::read(mailbox_folder.join(name)).unwrap()))
        .collect();
    assert_eq!(mails[0]["parts"][2], serde_json::json!(["text/csv", "errors.csv", "code\nDATE_INVALID\n"]));
    for (mail, why) in [(&mails[1], "it is too large for a mail"), (&mails[2], "it cannot be read any more")] {
        assert!(mail["parts"][0][2].as_str().unwrap().contains(why), "{mail}");
        assert!(mail["parts"][1][2].as_str().unwrap().contains(why), "{mail}");
        assert_eq!(mail["parts"][2], serde_json::Value::Null);
    }
}
