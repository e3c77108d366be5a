//! `[smtp]`

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use super::mail::MailTransport;
use super::reader::{DEFAULT, Reader, Rule};
use super::secret;

/// The mail server.
#[derive(Clone, Debug)]
pub struct SmtpSection {
    /// Its name or address; set where the transport is SMTP.
    pub host: Option<String>,
    /// Its port, never 0.
    pub port: u16,
    /// How the line is protected.
    pub encryption: Encryption,
    /// Log-in name; there is a password where it is set.
    pub user: Option<String>,
    /// Password of the log-in.
    pub password: Option<SecretString>,
    /// How long one answer may take.
    pub timeout: Duration,
    /// PEM file with root certificates beside the system's.
    pub ca_file: Option<PathBuf>,
    /// The name given in the greeting; this machine's where it is not set.
    pub hello: Option<String>,
}

/// How the line to the mail server is protected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encryption {
    /// Not at all.
    None,
    /// TLS where the server offers it.
    StarttlsOptional,
    /// TLS after a plain greeting, or nothing is sent.
    #[default]
    Starttls,
    /// TLS from the first byte.
    Tls,
}

const ENCRYPTIONS: [(&str, Encryption); 4] = [
    ("none", Encryption::None),
    ("starttls_optional", Encryption::StarttlsOptional),
    ("starttls", Encryption::Starttls),
    ("tls", Encryption::Tls),
];

impl Encryption {
    fn usual_port(self) -> u16 {
        match self {
            Self::None => 25,
            Self::StarttlsOptional | Self::Starttls => 587,
            Self::Tls => 465,
        }
    }
}

impl SmtpSection {
    pub(super) fn read(reader: &mut Reader) -> Self {
        let host_name = Rule::new(
            "must be a host name or an address without scheme, log-in and port",
            "write it as in \"mail.example.org\"; the port goes into `smtp.port`, the log-in into `smtp.user`",
        );
        let host = reader.parsed("smtp.host", &host_name, parse_host);
        let port: u16 = reader.number("smtp.port", 0..=65_535);
        let encryption = reader.choice("smtp.encryption", &ENCRYPTIONS);
        Self {
            host,
            port: if port == 0 { encryption.usual_port() } else { port },
            encryption,
            user: reader.optional_text("smtp.user"),
            password: reader.secret("smtp.password", secret::hide),
            timeout: reader.duration("smtp.timeout", Duration::from_millis(100)..=Duration::from_secs(600)),
            ca_file: reader.optional_path("smtp.ca_file"),
            hello: reader.parsed("smtp.hello", &host_name, parse_host),
        }
    }

    pub(super) fn check(&self, reader: &mut Reader, transport: MailTransport) {
        let uses_smtp = transport == MailTransport::Smtp;
        reader.require(
            &["smtp.host", "mail.transport"],
            !uses_smtp || self.host.is_some(),
            &Rule::new("clashes: for the transport \"smtp\" `smtp.host` must be set", "set `smtp.host`"),
        );
        reader.require(
            &["mail.from", "mail.transport"],
            !uses_smtp || reader.origin("mail.from") != DEFAULT,
            &Rule::new(
                "clashes: for the transport \"smtp\" `mail.from` must be set",
                "set `mail.from` to a real address",
            ),
        );
        reader.require(
            &["smtp.user", "smtp.password", "smtp.password_file"],
            self.user.is_some() == self.password.is_some(),
            &Rule::new(
                "clashes: `smtp.user` must be set together with its password",
                "set both `smtp.user` and `smtp.password_file`, or none of them",
            ),
        );
        let is_protected = matches!(self.encryption, Encryption::Starttls | Encryption::Tls);
        reader.require(
            &["smtp.encryption", "smtp.user", "smtp.host"],
            self.user.is_none() || is_protected || self.host.as_deref().is_none_or(is_this_machine),
            &Rule::new(
                "clashes: a log-in must not go over an open line",
                "set `smtp.encryption` to \"starttls\" or \"tls\", or take the log-in away",
            ),
        );
        let readable = self.ca_file.as_ref().map_or(Ok(()), |path| std::fs::File::open(path).map(drop));
        if let Err(error) = readable {
            let remedy = "check its path and that the user of the service may read it";
            reader.fault("smtp.ca_file", &Rule::new(format!("must be a file that can be read: {error}"), remedy));
        }
    }
}

fn parse_host(text: &str) -> Option<String> {
    let is_name = |text: &str| text.chars().all(|letter| letter.is_alphanumeric() || "-._".contains(letter));
    let text = text.trim();
    (is_name(text) || text.parse::<IpAddr>().is_ok()).then(|| text.to_owned())
}

fn is_this_machine(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}
