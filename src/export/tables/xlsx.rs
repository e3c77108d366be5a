//! `event.xlsx`: a workbook with the sessions, speakers, rooms, tracks and sponsors of an event, and a page about it.
//!
//! Every text is a text, also one that looks like a formula or an address; links are not clickable, since the library keeps
//! those in memory. Instants are cells with a date and time by the clock of the event's zone, which their heading names.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;

use calamine::{DataRef, Reader, Xlsx};
use chrono::{DateTime, Datelike, Utc};
use chrono_tz::Tz;
use rust_xlsxwriter::{
    Color, DocProperties, ExcelDateTime, Format, FormatAlign, IgnoreError, Workbook, Worksheet, XlsxError,
};

use super::columns::{SESSIONS, SPEAKERS};
use super::{Cell, Column, Place, Table, clean, local, with_offset};
use crate::export::program::{NoteCode, Privacy, Programme, RenderError, Rendered, Selection, Source, Stream};
use crate::format::spreadsheet::looks_like_a_formula;

/// The sheets in their order.
const SHEETS: [&str; 6] = ["Sessions", "Speakers", "Rooms", "Tracks", "Sponsors", "About"];

/// UTF-16 units of a cell's text: what Excel carries.
const MOST_UNITS: usize = 32_767;

/// Rows of a sheet besides its headings: what Excel carries.
const MOST_ROWS: u32 = 1_048_575;

/// What the library says when it panics because the disk failed; it writes rows to files without a way to return errors.
const WRITING_FAILED: &str = "Couldn't write to xml file";

/// Writes the workbook. Temporary files lie in its folder and have no names; the same data gives the same bytes.
///
/// # Errors
/// Those of the source and of the disk.
pub fn render(source: &dyn Source, path: &Path) -> Result<Rendered, RenderError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut out = BufWriter::new(File::create(path)?);
    let rendered = render_into(source, &mut out, folder, MOST_ROWS)?;
    out.flush()?;
    Ok(rendered)
}

/// The workbook with at most so many rows in a sheet of sessions or speakers; temporary files lie in the folder.
pub(super) fn render_into(
    source: &dyn Source,
    out: &mut (impl Write + Send),
    folder: &Path,
    most_rows: u32,
) -> Result<Rendered, RenderError> {
    catch_unwind(AssertUnwindSafe(|| fill(source, out, folder, most_rows))).unwrap_or_else(|panic| {
        match panic.downcast_ref::<String>() {
            Some(text) if text.starts_with(WRITING_FAILED) => Err(RenderError::Write(disk_error(text))),
            _ => resume_unwind(panic),
        }
    })
}

fn disk_error(text: &str) -> io::Error {
    let kind = if text.contains("StorageFull") { io::ErrorKind::StorageFull } else { io::ErrorKind::Other };
    io::Error::new(kind, text.to_owned())
}

fn fill(
    source: &dyn Source,
    out: &mut (impl Write + Send),
    folder: &Path,
    most_rows: u32,
) -> Result<Rendered, RenderError> {
    let programme = source.programme();
    let mut workbook = Workbook::new();
    workbook.set_tempdir(folder).map_err(failed)?;
    let mut book = Book { programme, formats: Formats::new(), most_rows, rendered: Rendered::default() };

    let counts = book.sessions(sheet(&mut workbook, SHEETS[0])?, source)?;
    book.speakers(sheet(&mut workbook, SHEETS[1])?, source)?;
    book.rooms(sheet(&mut workbook, SHEETS[2])?, &counts)?;
    book.tracks(sheet(&mut workbook, SHEETS[3])?, &counts)?;
    book.sponsors(sheet(&mut workbook, SHEETS[4])?)?;
    book.about(sheet(&mut workbook, SHEETS[5])?)?;

    let title = book.text(&programme.event.name, book.of_the_event("name")).into_owned();
    let made_at = excel_time(Tz::UTC, programme.changed_at).or_else(|| excel_time(Tz::UTC, DateTime::UNIX_EPOCH));
    if let Some(made_at) = made_at {
        workbook.set_properties(&DocProperties::new().set_title(title).set_creation_datetime(&made_at));
    }
    workbook.save_to_writer(out).map_err(failed)?;
    Ok(book.rendered)
}

fn sheet<'a>(workbook: &'a mut Workbook, name: &str) -> Result<&'a mut Worksheet, RenderError> {
    workbook.add_worksheet_with_constant_memory().and_then(|sheet| sheet.set_name(name)).map_err(failed)
}

struct Formats {
    heading: Format,
    text: Format,
    /// As if a person had written `'` in front: the text stays a text when its cell is edited.
    formula_like: Format,
    instant: Format,
}

impl Formats {
    fn new() -> Self {
        let top = || Format::new().set_align(FormatAlign::Top);
        Self {
            heading: top().set_bold().set_background_color(Color::RGB(0x00E7_ECF2)),
            text: top(),
            formula_like: top().set_quote_prefix(),
            instant: top().set_num_format("yyyy-mm-dd hh:mm").set_align(FormatAlign::Left),
        }
    }
}

/// How many sessions each room and each track has.
struct Counts {
    rooms: Vec<i64>,
    tracks: Vec<i64>,
}

struct Book<'a> {
    programme: &'a Programme,
    formats: Formats,
    most_rows: u32,
    rendered: Rendered,
}

impl<'a> Book<'a> {
    fn sessions(&mut self, sheet: &mut Worksheet, source: &dyn Source) -> Result<Counts, RenderError> {
        let mut counts =
            Counts { rooms: vec![0; self.programme.rooms.len()], tracks: vec![0; self.programme.tracks.len()] };
        let sessions = source.sessions(&Selection::ALL).inspect(|session| {
            let Ok(session) = session else { return };
            for (counts, index) in [(&mut counts.rooms, session.room), (&mut counts.tracks, session.track)] {
                if let Some(count) = index.and_then(|index| counts.get_mut(index)) {
                    *count += 1;
                }
            }
        });
        self.rendered.sessions = self.table(sheet, &SESSIONS, Box::new(sessions))?;
        Ok(counts)
    }

    fn speakers(&mut self, sheet: &mut Worksheet, source: &dyn Source) -> Result<(), RenderError> {
        self.rendered.speakers = self.table(sheet, &SPEAKERS, source.speakers())?;
        Ok(())
    }

    fn rooms(&mut self, sheet: &mut Worksheet, counts: &Counts) -> Result<(), RenderError> {
        let rows = self
            .programme
            .rooms
            .iter()
            .zip(&counts.rooms)
            .map(|(room, count)| [room.name.as_str().into(), Cell::Number(*count), room.uuid.to_string().into()]);
        self.list(sheet, &[("Name", 32.0), ("Sessions", 10.0), ("UUID", 38.0)], rows)
    }

    fn tracks(&mut self, sheet: &mut Worksheet, counts: &Counts) -> Result<(), RenderError> {
        let rows = self.programme.tracks.iter().zip(&counts.tracks).map(|(track, count)| {
            [track.name.as_str().into(), (&track.color).into(), Cell::Number(*count), track.uuid.to_string().into()]
        });
        self.list(sheet, &[("Name", 32.0), ("Colour", 10.0), ("Sessions", 10.0), ("UUID", 38.0)], rows)
    }

    fn sponsors(&mut self, sheet: &mut Worksheet) -> Result<(), RenderError> {
        let sponsors = self.programme.sponsors.iter();
        let rows =
            sponsors.map(|sponsor| [sponsor.name.as_str().into(), (&sponsor.kind).into(), (&sponsor.url).into()]);
        self.list(sheet, &[("Name", 32.0), ("Kind", 20.0), ("Page", 48.0)], rows)
    }

    fn about(&mut self, sheet: &mut Worksheet) -> Result<(), RenderError> {
        let Programme { event, zone, links, changed_at, privacy, .. } = self.programme;
        let personal_data = match privacy {
            Privacy::Public => "left out",
            Privacy::Private => "included: treat this file as confidential",
        };
        let count = |count: u64| Cell::Number(i64::try_from(count).unwrap_or(i64::MAX));
        let known = [
            ("Event", event.name.as_str().into()),
            ("Begins", Cell::Instant(event.starts_at)),
            ("Ends", Cell::Instant(event.ends_at)),
            ("Time zone", zone.name().into()),
            ("Location", (&event.location).into()),
            ("Organiser", (&event.owner_name).into()),
            ("Page", (&event.url).into()),
            ("Tickets", (&event.ticket_url).into()),
            ("Sessions", count(self.rendered.sessions)),
            ("Speakers", count(self.rendered.speakers)),
            ("Personal data", personal_data.into()),
            ("Last changed", Cell::Instant(Some(*changed_at))),
            ("UUID", event.uuid.to_string().into()),
        ];
        let linked = links.iter().map(|link| [link.name.as_str().into(), link.url.as_str().into()]);
        let rows = known.into_iter().map(|(name, value)| [Cell::from(name), value]).chain(linked);
        self.list(sheet, &[("What", 20.0), ("Value", 64.0)], rows)
    }

    /// A sheet of records; says how many rows it has.
    fn table<R>(
        &mut self,
        sheet: &mut Worksheet,
        table: &Table<R>,
        records: Stream<'_, R>,
    ) -> Result<u64, RenderError> {
        let columns = table.columns_for(self.programme, &mut self.rendered.notes);
        for (number, column) in (0..).zip(&columns) {
            sheet.set_column_width(number, column.width).map_err(failed)?;
        }
        self.headings(sheet, columns.iter().map(|column| heading(column, self.programme.zone)))?;

        let mut rows = 0;
        for record in records {
            let record = record?;
            let (source_id, title) = (table.who)(&record);
            if rows == self.most_rows {
                let place = Place { source_id: Some(source_id), title, column: "row" };
                place.note(&mut self.rendered.notes, NoteCode::RowsLeftOut, &format!("more than {}", self.most_rows));
                continue;
            }
            rows += 1;
            for (number, column) in (0..).zip(&columns) {
                let place = Place { source_id: Some(source_id), title, column: column.name };
                self.cell(sheet, (rows, number), (column.cell)(&record, self.programme), place)?;
            }
        }
        finish(sheet, rows, columns.len())?;
        Ok(u64::from(rows))
    }

    /// A sheet of what is in memory.
    fn list<const N: usize>(
        &mut self,
        sheet: &mut Worksheet,
        columns: &[(&'static str, f64); N],
        rows: impl Iterator<Item = [Cell<'a>; N]>,
    ) -> Result<(), RenderError> {
        for (number, (_, width)) in (0..).zip(columns) {
            sheet.set_column_width(number, *width).map_err(failed)?;
        }
        self.headings(sheet, columns.iter().map(|(heading, _)| Cow::Borrowed(*heading)))?;
        let mut count = 0;
        for row in rows.take(MOST_ROWS as usize) {
            count += 1;
            for ((number, (heading, _)), cell) in (0..).zip(columns).zip(row) {
                self.cell(sheet, (count, number), cell, self.of_the_event(heading))?;
            }
        }
        finish(sheet, count, N)
    }

    fn headings(
        &self,
        sheet: &mut Worksheet,
        headings: impl Iterator<Item = Cow<'static, str>>,
    ) -> Result<(), RenderError> {
        for (number, heading) in (0..).zip(headings) {
            sheet.write_string_with_format(0, number, heading, &self.formats.heading).map_err(failed)?;
        }
        Ok(())
    }

    fn cell(
        &mut self,
        sheet: &mut Worksheet,
        (row, column): (u32, u16),
        cell: Cell<'_>,
        place: Place<'_>,
    ) -> Result<(), RenderError> {
        let text = match cell {
            Cell::Number(number) => {
                // Exact up to 2^53, as every number of a workbook.
                let number = number as f64;
                return sheet
                    .write_number_with_format(row, column, number, &self.formats.text)
                    .map(drop)
                    .map_err(failed);
            }
            Cell::Instant(None) => return Ok(()),
            Cell::Instant(Some(instant)) => match excel_time(self.programme.zone, instant) {
                Some(time) => {
                    let written = sheet.write_datetime_with_format(row, column, &time, &self.formats.instant);
                    return written.map(drop).map_err(failed);
                }
                None => Cow::Owned(with_offset(self.programme.zone, instant)),
            },
            Cell::Text(text) => text,
        };
        let text = self.text(&text, place);
        if text.is_empty() {
            return Ok(());
        }
        let format = if looks_like_a_formula(&text) { &self.formats.formula_like } else { &self.formats.text };
        sheet.write_string_with_format(row, column, text, format).map(drop).map_err(failed)
    }

    /// A text as a cell carries it.
    fn text<'t>(&mut self, text: &'t str, place: Place<'_>) -> Cow<'t, str> {
        let text = clean(text, place, &mut self.rendered.notes);
        let Some(end) = end_of_what_fits(&text) else { return text };
        place.note(&mut self.rendered.notes, NoteCode::TextCut, &format!("{} characters", text.chars().count()));
        match text {
            Cow::Borrowed(text) => Cow::Borrowed(&text[..end]),
            Cow::Owned(mut text) => {
                text.truncate(end);
                Cow::Owned(text)
            }
        }
    }

    fn of_the_event(&self, column: &'a str) -> Place<'a> {
        Place { source_id: None, title: &self.programme.event.name, column }
    }
}

/// Where to cut a text that is too long, in bytes.
fn end_of_what_fits(text: &str) -> Option<usize> {
    if text.len() <= MOST_UNITS {
        return None;
    }
    let mut units = 0;
    text.char_indices().find_map(|(index, character)| {
        units += character.len_utf16();
        (units > MOST_UNITS).then_some(index)
    })
}

fn heading<R>(column: &Column<R>, zone: Tz) -> Cow<'static, str> {
    if column.name.ends_with("_at") {
        Cow::Owned(format!("{} ({})", column.heading, zone.name()))
    } else {
        Cow::Borrowed(column.heading)
    }
}

/// Headings that stay in sight, a filter for each, and no warning about ids that are numbers.
fn finish(sheet: &mut Worksheet, rows: u32, columns: usize) -> Result<(), RenderError> {
    let last_column = u16::try_from(columns).unwrap_or(u16::MAX).saturating_sub(1);
    sheet
        .set_freeze_panes(1, 0)
        .and_then(|sheet| sheet.autofilter(0, 0, rows, last_column))
        .and_then(|sheet| sheet.ignore_error_range(0, 0, rows, last_column, IgnoreError::NumberStoredAsText))
        .map(drop)
        .map_err(failed)
}

/// What the zone's clock shows, as far as the calendar of a workbook goes; it takes 1900 for a leap year.
fn excel_time(zone: Tz, instant: DateTime<Utc>) -> Option<ExcelDateTime> {
    let local = local(zone, instant).filter(|local| (1901..=9999).contains(&local.year()))?;
    ExcelDateTime::from_timestamp(local.and_utc().timestamp()).ok()
}

fn failed(error: XlsxError) -> RenderError {
    match error {
        XlsxError::IoError(error) | XlsxError::TempFileError(_, error) => RenderError::Write(error),
        XlsxError::ZipError(error) => RenderError::Write(io::Error::other(error)),
        other => RenderError::Invalid(other.to_string()),
    }
}

/// Reads a workbook of this kind back and says how many sessions and speakers it has together.
///
/// # Errors
/// [`RenderError::Invalid`] where it cannot be read, lacks a sheet or a heading, or holds a formula; otherwise those of the disk.
pub fn check(path: &Path) -> Result<u64, RenderError> {
    let file = BufReader::new(File::open(path)?);
    let mut workbook = Xlsx::new(file).map_err(|error| RenderError::Invalid(error.to_string()))?;
    let found = workbook.sheet_names();
    if found != SHEETS {
        return Err(RenderError::Invalid(format!("its sheets are {}", found.join(", "))));
    }
    let mut rows = 0;
    for (number, name) in SHEETS.iter().enumerate() {
        let count = check_sheet(&mut workbook, name).map_err(|what| RenderError::Invalid(format!("{name}: {what}")))?;
        if number < 2 {
            rows += count;
        }
    }
    Ok(rows)
}

fn check_sheet(workbook: &mut Xlsx<BufReader<File>>, name: &str) -> Result<u64, String> {
    let mut cells = workbook.worksheet_cells_reader(name).map_err(|error| error.to_string())?;
    let mut rows = 0;
    let mut latest = None;
    while let Some(cell) = cells.next_cell_with_formula().map_err(|error| error.to_string())? {
        let (row, column) = cell.pos;
        if cell.formula.is_some() {
            return Err(format!("the cell in row {} and column {} is a formula", row + 1, column + 1));
        }
        if row == 0 && matches!(cell.value, DataRef::Empty) {
            return Err("a column has no heading".to_owned());
        }
        if latest != Some(row) {
            latest = Some(row);
            rows += 1;
        }
    }
    match rows {
        0 => Err("it is empty".to_owned()),
        rows => Ok(rows - 1),
    }
}
