//! `eventferry jobs retry`

use std::io::Write;
use std::path::PathBuf;

use super::super::daemon::{self, Daemon};
use super::super::show::path;
use super::super::{Context, Failure, Loudness};
use super::show::named;
use super::{JobArgs, find};
use crate::db::Database;
use crate::inbox::{CopyOrder, Moment, copy_in};
use crate::model::{JobId, JobState};
use crate::store::jobs::{self, Filter, Insertion, JobKind, JobView, NewJob, SourceState};

/// States of jobs that have not ended.
const UNFINISHED: [JobState; 4] = [JobState::Queued, JobState::Running, JobState::Blocked, JobState::Paused];

/// Makes a new job of the archive of one that has ended.
pub(super) async fn run(
    args: &JobArgs,
    context: &Context,
    database: &Database,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let old = find(database, &args.id).await?;
    let source = source_of(&old, context)?;
    refuse_twice(&old, database).await?;
    context.may_add_work()?;
    let new = JobId(context.clock.new_id());
    let order = CopyOrder {
        job: new,
        account: &old.account,
        archive_name: Some(&old.archive_name),
        again: true,
        retry_of: Some(old.id),
        with_handlers: old.with_handlers,
    };
    // The claim is locked until its row is there, so that no daemon takes it for a half.
    let held =
        copy_in(&context.settings.folders().work, &source, &order, Moment::now(&context.clock)).map_err(|error| {
            Failure::could_not_run(format!("could not copy `{}` into the work folder: {error}", path(&source)))
        })?;
    let row = NewJob {
        id: new,
        kind: JobKind::Import,
        account: old.account.clone(),
        archive_name: old.archive_name.clone(),
        archive_bytes: held.claimed.bytes,
        source_key: old.source_key.clone(),
        again: true,
        retry_of: Some(old.id),
        with_handlers: old.with_handlers,
        created_at: held.claimed.claimed,
    };
    let inserted = jobs::insert(database, &row).await?;
    held.release();
    if context.loudness == Loudness::Normal {
        writeln!(out, "New {}.", named(new, &old.archive_name))?;
        match (inserted, daemon::look(&context.settings)) {
            (Insertion::New { blocked_on: Some(other) }, _) => writeln!(out, "It waits for job {other}.")?,
            (_, Daemon::Stopped) => {
                writeln!(out, "No daemon runs here: `eventferry run` or `eventferry run --once` works on it.")?;
            }
            (_, Daemon::Running { .. } | Daemon::Unknown { .. }) => {
                writeln!(out, "`eventferry jobs show {new}` says how far it is.")?;
            }
        }
    }
    Ok(())
}

/// The archive of a job that has ended.
fn source_of(job: &JobView, context: &Context) -> Result<PathBuf, Failure> {
    let name = named(job.id, &job.archive_name);
    if job.kind != JobKind::Import.as_str() {
        return Err(Failure::refused(format!(
            "could not repeat {name}: it is no import; `eventferry export` exports again"
        )));
    }
    if !job.state.is_final() {
        return Err(Failure::refused(format!("could not repeat {name}: it has not ended, it is {}", job.state)));
    }
    if context.settings.account(&job.account).is_none() {
        return Err(Failure::refused(format!(
            "could not repeat {name}: its account `{}` is not in the configuration; add it there",
            job.account
        )));
    }
    match (job.source_state, &job.source_path) {
        (SourceState::Moved, Some(moved)) => {
            let source = context.settings.folders().root.join(moved);
            if source.is_file() {
                Ok(source)
            } else {
                Err(Failure::refused(format!(
                    "could not repeat {name}: its archive `{}` is not there any more; drop it again",
                    path(&source)
                )))
            }
        }
        (SourceState::Held | SourceState::Leaving | SourceState::Moved, _) => Err(Failure::refused(format!(
            "could not repeat {name}: its archive is still being moved out of the work folder; try again in a moment"
        ))),
    }
}

/// Typing the command twice makes one new job.
async fn refuse_twice(old: &JobView, database: &Database) -> Result<(), Failure> {
    let filter = Filter { account: Some(old.account.clone()), states: UNFINISHED.to_vec(), limit: u64::from(u32::MAX) };
    match jobs::list(database, &filter).await?.iter().find(|job| job.retry_of == Some(old.id)) {
        None => Ok(()),
        Some(job) => Err(Failure::refused(format!("job {} repeats it already and is {}", job.id, job.state))),
    }
}
