//! `eventferry mail`: whether mails get through, and what became of them.

use std::io::Write;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::config::load_templates;
use super::daemon::{self, Daemon};
use super::show::{Tone, cell, lasting, path, safe, time, toned, write_json, write_table};
use super::{Context, Exit, Failure, Loudness};
use crate::app::transport_of;
use crate::clock::Timestamp;
use crate::mail::{MailKind, Outgoing, SendOutcome, Transport, compose, mailbox, message_id, render_test, send};
use crate::model::JobId;
use crate::store::mails::{self, MailEntry, MailState};

/// Mails.
#[derive(Debug, Subcommand)]
pub(super) enum MailCommand {
    /// Send a test mail at once, as the configuration says, and tell what happened
    ///
    /// Exit code 3 where it was not sent.
    Test {
        /// To whom
        #[arg(value_name = "ADDRESS")]
        address: String,
    },
    /// List mails, the newest first, with what became of them
    List(ListArgs),
}

/// Which mails to list.
#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// Only those in this state
    #[arg(long, value_name = "STATE", value_parser = state_parser())]
    state: Option<MailState>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    limit: u32,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A mail as `--json` prints it; fields may be added.
#[derive(Clone, Debug, Serialize)]
pub(super) struct MailDocument {
    pub(super) id: String,
    pub(super) kind: String,
    pub(super) job: Option<JobId>,
    pub(super) account: Option<String>,
    pub(super) recipient: Option<String>,
    pub(super) state: &'static str,
    pub(super) subject: String,
    pub(super) created_at: Timestamp,
    /// When it is tried next; none where it is settled.
    pub(super) next_attempt_at: Option<Timestamp>,
    pub(super) attempts: i64,
    pub(super) sent_at: Option<Timestamp>,
    pub(super) last_error: Option<String>,
}

impl From<&MailEntry> for MailDocument {
    fn from(mail: &MailEntry) -> Self {
        Self {
            id: mail.id.clone(),
            kind: mail.kind.clone(),
            job: mail.job,
            account: mail.account.clone(),
            recipient: mail.recipient.clone(),
            state: mail.state.as_str(),
            subject: mail.subject.clone(),
            created_at: mail.created_at,
            next_attempt_at: (mail.state == MailState::Queued).then_some(mail.next_attempt_at),
            attempts: mail.attempts,
            sent_at: mail.sent_at,
            last_error: mail.last_error.clone(),
        }
    }
}

impl MailDocument {
    /// What became of it, in one line.
    pub(super) fn describe(&self, now: Timestamp, daemon: &Daemon) -> (String, Tone) {
        let reason = self.last_error.as_deref().map(|reason| format!(": {}", safe(reason))).unwrap_or_default();
        match MailState::parse(self.state).unwrap_or(MailState::Off) {
            MailState::Sent => {
                let when = self.sent_at.map(|at| format!(" {}", time(at))).unwrap_or_default();
                (format!("sent{when}"), Tone::Good)
            }
            MailState::Queued => match (daemon.none_here("sends it"), self.next_attempt_at) {
                (Some(none_here), _) => (format!("waits to be sent{reason}; {none_here}"), Tone::Doubtful),
                (None, Some(next)) if next > now && self.attempts == 0 => {
                    ("waits a moment for others, to go with them in a digest".to_owned(), Tone::Plain)
                }
                (None, Some(next)) if next > now => {
                    (format!("waits, is tried again in {}{reason}", lasting(next - now)), Tone::Doubtful)
                }
                (None, _) => (format!("waits to be sent{reason}"), Tone::Plain),
            },
            MailState::Failed => (format!("failed{reason}"), Tone::Bad),
            MailState::Off => ("not sent: mails of this kind are switched off".to_owned(), Tone::Faint),
            MailState::NoAddress => {
                ("not sent: there is no address for it in the configuration".to_owned(), Tone::Faint)
            }
            MailState::Digest => ("told in a digest".to_owned(), Tone::Faint),
        }
    }
}

/// Runs one of them.
pub(super) async fn run(command: &MailCommand, context: &Context, out: &mut dyn Write) -> Result<Exit, Failure> {
    match command {
        MailCommand::Test { address } => test(address, context, out).await?,
        MailCommand::List(args) => list(args, context, out).await?,
    }
    Ok(Exit::AllIn)
}

async fn test(address: &str, context: &Context, out: &mut dyn Write) -> Result<(), Failure> {
    let settings = &context.settings;
    let not_sent = |why: String| Failure::could_not_run(format!("the test mail was not sent: {why}"));
    let transport = transport_of(settings);
    let Some(sender) = settings.mail.from.as_ref().filter(|_| !matches!(transport, Transport::None)) else {
        return Err(not_sent("`mail.transport` is \"none\"; set it to \"smtp\" or \"file\"".to_owned()));
    };
    let to = mailbox(None, address).map_err(|fault| not_sent(fault.to_string()))?;
    let from = mailbox(Some(&settings.mail.public_name), sender.as_ref())
        .map_err(|fault| not_sent(format!("`mail.from`: {fault}")))?;
    let rendered = render_test(&load_templates(settings)?, &settings.mail.public_name);
    let outgoing = Outgoing {
        kind: MailKind::Test,
        message_id: &message_id(&context.clock.new_id().to_string(), MailKind::Test, sender.domain()),
        from: &from,
        to: &to,
        subject: &rendered.subject,
        text: &rendered.text,
        html: &rendered.html,
        attachment: None,
        date: context.clock.now(),
    };
    let composed = compose(&outgoing).map_err(|fault| not_sent(fault.to_string()))?;
    match send(&transport, &composed, &context.clock).await {
        SendOutcome::Accepted => {
            if context.loudness == Loudness::Normal {
                writeln!(out, "{}", accepted(&transport, address))?;
            }
            Ok(())
        }
        SendOutcome::Refused { reason } => Err(not_sent(format!("{reason} (trying again will not help)"))),
        SendOutcome::TryLater { reason, .. } => Err(not_sent(format!("{reason} (other mails would be tried again)"))),
    }
}

fn accepted(transport: &Transport, address: &str) -> String {
    let address = safe(address);
    match transport {
        Transport::File { folder } => format!(
            "Written for {address} into `{}`: `mail.transport` is \"file\", so nothing leaves this machine.",
            path(folder)
        ),
        Transport::Smtp(smtp) => format!(
            "Sent: {} (port {}) has taken the mail for {address}. Look whether it arrives, in the spam folder too.",
            smtp.host, smtp.port
        ),
        Transport::None => format!("Nothing was sent to {address}."),
    }
}

async fn list(args: &ListArgs, context: &Context, out: &mut dyn Write) -> Result<(), Failure> {
    let database = context.open_database().await?;
    let entries = mails::list(&database, args.state, i64::from(args.limit)).await?;
    database.close().await;
    let found: Vec<MailDocument> = entries.iter().map(MailDocument::from).collect();
    if args.json {
        return Ok(write_json(out, &found)?);
    }
    if found.is_empty() {
        if context.loudness == Loudness::Normal {
            writeln!(out, "No mails.")?;
        }
        return Ok(());
    }
    let (now, daemon) = (context.clock.now(), daemon::look(&context.settings));
    let rows = found.iter().map(|mail| {
        let (line, tone) = mail.describe(now, &daemon);
        let to = mail.recipient.as_deref().map_or_else(|| toned("nobody", Tone::Faint), cell);
        vec![cell(time(mail.created_at)), cell(&mail.kind), to, cell(&mail.subject), toned(line, tone)]
    });
    write_table(out, context.screen, &["Queued", "Kind", "To", "Subject", ""], rows.collect())?;
    Ok(())
}

fn state_parser() -> impl clap::builder::TypedValueParser<Value = MailState> {
    use clap::builder::TypedValueParser as _;
    clap::builder::PossibleValuesParser::new(MailState::ALL.map(MailState::as_str))
        .try_map(|word| MailState::parse(&word).ok_or("no such state"))
}
