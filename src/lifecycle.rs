//! Signals, readiness, and the two ways to stop: soft at the next chunk, hard at the second signal.

use std::io;
use std::sync::OnceLock;
use std::sync::mpsc::{self, Sender};

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

/// Calls `reload` at each SIGHUP, and tells systemd of it.
///
/// # Errors
/// Where the signal cannot be listened to.
pub fn reload_on_signal(reload: impl Fn() + Send + 'static) -> io::Result<()> {
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            match NotifyState::monotonic_usec_now() {
                Ok(now) => tell(&[NotifyState::Reloading, now]),
                Err(error) => tracing::debug!(%error, "systemd cannot be told"),
            }
            reload();
            tell(&[NotifyState::Ready]);
        }
    });
    Ok(())
}

/// What a daemon that is ready is about.
const AT_WORK: &str = "importing what is dropped";

/// Tells systemd that everything is at work.
pub fn ready() {
    tell(&[NotifyState::Ready, NotifyState::Status(AT_WORK)]);
}

/// Tells systemd that what is dropped waits, and for what. It has no word for a service that is not ready any more, but
/// `systemctl status` shows this.
pub fn waiting(why: &str) {
    tell(&[NotifyState::Status(&format!("not ready: {}", why.replace('\n', " ")))]);
}

/// Tells systemd that everything is at work again.
pub fn ready_again() {
    tell(&[NotifyState::Status(AT_WORK)]);
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

/// What is to be told, to be done on the thread that does so.
type Telling = Box<dyn FnOnce() -> io::Result<()> + Send>;

/// Tells systemd in the order of the calls, and waits for nothing: a manager that does not read its socket holds up a thread of
/// its own, and not the daemon.
fn tell(states: &[NotifyState<'_>]) {
    static TELLER: OnceLock<Option<Sender<Telling>>> = OnceLock::new();
    let teller = TELLER.get_or_init(|| {
        let (sender, tellings) = mpsc::channel::<Telling>();
        let thread = std::thread::Builder::new().name("sd-notify".to_owned()).spawn(move || {
            for telling in tellings {
                if let Err(error) = telling() {
                    tracing::debug!(%error, "systemd cannot be told");
                }
            }
        });
        thread.is_ok().then_some(sender)
    });
    // Text, one state a line, as it is sent.
    let text: Vec<String> = states.iter().map(ToString::to_string).collect();
    let text = text.join("\n");
    let telling: Telling = Box::new(move || sd_notify::notify(&[NotifyState::Custom(&text)]));
    // The thread lives as long as the process.
    let is_told = teller.as_ref().is_some_and(|teller| teller.send(telling).is_ok());
    if !is_told {
        tracing::debug!("systemd cannot be told: there is no thread for it");
    }
}
