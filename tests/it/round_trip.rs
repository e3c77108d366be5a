//! An archive that was exported changes nothing when it comes back, and makes the same event in another database.

mod generated;

use std::fs;
use std::io::{Read, Seek};

use eventferry::archive::Limits;
use eventferry::export::archive::{ArchiveOptions, Checked, check, render};
use eventferry::export::program::{NoteCode, Privacy, RenderError, Rendered};
use eventferry::model::export::MediaSwitches;
use eventferry::model::{Dataset, JobState};
use eventferry::store::exports;
use proptest::prelude::ProptestConfig;
use proptest::test_runner::{TestError, TestRunner};
use serde_json::{Value, json};

use self::generated::{Made, archives};
use crate::fixtures::archive::{Archive, RECORDS};
use crate::fixtures::importing::{Ferry, Imported};
use crate::fixtures::zips::unzip;
use crate::real_archives::samples;
use crate::support::databases::{TestDatabase, on_both_databases};

const PRIVATE: ArchiveOptions = ArchiveOptions { privacy: Privacy::Private, media: MediaSwitches::ALL };
const PUBLIC: ArchiveOptions = ArchiveOptions { privacy: Privacy::Public, media: MediaSwitches::ALL };

/// An archive that was exported.
#[derive(Debug)]
struct Exported {
    bytes: Vec<u8>,
    rendered: Rendered,
    checked: Checked,
}

async fn export(ferry: &Ferry, event: i64, options: ArchiveOptions) -> Exported {
    let mut file = tempfile::tempfile().unwrap();
    let mut snapshot = ferry.database.begin_snapshot().await.unwrap();
    let rendered = render(&mut snapshot, event, &options, &ferry.media(), file.try_clone().unwrap()).await.unwrap();
    snapshot.rollback().await.unwrap();
    file.rewind().unwrap();
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).unwrap();
    let checked = check(file, &Limits::default(), &rendered).unwrap();
    Exported { bytes, rendered, checked }
}

impl Exported {
    fn names(&self) -> Vec<String> {
        unzip(&self.bytes).into_iter().map(|(name, _)| String::from_utf8(name).unwrap()).collect()
    }

    fn text(&self, entry: &str) -> String {
        let (_, content) = unzip(&self.bytes).into_iter().find(|(name, _)| name == entry.as_bytes()).unwrap();
        String::from_utf8(content).unwrap()
    }

    fn json(&self, entry: &str) -> Value {
        serde_json::from_str(&self.text(entry)).unwrap()
    }
}

/// Imports an exported archive where it came from: nothing may change.
async fn assert_changes_nothing(ferry: &Ferry, name: &str, exported: &Exported) {
    let before = ferry.snapshot().await;
    let again = ferry.import_as(name, &exported.bytes).await;
    assert_eq!(again.state(), JobState::Succeeded, "{name}: {:#?}", again.problems);
    for (dataset, counts) in &again.report.datasets {
        assert_eq!((counts.created, counts.updated, counts.gone), (0, 0, 0), "{name}, {dataset}: {counts:?}");
        let records = exported.checked.records.get(dataset).copied().unwrap_or(0);
        assert_eq!(counts.unchanged, records, "{name}, {dataset}: {counts:?}");
    }
    let after = ferry.snapshot().await;
    let changed: Vec<_> = before.iter().zip(&after).filter(|(before, after)| before != after).take(3).collect();
    assert!(before == after, "{name}: {} rows before, {} after: {changed:#?}", before.len(), after.len());
}

/// Imports an exported archive into an empty database: there it is exported as the same bytes.
async fn assert_the_same_elsewhere(elsewhere: TestDatabase, name: &str, exported: &Exported) {
    let ferry = Ferry::on(elsewhere);
    let imported = ferry.import_as(name, &exported.bytes).await;
    assert_eq!(imported.state(), JobState::Succeeded, "{name}: {:#?}", imported.problems);
    let again = export(&ferry, imported.event(), PRIVATE).await;
    for ((entry, one), (other_entry, other)) in unzip(&exported.bytes).into_iter().zip(unzip(&again.bytes)) {
        assert_eq!(String::from_utf8_lossy(&entry), String::from_utf8_lossy(&other_entry), "{name}");
        if one != other {
            let (one, other) = (String::from_utf8_lossy(&one), String::from_utf8_lossy(&other));
            let lines = one.lines().zip(other.lines()).find(|(one, other)| one != other);
            panic!("{name}: {} differs: {lines:#?}", String::from_utf8_lossy(&entry));
        }
    }
    assert!(again.bytes == exported.bytes, "{name}: the archives differ");
}

async fn empty_like(ferry: &Ferry) -> TestDatabase {
    match ferry.database.backend() {
        eventferry::db::Backend::Sqlite => TestDatabase::sqlite().await,
        eventferry::db::Backend::Postgres => TestDatabase::postgres().await,
    }
}

async fn assert_round_trip(ferry: &Ferry, name: &str, imported: &Imported) -> Exported {
    let exported = export(ferry, imported.event(), PRIVATE).await;
    assert_changes_nothing(ferry, name, &exported).await;
    let again = export(ferry, imported.event(), PRIVATE).await;
    assert!(again.bytes == exported.bytes, "{name}: the same data gave other bytes");
    assert_the_same_elsewhere(empty_like(ferry).await, name, &exported).await;
    exported
}

on_both_databases! {
    async fn every_real_archive_comes_back_unchanged(database: TestDatabase) {
        let Some(samples) = samples() else { return };
        let ferry = Ferry::on(database);
        let mut names: Vec<_> = fs::read_dir(samples).unwrap().map(|entry| entry.unwrap().path()).collect();
        names.retain(|path| path.extension().is_some_and(|ending| ending == "zip"));
        names.sort();
        assert_eq!(names.len(), 11);
        for path in names {
            let name = path.file_name().unwrap().to_str().unwrap();
            let imported = ferry.import_as(name, fs::read(&path).unwrap()).await;
            let stored = imported.report.media.stored;
            let exported = assert_round_trip(&ferry, name, &imported).await;
            assert_eq!(stored > 0, exported.checked.others > 1, "{name}: {stored} media");

            let public = export(&ferry, imported.event(), PUBLIC).await;
            assert_changes_nothing(&ferry, name, &public).await;
        }
    }

    async fn every_dialect_becomes_the_one_that_is_written(database: TestDatabase) {
        let ferry = Ferry::on(database);
        for (name, archive) in
            [("underscore", Archive::underscore()), ("dash", Archive::dash()), ("flat", Archive::flat())]
        {
            // The dialects say the same event, so each is an update of the one before.
            let imported = ferry.import_as(name, archive.zip()).await;
            let exported = assert_round_trip(&ferry, name, &imported).await;
            if name == "underscore" {
                let found: Vec<(&str, u64)> =
                    exported.checked.records.iter().map(|(dataset, count)| (dataset.as_str(), *count)).collect();
                assert_eq!(found, RECORDS);
            }
            assert_eq!((exported.rendered.sessions, exported.rendered.speakers), (4, 3));
        }
    }

    async fn an_archive_is_written_as_the_format_says(database: TestDatabase) {
        let ferry = Ferry::on(database);
        let archive = Archive::dash()
            .set("sessions", "/0/zeta-key", 1.5)
            .set("sessions", "/0/alpha", "x")
            .set("speakers", "/0/email", "tova@example.org");
        let imported = ferry.import(archive.zip()).await;
        let exported = export(&ferry, imported.event(), PRIVATE).await;
        assert_eq!(
            exported.names(),
            [
                "meta", "event", "social_links", "forms", "microlocations", "sponsors", "speakers", "tracks",
                "session_types", "sessions", "images/background.png", "images/logo.png", "images/sponsors/Buoy_Sons_1.png",
                "images/speakers/Tova_Lind_1.png", "images/tracks/image_1.png", "slides/session_2.pdf",
            ]
        );
        assert_eq!(exported.text("meta"), "{\"root_url\":\"https://events.example.org\"}\n");
        let session = exported.text("sessions");
        let session = session.lines().nth(1).unwrap().trim_end_matches(',');
        assert_eq!(
            session,
            r#"{"id":1,"title":"Knots for beginners","subtitle":null,"short_abstract":null,"long_abstract":null,"starts_at":"2019-05-04T09:00:00+03:00","ends_at":"2019-05-04T09:30:00+03:00","session_type_id":1,"track_id":1,"comments":null,"language":"en","slides_url":null,"audio_url":null,"video_url":null,"alpha":"x","level":null,"microlocation_id":1,"signup_url":null,"speaker_ids":[1],"state":"accepted","submitted_at":null,"zeta-key":1.5}"#
        );
        let event = exported.json("event");
        let keys: Vec<&str> = event.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(
            keys[..21],
            [
                "id", "name", "latitude", "longitude", "location_name", "starts_at", "ends_at", "timezone", "description",
                "original_image_url", "logo_url", "owner_name", "owner_description", "external_event_url", "ticket_url",
                "privacy", "event_type", "event_topic", "event_sub_topic", "code_of_conduct", "copyright",
            ]
        );
        assert_eq!(event["original_image_url"], "/images/background.png");
        assert_eq!(exported.json("sessions")[1]["slides_url"], "/slides/session_2.pdf");
        assert_eq!(exported.json("sessions")[2]["video_url"], "https://video.example.org/3");
        assert_eq!(exported.rendered.notes.iter().count(), 0);
    }

    async fn what_is_gone_is_not_in_an_archive_and_references_to_it_stay(database: TestDatabase) {
        let ferry = Ferry::on(database);
        ferry.import(Archive::flat().zip()).await;
        // A track, a speaker and a session are not there any more; sessions still speak of the first two.
        let fewer = Archive::flat().remove("tracks", "/1").remove("speakers", "/1").remove("sessions", "/3");
        let imported = ferry.import(fewer.zip()).await;
        let gone: u64 = imported.report.datasets.values().map(|counts| counts.gone).sum();
        assert_eq!(gone, 3);
        let exported = assert_round_trip(&ferry, "fewer", &imported).await;
        let ids = |entry: &str| -> Vec<Value> {
            exported.json(entry).as_array().unwrap().iter().map(|record| record["id"].clone()).collect()
        };
        assert_eq!(ids("tracks"), [1]);
        assert_eq!(ids("speakers"), [1, 3]);
        assert_eq!(ids("sessions"), [1, 2, 3]);
        assert_eq!(exported.json("sessions")[1]["track_id"], 2);
    }

    async fn a_public_archive_holds_nothing_private_and_takes_nothing_away(database: TestDatabase) {
        let ferry = Ferry::on(database);
        let archive = Archive::dash()
            .set("event", "/email", "hidden-1@example.org")
            .set("event", "/event-copyright", json!({"holder": "Harbour crew", "holder-email": "hidden-2"}))
            .set("speakers", "/0/email", "hidden-3")
            .set("speakers", "/0/mobile", "hidden-4")
            .set("speakers", "/0/address", "hidden-5")
            .set("speakers", "/0/Phone Number", "hidden-6")
            .set("speakers", "/0/EMAIL", "hidden-7")
            .set("speakers", "/1/owner", json!([{"deep": {"e-mail": "hidden-8"}}]))
            .set("speakers", "/1/site-contact", "ask hidden-9@example.org")
            .set("sessions", "/0/comments", "hidden-10")
            .set("sessions", "/0/Comments", "hidden-11")
            .set("speakers", "/1/shirt", "shown");
        let imported = ferry.import(archive.zip()).await;
        let public = export(&ferry, imported.event(), PUBLIC).await;
        for (name, content) in unzip(&public.bytes) {
            let text = String::from_utf8_lossy(&content);
            assert!(!text.contains("hidden"), "{}: {text}", String::from_utf8_lossy(&name));
        }
        assert_eq!(public.json("speakers")[1]["shirt"], "shown");
        assert_eq!(public.rendered.notes.count(NoteCode::PrivateLeftOut), 5, "the event, three speakers, a session");
        let private = export(&ferry, imported.event(), PRIVATE).await;
        let all: Vec<u8> = unzip(&private.bytes).into_iter().flat_map(|(_, content)| content).collect();
        let all = String::from_utf8_lossy(&all);
        for number in 1..=11 {
            assert!(all.contains(&format!("hidden-{number}")), "{number}");
        }
        assert_eq!(private.rendered.notes.count(NoteCode::PrivateLeftOut), 0);
        assert_changes_nothing(&ferry, "public", &public).await;
        assert_changes_nothing(&ferry, "private", &private).await;
    }

    async fn media_that_are_left_out_keep_their_path_and_are_noted(database: TestDatabase) {
        let ferry = Ferry::on(database);
        // The missing picture of the third speaker has the name that the first one's would get.
        let archive = Archive::dash()
            .without_media("images/speakers/Tova_Lind_1.png")
            .media("people/tova.png", "Tova")
            .set("speakers", "/0/photo-url", "people/tova.png")
            .set("speakers", "/2/photo-url", "/images/speakers/Tova_Lind_1.png");
        let imported = ferry.import(archive.zip()).await;
        let exported = assert_round_trip(&ferry, "missing", &imported).await;
        assert_eq!(exported.json("speakers")[0]["photo_url"], "/images/speakers/Tova_Lind_1-2.png");
        assert_eq!(exported.json("speakers")[2]["photo_url"], "/images/speakers/Tova_Lind_1.png");
        assert_eq!(exported.rendered.notes.count(NoteCode::MediaLeftOut), 1);

        let options = ArchiveOptions { media: MediaSwitches { document: false, ..MediaSwitches::ALL }, ..PRIVATE };
        let without = export(&ferry, imported.event(), options).await;
        assert_eq!(without.json("sessions")[1]["slides_url"], "/slides/session_2.pdf");
        assert!(!without.names().iter().any(|name| name.starts_with("slides/")));
        assert_eq!(without.rendered.notes.count(NoteCode::MediaLeftOut), 2);
        assert_changes_nothing(&ferry, "without slides", &without).await;
        assert_eq!(export(&ferry, imported.event(), PRIVATE).await.bytes, exported.bytes);
    }

    async fn other_bytes_under_a_path_that_another_record_had_are_not_taken_for_its_own(database: TestDatabase) {
        let ferry = Ferry::on(database);
        // The pictures of the first two speakers lie under each other's names.
        let archive = Archive::dash()
            .without_media("images/speakers/Tova_Lind_1.png")
            .set("speakers", "/0/name", "A")
            .set("speakers", "/1/name", "B")
            .set("speakers", "/0/photo-url", "images/speakers/B_2.png")
            .set("speakers", "/1/photo-url", "images/speakers/A_1.png")
            .media("images/speakers/B_2.png", "picture of A")
            .media("images/speakers/A_1.png", "picture of B");
        let imported = ferry.import(archive.zip()).await;
        let exported = assert_round_trip(&ferry, "crossed", &imported).await;
        let file = |name: &str| exported.text(name);
        assert_eq!(file("images/speakers/A_1.png"), "picture of A");
        assert_eq!(file("images/speakers/B_2.png"), "picture of B");
        // A new picture under the name of the export is an update of the file alone.
        let newer = archive.without_media("images/speakers/B_2.png").media("images/speakers/B_2.png", "new picture of A");
        ferry.import(newer.zip()).await;
        let exported = assert_round_trip(&ferry, "newer", &imported).await;
        assert_eq!(exported.text("images/speakers/A_1.png"), "new picture of A");
        assert_eq!(exported.text("images/speakers/B_2.png"), "picture of B");
    }

    async fn more_records_than_a_page_holds_come_in_order(database: TestDatabase) {
        let ferry = Ferry::on(database);
        let long = "é\n".repeat(20_000);
        let sessions: Vec<Value> = (1..=1_300)
            .map(|id| {
                let text = if id % 300 == 0 { long.as_str() } else { "short" };
                json!({"id": 2_000 - id, "title": "T", "long_abstract": text, "speaker_ids": [id % 3 + 1]})
            })
            .collect();
        let imported = ferry.import(Archive::flat().file("sessions", json!(sessions)).zip()).await;
        // Another event between them.
        let other = Archive::flat().set("event", "/id", 42).set("event", "/identifier", "other");
        ferry.import_as("other", other.zip()).await;
        let exported = assert_round_trip(&ferry, "many", &imported).await;
        let found = exported.json("sessions");
        assert_eq!(found.as_array().unwrap().len(), 1_300);
        for (found, given) in found.as_array().unwrap().iter().zip(&sessions) {
            for key in ["id", "long_abstract", "speaker_ids"] {
                assert_eq!(found[key], given[key]);
            }
        }
    }

    async fn every_statement_of_exports_is_one(database: TestDatabase) {
        for statement in exports::statements() {
            database.prepare(&statement).await.unwrap();
        }
    }
}

#[tokio::test]
async fn an_event_that_is_not_there_cannot_be_exported() {
    let ferry = Ferry::on_sqlite().await;
    let mut snapshot = ferry.database.begin_snapshot().await.unwrap();
    let out = tempfile::tempfile().unwrap();
    let error = render(&mut snapshot, 7, &PRIVATE, &ferry.media(), out).await.unwrap_err();
    assert!(matches!(error, RenderError::Read(_)), "{error}");
}

#[tokio::test]
async fn a_full_disk_ends_the_export_with_its_reason() {
    #[derive(Debug)]
    struct Full;
    impl std::io::Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::Error::from(std::io::ErrorKind::StorageFull))
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    impl Seek for Full {
        fn seek(&mut self, _: std::io::SeekFrom) -> std::io::Result<u64> {
            Ok(0)
        }
    }
    let ferry = Ferry::on_sqlite().await;
    let imported = ferry.import(Archive::flat().zip()).await;
    let mut snapshot = ferry.database.begin_snapshot().await.unwrap();
    let error = render(&mut snapshot, imported.event(), &PRIVATE, &ferry.media(), Full).await.unwrap_err();
    assert!(
        matches!(&error, RenderError::Write(error) if error.kind() == std::io::ErrorKind::StorageFull),
        "{error:?}"
    );
}

#[tokio::test]
async fn an_archive_that_was_cut_or_holds_something_else_is_not_valid() {
    let ferry = Ferry::on_sqlite().await;
    let imported = ferry.import(Archive::flat().zip()).await;
    let exported = export(&ferry, imported.event(), PRIVATE).await;
    let checked = |bytes: &[u8], rendered: &Rendered| {
        let mut file = tempfile::tempfile().unwrap();
        std::io::Write::write_all(&mut file, bytes).unwrap();
        check(file, &Limits::default(), rendered)
    };
    let good = checked(&exported.bytes, &exported.rendered).unwrap();
    assert_eq!(good.records[&Dataset::Sessions], 4);
    let cut = checked(&exported.bytes[..exported.bytes.len() - 9], &exported.rendered).unwrap_err();
    assert!(matches!(cut, RenderError::Invalid(_)), "{cut:?}");
    let more = Rendered { sessions: 5, ..exported.rendered.clone() };
    assert!(matches!(checked(&exported.bytes, &more), Err(RenderError::Invalid(_))));
    let mut flipped = exported.bytes.clone();
    flipped[60] ^= 1;
    assert!(matches!(checked(&flipped, &exported.rendered), Err(RenderError::Invalid(_))));
}

/// One generated archive all the way.
async fn generated_round_trip(database: TestDatabase, made: &Made) {
    let ferry = Ferry::on(database);
    let imported = ferry.import(made.zip()).await;
    if imported.state() == JobState::Failed {
        // The event itself is bad.
        return;
    }
    let public = export(&ferry, imported.event(), PUBLIC).await;
    assert_changes_nothing(&ferry, "public", &public).await;
    assert_round_trip(&ferry, "generated", &imported).await;
}

/// Runs generated archives through a test; what fails is made smaller before it is shown.
fn for_generated(cases: u32, test: &impl AsyncFn(&Made)) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let config =
        ProptestConfig { cases, max_shrink_iters: 100, failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = TestRunner::new(config);
    let result = runner.run(&archives(), |made| {
        runtime.block_on(test(&made));
        Ok(())
    });
    if let Err(TestError::Fail(why, made)) = result {
        let files: Vec<String> = made.files.iter().map(|(name, content)| format!("{name}: {content}")).collect();
        panic!("{why}\n{}", files.join("\n"));
    }
    result.unwrap();
}

#[test]
fn every_generated_event_comes_back_unchanged_on_sqlite() {
    for_generated(24, &async |made| generated_round_trip(TestDatabase::sqlite().await, made).await);
}

#[test]
fn every_generated_event_comes_back_unchanged_on_postgres() {
    for_generated(6, &async |made| generated_round_trip(TestDatabase::postgres().await, made).await);
}

#[test]
fn a_generated_event_gives_the_same_archive_from_either_database() {
    for_generated(4, &async |made| {
        // PostgreSQL keeps no leap seconds.
        let files = made.files.iter().map(|(name, content)| (name.clone(), content.replace("23:59:60", "23:59:59")));
        let made = Made { files: files.collect() };
        let one = Ferry::on_sqlite().await;
        let imported = one.import(made.zip()).await;
        if imported.state() == JobState::Failed {
            return;
        }
        let exported = export(&one, imported.event(), PRIVATE).await;
        assert_the_same_elsewhere(TestDatabase::postgres().await, "generated", &exported).await;
    });
}
