//! `[mail]` and `[mail.send]`

use std::time::Duration;

use lettre::Address;

use super::reader::{Reader, Rule};

/// Which mails go out, and how.
#[derive(Clone, Debug)]
pub struct MailSection {
    /// The way out.
    pub transport: MailTransport,
    /// Sender; always there unless the transport is [`MailTransport::None`].
    pub from: Option<Address>,
    /// Address for what no account can mend.
    pub admin: Option<Address>,
    /// What the service is called in mails.
    pub public_name: String,
    /// When more jobs than this end together, their mails are folded into one.
    pub digest_over: u32,
    /// How long a mail is tried again.
    pub retry_for: Duration,
    /// Which kinds of mail go out.
    pub send: MailSwitches,
}

/// Where mails go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MailTransport {
    /// Into files in the mail folder.
    #[default]
    File,
    /// To a mail server.
    Smtp,
    /// Nowhere; notifications are still made.
    None,
}

/// Kinds of mail that are switched on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MailSwitches {
    /// Everything was imported.
    pub imported: bool,
    /// Nothing could be imported.
    pub import_failed: bool,
    /// Some records were rejected.
    pub partial: bool,
    /// Events were exported.
    pub exported: bool,
    /// A schedule found nothing new to export.
    pub export_unchanged: bool,
    /// An event was not exported.
    pub export_failed: bool,
    /// An upload stays unfinished.
    pub incomplete_upload: bool,
    /// To the admin.
    pub admin: bool,
}

const TRANSPORTS: [(&str, MailTransport); 3] =
    [("file", MailTransport::File), ("smtp", MailTransport::Smtp), ("none", MailTransport::None)];

impl MailSection {
    pub(super) fn read(reader: &mut Reader) -> Self {
        let days = Duration::from_secs(86_400);
        Self {
            transport: reader.choice("mail.transport", &TRANSPORTS),
            from: reader.address("mail.from"),
            admin: reader.address("mail.admin"),
            public_name: reader.text("mail.public_name"),
            digest_over: reader.number("mail.digest_over", 1..=1_000_000),
            retry_for: reader.duration("mail.retry_for", Duration::ZERO..=days * 60),
            send: MailSwitches {
                imported: reader.switch("mail.send.imported"),
                import_failed: reader.switch("mail.send.import_failed"),
                partial: reader.switch("mail.send.partial"),
                exported: reader.switch("mail.send.exported"),
                export_unchanged: reader.switch("mail.send.export_unchanged"),
                export_failed: reader.switch("mail.send.export_failed"),
                incomplete_upload: reader.switch("mail.send.incomplete_upload"),
                admin: reader.switch("mail.send.admin"),
            },
        }
    }

    pub(super) fn check(&self, reader: &mut Reader) {
        reader.require(
            &["mail.from", "mail.transport"],
            self.from.is_some() || self.transport == MailTransport::None,
            &Rule::new("clashes: mails need a sender, `mail.from` must be set", "set `mail.from` to an address"),
        );
    }
}
