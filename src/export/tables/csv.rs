//! `sessions.csv` and `speakers.csv`: UTF-8 with a byte order mark, commas, CRLF, a row of names first.

use std::io::{self, BufRead, BufReader, Read, Write};

use ::csv::{Reader, ReaderBuilder, StringRecord, Terminator, WriterBuilder};

use super::columns::{SESSIONS, SPEAKERS};
use super::{Cell, Place, Table, clean, with_offset};
use crate::export::program::{NoteCode, Notes, Programme, RenderError, Rendered, Selection, Source, Stream};
use crate::format::BYTE_ORDER_MARK;
use crate::format::spreadsheet::looks_like_a_formula;

/// Writes every session that is not gone, by its begin. Instants carry the offset of the event's zone; a text that a
/// spreadsheet would compute gets a `'` in front, which is noted.
///
/// # Errors
/// Those of the source and of `out`.
pub fn render_sessions(source: &dyn Source, out: &mut dyn Write) -> Result<Rendered, RenderError> {
    let (sessions, notes) = render(source.programme(), &SESSIONS, source.sessions(&Selection::ALL), out)?;
    Ok(Rendered { sessions, speakers: 0, notes })
}

/// Writes every speaker that is not gone, by id; otherwise as [`render_sessions`].
///
/// # Errors
/// Those of the source and of `out`.
pub fn render_speakers(source: &dyn Source, out: &mut dyn Write) -> Result<Rendered, RenderError> {
    let (speakers, notes) = render(source.programme(), &SPEAKERS, source.speakers(), out)?;
    Ok(Rendered { sessions: 0, speakers, notes })
}

fn render<R>(
    programme: &Programme,
    table: &Table<R>,
    records: Stream<'_, R>,
    out: &mut dyn Write,
) -> Result<(u64, Notes), RenderError> {
    let mut notes = Notes::default();
    let columns = table.columns_for(programme, &mut notes);

    out.write_all(BYTE_ORDER_MARK)?;
    let mut writer = WriterBuilder::new().terminator(Terminator::CRLF).from_writer(out);
    writer.write_record(columns.iter().map(|column| column.name)).map_err(io::Error::from)?;
    let mut rows = 0;
    for record in records {
        let record = record?;
        let (source_id, title) = (table.who)(&record);
        for column in &columns {
            let place = Place { source_id: Some(source_id), title, column: column.name };
            let text = text_of((column.cell)(&record, programme), programme, place, &mut notes);
            writer.write_field(text).map_err(io::Error::from)?;
        }
        writer.write_record(None::<&[u8]>).map_err(io::Error::from)?;
        rows += 1;
    }
    writer.flush()?;
    Ok((rows, notes))
}

fn text_of(cell: Cell<'_>, programme: &Programme, place: Place<'_>, notes: &mut Notes) -> String {
    let text = match cell {
        Cell::Text(text) => text.into_owned(),
        Cell::Number(number) => return number.to_string(),
        Cell::Instant(instant) => instant.map(|instant| with_offset(programme.zone, instant)).unwrap_or_default(),
    };
    let cleaned = clean(&text, place, notes);
    if looks_like_a_formula(&cleaned) {
        place.note(notes, NoteCode::FormulaNeutralised, &cleaned);
        return format!("'{cleaned}");
    }
    cleaned.into_owned()
}

/// Reads a file of this kind back and says how many rows it has besides their names.
///
/// # Errors
/// [`RenderError::Invalid`] where it has no byte order mark, is not UTF-8, has rows of different lengths, or holds a text that
/// a spreadsheet would compute; otherwise those of `file`.
pub fn check(file: &mut dyn Read) -> Result<u64, RenderError> {
    let mut reader = after_the_mark(file)?;
    let names = reader.headers().map_err(unreadable)?.len();
    if names < 2 {
        return Err(RenderError::Invalid("the first row does not name the columns".to_owned()));
    }
    let mut record = StringRecord::new();
    let mut rows = 0;
    while reader.read_record(&mut record).map_err(unreadable)? {
        rows += 1;
        if let Some(text) = record.iter().find(|text| looks_like_a_formula(text) && text.parse::<i64>().is_err()) {
            return Err(RenderError::Invalid(format!("row {rows} holds a formula: {}", text.escape_debug())));
        }
    }
    Ok(rows)
}

fn after_the_mark(file: &mut dyn Read) -> Result<Reader<impl BufRead>, RenderError> {
    let mut file = BufReader::new(file);
    let mut mark = [0; BYTE_ORDER_MARK.len()];
    match file.read_exact(&mut mark) {
        Ok(()) if mark == BYTE_ORDER_MARK => Ok(ReaderBuilder::new().flexible(false).from_reader(file)),
        Ok(()) => Err(RenderError::Invalid("the file has no byte order mark".to_owned())),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Err(RenderError::Invalid("the file is empty".to_owned()))
        }
        Err(error) => Err(error.into()),
    }
}

fn unreadable(error: ::csv::Error) -> RenderError {
    if error.is_io_error() { RenderError::Write(error.into()) } else { RenderError::Invalid(error.to_string()) }
}
