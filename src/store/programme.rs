//! An event as exports show it: its head, its sessions and speakers in pages, and what was exported of it before.
//!
//! Pages are one JSON text each: reading row by row costs more than everything else of an export.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::clock::Timestamp;
use crate::db::{Arg, BulkTable, Column, ColumnType, Database, DbError, Sql, Tx};
use crate::model::JobId;

/// The event itself.
#[derive(Clone, Debug)]
pub struct EventHead {
    /// Its id here.
    pub id: i64,
    /// Whose it is.
    pub account: String,
    /// Its id in the archive.
    pub source_id: String,
    /// Its identifier in the archive.
    pub identifier: Option<String>,
    /// `published`, `draft` …
    pub state: Option<String>,
    /// Its name.
    pub name: Option<String>,
    /// When it begins.
    pub starts_at: Option<Timestamp>,
    /// When it ends.
    pub ends_at: Option<Timestamp>,
    /// Its zone, by its IANA name.
    pub timezone: Option<String>,
    /// Texts and links, in the order of [`HEAD_TEXTS`].
    pub texts: Vec<Option<String>>,
}

/// The columns of [`EventHead::texts`].
pub const HEAD_TEXTS: [&str; 9] = [
    "location_name",
    "description",
    "owner_name",
    "owner_description",
    "original_image_url",
    "logo_url",
    "external_event_url",
    "ticket_url",
    "code_of_conduct",
];

const HEADS: Sql = Sql::same(
    "read the heads of events",
    "SELECT id, account, source_id, identifier, state, name, starts_at, ends_at, timezone, location_name, description, \
     owner_name, owner_description, original_image_url, logo_url, external_event_url, ticket_url, code_of_conduct \
     FROM events WHERE gone_at IS NULL AND account = coalesce($1, account) AND id = coalesce($2, id) ORDER BY id",
);

macro_rules! accepted {
    ($table:literal) => {
        concat!("coalesce(lower(trim(", $table, ".state)), '') IN ('', 'accepted', 'confirmed')")
    };
}

macro_rules! shown {
    ($table:literal, $foreign:literal) => {
        concat!(
            "o.event_id = $1 AND (o.gone_at IS NULL OR EXISTS (SELECT 1 FROM sessions AS s WHERE s.",
            $foreign,
            " = o.id AND s.gone_at IS NULL))"
        )
    };
}

const ROOMS: Sql = Sql::same(
    "read the rooms of an event",
    concat!(
        "SELECT o.id, o.source_id, o.name FROM microlocations AS o WHERE ",
        shown!("microlocations", "microlocation_id"),
        " ORDER BY coalesce(o.position, 1000000000), o.name, o.id"
    ),
);

const TRACKS: Sql = Sql::same(
    "read the tracks of an event",
    concat!(
        "SELECT o.id, o.source_id, o.name, o.color FROM tracks AS o WHERE ",
        shown!("tracks", "track_id"),
        " ORDER BY coalesce(o.position, 1000000000), o.name, o.id"
    ),
);

const KINDS: Sql = Sql::same(
    "read the session types of an event",
    concat!(
        "SELECT o.id, o.name, o.length_minutes FROM session_types AS o WHERE ",
        shown!("session_types", "session_type_id"),
        " ORDER BY coalesce(o.position, 1000000000), o.name, o.id"
    ),
);

const LINKS: Sql = Sql::same(
    "read the links of an event",
    "SELECT name, link FROM social_links WHERE event_id = $1 AND gone_at IS NULL ORDER BY id",
);

const SPONSORS: Sql = Sql::same(
    "read the sponsors of an event",
    "SELECT name, url, type FROM sponsors WHERE event_id = $1 AND gone_at IS NULL ORDER BY level NULLS LAST, name NULLS LAST, id",
);

const CHANGED_AT: Sql = Sql::same(
    "look when an event was changed",
    "SELECT max(at) FROM (SELECT max(updated_at) AS at FROM events WHERE id = $1 \
     UNION ALL SELECT max(updated_at) FROM sessions WHERE event_id = $1 \
     UNION ALL SELECT max(updated_at) FROM speakers WHERE event_id = $1 \
     UNION ALL SELECT max(updated_at) FROM microlocations WHERE event_id = $1 \
     UNION ALL SELECT max(updated_at) FROM tracks WHERE event_id = $1 \
     UNION ALL SELECT max(updated_at) FROM session_types WHERE event_id = $1 \
     UNION ALL SELECT max(updated_at) FROM sponsors WHERE event_id = $1 \
     UNION ALL SELECT max(updated_at) FROM social_links WHERE event_id = $1) AS changes",
);

const COUNTS: Sql = Sql::same(
    "count the sessions of an event",
    concat!(
        "SELECT count(*), count(CASE WHEN ",
        accepted!("s"),
        " THEN 1 END), count(CASE WHEN ",
        accepted!("s"),
        " AND s.starts_at IS NOT NULL THEN 1 END) FROM sessions AS s WHERE s.event_id = $1 AND s.gone_at IS NULL"
    ),
);

const SPEAKER_COUNT: Sql = Sql::same(
    "count the speakers of an event",
    "SELECT count(*) FROM speakers WHERE event_id = $1 AND gone_at IS NULL",
);

macro_rules! session_columns {
    ($array:literal, $speakers:literal) => {
        concat!(
            $array,
            "(s.id, s.source_id, s.title, s.subtitle, s.short_abstract, s.long_abstract, s.starts_at, s.ends_at, \
             s.microlocation_id, s.track_id, s.session_type_id, s.language, s.level, s.state, s.comments, s.slides_url, \
             s.audio_url, s.video_url, s.signup_url, s.created_at, s.updated_at, e.sequence, e.digest, ",
            $speakers,
            ")"
        )
    };
}

const SESSIONS: Sql = Sql::per(
    "read sessions",
    concat!(
        "SELECT json_group_array(",
        session_columns!(
            "json_array",
            "json((SELECT json_group_array(json_array(id, source_id, name, organisation)) FROM (SELECT p.id, p.source_id, \
             p.name, p.organisation FROM session_speakers AS l JOIN speakers AS p ON p.id = l.speaker_id \
             WHERE l.session_id = s.id AND p.gone_at IS NULL ORDER BY p.id)))"
        ),
        ") FROM sessions AS s LEFT JOIN export_sessions AS e ON e.event_id = s.event_id AND e.session_id = s.id \
         WHERE s.id IN (SELECT value FROM json_each($1))"
    ),
    concat!(
        "SELECT coalesce(json_agg(",
        session_columns!(
            "json_build_array",
            "(SELECT coalesce(json_agg(json_build_array(p.id, p.source_id, p.name, p.organisation) ORDER BY p.id), '[]') \
             FROM session_speakers AS l JOIN speakers AS p ON p.id = l.speaker_id \
             WHERE l.session_id = s.id AND p.gone_at IS NULL)"
        ),
        "), '[]')::text FROM sessions AS s LEFT JOIN export_sessions AS e ON e.event_id = s.event_id \
         AND e.session_id = s.id WHERE s.id IN (SELECT json_array_elements_text($1::text::json)::bigint)"
    ),
);

macro_rules! speaker_columns {
    ($array:literal) => {
        concat!(
            $array,
            "(id, source_id, name, organisation, position, country, city, short_biography, long_biography, photo_url, \
             website, twitter, facebook, github, linkedin, instagram, mastodon, is_featured, email, mobile, address, \
             updated_at)"
        )
    };
}

const SPEAKERS: Sql = Sql::per(
    "read speakers",
    concat!(
        "SELECT json_group_array(",
        speaker_columns!("json_array"),
        ") FROM (SELECT * FROM speakers WHERE event_id = $1 AND gone_at IS NULL AND id > $2 ORDER BY id LIMIT $3)"
    ),
    concat!(
        "SELECT coalesce(json_agg(",
        speaker_columns!("json_build_array"),
        " ORDER BY id), '[]')::text FROM (SELECT * FROM speakers WHERE event_id = $1 AND gone_at IS NULL AND id > $2 \
         ORDER BY id LIMIT $3) AS page"
    ),
);

/// Which sessions are listed, by what is known of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listed {
    /// All that are not gone.
    All,
    /// Those that take place at a known time.
    Scheduled,
    /// Those that take place at a time that is not known.
    Unscheduled,
}

/// In which room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InRoom {
    /// In any, or none.
    Any,
    /// In this one.
    One(i64),
    /// In none.
    None,
}

/// In which order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListedBy {
    /// By begin, then by id.
    Start,
    /// By id.
    Id,
}

/// Which sessions are listed.
#[derive(Clone, Copy, Debug)]
pub struct SessionList {
    /// By what is known of them.
    pub listed: Listed,
    /// Only those that begin from the first instant on and before the second.
    pub starts_in: Option<(Timestamp, Timestamp)>,
    /// By their room.
    pub room: InRoom,
    /// Only those of this track.
    pub track: Option<i64>,
    /// In which order.
    pub by: ListedBy,
}

/// The statement for a list and its arguments behind the event's id.
fn list_statement(list: &SessionList) -> (Sql, Vec<Arg>) {
    let mut within = String::from("event_id = $1 AND gone_at IS NULL");
    let mut args = Vec::new();
    match list.listed {
        Listed::All => {}
        Listed::Scheduled => {
            within.push_str(concat!(" AND starts_at IS NOT NULL AND ", accepted!("sessions")));
        }
        Listed::Unscheduled => {
            within.push_str(concat!(" AND starts_at IS NULL AND ", accepted!("sessions")));
        }
    }
    if let Some((from, until)) = list.starts_in {
        within.push_str(" AND starts_at >= $2 AND starts_at < $3");
        args.extend([from.into(), until.into()]);
    }
    match list.room {
        InRoom::Any => {}
        InRoom::None => within.push_str(" AND microlocation_id IS NULL"),
        InRoom::One(room) => {
            args.push(room.into());
            within.push_str(&format!(" AND microlocation_id = ${}", args.len() + 1));
        }
    }
    if let Some(track) = list.track {
        args.push(track.into());
        within.push_str(&format!(" AND track_id = ${}", args.len() + 1));
    }
    let order = match list.by {
        ListedBy::Start => "starts_at NULLS LAST, id",
        ListedBy::Id => "id",
    };
    let sqlite = format!("SELECT json_group_array(id) FROM (SELECT id FROM sessions WHERE {within} ORDER BY {order})");
    let postgres = format!(
        "SELECT coalesce(json_agg(id ORDER BY {order}), '[]')::text FROM (SELECT id, starts_at FROM sessions \
         WHERE {within}) AS listed"
    );
    (Sql::built_per("list sessions", sqlite, postgres), args)
}

/// Every statement, for the test that prepares them.
pub fn statements() -> Vec<Sql> {
    let mut all =
        vec![HEADS, ROOMS, TRACKS, KINDS, LINKS, SPONSORS, CHANGED_AT, COUNTS, SPEAKER_COUNT, SESSIONS, SPEAKERS];
    all.extend([
        SALT,
        NEW_SALT,
        FOLDER,
        NEW_FOLDER,
        LAST_RUN,
        REMEMBER_RUN,
        CHANGE_SESSION,
        REMOVE_SESSIONS,
        CHANGES,
        NAMED,
    ]);
    let range = Some((Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH));
    for listed in [Listed::All, Listed::Scheduled, Listed::Unscheduled] {
        for starts_in in [None, range] {
            for room in [InRoom::Any, InRoom::One(1), InRoom::None] {
                for track in [None, Some(1)] {
                    for by in [ListedBy::Start, ListedBy::Id] {
                        all.push(list_statement(&SessionList { listed, starts_in, room, track, by }).0);
                    }
                }
            }
        }
    }
    all
}

/// Events that are not gone, of an account or of all, or the one of an id, by id.
///
/// # Errors
/// Where the database is out of reach.
pub async fn heads(tx: &mut Tx, account: Option<&str>, event: Option<i64>) -> Result<Vec<EventHead>, DbError> {
    let rows = tx.fetch_all(&HEADS, &[account.into(), event.into()]).await?;
    let head = |row: &crate::db::Row| {
        Ok(EventHead {
            id: row.get(0)?,
            account: row.get(1)?,
            source_id: row.get(2)?,
            identifier: row.get(3)?,
            state: row.get(4)?,
            name: row.get(5)?,
            starts_at: row.get(6)?,
            ends_at: row.get(7)?,
            timezone: row.get(8)?,
            texts: (0..HEAD_TEXTS.len()).map(|index| row.get(9 + index)).collect::<Result<_, _>>()?,
        })
    };
    rows.iter().map(head).collect()
}

/// A record that sessions refer to.
#[derive(Clone, Debug)]
pub struct Named {
    /// Its id here.
    pub id: i64,
    /// Its id in the archive.
    pub source_id: String,
    /// Its name.
    pub name: Option<String>,
    /// A track's colour.
    pub color: Option<String>,
}

/// A type of session: id, name, minutes.
pub type Kind = (i64, Option<String>, Option<i64>);

/// A link: name and address.
pub type NamedLink = (Option<String>, Option<String>);

/// A sponsor: name, page, type.
pub type SponsorRow = (Option<String>, Option<String>, Option<String>);

/// Rooms that are not gone or still referred to, as people list them.
///
/// # Errors
/// Where the database is out of reach.
pub async fn rooms(tx: &mut Tx, event: i64) -> Result<Vec<Named>, DbError> {
    let rows = tx.fetch_all(&ROOMS, &[event.into()]).await?;
    rows.iter()
        .map(|row| Ok(Named { id: row.get(0)?, source_id: row.get(1)?, name: row.get(2)?, color: None }))
        .collect()
}

/// Tracks that are not gone or still referred to, as people list them.
///
/// # Errors
/// Where the database is out of reach.
pub async fn tracks(tx: &mut Tx, event: i64) -> Result<Vec<Named>, DbError> {
    let rows = tx.fetch_all(&TRACKS, &[event.into()]).await?;
    let named = |row: &crate::db::Row| {
        Ok(Named { id: row.get(0)?, source_id: row.get(1)?, name: row.get(2)?, color: row.get(3)? })
    };
    rows.iter().map(named).collect()
}

/// Types of sessions that are not gone or still referred to, as people list them.
///
/// # Errors
/// Where the database is out of reach.
pub async fn kinds(tx: &mut Tx, event: i64) -> Result<Vec<Kind>, DbError> {
    let rows = tx.fetch_all(&KINDS, &[event.into()]).await?;
    rows.iter().map(|row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).collect()
}

/// The event's pages elsewhere.
///
/// # Errors
/// Where the database is out of reach.
pub async fn links(tx: &mut Tx, event: i64) -> Result<Vec<NamedLink>, DbError> {
    let rows = tx.fetch_all(&LINKS, &[event.into()]).await?;
    rows.iter().map(|row| Ok((row.get(0)?, row.get(1)?))).collect()
}

/// Sponsors by level and name.
///
/// # Errors
/// Where the database is out of reach.
pub async fn sponsors(tx: &mut Tx, event: i64) -> Result<Vec<SponsorRow>, DbError> {
    let rows = tx.fetch_all(&SPONSORS, &[event.into()]).await?;
    rows.iter().map(|row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).collect()
}

/// When anything of an event was last changed.
///
/// # Errors
/// Where the database is out of reach.
pub async fn changed_at(tx: &mut Tx, event: i64) -> Result<Option<Timestamp>, DbError> {
    tx.fetch_optional(&CHANGED_AT, &[event.into()]).await?.map_or(Ok(None), |row| row.get(0))
}

/// How many sessions and speakers an event has that are not gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Sessions.
    pub sessions: u64,
    /// Sessions that take place.
    pub accepted: u64,
    /// Sessions that take place at a known time.
    pub scheduled: u64,
    /// Speakers.
    pub speakers: u64,
}

/// Counts the sessions and speakers of an event.
///
/// # Errors
/// Where the database is out of reach.
pub async fn counts(tx: &mut Tx, event: i64) -> Result<Counts, DbError> {
    let mut counts = Counts::default();
    let count = |row: &crate::db::Row, column| row.get::<i64>(column).map(|count| u64::try_from(count).unwrap_or(0));
    if let Some(row) = tx.fetch_optional(&COUNTS, &[event.into()]).await? {
        (counts.sessions, counts.accepted, counts.scheduled) = (count(&row, 0)?, count(&row, 1)?, count(&row, 2)?);
    }
    if let Some(row) = tx.fetch_optional(&SPEAKER_COUNT, &[event.into()]).await? {
        counts.speakers = count(&row, 0)?;
    }
    Ok(counts)
}

/// The ids of sessions, in order.
///
/// # Errors
/// Where the database is out of reach.
pub async fn session_ids(tx: &mut Tx, event: i64, list: &SessionList) -> Result<Vec<i64>, DbError> {
    let (sql, rest) = list_statement(list);
    let mut args = vec![Arg::from(event)];
    args.extend(rest);
    json(tx, &sql, &args).await
}

/// A session as it is stored.
#[derive(Clone, Debug, Deserialize)]
pub struct SessionRow {
    /// Its id here.
    pub id: i64,
    /// Its id in the archive.
    pub source_id: String,
    /// Its title.
    pub title: Option<String>,
    /// Its subtitle.
    pub subtitle: Option<String>,
    /// About it.
    pub short_abstract: Option<String>,
    /// About it.
    pub long_abstract: Option<String>,
    /// Its begin.
    pub starts_at: Option<Timestamp>,
    /// Its end.
    pub ends_at: Option<Timestamp>,
    /// Its room.
    pub room: Option<i64>,
    /// Its track.
    pub track: Option<i64>,
    /// Its type.
    pub kind: Option<i64>,
    /// Its language.
    pub language: Option<String>,
    /// For whom.
    pub level: Option<String>,
    /// Whether it takes place.
    pub state: Option<String>,
    /// Private.
    pub comments: Option<String>,
    /// A path or a link.
    pub slides_url: Option<String>,
    /// A path or a link.
    pub audio_url: Option<String>,
    /// A path or a link.
    pub video_url: Option<String>,
    /// A link.
    pub signup_url: Option<String>,
    /// When the row was made.
    pub created_at: Timestamp,
    /// When the row was changed.
    pub updated_at: Timestamp,
    /// The sequence that was last exported.
    pub sequence: Option<u32>,
    /// The digest of what was last exported.
    pub digest: Option<String>,
    /// Its speakers that are not gone: id, source id, name, organisation.
    pub speakers: Vec<(i64, String, Option<String>, Option<String>)>,
}

/// Sessions by their ids, in no particular order.
///
/// # Errors
/// Where the database is out of reach.
pub async fn sessions(tx: &mut Tx, ids: &[i64]) -> Result<Vec<SessionRow>, DbError> {
    let list = serde_json::to_string(ids).unwrap_or_default();
    json(tx, &SESSIONS, &[list.into()]).await
}

/// A speaker as it is stored.
#[derive(Clone, Debug, Deserialize)]
pub struct SpeakerRow {
    /// Its id here.
    pub id: i64,
    /// Its id in the archive.
    pub source_id: String,
    /// Their name.
    pub name: Option<String>,
    /// Where they work.
    pub organisation: Option<String>,
    /// What they do there.
    pub position: Option<String>,
    /// Their country.
    pub country: Option<String>,
    /// Their city.
    pub city: Option<String>,
    /// About them.
    pub short_biography: Option<String>,
    /// About them.
    pub long_biography: Option<String>,
    /// A path or a link.
    pub photo_url: Option<String>,
    /// A link.
    pub website: Option<String>,
    /// A link or a name.
    pub twitter: Option<String>,
    /// A link or a name.
    pub facebook: Option<String>,
    /// A link or a name.
    pub github: Option<String>,
    /// A link or a name.
    pub linkedin: Option<String>,
    /// A link or a name.
    pub instagram: Option<String>,
    /// A link or a name.
    pub mastodon: Option<String>,
    /// Whether they are shown first.
    pub is_featured: Option<Flag>,
    /// Private.
    pub email: Option<String>,
    /// Private.
    pub mobile: Option<String>,
    /// Private.
    pub address: Option<String>,
    /// When the row was changed.
    pub updated_at: Timestamp,
}

/// True or false, as either database puts it into JSON.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(untagged)]
pub enum Flag {
    /// PostgreSQL's.
    Word(bool),
    /// SQLite's.
    Number(i64),
}

impl Flag {
    /// Whether it is set.
    pub fn is_set(self) -> bool {
        match self {
            Self::Word(word) => word,
            Self::Number(number) => number != 0,
        }
    }
}

/// The next speakers after an id, by id.
///
/// # Errors
/// Where the database is out of reach.
pub async fn speakers(tx: &mut Tx, event: i64, after: i64, limit: i64) -> Result<Vec<SpeakerRow>, DbError> {
    json(tx, &SPEAKERS, &[event.into(), after.into(), limit.into()]).await
}

async fn json<T: DeserializeOwned>(tx: &mut Tx, sql: &Sql, args: &[Arg]) -> Result<Vec<T>, DbError> {
    let Some(row) = tx.fetch_optional(sql, args).await? else { return Ok(Vec::new()) };
    let text: String = row.get(0)?;
    serde_json::from_str(&text).map_err(|error| DbError::unusable(sql.name(), error.to_string()))
}

const SALT: Sql = Sql::same("read the salt of this installation", "SELECT salt FROM installation WHERE id = 1");

const NEW_SALT: Sql = Sql::same(
    "make the salt of this installation",
    "INSERT INTO installation (id, salt, created_at) VALUES (1, $1, $2) ON CONFLICT DO NOTHING",
);

/// The salt of this installation; `fresh` becomes it where there is none yet.
///
/// # Errors
/// Where the database is out of reach.
pub async fn salt(database: &Database, fresh: uuid::Uuid, now: Timestamp) -> Result<uuid::Uuid, DbError> {
    let mut tx = database.begin().await?;
    tx.execute(&NEW_SALT, &[fresh.to_string().into(), now.into()]).await?;
    let row = tx.fetch_optional(&SALT, &[]).await?;
    tx.commit().await?;
    let text: String = row.map_or(Ok(String::new()), |row| row.get(0))?;
    text.parse().map_err(|error| DbError::unusable(SALT.name(), format!("`{text}` is no UUID: {error}")))
}

const FOLDER: Sql =
    Sql::same("read the export folder of an event", "SELECT folder FROM export_folders WHERE event_id = $1");

const NEW_FOLDER: Sql = Sql::same(
    "choose the export folder of an event",
    "INSERT INTO export_folders (event_id, folder) VALUES ($1, $2) ON CONFLICT (event_id) DO NOTHING",
);

/// The name of an event's export folder; `wanted` becomes it where none was chosen yet.
///
/// # Errors
/// Where the database is out of reach.
pub async fn folder_of(database: &Database, event: i64, wanted: &str) -> Result<String, DbError> {
    let mut tx = database.begin().await?;
    tx.execute(&NEW_FOLDER, &[event.into(), wanted.into()]).await?;
    let row = tx.fetch_optional(&FOLDER, &[event.into()]).await?;
    tx.commit().await?;
    row.map_or_else(|| Ok(wanted.to_owned()), |row| row.get(0))
}

const LAST_RUN: Sql = Sql::same(
    "read the last good export of an event",
    "SELECT observed_at, folder, job_id FROM export_runs WHERE event_id = $1 AND scope = $2",
);

const REMEMBER_RUN: Sql = Sql::same(
    "remember a good export of an event",
    "INSERT INTO export_runs (event_id, scope, job_id, observed_at, folder) VALUES ($1, $2, $3, $4, $5) \
     ON CONFLICT (event_id, scope) DO UPDATE SET job_id = excluded.job_id, observed_at = excluded.observed_at, \
     folder = excluded.folder",
);

/// When the sessions of an event were last looked at by a good export of this scope, where there was one.
///
/// # Errors
/// Where the database is out of reach.
pub async fn last_run(database: &Database, event: i64, scope: &str) -> Result<Option<Timestamp>, DbError> {
    let row = database.fetch_optional(&LAST_RUN, &[event.into(), scope.into()]).await?;
    row.map(|row| row.get(0)).transpose()
}

/// Remembers a good export.
///
/// # Errors
/// Where the database is out of reach.
pub async fn remember_run(
    tx: &mut Tx,
    event: i64,
    scope: &str,
    job: JobId,
    observed_at: Timestamp,
    folder: &str,
) -> Result<(), DbError> {
    let args = [event.into(), scope.into(), job.into(), observed_at.into(), folder.into()];
    tx.execute(&REMEMBER_RUN, &args).await.map(drop)
}

/// What calendars show of a session, as an export is about to show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// The session.
    pub session: i64,
    /// How often it has changed.
    pub sequence: u32,
    /// A digest of everything that calendars show.
    pub digest: String,
    /// When and where it is.
    pub place: String,
    /// Its title.
    pub title: String,
}

static OBSERVED: std::sync::LazyLock<BulkTable> = std::sync::LazyLock::new(|| {
    let column = |(name, kind): (&str, ColumnType)| Column { name: name.to_owned(), kind };
    let columns = [
        ("event_id", ColumnType::Int),
        ("session_id", ColumnType::Int),
        ("sequence", ColumnType::Int),
        ("digest", ColumnType::Text),
        ("place", ColumnType::Text),
        ("title", ColumnType::Text),
        ("added_at", ColumnType::Instant),
    ];
    BulkTable::new("export_sessions", columns.map(column).to_vec())
});

const CHANGE_SESSION: Sql = Sql::same(
    "note a changed session",
    "UPDATE export_sessions SET sequence = $3, digest = $4, title = $6, changed_at = $7, \
     moved_at = CASE WHEN place = $5 THEN moved_at ELSE $7 END, \
     added_at = CASE WHEN removed_at IS NULL THEN added_at ELSE $7 END, place = $5, removed_at = NULL \
     WHERE event_id = $1 AND session_id = $2",
);

const REMOVE_SESSIONS: Sql = Sql::per(
    "note sessions that no longer take place",
    "UPDATE export_sessions SET removed_at = $2, sequence = sequence + 1, digest = '' WHERE event_id = $1 \
     AND removed_at IS NULL AND session_id NOT IN (SELECT value FROM json_each($3))",
    "UPDATE export_sessions SET removed_at = $2, sequence = sequence + 1, digest = '' WHERE event_id = $1 \
     AND removed_at IS NULL AND session_id NOT IN (SELECT json_array_elements_text($3::text::json)::bigint)",
);

const CHANGES: Sql = Sql::same(
    "count what has changed since an export",
    "SELECT count(CASE WHEN removed_at IS NULL AND added_at > $2 THEN 1 END), \
     count(CASE WHEN removed_at IS NULL AND added_at <= $2 AND moved_at > $2 THEN 1 END), \
     count(CASE WHEN removed_at > $2 AND added_at <= $2 THEN 1 END), \
     count(CASE WHEN removed_at IS NULL AND added_at <= $2 AND changed_at > $2 AND (moved_at IS NULL OR moved_at <= $2) \
     THEN 1 END) FROM export_sessions WHERE event_id = $1",
);

const NAMED: Sql = Sql::same(
    "name what has changed since an export",
    "SELECT CASE WHEN removed_at > $2 THEN 'removed' WHEN added_at > $2 THEN 'added' ELSE 'moved' END, title, place \
     FROM export_sessions WHERE event_id = $1 AND ((removed_at IS NULL AND (added_at > $2 OR moved_at > $2)) \
     OR (removed_at > $2 AND added_at <= $2)) ORDER BY 1, title LIMIT $3",
);

/// Notes what an export is about to show: sessions that calendars have not seen, and those that have changed.
///
/// # Errors
/// Where the database is out of reach, or one of the new ones was noted already.
pub async fn note_sessions(
    tx: &mut Tx,
    event: i64,
    new: &[Observed],
    changed: &[Observed],
    now: Timestamp,
) -> Result<(), DbError> {
    let mut cells: Vec<Arg> = Vec::with_capacity(new.len() * 7);
    for session in new {
        cells.extend([
            event.into(),
            session.session.into(),
            i64::from(session.sequence).into(),
            Arg::from(&session.digest),
            Arg::from(&session.place),
            Arg::from(&session.title),
            now.into(),
        ]);
    }
    tx.insert_rows(&OBSERVED, cells.into_iter()).await?;
    for session in changed {
        let args = [
            event.into(),
            session.session.into(),
            i64::from(session.sequence).into(),
            Arg::from(&session.digest),
            Arg::from(&session.place),
            Arg::from(&session.title),
            now.into(),
        ];
        tx.execute(&CHANGE_SESSION, &args).await?;
    }
    Ok(())
}

/// Notes that of the sessions that calendars have seen only those that are `shown` now still take place.
///
/// # Errors
/// Where the database is out of reach.
pub async fn note_removed(tx: &mut Tx, event: i64, shown: &[i64], now: Timestamp) -> Result<(), DbError> {
    let shown = serde_json::to_string(shown).unwrap_or_default();
    tx.execute(&REMOVE_SESSIONS, &[event.into(), now.into(), shown.into()]).await.map(drop)
}

/// What has changed since an instant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Sessions that are new.
    pub added: u64,
    /// Sessions at another time or in another room.
    pub moved: u64,
    /// Sessions that no longer take place.
    pub removed: u64,
    /// Sessions of which something else has changed.
    pub changed: u64,
    /// The first of them: `added`, `moved` or `removed`, title, when and where.
    pub named: Vec<(String, String, String)>,
}

/// What has changed since an instant.
///
/// # Errors
/// Where the database is out of reach.
pub async fn changes_since(
    database: &Database,
    event: i64,
    since: Timestamp,
    named_at_most: i64,
) -> Result<Changes, DbError> {
    let mut changes = Changes::default();
    if let Some(row) = database.fetch_optional(&CHANGES, &[event.into(), since.into()]).await? {
        let count = |column| row.get::<i64>(column).map(|count| u64::try_from(count).unwrap_or(0));
        (changes.added, changes.moved, changes.removed, changes.changed) = (count(0)?, count(1)?, count(2)?, count(3)?);
    }
    for row in database.fetch_all(&NAMED, &[event.into(), since.into(), named_at_most.into()]).await? {
        changes.named.push((row.get(0)?, row.get(1)?, row.get(2)?));
    }
    Ok(changes)
}
