//! Reads typed values by their keys and collects every fault. A value that is at fault is replaced by a stand-in, which
//! nobody gets to see because loading fails in the end.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::io::Read as _;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ::config::{Value, ValueKind};
use lettre::Address;
use secrecy::SecretString;

use super::Explained;
use super::fault::Fault;
use super::{secret, sources, units};

/// What the origin of a compiled-in value is called.
pub(super) const DEFAULT: &str = "default";

/// No secret is longer; bounds what is read when a path leads to the wrong file.
const SECRET_BYTES: u64 = 64 * 1024;

/// One pass over all settings.
pub(super) struct Reader {
    /// Values by full key, each with its origin.
    values: BTreeMap<String, Value>,
    /// The folder under which relative paths are; set as soon as it is known.
    pub(super) root: PathBuf,
    pub(super) faults: Vec<Fault>,
    /// Keys whose values stand-ins have replaced.
    faulty: BTreeSet<String>,
    known: Vec<String>,
    explained: Vec<Explained>,
}

/// A rule as in "must be …", and what to do where it is broken.
pub(super) struct Rule {
    pub(super) rule: String,
    pub(super) remedy: String,
}

impl Rule {
    pub(super) fn new(rule: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { rule: rule.into(), remedy: remedy.into() }
    }
}

impl Reader {
    pub(super) fn new(values: BTreeMap<String, Value>) -> Self {
        Self {
            values,
            root: PathBuf::new(),
            faults: Vec::new(),
            faulty: BTreeSet::new(),
            known: Vec::new(),
            explained: Vec::new(),
        }
    }

    /// Every key that has been read, in order, and what was found there.
    pub(super) fn finish(self) -> (Vec<String>, Vec<Explained>, Vec<Fault>) {
        (self.known, self.explained, self.faults)
    }

    /// Text that is not empty.
    pub(super) fn text(&mut self, key: &str) -> String {
        let found = self.optional_text(key);
        self.needed(key, found)
    }

    /// Text that may be absent.
    pub(super) fn optional_text(&mut self, key: &str) -> Option<String> {
        let rule = Rule::new("must be text", "put it in quotes");
        self.parsed(key, &rule, |text| Some(text.to_owned()))
    }

    /// Whatever `parse` makes of a text; `None` where there is none.
    pub(super) fn parsed<T>(&mut self, key: &str, rule: &Rule, parse: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        self.take(key, rule, secret::show, |value| match &value.kind {
            ValueKind::String(text) => parse(text),
            _ => None,
        })
    }

    /// `true` or `false`.
    pub(super) fn switch(&mut self, key: &str) -> bool {
        let found = self.optional_switch(key);
        self.needed(key, found)
    }

    /// `true` or `false`, or nothing.
    pub(super) fn optional_switch(&mut self, key: &str) -> Option<bool> {
        let rule = Rule::new("must be true or false", "write `true` or `false`");
        self.take(key, &rule, secret::show, |value| match &value.kind {
            ValueKind::Boolean(switch) => Some(*switch),
            ValueKind::String(text) => text.trim().parse().ok(),
            _ => None,
        })
    }

    /// A whole number of the given range.
    pub(super) fn number<T: TryFrom<u64> + Default>(&mut self, key: &str, range: RangeInclusive<u64>) -> T {
        let found = self.optional_number(key, range);
        self.needed(key, found)
    }

    /// A whole number of the given range, or nothing.
    pub(super) fn optional_number<T: TryFrom<u64>>(&mut self, key: &str, range: RangeInclusive<u64>) -> Option<T> {
        let (least, most) = (range.start(), range.end());
        let rule = Rule::new(
            format!("must be a whole number from {least} to {most}"),
            format!("write a number from {least} to {most}"),
        );
        self.take(key, &rule, secret::show, |value| {
            let number = match &value.kind {
                ValueKind::I64(number) => u64::try_from(*number).ok(),
                ValueKind::String(text) => text.trim().parse().ok(),
                _ => None,
            };
            number.filter(|number| range.contains(number)).and_then(|number| T::try_from(number).ok())
        })
    }

    /// A length of time of the given range.
    pub(super) fn duration(&mut self, key: &str, range: RangeInclusive<Duration>) -> Duration {
        let found = self.optional_duration(key, range);
        self.needed(key, found)
    }

    /// A length of time of the given range, or nothing.
    pub(super) fn optional_duration(&mut self, key: &str, range: RangeInclusive<Duration>) -> Option<Duration> {
        let (least, most) = (units::show_duration(*range.start()), units::show_duration(*range.end()));
        let rule = Rule::new(
            format!("must be a length of time from {least} to {most}"),
            "write a number with its unit, such as \"100ms\", \"30s\", \"15m\", \"24h\" or \"4d\"",
        );
        self.parsed(key, &rule, |text| units::parse_duration(text).filter(|found| range.contains(found)))
    }

    /// A size in bytes of the given range.
    pub(super) fn size(&mut self, key: &str, range: RangeInclusive<u64>) -> u64 {
        let found = self.optional_size(key, range);
        self.needed(key, found)
    }

    /// A size in bytes of the given range, or nothing.
    pub(super) fn optional_size(&mut self, key: &str, range: RangeInclusive<u64>) -> Option<u64> {
        let (least, most) = (units::show_size(*range.start()), units::show_size(*range.end()));
        let rule = Rule::new(
            format!("must be a size from {least} to {most}"),
            "write a number with its unit, such as \"512MiB\" or \"10GiB\", or a number of bytes",
        );
        self.take(key, &rule, secret::show, |value| {
            let bytes = match &value.kind {
                ValueKind::I64(number) => u64::try_from(*number).ok(),
                ValueKind::String(text) => units::parse_size(text),
                _ => None,
            };
            bytes.filter(|bytes| range.contains(bytes))
        })
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy + Default>(&mut self, key: &str, words: &[(&str, T)]) -> T {
        let found = self.optional_choice(key, words);
        self.needed(key, found)
    }

    /// One of a few words, or nothing.
    pub(super) fn optional_choice<T: Copy>(&mut self, key: &str, words: &[(&str, T)]) -> Option<T> {
        self.parsed(key, &words_rule("must be", words), |text| word(text, words))
    }

    /// A list of some words, or nothing.
    pub(super) fn optional_choices<T: Copy>(&mut self, key: &str, words: &[(&str, T)]) -> Option<Vec<T>> {
        self.list(key, &words_rule("must be a list of", words), |text| word(text, words))
    }

    /// A list of texts; one text is split at its commas.
    pub(super) fn list<T>(&mut self, key: &str, rule: &Rule, parse: impl Fn(&str) -> Option<T>) -> Option<Vec<T>> {
        self.take(key, rule, secret::show, |value| {
            let split = |text: &str| -> Option<Vec<String>> {
                let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
                Some(items.map(str::to_owned).collect())
            };
            let texts = match &value.kind {
                ValueKind::String(text) if text.trim_start().starts_with('[') => {
                    texts(&sources::parse_list(text, value.origin())?)
                }
                ValueKind::String(text) => split(text),
                ValueKind::Array(items) => texts(items),
                _ => None,
            };
            texts?.iter().map(|text| parse(text)).collect()
        })
    }

    /// A list of tables: gives their number and makes the values of each available under `KEY[INDEX].NAME`.
    pub(super) fn tables(&mut self, key: &str) -> usize {
        let rule = Rule::new("must be a list of blocks", format!("write one `[[{key}]]` block for each"));
        // What is shown are the values in the blocks.
        let found = self.take(
            key,
            &rule,
            |_| "…".to_owned(),
            |value| {
                let items = match &value.kind {
                    ValueKind::String(text) => sources::parse_list(text, value.origin())?,
                    ValueKind::Array(items) => items.clone(),
                    _ => return None,
                };
                items.iter().all(|item| matches!(item.kind, ValueKind::Table(_))).then_some(items)
            },
        );
        self.explained.retain(|explained| explained.key != key);
        let items = found.unwrap_or_default();
        for (index, item) in items.iter().enumerate() {
            let block = format!("{key}[{index}]");
            if let ValueKind::Table(table) = &item.kind {
                for (name, value) in table {
                    self.values.insert(format!("{block}.{name}"), value.clone());
                }
            }
            self.values.insert(block, item.clone());
        }
        items.len()
    }

    /// A mail address, or nothing.
    pub(super) fn address(&mut self, key: &str) -> Option<Address> {
        let rule = Rule::new("must be a mail address", "write it without a name, as in \"team@example.org\"");
        self.parsed(key, &rule, |text| text.trim().parse().ok())
    }

    /// A path, under the root where it is relative, shown in full.
    pub(super) fn path(&mut self, key: &str) -> PathBuf {
        let found = self.optional_path(key);
        self.needed(key, found)
    }

    /// A path, or nothing.
    pub(super) fn optional_path(&mut self, key: &str) -> Option<PathBuf> {
        let text = self.optional_text(key)?;
        let path = self.under_root(&text);
        self.show_as(key, path.display().to_string());
        Some(path)
    }

    /// `path` under the root, unless it is absolute.
    pub(super) fn under_root(&self, path: &str) -> PathBuf {
        let path = self.root.join(path);
        // Only an empty path or a lost working folder fail.
        std::path::absolute(&path).unwrap_or(path)
    }

    /// A secret from `KEY`, or from the file that `KEY_file` names.
    pub(super) fn secret(&mut self, key: &str, mask: fn(&str) -> String) -> Option<SecretString> {
        let rule = Rule::new("must be text", "put it in quotes");
        let given = self.take(key, &rule, mask, |value| match &value.kind {
            ValueKind::String(text) => Some(SecretString::from(text.as_str())),
            _ => None,
        });
        let origin = self.origin(key);
        let file_key = format!("{key}_file");
        let Some(path) = self.optional_path(&file_key) else {
            return given;
        };
        if given.is_some() && origin != DEFAULT {
            let rule = Rule::new(
                format!("must not be set beside `{key}`, which is set in {origin}"),
                format!("keep one of the two; `{file_key}` keeps the secret out of the configuration"),
            );
            self.fault(&file_key, &rule);
            self.faulty.insert(key.to_owned());
            return None;
        }
        match read_secret(&path) {
            Ok(text) => {
                self.show_as(key, mask(&text));
                if let Some(explained) = self.explained.iter_mut().find(|explained| explained.key == key) {
                    explained.origin = format!("file `{}`", path.display());
                }
                Some(text.into())
            }
            Err(why) => {
                let remedy = "check its path and that the user of the service may read it";
                self.fault(&file_key, &Rule::new(format!("must name a file that holds the secret: {why}"), remedy));
                // It is set, however badly.
                self.faulty.insert(key.to_owned());
                None
            }
        }
    }

    /// Shows what is in force where nobody has set `key`, and from where.
    pub(super) fn in_force(&mut self, key: &str, value: impl Into<String>, origin: &str) {
        let unset = |explained: &&mut Explained| explained.key == key && explained.value.is_none();
        if let Some(explained) = self.explained.iter_mut().find(unset) {
            explained.value = Some(value.into());
            origin.clone_into(&mut explained.origin);
        }
    }

    /// A fault of the value at `key` alone.
    pub(super) fn fault(&mut self, key: &str, rule: &Rule) {
        self.tell(key, rule);
        self.faulty.insert(key.to_owned());
    }

    /// Reports that `rule` does not hold between the values of `keys`, unless one of them is at fault itself. The
    /// fault is told of the first one that somebody has set, so the rule has to name the keys it means.
    pub(super) fn require(&mut self, keys: &[&str], holds: bool, rule: &Rule) {
        if holds || keys.iter().any(|key| self.faulty.contains(*key)) {
            return;
        }
        let Some(told) = keys.iter().find(|key| self.origin(key) != DEFAULT).or_else(|| keys.first()) else {
            return;
        };
        let others = keys.iter().filter(|key| *key != told).filter_map(|key| self.in_words(key));
        let others = others.collect::<Vec<_>>().join(", ");
        let rule_with_others = match others.as_str() {
            "" => rule.rule.clone(),
            others => format!("{} ({others})", rule.rule),
        };
        self.tell(told, &Rule::new(rule_with_others, &*rule.remedy));
    }

    /// Whether somebody has set `key`, to whatever.
    pub(super) fn is_given(&self, key: &str) -> bool {
        self.values.get(key).is_some_and(|value| !is_empty(value))
    }

    /// Where the value at `key` came from.
    pub(super) fn origin(&self, key: &str) -> String {
        let block = key.rsplit_once('.').map_or(key, |(block, _)| block);
        let value = self.values.get(key).or_else(|| self.values.get(block));
        value.and_then(Value::origin).unwrap_or(DEFAULT).to_owned()
    }

    /// Keys in blocks such as `accounts[0]` that nobody has read, with their origins.
    pub(super) fn unread_in_blocks(&self) -> Vec<(String, String)> {
        let in_block = |key: &&String| key.contains("].") && !self.known.contains(*key);
        self.values.keys().filter(in_block).map(|key| (key.clone(), self.origin(key))).collect()
    }

    fn tell(&mut self, key: &str, rule: &Rule) {
        match self.explained.iter().find(|explained| explained.key == key).cloned() {
            Some(explained) => self.push_fault(key, explained.value, explained.origin, rule),
            None => self.push_fault(key, None, self.origin(key), rule),
        }
    }

    fn in_words(&self, key: &str) -> Option<String> {
        let explained = self.explained.iter().find(|explained| explained.key == key)?;
        Some(format!("`{key}` is `{}` in {}", explained.value.as_deref()?, explained.origin))
    }

    /// Puts the effective value in the place of the given text.
    fn show_as(&mut self, key: &str, value: String) {
        if let Some(explained) = self.explained.iter_mut().find(|explained| explained.key == key) {
            explained.value = Some(value);
        }
    }

    fn take<T>(
        &mut self,
        key: &str,
        rule: &Rule,
        mask: fn(&str) -> String,
        parse: impl FnOnce(&Value) -> Option<T>,
    ) -> Option<T> {
        self.known.push(key.to_owned());
        let value = self.values.get(key).filter(|value| !is_empty(value));
        let shown = value.map(|value| mask(&text_of(value)));
        let parsed = value.map(parse);
        let origin = self.origin(key);
        match parsed {
            Some(None) => {
                self.push_fault(key, shown, origin, rule);
                self.faulty.insert(key.to_owned());
                None
            }
            Some(Some(parsed)) => {
                self.explained.push(Explained { key: key.to_owned(), value: shown, origin });
                Some(parsed)
            }
            None => {
                let is_set = self.values.contains_key(key);
                let origin = if is_set { origin } else { DEFAULT.to_owned() };
                self.explained.push(Explained { key: key.to_owned(), value: None, origin });
                None
            }
        }
    }

    /// What was found, or a fault where nothing was and nothing has been said of it yet.
    pub(super) fn needed<T: Default>(&mut self, key: &str, found: Option<T>) -> T {
        if found.is_none() && !self.faulty.contains(key) {
            let rule = Rule::new("must be set", "give it a value that is not empty");
            self.push_fault(key, None, self.origin(key), &rule);
            self.faulty.insert(key.to_owned());
        }
        found.unwrap_or_default()
    }

    fn push_fault(&mut self, key: &str, value: Option<String>, origin: String, rule: &Rule) {
        self.faults.push(Fault {
            key: Some(key.to_owned()),
            rule: rule.rule.clone(),
            value: value.map(|value| format!("`{value}`")),
            origin,
            remedy: rule.remedy.clone(),
        });
    }
}

fn words_rule<T>(beginning: &str, words: &[(&str, T)]) -> Rule {
    let words: Vec<_> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
    let words = match words.as_slice() {
        [all_but_last @ .., last] if !all_but_last.is_empty() => format!("{} or {last}", all_but_last.join(", ")),
        _ => words.join(", "),
    };
    Rule::new(format!("{beginning} {words}"), "write one of these words, in small letters")
}

/// A list as it is shown.
pub(super) fn list_of<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    format!("[{}]", words.into_iter().collect::<Vec<_>>().join(", "))
}

fn word<T: Copy>(text: &str, words: &[(&str, T)]) -> Option<T> {
    words.iter().find(|(word, _)| *word == text).map(|(_, meaning)| *meaning)
}

fn texts(items: &[Value]) -> Option<Vec<String>> {
    let text = |item: &Value| match &item.kind {
        ValueKind::String(text) => Some(text.clone()),
        _ => None,
    };
    items.iter().map(text).collect()
}

fn is_empty(value: &Value) -> bool {
    matches!(&value.kind, ValueKind::String(text) if text.trim().is_empty())
}

fn text_of(value: &Value) -> String {
    let list = |items: &mut dyn Iterator<Item = String>| items.collect::<Vec<_>>().join(", ");
    match &value.kind {
        ValueKind::Array(items) => format!("[{}]", list(&mut items.iter().map(text_of))),
        ValueKind::Table(table) => format!("{{{}}}", list(&mut table.keys().cloned())),
        ValueKind::Nil => String::new(),
        other => other.to_string(),
    }
}

fn read_secret(path: &Path) -> Result<String, String> {
    let in_words = |error: &dyn Display| format!("`{}`: {error}", path.display());
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(|error| in_words(&error))?;
    file.take(SECRET_BYTES).read_to_string(&mut text).map_err(|error| in_words(&error))?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() { Err(in_words(&"it is empty")) } else { Ok(text.to_owned()) }
}
