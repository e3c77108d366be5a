//! `schedule.json`: the schedule as c3voc describes it, version 1.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::io::{BufReader, BufWriter, Read, Write};

use chrono::{DateTime, FixedOffset, NaiveDate, SecondsFormat};
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::export::calendar::days::{self, Day};
use crate::export::calendar::head::{self, GENERATOR, Head, TIMESLOT};
use crate::export::calendar::shown::{self, Reference, Shown};
use crate::export::calendar::survey::Occupied;
use crate::export::calendar::text::About;
use crate::export::program::{Notes, Programme, RenderError, Rendered, Session, Source};

/// Writes `schedule.json`, valid against `schema.json` of c3voc, a session a line. Sessions are read twice; one at a
/// time is in memory.
///
/// # Errors
///
/// The event cannot be read, or `out` not written.
pub fn render(source: &dyn Source, out: &mut dyn Write) -> Result<Rendered, RenderError> {
    let programme = source.programme();
    let mut notes = Notes::default();
    let head = head::head(source, &mut notes)?;
    let mut out = BufWriter::new(out);
    write_head(&mut out, programme, &head)?;
    let mut occupied = Occupied::new(programme);
    let mut sessions = 0;
    for (index, day) in head.days.iter().enumerate() {
        out.write_all(if index == 0 { b"\n" } else { b",\n" })?;
        sessions += write_day(&mut out, source, &head, (index + 1, *day), &mut occupied, &mut notes)?;
    }
    out.write_all(b"]}}}\n")?;
    out.flush()?;
    Ok(Rendered { sessions, speakers: 0, notes })
}

/// Reads a finished `schedule.json` through and counts its sessions. Its nesting is checked, the number of days, that no
/// room stands twice in a day, and that each session has its ids and times.
///
/// # Errors
///
/// The file cannot be read, or is not what it should be.
pub fn check(file: &mut dyn Read) -> Result<u64, RenderError> {
    let mut deserializer = serde_json::Deserializer::from_reader(BufReader::new(file));
    let file = CheckedFile::deserialize(&mut deserializer).map_err(invalid)?;
    deserializer.end().map_err(invalid)?;
    let conference = file.schedule.conference;
    if conference.days.days != conference.days_count || conference.days_count == 0 {
        return Err(invalid(format_args!("{} days, not {}", conference.days.days, conference.days_count)));
    }
    Ok(conference.days.sessions)
}

fn write_head(out: &mut impl Write, programme: &Programme, head: &Head) -> Result<(), RenderError> {
    let conference = Conference {
        acronym: &head.names.acronym,
        title: &head.names.title,
        description: head.description.as_deref(),
        start: head.first,
        end: head.last,
        days_count: head.days.len(),
        timeslot_duration: TIMESLOT,
        time_zone_name: zone_name(programme.zone.name()),
        logo: head.logo.as_deref(),
        url: head.names.page.as_deref(),
        tracks: head
            .tracks
            .iter()
            .map(|track| Track { name: &track.name, slug: &track.slug, color: &track.color })
            .collect(),
        rooms: head.rooms.iter().map(|room| Room { name: &room.name, slug: &room.slug, guid: room.guid }).collect(),
    };
    let generator = BTreeMap::from([("name", GENERATOR)]);
    write!(out, "{{\"$schema\":\"https://c3voc.de/schedule/schema.json\",\"generator\":{}", text(&generator)?)?;
    let version = programme.changed_at.to_rfc3339_opts(SecondsFormat::Secs, true);
    let conference = text(&conference)?;
    // The days follow as the last key of the conference.
    let conference = conference.strip_suffix('}').unwrap_or(&conference);
    Ok(write!(out, ",\n\"schedule\":{{\"version\":{},\"conference\":{conference},\n\"days\":[", text(&version)?)?)
}

/// Writes a day, and says how many sessions it has.
fn write_day(
    out: &mut impl Write,
    source: &dyn Source,
    head: &Head,
    (index, day): (usize, Day),
    occupied: &mut Occupied,
    notes: &mut Notes,
) -> Result<u64, RenderError> {
    let programme = source.programme();
    let start = days::written(day.start, programme.zone);
    let end = days::written(day.end, programme.zone);
    let date = day.date;
    write!(
        out,
        "{{\"index\":{index},\"date\":\"{date}\",\"day_start\":\"{start}\",\"day_end\":\"{end}\",\"rooms\":{{"
    )?;
    let mut sessions = 0;
    let mut room = None;
    for session in days::sessions(source, day) {
        let (session, span) = session?;
        let name = head.names.room(&session);
        if room == Some(session.room) {
            out.write_all(b",\n")?;
        } else {
            let before = if room.is_some() { "],\n" } else { "\n" };
            writeln!(out, "{before}{}:[", text(name)?)?;
            room = Some(session.room);
        }
        let mut about = About { source_id: Some(&session.source_id), title: &session.title, notes };
        occupied.take(&session, span, &mut about);
        let shown = shown::shown(&session, span, programme, &head.names, &mut about);
        serde_json::to_writer(&mut *out, &entry(&session, &shown, head)).map_err(std::io::Error::from)?;
        sessions += 1;
    }
    if room.is_some() {
        out.write_all(b"]")?;
    }
    out.write_all(b"}}")?;
    Ok(sessions)
}

/// Zone names that the schema takes: an area and a place, or UTC.
fn zone_name(name: &'static str) -> Option<&'static str> {
    let word = |text: &str| {
        let mut letters = text.bytes();
        letters.next().is_some_and(|first| first.is_ascii_uppercase())
            && letters.next().is_some_and(|second| second.is_ascii_lowercase())
    };
    let is_place = |(area, place): (&str, &str)| {
        word(area) && area.bytes().skip(1).all(|letter| letter.is_ascii_lowercase()) && word(place)
    };
    if name.ends_with("UTC") {
        return Some("UTC");
    }
    name.split_once('/').is_some_and(is_place).then_some(name)
}

fn text(value: &(impl Serialize + ?Sized)) -> Result<String, RenderError> {
    serde_json::to_string(value).map_err(|error| RenderError::Write(error.into()))
}

#[derive(Serialize)]
struct Conference<'a> {
    acronym: &'a str,
    title: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    start: NaiveDate,
    end: NaiveDate,
    #[serde(rename = "daysCount")]
    days_count: usize,
    timeslot_duration: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    time_zone_name: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logo: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<&'a str>,
    tracks: Vec<Track<'a>>,
    rooms: Vec<Room<'a>>,
}

#[derive(Serialize)]
struct Track<'a> {
    name: &'a str,
    slug: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    color: &'a Option<String>,
}

#[derive(Serialize)]
struct Room<'a> {
    name: &'a str,
    slug: &'a str,
    guid: Uuid,
}

#[derive(Serialize)]
struct Entry<'a> {
    guid: Uuid,
    id: i64,
    date: &'a str,
    start: &'a str,
    end: &'a str,
    duration: String,
    room: &'a str,
    slug: &'a str,
    url: String,
    title: &'a str,
    subtitle: Option<&'a str>,
    language: Option<&'a str>,
    track: Option<&'a str>,
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(rename = "abstract")]
    short: Option<&'a str>,
    description: Option<&'a str>,
    persons: Vec<Person<'a>>,
    links: Vec<Link<'a>>,
    attachments: Vec<Link<'a>>,
}

/// With `public_name` besides, the schema would take it for two kinds of person at once.
#[derive(Serialize)]
struct Person<'a> {
    guid: Uuid,
    id: i64,
    name: &'a str,
}

#[derive(Serialize)]
struct Link<'a> {
    url: &'a str,
    title: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
}

fn entry<'a>(session: &Session, shown: &'a Shown, head: &'a Head) -> Entry<'a> {
    let minutes = shown.length.num_minutes();
    Entry {
        guid: shown.guid,
        id: shown.id,
        date: &shown.date,
        start: &shown.start,
        end: &shown.end,
        duration: format!("{:02}:{:02}", minutes / 60, minutes % 60),
        room: session.room.map_or(&head.names.no_room, |room| &head.names.rooms[room]),
        slug: &shown.slug,
        // The schema wants an address of every session; without a page this one says which session it is.
        url: head.names.page.clone().unwrap_or_else(|| shown.guid.urn().to_string()),
        title: &shown.title,
        subtitle: shown.subtitle.as_deref(),
        language: shown.language.as_deref(),
        track: session.track.map(|track| head.names.tracks[track].as_str()),
        kind: &shown.kind,
        short: shown.short.as_deref(),
        description: shown.long.as_deref(),
        persons: shown
            .persons
            .iter()
            .map(|person| Person { guid: person.guid, id: person.id, name: &person.name })
            .collect(),
        links: shown.links.iter().map(link).collect(),
        attachments: shown.attachments.iter().map(link).collect(),
    }
}

fn link(reference: &Reference) -> Link<'_> {
    Link { url: &reference.url, title: reference.title, kind: reference.kind }
}

#[derive(Deserialize)]
struct CheckedFile {
    schedule: CheckedSchedule,
}

#[derive(Deserialize)]
struct CheckedSchedule {
    #[serde(rename = "version")]
    _version: String,
    conference: CheckedConference,
}

#[derive(Deserialize)]
struct CheckedConference {
    #[serde(rename = "acronym")]
    _acronym: String,
    #[serde(rename = "title")]
    _title: String,
    #[serde(rename = "daysCount")]
    days_count: u64,
    days: CheckedDays,
}

#[derive(Deserialize)]
struct CheckedDay {
    #[serde(rename = "date")]
    _date: NaiveDate,
    #[serde(rename = "day_start")]
    _start: DateTime<FixedOffset>,
    #[serde(rename = "day_end")]
    _end: DateTime<FixedOffset>,
    rooms: CheckedRooms,
}

#[derive(Deserialize)]
struct CheckedEntry {
    #[serde(rename = "guid")]
    _guid: Uuid,
    id: u64,
    #[serde(rename = "date")]
    _date: DateTime<FixedOffset>,
    #[serde(rename = "title")]
    _title: String,
}

struct CheckedDays {
    days: u64,
    sessions: u64,
}

struct CheckedRooms {
    sessions: u64,
}

struct CheckedEntries {
    sessions: u64,
}

struct DaysVisitor;

struct RoomsVisitor;

struct EntriesVisitor;

impl<'de> Deserialize<'de> for CheckedDays {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(DaysVisitor)
    }
}

impl<'de> Deserialize<'de> for CheckedRooms {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(RoomsVisitor)
    }
}

impl<'de> Deserialize<'de> for CheckedEntries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(EntriesVisitor)
    }
}

impl<'de> Visitor<'de> for DaysVisitor {
    type Value = CheckedDays;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("days")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<CheckedDays, A::Error> {
        let mut found = CheckedDays { days: 0, sessions: 0 };
        while let Some(day) = list.next_element::<CheckedDay>()? {
            found.days += 1;
            found.sessions += day.rooms.sessions;
        }
        Ok(found)
    }
}

impl<'de> Visitor<'de> for RoomsVisitor {
    type Value = CheckedRooms;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("rooms by name")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<CheckedRooms, A::Error> {
        let mut names = HashSet::new();
        let mut sessions = 0;
        while let Some((name, entries)) = map.next_entry::<String, CheckedEntries>()? {
            sessions += entries.sessions;
            if !names.insert(name) {
                return Err(A::Error::custom("a room stands twice in a day"));
            }
        }
        Ok(CheckedRooms { sessions })
    }
}

impl<'de> Visitor<'de> for EntriesVisitor {
    type Value = CheckedEntries;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("sessions")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<CheckedEntries, A::Error> {
        let mut sessions = 0;
        while let Some(entry) = list.next_element::<CheckedEntry>()? {
            if entry.id == 0 {
                return Err(A::Error::custom("a session without its id"));
            }
            sessions += 1;
        }
        Ok(CheckedEntries { sessions })
    }
}

fn invalid(error: impl fmt::Display) -> RenderError {
    RenderError::Invalid(format!("schedule.json: {error}"))
}
