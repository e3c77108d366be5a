//! Works the queue of mails off: folds what is too much, sends what is due, notes what became of it.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::TimeDelta;
use lettre::message::Mailbox;
use uuid::Uuid;

use super::compose::{ATTACHMENT_BYTES, Attachment, Composed, Outgoing, compose, mailbox};
use super::render::{DigestLine, DigestMail, render_digest};
use super::retry::{enough_tries, longest_wait, next_try, pause_after};
use super::send::{Scope, SendOutcome, Transport, send};
use super::templates::{Rendered, Templates};
use super::{MailKind, message_id, words};
use crate::clock::{Clock, Timestamp};
use crate::db::{Database, DbError};
use crate::model::JobId;
use crate::signal::{FailPoint, Injected, Injection, Signals};
use crate::store::jobs;
use crate::store::mails::{self, DueMail, MailState, NewMail, Waiting};

/// How many mails one call of [`Mailer::deliver_due`] sends at most, so that a soft stop does not wait for long.
const MAILS_PER_CALL: i64 = 50;

/// Jobs that end within this time end together.
const TOGETHER: TimeDelta = TimeDelta::minutes(1);

/// How long none more may have ended before those that did are told of.
const QUIET: TimeDelta = TimeDelta::seconds(5);

/// Longest time that a mail is held for others to join it.
const LONGEST_HOLD: TimeDelta = TimeDelta::minutes(2);

/// How much longer than a conversation a claim holds.
const CLAIM_MARGIN: Duration = Duration::from_secs(10);

/// How mails are sent.
#[derive(Clone, Debug)]
pub struct MailerSettings {
    /// Where they go.
    pub transport: Transport,
    /// Whom they come from.
    pub from: Mailbox,
    /// What this installation calls itself.
    pub public_name: String,
    /// With more mails about jobs than this for one recipient within a minute, they become one digest.
    pub digest_over: usize,
    /// How long a mail is tried.
    pub retry_for: Duration,
    /// The folder under which relative paths of attachments lie.
    pub attachments: PathBuf,
}

/// Sends queued mails.
#[derive(Debug)]
pub struct Mailer {
    database: Database,
    clock: Clock,
    templates: Arc<Templates>,
    settings: MailerSettings,
    signals: Signals,
    outage: Mutex<Option<Outage>>,
    /// Whether mails may be held for others to join them; locked while mails are sent, one call after the other.
    may_hold: tokio::sync::Mutex<bool>,
}

/// The mails about jobs that wait for one recipient and that no server has seen.
struct Burst {
    recipient: String,
    kinds: Vec<MailKind>,
    accounts: Vec<String>,
    waiting: u64,
    is_held: bool,
    oldest: Timestamp,
    newest: Timestamp,
}

impl Burst {
    /// One for each recipient.
    fn all(waiting: Vec<Waiting>) -> Vec<Self> {
        let mut bursts: Vec<Self> = Vec::new();
        for waiting in waiting {
            let Some(kind) = MailKind::parse(&waiting.kind).filter(|kind| kind.folds()) else { continue };
            if bursts.last().is_none_or(|burst| burst.recipient != waiting.recipient) {
                bursts.push(Self {
                    recipient: waiting.recipient,
                    kinds: Vec::new(),
                    accounts: Vec::new(),
                    waiting: 0,
                    is_held: false,
                    oldest: waiting.oldest,
                    newest: waiting.newest,
                });
            }
            let Some(burst) = bursts.last_mut() else { continue };
            burst.waiting += waiting.count.unsigned_abs();
            burst.is_held |= waiting.held > 0;
            burst.oldest = burst.oldest.min(waiting.oldest);
            burst.newest = burst.newest.max(waiting.newest);
            if !burst.kinds.contains(&kind) {
                burst.kinds.push(kind);
            }
            burst.accounts.extend(waiting.account.filter(|account| !burst.accounts.contains(account)));
        }
        bursts
    }

    /// Until when others may join; none where they have waited for long enough, or the clock was set back.
    fn hold_until(&self, now: Timestamp, ending: u64) -> Option<Timestamp> {
        let end = self.oldest + LONGEST_HOLD;
        let quiet_at = if ending > 0 { now + QUIET } else { self.newest + QUIET };
        (self.oldest <= now && now < end && now < quiet_at).then_some(quiet_at.min(end))
    }
}

/// A trouble that concerns all mails, as this process has seen it. Not kept: a restart, which may have mended the
/// configuration, tries at once.
#[derive(Clone, Copy, Debug)]
struct Outage {
    since: Timestamp,
    tries: u32,
    /// In monotonic time.
    until: Duration,
}

/// What one call of [`Mailer::deliver_due`] did, in mails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delivered {
    /// Delivered.
    pub sent: u64,
    /// Tried in vain, to be tried again.
    pub later: u64,
    /// Refused for good, or given up.
    pub failed: u64,
    /// Told in a digest.
    pub folded: u64,
    /// Not sent because mail is switched off.
    pub off: u64,
}

impl Delivered {
    /// Whether a mail has left the queue; more may be due than go out in one call.
    pub fn is_any(&self) -> bool {
        self.sent + self.folded + self.failed > 0
    }
}

/// A mail as it is handed to the queue.
#[derive(Clone, Debug)]
pub struct Addressed<'a> {
    /// The id of its row.
    pub id: Uuid,
    /// What it is about: a job's id, a path of the inbox, a trouble.
    pub subject_key: &'a str,
    /// What it is about in general.
    pub kind: MailKind,
    /// The job it is about.
    pub job: Option<JobId>,
    /// The account it is for.
    pub account: Option<&'a str>,
    /// The address from the configuration.
    pub recipient: Option<&'a str>,
    /// Whether this kind is sent at all.
    pub switched_on: bool,
    /// The part behind the `@` of the sender's address.
    pub domain: &'a str,
    /// The path of the file that comes with it, as [`MailerSettings::attachments`] says.
    pub attachment: Option<&'a str>,
    /// Now.
    pub now: Timestamp,
}

/// A rendered mail as a row of the queue: one that is switched off or has no address is a row that says so.
pub fn for_queue(addressed: &Addressed<'_>, rendered: Rendered) -> NewMail {
    let state = match (addressed.switched_on, addressed.recipient) {
        (false, _) => MailState::Off,
        (true, None) => MailState::NoAddress,
        (true, Some(_)) => MailState::Queued,
    };
    NewMail {
        id: addressed.id,
        subject_key: addressed.subject_key.to_owned(),
        kind: addressed.kind.as_str(),
        job: addressed.job,
        account: addressed.account.map(str::to_owned),
        recipient: addressed.recipient.map(str::to_owned),
        state,
        message_id: message_id(addressed.subject_key, addressed.kind, addressed.domain),
        subject: rendered.subject,
        text: rendered.text,
        html: rendered.html,
        attachment: addressed.attachment.map(str::to_owned),
        created_at: addressed.now,
    }
}

impl Mailer {
    /// A mailer over the queue in `database`.
    pub fn new(database: Database, clock: Clock, templates: Arc<Templates>, settings: MailerSettings) -> Self {
        Self {
            database,
            clock,
            templates,
            settings,
            signals: Signals::default(),
            outage: Mutex::new(None),
            may_hold: tokio::sync::Mutex::new(true),
        }
    }

    /// The same mailer, with points at which a test can let it fail.
    #[must_use]
    pub fn with_signals(self, signals: Signals) -> Self {
        Self { signals, ..self }
    }

    /// Sends what is due, at most 50 mails, and says what became of them.
    ///
    /// A trouble that concerns all mails ends the call; the next tries come after a pause that grows to a quarter of
    /// an hour. Where another call is at work this one waits, so that afterwards nothing is under way. Dropping the future is
    /// safe: a mail whose try is cut off is tried again later with the same Message-ID.
    ///
    /// # Errors
    /// Where the database fails; what was sent until then is noted.
    pub async fn deliver_due(&self) -> Result<Delivered, DbError> {
        let may_hold = self.may_hold.lock().await;
        if matches!(self.settings.transport, Transport::None) {
            let off = mails::switch_off_waiting(&self.database).await?;
            return Ok(Delivered { off, ..Delivered::default() });
        }
        if self.outage().is_some_and(|outage| self.clock.monotonic() < outage.until) {
            return Ok(Delivered::default());
        }
        let mut delivered = Delivered { folded: self.fold(*may_hold).await?, ..Delivered::default() };
        let now = self.clock.now();
        for mail in mails::due(&self.database, now, now + longest_wait(), MAILS_PER_CALL).await? {
            let until = self.clock.now() + self.claim_length();
            if !mails::claim(&self.database, &mail, until).await? {
                continue;
            }
            if self.deliver(&mail, &mut delivered).await? == Scope::Transport {
                break;
            }
        }
        Ok(delivered)
    }

    /// From now on no mail is held for others to join it, and what an outage holds up is tried once more: this process is
    /// about to end.
    pub async fn hold_no_more(&self) {
        *self.may_hold.lock().await = false;
        if let Some(outage) = &mut *self.lock_outage() {
            outage.until = Duration::ZERO;
        }
    }

    /// When [`Mailer::deliver_due`] has something to do again; none where no mail waits.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn next_wake(&self) -> Result<Option<Timestamp>, DbError> {
        let due = mails::next_due(&self.database).await?;
        let pause = self.outage().map(|outage| self.clock.now() + outage.until.saturating_sub(self.clock.monotonic()));
        Ok(due.map(|due| pause.map_or(due, |until| until.max(due))))
    }

    /// Tries one claimed mail. Says how far a trouble reaches; a mail without trouble concerns only itself.
    async fn deliver(&self, mail: &DueMail, delivered: &mut Delivered) -> Result<Scope, DbError> {
        let composed = match self.compose(mail).await {
            Ok(composed) => composed,
            Err(reason) => {
                mails::mark_failed(&self.database, &mail.id, &reason).await?;
                tracing::error!(mail.id = mail.id, job.id = mail.job.map(tracing_id), reason, "a mail cannot be sent");
                delivered.failed += 1;
                return Ok(Scope::Mail);
            }
        };
        let outcome = match self.hand_over(&composed).await {
            Ok(outcome) => outcome,
            Err(Injected { point, injection: Injection::Fail }) => {
                SendOutcome::TryLater { reason: format!("injected at {point:?}"), scope: Scope::Mail }
            }
            Err(Injected { injection: Injection::Die, .. }) => return Ok(Scope::Transport),
        };
        match outcome {
            SendOutcome::Accepted => {
                mails::mark_sent(&self.database, &mail.id, self.clock.now()).await?;
                tracing::info!(mail.id = mail.id, job.id = mail.job.map(tracing_id), kind = mail.kind, "sent a mail");
                delivered.sent += 1;
                self.end_outage();
                Ok(Scope::Mail)
            }
            SendOutcome::Refused { reason } => {
                mails::mark_failed(&self.database, &mail.id, &reason).await?;
                tracing::warn!(mail.id = mail.id, job.id = mail.job.map(tracing_id), reason, "a mail was refused");
                delivered.failed += 1;
                self.end_outage();
                Ok(Scope::Mail)
            }
            SendOutcome::TryLater { reason, scope: Scope::Mail } => {
                self.put_off(mail, &reason, delivered).await?;
                self.end_outage();
                Ok(Scope::Mail)
            }
            SendOutcome::TryLater { reason, scope: Scope::Transport } => {
                mails::give_back(&self.database, mail, &reason).await?;
                delivered.later += 1;
                self.note_outage(&reason, delivered).await?;
                Ok(Scope::Transport)
            }
        }
    }

    async fn hand_over(&self, composed: &Composed) -> Result<SendOutcome, Injected> {
        self.signals.reach(FailPoint::MailBeforeSend)?;
        let outcome = send(&self.settings.transport, composed, &self.clock).await;
        if matches!(outcome, SendOutcome::Accepted) {
            self.signals.reach(FailPoint::MailAfterSend)?;
        }
        Ok(outcome)
    }

    async fn put_off(&self, mail: &DueMail, reason: &str, delivered: &mut Delivered) -> Result<(), DbError> {
        let now = self.clock.now();
        let waited = (now - mail.created_at).to_std().unwrap_or_default();
        let attempts = u32::try_from(mail.attempts).unwrap_or(u32::MAX).saturating_add(1);
        match next_try(attempts, waited, self.settings.retry_for) {
            Some(wait) => {
                mails::mark_later(&self.database, &mail.id, now + wait, reason).await?;
                tracing::warn!(
                    mail.id = mail.id,
                    job.id = mail.job.map(tracing_id),
                    reason,
                    wait_s = wait.as_secs(),
                    "a mail was not taken and is tried again"
                );
                delivered.later += 1;
            }
            None => {
                let reason = format!("given up after {attempts} tries; the last one: {reason}");
                mails::mark_failed(&self.database, &mail.id, &reason).await?;
                tracing::error!(mail.id = mail.id, job.id = mail.job.map(tracing_id), reason, "a mail is given up");
                delivered.failed += 1;
            }
        }
        Ok(())
    }

    /// Makes all mails wait, and gives up those that have waited for long enough.
    async fn note_outage(&self, reason: &str, delivered: &mut Delivered) -> Result<(), DbError> {
        let now = self.clock.now();
        let before = self.outage();
        let tries = before.map_or(0, |outage| outage.tries).saturating_add(1);
        let since = before.map_or(now, |outage| outage.since);
        let pause = pause_after(tries);
        *self.lock_outage() = Some(Outage { since, tries, until: self.clock.monotonic() + pause });
        tracing::warn!(reason, wait_s = pause.as_secs(), "no mail can be sent; all wait");
        mails::explain_waiting(&self.database, now, reason).await?;
        let lasted = (now - since).to_std().unwrap_or_default();
        if lasted >= enough_tries(self.settings.retry_for) {
            let retry_for = TimeDelta::from_std(self.settings.retry_for).unwrap_or(TimeDelta::MAX);
            if let Some(oldest) = now.checked_sub_signed(retry_for) {
                let reason = format!("given up; no mail could be sent: {reason}");
                let given_up = mails::give_up_older(&self.database, oldest, &reason).await?;
                if given_up > 0 {
                    tracing::error!(mails = given_up, reason, "mails are given up");
                }
                delivered.failed += given_up;
            }
        }
        Ok(())
    }

    /// Folds or holds the mails of every recipient for whom many jobs end together; says how many were folded.
    ///
    /// What decides stands in the tables, so that several daemons and a restart decide alike.
    async fn fold(&self, may_hold: bool) -> Result<u64, DbError> {
        let now = self.clock.now();
        let mut folded = 0;
        for burst in Burst::all(mails::waiting(&self.database).await?) {
            let mut ending = 0;
            for account in &burst.accounts {
                ending += jobs::ending(&self.database, account, now).await?;
            }
            if !burst.is_held && self.together(&burst, now).await? + ending <= self.settings.digest_over as u64 {
                continue;
            }
            match burst.hold_until(now, ending).filter(|_| may_hold) {
                Some(until) => {
                    for kind in &burst.kinds {
                        mails::hold(&self.database, &burst.recipient, kind.as_str(), until, now).await?;
                    }
                }
                None if burst.waiting > 1 => folded += self.fold_for(&burst.recipient, now).await?,
                None => mails::release(&self.database, &burst.recipient).await?,
            }
        }
        Ok(folded)
    }

    /// How many mails about jobs wait for a recipient or were settled lately.
    async fn together(&self, burst: &Burst, now: Timestamp) -> Result<u64, DbError> {
        let settled = mails::settled_since(&self.database, &burst.recipient, now - TOGETHER).await?;
        let about_jobs = settled.iter().filter(|(kind, _)| MailKind::parse(kind).is_some_and(MailKind::folds));
        Ok(burst.waiting + about_jobs.map(|(_, count)| count.unsigned_abs()).sum::<u64>())
    }

    async fn fold_for(&self, recipient: &str, now: Timestamp) -> Result<u64, DbError> {
        let mut tx = self.database.begin().await?;
        let mut lines = Vec::new();
        let mut first: Option<String> = None;
        for kind in MailKind::ALL.into_iter().filter(|kind| kind.folds()) {
            for mail in mails::fold(&mut tx, recipient, kind.as_str()).await? {
                first = Some(first.map_or(mail.id.clone(), |first| first.min(mail.id.clone())));
                let job = mail.job.map(|job| job.to_string());
                lines.push(DigestLine { kind, subject: mail.subject, job, at: mail.created_at });
            }
        }
        let folded = lines.len();
        let Some(first) = first.filter(|_| folded > 1) else {
            // Another process was faster, and what is left is no digest.
            tx.rollback().await?;
            return Ok(0);
        };
        let rendered = render_digest(&self.templates, &DigestMail { public_name: &self.settings.public_name, lines });
        let addressed = Addressed {
            id: self.clock.new_id(),
            subject_key: &first,
            kind: MailKind::Digest,
            job: None,
            account: None,
            recipient: Some(recipient),
            switched_on: true,
            domain: self.settings.from.email.domain(),
            attachment: None,
            now,
        };
        mails::queue(&mut tx, &for_queue(&addressed, rendered)).await?;
        tx.commit().await?;
        tracing::info!(mails = folded, "folded mails into a digest");
        Ok(u64::try_from(folded).unwrap_or(u64::MAX))
    }

    /// The mail as it goes out, or why it cannot.
    async fn compose(&self, mail: &DueMail) -> Result<Composed, String> {
        let kind = MailKind::parse(&mail.kind).ok_or_else(|| format!("there is no kind of mail `{}`", mail.kind))?;
        let to = mailbox(None, &mail.recipient).map_err(|fault| fault.to_string())?;
        let (attachment, note) = match &mail.attachment {
            None => (None, None),
            Some(path) => match self.read_attachment(path).await {
                Ok(attachment) => (Some(attachment), None),
                Err(note) => (None, Some(note)),
            },
        };
        let (text, html) = match note {
            None => (mail.text.clone(), mail.html.clone()),
            Some(note) => (format!("{}\n{note}\n", mail.text), with_note(&mail.html, &note)),
        };
        let outgoing = Outgoing {
            kind,
            message_id: &mail.message_id,
            from: &self.settings.from,
            to: &to,
            subject: &mail.subject,
            text: &text,
            html: &html,
            attachment,
            date: mail.created_at,
        };
        compose(&outgoing).map_err(|fault| fault.to_string())
    }

    /// The file, or a sentence about why it does not come along.
    async fn read_attachment(&self, path: &str) -> Result<Attachment, String> {
        let path = self.settings.attachments.join(path);
        let shown = words::clean(&path.display().to_string());
        let read = async {
            if tokio::fs::metadata(&path).await?.len() > ATTACHMENT_BYTES {
                return Ok(None);
            }
            tokio::fs::read(&path).await.map(Some)
        };
        match read.await {
            Ok(Some(bytes)) => {
                let name = path.file_name().map_or_else(|| "errors.csv".into(), |name| name.to_string_lossy());
                Ok(Attachment { name: name.into_owned(), bytes })
            }
            Ok(None) => Err(format!("Not attached, since it is too large for a mail: {shown}")),
            Err(error) => Err(format!("Not attached, since it cannot be read any more ({error}): {shown}")),
        }
    }

    fn claim_length(&self) -> Duration {
        match &self.settings.transport {
            Transport::Smtp(smtp) => smtp.longest_conversation() + CLAIM_MARGIN,
            // A mail in a folder is written once, however many try.
            Transport::File { .. } | Transport::None => Duration::ZERO,
        }
    }

    fn outage(&self) -> Option<Outage> {
        *self.lock_outage()
    }

    fn end_outage(&self) {
        if self.lock_outage().take().is_some() {
            tracing::info!("mail can be sent again");
        }
    }

    fn lock_outage(&self) -> MutexGuard<'_, Option<Outage>> {
        self.outage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn tracing_id(job: JobId) -> tracing::field::DisplayValue<JobId> {
    tracing::field::display(job)
}

/// Puts a sentence at the end of an HTML mail.
fn with_note(html: &str, note: &str) -> String {
    let note = format!("<p>{}</p>", super::templates::escaped(note));
    match html.rfind("</body>") {
        Some(end) => format!("{}{note}{}", &html[..end], &html[end..]),
        None => format!("{html}{note}"),
    }
}
