//! A real SMTP server for one test: aiosmtpd, in the virtual environment that `tests/run` makes.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tempfile::TempDir;

/// How long a test waits for a mail before it fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the server offers on its port.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Encryption {
    /// Plain text only.
    #[default]
    None,
    /// STARTTLS for who wants it.
    #[serde(rename = "starttls_offered")]
    StartTlsOffered,
    /// Nothing before STARTTLS.
    #[serde(rename = "starttls_required")]
    StartTlsRequired,
    /// TLS from the first byte.
    Tls,
}

/// What the script of a command makes of it. A script is used up from its beginning; after its end all is accepted.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Reply {
    /// The good reply.
    Accept(()),
    /// Another one: code, enhanced code and words, `451 4.3.0 come back later`.
    Line(String),
}

impl Reply {
    /// The command succeeds.
    pub(crate) fn accept() -> Self {
        Self::Accept(())
    }

    /// The command is answered with `line`.
    pub(crate) fn line(line: &str) -> Self {
        Self::Line(line.to_owned())
    }

    /// The connection is cut instead of a reply. A mail whose data had arrived by then has been taken in.
    pub(crate) fn drop_connection() -> Self {
        Self::Line("drop".to_owned())
    }
}

/// What kind of server a test wants. The default is a plain one that takes everything.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Options {
    pub(crate) encryption: Encryption,
    /// With a user, mail is taken in only after a log-in.
    pub(crate) user: Option<String>,
    pub(crate) password: Option<String>,
    /// Script of the replies to `MAIL FROM`.
    pub(crate) mail: Vec<Reply>,
    /// Script of the replies to `RCPT TO`.
    pub(crate) rcpt: Vec<Reply>,
    /// Script of the replies after the data.
    pub(crate) data: Vec<Reply>,
    /// Recipients that are always refused, with the reply.
    pub(crate) refused: BTreeMap<String, String>,
}

/// One mail that the server took in.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Received {
    /// The envelope's sender.
    pub(crate) sender: String,
    /// The envelope's recipients that were accepted.
    pub(crate) recipients: Vec<String>,
    /// Whether it came over TLS.
    pub(crate) encrypted: bool,
    /// Who had logged in.
    pub(crate) user: Option<String>,
    /// The mail as it came, lines ended by CRLF.
    #[serde(skip)]
    pub(crate) content: Vec<u8>,
}

/// A running server. It is killed and waited for with this value.
#[derive(Debug)]
pub(crate) struct SmtpServer {
    child: Child,
    port: u16,
    lines: Receiver<String>,
    folder: TempDir,
}

impl SmtpServer {
    /// Starts one on a free port of 127.0.0.1. Its certificate is for `127.0.0.1` and `localhost`.
    ///
    /// # Panics
    /// Where `tests/run` has not made the virtual environment.
    pub(crate) fn start(options: &Options) -> Self {
        let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/venv/bin/python");
        assert!(python.exists(), "this test needs the mail server aiosmtpd: start the tests with `tests/run`");

        let folder = tempfile::tempdir().unwrap();
        if !matches!(options.encryption, Encryption::None) {
            make_certificates(folder.path());
        }
        let mut argument = serde_json::to_value(options).unwrap();
        argument["directory"] = path_value(folder.path());
        argument["certificate"] = path_value(&folder.path().join("server.pem"));
        argument["key"] = path_value(&folder.path().join("server.key"));

        let mut child = Command::new(python)
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/support/smtp_server.py"))
            .arg(argument.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = read_lines(&mut child);
        let port = lines.recv_timeout(PATIENCE).expect("the mail server prints its port").parse().unwrap();
        Self { child, port, lines, folder }
    }

    /// Where it listens on 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The root certificate that a client must trust.
    pub(crate) fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// All mails taken in so far, the oldest first.
    pub(crate) fn received(&self) -> Vec<Received> {
        let mut names: Vec<String> = fs::read_dir(self.folder.path())
            .unwrap()
            .filter_map(|entry| {
                entry.unwrap().file_name().into_string().unwrap().strip_suffix(".json").map(str::to_owned)
            })
            .collect();
        names.sort();
        names.iter().map(|name| self.read(name)).collect()
    }

    /// Waits for the next mail that has not been waited for.
    ///
    /// # Panics
    /// Where none comes within half a minute.
    pub(crate) fn wait_for_mail(&self) -> Received {
        let name = self.lines.recv_timeout(PATIENCE).expect("a mail arrives within half a minute");
        self.read(&name)
    }

    fn read(&self, name: &str) -> Received {
        let folder = self.folder.path();
        let envelope = fs::read(folder.join(format!("{name}.json"))).unwrap();
        let content = fs::read(folder.join(format!("{name}.eml"))).unwrap();
        Received { content, ..serde_json::from_slice(&envelope).unwrap() }
    }
}

impl Drop for SmtpServer {
    fn drop(&mut self) {
        // It may have ended by itself; waiting tells in either case.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn path_value(path: &Path) -> serde_json::Value {
    path.to_str().unwrap().into()
}

fn read_lines(child: &mut Child) -> Receiver<String> {
    let output = BufReader::new(child.stdout.take().unwrap());
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in output.lines() {
            // Nobody listens any more when the test is over.
            if sender.send(line.unwrap()).is_err() {
                break;
            }
        }
    });
    lines
}

/// Makes a root certificate (`ca.pem`) and a server's certificate signed by it (`server.pem`, `server.key`).
pub(crate) fn make_certificates(folder: &Path) {
    const NEW: [&str; 8] =
        ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc", "-days=30"];
    let root = ["-subj=/CN=Test root", "-keyout=ca.key", "-out=ca.pem"];
    let server = [
        "-subj=/CN=localhost",
        "-keyout=server.key",
        "-out=server.pem",
        "-CA=ca.pem",
        "-CAkey=ca.key",
        "-addext=basicConstraints=critical,CA:FALSE",
        "-addext=subjectAltName=DNS:localhost,IP:127.0.0.1",
    ];
    for arguments in [&root[..], &server[..]] {
        let split = arguments.iter().flat_map(|argument| argument.splitn(2, '='));
        let new = NEW.iter().flat_map(|argument| argument.splitn(2, '='));
        let output = Command::new("openssl").args(new.chain(split)).current_dir(folder).output().unwrap();
        assert!(output.status.success(), "openssl: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// The server itself, spoken to in plain SMTP.
mod server {
    use std::io::{Read, Write};
    use std::net::TcpStream;

    use super::*;

    /// Says `lines` one after another, waiting for the reply to each, and gives all replies.
    fn talk(server: &SmtpServer, lines: &[&str]) -> Vec<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut replies = BufReader::new(stream.try_clone().unwrap());
        let mut heard = vec![read_reply(&mut replies)];
        for line in lines {
            stream.write_all(format!("{line}\r\n").as_bytes()).unwrap();
            heard.push(read_reply(&mut replies));
        }
        heard
    }

    /// One reply, which may have several lines; empty where the connection was cut.
    fn read_reply(replies: &mut impl BufRead) -> String {
        let mut reply = String::new();
        loop {
            let mut line = String::new();
            if replies.read_line(&mut line).unwrap_or(0) == 0 {
                return reply;
            }
            reply += &line;
            if line.as_bytes().get(3) != Some(&b'-') {
                return reply;
            }
        }
    }

    const MAIL: [&str; 5] = [
        "EHLO test",
        "MAIL FROM:<ferry@example.org>",
        "RCPT TO:<crew@example.org>",
        "DATA",
        "Subject: Hello\r\n\r\nGood morning\r\n.",
    ];

    #[test]
    fn a_plain_server_keeps_mail_and_envelope() {
        let server = SmtpServer::start(&Options::default());
        let replies = talk(&server, &MAIL);
        assert_eq!(replies.last().unwrap(), "250 2.6.0 taken\r\n");
        assert!(!replies[1].contains("STARTTLS"), "{replies:?}");

        let mail = server.wait_for_mail();
        assert_eq!(mail.sender, "ferry@example.org");
        assert_eq!(mail.recipients, ["crew@example.org"]);
        assert_eq!(mail.content, b"Subject: Hello\r\n\r\nGood morning\r\n");
        assert!(!mail.encrypted);
        assert_eq!(mail.user, None);
        assert_eq!(server.received().len(), 1);
    }

    #[test]
    fn replies_follow_the_script_and_are_good_after_its_end() {
        let server = SmtpServer::start(&Options {
            mail: vec![Reply::line("451 4.3.0 come back later")],
            rcpt: vec![Reply::accept(), Reply::line("550 5.1.1 nobody here")],
            ..Options::default()
        });
        let lines = [
            "EHLO test",
            "MAIL FROM:<ferry@example.org>",
            "MAIL FROM:<ferry@example.org>",
            "RCPT TO:<first@example.org>",
            "RCPT TO:<second@example.org>",
            "RCPT TO:<third@example.org>",
        ];
        let codes: Vec<String> = talk(&server, &lines).iter().map(|reply| reply[..3].to_owned()).collect();
        assert_eq!(codes, ["220", "250", "451", "250", "250", "550", "250"]);
    }

    #[test]
    fn one_recipient_is_refused_whenever_it_comes() {
        let server = SmtpServer::start(&Options {
            refused: BTreeMap::from([("bad@example.org".to_owned(), "550 5.1.1 nobody here".to_owned())]),
            ..Options::default()
        });
        let lines =
            ["EHLO test", "MAIL FROM:<a@example.org>", "RCPT TO:<bad@example.org>", "RCPT TO:<bad@example.org>"];
        assert_eq!(talk(&server, &lines)[3..], ["550 5.1.1 nobody here\r\n", "550 5.1.1 nobody here\r\n"]);
    }

    #[test]
    fn a_connection_cut_after_the_data_leaves_the_mail_taken_in() {
        let server = SmtpServer::start(&Options { data: vec![Reply::drop_connection()], ..Options::default() });
        assert_eq!(talk(&server, &MAIL).last().unwrap(), "");
        assert_eq!(server.wait_for_mail().sender, "ferry@example.org");
        assert_eq!(talk(&server, &MAIL).last().unwrap(), "250 2.6.0 taken\r\n");
        assert_eq!(server.received().len(), 2);
    }

    #[test]
    fn a_log_in_is_asked_for_and_checked() {
        let server = SmtpServer::start(&Options {
            user: Some("ferry".to_owned()),
            password: Some("secret".to_owned()),
            ..Options::default()
        });
        // "\0ferry\0wrong", "\0ferry\0secret"
        let (wrong, right) = ("AUTH PLAIN AGZlcnJ5AHdyb25n", "AUTH PLAIN AGZlcnJ5AHNlY3JldA==");
        let lines = ["EHLO test", "MAIL FROM:<ferry@example.org>", wrong, right, "MAIL FROM:<ferry@example.org>"];
        let codes: Vec<String> = talk(&server, &lines).iter().map(|reply| reply[..3].to_owned()).collect();
        assert_eq!(codes, ["220", "250", "530", "535", "235", "250"]);
    }

    #[test]
    fn a_server_that_requires_encryption_takes_nothing_before_it() {
        let server = SmtpServer::start(&Options { encryption: Encryption::StartTlsRequired, ..Options::default() });
        let replies = talk(&server, &["EHLO test", "MAIL FROM:<ferry@example.org>"]);
        assert!(replies[1].contains("STARTTLS"), "{replies:?}");
        assert!(replies[2].starts_with("530"), "{replies:?}");
    }

    #[test]
    fn the_certificate_holds_for_who_trusts_the_root_and_for_nobody_else() {
        for (encryption, start) in
            [(Encryption::Tls, &[][..]), (Encryption::StartTlsOffered, &["-starttls", "smtp"][..])]
        {
            let server = SmtpServer::start(&Options { encryption, ..Options::default() });
            assert!(connect_with_tls(&server, start, &["-CAfile", server.ca_file().to_str().unwrap()]));
            assert!(!connect_with_tls(&server, start, &[]));
        }
    }

    /// Whether `openssl` believes the server's certificate for the name `localhost`.
    fn connect_with_tls(server: &SmtpServer, start: &[&str], trust: &[&str]) -> bool {
        let mut client = Command::new("openssl")
            .args(["s_client", "-quiet", "-verify_return_error", "-verify_hostname", "localhost", "-connect"])
            .arg(format!("127.0.0.1:{}", server.port()))
            .args(start)
            .args(trust)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // A client that was refused has gone before it reads this.
        let _ = client.stdin.take().unwrap().write_all(b"QUIT\r\n");
        let mut heard = String::new();
        client.stdout.take().unwrap().read_to_string(&mut heard).unwrap();
        client.wait().unwrap();
        heard.contains("221 ")
    }
}
