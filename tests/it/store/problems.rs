//! Problems of jobs.

use eventferry::db::DbErrorKind;
use eventferry::model::{Code, Problem};
use eventferry::store::problems;

use super::{count, insert_job, job};
use crate::support::databases::on_both_databases;

fn problem(number: usize) -> Problem {
    Problem::new(Code::DateInvalid, format!("`{number}` is no date"), "write 2026-09-21T09:00:00Z")
        .in_file("sessions")
        .at(number as u64)
}

fn problems_from(first: usize, count: usize) -> Vec<Problem> {
    (first..first + count).map(problem).collect()
}

on_both_databases! {
    async fn problems_come_back_as_they_went_in_their_order(database: TestDatabase) {
        insert_job(&database, 1).await;
        let odd = "a\\\t\"b\"\n'c'\r\u{1}\u{7f} 🛶 \\N \\.";
        let all: Vec<Problem> = Code::ALL
            .iter()
            .map(|code| Problem::new(*code, format!("{odd} {code}"), odd))
            .chain([
                Problem::new(Code::FieldRequired, "", ""),
                Problem::new(Code::FieldRequired, "m", "h").in_file("").at(0).of_record("").in_field("").with_value(""),
                Problem::new(Code::FieldRequired, "m", "h")
                    .in_file(odd)
                    .at(i64::MAX.unsigned_abs())
                    .of_record(odd)
                    .in_field(odd)
                    .with_value(odd),
            ])
            .collect();
        let mut tx = database.begin().await.unwrap();
        // The second half is written first: the numbers count.
        let (first, second) = all.split_at(all.len() / 2);
        problems::insert(&mut tx, job(1), first.len() as u64 + 1, second).await.unwrap();
        problems::insert(&mut tx, job(1), 1, first).await.unwrap();
        problems::insert(&mut tx, job(1), 1, &[]).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(problems::list(&database, job(1)).await.unwrap(), all);
        assert_eq!(problems::list(&database, job(2)).await.unwrap(), []);
    }

    async fn a_character_that_cannot_be_stored_is_shown_as_a_picture(database: TestDatabase) {
        insert_job(&database, 1).await;
        let given = Problem::new(Code::FieldRequired, "a\0b", "\0")
            .in_file("f\0")
            .of_record("r\0")
            .in_field("\0f")
            .with_value("v\0\0");
        let mut tx = database.begin().await.unwrap();
        problems::insert(&mut tx, job(1), 1, &[given]).await.unwrap();
        tx.commit().await.unwrap();
        let expected = Problem::new(Code::FieldRequired, "a␀b", "␀")
            .in_file("f␀")
            .of_record("r␀")
            .in_field("␀f")
            .with_value("v␀␀");
        assert_eq!(problems::list(&database, job(1)).await.unwrap(), [expected]);
    }

    async fn numbers_are_taken_once_and_only_for_jobs_that_are_there(database: TestDatabase) {
        insert_job(&database, 1).await;
        let mut tx = database.begin().await.unwrap();
        problems::insert(&mut tx, job(1), 3, &problems_from(3, 1)).await.unwrap();
        tx.commit().await.unwrap();
        for (of, first) in [(1, 1), (2, 1)] {
            let mut tx = database.begin().await.unwrap();
            let error = problems::insert(&mut tx, job(of), first, &problems_from(1, 3)).await.unwrap_err();
            assert_eq!(error.kind(), DbErrorKind::Constraint, "{error}");
            drop(tx);
            assert_eq!(count(&database, "problems").await, 1);
        }
    }

    async fn thousands_of_problems_take_the_place_of_those_before(database: TestDatabase) {
        insert_job(&database, 1).await;
        insert_job(&database, 2).await;
        let of_other = problems_from(1, 2);
        let mut tx = database.begin().await.unwrap();
        problems::insert(&mut tx, job(2), 1, &of_other).await.unwrap();
        tx.commit().await.unwrap();
        // A thousand go into one step; eleven columns, so 181 into one statement.
        for number in [1, 0, 181, 182, 1_000, 1_001, 2_500, 3] {
            let all = problems_from(number, number);
            let mut tx = database.begin().await.unwrap();
            problems::replace(&mut tx, job(1), &all).await.unwrap();
            tx.commit().await.unwrap();
            assert_eq!(problems::list(&database, job(1)).await.unwrap(), all, "{number}");
            let ones = format!("problems WHERE job_id = '{}' AND number BETWEEN 1 AND {number}", job(1));
            assert_eq!(count(&database, &ones).await, i64::try_from(number).unwrap(), "numbered from 1");
        }
        let mut tx = database.begin().await.unwrap();
        problems::replace(&mut tx, job(1), &problems_from(9, 9)).await.unwrap();
        tx.rollback().await.unwrap();
        assert_eq!(problems::list(&database, job(1)).await.unwrap(), problems_from(3, 3));

        let mut tx = database.begin().await.unwrap();
        problems::delete(&mut tx, job(1)).await.unwrap();
        problems::delete(&mut tx, job(3)).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(problems::list(&database, job(1)).await.unwrap(), []);
        assert_eq!(problems::list(&database, job(2)).await.unwrap(), of_other);
    }
}
