//! `schedule.xml`: the schedule as frab and Pentabarf have written it for many years.

use std::io::{BufReader, BufWriter, Read, Write};

use chrono::{SecondsFormat, TimeDelta};
use quick_xml::events::{BytesDecl, BytesEnd, BytesStart, BytesText, Event};
use quick_xml::{Reader, Writer};
use uuid::Uuid;

use crate::export::calendar::days::{self, Day};
use crate::export::calendar::head::{self, GENERATOR, Head, TIMESLOT};
use crate::export::calendar::shown::{self, Person, Reference, Shown};
use crate::export::calendar::survey::Occupied;
use crate::export::calendar::text::About;
use crate::export::program::{NoteCode, Notes, Programme, RenderError, Rendered, Session, Source};

/// Writes `schedule.xml`, valid against `schedule.xml.xsd` of c3voc. Sessions are read twice; one at a time is in memory.
///
/// # Errors
///
/// The event cannot be read, or `out` not written.
pub fn render(source: &dyn Source, out: &mut dyn Write) -> Result<Rendered, RenderError> {
    let programme = source.programme();
    let mut notes = Notes::default();
    let head = head::head(source, &mut notes)?;
    let mut buffered = BufWriter::new(out);
    let mut writer = Writer::new_with_indent(&mut buffered as &mut dyn Write, b' ', 2);
    writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    open(&mut writer, "schedule", &[])?;
    write_conference(&mut writer, programme, &head)?;
    let mut occupied = Occupied::new(programme);
    let mut sessions = 0;
    for (index, day) in head.days.iter().enumerate() {
        sessions += write_day(&mut writer, source, &head, (index + 1, *day), &mut occupied, &mut notes)?;
    }
    close(&mut writer, "schedule")?;
    buffered.write_all(b"\n")?;
    buffered.flush()?;
    Ok(Rendered { sessions, speakers: 0, notes })
}

/// Reads a finished `schedule.xml` through and counts its sessions. Well-formedness is checked, the nesting of days,
/// rooms and sessions, and that each session has its ids.
///
/// # Errors
///
/// The file cannot be read, or is not what it should be.
pub fn check(file: &mut dyn Read) -> Result<u64, RenderError> {
    let mut reader = Reader::from_reader(BufReader::new(file));
    let mut buffer = Vec::new();
    let mut path: Vec<String> = Vec::new();
    let (mut days, mut sessions, mut roots) = (0_u64, 0_u64, 0_u64);
    loop {
        let event = reader.read_event_into(&mut buffer).map_err(invalid)?;
        match &event {
            Event::Start(start) | Event::Empty(start) => {
                let attributes = attributes_of(start)?;
                let name = start.name().as_ref().to_owned();
                path.push(name);
                match path.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
                    ["schedule"] => roots += 1,
                    ["schedule", "day"] => days += 1,
                    ["schedule", "day", "room", "event"] => {
                        check_ids(&attributes)?;
                        sessions += 1;
                    }
                    [root, ..] if *root != "schedule" => return Err(wrong(&format!("the root is `{root}`"))),
                    [.., "day" | "event"] => return Err(wrong(&format!("`{}` is at a wrong place", path.join("/")))),
                    _ => {}
                }
                if matches!(event, Event::Empty(_)) {
                    path.pop();
                }
            }
            Event::End(_) => {
                path.pop();
            }
            Event::Text(text) => check_text(&text.xml10_content(), &path)?,
            Event::GeneralRef(reference) => {
                let is_known = reference.is_char_ref() || ["lt", "gt", "amp", "quot", "apos"].contains(&&**reference);
                if !is_known {
                    return Err(wrong("a reference to nothing"));
                }
            }
            Event::Eof => break,
            _ => {}
        }
        buffer.clear();
    }
    match (path.last(), roots, days) {
        (Some(open), ..) => Err(wrong(&format!("`{open}` is not closed"))),
        (None, 1, 1..) => Ok(sessions),
        (None, 1, 0) => Err(wrong("no day")),
        (None, ..) => Err(wrong("not one root")),
    }
}

type Xml<'a> = Writer<&'a mut dyn Write>;

fn write_conference(writer: &mut Xml<'_>, programme: &Programme, head: &Head) -> Result<(), RenderError> {
    empty(writer, "generator", &[("name", GENERATOR)])?;
    element(writer, "version", &programme.changed_at.to_rfc3339_opts(SecondsFormat::Secs, true))?;
    open(writer, "conference", &[])?;
    element(writer, "title", &head.names.title)?;
    element(writer, "acronym", &head.names.acronym)?;
    element(writer, "start", &head.first.to_string())?;
    element(writer, "end", &head.last.to_string())?;
    element(writer, "days", &head.days.len().to_string())?;
    element(writer, "timeslot_duration", TIMESLOT)?;
    if let Some(logo) = &head.logo {
        element(writer, "logo", logo)?;
    }
    if let Some(page) = &head.names.page {
        element(writer, "url", page)?;
    }
    element(writer, "time_zone_name", programme.zone.name())?;
    for track in &head.tracks {
        let mut attributes = vec![("name", track.name.as_str()), ("slug", &track.slug)];
        attributes.extend(track.color.as_deref().map(|color| ("color", color)));
        empty(writer, "track", &attributes)?;
    }
    close(writer, "conference")
}

/// Writes a day, and says how many sessions it has.
fn write_day(
    writer: &mut Xml<'_>,
    source: &dyn Source,
    head: &Head,
    (index, day): (usize, Day),
    occupied: &mut Occupied,
    notes: &mut Notes,
) -> Result<u64, RenderError> {
    let programme = source.programme();
    let start = days::written(day.start, programme.zone);
    let end = days::written(day.end, programme.zone);
    let (index, date) = (index.to_string(), day.date.to_string());
    open(writer, "day", &[("index", &index), ("date", &date), ("start", &start), ("end", &end)])?;
    let mut sessions = 0;
    let mut room = None;
    for session in days::sessions(source, day) {
        let (session, span) = session?;
        if room != Some(session.room) {
            if room.is_some() {
                close(writer, "room")?;
            }
            let guid = head.room_guid(programme, session.room).to_string();
            open(writer, "room", &[("name", head.names.room(&session)), ("guid", &guid)])?;
            room = Some(session.room);
        }
        let mut about = About { source_id: Some(&session.source_id), title: &session.title, notes };
        occupied.take(&session, span, &mut about);
        let shown = shown::shown(&session, span, programme, &head.names, &mut about);
        let length = length(shown.length, &mut about);
        write_session(writer, &session, &shown, &length, head)?;
        sessions += 1;
    }
    if room.is_some() {
        close(writer, "room")?;
    }
    close(writer, "day")?;
    Ok(sessions)
}

fn write_session(
    writer: &mut Xml<'_>,
    session: &Session,
    shown: &Shown,
    length: &str,
    head: &Head,
) -> Result<(), RenderError> {
    open(writer, "event", &[("guid", &shown.guid.to_string()), ("id", &shown.id.to_string())])?;
    element(writer, "room", head.names.room(session))?;
    element(writer, "title", &shown.title)?;
    element(writer, "subtitle", shown.subtitle.as_deref().unwrap_or_default())?;
    element(writer, "type", &shown.kind)?;
    element(writer, "date", &shown.date)?;
    element(writer, "start", &shown.start)?;
    element(writer, "duration", length)?;
    element(writer, "abstract", shown.short.as_deref().unwrap_or_default())?;
    element(writer, "slug", &shown.slug)?;
    element(writer, "track", head.names.track(session).unwrap_or_default())?;
    write_persons(writer, &shown.persons)?;
    element(writer, "language", shown.language.as_deref().unwrap_or_default())?;
    element(writer, "description", shown.long.as_deref().unwrap_or_default())?;
    write_references(writer, ("links", "link"), &shown.links)?;
    write_references(writer, ("attachments", "attachment"), &shown.attachments)?;
    if let Some(page) = &head.names.page {
        element(writer, "url", page)?;
    }
    close(writer, "event")
}

fn write_persons(writer: &mut Xml<'_>, persons: &[Person]) -> Result<(), RenderError> {
    if persons.is_empty() {
        return empty(writer, "persons", &[]);
    }
    open(writer, "persons", &[])?;
    for person in persons {
        let (id, guid) = (person.id.to_string(), person.guid.to_string());
        text_element(writer, "person", &[("id", &id), ("guid", &guid)], &person.name)?;
    }
    close(writer, "persons")
}

fn write_references(
    writer: &mut Xml<'_>,
    (all, one): (&str, &str),
    references: &[Reference],
) -> Result<(), RenderError> {
    if references.is_empty() {
        return empty(writer, all, &[]);
    }
    open(writer, all, &[])?;
    for reference in references {
        text_element(writer, one, &[("href", &reference.url), ("type", reference.kind)], reference.title)?;
    }
    close(writer, all)
}

/// The schema has two digits for hours, and three parts that readers understand in more than one way.
const LONGEST: TimeDelta = TimeDelta::minutes(99 * 60 + 59);

fn length(length: TimeDelta, about: &mut About<'_>) -> String {
    let written = length.min(LONGEST).num_minutes();
    let written = format!("{:02}:{:02}", written / 60, written % 60);
    if length > LONGEST {
        let hours = length.num_hours();
        about.note(NoteCode::LengthCut, format_args!("{hours} hours; {written} is shown"));
    }
    written
}

fn open(writer: &mut Xml<'_>, name: &str, attributes: &[(&str, &str)]) -> Result<(), RenderError> {
    let start = BytesStart::new(name).with_attributes(attributes.iter().copied());
    Ok(writer.write_event(Event::Start(start))?)
}

fn close(writer: &mut Xml<'_>, name: &str) -> Result<(), RenderError> {
    Ok(writer.write_event(Event::End(BytesEnd::new(name)))?)
}

fn empty(writer: &mut Xml<'_>, name: &str, attributes: &[(&str, &str)]) -> Result<(), RenderError> {
    let start = BytesStart::new(name).with_attributes(attributes.iter().copied());
    Ok(writer.write_event(Event::Empty(start))?)
}

fn element(writer: &mut Xml<'_>, name: &str, text: &str) -> Result<(), RenderError> {
    text_element(writer, name, &[], text)
}

fn text_element(writer: &mut Xml<'_>, name: &str, attributes: &[(&str, &str)], text: &str) -> Result<(), RenderError> {
    if text.is_empty() {
        return empty(writer, name, attributes);
    }
    open(writer, name, attributes)?;
    writer.write_event(Event::Text(BytesText::new(text)))?;
    close(writer, name)
}

fn attributes_of(start: &BytesStart<'_>) -> Result<Vec<(String, String)>, RenderError> {
    let mut attributes = Vec::new();
    for attribute in start.attributes() {
        let attribute = attribute.map_err(invalid)?;
        let value = attribute.normalized_value(quick_xml::XmlVersion::Explicit1_0).map_err(invalid)?;
        check_characters(&value)?;
        attributes.push((attribute.key.as_ref().to_owned(), value.into_owned()));
    }
    Ok(attributes)
}

fn check_ids(attributes: &[(String, String)]) -> Result<(), RenderError> {
    let value = |name: &str| attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let has_guid = value("guid").is_some_and(|guid| Uuid::try_parse(guid).is_ok());
    let has_id = value("id").and_then(|id| id.parse::<u64>().ok()).is_some_and(|id| id > 0);
    if has_guid && has_id { Ok(()) } else { Err(wrong("a session without its ids")) }
}

fn check_text(text: &str, path: &[String]) -> Result<(), RenderError> {
    check_characters(text)?;
    if path.is_empty() && !text.trim().is_empty() {
        return Err(wrong("text outside of the root"));
    }
    Ok(())
}

fn check_characters(text: &str) -> Result<(), RenderError> {
    let is_wrong = |character: char| matches!(character, '\u{0}'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}');
    if text.contains(is_wrong) { Err(wrong("a character that XML does not allow")) } else { Ok(()) }
}

fn invalid(error: impl std::fmt::Display) -> RenderError {
    wrong(&error.to_string())
}

fn wrong(what: &str) -> RenderError {
    RenderError::Invalid(format!("schedule.xml: {what}"))
}
