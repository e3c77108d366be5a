//! Values of a record as columns of its table.

use std::collections::{HashMap, HashSet};

use crate::db::Arg;
use crate::format::record::digest_of;
use crate::format::{Converted, FieldValue, RawRecord, Ref};
use crate::model::Dataset;
use crate::model::catalogue::{Field, FieldKind};
use crate::store::records::columns_of;

/// The ids here of what records refer to, by dataset and source id.
#[derive(Debug, Default)]
pub(crate) struct Targets {
    ids: HashMap<Dataset, HashMap<String, i64>>,
}

impl Targets {
    pub(crate) fn get(&self, dataset: Dataset, source_id: &str) -> Option<i64> {
        self.ids.get(&dataset)?.get(source_id).copied()
    }

    pub(crate) fn insert(&mut self, dataset: Dataset, source_id: String, id: i64) {
        self.ids.entry(dataset).or_default().insert(source_id, id);
    }
}

/// Puts the columns of one field behind `cells`; where the record does not say anything about it, as empty.
pub(crate) fn push_cells(cells: &mut Vec<Arg>, field: &Field, value: FieldValue, target: Option<i64>) {
    match value {
        FieldValue::Absent | FieldValue::Cleared => push_empty(cells, field),
        FieldValue::Text(text) => cells.push(text.into()),
        FieldValue::Instant(moment) => cells.extend([moment.utc.into(), moment.offset.into()]),
        FieldValue::Integer(number) => cells.push(number.into()),
        FieldValue::Decimal(number) => cells.push(number.into()),
        FieldValue::Boolean(value) => cells.push(value.into()),
        FieldValue::Json(text) => cells.push(Arg::Json(Some(text))),
        FieldValue::Length(text, minutes) => cells.extend([text.into(), minutes.into()]),
        FieldValue::Reference(_) => cells.push(target.into()),
        FieldValue::References(_) => {}
    }
}

fn push_empty(cells: &mut Vec<Arg>, field: &Field) {
    match field.kind {
        FieldKind::Text | FieldKind::Zone | FieldKind::Media => cells.push(Arg::Text(None)),
        FieldKind::Instant => cells.extend([Arg::Instant(None), Arg::Text(None)]),
        FieldKind::Integer | FieldKind::Reference(_) => cells.push(Arg::Int(None)),
        FieldKind::Decimal => cells.push(Arg::Real(None)),
        FieldKind::Boolean => cells.push(Arg::Bool(None)),
        FieldKind::Json => cells.push(Arg::Json(None)),
        FieldKind::Length => cells.extend([Arg::Text(None), Arg::Int(None)]),
        FieldKind::References(_) => {}
    }
}

/// Lays what a record says over what is stored: about what it does not mention, the stored value stays.
pub(crate) fn overlay(dataset: Dataset, stored: &[Arg], said: &[FieldValue], new: &[Arg]) -> Vec<Arg> {
    let mut cells = Vec::with_capacity(new.len());
    let mut at = 0;
    for (field, value) in dataset.fields().iter().zip(said) {
        let width = columns_of(field).len();
        let source = if *value == FieldValue::Absent { stored } else { new };
        cells.extend_from_slice(&source[at..at + width]);
        at += width;
    }
    cells
}

/// Lays unknown keys over the stored ones.
pub(crate) fn overlay_extra(stored: &str, new: &str) -> String {
    if new == "{}" || stored == new {
        return stored.to_owned();
    }
    if stored == "{}" {
        return new.to_owned();
    }
    let (Ok(old), Ok(fresh)) = (RawRecord::parse(stored), RawRecord::parse(new)) else { return new.to_owned() };
    let said: HashSet<&str> = fresh.entries.iter().map(|(key, _)| key.as_ref()).collect();
    let kept = old.entries.iter().filter(|(key, _)| !said.contains(key.as_ref()));
    let mut entries: Vec<_> = kept.chain(&fresh.entries).collect();
    entries.sort_by(|one, other| one.0.cmp(&other.0));
    let pairs: Vec<String> = (entries.into_iter())
        .map(|(key, value)| format!("{}:{value}", serde_json::Value::from(key.as_ref())))
        .collect();
    format!("{{{}}}", pairs.join(","))
}

/// The references of a record, field by field.
pub(crate) fn references(
    dataset: Dataset,
    values: &[FieldValue],
) -> impl Iterator<Item = (&'static Field, Dataset, &[Ref])> {
    dataset.fields().iter().zip(values).filter_map(|(field, value)| match (field.kind, value) {
        (FieldKind::Reference(target), FieldValue::Reference(one)) => Some((field, target, std::slice::from_ref(one))),
        (FieldKind::References(target), FieldValue::References(list)) => Some((field, target, list.as_slice())),
        _ => None,
    })
}

/// What a record says, with the links that others say of it, as the text that is kept to see whether it has changed.
pub(crate) fn content_hash(record: &Converted, meant: &[String], extra_links: &[String]) -> String {
    let mut digest = record.digest();
    if !meant.is_empty() || !extra_links.is_empty() {
        let mut text = crate::storage::hex(&digest);
        for id in meant.iter().chain(extra_links) {
            text.push('\n');
            text.push_str(id);
        }
        digest = digest_of(&text);
    }
    crate::storage::hex(&digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_keys_are_added_and_replaced_but_never_dropped() {
        assert_eq!(overlay_extra(r#"{"a":1,"c":[3]}"#, r#"{"b":"x","c":null}"#), r#"{"a":1,"b":"x","c":null}"#);
        assert_eq!(overlay_extra(r#"{"a":1}"#, "{}"), r#"{"a":1}"#);
    }
}
