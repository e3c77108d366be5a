//! Event handlers: every change is told, at least once, under one id; and imports wait for those who are told.

pub(super) mod crashes;
mod programs;
mod receivers;
mod reloads;
mod told;
mod waits;

use std::collections::BTreeSet;
use std::time::Duration;

use eventferry::model::Dataset;
use eventferry::store::jobs;
use serde_json::Value;

use super::archives::Archive;
use crate::support::daemon::{Setup, TestDaemon};
use crate::support::receiver::{HookReceiver, SECRET};

/// A `[[handlers]]` block for a receiver, with more keys.
pub(super) fn webhook(receiver: &HookReceiver, more: &str) -> String {
    format!(
        "{{name = \"tickets\", kind = \"webhook\", url = \"{}\", secret = \"{SECRET}\", \
         allow_addresses = [\"127.0.0.1\"] {more}}}",
        receiver.url()
    )
}

/// With this one handler, and handlers on for everybody.
pub(super) fn told(setup: Setup, handler: &str) -> Setup {
    setup.set("handlers", &format!("[{handler}]")).set("import.with_handlers", "true")
}

/// What a message is about: `created sessions 1`, by the id in the archive.
pub(super) fn about(message: &Value) -> String {
    let data = &message["data"];
    format!(
        "{} {} {}",
        data["action"].as_str().unwrap(),
        data["dataset"].as_str().unwrap(),
        data["source_id"].as_str().unwrap()
    )
}

pub(super) async fn deliveries(daemon: &TestDaemon, state: &str) -> i64 {
    daemon.count(&format!("deliveries WHERE state = '{state}'")).await
}

/// Every record that is in the tables, as `created DATASET SOURCE_ID`.
pub(super) async fn everything_created(daemon: &TestDaemon) -> BTreeSet<String> {
    let mut expected = BTreeSet::new();
    for dataset in Dataset::ALL {
        let sql = format!("SELECT source_id FROM {}", dataset.definition().table);
        let ids: Vec<String> = daemon.column(&sql).await;
        expected.extend(ids.into_iter().map(|id| format!("created {} {id}", dataset.as_str())));
    }
    expected
}

/// A conference of so many tracks.
pub(super) fn tracks(count: u64) -> Archive {
    Archive::of(9, "Rail Days").with_tracks(1, count)
}

/// The schema of a kind of message, as it is committed.
pub(super) fn schema(name: &str) -> jsonschema::Validator {
    let path = format!("{}/docs/messages/{name}.schema.json", env!("CARGO_MANIFEST_DIR"));
    let schema: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    jsonschema::validator_for(&schema).unwrap()
}

/// Waits until the job of a file waits for a handler, and gives the line that people read.
pub(super) async fn waiting_line(daemon: &TestDaemon, name: &str, wanted: &str) -> String {
    loop {
        let jobs = daemon.jobs().await;
        for job in jobs.iter().filter(|job| job.archive_name == name) {
            if let (Some(waits), Some(since)) = (&job.waits_for, job.waits_since) {
                let line = jobs::waiting_text(waits, since, job.waits_detail.as_deref());
                if line.ends_with(wanted) {
                    return line;
                }
            }
            assert!(!job.state.is_final(), "{job:#?}");
        }
        daemon.clock.advance(Duration::from_millis(200));
        daemon.look().await;
    }
}
