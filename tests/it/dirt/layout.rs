//! How archives are packed: folders, endings, strays, files that are absent.

use eventferry::model::{Code, JobState};
use serde_json::json;

use super::import;
use crate::fixtures::archive::{Archive, RECORDS};
use crate::fixtures::importing::Ferry;
use crate::fixtures::zips::{Packing, ZipEntry, zip};

const ALL_WAYS: [Packing; 3] = [Packing::Stored, Packing::Streamed, Packing::Deflated];

#[tokio::test]
async fn entries_may_be_stored_deflated_and_streamed_in_any_order() {
    let mut entries = Archive::dash().packed(&ALL_WAYS).entries();
    for turn in 0..3 {
        entries.rotate_left(turn * 3);
        entries.reverse();
        let ferry = Ferry::on_sqlite().await;
        let imported = ferry.import(zip(&entries)).await;
        imported.assert_clean();
        assert_eq!(imported.dataset("sessions").created, 4);
        assert_eq!(imported.report.links.session_speakers, 4);
        assert_eq!(imported.report.media.stored, 6);
    }
}

#[tokio::test]
async fn a_common_top_folder_is_no_part_of_the_names() {
    let archive = Archive::dash().below("Harbour Days (final)").set("tracks", "/0/name", json!(null)).edit(
        "sessions",
        |sessions| {
            for session in sessions.as_array_mut().unwrap() {
                session["track"] = json!(null);
            }
        },
    );
    let mut entries = archive.entries();
    entries.push(ZipEntry { packing: Packing::Stored, ..ZipEntry::new("Harbour Days (final)/", "") });
    entries.push(ZipEntry { packing: Packing::Stored, ..ZipEntry::new("Harbour Days (final)/images/", "") });
    let ferry = Ferry::on_sqlite().await;
    let imported = ferry.import(zip(&entries)).await;
    assert_eq!(imported.state(), JobState::Partial);
    assert_eq!(imported.only(Code::FieldRequired).file.as_deref(), Some("tracks"));
    assert_eq!(imported.report.media.stored, 5, "all but the rejected track's");
    for (dataset, count) in RECORDS {
        assert_eq!(imported.dataset(dataset).read, count, "{dataset}");
    }
    assert!(!imported.codes().contains_key("ENTRY_IGNORED"), "folders are no strays");
}

#[tokio::test]
async fn data_files_may_end_in_json() {
    let mut archive = Archive::dash();
    for name in
        ["event", "meta", "forms", "microlocations", "sponsors", "speakers", "tracks", "session_types", "sessions"]
    {
        archive = archive.renamed(name, &format!("{name}.json"));
    }
    let (_, imported) = import(archive).await;
    imported.assert_clean();
    for (dataset, count) in RECORDS {
        assert_eq!(imported.dataset(dataset).created, count, "{dataset}");
    }
}

#[tokio::test]
async fn forms_may_be_called_custom_forms() {
    let (ferry, imported) = import(Archive::underscore().renamed("forms", "custom_forms")).await;
    imported.assert_clean();
    assert_eq!(ferry.count("custom_forms").await, 5);
}

#[tokio::test]
async fn strays_are_told_once_and_ignored() {
    let (_, imported) = import(
        Archive::dash()
            .media("config.json", "{broken")
            .media(".DS_Store", "\u{1}\u{2}")
            .media("__MACOSX/._event", "x")
            .media(".comments/notes.xml", "<x/>")
            .media("sessions.orig", "[")
            .media("name with blanks", "x")
            .media(b"caf\x82.txt", "x"),
    )
    .await;
    assert_eq!(imported.state(), JobState::Succeeded);
    assert_eq!(imported.codes(), [("ENTRY_IGNORED", 1)].into());
    let problem = imported.only(Code::EntryIgnored);
    assert!(problem.message.contains('7'), "{problem:?}");
    assert!(problem.value.as_ref().unwrap().contains("config.json"), "{problem:?}");
}

#[tokio::test]
async fn names_in_both_normal_forms_are_two_entries() {
    let (_, imported) = import(
        Archive::dash()
            .media("images/caf\u{e9}.png", "composed")
            .media("images/cafe\u{301}.png", "decomposed")
            .set("speakers", "/1/photo-url", "/images/caf\u{e9}.png")
            .set("speakers", "/2/photo-url", "/images/cafe\u{301}.png"),
    )
    .await;
    imported.assert_clean();
    assert_eq!(imported.report.media.stored, 8);
}

#[tokio::test]
async fn an_event_alone_is_an_archive() {
    let (ferry, imported) =
        import(Archive::empty().file("event", json!({"id": 1, "name": "Small", "starts-at": "2019-05-04T09:00:00Z"})))
            .await;
    imported.assert_clean();
    assert_eq!(ferry.rows("name, source_id, root_url", "events").await, ["Small|1|"]);
    for (dataset, _) in RECORDS.iter().skip(1) {
        assert_eq!(imported.dataset(dataset).read, 0, "{dataset}");
    }
}

#[tokio::test]
async fn meta_may_be_absent_empty_or_dashed() {
    let dashed = Archive::dash().file("meta", json!({"root-url": "https://a.example.org"}));
    let plain = Archive::dash().file("meta", json!({"root_url": "https://a.example.org"}));
    for (archive, root_url) in [
        (dashed, "https://a.example.org"),
        (plain, "https://a.example.org"),
        (Archive::dash().file("meta", json!({})), ""),
        (Archive::dash().file("meta", json!({"root_url": null})), ""),
        (Archive::dash().without("meta"), ""),
    ] {
        let (ferry, imported) = import(archive).await;
        imported.assert_clean();
        assert_eq!(ferry.value::<String>("SELECT root_url FROM events").await, root_url);
    }
}

#[tokio::test]
async fn social_links_stand_in_the_event_or_in_a_file() {
    for archive in [Archive::dash(), Archive::flat()] {
        let (ferry, imported) = import(archive).await;
        imported.assert_clean();
        assert_eq!(imported.dataset("social_links").created, 2);
        assert_eq!(
            ferry.rows("source_id, name, link", "social_links").await,
            ["1|Site|https://harbour.example.org", "2|Videos|https://video.example.org/harbour"]
        );
        assert_eq!(ferry.value::<String>("SELECT CAST(extra AS TEXT) FROM events").await, "{}");
    }
}
