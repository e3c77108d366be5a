//! Names from outside: shown to people, or made into names that are safe to use.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt;

use unicode_normalization::UnicodeNormalization;

/// A file name for people, on one line: see [`display_bytes`].
pub fn display_name(name: impl AsRef<OsStr>) -> String {
    display_bytes(name.as_ref().as_bytes())
}

/// The bytes of a name for people, on one line: what is no UTF-8 becomes `\xNN` per byte; control characters, and those
/// that change the direction of the text or are line ends to some, become `\n`, `\xNN` or `\u{…}`. A backslash stays.
pub fn display_bytes(bytes: &[u8]) -> String {
    let mut shown = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            push_visible(&mut shown, character);
        }
        for byte in chunk.invalid() {
            push_byte(&mut shown, *byte);
        }
    }
    shown
}

fn push_visible(shown: &mut String, character: char) {
    match character {
        '\n' => shown.push_str("\\n"),
        '\r' => shown.push_str("\\r"),
        '\t' => shown.push_str("\\t"),
        '\0'..='\u{1f}' | '\u{7f}' => push_byte(shown, character as u8),
        '\u{80}'..='\u{9f}'
        | '\u{61c}'
        | '\u{200e}'
        | '\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2066}'..='\u{2069}'
        | '\u{feff}' => shown.extend(character.escape_unicode()),
        _ => shown.push(character),
    }
}

fn push_byte(shown: &mut String, byte: u8) {
    // Writing to a `String` cannot fail.
    let _ = write!(shown, "\\x{byte:02x}");
}

/// A file name made from a name of unknown origin: letters of any script, digits and `. _ -` stay (composed, NFC),
/// anything else becomes `_`, and so does a `.` or `-` at the beginning. Cut between characters to at most `max_bytes`.
///
/// Never empty, `.`, `..`, hidden or an option; different names can become equal.
pub fn safe_component(name: &str, max_bytes: usize) -> String {
    let mut safe = String::new();
    for character in name.nfc() {
        let character = match character {
            '.' | '-' if safe.is_empty() => '_',
            '.' | '-' | '_' => character,
            letter if letter.is_alphanumeric() => letter,
            _ => '_',
        };
        if safe.len() + character.len_utf8() > max_bytes {
            break;
        }
        safe.push(character);
    }
    if safe.is_empty() { "_".to_owned() } else { safe }
}
