//! Reads an event's programme out of one snapshot of the tables.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::vec;

use chrono_tz::Tz;
use tokio::runtime::Handle;
use unicode_normalization::UnicodeNormalization;
use uuid::Uuid;

use super::program::{
    Event, Link, NoteCode, Notes, Order, Privacy, Programme, ReadError, Room, Selection, Session, SessionKind, Source,
    Speaker, SpeakerName, Sponsor, Stream, Track, Which,
};
use crate::db::{DbError, Tx};
use crate::format::record::digest_of;
use crate::storage::hex;
use crate::store::programme::{
    self as store, EventHead, Flag, InRoom, Listed, ListedBy, SessionList, SessionRow, SpeakerRow,
};
use crate::store::remembered::Observed;

/// Sessions, or speakers, that are read at once.
const PAGE: usize = 200;

/// Characters of an event's name in the name of its folder.
const SLUG: usize = 60;

/// A programme in one snapshot. Only for threads that may block: every page is waited for.
pub(crate) struct DatabaseSource {
    runtime: Handle,
    tx: RefCell<Tx>,
    programme: Programme,
    event: i64,
    places: Places,
    salt: Uuid,
}

/// Where rooms, tracks and types stand in the programme, by their ids here.
struct Places {
    rooms: HashMap<i64, usize>,
    tracks: HashMap<i64, usize>,
    kinds: HashMap<i64, usize>,
}

impl DatabaseSource {
    /// Reads the head of an event.
    ///
    /// # Errors
    /// Where the database is out of reach.
    pub(crate) async fn open(
        mut tx: Tx,
        head: &EventHead,
        salt: Uuid,
        privacy: Privacy,
        notes: &mut Notes,
    ) -> Result<Self, DbError> {
        let event = head.id;
        let rooms: Vec<Room> = (store::rooms(&mut tx, event).await?.into_iter())
            .map(|room| Room {
                uuid: uuid_of(salt, event, "room", &room.source_id),
                id: room.id,
                name: room.name.unwrap_or_default(),
            })
            .collect();
        let tracks: Vec<Track> = (store::tracks(&mut tx, event).await?.into_iter())
            .map(|track| Track {
                uuid: uuid_of(salt, event, "track", &track.source_id),
                id: track.id,
                name: track.name.unwrap_or_default(),
                color: track.color.as_deref().and_then(color),
            })
            .collect();
        let kinds: Vec<SessionKind> = (store::kinds(&mut tx, event).await?.into_iter())
            .map(|(id, name, minutes)| SessionKind { id, name: name.unwrap_or_default(), minutes })
            .collect();
        let links = store::links(&mut tx, event).await?.into_iter().filter_map(|(name, url)| {
            let url = web_link(url.as_deref())?;
            Some(Link { name: name.filter(|name| !name.is_empty()).unwrap_or_else(|| url.clone()), url })
        });
        let sponsors = (store::sponsors(&mut tx, event).await?.into_iter()).map(|(name, url, kind)| Sponsor {
            name: name.unwrap_or_default(),
            url: web_link(url.as_deref()),
            kind,
        });
        let places = Places {
            rooms: rooms.iter().enumerate().map(|(index, room)| (room.id, index)).collect(),
            tracks: tracks.iter().enumerate().map(|(index, track)| (track.id, index)).collect(),
            kinds: kinds.iter().enumerate().map(|(index, kind)| (kind.id, index)).collect(),
        };
        let programme = Programme {
            event: event_of(head, salt),
            zone: zone_of(head, notes),
            rooms,
            tracks,
            kinds,
            links: links.collect(),
            sponsors: sponsors.collect(),
            changed_at: store::changed_at(&mut tx, event).await?.unwrap_or_default(),
            privacy,
        };
        Ok(Self { runtime: Handle::current(), tx: RefCell::new(tx), programme, event, places, salt })
    }

    /// Gives the snapshot back.
    pub(crate) fn into_snapshot(self) -> Tx {
        self.tx.into_inner()
    }

    fn ids(&self, list: &SessionList) -> Result<Vec<i64>, ReadError> {
        let mut tx = self.tx.borrow_mut();
        Ok(self.runtime.block_on(store::session_ids(&mut tx, self.event, list))?)
    }

    fn list_of(&self, selection: &Selection, room: InRoom) -> SessionList {
        SessionList {
            listed: match selection.which {
                Which::All => Listed::All,
                Which::Scheduled => Listed::Scheduled,
                Which::Unscheduled => Listed::Unscheduled,
            },
            starts_in: selection.starts_in.as_ref().map(|range| (range.start, range.end)),
            room,
            track: selection.track.map(|track| self.programme.tracks[track].id),
            by: match selection.order {
                Order::Start | Order::Room => ListedBy::Start,
                Order::Id => ListedBy::Id,
            },
        }
    }

    /// The lists that make up a selection, one after the other.
    fn lists(&self, selection: &Selection) -> Vec<SessionList> {
        let one = |index: usize| InRoom::One(self.programme.rooms[index].id);
        let rooms: Vec<InRoom> = match (selection.room, selection.order) {
            (Some(Some(room)), _) => vec![one(room)],
            (Some(None), _) => vec![InRoom::None],
            (None, Order::Room) => (0..self.programme.rooms.len()).map(one).chain([InRoom::None]).collect(),
            (None, Order::Start | Order::Id) => vec![InRoom::Any],
        };
        rooms.into_iter().map(|room| self.list_of(selection, room)).collect()
    }

    fn page(&self, ids: &[i64]) -> Result<Vec<Session>, ReadError> {
        let mut tx = self.tx.borrow_mut();
        let rows = self.runtime.block_on(store::sessions(&mut tx, ids))?;
        let mut by_id: HashMap<i64, SessionRow> = rows.into_iter().map(|row| (row.id, row)).collect();
        Ok(ids.iter().filter_map(|id| by_id.remove(id)).map(|row| self.session(row)).collect())
    }

    fn session(&self, row: SessionRow) -> Session {
        let is_private = self.programme.privacy == Privacy::Private;
        let speakers = (row.speakers.into_iter())
            .map(|(id, source_id, name, organisation)| SpeakerName {
                uuid: uuid_of(self.salt, self.event, "speaker", &source_id),
                id,
                name: name.unwrap_or_default(),
                organisation: said(organisation),
            })
            .collect();
        let mut session = Session {
            uuid: uuid_of(self.salt, self.event, "session", &row.source_id),
            id: row.id,
            source_id: row.source_id,
            title: row.title.unwrap_or_default(),
            subtitle: said(row.subtitle),
            short_abstract: said(row.short_abstract),
            long_abstract: said(row.long_abstract),
            starts_at: row.starts_at,
            ends_at: row.ends_at,
            room: row.room.and_then(|id| self.places.rooms.get(&id).copied()),
            track: row.track.and_then(|id| self.places.tracks.get(&id).copied()),
            kind: row.kind.and_then(|id| self.places.kinds.get(&id).copied()),
            language: said(row.language),
            level: said(row.level),
            state: said(row.state),
            comments: said(row.comments).filter(|_| is_private),
            slides_url: web_link(row.slides_url.as_deref()),
            audio_url: web_link(row.audio_url.as_deref()),
            video_url: web_link(row.video_url.as_deref()),
            signup_url: web_link(row.signup_url.as_deref()),
            speakers,
            sequence: 0,
            created_at: row.created_at,
            updated_at: row.updated_at,
        };
        session.sequence = match (row.sequence, row.digest) {
            (Some(sequence), Some(digest)) if digest == calendar_digest(&self.programme, &session) => sequence,
            (Some(sequence), _) => sequence.saturating_add(1),
            (None, _) => 0,
        };
        session
    }

    fn speaker_page(&self, after: i64) -> Result<Vec<Speaker>, ReadError> {
        let mut tx = self.tx.borrow_mut();
        let rows = self.runtime.block_on(store::speakers(&mut tx, self.event, after, PAGE as i64))?;
        Ok(rows.into_iter().map(|row| self.speaker(row)).collect())
    }

    fn speaker(&self, row: SpeakerRow) -> Speaker {
        let is_private = self.programme.privacy == Privacy::Private;
        let links = [
            ("website", row.website),
            ("twitter", row.twitter),
            ("facebook", row.facebook),
            ("github", row.github),
            ("linkedin", row.linkedin),
            ("instagram", row.instagram),
            ("mastodon", row.mastodon),
        ];
        let links = links
            .into_iter()
            .filter_map(|(name, url)| Some(Link { name: name.to_owned(), url: web_link(url.as_deref())? }));
        Speaker {
            who: SpeakerName {
                uuid: uuid_of(self.salt, self.event, "speaker", &row.source_id),
                id: row.id,
                name: row.name.unwrap_or_default(),
                organisation: said(row.organisation),
            },
            source_id: row.source_id,
            position: said(row.position),
            country: said(row.country),
            city: said(row.city),
            short_biography: said(row.short_biography),
            long_biography: said(row.long_biography),
            photo_url: web_link(row.photo_url.as_deref()),
            links: links.collect(),
            is_featured: row.is_featured.is_some_and(Flag::is_set),
            email: said(row.email).filter(|_| is_private),
            mobile: said(row.mobile).filter(|_| is_private),
            address: said(row.address).filter(|_| is_private),
            updated_at: row.updated_at,
        }
    }

    /// What calendars are about to be shown of each session that takes place, where it differs from what they were shown
    /// last: those they have not seen, then those that have changed. Gives back the ids of all that are shown.
    ///
    /// # Errors
    /// Where the database is out of reach.
    pub(crate) fn observe(
        &self,
        mut note: impl FnMut(&[Observed], &[Observed]) -> Result<(), ReadError>,
    ) -> Result<Vec<i64>, ReadError> {
        let selection = Selection { order: Order::Id, ..Selection::SCHEDULED };
        let shown = self.ids(&self.list_of(&selection, InRoom::Any))?;
        for ids in shown.chunks(PAGE) {
            let (mut new, mut changed) = (Vec::new(), Vec::new());
            let rows = {
                let mut tx = self.tx.borrow_mut();
                self.runtime.block_on(store::sessions(&mut tx, ids))?
            };
            for row in rows {
                let stored = row.digest.clone();
                let session = self.session(row);
                let digest = calendar_digest(&self.programme, &session);
                let observed = || Observed {
                    session: session.id,
                    sequence: session.sequence,
                    digest: digest.clone(),
                    place: place_of(&self.programme, &session),
                    title: session.title.clone(),
                };
                match stored {
                    None => new.push(observed()),
                    Some(stored) if stored != digest => changed.push(observed()),
                    Some(_) => {}
                }
            }
            note(&new, &changed)?;
        }
        Ok(shown)
    }
}

impl From<DbError> for ReadError {
    fn from(error: DbError) -> Self {
        Self(error.to_string())
    }
}

impl Source for DatabaseSource {
    fn programme(&self) -> &Programme {
        &self.programme
    }

    fn sessions(&self, selection: &Selection) -> Stream<'_, Session> {
        let lists = self.lists(selection).into_iter();
        Box::new(Sessions { source: self, lists, ids: Vec::new().into_iter(), page: Vec::new().into_iter() })
    }

    fn speakers(&self) -> Stream<'_, Speaker> {
        Box::new(Speakers { source: self, after: Some(0), page: Vec::new().into_iter() })
    }
}

struct Sessions<'a> {
    source: &'a DatabaseSource,
    lists: vec::IntoIter<SessionList>,
    ids: vec::IntoIter<i64>,
    page: vec::IntoIter<Session>,
}

impl Iterator for Sessions<'_> {
    type Item = Result<Session, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(session) = self.page.next() {
                return Some(Ok(session));
            }
            let ids: Vec<i64> = self.ids.by_ref().take(PAGE).collect();
            let more = if ids.is_empty() {
                let list = self.lists.next()?;
                self.source.ids(&list).map(|ids| self.ids = ids.into_iter())
            } else {
                self.source.page(&ids).map(|page| self.page = page.into_iter())
            };
            if let Err(error) = more {
                self.lists = Vec::new().into_iter();
                self.ids = Vec::new().into_iter();
                return Some(Err(error));
            }
        }
    }
}

struct Speakers<'a> {
    source: &'a DatabaseSource,
    after: Option<i64>,
    page: vec::IntoIter<Speaker>,
}

impl Iterator for Speakers<'_> {
    type Item = Result<Speaker, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(speaker) = self.page.next() {
            return Some(Ok(speaker));
        }
        match self.source.speaker_page(self.after?) {
            Ok(page) => {
                self.after = page.last().map(|speaker| speaker.who.id);
                self.page = page.into_iter();
                self.page.next().map(Ok)
            }
            Err(error) => {
                self.after = None;
                Some(Err(error))
            }
        }
    }
}

/// Names something for ever: by what it is in its event's archive, never by what it is called.
fn uuid_of(salt: Uuid, event: i64, what: &str, source_id: &str) -> Uuid {
    Uuid::new_v5(&salt, format!("event {event} {what} {source_id}").as_bytes())
}

/// Everything of a session that a calendar shows, but its sequence.
fn calendar_digest(programme: &Programme, session: &Session) -> String {
    let mut text = place_of(programme, session);
    let track = session.track.map_or("", |track| &programme.tracks[track].name);
    let kind = session.kind.map_or("", |kind| &programme.kinds[kind].name);
    let texts = [
        Some(session.title.as_str()),
        session.subtitle.as_deref(),
        session.short_abstract.as_deref(),
        session.long_abstract.as_deref(),
        Some(track),
        Some(kind),
        session.language.as_deref(),
        session.slides_url.as_deref(),
        session.audio_url.as_deref(),
        session.video_url.as_deref(),
        session.signup_url.as_deref(),
    ];
    let names = session.speakers.iter().map(|speaker| Some(speaker.name.as_str()));
    for part in texts.into_iter().chain(names) {
        // Writing to a `String` cannot fail. The length keeps what one part ends with from beginning the next.
        let _ = write!(text, "\n{} {}", part.map_or(0, str::len), part.unwrap_or_default());
    }
    hex(&digest_of(&text))
}

/// When and where a session is, as people read it.
fn place_of(programme: &Programme, session: &Session) -> String {
    let Some(span) = session.span(programme) else { return String::new() };
    let (start, end) = (span.start.with_timezone(&programme.zone), span.end.with_timezone(&programme.zone));
    let room = session.room.map(|room| programme.rooms[room].name.as_str()).filter(|name| !name.is_empty());
    let day = start.format("%Y-%m-%d %H:%M");
    match room {
        Some(room) => format!("{day} to {}, {room}", end.format("%H:%M")),
        None => format!("{day} to {}", end.format("%H:%M")),
    }
}

fn zone_of(head: &EventHead, notes: &mut Notes) -> Tz {
    let zone = head.timezone.as_deref().and_then(|name| name.parse().ok());
    zone.unwrap_or_else(|| {
        let detail = head.timezone.as_deref().unwrap_or("none is given");
        notes.add(NoteCode::EventWithoutZone, None, head.name.as_deref().unwrap_or_default(), detail);
        Tz::UTC
    })
}

fn event_of(head: &EventHead, salt: Uuid) -> Event {
    let text = |column: &str| {
        let index = store::HEAD_TEXTS.iter().position(|name| *name == column)?;
        said(head.texts.get(index)?.clone())
    };
    let link = |column: &str| web_link(text(column).as_deref());
    Event {
        uuid: uuid_of(salt, head.id, "event", ""),
        slug: slug(head),
        name: head.name.clone().unwrap_or_default(),
        starts_at: head.starts_at,
        ends_at: head.ends_at,
        location: text("location_name"),
        description: text("description"),
        owner_name: text("owner_name"),
        owner_description: text("owner_description"),
        image_url: link("original_image_url"),
        logo_url: link("logo_url"),
        url: link("external_event_url"),
        ticket_url: link("ticket_url"),
        code_of_conduct: text("code_of_conduct"),
    }
}

/// The name of an event as a folder: its name in plain letters, and its id, which no other event has.
pub(crate) fn slug(head: &EventHead) -> String {
    let mut slug = String::new();
    for character in head.name.as_deref().unwrap_or_default().nfkd().filter(|c| !is_mark(*c)) {
        if slug.len() >= SLUG {
            break;
        }
        let character = character.to_ascii_lowercase();
        if character.is_ascii_alphanumeric() {
            slug.push(character);
        } else if !slug.ends_with('-') && !slug.is_empty() {
            slug.push('-');
        }
    }
    let name = slug.trim_end_matches('-');
    if name.is_empty() { format!("event-{}", head.id) } else { format!("{name}-{}", head.id) }
}

fn is_mark(character: char) -> bool {
    unicode_normalization::char::is_combining_mark(character)
}

/// A text that says something.
fn said(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.trim().is_empty())
}

/// A link that a page may carry; a path within an archive is none.
fn web_link(text: Option<&str>) -> Option<String> {
    let text = text?.trim();
    let is_web = ["http://", "https://"].iter().any(|scheme| {
        text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)) && text.len() > scheme.len()
    });
    (is_web && !text.chars().any(|character| character.is_whitespace() || character.is_control()))
        .then(|| text.to_owned())
}

/// `#rrggbb` out of `#rgb`, `rrggbb` and their like.
fn color(text: &str) -> Option<String> {
    let digits = text.trim().trim_start_matches('#').to_ascii_lowercase();
    if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    match digits.len() {
        6 => Some(format!("#{digits}")),
        3 => Some(digits.chars().fold(String::from("#"), |text, digit| text + &digit.to_string().repeat(2))),
        _ => None,
    }
}
