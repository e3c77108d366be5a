//! `eventferry import`: archives that are at hand.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::daemon::{self as daemons, Daemon as Beside};
use super::progress::Progress;
use super::report::write_report;
use super::show::Screen;
use super::{Context, Exit, Failure, Loudness, complain, show};
use crate::app::{App, AppError, Daemon, Parts};
use crate::inbox::{self, CopyOrder, Moment};
use crate::lifecycle;
use crate::model::{JobId, JobState, Report};
use crate::outbox;
use crate::queue::lock::InstanceLock;
use crate::signal::Signals;
use crate::store::jobs::{self, JobView, Lookup, SourceState};

/// Imports archives now. Each is copied, never moved, and goes the same way as a dropped one: job, result files, mail.
///
/// Where a daemon works on the same root, it does the work, and this command looks on.
///
/// Exit code: 0 all in (or the same bytes were in already), 1 in with errors, 2 rejected, 3 could not run; the worst of all files.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  eventferry import conference.zip\n  eventferry import --account berlin --again *.zip"
)]
pub(crate) struct ImportArgs {
    /// The archives
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Import for this account instead of the default one
    #[arg(long, value_name = "NAME")]
    pub(crate) account: Option<String>,
    /// Import the same bytes again
    #[arg(long)]
    pub(crate) again: bool,
    /// Tell event handlers of what is imported, or not [default: as the archive or its account says]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) with_handlers: Option<bool>,
    /// Print each result as JSON, one after the other
    #[arg(long)]
    pub(crate) json: bool,
}

/// How often a job is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Imports the files one after the other; the worst outcome is the exit code.
pub(super) async fn run(args: &ImportArgs, context: Context, out: &mut dyn Write) -> Result<Exit, Failure> {
    let stop = CancellationToken::new();
    lifecycle::stop_on_signals(stop.clone())?;
    let (screen, loudness) = (context.screen, context.loudness);
    let account = context.account_named(args.account.as_deref())?;
    let (files, mut worst) = those_at_hand(&args.files);
    if files.is_empty() {
        return Ok(worst);
    }
    context.may_add_work()?;
    let app = tokio::select! {
        app = App::open(context.settings, context.clock, Signals::default()) => app?,
        () = stop.cancelled() => {
            complain("stopped before the database was open; nothing is imported");
            return Ok(Exit::CouldNotRun);
        }
    };
    let progress = Arc::new(Progress::new(screen, args.json || loudness == Loudness::Quiet));
    let (daemon, _lock) = start(&app, &progress)?.unzip();
    for file in files {
        let exit = import(args, &app, &account, file, daemon.as_ref(), &progress, &stop, screen, out).await;
        worst = worst.max(match exit {
            Ok(exit) => exit,
            Err(failure @ Failure::Output(_)) => return Err(failure),
            Err(failure) => {
                complain(&format!("`{}`: {failure}", show::path(file)));
                failure.exit()
            }
        });
        if stop.is_cancelled() {
            break;
        }
    }
    if let Some(daemon) = daemon {
        tokio::select! {
            () = daemon.deliver_messages() => {}
            () = stop.cancelled() => {}
        }
        daemon.deliver_last_mails().await?;
        daemon.stop().await;
    }
    Ok(worst)
}

/// The files that can be read; of the others it is said why not, and how bad that is.
fn those_at_hand(files: &[PathBuf]) -> (Vec<&Path>, Exit) {
    let mut at_hand = Vec::new();
    for file in files {
        match obstacle_to_reading(file) {
            None => at_hand.push(file.as_path()),
            Some(obstacle) => complain(&obstacle),
        }
    }
    let worst = if at_hand.len() == files.len() { Exit::AllIn } else { Exit::CouldNotRun };
    (at_hand, worst)
}

fn obstacle_to_reading(file: &Path) -> Option<String> {
    let shown = show::path(file);
    // Opening what is no file may wait for ever.
    let opened = match std::fs::metadata(file) {
        Ok(metadata) if !metadata.is_file() => return Some(format!("`{shown}` is no file; name an archive")),
        looked_at => looked_at.and_then(|_| std::fs::File::open(file)),
    };
    let error = opened.err()?;
    Some(format!("`{shown}` cannot be read: {error}; look whether it is there and may be read"))
}

/// Starts the parts of a daemon that work on jobs, unless a daemon works on this root already.
pub(super) fn start(app: &App, progress: &Arc<Progress>) -> Result<Option<(Daemon, Option<InstanceLock>)>, Failure> {
    match app.lock() {
        Ok(lock) => {
            let progress = Arc::clone(progress);
            let watcher = Arc::new(move |job: JobId, stage: &str, done, total| progress.show(job, stage, done, total));
            Ok(Some((app.start(Parts::WithoutInbox, Some(watcher))?, lock)))
        }
        Err(AppError::Locked(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[expect(clippy::too_many_arguments, reason = "they are what the command has")]
async fn import(
    args: &ImportArgs,
    app: &App,
    account: &str,
    file: &Path,
    daemon: Option<&Daemon>,
    progress: &Arc<Progress>,
    stop: &CancellationToken,
    screen: Screen,
    out: &mut dyn Write,
) -> Result<Exit, Failure> {
    let clock = &app.services.clock;
    let folder = show::path(&app.settings.folders().work);
    let (work, original, moment) = (app.settings.folders().work.clone(), file.to_owned(), Moment::now(clock));
    let (job, account, again) = (JobId(clock.new_id()), account.to_owned(), args.again);
    let with_handlers = args.with_handlers;
    let copied = tokio::task::spawn_blocking(move || {
        let order = CopyOrder { job, account: &account, archive_name: None, again, retry_of: None, with_handlers };
        inbox::copy_in(&work, &original, &order, moment)
    });
    let held = copied.await.map_err(|error| Failure::could_not_run(error.to_string()))?.map_err(|error| {
        Failure::could_not_run(format!(
            "could not copy it: {error}; look whether it is a file that is there and may be read, and whether \
                 `{folder}` can be written"
        ))
    })?;
    app.record(&held.claimed).await?;
    held.release();
    if let Some(daemon) = daemon {
        daemon.queue().wake();
    }
    progress.follow(job, &format!("Importing {}", show::path(file)));
    let ended = wait_for_end(app, job, progress, stop).await?;
    progress.clear();
    let Some(view) = ended else {
        complain(&format!("stopped; job {job} goes on with the next `eventferry run` or `eventferry import`"));
        return Ok(Exit::CouldNotRun);
    };
    if let Some(daemon) = daemon {
        daemon.deliver_mails().await?;
    }
    let report = read_report(app, &view)?;
    if args.json {
        show::write_json(out, &report)?;
    } else {
        let beside = if daemon.is_some() { Beside::Stopped } else { daemons::look(&app.settings) };
        write_report(out, screen, app, &beside, &view, &report).await?;
    }
    out.flush()?;
    Ok(exit_of(view.state))
}

/// Looks at a job that has ended until its archive lies where it stays; beyond, the daemon moves it later.
const LOOKS_AFTER_END: u32 = 50;

/// Waits until a job has ended, whoever works on it; none where this command was stopped first.
pub(super) async fn wait_for_end(
    app: &App,
    job: JobId,
    progress: &Progress,
    stop: &CancellationToken,
) -> Result<Option<JobView>, Failure> {
    let mut looks_after_end = 0;
    loop {
        if let Lookup::Found(view) = jobs::get(&app.services.database, &job.to_string()).await? {
            if view.state.is_final() {
                looks_after_end += 1;
                if view.source_state == SourceState::Moved || looks_after_end > LOOKS_AFTER_END {
                    return Ok(Some(*view));
                }
            }
            match (&view.waits_for, &view.stage) {
                (Some(reason), _) => progress.waits(reason),
                (None, Some(stage)) => progress.show(job, stage, view.stage_done, view.stage_total),
                (None, None) => {}
            }
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(None),
            () = app.services.clock.sleep(LOOK_EVERY) => {}
        }
    }
}

fn read_report(app: &App, view: &JobView) -> Result<Report, Failure> {
    let folder = view.result_folder.as_deref().unwrap_or_default();
    let path = app.settings.folders().outbox.join(folder).join(outbox::RESULT_FILE);
    let text = std::fs::read_to_string(&path)
        .map_err(|error| Failure::could_not_run(format!("could not read `{}`: {error}", show::path(&path))))?;
    serde_json::from_str(&text)
        .map_err(|error| Failure::could_not_run(format!("could not read `{}`: {error}", show::path(&path))))
}

/// The exit code of a state.
pub(super) fn exit_of(state: JobState) -> Exit {
    match state {
        JobState::Succeeded | JobState::Duplicate => Exit::AllIn,
        JobState::Partial => Exit::WithErrors,
        JobState::Failed | JobState::Cancelled => Exit::Rejected,
        JobState::Queued | JobState::Running | JobState::Blocked | JobState::Paused => Exit::CouldNotRun,
    }
}
