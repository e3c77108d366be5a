//! The real archives, dropped into the inbox of a running daemon.

use std::fs;

use eventferry::model::{Code, JobState};

use crate::fixtures::importing::Imported;
use crate::fixtures::zips::{ZipEntry, unzip, zip};
use crate::real_archives::{compare, compare_first, counts, expected, numbers, pack_otherwise, samples};
use crate::support::daemon::{Ended, TestDaemon, with_each_database};

with_each_database! {
    async fn every_real_archive_that_is_dropped_gives_what_is_in_it_once(setup: Setup) {
        let Some(samples) = samples() else { return };
        let daemon = setup.start().await;
        let mut wrong = Vec::new();
        // One after the other: which of two events with one id is told to reuse it depends on which came first.
        for archive in expected() {
            daemon.drop_file("default", &archive.name, fs::read(samples.join(&archive.name)).unwrap());
            daemon.idle().await;
        }
        for archive in expected() {
            compare_first(&mut wrong, &archive, &imported(&daemon.ended(&archive.name).await));
        }
        assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
        let tables = daemon.tables().await;

        for archive in expected() {
            daemon.drop_file("default", &archive.name, fs::read(samples.join(&archive.name)).unwrap());
        }
        daemon.idle().await;
        let states: Vec<JobState> = daemon.jobs().await[11..].iter().map(|job| job.state).collect();
        assert_eq!(states, [JobState::Duplicate; 11]);

        for archive in expected() {
            let bytes = fs::read(samples.join(&archive.name)).unwrap();
            daemon.drop_file("default", &format!("again {}", archive.name), pack_otherwise(&bytes));
        }
        daemon.idle().await;
        for archive in expected() {
            let again = imported(&daemon.ended(&format!("again {}", archive.name)).await);
            compare(&mut wrong, &archive.name, "zipped again, state", &archive.state, &again.report.state);
            compare(&mut wrong, &archive.name, "zipped again", &archive.again, &counts(&again));
            compare(&mut wrong, &archive.name, "zipped again, links", &archive.links, &numbers(&again.report.links));
        }
        assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
        assert!(daemon.tables().await == tables, "some row was touched");
        assert_eq!(daemon.count("mails WHERE state = 'sent' AND kind <> 'digest'").await + daemon.count("mails WHERE state = 'digest'").await, 33);
        daemon.finish().await;
    }

    async fn the_broken_file_of_a_real_archive_is_named_and_can_be_corrected_and_dropped(setup: Setup) {
        let Some(samples) = samples() else { return };
        let daemon = setup.start().await;
        let bytes = fs::read(samples.join("FOSSASIASummit2011.zip")).unwrap();
        let ended = daemon.import("berlin", "FOSSASIASummit2011.zip", bytes).await;
        assert_eq!(ended.report.state, JobState::Partial);

        let problem = ended.report.problems.iter().find(|problem| problem.code == Code::JsonSyntax).unwrap();
        assert_eq!(problem.file.as_deref(), Some("session_types"));
        let place = "line 12, column 5";
        assert!(problem.message.contains(place), "{}", problem.message);
        let report = words(&fs::read_to_string(ended.folder.join("report.txt")).unwrap());
        assert!(report.contains("session_types") && report.contains(place), "{report}");
        let errors = fs::read_to_string(ended.folder.join("errors.csv")).unwrap();
        assert!(errors.contains("session_types") && errors.contains(place), "{errors}");
        let mail = &daemon.mails(Some(ended.job.id)).await[0];
        let text = words(&mail.text);
        assert!(mail.kind == "partial" && text.contains("session_types") && text.contains(place), "{text}");

        let rejected = fs::read(ended.folder.join("rejected.zip")).unwrap();
        let corrected = correct(&rejected, "session_types", br#"[{"id": 1, "name": "Talk", "length": "00:30"}]"#);
        let before = daemon.count("sessions").await;
        let again = daemon.import("berlin", "corrected.zip", corrected).await;
        assert_eq!(again.report.state, JobState::Succeeded, "{:#?}", again.report.problems);
        assert_eq!(again.report.related_job, Some(ended.job.id));
        assert_eq!(again.report.event.as_ref().unwrap().id, ended.report.event.as_ref().unwrap().id);
        assert!(again.report.datasets.values().all(|counts| counts.gone == 0), "{:?}", again.report.datasets);
        assert_eq!(daemon.count("sessions").await, before);
        assert_nothing_is_gone(&daemon).await;
        daemon.finish().await;
    }
}

/// What the result files say, in the shape that the comparison takes.
fn imported(ended: &Ended) -> Imported {
    Imported { report: ended.report.clone(), problems: ended.report.problems.clone() }
}

/// Texts are wrapped: one blank between words.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// An archive with other bytes for one of its files.
fn correct(archive: &[u8], file: &str, content: &[u8]) -> Vec<u8> {
    let mut entries = unzip(archive);
    let entry = entries.iter_mut().find(|(name, _)| name == file.as_bytes()).expect("the broken file is in it");
    entry.1 = content.to_vec();
    let entries: Vec<ZipEntry> = entries.into_iter().map(|(name, content)| ZipEntry::new(name, content)).collect();
    zip(&entries)
}

async fn assert_nothing_is_gone(daemon: &TestDaemon) {
    for table in ["sessions", "speakers", "tracks", "session_types", "microlocations", "sponsors"] {
        assert_eq!(daemon.count(&format!("{table} WHERE gone_at IS NOT NULL")).await, 0, "{table}");
    }
}
