//! Uploads as they are: slow, cut, resumed a day later, allocated first and filled later, written to after the claim.

use std::fs::{self, File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::time::{Duration, SystemTime};

use eventferry::inbox::InboxView;
use eventferry::model::{Code, JobState};
use eventferry::signal::FailPoint;

use crate::daemon::archives::{Archive, harbour};
use crate::support::daemon::{TestDaemon, with_each_database};

const COMMITTED: FailPoint = FailPoint::ChunkAfterCommit;

/// Eleven chunks of two records.
fn long_archive() -> Vec<u8> {
    Archive::of(1, "Long").with_tracks(1, 20).zip()
}

with_each_database! {
    async fn a_slow_upload_with_long_pauses_and_an_old_time_is_imported_once_at_its_end(setup: Setup) {
        let daemon = setup.start().await;
        let zip = harbour().zip();
        let mut file = File::create(daemon.inbox_path("berlin", "slow.zip")).unwrap();
        for (number, piece) in zip.chunks(zip.len().div_ceil(30)).enumerate() {
            file.write_all(piece).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_hours(24 * 365 * 30)).unwrap();
            // Three of the pauses are longer than any settle time.
            let pause = if number % 10 == 5 { Duration::from_mins(5) } else { Duration::from_secs(1) };
            daemon.pass(pause).await;
            if number < 29 {
                assert_eq!(daemon.count("jobs").await, 0, "piece {number}");
            }
        }
        drop(file);
        daemon.idle().await;
        let ended = daemon.ended("slow.zip").await;
        assert_eq!((ended.job.state, daemon.jobs().await.len()), (JobState::Partial, 1));
        assert_eq!(daemon.mails(None).await.len(), 1, "nobody was told of anything incomplete");
        daemon.finish().await;
    }

    async fn an_upload_that_is_cut_and_resumed_nearly_a_day_later_is_told_of_once_and_imported_once(setup: Setup) {
        let daemon = setup.start().await;
        let zip = harbour().zip();
        fs::write(daemon.inbox_path("berlin", "cut.zip"), &zip[..zip.len() / 2]).unwrap();
        daemon.pass(Duration::from_mins(20)).await;
        for _ in 0..22 {
            daemon.pass(Duration::from_hours(1)).await;
        }
        assert_eq!(daemon.count("jobs").await, 0);
        assert_eq!(daemon.count("mails WHERE kind = 'incomplete_upload'").await, 1);
        let mut file = OpenOptions::new().append(true).open(daemon.inbox_path("berlin", "cut.zip")).unwrap();
        file.write_all(&zip[zip.len() / 2..]).unwrap();
        drop(file);
        daemon.idle().await;
        assert_eq!(daemon.ended("cut.zip").await.job.state, JobState::Partial);
        assert_eq!((daemon.jobs().await.len(), daemon.mails(None).await.len()), (1, 2));
        daemon.finish().await;
    }

    async fn a_file_that_is_allocated_first_waits_until_it_is_filled(setup: Setup) {
        let daemon = setup.start().await;
        let zip = harbour().zip();
        let length = u64::try_from(zip.len()).unwrap();
        for (name, is_from_the_end) in [("forwards.zip", false), ("backwards.zip", true)] {
            let file = File::create(daemon.inbox_path("berlin", name)).unwrap();
            file.set_len(length).unwrap();
            let mut pieces: Vec<(u64, &[u8])> = (0..).step_by(500).zip(zip.chunks(500)).collect();
            if is_from_the_end {
                // The end record and the directory come first, as with a client that takes the end of a file first. The
                // local header of the first entry is the last to come.
                pieces.reverse();
            } else {
                // It begins like a zip from the first moment.
                file.write_all_at(&zip[..4], 0).unwrap();
            }
            for (number, (at, piece)) in pieces.iter().enumerate() {
                daemon.pass(Duration::from_secs(10)).await;
                assert_eq!(daemon.jobs().await.iter().filter(|job| job.archive_name == name).count(), 0, "piece {number}");
                file.write_all_at(piece, *at).unwrap();
            }
            drop(file);
            daemon.idle().await;
            let state = daemon.ended(name).await.job.state;
            assert!(matches!(state, JobState::Partial | JobState::Duplicate), "{name}: {state}");
        }
        daemon.finish().await;
    }

    async fn a_file_that_its_uploader_touches_after_the_claim_is_read_again_and_nothing_is_doubled(setup: Setup) {
        let daemon = setup.set("import.chunk_records", "2").set("import.chunk_pause", "1s").start().await;
        let mut file = daemon.upload_held_open("long.zip", &long_archive());
        daemon.until_chunk_of_upload(4).await;
        file.seek(SeekFrom::Start(0)).unwrap();
        file.write_all(&long_archive()).unwrap();
        drop(file);
        daemon.idle_in_steps().await;
        let ended = daemon.ended("long.zip").await;
        assert_eq!(ended.job.state, JobState::Succeeded, "{:#?}", ended.report);
        assert_eq!((daemon.count("tracks").await, daemon.count("events").await), (20, 1));
        daemon.finish().await;
    }

    async fn a_file_that_never_stops_changing_after_the_claim_fails_with_the_reason_and_leaves_nothing(setup: Setup) {
        let daemon = setup.set("import.chunk_records", "2").set("import.chunk_pause", "1s").start().await;
        let mut file = daemon.upload_held_open("long.zip", &long_archive());
        daemon.until_chunk_of_upload(3).await;
        while daemon.count("jobs WHERE state = 'failed'").await == 0 {
            file.seek(SeekFrom::Start(0)).unwrap();
            file.write_all(&long_archive()).unwrap();
            daemon.clock.advance(Duration::from_secs(1));
            daemon.look().await;
        }
        drop(file);
        daemon.idle_in_steps().await;
        let ended = daemon.ended("long.zip").await;
        let codes: Vec<Code> = ended.report.problems.iter().map(|problem| problem.code).collect();
        assert_eq!(codes, [Code::ChangedWhileReading], "{:#?}", ended.report);
        assert_eq!((daemon.count("tracks").await, daemon.count("events").await), (0, 0));
        daemon.finish().await;
    }
}

impl TestDaemon {
    /// Lets time pass, and waits until the inbox was looked through after that.
    async fn pass(&self, duration: Duration) {
        self.clock.advance(duration);
        let mut view = self.inbox();
        let scans = view.borrow_and_update().scans;
        let is_looked_through = |view: &InboxView| view.scans > scans && !view.is_busy;
        while !is_looked_through(&view.borrow_and_update()) {
            self.clock.advance(Duration::from_millis(500));
            self.look().await;
        }
    }

    /// Uploads a file, lets it be claimed, and keeps it open as an SFTP server may.
    fn upload_held_open(&self, name: &str, bytes: &[u8]) -> File {
        let mut file = OpenOptions::new().write(true).create_new(true).open(self.inbox_path("default", name)).unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    async fn until_chunk_of_upload(&self, chunk: u32) {
        while self.signals.visits(COMMITTED) < chunk {
            self.clock.advance(Duration::from_secs(1));
            self.look().await;
        }
    }
}
