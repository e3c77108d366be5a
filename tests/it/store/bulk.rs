//! Writing many rows at once, at the borders of a statement and of its arrays.

use eventferry::db::DbErrorKind;
use eventferry::model::Dataset;
use eventferry::store::records::{self, NewRecord};

use super::{blank, column, count, event, insert_blanks, with, writing};
use crate::support::databases::on_both_databases;

/// Values that SQLite gets with one statement at most.
const VALUES_PER_STATEMENT: usize = 2_000;

/// Columns of `social_links`: its id, event and source id, two fields, and the six behind them.
const COLUMNS: usize = 11;

const ROWS: usize = VALUES_PER_STATEMENT / COLUMNS;

fn links(first: i64, count: usize) -> Vec<NewRecord> {
    let link = |id: i64| {
        let record = blank(Dataset::SocialLinks, id, &format!("link {id}"));
        with(Dataset::SocialLinks, record, "name", format!("Page {id}\n"))
    };
    (first..).take(count).map(link).collect()
}

on_both_databases! {
    async fn any_number_of_rows_goes_in_at_once(database: TestDatabase) {
        let event = event(&database, "41").await;
        let mut expected = Vec::new();
        for number in [0, 1, ROWS - 1, ROWS, ROWS + 1, 2 * ROWS, 2 * ROWS + 1] {
            let mut tx = database.begin().await.unwrap();
            let first = records::take_ids(&mut tx, "social_links", number as u64).await.unwrap();
            let rows = links(first, number);
            expected.extend(rows.iter().map(|row| format!("{}|link {}|Page {}\n|{event}", row.id, row.id, row.id)));
            records::insert(&mut tx, Dataset::SocialLinks, &writing(event), rows.into_iter()).await.unwrap();
            tx.commit().await.unwrap();
            let found: Vec<String> = column(
                &database,
                "SELECT id || '|' || source_id || '|' || name || '|' || event_id FROM social_links ORDER BY id",
            )
            .await;
            assert_eq!(found, expected, "{number} rows more");
        }
    }

    async fn pairs_go_in_at_the_border_of_a_statement_too(database: TestDatabase) {
        let event = event(&database, "41").await;
        let mut tx = database.begin().await.unwrap();
        let session = insert_blanks(&mut tx, Dataset::Sessions, event, &["1"]).await[0];
        let names: Vec<String> = (0..3_001).map(|number| number.to_string()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let speakers = insert_blanks(&mut tx, Dataset::Speakers, event, &names).await;
        let mut rest = speakers.as_slice();
        for number in [0, 1, 999, 1_000, 1_001] {
            let (some, others) = rest.split_at(number);
            rest = others;
            let pairs: Vec<(i64, i64)> = some.iter().map(|speaker| (session, *speaker)).collect();
            records::insert_links(&mut tx, &pairs).await.unwrap();
        }
        assert_eq!(rest, [0; 0]);
        tx.commit().await.unwrap();
        let linked: Vec<i64> = column(&database, "SELECT speaker_id FROM session_speakers ORDER BY speaker_id").await;
        assert_eq!(linked, speakers);
    }

    async fn one_value_may_be_longer_than_what_a_statement_takes(database: TestDatabase) {
        let event = event(&database, "41").await;
        let mut tx = database.begin().await.unwrap();
        let first = records::take_ids(&mut tx, "social_links", 3).await.unwrap();
        let long = "a\\\té🛶\n".repeat(30_000);
        let mut rows = links(first, 3);
        rows[1] = with(Dataset::SocialLinks, rows[1].clone(), "link", long.as_str());
        records::insert(&mut tx, Dataset::SocialLinks, &writing(event), rows.clone().into_iter()).await.unwrap();
        for row in rows {
            assert!(records::read(&mut tx, Dataset::SocialLinks, row.id).await.unwrap().0 == row.cells, "{}", row.id);
        }
    }

    async fn a_row_that_breaks_a_rule_leaves_none_of_them(database: TestDatabase) {
        let event = event(&database, "41").await;
        let mut tx = database.begin().await.unwrap();
        let first = records::take_ids(&mut tx, "social_links", 1_000).await.unwrap();
        records::insert(&mut tx, Dataset::SocialLinks, &writing(event), links(first, 1).into_iter()).await.unwrap();
        tx.commit().await.unwrap();

        // The last of each is wrong: alone, in the first statement, in the one after it.
        for number in [1, 2, ROWS, ROWS + 1, 2 * ROWS + 1] {
            for wrong in ["source id", "id", "event"] {
                let mut rows = links(first + 1, number);
                let mut into = writing(event);
                let last = rows.last_mut().unwrap();
                match wrong {
                    "source id" => last.source_id = format!("link {first}"),
                    "id" => last.id = first,
                    _ => into.event_id = 77,
                }
                let mut tx = database.begin().await.unwrap();
                let error = records::insert(&mut tx, Dataset::SocialLinks, &into, rows.into_iter()).await.unwrap_err();
                assert_eq!(error.kind(), DbErrorKind::Constraint, "{wrong} in {number}: {error}");
                assert!(error.to_string().contains("social_links"), "{error}");
                drop(tx);
                assert_eq!(count(&database, "social_links").await, 1, "{wrong} in {number}");
            }
        }

        // The connection is as good as before.
        let mut tx = database.begin().await.unwrap();
        records::insert(&mut tx, Dataset::SocialLinks, &writing(event), links(first + 1, 999).into_iter()).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(count(&database, "social_links").await, 1_000);
    }
}
