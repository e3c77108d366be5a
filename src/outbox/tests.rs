#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::{Value, json};
use tempfile::{TempDir, tempdir};
use unicode_width::UnicodeWidthStr;

use super::*;
use crate::model::{Code, Dataset, JobState};

const FOLDER: &str = "harbour/20261122T041803Z_Harbour_Days_2026_01932b5e-7c00-7000-8000-000000000001";

/// Writes the documents that are made from the code instead of comparing them.
const RENEW: &str = "EVENTFERRY_RENEW";

fn text_of(report: &Report, rejected: RejectedZip) -> String {
    let mut bytes = Vec::new();
    write_text(&mut bytes, report, rejected).unwrap();
    String::from_utf8(bytes).unwrap()
}

fn first_line(report: &Report) -> String {
    text_of(report, RejectedZip::None).lines().next().unwrap().to_owned()
}

fn names(outbox: &TempDir, folder: &str) -> Vec<String> {
    let entries = fs::read_dir(outbox.path().join(folder)).unwrap();
    let mut names: Vec<String> = entries.map(|entry| fsx::display_name(entry.unwrap().file_name())).collect();
    names.sort();
    names
}

fn put(outbox: &TempDir, path: &str, text: &str) {
    let path = outbox.path().join(path);
    fsx::create_folders(path.parent().unwrap()).unwrap();
    fsx::write_atomic(&path, text.as_bytes()).unwrap();
}

fn read(outbox: &TempDir, path: &str) -> String {
    fs::read_to_string(outbox.path().join(path)).unwrap()
}

/// When the result of `sample` is written.
fn now() -> Timestamp {
    "2026-11-22T04:18:10Z".parse().unwrap()
}

#[test]
fn a_folder_is_named_by_time_archive_and_job() {
    let report = sample::clean();
    assert_eq!(folder_name(&report.account, &report.archive.name, report.started, report.job), FOLDER);
    assert_eq!(latest_name("harbour", "Harbour Days 2026.ZIP"), "harbour/latest/Harbour_Days_2026.json");
}

#[test]
fn no_archive_name_leads_out_of_the_outbox() {
    for name in ["../../etc/passwd", "..", ".zip", "", "a/b\\c\n.zip", &"長".repeat(300)] {
        let folder = folder_name("../x", name, sample::clean().started, sample::job(sample::JOB));
        let parts: Vec<&str> = folder.split('/').collect();
        assert_eq!((parts.len(), parts[0]), (2, "_._x"), "{folder}");
        assert!(parts[1].len() <= 255 && parts[1].ends_with(sample::JOB), "{folder}");
        assert_eq!(latest_name("a", name).split('/').count(), 3);
    }
}

#[test]
fn a_result_is_four_files_and_the_latest_one() {
    let outbox = tempdir().unwrap();
    put(&outbox, &format!("{FOLDER}/status.json"), "{}");
    put(&outbox, &format!("{FOLDER}/.eventferry-tmp-1-1"), "half");
    write(outbox.path(), FOLDER, &sample::partial(), now()).unwrap();
    assert_eq!(names(&outbox, FOLDER), ["errors.csv", "report.txt", "result.json"]);
    let result = read(&outbox, &format!("{FOLDER}/result.json"));
    assert_eq!(serde_json::from_str::<Report>(&result).unwrap(), sample::partial());
    assert_eq!(read(&outbox, "harbour/latest/Harbour_Days_2026.json"), result);
    assert_eq!(names(&outbox, "harbour/latest"), ["Harbour_Days_2026.json"]);
    assert_eq!(csv_rows(&read(&outbox, &format!("{FOLDER}/errors.csv"))), 5);
}

fn csv_rows(text: &str) -> usize {
    csv::Reader::from_reader(text.as_bytes()).records().map(Result::unwrap).count()
}

#[test]
fn writing_again_gives_the_same_bytes() {
    let outbox = tempdir().unwrap();
    put(&outbox, &format!("{FOLDER}/rejected.zip"), "PK");
    let written = || {
        write(outbox.path(), FOLDER, &sample::partial(), now()).unwrap();
        let files = names(&outbox, FOLDER);
        let texts: Vec<String> = files.iter().map(|file| read(&outbox, &format!("{FOLDER}/{file}"))).collect();
        (files, texts, read(&outbox, "harbour/latest/Harbour_Days_2026.json"))
    };
    let first = written();
    assert_eq!(first.0, ["errors.csv", "rejected.zip", "report.txt", "result.json"]);
    assert_eq!(written(), first);
}

#[test]
fn the_result_is_the_last_file_of_the_folder() {
    let outbox = tempdir().unwrap();
    put(&outbox, &format!("{FOLDER}/status.json"), "{}");
    put(&outbox, &format!("{FOLDER}/result.json/in_the_way"), "");
    assert!(write(outbox.path(), FOLDER, &sample::partial(), now()).is_err());
    assert_eq!(names(&outbox, FOLDER), ["errors.csv", "report.txt", "result.json", "status.json"]);
    assert!(!outbox.path().join("harbour/latest").exists());
}

#[test]
fn a_repeated_older_result_does_not_push_out_a_newer_one() {
    let outbox = tempdir().unwrap();
    let older = sample::clean();
    let mut newer = sample::clean();
    newer.job = sample::job(sample::OTHER_JOB);
    let latest =
        || serde_json::from_str::<Report>(&read(&outbox, "harbour/latest/Harbour_Days_2026.json")).unwrap().job;
    write(outbox.path(), FOLDER, &newer, now()).unwrap();
    write(outbox.path(), FOLDER, &older, now()).unwrap();
    assert_eq!(latest(), newer.job, "ended in the same moment: the later job");
    newer.finished -= chrono::TimeDelta::seconds(1);
    put(&outbox, "harbour/latest/Harbour_Days_2026.json", "not JSON");
    write(outbox.path(), FOLDER, &newer, now()).unwrap();
    write(outbox.path(), FOLDER, &older, now()).unwrap();
    assert_eq!(latest(), older.job, "ended later, though its job is the earlier one");
}

#[test]
fn a_result_from_a_time_that_is_still_to_come_does_not_stay_the_latest() {
    let outbox = tempdir().unwrap();
    let mut ahead = sample::clean();
    ahead.job = sample::job(sample::OTHER_JOB);
    ahead.finished = now() + chrono::TimeDelta::days(1);
    write(outbox.path(), FOLDER, &ahead, ahead.finished).unwrap();
    write(outbox.path(), FOLDER, &sample::clean(), now()).unwrap();
    let latest: Report = serde_json::from_str(&read(&outbox, "harbour/latest/Harbour_Days_2026.json")).unwrap();
    assert_eq!(latest.job, sample::clean().job);
}

#[test]
fn the_report_speaks_of_rejected_zip_only_where_it_is() {
    let outbox = tempdir().unwrap();
    write(outbox.path(), FOLDER, &sample::partial(), now()).unwrap();
    assert!(!read(&outbox, &format!("{FOLDER}/report.txt")).contains("rejected.zip"));
    put(&outbox, &format!("{FOLDER}/rejected.zip"), "PK");
    write(outbox.path(), FOLDER, &sample::partial(), now()).unwrap();
    assert!(read(&outbox, &format!("{FOLDER}/report.txt")).contains("1. Unpack rejected.zip."));
}

#[test]
fn the_first_line_says_what_happened() {
    let in_state = |state| Report { state, ..sample::clean() };
    assert_eq!(first_line(&sample::clean()), "Harbour Days 2026 is imported: everything is in.");
    assert_eq!(
        first_line(&sample::partial()),
        "Harbour Days 2026 is imported, except 2 records and 1 unreadable file."
    );
    assert_eq!(first_line(&sample::failed(Code::Incomplete)), "Harbour Days 2026.zip was not imported.");
    assert_eq!(
        first_line(&in_state(JobState::Cancelled)),
        "Harbour Days 2026.zip is not imported: a person stopped it."
    );
    assert_eq!(
        first_line(&in_state(JobState::Duplicate)),
        "Harbour Days 2026.zip was imported before: nothing was changed."
    );
    for (state, why) in [(JobState::Cancelled, "a person stopped it"), (JobState::Failed, "it could not go on")] {
        let said = format!("Harbour Days 2026 is only partly brought up to date: {why}.");
        assert_eq!(first_line(&sample::midway(state)), said);
    }
    let mut again = sample::clean();
    again.event.as_mut().unwrap().created = false;
    assert_eq!(first_line(&again), "Harbour Days 2026 is brought up to date: everything is in.");
    again.datasets.values_mut().for_each(|counts| *counts = Default::default());
    assert_eq!(first_line(&again), "Harbour Days 2026 was up to date: nothing had to be changed.");
}

#[test]
fn the_report_says_whether_anything_is_to_be_done() {
    let to_do = |report: &Report| {
        let text = text_of(report, RejectedZip::None);
        text.lines().find_map(|line| line.strip_prefix("To do: ")).unwrap().to_owned()
    };
    assert_eq!(to_do(&sample::clean()), "nothing.");
    let mut warned = sample::clean();
    warned.problem_counts.insert(Code::MediaMissing, 2);
    assert!(to_do(&warned).starts_with("nothing has to be done. 2 warnings below may be worth a look"));
    assert!(to_do(&sample::partial()).starts_with("correct what is listed under “Problems”"));
    assert!(to_do(&sample::failed(Code::NotAZip)).starts_with("correct what is listed under “Problems”"));
    assert!(to_do(&sample::failed(Code::Internal)).starts_with("nothing is wrong with what you did."));
    assert!(
        to_do(&sample::midway(JobState::Cancelled)).starts_with("drop the archive again to finish it, or an older")
    );
    assert!(!text_of(&sample::midway(JobState::Failed), RejectedZip::None).contains("Nothing of it is in"));
}

#[test]
fn the_report_says_what_is_in_rejected_zip() {
    let said = |rejected: u64, problems: &[Code]| {
        let mut report = sample::clean();
        report.state = JobState::Partial;
        report.datasets.entry(Dataset::Sessions).and_modify(|counts| counts.rejected = rejected);
        report.problem_counts = problems.iter().map(|code| (*code, 1)).collect();
        text_of(&report, RejectedZip::Beside).replace('\n', " ")
    };
    let both = "the 2 records that were left out and the whole file that could not be read, as your archive gave them, and \
                eventferry.json, which names the event and must stay in it.";
    assert!(said(2, &[Code::JsonSyntax]).contains(both));
    assert!(said(1, &[]).contains("holds the record that was left out, as your archive gave it, and eventferry.json"));
    let files = "holds the 2 whole files that could not be read, as your archive gave them, and eventferry.json";
    assert!(said(0, &[Code::JsonSyntax, Code::WrongTopLevel]).contains(files));
    // Of damaged bytes nothing is left to correct.
    let damaged = said(1, &[Code::CrcMismatch]);
    assert!(
        damaged.contains("holds the record that was left out, as") && damaged.contains("are not in it"),
        "{damaged}"
    );
}

#[test]
fn every_kept_problem_is_listed_in_the_order_of_the_archive() {
    let report = sample::partial();
    let text = text_of(&report, RejectedZip::Beside);
    let listed: Vec<&str> = text
        .lines()
        .filter(|line| line.contains(". ERROR ") || line.contains(". WARNING "))
        .filter_map(|line| line.split(' ').nth(2))
        .collect();
    let kept: Vec<&str> = report.problems.iter().map(|problem| problem.code.as_str()).collect();
    assert_eq!(listed, kept);
    assert!(text.contains("Listed are the first 5 of 1,205."));
}

#[test]
fn a_hostile_archive_cannot_spoil_the_page() {
    let hostile = format!("\u{1b}[31m\r\n{}\u{202e}\0 {}", "x".repeat(300), "議".repeat(100));
    let mut report = sample::partial();
    report.archive.name.clone_from(&hostile);
    report.account.clone_from(&hostile);
    report.summary.clone_from(&hostile);
    report.event.as_mut().unwrap().name.clone_from(&hostile);
    for problem in &mut report.problems {
        problem.file = Some(hostile.clone());
        problem.source_id = Some(hostile.clone());
        problem.field = Some(hostile.clone());
        problem.value = Some(hostile.clone());
        problem.message.clone_from(&hostile);
        problem.hint.clone_from(&hostile);
    }
    report.datasets.entry(Dataset::Sessions).and_modify(|counts| {
        counts.read = 1_000_000;
        counts.created = 1_000_000;
        counts.gone = 3;
    });
    let text = text_of(&report, RejectedZip::Beside);
    for line in text.lines() {
        assert!(line.width() <= 80, "{line}");
        assert!(!line.contains(|character: char| character.is_control() || character == '\u{202e}'), "{line:?}");
    }
}

fn document(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name)
}

/// Compares a part of a document with what the code says, or writes it where [`RENEW`] is set.
fn check_document(name: &str, begin: &str, end: &str, expected: &str) {
    let path = document(name);
    let present = fs::read_to_string(&path).unwrap();
    let (before, rest) = present.split_once(begin).unwrap();
    let (part, after) = rest.split_once(end).unwrap();
    if std::env::var_os(RENEW).is_some() {
        fsx::write_atomic(&path, format!("{before}{begin}{expected}{end}{after}").as_bytes()).unwrap();
    } else {
        assert_eq!(part, expected, "docs/{name} has drifted: run `{RENEW}=1 cargo test --lib outbox` and commit it");
    }
}

fn schema() -> Value {
    serde_json::from_str(&result_schema()).unwrap()
}

#[test]
fn the_committed_schema_is_that_of_the_report() {
    let path = document("result.schema.json");
    if std::env::var_os(RENEW).is_some() {
        fsx::write_atomic(&path, result_schema().as_bytes()).unwrap();
    } else {
        let message = format!("run `{RENEW}=1 cargo test --lib outbox` and commit docs/result.schema.json");
        assert_eq!(fs::read_to_string(path).unwrap(), result_schema(), "{message}");
    }
}

#[test]
fn the_schema_takes_real_results_and_refuses_broken_ones() {
    let committed = serde_json::from_slice(&fs::read(document("result.schema.json")).unwrap()).unwrap();
    assert!(jsonschema::meta::is_valid(&committed));
    let validator = jsonschema::options().should_validate_formats(true).build(&committed).unwrap();
    for report in [sample::clean(), sample::partial(), sample::failed(Code::NotAZip)] {
        let value = serde_json::to_value(report).unwrap();
        assert_eq!(validator.iter_errors(&value).map(|error| error.to_string()).collect::<Vec<_>>(), [""; 0]);
    }
    let breakages = [
        ("/state", json!("great")),
        ("/job", json!("42")),
        ("/version", json!("1")),
        ("/archive/bytes", json!(-1)),
        ("/archive/name", Value::Null),
        ("/started", json!("yesterday")),
        ("/datasets/sessions/read", json!(1.5)),
        ("/datasets", json!({ "talks": {} })),
        ("/problem_counts", json!({ "OOPS": 1 })),
        ("/problems/0/code", json!("OOPS")),
        ("/problems/0/severity", json!("fatal")),
    ];
    for (place, broken) in breakages {
        let mut value = serde_json::to_value(sample::partial()).unwrap();
        *value.pointer_mut(place).unwrap() = broken;
        assert!(!validator.is_valid(&value), "{place}");
    }
    for field in serde_json::to_value(sample::partial()).unwrap().as_object().unwrap().keys() {
        let mut value = serde_json::to_value(sample::partial()).unwrap();
        value.as_object_mut().unwrap().remove(field);
        assert!(!validator.is_valid(&value), "without {field}");
    }
}

#[test]
fn the_document_has_every_code_with_its_severity_and_meaning_and_a_real_report() {
    let meanings = words_of(&schema()["$defs"]["Code"]);
    assert_eq!(meanings.len(), Code::ALL.len());
    let mut table = String::from("\n| code | severity | meaning |\n|---|---|---|\n");
    for (code, (word, meaning)) in Code::ALL.iter().zip(&meanings) {
        assert_eq!(code.as_str(), word);
        table += &format!("| `{word}` | {} | {meaning} |\n", code.severity().as_str());
    }
    check_document("results.md", "<!-- codes -->", "<!-- /codes -->", &table);
    let text = text_of(&sample::partial(), RejectedZip::Beside);
    check_document("results.md", "<!-- example -->", "<!-- /example -->", &format!("\n```text\n{text}```\n"));
}

/// The words of an enum in the schema, each with its meaning.
fn words_of(definition: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let words = definition["oneOf"].as_array().unwrap();
    words.iter().map(|word| (text(&word["const"]), text(&word["description"]))).collect()
}

#[test]
fn every_field_and_state_is_in_the_document() {
    let mut names = BTreeSet::new();
    collect_fields(&schema(), &mut names);
    collect_fields(&schemars::schema_for!(Status).to_value(), &mut names);
    names.extend(JobState::ALL.map(|state| state.as_str().to_owned()));
    names.extend(Dataset::ALL.map(|dataset| dataset.as_str().to_owned()));
    names.extend([RESULT_FILE, TEXT_FILE, ERRORS_FILE, REJECTED_FILE, STATUS_FILE].map(str::to_owned));
    let present = fs::read_to_string(document("results.md")).unwrap();
    let missing: Vec<String> = names.into_iter().filter(|name| !present.contains(&format!("`{name}`"))).collect();
    assert_eq!(missing, [""; 0]);
}

fn collect_fields(schema: &Value, names: &mut BTreeSet<String>) {
    if let Some(properties) = schema["properties"].as_object() {
        names.extend(properties.keys().cloned());
    }
    if let Some(definitions) = schema["$defs"].as_object() {
        definitions.values().for_each(|definition| collect_fields(definition, names));
    }
}
