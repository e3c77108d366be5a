//! One record: from its source text to the values that the catalogue names, with everything else kept as given.

use std::borrow::Cow;
use std::fmt;

use chrono_tz::Tz;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::value::{self, Bad, Moment, Shape};
use super::{length, zone};
use crate::model::catalogue::{Dataset, Field, FieldKind, NameKind, fold};
use crate::model::{Code, Problem};

/// The keys of an object with the source text of their values, in the order given.
#[derive(Debug, Default)]
pub struct RawRecord<'a> {
    /// Keys as given, and values as given.
    pub entries: Vec<(Cow<'a, str>, &'a str)>,
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
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = RawRecord<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::with_capacity(32);
                while let Some(Key(key)) = map.next_key()? {
                    let value: &RawValue = map.next_value()?;
                    entries.push((key, value.get()));
                }
                Ok(RawRecord { entries })
            }
        }
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let record = deserializer.deserialize_map(Entries)?;
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

/// Keys of a record that have a dataset of their own and are kept there.
const ELSEWHERE: &[(Dataset, &str)] = &[(Dataset::Event, "social_links")];

/// Reads a record by the catalogue. Times without an offset are read in `zone`.
pub fn convert(dataset: Dataset, raw: &RawRecord<'_>, zone: Tz) -> Converted {
    let fields = dataset.fields();
    let mut chosen: Vec<Option<(usize, NameKind)>> = vec![None; fields.len()];
    let mut id = None;
    let mut unknown: Vec<usize> = Vec::new();
    let mut problems = Vec::new();
    let mut seen: Vec<&str> = Vec::with_capacity(raw.entries.len());
    for (index, (key, value)) in raw.entries.iter().enumerate() {
        let folded = fold(key);
        if seen.contains(&key.as_ref()) {
            let earlier = raw.entries.iter().find(|(other, _)| other == key).map_or("", |(_, value)| value);
            problems.push(duplicate_key(key, earlier));
        }
        seen.push(key);
        if folded == "id" {
            if let Some(earlier) = id.replace(index).filter(|earlier| raw.entries[*earlier].0 != *key) {
                unknown.push(earlier);
            }
        } else if ELSEWHERE.contains(&(dataset, folded.as_ref())) {
        } else if let Some((field, kind)) = dataset.field_of_key(&folded) {
            match chosen[field] {
                Some((earlier, _)) if raw.entries[earlier].0 == *key => chosen[field] = Some((index, kind)),
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
        let _ = value;
    }
    let mut unsaid = Vec::new();
    let mut values = Vec::with_capacity(fields.len());
    for (field, chosen) in fields.iter().zip(&chosen) {
        let value = match chosen {
            None => {
                if field.required {
                    unsaid.push(field);
                }
                FieldValue::Absent
            }
            Some((index, _)) => read(field, raw.entries[*index].1, zone, &mut problems),
        };
        values.push(value);
    }
    let source_id = match id.map(|index| (raw.entries[index].1, value::id(raw.entries[index].1))) {
        Some((_, Ok(id))) => id,
        Some((given, Err(_))) => {
            problems.push(
                Problem::new(
                    Code::FieldType,
                    "the id is neither a number nor a short text",
                    "give every record an id that is a number, or a text of at most 200 characters",
                )
                .in_field("id")
                .with_value(given),
            );
            None
        }
        None => None,
    };
    Converted { source_id, values, extra: extra_of(raw, unknown), problems, unsaid }
}

fn duplicate_key(key: &str, earlier: &str) -> Problem {
    Problem::new(
        Code::DuplicateKey,
        format!("the key `{key}` is given twice; the last value counts"),
        "keep one of the two",
    )
    .in_field(key)
    .with_value(earlier)
}

fn extra_of(raw: &RawRecord<'_>, mut unknown: Vec<usize>) -> String {
    if unknown.is_empty() {
        return "{}".to_owned();
    }
    unknown.sort_by(|one, other| raw.entries[*one].0.cmp(&raw.entries[*other].0));
    // The last of equal keys counts, as for known ones.
    unknown.reverse();
    unknown.dedup_by(|later, earlier| raw.entries[*later].0 == raw.entries[*earlier].0);
    unknown.reverse();
    let mut text = String::from("{");
    for (index, entry) in unknown.into_iter().enumerate() {
        let (key, value) = &raw.entries[entry];
        if index > 0 {
            text.push(',');
        }
        text.push_str(&serde_json::Value::from(key.as_ref()).to_string());
        text.push(':');
        text.push_str(value);
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
            .with_value(raw),
        );
        text = Cow::Owned(text.replace('\0', ""));
    }
    if field.required && text.trim().is_empty() {
        problems.push(
            Problem::new(
                Code::FieldBlank,
                format!("`{}` is blank", field.name),
                format!("give the record a `{}`; it was imported without", field.name),
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

fn read_references(raw: &str) -> Result<FieldValue, Bad> {
    match value::shape(raw) {
        Shape::Null => Ok(FieldValue::Cleared),
        Shape::List => {
            let items: Vec<&RawValue> = serde_json::from_str(raw).map_err(|_| Bad::Type)?;
            let mut found: Vec<Ref> = Vec::with_capacity(items.len());
            for item in items {
                if let Some(reference) = read_reference(item.get())?
                    && !found.iter().any(|earlier| earlier.id == reference.id && earlier.name == reference.name)
                {
                    found.push(reference);
                }
            }
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
            Problem::new(
                Code::FieldType,
                format!("`{name}` must be {wanted}"),
                format!("write {wanted}, or leave it out"),
            )
        }
        Bad::Number => Problem::new(
            Code::NumberInvalid,
            format!("`{name}` is not a number that can be kept"),
            "write digits with a dot for the fraction, such as `52.51`",
        ),
        Bad::Date => Problem::new(
            Code::DateInvalid,
            format!("`{name}` is not a date and time"),
            "write it like `2018-03-22T09:30:00+08:00`",
        ),
        Bad::Encoding => Problem::new(
            Code::Encoding,
            format!("`{name}` holds half of a character (an escape such as `\\ud800` alone)"),
            "save the text again as UTF-8",
        ),
    };
    problem.in_field(name).with_value(raw)
}

impl Converted {
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

    /// A digest of everything the record says; equal for records that say the same under other keys.
    pub fn digest(&self) -> Digest16 {
        let mut hash = Sha256::new();
        let mut scratch = String::new();
        for value in &self.values {
            hash_value(&mut hash, &mut scratch, value);
        }
        hash.update(self.extra.as_bytes());
        half(hash)
    }
}

/// A digest of a text, for ids and names.
pub fn digest_of(text: &str) -> Digest16 {
    half(Sha256::new_with_prefix(text.as_bytes()))
}

fn half(hash: Sha256) -> Digest16 {
    let whole: [u8; 32] = hash.finalize().into();
    let mut half = [0; 16];
    half.copy_from_slice(&whole[..16]);
    half
}

fn hash_value(hash: &mut Sha256, scratch: &mut String, value: &FieldValue) {
    use std::fmt::Write as _;
    scratch.clear();
    // Writing to a `String` cannot fail.
    let _ = match value {
        FieldValue::Absent => write!(scratch, "\0a"),
        FieldValue::Cleared => write!(scratch, "\0c"),
        FieldValue::Text(text) => write!(scratch, "\0t{}:", text.len()),
        FieldValue::Instant(moment) => {
            write!(scratch, "\0i{}{}", moment.utc.timestamp_micros(), moment.offset.as_deref().unwrap_or("-"))
        }
        FieldValue::Integer(number) => write!(scratch, "\0n{number}"),
        FieldValue::Decimal(number) => write!(scratch, "\0d{number}"),
        FieldValue::Boolean(value) => write!(scratch, "\0b{value}"),
        FieldValue::Json(text) => write!(scratch, "\0j{}:{text}", text.len()),
        FieldValue::Length(text, _) => write!(scratch, "\0l{}:{text}", text.len()),
        FieldValue::Reference(reference) => hash_reference(scratch, reference),
        FieldValue::References(references) => {
            let _ = write!(scratch, "\0m{}", references.len());
            references.iter().try_for_each(|reference| hash_reference(scratch, reference))
        }
    };
    hash.update(scratch.as_bytes());
    if let FieldValue::Text(text) = value {
        hash.update(text.as_bytes());
    }
}

fn hash_reference(scratch: &mut String, reference: &Ref) -> fmt::Result {
    use std::fmt::Write as _;
    write!(scratch, "\0r{}:{}", reference.id.len(), reference.id)
}
