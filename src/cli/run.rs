//! `eventferry run`: the daemon.

use std::ffi::OsStr;
use std::io::Write;

use clap::Args;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{Context, Exit, Failure, Loudness, show};
use crate::app::{App, AppError, Daemon, Parts, Readiness};
use crate::config::{Settings, Sources};
use crate::lifecycle;
use crate::signal::Signals;
use crate::store::jobs;

/// Watches the inbox and works on what is dropped, until it is stopped.
///
/// SIGHUP (`systemctl reload`) reads the configuration again: the bounds of imports and the handlers change at once, for
/// jobs that run as well.
///
/// Stopping softly (SIGTERM, Ctrl-C) ends every job after its current chunk; the next start goes on there.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Work on everything that is there, then exit
    ///
    /// Ends when nothing can go on. A job that waits for something outside, such as a full disk or a server that does not
    /// answer, stays paused, and so do those behind it; the next run goes on with them.
    #[arg(long)]
    pub(crate) once: bool,
}

/// The variable that names a fail point, and the visit of it at which this process aborts.
const ABORT_AT: &str = "EVENTFERRY_ABORT_AT";

/// Runs until it is stopped, or with `--once` until nothing is left to do.
pub(super) async fn run(
    args: &RunArgs,
    context: Context,
    sources: &Sources,
    out: &mut dyn Write,
) -> Result<Exit, Failure> {
    let stop = CancellationToken::new();
    lifecycle::stop_on_signals(stop.clone())?;
    let clock = context.clock.clone();
    let opening = App::open(context.settings.clone(), clock.clone(), signals_of(sources)?);
    let app = tokio::select! {
        app = opening => app?,
        () = stop.cancelled() => {
            tracing::info!("stopped before the database was open");
            return Ok(Exit::AllIn);
        }
    };
    let _lock = app.lock()?;
    let mut daemon = app.start(Parts::All, None)?;
    tokio::spawn(lifecycle::keep_watchdog(clock, stop.clone()));
    let database = app.services.database.clone();
    let (reloaded, sources) = (app.clone(), sources.clone());
    lifecycle::reload_on_signal(move || reload(&reloaded, &sources))?;
    let worked = tokio::select! {
        worked = work(args, &context, &app, &mut daemon, &stop, out) => worked,
        () = database.replaced() => Ok(()),
    };
    if database.is_replaced() {
        let told = daemon.stop_after_replacement().await;
        stop.cancel();
        return Err(Failure::could_not_run(told));
    }
    worked?;
    daemon.stop().await;
    stop.cancel();
    tracing::info!("stopped");
    Ok(Exit::AllIn)
}

/// Tests of crashes have a build with debug assertions abort where they want; a release cannot be told to.
fn signals_of(sources: &Sources) -> Result<Signals, Failure> {
    match sources.environment.get(OsStr::new(ABORT_AT)) {
        Some(place) if cfg!(debug_assertions) => {
            let signals = place.to_str().and_then(Signals::fatal);
            signals.ok_or_else(|| {
                Failure::could_not_run(format!(
                    "`{ABORT_AT}` is to name a fail point and a visit, not `{}`",
                    place.display()
                ))
            })
        }
        _ => Ok(Signals::default()),
    }
}

/// What a daemon is there for, until it is to stop or, with `--once`, nothing is left to do.
async fn work(
    args: &RunArgs,
    context: &Context,
    app: &App,
    daemon: &mut Daemon,
    stop: &CancellationToken,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    tokio::select! {
        () = daemon.ready() => {
            lifecycle::ready();
            tokio::spawn(show_readiness(daemon.readiness()));
            let inbox = show::path(&app.settings.folders().inbox);
            tracing::info!(inbox, "ready: archives that are dropped are imported");
            if args.once && context.loudness == Loudness::Normal {
                writeln!(out, "Working on what lies in `{inbox}` …")?;
                out.flush()?;
            }
        }
        () = stop.cancelled() => {}
    }
    if args.once {
        tokio::select! {
            idle = daemon.idle() => idle?,
            () = stop.cancelled() => {}
        }
        tokio::select! {
            () = daemon.deliver_messages() => {}
            () = stop.cancelled() => {}
        }
        daemon.deliver_last_mails().await?;
        let waiting = jobs::unfinished(&app.services.database).await?;
        if waiting > 0 && context.loudness == Loudness::Normal {
            let waiting = show::counted(waiting, "job waits", "jobs wait");
            writeln!(out, "{waiting}; `eventferry status` says for what, and the next run goes on.")?;
        }
    } else {
        stop.cancelled().await;
    }
    Ok(())
}

/// Tells systemd whenever the daemon cannot do what it is there for, and when it can again.
async fn show_readiness(mut readiness: watch::Receiver<Readiness>) {
    while readiness.changed().await.is_ok() {
        match &*readiness.borrow_and_update() {
            Readiness::Starting => {}
            Readiness::Ready => lifecycle::ready_again(),
            Readiness::NotReady(why) => lifecycle::waiting(why),
        }
    }
}

/// Reads the configuration anew. One with faults changes nothing.
fn reload(app: &App, sources: &Sources) {
    match Settings::load(sources) {
        Ok(settings) => {
            let left = app.reload(&settings);
            if left.is_empty() {
                tracing::info!("the configuration was read again");
            } else {
                let keys = left.join(", ");
                tracing::warn!(keys, "the configuration was read again; these keys take effect with the next start");
            }
        }
        Err(faults) => {
            tracing::error!(%faults, "the configuration was read again and has faults; the one before stays in force");
        }
    }
}

impl From<AppError> for Failure {
    fn from(error: AppError) -> Self {
        match error {
            AppError::Database(error) => Self::from(error),
            AppError::Folder { .. } | AppError::Template(_) | AppError::Locked(_) | AppError::Sender(_) => {
                Self::could_not_run(error.to_string())
            }
        }
    }
}
