//! Signals, readiness, and the two ways to stop: soft at the next chunk, hard at the second signal.

use std::io;

use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;

/// The exit status of a process that was stopped hard.
const HARD_STOP: i32 = 130;

/// Cancels `soft` on the first SIGTERM or SIGINT, and ends the process on the second. What a hard stop leaves half done
/// is finished by the next start, like after a crash.
///
/// # Errors
/// Where the signals cannot be listened to.
pub fn stop_on_signals(soft: CancellationToken) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if soft.is_cancelled() {
                tracing::warn!("stopping at once");
                std::process::exit(HARD_STOP);
            }
            tracing::info!("stopping at the next chunk; a second signal stops at once");
            tell(&[NotifyState::Stopping]);
            soft.cancel();
        }
    });
    Ok(())
}

/// Tells systemd that everything is at work.
pub fn ready() {
    tell(&[NotifyState::Ready, NotifyState::Status("importing what is dropped")]);
}

/// Tells systemd what the daemon is about.
pub fn status(text: &str) {
    tell(&[NotifyState::Status(text)]);
}

/// Keeps systemd's watchdog quiet as long as the runtime runs.
pub async fn keep_watchdog(clock: Clock, stop: CancellationToken) {
    let Some(period) = sd_notify::watchdog_enabled() else { return };
    while !stop.is_cancelled() {
        tell(&[NotifyState::Watchdog]);
        tokio::select! {
            () = stop.cancelled() => {}
            () = clock.sleep(period / 3) => {}
        }
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd cannot be told");
    }
}
