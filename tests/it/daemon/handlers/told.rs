//! What handlers are told: everything that is created, updated or gone, and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::super::archives::harbour;
use super::{about, everything_created, schema, told, tracks, webhook};
use crate::support::daemon::with_each_database;
use crate::support::receiver::HookReceiver;

with_each_database! {
    async fn every_record_is_told_once_signed_and_as_a_cloud_event(setup: Setup) {
        let receiver = HookReceiver::start();
        let actions = r#", actions = ["created", "updated", "gone", "import.finished"], source = "https://ferry.example""#;
        let daemon = told(setup, &webhook(&receiver, actions)).start().await;
        let ended = daemon.import("berlin", "harbour.zip", harbour().zip()).await;
        let messages = receiver.messages();
        let (records, jobs): (Vec<_>, Vec<_>) = messages.iter().partition(|message| message["data"]["dataset"].is_string());
        let told: Vec<String> = records.iter().map(|message| about(message)).collect();
        assert_eq!(told.iter().cloned().collect::<BTreeSet<_>>(), everything_created(&daemon).await);
        assert_eq!(told.len(), everything_created(&daemon).await.len(), "none twice");
        let ids: BTreeSet<&str> = messages.iter().map(|message| message["id"].as_str().unwrap()).collect();
        assert_eq!(ids.len(), messages.len());

        let event = ended.job.event_id.unwrap();
        let knots = records.iter().find(|message| about(message) == "created sessions 1").unwrap();
        let id: Vec<i64> = daemon.column("SELECT id FROM sessions WHERE source_id = '1'").await;
        assert_eq!(knots["type"], "eventferry.session.created.v1");
        assert_eq!(knots["source"], "https://ferry.example");
        assert_eq!(knots["subject"], format!("events/{event}/sessions/{}", id[0]));
        let data = &knots["data"];
        assert_eq!((&data["account"], &data["job"]), (&json!("berlin"), &json!(ended.job.id)));
        assert_eq!((&data["event"], &data["id"]), (&json!(event), &json!(id[0])));
        let speakers: Vec<i64> = daemon.column("SELECT id FROM speakers WHERE source_id IN ('1', '2') ORDER BY id").await;
        let track: Vec<i64> = daemon.column("SELECT id FROM tracks WHERE source_id = '1'").await;
        let record = &data["record"];
        assert_eq!(record["title"], "Knots");
        assert_eq!(record["starts_at"], "2026-05-04T08:00:00Z");
        assert_eq!(record["starts_at_offset"], "+02:00");
        assert_eq!((&record["speaker_ids"], &record["track_id"]), (&json!(speakers), &json!(track[0])));
        assert_eq!(record["subtitle"], Value::Null);

        let of_records = schema("record");
        for message in &records {
            let faults: Vec<String> = of_records.iter_errors(message).map(|fault| fault.to_string()).collect();
            assert!(faults.is_empty(), "{faults:?} {message:#}");
        }
        // The end comes after everything else.
        let [end] = jobs.as_slice() else { panic!("{jobs:#?}") };
        assert_eq!(*end, messages.last().unwrap());
        assert!(schema("import").is_valid(end), "{end:#}");
        assert_eq!(end["type"], "eventferry.import.finished.v1");
        assert_eq!(end["subject"], format!("jobs/{}", ended.job.id));
        assert_eq!(end["data"]["state"], "partial");
        assert_eq!(end["data"]["datasets"]["sessions"]["created"], 4);
        assert_eq!(end["data"]["result_folder"], json!(ended.job.result_folder));
        daemon.finish().await;
    }

    async fn updates_tell_what_is_new_and_what_was_and_records_that_go_are_told(setup: Setup) {
        let receiver = HookReceiver::start();
        let daemon = told(setup, &webhook(&receiver, "")).start().await;
        daemon.import("berlin", "first.zip", tracks(3).with("speakers", &json!([{"id": 1, "name": "Ada"}]))
            .with("sessions", &json!([{"id": 1, "title": "Rails", "track_id": 1, "speakers": []}])).zip()).await;
        let before = receiver.messages().len();
        let changed = json!([{"id": 1, "name": "Track 1"}, {"id": 2, "name": "Trunk", "color": "#112233"}]);
        let second = tracks(1).with("tracks", &changed).with("speakers", &json!([{"id": 1, "name": "Ada"}]))
            .with("sessions", &json!([{"id": 1, "title": "Rails", "track_id": 2, "speakers": [{"id": 1}]}]));
        daemon.import("berlin", "second.zip", second.zip()).await;
        let messages = receiver.messages().split_off(before);
        let told: BTreeMap<String, &Value> = messages.iter().map(|message| (about(message), &message["data"])).collect();
        let expected = ["gone tracks 3", "updated sessions 1", "updated tracks 2"];
        assert_eq!(told.keys().collect::<Vec<_>>(), expected);
        let trunk = told["updated tracks 2"];
        assert_eq!(trunk["changed"], json!(["name", "color"]));
        assert_eq!(trunk["previous"], json!({"name": "Track 2", "color": null}));
        assert_eq!((&trunk["record"]["name"], &trunk["record"]["color"]), (&json!("Trunk"), &json!("#112233")));
        let session = told["updated sessions 1"];
        let ids: Vec<i64> = daemon.column("SELECT id FROM tracks ORDER BY id").await;
        let ada: Vec<i64> = daemon.column("SELECT id FROM speakers").await;
        assert_eq!(session["changed"], json!(["track_id", "speaker_ids"]));
        assert_eq!(session["previous"], json!({"track_id": ids[0], "speaker_ids": []}));
        assert_eq!(session["record"]["speaker_ids"], json!(ada));
        let gone = told["gone tracks 3"];
        assert_eq!((gone.get("record"), &gone["id"]), (None, &json!(ids[2])));

        // Coming back is an update as well, and what is unchanged is not told.
        let before = receiver.messages().len();
        daemon.import("berlin", "third.zip", second.with("tracks", &json!([
            {"id": 1, "name": "Track 1"}, {"id": 2, "name": "Trunk", "color": "#112233"}, {"id": 3, "name": "Track 3"},
        ])).zip()).await;
        let messages = receiver.messages().split_off(before);
        let [back] = messages.as_slice() else { panic!("{messages:#?}") };
        assert_eq!((about(back).as_str(), &back["data"]["changed"]), ("updated tracks 3", &json!(["gone_at"])));
        daemon.finish().await;
    }

    async fn handlers_that_are_off_are_told_nothing(setup: Setup) {
        let receiver = HookReceiver::start();
        let handlers = format!("[{}]", webhook(&receiver, ", actions = [\"created\", \"import.finished\"]"));
        let daemon = setup.set("handlers", &handlers).start().await;
        daemon.import("berlin", "harbour.zip", harbour().zip()).await;
        assert_eq!(daemon.count("deliveries").await, 0);
        assert_eq!(receiver.requests().len(), 0);
        daemon.finish().await;
    }

    async fn what_is_rejected_or_fails_tells_nothing_of_records(setup: Setup) {
        let receiver = HookReceiver::start();
        let actions = ", actions = [\"created\", \"import.finished\", \"import.failed\"]";
        let daemon = told(setup, &webhook(&receiver, actions)).set("import.on_error", "reject").start().await;
        daemon.import("berlin", "harbour.zip", harbour().zip()).await;
        daemon.import("berlin", "broken.zip", b"PK no zip").await;
        let messages = receiver.messages();
        let kinds: Vec<&Value> = messages.iter().map(|message| &message["type"]).collect();
        assert_eq!(kinds, ["eventferry.import.failed.v1", "eventferry.import.failed.v1"]);
        assert!(messages.iter().all(|message| schema("import").is_valid(message)));
        assert_eq!(messages[0]["data"]["problem_counts"]["REJECTED_AS_A_WHOLE"], 1);
        daemon.finish().await;
    }
}
