//! One try to hand a mail to a real mail server, in every way of encryption and of refusal.

use std::net::TcpListener;
use std::time::Duration;

use eventferry::clock::Clock;
use eventferry::mail::{
    Attachment, Composed, Encryption, MailKind, Outgoing, Scope, SendOutcome, Smtp, Transport, compose, mailbox, send,
};

use super::super::support::smtp::{self, Options, Reply, SmtpServer};
use super::{read_with_python, settings, start};

fn logging_in(settings: Smtp, password: &str) -> Smtp {
    Smtp { user: Some("ferry".to_owned()), password: Some(password.into()), ..settings }
}

fn trusting(settings: Smtp, server: &SmtpServer) -> Smtp {
    Smtp { ca_file: Some(server.ca_file()), ..settings }
}

fn hello() -> Composed {
    let outgoing = Outgoing {
        kind: MailKind::Test,
        message_id: "<1.test@example.org>",
        from: &mailbox(Some("Fährdienst"), "ferry@example.org").unwrap(),
        to: &mailbox(Some("Asia \u{4e9a}\u{6d32}"), "crew@example.net").unwrap(),
        subject: "Importiert: Gipfel “2018” 亚洲",
        text: "Guten Morgen\n.\n\nEnde äöü\n",
        html: "<p>Guten Morgen &amp; Ende</p>",
        attachment: Some(Attachment { name: "errors.csv".to_owned(), bytes: b"a,b\n1,\xc3\xa4\r\n".to_vec() }),
        date: start(),
    };
    compose(&outgoing).unwrap()
}

async fn try_once(smtp: Smtp) -> SendOutcome {
    send(&Transport::Smtp(smtp), &hello(), &Clock::manual(start())).await
}

/// The reason of a trouble that concerns all mails.
fn transport_trouble(outcome: SendOutcome) -> String {
    match outcome {
        SendOutcome::TryLater { reason, scope: Scope::Transport } => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_mail_arrives_whole_as_another_parser_reads_it() {
    let server = SmtpServer::start(&Options::default());
    assert_eq!(try_once(settings(&server, Encryption::None)).await, SendOutcome::Accepted);
    let received = server.wait_for_mail();
    assert_eq!((received.sender.as_str(), received.encrypted), ("ferry@example.org", false));
    assert_eq!(received.recipients, ["crew@example.net"]);
    let read = read_with_python(&received.content);
    assert_eq!(read["subject"], "Importiert: Gipfel “2018” 亚洲");
    assert_eq!(read["to"], "Asia 亚洲 <crew@example.net>");
    assert_eq!(read["from"], "Fährdienst <ferry@example.org>");
    assert_eq!(read["id"], "<1.test@example.org>");
    assert_eq!(read["date"], "2026-09-21T14:13:20+00:00");
    assert_eq!(read["auto"], "auto-generated");
    assert_eq!(read["defects"], 0);
    let parts = serde_json::json!([
        ["text/plain", null, "Guten Morgen\n.\n\nEnde äöü\n"],
        ["text/html", null, "<p>Guten Morgen &amp; Ende</p>"],
        ["text/csv", "errors.csv", "a,b\n1,ä\r\n"],
    ]);
    assert_eq!(read["parts"], parts);
}

#[tokio::test]
async fn each_way_of_encryption_is_spoken_and_a_log_in_goes_over_it() {
    let user = || Options { user: Some("ferry".to_owned()), password: Some("secret".to_owned()), ..Options::default() };
    for (theirs, ours) in [
        (smtp::Encryption::StartTlsOffered, Encryption::StarttlsOptional),
        (smtp::Encryption::StartTlsOffered, Encryption::Starttls),
        (smtp::Encryption::StartTlsRequired, Encryption::StarttlsOptional),
        (smtp::Encryption::StartTlsRequired, Encryption::Starttls),
        (smtp::Encryption::Tls, Encryption::Tls),
    ] {
        let server = SmtpServer::start(&Options { encryption: theirs, ..user() });
        let smtp = logging_in(trusting(settings(&server, ours), &server), "secret");
        assert_eq!(try_once(smtp).await, SendOutcome::Accepted, "{theirs:?} {ours:?}");
        let received = server.wait_for_mail();
        assert!(received.encrypted, "{theirs:?} {ours:?}");
        assert_eq!(received.user.as_deref(), Some("ferry"));
    }
}

#[tokio::test]
async fn optional_encryption_does_without_where_it_is_not_offered() {
    let server = SmtpServer::start(&Options::default());
    assert_eq!(try_once(settings(&server, Encryption::StarttlsOptional)).await, SendOutcome::Accepted);
    assert!(!server.wait_for_mail().encrypted);
}

#[tokio::test]
async fn optional_encryption_without_a_secret_takes_any_certificate() {
    let server = SmtpServer::start(&Options { encryption: smtp::Encryption::StartTlsOffered, ..Options::default() });
    assert_eq!(try_once(settings(&server, Encryption::StarttlsOptional)).await, SendOutcome::Accepted);
    assert!(server.wait_for_mail().encrypted);
}

#[tokio::test]
async fn required_encryption_that_is_not_offered_or_not_trusted_sends_nothing() {
    let plain = SmtpServer::start(&Options::default());
    let reason = transport_trouble(try_once(settings(&plain, Encryption::Starttls)).await);
    assert!(reason.contains("does not offer STARTTLS") && reason.contains("\"starttls_optional\""), "{reason}");
    let reason = transport_trouble(try_once(settings(&plain, Encryption::Tls)).await);
    assert!(reason.contains("set `smtp.encryption` to \"starttls\"") && reason.contains("usually 465"), "{reason}");
    for (theirs, ours) in
        [(smtp::Encryption::StartTlsOffered, Encryption::Starttls), (smtp::Encryption::Tls, Encryption::Tls)]
    {
        let server = SmtpServer::start(&Options { encryption: theirs, ..Options::default() });
        let reason = transport_trouble(try_once(settings(&server, ours)).await);
        assert!(reason.to_lowercase().contains("certificate") && !reason.contains("plain SMTP"), "{reason}");
        assert!(server.received().is_empty());
    }
    let offered = SmtpServer::start(&Options { encryption: smtp::Encryption::StartTlsOffered, ..Options::default() });
    let secret = logging_in(settings(&offered, Encryption::StarttlsOptional), "secret");
    let reason = transport_trouble(try_once(secret).await);
    assert!(reason.to_lowercase().contains("certificate"), "with a log-in the certificate counts: {reason}");
}

#[tokio::test]
async fn a_password_goes_unencrypted_only_to_this_machine_and_only_on_purpose() {
    let server = SmtpServer::start(&Options {
        user: Some("ferry".to_owned()),
        password: Some("secret".to_owned()),
        ..Options::default()
    });
    let reason =
        transport_trouble(try_once(logging_in(settings(&server, Encryption::StarttlsOptional), "secret")).await);
    assert!(reason.contains("the password is not sent"), "{reason}");
    assert_eq!(try_once(logging_in(settings(&server, Encryption::None), "secret")).await, SendOutcome::Accepted);
    for (host, allowed) in [("localhost", true), ("::1", true), ("127.0.0.1", true), ("mail.example.org", false)] {
        let smtp = Smtp { host: host.to_owned(), ..settings(&server, Encryption::None) };
        assert_eq!(smtp.may_log_in_unencrypted(), allowed, "{host}");
    }
}

#[tokio::test]
async fn a_refused_log_in_may_pass_and_tells_no_password() {
    let server = SmtpServer::start(&Options {
        user: Some("ferry".to_owned()),
        password: Some("secret".to_owned()),
        ..Options::default()
    });
    let reason = transport_trouble(try_once(logging_in(settings(&server, Encryption::None), "hunter2")).await);
    assert!(reason.contains("logging in at") && reason.contains("535"), "{reason}");
    assert!(!reason.contains("hunter2"), "{reason}");
    let reason = transport_trouble(try_once(settings(&server, Encryption::None)).await);
    assert!(reason.contains("530"), "without a log-in: {reason}");
}

/// What one try came to, without the reason.
#[derive(Debug, PartialEq)]
enum Met {
    Accepted,
    AllWait,
    MailWaits,
    Refused,
}

fn met(outcome: &SendOutcome) -> Met {
    match outcome {
        SendOutcome::Accepted => Met::Accepted,
        SendOutcome::TryLater { scope: Scope::Transport, .. } => Met::AllWait,
        SendOutcome::TryLater { scope: Scope::Mail, .. } => Met::MailWaits,
        SendOutcome::Refused { .. } => Met::Refused,
    }
}

#[tokio::test]
async fn what_a_refusal_means_depends_on_where_it_falls() {
    let line = |text: &str| vec![Reply::line(text)];
    let cases = [
        (Options { mail: line("421 4.3.2 closing"), ..Options::default() }, Met::AllWait),
        (Options { mail: line("550 5.7.1 not from here"), ..Options::default() }, Met::AllWait),
        (Options { rcpt: line("450 4.2.0 greylisted"), ..Options::default() }, Met::MailWaits),
        (Options { rcpt: line("550 5.1.1 nobody here"), ..Options::default() }, Met::Refused),
        (Options { rcpt: line("530 5.7.0 log in first"), ..Options::default() }, Met::MailWaits),
        (Options { data: line("451 4.3.0 come back later"), ..Options::default() }, Met::MailWaits),
        (Options { data: line("554 5.7.1 looks like spam"), ..Options::default() }, Met::Refused),
        (Options { data: vec![Reply::drop_connection()], ..Options::default() }, Met::MailWaits),
        (Options::default(), Met::Accepted),
    ];
    for (options, expected) in &cases {
        let server = SmtpServer::start(options);
        let outcome = try_once(settings(&server, Encryption::None)).await;
        assert_eq!(met(&outcome), *expected, "{options:?}: {outcome:?}");
    }
}

#[tokio::test]
async fn no_server_and_a_silent_server_are_troubles_that_pass() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let smtp = Smtp {
        host: "127.0.0.1".to_owned(),
        port,
        encryption: Encryption::None,
        user: None,
        password: None,
        timeout: Duration::from_secs(30),
        ca_file: None,
        hello_name: None,
    };
    let clock = Clock::manual(start());
    let (mail, transport) = (hello(), Transport::Smtp(smtp.clone()));
    let sending = send(&transport, &mail, &clock);
    let silence = async {
        let accepted = tokio::task::spawn_blocking(move || listener.accept().unwrap()).await.unwrap();
        clock.advance(Duration::from_secs(120));
        accepted
    };
    let (outcome, _connection) = tokio::join!(sending, silence);
    let reason = transport_trouble(outcome);
    assert!(reason.contains("connecting to") && reason.contains("no end after 120 s"), "{reason}");
    // The listener is gone now.
    let reason = transport_trouble(try_once(smtp).await);
    assert!(reason.contains("connecting to") && reason.contains("refused"), "{reason}");
}
