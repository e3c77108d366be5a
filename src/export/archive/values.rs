//! Single values of a record as an archive has them, made from what the database gives.

use std::borrow::Cow;

use chrono::{DateTime, Datelike, FixedOffset, NaiveDate, NaiveDateTime, SecondsFormat, Timelike, Utc};
use chrono_tz::Tz;

use crate::export::program::ReadError;
use crate::format::{length, value, zone};

/// Most digits of a number that every reader of JSON takes as it is.
const SAFE_DIGITS: usize = 15;

/// An id: a number where it is written like one, else a text. `raw` is the text of it as JSON.
pub(super) fn push_id(out: &mut String, raw: &str) {
    let digits = raw.get(1..raw.len().saturating_sub(1)).unwrap_or_default();
    let positive = digits.strip_prefix('-').unwrap_or(digits);
    let is_whole = match positive.as_bytes() {
        [b'0'] => digits == "0",
        [b'1'..=b'9', rest @ ..] => rest.len() < SAFE_DIGITS && rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    out.push_str(if is_whole { digits } else { raw });
}

/// As [`push_id`], of an id that is no JSON yet.
pub(super) fn push_plain_id(out: &mut String, id: &str) {
    push_id(out, &quoted(id));
}

/// A text as JSON.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The characters of a text; none of `null`.
pub(super) fn characters(raw: &str) -> Result<Option<Cow<'_, str>>, ReadError> {
    if raw == "null" {
        return Ok(None);
    }
    value::string(raw).map(Some).map_err(|_| ReadError("the database gave a text that is none".to_owned()))
}

/// True or false, which SQLite keeps as numbers.
pub(super) fn push_boolean(out: &mut String, raw: &str) {
    out.push_str(match raw {
        "1" => "true",
        "0" => "false",
        other => other,
    });
}

/// A number, with as many digits as it needs.
pub(super) fn push_decimal(out: &mut String, number: Option<f64>) {
    // The databases do not agree about a zero below zero.
    let number = number.map(|number| if number == 0.0 { 0.0 } else { number });
    match number.and_then(serde_json::Number::from_f64) {
        Some(number) => out.push_str(&number.to_string()),
        None => out.push_str("null"),
    }
}

/// A length as given: what was a number is one again, since a text with the same digits would be clear and it was not.
pub(super) fn push_length(out: &mut String, raw: &str, minutes: &str) {
    let digits = raw.trim_matches('"');
    let was_number = minutes == "null"
        && length::minutes(digits).is_some()
        && serde_json::from_str::<serde_json::Number>(digits).is_ok();
    out.push_str(if was_number { digits } else { raw });
}

/// An instant, at the offset that was given, or in the event's zone where none was.
pub(super) fn push_instant(out: &mut String, raw: &str, offset: &str, zone: Tz) -> Result<(), ReadError> {
    if raw == "null" {
        out.push_str(raw);
        return Ok(());
    }
    let text = raw.trim_matches('"');
    let utc = instant(text).ok_or_else(|| ReadError(format!("`{text}` is no instant")))?;
    out.push('"');
    match characters(offset)? {
        None => push_in_zone(out, utc, zone),
        Some(offset) => match seconds_east(&offset).and_then(|east| utc.checked_add_offset(east)) {
            Some(local) => {
                push_local(out, local);
                out.push_str(&offset);
            }
            None => push_in_utc(out, utc),
        },
    }
    out.push('"');
    Ok(())
}

/// Without an offset, as it was given, where it is read as the same instant again; in the hour that a clock change
/// repeats that may not be so.
fn push_in_zone(out: &mut String, utc: NaiveDateTime, zone: Tz) {
    let instant: DateTime<Utc> = utc.and_utc();
    let local = instant.with_timezone(&zone).naive_local();
    if zone::instant_in(zone, local) == instant { push_local(out, local) } else { push_in_utc(out, utc) }
}

fn push_in_utc(out: &mut String, utc: NaiveDateTime) {
    out.push_str(&utc.and_utc().to_rfc3339_opts(SecondsFormat::AutoSi, true));
}

/// `Z`, or `+08:00`.
fn seconds_east(offset: &str) -> Option<FixedOffset> {
    let [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] = *offset.as_bytes() else {
        return if offset == "Z" { FixedOffset::east_opt(0) } else { None };
    };
    if ![h1, h2, m1, m2].iter().all(u8::is_ascii_digit) {
        return None;
    }
    let two = |one: u8, other: u8| i32::from(one - b'0') * 10 + i32::from(other - b'0');
    let east = two(h1, h2) * 3600 + two(m1, m2) * 60;
    FixedOffset::east_opt(if sign == b'-' { -east } else { east })
}

/// `2018-03-22T01:30:00.000Z`, with any digits behind the dot.
fn instant(text: &str) -> Option<NaiveDateTime> {
    usual_instant(text).or_else(|| Some(DateTime::parse_from_rfc3339(text).ok()?.naive_utc()))
}

fn usual_instant(text: &str) -> Option<NaiveDateTime> {
    let bytes = text.as_bytes();
    let number = |from: usize, to: usize| {
        let digits = bytes.get(from..to)?;
        let is_number = digits.iter().all(u8::is_ascii_digit);
        is_number.then(|| digits.iter().fold(0, |number, digit| number * 10 + u32::from(digit - b'0')))
    };
    let scale = match bytes.len() {
        24 => 1_000_000,
        27 => 1_000,
        _ => return None,
    };
    let marks = [bytes[4], bytes[7], bytes[10], bytes[13], bytes[16], bytes[19], bytes[bytes.len() - 1]];
    if marks != *b"--T::.Z" {
        return None;
    }
    let date = NaiveDate::from_ymd_opt(i32::try_from(number(0, 4)?).ok()?, number(5, 7)?, number(8, 10)?)?;
    let fraction = number(20, bytes.len() - 1)?;
    date.and_hms_nano_opt(number(11, 13)?, number(14, 16)?, number(17, 19)?, fraction * scale)
}

/// The clock on the wall, with a fraction of a second only where there is one.
fn push_local(out: &mut String, local: NaiveDateTime) {
    let (Ok(year @ 0..=9999), nanoseconds @ 0..1_000_000_000) = (u32::try_from(local.year()), local.nanosecond())
    else {
        out.push_str(&local.format("%Y-%m-%dT%H:%M:%S%.f").to_string());
        return;
    };
    push_digits(out, year, 4);
    for (mark, number) in
        [('-', local.month()), ('-', local.day()), ('T', local.hour()), (':', local.minute()), (':', local.second())]
    {
        out.push(mark);
        push_digits(out, number, 2);
    }
    if nanoseconds > 0 {
        out.push('.');
        if nanoseconds.is_multiple_of(1_000_000) {
            push_digits(out, nanoseconds / 1_000_000, 3);
        } else {
            push_digits(out, nanoseconds / 1_000, 6);
        }
    }
}

fn push_digits(out: &mut String, number: u32, digits: u32) {
    for place in (0..digits).rev() {
        out.push(char::from_digit(number / 10_u32.pow(place) % 10, 10).unwrap_or('0'));
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed step fails the test")]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut String)) -> String {
        let mut out = String::new();
        write(&mut out);
        out
    }

    #[test]
    fn ids_that_are_written_like_whole_numbers_are_numbers() {
        for (id, expected) in [
            ("12", "12"),
            ("0", "0"),
            ("-5", "-5"),
            ("999999999999999", "999999999999999"),
            ("9999999999999999", "\"9999999999999999\""),
            ("007", "\"007\""),
            ("-0", "\"-0\""),
            ("1e3", "\"1e3\""),
            ("+1", "\"+1\""),
            ("-", "\"-\""),
            ("12~2", "\"12~2\""),
            ("\"", "\"\\\"\""),
        ] {
            assert_eq!(written(|out| push_plain_id(out, id)), expected);
        }
    }

    #[test]
    fn instants_are_written_as_they_were_given() {
        let at = |utc: &str, offset: &str| {
            written(|out| push_instant(out, &quoted(utc), offset, Tz::Europe__Berlin).unwrap())
        };
        assert_eq!(at("2018-03-22T01:30:00.000Z", "\"+08:00\""), "\"2018-03-22T09:30:00+08:00\"");
        assert_eq!(at("2018-03-22T01:30:00.000000Z", "\"-09:30\""), "\"2018-03-21T16:00:00-09:30\"");
        assert_eq!(at("2018-03-22T01:30:00.500Z", "\"Z\""), "\"2018-03-22T01:30:00.500Z\"");
        assert_eq!(at("2018-03-22T01:30:00.500001Z", "\"Z\""), "\"2018-03-22T01:30:00.500001Z\"");
        assert_eq!(at("2018-03-22T01:30:00.000Z", "null"), "\"2018-03-22T02:30:00\"");
        assert_eq!(at("2018-10-28T00:30:00.000Z", "null"), "\"2018-10-28T02:30:00\"");
        // The second half past two of that night.
        assert_eq!(at("2018-10-28T01:30:00.000Z", "null"), "\"2018-10-28T01:30:00Z\"");
        assert_eq!(at("0001-01-01T00:00:00.000Z", "\"-05:00\""), "\"0000-12-31T19:00:00-05:00\"");
        assert_eq!(at("9999-12-31T23:00:00.000Z", "\"+05:00\""), "\"+10000-01-01T04:00:00+05:00\"");
        assert_eq!(at("2016-12-31T23:59:60.000Z", "\"+01:00\""), "\"2017-01-01T00:59:60+01:00\"");
    }

    #[test]
    fn numbers_keep_their_digits() {
        for (number, expected) in
            [(Some(52.5), "52.5"), (Some(52.0), "52.0"), (Some(1e300), "1e+300"), (None, "null"), (Some(-0.0), "0.0")]
        {
            assert_eq!(written(|out| push_decimal(out, number)), expected);
        }
    }

    #[test]
    fn a_length_that_was_a_number_is_one_again() {
        for (text, minutes, expected) in [
            ("\"3.30\"", "null", "3.30"),
            ("\"3.30\"", "210", "\"3.30\""),
            ("\"0.3\"", "null", "\"0.3\""),
            ("\"1:75\"", "null", "\"1:75\""),
            ("null", "null", "null"),
        ] {
            assert_eq!(written(|out| push_length(out, text, minutes)), expected);
        }
    }
}
