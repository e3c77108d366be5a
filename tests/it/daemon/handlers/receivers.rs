//! Receivers as they are: slow, failing, flapping, hanging, closing, talking without an end.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::TimeDelta;
use eventferry::model::JobState;
use serde_json::{Value, json};

use super::super::archives::harbour;
use super::{about, deliveries, everything_created, schema, told, tracks, webhook};
use crate::support::daemon::{TestDaemon, with_each_database};
use crate::support::receiver::{HookReceiver, OLD_SECRET, Options, SECRET};

/// One message for each of these records, so that a test can follow it.
fn one_track() -> Vec<u8> {
    tracks(1).zip()
}

const ONLY_TRACKS: &str = ", datasets = [\"tracks\"]";

async fn last_error(daemon: &TestDaemon) -> String {
    let errors: Vec<Option<String>> = daemon.column("SELECT last_error FROM deliveries ORDER BY id").await;
    errors[0].clone().unwrap_or_default()
}

with_each_database! {
    async fn a_failing_receiver_is_tried_as_often_and_as_late_as_documented_then_there_is_a_dead_letter(setup: Setup) {
        let receiver = HookReceiver::start();
        let daemon = told(setup, &webhook(&receiver, &format!("{ONLY_TRACKS}, attempts = 6"))).start().await;
        receiver.answer(500, 6);
        daemon.drop_file("berlin", "rails.zip", one_track());
        daemon.idle().await;
        let requests = receiver.requests();
        assert_eq!(requests.len(), 6);
        let ids: BTreeSet<&str> = requests.iter().map(|request| request.headers["webhook-id"].as_str()).collect();
        assert_eq!(ids.len(), 1, "the same id on every attempt");
        let at: Vec<i64> = requests.iter().map(|one| one.headers["webhook-timestamp"].parse().unwrap()).collect();
        for (wait, expected) in at.windows(2).map(|pair| pair[1] - pair[0]).zip([5, 300, 1_800, 7_200, 18_000]) {
            // A tenth for the jitter, and the second or two that the clock goes on while others look.
            assert!((expected..=expected + expected / 10 + 3).contains(&wait), "{wait} instead of {expected}: {at:?}");
        }
        assert_eq!((deliveries(&daemon, "dead").await, deliveries(&daemon, "pending").await), (1, 0));
        let error = last_error(&daemon).await;
        assert_eq!(error, "given up after 6 tries; the last one: it answered 500 Internal Server Error: not now");
        let told: Vec<String> = daemon.column("SELECT title FROM notifications WHERE kind = 'admin' ORDER BY id").await;
        assert!(told.iter().any(|title| title.ends_with("Handler tickets did not take a message")), "{told:?}");
        assert_eq!(daemon.job("rails.zip").await.state, JobState::Succeeded);
        daemon.finish().await;
    }

    async fn a_receiver_that_comes_back_is_told_at_once_what_has_waited(setup: Setup) {
        let receiver = HookReceiver::start();
        let daemon = told(setup, &webhook(&receiver, ONLY_TRACKS)).start().await;
        // Ten messages fail three times each, and are put off for half an hour then.
        receiver.answer(503, 30);
        daemon.drop_file("berlin", "rails.zip", tracks(10).zip());
        receiver.done(10).await;
        while receiver.requests().len() < 30 {
            daemon.clock.advance(Duration::from_secs(1));
            daemon.look().await;
        }
        daemon.idle().await;
        let times: Vec<i64> =
            receiver.requests()[30..].iter().map(|one| one.headers["webhook-timestamp"].parse().unwrap()).collect();
        let (first, last) = (times.iter().min().unwrap(), times.iter().max().unwrap());
        assert!(last - first < 60, "{times:?}");
        assert_eq!(deliveries(&daemon, "delivered").await, 10);
        daemon.finish().await;
    }

    async fn a_receiver_that_is_gone_is_switched_off_and_nothing_is_lost(setup: Setup) {
        let receiver = HookReceiver::start();
        let daemon = told(setup, &webhook(&receiver, &format!("{ONLY_TRACKS}, concurrency = 1"))).start().await;
        receiver.answer(410, 1);
        daemon.import("berlin", "rails.zip", tracks(5).zip()).await;
        daemon.import("berlin", "more.zip", tracks(8).zip()).await;
        assert_eq!(receiver.requests().len(), 1, "no further word");
        assert_eq!((deliveries(&daemon, "dead").await, deliveries(&daemon, "pending").await), (8, 0));
        let told: Vec<String> = daemon.column("SELECT title FROM notifications WHERE kind = 'admin'").await;
        assert_eq!(told, ["eventferry: Handler tickets is switched off"]);
        let states: Vec<String> = daemon.column("SELECT state FROM handlers").await;
        assert_eq!(states, ["off"]);
        let reasons: BTreeSet<String> = daemon.column("SELECT last_error FROM deliveries").await.into_iter().collect();
        assert!(reasons.iter().all(|reason| reason.contains("switched off")), "{reasons:?}");
        daemon.finish().await;
    }

    async fn what_was_delivered_when_a_receiver_wants_no_more_stays_delivered(setup: Setup) {
        let receiver = HookReceiver::start();
        let daemon = told(setup, &webhook(&receiver, &format!("{ONLY_TRACKS}, concurrency = 1"))).start().await;
        receiver.script(&[json!({}), json!({"status": 410})]);
        daemon.drop_file("berlin", "rails.zip", tracks(5).zip());
        // The time in which outcomes are collected does not pass: both are written down together.
        receiver.done(2).await;
        daemon.idle().await;
        assert_eq!((deliveries(&daemon, "delivered").await, deliveries(&daemon, "dead").await), (1, 4));
        daemon.finish().await;
    }

    async fn what_is_under_way_when_a_receiver_wants_no_more_is_noted_as_it_comes_out(setup: Setup) {
        let receiver = HookReceiver::start();
        let more = format!("{ONLY_TRACKS}, concurrency = 3, timeout = \"10m\"");
        let daemon = told(setup, &webhook(&receiver, &more)).start().await;
        receiver.script(&[json!({"hang": true}), json!({"hang": true, "status": 500}), json!({"status": 410})]);
        daemon.drop_file("berlin", "rails.zip", tracks(6).zip());
        while deliveries(&daemon, "dead").await < 4 {
            daemon.clock.advance(Duration::from_millis(50));
            daemon.look().await;
        }
        assert_eq!(deliveries(&daemon, "pending").await, 2);
        receiver.release();
        daemon.idle().await;
        assert_eq!((deliveries(&daemon, "delivered").await, deliveries(&daemon, "dead").await), (1, 5));
        assert_eq!(receiver.requests().len(), 3);
        assert_eq!(daemon.count("deliveries WHERE attempts = 1").await, 2, "410 and 500");
        daemon.finish().await;
    }

    async fn a_receiver_that_hangs_closes_redirects_or_never_ends_has_not_taken_it(setup: Setup) {
        let receiver = HookReceiver::start();
        let more = format!("{ONLY_TRACKS}, timeout = \"20s\"");
        let daemon = told(setup, &webhook(&receiver, &more)).start().await;
        receiver.script(&[
            json!({"status": 302, "headers": {"Location": "http://169.254.169.254/latest/meta-data"}}),
            json!({"close": true}),
            json!({"status": 400, "huge": 1_073_741_824}),
            json!({"hang": true}),
        ]);
        daemon.drop_file("berlin", "rails.zip", one_track());
        let mut errors = Vec::new();
        for answered in 1..=3 {
            receiver.wait(answered).await;
            while daemon.count(&format!("deliveries WHERE attempts = {answered}")).await == 0 {
                daemon.clock.advance(Duration::from_millis(50));
                daemon.look().await;
            }
            errors.push(last_error(&daemon).await);
            while receiver.requests().len() == answered {
                daemon.clock.advance(Duration::from_secs(1));
                daemon.look().await;
            }
        }
        while daemon.count("deliveries WHERE attempts = 4").await == 0 {
            daemon.clock.advance(Duration::from_secs(1));
            daemon.look().await;
        }
        errors.push(last_error(&daemon).await);
        assert_eq!(errors[0], "it answered 302 Found; redirects are not followed, `url` must be the place itself");
        assert!(errors[1].contains("connection closed") || errors[1].contains("reset"), "{errors:?}");
        assert!(errors[2].starts_with("it answered 400 Bad Request: xxxx") && errors[2].len() < 300, "{errors:?}");
        assert_eq!(errors[3], "it did not answer within 20 s");
        receiver.release();
        daemon.idle().await;
        assert_eq!(deliveries(&daemon, "delivered").await, 1);
        daemon.finish().await;
    }

    async fn the_status_decides_whatever_becomes_of_the_rest_of_an_answer(setup: Setup) {
        let receiver = HookReceiver::start();
        let more = format!("{ONLY_TRACKS}, concurrency = 2, timeout = \"10m\"");
        let daemon = told(setup, &webhook(&receiver, &more)).start().await;
        receiver.script(&[json!({"unfinished": true}), json!({"unfinished": true, "status": 500})]);
        daemon.drop_file("berlin", "rails.zip", tracks(4).zip());
        receiver.done(2).await;
        while daemon.count("deliveries WHERE attempts = 1").await == 0 {
            daemon.clock.advance(Duration::from_secs(1));
            daemon.look().await;
        }
        // The one with a status of its own failed by that, and not by its time.
        let errors: Vec<Option<String>> = daemon.column("SELECT last_error FROM deliveries WHERE attempts = 1").await;
        assert_eq!(errors, [Some("it answered 500 Internal Server Error: taken, and".to_owned())]);
        daemon.idle().await;
        assert_eq!(deliveries(&daemon, "delivered").await, 4);
        let ids = receiver.requests().iter().map(|one| one.headers["webhook-id"].clone()).collect::<Vec<_>>();
        assert_eq!((ids.len(), ids.iter().collect::<BTreeSet<_>>().len()), (5, 4), "{ids:?}");
        daemon.finish().await;
    }

    async fn messages_of_one_record_keep_their_order_and_others_do_not_wait_for_it(setup: Setup) {
        let receiver = HookReceiver::start();
        let more = format!("{ONLY_TRACKS}, concurrency = 8, timeout = \"10m\"");
        let daemon = told(setup, &webhook(&receiver, &more)).start().await;
        receiver.script(&[json!({"hang": true})]);
        daemon.drop_file("berlin", "rails.zip", one_track());
        receiver.wait(1).await;
        // The news of the first track hang; its update waits behind it, the news of the second track do not.
        let renamed = json!([{"id": 1, "name": "Renamed"}, {"id": 2, "name": "Second"}]);
        daemon.drop_file("berlin", "more.zip", tracks(1).with("tracks", &renamed).zip());
        receiver.wait(2).await;
        assert_eq!(receiver.messages().iter().map(about).collect::<Vec<_>>(), ["created tracks 1", "created tracks 2"]);
        receiver.release();
        daemon.idle().await;
        let told: Vec<String> = receiver.messages().iter().map(about).collect();
        assert_eq!(told, ["created tracks 1", "created tracks 2", "updated tracks 1"]);
        daemon.finish().await;
    }

    async fn never_more_are_under_way_than_allowed(setup: Setup) {
        let receiver = HookReceiver::start();
        let daemon = told(setup, &webhook(&receiver, &format!("{ONLY_TRACKS}, concurrency = 3"))).start().await;
        receiver.script(&vec![json!({"hang": true}); 3]);
        daemon.drop_file("berlin", "rails.zip", tracks(300).zip());
        receiver.wait(3).await;
        receiver.release();
        daemon.idle().await;
        assert_eq!(receiver.most(), 3);
        assert_eq!(receiver.messages().iter().map(about).collect::<BTreeSet<_>>().len(), 300);
        daemon.finish().await;
    }

    async fn during_a_rotation_a_receiver_that_knows_either_secret_is_content(setup: Setup) {
        let receiver = HookReceiver::with(&Options {
            secrets: vec![SECRET.to_owned(), OLD_SECRET.to_owned()],
            ..Options::default()
        });
        let more = format!("{ONLY_TRACKS}, previous_secret = \"{OLD_SECRET}\", headers = \"X-Team: berlin\"");
        let daemon = told(setup, &webhook(&receiver, &more)).start().await;
        daemon.import("berlin", "rails.zip", one_track()).await;
        let request = &receiver.requests()[0];
        assert_eq!(request.signatures, [json!(true), json!(true)]);
        assert_eq!(request.headers["webhook-signature"].split(' ').count(), 2);
        assert_eq!(request.headers["x-team"], "berlin");
        assert_eq!(request.headers["content-type"], "application/cloudevents+json; charset=UTF-8");
        daemon.finish().await;
    }

    async fn an_address_within_is_refused_on_every_attempt_unless_it_is_allowed(setup: Setup) {
        let receiver = HookReceiver::start();
        let handler = |host: &str, allowed: &str| {
            format!(
                "[{{name = \"tickets\", kind = \"webhook\", url = \"http://{host}:{}/hook\", secret = \"{SECRET}\", \
                 allow_addresses = [\"{allowed}\"], datasets = [\"tracks\"], timeout = \"10m\"}}]",
                receiver.port()
            )
        };
        let setup = setup.set("handlers", &handler("127.0.0.1", "10.0.0.0/8")).set("import.with_handlers", "true");
        let mut daemon = setup.start().await;
        daemon.drop_file("berlin", "rails.zip", one_track());
        while daemon.count("deliveries WHERE attempts = 2").await == 0 {
            daemon.clock.advance(Duration::from_secs(1));
            daemon.look().await;
        }
        assert!(last_error(&daemon).await.contains("127.0.0.1 is not in `allow_addresses`"), "{}", last_error(&daemon).await);
        // By a name as well, which is looked up for each connection.
        daemon.reload(&[("handlers", &handler("localhost", "10.0.0.0/8"))]);
        while daemon.count("deliveries WHERE attempts = 3").await == 0 {
            daemon.clock.advance(Duration::from_secs(10));
            daemon.look().await;
        }
        assert!(last_error(&daemon).await.contains("is not in `allow_addresses`"), "{}", last_error(&daemon).await);
        assert_eq!(receiver.requests().len(), 0);
        daemon.reload(&[("handlers", &handler("localhost", "127.0.0.1"))]);
        daemon.idle().await;
        assert_eq!(receiver.messages().len(), 1);
        daemon.finish().await;
    }

    async fn a_message_that_is_too_large_refers_to_its_data_which_is_kept(setup: Setup) {
        let receiver = HookReceiver::start();
        let daemon = told(setup, &webhook(&receiver, ONLY_TRACKS)).start().await;
        let long = "lang ".repeat(20_000);
        let archive = tracks(1).with("tracks", &json!([{"id": 1, "name": "Track", "description": long}]));
        daemon.import("berlin", "rails.zip", archive.zip()).await;
        let request = receiver.requests().remove(0);
        let message: Value = serde_json::from_str(&request.body).unwrap();
        assert_eq!((message.get("data"), request.signatures.as_slice()), (None, &[json!(true)][..]));
        assert!(schema("record").is_valid(&message));
        let id = message["id"].as_str().unwrap();
        assert_eq!(message["dataref"], format!("eventferry:messages/{id}"));
        let kept: Vec<String> = daemon.column(&format!("SELECT data FROM deliveries WHERE message_id = '{id}'")).await;
        let data: Value = serde_json::from_str(&kept[0]).unwrap();
        assert!(data["record"]["description"] == long);
        daemon.finish().await;
    }

    async fn exports_tell_their_end_where_that_is_wanted(setup: Setup) {
        let receiver = HookReceiver::start();
        let export = r#"[{name = "nightly", account = "berlin", cron = "0 5 * * *", formats = ["sessions.csv"]}]"#;
        let setup = told(setup, &webhook(&receiver, ", actions = [\"export.finished\"]")).set("export", export);
        let daemon = setup.start().await;
        daemon.import("berlin", "harbour.zip", harbour().zip()).await;
        assert_eq!(receiver.requests().len(), 0);
        while receiver.requests().is_empty() {
            daemon.clock.advance(Duration::from_mins(5));
            daemon.look().await;
        }
        daemon.idle().await;
        let message = receiver.messages().remove(0);
        assert!(schema("export").is_valid(&message), "{message:#}");
        assert_eq!(message["type"], "eventferry.export.finished.v1");
        assert_eq!((&message["data"]["schedule"], &message["data"]["state"]), (&json!("nightly"), &json!("succeeded")));
        assert_eq!(message["data"]["events"][0]["name"], "Harbour Days");
        assert!(daemon.clock.now() > "2026-11-22T05:00:00Z".parse::<chrono::DateTime<chrono::Utc>>().unwrap() + TimeDelta::zero());
        daemon.finish().await;
    }

    async fn whoever_drops_an_archive_may_switch_handlers_as_far_as_the_account_allows_it(setup: Setup) {
        let receiver = HookReceiver::start();
        let accounts = r#"[{name = "berlin", allow = ["with_handlers"]}, {name = "oslo", with_handlers = true}]"#;
        let setup = setup.set("handlers", &format!("[{}]", webhook(&receiver, ""))).set("accounts", accounts);
        let mut daemon = setup.prepare().await;
        std::fs::create_dir_all(daemon.root().join("inbox/oslo")).unwrap();
        daemon.start().await;
        let with = |on: bool| tracks(2).with("eventferry.json", &json!({"with_handlers": on})).zip();
        daemon.import("berlin", "silent.zip", tracks(1).zip()).await;
        assert_eq!(receiver.requests().len(), 0);
        daemon.import("berlin", "loud.zip", with(true)).await;
        assert_eq!(receiver.messages().iter().map(about).collect::<Vec<_>>(), ["created tracks 2"]);
        daemon.import("oslo", "oslo.zip", tracks(1).zip()).await;
        assert_eq!(receiver.requests().len(), 1 + 2);
        let refused = daemon.import("oslo", "own.zip", with(false)).await;
        assert_eq!(refused.job.state, JobState::Failed);
        let oslo: BTreeSet<String> = receiver.messages().iter().filter(|one| one["data"]["account"] == "oslo").map(about).collect();
        assert!(oslo.is_subset(&everything_created(&daemon).await));
        daemon.finish().await;
    }
}
