#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]
#![expect(clippy::disallowed_methods, reason = "tests lay out files as they like")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use chrono::{DateTime, TimeDelta};

use super::*;
use crate::clock::Timestamp;
use crate::model::report::{ArchiveReport, DatasetCounts, EventReport, LinkCounts, MediaCounts, REPORT_VERSION};
use crate::model::{Code, Dataset, JobId, Problem, Report};

pub(super) fn at() -> Timestamp {
    DateTime::from_timestamp(1_790_000_000, 0).unwrap()
}

pub(super) fn job() -> JobId {
    "0199a0f2-7c3e-7bd1-8a44-0c5d2e1f9a10".parse().unwrap()
}

fn created(count: u64) -> DatasetCounts {
    DatasetCounts { read: count, created: count, ..DatasetCounts::default() }
}

/// A summit that came in whole.
pub(super) fn summit(state: JobState) -> Report {
    Report {
        version: REPORT_VERSION,
        job: job(),
        state,
        summary: "everything is in".to_owned(),
        account: "asia".to_owned(),
        archive: ArchiveReport { name: "summit-2018.zip".to_owned(), sha256: Some("ab".repeat(32)), bytes: 12_897_484 },
        event: Some(EventReport { id: 7, name: "Open Source Summit 2018".to_owned(), created: true }),
        related_job: None,
        datasets: BTreeMap::from([
            (Dataset::Event, created(1)),
            (Dataset::SocialLinks, DatasetCounts::default()),
            (Dataset::Microlocations, created(12)),
            (Dataset::Speakers, created(341)),
            (Dataset::Tracks, created(17)),
            (Dataset::SessionTypes, created(4)),
            (Dataset::Sessions, created(1_371)),
        ]),
        links: LinkCounts {
            session_speakers: 1_480,
            sessions_with_track: 1_371,
            sessions_with_microlocation: 1_350,
            sessions_with_session_type: 371,
        },
        media: MediaCounts { referenced: 360, stored: 352, missing: 1, remote: 7 },
        problems: Vec::new(),
        problem_counts: BTreeMap::new(),
        started: at(),
        finished: at() + TimeDelta::seconds(65),
    }
}

/// The same with three bad sessions and a missing picture.
pub(super) fn partial() -> Report {
    let bad_date = |position: u64, value: &str| {
        Problem::new(
            Code::DateInvalid,
            "`starts_at` is no date",
            "write it like 2018-03-22T10:00:00+08:00 and drop rejected.zip again",
        )
        .in_file("sessions.json")
        .at(position)
        .of_record(format!("{}", 4_000 + position))
        .in_field("starts_at")
        .with_value(value)
    };
    let mut report = summit(JobState::Partial);
    report.datasets.insert(
        Dataset::Sessions,
        DatasetCounts { read: 1_371, created: 1_367, rejected: 4, ..DatasetCounts::default() },
    );
    report.problems = vec![
        Problem::new(Code::MediaMissing, "the picture is not in the archive", "add it, or leave the field empty")
            .in_file("speakers.json")
            .at(3)
            .in_field("photo_url")
            .with_value("/images/speakers/Ada_3.jpg"),
        bad_date(12, "tomorrow"),
        bad_date(40, "2018-02-30T10:00:00"),
        bad_date(41, ""),
        bad_date(1_200, "n/a"),
    ];
    report.problem_counts = BTreeMap::from([(Code::DateInvalid, 4), (Code::MediaMissing, 1)]);
    report
}

/// An archive without an event.
pub(super) fn failed() -> Report {
    let mut report = summit(JobState::Failed);
    report.event = None;
    report.datasets = BTreeMap::new();
    report.links = LinkCounts::default();
    report.media = MediaCounts::default();
    report.archive.name = "x.zip".to_owned();
    report.summary = "nothing was imported: the archive has no readable `event`".to_owned();
    let problem = Problem::new(Code::EventMissing, "there is no file `event`", "add `event.json` beside the others");
    report.problems = vec![problem];
    report.problem_counts = BTreeMap::from([(Code::EventMissing, 1)]);
    report
}

pub(super) fn context() -> JobMailContext<'static> {
    JobMailContext {
        public_name: "Summit imports",
        display_name: Some("Asia team"),
        result_folder: "outbox/asia/20260921T141320Z_summit-2018_0199a0f2",
        archive_folder: Some("done/asia"),
        inbox_folder: Some("inbox/asia"),
        rejected_zip: false,
        errors_csv: ErrorsCsv::Absent,
    }
}

fn built_in() -> Templates {
    Templates::load(None).unwrap()
}

fn first_lines(text: &str, count: usize) -> Vec<&str> {
    text.lines().take(count).collect()
}

#[test]
fn a_kind_reads_back_as_itself() {
    for kind in MailKind::ALL {
        assert_eq!(MailKind::parse(kind.as_str()), Some(kind));
    }
}

#[test]
fn every_sample_can_be_rendered_by_the_built_in_templates() {
    let folder = tempfile::tempdir().unwrap();
    assert!(Templates::load(Some(folder.path())).is_ok());
    assert!(Templates::load(Some(&folder.path().join("not there"))).is_ok());
}

#[test]
fn an_import_says_in_its_first_lines_that_nothing_is_to_be_done() {
    let mail = render_job(&built_in(), &summit(JobState::Succeeded), &context());
    assert_eq!(mail.subject, "Imported: Open Source Summit 2018 (1,371 sessions, 341 speakers)");
    let expected = [
        "Hello Asia team,",
        "",
        "summit-2018.zip is imported: the new event \"Open Source Summit 2018\".",
        "Nothing is to be done.",
        "",
        "                  created",
        "event                   1",
        "rooms                  12",
        "speakers              341",
    ];
    assert_eq!(first_lines(&mail.text, 9), expected);
    assert!(!mail.text.contains("social links"), "a dataset without records has no row");
    assert!(mail.text.contains(
        "\nLinks: 1,480 pairs of a session and a speaker; sessions: 1,371 with a track, 1,350 with a room, 371 with a type.\n"
    ));
    assert!(mail.text.contains(
        "\nMedia: 360 references to media files: 352 stored, 1 missing or unreadable, 7 links to elsewhere.\n"
    ));
    assert!(mail.text.contains("\n  outbox/asia/20260921T141320Z_summit-2018_0199a0f2\n"));
    assert!(
        mail.text.contains("\nBegun 2026-09-21 14:13 UTC, ended 2026-09-21 14:14 UTC, took 1 min 5 s.\n"),
        "{}",
        mail.text
    );
    assert!(mail.html.contains("<b>Nothing is to be done.</b>"));
    assert!(mail.html.contains(">1,371</td>"));
}

#[test]
fn a_partial_import_counts_what_was_rejected_and_shows_the_first_of_each_kind() {
    let mail = render_job(&built_in(), &partial(), &JobMailContext { rejected_zip: true, ..context() });
    assert_eq!(
        mail.subject,
        "Partly imported: Open Source Summit 2018 (1,367 sessions, 341 speakers; 4 records rejected)"
    );
    let errors_first = "4 errors, 1 warning; the first of each kind:

4 errors DATE_INVALID: `starts_at` is no date.
  What to do: Write it like 2018-03-22T10:00:00+08:00 and drop rejected.zip again.
  - sessions.json, record 12, id 4012, field starts_at: \"tomorrow\"
  - sessions.json, record 40, id 4040, field starts_at: \"2018-02-30T10:00:00\"
  - sessions.json, record 41, id 4041, field starts_at: \"\"
  and 1 more

1 warning MEDIA_MISSING: The picture is not in the archive.
";
    assert!(mail.text.contains(errors_first), "{}", mail.text);
    assert!(mail.text.contains("To be done: correct the rejected records in rejected.zip"));
    for text in [&mail.text, &mail.html] {
        assert!(text.contains("holds the rejected records, and eventferry.json, which must stay in it."), "{text}");
    }
    assert!(mail.text.contains("into inbox/asia: what it holds is added"), "{}", mail.text);
    let mut report = partial();
    report.problem_counts.insert(Code::JsonSyntax, 1);
    let mail = render_job(&built_in(), &report, &JobMailContext { rejected_zip: true, ..context() });
    for text in [&mail.text, &mail.html] {
        assert!(text.contains("holds the rejected records and the file that could not be read, and"), "{text}");
    }
}

#[test]
fn a_failed_import_says_why_in_its_subject() {
    let mail = render_job(&built_in(), &failed(), &context());
    assert_eq!(mail.subject, "Not imported: x.zip: no event that can be used");
    assert!(mail.text.contains("To be done: correct what is listed below"));
    assert!(!mail.text.contains("How to correct it"), "there is no rejected.zip");
    // A typo as well as something that is not allowed.
    let mut report = failed();
    report.problems = vec![Problem::new(Code::PolicyInvalid, "`eventferry.json` cannot be followed", "correct it")];
    report.problem_counts = BTreeMap::from([(Code::PolicyInvalid, 1)]);
    let mail = render_job(&built_in(), &report, &context());
    assert_eq!(mail.subject, "Not imported: x.zip: eventferry.json cannot be followed");
}

#[test]
fn a_fault_of_ours_is_not_put_on_the_archive() {
    let mut report = failed();
    report.problems = vec![Problem::new(Code::Quarantined, "the import died five times", "ask the admin")];
    report.problem_counts = BTreeMap::from([(Code::Quarantined, 1)]);
    let mail = render_job(&built_in(), &report, &context());
    assert_eq!(mail.subject, "Not imported: x.zip: put aside after several crashes");
    assert!(mail.text.contains("To be done: tell your administrator"));
}

#[test]
fn a_duplicate_names_the_job_it_repeats() {
    let mut report = summit(JobState::Duplicate);
    report.datasets.clear();
    report.related_job = Some(job());
    let mail = render_job(&built_in(), &report, &context());
    assert_eq!(mail.subject, "Already imported: Open Source Summit 2018 (nothing changed)");
    assert!(mail.text.contains("The earlier import is job 0199a0f2-7c3e-7bd1-8a44-0c5d2e1f9a10."));
    assert!(mail.text.contains("Nothing is to be done."));
}

#[test]
fn the_same_archive_packed_anew_says_that_nothing_changed() {
    let mut report = summit(JobState::Succeeded);
    report.event = Some(EventReport { id: 7, name: "Summit".to_owned(), created: false });
    for counts in report.datasets.values_mut() {
        *counts = DatasetCounts { read: counts.read, unchanged: counts.read, ..DatasetCounts::default() };
    }
    let mail = render_job(&built_in(), &report, &context());
    assert_eq!(mail.subject, "Imported: Summit (nothing changed)");
    assert!(mail.text.contains("\"Summit\" was already up to date."));
}

#[test]
fn a_cancelled_import_says_so() {
    let mut report = summit(JobState::Cancelled);
    report.summary = "stopped after 240 of 371 sessions".to_owned();
    let mail = render_job(&built_in(), &report, &context());
    assert_eq!(mail.subject, "Cancelled: summit-2018.zip (Open Source Summit 2018)");
    assert!(mail.text.contains("was cancelled. Stopped after 240 of 371 sessions."));
    assert!(mail.text.contains("To be done: nothing, if that was meant."));
    report.summary = "It was cancelled; nothing of it is in.".to_owned();
    let mail = render_job(&built_in(), &report, &context());
    for text in [&mail.text, &mail.html] {
        assert!(text.contains("was cancelled; nothing of it is in."), "{text}");
        assert!(!text.contains("It was cancelled"), "{text}");
    }
}

#[test]
fn an_update_that_was_stopped_midway_says_how_to_finish_it_or_go_back() {
    let mut report = summit(JobState::Cancelled);
    report.event = Some(EventReport { id: 7, name: "Summit".to_owned(), created: false });
    report.summary = "it was cancelled while importing tracks; what was written before that stays".to_owned();
    let mail = render_job(&built_in(), &report, &context());
    assert_eq!(mail.subject, "Cancelled midway: summit-2018.zip (Summit)");
    for text in [&mail.text, &mail.html] {
        assert!(text.contains("drop the archive again to finish it, or an older archive"), "{text}");
        assert!(!text.contains("nothing, if that was meant"), "{text}");
        assert!(text.contains("was cancelled while importing tracks; what was written before that stays."), "{text}");
    }
    let mail = render_job(&built_in(), &Report { state: JobState::Failed, ..report }, &context());
    assert!(mail.subject.starts_with("Imported only in part: summit-2018.zip: "), "{}", mail.subject);
    assert!(mail.text.contains("summit-2018.zip was imported only in part. It was cancelled"), "{}", mail.text);
}

/// Every text that a report can carry, turned against the reader.
fn hostile() -> Report {
    let evil = "<script>alert(1)</script>\r\nBcc: victim@example.org\r\n\r\n=cmd|'/C calc'!A0\u{0}\u{202e}&\"'";
    let mut report = partial();
    report.summary = evil.to_owned();
    report.account = evil.to_owned();
    report.archive.name = evil.to_owned();
    report.archive.sha256 = Some(evil.to_owned());
    report.event = Some(EventReport { id: 1, name: evil.to_owned(), created: true });
    report.problems = Code::ALL
        .iter()
        .map(|code| {
            let mut problem = Problem::new(*code, evil, evil).in_file(evil).at(1).of_record(evil).with_value(evil);
            problem.field = Some(evil.to_owned());
            problem
        })
        .collect();
    report.problem_counts = Code::ALL.iter().map(|code| (*code, 1)).collect();
    report
}

#[test]
fn a_hostile_archive_cannot_write_into_the_mail() {
    for state in JobState::ALL.into_iter().filter(|state| state.is_final()) {
        let report = Report { state, ..hostile() };
        let evil = report.summary.clone();
        let mail = render_job(&built_in(), &report, &JobMailContext { display_name: Some(&evil), ..context() });
        assert!(!mail.html.contains("<script"), "{state}");
        assert!(!mail.html.contains("\"'"), "{state}: quotes are escaped");
        assert!(mail.subject.chars().count() <= 150 && !mail.subject.contains(char::is_control), "{state}");
        for text in [&mail.text, &mail.html] {
            assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{state}");
            assert!(!text.contains('\u{202e}'), "{state}");
            assert!(!text.lines().any(|line| line.trim_start().starts_with("Bcc:")), "{state}");
        }
        let composed = composed(&mail, None);
        let (head, _) = split_head(&composed);
        assert!(!head.to_ascii_lowercase().contains("\nbcc"), "{head}");
        assert_eq!(head.matches("\nSubject:").count(), 1);
    }
}

#[test]
fn names_between_backticks_look_like_code_in_html() {
    let mut report = failed();
    report.problems[0].message = "no `<event>` and a lone ` mark".to_owned();
    let mail = render_job(&built_in(), &report, &context());
    assert!(mail.html.contains(">&lt;event&gt;</span> and a lone ` mark."), "{}", mail.html);
    assert!(mail.text.contains("No `<event>` and a lone ` mark."));
}

#[test]
fn the_other_mails_say_what_when_and_what_to_do() {
    let admin = render_admin(
        &built_in(),
        &AdminMail {
            public_name: "Summit imports",
            title: "disk low\r\nBcc: x@example.org",
            what: "no archive is taken",
            why: "`work` has 200 MiB left, the floor is 512 MiB",
            what_now: "make room; it goes on by itself",
            since: at(),
        },
    );
    assert_eq!(admin.subject, "Summit imports: disk low Bcc: x@example.org");
    assert!(admin.text.contains("Since: 2026-09-21 14:13 UTC"));
    let incomplete = render_incomplete_upload(
        &built_in(),
        &IncompleteUpload {
            public_name: "Summit imports",
            display_name: None,
            file: "summit.zip",
            path: "inbox/asia/summit.zip",
            bytes: 5_242_880,
            reason: None,
            since: at(),
            rejected_at: at() + TimeDelta::hours(24),
        },
    );
    assert_eq!(incomplete.subject, "Not whole yet: summit.zip (5.0 MiB since 2026-09-21 14:13 UTC)");
    assert!(incomplete.text.contains("If it is still not whole at 2026-09-22 14:13 UTC, it is rejected"));
    assert!(render_test(&built_in(), "Summit imports").subject.starts_with("Summit imports:"));
}

#[test]
fn a_digest_puts_what_went_wrong_first_and_counts_the_rest() {
    let line = |kind: MailKind, subject: &str, minutes: i64| DigestLine {
        kind,
        subject: subject.to_owned(),
        job: Some(job().to_string()),
        at: at() + TimeDelta::minutes(minutes),
    };
    let mut lines: Vec<DigestLine> =
        (0..150).map(|minute| line(MailKind::Imported, &format!("Imported: {minute}"), minute)).collect();
    lines.push(line(MailKind::ImportFailed, "Not imported: a.zip: not a zip file", 200));
    lines.push(line(MailKind::Partial, "Partly imported: b", 100));
    let mail = render_digest(&built_in(), &DigestMail { public_name: "Summit imports", lines });
    assert_eq!(mail.subject, "152 jobs ended: 1 not imported, 1 partly, 150 imported");
    let order: Vec<&str> = mail.text.lines().filter(|line| line.starts_with("- ")).collect();
    assert_eq!(order.len(), 100);
    assert_eq!(order[..3], ["- Not imported: a.zip: not a zip file", "- Partly imported: b", "- Imported: 0"]);
    assert!(mail.text.contains("and 52 more"));
}

fn export_mail<'a>(state: JobState, scope: &'a str, events: &[(&'static str, u64)]) -> ExportMail<'a> {
    let event = |state| ExportedEventMail { name: "Days".to_owned(), state, ..ExportedEventMail::default() };
    let of_state = |(state, count): &(&'static str, u64)| vec![event(*state); usize::try_from(*count).unwrap()];
    ExportMail {
        public_name: "Summit exports",
        display_name: None,
        state,
        summary: "a summary",
        scope,
        formats: vec!["archive"],
        events: events.iter().flat_map(of_state).collect(),
        failures: 0,
        recovered: false,
        job: "j",
        account: "asia",
        started: at(),
    }
}

#[test]
fn the_subject_of_an_export_counts_what_happened() {
    let subject = |state, events: &[_]| render_export(&built_in(), &export_mail(state, "by hand", events)).subject;
    let (succeeded, partial, failed) = (JobState::Succeeded, JobState::Partial, JobState::Failed);
    for (state, events, expected) in [
        (succeeded, &[("exported", 1)][..], "Exported: Days"),
        (succeeded, &[("exported", 3)], "Exported: 3 events"),
        (succeeded, &[("exported", 10), ("empty", 1)], "Exported: 10 of 11 events"),
        (succeeded, &[("exported", 1), ("unchanged", 2)], "Exported: 1 of 3 events, 2 unchanged"),
        (succeeded, &[("unchanged", 2)], "Unchanged: 2 events"),
        (succeeded, &[("unchanged", 2), ("empty", 1)], "Unchanged: 2 of 3 events"),
        (succeeded, &[("empty", 2)], "Nothing to export: 2 events"),
        (partial, &[("exported", 8), ("empty", 3)], "Partly exported: 8 of 11 events"),
        (partial, &[("exported", 8), ("unchanged", 2), ("empty", 1)], "Partly exported: 8 of 11 events, 2 unchanged"),
        (partial, &[("unchanged", 2), ("failed", 1)], "Not all exported: 2 of 3 events unchanged"),
        (failed, &[("failed", 2)], "Export failed: 2 events"),
        (failed, &[], "Export failed: by hand"),
        (JobState::Cancelled, &[("exported", 1), ("failed", 1)], "Export cancelled: 1 of 2 events"),
    ] {
        assert_eq!(subject(state, events), format!("{expected} (archive)"));
    }
}

#[test]
fn an_export_mail_says_that_the_last_good_one_stays_only_where_there_is_one() {
    let text = |state, events: &[_], folder: Option<&str>| {
        let mut mail = export_mail(state, "by hand", events);
        for event in mail.events.iter_mut().filter(|event| event.state == "failed") {
            event.folder = folder.map(str::to_owned);
        }
        render_export(&built_in(), &mail).text
    };
    let events = [("exported", 1), ("failed", 1)];
    assert!(text(JobState::Partial, &events, Some("f")).contains("What was not exported keeps its last good export."));
    assert!(text(JobState::Failed, &events[1..], Some("f")).contains("The last good export stays where it is."));
    for events in [&events[..], &events[1..], &events[..1]] {
        let said = text(JobState::Partial, events, None);
        assert!(!said.contains("last good export"), "{said}");
    }
}

#[test]
fn a_schedule_that_finds_nothing_new_has_a_mail_of_its_own_kind() {
    let kind = |scope, recovered, events: &[_]| {
        ExportMail { recovered, ..export_mail(JobState::Succeeded, scope, events) }.kind()
    };
    let unchanged = [("unchanged", 2), ("empty", 1)];
    assert_eq!(kind("nightly", false, &unchanged), MailKind::ExportUnchanged);
    assert_eq!(kind("nightly", false, &[("unchanged", 2), ("exported", 1)]), MailKind::Exported);
    assert_eq!(kind("by hand", false, &unchanged), MailKind::Exported);
    assert_eq!(kind("nightly", true, &unchanged), MailKind::Exported, "after a failure it is news");
}

fn write(folder: &Path, name: &str, text: &str) {
    std::fs::write(folder.join(name), text).unwrap();
}

#[test]
fn an_admin_overrides_one_template_and_keeps_the_others() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "imported.subject", "Fertig: {{ event }}\n");
    write(folder.path(), "README.md", "what these are");
    let templates = Templates::load(Some(folder.path())).unwrap();
    let mail = render_job(&templates, &summit(JobState::Succeeded), &context());
    assert_eq!(mail.subject, "Fertig: Open Source Summit 2018");
    assert_eq!(mail.text, render_job(&built_in(), &summit(JobState::Succeeded), &context()).text);
}

#[test]
fn broken_overrides_are_all_named_with_file_and_line() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "imported.txt", "fine\n{% if %}\n");
    write(folder.path(), "importd.html", "");
    std::fs::write(folder.path().join("admin.txt"), [0xff, 0xfe]).unwrap();
    let fault = Templates::load(Some(folder.path())).unwrap_err().to_string();
    assert!(fault.contains("`imported.txt` line 2"), "{fault}");
    assert!(fault.contains("`importd.html`: no mail has a template"), "{fault}");
    assert!(fault.contains("`admin.txt`: cannot be read as UTF-8"), "{fault}");
}

#[test]
fn a_misspelt_variable_is_found_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "partial.subject", "a\n{{ evnt }}\n");
    write(folder.path(), "job.txt", "\n\n{{ no_such_thing }}\n");
    let fault = Templates::load(Some(folder.path())).unwrap_err().to_string();
    assert!(fault.contains("`partial.subject` line 2"), "{fault}");
    assert_eq!(fault.matches("`job.txt` line 3").count(), 1, "{fault}");
}

#[test]
fn a_template_that_fails_only_for_some_facts_gives_way_to_the_built_in_one() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "imported.subject", "{% if archive == 'summit-2018.zip' %}{{ nothing.at.all }}{% endif %}ok");
    let templates = Templates::load(Some(folder.path())).unwrap();
    let mail = render_job(&templates, &summit(JobState::Succeeded), &context());
    assert_eq!(mail.subject, "Imported: Open Source Summit 2018 (1,371 sessions, 341 speakers)");
}

fn composed(mail: &Rendered, attachment: Option<Attachment>) -> String {
    let from = mailbox(Some("Имport, Ünïcode"), "eventferry@example.org").unwrap();
    let to = mailbox(Some("Asia \"team\"\r\nBcc: x@example.org"), "asia@example.net").unwrap();
    let outgoing = Outgoing {
        kind: MailKind::Imported,
        message_id: &message_id(&job().to_string(), MailKind::Imported, "example.org"),
        from: &from,
        to: &to,
        subject: &mail.subject,
        text: &mail.text,
        html: &mail.html,
        attachment,
        date: at(),
    };
    String::from_utf8(compose(&outgoing).unwrap().bytes()).unwrap()
}

fn split_head(message: &str) -> (&str, &str) {
    message.split_once("\r\n\r\n").unwrap()
}

#[test]
fn a_mail_carries_the_headers_of_an_automatic_one() {
    let mail = render_job(&built_in(), &summit(JobState::Succeeded), &context());
    let message = composed(&mail, None);
    let (head, _) = split_head(&message);
    for line in [
        "Message-ID: <0199a0f2-7c3e-7bd1-8a44-0c5d2e1f9a10.imported@example.org>",
        "Date: Mon, 21 Sep 2026 14:13:20 +0000",
        "Auto-Submitted: auto-generated",
        "MIME-Version: 1.0",
    ] {
        assert!(head.lines().any(|found| found == line), "{line} in\n{head}");
    }
    assert!(head.contains("multipart/alternative"));
    assert!(message.is_ascii());
    assert!(message.lines().all(|line| line.len() <= 998));
    assert_eq!(message, composed(&mail, None), "the same mail has the same bytes");
}

#[test]
fn an_attachment_keeps_its_bytes_and_a_too_large_one_stays_behind() {
    let mail = render_job(&built_in(), &partial(), &context());
    let attach = |bytes: Vec<u8>| composed(&mail, Some(Attachment { name: "errors.csv".to_owned(), bytes }));
    let message = attach(b"code,file\nDATE_INVALID,sessions.json\r\n".to_vec());
    assert!(message.contains("multipart/mixed"));
    assert!(message.contains("Content-Type: text/csv; charset=utf-8\r\n"));
    assert!(message.contains("filename=\"errors.csv\""));
    assert!(message.contains("Y29kZSxmaWxlCkRBVEVfSU5WQUxJRCxzZXNzaW9ucy5qc29uDQo="), "the file in base64");
    assert!(attach(vec![b'x'; 1 << 20]).contains("errors.csv"));
    assert!(!attach(vec![b'x'; (1 << 20) + 1]).contains("errors.csv"));
}

#[test]
fn an_address_is_read_with_or_without_a_name() {
    assert_eq!(mailbox(None, " a@example.org ").unwrap().to_string(), "a@example.org");
    assert_eq!(mailbox(Some("x"), "Ada <a@example.org>").unwrap().name.as_deref(), Some("Ada"));
    assert_eq!(mailbox(Some("x\ny"), "a@example.org").unwrap().name.as_deref(), Some("x y"));
    for wrong in ["", "a", "a@", "a@example.org\r\nBcc: b@example.org", "a@example.org, b@example.org"] {
        assert!(mailbox(None, wrong).is_err(), "{wrong}");
    }
}

#[test]
fn a_message_id_is_always_one_token() {
    let id = message_id("disk low\r\n", MailKind::Admin, "");
    assert!(id.starts_with("<disk-low--.") && id.ends_with(".admin@localhost>"), "{id}");
    assert!(id[1..id.len() - 1].chars().all(|c| c.is_ascii_alphanumeric() || "-._@".contains(c)), "{id}");
    assert_eq!(message_id("0199-a", MailKind::Partial, "example.org"), "<0199-a.partial@example.org>");
}

#[test]
fn different_subjects_have_different_message_ids() {
    let long = "a".repeat(300);
    let subjects =
        ["talk 1.zip", "talk-1.zip", "презентация.zip", "организация.zip", &format!("{long}1"), &format!("{long}2")];
    let ids: BTreeSet<String> =
        subjects.iter().map(|subject| message_id(subject, MailKind::IncompleteUpload, "example.org")).collect();
    assert_eq!(ids.len(), subjects.len(), "{ids:#?}");
    // A file name keeps only the front of a long one.
    let fronts: BTreeSet<&str> = ids.iter().map(|id| &id[..id.len().min(100)]).collect();
    assert_eq!(fronts.len(), subjects.len(), "{fronts:#?}");
}

async fn file_names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_mail_in_a_folder_is_one_file_however_often_it_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    let transport = Transport::File { folder: folder.path().join("mail") };
    let from = mailbox(None, "eventferry@example.org").unwrap();
    let to = mailbox(None, "a/b@example.org").unwrap();
    let id = message_id("7", MailKind::Test, "example.org");
    let outgoing = Outgoing {
        kind: MailKind::Test,
        message_id: &id,
        from: &from,
        to: &to,
        subject: "s",
        text: "t",
        html: "h",
        attachment: None,
        date: at(),
    };
    let mail = compose(&outgoing).unwrap();
    let clock = crate::clock::Clock::manual(at());
    for _ in 0..2 {
        assert_eq!(send(&transport, &mail, &clock).await, SendOutcome::Accepted);
    }
    let names = file_names(&folder.path().join("mail")).await;
    assert_eq!(names, ["20260921T141320Z_test_a-b@example.org_7.test@example.org.eml"]);
    assert_eq!(std::fs::read(folder.path().join("mail").join(&names[0])).unwrap(), mail.bytes());
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_is_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "mail", "a file is in the way");
    let transport = Transport::File { folder: folder.path().join("mail") };
    let from = mailbox(None, "eventferry@example.org").unwrap();
    let outgoing = Outgoing {
        kind: MailKind::Test,
        message_id: "<1@example.org>",
        from: &from,
        to: &from,
        subject: "s",
        text: "t",
        html: "h",
        attachment: None,
        date: at(),
    };
    let outcome = send(&transport, &compose(&outgoing).unwrap(), &crate::clock::Clock::manual(at())).await;
    assert!(matches!(outcome, SendOutcome::TryLater { scope: Scope::Transport, .. }), "{outcome:?}");
}
