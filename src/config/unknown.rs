//! Keys that nobody reads. Their values are never shown: one may be a password under a misspelt name.

use std::collections::BTreeMap;
use std::ffi::OsString;

use ::config::ValueKind;

use super::fault::Fault;
use super::reader::{DEFAULT, Reader};
use super::sources::{self, Layer};
use super::{accounts, export, handlers};

/// Takes unknown keys out of a layer and reports them.
pub(super) fn set_aside(layer: Layer, known: &[String]) -> (Layer, Vec<Fault>) {
    let mut faults = Vec::new();
    let mut values = Vec::new();
    for (key, value) in layer.values {
        let is_empty_section =
            matches!(&value.kind, ValueKind::Table(table) if table.is_empty()) && is_section(&key, known);
        if known.contains(&key) {
            values.push((key, value));
        } else if !is_empty_section {
            let origin = value.origin().unwrap_or(DEFAULT).to_owned();
            faults.push(unknown(&key, origin, known));
        }
    }
    (Layer { values }, faults)
}

/// Lists of blocks, and the keys that a block of each may have.
pub(super) const BLOCKS: [(&str, &[&str]); 3] =
    [("accounts", &accounts::FIELDS), ("export", &export::FIELDS), ("handlers", &handlers::FIELDS)];

/// Reports unknown keys in blocks such as `[[accounts]]`.
pub(super) fn in_blocks(reader: &Reader) -> Vec<Fault> {
    let fault = |(key, origin): (String, String)| {
        let (block, field) = key.split_once("].").unwrap_or(("", &key));
        let list = block.split('[').next().unwrap_or_default();
        let fields = BLOCKS.iter().find(|(name, _)| *name == list).map_or(&[][..], |(_, fields)| *fields);
        let fields: Vec<String> = fields.iter().map(|field| (*field).to_owned()).collect();
        let remedy = match nearest(field, &fields) {
            Some(field) => format!("did you mean `{block}].{field}`?"),
            None => format!("take it away; a block may have {}", fields.join(", ")),
        };
        Fault { key: Some(key.clone()), rule: RULE.to_owned(), value: None, origin, remedy }
    };
    reader.unread_in_blocks().into_iter().map(fault).collect()
}

/// Reports variables that would set a key if they began with two underscores.
pub(super) fn variables(environment: &BTreeMap<OsString, OsString>, known: &[String]) -> Vec<Fault> {
    let mut faults = Vec::new();
    for name in environment.keys() {
        let Some(near) = sources::near_miss(name) else { continue };
        let meant = known.iter().map(|key| sources::variable_of(key));
        if let Some(meant) = meant.into_iter().find(|meant| sources::without_underscores(meant) == near) {
            faults.push(Fault {
                key: None,
                rule: format!("the variable `{}` is not read", name.display()),
                value: None,
                origin: "the environment".to_owned(),
                remedy: format!("call it `{meant}`: two underscores between the parts"),
            });
        }
    }
    faults
}

const RULE: &str = "is no setting";

fn unknown(key: &str, origin: String, known: &[String]) -> Fault {
    let (rule, remedy) = if is_section(key, known) {
        let remedy = format!("set one of its keys, such as {}", first_of_section(key, known));
        ("is a section and has no value itself", remedy)
    } else if key.starts_with("accounts.") {
        (RULE, "write each account as a block `[[accounts]]` with a `name`".to_owned())
    } else if key.starts_with("export.") {
        (RULE, "write each export as a block `[[export]]` with a `name`".to_owned())
    } else if key.starts_with("handlers.") {
        (RULE, "write each handler as a block `[[handlers]]` with a `name`".to_owned())
    } else if let Some(key) = nearest(key, known) {
        (RULE, format!("did you mean `{key}`?"))
    } else {
        (RULE, "take it away; `eventferry config show` lists every key".to_owned())
    };
    Fault { key: Some(key.to_owned()), rule: rule.to_owned(), value: None, origin, remedy }
}

fn is_section(key: &str, known: &[String]) -> bool {
    known.iter().any(|known| is_below(known, key))
}

fn first_of_section(section: &str, known: &[String]) -> String {
    known.iter().find(|known| is_below(known, section)).map_or(String::new(), |key| format!("`{key}`"))
}

fn is_below(key: &str, section: &str) -> bool {
    key.strip_prefix(section).is_some_and(|rest| rest.starts_with('.'))
}

/// The key that was probably meant: one that differs in few letters, or the only one of that name in any section.
fn nearest<'a>(key: &str, known: &'a [String]) -> Option<&'a String> {
    let spelt = known.iter().map(|known| (strsim::damerau_levenshtein(key, known), known)).min();
    let (distance, closest) = spelt?;
    if distance <= (key.len() / 5).max(2) {
        return Some(closest);
    }
    let name = last_part(key);
    let mut namesakes = known.iter().filter(|known| last_part(known) == name);
    let first = namesakes.next();
    if namesakes.next().is_none() { first } else { None }
}

fn last_part(key: &str) -> &str {
    key.rsplit_once('.').map_or(key, |(_, name)| name)
}
