//! Delivery to a mail server, one conversation per mail.
//!
//! The conversation is led step by step, since what a refusal means depends on where it falls: until the server has
//! taken the sender it concerns all mails and may pass; a 5xx for the recipient or the data is final.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::{ClientId, Extension, MailParameter};
use secrecy::{ExposeSecret, SecretString};

use super::compose::Composed;
use super::send::{Scope, SendOutcome};
use super::words;
use crate::clock::Clock;

/// A mail server and how it is spoken to.
#[derive(Clone, Debug)]
pub struct Smtp {
    /// Its name or address; the certificate must be for it.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is encrypted.
    pub encryption: Encryption,
    /// Who logs in; none logs in where this is none.
    pub user: Option<String>,
    /// With which password.
    pub password: Option<SecretString>,
    /// How long to wait for a connection or an answer; a whole conversation may take four times as long.
    pub timeout: Duration,
    /// A PEM file with certificates that are trusted besides the system's.
    pub ca_file: Option<PathBuf>,
    /// What this machine calls itself; its host name where this is none.
    pub hello_name: Option<String>,
}

/// How a connection to a mail server is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encryption {
    /// Not at all.
    None,
    /// From STARTTLS on where the server offers it. Without a log-in and a `ca_file` the certificate is not checked:
    /// who could forge it could as well suppress the offer.
    StarttlsOptional,
    /// From STARTTLS on, or no mail.
    Starttls,
    /// From the first byte.
    Tls,
}

impl Smtp {
    /// How long a conversation may take in all.
    pub fn longest_conversation(&self) -> Duration {
        self.timeout * 4
    }

    /// Whether the password may go over a connection that is not encrypted: only to this machine, and only where
    /// encryption is switched off on purpose.
    pub fn may_log_in_unencrypted(&self) -> bool {
        let is_here = self.host.eq_ignore_ascii_case("localhost")
            || self.host.trim_matches(['[', ']']).parse().is_ok_and(|address: IpAddr| address.is_loopback());
        self.encryption == Encryption::None && is_here
    }

    /// How the port depends on the encryption where none is configured.
    pub fn default_port(encryption: Encryption) -> u16 {
        match encryption {
            Encryption::None | Encryption::StarttlsOptional => 25,
            Encryption::Starttls => 587,
            Encryption::Tls => 465,
        }
    }
}

/// How far a conversation has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Prepare,
    Connect,
    StartTls,
    LogIn,
    Sender,
    Recipient,
    Content,
}

impl Stage {
    fn scope(self) -> Scope {
        match self {
            Self::Prepare | Self::Connect | Self::StartTls | Self::LogIn | Self::Sender => Scope::Transport,
            Self::Recipient | Self::Content => Scope::Mail,
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Prepare => "preparing the connection to",
            Self::Connect => "connecting to",
            Self::StartTls => "encrypting the connection to",
            Self::LogIn => "logging in at",
            Self::Sender => "naming the sender to",
            Self::Recipient => "naming the recipient to",
            Self::Content => "handing the mail to",
        })
    }
}

/// Why a conversation ended without success.
enum Failure {
    Server(Error),
    /// Something on this side; a later try may find it mended.
    Here(String),
    /// Something that no later try changes.
    Never(String),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Server(error)
    }
}

pub(super) async fn send(smtp: &Smtp, mail: &Composed, clock: &Clock) -> SendOutcome {
    let reached = Mutex::new(Stage::Prepare);
    let stage = || *reached.lock().unwrap_or_else(PoisonError::into_inner);
    let finished = tokio::select! {
        biased;
        () = clock.sleep(smtp.longest_conversation()) => None,
        finished = converse(smtp, mail, &reached) => Some(finished),
    };
    match finished {
        None => {
            let seconds = smtp.longest_conversation().as_secs();
            let reason = format!("{} {}: no end after {seconds} s", stage(), server(smtp));
            SendOutcome::TryLater { reason, scope: stage().scope() }
        }
        Some(Err(failure)) => outcome_of(&failure, stage(), smtp),
        Some(Ok(mut connection)) => {
            // The mail is delivered; the server's answer to the farewell changes nothing.
            tokio::select! {
                biased;
                () = clock.sleep(smtp.timeout) => {}
                () = connection.abort() => {}
            }
            SendOutcome::Accepted
        }
    }
}

async fn converse(smtp: &Smtp, mail: &Composed, reached: &Mutex<Stage>) -> Result<AsyncSmtpConnection, Failure> {
    let enter = |stage: Stage| *reached.lock().unwrap_or_else(PoisonError::into_inner) = stage;
    let hello_name = smtp.hello_name.clone().map_or_else(ClientId::default, ClientId::Domain);
    let tls = tls_parameters(smtp).await?;

    enter(Stage::Connect);
    let wrapper = tls.clone().filter(|_| smtp.encryption == Encryption::Tls);
    let address = (smtp.host.trim_matches(['[', ']']), smtp.port);
    let mut connection =
        AsyncSmtpConnection::connect_tokio1(address, Some(smtp.timeout), &hello_name, wrapper, None).await?;

    enter(Stage::StartTls);
    if let Some(tls) = tls {
        let wanted = match smtp.encryption {
            Encryption::None | Encryption::Tls => false,
            Encryption::Starttls => true,
            Encryption::StarttlsOptional => connection.can_starttls(),
        };
        if wanted && !connection.can_starttls() {
            return Err(Failure::Here(
                "the server does not offer STARTTLS there; set `smtp.encryption` to \"tls\" and `smtp.port` to where it \
                 speaks TLS (usually 465), or, where mails may go unencrypted, `smtp.encryption` to \"starttls_optional\""
                    .to_owned(),
            ));
        }
        if wanted {
            connection.starttls(tls, &hello_name).await?;
        }
    }

    enter(Stage::LogIn);
    if let Some(user) = &smtp.user {
        if !connection.is_encrypted() && !smtp.may_log_in_unencrypted() {
            return Err(Failure::Here(
                "the connection is not encrypted, so the password is not sent; set `smtp.encryption` to \"starttls\" \
                 or \"tls\""
                    .to_owned(),
            ));
        }
        let password = smtp.password.as_ref().map(|password| password.expose_secret().to_owned()).unwrap_or_default();
        let credentials = Credentials::new(user.clone(), password);
        connection.auth(&[Mechanism::Plain, Mechanism::Login], &credentials).await?;
    }

    enter(Stage::Sender);
    let (envelope, bytes) = (mail.message.envelope(), mail.bytes());
    let international = !envelope.to().iter().chain(envelope.from()).all(|address| {
        let address: &str = address.as_ref();
        address.is_ascii()
    });
    let mut parameters = Vec::new();
    if international {
        if !connection.server_info().supports_feature(Extension::SmtpUtfEight) {
            return Err(Failure::Never("it does not take addresses with letters beyond ASCII (SMTPUTF8)".to_owned()));
        }
        parameters.push(MailParameter::SmtpUtfEight);
    }
    connection.command(Mail::new(envelope.from().cloned(), parameters)).await?;

    enter(Stage::Recipient);
    for recipient in envelope.to() {
        connection.command(Rcpt::new(recipient.clone(), Vec::new())).await?;
    }

    enter(Stage::Content);
    connection.command(Data).await?;
    connection.message(&bytes).await?;
    Ok(connection)
}

async fn tls_parameters(smtp: &Smtp) -> Result<Option<TlsParameters>, Failure> {
    if smtp.encryption == Encryption::None {
        return Ok(None);
    }
    let mut builder = TlsParameters::builder(smtp.host.trim_matches(['[', ']']).to_owned());
    if let Some(path) = &smtp.ca_file {
        let unusable = |what: String| Failure::Here(format!("`smtp.ca_file` `{}` {what}", path.display()));
        let pem = tokio::fs::read(path).await.map_err(|error| unusable(format!("cannot be read: {error}")))?;
        let certificate = Certificate::from_pem(&pem).map_err(|error| unusable(format!("is no PEM file: {error}")))?;
        builder = builder.add_root_certificate(certificate);
    }
    let unchecked = smtp.encryption == Encryption::StarttlsOptional && smtp.user.is_none() && smtp.ca_file.is_none();
    Ok(Some(builder.dangerous_accept_invalid_certs(unchecked).build()?))
}

fn outcome_of(failure: &Failure, stage: Stage, smtp: &Smtp) -> SendOutcome {
    let what = match failure {
        Failure::Server(error) => causes(error) + advice(error, stage, smtp),
        Failure::Here(what) | Failure::Never(what) => what.clone(),
    };
    let reason = words::clean(&format!("{stage} {}: {what}", server(smtp)));
    let is_final = match failure {
        Failure::Never(_) => true,
        Failure::Here(_) => false,
        Failure::Server(error) => match stage {
            Stage::Prepare | Stage::Connect | Stage::StartTls | Stage::LogIn | Stage::Sender => false,
            Stage::Recipient | Stage::Content => error.is_permanent() && !wants_log_in(error),
        },
    };
    if is_final { SendOutcome::Refused { reason } } else { SendOutcome::TryLater { reason, scope: stage.scope() } }
}

/// What to do where the server answers the first byte of TLS with plain text. A certificate that is not trusted says so itself.
fn advice(error: &Error, stage: Stage, smtp: &Smtp) -> &'static str {
    let is_plain = stage == Stage::Connect && smtp.encryption == Encryption::Tls && causes(error).contains("corrupt");
    if is_plain {
        "; it seems to speak plain SMTP on this port: set `smtp.encryption` to \"starttls\", or `smtp.port` to where it \
         speaks TLS from the first byte (usually 465)"
    } else {
        ""
    }
}

/// Refusals that the admin can mend by configuring a log-in: RFC 4954, section 6.
fn wants_log_in(error: &Error) -> bool {
    error.status().is_some_and(|code| [530, 534, 535, 538].contains(&u16::from(code)))
}

fn server(smtp: &Smtp) -> String {
    format!("`{}:{}`", smtp.host, smtp.port)
}

/// The error with the causes that its own words leave out.
fn causes(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    text
}
