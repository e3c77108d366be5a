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
async fn strays_that_were_meant_for_records_are_errors_with_what_is_wanted() {
    let not_read = async |archive: Archive| {
        let (_, imported) = import(archive).await;
        assert_eq!(imported.state(), JobState::Partial);
        assert_eq!(imported.codes(), [("FILE_NOT_READ", 1)].into());
        let problem = imported.only(Code::FileNotRead);
        (problem.file.clone().unwrap_or_default(), problem.hint.clone())
    };
    let (file, hint) = not_read(Archive::dash().without("sponsors").media("Sponsors.XLSX", "PK").below("export")).await;
    assert_eq!(file, "export/Sponsors.XLSX");
    assert!(hint.contains("only JSON is read") && hint.ends_with("into a file `sponsors` as JSON"), "{hint}");
    let (file, hint) = not_read(Archive::dash().renamed("sponsors", "2027/sponsors")).await;
    assert_eq!(file, "2027/sponsors");
    assert!(hint.ends_with("zip the files of the folder `2027` themselves"), "{hint}");
    for name in ["Sponsors", "SPONSORS.JSON", "sponsor.json", "Sponsors.Json"] {
        let (file, hint) = not_read(Archive::dash().renamed("sponsors", name)).await;
        assert_eq!(file, name);
        assert_eq!(hint, "name it `sponsors`, at the top of the archive");
    }
    // A record names it.
    let archive = Archive::dash().without("sponsors").media("sponsors.csv", "1");
    let (_, imported) = import(archive.set("sessions", "/1/slides-url", "sponsors.csv")).await;
    assert!(!imported.codes().contains_key("FILE_NOT_READ"), "{:?}", imported.problems);
    // Nothing is lacking.
    let (_, imported) = import(Archive::dash().media("sponsors.csv", "1").media("old/sponsors", "[]")).await;
    assert_eq!(imported.state(), JobState::Succeeded);
    assert_eq!(imported.only(Code::EntryIgnored).hint, "nothing needs to be done");
}

#[tokio::test]
async fn an_event_under_another_name_is_told_with_the_right_one() {
    for (name, dataset) in [("Event.JSON", "event"), ("events", "event")] {
        let (_, imported) = import(Archive::dash().renamed("event", name)).await;
        assert_eq!(imported.state(), JobState::Failed, "{name}");
        let hint = &imported.only(Code::EventMissing).hint;
        assert_eq!(hint, &format!("the file `{name}` is not read: name it `{dataset}`, at the top of the archive"));
    }
}

#[tokio::test]
async fn an_event_that_is_packed_too_deep_is_shown_where_it_lies() {
    let hint = async |archive: Archive| {
        let (_, imported) = import(archive).await;
        imported.only(Code::EventMissing).hint.clone()
    };
    let deep = Archive::dash().renamed("event", "2027/event").media("other/notes.md", "x").below("export");
    let said = hint(deep).await;
    assert_eq!(said, "`event` lies in the folder `export/2027`: zip the files of that folder themselves");
    let said = hint(Archive::empty().media("harbour.ZIP", "PK")).await;
    assert_eq!(said, "the archive holds another one, `harbour.ZIP`: drop that one itself");
    let said = hint(Archive::dash().without("event")).await;
    assert!(said.contains("if this is a corrected rejected.zip, put its `eventferry.json` back"), "{said}");
    let said = hint(Archive::dash().without("event").file("eventferry.json", json!({"version": 1}))).await;
    assert_eq!(said, "add the file `event`");
    assert_eq!(hint(Archive::dash().raw("event", "{")).await, "mend the file `event`");
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
