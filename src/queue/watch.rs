//! Judges from afar whether the owner of a job is alive: by its beat and the own monotonic clock, never by a time that
//! somebody wrote down.

use std::collections::HashMap;
use std::time::Duration;

use crate::model::JobId;
use crate::store::jobs::Seen;

/// What was seen of the jobs of others.
#[derive(Debug)]
pub(super) struct Watch {
    lease: Duration,
    longest_step: Duration,
    last_look: Option<Duration>,
    seen: HashMap<JobId, Standstill>,
}

#[derive(Clone, Copy, Debug)]
struct Standstill {
    seen: Seen,
    lasted: Duration,
}

impl Watch {
    /// A beat may stand still for `lease`. Between two looks at most `longest_step` counts: whoever was frozen itself
    /// does not know what others did meanwhile.
    pub(super) fn new(lease: Duration, longest_step: Duration) -> Self {
        Self { lease, longest_step, last_look: None, seen: HashMap::new() }
    }

    /// Takes in a look at all running jobs of others at the monotonic time `now`, and gives those to be rescued.
    pub(super) fn look(&mut self, running: &[Seen], now: Duration) -> Vec<Seen> {
        let step = self.last_look.map_or(Duration::ZERO, |last| now.saturating_sub(last)).min(self.longest_step);
        self.last_look = Some(now);
        self.seen = running
            .iter()
            .map(|seen| {
                let lasted = match self.seen.get(&seen.job) {
                    Some(before) if before.seen == *seen => before.lasted + step,
                    _ => Duration::ZERO,
                };
                (seen.job, Standstill { seen: *seen, lasted })
            })
            .collect();
        self.seen
            .values()
            .filter(|standstill| standstill.lasted >= self.lease)
            .map(|standstill| standstill.seen)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::store::jobs::OwnerId;

    fn seen(beat: i64) -> Seen {
        Seen { job: JobId(Uuid::from_u128(1)), owner: OwnerId(Uuid::from_u128(2)), epoch: 1, beat }
    }

    fn watch() -> Watch {
        Watch::new(Duration::from_secs(45), Duration::from_secs(20))
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_beat_that_stands_still_for_the_lease_is_the_end() {
        let mut watch = watch();
        for second in (0..=40).step_by(10) {
            assert_eq!(watch.look(&[seen(7)], at(second)), []);
        }
        assert_eq!(watch.look(&[seen(7)], at(44)), []);
        assert_eq!(watch.look(&[seen(7)], at(45)), [seen(7)]);
    }

    #[test]
    fn every_beat_begins_the_lease_anew_however_long_the_job_runs() {
        let mut watch = watch();
        for minute in 0..360 {
            for second in [0, 20, 40] {
                assert_eq!(watch.look(&[seen(minute)], at(u64::try_from(minute).unwrap_or(0) * 60 + second)), []);
            }
        }
    }

    #[test]
    fn a_new_claim_begins_the_lease_anew() {
        let mut watch = watch();
        for second in (0..=40).step_by(10) {
            watch.look(&[seen(7)], at(second));
        }
        let claimed_again = Seen { epoch: 2, ..seen(7) };
        assert_eq!(watch.look(&[claimed_again], at(50)), []);
        // Gone for a while counts as never seen.
        watch.look(&[], at(60));
        assert_eq!(watch.look(&[claimed_again], at(80)), []);
    }

    #[test]
    fn whoever_was_frozen_itself_does_not_hold_that_time_against_others() {
        let mut watch = watch();
        watch.look(&[seen(7)], at(0));
        assert_eq!(watch.look(&[seen(7)], at(3600)), []);
        assert_eq!(watch.look(&[seen(7)], at(3620)), []);
        assert_eq!(watch.look(&[seen(7)], at(3625)), [seen(7)]);
    }
}
