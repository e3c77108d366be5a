//! Due exports: each due time of a schedule becomes one row and one job, whichever daemon comes first.
//!
//! What is due is worked out anew from how far each schedule was looked at, which is kept in the database: a restart misses
//! nothing, and a clock that is set back makes nothing run twice.

use std::time::Duration;

use chrono::TimeDelta;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, Timestamp};
use crate::config::ExportEntry;
use crate::db::{Database, DbError};
use crate::model::JobId;
use crate::model::export::{ExportRequest, REQUEST_VERSION};
use crate::signal::{FailPoint, Signals};
use crate::store::jobs::{self, NewExport};
use crate::store::schedules::{self, ScheduleRow};
use crate::timetable::due;

/// Longest time until the schedules are looked at again: the wall clock may be set.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// How late an export still counts as on time.
const ON_TIME: Duration = Duration::from_mins(10);

/// How far ahead of the clock a schedule may have been looked at: clocks are set back by an hour, or a day.
const AHEAD_AT_MOST: TimeDelta = TimeDelta::hours(25);

/// What the schedules need.
pub struct Schedules {
    /// The entries of the configuration.
    pub entries: Vec<ExportEntry>,
    /// The database.
    pub database: Database,
    /// The time.
    pub clock: Clock,
    /// Fail points.
    pub signals: Signals,
}

/// Why the schedules could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum ScheduleError {
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DbError),
    /// A test has injected it.
    #[error(transparent)]
    Injected(#[from] crate::signal::Injected),
}

/// Looks at the schedules again and again, and counts the looks; `wake` is called when jobs were added.
pub async fn run(schedules: Schedules, wake: impl Fn() + Send, looks: watch::Sender<u64>, stop: CancellationToken) {
    if schedules.entries.is_empty() {
        looks.send_modify(|looks| *looks += 1);
        return;
    }
    let mut is_in_trouble = false;
    while !stop.is_cancelled() {
        let began = schedules.clock.monotonic();
        match schedules.look().await {
            Ok(added) => {
                is_in_trouble = false;
                if added > 0 {
                    wake();
                }
            }
            Err(error) => {
                if !is_in_trouble {
                    tracing::warn!(%error, "the schedules cannot be looked at now; nothing is missed by that");
                }
                is_in_trouble = true;
            }
        }
        looks.send_modify(|looks| *looks += 1);
        let pause = schedules.until_next().min(LOOK_EVERY);
        tokio::select! {
            () = stop.cancelled() => {}
            () = schedules.clock.sleep_until(began + pause) => {}
        }
    }
}

impl Schedules {
    /// Adds the jobs of everything that is due by now; says how many.
    ///
    /// # Errors
    /// See [`ScheduleError`]; the same call may be made again.
    pub async fn look(&self) -> Result<u64, ScheduleError> {
        let now = self.clock.now();
        let rows = schedules::all(&self.database).await?;
        let mut added = 0;
        for entry in &self.entries {
            let row = rows.iter().find(|row| row.name == entry.name);
            let is_known = row.is_some_and(|row| row.expression == fingerprint(entry));
            let is_due = row.is_some_and(|row| first_due(entry, row).is_some_and(|due| due <= now));
            let is_ahead = row.is_some_and(|row| row.looked_until - now > AHEAD_AT_MOST);
            if !is_known || is_due || is_ahead {
                added += self.take_slots(entry, now).await?;
            }
        }
        Ok(added)
    }

    async fn take_slots(&self, entry: &ExportEntry, now: Timestamp) -> Result<u64, ScheduleError> {
        let fingerprint = fingerprint(entry);
        let mut tx = self.database.begin().await?;
        let row = schedules::hold(&mut tx, &entry.name, &fingerprint, now).await?;
        if row.expression != fingerprint {
            tracing::info!(schedule = entry.name, "the schedule was changed; it counts from now on");
            schedules::change(&mut tx, &entry.name, &fingerprint, now).await?;
            tx.commit().await?;
            return Ok(0);
        }
        if row.looked_until - now > AHEAD_AT_MOST {
            // What has run by then has its slot, and does not run again.
            tracing::warn!(schedule = entry.name, "the clock was ahead of now; the schedule counts from now on");
            schedules::change(&mut tx, &entry.name, &fingerprint, now).await?;
            tx.commit().await?;
            return Ok(0);
        }
        let due = due::due_between(&entry.expression, entry.zone, row.looked_until, now);
        let chosen = due::to_run(due, now, &entry.missed, ON_TIME);
        if chosen.run.is_empty() && chosen.dropped == 0 {
            // A schedule that is seen for the first time counts from now on.
            tx.commit().await?;
            return Ok(0);
        }
        let mut added = 0;
        for due in &chosen.run {
            let job = JobId(self.clock.new_id());
            if schedules::take_slot(&mut tx, &entry.name, *due, job).await? {
                jobs::insert_export(&mut tx, &new_export(entry, job, *due, now)).await?;
                added += 1;
            }
        }
        schedules::looked(&mut tx, &entry.name, now, chosen.dropped).await?;
        tx.commit().await?;
        self.signals.reach(FailPoint::SlotTaken)?;
        if chosen.dropped > 0 {
            tracing::warn!(schedule = entry.name, dropped = chosen.dropped, "missed exports are not made up for");
        }
        Ok(added)
    }

    /// How long until something is due, by the clock as it is.
    fn until_next(&self) -> Duration {
        let now = self.clock.now();
        let next = self.entries.iter().filter_map(|entry| due::next_after(&entry.expression, entry.zone, now)).min();
        next.and_then(|next| (next - now).to_std().ok()).unwrap_or(LOOK_EVERY)
    }
}

fn first_due(entry: &ExportEntry, row: &ScheduleRow) -> Option<Timestamp> {
    due::next_after(&entry.expression, entry.zone, row.looked_until)
}

/// What makes a schedule another one: when it is due.
fn fingerprint(entry: &ExportEntry) -> String {
    format!("{} {}", entry.zone.name(), entry.expression)
}

fn new_export(entry: &ExportEntry, job: JobId, due: Timestamp, now: Timestamp) -> NewExport {
    let wait = TimeDelta::from_std(due::jitter(&entry.name, due, entry.jitter)).unwrap_or_default();
    let request = ExportRequest {
        version: REQUEST_VERSION,
        scope: entry.name.clone(),
        events: entry.events.clone(),
        state: entry.state.clone(),
        formats: entry.formats.clone(),
        media: entry.media,
        private: entry.private,
        keep: entry.keep,
        due_at: Some(due),
        with_handlers: None,
    };
    NewExport {
        id: job,
        account: entry.account.clone(),
        name: entry.name.clone(),
        // A request can always be written as JSON.
        request: serde_json::to_string(&request).unwrap_or_default(),
        created_at: now,
        run_at: (due + wait).max(now),
    }
}
