//! `eventferry run`: the daemon.

use std::io::Write;

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::{Context, Exit, Failure, Loudness, show};
use crate::app::{App, AppError, Parts};
use crate::lifecycle;
use crate::signal::Signals;
use crate::store::jobs;

/// Watches the inbox and works on what is dropped, until it is stopped.
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

/// Runs until it is stopped, or with `--once` until nothing is left to do.
pub(super) async fn run(args: &RunArgs, context: Context, out: &mut dyn Write) -> Result<Exit, Failure> {
    let stop = CancellationToken::new();
    lifecycle::stop_on_signals(stop.clone())?;
    let clock = context.clock.clone();
    let app = App::open(context.settings, clock.clone(), Signals::default()).await?;
    let _lock = app.lock()?;
    let mut daemon = app.start(Parts::All, None)?;
    tokio::spawn(lifecycle::keep_watchdog(clock, stop.clone()));
    tokio::select! {
        () = daemon.ready() => {
            lifecycle::ready();
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
        daemon.deliver_mails().await?;
        let waiting = jobs::unfinished(&app.services.database).await?;
        if waiting > 0 && context.loudness == Loudness::Normal {
            let waiting = show::counted(waiting, "job waits", "jobs wait");
            writeln!(out, "{waiting}; `eventferry status` says for what, and the next run goes on.")?;
        }
    } else {
        stop.cancelled().await;
    }
    daemon.stop().await;
    stop.cancel();
    tracing::info!("stopped");
    Ok(Exit::AllIn)
}

impl From<AppError> for Failure {
    fn from(error: AppError) -> Self {
        match error {
            AppError::Database(error) => Self::Database(error),
            AppError::Folder { .. } | AppError::Template(_) | AppError::Locked(_) | AppError::Sender(_) => {
                Self::could_not_run(error.to_string())
            }
        }
    }
}
