//! How long a job waits before it is tried again.

use std::time::Duration;

use crate::model::JobId;

/// Doubles from `first` with each failure in a row, up to `longest`; then up to a quarter is taken off, by a lot that
/// is drawn from the job's id and the count, so that many jobs which failed together do not come back together.
pub(super) fn backoff(first: Duration, longest: Duration, failures_before: u64, job: JobId) -> Duration {
    let doublings = u32::try_from(failures_before).unwrap_or(u32::MAX);
    let whole = 2_u32.checked_pow(doublings).map_or(longest, |factor| first.saturating_mul(factor)).min(longest);
    whole.saturating_sub(whole.mul_f64(lot(job, failures_before) / 4.0))
}

/// A number from 0 to 1 that looks like chance and is always the same (the finaliser of splitmix64).
fn lot(job: JobId, count: u64) -> f64 {
    let (high, low) = job.0.as_u64_pair();
    let mut mixed = high ^ low.rotate_left(32) ^ count.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^= mixed >> 31;
    let upper = u32::try_from(mixed >> 32).unwrap_or(u32::MAX);
    f64::from(upper) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const FIRST: Duration = Duration::from_secs(5);
    const LONGEST: Duration = Duration::from_secs(600);

    fn seconds(failures: u64, job: u128) -> f64 {
        backoff(FIRST, LONGEST, failures, JobId(Uuid::from_u128(job))).as_secs_f64()
    }

    #[test]
    fn each_failure_doubles_the_wait_up_to_the_longest() {
        for (failures, whole) in [(0, 5.0), (1, 10.0), (2, 20.0), (6, 320.0), (7, 600.0), (8, 600.0), (u64::MAX, 600.0)]
        {
            for job in 0..200 {
                let wait = seconds(failures, job);
                assert!((whole * 0.75..=whole).contains(&wait), "{failures} failures: {wait} s");
            }
        }
    }

    #[test]
    fn jobs_that_failed_together_come_back_spread_out_and_each_the_same_every_time() {
        let mut waits: Vec<f64> = (0..100).map(|job| seconds(3, job)).collect();
        assert_eq!(waits, (0..100).map(|job| seconds(3, job)).collect::<Vec<_>>());
        waits.sort_by(f64::total_cmp);
        // Evenly spread, each quarter of the 10 seconds between 30 and 40 would hold 25 of them.
        for quarter in 0..4 {
            let from = 30.0 + 2.5 * f64::from(quarter);
            let inside = waits.iter().filter(|wait| (from..from + 2.5).contains(*wait)).count();
            assert!((10..=40).contains(&inside), "{inside} of 100 from {from} s");
        }
    }
}
