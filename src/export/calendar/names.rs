//! The names of an event, its rooms and its tracks as all calendar formats show them.

use std::collections::HashSet;

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;
use uuid::Uuid;

use crate::export::calendar::text::{self, About};
use crate::export::program::{NoteCode, Notes, Programme, Session};

/// Names that are ready to be shown.
#[derive(Debug)]
pub(super) struct Names {
    /// The event's name.
    pub(super) title: String,
    /// The event's name in addresses: at least four small letters, digits and underscores.
    pub(super) acronym: String,
    /// Where the event is.
    pub(super) place: Option<String>,
    /// The event's page.
    pub(super) page: Option<String>,
    /// Rooms, by index; no two are the same.
    pub(super) rooms: Vec<String>,
    /// What stands for the room of sessions that have none.
    pub(super) no_room: String,
    /// Tracks, by index.
    pub(super) tracks: Vec<String>,
    /// Types of sessions, by index.
    pub(super) kinds: Vec<String>,
}

impl Names {
    /// The name of a session's room, or what stands for it.
    pub(super) fn room(&self, session: &Session) -> &str {
        session.room.map_or(&self.no_room, |room| &self.rooms[room])
    }

    /// The name of a session's track.
    pub(super) fn track(&self, session: &Session) -> Option<&str> {
        session.track.map(|track| self.tracks[track].as_str())
    }

    /// The name of a session's type.
    pub(super) fn kind(&self, session: &Session) -> Option<&str> {
        session.kind.map(|kind| self.kinds[kind].as_str()).filter(|name| !name.is_empty())
    }
}

/// Makes the names, and notes what had to be changed.
pub(super) fn names(programme: &Programme, notes: &mut Notes) -> Names {
    let event = &programme.event;
    let mut about = About { source_id: None, title: &event.name, notes };
    let title = text::name(&mut about, "name of the event", &event.name, || acronym(&event.slug));
    let page = text::link(&mut about, "page of the event", event.url.as_deref());
    let place = text::optional_line(&mut about, "location of the event", event.location.as_deref());
    let mut taken = HashSet::new();
    let mut rooms = Vec::with_capacity(programme.rooms.len());
    for room in &programme.rooms {
        let mut about = About { source_id: None, title: &room.name, notes };
        let name = text::name(&mut about, "name of a room", &room.name, || format!("Room {}", room.id));
        let own = untaken(&name, &mut taken);
        if own != name {
            about.note(NoteCode::NameGiven, format_args!("`{own}`: two rooms have this name"));
        }
        rooms.push(own);
    }
    let no_room = untaken(NO_ROOM, &mut taken);
    let mut tracks = Vec::with_capacity(programme.tracks.len());
    for track in &programme.tracks {
        let mut about = About { source_id: None, title: &track.name, notes };
        tracks.push(text::name(&mut about, "name of a track", &track.name, || format!("Track {}", track.id)));
    }
    let mut kinds = Vec::with_capacity(programme.kinds.len());
    for kind in &programme.kinds {
        let mut about = About { source_id: None, title: &kind.name, notes };
        kinds.push(text::line(&mut about, "name of a type", &kind.name));
    }
    Names { title, acronym: acronym(&event.slug), place, page, rooms, no_room, tracks, kinds }
}

const NO_ROOM: &str = "No room yet";

/// Characters of a session's title that go into its name in addresses.
const SLUG_LENGTH: usize = 60;

/// The id that stands for the room of an event's sessions that have none.
pub(super) fn no_room_uuid(event: Uuid) -> Uuid {
    Uuid::new_v5(&event, b"no room")
}

/// The name of a session in addresses: the event's, the id and the title. No two are the same.
pub(super) fn session_slug(acronym: &str, id: i64, title: &str) -> String {
    let title = slug(title).unwrap_or_default();
    let title = title.get(..SLUG_LENGTH).map_or(title.as_str(), |cut| cut.rsplit_once('-').map_or(cut, |(cut, _)| cut));
    let title = if title.is_empty() { "session" } else { title };
    // The schema wants four characters or more after the event's name.
    let more = if title.len() < 4 { "-session" } else { "" };
    format!("{acronym}-{id}-{title}{more}")
}

/// The name of a room in addresses.
pub(super) fn room_slug(name: &str, id: i64) -> String {
    slug(name).filter(|slug| slug.len() > 1).unwrap_or_else(|| format!("room-{id}"))
}

/// The name of a track in addresses; it begins with a letter.
pub(super) fn track_slug(name: &str, id: i64) -> String {
    match slug(name) {
        Some(slug) if slug.len() > 1 && slug.starts_with(|first: char| first.is_ascii_lowercase()) => slug,
        Some(slug) => format!("track-{slug}"),
        None => format!("track-{id}"),
    }
}

/// Small letters and digits with dashes between words; none where nothing is left.
fn slug(text: &str) -> Option<String> {
    let mut slug = String::new();
    for character in text.nfkd().filter(|character| !is_combining_mark(*character)) {
        match character {
            'ß' => slug.push_str("ss"),
            'æ' | 'Æ' => slug.push_str("ae"),
            'ø' | 'Ø' => slug.push('o'),
            'ł' | 'Ł' => slug.push('l'),
            '\'' | '’' => {}
            _ if character.is_ascii_alphanumeric() => slug.push(character.to_ascii_lowercase()),
            _ if slug.is_empty() || slug.ends_with('-') => {}
            _ => slug.push('-'),
        }
    }
    slug.truncate(slug.trim_end_matches('-').len());
    (!slug.is_empty()).then_some(slug)
}

fn acronym(event_slug: &str) -> String {
    let acronym = slug(event_slug).unwrap_or_default().replace('-', "_");
    match acronym.len() {
        0 => "event".to_owned(),
        1..=3 => format!("{acronym}_event"),
        _ => acronym,
    }
}

/// The name, or the name with a number, and takes it.
fn untaken(name: &str, taken: &mut HashSet<String>) -> String {
    let mut own = name.to_owned();
    let mut number = 1;
    while !taken.insert(own.clone()) {
        number += 1;
        own = format!("{name} ({number})");
    }
    own
}
