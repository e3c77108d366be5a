//! Jobs side by side, stopped, cancelled, repeated, and put aside.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use eventferry::model::{Code, JobId, JobState, OnError};
use eventferry::signal::{FailPoint, Injection, Signals};
use eventferry::store::jobs::{
    self, Blame, Cancellation, ClaimRequest, JobKind, JobView, NewJob, OwnerId, SourceState,
};
use serde_json::{Value, json};

use super::archives::{Archive, harbour};
use crate::support::daemon::{Ended, Setup, TestDaemon, TestMail, with_each_database};

const COMMITTED: FailPoint = FailPoint::ChunkAfterCommit;

/// An archive of eleven clean chunks: the event, and twenty tracks by two.
fn long_archive(id: u64) -> Archive {
    Archive::of(id, &format!("Long {id}")).with_tracks(1, 20)
}

const CHUNKS: u32 = 11;

/// Two records in a chunk.
fn in_small_chunks(setup: Setup) -> Setup {
    setup.set("import.chunk_records", "2")
}

/// Jobs stand still after each chunk until the clock goes on.
fn held_after_each_chunk(setup: Setup) -> Setup {
    in_small_chunks(setup).set("import.chunk_pause", "1s")
}

impl TestDaemon {
    /// Lets the clock go on until so many chunks were committed in this life.
    async fn until_chunk(&self, chunk: u32) {
        while self.signals.visits(COMMITTED) < chunk {
            self.clock.advance(Duration::from_secs(1));
            self.look().await;
        }
    }

    /// Waits until a job stands as wanted, while the clock stands still.
    async fn until(&self, name: &str, wanted: impl Fn(&JobView) -> bool) -> JobView {
        loop {
            if let Some(job) = self.jobs().await.into_iter().rfind(|job| job.archive_name == name && wanted(job)) {
                return job;
            }
            self.look().await;
        }
    }

    /// Takes a job in as the command for it does: a copy of the archive, and a row that names the old job.
    async fn retry(&self, old: &JobView) -> JobId {
        self.clock.advance(Duration::from_millis(5));
        let job = JobId(self.clock.new_id());
        let folder = self.root().join("work").join(job.to_string());
        fs::create_dir(&folder).unwrap();
        fs::copy(self.root().join(old.source_path.as_ref().unwrap()), folder.join("source.zip")).unwrap();
        let new = NewJob {
            id: job,
            kind: JobKind::Import,
            account: old.account.clone(),
            archive_name: old.archive_name.clone(),
            archive_bytes: old.archive_bytes,
            source_key: old.source_key.clone(),
            again: true,
            retry_of: Some(old.id),
            with_handlers: None,
            created_at: self.clock.now(),
        };
        jobs::insert(&self.database, &new).await.unwrap();
        job
    }

    async fn cancel(&self, job: &JobView) -> Cancellation {
        jobs::cancel(&self.database, job.id, self.clock.now()).await.unwrap()
    }

    async fn assert_no_event(&self) {
        assert_eq!((self.count("events").await, self.count("tracks").await, self.count("media").await), (0, 0, 0));
    }
}

with_each_database! {
    async fn a_restart_goes_on_after_the_last_chunk(setup: Setup) {
        let mut daemon = in_small_chunks(setup).start().await;
        daemon.signals.inject(COMMITTED, 4, Injection::Die);
        daemon.drop_file("default", "long.zip", long_archive(1).zip());
        daemon.signals.reached(COMMITTED, 4).await;
        daemon.die().await;
        assert_eq!(daemon.count("tracks").await, 6);
        let written: Vec<String> = daemon.column("SELECT CAST(updated_at AS TEXT) FROM tracks ORDER BY id").await;
        daemon.clock.advance(Duration::from_secs(60));

        daemon.start().await;
        daemon.idle().await;
        assert_eq!(daemon.signals.visits(COMMITTED), CHUNKS - 4);
        let now: Vec<String> = daemon.column("SELECT CAST(updated_at AS TEXT) FROM tracks ORDER BY id").await;
        assert_eq!(now.len(), 20);
        assert_eq!(now[..6], written);
        let ended = daemon.ended("long.zip").await;
        assert_eq!((ended.job.state, ended.job.attempts), (JobState::Succeeded, 0));
        let tracks = ended.report.datasets[&eventferry::model::Dataset::Tracks];
        assert_eq!((tracks.read, tracks.created), (20, 20));
        daemon.finish().await;
    }

    async fn a_chunk_that_was_not_committed_is_written_again_and_none_else(setup: Setup) {
        let mut daemon = in_small_chunks(setup).start().await;
        daemon.signals.inject(FailPoint::ChunkBeforeCommit, 4, Injection::Die);
        daemon.drop_file("default", "long.zip", long_archive(1).zip());
        daemon.signals.reached(FailPoint::ChunkBeforeCommit, 4).await;
        daemon.die().await;
        assert_eq!(daemon.count("tracks").await, 4);
        daemon.start().await;
        daemon.idle().await;
        assert_eq!(daemon.signals.visits(COMMITTED), CHUNKS - 3);
        assert_eq!(daemon.count("tracks").await, 20);
        daemon.finish().await;
    }

    async fn a_job_that_gets_on_survives_more_deaths_than_one_that_does_not(setup: Setup) {
        let mut daemon = in_small_chunks(setup).start().await;
        daemon.signals.inject(COMMITTED, 1, Injection::Die);
        daemon.drop_file("default", "long.zip", long_archive(1).zip());
        for life in 1..=8 {
            daemon.die_at(COMMITTED).await;
            assert_eq!(daemon.job("long.zip").await.strikes, 0, "life {life}");
        }
        daemon.start().await;
        daemon.idle().await;
        assert_eq!(daemon.signals.visits(COMMITTED), CHUNKS - 8);
        assert_eq!(daemon.job("long.zip").await.state, JobState::Succeeded);
        daemon.finish().await;
    }

    async fn a_job_that_the_process_dies_of_five_times_is_put_aside(setup: Setup) {
        let mut daemon = setup.start().await;
        daemon.signals.inject(FailPoint::Checked, 1, Injection::Die);
        daemon.drop_file("berlin", "poison.zip", harbour().zip());
        for strikes in 1..=5 {
            daemon.die_at(FailPoint::Checked).await;
            let job = daemon.job("poison.zip").await;
            assert_eq!((job.state, job.strikes), (JobState::Running, strikes - 1));
        }
        daemon.start().await;
        let other = daemon.import("berlin", "other.zip", long_archive(1).zip()).await;
        assert_eq!(other.job.state, JobState::Succeeded);
        assert_eq!(daemon.signals.visits(FailPoint::Checked), 1, "only the other archive is read");

        let ended = daemon.ended("poison.zip").await;
        assert_eq!(ended.job.state, JobState::Failed);
        let codes: Vec<Code> = ended.report.problems.iter().map(|problem| problem.code).collect();
        assert_eq!(codes, [Code::Quarantined]);
        assert!(ended.job.source_path.unwrap().starts_with("rejected/berlin/"));
        let mut told: Vec<(String, Option<String>)> =
            daemon.mails(Some(ended.job.id)).await.into_iter().map(|mail| (mail.kind, mail.recipient)).collect();
        told.sort();
        let to = |address: &str| Some(address.to_owned());
        assert_eq!(
            told,
            [("admin".to_owned(), to("admin@example.org")), ("import_failed".to_owned(), to("berlin@example.org"))]
        );
        daemon.finish().await;
    }

    async fn a_soft_stop_at_the_next_chunk_uses_no_attempt(setup: Setup) {
        let mut daemon = held_after_each_chunk(setup).start().await;
        daemon.drop_file("default", "long.zip", long_archive(1).zip());
        daemon.until_chunk(3).await;
        let before = daemon.signals.visits(COMMITTED);
        daemon.stop().await;
        assert_eq!(daemon.signals.visits(COMMITTED), before, "no chunk began after the stop");
        let job = daemon.job("long.zip").await;
        assert_eq!((job.state, job.attempts, job.strikes, job.outages), (JobState::Queued, 0, 0, 0));
        assert_eq!(daemon.files("work/.owners"), [""; 0]);

        daemon.signals = Signals::armed();
        daemon.start().await;
        daemon.idle_in_steps().await;
        assert_eq!(daemon.signals.visits(COMMITTED), CHUNKS - before);
        let job = daemon.job("long.zip").await;
        assert_eq!((job.state, job.attempts), (JobState::Succeeded, 0));
        daemon.finish().await;
    }

    async fn what_was_shown_of_a_job_that_is_anothers_by_now_does_not_stay(setup: Setup) {
        let mut daemon = held_after_each_chunk(setup).start().await;
        daemon.drop_file("default", "long.zip", long_archive(1).zip());
        daemon.until_chunk(1).await;
        let shown = |daemon: &TestDaemon| daemon.files("outbox").into_iter().any(|file| file.ends_with("status.json"));
        assert!(shown(&daemon));
        // Another daemon takes it over, as from one that was frozen.
        let other = OwnerId(daemon.clock.new_id());
        let running = jobs::running_of_others(&daemon.database, other).await.unwrap();
        assert!(jobs::rescue(&daemon.database, &running[0], Blame::None).await.unwrap());
        let now = daemon.clock.now();
        let horizon = now + chrono::TimeDelta::hours(1);
        let request = ClaimRequest { owner: other, per_account: 1, strikes: 5, attempts: 5, now, horizon };
        let (lease, _) = jobs::claim_next(&daemon.database, &request).await.unwrap().unwrap();
        daemon.stop().await;
        assert!(!shown(&daemon), "the other may have ended it before");

        jobs::release(&daemon.database, &lease, now).await.unwrap();
        daemon.start().await;
        daemon.idle_in_steps().await;
        assert_eq!(daemon.job("long.zip").await.state, JobState::Succeeded);
        daemon.finish().await;
    }

    async fn imports_into_one_event_go_one_after_the_other_and_another_accounts_beside(setup: Setup) {
        let daemon = held_after_each_chunk(setup).start().await;
        daemon.drop_file("default", "first.zip", long_archive(1).zip());
        let first = daemon.until("first.zip", |job| job.state == JobState::Running).await;
        daemon.drop_file("default", "second.zip", Archive::of(1, "Long 1").with_tracks(1, 25).zip());
        daemon.drop_file("berlin", "beside.zip", long_archive(1).zip());
        daemon.until("beside.zip", |job| job.state == JobState::Running).await;
        let second = daemon.until("second.zip", |job| job.state == JobState::Blocked).await;
        assert_eq!((second.blocked_on, second.started_at), (Some(first.id), None));
        let waits_for = second.waits_for.unwrap();
        assert!(waits_for.contains("first.zip") && second.waits_since.is_some(), "{waits_for}");
        assert_eq!(daemon.job("first.zip").await.state, JobState::Running);

        daemon.idle_in_steps().await;
        let (first, second) = (daemon.ended("first.zip").await, daemon.ended("second.zip").await);
        assert!(second.job.started_at.unwrap() >= first.job.finished_at.unwrap());
        assert_eq!(second.report.event.as_ref().unwrap().id, first.report.event.as_ref().unwrap().id);
        let tracks = second.report.datasets[&eventferry::model::Dataset::Tracks];
        assert_eq!((tracks.created, tracks.unchanged, tracks.updated), (5, 20, 0));
        let beside = daemon.ended("beside.zip").await;
        assert_eq!(beside.job.state, JobState::Succeeded);
        assert!(beside.job.started_at.unwrap() < first.job.finished_at.unwrap(), "it ran beside");
        assert_eq!(daemon.count("events").await, 2);
        daemon.finish().await;
    }

    async fn imports_that_name_one_event_in_two_ways_go_one_after_the_other(setup: Setup) {
        let daemon = held_after_each_chunk(setup).start().await;
        let event = |identifier: &str| {
            json!({
                "id": 1, "identifier": identifier, "name": "Long 1", "starts_at": "2026-05-04T09:00:00+02:00",
                "ends_at": "2026-05-05T18:00:00+02:00", "timezone": "Europe/Berlin",
            })
        };
        daemon.drop_file("default", "first.zip", long_archive(1).with("event", &event("long-1")).zip());
        daemon.until_chunk(3).await;
        daemon.drop_file("default", "second.zip", Archive::of(1, "Long 1").with_tracks(1, 25).zip());
        let second = daemon.until("second.zip", |job| job.state == JobState::Blocked).await;
        assert_eq!(second.blocked_on, Some(daemon.job("first.zip").await.id));
        daemon.idle_in_steps().await;
        let (first, second) = (daemon.ended("first.zip").await, daemon.ended("second.zip").await);
        assert_eq!((first.job.state, second.job.state), (JobState::Succeeded, JobState::Succeeded));
        let tracks = |ended: &Ended| ended.report.datasets[&eventferry::model::Dataset::Tracks];
        assert_eq!((tracks(&first).created, tracks(&second).created, tracks(&second).unchanged), (20, 5, 20));
        assert_eq!((daemon.count("events").await, daemon.count("tracks").await), (1, 25));
        daemon.finish().await;
    }

    async fn a_claimed_archive_that_is_not_what_was_claimed_ends_its_job(setup: Setup) {
        let daemon = setup.start().await;
        for (name, is_lost) in [("lost.zip", true), ("linked.zip", false)] {
            let visit = daemon.signals.visits(FailPoint::Checked) + 1;
            daemon.signals.inject(FailPoint::Checked, visit, Injection::Fail);
            daemon.drop_file("berlin", name, harbour().zip());
            daemon.signals.reached(FailPoint::Checked, visit).await;
            daemon.until(name, |job| job.state == JobState::Paused).await;
            let folder = daemon.root().join("work").join(daemon.job(name).await.id.to_string());
            let (source, other) = (folder.join("source.zip"), daemon.root().join(name));
            if is_lost {
                fs::rename(&source, &other).unwrap();
            } else {
                fs::hard_link(&source, &other).unwrap();
            }
            while !daemon.job(name).await.state.is_final() {
                daemon.clock.advance(Duration::from_mins(1));
                daemon.look().await;
            }
            let ended = daemon.ended(name).await;
            assert_eq!(ended.job.state, JobState::Failed, "{name}");
            assert_eq!(ended.report.problems[0].code, Code::ChangedWhileReading, "{name}");
            if is_lost {
                let moved = daemon.until(name, |job| job.source_state == SourceState::Moved).await;
                assert_eq!(moved.source_path, None);
                // It turns up: then it is one of the rejected after all.
                while folder.exists() {
                    daemon.look().await;
                }
                fs::create_dir(&folder).unwrap();
                fs::rename(&other, &source).unwrap();
                daemon.sweep().await;
                assert_eq!(daemon.job(name).await.source_state, SourceState::Leaving);
            } else {
                fs::remove_file(&other).unwrap();
            }
        }
        daemon.import("berlin", "good.zip", harbour().zip()).await;
        daemon.idle().await;
        daemon.finish().await;
    }

    async fn a_folder_that_takes_no_file_keeps_no_file_of_others(setup: Setup) {
        let daemon = setup.start().await;
        let in_the_way = daemon.root().join("done/default");
        fs::create_dir_all(in_the_way.parent().unwrap()).unwrap();
        fs::write(&in_the_way, "").unwrap();
        daemon.drop_file("default", "first.zip", long_archive(1).zip());
        let first = daemon.until("first.zip", |job| job.state.is_final()).await;
        daemon.drop_file("berlin", "second.zip", long_archive(2).zip());
        daemon.until("second.zip", |job| job.source_state == SourceState::Moved).await;
        assert!(daemon.root().join(daemon.job("second.zip").await.source_path.unwrap()).is_file());
        assert_eq!(daemon.job("first.zip").await.source_state, SourceState::Leaving);
        let told = |mail: &TestMail| mail.kind == "admin" && mail.text.contains("first.zip");
        while !daemon.mails(None).await.iter().any(told) {
            daemon.clock.advance(Duration::from_secs(1));
            daemon.look().await;
        }
        fs::remove_file(&in_the_way).unwrap();
        daemon.idle().await;
        assert_eq!(daemon.job("first.zip").await.id, first.id);
        daemon.finish().await;
    }

    async fn what_ended_long_ago_is_forgotten_and_what_it_has_brought_stays(setup: Setup) {
        let daemon = setup.start().await;
        let first = daemon.import("berlin", "harbour.zip", harbour().zip()).await;
        let events = daemon.count("events").await;
        assert!(daemon.count("problems").await > 0);
        daemon.clock.advance(Duration::from_hours(24 * 300));
        let later = daemon.import("berlin", "long.zip", long_archive(1).zip()).await;
        daemon.clock.advance(Duration::from_hours(24 * 101));
        daemon.sweep().await;
        let left: Vec<String> = daemon.column("SELECT archive_name FROM jobs").await;
        assert_eq!(left, ["long.zip"]);
        for table in ["problems", "mails", "notifications"] {
            assert_eq!(daemon.count(&format!("{table} WHERE job_id <> '{}'", later.job.id)).await, 0, "{table}");
        }
        assert_eq!(daemon.count("mails").await, 1);
        assert_eq!(daemon.count("events").await, events + 1);
        let again = daemon.import("berlin", "again.zip", harbour().zip()).await;
        assert_eq!(again.job.state, JobState::Duplicate);
        // Files go by the time of the machine, which has not gone on.
        fs::remove_file(daemon.root().join(first.job.source_path.unwrap())).unwrap();
        fs::remove_dir_all(first.folder).unwrap();
        let mail = daemon.files("mail").into_iter().find(|file| file.contains(&first.job.id.to_string())).unwrap();
        fs::remove_file(daemon.root().join(mail)).unwrap();
        daemon.finish().await;
    }

    async fn a_long_archive_does_not_keep_a_short_one_waiting(setup: Setup) {
        let daemon = held_after_each_chunk(setup).set("import.parallel", "1").start().await;
        daemon.drop_file("default", "long.zip", long_archive(1).zip());
        daemon.until_chunk(2).await;
        daemon.drop_file("berlin", "short.zip", Archive::of(2, "Short").with_tracks(1, 1).zip());
        daemon.idle_in_steps().await;
        let (long, short) = (daemon.job("long.zip").await, daemon.job("short.zip").await);
        assert_eq!((long.state, short.state), (JobState::Succeeded, JobState::Succeeded));
        assert!(short.finished_at.unwrap() < long.finished_at.unwrap(), "{short:#?} {long:#?}");
        daemon.finish().await;
    }

    async fn a_queued_job_that_is_cancelled_writes_nothing(setup: Setup) {
        let daemon = held_after_each_chunk(setup).set("import.parallel", "1").start().await;
        daemon.drop_file("default", "first.zip", long_archive(1).zip());
        daemon.until_chunk(1).await;
        daemon.drop_file("default", "queued.zip", harbour().zip());
        let queued = daemon.until("queued.zip", |job| job.state == JobState::Queued).await;
        assert_eq!(daemon.cancel(&queued).await, Cancellation::Requested);
        daemon.idle_in_steps().await;
        let ended = daemon.ended("queued.zip").await;
        assert_eq!((ended.job.state, ended.job.event_id), (JobState::Cancelled, None));
        assert_eq!(ended.report.event, None);
        assert_eq!(daemon.count("events").await, 1);
        assert!(ended.job.source_path.as_ref().unwrap().starts_with("rejected/default/"));
        assert_eq!(daemon.mails(Some(ended.job.id)).await[0].kind, "import_failed");
        assert_eq!(daemon.cancel(&ended.job).await, Cancellation::Ended(JobState::Cancelled));
        daemon.finish().await;
    }

    async fn a_running_job_that_is_cancelled_takes_back_the_event_it_made(setup: Setup) {
        let daemon = held_after_each_chunk(setup).start().await;
        daemon.drop_file("default", "harbour.zip", harbour().zip());
        // The problems, the event, and the first records.
        daemon.until_chunk(4).await;
        assert_eq!(daemon.count("events").await, 1);
        assert_eq!(daemon.cancel(&daemon.job("harbour.zip").await).await, Cancellation::Requested);
        daemon.idle_in_steps().await;
        let ended = daemon.ended("harbour.zip").await;
        assert_eq!(ended.job.state, JobState::Cancelled);
        assert!(ended.report.summary.contains("nothing of it is in"), "{}", ended.report.summary);
        daemon.assert_no_event().await;
        daemon.finish().await;
    }

    async fn a_job_that_is_cancelled_with_its_media_stored_takes_them_back(setup: Setup) {
        let mut daemon = setup.start().await;
        daemon.signals.inject(FailPoint::MediaBeforeRow, 1, Injection::Die);
        daemon.drop_file("default", "harbour.zip", harbour().zip());
        daemon.signals.reached(FailPoint::MediaBeforeRow, 1).await;
        daemon.die().await;
        assert_eq!(daemon.files("media").len(), 2);
        assert_eq!(daemon.cancel(&daemon.job("harbour.zip").await).await, Cancellation::Requested);
        daemon.start().await;
        daemon.idle().await;
        assert_eq!(daemon.job("harbour.zip").await.state, JobState::Cancelled);
        daemon.assert_no_event().await;
        // That the media are gone is looked at in the end.
        daemon.finish().await;
    }

    async fn an_update_that_is_cancelled_stops_and_says_where(setup: Setup) {
        let daemon = held_after_each_chunk(setup).start().await;
        daemon.drop_file("default", "first.zip", long_archive(1).zip());
        daemon.idle_in_steps().await;
        let renamed: Vec<Value> = (1..=20).map(|id| json!({"id": id, "name": format!("New {id}")})).collect();
        let before = daemon.signals.visits(COMMITTED);
        daemon.drop_file("default", "second.zip", Archive::of(1, "Long 1").with("tracks", &Value::from(renamed)).zip());
        daemon.until_chunk(before + 3).await;
        daemon.cancel(&daemon.job("second.zip").await).await;
        daemon.idle_in_steps().await;
        let ended = daemon.ended("second.zip").await;
        assert_eq!(ended.job.state, JobState::Cancelled);
        assert!(ended.report.summary.contains("importing tracks"), "{}", ended.report.summary);
        let updated = ended.report.datasets[&eventferry::model::Dataset::Tracks].updated;
        assert!((2..20).contains(&updated), "{updated}");
        assert_eq!(daemon.count("tracks WHERE name LIKE 'New %'").await, i64::try_from(updated).unwrap());
        assert_eq!((daemon.count("tracks").await, daemon.count("events").await), (20, 1));
        assert!(ended.report.event.is_some());
        // No hash was left: the same bytes are no duplicate.
        let again = daemon.retry(&ended.job).await;
        daemon.idle_in_steps().await;
        let again = daemon.jobs().await.into_iter().find(|job| job.id == again).unwrap();
        assert_eq!(again.state, JobState::Succeeded);
        assert_eq!(daemon.count("tracks WHERE name LIKE 'New %'").await, 20);
        daemon.finish().await;
    }

    async fn a_settled_outcome_cannot_be_cancelled(setup: Setup) {
        let mut daemon = setup.start().await;
        daemon.signals.inject(FailPoint::Frozen, 1, Injection::Die);
        daemon.drop_file("default", "long.zip", long_archive(1).zip());
        daemon.signals.reached(FailPoint::Frozen, 1).await;
        daemon.die().await;
        assert_eq!(daemon.cancel(&daemon.job("long.zip").await).await, Cancellation::TooLate);
        daemon.start().await;
        daemon.idle().await;
        assert_eq!(daemon.job("long.zip").await.state, JobState::Succeeded);
        daemon.finish().await;
    }

    async fn a_retry_is_a_new_job_that_names_the_old_one(setup: Setup) {
        let mut daemon = setup.set("import.on_error", "reject").start().await;
        let old = daemon.import("default", "harbour.zip", harbour().zip()).await;
        assert_eq!(old.job.state, JobState::Failed);
        assert!(old.report.problems.iter().any(|problem| problem.code == Code::RejectedAsAWhole));
        daemon.assert_no_event().await;
        daemon.stop().await;
        daemon.set("import.on_error", "skip");
        assert_eq!(daemon.settings.default_account().unwrap().on_error, OnError::Skip);
        daemon.start().await;
        let new = daemon.retry(&old.job).await;
        daemon.idle().await;
        let new = daemon.ended_job(daemon.jobs().await.into_iter().find(|job| job.id == new).unwrap());
        assert_eq!((new.job.state, new.job.retry_of), (JobState::Partial, Some(old.job.id)));
        assert_eq!(new.report.related_job, Some(old.job.id));
        assert_eq!(daemon.job("harbour.zip").await.id, new.job.id);
        daemon.finish().await;
    }

    async fn a_panic_costs_one_job(setup: Setup) {
        // Told of progress inside of the job, it can make it panic: while checking one archive, while loading another.
        let watcher: eventferry::work::Watcher = Arc::new(|_: JobId, stage: &str, done: u64, total: u64| {
            assert!(!(stage == "importing tracks" && total == 13), "rats in the hold");
            assert!(!(stage == "checking tracks" && (done, total) == (2_000, 0)), "fire in the galley");
        });
        let daemon = setup.watched_by(watcher).start().await;
        daemon.drop_file("default", "rats.zip", Archive::of(1, "Rats").with_tracks(1, 13).zip());
        daemon.drop_file("default", "fire.zip", Archive::of(2, "Fire").with_tracks(1, 2_000).zip());
        daemon.drop_file("berlin", "fine.zip", long_archive(3).zip());
        daemon.idle().await;
        for name in ["rats.zip", "fire.zip"] {
            let ended = daemon.ended(name).await;
            assert_eq!(ended.job.state, JobState::Failed, "{name}");
            let codes: Vec<Code> = ended.report.problems.iter().map(|problem| problem.code).collect();
            assert_eq!(codes, [Code::Internal], "{name}: {:#?}", ended.report.problems);
        }
        assert_eq!(daemon.job("fine.zip").await.state, JobState::Succeeded);
        assert_eq!((daemon.count("events").await, daemon.count("tracks").await), (1, 20));
        daemon.finish().await;
    }

    async fn an_update_that_panics_keeps_what_it_has_changed_and_says_where_it_stopped(setup: Setup) {
        let watcher: eventferry::work::Watcher = Arc::new(|_: JobId, stage: &str, done: u64, total: u64| {
            assert!(!(stage == "importing tracks" && (done, total) == (10, 21)), "rats in the hold");
        });
        let daemon = in_small_chunks(setup).watched_by(watcher).start().await;
        daemon.import("default", "first.zip", long_archive(1).zip()).await;
        let renamed: Vec<Value> = (1..=21).map(|id| json!({"id": id, "name": format!("New {id}")})).collect();
        let second = Archive::of(1, "Long 1").with("tracks", &Value::from(renamed)).zip();
        let ended = daemon.import("default", "second.zip", second).await;
        assert_eq!(ended.job.state, JobState::Failed);
        assert!(ended.report.summary.contains("importing tracks"), "{}", ended.report.summary);
        let codes: Vec<Code> = ended.report.problems.iter().map(|problem| problem.code).collect();
        assert_eq!(codes, [Code::Internal]);
        assert_eq!(ended.report.datasets[&eventferry::model::Dataset::Tracks].updated, 10);
        assert_eq!(daemon.count("tracks WHERE name LIKE 'New %'").await, 10);
        assert!(ended.report.event.is_some());
        // Neither's: to drop the first again is a way back.
        assert_eq!(daemon.count("import_hashes").await, 0);
        daemon.finish().await;
    }

    async fn nothing_begins_while_the_disk_is_nearly_full(setup: Setup) {
        let mut daemon = setup.set("queue.free_space_floor", "1024TiB").prepare().await;
        daemon.drop_file("default", "early.zip", long_archive(1).zip());
        daemon.start().await;
        daemon.drop_file("default", "late.zip", long_archive(2).zip());
        daemon.inbox_at_rest(&[]).await;
        for _ in 0..5 {
            daemon.clock.advance(Duration::from_secs(20));
            daemon.look().await;
        }
        for job in daemon.jobs().await {
            assert_eq!((job.state, job.started_at), (JobState::Queued, None), "{}", job.archive_name);
        }
        let admin: Vec<String> = daemon.column("SELECT recipient FROM mails WHERE kind = 'admin'").await;
        assert_eq!(admin, ["admin@example.org"]);
        daemon.stop().await;
        daemon.set("queue.free_space_floor", "0");
        daemon.start().await;
        daemon.idle().await;
        assert_eq!(daemon.count("jobs WHERE state = 'succeeded'").await, 2);
        daemon.finish().await;
    }

    async fn what_lay_in_the_inbox_before_the_start_is_imported_and_run_once_waits_for_it(setup: Setup) {
        let mut daemon = setup.set("inbox.settle", "1ms").prepare().await;
        daemon.drop_file("default", "one.zip", long_archive(1).zip());
        daemon.drop_file("berlin", "two.zip", long_archive(1).zip());
        daemon.start().await;
        daemon.idle().await;
        daemon.daemon_idle().await;
        assert_eq!(daemon.count("jobs WHERE state = 'succeeded'").await, 2);
        daemon.finish().await;
    }

    async fn the_scan_alone_finds_what_is_dropped(setup: Setup) {
        let daemon = setup.set("inbox.watch", "false").start().await;
        daemon.drop_file("berlin", "long.zip", long_archive(1).zip());
        daemon.until_claimed("long.zip").await;
        daemon.idle().await;
        assert_eq!(daemon.job("long.zip").await.state, JobState::Succeeded);
        daemon.finish().await;
    }
}

impl TestDaemon {
    /// Lets the daemon, or its next life, die where it first reaches the point.
    async fn die_at(&mut self, point: FailPoint) {
        if !self.is_alive() {
            self.signals.inject(point, 1, Injection::Die);
            self.start().await;
        }
        self.signals.reached(point, 1).await;
        self.die().await;
    }

    /// Lets the clock go on until the job of a file is there.
    async fn until_claimed(&self, name: &str) {
        while self.jobs().await.iter().all(|job| job.archive_name != name) {
            self.clock.advance(Duration::from_secs(1));
            self.look().await;
        }
    }
}
