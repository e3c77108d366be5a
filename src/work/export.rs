//! An export job from its claim to its end: files, final state, mail, and what its schedule remembers.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::NaiveDate;
use tokio_util::sync::CancellationToken;

use super::finish::FinishError;
use super::handlers::Ended;
use super::tell::{self, Told};
use super::{Worker, account_of};
use crate::db::Tx;
use crate::export::program::NoteCode;
use crate::export::report::{EVENT_STATE_WORDS, EXPORT_VERSION, EventExport, EventState, ExportReport};
use crate::export::{self, Export, RunEnd};
use crate::mail::{self, ExportMail, ExportedEventMail};
use crate::model::export::{BY_HAND, ExportRequest, Format};
use crate::model::handler::Action;
use crate::model::message::{ExportData, ExportedEvent};
use crate::model::{AdminTrouble, JobState};
use crate::queue::Outcome;
use crate::signal::FailPoint;
use crate::store::jobs::{self, ClaimedJob, Ending, Frozen, Lease, MustEnd};
use crate::store::{deliveries, remembered, schedules};

impl Worker {
    pub(super) async fn run_export(&self, lease: Lease, job: ClaimedJob, stop: CancellationToken) -> Outcome {
        let request = job.request.as_deref().map(serde_json::from_str::<ExportRequest>);
        let with_handlers = request.as_ref().and_then(|request| request.as_ref().ok()?.with_handlers);
        if let Some(outcome) = &job.outcome {
            return match serde_json::from_str(outcome) {
                Ok(report) => self.finish_export(lease, report, with_handlers).await,
                Err(error) => Outcome::Snooze { reason: format!("the frozen outcome cannot be read: {error}") },
            };
        }
        tracing::info!(job.id = %lease.job, account = job.job.account, "an export begins");
        let started = job.job.started_at.unwrap_or(job.job.created_at);
        let failed = |reason| Some((JobState::Failed, reason));
        let ended = match (&job.must_end, &request) {
            _ if job.job.cancel_requested => Some((JobState::Cancelled, "cancelled".to_owned())),
            (Some(reason), _) => failed(reason_of(reason)),
            (None, None) => failed("what it was to export is not known".to_owned()),
            (None, Some(Err(error))) => failed(format!("what it was to export cannot be read: {error}")),
            (None, Some(Ok(_))) => None,
        };
        let report = match (ended, request) {
            (None, Some(Ok(request))) => {
                let export = Export { lease, account: job.job.account.clone(), request, started };
                match export::run(&self.exports, &export, &stop, self.on_export_progress(lease)).await {
                    RunEnd::Outcome(report) => *report,
                    RunEnd::BlockedOn(on) => return Outcome::Blocked { on },
                    RunEnd::Interrupted => return Outcome::Interrupted,
                    RunEnd::LeaseLost => return Outcome::LeaseLost,
                    RunEnd::Outage(reason) => return Outcome::Snooze { reason },
                }
            }
            (ended, request) => {
                let (state, summary) = ended.unwrap_or((JobState::Failed, String::new()));
                let request = request.and_then(Result::ok);
                ExportReport {
                    version: EXPORT_VERSION,
                    job: lease.job,
                    state,
                    summary,
                    account: job.job.account.clone(),
                    scope: request.as_ref().map_or_else(|| BY_HAND.to_owned(), |request| request.scope.clone()),
                    due_at: request.as_ref().and_then(|request| request.due_at),
                    formats: request.map(|request| request.formats).unwrap_or_default(),
                    events: Vec::new(),
                    started,
                    finished: self.services.clock.now(),
                }
            }
        };
        match self.freeze_export(&lease, report).await {
            Ok(report) => self.finish_export(lease, report, with_handlers).await,
            Err(error) => error.into(),
        }
    }

    fn on_export_progress(&self, lease: Lease) -> export::OnProgress {
        let watcher = self.watcher.clone();
        Arc::new(move |stage, done, total| {
            if let Some(watcher) = &watcher {
                watcher(lease.job, stage, done, total);
            }
        })
    }

    async fn freeze_export(&self, lease: &Lease, mut report: ExportReport) -> Result<ExportReport, FinishError> {
        for _ in 0..2 {
            let frozen = Frozen {
                outcome: serde_json::to_string(&report).map_err(std::io::Error::from)?,
                finished_at: report.finished,
                archive_sha256: None,
                related_job: None,
            };
            let mut tx = self.services.database.begin().await?;
            let cancel = jobs::freeze(&mut tx, lease, &frozen).await?;
            if cancel.0 && report.state != JobState::Cancelled {
                tx.rollback().await?;
                report.state = JobState::Cancelled;
                report.summary = format!("cancelled; until then: {}", report.summary);
                continue;
            }
            tx.commit().await?;
            break;
        }
        self.services.signals.reach(FailPoint::Frozen)?;
        Ok(report)
    }

    async fn finish_export(&self, lease: Lease, report: ExportReport, with_handlers: Option<bool>) -> Outcome {
        match self.try_finish_export(&lease, &report, with_handlers).await {
            Ok(()) => {
                let reason = (report.state == JobState::Failed).then_some(report.summary.as_str());
                tracing::info!(
                    job.id = %report.job,
                    state = report.state.as_str(),
                    account = report.account,
                    schedule = report.scope,
                    reason,
                    duration_ms = (report.finished - report.started).num_milliseconds(),
                    "an export has ended"
                );
                Outcome::Done
            }
            Err(error) => error.into(),
        }
    }

    async fn try_finish_export(
        &self,
        lease: &Lease,
        report: &ExportReport,
        with_handlers: Option<bool>,
    ) -> Result<(), FinishError> {
        let ended = Ended {
            job: report.job,
            account: &report.account,
            action: Action::ExportFinished,
            with_handlers,
            event_id: None,
            now: self.services.clock.now(),
        };
        let messages = self.messages_of_end(&ended, &export_data(report));
        let mut tx = self.services.database.begin().await?;
        let good = report.events.iter().filter(|event| is_good(event));
        let ending = Ending {
            state: report.state,
            summary: report.summary.clone(),
            result_folder: good.clone().find_map(|event| event.folder.clone()),
            finished_at: report.finished,
        };
        jobs::finish(&mut tx, lease, &ending).await?;
        for event in good {
            let folder = event.folder.as_deref().unwrap_or_default();
            if let Some(read_at) = event.data_read_at {
                remembered::remember_run(&mut tx, event.event.id, &report.scope, report.job, read_at, folder).await?;
            }
        }
        let schedule = self.note_schedule(&mut tx, report).await?;
        let told = self.tell_export(report, schedule);
        told.keep(&mut tx).await?;
        deliveries::insert(&mut tx, messages).await?;
        tx.commit().await?;
        self.mail_wake.notify_one();
        self.services.audience.written.ring();
        self.services.signals.reach(FailPoint::FinalBeforeMove)?;
        Ok(())
    }

    /// What the schedule remembers of its run.
    async fn note_schedule(&self, tx: &mut Tx, report: &ExportReport) -> Result<Runs, FinishError> {
        if report.due_at.is_none() {
            return Ok(Runs::default());
        }
        match report.state {
            JobState::Failed | JobState::Partial => {
                let (failures, _) = schedules::failed(tx, &report.scope, report.finished, &report.summary).await?;
                Ok(Runs { failures, recovered: false })
            }
            JobState::Cancelled => Ok(Runs::default()),
            JobState::Succeeded
            | JobState::Duplicate
            | JobState::Queued
            | JobState::Running
            | JobState::Blocked
            | JobState::Paused => Ok(Runs { failures: 0, recovered: schedules::went_well(tx, &report.scope).await? }),
        }
    }

    fn tell_export(&self, report: &ExportReport, schedule: Runs) -> Told {
        let (settings, services) = (&self.settings, &self.services);
        let account = account_of(settings, &report.account);
        let job = report.job.to_string();
        let outbox = &settings.folders().outbox;
        let mail = ExportMail {
            public_name: &settings.mail.public_name,
            display_name: Some(&account.display_name),
            state: report.state,
            summary: &report.summary,
            scope: &report.scope,
            formats: report.formats.iter().map(|format| format.as_str()).collect(),
            events: report.events.iter().map(|event| event_mail(event, outbox)).collect(),
            failures: schedule.failures,
            recovered: schedule.recovered,
            job: &job,
            account: &report.account,
            started: report.started,
        };
        let recipient = account.email.as_ref().map(ToString::to_string);
        let (mail, notification) = tell::rows(
            settings,
            services,
            mail.kind(),
            &job,
            Some(report.job),
            Some(&report.account),
            recipient.as_deref(),
            mail::render_export(&self.templates, &mail),
            &report.summary,
        );
        let mut told = Told { mails: vec![mail], notifications: vec![notification] };
        let failures = schedule.failures;
        if failures > 1 {
            let day: NaiveDate = report.finished.date_naive();
            let trouble = AdminTrouble {
                // Once a day: the second row of the same key is not kept.
                subject_key: format!("schedule {} fails {day}", report.scope),
                job: Some(report.job),
                title: format!("Schedule {} keeps failing", report.scope),
                what: format!("The schedule `{}` has failed {failures} times in a row.", report.scope),
                why: report.summary.clone(),
                what_now:
                    "It runs again at its next time; `eventferry schedule list` shows when. Until it goes well this \
                           is told once a day."
                        .to_owned(),
            };
            let (mail, notification) = tell::admin_rows(settings, services, &self.templates, &trouble);
            told.mails.push(mail);
            told.notifications.push(notification);
        }
        told
    }
}

/// How the runs of a schedule have gone, this one included.
#[derive(Clone, Copy, Default)]
struct Runs {
    /// Failures in a row.
    failures: u64,
    /// Whether this one went well after a failure.
    recovered: bool,
}

fn export_data(report: &ExportReport) -> ExportData {
    let event = |event: &EventExport| ExportedEvent {
        id: event.event.id,
        name: event.event.name.clone(),
        state: EVENT_STATE_WORDS[event.state as usize].to_owned(),
        folder: event.folder.clone(),
    };
    ExportData {
        account: report.account.clone(),
        job: report.job,
        state: report.state,
        summary: report.summary.clone(),
        schedule: report.scope.clone(),
        due_at: report.due_at,
        events: report.events.iter().map(event).collect(),
        started: report.started,
        finished: report.finished,
    }
}

fn is_good(event: &EventExport) -> bool {
    matches!(event.state, EventState::Published | EventState::Unchanged)
}

fn event_mail(event: &EventExport, outbox: &std::path::Path) -> ExportedEventMail {
    let changes = event.changes.as_ref();
    let in_schedules = event.counts.scheduled;
    let mut noted: BTreeMap<NoteCode, u64> = BTreeMap::new();
    for (code, of) in event.notes.iter().chain(event.formats.iter().flat_map(|format| format.notes.iter())) {
        // Several formats say the same of one record: the largest count is that of the records.
        let count = noted.entry(code).or_insert(0);
        *count = of.count.max(*count);
    }
    // Tables leave out columns; only the archive counts records.
    let archive = event.formats.iter().find(|format| format.format == Format::Archive);
    let records = archive.map_or(0, |archive| archive.notes.count(NoteCode::PrivateLeftOut));
    ExportedEventMail {
        name: event.event.name.clone(),
        state: EVENT_STATE_WORDS[event.state as usize],
        error: event.error.clone(),
        folder: event.folder.as_ref().map(|folder| outbox.join(folder).display().to_string()),
        scheduled: in_schedules,
        not_scheduled: event.counts.sessions.saturating_sub(in_schedules),
        changes: changes.map(|changes| [changes.added, changes.moved, changes.removed, changes.changed]),
        named: changes.map_or_else(Vec::new, |changes| {
            changes.named.iter().map(|one| (one.what.clone(), one.title.clone(), one.place.clone())).collect()
        }),
        notes: noted.into_iter().map(|(code, count)| note_in_words(code, count, records)).collect(),
    }
}

fn note_in_words(code: NoteCode, count: u64, private_records: u64) -> String {
    match (code, private_records) {
        (NoteCode::PrivateLeftOut, 0) => code.words().to_owned(),
        (NoteCode::PrivateLeftOut, 1) => format!("{}, of 1 record", code.words()),
        (NoteCode::PrivateLeftOut, records) => format!("{}, of {records} records", code.words()),
        _ => format!("{}: {count}", code.words()),
    }
}

fn reason_of(reason: &MustEnd) -> String {
    match reason {
        MustEnd::Quarantined { strikes } => format!("the program died {strikes} times over it; it was given up"),
        MustEnd::Exhausted { reason } => format!("it was tried again and again: {reason}"),
        MustEnd::Panicked { reason } => format!("the program failed over it: {reason}"),
    }
}
