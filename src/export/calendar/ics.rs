//! `schedule.ics`: the schedule as calendars subscribe to it (RFC 5545 and 7986).
//!
//! The lines are written here and not by a library: the ones there are keep the whole calendar in memory, and leave the
//! rules of zones to the caller.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use uuid::Uuid;

use crate::export::calendar::days;
use crate::export::calendar::names::{self, Names};
use crate::export::calendar::shown::{self, whole_seconds};
use crate::export::calendar::survey::{self, Occupied, Of};
use crate::export::calendar::text::{self, About};
use crate::export::calendar::zone::{self, Kind, Observance};
use crate::export::program::{Notes, Order, Programme, ReadError, RenderError, Rendered, Session, Source, Span, Which};

/// Which sessions are in a calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All.
    Event,
    /// Those in a room (index into [`Programme::rooms`]).
    Room(usize),
    /// Those of a track (index into [`Programme::tracks`]).
    Track(usize),
}

/// Writes a calendar. Sessions are read twice; one at a time is in memory. A calendar without sessions is valid, too.
///
/// # Errors
///
/// The event cannot be read, it has no such room or track, or `out` cannot be written.
pub fn render(source: &dyn Source, part: Part, out: &mut dyn Write) -> Result<Rendered, RenderError> {
    let programme = source.programme();
    let of = sessions_of(programme, part)?;
    let mut notes = Notes::default();
    let survey = survey::survey(source, of, &mut notes)?;
    let names = names::names(programme, &mut notes);
    let mut out = BufWriter::new(out);
    write_head(&mut out, programme, &names, part, &mut notes)?;
    let range = survey.range.unwrap_or_else(|| empty_range(programme));
    if !is_utc(programme.zone) || survey.range.is_none() {
        write_zone(&mut out, programme.zone, &zone::observances(programme.zone, range))?;
    }
    let mut occupied = Occupied::new(programme);
    let mut sessions = 0;
    for session in source.sessions(&of.selection(Which::Scheduled, Order::Start)) {
        let session = session?;
        let Some(span) = days::span(&session, programme) else { continue };
        let mut about = About { source_id: Some(&session.source_id), title: &session.title, notes: &mut notes };
        occupied.take(&session, span, &mut about);
        write_session(&mut out, &session, span, programme.zone, &names, &mut about)?;
        sessions += 1;
    }
    property(&mut out, "END", "VCALENDAR")?;
    out.flush()?;
    Ok(Rendered { sessions, speakers: 0, notes })
}

/// Reads a finished calendar through and counts its sessions. Line ends and lengths are checked, the nesting, that each
/// session has what it needs once, and that every zone is explained before it is used.
///
/// # Errors
///
/// The file cannot be read, or is not what it should be.
pub fn check(file: &mut dyn Read) -> Result<u64, RenderError> {
    let mut checked = Checked::default();
    let mut reader = BufReader::new(file);
    let (mut logical, mut physical) = (String::new(), Vec::new());
    loop {
        physical.clear();
        let read = (&mut reader).take(LINE_LENGTH + 3).read_until(b'\n', &mut physical)?;
        if read == 0 {
            break;
        }
        let line = physical.strip_suffix(b"\r\n").ok_or_else(|| wrong("a line without its end, or too long"))?;
        if line.len() as u64 > LINE_LENGTH {
            return Err(wrong("a line of more than 75 octets"));
        }
        let line = std::str::from_utf8(line).map_err(|_| wrong("a line that is cut inside of a character"))?;
        if line.contains(|character: char| character.is_ascii_control() && character != '\t') {
            return Err(wrong("a control character"));
        }
        match line.strip_prefix(' ') {
            // The names and times that are looked at are short; a long text is not kept.
            Some(more) if logical.len() < KEPT => logical.push_str(more),
            Some(_) => {}
            None => checked.line(&std::mem::replace(&mut logical, line.to_owned()))?,
        }
    }
    checked.line(&logical)?;
    checked.end()
}

/// Octets of a line without its end.
const LINE_LENGTH: u64 = 75;

/// Octets of a property that are looked at.
const KEPT: usize = 1_000;

/// The highest number that calendars read.
const HIGHEST_SEQUENCE: u32 = i32::MAX.cast_unsigned();

/// How often subscribers ask again: the file is new every night.
const REFRESH: &str = "PT12H";

fn sessions_of(programme: &Programme, part: Part) -> Result<Of, RenderError> {
    match part {
        Part::Event => Ok(Of::Event),
        Part::Room(room) if room < programme.rooms.len() => Ok(Of::Room(room)),
        Part::Track(track) if track < programme.tracks.len() => Ok(Of::Track(track)),
        Part::Room(_) | Part::Track(_) => Err(RenderError::Read(ReadError("it has no such room or track".to_owned()))),
    }
}

/// For which time the zone is explained where there is no session.
fn empty_range(programme: &Programme) -> (DateTime<Utc>, DateTime<Utc>) {
    let starts_at = programme.event.starts_at.filter(|instant| days::can_be_said(*instant));
    let instant = starts_at.unwrap_or(programme.changed_at);
    (instant, instant)
}

fn write_head(
    out: &mut impl Write,
    programme: &Programme,
    names: &Names,
    part: Part,
    notes: &mut Notes,
) -> Result<(), RenderError> {
    let (name, uuid) = match part {
        Part::Event => (names.title.clone(), programme.event.uuid),
        Part::Room(room) => (format!("{}: {}", names.title, names.rooms[room]), programme.rooms[room].uuid),
        Part::Track(track) => (format!("{}: {}", names.title, names.tracks[track]), programme.tracks[track].uuid),
    };
    property(out, "BEGIN", "VCALENDAR")?;
    property(out, "VERSION", "2.0")?;
    property(out, "PRODID", "-//eventferry//schedule//EN")?;
    property(out, "CALSCALE", "GREGORIAN")?;
    property(out, "UID", &uid(uuid))?;
    property(out, "LAST-MODIFIED", &utc(programme.changed_at))?;
    property(out, "NAME", &escaped(&name))?;
    property(out, "X-WR-CALNAME", &escaped(&name))?;
    let mut about = About { source_id: None, title: &programme.event.name, notes };
    let description = programme.event.description.as_deref();
    if let Some(description) = text::paragraphs(&mut about, "description of the event", description) {
        property(out, "DESCRIPTION", &escaped(&description))?;
        property(out, "X-WR-CALDESC", &escaped(&description))?;
    }
    if let Some(page) = &names.page {
        property(out, "URL", page)?;
    }
    property(out, "X-WR-TIMEZONE", programme.zone.name())?;
    property(out, "REFRESH-INTERVAL;VALUE=DURATION", REFRESH)?;
    property(out, "X-PUBLISHED-TTL", REFRESH)
}

fn write_zone(out: &mut impl Write, zone: Tz, observances: &[Observance]) -> Result<(), RenderError> {
    property(out, "BEGIN", "VTIMEZONE")?;
    property(out, "TZID", zone.name())?;
    for observance in observances {
        let kind = match observance.kind {
            Kind::Standard => "STANDARD",
            Kind::Daylight => "DAYLIGHT",
        };
        property(out, "BEGIN", kind)?;
        property(out, "DTSTART", &observance.onset.format(LOCAL).to_string())?;
        property(out, "TZOFFSETFROM", &offset(observance.from))?;
        property(out, "TZOFFSETTO", &offset(observance.to))?;
        property(out, "TZNAME", &escaped(&observance.name))?;
        property(out, "END", kind)?;
    }
    property(out, "END", "VTIMEZONE")
}

fn write_session(
    out: &mut impl Write,
    session: &Session,
    span: Span,
    zone: Tz,
    names: &Names,
    about: &mut About<'_>,
) -> Result<(), RenderError> {
    property(out, "BEGIN", "VEVENT")?;
    property(out, "UID", &uid(session.uuid))?;
    property(out, "DTSTAMP", &utc(session.updated_at))?;
    property(out, "CREATED", &utc(session.created_at))?;
    property(out, "LAST-MODIFIED", &utc(session.updated_at))?;
    property(out, "SEQUENCE", &session.sequence.min(HIGHEST_SEQUENCE).to_string())?;
    write_times(out, span, zone)?;
    property(out, "SUMMARY", &escaped(&shown::title(session, about)))?;
    property(out, "STATUS", "CONFIRMED")?;
    let room = session.room.map(|room| names.rooms[room].as_str());
    let location = room.into_iter().chain(names.place.as_deref()).collect::<Vec<_>>().join(", ");
    if !location.is_empty() {
        property(out, "LOCATION", &escaped(&location))?;
    }
    let categories = [names.track(session), names.kind(session)];
    let categories = categories.into_iter().flatten().map(escaped).collect::<Vec<_>>().join(",");
    if !categories.is_empty() {
        property(out, "CATEGORIES", &categories)?;
    }
    if let Some(page) = &names.page {
        property(out, "URL", page)?;
    }
    let description = description(session, about);
    if !description.is_empty() {
        property(out, "DESCRIPTION", &escaped(&description))?;
    }
    property(out, "END", "VEVENT")
}

/// Writes begin and end by the clock of the zone, so that calendars show them as the event does; in UTC where a clock
/// change makes the zone's own time mean two instants.
fn write_times(out: &mut impl Write, span: Span, zone: Tz) -> Result<(), RenderError> {
    let (start, end) = (whole_seconds(span.start), whole_seconds(span.end));
    let in_utc = is_utc(zone) || zone::is_shown_twice(zone, start) || zone::is_shown_twice(zone, end);
    let mut write = |name: &str, instant: DateTime<Utc>| {
        if in_utc {
            property(out, name, &utc(instant))
        } else {
            let local = instant.with_timezone(&zone).naive_local().format(LOCAL).to_string();
            property(out, &format!("{name};TZID={}", zone.name()), &local)
        }
    };
    write("DTSTART", start)?;
    // An end must lie after the begin; without one a session takes no time.
    if end > start { write("DTEND", end) } else { Ok(()) }
}

fn description(session: &Session, about: &mut About<'_>) -> String {
    let mut parts = Vec::new();
    parts.extend(text::optional_line(about, "subtitle", session.subtitle.as_deref()));
    let speakers = session.speakers.iter().map(|speaker| {
        let name = shown::speaker_name(speaker, about);
        match text::optional_line(about, "organisation of a speaker", speaker.organisation.as_deref()) {
            Some(organisation) => format!("{name} ({organisation})"),
            None => name,
        }
    });
    let speakers = speakers.collect::<Vec<_>>().join(", ");
    if !speakers.is_empty() {
        parts.push(format!("Speakers: {speakers}"));
    }
    let (short, long) = shown::texts(session, about);
    parts.extend(short);
    parts.extend(long);
    let facts = [("Language", &session.language), ("Level", &session.level)];
    let facts = facts
        .into_iter()
        .filter_map(|(name, value)| Some(format!("{name}: {}", text::optional_line(about, name, value.as_deref())?)));
    let mut last: Vec<String> = facts.collect();
    let links = [
        ("Sign-up", &session.signup_url),
        ("Slides", &session.slides_url),
        ("Audio", &session.audio_url),
        ("Video", &session.video_url),
    ];
    for (name, url) in links {
        last.extend(text::link(about, name, url.as_deref()).map(|url| format!("{name}: {url}")));
    }
    if !last.is_empty() {
        parts.push(last.join("\n"));
    }
    parts.join("\n\n")
}

/// How local times are written.
const LOCAL: &str = "%Y%m%dT%H%M%S";

fn utc(instant: DateTime<Utc>) -> String {
    instant.format("%Y%m%dT%H%M%SZ").to_string()
}

fn offset(seconds: i32) -> String {
    let sign = if seconds < 0 { '-' } else { '+' };
    let (hours, minutes, rest) = (seconds.abs() / 3600, seconds.abs() / 60 % 60, seconds.abs() % 60);
    let rest = if rest == 0 { String::new() } else { format!("{rest:02}") };
    format!("{sign}{hours:02}{minutes:02}{rest}")
}

fn uid(uuid: Uuid) -> String {
    format!("{uuid}@eventferry")
}

/// Whether a zone is UTC under one of its names.
fn is_utc(zone: Tz) -> bool {
    let name = zone.name().trim_start_matches("Etc/");
    ["UTC", "UCT", "Universal", "Zulu"].contains(&name)
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        match character {
            '\\' | ';' | ',' => escaped.extend(['\\', character]),
            '\n' => escaped.push_str("\\n"),
            _ => escaped.push(character),
        }
    }
    escaped
}

/// Writes a property, folded so that no line is longer than [`LINE_LENGTH`] and none ends inside of a character.
fn property(out: &mut impl Write, name: &str, value: &str) -> Result<(), RenderError> {
    let line = format!("{name}:{value}");
    let mut rest = line.as_str();
    let mut room = LINE_LENGTH as usize;
    while rest.len() > room {
        let (first, more) = rest.split_at(rest.floor_char_boundary(room));
        out.write_all(first.as_bytes())?;
        out.write_all(b"\r\n ")?;
        rest = more;
        // The blank before it counts.
        room = LINE_LENGTH as usize - 1;
    }
    out.write_all(rest.as_bytes())?;
    Ok(out.write_all(b"\r\n")?)
}

/// What a check has seen.
#[derive(Default)]
struct Checked {
    open: Vec<String>,
    calendars: u64,
    components: u64,
    sessions: u64,
    zones: HashSet<String>,
    /// Properties of the component that was begun last.
    properties: Vec<String>,
}

impl Checked {
    fn line(&mut self, line: &str) -> Result<(), RenderError> {
        // There is nothing before the first line.
        if line.is_empty() && self.open.is_empty() && self.calendars == 0 {
            return Ok(());
        }
        let (head, value) = line.split_once(':').ok_or_else(|| wrong("a line without a name"))?;
        let (name, parameters) = head.split_once(';').unwrap_or((head, ""));
        match name {
            "BEGIN" => return self.begin(value),
            "END" => return self.finish(value),
            _ if self.open.is_empty() => return Err(wrong("a line outside of the calendar")),
            "TZID" => {
                self.zones.insert(value.to_owned());
            }
            _ => {}
        }
        if let Some(zone) = parameters.strip_prefix("TZID=")
            && !self.zones.contains(zone)
        {
            return Err(wrong("a zone that is not explained"));
        }
        self.properties.push(name.to_owned());
        Ok(())
    }

    fn begin(&mut self, component: &str) -> Result<(), RenderError> {
        match (self.open.last().map(String::as_str), component) {
            (None, "VCALENDAR") => self.calendars += 1,
            (Some("VCALENDAR"), "VEVENT" | "VTIMEZONE") => self.components += 1,
            (Some("VTIMEZONE"), "STANDARD" | "DAYLIGHT") => {}
            _ => return Err(wrong("a component at a wrong place")),
        }
        self.open.push(component.to_owned());
        self.properties.clear();
        Ok(())
    }

    fn finish(&mut self, component: &str) -> Result<(), RenderError> {
        if self.open.pop().as_deref() != Some(component) {
            return Err(wrong("components that are not nested"));
        }
        let needed: &[&str] = match component {
            "VEVENT" => &["UID", "DTSTAMP", "DTSTART", "SUMMARY"],
            "STANDARD" | "DAYLIGHT" => &["DTSTART", "TZOFFSETFROM", "TZOFFSETTO"],
            _ => &[],
        };
        for name in needed {
            if self.properties.iter().filter(|property| property == name).count() != 1 {
                return Err(wrong("a component without what it needs, or with it twice"));
            }
        }
        self.sessions += u64::from(component == "VEVENT");
        Ok(())
    }

    fn end(&self) -> Result<u64, RenderError> {
        match (self.open.is_empty(), self.calendars, self.components) {
            (true, 1, 1..) => Ok(self.sessions),
            _ => Err(wrong("not one whole calendar")),
        }
    }
}

fn wrong(what: &str) -> RenderError {
    RenderError::Invalid(format!("schedule.ics: {what}"))
}
