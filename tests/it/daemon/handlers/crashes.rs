//! Crashes lose no message and invent none; an event that is taken back is told to be gone.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use eventferry::model::JobState;
use eventferry::signal::FailPoint;
use eventferry::store::handlers;
use eventferry::store::jobs::{self, Cancellation};
use serde_json::{Value, json};

use super::super::archives::harbour;
use super::super::points::{Blow, strike};
use super::{about, deliveries, everything_created, told, tracks, waiting_line, webhook};
use crate::support::daemon::{Setup, TestDaemon, with_each_database};
use crate::support::receiver::HookReceiver;

/// How often each id was told, and what each is about.
fn by_id(messages: &[Value]) -> BTreeMap<String, (usize, String)> {
    let mut found = BTreeMap::new();
    for message in messages {
        let id = message["id"].as_str().unwrap().to_owned();
        found.entry(id).or_insert((0, about(message))).0 += 1;
    }
    found
}

async fn one_crash(setup: Setup, point: FailPoint, visit: u32, blow: Blow, tables: &[String]) {
    let receiver = HookReceiver::start();
    let mut daemon = told(setup, &webhook(&receiver, "")).set("import.chunk_records", "2").start().await;
    let begin = |daemon: &TestDaemon| daemon.drop_file("berlin", "harbour.zip", harbour().zip());
    strike(&mut daemon, blow, point, visit, begin).await;
    daemon.idle().await;
    assert_eq!(daemon.tables().await, tables, "{blow:?} at visit {visit} of {point:?}");
    let told = by_id(&receiver.messages());
    let records: Vec<String> = told.values().map(|(_, about)| about.clone()).collect();
    let expected = everything_created(&daemon).await;
    assert_eq!(records.iter().cloned().collect::<BTreeSet<_>>(), expected, "{blow:?} at visit {visit} of {point:?}");
    assert_eq!(records.len(), expected.len(), "one id for each: {blow:?} at visit {visit} of {point:?}");
    assert_eq!(deliveries(&daemon, "delivered").await, i64::try_from(expected.len()).unwrap());
    daemon.finish().await;
}

/// At each of `points`, and at those of an import that decide what is told.
pub(in crate::daemon) async fn each_point(points: &[FailPoint], setup: fn() -> Setup, blow: Blow) {
    let tables = undisturbed(setup()).await;
    let of_an_import = [
        FailPoint::Checked,
        FailPoint::ChunkBeforeCommit,
        FailPoint::ChunkAfterCommit,
        FailPoint::Frozen,
        FailPoint::FinalBeforeMove,
    ];
    for point in of_an_import.into_iter().chain(points.iter().copied()) {
        for visit in [1, 3] {
            let is_passed_once = matches!(point, FailPoint::Checked | FailPoint::Frozen | FailPoint::FinalBeforeMove);
            if visit == 1 || !is_passed_once {
                one_crash(setup(), point, visit, blow, &tables).await;
            }
        }
    }
}

/// What an import that handlers are told of leaves in the tables.
async fn undisturbed(setup: Setup) -> Vec<String> {
    let receiver = HookReceiver::start();
    let daemon = told(setup, &webhook(&receiver, "")).set("import.chunk_records", "2").start().await;
    daemon.import("berlin", "harbour.zip", harbour().zip()).await;
    let tables = daemon.tables().await;
    daemon.finish().await;
    tables
}

with_each_database! {
    async fn what_a_dead_daemon_has_served_goes_on_at_once_where_its_lock_shows_that_it_is_dead(setup: Setup) {
        let receiver = HookReceiver::start();
        let mut daemon = told(setup, &webhook(&receiver, ", concurrency = 1")).start().await;
        receiver.script(&[json!({"hang": true})]);
        daemon.drop_file("berlin", "harbour.zip", harbour().zip());
        while receiver.requests().is_empty() {
            daemon.clock.advance(Duration::from_millis(100));
            daemon.look().await;
        }
        let dead = handlers::get(&daemon.database, "tickets").await.unwrap().unwrap().owner;
        assert!(dead.is_some());
        daemon.die().await;
        receiver.release();
        daemon.start().await;
        daemon.look().await;
        assert_ne!(handlers::get(&daemon.database, "tickets").await.unwrap().unwrap().owner, dead, "no lease has to end");
        daemon.idle().await;
        daemon.finish().await;
    }
}

/// Has the import cancelled that waits for its handler.
async fn cancel(daemon: &TestDaemon, name: &str) {
    let job = daemon.job(name).await;
    assert_eq!(jobs::cancel(&daemon.database, job.id, daemon.clock.now()).await.unwrap(), Cancellation::Requested);
    while !daemon.job(name).await.state.is_final() {
        daemon.clock.advance(Duration::from_secs(1));
        daemon.look().await;
    }
    assert_eq!(daemon.job(name).await.state, JobState::Cancelled);
}

with_each_database! {
    async fn each_of_a_thousand_records_that_are_taken_back_is_told_to_be_gone(setup: Setup) {
        let receiver = HookReceiver::start();
        let more = ", max_pending = 10, concurrency = 1, order = \"none\", datasets = [\"tracks\"]";
        let daemon = told(setup, &webhook(&receiver, more)).set("import.chunk_records", "100").start().await;
        let mut script = vec![json!({}); 1_100];
        script.push(json!({"hang": true}));
        receiver.script(&script);
        daemon.drop_file("berlin", "rails.zip", tracks(1_300).zip());
        while receiver.requests().len() <= 1_100 {
            daemon.clock.advance(Duration::from_millis(100));
            daemon.look().await;
        }
        waiting_line(&daemon, "rails.zip", "undelivered").await;
        cancel(&daemon, "rails.zip").await;
        receiver.release();
        daemon.idle().await;
        let messages = receiver.messages();
        let of = |action: &str| -> BTreeSet<String> {
            let ids = messages.iter().filter(|one| one["data"]["action"] == action);
            ids.map(|one| one["data"]["source_id"].as_str().unwrap().to_owned()).collect()
        };
        assert!(of("created").len() > 1_100, "{}", of("created").len());
        assert_eq!(of("created"), of("gone"));
        daemon.finish().await;
    }
}

with_each_database! {
    async fn an_event_that_is_taken_back_is_told_to_be_gone_where_anybody_knows_of_it(setup: Setup) {
        let receiver = HookReceiver::start();
        let more = ", max_pending = 10, concurrency = 1, datasets = [\"tracks\"]";
        let daemon = told(setup, &webhook(&receiver, more)).set("import.chunk_records", "10").start().await;
        // Three are taken, then one hangs for ever; the import comes to its mark.
        receiver.script(&[json!({}), json!({}), json!({}), json!({"hang": true})]);
        daemon.drop_file("berlin", "rails.zip", tracks(100).zip());
        receiver.wait(4).await;
        waiting_line(&daemon, "rails.zip", "undelivered").await;
        cancel(&daemon, "rails.zip").await;
        receiver.release();
        daemon.idle().await;
        assert_eq!(daemon.count("tracks").await, 0);
        let messages = receiver.messages();
        let of = |action: &str| -> BTreeSet<String> {
            let ids = messages.iter().filter(|one| one["data"]["action"] == action);
            ids.map(|one| one["data"]["source_id"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(of("created"), of("gone"), "whoever knows of it is told");
        assert!((4..=30).contains(&of("created").len()), "{}", of("created").len());
        // For each record in this order.
        let mut last: BTreeMap<String, String> = BTreeMap::new();
        for message in &messages {
            let data = &message["data"];
            last.insert(data["source_id"].to_string(), data["action"].as_str().unwrap().to_owned());
        }
        assert!(last.values().all(|action| action == "gone"), "{last:?}");
        daemon.finish().await;
    }
}
