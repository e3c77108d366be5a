//! Real archives, against numbers that were worked out from the archives themselves and not with this code.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::{env, fs};

use eventferry::model::{Code, JobState};
use serde::Deserialize;

use crate::fixtures::importing::{Ferry, Imported};
use crate::fixtures::zips::{Packing, ZipEntry, unzip, zip};
use crate::support::databases::on_both_databases;

/// Names the folder with the archives.
const SAMPLES: &str = "EVENTFERRY_SAMPLES";

#[derive(Debug, Deserialize)]
struct Expected {
    archives: Vec<ExpectedArchive>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExpectedArchive {
    pub(crate) name: String,
    pub(crate) state: JobState,
    pub(crate) datasets: Counts,
    pub(crate) links: BTreeMap<String, u64>,
    media: BTreeMap<String, u64>,
    problems: BTreeMap<String, u64>,
    pub(crate) again: Counts,
    pub(crate) syntax_error: Option<Place>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Place {
    pub(crate) file: String,
    pub(crate) line: u64,
    pub(crate) column: u64,
}

/// Dataset to word to count.
pub(crate) type Counts = BTreeMap<String, BTreeMap<String, u64>>;

on_both_databases! {
    async fn every_real_archive_gives_what_is_in_it_and_another_zip_of_it_changes_nothing(database: TestDatabase) {
        let Some(samples) = samples() else { return };
        let ferry = Ferry::on(database);
        let mut wrong = Vec::new();
        for expected in expected() {
            let imported = ferry.import_as(&expected.name, fs::read(samples.join(&expected.name)).unwrap()).await;
            compare_first(&mut wrong, &expected, &imported);
            compare_tables(&mut wrong, &ferry, &expected, &imported).await;
        }
        assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));

        let before = ferry.snapshot().await;
        for expected in expected() {
            let bytes = fs::read(samples.join(&expected.name)).unwrap();
            let imported = ferry.import_as(&expected.name, &bytes).await;
            if imported.state() != JobState::Duplicate {
                wrong.push(format!("{} dropped again is {:?}", expected.name, imported.state()));
            }
        }
        for expected in expected() {
            let bytes = fs::read(samples.join(&expected.name)).unwrap();
            let imported = ferry.import_as(&expected.name, pack_otherwise(&bytes)).await;
            compare(&mut wrong, &expected.name, "zipped again, state", &expected.state, &imported.state());
            compare(&mut wrong, &expected.name, "zipped again", &expected.again, &counts(&imported));
            compare(&mut wrong, &expected.name, "zipped again, links", &expected.links, &numbers(&imported.report.links));
        }
        assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
        assert!(ferry.snapshot().await == before, "some row was touched");
    }
}

/// Where the archives are; none where this machine does not have them and nobody has asked for them.
#[expect(clippy::print_stderr, reason = "a test that cannot run says so")]
pub(crate) fn samples() -> Option<PathBuf> {
    if let Some(folder) = env::var_os(SAMPLES) {
        let folder = PathBuf::from(folder);
        assert!(folder.is_dir(), "`{SAMPLES}` names {}, which is no folder", folder.display());
        return Some(folder);
    }
    assert!(env::var_os("CI").is_none(), "set `{SAMPLES}` to the folder with the real archives");
    eprintln!("NOT RUN: set `{SAMPLES}` to the folder with the real archives");
    None
}

pub(crate) fn expected() -> Vec<ExpectedArchive> {
    let expected: Expected = serde_json::from_str(include_str!("real_archives_expected.json")).unwrap();
    assert_eq!(expected.archives.len(), 11);
    expected.archives
}

pub(crate) fn compare_first(wrong: &mut Vec<String>, expected: &ExpectedArchive, imported: &Imported) {
    let name = &expected.name;
    let report = &imported.report;
    compare(wrong, name, "state", &expected.state, &report.state);
    compare(wrong, name, "datasets", &expected.datasets, &counts(imported));
    compare(wrong, name, "links", &expected.links, &numbers(&report.links));
    let mut media = expected.media.clone();
    media.remove("files");
    compare(wrong, name, "media", &media, &numbers(&report.media));
    let codes = imported.codes().into_iter().map(|(code, count)| (code.to_owned(), count)).collect();
    compare(wrong, name, "problems", &expected.problems, &codes);
    if let Some(place) = &expected.syntax_error {
        let problem = imported.only(Code::JsonSyntax);
        compare(wrong, name, "broken file", &Some(place.file.clone()), &problem.file);
        let words = format!("line {}, column {}", place.line, place.column);
        if !problem.message.contains(&words) {
            wrong.push(format!("{name}: no `{words}` in `{}`", problem.message));
        }
    }
}

async fn compare_tables(wrong: &mut Vec<String>, ferry: &Ferry, expected: &ExpectedArchive, imported: &Imported) {
    let (name, event) = (&expected.name, imported.event());
    for (dataset, counts) in expected.datasets.iter().filter(|(dataset, _)| *dataset != "event") {
        let rows = ferry.count(&format!("{dataset} WHERE event_id = {event} AND gone_at IS NULL")).await;
        compare(wrong, name, &format!("rows in {dataset}"), &counts["created"], &rows.cast_unsigned());
    }
    let links = &expected.links;
    let pairs = ferry
        .count(&format!("session_speakers WHERE session_id IN (SELECT id FROM sessions WHERE event_id = {event})"))
        .await;
    compare(wrong, name, "rows in session_speakers", &links["session_speakers"], &pairs.cast_unsigned());
    for relation in ["track", "microlocation", "session_type"] {
        let rows = ferry.count(&format!("sessions WHERE event_id = {event} AND {relation}_id IS NOT NULL")).await;
        let stated = &links[&format!("sessions_with_{relation}")];
        compare(wrong, name, &format!("sessions with {relation}"), stated, &rows.cast_unsigned());
    }
    let media = &expected.media;
    for state in ["stored", "missing", "remote"] {
        let rows = ferry.count(&format!("media WHERE event_id = {event} AND state = '{state}'")).await;
        compare(wrong, name, &format!("media that are {state}"), &media[state], &rows.cast_unsigned());
    }
    let hashes: BTreeSet<String> = ferry
        .column::<String>(&format!("SELECT sha256 FROM media WHERE event_id = {event} AND state = 'stored'"))
        .await
        .into_iter()
        .collect();
    compare(wrong, name, "files in the store", &media["files"], &(hashes.len() as u64));
    for hash in hashes {
        if !ferry.media().path_of(&hash).exists() {
            wrong.push(format!("{name}: {hash} is not in the store"));
        }
    }
    let owners = ferry.count(&format!("event_roles WHERE event_id = {event} AND role = 'owner'")).await;
    compare(wrong, name, "owners", &1, &owners);
}

/// The same entries in another order, otherwise packed.
pub(crate) fn pack_otherwise(bytes: &[u8]) -> Vec<u8> {
    let mut entries = unzip(bytes);
    entries.reverse();
    let packings = [Packing::Streamed, Packing::Stored, Packing::Deflated];
    let entries: Vec<ZipEntry> = (entries.into_iter().zip(packings.into_iter().cycle()))
        .filter(|((name, _), _)| !name.ends_with(b"/"))
        .map(|((name, content), packing)| ZipEntry { packing, ..ZipEntry::new(name, content) })
        .collect();
    zip(&entries)
}

pub(crate) fn counts(imported: &Imported) -> Counts {
    imported.report.datasets.iter().map(|(dataset, counts)| (dataset.to_string(), numbers(counts))).collect()
}

pub(crate) fn numbers(counts: &impl serde::Serialize) -> BTreeMap<String, u64> {
    serde_json::from_value(serde_json::to_value(counts).unwrap()).unwrap()
}

pub(crate) fn compare<T: PartialEq + std::fmt::Debug>(
    wrong: &mut Vec<String>,
    name: &str,
    what: &str,
    expected: &T,
    found: &T,
) {
    if expected != found {
        wrong.push(format!("{name}: {what}: expected {expected:?}, found {found:?}"));
    }
}
