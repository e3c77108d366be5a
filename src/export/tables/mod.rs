//! Sessions and speakers as tables, for people with a spreadsheet: which columns there are, and what texts a table carries.
//!
//! Nothing is guessed: an end that is not given stays empty. Rich texts (abstracts, biographies) have no column.

mod columns;
pub mod csv;
#[cfg(test)]
mod tests;
pub mod xlsx;

use std::borrow::Cow;

use chrono::{DateTime, NaiveDateTime, Offset, SecondsFormat, TimeZone, Utc};
use chrono_tz::Tz;

use crate::export::program::{NoteCode, Notes, Privacy, Programme};

/// A table of records of one kind.
struct Table<R: 'static> {
    /// Its columns, from left to right.
    columns: &'static [Column<R>],
    /// A record's id in the archive and its title or name, for notes.
    who: for<'a> fn(&'a R) -> (&'a str, &'a str),
}

/// A column.
struct Column<R> {
    /// Its name in CSV: small letters and underscores.
    name: &'static str,
    /// Its heading in a workbook.
    heading: &'static str,
    /// Its width in a workbook, in characters.
    width: f64,
    /// In which files it is.
    shown: Shown,
    /// What stands in it.
    cell: for<'a> fn(&'a R, &'a Programme) -> Cell<'a>,
}

/// In which files a column is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown {
    /// In every one.
    Always,
    /// Only in those that may show personal data.
    Privately,
}

/// What stands in a cell.
enum Cell<'a> {
    /// A text; empty for nothing.
    Text(Cow<'a, str>),
    /// A number.
    Number(i64),
    /// An instant, shown by the clock of the event's zone; none for nothing.
    Instant(Option<DateTime<Utc>>),
}

impl<'a> From<&'a str> for Cell<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl<'a> From<&'a Option<String>> for Cell<'a> {
    fn from(text: &'a Option<String>) -> Self {
        text.as_deref().unwrap_or_default().into()
    }
}

impl From<String> for Cell<'_> {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

impl<R> Table<R> {
    /// The columns of a file, and a note about those that it does not have.
    fn columns_for(&self, programme: &Programme, notes: &mut Notes) -> Vec<&'static Column<R>> {
        let (shown, left_out): (Vec<_>, Vec<_>) = self
            .columns
            .iter()
            .partition(|column| column.shown == Shown::Always || programme.privacy == Privacy::Private);
        if !left_out.is_empty() {
            let names: Vec<&str> = left_out.iter().map(|column| column.name).collect();
            let detail = format!("no column for {}", names.join(", "));
            notes.add(NoteCode::PrivateLeftOut, None, &programme.event.name, detail);
        }
        shown
    }
}

/// A cell's place, for notes.
#[derive(Clone, Copy)]
struct Place<'a> {
    /// The record's id in the archive; none for what belongs to the event.
    source_id: Option<&'a str>,
    /// Its title or name.
    title: &'a str,
    /// The column's name.
    column: &'a str,
}

impl Place<'_> {
    fn note(self, notes: &mut Notes, code: NoteCode, what: &str) {
        notes.add(code, self.source_id, self.title, format_args!("{}: {what}", self.column));
    }
}

/// The text without what neither format carries: control characters other than tabs and line ends, and what is no character.
/// Every line end becomes a line feed, the only one that stands for a new line inside of a cell.
fn clean<'a>(text: &'a str, place: Place<'_>, notes: &mut Notes) -> Cow<'a, str> {
    if !text.contains(|character| character == '\r' || is_carried_by_none(character)) {
        return Cow::Borrowed(text);
    }
    if let Some(first) = text.chars().find(|character| is_carried_by_none(*character)) {
        place.note(notes, NoteCode::CharactersRemoved, &format!("U+{:04X}", u32::from(first)));
    }
    Cow::Owned(text.replace("\r\n", "\n").replace('\r', "\n").replace(is_carried_by_none, ""))
}

fn is_carried_by_none(character: char) -> bool {
    match character {
        '\t' | '\n' | '\r' => false,
        '\u{fffe}' | '\u{ffff}' => true,
        character => character.is_control(),
    }
}

/// What the zone's clock shows; none where its calendar ends.
fn local(zone: Tz, instant: DateTime<Utc>) -> Option<NaiveDateTime> {
    let utc = instant.naive_utc();
    utc.checked_add_offset(zone.offset_from_utc_datetime(&utc).fix())
}

/// An instant with the offset that its zone has then; in UTC where that offset is none that can be written.
fn with_offset(zone: Tz, instant: DateTime<Utc>) -> String {
    let offset = zone.offset_from_utc_datetime(&instant.naive_utc()).fix();
    if offset.local_minus_utc() % 60 == 0 && local(zone, instant).is_some() {
        instant.with_timezone(&offset).to_rfc3339_opts(SecondsFormat::Secs, false)
    } else {
        instant.to_rfc3339_opts(SecondsFormat::Secs, false)
    }
}
