//! What `schedule.xml` and `schedule.json` say before the first session.

use chrono::NaiveDate;
use uuid::Uuid;

use crate::export::calendar::days::{self, Day};
use crate::export::calendar::names::{self, Names};
use crate::export::calendar::survey::{self, Of};
use crate::export::calendar::text::{self, About};
use crate::export::program::{NoteCode, Notes, Programme, RenderError, Source};

/// The event as both formats show it.
#[derive(Debug)]
pub(super) struct Head {
    /// The names of everything.
    pub(super) names: Names,
    /// The days that have sessions; one at least, since the schemas want it.
    pub(super) days: Vec<Day>,
    /// The event's first day.
    pub(super) first: NaiveDate,
    /// The event's last day.
    pub(super) last: NaiveDate,
    /// The event's logo.
    pub(super) logo: Option<String>,
    /// About the event.
    pub(super) description: Option<String>,
    /// Its rooms, and what stands for none where a session has none.
    pub(super) rooms: Vec<RoomHead>,
    /// Its tracks.
    pub(super) tracks: Vec<TrackHead>,
}

/// A room.
#[derive(Debug)]
pub(super) struct RoomHead {
    /// Its name, which no other room has.
    pub(super) name: String,
    /// Its name in addresses.
    pub(super) slug: String,
    /// Stable across renames.
    pub(super) guid: Uuid,
}

/// A track.
#[derive(Debug)]
pub(super) struct TrackHead {
    /// Its name.
    pub(super) name: String,
    /// Its name in addresses.
    pub(super) slug: String,
    /// `#rrggbb`.
    pub(super) color: Option<String>,
}

impl Head {
    /// The room with this index, or what stands for none.
    pub(super) fn room_guid(&self, programme: &Programme, room: Option<usize>) -> Uuid {
        room.map_or_else(|| names::no_room_uuid(programme.event.uuid), |room| programme.rooms[room].uuid)
    }
}

/// How finely times are placed: for readers that draw a grid.
pub(super) const TIMESLOT: &str = "00:05";

/// What makes the files.
pub(super) const GENERATOR: &str = "eventferry";

/// Reads the head, and looks at every session once.
pub(super) fn head(source: &dyn Source, notes: &mut Notes) -> Result<Head, RenderError> {
    let programme = source.programme();
    let event = &programme.event;
    let survey = survey::survey(source, Of::Event, notes)?;
    let names = names::names(programme, notes);
    let starts_at = event.starts_at.filter(|instant| days::can_be_said(*instant));
    let ends_at = event.ends_at.filter(|instant| days::can_be_said(*instant));
    let mut about = About { source_id: None, title: &event.name, notes };
    if starts_at.is_none() {
        about.note(NoteCode::EventWithoutStart, "the first session's day counts");
    }
    let logo = text::link(&mut about, "logo of the event", event.logo_url.as_deref());
    let description = text::paragraphs(&mut about, "description of the event", event.description.as_deref());
    // An event without sessions has the day of its begin; without that the day on which it was last changed.
    let only = programme.day_of(starts_at.unwrap_or(programme.changed_at));
    let dates = if survey.days.is_empty() { std::iter::once(only).collect() } else { survey.days };
    let local_date = |instant: chrono::DateTime<chrono::Utc>| instant.with_timezone(&programme.zone).date_naive();
    let first = starts_at.map(local_date).or(dates.first().copied()).unwrap_or(only);
    let last = ends_at.map(local_date).or(dates.last().copied()).unwrap_or(first).max(first);
    let rooms = room_heads(programme, &names, survey.without_room);
    let tracks = track_heads(programme, &names);
    let days = dates.into_iter().map(|date| days::day(programme, date)).collect();
    Ok(Head { names, days, first, last, logo, description, rooms, tracks })
}

fn room_heads(programme: &Programme, names: &Names, sessions_without: u64) -> Vec<RoomHead> {
    let named = programme.rooms.iter().zip(&names.rooms);
    let rooms = named.map(|(room, name)| RoomHead {
        name: name.clone(),
        slug: names::room_slug(name, room.id),
        guid: room.uuid,
    });
    let none = (sessions_without > 0).then(|| RoomHead {
        name: names.no_room.clone(),
        slug: "no-room".to_owned(),
        guid: names::no_room_uuid(programme.event.uuid),
    });
    rooms.chain(none).collect()
}

fn track_heads(programme: &Programme, names: &Names) -> Vec<TrackHead> {
    let named = programme.tracks.iter().zip(&names.tracks);
    let tracks = named.map(|(track, name)| TrackHead {
        name: name.clone(),
        slug: names::track_slug(name, track.id),
        color: track.color.as_deref().and_then(color),
    });
    tracks.collect()
}

/// A colour as the schemas want it.
fn color(text: &str) -> Option<String> {
    let digits = text.trim().strip_prefix('#')?;
    let is_color = digits.len() == 6 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    is_color.then(|| format!("#{}", digits.to_ascii_lowercase()))
}
