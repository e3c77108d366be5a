//! Events, who owns them, which bytes were imported into them last.

use crate::clock::Timestamp;
use crate::db::{Arg, Backend, Database, DbError, Row, Sql, Tx};
use crate::model::catalogue::Dataset;
use crate::model::{JobId, JobState, Report};

/// What is needed to tell events apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRow {
    /// Its id here.
    pub id: i64,
    /// Whose it is.
    pub account: String,
    /// The server it came from; empty where that is not known.
    pub root_url: String,
    /// Its id there.
    pub source_id: String,
    /// Its identifier there.
    pub identifier: Option<String>,
    /// Its name.
    pub name: Option<String>,
    /// When it starts.
    pub starts_at: Option<Timestamp>,
    /// Its zone.
    pub timezone: Option<String>,
    /// What it said when it was last written.
    pub content_hash: String,
}

macro_rules! columns {
    () => {
        "id, account, root_url, source_id, identifier, name, starts_at, timezone, content_hash"
    };
}

const CANDIDATES: Sql = Sql::same(
    "look for the event of an archive",
    concat!(
        "SELECT ",
        columns!(),
        " FROM events WHERE account = $1 AND root_url = $2 AND (source_id = $3 OR identifier = $4) ORDER BY id"
    ),
);

const GET: Sql = Sql::same("read an event", concat!("SELECT ", columns!(), " FROM events WHERE id = $1"));

const LIST: Sql = Sql::same(
    "list events",
    concat!(
        "SELECT ",
        columns!(),
        " FROM events WHERE coalesce($1, account) = account AND id > $2 ORDER BY id LIMIT $3"
    ),
);

const LOCK_ACCOUNT: Sql = Sql::per(
    "lock the events of an account",
    "SELECT 1 WHERE $1 IS NOT NULL",
    "SELECT pg_advisory_xact_lock(hashtextextended('events of ' || $1, 0))",
);

const HOLD: Sql = Sql::per(
    "look whether an event is still there",
    "SELECT 1 FROM events WHERE id = $1",
    "SELECT 1 FROM events WHERE id = $1 FOR KEY SHARE",
);

const LOCK: Sql = Sql::per(
    "lock an event to delete of it",
    "SELECT 1 FROM events WHERE id = $1",
    "SELECT 1 FROM events WHERE id = $1 FOR UPDATE",
);

const LAST_HASH: Sql = Sql::same(
    "look for the same bytes",
    "SELECT h.event_id, h.job_id, e.name FROM import_hashes AS h JOIN events AS e ON e.id = h.event_id \
     WHERE h.account = $1 AND h.sha256 = $2 ORDER BY h.imported_at DESC",
);

const REMEMBER_HASH: Sql = Sql::same(
    "remember the bytes of an import",
    "INSERT INTO import_hashes (account, event_id, sha256, job_id, imported_at) VALUES ($1, $2, $3, $4, $5) \
     ON CONFLICT (account, event_id) DO UPDATE SET sha256 = excluded.sha256, job_id = excluded.job_id, \
     imported_at = excluded.imported_at",
);

const FORGET_HASH: Sql =
    Sql::same("forget the bytes of an import", "DELETE FROM import_hashes WHERE account = $1 AND event_id = $2");

const USER: Sql = Sql::same("look for a user", "SELECT id FROM users WHERE account = $1");

const INSERT_USER: Sql = Sql::same(
    "add a user",
    "INSERT INTO users (id, account, email, name, created_at) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
);

const ADD_ROLE: Sql = Sql::same(
    "give a role",
    "INSERT INTO event_roles (event_id, user_id, role, created_at) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
);

const OWNERS: Sql = Sql::same(
    "read the owners of an event",
    "SELECT u.account FROM event_roles AS r JOIN users AS u ON u.id = r.user_id WHERE r.event_id = $1 \
     AND r.role = 'owner' ORDER BY u.account",
);

/// Every statement, for the test that prepares them.
pub fn statements() -> Vec<Sql> {
    let mut all = vec![
        CANDIDATES,
        GET,
        LIST,
        LOCK_ACCOUNT,
        HOLD,
        LOCK,
        LAST_HASH,
        REMEMBER_HASH,
        FORGET_HASH,
        USER,
        INSERT_USER,
        ADD_ROLE,
        OWNERS,
    ];
    all.extend(Dataset::ALL.into_iter().filter(|dataset| *dataset != Dataset::Event).map(count_sql));
    all.extend(deletions());
    all
}

/// Events of an account that share the server, and the id or the identifier, with an archive's.
///
/// # Errors
/// Where the database is out of reach.
pub async fn candidates(
    database: &Database,
    account: &str,
    root_url: &str,
    source_id: &str,
    identifier: Option<&str>,
) -> Result<Vec<EventRow>, DbError> {
    let args = [account.into(), root_url.into(), source_id.into(), identifier.into()];
    database.fetch_all(&CANDIDATES, &args).await?.iter().map(event).collect()
}

/// As [`candidates`], with no other transaction adding events of this account until this one ends.
///
/// # Errors
/// Where the database is out of reach.
pub async fn candidates_locked(
    tx: &mut Tx,
    account: &str,
    root_url: &str,
    source_id: &str,
    identifier: Option<&str>,
) -> Result<Vec<EventRow>, DbError> {
    tx.fetch_all(&LOCK_ACCOUNT, &[account.into()]).await?;
    let args = [account.into(), root_url.into(), source_id.into(), identifier.into()];
    tx.fetch_all(&CANDIDATES, &args).await?.iter().map(event).collect()
}

/// One event.
///
/// # Errors
/// Where the database is out of reach.
pub async fn get(database: &Database, id: i64) -> Result<Option<EventRow>, DbError> {
    database.fetch_optional(&GET, &[id.into()]).await?.as_ref().map(event).transpose()
}

/// Whether an event is there; nobody deletes of it until the transaction ends.
///
/// # Errors
/// Where the database is out of reach.
pub async fn hold(tx: &mut Tx, id: i64) -> Result<bool, DbError> {
    Ok(tx.fetch_optional(&HOLD, &[id.into()]).await?.is_some())
}

/// Events of an account, or of all, after an id.
///
/// # Errors
/// Where the database is out of reach.
pub async fn list(
    database: &Database,
    account: Option<&str>,
    after: i64,
    limit: i64,
) -> Result<Vec<EventRow>, DbError> {
    let args = [account.into(), after.into(), limit.into()];
    database.fetch_all(&LIST, &args).await?.iter().map(event).collect()
}

fn event(row: &Row) -> Result<EventRow, DbError> {
    Ok(EventRow {
        id: row.get(0)?,
        account: row.get(1)?,
        root_url: row.get(2)?,
        source_id: row.get(3)?,
        identifier: row.get(4)?,
        name: row.get(5)?,
        starts_at: row.get(6)?,
        timezone: row.get(7)?,
        content_hash: row.get(8)?,
    })
}

/// An event that an account imported the same bytes into last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SameBytes {
    /// The event.
    pub event_id: i64,
    /// Its name.
    pub event_name: Option<String>,
    /// The job that did it.
    pub job: Option<JobId>,
}

/// The events whose last import by this account was of these bytes, the latest first.
///
/// # Errors
/// Where the database is out of reach.
pub async fn with_last_bytes(database: &Database, account: &str, sha256: &str) -> Result<Vec<SameBytes>, DbError> {
    let rows = database.fetch_all(&LAST_HASH, &[account.into(), sha256.into()]).await?;
    let same = |row: &Row| {
        Ok(SameBytes { event_id: row.get(0)?, job: row.get::<String>(1)?.parse().ok(), event_name: row.get(2)? })
    };
    rows.iter().map(same).collect()
}

/// Remembers which bytes a job has imported last into its event. One that was stopped after it had changed the event
/// leaves none: what was imported before is not what is there any more. Nor does an event that was deleted meanwhile.
///
/// # Errors
/// Where the database is out of reach.
pub async fn settle_bytes(tx: &mut Tx, report: &Report, now: Timestamp) -> Result<(), DbError> {
    let Some(event) = &report.event else { return Ok(()) };
    if !hold(tx, event.id).await? {
        return Ok(());
    }
    match (report.state, &report.archive.sha256) {
        (JobState::Succeeded | JobState::Partial, Some(sha256)) => {
            let args = [(&report.account).into(), event.id.into(), sha256.into(), report.job.into(), now.into()];
            tx.execute(&REMEMBER_HASH, &args).await.map(drop)
        }
        (JobState::Succeeded | JobState::Partial, None) | (JobState::Failed | JobState::Cancelled, _) => {
            tx.execute(&FORGET_HASH, &[(&report.account).into(), event.id.into()]).await.map(drop)
        }
        (JobState::Duplicate | JobState::Queued | JobState::Running | JobState::Blocked | JobState::Paused, _) => {
            Ok(())
        }
    }
}

/// Makes an account the owner of an event; the account becomes a user where it is none yet.
///
/// # Errors
/// Where the database is out of reach.
pub async fn add_owner(
    tx: &mut Tx,
    event_id: i64,
    account: &str,
    email: Option<&str>,
    name: Option<&str>,
    now: Timestamp,
) -> Result<(), DbError> {
    if tx.fetch_optional(&USER, &[account.into()]).await?.is_none() {
        let id = super::records::take_ids(tx, "users", 1).await?;
        let args = [id.into(), account.into(), email.into(), name.into(), now.into()];
        tx.execute(&INSERT_USER, &args).await?;
    }
    if let Some(user) = tx.fetch_optional(&USER, &[account.into()]).await? {
        let args = [event_id.into(), user.get::<i64>(0)?.into(), "owner".into(), now.into()];
        tx.execute(&ADD_ROLE, &args).await?;
    }
    Ok(())
}

/// The accounts that own an event.
///
/// # Errors
/// Where the database is out of reach.
pub async fn owners(database: &Database, event_id: i64) -> Result<Vec<String>, DbError> {
    database.fetch_all(&OWNERS, &[event_id.into()]).await?.iter().map(|row| row.get(0)).collect()
}

fn count_sql(dataset: Dataset) -> Sql {
    let table = dataset.definition().table;
    Sql::built(
        "count the records of an event",
        format!("SELECT count(*), count(gone_at) FROM {table} WHERE event_id = $1"),
    )
}

/// How many records of each dataset an event has, and how many of them are gone.
///
/// # Errors
/// Where the database is out of reach.
pub async fn record_counts(database: &Database, event_id: i64) -> Result<Vec<(Dataset, u64, u64)>, DbError> {
    let mut counts = Vec::new();
    for dataset in Dataset::ALL.into_iter().filter(|dataset| *dataset != Dataset::Event) {
        if let Some(row) = database.fetch_optional(&count_sql(dataset), &[event_id.into()]).await? {
            counts.push((dataset, row.count(0)?, row.count(1)?));
        }
    }
    Ok(counts)
}

/// What deletes some of an event, children before what they hang on.
fn deletions() -> Vec<Sql> {
    let both = deletions_in(Backend::Sqlite).into_iter().zip(deletions_in(Backend::Postgres));
    both.map(|(sqlite, postgres)| Sql::built_per("delete an event", sqlite, postgres)).collect()
}

/// A page of records goes after what hangs on these, and the next page is found at once in the index of their ids in the
/// archive: none of the statements reads more than a page, however large the event is.
fn deletions_in(backend: Backend) -> Vec<String> {
    let some = |table: &str, key: &str, within: &str| {
        format!("DELETE FROM {table} WHERE ({key}) IN (SELECT {key} FROM {table} WHERE {within} LIMIT $2)")
    };
    // PostgreSQL looks up what is in an array; with a subquery it would join the whole table.
    let among = |select: &str| match backend {
        Backend::Sqlite => format!("IN ({select})"),
        Backend::Postgres => format!("= ANY (ARRAY({select}))"),
    };
    // Rows that only imports write, which the lock keeps away, stay where they are found.
    let some_of_page = |table: &str, key: &str, within: &str, page: &str| {
        let key = if backend == Backend::Postgres { "ctid" } else { key };
        let found = format!("SELECT {key} FROM {table} WHERE {within} {} LIMIT $2", among(page));
        format!("DELETE FROM {table} WHERE ({key}) {}", among(&found))
    };
    let media_of = |dataset: Dataset, page: &str| {
        some_of_page("media", "dataset, record_id, field", &format!("dataset = '{dataset}' AND record_id"), page)
    };
    let of_event = "event_id = $1";
    let reference = "event_id, target_dataset, target_source_id, dataset, record_id, field";
    let mut all = vec![
        // Before everything else: what is half deleted is not what these bytes were imported into.
        some("import_hashes", "account, event_id", of_event),
        some("unresolved_references", reference, of_event),
        media_of(Dataset::Event, "SELECT id FROM events WHERE id = $1"),
    ];
    for dataset in Dataset::ALL.into_iter().rev().filter(|dataset| *dataset != Dataset::Event) {
        let table = dataset.definition().table;
        let page = format!("SELECT id FROM {table} WHERE {of_event} ORDER BY source_id LIMIT $2");
        if dataset == Dataset::Sessions {
            all.push(some_of_page("session_speakers", "session_id, speaker_id", "session_id", &page));
        }
        all.push(media_of(dataset, &page));
        all.push(format!("DELETE FROM {table} WHERE id {}", among(&page)));
    }
    all.extend([
        some("export_sessions", "event_id, session_id", of_event),
        some("export_runs", "event_id, scope", of_event),
        some("export_folders", "event_id", of_event),
        some("event_roles", "event_id, user_id, role", of_event),
        some("events", "id", "id = $1"),
    ]);
    all
}

/// Deletes up to `limit` rows of what hangs on an event, and at last the event; says whether anything is left.
///
/// # Errors
/// Where the database is out of reach.
pub async fn delete_some(tx: &mut Tx, event_id: i64, limit: i64) -> Result<bool, DbError> {
    tx.fetch_optional(&LOCK, &[event_id.into()]).await?;
    for sql in deletions() {
        if tx.execute(&sql, &[Arg::from(event_id), Arg::from(limit)]).await? > 0 {
            return Ok(true);
        }
    }
    Ok(false)
}
