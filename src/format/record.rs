//! One record: from its source text to the values that the catalogue names, with everything else kept as given.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::fmt;

use chrono_tz::Tz;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::value::{self, Bad, Moment, Shape};
use super::{length, zone};
use crate::model::catalogue::{Dataset, Field, FieldKind, NameKind, fold};
use crate::model::words::{counted, grouped};
use crate::model::{Code, Problem};

/// The keys of an object with the source text of their values, in the order given.
#[derive(Debug, Default)]
pub struct RawRecord<'a> {
    /// Keys as given, and values as given.
    pub entries: Vec<(Cow<'a, str>, &'a str)>,
    /// How many more keys it has than were to be kept.
    pub more_keys: usize,
}

/// A reference to a record of another dataset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ref {
    /// The id that is referred to.
    pub id: String,
    /// The name or title beside it, where the reference is a nested object that has one.
    pub name: Option<String>,
    /// The nested object as given.
    pub nested: Option<String>,
}

/// The value of a field.
#[derive(Clone, Debug, PartialEq)]
pub enum FieldValue {
    /// The record says nothing about it.
    Absent,
    /// The record says that there is none.
    Cleared,
    /// A text, a zone's name, or a media path.
    Text(String),
    /// An instant.
    Instant(Moment),
    /// A whole number.
    Integer(i64),
    /// A number.
    Decimal(f64),
    /// True or false.
    Boolean(bool),
    /// JSON as given.
    Json(String),
    /// A length: as given, and in minutes where clear.
    Length(String, Option<i64>),
    /// One other record.
    Reference(Ref),
    /// Several other records.
    References(Vec<Ref>),
}

/// A record by the catalogue.
#[derive(Debug)]
pub struct Converted {
    /// Its id; none where it has none.
    pub source_id: Option<String>,
    /// One value per field of the dataset.
    pub values: Vec<FieldValue>,
    /// What the catalogue does not know, as the text of a JSON object with sorted keys.
    pub extra: String,
    /// What is wrong with it, without file and position.
    pub problems: Vec<Problem>,
    /// Required fields about which it says nothing: wrong for a new record only.
    pub unsaid: Vec<&'static Field>,
}

/// Half of a SHA-256: enough to tell contents and ids apart, and to be found by nobody.
pub type Digest16 = [u8; 16];

impl<'a> RawRecord<'a> {
    /// Reads the outline of an object.
    ///
    /// # Errors
    /// Where it is no JSON, or no object.
    pub fn parse(text: &'a str) -> Result<Self, serde_json::Error> {
        Self::parse_at_most(text, usize::MAX)
    }

    /// As [`RawRecord::parse`], and keeps at most so many keys.
    ///
    /// # Errors
    /// Where it is no JSON, or no object.
    pub fn parse_at_most(text: &'a str, most: usize) -> Result<Self, serde_json::Error> {
        struct Entries {
            most: usize,
        }
        impl<'de> Visitor<'de> for Entries {
            type Value = RawRecord<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let (mut entries, mut more_keys) = (Vec::with_capacity(32), 0);
                while let Some(Key(key)) = map.next_key()? {
                    let value: &RawValue = map.next_value()?;
                    if entries.len() < self.most {
                        entries.push((key, value.get()));
                    } else {
                        more_keys += 1;
                    }
                }
                Ok(RawRecord { entries, more_keys })
            }
        }
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let record = deserializer.deserialize_map(Entries { most })?;
        deserializer.end()?;
        Ok(record)
    }

    /// The value of the first key that folds to `folded`.
    pub fn get(&self, folded: &str) -> Option<&'a str> {
        self.entries.iter().find(|(key, _)| fold(key) == folded).map(|(_, raw)| *raw)
    }
}

/// A key, borrowed where it has no escapes.
struct Key<'a>(Cow<'a, str>);

impl<'de> serde::Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Key<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Key(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Key(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

/// Keys of a record that hold a list of records of another dataset, which are kept there.
const ELSEWHERE: &[(Dataset, &str)] = &[(Dataset::Event, "social_links")];

/// Reads a record by the catalogue. Times without an offset are read in `zone`.
pub fn convert(dataset: Dataset, raw: &RawRecord<'_>, zone: Tz) -> Converted {
    Converter::new(dataset, zone).convert(raw)
}

/// Reads the records of one file: what their keys mean is worked out once for all that have the same keys in a row.
#[derive(Debug)]
pub struct Converter {
    dataset: Dataset,
    zone: Tz,
    keys: Vec<String>,
    outline: Outline,
}

/// What the keys of a record mean, as places in its list of entries.
#[derive(Debug, Default)]
struct Outline {
    /// The entry of each field of the dataset.
    fields: Vec<Option<usize>>,
    id: Option<usize>,
    /// Entries that no field takes, with their keys as JSON, in the order in which they are kept.
    unknown: Vec<(usize, String)>,
    /// Entries that hold records of another dataset, with the key under which the catalogue knows them.
    elsewhere: Vec<(usize, &'static str)>,
    /// Entries whose key an earlier entry has as well, with the first of those; not all where they are very many.
    repeated: Vec<(usize, usize)>,
    /// How many more there are.
    more_repeated: usize,
}

impl Converter {
    /// For records of a dataset. Times without an offset are read in `zone`.
    pub fn new(dataset: Dataset, zone: Tz) -> Self {
        Self { dataset, zone, keys: Vec::new(), outline: outline(dataset, &[]) }
    }

    /// Reads a record by the catalogue.
    pub fn convert(&mut self, raw: &RawRecord<'_>) -> Converted {
        let is_known = self.keys.iter().eq(raw.entries.iter().map(|(key, _)| key));
        if !is_known {
            self.keys = raw.entries.iter().map(|(key, _)| key.as_ref().to_owned()).collect();
            self.outline = outline(self.dataset, &self.keys);
        }
        let outline = &self.outline;
        let value_of = |entry: usize| raw.entries[entry].1;
        let mut problems: Vec<Problem> = (outline.repeated.iter())
            .map(|(later, first)| duplicate_key(&self.keys[*later], value_of(*first)))
            .collect();
        if outline.more_repeated > 0 {
            problems.push(more_duplicate_keys(outline.more_repeated));
        }
        problems.extend(
            (outline.elsewhere.iter()).filter_map(|(entry, name)| not_a_list_of_records(name, value_of(*entry))),
        );
        let fields = self.dataset.fields();
        let mut unsaid = Vec::new();
        let mut values = Vec::with_capacity(fields.len());
        for (field, entry) in fields.iter().zip(&outline.fields) {
            values.push(match entry {
                None => {
                    if field.required {
                        unsaid.push(field);
                    }
                    FieldValue::Absent
                }
                Some(entry) => read(field, value_of(*entry), self.zone, &mut problems),
            });
        }
        let source_id = match outline.id.map(|entry| (value_of(entry), value::id(value_of(entry)))) {
            Some((_, Ok(id))) => id,
            Some((given, Err(_))) => {
                problems.push(
                    Problem::new(
                        Code::FieldType,
                        "the id is neither a number nor a short text",
                        "give every record an id that is a number, or a text of at most 200 characters",
                    )
                    .in_field("id")
                    .with_value(&value::shown(given)),
                );
                None
            }
            None => None,
        };
        let extra = extra_of(raw, &outline.unknown);
        Converted { source_id, values, extra, problems, unsaid }
    }
}

fn outline(dataset: Dataset, keys: &[String]) -> Outline {
    let mut chosen: Vec<Option<(usize, NameKind)>> = vec![None; dataset.fields().len()];
    let mut id: Option<usize> = None;
    let mut unknown: Vec<usize> = Vec::new();
    let mut elsewhere = Vec::new();
    let mut repeated = Vec::new();
    let mut more_repeated = 0;
    let mut seen: HashMap<&str, usize> = HashMap::with_capacity(keys.len());
    for (index, key) in keys.iter().enumerate() {
        let folded = fold(key);
        let first = *seen.entry(key).or_insert(index);
        if first < index && repeated.len() < REPEATED_KEYS {
            repeated.push((index, first));
        } else if first < index {
            more_repeated += 1;
        }
        if folded == "id" {
            if let Some(earlier) = id.replace(index).filter(|earlier| keys[*earlier] != *key) {
                unknown.push(earlier);
            }
        } else if let Some((_, name)) = ELSEWHERE.iter().find(|(of, name)| *of == dataset && *name == folded) {
            elsewhere.push((index, *name));
        } else if let Some((field, kind)) = dataset.field_of_key(&folded) {
            match chosen[field] {
                Some((earlier, _)) if keys[earlier] == *key => chosen[field] = Some((index, kind)),
                Some((_, NameKind::Canonical)) => unknown.push(index),
                Some((earlier, NameKind::Alias)) if kind == NameKind::Canonical => {
                    unknown.push(earlier);
                    chosen[field] = Some((index, kind));
                }
                Some((_, NameKind::Alias)) => unknown.push(index),
                None => chosen[field] = Some((index, kind)),
            }
        } else {
            unknown.push(index);
        }
    }
    unknown.sort_by(|one, other| keys[*one].cmp(&keys[*other]));
    // The last of equal keys counts, as for known ones.
    unknown.reverse();
    unknown.dedup_by(|later, earlier| keys[*later] == keys[*earlier]);
    unknown.reverse();
    let as_json = |entry: usize| (entry, serde_json::Value::from(keys[entry].as_str()).to_string());
    Outline {
        fields: chosen.into_iter().map(|chosen| chosen.map(|(entry, _)| entry)).collect(),
        id,
        unknown: unknown.into_iter().map(as_json).collect(),
        elsewhere,
        repeated,
        more_repeated,
    }
}

fn not_a_list_of_records(name: &str, raw: &str) -> Option<Problem> {
    match value::shape(raw) {
        Shape::Null | Shape::List => None,
        Shape::Text | Shape::Number | Shape::Boolean | Shape::Object => Some(
            Problem::new(
                Code::FieldType,
                format!("`{name}` must be a list of objects"),
                "write a list of objects, or leave it out",
            )
            .in_field(name)
            .with_value(&value::shown(raw)),
        ),
    }
}

fn duplicate_key(key: &str, earlier: &str) -> Problem {
    Problem::new(
        Code::DuplicateKey,
        format!("the key `{key}` is given twice; the last value counts"),
        "keep one of the two",
    )
    .in_field(key)
    .with_value(&value::shown(earlier))
}

/// Repeated keys of a record that are told one by one: a record of nothing else has hundreds of thousands, and what is said of
/// each takes a hundred times its bytes.
const REPEATED_KEYS: usize = 100;

fn more_duplicate_keys(count: usize) -> Problem {
    let keys = counted(count as u64, "more key is", "more keys are");
    Problem::new(
        Code::DuplicateKey,
        format!("{keys} given again in this record; the last value counts"),
        "give each key once",
    )
}

fn extra_of(raw: &RawRecord<'_>, unknown: &[(usize, String)]) -> String {
    let mut text = String::from("{");
    for (index, (entry, key)) in unknown.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        text.push_str(key);
        text.push(':');
        text.push_str(raw.entries[*entry].1);
    }
    text.push('}');
    text
}

fn read(field: &'static Field, raw: &str, zone: Tz, problems: &mut Vec<Problem>) -> FieldValue {
    let result = match field.kind {
        FieldKind::Text => read_text(field, raw, problems),
        FieldKind::Media => read_text(field, raw, problems).map(|value| match value {
            FieldValue::Text(text) if text.trim().is_empty() => FieldValue::Cleared,
            FieldValue::Text(text) => FieldValue::Text(text.trim().to_owned()),
            other => other,
        }),
        FieldKind::Instant => {
            value::moment(raw, zone).map(|found| found.map_or(FieldValue::Cleared, FieldValue::Instant))
        }
        FieldKind::Integer => value::integer(raw).map(|found| found.map_or(FieldValue::Cleared, FieldValue::Integer)),
        FieldKind::Decimal => value::decimal(raw).map(|found| found.map_or(FieldValue::Cleared, FieldValue::Decimal)),
        FieldKind::Boolean => value::boolean(raw).map(|found| found.map_or(FieldValue::Cleared, FieldValue::Boolean)),
        FieldKind::Json => Ok(match value::shape(raw) {
            Shape::Null => FieldValue::Cleared,
            _ => FieldValue::Json(raw.to_owned()),
        }),
        FieldKind::Zone => read_zone(field, raw, problems),
        FieldKind::Length => read_length(field, raw, problems),
        FieldKind::Reference(_) => {
            read_reference(raw).map(|found| found.map_or(FieldValue::Cleared, FieldValue::Reference))
        }
        FieldKind::References(_) => read_references(raw),
    };
    result.unwrap_or_else(|bad| {
        problems.push(bad_value(field, raw, bad));
        FieldValue::Absent
    })
}

fn read_text(field: &'static Field, raw: &str, problems: &mut Vec<Problem>) -> Result<FieldValue, Bad> {
    if value::shape(raw) == Shape::Null {
        if field.required {
            problems.push(
                Problem::new(
                    Code::FieldRequired,
                    format!("`{}` is null", field.name),
                    format!("give the record a `{}`", field.name),
                )
                .in_field(field.name),
            );
        }
        return Ok(FieldValue::Cleared);
    }
    let mut text = value::text(raw)?;
    if text.contains('\0') {
        problems.push(
            Problem::new(
                Code::NulCharacter,
                "the text holds NUL characters, which were taken out",
                "remove the character `\\u0000` from the text",
            )
            .in_field(field.name)
            .with_value(&value::shown(raw)),
        );
        text = Cow::Owned(text.replace('\0', ""));
    }
    if field.required && text.trim().is_empty() {
        problems.push(
            Problem::new(
                Code::FieldBlank,
                format!("`{}` is blank", field.name),
                format!("give the record a `{}`; it is no error to have none", field.name),
            )
            .in_field(field.name),
        );
    }
    Ok(FieldValue::Text(text.into_owned()))
}

fn read_zone(field: &'static Field, raw: &str, problems: &mut Vec<Problem>) -> Result<FieldValue, Bad> {
    let text = match value::shape(raw) {
        Shape::Null => return Ok(FieldValue::Cleared),
        Shape::Text => value::string(raw)?,
        _ => return Err(Bad::Type),
    };
    if text.trim().is_empty() {
        return Ok(FieldValue::Cleared);
    }
    match zone::recognise(&text) {
        Some(found) => {
            if found.certainty == zone::Certainty::Guessed {
                problems.push(
                    Problem::new(
                        Code::TimezoneGuessed,
                        format!("the time zone was taken to be `{}`", found.zone.name()),
                        "use a name of the IANA database, such as `Europe/Berlin`",
                    )
                    .in_field(field.name)
                    .with_value(&text),
                );
            }
            Ok(FieldValue::Text(found.zone.name().to_owned()))
        }
        None => {
            problems.push(
                Problem::new(
                    Code::TimezoneUnknown,
                    "this time zone is not known; times without an offset were read as UTC",
                    "use a name of the IANA database, such as `Europe/Berlin`",
                )
                .in_field(field.name)
                .with_value(&text),
            );
            Ok(FieldValue::Text(text.replace('\0', "")))
        }
    }
}

fn read_length(field: &'static Field, raw: &str, problems: &mut Vec<Problem>) -> Result<FieldValue, Bad> {
    if value::shape(raw) == Shape::Null {
        return Ok(FieldValue::Cleared);
    }
    let text = value::text(raw)?.replace('\0', "");
    if text.trim().is_empty() {
        return Ok(FieldValue::Cleared);
    }
    // A JSON number has lost the zeros that tell 3 h 30 from 3.3 h.
    let minutes = if value::shape(raw) == Shape::Text { length::minutes(&text) } else { None };
    if minutes.is_none() {
        problems.push(
            Problem::new(
                Code::LengthUnclear,
                "this length can mean more than one thing; it was kept as text only",
                "write hours and minutes, such as `00:30`",
            )
            .in_field(field.name)
            .with_value(&text),
        );
    }
    Ok(FieldValue::Length(text, minutes))
}

/// An id, or a nested object with an id; none where there is no id.
fn read_reference(raw: &str) -> Result<Option<Ref>, Bad> {
    match value::shape(raw) {
        Shape::Null => Ok(None),
        Shape::Text | Shape::Number => Ok(value::id(raw)?.map(|id| Ref { id, name: None, nested: None })),
        Shape::Object => {
            let nested = RawRecord::parse(raw).map_err(|_| Bad::Type)?;
            let Some(id) = nested.get("id").map(value::id).transpose()?.flatten() else { return Ok(None) };
            let name = nested
                .get("name")
                .or_else(|| nested.get("title"))
                .filter(|raw| value::shape(raw) == Shape::Text)
                .map(value::string)
                .transpose()?
                .map(|name| name.trim().to_owned())
                .filter(|name| !name.is_empty());
            Ok(Some(Ref { id, name, nested: Some(raw.to_owned()) }))
        }
        Shape::Boolean | Shape::List => Err(Bad::Type),
    }
}

/// Other records that one may list, at most: each is written as a row of its own. The longest lists that were seen have some 40.
pub const MOST_REFERENCES: usize = 10_000;

fn read_references(raw: &str) -> Result<FieldValue, Bad> {
    match value::shape(raw) {
        Shape::Null => Ok(FieldValue::Cleared),
        Shape::List => {
            let items: Vec<&RawValue> = serde_json::from_str(raw).map_err(|_| Bad::Type)?;
            if items.len() > MOST_REFERENCES {
                return Err(Bad::TooMany(items.len()));
            }
            let read = items.into_iter().filter_map(|item| read_reference(item.get()).transpose());
            let mut found = read.collect::<Result<Vec<Ref>, Bad>>()?;
            let mut seen = HashSet::with_capacity(found.len());
            let is_new: Vec<bool> =
                found.iter().map(|reference| seen.insert((&reference.id, &reference.name))).collect();
            let mut is_new = is_new.into_iter();
            found.retain(|_| is_new.next().unwrap_or_default());
            Ok(FieldValue::References(found))
        }
        _ => Err(Bad::Type),
    }
}

fn bad_value(field: &'static Field, raw: &str, bad: Bad) -> Problem {
    let name = field.name;
    let problem = match bad {
        Bad::Type => {
            let wanted = match field.kind {
                FieldKind::Text | FieldKind::Media | FieldKind::Length | FieldKind::Zone => "a text",
                FieldKind::Instant => "a date and time as text",
                FieldKind::Integer => "a whole number",
                FieldKind::Decimal => "a number",
                FieldKind::Boolean => "true or false",
                FieldKind::Json => "JSON",
                FieldKind::Reference(_) => "an id, or an object with an `id`",
                FieldKind::References(_) => "a list of ids, or of objects with an `id`",
            };
            let or_not = if field.required { "" } else { ", or leave it out" };
            Problem::new(Code::FieldType, format!("`{name}` must be {wanted}"), format!("write {wanted}{or_not}"))
        }
        Bad::Number => Problem::new(
            Code::NumberInvalid,
            match field.kind {
                FieldKind::Integer => format!("`{name}` is not a whole number that can be kept"),
                _ => format!("`{name}` is not a number that can be kept"),
            },
            match field.kind {
                FieldKind::Integer => "write a whole number, such as `3`",
                _ => "write digits with a dot for the fraction, such as `52.51`",
            },
        ),
        Bad::Date => Problem::new(
            Code::DateInvalid,
            format!("`{name}` is not a date and time"),
            "write it like `2018-03-22T09:30:00+08:00`",
        ),
        Bad::TooMany(count) => Problem::new(
            Code::LimitRecordBytes,
            format!(
                "`{name}` lists {} others, more than the {} that one record may list",
                grouped(count as u64),
                grouped(MOST_REFERENCES as u64)
            ),
            "shorten the list",
        ),
        Bad::Encoding => Problem::new(
            Code::Encoding,
            format!("`{name}` holds half of a character (an escape such as `\\ud800` alone)"),
            "save the text again as UTF-8",
        ),
    };
    problem.in_field(name).with_value(&value::shown(raw))
}

impl Converted {
    /// A digest of everything it says but its id; equal for records that say the same under other keys.
    pub fn digest(&self) -> Digest16 {
        let mut text = String::with_capacity(1024);
        for value in &self.values {
            push_value(&mut text, value);
        }
        text.push_str(&self.extra);
        digest_of(&text)
    }

    /// The name or title, trimmed.
    pub fn name(&self, dataset: Dataset) -> Option<&str> {
        let index = dataset.fields().iter().position(|field| field.required)?;
        match &self.values[index] {
            FieldValue::Text(text) => Some(text.trim()),
            _ => None,
        }
    }

    /// The value of a field by its canonical name.
    pub fn value(&self, dataset: Dataset, name: &str) -> &FieldValue {
        dataset
            .fields()
            .iter()
            .position(|field| field.name == name)
            .map_or(&FieldValue::Absent, |index| &self.values[index])
    }
}

/// A digest of a text, for ids and names.
pub fn digest_of(text: &str) -> Digest16 {
    let whole: [u8; 32] = Sha256::digest(text.as_bytes()).into();
    let mut half = [0; 16];
    half.copy_from_slice(&whole[..16]);
    half
}

/// Every value as a text that no other value has.
fn push_value(text: &mut String, value: &FieldValue) {
    use std::fmt::Write as _;
    // Writing to a `String` cannot fail.
    let _ = match value {
        FieldValue::Absent => text.write_str("\0a"),
        FieldValue::Cleared => text.write_str("\0c"),
        FieldValue::Text(value) => write!(text, "\0t{}:{value}", value.len()),
        FieldValue::Instant(moment) => {
            write!(text, "\0i{}{}", moment.utc.timestamp_micros(), moment.offset.as_deref().unwrap_or("-"))
        }
        FieldValue::Integer(number) => write!(text, "\0n{number}"),
        FieldValue::Decimal(number) => write!(text, "\0d{number}"),
        FieldValue::Boolean(value) => write!(text, "\0b{value}"),
        FieldValue::Json(value) => write!(text, "\0j{}:{value}", value.len()),
        FieldValue::Length(value, _) => write!(text, "\0l{}:{value}", value.len()),
        FieldValue::Reference(reference) => push_reference(text, reference),
        FieldValue::References(references) => {
            let _ = write!(text, "\0m{}", references.len());
            references.iter().try_for_each(|reference| push_reference(text, reference))
        }
    };
}

fn push_reference(text: &mut String, reference: &Ref) -> fmt::Result {
    use std::fmt::Write as _;
    write!(text, "\0r{}:{}", reference.id.len(), reference.id)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed step fails the test")]
mod tests {
    use super::*;

    #[test]
    fn what_keys_mean_is_worked_out_anew_when_they_change() {
        let records = [
            r#"{"id": 1, "title": "A", "zz": 1, "a-b": 2}"#,
            r#"{"id": 2, "title": "B", "zz": 3, "a-b": 4}"#,
            r#"{"title": "C", "id": 3, "zz": 5, "a-b": 6}"#,
            r#"{"id": 4, "title": "D"}"#,
            r#"{"id": 5, "title": "E", "title": "F", "zz": 7, "zz": 8}"#,
            r#"{"id": 6, "title": "G", "title": "H", "zz": 9, "zz": 10}"#,
            r#"{"id": 7, "name": "I", "title": "J"}"#,
        ];
        let expected = [
            ("1", "A", r#"{"a-b":2,"zz":1}"#, 0),
            ("2", "B", r#"{"a-b":4,"zz":3}"#, 0),
            ("3", "C", r#"{"a-b":6,"zz":5}"#, 0),
            ("4", "D", "{}", 0),
            ("5", "F", r#"{"zz":8}"#, 2),
            ("6", "H", r#"{"zz":10}"#, 2),
            ("7", "J", r#"{"name":"I"}"#, 0),
        ];
        let mut converter = Converter::new(Dataset::Sessions, Tz::UTC);
        for (text, (id, title, extra, problems)) in records.into_iter().zip(expected) {
            let found = converter.convert(&RawRecord::parse(text).unwrap());
            assert_eq!(found.source_id.as_deref(), Some(id));
            assert_eq!(found.name(Dataset::Sessions), Some(title));
            assert_eq!(found.extra, extra);
            assert_eq!(found.problems.len(), problems, "{text}");
        }
    }
}
