//! Writes the progress that came too early for `status.json`, as soon as it may be written.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::clock::Clock;
use crate::outbox::StatusWriter;

/// Somebody who writes late what came too early. Dropped, it ends by itself; [`CatchingUp::stop`] waits for that.
pub(super) struct CatchingUp {
    stop: DropGuard,
    worker: JoinHandle<()>,
}

impl CatchingUp {
    /// Ends it: nothing is written after this.
    pub(super) async fn stop(self) {
        drop(self.stop);
        // It only fails where it has panicked, and then it writes nothing either.
        let _ = self.worker.await;
    }
}

/// Writes what `status` keeps, each time when that may be; `kept` says that there is something.
pub(super) fn catch_up(status: Arc<Mutex<StatusWriter>>, kept: Arc<Notify>, clock: Clock) -> CatchingUp {
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let worker = tokio::spawn(async move {
        while !stopped.is_cancelled() {
            let (status, now) = (Arc::clone(&status), clock.monotonic());
            let caught_up = tokio::task::spawn_blocking(move || {
                status.lock().unwrap_or_else(PoisonError::into_inner).catch_up(now)
            });
            // Waited for whatever happens: a writing that has begun ends before `stop` does.
            let wait = match caught_up.await {
                Ok(Ok(wait)) => wait,
                Ok(Err(error)) => {
                    tracing::debug!(%error, "the progress could not be written");
                    None
                }
                Err(_) => return,
            };
            let next = async {
                match wait {
                    Some(wait) => clock.sleep(wait).await,
                    None => kept.notified().await,
                }
            };
            tokio::select! {
                () = stopped.cancelled() => {}
                () = next => {}
            }
        }
    });
    CatchingUp { stop: stop.drop_guard(), worker }
}
