//! Events: told apart, listed, owned, and which bytes went into them last.

use eventferry::db::{Arg, Backend, Database, Sql};
use eventferry::model::{Dataset, JobId};
use eventferry::store::events::{self, EventRow, SameBytes};
use eventferry::store::records::{self, NewRecord};

use super::{
    after, blank, column, count, event, imported, insert_blanks, insert_event, job, of_events, start, with, writing,
};
use crate::support::databases::on_both_databases;

const ROOT: &str = "https://events.example.org";

/// Writes an event; gives its id.
async fn event_of(database: &Database, account: &str, root: &str, source_id: &str, identifier: Option<&str>) -> i64 {
    let mut tx = database.begin().await.unwrap();
    let id = records::take_ids(&mut tx, "events", 1).await.unwrap();
    let record = with(Dataset::Event, blank(Dataset::Event, id, source_id), "identifier", identifier);
    records::insert_event(&mut tx, account, root, job(1), start(), record).await.unwrap();
    tx.commit().await.unwrap();
    id
}

async fn candidates(database: &Database, root: &str, source_id: &str, identifier: Option<&str>) -> Vec<i64> {
    let found = events::candidates(database, "harbour", root, source_id, identifier).await.unwrap();
    let mut tx = database.begin().await.unwrap();
    let locked = events::candidates_locked(&mut tx, "harbour", root, source_id, identifier).await.unwrap();
    assert_eq!(found, locked);
    found.into_iter().map(|row| row.id).collect()
}

async fn remember(database: &Database, account: &str, event_id: i64, sha256: &str, number: u128, seconds: i64) {
    let mut tx = database.begin().await.unwrap();
    events::settle_bytes(&mut tx, &imported(account, event_id, sha256, number), after(seconds)).await.unwrap();
    tx.commit().await.unwrap();
}

async fn last(database: &Database, account: &str, sha256: &str) -> Vec<(i64, Option<JobId>)> {
    let found = events::with_last_bytes(database, account, sha256).await.unwrap();
    found.into_iter().map(|same| (same.event_id, same.job)).collect()
}

on_both_databases! {
    async fn an_event_is_read_with_what_tells_it_from_others(database: TestDatabase) {
        let mut tx = database.begin().await.unwrap();
        let id = records::take_ids(&mut tx, "events", 1).await.unwrap();
        let mut record: NewRecord = blank(Dataset::Event, id, "41");
        for (name, value) in [
            ("identifier", Arg::from("h4rb0ur1")),
            ("name", Arg::from("Harbour \"Days\" 🛶")),
            ("starts_at", Arg::from(start())),
            ("timezone", Arg::from("Europe/Riga")),
        ] {
            record = with(Dataset::Event, record, name, value);
        }
        records::insert_event(&mut tx, "harbour", ROOT, job(1), start(), record).await.unwrap();
        let other = insert_event(&mut tx, "42").await;
        tx.commit().await.unwrap();
        let expected = EventRow {
            id,
            account: "harbour".to_owned(),
            root_url: ROOT.to_owned(),
            source_id: "41".to_owned(),
            identifier: Some("h4rb0ur1".to_owned()),
            name: Some("Harbour \"Days\" 🛶".to_owned()),
            starts_at: Some(start()),
            timezone: Some("Europe/Riga".to_owned()),
            content_hash: format!("hash of {id}"),
        };
        let blank_one = EventRow {
            id: other,
            source_id: "42".to_owned(),
            identifier: None,
            name: None,
            starts_at: None,
            timezone: None,
            content_hash: format!("hash of {other}"),
            ..expected.clone()
        };
        assert_eq!(events::get(&database, id).await.unwrap(), Some(expected));
        assert_eq!(events::get(&database, other).await.unwrap(), Some(blank_one));
        assert_eq!(events::get(&database, 77).await.unwrap(), None);
    }

    async fn candidates_share_account_and_server_and_the_id_or_the_identifier(database: TestDatabase) {
        let by_both = event_of(&database, "harbour", ROOT, "41", Some("abc")).await;
        let by_id = event_of(&database, "harbour", ROOT, "41", None).await;
        let by_identifier = event_of(&database, "harbour", ROOT, "7", Some("abc")).await;
        let nowhere = event_of(&database, "harbour", "", "41", Some("abc")).await;
        event_of(&database, "berlin", ROOT, "41", Some("abc")).await;
        event_of(&database, "harbour", ROOT, "8", Some("xyz")).await;
        event_of(&database, "harbour", ROOT, "9", None).await;

        assert_eq!(candidates(&database, ROOT, "41", Some("abc")).await, [by_both, by_id, by_identifier]);
        assert_eq!(candidates(&database, ROOT, "41", None).await, [by_both, by_id]);
        assert_eq!(candidates(&database, ROOT, "1", Some("abc")).await, [by_both, by_identifier]);
        assert_eq!(candidates(&database, ROOT, "1", None).await, [0; 0], "no identifier is not the same one");
        assert_eq!(candidates(&database, "", "41", None).await, [nowhere]);
        assert_eq!(candidates(&database, "https://EVENTS.example.org", "41", Some("abc")).await, [0; 0]);
        assert_eq!(candidates(&database, ROOT, "' OR 1 = 1 --", Some("%")).await, [0; 0]);
    }

    async fn who_asks_with_the_lock_sees_the_event_that_another_was_adding(database: TestDatabase) {
        let of_second = database.open_again().await;
        let mut first = database.begin().await.unwrap();
        let none = events::candidates_locked(&mut first, "harbour", ROOT, "41", None).await.unwrap();
        assert_eq!(none, []);

        let second = tokio::spawn(async move {
            let mut tx = of_second.begin().await.unwrap();
            let found = events::candidates_locked(&mut tx, "harbour", ROOT, "41", None).await.unwrap();
            tx.rollback().await.unwrap();
            of_second.close().await;
            found.len()
        });
        if database.backend() == Backend::Postgres {
            let waiting = Sql::same(
                "look who waits",
                "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND database = \
                 (SELECT oid FROM pg_database WHERE datname = current_database())",
            );
            while database.fetch_all(&waiting, &[]).await.unwrap()[0].get::<i64>(0).unwrap() == 0 {
                assert!(!second.is_finished(), "it does not wait");
                tokio::task::yield_now().await;
            }
            // Another account's imports go on.
            let mut third = database.begin().await.unwrap();
            events::candidates_locked(&mut third, "berlin", ROOT, "41", None).await.unwrap();
        }
        assert!(!second.is_finished());
        insert_event(&mut first, "41").await;
        first.commit().await.unwrap();
        assert_eq!(second.await.unwrap(), 1);
    }

    async fn events_are_listed_in_pages_of_one_account_or_all(database: TestDatabase) {
        let mut ids = Vec::new();
        for (account, source_id) in [("harbour", "1"), ("berlin", "2"), ("harbour", "3"), ("harbour", "4")] {
            ids.push(event_of(&database, account, ROOT, source_id, None).await);
        }
        let list = async |account: Option<&str>, after: i64, limit: i64| -> Vec<i64> {
            let rows = events::list(&database, account, after, limit).await.unwrap();
            rows.into_iter().map(|row| row.id).collect()
        };
        assert_eq!(list(None, 0, 10).await, ids);
        assert_eq!(list(None, 0, 4).await, ids);
        assert_eq!(list(None, 0, 3).await, ids[..3]);
        assert_eq!(list(None, ids[2], 3).await, ids[3..]);
        assert_eq!(list(None, ids[3], 3).await, [0; 0]);
        assert_eq!(list(Some("harbour"), 0, 2).await, [ids[0], ids[2]]);
        assert_eq!(list(Some("harbour"), ids[2], 2).await, [ids[3]]);
        assert_eq!(list(Some("berlin"), 0, 2).await, [ids[1]]);
        assert_eq!(list(Some("nobody"), 0, 2).await, [0; 0]);
        assert_eq!(list(Some(""), 0, 2).await, [0; 0], "an empty name is not every name");
    }

    async fn the_bytes_that_went_in_last_are_known_by_account_and_event(database: TestDatabase) {
        let (one, two) = (event(&database, "41").await, event(&database, "42").await);
        assert_eq!(last(&database, "harbour", "a1").await, []);
        remember(&database, "harbour", one, "a1", 1, 0).await;
        remember(&database, "harbour", two, "a1", 2, 10).await;
        remember(&database, "berlin", one, "a1", 3, 20).await;
        assert_eq!(last(&database, "harbour", "a1").await, [(two, Some(job(2))), (one, Some(job(1)))], "the latest first");
        assert_eq!(last(&database, "berlin", "a1").await, [(one, Some(job(3)))]);

        // Other bytes into the same event: the way back to the first is no repetition.
        remember(&database, "harbour", two, "b2", 4, 30).await;
        assert_eq!(last(&database, "harbour", "a1").await, [(one, Some(job(1)))]);
        assert_eq!(last(&database, "harbour", "b2").await, [(two, Some(job(4)))]);
        remember(&database, "harbour", two, "a1", 5, 40).await;
        assert_eq!(last(&database, "harbour", "a1").await, [(two, Some(job(5))), (one, Some(job(1)))]);
        assert_eq!(last(&database, "harbour", "b2").await, []);
        assert_eq!(last(&database, "harbour", "A1").await, []);
        assert_eq!(count(&database, "import_hashes").await, 3);
    }

    async fn the_same_bytes_are_told_with_the_events_name(database: TestDatabase) {
        let mut tx = database.begin().await.unwrap();
        let id = records::take_ids(&mut tx, "events", 1).await.unwrap();
        let record = with(Dataset::Event, blank(Dataset::Event, id, "41"), "name", "Harbour Days");
        records::insert_event(&mut tx, "harbour", ROOT, job(1), start(), record).await.unwrap();
        let nameless = insert_event(&mut tx, "42").await;
        tx.commit().await.unwrap();
        remember(&database, "harbour", id, "a1", 1, 0).await;
        remember(&database, "harbour", nameless, "b2", 1, 0).await;
        let same = |event_id, event_name: Option<&str>| {
            SameBytes { event_id, event_name: event_name.map(str::to_owned), job: Some(job(1)) }
        };
        let found = events::with_last_bytes(&database, "harbour", "a1").await.unwrap();
        assert_eq!(found, [same(id, Some("Harbour Days"))]);
        let found = events::with_last_bytes(&database, "harbour", "b2").await.unwrap();
        assert_eq!(found, [same(nameless, None)]);
    }

    async fn an_account_becomes_a_user_once_and_owns_each_event_once(database: TestDatabase) {
        let (one, two) = (event(&database, "41").await, event(&database, "42").await);
        assert_eq!(events::owners(&database, one).await.unwrap(), [""; 0]);
        for (event_id, account, email, name) in [
            (one, "harbour", Some("crew@example.org"), Some("The crew")),
            (one, "harbour", Some("other@example.org"), None),
            (two, "harbour", None, None),
            (one, "berlin", None, Some("")),
        ] {
            let mut tx = database.begin().await.unwrap();
            events::add_owner(&mut tx, event_id, account, email, name, start()).await.unwrap();
            tx.commit().await.unwrap();
        }
        assert_eq!(events::owners(&database, one).await.unwrap(), ["berlin", "harbour"]);
        assert_eq!(events::owners(&database, two).await.unwrap(), ["harbour"]);
        let users: Vec<String> = column(
            &database,
            "SELECT id || ' ' || account || ' ' || coalesce(email, '-') || ' ' || coalesce(name, '-') FROM users ORDER BY id",
        )
        .await;
        assert_eq!(users, ["1 harbour crew@example.org The crew", "2 berlin - "]);
        assert_eq!(count(&database, "event_roles WHERE role = 'owner'").await, 3);
        assert_eq!(count(&database, "event_roles").await, 3);
    }

    async fn records_are_counted_by_dataset_with_those_that_are_gone(database: TestDatabase) {
        let (event_id, other) = (event(&database, "41").await, event(&database, "42").await);
        let mut tx = database.begin().await.unwrap();
        let mut expected = Vec::new();
        let names = ["1", "2", "3", "4", "5", "6", "7", "8", "9"];
        for (index, dataset) in of_events().enumerate() {
            let ids = insert_blanks(&mut tx, dataset, event_id, &names[..index]).await;
            insert_blanks(&mut tx, dataset, other, &["1"]).await;
            records::mark_gone(&mut tx, dataset, &writing(event_id), &ids[..index / 2]).await.unwrap();
            expected.push((dataset, index as u64, index as u64 / 2));
        }
        tx.commit().await.unwrap();
        assert_eq!(events::record_counts(&database, event_id).await.unwrap(), expected);
        let nothing: Vec<(Dataset, u64, u64)> = of_events().map(|dataset| (dataset, 0, 0)).collect();
        assert_eq!(events::record_counts(&database, 77).await.unwrap(), nothing);
    }
}
