//! Texts as every calendar format can carry them.

use crate::export::calendar::address;
use crate::export::calendar::rich;
use crate::export::program::{NoteCode, Notes};

/// Whose texts are written, for the notes.
pub(super) struct About<'a> {
    /// The record's id in the archive; none for the event itself.
    pub(super) source_id: Option<&'a str>,
    /// Its title or name.
    pub(super) title: &'a str,
    /// Where to note what was changed.
    pub(super) notes: &'a mut Notes,
}

impl About<'_> {
    /// Notes one case of this record.
    pub(super) fn note(&mut self, code: NoteCode, detail: impl std::fmt::Display) {
        self.notes.add(code, self.source_id, self.title, detail);
    }
}

/// A name or title on one line, without blanks around it.
pub(super) fn line(about: &mut About<'_>, field: &str, text: &str) -> String {
    let text = carried(about, field, text);
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// [`line`], and another where nothing is left.
pub(super) fn name(about: &mut About<'_>, field: &str, text: &str, otherwise: impl FnOnce() -> String) -> String {
    let name = line(about, field, text);
    if !name.is_empty() {
        return name;
    }
    let name = otherwise();
    about.note(NoteCode::NameGiven, format_args!("the {field} is empty; `{name}` is shown"));
    name
}

/// [`line`] of a text that may be missing; none where nothing is left.
pub(super) fn optional_line(about: &mut About<'_>, field: &str, text: Option<&str>) -> Option<String> {
    text.map(|text| line(about, field, text)).filter(|text| !text.is_empty())
}

/// Rich text as paragraphs of plain text with `\n` between lines; none where nothing is left.
pub(super) fn paragraphs(about: &mut About<'_>, field: &str, text: Option<&str>) -> Option<String> {
    let text = rich::to_plain(&carried(about, field, text?));
    // A character reference may stand for what was taken out before.
    let text = carried(about, field, &text);
    (!text.is_empty()).then_some(text)
}

/// A link as a web address that every format accepts; none where it is not one.
pub(super) fn link(about: &mut About<'_>, field: &str, text: Option<&str>) -> Option<String> {
    let text = text.map(str::trim).filter(|text| !text.is_empty())?;
    let address = address::web(text);
    if address.is_none() {
        about.note(NoteCode::LinkLeftOut, format_args!("{field}: {text}"));
    }
    address
}

/// Leaves out what XML 1.0 or a calendar cannot carry, and makes every kind of line end `\n`.
fn carried(about: &mut About<'_>, field: &str, text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut removed = 0_u32;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\r' => {
                if characters.peek() != Some(&'\n') {
                    kept.push('\n');
                }
            }
            // Readers that split at every Unicode line end would find a broken line otherwise.
            '\u{85}' | '\u{2028}' | '\u{2029}' => kept.push('\n'),
            '\n' | '\t' => kept.push(character),
            '\u{fffe}' | '\u{ffff}' => removed += 1,
            character if character.is_control() => removed += 1,
            character => kept.push(character),
        }
    }
    if removed > 0 {
        let what = if removed == 1 { "character" } else { "characters" };
        about.note(NoteCode::CharactersRemoved, format_args!("{field}: {removed} control {what}"));
    }
    kept
}
