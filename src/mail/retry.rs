//! When a mail that could not be delivered is tried again.

use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);

/// The wait after the first tries; every later one is four hours.
const FIRST_WAITS: [Duration; 4] = [MINUTE, Duration::from_secs(5 * 60), Duration::from_secs(15 * 60), HOUR];
const LATER_WAIT: Duration = Duration::from_secs(4 * 60 * 60);

const LONGEST_PAUSE: Duration = Duration::from_secs(15 * 60);

/// How long to wait after `attempts` tries (at least one) of a mail that was queued `waited` ago; none where it is
/// time to give up.
///
/// The last try falls on the end of `retry_for`. A mail that was not tried while the daemon was off is tried a few
/// times over the first waits, however old it is.
pub fn next_try(attempts: u32, waited: Duration, retry_for: Duration) -> Option<Duration> {
    let wait = wait_after(attempts);
    if waited < retry_for {
        return Some(wait.min((retry_for - waited).max(MINUTE)));
    }
    let tried_for: Duration = (1..attempts).take(FIRST_WAITS.len()).map(wait_after).sum();
    (tried_for < enough_tries(retry_for)).then_some(wait)
}

/// How long a mail, or a server, is tried at least before anything is given up, however old it is.
pub(super) fn enough_tries(retry_for: Duration) -> Duration {
    FIRST_WAITS.iter().sum::<Duration>().min(retry_for)
}

/// How long all mails wait after `tries` failed tries (at least one) to reach the server or log in there: no longer
/// than a quarter of an hour, since one try serves for all of them.
pub(super) fn pause_after(tries: u32) -> Duration {
    wait_after(tries).min(LONGEST_PAUSE)
}

/// No mail is put off by more than this, clocks of several daemons that differ by less than an hour included.
pub(super) fn longest_wait() -> Duration {
    LATER_WAIT + HOUR
}

fn wait_after(attempts: u32) -> Duration {
    let index = usize::try_from(attempts.saturating_sub(1)).unwrap_or(usize::MAX);
    FIRST_WAITS.get(index).copied().unwrap_or(LATER_WAIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    /// The minutes after queueing at which a mail is tried whose every try fails at once.
    fn tries(first: Duration, retry_for: Duration) -> Vec<u64> {
        let (mut at, mut tries) = (first, vec![first.as_secs() / 60]);
        while let Some(wait) = next_try(u32::try_from(tries.len()).unwrap_or(u32::MAX), at, retry_for) {
            at += wait;
            tries.push(at.as_secs() / 60);
        }
        tries
    }

    #[test]
    fn a_mail_is_tried_for_four_days_ever_more_seldom() {
        let tries = tries(Duration::ZERO, 4 * DAY);
        assert_eq!(&tries[..7], [0, 1, 6, 21, 81, 321, 561]);
        assert_eq!(tries.last(), Some(&(4 * 24 * 60)));
        assert_eq!(tries.len(), 29);
    }

    #[test]
    fn a_short_patience_is_honoured() {
        assert_eq!(tries(Duration::ZERO, 10 * MINUTE), [0, 1, 6, 10]);
        assert_eq!(tries(Duration::ZERO, Duration::ZERO), [0]);
    }

    #[test]
    fn a_mail_that_lay_while_the_daemon_was_off_is_still_tried_for_a_while() {
        let tries = tries(5 * DAY, 4 * DAY);
        assert_eq!(tries, [7200, 7201, 7206, 7221, 7281]);
    }
}
