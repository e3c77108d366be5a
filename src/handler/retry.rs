//! When a message is tried again.

use std::time::Duration;

use sha2::{Digest, Sha256};

const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);

/// Waits after the first failed try and those after it, as Standard Webhooks proposes; the last one repeats.
const WAITS: [Duration; 9] = [
    Duration::from_secs(5),
    Duration::from_secs(5 * MINUTE.as_secs()),
    Duration::from_secs(30 * MINUTE.as_secs()),
    Duration::from_secs(2 * HOUR.as_secs()),
    Duration::from_secs(5 * HOUR.as_secs()),
    Duration::from_secs(10 * HOUR.as_secs()),
    Duration::from_secs(14 * HOUR.as_secs()),
    Duration::from_secs(20 * HOUR.as_secs()),
    Duration::from_secs(24 * HOUR.as_secs()),
];

/// No message is ever put off for longer: the longest wait with its jitter, or the longest rest that a receiver gets.
pub(super) const LONGEST: Duration = Duration::from_hours(27);

/// How long a receiver may ask to be left alone.
pub(super) const LONGEST_REST: Duration = Duration::from_hours(24);

/// The wait after so many failed tries (from 1 on), up to a tenth longer: always the same for the same message and try.
pub(super) fn wait_after(failed_tries: u32, message_id: &str) -> Duration {
    let index = usize::try_from(failed_tries.saturating_sub(1)).unwrap_or(usize::MAX).min(WAITS.len() - 1);
    let hash = Sha256::new().chain_update(failed_tries.to_be_bytes()).chain_update(message_id.as_bytes()).finalize();
    let share = u32::from(hash[0]) * 256 + u32::from(hash[1]);
    WAITS[index] + WAITS[index] / 10 * share / 65_536
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_waits_grow_as_documented_and_differ_between_messages() {
        let documented: [u64; 11] = [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400, 86_400, 86_400];
        for (failed, base) in (1..).zip(documented) {
            let waits: Vec<Duration> = (0..50).map(|id| wait_after(failed, &format!("message {id}"))).collect();
            let base = Duration::from_secs(base);
            assert!(waits.iter().all(|wait| (base..=base + base / 10).contains(wait)), "{failed}: {waits:?}");
            assert!(waits.iter().any(|wait| *wait != waits[0]), "{failed}: no jitter");
            assert!(waits.iter().all(|wait| *wait < LONGEST));
        }
        assert_eq!(wait_after(3, "x"), wait_after(3, "x"));
    }
}
