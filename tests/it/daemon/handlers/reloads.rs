//! A configuration that is read again while messages are under way: none of them is cut off or sent twice.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;

use super::{about, deliveries, told, tracks, webhook};
use crate::support::daemon::{Setup, TestDaemon, with_each_database};
use crate::support::receiver::HookReceiver;

const MORE: &str = ", datasets = [\"tracks\"], concurrency = 2, timeout = \"10m\"";

/// Lets more time pass than a soft stop gives to what is under way.
async fn half_a_minute(daemon: &TestDaemon) {
    for _ in 0..30 {
        daemon.clock.advance(Duration::from_secs(1));
        daemon.look().await;
    }
}

/// A daemon whose only message so far is under way, to a receiver that hangs.
async fn hanging(setup: Setup, receiver: &HookReceiver) -> TestDaemon {
    let daemon = told(setup, &webhook(receiver, MORE)).start().await;
    receiver.script(&[json!({"hang": true})]);
    daemon.drop_file("berlin", "rails.zip", tracks(1).zip());
    receiver.wait(1).await;
    daemon
}

/// Reads a configuration with this handler again, or with none.
fn reload(daemon: &mut TestDaemon, handler: &str) {
    daemon.reload(&[("handlers", &format!("[{handler}]"))]);
}

with_each_database! {
    async fn a_message_that_is_under_way_outlasts_a_reload(setup: Setup) {
        let receiver = HookReceiver::start();
        let mut daemon = hanging(setup, &receiver).await;
        daemon.reload(&[]);
        half_a_minute(&daemon).await;
        receiver.release();
        daemon.idle().await;
        assert_eq!((receiver.requests().len(), deliveries(&daemon, "delivered").await), (1, 1));
        assert_eq!(daemon.count("deliveries WHERE attempts > 0").await, 0);
        daemon.finish().await;
    }

    async fn a_handler_that_has_changed_is_told_the_next_message_while_the_last_one_is_under_way(setup: Setup) {
        let receiver = HookReceiver::start();
        let mut daemon = hanging(setup, &receiver).await;
        let second = HookReceiver::start();
        reload(&mut daemon, &webhook(&second, MORE));
        daemon.drop_file("berlin", "more.zip", tracks(3).zip());
        second.done(2).await;
        half_a_minute(&daemon).await;
        receiver.release();
        daemon.idle().await;
        assert_eq!(receiver.messages().iter().map(about).collect::<Vec<_>>(), ["created tracks 1"]);
        let told: BTreeSet<String> = second.messages().iter().map(about).collect();
        assert_eq!(told, BTreeSet::from(["2", "3"].map(|id| format!("created tracks {id}"))));
        assert_eq!((second.requests().len(), deliveries(&daemon, "delivered").await), (2, 3));
        daemon.finish().await;
    }

    async fn what_is_under_way_to_a_handler_that_is_taken_out_is_noted_and_the_rest_waits_for_it(setup: Setup) {
        let receiver = HookReceiver::start();
        let mut daemon = hanging(setup, &receiver).await;
        reload(&mut daemon, "");
        half_a_minute(&daemon).await;
        receiver.release();
        while deliveries(&daemon, "delivered").await == 0 {
            daemon.clock.advance(Duration::from_millis(50));
            daemon.look().await;
        }
        half_a_minute(&daemon).await;
        reload(&mut daemon, &webhook(&receiver, MORE));
        daemon.import("berlin", "more.zip", tracks(3).zip()).await;
        assert_eq!((receiver.requests().len(), deliveries(&daemon, "delivered").await), (3, 3));
        daemon.finish().await;
    }

    async fn a_handler_that_is_back_before_its_last_message_has_ended_sends_it_once(setup: Setup) {
        let receiver = HookReceiver::start();
        let mut daemon = hanging(setup, &receiver).await;
        reload(&mut daemon, "");
        half_a_minute(&daemon).await;
        reload(&mut daemon, &webhook(&receiver, MORE));
        half_a_minute(&daemon).await;
        receiver.release();
        daemon.import("berlin", "more.zip", tracks(2).zip()).await;
        assert_eq!((receiver.requests().len(), deliveries(&daemon, "delivered").await), (2, 2));
        daemon.finish().await;
    }
}
