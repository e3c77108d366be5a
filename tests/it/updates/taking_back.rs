//! An event is taken back in steps that stay small, however much it holds, and others come in between.

use std::sync::Arc;

use eventferry::import::{self, RunEnd};
use eventferry::model::handler::Interest;
use eventferry::model::{Code, Dataset, JobState, Problem};
use eventferry::pace::{Audience, Turns};
use eventferry::signal::{FailPoint, Injection, Signals};
use eventferry::store::deliveries;
use serde_json::{Value, json};
use tokio::sync::{Mutex, watch};
use tokio_util::sync::CancellationToken;

use super::silence::tickets;
use super::stops::stop_after;
use crate::fixtures::archive::Archive;
use crate::fixtures::importing::Ferry;
use crate::support::databases::on_both_databases;

/// Chunks before those of the tracks: of the problems, of the event, of five datasets.
const CHUNKS_BEFORE_TRACKS: u32 = 7;

fn quarantined() -> Problem {
    Problem::new(Code::Quarantined, "the process died over it five times", "ask the admin")
}

/// Bytes in all messages.
async fn bytes_told(ferry: &Ferry) -> i64 {
    ferry.value("SELECT coalesce(sum(octet_length(body) + coalesce(octet_length(data), 0)), 0) FROM deliveries").await
}

on_both_databases! {
    async fn large_messages_are_taken_back_a_few_at_a_time_whatever_dies_in_between(database: TestDatabase) {
        let mut ferry = Ferry::on(database);
        ferry.account.with_handlers = true;
        let interest = Interest { datasets: Some(vec![Dataset::Tracks]), ..tickets() };
        ferry.audience = Audience::new(watch::channel(vec![interest].into()).1);
        let long: String = (0..200_000).map(|number| format!("{number} ")).collect();
        let tracks: Vec<_> =
            (1..=7).map(|id| json!({"id": id, "name": format!("Track {id}"), "description": long})).collect();
        // A chunk has room for one of them.
        let running = stop_after(&mut ferry, &Archive::flat().file("tracks", tracks), CHUNKS_BEFORE_TRACKS + 7).await;
        let ids: Vec<i64> = ferry.column("SELECT id FROM deliveries ORDER BY id").await;
        assert_eq!(ids.len(), 7);
        let mut tx = ferry.database.begin().await.unwrap();
        deliveries::mark_taken(&mut tx, &[ids[1], ids[6]]).await.unwrap();
        tx.commit().await.unwrap();

        let mut left = bytes_told(&ferry).await;
        let report = loop {
            ferry.signals = Signals::armed();
            ferry.signals.inject(FailPoint::TakingBackAfterCommit, 1, Injection::Die);
            let end = ferry.give_up(&running, quarantined()).await;
            let now = bytes_told(&ferry).await;
            assert!(left - now <= 4 * 1024 * 1024, "{} bytes at once", left - now);
            left = now;
            match end {
                RunEnd::LeaseLost => {}
                RunEnd::Outcome(report) => break report,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(ferry.end(&running, *report).await.state(), JobState::Failed);
        assert_eq!((ferry.count("events").await, ferry.count("tracks").await), (0, 0));
        let kept: Vec<i64> = ferry.column("SELECT id FROM deliveries WHERE type LIKE '%.created.v1' ORDER BY id").await;
        assert_eq!(kept, [ids[1], ids[6]]);
        let gone: Vec<String> = ferry.column("SELECT body FROM deliveries WHERE type LIKE '%.gone.v1' ORDER BY id").await;
        let gone: Vec<Value> = gone.iter().map(|body| serde_json::from_str(body).unwrap()).collect();
        let told: Vec<&Value> = gone.iter().map(|message| &message["data"]["source_id"]).collect();
        assert_eq!(told, ["2", "7"], "each once, in the order in which they were told to be new");
        assert_eq!(ferry.count("deliveries").await, 4);
    }

    async fn others_have_their_turn_between_two_steps(database: TestDatabase) {
        let mut ferry = Ferry::on(database);
        let tracks: Vec<_> = (1..=3_000).map(|id| json!({"id": id, "name": format!("Track {id}")})).collect();
        let running = stop_after(&mut ferry, &Archive::flat().file("tracks", tracks), CHUNKS_BEFORE_TRACKS + 3).await;
        assert_eq!(ferry.count("tracks").await, 3_000);
        let turns = Turns::new(1);
        let turn = Arc::new(Mutex::new(turns.take("harbour").await));
        let (services, stop) = (ferry.services(), CancellationToken::new());
        let other = async {
            let mut seen = vec![3_000];
            loop {
                let _turn = turns.take("riga").await;
                let left = ferry.count("tracks").await;
                seen.push(left);
                if left == 0 {
                    return seen;
                }
            }
        };
        let (end, seen) = tokio::join!(import::give_up(&services, &running.import, turn, &stop, quarantined()), other);
        assert!(matches!(end, RunEnd::Outcome(_)), "{end:?}");
        assert!(seen.windows(2).all(|two| two[0] - two[1] <= 1_000), "{seen:?}");
        assert_eq!(turns.most_taken(), 1);
    }
}
