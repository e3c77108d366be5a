//! Due times by watching a clock, with nothing of what is tested.

use super::*;

/// One minute: when it begins, and after which reading up to which one the clock reaches with it for the first time.
pub(super) struct Minute {
    instant: DateTime<Utc>,
    after: NaiveDateTime,
    up_to: NaiveDateTime,
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
        if instant > after {
            minutes.push(Minute { instant, after: furthest, up_to: shows });
        }
        furthest = furthest.max(shows);
    }
    minutes
}

/// The minutes that reach a reading which fits.
pub(super) fn due(minutes: &[Minute], fits: impl Fn(&NaiveDateTime) -> bool) -> Vec<DateTime<Utc>> {
    let reaches = |minute: &&Minute| {
        iter::successors(Some(minute.after + TimeDelta::minutes(1)), |reading| Some(*reading + TimeDelta::minutes(1)))
            .take_while(|reading| *reading <= minute.up_to)
            .any(|reading| fits(&reading))
    };
    minutes.iter().filter(reaches).map(|minute| minute.instant).collect()
}
