//! Exports by schedule: when they run, what they leave, and what people are told.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use chrono::TimeDelta;
use eventferry::export::report::{EventState, ExportReport};
use eventferry::model::JobState;
use eventferry::signal::FailPoint;
use eventferry::store::jobs::{self, JobView};
use serde_json::{Value, json};

use super::archives::Archive;
use super::faults::without_times;
use super::points::{Blow, strike};
use crate::support::daemon::{Setup, TestDaemon, TestMail, with_each_database};

/// Every night at five; the clock of a test begins at four.
const NIGHTLY: &str =
    r#"{name = "nightly", account = "berlin", cron = "0 5 * * *", formats = ["schedule.ics", "sessions.csv"]}"#;

/// Where the exports of the one event lie.
fn exports(daemon: &TestDaemon) -> PathBuf {
    daemon.root().join("outbox/berlin/exports/river-days-1")
}

fn session(id: u64, title: &str, start: &str, end: &str) -> Value {
    json!({
        "id": id, "title": title, "starts_at": format!("2026-05-04T{start}:00+02:00"),
        "ends_at": format!("2026-05-04T{end}:00+02:00"), "microlocation_id": 1, "speakers": [{"id": 1, "name": "Ada"}],
    })
}

/// An event with a room, a speaker and these sessions.
fn river(sessions: &[Value]) -> Vec<u8> {
    Archive::of(7, "River Days")
        .with("microlocations", &json!([{"id": 1, "name": "Boat house"}]))
        .with("speakers", &json!([{"id": 1, "name": "Ada", "email": "ada@example.net", "mobile": "+49 30 1"}]))
        .with("sessions", &json!(sessions))
        .zip()
}

fn two_sessions() -> Vec<u8> {
    river(&[session(1, "Rowing", "10:00", "11:00"), session(2, "Sailing", "11:00", "12:00")])
}

fn with_exports(setup: Setup, entries: &str) -> Setup {
    setup.set("export", &format!("[{entries}]"))
}

/// A daemon with the event in it, and this schedule.
async fn begun(setup: Setup, entries: &str) -> TestDaemon {
    let daemon = with_exports(setup, entries).start().await;
    daemon.import("berlin", "river.zip", two_sessions()).await;
    daemon
}

/// Lets so much time pass that the schedules take `slots` slots in all in this life, and waits for the jobs.
async fn after(daemon: &TestDaemon, hours: u64, slots: u32) {
    daemon.clock.advance(Duration::from_hours(hours));
    daemon.signals.reached(FailPoint::SlotTaken, slots).await;
    daemon.idle().await;
}

async fn runs(daemon: &TestDaemon) -> Vec<JobView> {
    daemon.jobs().await.into_iter().filter(|job| job.kind == "export").collect()
}

async fn report(daemon: &TestDaemon, job: &JobView) -> ExportReport {
    serde_json::from_str(&jobs::outcome(&daemon.database, job.id).await.unwrap().unwrap()).unwrap()
}

async fn only_mail(daemon: &TestDaemon, job: &JobView) -> TestMail {
    let mut mails = daemon.mails(Some(job.id)).await;
    mails.retain(|mail| mail.kind != "admin");
    assert_eq!(mails.len(), 1, "{mails:#?}");
    mails.remove(0)
}

/// The value of a property of each calendar entry, by its summary.
fn of_entries(calendar: &str, property: &str) -> Vec<(String, String)> {
    let value = |entry: &str, name: &str| {
        let line = entry.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name}: {entry}"));
        line.split_once(':').unwrap().1.to_owned()
    };
    let entries = calendar.split("BEGIN:VEVENT").skip(1);
    let mut found: Vec<_> = entries.map(|entry| (value(entry, "SUMMARY"), value(entry, property))).collect();
    found.sort();
    found
}

with_each_database! {
    async fn a_due_export_lies_in_the_outbox_and_its_account_is_told(setup: Setup) {
        let daemon = begun(setup, NIGHTLY).await;
        after(&daemon, 2, 1).await;
        let [job] = runs(&daemon).await.try_into().unwrap();
        assert_eq!((job.state, job.account.as_str(), job.archive_name.as_str()), (JobState::Succeeded, "berlin", "nightly"));

        let latest = exports(&daemon).join("latest");
        let mut names: Vec<_> = fs::read_dir(&latest).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["SHA256SUMS", "export.json", "rooms", "schedule.ics", "sessions.csv"]);
        assert_eq!(exports(&daemon).join("latest-nightly").canonicalize().unwrap(), latest.canonicalize().unwrap());
        let calendar = fs::read_to_string(latest.join("schedule.ics")).unwrap();
        let starts: Vec<_> = of_entries(&calendar, "DTSTART");
        let expected = [("Rowing", "20260504T100000"), ("Sailing", "20260504T110000")];
        assert_eq!(starts, expected.map(|(title, start)| (title.to_owned(), start.to_owned())));

        let mail = only_mail(&daemon, &job).await;
        assert_eq!((mail.kind.as_str(), mail.recipient.as_deref()), ("exported", Some("berlin@example.org")));
        assert_eq!(mail.subject, "Exported: River Days (schedule.ics, sessions.csv)");
        assert!(mail.text.contains(latest.canonicalize().unwrap().to_str().unwrap()), "{}", mail.text);
        assert_eq!(daemon.count("notifications WHERE kind = 'exported'").await, 1);
        daemon.finish().await;
    }

    async fn the_mail_says_of_how_many_records_personal_data_was_left_out(setup: Setup) {
        let daemon = begun(setup, &NIGHTLY.replace("schedule.ics", "archive")).await;
        after(&daemon, 2, 1).await;
        let text = only_mail(&daemon, &runs(&daemon).await[0]).await.text;
        assert!(text.contains("Note: personal data (such as e-mail addresses) left out, of 1 record\n"), "{text}");
        daemon.finish().await;
    }

    async fn equal_bytes_are_not_written_again_nor_told_by_mail(setup: Setup) {
        let daemon = begun(setup, NIGHTLY).await;
        after(&daemon, 2, 1).await;
        after(&daemon, 24, 2).await;
        let [first, second] = runs(&daemon).await.try_into().unwrap();
        assert_eq!(report(&daemon, &first).await.events[0].state, EventState::Published);
        let again = report(&daemon, &second).await;
        assert_eq!((again.state, again.events[0].state), (JobState::Succeeded, EventState::Unchanged));
        assert_eq!(again.summary, "1 event unchanged since the last export");
        assert_eq!(again.events[0].folder, report(&daemon, &first).await.events[0].folder);
        let mail = only_mail(&daemon, &second).await;
        assert_eq!((mail.kind.as_str(), mail.state.as_str()), ("export_unchanged", "off"));
        assert_eq!(mail.subject, "Unchanged: River Days (schedule.ics, sessions.csv)");
        let runs = fs::read_dir(exports(&daemon)).unwrap().filter(|entry| entry.as_ref().unwrap().file_type().unwrap().is_dir());
        assert_eq!(runs.count(), 1);
        daemon.finish().await;
    }

    async fn what_has_changed_is_told_and_counts_in_calendars(setup: Setup) {
        let daemon = begun(setup, NIGHTLY).await;
        after(&daemon, 2, 1).await;
        let before = fs::read_to_string(exports(&daemon).join("latest/schedule.ics")).unwrap();
        let changed = river(&[session(1, "Rowing", "14:00", "15:00"), session(3, "Diving", "09:00", "09:30")]);
        daemon.import("berlin", "river.zip", changed).await;
        after(&daemon, 24, 2).await;

        let latest = exports(&daemon).join("latest");
        let calendar = fs::read_to_string(latest.join("schedule.ics")).unwrap();
        let pair = |title: &str, value: &str| (title.to_owned(), value.to_owned());
        assert_eq!(of_entries(&before, "SEQUENCE"), [pair("Rowing", "0"), pair("Sailing", "0")]);
        assert_eq!(of_entries(&calendar, "SEQUENCE"), [pair("Diving", "0"), pair("Rowing", "1")]);
        assert_eq!(of_entries(&calendar, "UID")[1], of_entries(&before, "UID")[0]);

        let job = runs(&daemon).await.remove(1);
        let changes = report(&daemon, &job).await.events[0].changes.clone().unwrap();
        assert_eq!((changes.added, changes.moved, changes.removed, changes.changed), (1, 1, 1, 0));
        let text = only_mail(&daemon, &job).await.text;
        assert!(text.contains("sessions: 1 added, 1 moved, 1 removed"), "{text}");
        for line in [
            "added: Diving (2026-05-04 09:00 to 09:30, Boat house)",
            "moved: Rowing (2026-05-04 14:00 to 15:00, Boat house)",
            "removed: Sailing (2026-05-04 11:00 to 12:00, Boat house)",
        ] {
            assert!(text.contains(line), "{text}");
        }
        daemon.finish().await;
    }

    async fn nights_without_a_daemon_follow_the_policy(setup: Setup) {
        let entry = |name: &str, missed: &str| {
            format!(r#"{{name = "{name}", account = "berlin", cron = "0 5 * * *", formats = ["sessions.csv"], missed = "{missed}"}}"#)
        };
        let entries = [entry("all", "all"), entry("none", "none"), entry("one", "one")].join(", ");
        let mut daemon = begun(setup, &entries).await;
        daemon.stop().await;
        daemon.clock.advance(Duration::from_hours(3 * 24 + 12));
        let visits = daemon.signals.visits(FailPoint::SlotTaken);
        daemon.start().await;
        daemon.signals.reached(FailPoint::SlotTaken, visits + 3).await;
        daemon.idle().await;
        let due: Vec<String> = daemon
            .column("SELECT schedule || ' ' || substr(CAST(due_at AS TEXT), 1, 10) FROM schedule_slots ORDER BY schedule, due_at")
            .await;
        // Four were due since the start on the 22nd at four; it is the 25th, half past three in the afternoon.
        assert_eq!(due, ["all 2026-11-22", "all 2026-11-23", "all 2026-11-24", "all 2026-11-25", "one 2026-11-25"]);
        let dropped: Vec<i64> = daemon.column("SELECT dropped FROM schedules ORDER BY name").await;
        assert_eq!(dropped, [0, 4, 3]);
        daemon.finish().await;
    }

    async fn a_changed_schedule_does_not_fire_by_being_changed(setup: Setup) {
        let mut daemon = begun(setup, NIGHTLY).await;
        daemon.stop().await;
        daemon.clock.advance(Duration::from_hours(10));
        daemon.set("export", &format!("[{}]", NIGHTLY.replace("0 5 * * *", "0 6 * * *")));
        daemon.start().await;
        daemon.idle().await;
        assert_eq!(runs(&daemon).await, []);
        after(&daemon, 24, 1).await;
        assert_eq!(daemon.count("schedule_slots").await, 1);
        daemon.finish().await;
    }

    async fn a_clock_that_is_set_back_makes_nothing_run_twice(setup: Setup) {
        let daemon = begun(setup, NIGHTLY).await;
        after(&daemon, 2, 1).await;
        daemon.clock.shift_wall(TimeDelta::hours(-1));
        for _ in 0..4 {
            daemon.clock.advance(Duration::from_mins(30));
            daemon.look().await;
        }
        after(&daemon, 24, 2).await;
        let due: Vec<String> = daemon.column("SELECT substr(CAST(due_at AS TEXT), 1, 10) FROM schedule_slots ORDER BY due_at").await;
        assert_eq!(due, ["2026-11-22", "2026-11-23"]);
        daemon.finish().await;
    }

    async fn an_empty_event_and_a_failed_run_leave_the_last_good_one(setup: Setup) {
        let daemon = begun(setup, NIGHTLY).await;
        after(&daemon, 2, 1).await;
        let good = exports(&daemon).join("latest").canonicalize().unwrap();

        daemon.import("berlin", "river.zip", Archive::of(7, "River Days").with("sessions", &json!([])).with("speakers", &json!([])).zip()).await;
        after(&daemon, 24, 2).await;
        let empty = runs(&daemon).await.remove(1);
        assert_eq!((empty.state, report(&daemon, &empty).await.events[0].state), (JobState::Failed, EventState::Empty));
        assert_eq!(exports(&daemon).join("latest").canonicalize().unwrap(), good);

        daemon.import("berlin", "river.zip", two_sessions()).await;
        let aside = daemon.root().join("outbox/berlin/exports-aside");
        fs::rename(exports(&daemon).parent().unwrap(), &aside).unwrap();
        fs::write(exports(&daemon).parent().unwrap(), "in the way").unwrap();
        after(&daemon, 24, 3).await;
        let failed = runs(&daemon).await.remove(2);
        assert_eq!(failed.state, JobState::Failed);
        let mail = only_mail(&daemon, &failed).await;
        assert_eq!(mail.kind, "export_failed");
        assert!(mail.subject.starts_with("Export failed: River Days, 2 times in a row"), "{}", mail.subject);
        assert!(mail.text.contains("the outbox cannot be written"), "{}", mail.text);

        fs::remove_file(exports(&daemon).parent().unwrap()).unwrap();
        fs::rename(&aside, exports(&daemon).parent().unwrap()).unwrap();
        after(&daemon, 24, 4).await;
        let mended = runs(&daemon).await.remove(3);
        assert_eq!(mended.state, JobState::Succeeded);
        let mail = only_mail(&daemon, &mended).await;
        assert_eq!((mail.kind.as_str(), mail.state.as_str()), ("exported", "sent"));
        assert!(mail.text.contains("The schedule works again."), "{}", mail.text);
        let failures: Vec<i64> = daemon.column("SELECT failures FROM schedules").await;
        assert_eq!(failures, [0]);
        daemon.finish().await;
    }

    async fn a_schedule_that_loses_all_its_sessions_leaves_the_last_good_one(setup: Setup) {
        let daemon = begun(setup, NIGHTLY).await;
        after(&daemon, 2, 1).await;
        let good = exports(&daemon).join("latest").canonicalize().unwrap();
        let pending = [session(1, "Rowing", "10:00", "11:00"), session(2, "Sailing", "11:00", "12:00")]
            .map(|mut session| { session["state"] = json!("pending"); session });
        daemon.import("berlin", "river.zip", river(&pending)).await;
        after(&daemon, 24, 2).await;
        let job = runs(&daemon).await.remove(1);
        assert_eq!((job.state, report(&daemon, &job).await.events[0].state), (JobState::Failed, EventState::Empty));
        assert_eq!(exports(&daemon).join("latest").canonicalize().unwrap(), good);
        daemon.finish().await;
    }

    async fn a_file_that_somebody_has_altered_is_made_good(setup: Setup) {
        let daemon = begun(setup, NIGHTLY).await;
        after(&daemon, 2, 1).await;
        let first = exports(&daemon).join("latest").canonicalize().unwrap();
        let table = fs::read(first.join("sessions.csv")).unwrap();
        fs::write(first.join("sessions.csv"), "saved by a spreadsheet").unwrap();
        after(&daemon, 24, 2).await;
        let latest = exports(&daemon).join("latest").canonicalize().unwrap();
        assert_ne!(latest, first);
        assert_eq!(fs::read(latest.join("sessions.csv")).unwrap(), table);
        let files = report(&daemon, &runs(&daemon).await.remove(1)).await.events.remove(0).formats;
        let unchanged: Vec<bool> = files.iter().flat_map(|format| &format.files).map(|file| file.unchanged).collect();
        assert_eq!(unchanged, [true, true, false], "{files:#?}");
        fs::write(first.join("sessions.csv"), &table).unwrap();
        daemon.finish().await;
    }

    async fn latest_is_taken_by_what_holds_as_much_and_never_by_what_is_private(setup: Setup) {
        let entry = |name: &str, hour: u64, formats: &str, private: bool| {
            format!(r#"{{name = "{name}", account = "berlin", cron = "0 {hour} * * *", formats = [{formats}], private = {private}}}"#)
        };
        let entries = [
            entry("tables", 5, r#""sessions.csv", "speakers.csv""#, false),
            entry("less", 7, r#""sessions.csv""#, false),
            entry("team", 9, r#""sessions.csv", "speakers.csv", "schedule.json""#, true),
            entry("more", 11, r#""sessions.csv", "speakers.csv", "schedule.json""#, false),
        ];
        let daemon = begun(setup, &entries.join(", ")).await;
        let latest = |name: &str| exports(&daemon).join(name).canonicalize().unwrap();
        let mut leads = Vec::new();
        for slots in 1..=4 {
            after(&daemon, 2, slots).await;
            leads.push(["tables", "less", "team", "more"].into_iter().position(|name| {
                let own = exports(&daemon).join(format!("latest-{name}"));
                own.exists() && own.canonicalize().unwrap() == latest("latest")
            }));
        }
        assert_eq!(leads, [Some(0), Some(0), Some(0), Some(3)]);
        daemon.finish().await;
    }

    async fn a_template_with_an_error_fails_one_run_and_the_next_one_works(setup: Setup) {
        let daemon = begun(setup, &NIGHTLY.replace("schedule.ics", "schedule.html")).await;
        after(&daemon, 2, 1).await;
        let good = exports(&daemon).join("latest").canonicalize().unwrap();
        let templates = daemon.root().join("templates");
        fs::create_dir_all(&templates).unwrap();
        let own = |title: &str| format!("{{% extends \"builtin/schedule.html\" %}}\n{{% block title %}}{title}{{% endblock %}}\n");
        fs::write(templates.join("schedule.html"), own("{{ no_such_thing() }}")).unwrap();
        after(&daemon, 24, 2).await;
        let failed = runs(&daemon).await.remove(1);
        assert_eq!(failed.state, JobState::Failed);
        let summary = failed.summary.unwrap();
        assert!(summary.contains("schedule.html") && summary.contains('2'), "file and line: {summary}");
        assert_eq!(exports(&daemon).join("latest").canonicalize().unwrap(), good);

        fs::write(templates.join("schedule.html"), own("Our days")).unwrap();
        after(&daemon, 24, 3).await;
        let job = runs(&daemon).await.remove(2);
        assert_eq!(job.state, JobState::Succeeded, "{:?}", job.summary);
        let page = fs::read_to_string(exports(&daemon).join("latest/schedule.html")).unwrap();
        assert!(page.contains("Our days"), "{page}");
        daemon.finish().await;
    }

    async fn an_export_with_jitter_does_not_begin_before_its_time(setup: Setup) {
        let daemon = begun(setup, &NIGHTLY.replace("cron", r#"jitter = "20h", cron"#)).await;
        daemon.clock.advance(Duration::from_hours(1));
        daemon.signals.reached(FailPoint::SlotTaken, 1).await;
        let job = runs(&daemon).await.remove(0);
        let wait = (job.run_at - daemon.clock.now()).to_std().unwrap();
        // Longer than any retry would be put off.
        assert!(wait > Duration::from_hours(1), "{wait:?}");
        daemon.look().await;
        assert_eq!(runs(&daemon).await.remove(0).state, JobState::Queued);
        daemon.clock.advance(wait);
        while !runs(&daemon).await.remove(0).state.is_final() {
            daemon.look().await;
        }
        assert!(runs(&daemon).await.remove(0).started_at.unwrap() >= job.run_at);
        daemon.finish().await;
    }

    async fn what_means_no_event_is_said(setup: Setup) {
        let entry = NIGHTLY.replace("cron", r#"events = ["River Days", "no such event"], cron"#);
        let daemon = begun(setup, &entry).await;
        after(&daemon, 2, 1).await;
        let job = runs(&daemon).await.remove(0);
        assert_eq!(job.state, JobState::Partial);
        let summary = "1 event exported, no event matches `no such event`; `eventferry events list` shows them";
        assert_eq!(job.summary.as_deref(), Some(summary));
        daemon.finish().await;
    }

    async fn a_clock_that_was_far_ahead_silences_no_schedule(setup: Setup) {
        let daemon = begun(setup, NIGHTLY).await;
        daemon.clock.shift_wall(TimeDelta::days(60));
        after(&daemon, 1, 1).await;
        daemon.clock.shift_wall(TimeDelta::days(-60));
        // The first look puts the schedule right, the night after is exported.
        daemon.clock.advance(Duration::from_mins(1));
        let mut rows: Vec<String> = Vec::new();
        while rows.first().is_none_or(|until| until.starts_with("2027")) {
            daemon.look().await;
            rows = daemon.column("SELECT CAST(looked_until AS TEXT) FROM schedules").await;
        }
        after(&daemon, 24, 2).await;
        assert_eq!(daemon.count("schedule_slots").await, 2);
        daemon.finish().await;
    }

    async fn a_schedule_that_keeps_failing_says_so_once_a_day(setup: Setup) {
        let hourly = r#"{name = "hourly", account = "berlin", cron = "0 * * * *", events = ["no such event"]}"#;
        let daemon = with_exports(setup, hourly).start().await;
        for hour in 1..=30 {
            after(&daemon, 1, hour).await;
        }
        let told: Vec<String> = daemon.mails(None).await.into_iter().filter(|mail| mail.kind == "admin").map(|mail| mail.text).collect();
        // The second failure is on the 22nd, the last on the 23rd.
        assert_eq!(told.len(), 2, "{told:#?}");
        assert!(told[0].contains("failed 2 times in a row"), "{}", told[0]);
        assert!(told[1].contains("failed 20 times in a row"), "{}", told[1]);
        assert!(told[0].contains("no event matches `no such event`"), "{}", told[0]);
        daemon.finish().await;
    }

    async fn personal_data_is_only_where_the_entry_says_so(setup: Setup) {
        let entry = |name: &str, private: bool| {
            format!(r#"{{name = "{name}", account = "berlin", cron = "0 5 * * *", formats = ["speakers.csv"], private = {private}}}"#)
        };
        let daemon = begun(setup, &[entry("open", false), entry("team", true)].join(", ")).await;
        after(&daemon, 2, 2).await;
        let table = |name: &str| fs::read_to_string(exports(&daemon).join(format!("latest-{name}/speakers.csv"))).unwrap();
        assert!(table("team").contains("ada@example.net") && table("team").contains("+49 30 1"));
        assert!(!table("open").contains("ada@example.net") && !table("open").contains("+49 30 1"));
        let told: Vec<String> = daemon.mails(None).await.into_iter().map(|mail| mail.text).collect();
        let note = "Note: personal data (such as e-mail addresses) left out\n";
        assert_eq!(told.iter().filter(|text| text.contains(note)).count(), 1, "{told:#?}");
        daemon.finish().await;
    }
}

/// What an export leaves, whatever happened in between.
async fn picture(daemon: &TestDaemon) -> (Vec<String>, Vec<String>, Vec<String>) {
    let without_run = |file: String| without_times(&file);
    let mails =
        daemon.mails(None).await.into_iter().map(|mail| format!("{} {} {}", mail.kind, mail.state, mail.subject));
    let observed =
        daemon.column("SELECT title || ' ' || CAST(sequence AS TEXT) FROM export_sessions ORDER BY session_id").await;
    let mut mails: Vec<String> = mails.collect();
    mails.sort();
    (
        daemon.files("outbox").into_iter().filter(|file| file.contains("/exports/")).map(without_run).collect(),
        mails,
        observed,
    )
}

/// Due an hour after a daemon has begun, and not again for a year: the real program sees another time.
const YEARLY: &str =
    r#"{name = "nightly", account = "berlin", cron = "0 5 22 11 *", formats = ["schedule.ics", "sessions.csv"]}"#;

/// At each of `points`, and at those of every job that an export passes in its own way.
pub(super) async fn each_point(points: &[FailPoint], setup: fn() -> Setup, blow: Blow) {
    let undisturbed = begun(setup(), YEARLY).await;
    undisturbed.clock.advance(Duration::from_hours(1));
    undisturbed.signals.reached(FailPoint::SlotTaken, 1).await;
    undisturbed.idle().await;
    let expected = picture(&undisturbed).await;
    assert!(expected.0.iter().any(|file| file.ends_with("<time>/schedule.ics")), "{expected:#?}");
    undisturbed.finish().await;
    let of_every_job =
        [FailPoint::Frozen, FailPoint::FinalBeforeMove, FailPoint::MailBeforeSend, FailPoint::MailAfterSend];
    for point in points.iter().copied().chain(of_every_job) {
        let mut daemon = begun(setup(), YEARLY).await;
        strike(&mut daemon, blow, point, 1, |daemon| daemon.clock.advance(Duration::from_hours(1))).await;
        daemon.idle().await;
        assert_eq!(picture(&daemon).await, expected, "{blow:?} at {point:?}");
        assert_eq!(daemon.count("schedule_slots").await, 1);
        daemon.finish().await;
    }
}
