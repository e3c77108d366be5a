//! Entries that are not what they should be: cut, split, packed in odd ways, overlapping, nested, named like others.

use std::time::Duration;

use eventferry::model::{Code, JobState};
use serde_json::json;

use crate::fixtures::archive::Archive;
use crate::fixtures::importing::{Ferry, Imported};
use crate::fixtures::zips::{Packing, ZipEntry, zip};
use crate::support::daemon::with_each_database;
use crate::support::databases::on_both_databases;

fn small() -> Archive {
    Archive::empty()
        .file("event", json!({"id": 1, "name": "Small"}))
        .file("tracks", json!([{"id": 1, "name": "Ropes"}]))
}

/// Refused as a whole with this code; nothing is in any table.
#[track_caller]
fn assert_refused(imported: &Imported, code: Code, what: &str) {
    assert_eq!(imported.state(), JobState::Failed, "{what}: {:#?}", imported.problems);
    assert_eq!(imported.only(code).code, code, "{what}");
}

/// Entries that quote the header of the next one in a stored block, so that all of them share the bytes of the last.
pub(super) fn quoting(count: usize, kernel: &[u8]) -> Vec<u8> {
    let last = zip(&[ZipEntry { packing: Packing::Deflated, ..ZipEntry::new("last", kernel) }]);
    let directory = last.windows(4).position(|window| window == b"PK\x01\x02").unwrap();
    let packed = last[30 + 4..directory].to_vec();
    let mut entries = vec![ZipEntry { packed: Some(packed), ..ZipEntry::new("event", kernel) }];
    for number in 1..count {
        let next = entries.last().unwrap();
        let whole = zip(std::slice::from_ref(next));
        let header = &whole[..30 + next.name.len()];
        let length = u16::try_from(header.len()).unwrap();
        let mut packed = vec![0];
        packed.extend(length.to_le_bytes());
        packed.extend((!length).to_le_bytes());
        packed.extend(header);
        packed.extend(next.packed.as_ref().unwrap());
        let content = [header, &next.content].concat();
        entries.push(ZipEntry { packed: Some(packed), ..ZipEntry::new(format!("images/{number}"), content) });
    }
    // The bytes of the outermost hold those of all others; each is named where it stands within.
    let outermost = entries.last().unwrap().clone();
    let mut bytes = zip(std::slice::from_ref(&outermost));
    let body = bytes.windows(4).position(|window| window == b"PK\x01\x02").unwrap();
    bytes.truncate(body);
    let mut offset = 0;
    let mut directory: Vec<u8> = Vec::new();
    for entry in entries.iter().rev() {
        let whole = zip(&[ZipEntry { offset: Some(u32::try_from(offset).unwrap()), ..entry.clone() }]);
        let central = whole.windows(4).rposition(|window| window == b"PK\x01\x02").unwrap();
        directory.extend(&whole[central..whole.len() - 22]);
        offset += 30 + entry.name.len() + 5;
    }
    let (start, size) = (u32::try_from(bytes.len()).unwrap(), u32::try_from(directory.len()).unwrap());
    bytes.extend(directory);
    bytes.extend(b"PK\x05\x06\0\0\0\0");
    bytes.extend([u16::try_from(count).unwrap().to_le_bytes(); 2].concat());
    bytes.extend(size.to_le_bytes());
    bytes.extend(start.to_le_bytes());
    bytes.extend([0, 0]);
    bytes
}

on_both_databases! {
    async fn what_is_packed_in_an_unknown_way_counts_as_not_there(database: TestDatabase) {
        let ferry = Ferry::on(database);
        let odd = |name: &str, content: &str| ZipEntry { method: Some(93), ..ZipEntry::new(name, content) };
        let imported = ferry.import(zip(&[odd("event", r#"{"id": 1, "name": "Small"}"#)])).await;
        assert_eq!(imported.state(), JobState::Failed);
        assert_eq!(imported.only(Code::UnsupportedMethod).file.as_deref(), Some("event"));
        ferry.assert_no_records().await;

        let imported = ferry.import(small().without("tracks").entry(odd("tracks", "[]")).zip()).await;
        assert_eq!(imported.state(), JobState::Partial);
        assert_eq!(imported.only(Code::UnsupportedMethod).file.as_deref(), Some("tracks"));
        assert_eq!(ferry.count("events").await, 1);

        let archive = small().set("event", "/logo_url", "images/logo.png").entry(odd("images/logo.png", "logo"));
        let imported = ferry.import(archive.zip()).await;
        assert_eq!(imported.state(), JobState::Succeeded, "{:#?}", imported.problems);
        assert_eq!(imported.codes(), [("MEDIA_DAMAGED", 1)].into());
    }

    async fn a_part_of_a_split_zip_is_refused_and_zip64_is_read(database: TestDatabase) {
        let ferry = Ferry::on(database);
        let mut part = small().zip();
        let disk = part.len() - 22 + 4;
        part[disk] = 1;
        part[disk + 2] = 1;
        assert_refused(&ferry.import(&part).await, Code::MultiDisk, "a part");
        ferry.assert_no_records().await;

        let entries: Vec<ZipEntry> = small().entries().into_iter().map(|entry| ZipEntry { zip64: true, ..entry }).collect();
        ferry.import(zip(&entries)).await.assert_clean();
        assert_eq!((ferry.count("events").await, ferry.count("tracks").await), (1, 1));
    }
}

#[tokio::test]
async fn entries_that_share_bytes_are_refused() {
    let ferry = Ferry::on_sqlite().await;
    let bytes = quoting(50, &vec![0; 1 << 20]);
    assert!(bytes.len() < 10_000, "{}", bytes.len());
    assert_refused(&ferry.import(&bytes).await, Code::OverlappingEntries, "quoted headers");
    let shared = zip(&[
        ZipEntry::new("event", r#"{"id": 1, "name": "Small"}"#),
        ZipEntry { offset: Some(0), ..ZipEntry::new("images/again", r#"{"id": 1, "name": "Small"}"#) },
    ]);
    assert_refused(&ferry.import(&shared).await, Code::OverlappingEntries, "two names");
    ferry.assert_no_records().await;
    assert_eq!(ferry.media().list().unwrap(), [""; 0]);
}

#[tokio::test]
async fn a_zip_in_the_zip_is_a_file_like_any_other() {
    let ferry = Ferry::on_sqlite().await;
    let inner = small().file("event", json!({"id": 2, "name": "Inner"})).zip();
    // Only that: no event.
    let imported = ferry.import(zip(&[ZipEntry::new("event.zip", inner.clone())])).await;
    assert_refused(&imported, Code::EventMissing, "a zip in a zip");
    ferry.assert_no_records().await;
    // Beside an event: a stray, and where a record names it, a document.
    let archive = small()
        .file("sessions", json!([{"id": 1, "title": "Knots", "slides_url": "slides/all.zip"}]))
        .entry(ZipEntry::new("stray.zip", inner.clone()))
        .entry(ZipEntry::new("slides/all.zip", inner));
    let imported = ferry.import(archive.zip()).await;
    assert_eq!(imported.state(), JobState::Succeeded, "{:#?}", imported.problems);
    assert_eq!(ferry.rows("name", "events").await, ["Small"]);
    assert_eq!((imported.report.media.stored, ferry.media().list().unwrap().len()), (1, 1));
}

#[tokio::test]
async fn names_that_differ_by_case_or_composition_stay_apart() {
    let ferry = Ferry::on_sqlite().await;
    let archive = small()
        .file(
            "speakers",
            json!([
                {"id": 1, "name": "Composed", "photo_url": "images/\u{e9}.png"},
                {"id": 2, "name": "Decomposed", "photo_url": "images/e\u{301}.png"},
                {"id": 3, "name": "Lower", "photo_url": "images/a.png"},
                {"id": 4, "name": "Upper", "photo_url": "images/A.png"},
            ]),
        )
        .media("images/\u{e9}.png", "composed")
        .media("images/e\u{301}.png", "decomposed")
        .media("images/a.png", "lower")
        .media("images/A.png", "upper")
        .media("Event", "another file than `event`")
        .media("EVENT", "and another");
    let imported = ferry.import(archive.zip()).await;
    assert_eq!(imported.state(), JobState::Succeeded, "{:#?}", imported.problems);
    assert!(!imported.codes().contains_key("DUPLICATE_ENTRY"), "{:#?}", imported.problems);
    assert_eq!((imported.report.media.stored, ferry.media().list().unwrap().len()), (4, 4));
    let hashes = ferry.rows("m.sha256", "media AS m").await;
    assert_eq!(hashes.iter().collect::<std::collections::BTreeSet<_>>().len(), 4, "each has its own bytes: {hashes:?}");
    assert_eq!(ferry.rows("name", "events").await, ["Small"]);
}

with_each_database! {
    async fn every_cut_of_a_small_zip_waits_for_its_rest_and_is_rejected_without(setup: Setup) {
        let daemon = setup.start().await;
        let event = r#"{"id":1,"name":"A"}"#;
        let whole = zip(&[ZipEntry { packing: Packing::Stored, ..ZipEntry::new("event", event) }]);
        let name = |length: usize| format!("cut-{length:03}.zip");
        for length in 1..whole.len() {
            daemon.drop_file("berlin", &name(length), &whole[..length]);
        }
        let cuts = whole.len() - 1;
        let mut view = daemon.inbox();
        while view.borrow_and_update().incomplete < cuts {
            daemon.clock.advance(Duration::from_secs(1));
            daemon.look().await;
        }
        assert_eq!(daemon.count("jobs").await, 0, "no cut is taken for an archive");

        // The rest of every third arrives.
        let is_resumed = |length: &usize| length.is_multiple_of(3);
        for length in (1..whole.len()).filter(is_resumed) {
            let path = daemon.inbox_path("berlin", &name(length));
            let mut file = std::fs::OpenOptions::new().append(true).open(path).unwrap();
            std::io::Write::write_all(&mut file, &whole[length..]).unwrap();
        }
        let staying: Vec<String> =
            (1..whole.len()).filter(|length| !is_resumed(length)).map(|length| format!("berlin/{}", name(length))).collect();
        daemon.idle_but_for(&staying.iter().map(String::as_str).collect::<Vec<_>>()).await;
        let resumed = i64::try_from(cuts - staying.len()).unwrap();
        assert_eq!(daemon.count("jobs WHERE state IN ('succeeded', 'duplicate')").await, resumed);
        assert_eq!((daemon.count("jobs WHERE state = 'succeeded'").await, daemon.count("events").await), (1, 1));

        daemon.clock.advance(Duration::from_hours(25));
        daemon.idle().await;
        let rejected = i64::try_from(staying.len()).unwrap();
        assert_eq!(daemon.count("jobs WHERE state = 'failed'").await, rejected);
        assert_eq!(daemon.count("problems WHERE code = 'INCOMPLETE'").await, rejected);
        assert_eq!(daemon.count("events").await, 1);
        daemon.finish().await;
    }
}
