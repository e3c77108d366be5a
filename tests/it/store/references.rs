//! Links between sessions and speakers, and references to records that are not there yet.

use std::collections::HashMap;

use eventferry::clock::Timestamp;
use eventferry::db::{Arg, Database, DbErrorKind};
use eventferry::model::Dataset;
use eventferry::store::records::{self, Unresolved};

use super::{after, column, count, event, index_of, insert_blanks, job, start, writing_later};
use crate::support::databases::on_both_databases;

fn unresolved(target: Dataset, id: &str, dataset: Dataset, record_id: i64, field: &'static str) -> Unresolved {
    Unresolved { target, target_source_id: id.to_owned(), dataset, record_id, field }
}

/// What waits, as `TARGET ID <- DATASET RECORD FIELD`, sorted.
async fn waiting(database: &Database) -> Vec<String> {
    let sql = "SELECT target_dataset || ' ' || target_source_id || ' <- ' || dataset || ' ' || record_id || ' ' || field \
               AS shown FROM unresolved_references ORDER BY shown";
    column(database, sql).await
}

async fn links(database: &Database) -> Vec<String> {
    let sql = "SELECT session_id || '-' || speaker_id FROM session_speakers ORDER BY session_id, speaker_id";
    column(database, sql).await
}

on_both_databases! {
    async fn speakers_are_linked_read_and_unlinked(database: TestDatabase) {
        let event = event(&database, "41").await;
        let mut tx = database.begin().await.unwrap();
        let sessions = insert_blanks(&mut tx, Dataset::Sessions, event, &["1", "2", "3"]).await;
        let speakers = insert_blanks(&mut tx, Dataset::Speakers, event, &["10", "odd \"id\"\\ 🛶"]).await;
        let pairs = [(sessions[0], speakers[0]), (sessions[0], speakers[1]), (sessions[1], speakers[1])];
        records::insert_links(&mut tx, &[]).await.unwrap();
        records::insert_links(&mut tx, &pairs).await.unwrap();

        let of = |index: usize| {
            let (session, speaker) = pairs[index];
            let id = if speaker == speakers[0] { "10" } else { "odd \"id\"\\ 🛶" };
            (session, speaker, id.to_owned())
        };
        let mut found = records::links_of(&mut tx, &sessions).await.unwrap();
        found.sort();
        assert_eq!(found, [of(0), of(1), of(2)]);
        assert_eq!(records::links_of(&mut tx, &sessions[1..]).await.unwrap(), [of(2)]);
        assert_eq!(records::links_of(&mut tx, &sessions[2..]).await.unwrap(), []);
        assert_eq!(records::links_of(&mut tx, &[]).await.unwrap(), []);

        assert!(!records::link_once(&mut tx, sessions[0], speakers[0]).await.unwrap(), "they are linked");
        assert!(records::link_once(&mut tx, sessions[2], speakers[0]).await.unwrap());
        records::delete_link(&mut tx, sessions[0], speakers[1]).await.unwrap();
        records::delete_link(&mut tx, sessions[2], speakers[1]).await.unwrap();
        tx.commit().await.unwrap();
        let expected = [pairs[0], pairs[2], (sessions[2], speakers[0])];
        assert_eq!(links(&database).await, expected.map(|(session, speaker)| format!("{session}-{speaker}")));
    }

    async fn a_pair_is_linked_once_and_only_of_records_that_are_there(database: TestDatabase) {
        let event = event(&database, "41").await;
        let mut tx = database.begin().await.unwrap();
        let session = insert_blanks(&mut tx, Dataset::Sessions, event, &["1"]).await[0];
        let speaker = insert_blanks(&mut tx, Dataset::Speakers, event, &["1"]).await[0];
        tx.commit().await.unwrap();
        for pairs in [vec![(session, speaker), (session, speaker)], vec![(session, 77)], vec![(77, speaker)]] {
            let mut tx = database.begin().await.unwrap();
            let error = records::insert_links(&mut tx, &pairs).await.unwrap_err();
            assert_eq!(error.kind(), DbErrorKind::Constraint, "{pairs:?}: {error}");
            drop(tx);
            assert_eq!(count(&database, "session_speakers").await, 0, "{pairs:?}");
        }
    }

    async fn references_to_what_is_not_there_are_kept_once_and_forgotten_by_field(database: TestDatabase) {
        let (event_id, other) = (event(&database, "41").await, event(&database, "42").await);
        let mut tx = database.begin().await.unwrap();
        assert!(!records::has_unresolved(&mut tx, event_id).await.unwrap());
        records::keep_unresolved(&mut tx, event_id, &[]).await.unwrap();
        let kept = [
            unresolved(Dataset::Tracks, "9", Dataset::Sessions, 1, "track_id"),
            unresolved(Dataset::Microlocations, "9", Dataset::Sessions, 1, "microlocation_id"),
            unresolved(Dataset::Speakers, "a\t\\b", Dataset::Sessions, 1, "speaker_ids"),
            unresolved(Dataset::Speakers, "", Dataset::Sessions, 1, "speaker_ids"),
            unresolved(Dataset::Tracks, "9", Dataset::Sessions, 2, "track_id"),
        ];
        records::keep_unresolved(&mut tx, event_id, &kept).await.unwrap();
        assert!(records::has_unresolved(&mut tx, event_id).await.unwrap());
        assert!(!records::has_unresolved(&mut tx, other).await.unwrap());
        records::keep_unresolved(&mut tx, other, &kept[..1]).await.unwrap();
        tx.commit().await.unwrap();

        let mut tx = database.begin().await.unwrap();
        let error = records::keep_unresolved(&mut tx, event_id, &kept[4..]).await.unwrap_err();
        assert_eq!(error.kind(), DbErrorKind::Constraint, "{error}");
        drop(tx);

        let mut tx = database.begin().await.unwrap();
        records::forget_unresolved(&mut tx, Dataset::Sessions, 1, "speaker_ids").await.unwrap();
        records::forget_unresolved(&mut tx, Dataset::Speakers, 1, "track_id").await.unwrap();
        records::forget_unresolved(&mut tx, Dataset::Sessions, 3, "track_id").await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(waiting(&database).await, [
            "microlocations 9 <- sessions 1 microlocation_id",
            "tracks 9 <- sessions 1 track_id",
            "tracks 9 <- sessions 1 track_id",
            "tracks 9 <- sessions 2 track_id",
        ]);
    }

    async fn a_record_that_arrives_gets_what_waited_for_it(database: TestDatabase) {
        let (event_id, other) = (event(&database, "41").await, event(&database, "42").await);
        let mut tx = database.begin().await.unwrap();
        let sessions = insert_blanks(&mut tx, Dataset::Sessions, event_id, &["1", "2", "3"]).await;
        let of_other = insert_blanks(&mut tx, Dataset::Sessions, other, &["1"]).await[0];
        let waits = |target, id, session, field| unresolved(target, id, Dataset::Sessions, session, field);
        let kept = [
            waits(Dataset::Tracks, "9", sessions[0], "track_id"),
            waits(Dataset::Tracks, "9", sessions[1], "track_id"),
            waits(Dataset::Tracks, "8", sessions[2], "track_id"),
            // The same id means something else in every dataset.
            waits(Dataset::Microlocations, "9", sessions[0], "microlocation_id"),
            waits(Dataset::SessionTypes, "9", sessions[0], "session_type_id"),
        ];
        records::keep_unresolved(&mut tx, event_id, &kept).await.unwrap();
        let foreign = waits(Dataset::Tracks, "9", of_other, "track_id");
        records::keep_unresolved(&mut tx, other, &[foreign]).await.unwrap();
        tx.commit().await.unwrap();

        let mut tx = database.begin().await.unwrap();
        let tracks = insert_blanks(&mut tx, Dataset::Tracks, event_id, &["9", "7"]).await;
        let arrived = HashMap::from([("9", tracks[0]), ("7", tracks[1])]);
        let into = writing_later(event_id);
        assert_eq!(records::resolve_arrived(&mut tx, Dataset::Tracks, &into, &HashMap::new()).await.unwrap().len(), 0);
        assert_eq!(records::resolve_arrived(&mut tx, Dataset::Tracks, &into, &arrived).await.unwrap().len(), 2);
        assert_eq!(records::resolve_arrived(&mut tx, Dataset::Tracks, &into, &arrived).await.unwrap().len(), 0);
        for (session, expected) in [(0, Some(tracks[0])), (1, Some(tracks[0])), (2, None)] {
            let (cells, _) = records::read(&mut tx, Dataset::Sessions, sessions[session]).await.unwrap();
            assert_eq!(cells[index_of(Dataset::Sessions, "track_id")], Arg::Int(expected), "session {session}");
            assert_eq!(cells[index_of(Dataset::Sessions, "microlocation_id")], Arg::Int(None), "session {session}");
        }
        let (cells, _) = records::read(&mut tx, Dataset::Sessions, of_other).await.unwrap();
        assert_eq!(cells[index_of(Dataset::Sessions, "track_id")], Arg::Int(None), "another event's");
        tx.commit().await.unwrap();
        let mut expected = vec![
            format!("microlocations 9 <- sessions {} microlocation_id", sessions[0]),
            format!("session_types 9 <- sessions {} session_type_id", sessions[0]),
            format!("tracks 8 <- sessions {} track_id", sessions[2]),
            format!("tracks 9 <- sessions {of_other} track_id"),
        ];
        expected.sort();
        assert_eq!(waiting(&database).await, expected);
        let times: Vec<Timestamp> = column(&database, "SELECT updated_at FROM sessions ORDER BY id").await;
        assert_eq!(times, [after(60), after(60), start(), start()]);
        let by = format!("sessions WHERE job_id = '{}'", job(2));
        assert_eq!(count(&database, &by).await, 2);

        let mut tx = database.begin().await.unwrap();
        for (target, field) in [
            (Dataset::Microlocations, "microlocation_id"),
            (Dataset::SessionTypes, "session_type_id"),
        ] {
            let id = insert_blanks(&mut tx, target, event_id, &["9"]).await[0];
            let resolved = records::resolve_arrived(&mut tx, target, &into, &HashMap::from([("9", id)])).await.unwrap();
            let (cells, _) = records::read(&mut tx, Dataset::Sessions, sessions[0]).await.unwrap();
            assert_eq!((resolved.len(), &cells[index_of(Dataset::Sessions, field)]), (1, &Arg::Int(Some(id))), "{field}");
        }
    }

    async fn sessions_and_speakers_wait_for_each_other_in_both_directions(database: TestDatabase) {
        let event = event(&database, "41").await;
        let mut tx = database.begin().await.unwrap();
        let sessions = insert_blanks(&mut tx, Dataset::Sessions, event, &["1", "2"]).await;
        let speaker = insert_blanks(&mut tx, Dataset::Speakers, event, &["10"]).await[0];
        let kept = [
            unresolved(Dataset::Speakers, "11", Dataset::Sessions, sessions[0], "speaker_ids"),
            unresolved(Dataset::Speakers, "11", Dataset::Sessions, sessions[1], "speaker_ids"),
            unresolved(Dataset::Sessions, "3", Dataset::Speakers, speaker, "session_ids"),
        ];
        records::keep_unresolved(&mut tx, event, &kept).await.unwrap();
        let into = writing_later(event);
        let arrived = insert_blanks(&mut tx, Dataset::Speakers, event, &["11"]).await[0];
        // The speaker's own list has linked one of them already.
        records::insert_links(&mut tx, &[(sessions[1], arrived)]).await.unwrap();
        let known = HashMap::from([("11", arrived)]);
        assert_eq!(records::resolve_arrived(&mut tx, Dataset::Speakers, &into, &known).await.unwrap().len(), 2);
        let session = insert_blanks(&mut tx, Dataset::Sessions, event, &["3"]).await[0];
        let known = HashMap::from([("3", session)]);
        assert_eq!(records::resolve_arrived(&mut tx, Dataset::Sessions, &into, &known).await.unwrap().len(), 1);
        assert!(!records::has_unresolved(&mut tx, event).await.unwrap());
        tx.commit().await.unwrap();
        let expected = [(sessions[0], arrived), (sessions[1], arrived), (session, speaker)];
        assert_eq!(links(&database).await, expected.map(|(session, speaker)| format!("{session}-{speaker}")));
    }

    async fn odd_ids_are_resolved_like_others(database: TestDatabase) {
        let event = event(&database, "41").await;
        for id in ["", "it's", "\"\\", "tab\tnew\nline", "🛶", "\u{1}", "null", "[1]"] {
            let mut tx = database.begin().await.unwrap();
            let session = insert_blanks(&mut tx, Dataset::Sessions, event, &[id]).await[0];
            let kept = [unresolved(Dataset::Tracks, id, Dataset::Sessions, session, "track_id")];
            records::keep_unresolved(&mut tx, event, &kept).await.unwrap();
            let track = insert_blanks(&mut tx, Dataset::Tracks, event, &[id]).await[0];
            let arrived = HashMap::from([(id, track)]);
            let resolved = records::resolve_arrived(&mut tx, Dataset::Tracks, &writing_later(event), &arrived).await;
            assert_eq!(resolved.unwrap().len(), 1, "{id:?}");
            let (cells, _) = records::read(&mut tx, Dataset::Sessions, session).await.unwrap();
            assert_eq!(cells[index_of(Dataset::Sessions, "track_id")], Arg::Int(Some(track)), "{id:?}");
            tx.commit().await.unwrap();
        }
        assert_eq!(count(&database, "unresolved_references").await, 0);
    }
}
