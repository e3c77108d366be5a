//! What is kept of mails and notifications: the same in both databases.

use chrono::TimeDelta;
use eventferry::clock::{Clock, Timestamp};
use eventferry::mail::MailKind;
use eventferry::store::mails::{self, MailState};
use eventferry::store::notifications::{self, NewNotification};

use super::{Queued, entry, imported, job, on_both, queue, start, states};

/// No mail is put off beyond it.
fn horizon() -> Timestamp {
    start() + TimeDelta::hours(4)
}

#[tokio::test]
async fn every_statement_is_one_on_both_databases() {
    on_both(async |database| {
        for sql in mails::STATEMENTS.iter().chain(&notifications::STATEMENTS) {
            database.prepare(sql).await.unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn a_subject_has_one_mail_of_each_kind() {
    on_both(async |database| {
        let clock = Clock::manual(start());
        assert!(queue(database, &clock, &imported(1, "a@example.org")).await);
        assert!(!queue(database, &clock, &imported(1, "b@example.org")).await);
        let partial = Queued { kind: MailKind::Partial, ..imported(1, "a@example.org") };
        assert!(queue(database, &clock, &partial).await);
        let entries = mails::of_job(database, job(1)).await.unwrap();
        assert_eq!(entries.len(), 2);
        assert!(entries.iter().all(|entry| entry.recipient.as_deref() == Some("a@example.org")));
    })
    .await;
}

#[tokio::test]
async fn a_due_mail_is_claimed_by_one_and_free_again_when_the_claim_has_run_out() {
    on_both(async |database| {
        let clock = Clock::manual(start());
        queue(database, &clock, &imported(1, "a@example.org")).await;
        let due = mails::due(database, start(), horizon(), 10).await.unwrap();
        assert_eq!(due.len(), 1);
        assert_eq!((due[0].attempts, due[0].job, due[0].created_at), (0, Some(job(1)), start()));
        let until = start() + TimeDelta::seconds(60);
        assert!(mails::claim(database, &due[0], until).await.unwrap());
        assert!(!mails::claim(database, &due[0], until).await.unwrap());
        assert!(mails::due(database, until - TimeDelta::seconds(1), horizon(), 10).await.unwrap().is_empty());
        assert_eq!(mails::next_due(database).await.unwrap(), Some(until));
        let again = mails::due(database, until, horizon(), 10).await.unwrap();
        assert_eq!(again[0].attempts, 1, "the try that was cut off counts");
    })
    .await;
}

#[tokio::test]
async fn a_clock_that_was_set_back_holds_no_mail_back() {
    on_both(async |database| {
        let ahead = Clock::manual(start() + TimeDelta::hours(1));
        queue(database, &ahead, &imported(1, "a@example.org")).await;
        let due = mails::due(database, start(), horizon(), 10).await.unwrap();
        assert_eq!(due.len(), 1, "a new one is due at once");
        let within = horizon() - TimeDelta::seconds(1);
        assert!(mails::claim(database, &due[0], within).await.unwrap());
        assert!(mails::due(database, start(), horizon(), 10).await.unwrap().is_empty());
        mails::mark_later(database, &due[0].id, horizon() + TimeDelta::seconds(1), "greylisted").await.unwrap();
        assert_eq!(mails::due(database, start(), horizon(), 10).await.unwrap().len(), 1);
    })
    .await;
}

#[tokio::test]
async fn the_table_tells_what_became_of_each_mail() {
    on_both(async |database| {
        let clock = Clock::manual(start());
        for number in 1..=5 {
            queue(database, &clock, &imported(number, "a@example.org")).await;
        }
        queue(database, &clock, &Queued { recipient: None, ..imported(6, "") }).await;
        let due = mails::due(database, start(), horizon(), 10).await.unwrap();
        assert_eq!(due.len(), 5, "the mail without an address is not due");
        let later = start() + TimeDelta::minutes(5);
        for mail in &due[..4] {
            assert!(mails::claim(database, mail, later).await.unwrap());
        }
        mails::mark_sent(database, &due[0].id, later).await.unwrap();
        mails::mark_later(database, &due[1].id, later, "greylisted").await.unwrap();
        mails::mark_failed(database, &due[2].id, "no such user").await.unwrap();
        mails::give_back(database, &due[3], "no server").await.unwrap();
        mails::explain_waiting(database, start(), "no server at all").await.unwrap();

        let sent = entry(database, 1).await;
        assert_eq!((sent.state, sent.attempts, sent.sent_at), (MailState::Sent, 1, Some(later)));
        let put_off = entry(database, 2).await;
        assert_eq!((put_off.state, put_off.attempts, put_off.next_attempt_at), (MailState::Queued, 1, later));
        assert_eq!(put_off.last_error.as_deref(), Some("greylisted"));
        let failed = entry(database, 3).await;
        assert_eq!((failed.state, failed.last_error.as_deref()), (MailState::Failed, Some("no such user")));
        let given_back = entry(database, 4).await;
        assert_eq!((given_back.attempts, given_back.next_attempt_at), (0, start()));
        assert_eq!(given_back.last_error.as_deref(), Some("no server at all"));
        assert_eq!(entry(database, 6).await.state, MailState::NoAddress);

        let newest = mails::list(database, None, 2).await.unwrap();
        assert_eq!(newest.iter().map(|mail| mail.job).collect::<Vec<_>>(), [Some(job(6)), Some(job(5))]);
        let queued = mails::list(database, Some(MailState::Queued), 10).await.unwrap();
        assert_eq!(queued.iter().map(|mail| mail.job).collect::<Vec<_>>(), [5, 4, 2].map(|number| Some(job(number))));

        assert_eq!(mails::forget(database, later).await.unwrap(), 3, "what waits is not forgotten");
        assert_eq!(mails::give_up_older(database, start(), "too old").await.unwrap(), 0);
        assert_eq!(mails::give_up_older(database, later, "too old").await.unwrap(), 3);
        assert_eq!(states(database).await, [(MailState::Failed, 3)]);
        assert_eq!(mails::next_due(database).await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn a_notification_is_kept_once_and_read_once() {
    on_both(async |database| {
        let new = |number: u32, account: Option<&str>, title: &str| NewNotification {
            id: job(number).0,
            subject_key: job(number).to_string(),
            kind: MailKind::Imported.as_str(),
            job: Some(job(number)),
            account: account.map(str::to_owned),
            title: title.to_owned(),
            body: "all is in".to_owned(),
            created_at: start(),
        };
        let mut tx = database.begin().await.unwrap();
        assert!(notifications::keep(&mut tx, &new(1, Some("asia"), "first")).await.unwrap());
        assert!(!notifications::keep(&mut tx, &new(1, Some("asia"), "second")).await.unwrap());
        assert!(notifications::keep(&mut tx, &new(2, None, "for the admin")).await.unwrap());
        tx.commit().await.unwrap();

        let of_account = notifications::list(database, Some("asia"), 10).await.unwrap();
        assert_eq!(of_account.len(), 1);
        assert_eq!((of_account[0].title.as_str(), of_account[0].read_at), ("first", None));
        assert_eq!(notifications::list(database, None, 10).await.unwrap().len(), 2);
        assert!(notifications::mark_read(database, &of_account[0].id, start()).await.unwrap());
        assert!(!notifications::mark_read(database, &of_account[0].id, start()).await.unwrap());
        assert_eq!(notifications::list(database, Some("asia"), 10).await.unwrap()[0].read_at, Some(start()));
        assert_eq!(notifications::forget(database, start() + TimeDelta::seconds(1)).await.unwrap(), 2);
    })
    .await;
}
