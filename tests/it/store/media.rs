//! What fields say about media files.

use eventferry::clock::Timestamp;
use eventferry::db::{Database, DbErrorKind};
use eventferry::model::Dataset;
use eventferry::store::media::{self, MediaReference, MediaState};

use super::{after, column, count, event, job, start, writing, writing_later};
use crate::support::databases::on_both_databases;

fn pending(dataset: Dataset, record_id: i64, field: &'static str, path: &str) -> MediaReference {
    MediaReference { dataset, record_id, field, state: MediaState::Pending { path: path.to_owned() } }
}

fn missing(dataset: Dataset, record_id: i64, field: &'static str, path: &str, reason: &str) -> MediaReference {
    let state = MediaState::Missing { path: path.to_owned(), reason: reason.to_owned() };
    MediaReference { dataset, record_id, field, state }
}

fn remote(dataset: Dataset, record_id: i64, field: &'static str, link: &str) -> MediaReference {
    MediaReference { dataset, record_id, field, state: MediaState::Remote { link: link.to_owned() } }
}

/// Every row: `DATASET RECORD FIELD EVENT PATH STATE SHA256 BYTES REASON`, `-` for nothing, sorted.
async fn rows(database: &Database) -> Vec<String> {
    let columns = ["dataset", "record_id", "field", "event_id", "path", "state", "sha256", "bytes", "reason"];
    let shown: Vec<String> = columns.iter().map(|name| format!("coalesce(CAST({name} AS TEXT), '-')")).collect();
    let mut rows: Vec<String> = column(database, &format!("SELECT {} FROM media", shown.join(" || ' ' || "))).await;
    rows.sort();
    rows
}

on_both_databases! {
    async fn what_fields_name_is_written_as_it_is_known(database: TestDatabase) {
        let event = event(&database, "41").await;
        let mut tx = database.begin().await.unwrap();
        let references = [
            pending(Dataset::Speakers, 1, "photo_url", "images/é \\ 🛶\t\"1\".png"),
            missing(Dataset::Speakers, 2, "photo_url", "images/2.png", "it's not in the archive\n"),
            remote(Dataset::Sessions, 1, "video_url", "https://video.example.org/?a=1&b='2'"),
            pending(Dataset::Event, event, "logo_url", ""),
        ];
        media::insert(&mut tx, &writing(event), &[]).await.unwrap();
        media::insert(&mut tx, &writing(event), &references).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(rows(&database).await, [
            format!("event {event} logo_url {event}  pending - - -"),
            format!("sessions 1 video_url {event} https://video.example.org/?a=1&b='2' remote - - -"),
            format!("speakers 1 photo_url {event} images/é \\ 🛶\t\"1\".png pending - - -"),
            format!("speakers 2 photo_url {event} images/2.png missing - - it's not in the archive\n"),
        ]);
        let by = format!("media WHERE job_id = '{}'", job(1));
        assert_eq!(count(&database, &by).await, 4);
        for name in ["created_at", "updated_at"] {
            assert_eq!(column::<Timestamp>(&database, &format!("SELECT {name} FROM media")).await, [start(); 4]);
        }
    }

    async fn a_field_names_one_file(database: TestDatabase) {
        let event_id = event(&database, "41").await;
        let mut tx = database.begin().await.unwrap();
        let reference = pending(Dataset::Speakers, 1, "photo_url", "a.png");
        media::insert(&mut tx, &writing(event_id), &[reference]).await.unwrap();
        tx.commit().await.unwrap();

        let mut tx = database.begin().await.unwrap();
        let twice = [
            pending(Dataset::Speakers, 2, "photo_url", "b.png"),
            remote(Dataset::Speakers, 1, "photo_url", "https://example.org/a.png"),
        ];
        let error = media::insert(&mut tx, &writing(event_id), &twice).await.unwrap_err();
        assert_eq!(error.kind(), DbErrorKind::Constraint, "{error}");
        drop(tx);
        assert_eq!(rows(&database).await, [format!("speakers 1 photo_url {event_id} a.png pending - - -")]);

        let mut tx = database.begin().await.unwrap();
        media::delete(&mut tx, Dataset::Speakers, 1, "icon_image_url").await.unwrap();
        media::delete(&mut tx, Dataset::Speakers, 2, "photo_url").await.unwrap();
        media::delete(&mut tx, Dataset::Sessions, 1, "photo_url").await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(count(&database, "media").await, 1);
        let mut tx = database.begin().await.unwrap();
        media::delete(&mut tx, Dataset::Speakers, 1, "photo_url").await.unwrap();
        media::insert(&mut tx, &writing(event_id), &twice).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(count(&database, "media").await, 2);
    }

    async fn hundreds_of_files_are_named_at_once(database: TestDatabase) {
        let event = event(&database, "41").await;
        // Ten columns: 200 rows are one statement's.
        let mut first = 1;
        for number in [1, 199, 200, 201, 401] {
            let some: Vec<MediaReference> = (first..first + number)
                .map(|id| pending(Dataset::Speakers, id, "photo_url", &format!("images/{id}.png")))
                .collect();
            first += number;
            let mut tx = database.begin().await.unwrap();
            media::insert(&mut tx, &writing(event), &some).await.unwrap();
            tx.commit().await.unwrap();
            assert_eq!(count(&database, "media").await, first - 1);
        }
        let wrong = format!("media WHERE path <> 'images/' || record_id || '.png' OR event_id <> {event}");
        assert_eq!(count(&database, &wrong).await, 0);
    }

    async fn files_are_known_by_their_bytes_and_links_to_elsewhere_are_none(database: TestDatabase) {
        let event = event(&database, "41").await;
        let mut tx = database.begin().await.unwrap();
        let references = [
            missing(Dataset::Speakers, 1, "photo_url", "a.png", "it is not there"),
            missing(Dataset::Speakers, 1, "icon_image_url", "b.png", "it is not there"),
            pending(Dataset::Speakers, 1, "small_image_url", "c.png"),
            remote(Dataset::Speakers, 2, "photo_url", "https://example.org/a.png"),
            missing(Dataset::Speakers, 3, "photo_url", "d.png", "it is not there"),
            missing(Dataset::Sessions, 1, "slides_url", "e.pdf", "it is not there"),
        ];
        media::insert(&mut tx, &writing(event), &references).await.unwrap();
        media::mark_stored(&mut tx, &writing(event), "c.png", "c0ffee", 3).await.unwrap();
        let files = |fields: &[(i64, &str, Option<&str>)]| -> media::KnownFiles {
            let file = |(id, field, sha256): &(i64, &str, Option<&str>)| ((*id, (*field).to_owned()), sha256.map(str::to_owned));
            fields.iter().map(file).collect()
        };
        let expected =
            files(&[(1, "photo_url", None), (1, "icon_image_url", None), (1, "small_image_url", Some("c0ffee"))]);
        assert_eq!(media::known(&mut tx, Dataset::Speakers, &[1, 2, 77]).await.unwrap(), expected);
        let expected = files(&[(1, "slides_url", None)]);
        assert_eq!(media::known(&mut tx, Dataset::Sessions, &[3, 1]).await.unwrap(), expected);
        assert_eq!(media::known(&mut tx, Dataset::Sponsors, &[1]).await.unwrap(), files(&[]));
        assert_eq!(media::known(&mut tx, Dataset::Speakers, &[]).await.unwrap(), files(&[]));
    }

    async fn a_stored_file_is_noted_for_every_field_of_the_event_that_names_it(database: TestDatabase) {
        let (event_id, other) = (event(&database, "41").await, event(&database, "42").await);
        let mut tx = database.begin().await.unwrap();
        let references = [
            pending(Dataset::Speakers, 1, "photo_url", "a.png"),
            pending(Dataset::Speakers, 2, "photo_url", "a.png"),
            pending(Dataset::Speakers, 3, "photo_url", "A.png"),
            missing(Dataset::Speakers, 4, "photo_url", "a.png", "its CRC is wrong"),
            remote(Dataset::Speakers, 5, "photo_url", "a.png"),
        ];
        media::insert(&mut tx, &writing(event_id), &references).await.unwrap();
        media::insert(&mut tx, &writing(other), &[pending(Dataset::Speakers, 6, "photo_url", "a.png")]).await.unwrap();
        media::mark_stored(&mut tx, &writing_later(event_id), "a.png", "a1", u64::from(u32::MAX) + 1).await.unwrap();
        tx.commit().await.unwrap();
        let before = rows(&database).await;
        assert_eq!(before, [
            format!("speakers 1 photo_url {event_id} a.png stored a1 4294967296 -"),
            format!("speakers 2 photo_url {event_id} a.png stored a1 4294967296 -"),
            format!("speakers 3 photo_url {event_id} A.png pending - - -"),
            format!("speakers 4 photo_url {event_id} a.png missing - - its CRC is wrong"),
            format!("speakers 5 photo_url {event_id} a.png remote - - -"),
            format!("speakers 6 photo_url {other} a.png pending - - -"),
        ]);
        let by = format!("media WHERE job_id = '{}'", job(2));
        assert_eq!(count(&database, &by).await, 2);

        // A file that nobody expects touches nothing; where one is expected, it takes the other's place.
        let again = eventferry::store::records::Writing { job: job(3), now: after(120), event_id };
        let mut tx = database.begin().await.unwrap();
        media::mark_stored(&mut tx, &again, "a.png", "b2", 6).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(rows(&database).await, before);
        let times = "SELECT updated_at FROM media WHERE state = 'stored'";
        assert_eq!(column::<Timestamp>(&database, times).await, [after(60); 2]);
        let mut tx = database.begin().await.unwrap();
        for record in [1, 2] {
            media::expect(&mut tx, Dataset::Speakers, &again, record, "photo_url", "a.png").await.unwrap();
        }
        media::mark_stored(&mut tx, &again, "a.png", "b2", 6).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(rows(&database).await[..2], [
            format!("speakers 1 photo_url {event_id} a.png stored b2 6 -"),
            format!("speakers 2 photo_url {event_id} a.png stored b2 6 -"),
        ]);
        assert_eq!(column::<Timestamp>(&database, times).await, [after(120); 2]);
        assert_eq!(column::<Timestamp>(&database, "SELECT created_at FROM media").await, [start(); 6]);
    }

    async fn a_stored_file_is_used_as_long_as_a_row_names_it(database: TestDatabase) {
        let (event_id, other) = (event(&database, "41").await, event(&database, "42").await);
        let mut tx = database.begin().await.unwrap();
        for (event_id, record) in [(event_id, 1), (other, 2)] {
            let reference = pending(Dataset::Speakers, record, "photo_url", "a.png");
            media::insert(&mut tx, &writing(event_id), &[reference]).await.unwrap();
            media::mark_stored(&mut tx, &writing(event_id), "a.png", "a1", 5).await.unwrap();
        }
        tx.commit().await.unwrap();
        assert!(!media::is_used(&database, "").await.unwrap());
        assert!(!media::is_used(&database, "a").await.unwrap());
        for (record, is_used) in [(1, true), (2, false)] {
            let mut tx = database.begin().await.unwrap();
            media::delete(&mut tx, Dataset::Speakers, record, "photo_url").await.unwrap();
            assert!(media::is_used(&database, "a1").await.unwrap(), "not committed yet");
            tx.commit().await.unwrap();
            assert_eq!(media::is_used(&database, "a1").await.unwrap(), is_used);
        }
    }
}
