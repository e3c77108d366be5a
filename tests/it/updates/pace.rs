//! A chunk that took too long is followed by smaller ones.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use eventferry::import::{RunEnd, Step};
use eventferry::model::JobState;
use serde_json::json;

use crate::fixtures::archive::Archive;
use crate::fixtures::importing::Ferry;

#[tokio::test]
async fn chunks_shrink_until_they_fit_into_their_time_and_grow_again() {
    let mut ferry = Ferry::on_sqlite().await;
    (ferry.chunk_records, ferry.chunk_time) = (40, Duration::from_millis(500));
    let tracks: Vec<_> = (1..=200).map(|id| json!({"id": id, "name": format!("Track {id}")})).collect();
    let running = ferry.start("harbour.zip", Archive::flat().file("tracks", tracks).zip()).await;
    let (clock, seen) = (ferry.clock.clone(), Arc::new(Mutex::new(Vec::new())));
    let heard = Arc::clone(&seen);
    // The first chunks of tracks take a second each, whatever their size; the others no time at all.
    let on_progress = Arc::new(move |step: Step<'_>| {
        if let Step::At { stage: "importing tracks", done, .. } = step {
            let mut seen = heard.lock().unwrap();
            seen.push(done);
            if seen.len() <= 3 {
                clock.advance(Duration::from_secs(1));
            }
        }
    });
    let RunEnd::Outcome(report) = ferry.run_watched(&running, on_progress).await else { panic!("no outcome") };
    assert_eq!(ferry.end(&running, *report).await.state(), JobState::Succeeded);
    // 25 ms a record, then 50, then 100 in the last slow one; then no time: one more is as small as that was expected of.
    assert_eq!(*seen.lock().unwrap(), [40, 60, 70, 75, 80, 120, 160, 200]);
}
