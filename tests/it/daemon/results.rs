//! What lies in the outbox, during a job and after it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use eventferry::model::{Code, Dataset, JobState};
use eventferry::signal::FailPoint;
use serde_json::{Value, json};

use super::archives::{Archive, harbour};
use crate::fixtures::zips::{ZipEntry, unzip, zip};
use crate::support::daemon::{Ended, with_each_database};

fn json_of(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// A result as its published schema wants it.
pub(crate) fn assert_valid(ended: &Ended) {
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/result.schema.json");
    let validator = jsonschema::options().should_validate_formats(true).build(&json_of(&schema)).unwrap();
    let result = json_of(&ended.folder.join("result.json"));
    let errors: Vec<String> = validator.iter_errors(&result).map(|error| error.to_string()).collect();
    assert_eq!(errors, [""; 0], "{result:#}");
}

/// The rows of `errors.csv` below its heading.
fn rows(ended: &Ended) -> Vec<Vec<String>> {
    let mut reader = csv::Reader::from_path(ended.folder.join("errors.csv")).unwrap();
    reader.records().map(|row| row.unwrap().iter().map(str::to_owned).collect()).collect()
}

with_each_database! {
    async fn the_files_say_what_the_tables_say(setup: Setup) {
        let daemon = setup.start().await;
        let partial = daemon.import("berlin", "harbour.zip", harbour().zip()).await;
        let clean = daemon.import("default", "clean.zip", Archive::of(2, "Clean").with_tracks(1, 3).zip()).await;
        let duplicate = daemon.import("berlin", "harbour.zip", harbour().zip()).await;
        let failed = daemon.import("berlin", "torn.zip", b"%PDF-1.7").await;
        let states: Vec<JobState> = [&partial, &clean, &duplicate, &failed].map(|ended| ended.job.state).to_vec();
        assert_eq!(states, [JobState::Partial, JobState::Succeeded, JobState::Duplicate, JobState::Failed]);
        for ended in [&partial, &clean, &duplicate, &failed] {
            assert_valid(ended);
            assert_eq!(ended.report.state, ended.job.state);
            assert_eq!(ended.report.started, ended.job.started_at.unwrap());
            assert_eq!(ended.report.finished, ended.job.finished_at.unwrap());
            let from_table: i64 = daemon.count(&format!("problems WHERE job_id = '{}'", ended.job.id)).await;
            assert_eq!(rows(ended).len(), usize::try_from(from_table).unwrap());
            assert_eq!(ended.report.problems.len(), rows(ended).len());
        }
        assert_eq!(duplicate.report.related_job, Some(partial.job.id));

        let counts = |dataset| {
            let counts = partial.report.datasets[&dataset];
            (counts.read, counts.created, counts.rejected)
        };
        assert_eq!(counts(Dataset::Sessions), (5, 4, 1));
        assert_eq!(counts(Dataset::Speakers), (3, 3, 0));
        assert_eq!(partial.report.links.session_speakers, 4);
        let media = partial.report.media;
        assert_eq!((media.referenced, media.stored, media.missing, media.remote), (4, 2, 1, 1));
        let codes: BTreeMap<Code, u64> = partial.report.problem_counts.clone();
        assert_eq!((codes[&Code::JsonSyntax], codes[&Code::FieldRequired]), (1, 1), "{codes:?}");
        let required = partial.report.problems.iter().find(|problem| problem.code == Code::FieldRequired).unwrap();
        assert_eq!(
            (required.file.as_deref(), required.position, required.source_id.as_deref(), required.field.as_deref()),
            (Some("sessions"), Some(3), Some("3"), Some("title"))
        );
        assert!(rows(&partial).iter().any(|row| row[..6] == ["error", "FIELD_REQUIRED", "sessions", "3", "3", "title"]));

        // The newest of a name, not the last that succeeded.
        let latest = daemon.root().join("outbox/berlin/latest");
        assert_eq!(fs::read(latest.join("harbour.json")).unwrap(), fs::read(duplicate.folder.join("result.json")).unwrap());
        assert_eq!(fs::read(latest.join("torn.json")).unwrap(), fs::read(failed.folder.join("result.json")).unwrap());
        assert_eq!(daemon.files("outbox/default/latest"), ["outbox/default/latest/clean.json"]);
        daemon.finish().await;
    }

    async fn what_was_rejected_can_be_corrected_and_dropped_again(setup: Setup) {
        let daemon = setup.start().await;
        let ended = daemon.import("berlin", "harbour.zip", harbour().zip()).await;
        let rejected = fs::read(ended.folder.join("rejected.zip")).unwrap();
        let mut entries = unzip(&rejected);
        let mut names: Vec<String> = entries.iter().map(|(name, _)| String::from_utf8(name.clone()).unwrap()).collect();
        names.sort();
        assert_eq!(names, ["eventferry.json", "session_types", "sessions"]);
        let content = |entries: &mut Vec<(Vec<u8>, Vec<u8>)>, name: &str, new: Option<Value>| -> Value {
            let entry = entries.iter_mut().find(|(there, _)| there == name.as_bytes()).unwrap();
            let old = serde_json::from_slice(&entry.1).unwrap_or(Value::Null);
            if let Some(new) = new {
                entry.1 = new.to_string().into_bytes();
            }
            old
        };
        let sessions = json!([{"id": 3, "title": "Sails", "track_id": 1}]);
        assert_eq!(content(&mut entries, "sessions", Some(sessions)), json!([{"id": 3, "track_id": 1}]));
        content(&mut entries, "session_types", Some(json!([{"id": 1, "name": "Talk"}, {"id": 2, "name": "Walk"}])));

        // Dropped as it is: nothing new, the same errors again.
        let same = daemon.import("berlin", "same.zip", &rejected).await;
        assert_eq!(same.job.state, JobState::Failed, "{:#?}", same.report);
        let codes: Vec<Code> = same.report.problems.iter().map(|problem| problem.code).collect();
        assert_eq!(codes, [Code::JsonSyntax, Code::FieldRequired]);

        let corrected: Vec<ZipEntry> = entries.into_iter().map(|(name, content)| ZipEntry::new(name, content)).collect();
        let again = daemon.import("berlin", "corrected.zip", zip(&corrected)).await;
        assert_eq!(again.job.state, JobState::Succeeded, "{:#?}", again.report);
        assert_valid(&again);
        assert_eq!(again.report.related_job, Some(ended.job.id));
        assert_eq!(again.report.event.as_ref().unwrap().id, ended.report.event.as_ref().unwrap().id);
        assert_eq!(again.report.datasets[&Dataset::Sessions].created, 1);
        assert_eq!(again.report.datasets[&Dataset::SessionTypes].created, 2);
        assert!(again.report.datasets.values().all(|counts| counts.gone == 0));
        assert_eq!(daemon.count("sessions WHERE gone_at IS NULL").await, 5);
        // The reference of the corrected session was resolved in the database.
        assert_eq!(daemon.count("sessions WHERE title = 'Sails' AND track_id IS NOT NULL").await, 1);
        assert_eq!(daemon.count("events").await, 1);
        daemon.finish().await;
    }

    async fn what_was_shown_too_early_is_shown_a_second_later(setup: Setup) {
        let daemon = setup.set("import.chunk_pause", "100s").start().await;
        daemon.drop_file("default", "tracks.zip", Archive::of(1, "Tracks").with_tracks(1, 3).zip());
        daemon.signals.reached(FailPoint::ChunkAfterCommit, 1).await;
        // The check was shown a moment ago, and until the next chunk nothing more is said.
        let begun = daemon.clock.monotonic();
        loop {
            let files = daemon.files("outbox");
            let status = files.iter().find(|file| file.ends_with("/status.json")).expect("the check was shown");
            if json_of(&daemon.root().join(status))["text"] == "Importing event (1/1)" {
                break;
            }
            // The disk may be slower than this clock, which must not come to the next chunk.
            if daemon.clock.monotonic() - begun < Duration::from_secs(50) {
                daemon.clock.advance(Duration::from_secs(1));
            }
            daemon.look().await;
        }
        assert_eq!(daemon.signals.visits(FailPoint::ChunkAfterCommit), 1);
        daemon.idle_in_steps().await;
        daemon.finish().await;
    }

    async fn a_running_job_shows_how_far_it_is(setup: Setup) {
        let setup = setup.set("import.chunk_records", "2").set("import.chunk_pause", "2s");
        let daemon = setup.start().await;
        daemon.drop_file("default", "tracks.zip", Archive::of(1, "Tracks").with_tracks(1, 10).zip());
        daemon.signals.reached(FailPoint::ChunkAfterCommit, 1).await;
        let mut texts = Vec::new();
        loop {
            let job = daemon.job("tracks.zip").await;
            if job.state.is_final() {
                break;
            }
            let statuses: Vec<String> =
                daemon.files("outbox").into_iter().filter(|file| file.ends_with("/status.json")).collect();
            assert!(statuses.len() <= 1);
            // It goes with the job's end, which may come between two looks.
            if let Some(Ok(text)) = statuses.first().map(|path| fs::read(daemon.root().join(path))) {
                let status: Value = serde_json::from_slice(&text).unwrap();
                assert_eq!((&status["state"], &status["job"]), (&json!("running"), &json!(job.id)));
                assert_eq!(status["version"], 1);
                texts.push(status["text"].as_str().unwrap().to_owned());
            }
            daemon.clock.advance(Duration::from_secs(1));
            daemon.look().await;
        }
        texts.dedup();
        for text in ["Importing tracks (4/10)", "Importing tracks (8/10)"] {
            assert!(texts.contains(&text.to_owned()), "{texts:?}");
        }
        daemon.finish().await;
    }
}
