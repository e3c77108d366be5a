//! A rendered mail as a MIME message: the same facts always make the same bytes.

use std::time::SystemTime;

use lettre::address::AddressError;
use lettre::message::header::{ContentTransferEncoding, ContentType, Header, HeaderName, HeaderValue};
use lettre::message::{Body, Mailbox, MultiPart, SinglePart};
use lettre::{Address, Message};
use sha2::{Digest, Sha256};

use super::{MailKind, words};
use crate::clock::Timestamp;

/// Largest attachment in bytes; a larger one is left out and a sentence says where it lies.
pub const ATTACHMENT_BYTES: u64 = 1 << 20;

/// Everything of a mail.
#[derive(Clone, Debug)]
pub struct Outgoing<'a> {
    /// What it is about.
    pub kind: MailKind,
    /// With angle brackets, as [`super::message_id`] makes it.
    pub message_id: &'a str,
    /// The sender.
    pub from: &'a Mailbox,
    /// The one recipient.
    pub to: &'a Mailbox,
    /// One line.
    pub subject: &'a str,
    /// The plain text.
    pub text: &'a str,
    /// The same in HTML.
    pub html: &'a str,
    /// A file that comes with it.
    pub attachment: Option<Attachment>,
    /// When it was queued: the same for each try.
    pub date: Timestamp,
}

/// A CSV file that comes with a mail.
#[derive(Clone, Debug)]
pub struct Attachment {
    /// Its name.
    pub name: String,
    /// Its bytes, UTF-8.
    pub bytes: Vec<u8>,
}

/// A mail that is ready to be sent.
#[derive(Clone, Debug)]
pub struct Composed {
    pub(super) message: Message,
    pub(super) kind: MailKind,
    pub(super) message_id: String,
    pub(super) date: Timestamp,
}

impl Composed {
    /// The bytes of the message, lines ended by CRLF.
    pub fn bytes(&self) -> Vec<u8> {
        self.message.formatted()
    }
}

/// A mail that cannot be composed.
#[derive(Debug, thiserror::Error)]
#[error("cannot compose the mail `{message_id}`: {source}")]
pub struct ComposeFault {
    message_id: String,
    source: lettre::error::Error,
}

/// An address that is none.
#[derive(Debug, thiserror::Error)]
#[error("`{address}` is no mail address ({source}); write it like `name@example.org`")]
pub struct AddressFault {
    address: String,
    source: AddressError,
}

/// An address with the name that stands before it. `Name <name@example.org>` brings its own name.
///
/// # Errors
/// Where the address is none.
pub fn mailbox(name: Option<&str>, address: &str) -> Result<Mailbox, AddressFault> {
    let address = address.trim();
    let fault = |source| AddressFault { address: words::clean(address), source };
    let clean_name = |name: &str| Some(words::clean(name)).filter(|name| !name.is_empty());
    if address.contains('<') {
        let parsed: Mailbox = address.parse().map_err(fault)?;
        let name = parsed.name.as_deref().or(name).and_then(clean_name);
        return Ok(Mailbox::new(name, parsed.email));
    }
    let parsed: Address = address.parse().map_err(fault)?;
    Ok(Mailbox::new(name.and_then(clean_name), parsed))
}

/// Puts a mail together: text and HTML as alternatives, the attachment beside them.
///
/// # Errors
/// Where the parts make no message, which is a fault of the caller.
pub fn compose(outgoing: &Outgoing<'_>) -> Result<Composed, ComposeFault> {
    let alternatives = MultiPart::alternative()
        .boundary(boundary("alternative", outgoing))
        .singlepart(SinglePart::plain(outgoing.text.to_owned()))
        .singlepart(SinglePart::html(outgoing.html.to_owned()));
    let attachment = outgoing.attachment.as_ref();
    let body = match attachment.filter(|file| u64::try_from(file.bytes.len()).is_ok_and(|n| n <= ATTACHMENT_BYTES)) {
        None => alternatives,
        Some(file) => {
            MultiPart::mixed().boundary(boundary("mixed", outgoing)).multipart(alternatives).singlepart(attached(file))
        }
    };
    let message = Message::builder()
        .from(outgoing.from.clone())
        .to(outgoing.to.clone())
        .subject(words::subject(outgoing.subject))
        .date(SystemTime::from(outgoing.date))
        .message_id(Some(outgoing.message_id.to_owned()))
        .header(AutoSubmitted)
        .header(NoAutomaticAnswer)
        .multipart(body)
        .map_err(|source| ComposeFault { message_id: outgoing.message_id.to_owned(), source })?;
    Ok(Composed { message, kind: outgoing.kind, message_id: outgoing.message_id.to_owned(), date: outgoing.date })
}

fn attached(file: &Attachment) -> SinglePart {
    // Base64 keeps the line ends of the file as they are.
    let bytes = Body::new_with_encoding(file.bytes.clone(), ContentTransferEncoding::Base64).unwrap_or_else(Body::new);
    let csv = ContentType::parse("text/csv; charset=utf-8").unwrap_or(ContentType::TEXT_PLAIN);
    lettre::message::Attachment::new(words::clean(&file.name)).body(bytes, csv)
}

/// A line that no part can hold: it depends on the parts, and nobody can write its own hash.
fn boundary(which: &str, outgoing: &Outgoing<'_>) -> String {
    let mut hash = Sha256::new();
    for part in [which, outgoing.message_id, outgoing.text, outgoing.html] {
        hash.update(part.len().to_be_bytes());
        hash.update(part);
    }
    hash.finalize().iter().take(20).map(|byte| format!("{byte:02x}")).collect()
}

/// RFC 3834: written by a program, so that no program answers.
#[derive(Clone, Copy)]
struct AutoSubmitted;

/// What Exchange heeds instead.
#[derive(Clone, Copy)]
struct NoAutomaticAnswer;

macro_rules! fixed_header {
    ($type:ty, $name:literal, $value:literal) => {
        impl Header for $type {
            fn name() -> HeaderName {
                HeaderName::new_from_ascii_str($name)
            }

            fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
                Ok(Self)
            }

            fn display(&self) -> HeaderValue {
                HeaderValue::new(Self::name(), $value.to_owned())
            }
        }
    };
}

fixed_header!(AutoSubmitted, "Auto-Submitted", "auto-generated");
fixed_header!(NoAutomaticAnswer, "X-Auto-Response-Suppress", "All");
