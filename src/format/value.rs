//! Single JSON values, taken from their source text by the kind the catalogue wants.

use std::borrow::Cow;

use chrono::{DateTime, Datelike, FixedOffset, NaiveDate, NaiveDateTime, Utc};
use chrono_tz::Tz;

use super::zone::instant_in;

/// What is wrong with a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bad {
    /// Another type than the catalogue wants.
    Type,
    /// A list of so many where fewer are allowed.
    TooMany(usize),
    /// No number, or none that fits.
    Number,
    /// No date.
    Date,
    /// A text that is no valid Unicode.
    Encoding,
}

/// The shape of a value, told by its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `null`
    Null,
    /// `"…"`
    Text,
    /// A number.
    Number,
    /// `true` or `false`
    Boolean,
    /// `{…}`
    Object,
    /// `[…]`
    List,
}

/// An instant, with the offset that was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// In UTC.
    pub utc: DateTime<Utc>,
    /// As given, such as `+08:00` or `Z`; none where the event's zone was used.
    pub offset: Option<String>,
}

/// Longest id in characters; real ones have at most twenty.
pub const ID_CHARACTERS: usize = 200;

/// The shape of a value that is known to be JSON.
pub fn shape(raw: &str) -> Shape {
    match raw.as_bytes().first() {
        Some(b'"') => Shape::Text,
        Some(b'{') => Shape::Object,
        Some(b'[') => Shape::List,
        Some(b't' | b'f') => Shape::Boolean,
        Some(b'n') | None => Shape::Null,
        Some(_) => Shape::Number,
    }
}

/// The characters of a JSON string; borrowed where it has no escapes.
///
/// # Errors
/// [`Bad::Encoding`] where an escape is half a surrogate pair.
pub fn string(raw: &str) -> Result<Cow<'_, str>, Bad> {
    let inner = raw.get(1..raw.len().saturating_sub(1)).unwrap_or_default();
    if memchr::memchr(b'\\', inner.as_bytes()).is_none() {
        return Ok(Cow::Borrowed(inner));
    }
    serde_json::from_str::<String>(raw).map(Cow::Owned).map_err(|_| Bad::Encoding)
}

/// A value as the person who wrote it knows it: a text without quotes and escapes, anything else as it stands.
pub fn shown(raw: &str) -> Cow<'_, str> {
    match shape(raw) {
        Shape::Text => string(raw).unwrap_or_else(|_| Cow::Borrowed(raw.trim_matches('"'))),
        Shape::Null | Shape::Number | Shape::Boolean | Shape::Object | Shape::List => Cow::Borrowed(raw),
    }
}

/// A text; numbers, true and false are taken as they are written.
///
/// # Errors
/// [`Bad::Type`] for objects and lists.
pub fn text(raw: &str) -> Result<Cow<'_, str>, Bad> {
    match shape(raw) {
        Shape::Text => string(raw),
        Shape::Number | Shape::Boolean => Ok(Cow::Borrowed(raw)),
        Shape::Null | Shape::Object | Shape::List => Err(Bad::Type),
    }
}

/// An id as trimmed text; none for null and blank.
///
/// # Errors
/// [`Bad::Type`] where it is neither text nor number, or longer than [`ID_CHARACTERS`].
pub fn id(raw: &str) -> Result<Option<String>, Bad> {
    let text = match shape(raw) {
        Shape::Null => return Ok(None),
        Shape::Text => string(raw)?,
        Shape::Number => Cow::Borrowed(raw),
        Shape::Boolean | Shape::Object | Shape::List => return Err(Bad::Type),
    };
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    if text.chars().nth(ID_CHARACTERS).is_some() || text.contains('\0') {
        return Err(Bad::Type);
    }
    Ok(Some(text.to_owned()))
}

/// A whole number; none for null and blank.
///
/// # Errors
/// [`Bad::Number`] for fractions and what is no number, [`Bad::Type`] for other shapes.
pub fn integer(raw: &str) -> Result<Option<i64>, Bad> {
    let Some(text) = number_text(raw)? else { return Ok(None) };
    if let Ok(number) = text.parse() {
        return Ok(Some(number));
    }
    let number: f64 = text.parse().map_err(|_| Bad::Number)?;
    // 2^53: every whole number below it is exact.
    if number.fract() == 0.0 && number.abs() < 9_007_199_254_740_992.0 {
        #[expect(clippy::cast_possible_truncation, reason = "it is whole and below 2^53")]
        return Ok(Some(number as i64));
    }
    Err(Bad::Number)
}

/// A number; none for null and blank.
///
/// # Errors
/// [`Bad::Number`] for what is no finite number, [`Bad::Type`] for other shapes.
pub fn decimal(raw: &str) -> Result<Option<f64>, Bad> {
    let Some(text) = number_text(raw)? else { return Ok(None) };
    if !text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'-' | b'+' | b'e' | b'E')) {
        return Err(Bad::Number);
    }
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(Some(number)),
        _ => Err(Bad::Number),
    }
}

fn number_text(raw: &str) -> Result<Option<Cow<'_, str>>, Bad> {
    match shape(raw) {
        Shape::Null => Ok(None),
        Shape::Number => Ok(Some(Cow::Borrowed(raw))),
        Shape::Text => {
            let text = string(raw)?;
            let trimmed = text.trim();
            Ok((!trimmed.is_empty()).then(|| Cow::Owned(trimmed.to_owned())))
        }
        Shape::Boolean | Shape::Object | Shape::List => Err(Bad::Type),
    }
}

/// True or false; blank is false, null is none.
///
/// # Errors
/// [`Bad::Type`] for anything that does not mean one of them.
pub fn boolean(raw: &str) -> Result<Option<bool>, Bad> {
    match shape(raw) {
        Shape::Null => Ok(None),
        Shape::Boolean => Ok(Some(raw == "true")),
        Shape::Number | Shape::Text => match text(raw)?.trim().to_ascii_lowercase().as_str() {
            "" | "false" | "0" | "no" | "off" => Ok(Some(false)),
            "true" | "1" | "yes" | "on" => Ok(Some(true)),
            _ => Err(Bad::Type),
        },
        Shape::Object | Shape::List => Err(Bad::Type),
    }
}

/// An instant; none for null and blank. A time without an offset is read in `zone`.
///
/// # Errors
/// [`Bad::Date`] for what is no date of the years 1 to 9999, [`Bad::Type`] for other shapes.
pub fn moment(raw: &str, zone: Tz) -> Result<Option<Moment>, Bad> {
    let text = match shape(raw) {
        Shape::Null => return Ok(None),
        Shape::Text => string(raw)?,
        Shape::Number | Shape::Boolean | Shape::Object | Shape::List => return Err(Bad::Type),
    };
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let moment = usual(text).or_else(|| with_offset(text)).or_else(|| local(text, zone)).ok_or(Bad::Date)?;
    if (1..=9999).contains(&moment.utc.year()) { Ok(Some(moment)) } else { Err(Bad::Date) }
}

/// `2018-03-22T09:30:00+08:00` or `Z`, as nearly every archive has it: some twenty times faster than with a format.
fn usual(text: &str) -> Option<Moment> {
    let (local, offset) = text.split_at_checked(19)?;
    let bytes = local.as_bytes();
    let number = |from: usize, to: usize| {
        let digits = &bytes[from..to];
        let is_number = digits.iter().all(u8::is_ascii_digit);
        is_number.then(|| digits.iter().fold(0, |number, digit| number * 10 + u32::from(digit - b'0')))
    };
    let marks = [bytes[4], bytes[7], bytes[10], bytes[13], bytes[16]];
    if marks != *b"--T::" {
        return None;
    }
    let year = i32::try_from(number(0, 4)?).ok()?;
    let date = NaiveDate::from_ymd_opt(year, number(5, 7)?, number(8, 10)?)?;
    let local = date.and_hms_opt(number(11, 13)?, number(14, 16)?, number(17, 19)?)?;
    let east = match offset.as_bytes() {
        b"Z" => 0,
        [sign @ (b'+' | b'-'), digits @ ..] => {
            let &[h1, h2, b':', m1, m2] = digits else { return None };
            if ![h1, h2, m1, m2].iter().all(u8::is_ascii_digit) || digits == b"00:00" && *sign == b'-' {
                return None;
            }
            let two = |one: u8, other: u8| i32::from(one - b'0') * 10 + i32::from(other - b'0');
            let (hours, minutes) = (two(h1, h2), two(m1, m2));
            if hours > 23 || minutes > 59 {
                return None;
            }
            (hours * 60 + minutes) * if *sign == b'-' { -60 } else { 60 }
        }
        _ => return None,
    };
    let utc = local.checked_sub_offset(FixedOffset::east_opt(east)?)?.and_utc();
    Some(Moment { utc, offset: Some(offset.to_owned()) })
}

/// `2018-03-22T09:30:00+08:00`, also with a blank for `T`, fractions of a second, without seconds, `Z` or `+0800`.
fn with_offset(text: &str) -> Option<Moment> {
    let formats = ["%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%d %H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M%#z", "%Y-%m-%d %H:%M%#z"];
    let normal =
        text.strip_suffix(['Z', 'z']).map_or(Cow::Borrowed(text), |local| Cow::Owned(format!("{local}+00:00")));
    let parsed = formats.iter().find_map(|format| DateTime::parse_from_str(&normal, format).ok())?;
    let offset = if text.ends_with(['Z', 'z']) { "Z".to_owned() } else { parsed.offset().to_string() };
    Some(Moment { utc: to_milliseconds(parsed.to_utc()), offset: Some(offset) })
}

fn local(text: &str, zone: Tz) -> Option<Moment> {
    let formats = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"];
    let local = formats
        .iter()
        .find_map(|format| NaiveDateTime::parse_from_str(text, format).ok())
        .or_else(|| NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0))?;
    Some(Moment { utc: to_milliseconds(instant_in(zone, local)), offset: None })
}

/// Milliseconds are what the tables keep.
fn to_milliseconds(instant: DateTime<Utc>) -> DateTime<Utc> {
    chrono::SubsecRound::trunc_subsecs(instant, 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_shown_as_it_was_written() {
        for (raw, wanted) in [
            (r#""tomorrow""#, "tomorrow"),
            (r#""say \"Z\u00fcrich\"""#, "say \"Z\u{fc}rich\""),
            (r#""half \ud834""#, "half \\ud834"),
            ("20190504", "20190504"),
            (r#"{"en": "Bad"}"#, r#"{"en": "Bad"}"#),
            (r#"["a"]"#, r#"["a"]"#),
        ] {
            assert_eq!(shown(raw), wanted);
        }
    }

    #[test]
    fn ids_are_trimmed_text_whatever_they_were() {
        assert_eq!(id("\" 12 \""), Ok(Some("12".to_owned())));
        assert_eq!(id("12"), Ok(Some("12".to_owned())));
        assert_eq!(id("123456789012345678901234567890"), Ok(Some("123456789012345678901234567890".to_owned())));
        assert_eq!(id("\" \""), Ok(None));
        assert_eq!(id("null"), Ok(None));
        assert_eq!(id("true"), Err(Bad::Type));
        assert_eq!(id(&format!("\"{}\"", "9".repeat(201))), Err(Bad::Type));
    }

    #[test]
    fn numbers_may_be_texts() {
        assert_eq!(decimal("\" 52.5 \""), Ok(Some(52.5)));
        assert_eq!(decimal("\"\""), Ok(None));
        assert_eq!(decimal("1e999"), Err(Bad::Number));
        assert_eq!(decimal("\"NaN\""), Err(Bad::Number));
        assert_eq!(decimal("\"52,5\""), Err(Bad::Number));
        assert_eq!(decimal("[]"), Err(Bad::Type));
        assert_eq!(integer("3.0"), Ok(Some(3)));
        assert_eq!(integer("3.5"), Err(Bad::Number));
    }

    #[test]
    fn a_blank_switch_is_off() {
        assert_eq!(boolean("\"\""), Ok(Some(false)));
        assert_eq!(boolean("1"), Ok(Some(true)));
        assert_eq!(boolean("\"perhaps\""), Err(Bad::Type));
    }

    #[test]
    fn dates_keep_the_offset_that_was_given() {
        let read = |text: &str| {
            moment(&format!("\"{text}\""), Tz::Asia__Singapore)
                .map(|found| found.map(|found| (found.utc.to_rfc3339(), found.offset)))
        };
        let given = |utc: &str, offset: &str| Ok(Some((utc.to_owned(), Some(offset.to_owned()))));
        assert_eq!(read("2018-03-22T09:30:00+08:00"), given("2018-03-22T01:30:00+00:00", "+08:00"));
        assert_eq!(read("2026-11-22 01:03:49.980912+00:00"), given("2026-11-22T01:03:49.980+00:00", "+00:00"));
        assert_eq!(read("2018-03-22T09:30:00Z "), given("2018-03-22T09:30:00+00:00", "Z"));
        assert_eq!(read("2018-03-22T09:30:00"), Ok(Some(("2018-03-22T01:30:00+00:00".to_owned(), None))));
        assert_eq!(read("2018-03-22"), Ok(Some(("2018-03-21T16:00:00+00:00".to_owned(), None))));
        assert_eq!(read(" "), Ok(None));
        for bad in ["tomorrow", "2018-13-01T00:00:00Z", "22.03.2018", "12018-01-01T00:00:00Z", "2018-02-30"] {
            assert_eq!(read(bad), Err(Bad::Date), "{bad}");
        }
    }

    #[test]
    fn the_short_way_reads_what_the_formats_read() {
        let dates = ["2018-03-22T", "2020-02-29T", "2019-02-29T", "0000-01-01T", "9999-12-31T", "2018-3-022T"];
        let times = ["00:00:00", "23:59:59", "24:00:00", "09:30:60", "1 :30:00"];
        let offsets =
            ["Z", "z", "+00:00", "-00:00", "+08:00", "-09:30", "+23:59", "+24:00", "+01:60", "+0800", "+8:00", "", "é"];
        for date in dates {
            for (time, offset) in times.iter().flat_map(|time| offsets.map(|offset| (time, offset))) {
                let text = format!("{date}{time}{offset}");
                let short = usual(&text);
                assert!(short.is_none() || short == with_offset(&text), "{text}: {short:?}");
            }
        }
        assert!(usual("2018-03-22T09:30:00+08:00").is_some());
        assert!(usual("2018-03-22T09:30:00Z").is_some());
    }

    #[test]
    fn half_a_surrogate_pair_is_no_text() {
        assert_eq!(text("\"\\ud800\""), Err(Bad::Encoding));
        assert_eq!(text("\"a\\nb\"").as_deref(), Ok("a\nb"));
    }
}
