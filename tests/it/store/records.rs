//! Records: ids, writing, reading back, changing, going and coming back.

use std::collections::HashMap;

use eventferry::clock::Timestamp;
use eventferry::db::{Arg, Column, ColumnType, DbErrorKind};
use eventferry::model::{Dataset, FieldKind};
use eventferry::store::records::{self, Existing, NewRecord};

use super::{
    after, blank, column, count, event, index_of, insert_blanks, insert_event, job, of_events, start, with, writing,
    writing_later,
};
use crate::support::databases::on_both_databases;

/// Texts that a statement, an array or JSON could take for something else.
const ODD_TEXTS: [&str; 16] = [
    "",
    " ",
    "\\N",
    "\\.",
    "a\\",
    "\\n\\t\\\\",
    "tab\tnew\nline\r\nreturn\r",
    "it's \"quoted\" `so`",
    "$1 ?1 :name --",
    "\u{1}\u{8}\u{b}\u{1b}[2J\u{1f}\u{7f}\u{85}",
    "\u{feff}\u{2028}\u{202e}",
    "🛶𝒽ø — ж 漢",
    "e\u{301} is not \u{e9}",
    "{\"a\": [1, \"\\u0000\"]}",
    "null",
    "007",
];

const ODD_INTEGERS: [i64; 6] = [0, -1, i64::MIN, i64::MAX, 9_007_199_254_740_993, -2_147_483_649];

const ODD_NUMBERS: [f64; 8] = [0.1, -0.0, 1.0, f64::MAX, f64::MIN_POSITIVE, 5e-324, -179.999_999_999_999_97, 56.95];

/// The first and the last that an archive may name, before the epoch, and parts of a second.
const ODD_INSTANTS: [&str; 6] = [
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59.999Z",
    "1969-12-31T23:59:59.999Z",
    "1970-01-01T00:00:00Z",
    "2026-02-28T23:59:59.001Z",
    "2024-02-29T12:30:00.120Z",
];

/// Blanks, the order of keys, keys that come twice, numbers and escapes stay as they are.
const ODD_JSON: [&str; 8] = [
    "{}",
    "{\"b\": 1,  \"a\": [2]}",
    "{\"a\":1,\"a\":2}",
    "\"\"",
    "\"say \\\"\\\\\\\"hi\\\\\\\"\\\"\\n\\u00e9\\ud83d\\ude00\"",
    "[1.10, 1e400, -0, 12345678901234567890]",
    "null",
    "{\"tab\\t\": \"C:\\\\temp\"}",
];

/// Value number `turn` of a kind; the last of each is nothing.
fn odd(kind: ColumnType, turn: usize) -> Arg {
    fn of<T: Clone>(values: &[T], turn: usize) -> Option<T> {
        values.get(turn % (values.len() + 1)).cloned()
    }
    match kind {
        ColumnType::Int => Arg::Int(of(&ODD_INTEGERS, turn)),
        ColumnType::Real => Arg::Real(of(&ODD_NUMBERS, turn)),
        ColumnType::Text => Arg::Text(of(&ODD_TEXTS, turn).map(str::to_owned)),
        ColumnType::Bool => Arg::Bool(of(&[true, false], turn)),
        ColumnType::Instant => Arg::Instant(of(&ODD_INSTANTS, turn).map(instant)),
        ColumnType::Json => Arg::Json(of(&ODD_JSON, turn).map(str::to_owned)),
    }
}

fn instant(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// A record with an odd value in every column; what refers to other records refers to nothing.
fn odd_record(dataset: Dataset, id: i64, turn: usize) -> NewRecord {
    let mut cells = Vec::new();
    for field in dataset.fields() {
        for column in records::columns_of(field) {
            let is_reference = matches!(field.kind, FieldKind::Reference(_));
            cells.push(if is_reference { Arg::Int(None) } else { odd(column.kind, turn + cells.len()) });
        }
    }
    let objects: Vec<&str> = ODD_JSON.into_iter().filter(|json| json.starts_with('{')).collect();
    NewRecord {
        id,
        source_id: ODD_TEXTS[turn % ODD_TEXTS.len()].to_owned(),
        cells,
        extra: objects[turn % objects.len()].to_owned(),
        content_hash: format!("{turn:064x}"),
    }
}

fn as_written(record: &NewRecord) -> (Vec<Arg>, String) {
    (record.cells.clone(), record.extra.clone())
}

fn known(id: i64, is_gone: bool) -> Existing {
    Existing { id, content_hash: format!("hash of {id}"), is_gone }
}

on_both_databases! {
    async fn ids_are_taken_once_and_come_again_where_the_transaction_was_taken_back(database: TestDatabase) {
        let mut tx = database.begin().await.unwrap();
        assert_eq!(records::take_ids(&mut tx, "tracks", 3).await.unwrap(), 1);
        assert_eq!(records::take_ids(&mut tx, "tracks", 1).await.unwrap(), 4);
        assert_eq!(records::take_ids(&mut tx, "sessions", 1).await.unwrap(), 1, "each table counts for itself");
        assert_eq!(records::take_ids(&mut tx, "tracks", 0).await.unwrap(), 5, "none are taken");
        tx.commit().await.unwrap();

        let mut tx = database.begin().await.unwrap();
        assert_eq!(records::take_ids(&mut tx, "tracks", 1_000_000).await.unwrap(), 5);
        tx.rollback().await.unwrap();
        let mut tx = database.begin().await.unwrap();
        assert_eq!(records::take_ids(&mut tx, "tracks", 2).await.unwrap(), 5);
        // Nobody says what is to become of it.
        drop(tx);
        let other = database.open_again().await;
        let mut tx = other.begin().await.unwrap();
        assert_eq!(records::take_ids(&mut tx, "tracks", 1).await.unwrap(), 5);
        assert_eq!(records::take_ids(&mut tx, "sessions", 1).await.unwrap(), 2);
        tx.commit().await.unwrap();
        other.close().await;
    }

    async fn every_table_that_needs_ids_has_a_counter(database: TestDatabase) {
        let mut tx = database.begin().await.unwrap();
        for dataset in Dataset::ALL {
            assert_eq!(records::take_ids(&mut tx, dataset.definition().table, 1).await.unwrap(), 1, "{dataset}");
        }
        assert_eq!(records::take_ids(&mut tx, "users", 1).await.unwrap(), 1);
        let error = records::take_ids(&mut tx, "jobs", 1).await.unwrap_err();
        assert_eq!(error.kind(), DbErrorKind::Unusable, "{error}");
        assert!(error.to_string().contains("`jobs`"), "{error}");
    }

    async fn every_column_of_every_dataset_comes_back_as_it_went(database: TestDatabase) {
        let event = event(&database, "41").await;
        for dataset in Dataset::ALL {
            let mut tx = database.begin().await.unwrap();
            let count = ODD_TEXTS.len();
            let first = records::take_ids(&mut tx, dataset.definition().table, count as u64).await.unwrap();
            let all: Vec<NewRecord> = (first..).zip(0..count).map(|(id, turn)| odd_record(dataset, id, turn)).collect();
            if dataset == Dataset::Event {
                for record in all.clone() {
                    records::insert_event(&mut tx, "harbour", "", job(1), start(), record).await.unwrap();
                }
            } else {
                records::insert(&mut tx, dataset, &writing(event), all.clone().into_iter()).await.unwrap();
                let ids: Vec<&str> = all.iter().map(|record| record.source_id.as_str()).collect();
                let found = records::existing(&mut tx, dataset, event, &ids).await.unwrap();
                for record in &all {
                    let expected =
                        Existing { id: record.id, content_hash: record.content_hash.clone(), is_gone: false };
                    assert_eq!(found.get(&record.source_id), Some(&expected), "{dataset} {:?}", record.source_id);
                }
            }
            tx.commit().await.unwrap();
            let mut tx = database.begin().await.unwrap();
            for record in &all {
                let read = records::read(&mut tx, dataset, record.id).await.unwrap();
                assert_eq!(read, as_written(record), "{dataset} {:?}", record.source_id);
            }
        }
    }

    async fn a_changed_record_has_its_new_values_and_keeps_when_it_came(database: TestDatabase) {
        let event = event(&database, "41").await;
        for dataset in Dataset::ALL {
            let table = dataset.definition().table;
            let mut tx = database.begin().await.unwrap();
            let (id, untouched) = if dataset == Dataset::Event {
                (event, insert_event(&mut tx, "42").await)
            } else {
                let ids = insert_blanks(&mut tx, dataset, event, &["1", "2"]).await;
                (ids[0], ids[1])
            };
            for turn in 0..ODD_TEXTS.len() {
                let changed = odd_record(dataset, id, turn);
                records::update(&mut tx, dataset, &writing_later(event), changed.clone()).await.unwrap();
                let read = records::read(&mut tx, dataset, id).await.unwrap();
                assert_eq!(read, as_written(&changed), "{dataset} {turn}");
            }
            let other = blank(dataset, untouched, "2");
            assert_eq!(records::read(&mut tx, dataset, untouched).await.unwrap(), as_written(&other), "{dataset}");
            tx.commit().await.unwrap();

            let hash: Vec<String> = column(&database, &format!("SELECT content_hash FROM {table} WHERE id = {id}")).await;
            assert_eq!(hash, [format!("{:064x}", ODD_TEXTS.len() - 1)], "{dataset}");
            let job_id: Vec<String> = column(&database, &format!("SELECT job_id FROM {table} WHERE id = {id}")).await;
            assert_eq!(job_id, [job(2).to_string()], "{dataset}");
            for (name, expected) in [("created_at", start()), ("updated_at", after(60))] {
                let times: Vec<Timestamp> = column(&database, &format!("SELECT {name} FROM {table} WHERE id = {id}")).await;
                assert_eq!(times, [expected], "{dataset} {name}");
            }
        }
    }

    async fn a_new_record_says_who_wrote_it_and_when(database: TestDatabase) {
        let event = event(&database, "41").await;
        let mut tx = database.begin().await.unwrap();
        for dataset in of_events() {
            insert_blanks(&mut tx, dataset, event, &["1"]).await;
        }
        tx.commit().await.unwrap();
        for dataset in Dataset::ALL {
            let table = dataset.definition().table;
            let jobs: Vec<String> = column(&database, &format!("SELECT job_id FROM {table}")).await;
            assert_eq!(jobs, [job(1).to_string()], "{dataset}");
            for name in ["created_at", "updated_at"] {
                let times: Vec<Timestamp> = column(&database, &format!("SELECT {name} FROM {table}")).await;
                assert_eq!(times, [start()], "{dataset} {name}");
            }
            assert_eq!(count(&database, &format!("{table} WHERE gone_at IS NULL")).await, 1, "{dataset}");
        }
    }

    async fn empty_text_is_not_nothing(database: TestDatabase) {
        let event = event(&database, "41").await;
        let mut tx = database.begin().await.unwrap();
        let first = records::take_ids(&mut tx, "tracks", 2).await.unwrap();
        let tracks = [
            with(Dataset::Tracks, blank(Dataset::Tracks, first, ""), "color", ""),
            blank(Dataset::Tracks, first + 1, "2"),
        ];
        records::insert(&mut tx, Dataset::Tracks, &writing(event), tracks.into_iter()).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(column::<i64>(&database, "SELECT id FROM tracks WHERE color = ''").await, [first]);
        assert_eq!(column::<i64>(&database, "SELECT id FROM tracks WHERE color IS NULL").await, [first + 1]);
        assert_eq!(column::<i64>(&database, "SELECT id FROM tracks WHERE source_id = ''").await, [first]);
    }

    async fn a_record_that_is_not_there_cannot_be_read(database: TestDatabase) {
        let mut tx = database.begin().await.unwrap();
        for dataset in Dataset::ALL {
            let error = records::read(&mut tx, dataset, 77).await.unwrap_err();
            assert_eq!(error.kind(), DbErrorKind::Unusable, "{error}");
            assert!(error.to_string().contains("77"), "{error}");
        }
    }

    async fn records_are_found_by_event_dataset_and_source_id(database: TestDatabase) {
        let (event_id, other) = (event(&database, "41").await, event(&database, "42").await);
        let mut tx = database.begin().await.unwrap();
        for dataset in of_events() {
            let ids = insert_blanks(&mut tx, dataset, event_id, &["1", "two", "3"]).await;
            let of_other = insert_blanks(&mut tx, dataset, other, &["1"]).await;
            records::mark_gone(&mut tx, dataset, &writing_later(event_id), &ids[2..]).await.unwrap();

            let asked = ["3", "1", "4", "TWO", "1 ", ""];
            let found = records::existing(&mut tx, dataset, event_id, &asked).await.unwrap();
            let expected = HashMap::from([
                ("1".to_owned(), known(ids[0], false)),
                ("3".to_owned(), known(ids[2], true)),
            ]);
            assert_eq!(found, expected, "{dataset}");
            let found = records::ids_of(&mut tx, dataset, event_id, &asked).await.unwrap();
            assert_eq!(found, HashMap::from([("1".to_owned(), ids[0]), ("3".to_owned(), ids[2])]), "{dataset}");
            let found = records::ids_of(&mut tx, dataset, other, &asked).await.unwrap();
            assert_eq!(found, HashMap::from([("1".to_owned(), of_other[0])]), "{dataset}");

            assert_eq!(records::existing(&mut tx, dataset, event_id, &[]).await.unwrap(), HashMap::new());
            assert_eq!(records::ids_of(&mut tx, dataset, event_id, &[]).await.unwrap(), HashMap::new());
            assert_eq!(records::existing(&mut tx, dataset, 77, &asked).await.unwrap(), HashMap::new());
        }
        tx.commit().await.unwrap();
        for dataset in of_events() {
            let mut found = records::known(&database, dataset, event_id, &["two", "1", "4"], job(9)).await.unwrap();
            found.sort();
            assert_eq!(found, ["1", "two"], "{dataset}");
            assert_eq!(records::known(&database, dataset, event_id, &[], job(9)).await.unwrap(), [""; 0], "{dataset}");
        }
    }

    async fn thousands_of_records_are_looked_for_at_once(database: TestDatabase) {
        let event = event(&database, "41").await;
        let mut tx = database.begin().await.unwrap();
        let names: Vec<String> = (0..5_000).map(|number| format!("track {number}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        insert_blanks(&mut tx, Dataset::Tracks, event, &names[..2_500]).await;
        assert_eq!(records::existing(&mut tx, Dataset::Tracks, event, &names).await.unwrap().len(), 2_500);
    }

    async fn pages_hold_each_record_once_and_none_that_is_gone(database: TestDatabase) {
        let (event_id, other) = (event(&database, "41").await, event(&database, "42").await);
        for dataset in of_events() {
            let mut tx = database.begin().await.unwrap();
            let page = records::page(&mut tx, dataset, event_id, 0, 2).await.unwrap();
            assert_eq!((page.records, page.last), (Vec::new(), None), "{dataset}: nothing is there");

            // Other events' records lie in between.
            let mut ids = insert_blanks(&mut tx, dataset, event_id, &["1", "2"]).await;
            insert_blanks(&mut tx, dataset, other, &["1", "2", "3"]).await;
            ids.extend(insert_blanks(&mut tx, dataset, event_id, &["3", "4", "5"]).await);
            records::mark_gone(&mut tx, dataset, &writing_later(event_id), &ids[2..3]).await.unwrap();
            let expected = |indexes: &[usize]| -> Vec<(String, i64)> {
                indexes.iter().map(|index| ((index + 1).to_string(), ids[*index])).collect()
            };
            for (limit, pages) in [
                (1, &[&[0][..], &[1], &[3], &[4]][..]),
                (2, &[&[0, 1], &[3, 4]]),
                (3, &[&[0, 1, 3], &[4]]),
                (4, &[&[0, 1, 3, 4]]),
                (5, &[&[0, 1, 3, 4]]),
            ] {
                let mut last = 0;
                for indexes in pages {
                    let mut page = records::page(&mut tx, dataset, event_id, last, limit).await.unwrap();
                    page.records.sort_by_key(|(_, id)| *id);
                    assert_eq!(page.records, expected(indexes), "{dataset}, {limit} a page");
                    last = page.last.expect("the page holds something");
                    assert_eq!(Some(&last), indexes.last().map(|index| &ids[*index]), "{dataset}, {limit} a page");
                }
                let page = records::page(&mut tx, dataset, event_id, last, limit).await.unwrap();
                assert_eq!((page.records, page.last), (Vec::new(), None), "{dataset}, {limit} a page");
            }
        }
    }

    async fn records_go_and_come_back_and_nothing_else_of_them_changes(database: TestDatabase) {
        let event = event(&database, "41").await;
        for dataset in of_events() {
            let table = dataset.definition().table;
            let mut tx = database.begin().await.unwrap();
            let first = records::take_ids(&mut tx, table, 3).await.unwrap();
            let all: Vec<NewRecord> = (first..).zip(0..3).map(|(id, turn)| odd_record(dataset, id, turn)).collect();
            records::insert(&mut tx, dataset, &writing(event), all.clone().into_iter()).await.unwrap();
            records::mark_gone(&mut tx, dataset, &writing_later(event), &[]).await.unwrap();
            records::mark_gone(&mut tx, dataset, &writing_later(event), &[first, first + 2]).await.unwrap();
            tx.commit().await.unwrap();
            let gone: Vec<Timestamp> =
                column(&database, &format!("SELECT gone_at FROM {table} WHERE gone_at IS NOT NULL")).await;
            assert_eq!(gone, [after(60), after(60)], "{dataset}");
            let by = format!("{table} WHERE gone_at IS NOT NULL AND job_id = '{}'", job(2));
            assert_eq!(count(&database, &by).await, 2, "{dataset}");

            let back = records::Writing { now: after(120), ..writing_later(event) };
            let mut tx = database.begin().await.unwrap();
            records::bring_back(&mut tx, dataset, &back, first).await.unwrap();
            for record in &all {
                let read = records::read(&mut tx, dataset, record.id).await.unwrap();
                assert_eq!(read, as_written(record), "{dataset}");
                let existing = records::existing(&mut tx, dataset, event, &[&record.source_id]).await.unwrap();
                assert_eq!(existing[&record.source_id].content_hash, record.content_hash, "{dataset}");
                assert_eq!(existing[&record.source_id].is_gone, record.id == first + 2, "{dataset}");
            }
            // A record that is written anew is back as well.
            let again = odd_record(dataset, first + 2, 2);
            records::update(&mut tx, dataset, &back, again).await.unwrap();
            tx.commit().await.unwrap();
            assert_eq!(count(&database, &format!("{table} WHERE gone_at IS NULL")).await, 3, "{dataset}");
            let times: Vec<Timestamp> =
                column(&database, &format!("SELECT updated_at FROM {table} WHERE event_id = {event} ORDER BY id")).await;
            assert_eq!(times, [after(120), start(), after(120)], "{dataset}");
        }
    }

    async fn what_a_transaction_took_back_was_never_written(database: TestDatabase) {
        let event = event(&database, "41").await;
        let mut tx = database.begin().await.unwrap();
        let ids = insert_blanks(&mut tx, Dataset::Tracks, event, &["1"]).await;
        tx.commit().await.unwrap();

        let mut tx = database.begin().await.unwrap();
        insert_blanks(&mut tx, Dataset::Tracks, event, &["2", "3"]).await;
        records::mark_gone(&mut tx, Dataset::Tracks, &writing_later(event), &ids).await.unwrap();
        let changed = with(Dataset::Tracks, blank(Dataset::Tracks, ids[0], "1"), "name", "Ropes");
        records::update(&mut tx, Dataset::Tracks, &writing_later(event), changed).await.unwrap();
        tx.rollback().await.unwrap();

        let mut tx = database.begin().await.unwrap();
        let found = records::existing(&mut tx, Dataset::Tracks, event, &["1", "2", "3"]).await.unwrap();
        assert_eq!(found, HashMap::from([("1".to_owned(), known(ids[0], false))]));
        let (cells, _) = records::read(&mut tx, Dataset::Tracks, ids[0]).await.unwrap();
        assert_eq!(cells[index_of(Dataset::Tracks, "name")], Arg::Text(None));
    }

    async fn the_columns_of_the_catalogue_are_those_of_the_tables(database: TestDatabase) {
        for dataset in Dataset::ALL {
            let names: Vec<String> = records::field_columns(dataset).into_iter().map(|column: Column| column.name).collect();
            let sql = format!("{} WHERE 1 = 0", dataset.definition().table);
            for name in &names {
                count(&database, &format!("(SELECT {name} FROM {sql}) AS one")).await;
            }
            let mut once = names.clone();
            once.sort();
            once.dedup();
            assert_eq!(once.len(), names.len(), "{dataset}");
        }
    }
}
