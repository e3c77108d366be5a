//! Messages to handlers, and the handlers themselves.

use std::collections::HashSet;

use eventferry::db::Database;
use eventferry::store::deliveries::{self, DeliveryState, NewDelivery, Replay, Told};
use eventferry::store::handlers::{self, Fence, HandlerState};
use uuid::Uuid;

use super::{after, job, start};
use crate::support::databases::on_both_databases;

fn message(number: u128, handler: &str, about: &str) -> NewDelivery {
    NewDelivery {
        message_id: Uuid::from_u128(number),
        handler: handler.to_owned(),
        kind: "eventferry.track.created.v1".to_owned(),
        subject: about.to_owned(),
        order_key: Some(about.to_owned()),
        closes_job: false,
        account: "harbour".to_owned(),
        job: job(1),
        event_id: Some(7),
        body: format!("{{\"number\":{number}}}"),
        data: None,
        put_aside: None,
        now: start(),
    }
}

async fn insert(database: &Database, messages: Vec<NewDelivery>) {
    let mut tx = database.begin().await.unwrap();
    deliveries::insert(&mut tx, messages).await.unwrap();
    tx.commit().await.unwrap();
}

/// The numbers in the bodies of what is due after so many seconds.
async fn due(database: &Database, seconds: i64, limit: i64) -> Vec<i64> {
    let found = deliveries::due(database, "tickets", after(seconds), after(1_000_000), limit).await.unwrap();
    found
        .iter()
        .map(|one| serde_json::from_str::<serde_json::Value>(&one.body).unwrap()["number"].as_i64().unwrap())
        .collect()
}

macro_rules! in_tx {
    ($database:expr, $tx:ident, $what:expr) => {{
        let mut $tx = $database.begin().await.unwrap();
        let done = $what.await.unwrap();
        $tx.commit().await.unwrap();
        done
    }};
}

on_both_databases! {
    async fn of_each_record_the_oldest_message_is_due_and_the_end_of_a_job_comes_last(database: TestDatabase) {
        let end = NewDelivery { closes_job: true, ..message(9, "tickets", "jobs/1") };
        let unordered = NewDelivery { order_key: None, ..message(5, "tickets", "a") };
        insert(&database, vec![
            message(1, "tickets", "a"), message(2, "tickets", "a"), message(3, "tickets", "b"), message(4, "other", "a"),
            unordered, end,
        ]).await;
        assert_eq!(due(&database, 0, 10).await, [1, 3, 5]);
        assert_eq!(due(&database, 0, 2).await, [1, 3]);
        assert_eq!(due(&database, -1, 10).await, [0_i64; 0], "not before they are written");
        in_tx!(database, tx, deliveries::mark_delivered(&mut tx, &[1, 3, 5], after(1)));
        assert_eq!(due(&database, 1, 10).await, [2]);
        in_tx!(database, tx, deliveries::mark_dead(&mut tx, 2, 1, after(2), "given up"));
        assert_eq!(due(&database, 2, 10).await, [9]);
        in_tx!(database, tx, deliveries::mark_delivered(&mut tx, &[6], after(3)));
        assert_eq!(deliveries::next_due(&database, "tickets").await.unwrap(), None);
        assert_eq!(deliveries::next_due(&database, "other").await.unwrap(), Some(start()));
        assert_eq!(deliveries::backlog(&database, job(1)).await.unwrap(), [("other".to_owned(), 1)]);
        let counts = deliveries::counts(&database).await.unwrap();
        assert_eq!(counts, [
            ("other".to_owned(), DeliveryState::Pending, 1),
            ("tickets".to_owned(), DeliveryState::Dead, 1),
            ("tickets".to_owned(), DeliveryState::Delivered, 4),
        ]);
        assert_eq!(deliveries::counts_of_job(&database, job(1)).await.unwrap(), counts);
        assert_eq!(deliveries::counts_of_job(&database, job(2)).await.unwrap(), []);
    }

    async fn what_is_put_off_comes_at_its_time_or_when_the_clock_was_set_back_or_when_it_is_hurried(database: TestDatabase) {
        insert(&database, vec![message(1, "tickets", "a"), message(2, "tickets", "b"), message(3, "tickets", "c")]).await;
        in_tx!(database, tx, deliveries::mark_later(&mut tx, 1, after(100), "500"));
        in_tx!(database, tx, deliveries::put_off(&mut tx, 2, after(50), "429", after(1)));
        assert_eq!(due(&database, 10, 10).await, [3]);
        assert_eq!(due(&database, 50, 10).await, [3, 2], "the longest due first");
        let far_ahead = deliveries::due(&database, "tickets", after(1), after(60), 10).await.unwrap();
        assert_eq!(far_ahead.len(), 2, "nothing is ever put off that far");
        let (view, content) = deliveries::get(&database, &Uuid::from_u128(1).to_string()).await.unwrap().unwrap();
        assert_eq!((view.attempts, view.last_error.as_deref(), view.next_attempt_at), (1, Some("500"), after(100)));
        assert_eq!((content.body.as_str(), content.data), ("{\"number\":1}", None));
        assert_eq!(in_tx!(database, tx, deliveries::hurry(&mut tx, "tickets", after(20))), 2);
        assert_eq!(due(&database, 20, 10).await, [3, 1, 2]);
        assert_eq!(deliveries::get(&database, "no such id").await.unwrap(), None);
    }

    async fn a_receiver_that_is_back_is_tried_at_once_but_each_message_only_the_first_time(database: TestDatabase) {
        insert(&database, vec![message(1, "tickets", "a"), message(2, "tickets", "b"), message(3, "other", "a")]).await;
        in_tx!(database, tx, deliveries::mark_later(&mut tx, 1, after(100), "500"));
        in_tx!(database, tx, deliveries::mark_later(&mut tx, 3, after(100), "500"));
        assert_eq!(in_tx!(database, tx, deliveries::hurry_once(&mut tx, "tickets", after(10))), 1);
        in_tx!(database, tx, deliveries::mark_later(&mut tx, 1, after(200), "500"));
        in_tx!(database, tx, deliveries::put_off(&mut tx, 2, after(200), "503", after(11)));
        assert_eq!(in_tx!(database, tx, deliveries::hurry_once(&mut tx, "tickets", after(20))), 1, "the second only");
        assert_eq!(due(&database, 20, 10).await, [2]);
        in_tx!(database, tx, deliveries::put_off(&mut tx, 2, after(30), "503", after(21)));
        let due = deliveries::due(&database, "tickets", after(30), after(900), 10).await.unwrap();
        assert_eq!(due[0].put_off_since, Some(after(11)), "since the first time");
        in_tx!(database, tx, deliveries::mark_dead(&mut tx, 2, 0, after(31), "no"));
        assert!(deliveries::replay_one(&database, &Uuid::from_u128(2).to_string(), after(32)).await.unwrap());
        let due = deliveries::due(&database, "tickets", after(32), after(900), 10).await.unwrap();
        assert_eq!(due[0].put_off_since, None);
    }

    async fn what_was_settled_is_sent_again_as_far_as_it_is_wanted(database: TestDatabase) {
        let late = |number, seconds| NewDelivery { now: after(seconds), ..message(number, "tickets", &number.to_string()) };
        insert(&database, vec![late(1, 0), late(2, 10), late(3, 20), late(4, 30)]).await;
        in_tx!(database, tx, deliveries::mark_delivered(&mut tx, &[4], after(40)));
        assert_eq!(in_tx!(database, tx, deliveries::put_all_aside(&mut tx, "tickets", &[1, 9], after(41), "switched off")), 2);
        assert_eq!(due(&database, 99, 10).await, [1]);
        assert_eq!(in_tx!(database, tx, deliveries::put_all_aside(&mut tx, "tickets", &[], after(41), "switched off")), 1);
        assert_eq!(due(&database, 99, 10).await, [0_i64; 0]);
        let replay = |since, until, with_delivered| Replay { handler: "tickets".to_owned(), since, until, with_delivered };
        let sent = deliveries::replay(&database, &replay(Some(after(10)), Some(after(20)), true), after(50)).await.unwrap();
        assert_eq!((sent, due(&database, 99, 10).await), (1, vec![2]));
        assert_eq!(deliveries::replay(&database, &replay(None, None, false), after(51)).await.unwrap(), 2);
        assert_eq!(deliveries::replay(&database, &replay(Some(after(25)), None, true), after(52)).await.unwrap(), 1);
        assert_eq!(due(&database, 99, 10).await, [2, 1, 3, 4]);
        let first = Uuid::from_u128(1).to_string();
        assert!(!deliveries::replay_one(&database, &first, after(53)).await.unwrap(), "it is on its way");
        in_tx!(database, tx, deliveries::mark_dead(&mut tx, 1, 1, after(54), "no"));
        assert!(deliveries::replay_one(&database, &first, after(55)).await.unwrap());
        let (view, _) = deliveries::get(&database, &first).await.unwrap().unwrap();
        assert_eq!((view.state, view.attempts, view.finished_at), (DeliveryState::Pending, 0, None));
    }

    async fn only_what_nobody_can_have_seen_is_taken_back(database: TestDatabase) {
        let aside = NewDelivery { put_aside: Some("the handler was off".to_owned()), ..message(4, "tickets", "d") };
        let of_another = NewDelivery { job: job(2), ..message(5, "tickets", "e") };
        let about = [message(1, "tickets", "a"), message(2, "tickets", "b"), message(3, "tickets", "c"), aside, of_another];
        insert(&database, about.to_vec()).await;
        in_tx!(database, tx, deliveries::mark_taken(&mut tx, &[2]));
        let again = in_tx!(database, tx, deliveries::mark_taken(&mut tx, &[2, 9]));
        assert_eq!(again, HashSet::from([2]), "what is not there is not sent");
        let numbers = |told: Vec<Told>| told.into_iter().map(|one| one.content.body).collect::<Vec<_>>();
        let told = in_tx!(database, tx, deliveries::retract(&mut tx, job(1), 0, 2));
        assert_eq!(numbers(told), ["{\"number\":2}"]);
        assert_eq!(due(&database, 0, 10).await, [2, 3, 5], "no further than was asked for");
        let told = in_tx!(database, tx, deliveries::retract(&mut tx, job(1), 2, 5));
        assert_eq!(numbers(told), ["{\"number\":4}"], "it may be sent again");
        assert_eq!(due(&database, 0, 10).await, [2, 5]);
    }

    async fn messages_are_taken_back_so_many_and_so_many_bytes_at_a_time(database: TestDatabase) {
        let sized = |number, body: &str, data: Option<&str>| NewDelivery {
            body: body.to_owned(), data: data.map(str::to_owned), ..message(number, "tickets", "a")
        };
        insert(&database, vec![
            sized(1, "12345", None), sized(2, "öö", Some("123456")), sized(3, "1", Some("a long one")), sized(4, "1", None),
        ]).await;
        let mut tx = database.begin().await.unwrap();
        for (after, last, limit, bytes, expected) in [
            (0, 4, 9, 999, Some(4)),
            (0, 3, 9, 999, Some(3)),
            (1, 4, 2, 999, Some(3)),
            (4, 4, 9, 999, None),
            (0, 4, 9, 15, Some(2)),
            (0, 4, 9, 14, Some(1)),
            (2, 4, 9, 5, Some(3)),
            (2, 4, 9, 12, Some(4)),
        ] {
            let upto = deliveries::some_of_job(&mut tx, job(1), after, last, limit, bytes).await.unwrap();
            assert_eq!(upto, expected, "after {after}, up to {last}, {limit} of {bytes} bytes");
        }
        assert_eq!(deliveries::some_of_job(&mut tx, job(2), 0, 4, 9, 999).await.unwrap(), None);
    }

    async fn old_ones_are_forgotten_and_undelivered_ones_are_not(database: TestDatabase) {
        let aside = NewDelivery { put_aside: Some("the handler was off".to_owned()), ..message(3, "tickets", "c") };
        insert(&database, vec![message(1, "tickets", "a"), message(2, "tickets", "b"), aside]).await;
        in_tx!(database, tx, deliveries::mark_delivered(&mut tx, &[1], after(100)));
        assert_eq!(deliveries::forget(&database, "tickets", after(100), 10).await.unwrap(), 1, "the one that was put aside");
        assert_eq!(deliveries::forget(&database, "other", after(900), 10).await.unwrap(), 0);
        assert_eq!(deliveries::forget(&database, "tickets", after(101), 10).await.unwrap(), 1);
        assert_eq!(due(&database, 0, 10).await, [2]);
        let listed = deliveries::list(&database, "tickets", DeliveryState::Pending, 9).await.unwrap();
        assert_eq!(listed.iter().map(|one| one.id).collect::<Vec<_>>(), [2]);
    }

    async fn a_handler_is_served_by_one_process_at_a_time(database: TestDatabase) {
        handlers::begin(&database, "tickets", start()).await.unwrap();
        handlers::begin(&database, "tickets", after(9)).await.unwrap();
        let row = handlers::get(&database, "tickets").await.unwrap().unwrap();
        assert_eq!((row.state, row.state_since, row.epoch, row.owner), (HandlerState::On, start(), 0, None));
        assert_eq!(handlers::take(&database, "tickets", "one", 0).await.unwrap(), Some(1));
        assert_eq!(handlers::take(&database, "tickets", "late", 0).await.unwrap(), None, "somebody was faster");
        assert_eq!(handlers::take(&database, "tickets", "two", 1).await.unwrap(), Some(2));
        let fence = |owner: &str, epoch| Fence { handler: "tickets".to_owned(), owner: owner.to_owned(), epoch };
        assert!(!in_tx!(database, tx, handlers::beat(&mut tx, &fence("one", 1))));
        assert!(in_tx!(database, tx, handlers::beat(&mut tx, &fence("two", 2))));
        handlers::leave(&database, &fence("one", 1)).await.unwrap();
        assert_eq!(handlers::get(&database, "tickets").await.unwrap().unwrap().owner.as_deref(), Some("two"));
        handlers::leave(&database, &fence("two", 2)).await.unwrap();
        assert_eq!(handlers::get(&database, "tickets").await.unwrap().unwrap().owner, None);
        assert_eq!(handlers::get(&database, "nobody").await.unwrap(), None);
        assert_eq!(handlers::take(&database, "nobody", "one", 0).await.unwrap(), None);
    }

    async fn it_is_remembered_how_a_handler_does(database: TestDatabase) {
        handlers::begin(&database, "tickets", start()).await.unwrap();
        in_tx!(database, tx, handlers::failed(&mut tx, "tickets", 2, "no answer", after(10)));
        in_tx!(database, tx, handlers::failed(&mut tx, "tickets", 1, "500", after(20)));
        in_tx!(database, tx, handlers::rest(&mut tx, "tickets", after(500), "429"));
        let row = handlers::all(&database).await.unwrap().remove(0);
        assert_eq!((row.failing_since, row.failures, row.last_error.as_deref()), (Some(after(10)), 3, Some("500")));
        assert_eq!((row.rest_until, row.rest_reason.as_deref()), (Some(after(500)), Some("429")));
        in_tx!(database, tx, handlers::wake(&mut tx, "tickets"));
        assert_eq!(handlers::get(&database, "tickets").await.unwrap().unwrap().rest_until, None);
        in_tx!(database, tx, handlers::went_well(&mut tx, "tickets", after(30)));
        let row = handlers::get(&database, "tickets").await.unwrap().unwrap();
        assert_eq!((row.failing_since, row.failures, row.last_delivered_at), (None, 0, Some(after(30))));
        assert!(in_tx!(database, tx, handlers::set_state(&mut tx, "tickets", HandlerState::Paused, Some("by hand"), after(40))));
        assert!(!in_tx!(database, tx, handlers::set_state(&mut tx, "tickets", HandlerState::Paused, None, after(50))));
        let row = handlers::get(&database, "tickets").await.unwrap().unwrap();
        assert_eq!((row.state, row.state_reason.as_deref(), row.state_since), (HandlerState::Paused, Some("by hand"), after(40)));
    }
}
