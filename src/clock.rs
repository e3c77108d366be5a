//! Time and ids as values: the daemon is handed a [`Clock`], tests hand it a manual one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, SubsecRound, Utc};
use tokio::sync::watch;
use uuid::Uuid;

/// An instant on the wall clock, in UTC.
pub type Timestamp = DateTime<Utc>;

/// Where the time comes from. Clones share one time.
#[derive(Clone, Debug)]
pub struct Clock {
    source: Source,
}

#[derive(Clone, Debug)]
enum Source {
    System { started: Instant },
    Manual(Arc<Manual>),
}

#[derive(Debug)]
struct Manual {
    start: Timestamp,
    state: Mutex<ManualState>,
    /// Counts the ids of one millisecond, so that they sort as well.
    ids: Mutex<uuid::ContextV7>,
    advanced: watch::Sender<Duration>,
}

#[derive(Debug, Default)]
struct ManualState {
    elapsed: Duration,
    wall_shift: chrono::TimeDelta,
}

impl Clock {
    /// The machine's clocks.
    #[expect(clippy::disallowed_methods, reason = "the one place that asks the machine for the time")]
    pub fn system() -> Self {
        Self { source: Source::System { started: Instant::now() } }
    }

    /// A clock that stands still at `start` until [`Clock::advance`] moves it.
    pub fn manual(start: Timestamp) -> Self {
        let (advanced, _) = watch::channel(Duration::ZERO);
        Self {
            source: Source::Manual(Arc::new(Manual {
                start,
                state: Mutex::default(),
                ids: Mutex::new(uuid::ContextV7::new()),
                advanced,
            })),
        }
    }

    /// Wall-clock time in UTC, to the millisecond.
    #[expect(clippy::disallowed_methods, reason = "the one place that asks the machine for the time")]
    pub fn now(&self) -> Timestamp {
        match &self.source {
            Source::System { .. } => Utc::now().trunc_subsecs(3),
            Source::Manual(manual) => {
                let state = manual.lock();
                let elapsed = chrono::TimeDelta::from_std(state.elapsed).unwrap_or(chrono::TimeDelta::MAX);
                manual.start + elapsed + state.wall_shift
            }
        }
    }

    /// Time since this clock was made; never goes back.
    pub fn monotonic(&self) -> Duration {
        match &self.source {
            Source::System { started } => started.elapsed(),
            Source::Manual(manual) => manual.lock().elapsed,
        }
    }

    /// Waits for `duration`; on a manual clock until it has been advanced by that much.
    #[expect(clippy::disallowed_methods, reason = "the one place that waits for time to pass")]
    pub async fn sleep(&self, duration: Duration) {
        match &self.source {
            Source::System { .. } => tokio::time::sleep(duration).await,
            Source::Manual(manual) => {
                let due = manual.lock().elapsed + duration;
                let mut advanced = manual.advanced.subscribe();
                // The sender lives in `manual`, which this future borrows: it cannot be closed.
                let _ = advanced.wait_for(|elapsed| *elapsed >= due).await;
            }
        }
    }

    /// Waits until [`Clock::monotonic`] says `until`; at once where it has. What is worked out from a time that was read
    /// before is best waited for in this way: no time that passes in between is missed.
    pub async fn sleep_until(&self, until: Duration) {
        match &self.source {
            Source::System { .. } => self.sleep(until.saturating_sub(self.monotonic())).await,
            Source::Manual(manual) => {
                let mut advanced = manual.advanced.subscribe();
                // The sender lives in `manual`, which this future borrows: it cannot be closed.
                let _ = advanced.wait_for(|elapsed| *elapsed >= until).await;
            }
        }
    }

    /// A new id that sorts by the time it was made (UUID version 7).
    #[expect(clippy::disallowed_methods, reason = "the one place that makes ids")]
    pub fn new_id(&self) -> Uuid {
        match &self.source {
            Source::System { .. } => Uuid::now_v7(),
            Source::Manual(manual) => {
                let now = self.now();
                let seconds = u64::try_from(now.timestamp()).unwrap_or(0);
                let ids = manual.ids.lock().unwrap_or_else(PoisonError::into_inner);
                Uuid::new_v7(uuid::Timestamp::from_unix(&*ids, seconds, now.timestamp_subsec_nanos()))
            }
        }
    }

    /// Moves a manual clock forward and wakes those who sleep on it; does nothing to the machine's.
    pub fn advance(&self, by: Duration) {
        if let Source::Manual(manual) = &self.source {
            let elapsed = {
                let mut state = manual.lock();
                state.elapsed += by;
                state.elapsed
            };
            manual.advanced.send_replace(elapsed);
        }
    }

    /// Sets a manual wall clock forward or back without any time passing; does nothing to the machine's.
    pub fn shift_wall(&self, by: chrono::TimeDelta) {
        if let Source::Manual(manual) = &self.source {
            manual.lock().wall_shift += by;
        }
    }
}

impl Manual {
    fn lock(&self) -> MutexGuard<'_, ManualState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start() -> Timestamp {
        DateTime::from_timestamp(1_700_000_000, 0).unwrap_or_default()
    }

    #[tokio::test]
    async fn a_sleeper_on_a_manual_clock_wakes_when_its_time_has_come() {
        let clock = Clock::manual(start());
        let sleeper = tokio::spawn({
            let clock = clock.clone();
            async move { clock.sleep(Duration::from_secs(5)).await }
        });
        tokio::task::yield_now().await;
        clock.advance(Duration::from_secs(4));
        tokio::task::yield_now().await;
        assert!(!sleeper.is_finished());
        clock.advance(Duration::from_secs(1));
        assert!(sleeper.await.is_ok());
        assert_eq!(clock.now(), start() + chrono::TimeDelta::seconds(5));
    }

    #[test]
    fn ids_sort_by_the_time_they_were_made_though_the_clock_stands_still() {
        for clock in [Clock::manual(start()), Clock::system()] {
            let ids: Vec<Uuid> = (0..1_000).map(|_| clock.new_id()).collect();
            assert!(ids.is_sorted_by(|one, next| one < next));
        }
    }

    #[test]
    fn setting_the_wall_clock_back_leaves_monotonic_time_alone() {
        let clock = Clock::manual(start());
        clock.advance(Duration::from_secs(10));
        clock.shift_wall(chrono::TimeDelta::hours(-1));
        assert_eq!(clock.monotonic(), Duration::from_secs(10));
        assert_eq!(clock.now(), start() + chrono::TimeDelta::seconds(10 - 3600));
    }
}
