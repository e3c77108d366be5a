//! One record as JSON: keys in the order of the format, those that the catalogue does not know among them.

use chrono_tz::Tz;

use super::media::MediaPlan;
use super::privacy;
use super::values;
use crate::export::program::{NoteCode, Notes, Privacy, ReadError};
use crate::format::RawRecord;
use crate::model::Dataset;
use crate::model::catalogue::{FieldKind, NameKind, fold};
use crate::store::records::columns_of;

/// Keys that stand first, in this order; the others follow alphabetically.
const FIRST: &[(Dataset, &[&str])] = &[
    (
        Dataset::Event,
        &[
            "name",
            "latitude",
            "longitude",
            "location_name",
            "starts_at",
            "ends_at",
            "timezone",
            "description",
            "original_image_url",
            "logo_url",
            "owner_name",
            "owner_description",
            "external_event_url",
            "ticket_url",
            "privacy",
            "event_type",
            "event_topic",
            "event_sub_topic",
            "code_of_conduct",
        ],
    ),
    (Dataset::SocialLinks, &["name", "link"]),
    (Dataset::CustomForms, &["field_identifier", "form", "type", "name"]),
    (Dataset::Microlocations, &["name", "floor"]),
    (Dataset::Sponsors, &["name", "logo_url", "level", "type", "url", "description"]),
    (
        Dataset::Speakers,
        &[
            "name",
            "email",
            "mobile",
            "photo_url",
            "organisation",
            "position",
            "country",
            "short_biography",
            "long_biography",
            "website",
            "twitter",
            "facebook",
            "github",
            "linkedin",
        ],
    ),
    (Dataset::Tracks, &["name", "color", "font_color"]),
    (Dataset::SessionTypes, &["name", "length"]),
    (
        Dataset::Sessions,
        &[
            "title",
            "subtitle",
            "short_abstract",
            "long_abstract",
            "starts_at",
            "ends_at",
            "session_type_id",
            "track_id",
            "comments",
            "language",
            "slides_url",
            "audio_url",
            "video_url",
        ],
    ),
];

/// How the records of a dataset are written.
#[derive(Debug)]
pub(super) struct Shape {
    pub(super) dataset: Dataset,
    privacy: Privacy,
    zone: Tz,
    first: Vec<Slot>,
    /// In the order of their names.
    others: Vec<Slot>,
    /// Columns of a row.
    width: usize,
    /// The column of the name or title.
    name: Option<usize>,
}

#[derive(Debug)]
struct Slot {
    name: &'static str,
    /// `,"name":`
    key: String,
    kind: FieldKind,
    column: usize,
    /// How many numbers with a fraction come before it.
    decimal: usize,
    is_private: bool,
}

/// What stands beside the row of a record.
#[derive(Debug, Default)]
pub(super) struct Beside<'a> {
    /// Its numbers with a fraction, in the catalogue's order.
    pub(super) decimals: &'a [Option<f64>],
    /// Ids of its speakers as JSON texts.
    pub(super) speakers: Vec<&'a str>,
    /// References that wait: field and id.
    pub(super) unresolved: &'a [(String, String)],
}

const ID: usize = 0;
const SOURCE_ID: usize = 1;

impl Shape {
    pub(super) fn new(dataset: Dataset, privacy: Privacy, zone: Tz) -> Self {
        let listed = FIRST.iter().find(|(of, _)| *of == dataset).map_or(&[][..], |(_, listed)| *listed);
        let (mut column, mut decimal) = (SOURCE_ID + 1, 0);
        let mut slots = Vec::new();
        let mut name = None;
        for field in dataset.fields() {
            if field.required {
                name = Some(column);
            }
            slots.push(Slot {
                name: field.name,
                key: format!(",\"{}\":", field.name),
                kind: field.kind,
                column,
                decimal,
                is_private: privacy == Privacy::Public && privacy::is_private_field(dataset, field.name),
            });
            column += columns_of(field).len();
            decimal += usize::from(field.kind == FieldKind::Decimal);
        }
        let place = |slot: &Slot| listed.iter().position(|name| *name == slot.name);
        let (mut first, mut others): (Vec<Slot>, Vec<Slot>) = slots.into_iter().partition(|slot| place(slot).is_some());
        first.sort_by_key(place);
        others.sort_by_key(|slot| slot.name);
        Self { dataset, privacy, zone, first, others, width: column + 1, name }
    }

    /// Writes a record behind `out`.
    pub(super) fn push(
        &self,
        out: &mut String,
        row: &[&str],
        beside: &Beside<'_>,
        media: &MediaPlan,
        notes: &mut Notes,
    ) -> Result<(), ReadError> {
        if row.len() != self.width {
            return Err(ReadError(format!("a record of {} has {} columns", self.dataset, row.len())));
        }
        let extra = row[self.width - 1];
        let writing = Writing { shape: self, row, beside, media };
        let mut left_out: Vec<&str> = Vec::new();
        if extra == "\"{}\"" {
            out.push_str("{\"id\":");
            values::push_id(out, row[SOURCE_ID]);
            for slot in self.first.iter().chain(&self.others) {
                writing.push_slot(out, slot, &slot.key, &mut left_out)?;
            }
            out.push('}');
            self.note_private(row, &left_out, notes)
        } else {
            let text = values::characters(extra)?.unwrap_or_default();
            let extra = RawRecord::parse(&text)
                .map_err(|error| ReadError(format!("the unknown keys of a record are no JSON: {error}")))?;
            let mut keys: Vec<String> = Vec::new();
            writing.push_with(out, &extra, &mut left_out, &mut keys)?;
            left_out.extend(keys.iter().map(String::as_str));
            self.note_private(row, &left_out, notes)
        }
    }

    fn note_private(&self, row: &[&str], left_out: &[&str], notes: &mut Notes) -> Result<(), ReadError> {
        if left_out.is_empty() {
            return Ok(());
        }
        let id = values::characters(row[SOURCE_ID])?.filter(|_| self.dataset != Dataset::Event);
        let title = self.name.map_or(Ok(None), |column| values::characters(row[column]))?.unwrap_or_default();
        notes.add(NoteCode::PrivateLeftOut, id.as_deref(), &title, left_out.join(", "));
        Ok(())
    }
}

struct Writing<'a> {
    shape: &'a Shape,
    row: &'a [&'a str],
    beside: &'a Beside<'a>,
    media: &'a MediaPlan,
}

impl<'a> Writing<'a> {
    /// Keys that the catalogue does not know stand among the others, but those that differ from a known one in case or
    /// dashes only: of such keys the first is read as the field, and of ids the last is the id.
    fn push_with(
        &self,
        out: &mut String,
        extra: &RawRecord<'_>,
        left_out: &mut Vec<&'a str>,
        left_out_keys: &mut Vec<String>,
    ) -> Result<(), ReadError> {
        let shape = self.shape;
        let (mut ids, mut plain, mut alike) = (Vec::new(), Vec::new(), Vec::new());
        let mut needs_lists = false;
        for (key, raw) in &extra.entries {
            let folded = fold(key);
            if shape.privacy == Privacy::Public && privacy::may_be_private(shape.dataset, key, raw) {
                left_out_keys.push(key.as_ref().to_owned());
                continue;
            }
            match shape.dataset.field_of_key(&folded) {
                _ if folded == "id" => ids.push((key.as_ref(), *raw)),
                Some((_, NameKind::Canonical)) => alike.push((key.as_ref(), *raw)),
                Some((field, NameKind::Alias)) => {
                    needs_lists |= matches!(shape.dataset.fields()[field].kind, FieldKind::References(_));
                    plain.push((key.as_ref(), *raw));
                }
                None => plain.push((key.as_ref(), *raw)),
            }
        }
        plain.sort_by_key(|(key, _)| *key);
        out.push('{');
        for (key, raw) in &ids {
            push_pair(out, key, raw);
            out.push(',');
        }
        out.push_str(&spelled_key("id", &ids)[1..]);
        values::push_id(out, self.row[SOURCE_ID]);
        let mut push_slot = |out: &mut String, slot: &Slot| -> Result<(), ReadError> {
            let before = out.len();
            if alike.iter().any(|(key, _)| *key == slot.name) {
                self.push_slot(out, slot, &spelled_key(slot.name, &alike), left_out)?;
            } else {
                self.push_slot(out, slot, &slot.key, left_out)?;
            }
            // Without its own key an alias would be read as the list.
            if needs_lists && out.len() == before && matches!(slot.kind, FieldKind::References(_)) {
                out.push_str(&slot.key);
                out.push_str("[]");
            }
            Ok(())
        };
        for slot in &shape.first {
            push_slot(out, slot)?;
        }
        let mut others = shape.others.iter().peekable();
        for (key, raw) in plain {
            while let Some(slot) = others.next_if(|slot| slot.name < key) {
                push_slot(out, slot)?;
            }
            out.push(',');
            push_pair(out, key, raw);
        }
        for slot in others {
            push_slot(out, slot)?;
        }
        for (key, raw) in &alike {
            out.push(',');
            push_pair(out, key, raw);
        }
        out.push('}');
        Ok(())
    }

    fn push_slot(
        &self,
        out: &mut String,
        slot: &Slot,
        key: &str,
        left_out: &mut Vec<&'a str>,
    ) -> Result<(), ReadError> {
        let raw = self.row.get(slot.column).copied().unwrap_or("null");
        let next = self.row.get(slot.column + 1).copied().unwrap_or("null");
        if slot.is_private {
            if raw != "null" {
                left_out.push(slot.name);
            }
            return Ok(());
        }
        if let FieldKind::References(target) = slot.kind {
            self.push_list(out, slot, key, target);
            return Ok(());
        }
        let start = out.len();
        out.push_str(key);
        match slot.kind {
            FieldKind::Text | FieldKind::Zone | FieldKind::Integer | FieldKind::References(_) => out.push_str(raw),
            FieldKind::Media => match self.media_name(slot.name)?.filter(|_| raw != "null") {
                // Names of media are plain ASCII.
                Some(name) => out.extend(["\"/", name, "\""]),
                None => out.push_str(raw),
            },
            FieldKind::Instant => values::push_instant(out, raw, next, self.shape.zone)?,
            FieldKind::Length => values::push_length(out, raw, next),
            FieldKind::Decimal => {
                values::push_decimal(out, self.beside.decimals.get(slot.decimal).copied().flatten());
            }
            FieldKind::Boolean => values::push_boolean(out, raw),
            FieldKind::Json => match values::characters(raw)? {
                None => out.push_str(raw),
                Some(json) if self.shape.privacy == Privacy::Public && privacy::has_private_part(&json) => {
                    out.truncate(start);
                    left_out.push(slot.name);
                }
                Some(json) => out.push_str(&json),
            },
            FieldKind::Reference(_) => {
                let waits = self.beside.unresolved.iter().find(|(field, _)| field == slot.name);
                match waits.filter(|_| raw == "null") {
                    Some((_, id)) => values::push_plain_id(out, id),
                    None if raw == "null" => out.push_str(raw),
                    None => values::push_id(out, raw),
                }
            }
        }
        Ok(())
    }

    /// Sessions say who speaks. Speakers say their sessions only where a session is not there to do so.
    fn push_list(&self, out: &mut String, slot: &Slot, key: &str, target: Dataset) {
        let waiting = self.beside.unresolved.iter().filter(|(field, _)| field == slot.name);
        let mut ids: Vec<String> = waiting.map(|(_, id)| values::quoted(id)).collect();
        if target == Dataset::Speakers {
            ids.extend(self.beside.speakers.iter().map(|id| (*id).to_owned()));
        } else if ids.is_empty() {
            return;
        }
        // Shorter numbers are smaller.
        ids.sort_unstable_by(|one, other| one.len().cmp(&other.len()).then_with(|| one.cmp(other)));
        ids.dedup();
        out.push_str(key);
        out.push('[');
        for (index, id) in ids.iter().enumerate() {
            if index > 0 {
                out.push(',');
            }
            values::push_id(out, id);
        }
        out.push(']');
    }

    fn media_name(&self, field: &'static str) -> Result<Option<&str>, ReadError> {
        if self.media.files.is_empty() {
            return Ok(None);
        }
        let id = self.row[ID].parse().map_err(|_| ReadError("the id of a record is no number".to_owned()))?;
        Ok(self.media.name(self.shape.dataset, id, field))
    }
}

fn push_pair(out: &mut String, key: &str, raw: &str) {
    out.push_str(&values::quoted(key));
    out.push(':');
    out.push_str(raw);
}

/// A known key with blanks before it, which count as nothing, so that none of the others is the same.
fn spelled_key(name: &str, others: &[(&str, &str)]) -> String {
    let mut key = name.to_owned();
    while others.iter().any(|(other, _)| *other == key) {
        key.insert(0, ' ');
    }
    format!(",\"{key}\":")
}
