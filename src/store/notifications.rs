//! What an account is told beside the mails: the same events, whether mail is on or not.

use uuid::Uuid;

use crate::clock::Timestamp;
use crate::db::{Database, DbError, Sql, Tx};
use crate::model::JobId;

/// Something an account, or the admin, is to know.
#[derive(Clone, Debug)]
pub struct NewNotification {
    /// Its row's id; sorts by time.
    pub id: Uuid,
    /// What it is about: a job's id, a path of the inbox, a trouble.
    pub subject_key: String,
    /// Its kind, as the mail's; there is one notification per subject and kind.
    pub kind: &'static str,
    /// The job it is about.
    pub job: Option<JobId>,
    /// The account it is for; none where it is for the admin.
    pub account: Option<String>,
    /// One line.
    pub title: String,
    /// The whole text.
    pub body: String,
    /// Now.
    pub created_at: Timestamp,
}

/// A notification as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// Its row's id.
    pub id: String,
    /// Its kind.
    pub kind: String,
    /// The job it is about.
    pub job: Option<JobId>,
    /// The account it is for; none where it is for the admin.
    pub account: Option<String>,
    /// One line.
    pub title: String,
    /// The whole text.
    pub body: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was read.
    pub read_at: Option<Timestamp>,
}

const INSERT: Sql = Sql::same(
    "keep a notification",
    "INSERT INTO notifications (id, subject_key, kind, job_id, account, title, body, created_at) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (subject_key, kind) DO NOTHING",
);

/// Keeps a notification. Says whether it is new: a second one about the same subject and of the same kind changes
/// nothing.
///
/// # Errors
/// Where the database fails.
pub async fn keep(tx: &mut Tx, notification: &NewNotification) -> Result<bool, DbError> {
    let args = [
        notification.id.to_string().into(),
        (&notification.subject_key).into(),
        notification.kind.into(),
        notification.job.into(),
        notification.account.as_deref().into(),
        (&notification.title).into(),
        (&notification.body).into(),
        notification.created_at.into(),
    ];
    Ok(tx.execute(&INSERT, &args).await? == 1)
}

const LIST: Sql = Sql::same(
    "list notifications",
    "SELECT id, kind, job_id, account, title, body, created_at, read_at FROM notifications \
     WHERE (CAST($1 AS TEXT) IS NULL OR account = $1) ORDER BY id DESC LIMIT $2",
);

/// At most `limit` notifications, the newest first; all of them, or those of one account.
///
/// # Errors
/// Where the database fails.
pub async fn list(database: &Database, account: Option<&str>, limit: i64) -> Result<Vec<Notification>, DbError> {
    let rows = database.fetch_all(&LIST, &[account.into(), limit.into()]).await?;
    rows.iter()
        .map(|row| {
            Ok(Notification {
                id: row.get(0)?,
                kind: row.get(1)?,
                job: row.get::<Option<String>>(2)?.and_then(|id| id.parse().ok()),
                account: row.get(3)?,
                title: row.get(4)?,
                body: row.get(5)?,
                created_at: row.get(6)?,
                read_at: row.get(7)?,
            })
        })
        .collect()
}

const READ: Sql =
    Sql::same("mark a notification as read", "UPDATE notifications SET read_at = $2 WHERE id = $1 AND read_at IS NULL");

/// Notes that a notification was read; the first time counts. Says whether it was unread.
///
/// # Errors
/// Where the database fails.
pub async fn mark_read(database: &Database, id: &str, now: Timestamp) -> Result<bool, DbError> {
    Ok(database.execute(&READ, &[id.into(), now.into()]).await? == 1)
}

const FORGET: Sql = Sql::same("forget old notifications", "DELETE FROM notifications WHERE created_at < $1");

/// Deletes the notifications that are older than an instant; says how many.
///
/// # Errors
/// Where the database fails.
pub async fn forget(database: &Database, older_than: Timestamp) -> Result<u64, DbError> {
    database.execute(&FORGET, &[older_than.into()]).await
}

/// Every statement of this file, for the test that prepares them on both databases.
pub const STATEMENTS: [&Sql; 4] = [&INSERT, &LIST, &READ, &FORGET];
