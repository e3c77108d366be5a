//! Schedules, their slots, and what is remembered of failures.

use eventferry::db::Database;
use eventferry::store::schedules::{self, ScheduleRow};

use super::{after, job, start};
use crate::support::databases::on_both_databases;

async fn hold(database: &Database, name: &str, expression: &str, seconds: i64) -> ScheduleRow {
    let mut tx = database.begin().await.unwrap();
    let row = schedules::hold(&mut tx, name, expression, after(seconds)).await.unwrap();
    tx.commit().await.unwrap();
    row
}

on_both_databases! {
    async fn a_new_schedule_counts_from_when_it_is_first_seen(database: TestDatabase) {
        let first = hold(&database, "nightly", "UTC 0 3 * * *", 0).await;
        let expected = ScheduleRow {
            name: "nightly".to_owned(),
            expression: "UTC 0 3 * * *".to_owned(),
            looked_until: start(),
            dropped: 0,
            failures: 0,
            failing_since: None,
            last_error: None,
        };
        assert_eq!(first, expected);
        // Seen again, even with another expression, it is as it was.
        assert_eq!(hold(&database, "nightly", "UTC 0 4 * * *", 60).await, expected);
        hold(&database, "hourly", "UTC 0 * * * *", 60).await;
        let names: Vec<String> = schedules::all(&database).await.unwrap().into_iter().map(|row| row.name).collect();
        assert_eq!(names, ["hourly", "nightly"]);
    }

    async fn looking_and_changing_are_remembered(database: TestDatabase) {
        hold(&database, "nightly", "UTC 0 3 * * *", 0).await;
        let mut tx = database.begin().await.unwrap();
        schedules::looked(&mut tx, "nightly", after(10), 2).await.unwrap();
        schedules::looked(&mut tx, "nightly", after(20), 1).await.unwrap();
        tx.commit().await.unwrap();
        let row = hold(&database, "nightly", "", 99).await;
        assert_eq!((row.looked_until, row.dropped), (after(20), 3));
        let mut tx = database.begin().await.unwrap();
        schedules::change(&mut tx, "nightly", "UTC 0 4 * * *", after(30)).await.unwrap();
        tx.commit().await.unwrap();
        let row = hold(&database, "nightly", "", 99).await;
        assert_eq!((row.expression.as_str(), row.looked_until, row.dropped), ("UTC 0 4 * * *", after(30), 3));
    }

    async fn a_slot_is_taken_once(database: TestDatabase) {
        let mut tx = database.begin().await.unwrap();
        assert!(schedules::take_slot(&mut tx, "nightly", after(1), job(1)).await.unwrap());
        assert!(!schedules::take_slot(&mut tx, "nightly", after(1), job(2)).await.unwrap());
        assert!(schedules::take_slot(&mut tx, "nightly", after(2), job(3)).await.unwrap());
        assert!(schedules::take_slot(&mut tx, "hourly", after(1), job(4)).await.unwrap());
        tx.commit().await.unwrap();
        assert_eq!(schedules::slots(&database, "nightly", 5).await.unwrap(), [(after(2), job(3)), (after(1), job(1))]);
        assert_eq!(schedules::slots(&database, "nightly", 1).await.unwrap(), [(after(2), job(3))]);
        let mut tx = database.begin().await.unwrap();
        assert!(schedules::take_slot(&mut tx, "hourly", after(9), job(5)).await.unwrap());
        tx.rollback().await.unwrap();
        assert_eq!(schedules::slots(&database, "hourly", 5).await.unwrap(), [(after(1), job(4))]);
    }

    async fn failures_are_counted_until_one_goes_well(database: TestDatabase) {
        hold(&database, "nightly", "", 0).await;
        let mut tx = database.begin().await.unwrap();
        assert_eq!(schedules::failed(&mut tx, "nightly", after(1), "disk").await.unwrap(), (1, after(1)));
        assert_eq!(schedules::failed(&mut tx, "nightly", after(2), "net").await.unwrap(), (2, after(1)));
        // A schedule that is no longer known is at its first failure.
        assert_eq!(schedules::failed(&mut tx, "gone", after(2), "net").await.unwrap(), (1, after(2)));
        tx.commit().await.unwrap();
        let row = hold(&database, "nightly", "", 9).await;
        assert_eq!((row.failures, row.failing_since, row.last_error.as_deref()), (2, Some(after(1)), Some("net")));
        let mut tx = database.begin().await.unwrap();
        schedules::went_well(&mut tx, "nightly").await.unwrap();
        tx.commit().await.unwrap();
        let row = hold(&database, "nightly", "", 9).await;
        assert_eq!((row.failures, row.failing_since, row.last_error), (0, None, None));
    }
}
