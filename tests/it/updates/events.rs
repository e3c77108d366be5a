//! Which event an archive means.

use eventferry::config::Allow;
use eventferry::model::{Code, JobState, OnExisting};
use serde_json::json;

use crate::fixtures::archive::Archive;
use crate::fixtures::importing::{Ferry, account};
use crate::support::databases::on_both_databases;

/// A later archive of the event: another name, or another start in whole days after 2019-05-04.
fn later(name: &str, start: &str) -> Archive {
    Archive::dash().set("event", "/name", name).set("event", "/starts-at", start).set("event", "/ends-at", json!(null))
}

const START: &str = "2019-05-04T09:00:00+03:00";

/// Whether a second archive goes into the event of the first, and with which problems.
async fn meet(ferry: &Ferry, second: &Archive) -> (bool, Vec<&'static str>) {
    let first = ferry.import(Archive::dash().zip()).await.event();
    let imported = ferry.import(second.zip()).await;
    assert_eq!(imported.state(), JobState::Succeeded, "{:?}", imported.problems);
    let is_same = imported.event() == first;
    assert_eq!(imported.report.event.as_ref().unwrap().created, !is_same);
    assert_eq!(ferry.count("events").await, if is_same { 1 } else { 2 });
    (is_same, imported.codes().into_keys().collect())
}

async fn meet_afresh(second: &Archive) -> (bool, Vec<&'static str>) {
    meet(&Ferry::on_sqlite().await, second).await
}

on_both_databases! {
    async fn the_same_name_less_than_300_days_apart_is_the_same_event(database: TestDatabase) {
        // 299 days later.
        let second = later("Harbour Days", "2020-02-27T09:00:00+03:00");
        assert_eq!(meet(&Ferry::on(database), &second).await, (true, vec![]));
    }

    async fn another_name_and_another_start_is_another_event_and_a_warning(database: TestDatabase) {
        let second = later("Harbour Nights", "2019-05-05T09:00:00+03:00");
        assert_eq!(meet(&Ferry::on(database), &second).await, (false, vec!["EVENT_ID_REUSED"]));
    }
}

#[tokio::test]
async fn the_next_years_edition_is_another_event_and_a_warning() {
    // 300 days later.
    let second = later("Harbour Days", "2020-02-28T09:00:00+03:00");
    assert_eq!(meet_afresh(&second).await, (false, vec!["EVENT_ID_REUSED"]));
    // 300 days earlier.
    let second = later("Harbour Days", "2018-07-08T09:00:00+03:00");
    assert_eq!(meet_afresh(&second).await, (false, vec!["EVENT_ID_REUSED"]));
}

#[tokio::test]
async fn the_same_start_under_another_name_is_the_same_event() {
    let second = later("Harbour Days (moved)", "2019-05-04T06:00:00Z");
    assert_eq!(meet_afresh(&second).await, (true, vec![]));
}

#[tokio::test]
async fn either_the_id_or_the_identifier_is_enough() {
    let second = later("Harbour Days", START);
    assert_eq!(meet_afresh(&second.clone().set("event", "/id", 99)).await, (true, vec![]));
    assert_eq!(meet_afresh(&second.clone().set("event", "/identifier", "0th3r")).await, (true, vec![]));
    assert_eq!(meet_afresh(&second.clone().remove("event", "/identifier")).await, (true, vec![]));
    let neither = second.set("event", "/id", 99).set("event", "/identifier", "0th3r");
    assert_eq!(meet_afresh(&neither).await, (false, vec![]));
}

#[tokio::test]
async fn an_empty_identifier_is_none() {
    for identifier in [json!(""), json!(null), json!(" ")] {
        let ferry = Ferry::on_sqlite().await;
        let of = |id: u32| Archive::dash().set("event", "/identifier", identifier.clone()).set("event", "/id", id);
        let first = ferry.import(of(1).zip()).await;
        let second = ferry.import(of(2).zip()).await;
        second.assert_clean();
        assert_ne!(first.event(), second.event());
    }
}

#[tokio::test]
async fn ids_of_events_are_the_same_as_text_and_as_number() {
    let second = later("Harbour Days", START).set("event", "/id", " 41").remove("event", "/identifier");
    assert_eq!(meet_afresh(&second).await, (true, vec![]));
}

#[tokio::test]
async fn another_server_or_another_account_has_other_events() {
    let elsewhere = later("Harbour Days", START).file("meta", json!({"root_url": "https://other.example.org"}));
    assert_eq!(meet_afresh(&elsewhere).await, (false, vec![]));
    let nowhere = later("Harbour Days", START).without("meta");
    assert_eq!(meet_afresh(&nowhere).await, (false, vec![]));

    let mut ferry = Ferry::on_sqlite().await;
    let first = ferry.import(Archive::dash().zip()).await;
    ferry.account = account("lighthouse");
    let second = ferry.import(Archive::dash().zip()).await;
    second.assert_clean();
    assert_ne!(first.event(), second.event());
    assert_eq!(ferry.count("users").await, 2);
}

#[tokio::test]
async fn an_event_without_a_start_is_known_by_its_name() {
    let without = |name: &str| Archive::dash().set("event", "/name", name).remove("event", "/starts-at");
    assert_eq!(meet_afresh(&without("Harbour Days")).await, (true, vec![]));
    assert_eq!(meet_afresh(&without("Harbour Nights")).await, (false, vec!["EVENT_ID_REUSED"]));
}

#[tokio::test]
async fn where_several_events_match_it_is_an_error_and_the_archive_may_name_one() {
    let mut ferry = Ferry::on_sqlite().await;
    ferry.account.on_existing = OnExisting::Create;
    let first = ferry.import(Archive::dash().zip()).await.event();
    ferry.again = true;
    let second = ferry.import(Archive::dash().zip()).await.event();
    assert_ne!(first, second);

    ferry.account.on_existing = OnExisting::Update;
    let before = ferry.snapshot().await;
    let archive = later("Harbour Days", START).set("event", "/description", "New");
    let imported = ferry.import(archive.zip()).await;
    assert_eq!(imported.state(), JobState::Failed);
    assert_eq!(imported.codes(), [("EVENT_AMBIGUOUS", 1)].into());
    assert!(imported.report.event.is_none());
    let problem = imported.only(Code::EventAmbiguous);
    assert!(problem.message.contains(&first.to_string()) && problem.message.contains(&second.to_string()));
    assert_eq!(ferry.snapshot().await, before);

    let imported = ferry.import(archive.file("eventferry.json", json!({"event": second})).zip()).await;
    imported.assert_clean();
    assert_eq!(imported.event(), second);
    assert_eq!(ferry.rows("id", "events WHERE description = 'New'").await, [second.to_string()]);
}

#[tokio::test]
async fn an_archive_may_name_an_event_of_its_own_account_only() {
    let mut ferry = Ferry::on_sqlite().await;
    let event = ferry.import(Archive::dash().zip()).await.event();
    let named = |event: i64| {
        later("Quite another", "2031-01-01T00:00:00Z")
            .set("event", "/id", 7)
            .file("eventferry.json", json!({"event": event}))
    };
    let imported = ferry.import(named(event).zip()).await;
    assert_eq!(imported.state(), JobState::Succeeded);
    assert_eq!((imported.event(), ferry.count("events").await), (event, 1));
    assert_eq!(ferry.rows("name", "events").await, ["Quite another"]);

    let imported = ferry.import(named(event + 1000).zip()).await;
    assert_eq!(imported.codes(), [("EVENT_UNKNOWN", 1)].into());
    assert_eq!(imported.state(), JobState::Failed);

    ferry.account.allow = vec![];
    let imported = ferry.import(named(event).set("event", "/name", "Not allowed").zip()).await;
    assert_eq!(imported.state(), JobState::Failed);
    assert_eq!(imported.codes(), [("POLICY_INVALID", 1)].into());

    ferry.account = account("lighthouse");
    let imported = ferry.import(named(event).zip()).await;
    assert_eq!(imported.state(), JobState::Failed);
    assert_eq!(imported.codes(), [("EVENT_UNKNOWN", 1)].into());
    assert_eq!(ferry.rows("name", "events").await, ["Quite another"]);
}

#[tokio::test]
async fn the_account_decides_what_happens_to_an_event_that_is_there() {
    let mut ferry = Ferry::on_sqlite().await;
    let first = ferry.import(Archive::dash().zip()).await.event();
    let second = later("Harbour Days", START).set("event", "/description", "Second");

    ferry.account.on_existing = OnExisting::Reject;
    let before = ferry.snapshot().await;
    let imported = ferry.import(second.zip()).await;
    assert_eq!(imported.state(), JobState::Failed);
    assert_eq!(imported.codes(), [("EVENT_EXISTS", 1)].into());
    assert_eq!(ferry.snapshot().await, before);
    // Another event is none that is there.
    let other =
        later("Harbour Nights", "2019-06-01T00:00:00Z").set("event", "/id", 8).set("event", "/identifier", "n1");
    ferry.import(other.zip()).await.assert_clean();

    ferry.account.on_existing = OnExisting::Create;
    let imported = ferry.import(second.zip()).await;
    imported.assert_clean();
    assert_ne!(imported.event(), first);
    assert_eq!(imported.dataset("sessions").created, 4);
    assert_eq!(ferry.count(&format!("sessions WHERE event_id = {first}")).await, 4);
}

#[tokio::test]
async fn an_archive_decides_as_far_as_its_account_allows() {
    let mut ferry = Ferry::on_sqlite().await;
    let first = ferry.import(Archive::dash().zip()).await.event();
    let second = later("Harbour Days", START).file("eventferry.json", json!({"on_existing": "create"}));

    let before = ferry.snapshot().await;
    let imported = ferry.import(second.zip()).await;
    assert_eq!(imported.state(), JobState::Failed);
    let problem = imported.only(Code::PolicyInvalid);
    assert_eq!((problem.file.as_deref(), problem.field.as_deref()), (Some("eventferry.json"), Some("on_existing")));
    assert_eq!(ferry.snapshot().await, before);

    ferry.account.allow = vec![Allow::OnExisting];
    let imported = ferry.import(second.zip()).await;
    imported.assert_clean();
    assert_ne!(imported.event(), first);
}

#[tokio::test]
async fn wishes_that_cannot_be_read_refuse_the_archive() {
    for wish in [
        json!({"on_existing": "perhaps"}),
        json!({"on_eror": "skip"}),
        json!([]),
        json!({"event": "first"}),
        json!({"supplement_of": "no id"}),
        json!({"version": 99}),
    ] {
        let ferry = Ferry::on_sqlite().await;
        let imported = ferry.import(Archive::dash().file("eventferry.json", wish.clone()).zip()).await;
        assert_eq!(imported.state(), JobState::Failed, "{wish}");
        assert_eq!(imported.codes(), [("POLICY_INVALID", 1)].into(), "{wish}");
        ferry.assert_no_records().await;
    }
}
