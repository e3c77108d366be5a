//! Made-up reports.

use std::collections::BTreeMap;

use crate::model::report::{ArchiveReport, DatasetCounts, EventReport, LinkCounts, MediaCounts, REPORT_VERSION};
use crate::model::{Code, Dataset, JobId, JobState, Problem, Report};

pub(super) const JOB: &str = "01932b5e-7c00-7000-8000-000000000001";
pub(super) const OTHER_JOB: &str = "01932b5e-7c00-7000-8000-000000000002";

pub(super) fn job(text: &str) -> JobId {
    JobId(text.parse().unwrap_or_default())
}

fn counts(read: u64, created: u64, rejected: u64) -> DatasetCounts {
    DatasetCounts { read, created, rejected, ..DatasetCounts::default() }
}

/// An import without a problem.
pub(super) fn clean() -> Report {
    Report {
        version: REPORT_VERSION,
        job: job(JOB),
        state: JobState::Succeeded,
        summary: "All 127 records are in.".to_owned(),
        account: "harbour".to_owned(),
        archive: ArchiveReport {
            name: "Harbour Days 2026.zip".to_owned(),
            sha256: Some("ab".repeat(32)),
            bytes: 494_930,
        },
        event: Some(EventReport { id: 12, name: "Harbour Days 2026".to_owned(), created: true }),
        related_job: None,
        datasets: BTreeMap::from([
            (Dataset::Event, counts(1, 1, 0)),
            (Dataset::SocialLinks, counts(0, 0, 0)),
            (Dataset::Microlocations, counts(4, 4, 0)),
            (Dataset::Speakers, counts(41, 41, 0)),
            (Dataset::Tracks, counts(5, 5, 0)),
            (Dataset::Sessions, counts(76, 76, 0)),
        ]),
        links: LinkCounts {
            session_speakers: 83,
            sessions_with_track: 76,
            sessions_with_microlocation: 61,
            sessions_with_session_type: 0,
        },
        media: MediaCounts { referenced: 45, stored: 40, missing: 0, remote: 5 },
        problems: Vec::new(),
        problem_counts: BTreeMap::new(),
        started: "2026-11-22T04:18:03.250Z".parse().unwrap_or_default(),
        finished: "2026-11-22T04:18:09.120Z".parse().unwrap_or_default(),
    }
}

/// An import with rejected records, an unreadable file and warnings, of which not all are kept.
pub(super) fn partial() -> Report {
    let problems = vec![
        Problem::new(
            Code::JsonSyntax,
            "the file is not JSON: expected `,` or `}` at line 12, column 5, near `\"Talk\" \"length\"`",
            "Correct the file at that place; until then the types named in sessions are used.",
        )
        .in_file("session_types"),
        Problem::new(Code::DateInvalid, "this is no date and time", "Write it like 2026-03-22T09:00:00+08:00.")
            .in_file("sessions")
            .at(12)
            .of_record("4379")
            .in_field("starts_at")
            .with_value("22. März 2026,\n9 Uhr "),
        Problem::new(Code::FieldRequired, "the title is missing", "Give the session a title.")
            .in_file("sessions")
            .at(1371)
            .of_record("=4380")
            .in_field("title"),
        Problem::new(
            Code::MediaMissing,
            "`/images/speakers/Zoë_17.jpg` is not in the archive; the speaker is in without a picture",
            "Put the picture into the archive under this name, or empty the field.",
        )
        .in_file("speakers")
        .at(17)
        .of_record("17")
        .in_field("photo_url")
        .with_value("/images/speakers/Zoë_17.jpg"),
        Problem::new(
            Code::MediaUnreferenced,
            "3 media files are named by no record and were not stored",
            "Nothing, unless a record should name them.",
        ),
    ];
    let mut report = clean();
    report.state = JobState::Partial;
    report.summary =
        "125 of 127 records are in; 2 sessions were rejected and `session_types` could not be read.".to_owned();
    report.datasets.insert(Dataset::SessionTypes, DatasetCounts { rebuilt: 2, created: 2, ..DatasetCounts::default() });
    report.datasets.insert(
        Dataset::Sessions,
        DatasetCounts { read: 76, created: 73, rejected: 2, merged: 1, ..DatasetCounts::default() },
    );
    report.links.sessions_with_track = 73;
    report.links.sessions_with_session_type = 73;
    report.media = MediaCounts { referenced: 45, stored: 39, missing: 1, remote: 5 };
    report.problems = problems;
    report.problem_counts = BTreeMap::from([
        (Code::JsonSyntax, 1),
        (Code::DateInvalid, 1),
        (Code::FieldRequired, 1),
        (Code::MediaMissing, 1),
        (Code::MediaUnreferenced, 1),
        (Code::NameMismatch, 1_200),
    ]);
    report
}

/// An archive that was refused as a whole.
pub(super) fn failed(code: Code) -> Report {
    let mut report = clean();
    report.state = JobState::Failed;
    report.summary = "The file ends in the middle.".to_owned();
    report.archive.sha256 = None;
    report.event = None;
    report.datasets.clear();
    report.links = LinkCounts::default();
    report.media = MediaCounts::default();
    report.problems =
        vec![Problem::new(code, "the file begins like a zip and has no end record", "Upload it again, whole.")];
    report.problem_counts = BTreeMap::from([(code, 1)]);
    report
}

/// An update that was stopped after it had begun to write.
pub(super) fn midway(state: JobState) -> Report {
    let mut report = clean();
    report.state = state;
    report.summary = "It was cancelled while importing speakers; what was written before that stays.".to_owned();
    if let Some(event) = &mut report.event {
        event.created = false;
    }
    report.datasets.insert(Dataset::Event, DatasetCounts { read: 1, updated: 1, ..DatasetCounts::default() });
    report.datasets.insert(Dataset::Speakers, DatasetCounts { read: 41, updated: 7, ..DatasetCounts::default() });
    report
}
