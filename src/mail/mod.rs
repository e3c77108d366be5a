//! What people are told by mail: rendering, composing, sending, and the queue that is worked off.
//!
//! No mail trouble touches a job: a mail is a row that is queued with the job's end and sent later.

mod compose;
mod export;
mod file;
mod mailer;
mod render;
mod retry;
mod send;
mod smtp;
mod templates;
mod view;
mod words;

use std::fmt;

use sha2::{Digest, Sha256};

use crate::model::JobState;
use crate::storage::hex;

pub use compose::{ATTACHMENT_BYTES, AddressFault, Attachment, ComposeFault, Composed, Outgoing, compose, mailbox};
pub use export::{ExportMail, ExportedEventMail, render_export};
pub use mailer::{Addressed, Delivered, Mailer, MailerSettings, for_queue};
pub use render::{
    AdminMail, DigestLine, DigestMail, IncompleteUpload, render_admin, render_digest, render_incomplete_upload,
    render_job, render_test,
};
pub use retry::next_try;
pub use send::{Scope, SendOutcome, Transport, send};
pub use smtp::{Encryption, Smtp};
pub use templates::{Rendered, TemplateFault, Templates};
pub use view::{ErrorsCsv, JobMailContext};

/// What a mail is about. Each kind has its templates and its switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MailKind {
    /// An archive is in, or was in before.
    Imported,
    /// Nothing of an archive is in.
    ImportFailed,
    /// Something of an archive is in, and something was rejected.
    Partial,
    /// Events were exported.
    Exported,
    /// A schedule found nothing new.
    ExportUnchanged,
    /// An event was not exported.
    ExportFailed,
    /// A file in the inbox does not get whole.
    IncompleteUpload,
    /// Something that no account can mend.
    Admin,
    /// Many jobs that ended together.
    Digest,
    /// Shows that mail works.
    Test,
}

impl MailKind {
    /// Every kind.
    pub const ALL: [Self; 10] = [
        Self::Imported,
        Self::ImportFailed,
        Self::Partial,
        Self::Exported,
        Self::ExportUnchanged,
        Self::ExportFailed,
        Self::IncompleteUpload,
        Self::Admin,
        Self::Digest,
        Self::Test,
    ];

    /// The word used in tables, switches, and names of templates.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Imported => "imported",
            Self::ImportFailed => "import_failed",
            Self::Partial => "partial",
            Self::Exported => "exported",
            Self::ExportUnchanged => "export_unchanged",
            Self::ExportFailed => "export_failed",
            Self::IncompleteUpload => "incomplete_upload",
            Self::Admin => "admin",
            Self::Digest => "digest",
            Self::Test => "test",
        }
    }

    /// Reads the word back.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }

    /// The mail that tells of a job's end; none while it has not ended.
    pub fn of_job(state: JobState) -> Option<Self> {
        match state {
            JobState::Succeeded | JobState::Duplicate => Some(Self::Imported),
            JobState::Partial => Some(Self::Partial),
            JobState::Failed | JobState::Cancelled => Some(Self::ImportFailed),
            JobState::Queued | JobState::Running | JobState::Blocked | JobState::Paused => None,
        }
    }

    /// Whether such mails are folded into a digest where many wait for one recipient.
    pub fn folds(self) -> bool {
        match self {
            Self::Imported
            | Self::ImportFailed
            | Self::Partial
            | Self::Exported
            | Self::ExportUnchanged
            | Self::ExportFailed => true,
            Self::IncompleteUpload | Self::Admin | Self::Digest | Self::Test => false,
        }
    }
}

impl fmt::Display for MailKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Longest subject key that stands in a Message-ID as it is, in bytes.
const KEY_BYTES: usize = 80;

/// The Message-ID of the mail of one kind about one subject (a job's id, mostly): the same each time it is asked for, another one for
/// another subject.
///
/// `domain` is the part behind the `@` of the sender's address.
pub fn message_id(subject_key: &str, kind: MailKind, domain: &str) -> String {
    let plain = |text: &str| -> String {
        text.chars().map(|c| if c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_') { c } else { '-' }).collect()
    };
    let domain = plain(domain);
    let domain = if domain.is_empty() { "localhost" } else { &domain };
    let mut key = plain(subject_key);
    if key != subject_key || key.len() > KEY_BYTES {
        key.truncate(KEY_BYTES);
        let hash = hex(&Sha256::digest(subject_key));
        key = format!("{key}.{}", &hash[..16]);
    }
    format!("<{key}.{kind}@{domain}>")
}

#[cfg(test)]
mod tests;
