//! The queue of mails, and what became of each: one row per subject (a job, mostly) and kind.

use uuid::Uuid;

use crate::clock::Timestamp;
use crate::db::{Database, DbError, Row, Sql, Tx};
use crate::model::JobId;

/// What has become of a mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailState {
    /// Waits for its first or next try.
    Queued,
    /// Delivered.
    Sent,
    /// Refused for good, or given up.
    Failed,
    /// Its kind, or mail as a whole, is switched off.
    Off,
    /// There is nobody to send it to.
    NoAddress,
    /// Told in a digest.
    Digest,
}

impl MailState {
    /// Every state.
    pub const ALL: [Self; 6] = [Self::Queued, Self::Sent, Self::Failed, Self::Off, Self::NoAddress, Self::Digest];

    /// The word in the table.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Sent => "sent",
            Self::Failed => "failed",
            Self::Off => "off",
            Self::NoAddress => "no_address",
            Self::Digest => "digest",
        }
    }

    /// Reads the word back.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }
}

/// A mail that is to be kept, and sent where its state is [`MailState::Queued`].
#[derive(Clone, Debug)]
pub struct NewMail {
    /// Its row's id; sorts by time.
    pub id: Uuid,
    /// What it is about: a job's id, a path of the inbox, a trouble.
    pub subject_key: String,
    /// Its kind; there is one mail per subject and kind.
    pub kind: &'static str,
    /// The job it is about.
    pub job: Option<JobId>,
    /// The account it is for.
    pub account: Option<String>,
    /// The address it goes to.
    pub recipient: Option<String>,
    /// Whether it is to be sent.
    pub state: MailState,
    /// Its Message-ID, with angle brackets.
    pub message_id: String,
    /// Its subject.
    pub subject: String,
    /// Its plain text.
    pub text: String,
    /// Its HTML.
    pub html: String,
    /// The path of the file that comes with it.
    pub attachment: Option<String>,
    /// Now.
    pub created_at: Timestamp,
}

/// A mail that waits to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueMail {
    /// Its row's id.
    pub id: String,
    /// Its kind.
    pub kind: String,
    /// The job it is about.
    pub job: Option<JobId>,
    /// The address it goes to.
    pub recipient: String,
    /// Its Message-ID, with angle brackets.
    pub message_id: String,
    /// Its subject.
    pub subject: String,
    /// Its plain text.
    pub text: String,
    /// Its HTML.
    pub html: String,
    /// The path of the file that comes with it.
    pub attachment: Option<String>,
    /// When it was queued.
    pub created_at: Timestamp,
    /// When it became due.
    pub next_attempt_at: Timestamp,
    /// Tries in which a server may have taken it, those that were cut off included.
    pub attempts: i64,
}

/// What people see of a mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailEntry {
    /// Its row's id.
    pub id: String,
    /// Its kind.
    pub kind: String,
    /// The job it is about.
    pub job: Option<JobId>,
    /// The account it is for.
    pub account: Option<String>,
    /// The address it goes to.
    pub recipient: Option<String>,
    /// What has become of it.
    pub state: MailState,
    /// Its subject.
    pub subject: String,
    /// When it was queued.
    pub created_at: Timestamp,
    /// When it is tried next, where it waits.
    pub next_attempt_at: Timestamp,
    /// Tries so far.
    pub attempts: i64,
    /// When it was delivered.
    pub sent_at: Option<Timestamp>,
    /// Why the last try failed.
    pub last_error: Option<String>,
}

/// A mail that was folded into a digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoldedMail {
    /// Its row's id.
    pub id: String,
    /// The job it is about.
    pub job: Option<JobId>,
    /// Its subject.
    pub subject: String,
    /// When it was queued.
    pub created_at: Timestamp,
}

const INSERT: Sql = Sql::same(
    "queue a mail",
    "INSERT INTO mails (id, subject_key, kind, job_id, account, recipient, state, message_id, subject, body_text, \
     body_html, attachment, created_at, next_attempt_at, attempts) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $13, 0) \
     ON CONFLICT (subject_key, kind) DO NOTHING",
);

/// Keeps a mail. Says whether it is new: a second one about the same subject and of the same kind changes nothing.
///
/// # Errors
/// Where the database fails.
pub async fn queue(tx: &mut Tx, mail: &NewMail) -> Result<bool, DbError> {
    let args = [
        mail.id.to_string().into(),
        (&mail.subject_key).into(),
        mail.kind.into(),
        mail.job.into(),
        mail.account.as_deref().into(),
        mail.recipient.as_deref().into(),
        mail.state.as_str().into(),
        (&mail.message_id).into(),
        (&mail.subject).into(),
        (&mail.text).into(),
        (&mail.html).into(),
        mail.attachment.as_deref().into(),
        mail.created_at.into(),
    ];
    Ok(tx.execute(&INSERT, &args).await? == 1)
}

const DUE: Sql = Sql::same(
    "read the mails that are due",
    "SELECT id, kind, job_id, recipient, message_id, subject, body_text, body_html, attachment, created_at, \
     next_attempt_at, attempts FROM mails \
     WHERE state = 'queued' AND recipient IS NOT NULL \
     AND (next_attempt_at <= $1 OR next_attempt_at > $2 OR (attempts = 0 AND next_attempt_at = created_at)) \
     ORDER BY next_attempt_at, id LIMIT $3",
);

/// At most `limit` mails whose time has come, the longest due first.
///
/// A new mail is due whatever the clock said when it was made. None is ever put off beyond `horizon`: one that is due later was
/// put off by a clock that has been set back since, and is due.
///
/// # Errors
/// Where the database fails.
pub async fn due(database: &Database, now: Timestamp, horizon: Timestamp, limit: i64) -> Result<Vec<DueMail>, DbError> {
    let rows = database.fetch_all(&DUE, &[now.into(), horizon.into(), limit.into()]).await?;
    rows.iter().map(due_mail).collect()
}

const CLAIM: Sql = Sql::same(
    "claim a mail",
    "UPDATE mails SET attempts = attempts + 1, next_attempt_at = $3 \
     WHERE id = $1 AND attempts = $2 AND state = 'queued' AND next_attempt_at = $4",
);

/// Takes a due mail for one try; nobody else tries it until `until`. Says whether it is ours: where another process
/// was faster it is not.
///
/// The try counts from here on, since a process that dies in it may have delivered the mail.
///
/// # Errors
/// Where the database fails.
pub async fn claim(database: &Database, mail: &DueMail, until: Timestamp) -> Result<bool, DbError> {
    let args = [(&mail.id).into(), mail.attempts.into(), until.into(), mail.next_attempt_at.into()];
    Ok(database.execute(&CLAIM, &args).await? == 1)
}

const SENT: Sql = Sql::same(
    "mark a mail as sent",
    "UPDATE mails SET state = 'sent', sent_at = $2, last_error = NULL WHERE id = $1 AND state = 'queued'",
);

/// Notes that a claimed mail is delivered.
///
/// # Errors
/// Where the database fails; the mail is then sent again, with the same Message-ID.
pub async fn mark_sent(database: &Database, id: &str, now: Timestamp) -> Result<(), DbError> {
    database.execute(&SENT, &[id.into(), now.into()]).await.map(drop)
}

const LATER: Sql = Sql::same(
    "put a mail off",
    "UPDATE mails SET next_attempt_at = $2, last_error = $3 WHERE id = $1 AND state = 'queued'",
);

/// Notes that the try of a claimed mail failed, and when the next one is.
///
/// # Errors
/// Where the database fails.
pub async fn mark_later(database: &Database, id: &str, next: Timestamp, reason: &str) -> Result<(), DbError> {
    database.execute(&LATER, &[id.into(), next.into(), reason.into()]).await.map(drop)
}

const GIVE_BACK: Sql = Sql::same(
    "give a mail back",
    "UPDATE mails SET attempts = $2, next_attempt_at = $3, last_error = $4 WHERE id = $1 AND state = 'queued'",
);

/// Undoes the claim of a mail that no server has seen: an outage uses up no try.
///
/// # Errors
/// Where the database fails.
pub async fn give_back(database: &Database, mail: &DueMail, reason: &str) -> Result<(), DbError> {
    let args = [(&mail.id).into(), mail.attempts.into(), mail.next_attempt_at.into(), reason.into()];
    database.execute(&GIVE_BACK, &args).await.map(drop)
}

const FAILED: Sql = Sql::same(
    "mark a mail as failed",
    "UPDATE mails SET state = 'failed', last_error = $2 WHERE id = $1 AND state = 'queued'",
);

/// Notes that a mail will never be delivered.
///
/// # Errors
/// Where the database fails.
pub async fn mark_failed(database: &Database, id: &str, reason: &str) -> Result<(), DbError> {
    database.execute(&FAILED, &[id.into(), reason.into()]).await.map(drop)
}

const EXPLAIN: Sql = Sql::same(
    "note why mails wait",
    "UPDATE mails SET last_error = $2 WHERE state = 'queued' AND next_attempt_at <= $1 \
     AND (last_error IS NULL OR last_error <> $2)",
);

/// Notes on every mail that is due why it waits.
///
/// # Errors
/// Where the database fails.
pub async fn explain_waiting(database: &Database, now: Timestamp, reason: &str) -> Result<(), DbError> {
    database.execute(&EXPLAIN, &[now.into(), reason.into()]).await.map(drop)
}

const GIVE_UP: Sql = Sql::same(
    "give up old mails",
    "UPDATE mails SET state = 'failed', last_error = $2 WHERE state = 'queued' AND created_at < $1",
);

/// Gives up every mail that was queued before an instant; says how many.
///
/// # Errors
/// Where the database fails.
pub async fn give_up_older(database: &Database, than: Timestamp, reason: &str) -> Result<u64, DbError> {
    database.execute(&GIVE_UP, &[than.into(), reason.into()]).await
}

const SWITCH_OFF: Sql = Sql::same("switch waiting mails off", "UPDATE mails SET state = 'off' WHERE state = 'queued'");

/// Notes on every waiting mail that it is not sent, because mail is switched off; says how many.
///
/// # Errors
/// Where the database fails.
pub async fn switch_off_waiting(database: &Database) -> Result<u64, DbError> {
    database.execute(&SWITCH_OFF, &[]).await
}

/// Mails of one recipient, kind and account that no server has seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The address they go to.
    pub recipient: String,
    /// Their kind.
    pub kind: String,
    /// The account they are for.
    pub account: Option<String>,
    /// How many.
    pub count: i64,
    /// Of those: how many are held.
    pub held: i64,
    /// When the first was queued.
    pub oldest: Timestamp,
    /// When the last was queued.
    pub newest: Timestamp,
}

const WAITING: Sql = Sql::same(
    "count waiting mails by recipient",
    "SELECT recipient, kind, account, count(*), count(CASE WHEN next_attempt_at > created_at THEN 1 END), \
     min(created_at), max(created_at) FROM mails WHERE state = 'queued' AND recipient IS NOT NULL AND attempts = 0 \
     GROUP BY recipient, kind, account ORDER BY recipient, kind, account",
);

/// The mails that no server has seen, counted; those of a recipient stand side by side.
///
/// # Errors
/// Where the database fails.
pub async fn waiting(database: &Database) -> Result<Vec<Waiting>, DbError> {
    let rows = database.fetch_all(&WAITING, &[]).await?;
    let waiting = |row: &Row| {
        Ok(Waiting {
            recipient: row.get(0)?,
            kind: row.get(1)?,
            account: row.get(2)?,
            count: row.get(3)?,
            held: row.get(4)?,
            oldest: row.get(5)?,
            newest: row.get(6)?,
        })
    };
    rows.iter().map(waiting).collect()
}

/// Ids sort by time, and are found without reading what mails say.
const SETTLED: Sql = Sql::same(
    "count the newest mails of a recipient that are settled",
    "SELECT kind, count(*) FROM mails WHERE recipient = $1 AND id >= $2 AND state IN ('sent', 'failed', 'digest') \
     GROUP BY kind ORDER BY kind",
);

/// How many mails of a recipient that were queued since an instant are sent, failed or folded, by kind.
///
/// # Errors
/// Where the database fails.
pub async fn settled_since(
    database: &Database,
    recipient: &str,
    since: Timestamp,
) -> Result<Vec<(String, i64)>, DbError> {
    let milliseconds = u128::try_from(since.timestamp_millis()).unwrap_or(0);
    let first = Uuid::from_u128(milliseconds << 80).to_string();
    let rows = database.fetch_all(&SETTLED, &[recipient.into(), first.into()]).await?;
    rows.iter().map(|row| Ok((row.get(0)?, row.get(1)?))).collect()
}

const HOLD: Sql = Sql::same(
    "hold mails that may be folded",
    "UPDATE mails SET next_attempt_at = $3 WHERE recipient = $1 AND kind = $2 AND state = 'queued' AND attempts = 0 \
     AND (next_attempt_at <= $4 OR next_attempt_at = created_at)",
);

/// Puts off the mails of one recipient and kind that no server has seen, since others may join them in a digest.
///
/// # Errors
/// Where the database fails.
pub async fn hold(
    database: &Database,
    recipient: &str,
    kind: &str,
    until: Timestamp,
    now: Timestamp,
) -> Result<(), DbError> {
    database.execute(&HOLD, &[recipient.into(), kind.into(), until.into(), now.into()]).await.map(drop)
}

const RELEASE: Sql = Sql::same(
    "send a held mail now",
    "UPDATE mails SET next_attempt_at = created_at WHERE recipient = $1 AND state = 'queued' AND attempts = 0 \
     AND next_attempt_at > created_at",
);

/// Makes the mails of a recipient that were held due.
///
/// # Errors
/// Where the database fails.
pub async fn release(database: &Database, recipient: &str) -> Result<(), DbError> {
    database.execute(&RELEASE, &[recipient.into()]).await.map(drop)
}

const FOLD: Sql = Sql::same(
    "fold mails into a digest",
    "UPDATE mails SET state = 'digest' WHERE recipient = $1 AND kind = $2 AND state = 'queued' AND attempts = 0 \
     RETURNING id, job_id, subject, created_at",
);

/// Takes the mails of one recipient and kind that no server has seen out of the queue; the caller queues the mail
/// that tells of them in the same transaction.
///
/// # Errors
/// Where the database fails.
pub async fn fold(tx: &mut Tx, recipient: &str, kind: &str) -> Result<Vec<FoldedMail>, DbError> {
    let rows = tx.fetch_all(&FOLD, &[recipient.into(), kind.into()]).await?;
    rows.iter()
        .map(|row| {
            Ok(FoldedMail { id: row.get(0)?, job: job(row.get(1)?), subject: row.get(2)?, created_at: row.get(3)? })
        })
        .collect()
}

const NEXT: Sql = Sql::same(
    "ask when the next mail is due",
    "SELECT next_attempt_at FROM mails WHERE state = 'queued' AND recipient IS NOT NULL \
     ORDER BY next_attempt_at, id LIMIT 1",
);

/// When the next mail is due; none where none waits.
///
/// # Errors
/// Where the database fails.
pub async fn next_due(database: &Database) -> Result<Option<Timestamp>, DbError> {
    database.fetch_optional(&NEXT, &[]).await?.map(|row| row.get(0)).transpose()
}

const LIST: Sql = Sql::same(
    "list mails",
    "SELECT id, kind, job_id, account, recipient, state, subject, created_at, next_attempt_at, attempts, sent_at, \
     last_error FROM mails WHERE (CAST($1 AS TEXT) IS NULL OR state = $1) ORDER BY id DESC LIMIT $2",
);

/// At most `limit` mails, the newest first; all of them, or those in one state.
///
/// # Errors
/// Where the database fails.
pub async fn list(database: &Database, state: Option<MailState>, limit: i64) -> Result<Vec<MailEntry>, DbError> {
    let rows = database.fetch_all(&LIST, &[state.map(MailState::as_str).into(), limit.into()]).await?;
    rows.iter().map(entry).collect()
}

const OF_JOB: Sql = Sql::same(
    "list the mails of a job",
    "SELECT id, kind, job_id, account, recipient, state, subject, created_at, next_attempt_at, attempts, sent_at, \
     last_error FROM mails WHERE job_id = $1 ORDER BY id",
);

/// The mails about a job, the oldest first.
///
/// # Errors
/// Where the database fails.
pub async fn of_job(database: &Database, job: JobId) -> Result<Vec<MailEntry>, DbError> {
    let rows = database.fetch_all(&OF_JOB, &[job.into()]).await?;
    rows.iter().map(entry).collect()
}

const COUNTS: Sql =
    Sql::same("count mails by state", "SELECT state, count(*) FROM mails GROUP BY state ORDER BY state");

/// How many mails there are in each state that occurs.
///
/// # Errors
/// Where the database fails.
pub async fn counts(database: &Database) -> Result<Vec<(MailState, i64)>, DbError> {
    let rows = database.fetch_all(&COUNTS, &[]).await?;
    rows.iter().map(|row| Ok((state(&row.get::<String>(0)?), row.get(1)?))).collect()
}

const FORGET: Sql = Sql::same("forget old mails", "DELETE FROM mails WHERE state <> 'queued' AND created_at < $1");

/// Deletes the mails that are settled and older than an instant; says how many.
///
/// # Errors
/// Where the database fails.
pub async fn forget(database: &Database, older_than: Timestamp) -> Result<u64, DbError> {
    database.execute(&FORGET, &[older_than.into()]).await
}

/// Every statement of this file, for the test that prepares them on both databases.
pub const STATEMENTS: [&Sql; 20] = [
    &INSERT,
    &DUE,
    &CLAIM,
    &SENT,
    &LATER,
    &GIVE_BACK,
    &FAILED,
    &EXPLAIN,
    &GIVE_UP,
    &SWITCH_OFF,
    &WAITING,
    &SETTLED,
    &HOLD,
    &RELEASE,
    &FOLD,
    &NEXT,
    &LIST,
    &OF_JOB,
    &COUNTS,
    &FORGET,
];

fn due_mail(row: &Row) -> Result<DueMail, DbError> {
    Ok(DueMail {
        id: row.get(0)?,
        kind: row.get(1)?,
        job: job(row.get(2)?),
        recipient: row.get(3)?,
        message_id: row.get(4)?,
        subject: row.get(5)?,
        text: row.get(6)?,
        html: row.get(7)?,
        attachment: row.get(8)?,
        created_at: row.get(9)?,
        next_attempt_at: row.get(10)?,
        attempts: row.get(11)?,
    })
}

fn entry(row: &Row) -> Result<MailEntry, DbError> {
    Ok(MailEntry {
        id: row.get(0)?,
        kind: row.get(1)?,
        job: job(row.get(2)?),
        account: row.get(3)?,
        recipient: row.get(4)?,
        state: state(&row.get::<String>(5)?),
        subject: row.get(6)?,
        created_at: row.get(7)?,
        next_attempt_at: row.get(8)?,
        attempts: row.get(9)?,
        sent_at: row.get(10)?,
        last_error: row.get(11)?,
    })
}

/// A job's id that is none was written by a foreign hand; the mail is good without it.
fn job(id: Option<String>) -> Option<JobId> {
    id.and_then(|id| id.parse().ok())
}

/// A state that is none was written by a foreign hand; nothing sends such a mail.
fn state(word: &str) -> MailState {
    MailState::parse(word).unwrap_or(MailState::Off)
}
