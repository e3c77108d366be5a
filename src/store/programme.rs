//! An event as exports show it: its head, its sessions and speakers in pages.
//!
//! Pages are one JSON text each: reading row by row costs more than everything else of an export.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::clock::Timestamp;
use crate::db::{Arg, DbError, Sql, Tx};

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
    if let Some(row) = tx.fetch_optional(&COUNTS, &[event.into()]).await? {
        (counts.sessions, counts.accepted, counts.scheduled) = (row.count(0)?, row.count(1)?, row.count(2)?);
    }
    if let Some(row) = tx.fetch_optional(&SPEAKER_COUNT, &[event.into()]).await? {
        counts.speakers = row.count(0)?;
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
