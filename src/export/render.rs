//! From a snapshot to the files of each format, each checked when it is whole.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};
use std::path::Path;

use chrono::{DateTime, Utc};

use super::calendar::{ics, json, xml};
use super::page::{self, PageTemplate};
use super::program::{NoteCode, Notes, RenderError, Rendered, Selection, Session, Source};
use super::publish::Hashing;
use super::report::{ExportedFile, FormatExport};
use super::tables::{csv, xlsx};
use crate::fsx;
use crate::model::export::Format;

/// Bytes that are gathered before they are written.
const BUFFER: usize = 64 * 1024;

/// Bytes of the name of a room or track in the name of its calendar.
const NAME_BYTES: usize = 60;

/// Makes the files of a format that is made from the programme: every one but the archive.
///
/// # Errors
/// See [`RenderError`]; what was written by then is of no use.
pub(crate) fn render(
    format: Format,
    source: &dyn Source,
    templates: &Path,
    folder: &Path,
) -> Result<FormatExport, RenderError> {
    let mut made = FormatExport {
        format,
        files: Vec::new(),
        sessions: 0,
        speakers: 0,
        checked: String::new(),
        notes: Notes::default(),
    };
    let name = format.as_str();
    match format {
        Format::Archive => {}
        Format::ScheduleXml => {
            let rendered = write(&mut made, folder, name, |out| xml::render(source, out))?;
            let found = xml::check(&mut read(folder, name)?)?;
            agree(name, rendered.sessions, found)?;
            made.checked = format!("read back: well-formed, {found} sessions");
        }
        Format::ScheduleJson => {
            let rendered = write(&mut made, folder, name, |out| json::render(source, out))?;
            let found = json::check(&mut read(folder, name)?)?;
            agree(name, rendered.sessions, found)?;
            made.checked = format!("read back: valid JSON, {found} sessions");
        }
        Format::ScheduleIcs => calendars(&mut made, source, folder)?,
        Format::ScheduleHtml => {
            let template = PageTemplate::load(templates)?;
            let rendered = write(&mut made, folder, name, |out| page::render(source, &template, out))?;
            let found = page::check(&mut read(folder, name)?)?;
            agree(name, rendered.sessions, found)?;
            made.checked = format!("read back: whole, {found} sessions, loads nothing from elsewhere");
        }
        Format::SessionsCsv => {
            let rendered = write(&mut made, folder, name, |out| csv::render_sessions(source, out))?;
            let found = csv::check(&mut read(folder, name)?)?;
            agree(name, rendered.sessions, found)?;
            made.checked = format!("read back: {found} rows");
        }
        Format::SpeakersCsv => {
            let rendered = write(&mut made, folder, name, |out| csv::render_speakers(source, out))?;
            let found = csv::check(&mut read(folder, name)?)?;
            agree(name, rendered.speakers, found)?;
            made.checked = format!("read back: {found} rows");
        }
        Format::Workbook => {
            let path = folder.join(name);
            let rendered = xlsx::render(source, &path)?;
            let found = xlsx::check(&path)?;
            agree(name, rendered.sessions + rendered.speakers, found)?;
            made.checked = format!("read back: a whole workbook, {found} sessions and speakers");
            add(&mut made, file_at(folder, name)?, rendered);
        }
    }
    Ok(made)
}

/// The whole event, and a calendar for each room and track that has a session.
fn calendars(made: &mut FormatExport, source: &dyn Source, folder: &Path) -> Result<(), RenderError> {
    let programme = source.programme();
    let rooms = programme
        .rooms
        .iter()
        .enumerate()
        .map(|(index, room)| (format!("rooms/{}.ics", calendar_name(&room.name, room.id)), ics::Part::Room(index)));
    let tracks = programme.tracks.iter().enumerate().map(|(index, track)| {
        (format!("tracks/{}.ics", calendar_name(&track.name, track.id)), ics::Part::Track(index))
    });
    let whole = (Format::ScheduleIcs.as_str().to_owned(), ics::Part::Event);
    let mut in_all = 0;
    for (name, part) in [whole].into_iter().chain(rooms).chain(tracks) {
        let is_whole = part == ics::Part::Event;
        let (file, rendered) = write_file(folder, &name, |out| ics::render(source, part, out))?;
        let found = ics::check(&mut read(folder, &name)?)?;
        agree(&name, rendered.sessions, found)?;
        if is_whole {
            in_all = found;
            add(made, file, rendered);
        } else if found == 0 {
            fsx::remove_file(&folder.join(&name))?;
        } else {
            made.files.push(file);
        }
    }
    made.checked = format!("read back: {} calendars, {in_all} sessions in the whole one", made.files.len());
    Ok(())
}

/// The id keeps two rooms of one name apart.
fn calendar_name(name: &str, id: i64) -> String {
    let plain: String = name.chars().map(|c| if c.is_alphanumeric() { c } else { '-' }).collect();
    let plain = plain.split('-').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-").to_lowercase();
    if plain.is_empty() { id.to_string() } else { format!("{}-{id}", fsx::safe_component(&plain, NAME_BYTES)) }
}

fn write(
    made: &mut FormatExport,
    folder: &Path,
    name: &str,
    render: impl FnOnce(&mut dyn Write) -> Result<Rendered, RenderError>,
) -> Result<Rendered, RenderError> {
    let (file, rendered) = write_file(folder, name, render)?;
    add(made, file, rendered.clone());
    Ok(rendered)
}

fn add(made: &mut FormatExport, file: ExportedFile, rendered: Rendered) {
    made.files.push(file);
    made.sessions += rendered.sessions;
    made.speakers += rendered.speakers;
    made.notes.merge(rendered.notes);
}

fn write_file(
    folder: &Path,
    name: &str,
    render: impl FnOnce(&mut dyn Write) -> Result<Rendered, RenderError>,
) -> Result<(ExportedFile, Rendered), RenderError> {
    let path = folder.join(name);
    if let Some(above) = path.parent() {
        fsx::create_folders(above)?;
    }
    // The folder gets its name when everything in it is whole, so that files may have theirs from the beginning.
    let mut out = BufWriter::with_capacity(BUFFER, Hashing::new(File::create_new(&path)?));
    let rendered = render(&mut out)?;
    let (_, bytes, sha256) = out.into_inner().map_err(io::IntoInnerError::into_error)?.finish();
    Ok((ExportedFile { path: name.to_owned(), bytes, sha256, unchanged: false }, rendered))
}

/// What a file that is there holds.
///
/// # Errors
/// Where it cannot be read.
pub(crate) fn file_at(folder: &Path, name: &str) -> Result<ExportedFile, RenderError> {
    let mut hashing = Hashing::new(io::sink());
    io::copy(&mut read(folder, name)?, &mut hashing)?;
    let (_, bytes, sha256) = hashing.finish();
    Ok(ExportedFile { path: name.to_owned(), bytes, sha256, unchanged: false })
}

fn read(folder: &Path, name: &str) -> io::Result<BufReader<File>> {
    Ok(BufReader::with_capacity(BUFFER, File::open(folder.join(name))?))
}

fn agree(name: &str, written: u64, found: u64) -> Result<(), RenderError> {
    if written == found {
        return Ok(());
    }
    Err(RenderError::Invalid(format!("`{name}` should hold {written} records, {found} were found in it")))
}

/// What is odd about an event, whatever the format.
///
/// # Errors
/// Where the event cannot be read.
pub(crate) fn survey(source: &dyn Source, notes: &mut Notes) -> Result<(), RenderError> {
    let programme = source.programme();
    let event = &programme.event;
    if event.starts_at.is_none() {
        notes.add(NoteCode::EventWithoutStart, None, &event.name, "the first session's begin counts");
    }
    let mut busy: HashMap<usize, (DateTime<Utc>, String)> = HashMap::new();
    for session in source.sessions(&Selection::ALL) {
        survey_session(source, &session?, &mut busy, notes);
    }
    Ok(())
}

fn survey_session(
    source: &dyn Source,
    session: &Session,
    busy: &mut HashMap<usize, (DateTime<Utc>, String)>,
    notes: &mut Notes,
) {
    let programme = source.programme();
    let mut note = |code, detail: String| notes.add(code, Some(&session.source_id), &session.title, detail);
    if !session.is_accepted() {
        return note(NoteCode::NotAccepted, session.state.clone().unwrap_or_default());
    }
    let Some(span) = session.span(programme) else {
        return note(NoteCode::NotScheduled, "it has no begin".to_owned());
    };
    let local = |at: DateTime<Utc>| at.with_timezone(&programme.zone).format("%Y-%m-%d %H:%M").to_string();
    if !span.end_is_given {
        note(NoteCode::EndGuessed, format!("shown until {}", local(span.end)));
    }
    if programme.day_of(span.start) != span.start.with_timezone(&programme.zone).date_naive() {
        note(NoteCode::AfterMidnight, local(span.start));
    }
    let before = programme.event.starts_at.is_some_and(|start| programme.day_of(span.start) < programme.day_of(start));
    let after = programme.event.ends_at.is_some_and(|end| programme.day_of(span.start) > programme.day_of(end));
    if before || after {
        note(NoteCode::OutsideEvent, local(span.start));
    }
    let Some(room) = session.room else {
        return note(NoteCode::WithoutRoom, local(span.start));
    };
    if let Some((until, title)) = busy.get(&room).filter(|(until, _)| span.start < *until) {
        let name = &programme.rooms[room].name;
        note(NoteCode::Overlapping, format!("`{title}` is in {name} until {}", local(*until)));
    }
    let until = busy.entry(room).or_insert_with(|| (span.end, session.title.clone()));
    if span.end > until.0 {
        *until = (span.end, session.title.clone());
    }
}
