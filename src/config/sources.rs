//! Where settings come from: the compiled-in defaults, a file, the environment, flags. Each value is marked with its
//! origin here, and the `config` crate lays the layers over each other.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use ::config::{ConfigError, Map, Source, Value, ValueKind};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::fault::Fault;

/// The file that is read where no other is named and it is there.
pub const SYSTEM_FILE: &str = "/etc/eventferry/eventferry.toml";

/// What the name of every variable that sets a value begins with.
pub const VARIABLE_PREFIX: &str = "EVENTFERRY__";

/// Everything that settings are read from, as values.
#[derive(Clone, Default)]
pub struct Sources {
    /// The configuration file, if there is one.
    pub file: Option<PathBuf>,
    /// The environment; variables that do not begin with `EVENTFERRY` are passed over.
    pub environment: BTreeMap<OsString, OsString>,
    /// What flags say.
    pub overrides: Overrides,
}

/// What the flags of the command line say; stronger than any other source.
#[derive(Clone, Default)]
pub struct Overrides {
    /// `--root DIR`: sets `folders.root`.
    pub root: Option<PathBuf>,
    /// `--set KEY=VALUE`, in order; the last one of a key wins.
    pub set: Vec<(String, String)>,
    /// `--log-level LEVEL`: sets `log.level`.
    pub log_level: Option<String>,
}

impl Sources {
    /// The sources of this process: `file`, or else [`SYSTEM_FILE`] where it is there, and the real environment.
    pub fn of_process(file: Option<PathBuf>, overrides: Overrides) -> Self {
        // A file that cannot even be looked at is named, so that loading says why.
        let system_file = || Path::new(SYSTEM_FILE).try_exists().unwrap_or(true).then(|| SYSTEM_FILE.into());
        Self { file: file.or_else(system_file), environment: std::env::vars_os().collect(), overrides }
    }
}

/// Values stay out of it: any of them may be a secret.
impl fmt::Debug for Sources {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Sources")
            .field("file", &self.file)
            .field("overrides", &self.overrides)
            .finish_non_exhaustive()
    }
}

/// Values stay out of it: any of them may be a secret.
impl fmt::Debug for Overrides {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<_> = self.set.iter().map(|(key, _)| key).collect();
        formatter.debug_struct("Overrides").field("root", &self.root).field("set", &keys).finish_non_exhaustive()
    }
}

/// What is wrong with the text of a `--set` flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no key before a `=`; write it as in `--set queue.lease=60s`")]
pub struct AssignmentError;

/// Splits the `KEY=VALUE` of a `--set` flag.
///
/// # Errors
/// [`AssignmentError`] where there is no `=` or no key before it.
pub fn parse_assignment(text: &str) -> Result<(String, String), AssignmentError> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.trim().to_owned())),
        _ => Err(AssignmentError),
    }
}

/// What one source says: full keys, each with a value that carries its origin (none: a default).
#[derive(Clone, Default)]
pub(super) struct Layer {
    pub(super) values: Vec<(String, Value)>,
}

impl fmt::Debug for Layer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.values.iter().map(|(key, _)| key)).finish()
    }
}

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        Ok(self.values.iter().cloned().collect())
    }
}

/// Lays the layers over each other, later ones win, and gives the values by their full keys.
pub(super) fn merge(layers: Vec<Layer>) -> Result<BTreeMap<String, Value>, ConfigError> {
    let mut builder = ::config::Config::builder();
    for layer in layers {
        builder = builder.add_source(layer);
    }
    let mut values = Vec::new();
    for (key, value) in builder.build()?.collect()? {
        flatten(key, value, &mut values);
    }
    Ok(values.into_iter().collect())
}

/// The defaults, which carry no origin.
pub(super) fn of_defaults(text: &str) -> (Layer, Vec<Fault>) {
    of_text(&Text { text, path: None })
}

/// What a file says; what of it can be read where it has faults.
pub(super) fn of_file(path: &Path) -> (Layer, Vec<Fault>) {
    let whole_file = |rule: String, line: Option<usize>, remedy: &str| {
        let origin = origin_in_file(path, line);
        let fault = Fault { key: None, rule, value: None, origin, remedy: remedy.to_owned() };
        (Layer::default(), vec![fault])
    };
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) => {
            let remedy = "check its path and that this user may read it";
            return whole_file(format!("the configuration file cannot be read: {error}"), None, remedy);
        }
    };
    match std::str::from_utf8(&bytes) {
        Ok(text) => of_text(&Text { text, path: Some(path) }),
        Err(error) => {
            let line = line_at(&bytes, error.valid_up_to());
            whole_file("the configuration file is not UTF-8".to_owned(), Some(line), "save it as UTF-8")
        }
    }
}

/// What the environment says.
pub(super) fn of_environment(environment: &BTreeMap<OsString, OsString>) -> (Layer, Vec<Fault>) {
    let mut layer = Layer::default();
    let mut faults = Vec::new();
    for (name, text) in environment {
        let Some(key) = key_of_variable(name) else { continue };
        let origin = format!("environment variable `{}`", name.display());
        match text.to_str() {
            Some(text) => layer.values.push((key, string(text, Some(&origin)))),
            None => faults.push(not_utf8(key, origin)),
        }
    }
    (layer, faults)
}

/// What flags say.
pub(super) fn of_overrides(overrides: &Overrides) -> (Layer, Vec<Fault>) {
    let set = "flag `--set`".to_owned();
    let mut values: Vec<_> = overrides.set.iter().map(|(key, text)| (key.clone(), string(text, Some(&set)))).collect();
    if let Some(level) = &overrides.log_level {
        values.push(("log.level".to_owned(), string(level, Some(&"flag `--log-level`".to_owned()))));
    }
    let mut faults = Vec::new();
    if let Some(root) = &overrides.root {
        let key = "folders.root".to_owned();
        let origin = "flag `--root`".to_owned();
        match root.to_str() {
            Some(root) => values.push((key, string(root, Some(&origin)))),
            None => faults.push(not_utf8(key, origin)),
        }
    }
    (Layer { values }, faults)
}

/// Reads a list such as `["a", "b"]` that was given as text; `None` where it is none.
pub(super) fn parse_list(text: &str, origin: Option<&str>) -> Option<Vec<Value>> {
    let parsed = DeValue::parse(text).ok()?;
    let origin = origin.map(str::to_owned);
    match value_of(&parsed, 0..0, &|_| origin.clone()).kind {
        ValueKind::Array(items) => Some(items),
        _ => None,
    }
}

/// The variable that sets `key`.
pub(super) fn variable_of(key: &str) -> String {
    format!("{VARIABLE_PREFIX}{}", key.to_uppercase().replace('.', "__"))
}

/// The name of a variable without its underscores where it begins like ours but with a single one, as in
/// `EVENTFERRY_QUEUE_LEASE`: nothing would read it.
pub(super) fn near_miss(name: &OsStr) -> Option<String> {
    let name = name.to_str()?;
    let near = name.starts_with("EVENTFERRY_") && !name.starts_with(VARIABLE_PREFIX);
    near.then(|| without_underscores(name))
}

/// A name as [`near_miss`] gives it.
pub(super) fn without_underscores(name: &str) -> String {
    name.replace('_', "").to_ascii_lowercase()
}

fn key_of_variable(name: &OsStr) -> Option<String> {
    Some(name.to_str()?.strip_prefix(VARIABLE_PREFIX)?.to_lowercase().replace("__", "."))
}

fn not_utf8(key: String, origin: String) -> Fault {
    let remedy = "give it as UTF-8".to_owned();
    Fault { key: Some(key), rule: "must be UTF-8".to_owned(), value: None, origin, remedy }
}

/// A text in TOML, with its path if it is a file.
struct Text<'a> {
    text: &'a str,
    path: Option<&'a Path>,
}

impl Text<'_> {
    fn origin(&self, place: &Range<usize>) -> Option<String> {
        self.path.map(|path| origin_in_file(path, Some(line_at(self.text.as_bytes(), place.start))))
    }
}

fn of_text(text: &Text<'_>) -> (Layer, Vec<Fault>) {
    let (table, errors) = DeTable::parse_recoverable(text.text);
    let mut layer = Layer::default();
    for (key, value) in table.get_ref() {
        let value = value_of(value, key.span(), &|place| text.origin(place));
        flatten(key.get_ref().to_string(), value, &mut layer.values);
    }
    let faults = errors.into_iter().map(|error| Fault {
        key: None,
        rule: format!("the configuration file is not TOML: {}", error.message().replace('\n', ", ")),
        value: None,
        origin: text.origin(&error.span().unwrap_or_default()).unwrap_or_default(),
        remedy: "correct this line; text stands in quotes, as in `inbox = \"inbox\"`".to_owned(),
    });
    (layer, faults.collect())
}

/// Converts a value and gives it the origin of `place`. The place of a setting is that of its key, because a value may go
/// over several lines.
fn value_of(
    value: &Spanned<DeValue<'_>>,
    place: Range<usize>,
    origin: &dyn Fn(&Range<usize>) -> Option<String>,
) -> Value {
    let kind = match value.get_ref() {
        DeValue::String(text) => ValueKind::String(text.to_string()),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => ValueKind::I64(number),
            Err(_) => ValueKind::String(number.to_string()),
        },
        DeValue::Float(number) => ValueKind::String(number.to_string()),
        DeValue::Boolean(switch) => ValueKind::Boolean(*switch),
        DeValue::Datetime(time) => ValueKind::String(time.to_string()),
        DeValue::Array(items) => {
            ValueKind::Array(items.iter().map(|item| value_of(item, item.span(), origin)).collect())
        }
        DeValue::Table(table) => {
            let entry = |(key, value): (&Spanned<_>, _)| {
                let key: &Spanned<std::borrow::Cow<'_, str>> = key;
                (key.get_ref().to_string(), value_of(value, key.span(), origin))
            };
            ValueKind::Table(table.iter().map(entry).collect())
        }
    };
    Value::new(origin(&place).as_ref(), kind)
}

/// Tables become full keys; an empty one stays as it is, so that its name can be checked.
fn flatten(key: String, value: Value, into: &mut Vec<(String, Value)>) {
    match value.kind {
        ValueKind::Table(table) if !table.is_empty() => {
            for (name, value) in table {
                flatten(format!("{key}.{name}"), value, into);
            }
        }
        _ => into.push((key, value)),
    }
}

fn string(text: &str, origin: Option<&String>) -> Value {
    Value::new(origin, ValueKind::String(text.to_owned()))
}

fn origin_in_file(path: &Path, line: Option<usize>) -> String {
    match line {
        Some(line) => format!("`{}:{line}`", path.display()),
        None => format!("`{}`", path.display()),
    }
}

/// The line, counted from 1, of the byte at `offset`.
fn line_at(bytes: &[u8], offset: usize) -> usize {
    1 + bytes.iter().take(offset).filter(|byte| **byte == b'\n').count()
}
