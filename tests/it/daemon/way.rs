//! The way of an archive through a daemon that nothing disturbs.

use std::fs;

use eventferry::model::JobState;

use super::archives::harbour;
use crate::support::daemon::with_each_database;

with_each_database! {
    async fn a_dropped_archive_becomes_an_event_a_result_and_a_mail(setup: Setup) {
        let daemon = setup.start().await;
        let ended = daemon.import("berlin", "harbour.zip", harbour().zip()).await;
        assert_eq!(ended.job.state, JobState::Partial, "{:#?}", ended.report);
        assert_eq!(ended.report.account, "berlin");
        assert_eq!(daemon.count("sessions").await, 4);
        assert_eq!(daemon.count("session_speakers").await, 4);
        let text = fs::read_to_string(ended.folder.join("report.txt")).unwrap();
        assert!(text.contains("Harbour Days"), "{text}");
        let mails = daemon.mails(Some(ended.job.id)).await;
        assert_eq!(mails.len(), 1);
        assert_eq!((mails[0].kind.as_str(), mails[0].state.as_str()), ("partial", "sent"));
        assert_eq!(mails[0].recipient.as_deref(), Some("berlin@example.org"));
        daemon.finish().await;
    }
}
