//! What an archive says about itself: which event, from where, and what is wanted with it.

use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::source::{self, Layout, ReadError};
use crate::archive::{Archive, Limits};
use crate::clock::Timestamp;
use crate::format::{Converted, FieldValue, zone};
use crate::model::{Code, Dataset, JobId, OnError, OnExisting, Problem};
use crate::storage::hex;

/// What can be told before the records are read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Head {
    /// The server that the archive came from; empty where that is not known.
    pub(crate) root_url: String,
    /// The event; none where its file is missing or cannot be read.
    pub(crate) event: Option<EventHead>,
    /// What `eventferry.json` asks for.
    pub(crate) directives: Directives,
    /// What is wrong with `meta`.
    pub(crate) problems: Vec<Problem>,
}

/// The event of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EventHead {
    /// Its id there.
    pub(crate) source_id: String,
    /// Its identifier there.
    pub(crate) identifier: Option<String>,
    /// Its name.
    pub(crate) name: String,
    /// When it starts.
    pub(crate) starts_at: Option<Timestamp>,
    /// Its zone.
    pub(crate) zone: Option<Tz>,
}

/// What `eventferry.json` may ask for, as far as the account allows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Directives {
    /// Version of this format.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<u32>,
    /// What happens to an archive with errors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) on_error: Option<OnError>,
    /// What happens where the event is there already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) on_existing: Option<OnExisting>,
    /// The id here of the event that the records go into.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) event: Option<i64>,
    /// Whether handlers are called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) with_handlers: Option<bool>,
    /// Whether bytes that were imported before are imported again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) again: Option<bool>,
    /// The job whose rejected records these are: they only add to its import.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) supplement_of: Option<JobId>,
}

/// Version of `eventferry.json`.
pub(crate) const DIRECTIVES_VERSION: u32 = 1;

/// Reads what an archive says about itself.
///
/// # Errors
/// [`ReadError::Archive`] where the archive as a whole is refused, [`ReadError::Io`] where the disk fails.
pub(crate) fn read(archive: &Archive, layout: &Layout, limits: &Limits) -> Result<Head, ReadError<Problem>> {
    let mut head = Head::default();
    if let Some(entry) = layout.directives {
        head.directives = directives(archive, limits, entry)?;
    }
    if let Some(entry) = layout.meta {
        let root_url = source::read_object(archive, limits, entry, |meta, _| {
            let raw = meta.get("root_url")?;
            crate::format::value::text(raw).ok().map(|text| text.trim().replace('\0', ""))
        });
        match root_url {
            Ok(root_url) => head.root_url = root_url.flatten().unwrap_or_default(),
            Err(ReadError::File(problem)) => head.problems.push(problem),
            Err(other) => return Err(other),
        }
    }
    head.event = match event(archive, layout, limits) {
        Ok(event) => event,
        // The check says what is wrong with the file.
        Err(ReadError::File(_)) => None,
        Err(other) => return Err(other),
    };
    Ok(head)
}

fn directives(archive: &Archive, limits: &Limits, entry: usize) -> Result<Directives, ReadError<Problem>> {
    let refuse = |why: String| {
        ReadError::Archive(
            Problem::new(
                Code::PolicyInvalid,
                format!("`{}` cannot be followed: {why}; nothing was imported", source::DIRECTIVES_FILE),
                "correct the file, or leave it out of the archive",
            )
            .in_file(source::DIRECTIVES_FILE),
        )
    };
    let read = source::read_object(archive, limits, entry, |_, text| serde_json::from_str::<Directives>(text));
    let directives = match read {
        Ok(Some(Ok(directives))) => directives,
        Ok(Some(Err(error))) => return Err(refuse(error.to_string())),
        Ok(None) => return Err(refuse("it is no JSON object in UTF-8".to_owned())),
        Err(ReadError::File(problem)) => return Err(refuse(problem.message)),
        Err(other) => return Err(other),
    };
    match directives.version {
        Some(version) if version > DIRECTIVES_VERSION => {
            Err(refuse(format!("it is of version {version}, this eventferry knows {DIRECTIVES_VERSION}")))
        }
        _ => Ok(directives),
    }
}

fn event(archive: &Archive, layout: &Layout, limits: &Limits) -> Result<Option<EventHead>, ReadError<Problem>> {
    let read = |zone: Tz| {
        let mut found = None;
        source::read_dataset(archive, layout, limits, Dataset::Event, zone, &mut |item| {
            found = item.outcome.ok();
            Ok::<(), Problem>(())
        })?;
        Ok::<Option<Converted>, ReadError<Problem>>(found)
    };
    let Some(mut event) = read(Tz::UTC)? else { return Ok(None) };
    let zone = zone_of(&event);
    if let Some(zone) = zone {
        // A start without an offset is in the event's own zone, which is known only now.
        event = match read(zone)? {
            Some(event) => event,
            None => return Ok(None),
        };
    }
    let text = |name: &str| match event.value(Dataset::Event, name) {
        FieldValue::Text(text) if !text.trim().is_empty() => Some(text.trim().to_owned()),
        _ => None,
    };
    let starts_at = match event.value(Dataset::Event, "starts_at") {
        FieldValue::Instant(moment) => Some(moment.utc),
        _ => None,
    };
    let Some(source_id) = event.source_id.clone() else { return Ok(None) };
    Ok(Some(EventHead {
        source_id,
        identifier: text("identifier"),
        name: text("name").unwrap_or_default(),
        starts_at,
        zone,
    }))
}

fn zone_of(event: &Converted) -> Option<Tz> {
    match event.value(Dataset::Event, "timezone") {
        FieldValue::Text(name) => zone::recognise(name).map(|found| found.zone),
        _ => None,
    }
}

impl Head {
    /// The source event: imports of one account with the same key run one after the other.
    pub(crate) fn source_key(&self) -> Option<String> {
        if let Some(event) = self.directives.event {
            return Some(format!("event {event}"));
        }
        let event = self.event.as_ref()?;
        let id = event.identifier.as_deref().unwrap_or(&event.source_id);
        Some(source_key(&self.root_url, id))
    }
}

/// Bytes of a key as it is; PostgreSQL's indexes take no more than 2,704.
const KEY_BYTES: usize = 500;

/// The key of an event there: whatever an archive says of its server and itself, an index can hold it.
pub(crate) fn source_key(root_url: &str, id: &str) -> String {
    let key = format!("{root_url} {id}");
    if key.len() > KEY_BYTES { format!("sha256 {}", hex(&Sha256::digest(key))) } else { key }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic, reason = "a failed step fails the test")]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::fsx;
    use crate::model::catalogue::{Field, FieldKind};

    /// Writes the table that is made from the code instead of comparing it.
    const RENEW: &str = "EVENTFERRY_RENEW";

    fn path() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/archive.md")
    }

    fn document() -> String {
        fs::read_to_string(path()).unwrap()
    }

    #[test]
    fn the_document_names_every_file_and_what_its_records_cannot_do_without() {
        let document = document();
        for dataset in Dataset::ALL {
            let files: Vec<String> = dataset.definition().files.iter().map(|file| format!("`{file}`")).collect();
            let row = document.lines().find(|line| line.starts_with(&format!("| {} |", files.join(", "))));
            let row = row.unwrap_or_else(|| panic!("docs/archive.md has no row for {files:?}"));
            let required = dataset.fields().iter().filter(|field| field.required);
            for name in required.map(|field| field.name).chain(["id"]) {
                assert!(row.contains(&format!("`{name}`")), "{name}: {row}");
            }
        }
        for folder in source::MEDIA_FOLDERS.iter().chain(&["meta", source::DIRECTIVES_FILE]) {
            assert!(document.contains(&format!("`{folder}`")), "{folder}");
        }
    }

    #[test]
    fn the_document_has_every_key_of_our_own_file_with_an_example_that_can_be_followed() {
        let document = document();
        let all = Directives {
            version: Some(DIRECTIVES_VERSION),
            on_error: Some(OnError::Skip),
            on_existing: Some(OnExisting::Update),
            event: Some(1),
            with_handlers: Some(true),
            again: Some(true),
            supplement_of: Some(JobId(uuid::Uuid::nil())),
        };
        let keys = serde_json::to_value(all).unwrap();
        let examples: Vec<&str> = document.lines().filter(|line| line.starts_with("{\"version\"")).collect();
        for key in keys.as_object().unwrap().keys() {
            assert!(document.contains(&format!("\n| `{key}` | ")), "no row for `{key}`");
            assert!(examples.iter().any(|example| example.contains(&format!("\"{key}\": "))), "no example of `{key}`");
        }
        for example in examples {
            serde_json::from_str::<Directives>(example).unwrap_or_else(|error| panic!("{example}: {error}"));
        }
    }

    #[test]
    fn the_document_has_every_field_with_its_spellings() {
        let mut table = String::from("\n| file | field | holds | other spellings |\n|---|---|---|---|\n");
        for dataset in Dataset::ALL {
            for field in dataset.fields() {
                let others: Vec<String> = field.aliases.iter().map(|alias| format!("`{alias}`")).collect();
                let (file, holds) = (dataset.definition().files[0], holds(field));
                table += &format!("| `{file}` | `{}` | {holds} | {} |\n", field.name, others.join(" "));
            }
        }
        let (document, begin, end) = (document(), "<!-- fields -->", "<!-- /fields -->");
        let (before, rest) = document.split_once(begin).unwrap();
        let (present, after) = rest.split_once(end).unwrap();
        if std::env::var_os(RENEW).is_some() {
            fsx::write_atomic(&path(), format!("{before}{begin}{table}{end}{after}").as_bytes()).unwrap();
        } else {
            assert_eq!(present, table, "run `{RENEW}=1 cargo test --lib import::head` and commit docs/archive.md");
        }
    }

    fn holds(field: &Field) -> String {
        let what = match field.kind {
            FieldKind::Text => "a text".to_owned(),
            FieldKind::Instant => "a time".to_owned(),
            FieldKind::Integer => "a whole number".to_owned(),
            FieldKind::Decimal => "a number".to_owned(),
            FieldKind::Boolean => "true or false".to_owned(),
            FieldKind::Json => "any JSON".to_owned(),
            FieldKind::Zone => "a time zone".to_owned(),
            FieldKind::Length => "a length".to_owned(),
            FieldKind::Media => "a media file".to_owned(),
            FieldKind::Reference(target) => format!("a reference to a {}", target.definition().singular),
            FieldKind::References(target) => format!("a list of references to {}s", target.definition().singular),
        };
        if field.required { format!("{what}, required") } else { what }
    }
}
