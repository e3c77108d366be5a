//! Archives that nobody should have to mend by guessing: each is refused or taken in part with a clear problem, and never
//! leaves half an event, a panic or a hang.

use std::io::Write;

use eventferry::model::{Code, JobState, Severity};
use flate2::Compression;
use flate2::write::DeflateEncoder;
use serde_json::{Value, json};

use crate::fixtures::archive::Archive;
use crate::fixtures::importing::{Ferry, Imported};
use crate::fixtures::zips::{Packing, ZipEntry, zip};
use crate::support::databases::on_both_databases;

/// Refused as a whole, with this code, and nothing is anywhere.
async fn assert_refused(ferry: &Ferry, bytes: &[u8], code: &str, what: &str) -> Imported {
    let imported = ferry.import_as("bad.zip", bytes).await;
    assert_eq!(imported.state(), JobState::Failed, "{what}: {:?}", imported.problems);
    assert!(imported.codes().contains_key(code), "{what}: {:?}", imported.problems);
    assert!(imported.report.event.is_none(), "{what}");
    assert_eq!(imported.report.archive.bytes, bytes.len() as u64, "{what}");
    assert!(!imported.report.summary.is_empty(), "{what}");
    for problem in &imported.problems {
        assert!(!problem.hint.is_empty(), "{what}: what is to be done? {problem:?}");
    }
    ferry.assert_no_records().await;
    assert_eq!(ferry.media().list().unwrap(), [""; 0], "{what}");
    imported
}

fn sabotaged(change: impl FnOnce(&mut Vec<ZipEntry>)) -> Vec<u8> {
    let mut entries = Archive::dash().entries();
    change(&mut entries);
    zip(&entries)
}

fn entry_of<'a>(entries: &'a mut [ZipEntry], name: &str) -> &'a mut ZipEntry {
    entries.iter_mut().find(|entry| entry.name == name.as_bytes()).expect("the entry is there")
}

on_both_databases! {
    async fn what_is_no_zip_is_refused(database: TestDatabase) {
        let ferry = Ferry::on(database);
        for (bytes, code, what) in [
            (&b""[..], "EMPTY_FILE", "nothing"),
            (b"{\"id\": 1}", "NOT_A_ZIP", "JSON"),
            (b"Rar!\x1a\x07\0 and so on and so on and so on", "NOT_A_ZIP", "another archiver"),
            (&[0; 4096], "NOT_A_ZIP", "noughts"),
        ] {
            assert_refused(&ferry, bytes, code, what).await;
        }
    }

    async fn an_entry_that_is_damaged_spoils_what_it_is_and_no_more(database: TestDatabase) {
        let ferry = Ferry::on(database);
        // A media file: the event is never refused for a picture.
        let bytes = sabotaged(|entries| entry_of(entries, "images/logo.png").crc = Some(1));
        let imported = ferry.import(&bytes).await;
        assert_eq!(imported.state(), JobState::Succeeded, "{:?}", imported.problems);
        assert_eq!(imported.codes(), [("MEDIA_DAMAGED", 1)].into());
        let problem = &imported.problems[0];
        assert_eq!(
            (problem.file.as_deref(), problem.field.as_deref(), problem.value.as_deref()),
            (Some("event"), Some("logo_url"), Some("images/logo.png"))
        );
        let media = imported.report.media;
        assert_eq!((media.referenced, media.stored, media.missing, media.remote), (7, 5, 1, 1));
        assert_eq!(ferry.media().list().unwrap().len(), 5);

        // A data file counts as not there.
        let bytes = sabotaged(|entries| entry_of(entries, "sponsors").crc = Some(1));
        let imported = ferry.import(&bytes).await;
        assert_eq!(imported.state(), JobState::Partial);
        assert_eq!(imported.codes().get("CRC_MISMATCH"), Some(&1), "{:?}", imported.problems);
        assert_eq!(imported.dataset("sponsors").read, 0);
        assert_eq!(ferry.count("sponsors WHERE gone_at IS NULL").await, 2, "they were there before");
    }
}

#[tokio::test]
async fn an_archive_that_was_cut_anywhere_is_refused_and_leaves_nothing() {
    let ferry = Ferry::on_sqlite().await;
    let whole = Archive::empty()
        .file("event", json!({"id": 1, "name": "Small", "starts-at": "2019-05-04T09:00:00Z"}))
        .file("tracks", json!([{"id": 1, "name": "Ropes"}]))
        .packed(&[Packing::Stored, Packing::Streamed])
        .zip();
    for length in 0..whole.len() {
        let imported = ferry.import(&whole[..length]).await;
        assert_eq!(imported.state(), JobState::Failed, "after {length} of {} bytes", whole.len());
        let code = imported.problems[0].code.as_str();
        let expected = match length {
            0 => &["EMPTY_FILE"][..],
            1..4 => &["NOT_A_ZIP", "INCOMPLETE"],
            _ => &["INCOMPLETE"],
        };
        assert!(expected.contains(&code), "after {length} bytes: {:?}", imported.problems);
    }
    ferry.assert_no_records().await;
    ferry.import(&whole).await.assert_clean();
}

#[tokio::test]
async fn changed_bytes_anywhere_never_break_the_import() {
    let ferry = Ferry::on_sqlite().await;
    let whole = Archive::empty()
        .file("event", json!({"id": 1, "name": "Small", "starts-at": "2019-05-04T09:00:00Z"}))
        .file("tracks", json!([{"id": 1, "name": "Ropes"}]))
        .packed(&[Packing::Stored, Packing::Deflated])
        .zip();
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x55;
        let imported = ferry.import(&bytes).await;
        let codes = imported.codes();
        assert!(!codes.contains_key("INTERNAL"), "byte {at}: {:?}", imported.problems);
    }
}

#[tokio::test]
async fn what_is_encrypted_cannot_be_read() {
    let ferry = Ferry::on_sqlite().await;
    let bytes = sabotaged(|entries| entries.iter_mut().for_each(|entry| entry.flags = 1));
    let imported = assert_refused(&ferry, &bytes, "ENCRYPTED", "all entries").await;
    let of_event = imported.all(Code::Encrypted).into_iter().filter(|problem| problem.file.as_deref() == Some("event"));
    assert_eq!(of_event.count(), 1, "told once, though links stand there too: {:#?}", imported.problems);

    let bytes = sabotaged(|entries| entry_of(entries, "sponsors").flags = 1);
    let imported = ferry.import(&bytes).await;
    assert_eq!(imported.state(), JobState::Partial);
    assert_eq!(imported.codes().get("ENCRYPTED"), Some(&1), "{:?}", imported.problems);
    assert_eq!((imported.dataset("sponsors").read, imported.dataset("sessions").created), (0, 4));

    let bytes = sabotaged(|entries| entry_of(entries, "images/logo.png").flags = 1);
    let imported = ferry.import(&bytes).await;
    assert_eq!(imported.state(), JobState::Succeeded);
    assert_eq!(imported.codes(), [("MEDIA_DAMAGED", 1)].into());
}

#[tokio::test]
async fn names_that_lead_out_of_the_archive_refuse_it() {
    let ferry = Ferry::on_sqlite().await;
    for name in ["../evil", "images/../../evil", "/etc/evil", "images/..", "..", "C:\\evil", "\\\\host\\evil", "a\0b"] {
        let bytes = sabotaged(|entries| entries.push(ZipEntry::new(name, "x")));
        assert_refused(&ferry, &bytes, "UNSAFE_ENTRY_NAME", name).await;
    }
}

#[tokio::test]
async fn a_link_in_the_archive_refuses_it() {
    let ferry = Ferry::on_sqlite().await;
    let link =
        ZipEntry { mode: Some(0o120_777), packing: Packing::Stored, ..ZipEntry::new("images/passwd", "/etc/passwd") };
    let bytes = sabotaged(|entries| entries.push(link));
    let imported = assert_refused(&ferry, &bytes, "ENTRY_IS_LINK", "a link").await;
    assert_eq!(imported.problems[0].file.as_deref(), Some("images/passwd"));
}

#[tokio::test]
async fn an_archive_that_is_too_much_is_refused_with_the_limit_it_passes() {
    let mebibytes = |count: usize| vec![b' '; count << 20];
    let with = |name: &str, bytes: Vec<u8>| sabotaged(|entries| entries.insert(0, ZipEntry::new(name, bytes)));
    let whole = Archive::dash().zip();

    let mut ferry = Ferry::on_sqlite().await;
    ferry.limits.archive_bytes = whole.len() as u64 - 1;
    assert_refused(&ferry, &whole, "LIMIT_ARCHIVE_BYTES", "the file").await;

    // Five records of the event, and four references: to a track each, and to two speakers that are nowhere.
    let nine = Archive::empty()
        .file("event", json!({"id": 1, "name": "Nine"}))
        .file("tracks", json!([{"id": 1, "name": "Knots"}, {"id": 2, "name": "Ropes"}]))
        .file(
            "sessions",
            json!([{"id": 1, "title": "A", "track": 1, "speaker_ids": [1, 2]}, {"id": 2, "title": "B", "track": 2}]),
        )
        .zip();
    let mut ferry = Ferry::on_sqlite().await;
    ferry.limits.records = 8;
    assert_refused(&ferry, &nine, "LIMIT_RECORDS", "five records and four references").await;
    ferry.limits.records = 9;
    assert_eq!(ferry.import(&nine).await.state(), JobState::Succeeded);

    let mut ferry = Ferry::on_sqlite().await;
    ferry.limits.entries = 14;
    assert_refused(&ferry, &whole, "LIMIT_ENTRIES", "15 entries").await;

    let mut ferry = Ferry::on_sqlite().await;
    ferry.limits.entry_bytes = 3 << 20;
    assert_refused(&ferry, &with("images/large.png", mebibytes(4)), "LIMIT_ENTRY_BYTES", "a picture").await;

    let mut ferry = Ferry::on_sqlite().await;
    ferry.limits.total_bytes = 6 << 20;
    let bytes = sabotaged(|entries| {
        entries.insert(0, ZipEntry::new("images/one.png", mebibytes(4)));
        entries.insert(0, ZipEntry::new("images/two.png", mebibytes(4)));
    });
    assert_refused(&ferry, &bytes, "LIMIT_TOTAL_BYTES", "two pictures").await;

    let mut ferry = Ferry::on_sqlite().await;
    ferry.limits.ratio = 100;
    assert_refused(&ferry, &with("images/bomb.png", mebibytes(4)), "LIMIT_RATIO", "a bomb").await;

    let mut ferry = Ferry::on_sqlite().await;
    ferry.limits.path_length = 64;
    assert_refused(&ferry, &with(&"a".repeat(65), vec![]), "LIMIT_PATH_LENGTH", "a long name").await;
}

#[tokio::test]
async fn a_bomb_that_lies_about_its_size_is_no_smaller() {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::new(9));
    encoder.write_all(&vec![b' '; 64 << 20]).unwrap();
    let bomb = encoder.finish().unwrap();
    // Said to hold one byte; its packed bytes are given as they are.
    let mut bytes =
        zip(&[ZipEntry { packing: Packing::Stored, declared: Some(1), crc: Some(0), ..ZipEntry::new("event", bomb) }]);
    let central = bytes.windows(4).position(|window| window == b"PK\x01\x02").unwrap();
    bytes[8] = 8;
    bytes[central + 10] = 8;
    let mut ferry = Ferry::on_sqlite().await;
    ferry.limits.entry_bytes = 8 << 20;
    let imported = ferry.import(&bytes).await;
    assert_eq!(imported.state(), JobState::Failed);
    let codes = imported.codes();
    let expected = ["LIMIT_ENTRY_BYTES", "LIMIT_RATIO", "ENTRY_DAMAGED"];
    assert!(codes.keys().any(|code| expected.contains(code)), "{:?}", imported.problems);
    ferry.assert_no_records().await;
}

#[tokio::test]
async fn of_two_entries_with_one_name_none_is_believed() {
    let ferry = Ferry::on_sqlite().await;
    let bytes = sabotaged(|entries| entries.push(ZipEntry::new("event", "{\"id\": 1, \"name\": \"Another\"}")));
    assert_refused(&ferry, &bytes, "DUPLICATE_ENTRY", "two events").await;

    let bytes = sabotaged(|entries| entries.push(ZipEntry::new("sponsors", "[]")));
    let imported = ferry.import(&bytes).await;
    assert_eq!(imported.state(), JobState::Partial);
    assert_eq!(imported.codes().get("DUPLICATE_ENTRY"), Some(&1), "{:?}", imported.problems);
    assert_eq!((imported.dataset("sponsors").read, imported.dataset("sessions").created), (0, 4));
}

#[tokio::test]
async fn without_a_readable_event_nothing_goes_in() {
    let ferry = Ferry::on_sqlite().await;
    for (archive, what) in [
        (Archive::dash().without("event"), "no event"),
        (Archive::empty(), "no entry at all"),
        (Archive::empty().media("notes.txt", "x"), "no event archive"),
        (Archive::dash().raw("event", "{\"id\": 1, \"name\": \"Cut"), "a broken event"),
        (Archive::dash().file("event", json!([])), "a list"),
        (Archive::dash().file("event", json!({})), "an empty object"),
        (Archive::dash().remove("event", "/id").remove("event", "/identifier"), "no id"),
        (Archive::dash().remove("event", "/name"), "no name"),
        (Archive::dash().renamed("event", "Harbour/event"), "an event in a folder that is not common"),
    ] {
        let imported = assert_refused(&ferry, &archive.zip(), "EVENT_MISSING", what).await;
        assert!(imported.report.errors() > 0);
        let sum: u64 = imported.report.datasets.values().map(|counts| counts.created + counts.updated).sum();
        assert_eq!(sum, 0, "{what}");
    }
}

#[tokio::test]
async fn deep_nesting_is_refused_with_its_record() {
    let ferry = Ferry::on_sqlite().await;
    for depth in [100, 100_000] {
        let deep = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let sessions = format!(
            r#"[{{"id": 1, "title": "Fine"}}, {{"id": 2, "title": "Deep", "x": {deep}}}, {{"id": 3, "title": "Fine"}}]"#
        );
        let archive = Archive::dash().raw("sessions", sessions).without_media("slides/session_2.pdf");
        let imported = ferry.import(archive.zip()).await;
        assert_eq!(imported.state(), JobState::Partial, "{depth}");
        assert_eq!(imported.codes().get("LIMIT_JSON_DEPTH"), Some(&1), "{depth}: {:?}", imported.problems);
        let problem = imported.problems.iter().find(|problem| problem.severity == Severity::Error).unwrap();
        assert_eq!((problem.file.as_deref(), problem.position), (Some("sessions"), Some(2)));
        assert_eq!(imported.dataset("sessions").rejected, 1);
        assert_eq!(ferry.count("sessions WHERE title = 'Fine'").await, 2);
    }
    // In the event itself.
    let ferry = Ferry::on_sqlite().await;
    let deep = format!(r#"{{"id": 1, "name": "Deep", "x": {}{}}}"#, "[".repeat(1000), "]".repeat(1000));
    assert_refused(&ferry, &Archive::dash().raw("event", deep).zip(), "LIMIT_JSON_DEPTH", "the event").await;
}

#[tokio::test]
async fn a_record_that_is_too_large_stays_out() {
    let mut ferry = Ferry::on_sqlite().await;
    ferry.limits.record_bytes = 64 * 1024;
    let archive = Archive::dash().set("sessions", "/0/long-abstract", "x".repeat(80 * 1024));
    let imported = ferry.import(archive.zip()).await;
    assert_eq!(imported.state(), JobState::Partial);
    assert_eq!(imported.codes().get("LIMIT_RECORD_BYTES"), Some(&1), "{:?}", imported.problems);
    assert_eq!(imported.dataset("sessions").created, 3);
}

#[tokio::test]
async fn broken_utf_8_in_the_event_refuses_it() {
    let ferry = Ferry::on_sqlite().await;
    let archive = Archive::dash().raw("event", b"{\"id\": 1, \"name\": \"R\xf6pes\"}".to_vec());
    assert_refused(&ferry, &archive.zip(), "ENCODING", "a name in Latin-1").await;
    let mut utf_16 = vec![0xff, 0xfe];
    utf_16.extend("{\"id\": 1, \"name\": \"Small\"}".encode_utf16().flat_map(u16::to_le_bytes));
    let imported = ferry.import(Archive::dash().raw("event", utf_16).zip()).await;
    assert_eq!(imported.state(), JobState::Failed);
    ferry.assert_no_records().await;
}

#[tokio::test]
async fn odd_values_of_every_type_in_every_field_never_break_the_import() {
    let odd: [Value; 14] = [
        json!(null),
        json!(true),
        json!(0),
        json!(-1.5),
        json!(1e300),
        json!(u64::MAX),
        json!(""),
        json!(" \u{0}\u{feff}\u{202e}"),
        json!("9999999999999999999999"),
        json!([]),
        json!([null, 1, "x", [], {}]),
        json!({}),
        json!({"id": [], "name": {}}),
        json!("x".repeat(5000)),
    ];
    let ferry = Ferry::on_sqlite().await;
    for value in odd {
        let spoil = |records: &mut Value| {
            let spoil_one = |record: &mut Value| {
                for (key, field) in record.as_object_mut().unwrap() {
                    if key != "id" && key != "name" && key != "title" {
                        *field = value.clone();
                    }
                }
            };
            match records {
                Value::Array(list) => list.iter_mut().for_each(spoil_one),
                one => spoil_one(one),
            }
        };
        for archive in [Archive::dash(), Archive::underscore(), Archive::flat()] {
            let mut archive = archive;
            for file in ["forms", "microlocations", "sponsors", "speakers", "tracks", "session_types", "sessions"] {
                archive = archive.edit(file, spoil);
            }
            let imported = ferry.import(archive.zip()).await;
            assert!(
                matches!(imported.state(), JobState::Succeeded | JobState::Partial),
                "{value}: {:?}",
                imported.problems
            );
            assert!(!imported.codes().contains_key("INTERNAL"), "{value}");
            let imported = ferry.import(archive.edit("event", spoil).zip()).await;
            assert!(!imported.codes().contains_key("INTERNAL"), "{value}");
        }
    }
}

#[tokio::test]
async fn odd_ids_never_break_the_import() {
    let ferry = Ferry::on_sqlite().await;
    for id in [
        json!(true),
        json!([]),
        json!({}),
        json!(-1),
        json!(1.5),
        json!("x".repeat(201)),
        json!("1~2"),
        json!("\u{0}"),
        json!("'; DROP TABLE events; --"),
        json!("\t"),
    ] {
        for file in ["microlocations", "sponsors", "speakers", "tracks", "session_types", "sessions"] {
            let imported = ferry.import(Archive::dash().set(file, "/0/id", id.clone()).zip()).await;
            assert!(
                matches!(imported.state(), JobState::Succeeded | JobState::Partial),
                "{id} in {file}: {:?}",
                imported.problems
            );
        }
    }
    assert_eq!(ferry.count("events").await, 1);
}

on_both_databases! {
    async fn odd_values_are_told_and_stored_by_both_databases(database: TestDatabase) {
        let ferry = Ferry::on(database);
        let archive = Archive::dash()
            .set("sessions", "/0/title", "\u{0}Knots\u{0}")
            .set("sessions", "/0/odd\u{0}key", "\u{0}")
            .set("sessions", "/1/starts-at", "0001-01-01T00:00:00+14:00")
            .set("sessions", "/2/starts-at", "9999-12-31T23:59:59-14:00")
            .set("microlocations", "/0/floor", json!(i64::MAX))
            .set("microlocations", "/1/floor", json!(u64::MAX))
            .set("event", "/latitude", json!(1e308))
            .set("event", "/event-copyright", json!({"holder": "\u{0}", "year": 1e300}));
        let imported = ferry.import(archive.zip()).await;
        assert_eq!(imported.state(), JobState::Partial);
        assert!(!imported.codes().contains_key("INTERNAL"), "{:?}", imported.problems);
        assert_eq!(ferry.rows("title", "sessions WHERE source_id = '1'").await, ["Knots"]);
        assert_eq!(ferry.rows("floor", "microlocations").await, [i64::MAX.to_string()]);
    }
}
