//! Imports wait for handlers, their hours and their pace; others go on.

use std::collections::BTreeSet;
use std::time::Duration;

use eventferry::model::JobState;
use eventferry::store::{handlers, jobs};
use serde_json::{Value, json};

use super::super::archives::harbour;
use super::{about, deliveries, schema, told, tracks, waiting_line, webhook};
use crate::support::daemon::{TestDaemon, with_each_database};
use crate::support::receiver::HookReceiver;

/// Lets time pass until something is so.
async fn until<T>(daemon: &TestDaemon, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    loop {
        if let Some(found) = look().await {
            return found;
        }
        daemon.clock.advance(Duration::from_millis(500));
        daemon.look().await;
    }
}

/// Waits until there is such a row, and lets hardly any time pass.
async fn at_once(daemon: &TestDaemon, row: &str) {
    while daemon.count(row).await == 0 {
        daemon.clock.advance(Duration::from_millis(10));
        daemon.look().await;
    }
}

/// Records that were committed, whenever a chunk was.
async fn in_tracks(daemon: &TestDaemon) -> i64 {
    daemon.count("tracks").await
}

/// What `status.json` of the only job of an account says.
fn status_of(daemon: &TestDaemon, account: &str) -> Option<Value> {
    let folders = std::fs::read_dir(daemon.root().join("outbox").join(account)).ok()?;
    let texts = folders.filter_map(|folder| std::fs::read(folder.unwrap().path().join("status.json")).ok());
    texts.map(|text| serde_json::from_slice(&text).unwrap()).next()
}

with_each_database! {
    async fn an_import_waits_for_its_handler_while_others_go_on(setup: Setup) {
        let receiver = HookReceiver::start();
        let more = ", accounts = [\"berlin\"], max_pending = 20, concurrency = 2, timeout = \"10m\"";
        let mut daemon = told(setup, &webhook(&receiver, more)).set("import.chunk_records", "10").start().await;
        receiver.script(&vec![json!({"hang": true}); 2]);
        daemon.drop_file("berlin", "rails.zip", tracks(100).zip());
        receiver.wait(2).await;
        let line = waiting_line(&daemon, "rails.zip", "undelivered").await;
        // The event and two chunks of ten: one more than the mark, and nothing beyond.
        assert_eq!(line, format!("waiting for handler `tickets` since {}, 21 undelivered", &line[36..41]));
        assert_eq!(deliveries(&daemon, "pending").await, 21);
        // What people and programs see beside the table lags by a second at most.
        let status = until(&daemon, async || status_of(&daemon, "berlin").filter(|one| one["waits_for"].is_string())).await;
        assert_eq!(status["waits_for"], "handler `tickets`");
        assert_eq!(status["text"], format!("W{}", &line[1..]));

        // Another account's import goes on.
        daemon.drop_file("default", "harbour.zip", harbour().zip());
        while !daemon.jobs().await.iter().any(|job| job.account == "default" && job.state == JobState::Partial) {
            daemon.clock.advance(Duration::from_millis(500));
            daemon.look().await;
        }
        // A restart finds it waiting since then.
        let since = daemon.job("rails.zip").await.waits_since;
        daemon.die().await;
        receiver.release();
        receiver.done(2).await;
        receiver.script(&vec![json!({"hang": true}); 2]);
        daemon.start().await;
        let again = waiting_line(&daemon, "rails.zip", "undelivered").await;
        assert_eq!(daemon.job("rails.zip").await.waits_since, since, "{again}");
        until(&daemon, async || (receiver.requests().len() >= 4).then_some(())).await;
        receiver.release();
        daemon.idle_in_steps().await;
        daemon.idle().await;
        assert_eq!(daemon.job("rails.zip").await.state, JobState::Succeeded);
        let told: BTreeSet<String> = receiver.messages().iter().map(about).collect();
        assert_eq!(told.len(), 101);
        assert!(receiver.most() <= 2, "{}", receiver.most());
        daemon.finish().await;
    }
}

with_each_database! {
    async fn a_reload_reaches_an_import_that_waits_for_its_handler(setup: Setup) {
        let receiver = HookReceiver::start();
        receiver.script(&[json!({"hang": true})]);
        let handler = |most: u32| {
            let more = format!(", max_pending = {most}, concurrency = 1, timeout = \"10m\"");
            format!("[{}]", webhook(&receiver, &more))
        };
        let setup = setup.set("handlers", &handler(5)).set("import.with_handlers", "true");
        let mut daemon = setup.set("import.chunk_records", "10").start().await;
        daemon.drop_file("berlin", "rails.zip", tracks(50).zip());
        at_once(&daemon, "jobs WHERE waits_detail = '11 undelivered'").await;
        let begun = daemon.clock.monotonic();
        daemon.reload(&[("handlers", &handler(25))]);
        at_once(&daemon, "jobs WHERE waits_detail = '31 undelivered'").await;
        // One that is taken out holds nothing up.
        daemon.reload(&[("handlers", "[]")]);
        at_once(&daemon, "jobs WHERE state = 'succeeded'").await;
        let took = daemon.clock.monotonic() - begun;
        assert!(took < Duration::from_secs(50), "it was given back first: {took:?}");
        receiver.release();
        daemon.reload(&[("handlers", &handler(25))]);
        daemon.idle().await;
        assert_eq!(receiver.messages().len(), 31);
        daemon.finish().await;
    }

    async fn imports_that_wait_for_a_handler_leave_their_places_to_other_accounts(setup: Setup) {
        let receiver = HookReceiver::start();
        receiver.script(&[json!({"hang": true})]);
        let names = ["bergen", "berlin", "bodo", "oslo", "tromso"];
        let handler = webhook(&receiver, ", max_pending = 5, concurrency = 1, order = \"none\", timeout = \"10m\"");
        let with_handlers = |name: &str| name != "tromso";
        let accounts = names.map(|name| format!("{{name = \"{name}\", with_handlers = {}}}", with_handlers(name)));
        let setup = setup.set("handlers", &format!("[{handler}]")).set("accounts", &format!("[{}]", accounts.join(", ")));
        let setup = setup.set("import.parallel", "1").set("import.chunk_records", "10");
        let mut daemon = setup.prepare().await;
        for name in names {
            std::fs::create_dir_all(daemon.root().join("inbox").join(name)).unwrap();
        }
        daemon.start().await;
        // As many as may be open wait, none of them long enough to be given back.
        let (waiting, other) = names.split_at(4);
        for name in waiting {
            daemon.drop_file(name, &format!("{name}.zip"), tracks(50).zip());
            at_once(&daemon, &format!("jobs WHERE account = '{name}' AND waits_for IS NOT NULL")).await;
        }
        daemon.drop_file(other[0], "other.zip", tracks(50).zip());
        at_once(&daemon, &format!("jobs WHERE account = '{}' AND state = 'succeeded'", other[0])).await;
        for name in waiting {
            let job = daemon.job(&format!("{name}.zip")).await;
            assert_eq!((job.state, job.waits_for.as_deref()), (JobState::Running, Some("handler `tickets`")), "{name}");
        }
        receiver.release();
        daemon.idle_in_steps().await;
        daemon.finish().await;
    }

    async fn a_receiver_that_asks_for_a_rest_gets_it_and_the_import_waits_as_long(setup: Setup) {
        let receiver = HookReceiver::start();
        // Few enough that the import cannot come to its end before the wish is known.
        let more = ", concurrency = 1, max_pending = 10, datasets = [\"tracks\"]";
        let mut daemon = told(setup, &webhook(&receiver, more)).set("import.chunk_records", "10").start().await;
        receiver.script(&[json!({"status": 429, "headers": {"Retry-After": "300"}, "body": "too fast"})]);
        let begun = daemon.clock.now();
        daemon.drop_file("berlin", "rails.zip", tracks(50).zip());
        receiver.done(1).await;
        // It is written down, and with it the wish survives a restart.
        until(&daemon, async || (daemon.count("handlers WHERE rest_until IS NOT NULL").await == 1).then_some(())).await;
        daemon.die().await;
        daemon.start().await;
        let asks = |detail: &String| detail.contains("left alone");
        let detail = until(&daemon, async || daemon.job("rails.zip").await.waits_detail.filter(asks)).await;
        assert!(detail.contains("which asks to be left alone until 04:05, "), "{detail}");
        let written = in_tracks(&daemon).await;
        assert!(written < 50, "{written}");
        assert_eq!(receiver.requests().len(), 1, "nothing is sent meanwhile");
        until(&daemon, async || (receiver.requests().len() > 1).then_some(())).await;
        assert!(daemon.clock.now() - begun >= chrono::TimeDelta::seconds(300));
        daemon.idle_in_steps().await;
        daemon.idle().await;
        assert_eq!(receiver.messages().iter().map(about).collect::<BTreeSet<_>>().len(), 50);
        assert_eq!(daemon.count("deliveries WHERE attempts > 0").await, 0, "being put off is no failed try");
        daemon.finish().await;
    }

    async fn a_receiver_that_is_dead_for_long_holds_the_import_or_not_and_the_admin_is_told(setup: Setup) {
        let receiver = HookReceiver::start();
        let more = ", max_pending = 5, down_after = \"10m\", when_down = \"go_on\", attempts = 100";
        let mut daemon = told(setup, &webhook(&receiver, more)).set("import.chunk_records", "10").start().await;
        receiver.answer(500, 1_000);
        daemon.drop_file("berlin", "rails.zip", tracks(40).zip());
        waiting_line(&daemon, "rails.zip", "undelivered").await;
        let begun = daemon.clock.now();
        until(&daemon, async || daemon.job("rails.zip").await.state.is_final().then_some(())).await;
        let waited = daemon.clock.now() - begun;
        assert!(waited >= chrono::TimeDelta::minutes(9), "{waited}");
        assert_eq!(daemon.job("rails.zip").await.state, JobState::Succeeded);
        assert_eq!(deliveries(&daemon, "pending").await, 41);
        let told: Vec<String> = daemon.column("SELECT subject FROM mails WHERE kind = 'admin'").await;
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains("Handler tickets does not answer"), "{told:?}");

        // Another one holds, for ever, until the receiver is back; then all of it is told.
        daemon.reload(&[("handlers", &format!("[{}]", webhook(&receiver, ", max_pending = 5, down_after = \"10m\", attempts = 100")))]);
        daemon.drop_file("berlin", "more.zip", tracks(60).zip());
        let line = waiting_line(&daemon, "more.zip", "undelivered").await;
        for _ in 0..60 {
            daemon.clock.advance(Duration::from_secs(60));
            daemon.look().await;
        }
        let job = until(&daemon, async || Some(daemon.job("more.zip").await).filter(|job| job.state == JobState::Paused)).await;
        assert_eq!(job.waits_for.as_deref(), Some("handler `tickets`"), "{line}");
        assert!(in_tracks(&daemon).await < 60);
        drop(receiver);
        let receiver = HookReceiver::start();
        daemon.reload(&[("handlers", &format!("[{}]", webhook(&receiver, ", max_pending = 5, attempts = 100")))]);
        daemon.idle_in_steps().await;
        daemon.idle().await;
        assert_eq!(in_tracks(&daemon).await, 60);
        assert_eq!(receiver.messages().iter().map(about).collect::<BTreeSet<_>>().len(), 61);
        daemon.finish().await;
    }

    async fn imports_write_only_in_their_hours_and_a_reload_changes_them_at_once(setup: Setup) {
        // It is five in the morning in Berlin.
        let setup = setup.set("import.window", "22:00-06:00 Europe/Berlin").set("import.chunk_pause", "10m");
        let mut daemon = setup.set("import.chunk_records", "10").start().await;
        daemon.drop_file("berlin", "rails.zip", tracks(100).zip());
        let line = waiting_line(&daemon, "rails.zip", "they begin at 22:00").await;
        assert!(line.starts_with("waiting for its hours (22:00–06:00 Europe/Berlin) since 05:"), "{line}");
        let written = in_tracks(&daemon).await;
        assert!(written > 0 && written < 100, "{written}");
        for _ in 0..10 {
            daemon.clock.advance(Duration::from_hours(1));
            daemon.look().await;
        }
        let job =
            until(&daemon, async || Some(daemon.job("rails.zip").await).filter(|job| job.state == JobState::Paused)).await;
        assert_eq!((in_tracks(&daemon).await, job.attempts, job.outages), (written, 0, 0));
        let left = daemon.reload(&[("import.window", ""), ("import.chunk_pause", "0s"), ("queue.lease", "90s")]);
        assert_eq!(left, ["queue.lease"]);
        daemon.idle_in_steps().await;
        assert_eq!(daemon.job("rails.zip").await.state, JobState::Succeeded);
        assert_eq!(in_tracks(&daemon).await, 100);
        daemon.finish().await;
    }

    async fn no_chunk_is_larger_than_the_bounds_in_force_and_a_reload_counts_for_the_next_one(setup: Setup) {
        let setup = setup.set("import.chunk_records", "40").set("import.chunk_pause", "1s");
        let mut daemon = setup.start().await;
        let mut seen = BTreeSet::new();
        daemon.drop_file("berlin", "rails.zip", tracks(200).zip());
        let mut before = 0;
        until(&daemon, async || (in_tracks(&daemon).await >= 80).then_some(())).await;
        // What was read ahead in pieces of forty is cut.
        daemon.reload(&[("import.chunk_records", "7")]);
        before = before.max(in_tracks(&daemon).await);
        while in_tracks(&daemon).await < 200 {
            let now = in_tracks(&daemon).await;
            if now != before {
                seen.insert(now - before);
                before = now;
            }
            daemon.clock.advance(Duration::from_secs(1));
            daemon.look().await;
        }
        assert!(seen.iter().all(|chunk| chunk % 7 == 0 || *chunk < 7), "{seen:?}");
        daemon.idle_in_steps().await;
        daemon.finish().await;
    }

    async fn records_per_second_bound_all_jobs_together(setup: Setup) {
        let setup = setup.set("import.records_per_second", "10").set("import.chunk_records", "100");
        let daemon = setup.start().await;
        let begun = daemon.clock.monotonic();
        daemon.drop_file("berlin", "one.zip", tracks(60).zip());
        daemon.drop_file("default", "two.zip", tracks(60).zip());
        until(&daemon, async || (in_tracks(&daemon).await >= 120).then_some(())).await;
        // 122 records, of which the last ones need not be paid for.
        let took = daemon.clock.monotonic() - begun;
        assert!(took >= Duration::from_millis(10_000), "{took:?}");
        daemon.idle_in_steps().await;
        daemon.finish().await;
    }

    async fn handlers_keep_chunks_small_whatever_the_configuration_says(setup: Setup) {
        let receiver = HookReceiver::start();
        let more = ", per = \"chunk\", datasets = [\"tracks\"], order = \"none\"";
        let daemon = told(setup, &webhook(&receiver, more)).set("import.chunk_records", "5000").start().await;
        daemon.import("berlin", "rails.zip", tracks(2_500).zip()).await;
        let messages = receiver.messages();
        let schema = schema("chunk");
        assert!(messages.iter().all(|message| schema.is_valid(message)), "{:#}", messages[0]);
        assert!(messages.iter().all(|message| message.to_string().len() <= 65_536));
        assert!(messages.iter().all(|message| message["type"] == "eventferry.track.changes.v1"));
        let ids: BTreeSet<String> = messages.iter()
            .flat_map(|message| message["data"]["records"].as_array().unwrap().clone())
            .map(|record| record["source_id"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(ids.len(), 2_500);
        // As many as fit: a chunk of a thousand needs several messages, and far fewer than a thousand.
        assert!((3..100).contains(&messages.len()), "{}", messages.len());
        let sizes: Vec<i64> = daemon.column(
            "SELECT CAST(count(*) AS BIGINT) FROM tracks GROUP BY updated_at, job_id").await;
        assert!(!sizes.is_empty());
        daemon.finish().await;
    }
}

with_each_database! {
    async fn an_import_that_waits_for_a_handler_without_a_lease_can_be_cancelled(setup: Setup) {
        let receiver = HookReceiver::start();
        receiver.script(&[json!({"hang": true})]);
        let more = ", max_pending = 10, concurrency = 1, timeout = \"10m\", datasets = [\"tracks\"]";
        let daemon = told(setup, &webhook(&receiver, more)).set("import.chunk_records", "10").start().await;
        daemon.drop_file("berlin", "rails.zip", tracks(50).zip());
        waiting_line(&daemon, "rails.zip", "undelivered").await;
        until(&daemon, async || (daemon.job("rails.zip").await.state == JobState::Paused).then_some(())).await;
        let job = daemon.job("rails.zip").await.id;
        jobs::cancel(&daemon.database, job, daemon.clock.now()).await.unwrap();
        until(&daemon, async || daemon.job("rails.zip").await.state.is_final().then_some(())).await;
        assert_eq!(daemon.job("rails.zip").await.state, JobState::Cancelled);
        assert_eq!(daemon.count("tracks").await, 0);
        receiver.release();
        daemon.idle().await;
        daemon.finish().await;
    }
}

with_each_database! {
    async fn a_rest_outlives_what_was_under_way_when_it_was_asked_for(setup: Setup) {
        let receiver = HookReceiver::start();
        let more = ", concurrency = 4, order = \"none\", datasets = [\"tracks\"]";
        let daemon = told(setup, &webhook(&receiver, more)).start().await;
        receiver.script(&[json!({"status": 429, "headers": {"Retry-After": "300"}})]);
        daemon.drop_file("berlin", "rails.zip", tracks(50).zip());
        let asked = until(&daemon, async || {
            handlers::get(&daemon.database, "tickets").await.unwrap().and_then(|row| row.rest_until)
        })
        .await;
        for _ in 0..10 {
            daemon.clock.advance(Duration::from_secs(1));
            daemon.look().await;
        }
        let row = handlers::get(&daemon.database, "tickets").await.unwrap().unwrap();
        assert_eq!(row.rest_until, Some(asked));
        // How many were under way is left to chance.
        assert!(receiver.requests().len() < 50, "{}", receiver.requests().len());
        daemon.idle_in_steps().await;
        daemon.idle().await;
        assert_eq!(daemon.job("rails.zip").await.state, JobState::Succeeded);
        daemon.finish().await;
    }
}
