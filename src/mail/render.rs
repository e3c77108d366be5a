//! Mails in words: facts in, subject, text and HTML out. No I/O.

use std::collections::BTreeMap;

use minijinja::Value;
use minijinja::value::Serde;
use serde::Serialize;
use uuid::Uuid;

use super::MailKind;
use super::templates::{Rendered, Templates};
use super::view::{ErrorsCsv, JobMailContext, job_view};
use super::words::{clean, counted, moment, number, size};
use crate::clock::Timestamp;
use crate::model::report::{ArchiveReport, DatasetCounts, EventReport, LinkCounts, MediaCounts, REPORT_VERSION};
use crate::model::{Code, Dataset, JobId, JobState, Problem, Report};

/// How many jobs a digest names one by one.
const DIGEST_LINES: usize = 100;

/// Something that no account can mend, for the admin.
#[derive(Clone, Copy, Debug)]
pub struct AdminMail<'a> {
    /// What this installation calls itself.
    pub public_name: &'a str,
    /// A few words for the subject: `disk low`.
    pub title: &'a str,
    /// What happened, in a sentence.
    pub what: &'a str,
    /// What is known of its cause.
    pub why: &'a str,
    /// What the admin can do, and what happens until then.
    pub what_now: &'a str,
    /// When it began.
    pub since: Timestamp,
}

/// A file in the inbox that does not get whole, for its owner.
#[derive(Clone, Copy, Debug)]
pub struct IncompleteUpload<'a> {
    /// What this installation calls itself.
    pub public_name: &'a str,
    /// The name by which the account's people are greeted.
    pub display_name: Option<&'a str>,
    /// The file's name.
    pub file: &'a str,
    /// The file's path as its owner can find it.
    pub path: &'a str,
    /// Its size in bytes.
    pub bytes: u64,
    /// What is missing, where that is known.
    pub reason: Option<&'a str>,
    /// Since when it has not changed.
    pub since: Timestamp,
    /// When it is rejected if nothing changes.
    pub rejected_at: Timestamp,
}

/// Many jobs that ended together, for one recipient.
#[derive(Clone, Debug)]
pub struct DigestMail<'a> {
    /// What this installation calls itself.
    pub public_name: &'a str,
    /// The jobs' mails that are folded, in any order.
    pub lines: Vec<DigestLine>,
}

/// One mail that is folded into a digest.
#[derive(Clone, Debug)]
pub struct DigestLine {
    /// What it would have been.
    pub kind: MailKind,
    /// Its subject.
    pub subject: String,
    /// Its job.
    pub job: Option<String>,
    /// When it was queued.
    pub at: Timestamp,
}

/// The mail about a job that has ended.
///
/// A report of a job that has not ended is rendered like that of a failed one.
pub fn render_job(templates: &Templates, report: &Report, context: &JobMailContext<'_>) -> Rendered {
    let kind = MailKind::of_job(report.state).unwrap_or(MailKind::ImportFailed);
    templates.fill(kind, &job_view(kind, report, context))
}

/// The mail about something that the admin must mend.
pub fn render_admin(templates: &Templates, mail: &AdminMail<'_>) -> Rendered {
    templates.fill(MailKind::Admin, &admin_view(mail))
}

/// The mail about an upload that does not get whole.
pub fn render_incomplete_upload(templates: &Templates, mail: &IncompleteUpload<'_>) -> Rendered {
    templates.fill(MailKind::IncompleteUpload, &incomplete_view(mail))
}

/// The one mail about many jobs: failed ones first, then partial ones, each in the order in which they ended.
pub fn render_digest(templates: &Templates, mail: &DigestMail<'_>) -> Rendered {
    templates.fill(MailKind::Digest, &digest_view(mail))
}

/// The mail that shows that mail works.
pub fn render_test(templates: &Templates, public_name: &str) -> Rendered {
    templates.fill(MailKind::Test, &TestView { kind: MailKind::Test.as_str(), public_name: clean(public_name) })
}

#[derive(Serialize)]
struct AdminView {
    kind: &'static str,
    public_name: String,
    title: String,
    what: String,
    why: String,
    what_now: String,
    since: String,
}

fn admin_view(mail: &AdminMail<'_>) -> AdminView {
    AdminView {
        kind: MailKind::Admin.as_str(),
        public_name: clean(mail.public_name),
        title: clean(mail.title),
        what: clean(mail.what),
        why: clean(mail.why),
        what_now: clean(mail.what_now),
        since: moment(mail.since),
    }
}

#[derive(Serialize)]
struct IncompleteView {
    kind: &'static str,
    public_name: String,
    display_name: Option<String>,
    file: String,
    path: String,
    size: String,
    reason: Option<String>,
    since: String,
    end: String,
}

fn incomplete_view(mail: &IncompleteUpload<'_>) -> IncompleteView {
    IncompleteView {
        kind: MailKind::IncompleteUpload.as_str(),
        public_name: clean(mail.public_name),
        display_name: mail.display_name.map(clean).filter(|name| !name.is_empty()),
        file: clean(mail.file),
        path: clean(mail.path),
        size: size(mail.bytes),
        reason: mail.reason.map(clean),
        since: moment(mail.since),
        end: moment(mail.rejected_at),
    }
}

#[derive(Serialize)]
struct DigestView {
    kind: &'static str,
    public_name: String,
    total_words: String,
    imported: String,
    partial: u64,
    failed: u64,
    lines: Vec<LineView>,
    more: u64,
}

#[derive(Serialize)]
struct LineView {
    kind: &'static str,
    tone: &'static str,
    subject: String,
    job: Option<String>,
    at: String,
}

fn digest_view(mail: &DigestMail<'_>) -> DigestView {
    let count = |wanted: fn(MailKind) -> bool| -> u64 {
        let found = mail.lines.iter().filter(|line| wanted(line.kind)).count();
        u64::try_from(found).unwrap_or(u64::MAX)
    };
    let urgency = |kind: MailKind| match kind {
        MailKind::ImportFailed | MailKind::ExportFailed | MailKind::Admin => 0,
        MailKind::Partial | MailKind::IncompleteUpload => 1,
        MailKind::Imported | MailKind::Exported | MailKind::ExportUnchanged | MailKind::Digest | MailKind::Test => 2,
    };
    let mut lines: Vec<&DigestLine> = mail.lines.iter().collect();
    lines.sort_by_key(|line| (urgency(line.kind), line.at));
    let total = count(|_| true);
    DigestView {
        kind: MailKind::Digest.as_str(),
        public_name: clean(mail.public_name),
        total_words: counted(total, "job"),
        imported: number(count(|kind| {
            matches!(kind, MailKind::Imported | MailKind::Exported | MailKind::ExportUnchanged)
        })),
        partial: count(|kind| kind == MailKind::Partial),
        failed: count(|kind| matches!(kind, MailKind::ImportFailed | MailKind::ExportFailed)),
        more: u64::try_from(lines.len().saturating_sub(DIGEST_LINES)).unwrap_or(u64::MAX),
        lines: lines
            .into_iter()
            .take(DIGEST_LINES)
            .map(|line| LineView {
                kind: line.kind.as_str(),
                tone: ["bad", "fair", "good"][urgency(line.kind)],
                subject: clean(&line.subject),
                job: line.job.as_deref().map(clean),
                at: moment(line.at),
            })
            .collect(),
    }
}

#[derive(Serialize)]
struct TestView {
    kind: &'static str,
    public_name: String,
}

/// Made-up facts for every kind of mail, with which overridden templates are tried: one with everything, one with
/// nothing that may be missing.
pub(super) fn samples() -> Vec<(MailKind, Value)> {
    let at = Timestamp::UNIX_EPOCH;
    let mut samples = Vec::new();
    for state in JobState::ALL.into_iter().filter(|state| state.is_final()) {
        let kind = MailKind::of_job(state).unwrap_or(MailKind::ImportFailed);
        let (full, bare) = (full_report(state), bare_report(state));
        samples.push((kind, Value::from(Serde(job_view(kind, &full, &full_context())))));
        samples.push((kind, Value::from(Serde(job_view(kind, &bare, &bare_context())))));
    }
    for reason in [Some("the end record is missing"), None] {
        let view = incomplete_view(&IncompleteUpload {
            public_name: "eventferry",
            display_name: reason,
            file: "sample.zip",
            path: "inbox/sample.zip",
            bytes: 1,
            reason,
            since: at,
            rejected_at: at,
        });
        samples.push((MailKind::IncompleteUpload, Value::from(Serde(view))));
    }
    let admin = AdminMail { public_name: "eventferry", title: "t", what: "w", why: "y", what_now: "n", since: at };
    samples.push((MailKind::Admin, Value::from(Serde(admin_view(&admin)))));
    let line = |kind| DigestLine { kind, subject: "s".to_owned(), job: Some("j".to_owned()), at };
    let lines = [MailKind::ImportFailed, MailKind::Partial, MailKind::Imported].map(line).to_vec();
    let digest = digest_view(&DigestMail { public_name: "eventferry", lines });
    samples.push((MailKind::Digest, Value::from(Serde(digest))));
    samples.extend(super::export::samples());
    let test = TestView { kind: MailKind::Test.as_str(), public_name: "eventferry".to_owned() };
    samples.push((MailKind::Test, Value::from(Serde(test))));
    samples
}

fn full_context() -> JobMailContext<'static> {
    JobMailContext {
        public_name: "eventferry",
        display_name: Some("Sample"),
        result_folder: "outbox/sample",
        archive_folder: Some("done/sample"),
        inbox_folder: Some("inbox/sample"),
        rejected_zip: true,
        errors_csv: ErrorsCsv::TooLarge(1),
    }
}

fn bare_context() -> JobMailContext<'static> {
    JobMailContext {
        display_name: None,
        archive_folder: None,
        inbox_folder: None,
        rejected_zip: false,
        errors_csv: ErrorsCsv::Attached,
        ..full_context()
    }
}

fn full_report(state: JobState) -> Report {
    let counts =
        DatasetCounts { read: 5, rebuilt: 0, created: 1, updated: 1, unchanged: 1, rejected: 1, merged: 1, gone: 1 };
    let problem = |code| {
        let problem = Problem::new(code, "message", "hint").in_file("sessions.json").at(1);
        problem.of_record("1").in_field("title").with_value("value")
    };
    let mut other = problem(Code::FieldType);
    other.message = "another message".to_owned();
    Report {
        event: Some(EventReport { id: 1, name: "Sample".to_owned(), created: state == JobState::Succeeded }),
        related_job: Some(JobId(Uuid::nil())),
        archive: ArchiveReport { name: "sample.zip".to_owned(), sha256: Some("0".repeat(64)), bytes: 1 },
        datasets: Dataset::ALL.into_iter().map(|dataset| (dataset, counts)).collect(),
        links: LinkCounts {
            session_speakers: 1,
            sessions_with_track: 1,
            sessions_with_microlocation: 1,
            sessions_with_session_type: 1,
        },
        media: MediaCounts { referenced: 3, stored: 1, missing: 1, remote: 1 },
        problems: vec![problem(Code::FieldType), other, problem(Code::MediaMissing)],
        problem_counts: BTreeMap::from([(Code::FieldType, 9), (Code::MediaMissing, 1)]),
        ..bare_report(state)
    }
}

fn bare_report(state: JobState) -> Report {
    Report {
        version: REPORT_VERSION,
        job: JobId(Uuid::nil()),
        state,
        summary: "a sample".to_owned(),
        account: "sample".to_owned(),
        archive: ArchiveReport { name: "sample.zip".to_owned(), sha256: None, bytes: 1 },
        event: None,
        related_job: None,
        datasets: BTreeMap::new(),
        links: LinkCounts::default(),
        media: MediaCounts::default(),
        problems: Vec::new(),
        problem_counts: BTreeMap::new(),
        started: Timestamp::UNIX_EPOCH,
        finished: Timestamp::UNIX_EPOCH,
    }
}
