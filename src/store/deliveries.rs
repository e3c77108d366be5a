//! Messages to handlers: written with the data that they speak of, delivered at least once, put aside after the last try.

use std::collections::HashSet;
use std::sync::LazyLock;

use uuid::Uuid;

use super::records::{json_list, take_ids};
use crate::clock::Timestamp;
use crate::db::{Arg, BulkTable, Column, ColumnType, Database, DbError, Row, Sql, Tx};
use crate::model::JobId;

/// What has become of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryState {
    /// It is to be delivered.
    Pending,
    /// Its receiver has taken it.
    Delivered,
    /// It was put aside: a dead letter.
    Dead,
}

impl DeliveryState {
    /// Every state.
    pub const ALL: [Self; 3] = [Self::Pending, Self::Delivered, Self::Dead];

    /// The word in the table.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Dead => "dead",
        }
    }

    /// A state that is none was written by a foreign hand; nothing sends such a message.
    fn parse(word: &str) -> Self {
        Self::ALL.into_iter().find(|state| state.as_str() == word).unwrap_or(Self::Dead)
    }
}

/// A message that is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDelivery {
    /// Its id, the same in every attempt.
    pub message_id: Uuid,
    /// The handler it is for.
    pub handler: String,
    /// Its type.
    pub kind: String,
    /// What it is about.
    pub subject: String,
    /// Messages of the same key are delivered one after the other.
    pub order_key: Option<String>,
    /// Whether it comes after all others of its job.
    pub closes_job: bool,
    /// Whose archive brought it.
    pub account: String,
    /// The job that brought it.
    pub job: JobId,
    /// The event it is about.
    pub event_id: Option<i64>,
    /// What is sent.
    pub body: String,
    /// The data as JSON, where the body only refers to it.
    pub data: Option<String>,
    /// Why it is put aside from the first; none where it is to be delivered.
    pub put_aside: Option<String>,
    /// Now.
    pub now: Timestamp,
}

/// A message that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueDelivery {
    /// Its number; grows in the order of commits.
    pub id: i64,
    /// Its id.
    pub message_id: String,
    /// Its type.
    pub kind: String,
    /// What it is about.
    pub subject: String,
    /// The job that brought it.
    pub job: Option<JobId>,
    /// What is sent.
    pub body: String,
    /// Failed tries so far.
    pub attempts: i64,
    /// When its receiver first put it off.
    pub put_off_since: Option<Timestamp>,
}

/// What people see of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryView {
    /// Its number.
    pub id: i64,
    /// Its id.
    pub message_id: String,
    /// The handler it is for.
    pub handler: String,
    /// Its type.
    pub kind: String,
    /// What it is about.
    pub subject: String,
    /// Whose archive brought it.
    pub account: String,
    /// The job that brought it, as text.
    pub job: String,
    /// What has become of it.
    pub state: DeliveryState,
    /// Failed tries so far.
    pub attempts: i64,
    /// When it was written.
    pub created_at: Timestamp,
    /// When it is tried next, where it is to be.
    pub next_attempt_at: Timestamp,
    /// When it was delivered or put aside.
    pub finished_at: Option<Timestamp>,
    /// Why the last try failed, or why it was put aside.
    pub last_error: Option<String>,
}

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// What is sent.
    pub body: String,
    /// The data as JSON, where the body only refers to it.
    pub data: Option<String>,
}

/// A message that somebody may have seen, of a job that is taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The handler it is for.
    pub handler: String,
    /// What it says.
    pub content: Content,
}

/// Messages to send again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replay {
    /// Those of this handler.
    pub handler: String,
    /// Those written at or after this instant.
    pub since: Option<Timestamp>,
    /// Those written before this instant.
    pub until: Option<Timestamp>,
    /// Those that were delivered as well.
    pub with_delivered: bool,
}

static TABLE: LazyLock<BulkTable> = LazyLock::new(|| {
    let column = |name: &str, kind| Column { name: name.to_owned(), kind };
    let text = |name: &str| column(name, ColumnType::Text);
    let int = |name: &str| column(name, ColumnType::Int);
    let instant = |name: &str| column(name, ColumnType::Instant);
    BulkTable::new(
        "deliveries",
        vec![
            int("id"),
            text("message_id"),
            text("handler"),
            text("type"),
            text("subject"),
            text("order_key"),
            column("closes_job", ColumnType::Bool),
            text("account"),
            text("job_id"),
            int("event_id"),
            text("body"),
            text("data"),
            text("state"),
            column("taken", ColumnType::Bool),
            int("attempts"),
            instant("created_at"),
            instant("next_attempt_at"),
            instant("finished_at"),
            text("last_error"),
        ],
    )
});

/// Keeps messages, in their order.
///
/// # Errors
/// Where the database is out of reach.
pub async fn insert(tx: &mut Tx, messages: Vec<NewDelivery>) -> Result<(), DbError> {
    if messages.is_empty() {
        return Ok(());
    }
    let first = take_ids(tx, "deliveries", messages.len() as u64).await?;
    let cells = (first..).zip(messages).flat_map(|(id, message)| {
        let state = if message.put_aside.is_some() { DeliveryState::Dead } else { DeliveryState::Pending };
        let cells: [Arg; 19] = [
            id.into(),
            message.message_id.to_string().into(),
            message.handler.into(),
            message.kind.into(),
            message.subject.into(),
            message.order_key.into(),
            message.closes_job.into(),
            message.account.into(),
            message.job.into(),
            message.event_id.into(),
            message.body.into(),
            message.data.into(),
            state.as_str().into(),
            false.into(),
            0.into(),
            message.now.into(),
            message.now.into(),
            Arg::Instant(message.put_aside.is_some().then_some(message.now)),
            message.put_aside.into(),
        ];
        cells
    });
    tx.insert_rows(&TABLE, cells).await
}

/// What is put off further than `$3` was put off by a clock that has been set back since.
const DUE: Sql = Sql::same(
    "read the messages that are due",
    "SELECT id, message_id, type, subject, job_id, body, attempts, put_off_since FROM deliveries AS due \
     WHERE state = 'pending' AND handler = $1 AND (next_attempt_at <= $2 OR next_attempt_at > $3) \
     AND NOT EXISTS (SELECT 1 FROM deliveries AS before WHERE before.state = 'pending' \
     AND before.handler = due.handler AND before.order_key = due.order_key AND before.id < due.id) \
     AND (NOT closes_job OR NOT EXISTS (SELECT 1 FROM deliveries AS other WHERE other.state = 'pending' \
     AND other.job_id = due.job_id AND other.handler = due.handler AND other.id < due.id)) \
     ORDER BY next_attempt_at, id LIMIT $4",
);

const TAKEN: Sql = Sql::per(
    "note that messages are under way",
    "UPDATE deliveries SET taken = TRUE WHERE state = 'pending' AND id IN (SELECT value FROM json_each($1)) RETURNING id",
    "UPDATE deliveries SET taken = TRUE WHERE state = 'pending' \
     AND id IN (SELECT json_array_elements_text($1::text::json)::bigint) RETURNING id",
);

const NEXT: Sql = Sql::same(
    "ask when the next message is due",
    "SELECT next_attempt_at FROM deliveries WHERE state = 'pending' AND handler = $1 ORDER BY next_attempt_at LIMIT 1",
);

const DELIVERED: Sql = Sql::per(
    "note that messages are delivered",
    "UPDATE deliveries SET state = 'delivered', finished_at = $2, last_error = NULL \
     WHERE state = 'pending' AND id IN (SELECT value FROM json_each($1))",
    "UPDATE deliveries SET state = 'delivered', finished_at = $2, last_error = NULL \
     WHERE state = 'pending' AND id IN (SELECT json_array_elements_text($1::text::json)::bigint)",
);

const LATER: Sql = Sql::same(
    "put a message off",
    "UPDATE deliveries SET attempts = attempts + 1, next_attempt_at = $2, last_error = $3 \
     WHERE state = 'pending' AND id = $1",
);

const PUT_OFF: Sql = Sql::same(
    "put a message off for its receiver",
    "UPDATE deliveries SET next_attempt_at = $2, last_error = $3, put_off_since = coalesce(put_off_since, $4) \
     WHERE state = 'pending' AND id = $1",
);

const DEAD: Sql = Sql::same(
    "put a message aside",
    "UPDATE deliveries SET state = 'dead', attempts = attempts + $2, finished_at = $3, last_error = $4 \
     WHERE state = 'pending' AND id = $1",
);

const PUT_ASIDE: Sql = Sql::per(
    "put all messages of a handler aside",
    "UPDATE deliveries SET state = 'dead', finished_at = $2, last_error = $3 WHERE state = 'pending' AND handler = $1 \
     AND id NOT IN (SELECT value FROM json_each($4))",
    "UPDATE deliveries SET state = 'dead', finished_at = $2, last_error = $3 WHERE state = 'pending' AND handler = $1 \
     AND id NOT IN (SELECT json_array_elements_text($4::text::json)::bigint)",
);

const HURRY: Sql = Sql::same(
    "try messages that were put off now",
    "UPDATE deliveries SET next_attempt_at = $2 WHERE state = 'pending' AND handler = $1 AND next_attempt_at > $2",
);

const HURRY_ONCE: Sql = Sql::same(
    "try messages now that were put off, each once",
    "UPDATE deliveries SET next_attempt_at = $2, hurried = TRUE \
     WHERE state = 'pending' AND handler = $1 AND next_attempt_at > $2 AND NOT hurried",
);

const BACKLOG: Sql = Sql::same(
    "count the undelivered messages of a job",
    "SELECT handler, count(*) FROM deliveries WHERE state = 'pending' AND job_id = $1 GROUP BY handler",
);

const OF_JOB: Sql = Sql::same(
    "count the messages of a job",
    "SELECT handler, state, count(*) FROM deliveries WHERE job_id = $1 GROUP BY handler, state ORDER BY handler, state",
);

const COUNTS: Sql = Sql::same(
    "count messages",
    "SELECT handler, state, count(*) FROM deliveries GROUP BY handler, state ORDER BY handler, state",
);

const LIST: Sql = Sql::same(
    "list messages",
    "SELECT id, message_id, handler, type, subject, account, job_id, state, attempts, created_at, next_attempt_at, \
     finished_at, last_error FROM deliveries WHERE handler = $1 AND state = $2 ORDER BY id DESC LIMIT $3",
);

const GET: Sql = Sql::same(
    "read a message",
    "SELECT id, message_id, handler, type, subject, account, job_id, state, attempts, created_at, next_attempt_at, \
     finished_at, last_error, body, data FROM deliveries WHERE message_id = $1",
);

const BY_PREFIX: Sql = Sql::same(
    "look for a message",
    "SELECT message_id FROM deliveries WHERE message_id LIKE $1 || '%' ORDER BY message_id LIMIT $2",
);

const REPLAY_ONE: Sql = Sql::same(
    "send a message again",
    "UPDATE deliveries SET state = 'pending', attempts = 0, next_attempt_at = $2, \
     put_off_since = NULL, hurried = FALSE, finished_at = NULL WHERE message_id = $1 AND state <> 'pending'",
);

const REPLAY: Sql = Sql::same(
    "send messages again",
    "UPDATE deliveries SET state = 'pending', attempts = 0, next_attempt_at = $2, put_off_since = NULL, \
     hurried = FALSE, finished_at = NULL WHERE state <> 'pending' AND handler = $1 AND ($3 OR state = 'dead') \
     AND (CAST($4 AS BOOLEAN) OR created_at >= $5) AND (CAST($6 AS BOOLEAN) OR created_at < $7)",
);

const FORGET: Sql = Sql::same(
    "forget old messages",
    "DELETE FROM deliveries WHERE id IN (SELECT id FROM deliveries WHERE handler = $1 AND state <> 'pending' \
     AND finished_at < $2 LIMIT $3)",
);

/// The bytes of a text are known without reading it.
const SIZES: Sql = Sql::same(
    "measure what was told of a job",
    "SELECT id, CAST(octet_length(body) AS BIGINT) + coalesce(octet_length(data), 0) FROM deliveries \
     WHERE job_id = $1 AND id > $2 AND id <= $3 ORDER BY id LIMIT $4",
);

const RETRACT: Sql = Sql::same(
    "take messages back",
    "DELETE FROM deliveries WHERE job_id = $1 AND id > $2 AND id <= $3 AND NOT taken AND state = 'pending'",
);

const TOLD: Sql = Sql::same(
    "read what was told of a job",
    "SELECT handler, body, data FROM deliveries WHERE job_id = $1 AND id > $2 AND id <= $3 ORDER BY id",
);

const LAST_TOLD: Sql =
    Sql::same("ask for the last message of a job", "SELECT coalesce(max(id), 0) FROM deliveries WHERE job_id = $1");

/// Every statement of this file, for the test that prepares them on both databases.
pub const STATEMENTS: [&Sql; 23] = [
    &DUE,
    &TAKEN,
    &NEXT,
    &DELIVERED,
    &LATER,
    &PUT_OFF,
    &DEAD,
    &PUT_ASIDE,
    &HURRY,
    &HURRY_ONCE,
    &BACKLOG,
    &OF_JOB,
    &COUNTS,
    &LIST,
    &GET,
    &BY_PREFIX,
    &REPLAY_ONE,
    &REPLAY,
    &FORGET,
    &SIZES,
    &RETRACT,
    &TOLD,
    &LAST_TOLD,
];

/// At most `limit` messages of a handler whose time has come, the longest due first; of each record only the oldest that
/// is undelivered. Those put off beyond `horizon` count as due.
///
/// # Errors
/// Where the database is out of reach.
pub async fn due(
    database: &Database,
    handler: &str,
    now: Timestamp,
    horizon: Timestamp,
    limit: i64,
) -> Result<Vec<DueDelivery>, DbError> {
    let rows = database.fetch_all(&DUE, &[handler.into(), now.into(), horizon.into(), limit.into()]).await?;
    let due = |row: &Row| -> Result<DueDelivery, DbError> {
        Ok(DueDelivery {
            id: row.get(0)?,
            message_id: row.get(1)?,
            kind: row.get(2)?,
            subject: row.get(3)?,
            job: row.get::<String>(4)?.parse().ok(),
            body: row.get(5)?,
            attempts: row.get(6)?,
            put_off_since: row.get(7)?,
        })
    };
    rows.iter().map(due).collect()
}

/// Notes that receivers may see these messages from now on. Returns those of them that are still to be sent: others were
/// taken back or put aside since they were read.
///
/// # Errors
/// Where the database is out of reach.
pub async fn mark_taken(tx: &mut Tx, ids: &[i64]) -> Result<HashSet<i64>, DbError> {
    tx.fetch_all(&TAKEN, &[json_list(ids).into()]).await?.iter().map(|row| row.get(0)).collect()
}

/// When the next message of a handler is due; none where none waits.
///
/// # Errors
/// Where the database is out of reach.
pub async fn next_due(database: &Database, handler: &str) -> Result<Option<Timestamp>, DbError> {
    database.fetch_optional(&NEXT, &[handler.into()]).await?.map(|row| row.get(0)).transpose()
}

/// Notes that messages are delivered.
///
/// # Errors
/// Where the database is out of reach; they are then delivered again, with the same ids.
pub async fn mark_delivered(tx: &mut Tx, ids: &[i64], now: Timestamp) -> Result<(), DbError> {
    tx.execute(&DELIVERED, &[json_list(ids).into(), now.into()]).await.map(drop)
}

/// Puts a message off until `next` after a failed try.
///
/// # Errors
/// Where the database is out of reach.
pub async fn mark_later(tx: &mut Tx, id: i64, next: Timestamp, reason: &str) -> Result<(), DbError> {
    tx.execute(&LATER, &[id.into(), next.into(), reason.into()]).await.map(drop)
}

/// Puts a message off until `next` as its receiver has asked: no try has failed.
///
/// # Errors
/// Where the database is out of reach.
pub async fn put_off(tx: &mut Tx, id: i64, next: Timestamp, reason: &str, now: Timestamp) -> Result<(), DbError> {
    tx.execute(&PUT_OFF, &[id.into(), next.into(), reason.into(), now.into()]).await.map(drop)
}

/// Puts a message aside after its last try, which counts as failed where `counts` is 1, and not where it is 0.
///
/// # Errors
/// Where the database is out of reach.
pub async fn mark_dead(tx: &mut Tx, id: i64, counts: i64, now: Timestamp, reason: &str) -> Result<(), DbError> {
    tx.execute(&DEAD, &[id.into(), counts.into(), now.into(), reason.into()]).await.map(drop)
}

/// Puts every undelivered message of a handler aside but for `kept`; says how many.
///
/// # Errors
/// Where the database is out of reach.
pub async fn put_all_aside(
    tx: &mut Tx,
    handler: &str,
    kept: &[i64],
    now: Timestamp,
    reason: &str,
) -> Result<u64, DbError> {
    tx.execute(&PUT_ASIDE, &[handler.into(), now.into(), reason.into(), json_list(kept).into()]).await
}

/// Lets every undelivered message of a handler be tried now.
///
/// # Errors
/// Where the database is out of reach.
pub async fn hurry(tx: &mut Tx, handler: &str, now: Timestamp) -> Result<u64, DbError> {
    tx.execute(&HURRY, &[handler.into(), now.into()]).await
}

/// Lets every undelivered message of a handler be tried now, but for those for which that was done before: what is wrong with
/// a message and not with its receiver costs one try.
///
/// # Errors
/// Where the database is out of reach.
pub async fn hurry_once(tx: &mut Tx, handler: &str, now: Timestamp) -> Result<u64, DbError> {
    tx.execute(&HURRY_ONCE, &[handler.into(), now.into()]).await
}

/// How many messages of a job each handler has not taken yet; handlers without any are left out.
///
/// # Errors
/// Where the database is out of reach.
pub async fn backlog(database: &Database, job: JobId) -> Result<Vec<(String, u64)>, DbError> {
    let rows = database.fetch_all(&BACKLOG, &[job.into()]).await?;
    rows.iter().map(|row| Ok((row.get(0)?, row.count(1)?))).collect()
}

/// How many messages of a job are in each state, by handler.
///
/// # Errors
/// Where the database is out of reach.
pub async fn counts_of_job(database: &Database, job: JobId) -> Result<Vec<(String, DeliveryState, u64)>, DbError> {
    database.fetch_all(&OF_JOB, &[job.into()]).await?.iter().map(counted).collect()
}

/// How many messages are in each state, by handler.
///
/// # Errors
/// Where the database is out of reach.
pub async fn counts(database: &Database) -> Result<Vec<(String, DeliveryState, u64)>, DbError> {
    database.fetch_all(&COUNTS, &[]).await?.iter().map(counted).collect()
}

/// At most `limit` messages of a handler in a state, the newest first.
///
/// # Errors
/// Where the database is out of reach.
pub async fn list(
    database: &Database,
    handler: &str,
    state: DeliveryState,
    limit: i64,
) -> Result<Vec<DeliveryView>, DbError> {
    database.fetch_all(&LIST, &[handler.into(), state.as_str().into(), limit.into()]).await?.iter().map(view).collect()
}

/// The message of an id, with what it says.
///
/// # Errors
/// Where the database is out of reach.
pub async fn get(database: &Database, message_id: &str) -> Result<Option<(DeliveryView, Content)>, DbError> {
    let Some(row) = database.fetch_optional(&GET, &[message_id.into()]).await? else { return Ok(None) };
    Ok(Some((view(&row)?, Content { body: row.get(13)?, data: row.get(14)? })))
}

/// At most `limit` ids of messages that begin like this; none where it is not the beginning of an id.
///
/// # Errors
/// Where the database is out of reach.
pub async fn beginning_with(database: &Database, prefix: &str, limit: i64) -> Result<Vec<String>, DbError> {
    let wanted = prefix.to_ascii_lowercase();
    if wanted.is_empty() || !wanted.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-') {
        return Ok(Vec::new());
    }
    database.fetch_all(&BY_PREFIX, &[wanted.into(), limit.into()]).await?.iter().map(|row| row.get(0)).collect()
}

/// Sends one message again that was delivered or put aside; false where there is none.
///
/// # Errors
/// Where the database is out of reach.
pub async fn replay_one(database: &Database, message_id: &str, now: Timestamp) -> Result<bool, DbError> {
    Ok(database.execute(&REPLAY_ONE, &[message_id.into(), now.into()]).await? == 1)
}

/// Sends messages again; says how many.
///
/// # Errors
/// Where the database is out of reach.
pub async fn replay(database: &Database, replay: &Replay, now: Timestamp) -> Result<u64, DbError> {
    let args = [
        (&replay.handler).into(),
        now.into(),
        replay.with_delivered.into(),
        replay.since.is_none().into(),
        replay.since.unwrap_or(now).into(),
        replay.until.is_none().into(),
        replay.until.unwrap_or(now).into(),
    ];
    database.execute(&REPLAY, &args).await
}

/// Deletes at most `limit` messages of a handler that were delivered or put aside before an instant; says how many.
///
/// # Errors
/// Where the database is out of reach.
pub async fn forget(database: &Database, handler: &str, before: Timestamp, limit: i64) -> Result<u64, DbError> {
    database.execute(&FORGET, &[handler.into(), before.into(), limit.into()]).await
}

/// The number of the last message of a job; 0 where it has none.
///
/// # Errors
/// Where the database is out of reach.
pub async fn last_of_job(tx: &mut Tx, job: JobId) -> Result<i64, DbError> {
    tx.fetch_all(&LAST_TOLD, &[job.into()]).await?.first().map_or(Ok(0), |row| row.get(0))
}

/// The number up to which the messages of a job after `after` and up to `last` are at most `limit`, of no more than `bytes`
/// together where they are several; none where there are none.
///
/// # Errors
/// Where the database is out of reach.
pub async fn some_of_job(
    tx: &mut Tx,
    job: JobId,
    after: i64,
    last: i64,
    limit: i64,
    bytes: i64,
) -> Result<Option<i64>, DbError> {
    let (mut upto, mut together) = (None, 0);
    for row in tx.fetch_all(&SIZES, &[job.into(), after.into(), last.into(), limit.into()]).await? {
        together += row.get::<i64>(1)?;
        if upto.is_some() && together > bytes {
            break;
        }
        upto = Some(row.get(0)?);
    }
    Ok(upto)
}

/// Takes those messages of a job after `after` and up to `upto` back that nobody can have seen, and reads the others.
///
/// # Errors
/// Where the database is out of reach.
pub async fn retract(tx: &mut Tx, job: JobId, after: i64, upto: i64) -> Result<Vec<Told>, DbError> {
    let args = [job.into(), after.into(), upto.into()];
    tx.execute(&RETRACT, &args).await?;
    let told = |row: &Row| -> Result<Told, DbError> {
        Ok(Told { handler: row.get(0)?, content: Content { body: row.get(1)?, data: row.get(2)? } })
    };
    tx.fetch_all(&TOLD, &args).await?.iter().map(told).collect()
}

fn counted(row: &Row) -> Result<(String, DeliveryState, u64), DbError> {
    Ok((row.get(0)?, DeliveryState::parse(&row.get::<String>(1)?), row.count(2)?))
}

fn view(row: &Row) -> Result<DeliveryView, DbError> {
    Ok(DeliveryView {
        id: row.get(0)?,
        message_id: row.get(1)?,
        handler: row.get(2)?,
        kind: row.get(3)?,
        subject: row.get(4)?,
        account: row.get(5)?,
        job: row.get(6)?,
        state: DeliveryState::parse(&row.get::<String>(7)?),
        attempts: row.get(8)?,
        created_at: row.get(9)?,
        next_attempt_at: row.get(10)?,
        finished_at: row.get(11)?,
        last_error: row.get(12)?,
    })
}
