//! How fast imports write: the pause between chunks, records per second, the hours in which they may.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, Timestamp};
use crate::model::throttle::Throttle;
use crate::model::window::Window;
use crate::pace::next_change;

/// Keeps the bounds in force for all jobs of a daemon. Clones share one pace.
#[derive(Clone, Debug)]
pub struct Pacer {
    clock: Clock,
    throttle: watch::Receiver<Throttle>,
    /// When the records that were written so far are paid for, in monotonic time.
    paid_until: Arc<Mutex<Duration>>,
}

/// How a pause ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PauseEnd {
    /// It is over.
    Over,
    /// The work is to stop.
    Stopped,
}

impl Pacer {
    /// With bounds that may change.
    pub fn new(clock: Clock, throttle: watch::Receiver<Throttle>) -> Self {
        Self { clock, throttle, paid_until: Arc::default() }
    }

    /// With bounds that stay as they are.
    pub fn fixed(clock: Clock, throttle: Throttle) -> Self {
        // A value whose sender is gone stays as it is.
        Self::new(clock, watch::channel(throttle).1)
    }

    /// The bounds in force.
    pub fn throttle(&self) -> Throttle {
        self.throttle.borrow().clone()
    }

    /// The hours in which imports may write, and when they begin, where they have not.
    pub fn closed_until(&self) -> Option<(Window, Timestamp)> {
        let window = self.throttle.borrow().window?;
        let now = self.clock.now();
        (!window.is_open(now)).then(|| (window, window.opens_at(now)))
    }

    /// Waits for the pause after a chunk of so many records, whose writing began at `begun`, or for the stop. Where the
    /// bounds change meanwhile, the new ones count.
    pub async fn pause(&self, records: usize, begun: Duration, stop: &CancellationToken) -> PauseEnd {
        let (ended, mut changed) = (self.clock.monotonic(), self.throttle.clone());
        let paid_until = self.pay(records, begun);
        while !stop.is_cancelled() {
            let throttle = changed.borrow_and_update().clone();
            let by_rate = if throttle.records_per_second.is_some() { paid_until } else { Duration::ZERO };
            let until = ended.saturating_add(throttle.chunk_pause).max(by_rate);
            if until <= self.clock.monotonic() {
                return PauseEnd::Over;
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = next_change(&mut changed) => {}
                () = self.clock.sleep_until(until) => return PauseEnd::Over,
            }
        }
        PauseEnd::Stopped
    }

    /// Books records that were written from `begun` on; says until when they keep everybody from writing more.
    fn pay(&self, records: usize, begun: Duration) -> Duration {
        let Some(rate) = self.throttle.borrow().records_per_second else { return Duration::ZERO };
        let records = u32::try_from(records).unwrap_or(u32::MAX);
        let price = Duration::from_secs(1).saturating_mul(records) / rate.max(1);
        let mut paid_until = self.paid_until.lock().unwrap_or_else(PoisonError::into_inner);
        *paid_until = (*paid_until).max(begun).saturating_add(price);
        *paid_until
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed step fails the test")]
mod tests {
    use futures_util::poll;

    use super::*;

    fn pause_of(pause: Duration) -> Throttle {
        Throttle { chunk_pause: pause, ..Throttle::none(1_000, 1 << 20) }
    }

    fn rate_of(rate: u32) -> Throttle {
        Throttle { records_per_second: Some(rate), ..Throttle::none(1_000, 1 << 20) }
    }

    #[tokio::test]
    async fn a_pause_ends_with_its_time_or_with_the_stop() {
        let clock = Clock::manual(chrono::DateTime::UNIX_EPOCH);
        let pacer = Pacer::fixed(clock.clone(), pause_of(Duration::from_millis(100)));
        let stop = CancellationToken::new();
        let mut pause = Box::pin(pacer.pause(10, Duration::ZERO, &stop));
        assert!(poll!(&mut pause).is_pending());
        clock.advance(Duration::from_millis(99));
        assert!(poll!(&mut pause).is_pending());
        clock.advance(Duration::from_millis(1));
        assert_eq!(pause.await, PauseEnd::Over);

        let mut pause = Box::pin(pacer.pause(10, clock.monotonic(), &stop));
        assert!(poll!(&mut pause).is_pending());
        stop.cancel();
        assert_eq!(pause.await, PauseEnd::Stopped);
        assert_eq!(
            Pacer::fixed(clock, pause_of(Duration::ZERO)).pause(10, Duration::ZERO, &stop).await,
            PauseEnd::Stopped
        );
    }

    #[tokio::test]
    async fn jobs_together_write_no_more_records_in_a_second_than_they_may() {
        let clock = Clock::manual(chrono::DateTime::UNIX_EPOCH);
        let pacer = Pacer::fixed(clock.clone(), rate_of(100));
        let stop = CancellationToken::new();
        // 50 records are half a second, whoever writes them; the time that writing took counts.
        clock.advance(Duration::from_millis(200));
        let mut one = Box::pin(pacer.pause(50, Duration::ZERO, &stop));
        assert!(poll!(&mut one).is_pending());
        let other_pacer = pacer.clone();
        let mut other = Box::pin(other_pacer.pause(30, Duration::from_millis(100), &stop));
        assert!(poll!(&mut other).is_pending());
        clock.advance(Duration::from_millis(299));
        assert!(poll!(&mut one).is_pending());
        clock.advance(Duration::from_millis(1));
        assert_eq!(one.await, PauseEnd::Over);
        clock.advance(Duration::from_millis(299));
        assert!(poll!(&mut other).is_pending());
        clock.advance(Duration::from_millis(1));
        assert_eq!(other.await, PauseEnd::Over);
    }

    #[tokio::test]
    async fn new_bounds_count_at_once() {
        let clock = Clock::manual(chrono::DateTime::UNIX_EPOCH);
        let (sender, receiver) = watch::channel(pause_of(Duration::from_hours(1)));
        let pacer = Pacer::new(clock.clone(), receiver);
        let stop = CancellationToken::new();
        let mut pause = Box::pin(pacer.pause(10, Duration::ZERO, &stop));
        assert!(poll!(&mut pause).is_pending());
        sender.send(pause_of(Duration::from_secs(2))).unwrap();
        assert!(poll!(&mut pause).is_pending());
        clock.advance(Duration::from_secs(2));
        assert_eq!(pause.await, PauseEnd::Over);
    }

    #[test]
    fn closed_hours_say_when_they_end() {
        let clock = Clock::manual("2026-11-28T12:00:00Z".parse().unwrap());
        let window = Window::parse("22:00-06:00 Europe/Berlin").unwrap();
        let throttle = Throttle { window: Some(window), ..Throttle::none(1_000, 1 << 20) };
        let pacer = Pacer::fixed(clock.clone(), throttle);
        assert_eq!(pacer.closed_until(), Some((window, "2026-11-28T21:00:00Z".parse().unwrap())));
        clock.advance(Duration::from_hours(9));
        assert_eq!(pacer.closed_until(), None);
    }
}
