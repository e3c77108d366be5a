//! An event is deleted in pieces, with everything that hangs on it and nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use eventferry::db::{Arg, Database, Sql, Tx};
use eventferry::model::Dataset;
use eventferry::store::events;
use eventferry::store::media::{self, MediaReference, MediaState};
use eventferry::store::records::{self, Unresolved};

use super::{column, count, event, imported, insert_blanks, of_events, start, writing};
use crate::support::databases::{TestDatabase, on_both_databases};

/// Tables that hold something of an event.
const TABLES: [&str; 17] = [
    "events",
    "social_links",
    "custom_forms",
    "microlocations",
    "sponsors",
    "speakers",
    "tracks",
    "session_types",
    "sessions",
    "session_speakers",
    "unresolved_references",
    "media",
    "event_roles",
    "import_hashes",
    "export_folders",
    "export_runs",
    "export_sessions",
];

/// An event with three of everything; each of its sessions has all speakers and a track that is not there.
async fn full_event(database: &Database, source_id: &str) -> i64 {
    let event = event(database, source_id).await;
    let mut tx = database.begin().await.unwrap();
    let (mut sessions, mut speakers) = (Vec::new(), Vec::new());
    for dataset in of_events() {
        let ids = insert_blanks(&mut tx, dataset, event, &["1", "2", "3"]).await;
        match dataset {
            Dataset::Sessions => sessions = ids,
            Dataset::Speakers => speakers = ids,
            _ => {}
        }
    }
    let pairs: Vec<(i64, i64)> =
        sessions.iter().flat_map(|session| speakers.iter().map(|speaker| (*session, *speaker))).collect();
    records::insert_links(&mut tx, &pairs).await.unwrap();
    let unresolved = |session: &i64| Unresolved {
        target: Dataset::Tracks,
        target_source_id: "99".to_owned(),
        dataset: Dataset::Sessions,
        record_id: *session,
        field: "track_id",
    };
    let waiting: Vec<Unresolved> = sessions.iter().map(unresolved).collect();
    records::keep_unresolved(&mut tx, event, &waiting).await.unwrap();
    let state = MediaState::Pending { path: "a.png".to_owned() };
    let named: Vec<MediaReference> = ["photo_url", "icon_image_url", "small_image_url"]
        .into_iter()
        .map(|field| MediaReference { dataset: Dataset::Speakers, record_id: speakers[0], field, state: state.clone() })
        .collect();
    media::insert(&mut tx, &writing(event), &named).await.unwrap();
    for account in ["harbour", "berlin", "riga"] {
        events::add_owner(&mut tx, event, account, None, None, start()).await.unwrap();
        events::settle_bytes(&mut tx, &imported(account, event, "a1", 1), start()).await.unwrap();
    }
    let mut exported = vec![format!("INSERT INTO export_folders (event_id, folder) VALUES ({event}, 'harbour')")];
    for session in &sessions {
        exported.push(format!(
            "INSERT INTO export_runs (event_id, scope, job_id, observed_at, folder) \
             VALUES ({event}, 'schedule {session}', 'a job', $1, 'harbour/{session}')"
        ));
        exported.push(format!(
            "INSERT INTO export_sessions (event_id, session_id, sequence, digest, place, title, added_at) \
             VALUES ({event}, {session}, 0, '', '', '', $1)"
        ));
    }
    for sql in exported {
        let args: &[Arg] = if sql.contains("$1") { &[Arg::Instant(Some(start()))] } else { &[] };
        tx.execute(&Sql::built("export an event", sql), args).await.unwrap();
    }
    tx.commit().await.unwrap();
    event
}

/// Rows of each table.
async fn counts(database: &Database) -> Vec<(&'static str, i64)> {
    let mut counts = Vec::new();
    for table in TABLES {
        counts.push((table, count(database, table).await));
    }
    counts
}

/// Rows of an event with three of everything.
fn full(table: &str) -> i64 {
    match table {
        "events" | "export_folders" => 1,
        "session_speakers" => 9,
        _ => 3,
    }
}

on_both_databases! {
    async fn an_event_goes_in_pieces_with_all_that_hangs_on_it_and_nothing_else(database: TestDatabase) {
        for limit in [1, 2, 3, 100] {
            let kept = full_event(&database, "42").await;
            let alone = counts(&database).await;
            let event = full_event(&database, "41").await;
            for ((table, rows), (_, before)) in counts(&database).await.into_iter().zip(&alone) {
                assert_eq!(rows, before + full(table), "{table}");
            }
            let mut pieces = 0;
            loop {
                let mut tx = database.begin().await.unwrap();
                let is_more_left = events::delete_some(&mut tx, event, limit).await.unwrap();
                tx.commit().await.unwrap();
                if !is_more_left {
                    break;
                }
                pieces += 1;
                assert!(pieces <= 53, "there are no more rows than that");
            }
            assert!(pieces >= 17, "no piece touches two tables: {pieces}");
            assert_eq!(counts(&database).await, alone, "pieces of {limit}");
            assert!(events::get(&database, event).await.unwrap().is_none());
            assert!(events::get(&database, kept).await.unwrap().is_some());
            assert_eq!(events::owners(&database, kept).await.unwrap(), ["berlin", "harbour", "riga"]);
            let first: Vec<i64> = column(&database, "SELECT count(*) FROM users").await;
            assert_eq!(first, [3], "users stay");
        }
    }

    async fn a_piece_that_was_taken_back_is_still_there(database: TestDatabase) {
        let event = full_event(&database, "41").await;
        let before = counts(&database).await;
        let mut tx = database.begin().await.unwrap();
        for _ in 0..5 {
            assert!(events::delete_some(&mut tx, event, 2).await.unwrap());
        }
        tx.rollback().await.unwrap();
        assert_eq!(counts(&database).await, before);
    }

    async fn an_event_that_is_not_there_leaves_nothing_to_delete(database: TestDatabase) {
        full_event(&database, "41").await;
        let before = counts(&database).await;
        let mut tx = database.begin().await.unwrap();
        assert!(!events::delete_some(&mut tx, 77, 10).await.unwrap());
        tx.commit().await.unwrap();
        assert_eq!(counts(&database).await, before);
    }

    async fn no_piece_is_larger_than_it_may_be(database: TestDatabase) {
        let event = full_event(&database, "41").await;
        let mut before: i64 = counts(&database).await.iter().map(|(_, rows)| rows).sum();
        loop {
            let mut tx = database.begin().await.unwrap();
            let is_more_left = events::delete_some(&mut tx, event, 2).await.unwrap();
            tx.commit().await.unwrap();
            let now = counts(&database).await;
            let rows: i64 = now.iter().map(|(_, rows)| rows).sum();
            assert!(before - rows <= 2, "{} rows at once, left are {now:?}", before - rows);
            before = rows;
            if !is_more_left {
                break;
            }
        }
    }
}

/// An event of so many sessions, each with a speaker and a media file.
async fn event_of(database: &Database, sessions: usize) -> i64 {
    let event = event(database, "41").await;
    let mut tx = database.begin().await.unwrap();
    let source_ids: Vec<String> = (1..=sessions).map(|number| number.to_string()).collect();
    let source_ids: Vec<&str> = source_ids.iter().map(String::as_str).collect();
    let sessions = insert_blanks(&mut tx, Dataset::Sessions, event, &source_ids).await;
    let speakers = insert_blanks(&mut tx, Dataset::Speakers, event, &["1"]).await;
    let pairs: Vec<(i64, i64)> = sessions.iter().map(|session| (*session, speakers[0])).collect();
    records::insert_links(&mut tx, &pairs).await.unwrap();
    let file = |session: &i64| MediaReference {
        dataset: Dataset::Sessions,
        record_id: *session,
        field: "slides_url",
        state: MediaState::Remote { link: "https://example.org/slides".to_owned() },
    };
    let files: Vec<MediaReference> = sessions.iter().map(file).collect();
    media::insert(&mut tx, &writing(event), &files).await.unwrap();
    tx.commit().await.unwrap();
    event
}

/// Counts what SQLite does in a transaction from now on: the operations of its virtual machine.
async fn count_operations(tx: &mut Tx, operations: &Arc<AtomicU64>) {
    let Tx::Sqlite(tx, _) = tx else { panic!("this is not SQLite") };
    let operations = Arc::clone(operations);
    tx.lock_handle().await.unwrap().set_progress_handler(1, move || {
        operations.fetch_add(1, Ordering::Relaxed);
        true
    });
}

/// The most operations that any piece of ten rows has cost.
async fn dearest_piece(sessions: usize) -> u64 {
    let database = TestDatabase::sqlite().await;
    let event = event_of(&database, sessions).await;
    let mut most = 0;
    loop {
        let mut tx = database.begin().await.unwrap();
        let operations = Arc::default();
        count_operations(&mut tx, &operations).await;
        let is_more_left = events::delete_some(&mut tx, event, 10).await.unwrap();
        tx.commit().await.unwrap();
        most = most.max(operations.load(Ordering::Relaxed));
        if !is_more_left {
            return most;
        }
    }
}

#[tokio::test]
async fn what_a_piece_costs_does_not_grow_with_the_event() {
    let (small, large) = (dearest_piece(50).await, dearest_piece(500).await);
    assert!(small > 0);
    assert!(large < small * 2, "{small} operations in an event of 50 sessions, {large} in one of 500");
}
