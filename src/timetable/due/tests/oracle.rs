//! Due times by watching a clock, with nothing of what is tested.

use super::*;

/// A reading of the clock, and when it is reached or passed for the first time.
pub(super) type Reached = (NaiveDateTime, DateTime<Utc>);

/// The readings, minute by minute, that a clock reaches after one instant up to another.
pub(super) fn watch(zone: Tz, after: DateTime<Utc>, until: DateTime<Utc>) -> Vec<Reached> {
    // Two days before, so that a clock which has just been set back is seen to have been further.
    let mut instant = after - TimeDelta::days(2);
    let mut furthest = instant.with_timezone(&zone).naive_local();
    let mut reached = Vec::new();
    while instant < until {
        instant += TimeDelta::minutes(1);
        let shows = instant.with_timezone(&zone).naive_local();
        while furthest < shows {
            furthest += TimeDelta::minutes(1);
            if instant > after {
                reached.push((furthest, instant));
            }
        }
    }
    reached
}

/// The instants that reach a reading which fits.
pub(super) fn due(reached: &[Reached], fits: impl Fn(&NaiveDateTime) -> bool) -> Vec<DateTime<Utc>> {
    let mut due: Vec<_> = reached.iter().filter(|(reading, _)| fits(reading)).map(|(_, instant)| *instant).collect();
    due.dedup();
    due
}
