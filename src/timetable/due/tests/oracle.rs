//! Due times by watching a clock, with nothing of what is tested.

use super::*;

/// One minute: when it begins, and the readings that the clock reaches with it for the first time.
pub(super) struct Minute {
    instant: DateTime<Utc>,
    reached: Vec<NaiveDateTime>,
}

/// The minutes after one instant up to another, each with the readings it brings.
pub(super) fn watch(zone: Tz, after: DateTime<Utc>, until: DateTime<Utc>) -> Vec<Minute> {
    // Two days before, so that a clock which has just been set back is seen to have been further.
    let mut instant = after - TimeDelta::days(2);
    let mut furthest = instant.with_timezone(&zone).naive_local();
    let mut minutes = Vec::new();
    while instant < until {
        instant += TimeDelta::minutes(1);
        let shows = instant.with_timezone(&zone).naive_local();
        let mut reached = Vec::new();
        while furthest < shows {
            furthest += TimeDelta::minutes(1);
            reached.push(furthest);
        }
        if instant > after {
            minutes.push(Minute { instant, reached });
        }
    }
    minutes
}

/// The minutes that reach a reading which fits.
pub(super) fn due(minutes: &[Minute], fits: impl Fn(&NaiveDateTime) -> bool) -> Vec<DateTime<Utc>> {
    minutes.iter().filter(|minute| minute.reached.iter().any(&fits)).map(|minute| minute.instant).collect()
}
