//! Small pieces of language: counts, sizes, times, and texts from elsewhere made fit to print.

use std::borrow::Cow;

use chrono::TimeDelta;

use crate::clock::Timestamp;

/// Longest subject in characters: mail programs show less, and some relays cut or refuse more.
const SUBJECT_CHARACTERS: usize = 150;

/// Longest piece of foreign text that a mail shows, in characters.
const TEXT_CHARACTERS: usize = 500;

/// Makes a text from elsewhere fit for one line: no line breaks, no control characters, none of the characters that
/// turn the direction of writing or are not seen, and no more than 500 characters.
pub(super) fn clean(text: &str) -> String {
    cut(&one_line(text), TEXT_CHARACTERS)
}

/// A subject: one line of at most 150 characters.
pub(super) fn subject(text: &str) -> String {
    cut(&one_line(text), SUBJECT_CHARACTERS)
}

fn one_line(text: &str) -> String {
    let spaced: String = text.chars().map(|c| if is_unprintable(c) { ' ' } else { c }).collect();
    spaced.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}' | '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
        || matches!(c, '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

/// Cuts a text to so many characters, the last one then being `…`.
pub(super) fn cut(text: &str, characters: usize) -> String {
    match text.char_indices().nth(characters) {
        None => text.to_owned(),
        Some(_) => {
            let kept: String = text.chars().take(characters.saturating_sub(1)).collect();
            format!("{}…", kept.trim_end())
        }
    }
}

pub(super) use crate::model::words::grouped as number;

/// `1 session`, `371 sessions`; every noun of the catalogue takes an `s`.
pub(super) fn counted(value: u64, singular: &str) -> String {
    format!("{} {}", number(value), plural(value, singular))
}

/// The noun for so many of a thing.
pub(super) fn plural(value: u64, singular: &str) -> Cow<'_, str> {
    if value == 1 { Cow::Borrowed(singular) } else { Cow::Owned(format!("{singular}s")) }
}

/// A size in bytes for people: `812 bytes`, `1.2 MiB`.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    for (unit, name) in UNITS {
        if bytes >= unit {
            let tenths = u128::from(bytes) * 10 / u128::from(unit);
            return format!("{}.{} {name}", tenths / 10, tenths % 10);
        }
    }
    counted(bytes, "byte")
}

/// An instant for people, in UTC.
pub(super) fn moment(at: Timestamp) -> String {
    at.format("%Y-%m-%d %H:%M UTC").to_string()
}

/// A length of time for people, in its two largest units.
pub(super) fn duration(length: TimeDelta) -> String {
    let seconds = length.num_seconds().max(0);
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    let two = |large: i64, large_unit: &str, small: i64, small_unit: &str| match small {
        0 => format!("{large} {large_unit}"),
        _ => format!("{large} {large_unit} {small} {small_unit}"),
    };
    match (days, hours, minutes, seconds % 60) {
        (0, 0, 0, 0) => "less than a second".to_owned(),
        (0, 0, 0, seconds) => format!("{seconds} s"),
        (0, 0, minutes, seconds) => two(minutes, "min", seconds, "s"),
        (0, hours, minutes, _) => two(hours, "h", minutes, "min"),
        (1, hours, _, _) => two(1, "day", hours, "h"),
        (days, hours, _, _) => two(days, "days", hours, "h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foreign_text_becomes_one_harmless_line() {
        assert_eq!(clean("a\r\nBcc: x@example.org\t\u{202e}b\u{0}c\u{200b}"), "a Bcc: x@example.org b c");
        assert_eq!(clean(&"x".repeat(600)).chars().count(), 500);
    }

    #[test]
    fn a_subject_ends_after_150_characters() {
        let long = subject(&"ü".repeat(400));
        assert_eq!(long.chars().count(), 150);
        assert!(long.ends_with('…'));
        assert_eq!(subject(&"ü".repeat(150)), "ü".repeat(150));
    }

    #[test]
    fn counts_sizes_and_lengths_read_like_language() {
        assert_eq!(counted(1, "session"), "1 session");
        assert_eq!(counted(0, "room"), "0 rooms");
        assert_eq!(counted(1_234_567, "room"), "1,234,567 rooms");
        assert_eq!(size(1), "1 byte");
        assert_eq!(size(1023), "1,023 bytes");
        assert_eq!(size(1_572_864), "1.5 MiB");
        assert_eq!(size(u64::MAX), "17179869183.9 GiB");
        assert_eq!(duration(TimeDelta::milliseconds(400)), "less than a second");
        assert_eq!(duration(TimeDelta::seconds(125)), "2 min 5 s");
        assert_eq!(duration(TimeDelta::seconds(7_200)), "2 h");
        assert_eq!(duration(TimeDelta::seconds(-5)), "less than a second");
        assert_eq!(duration(TimeDelta::hours(50)), "2 days 2 h");
    }
}
