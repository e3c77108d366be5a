//! Pictures and other media: named, found, missed, elsewhere.

use eventferry::model::{Code, JobState};
use serde_json::json;

use super::import;
use crate::fixtures::archive::Archive;
use crate::fixtures::importing::Ferry;
use crate::fixtures::zips::ZipEntry;
use crate::support::databases::on_both_databases;

on_both_databases! {
    async fn media_are_stored_under_their_hash_and_every_reference_has_a_row(database: TestDatabase) {
        let ferry = Ferry::on(database);
        // The same bytes under two names.
        let archive = Archive::dash().media("images/copy.png", "logo").set("speakers", "/1/photo-url", "/images/copy.png");
        let imported = ferry.import(archive.zip()).await;
        imported.assert_clean();
        assert_eq!(imported.report.media.stored, 7);
        // printf logo | sha256sum
        let logo = "3598ce6f965b2481fe26316c06b30950c46ac7f8e7229f104aa78f579997668d";
        assert_eq!(
            ferry.rows("dataset, field, bytes", &format!("media WHERE sha256 = '{logo}'")).await,
            ["event|logo_url|4", "speakers|photo_url|4"]
        );
        let store = ferry.media();
        assert_eq!(std::fs::read(store.path_of(logo)).unwrap(), b"logo");
        assert_eq!(store.list().unwrap().len(), 6);
        assert_eq!(
            ferry.rows("dataset, field, path", "media WHERE state = 'remote'").await,
            ["sessions|video_url|https://video.example.org/3"]
        );
    }

    async fn a_file_that_is_not_in_the_archive_is_a_warning_per_reference(database: TestDatabase) {
        let ferry = Ferry::on(database);
        let archive = Archive::dash()
            .without_media("images/logo.png")
            // A wrong ending is another file.
            .set("speakers", "/1/photo-url", "/images/speakers/Tova_Lind_1.jpg")
            .set("sponsors", "/1/logo-url", "images/logo.png");
        let imported = ferry.import(archive.zip()).await;
        assert_eq!(imported.state(), JobState::Succeeded);
        assert_eq!(imported.codes(), [("MEDIA_MISSING", 3)].into());
        let told: Vec<_> = imported
            .problems
            .iter()
            .map(|problem| {
                let text = |part: &Option<String>| part.clone().unwrap_or_default();
                format!(
                    "{} {:?} {} {} {}", text(&problem.file), problem.position, text(&problem.source_id),
                    text(&problem.field), text(&problem.value)
                )
            })
            .collect();
        assert_eq!(
            told,
            [
                "event Some(1) 41 logo_url images/logo.png",
                "sponsors Some(2) 2 logo_url images/logo.png",
                "speakers Some(2) 2 photo_url /images/speakers/Tova_Lind_1.jpg",
            ],
            "in the order of loading"
        );
        let media = imported.report.media;
        assert_eq!((media.referenced, media.stored, media.missing, media.remote), (9, 5, 3, 1));
        assert_eq!(ferry.count("media WHERE state = 'missing'").await, 3);
        assert_eq!(ferry.count("speakers WHERE photo_url = '/images/speakers/Tova_Lind_1.jpg'").await, 1);
    }
}

#[tokio::test]
async fn names_are_found_in_either_normal_form() {
    // Named composed, packed decomposed, and the other way round.
    let (_, imported) = import(
        Archive::dash()
            .media("images/speakers/Zoe\u{308}.png", "zoe")
            .media("images/speakers/Ch\u{1ec7}.png", "che")
            .set("speakers", "/1/photo-url", "/images/speakers/Zo\u{eb}.png")
            .set("speakers", "/2/photo-url", "/images/speakers/Che\u{323}\u{302}.png"),
    )
    .await;
    imported.assert_clean();
    assert_eq!(imported.report.media.stored, 8);
}

#[tokio::test]
async fn names_in_an_old_character_set_are_found() {
    // `é` in code page 437, the character set of zips without the flag for UTF-8.
    let (_, imported) = import(Archive::dash().entry(ZipEntry::new(b"images/speakers/Ren\x82.png", "rene")).set(
        "speakers",
        "/1/photo-url",
        "/images/speakers/Ren\u{e9}.png",
    ))
    .await;
    imported.assert_clean();
    assert_eq!(imported.report.media.stored, 7);
}

#[tokio::test]
async fn utf_8_that_was_packed_as_code_page_437_is_found() {
    // The bytes of `é` in UTF-8, each read as code page 437 and written as UTF-8 again: `├⌐`.
    let (_, imported) = import(Archive::dash().media("images/speakers/Ren\u{251c}\u{2310}.png", "rene").set(
        "speakers",
        "/1/photo-url",
        "/images/speakers/Ren\u{e9}.png",
    ))
    .await;
    imported.assert_clean();
    assert_eq!(imported.report.media.stored, 7);
}

#[tokio::test]
async fn a_name_that_was_broken_in_the_data_is_found() {
    // The data says `RenÃ©`, UTF-8 read as Latin-1; the entry is called `René`.
    let (_, imported) = import(Archive::dash().media("images/speakers/Ren\u{e9}.png", "rene").set(
        "speakers",
        "/1/photo-url",
        "/images/speakers/Ren\u{c3}\u{a9}.png",
    ))
    .await;
    imported.assert_clean();
    assert_eq!(imported.report.media.stored, 7);
}

#[tokio::test]
async fn media_that_nothing_names_are_told_once_and_not_stored() {
    let (ferry, imported) = import(
        Archive::dash()
            .media("images/spare.png", "spare")
            .media("videos/spare.mp4", "spare film")
            .media("audios/spare.ogg", "spare sound")
            .media("slides/spare.pdf", "spare slides"),
    )
    .await;
    assert_eq!(imported.state(), JobState::Succeeded);
    assert_eq!(imported.codes(), [("MEDIA_UNREFERENCED", 1)].into());
    let problem = imported.only(Code::MediaUnreferenced);
    assert!(problem.message.contains('4'), "{problem:?}");
    assert!(problem.value.as_ref().unwrap().contains("videos/spare.mp4"), "{problem:?}");
    assert_eq!(ferry.media().list().unwrap().len(), 6);
}

#[tokio::test]
async fn links_to_elsewhere_are_no_files() {
    for link in ["http://a.example.org/x.png", "HTTPS://a.example.org/x.png", "//a.example.org/x.png", "ftp://a/x"] {
        let (ferry, imported) = import(Archive::dash().set("speakers", "/1/photo-url", link)).await;
        imported.assert_clean();
        assert_eq!(imported.report.media.remote, 2, "{link}");
        assert_eq!(ferry.count(&format!("media WHERE state = 'remote' AND path = '{link}'")).await, 1);
    }
}

#[tokio::test]
async fn a_path_that_leads_out_of_the_archive_is_missing() {
    for path in ["../../etc/passwd", "/etc/passwd", "images/../../x", "/", "C:\\logo.png"] {
        let (_, imported) = import(Archive::dash().set("speakers", "/1/photo-url", path)).await;
        assert_eq!(imported.codes(), [("MEDIA_MISSING", 1)].into(), "{path}");
    }
}

#[tokio::test]
async fn media_of_what_was_rejected_are_no_strays_and_are_not_stored() {
    let (ferry, imported) = import(
        Archive::dash()
            .media("images/speakers/only_bad.png", "only bad")
            .media("images/speakers/both.png", "both")
            .media("images/spare.png", "spare")
            .push("speakers", json!({"id": 8, "name": null, "photo_url": "/images/speakers/only_bad.png"}))
            .push("speakers", json!({"id": 9, "name": null, "photo_url": "/images/speakers/both.png"}))
            .set("speakers", "/1/photo-url", "/images/speakers/both.png"),
    )
    .await;
    assert_eq!(imported.state(), JobState::Partial);
    assert_eq!(imported.codes(), [("FIELD_REQUIRED", 2), ("MEDIA_UNREFERENCED", 1)].into());
    assert_eq!(imported.only(Code::MediaUnreferenced).value.as_deref(), Some("images/spare.png"));
    // printf 'only bad' | sha256sum
    let only_bad = "42c9acc828ef8b8d8161024621f4a0a7575803bebb2e821555a6577eb054aaaf";
    assert!(!ferry.media().path_of(only_bad).exists());
    assert_eq!(ferry.media().list().unwrap().len(), 7);
}

#[tokio::test]
async fn media_of_a_file_that_breaks_off_are_no_strays_and_are_not_stored() {
    let (ferry, imported) = import(Archive::dash().raw(
        "sponsors",
        br#"[{"id": 1, "name": "Buoy", "logo-url": "/images/sponsors/Buoy_1.png"}, {"id": 2,"#.to_vec(),
    ))
    .await;
    assert_eq!(imported.codes(), [("JSON_SYNTAX", 1)].into());
    assert_eq!(imported.report.media.stored, 5);
    assert_eq!(ferry.media().list().unwrap().len(), 5);
    // Nor can it be told which media a file names of which nothing can be read.
    let (_, imported) = import(Archive::dash().raw("sponsors", "[no JSON").media("images/spare.png", "spare")).await;
    assert_eq!(imported.codes(), [("JSON_SYNTAX", 1)].into());
}
