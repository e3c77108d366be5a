//! The instants at which a schedule is due in a time zone, and which of them to make up for.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::iter;
use std::time::Duration;

use chrono::{DateTime, NaiveDateTime, Offset, TimeDelta, TimeZone, Utc};
use chrono_tz::{GapInfo, Tz};
use sha2::{Digest, Sha256};

use super::expression::Expression;

/// The instants at which it is due: after the one, up to and including the other, ascending, none twice.
///
/// A time that the zone's clock skips is due at the first instant after the gap, several in one gap together once. One that
/// the clock shows twice is due the first time only.
pub fn due_between(
    expression: &Expression,
    zone: Tz,
    after: DateTime<Utc>,
    until: DateTime<Utc>,
) -> impl Iterator<Item = DateTime<Utc>> {
    every_due_after(expression, zone, after).take_while(move |due| *due <= until)
}

/// The first instant after this one at which it is due; none where it never fires again.
pub fn next_after(expression: &Expression, zone: Tz, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
    every_due_after(expression, zone, after).next()
}

/// What is made up for where due times were missed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Missed {
    /// The latest of all that are due, once.
    One,
    /// None: only what is still on time.
    None,
    /// Every one that is not too old, the oldest first, besides what is on time.
    All {
        /// How many missed ones at most; of more the latest count.
        at_most: u32,
        /// How long after its time a missed one may still run.
        not_older_than: Duration,
    },
}

/// What is to run, out of what is due.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ToRun {
    /// The due times to run, ascending.
    pub run: Vec<DateTime<Utc>>,
    /// How many due times are not made up for.
    pub dropped: u64,
}

/// Chooses what to run of the due times (ascending) that have no run yet. One counts as on time, not as missed, up to
/// `on_time_within` after it; one that lies ahead is left for later and counts nowhere.
pub fn to_run(
    due: impl Iterator<Item = DateTime<Utc>>,
    now: DateTime<Utc>,
    policy: &Missed,
    on_time_within: Duration,
) -> ToRun {
    let late_by = |due: &DateTime<Utc>| (now - *due).to_std().unwrap_or_default();
    let mut due = due.take_while(|due| *due <= now);
    let (at_most, not_older_than) = match policy {
        Missed::One => return only_the_latest(due),
        Missed::None => (0, Duration::ZERO),
        Missed::All { at_most, not_older_than } => (usize::try_from(*at_most).unwrap_or(usize::MAX), *not_older_than),
    };

    let mut dropped = 0;
    let mut missed = VecDeque::new();
    let mut on_time = None;
    for instant in due.by_ref() {
        if late_by(&instant) <= on_time_within {
            on_time = Some(instant);
            break;
        }
        if late_by(&instant) > not_older_than {
            dropped += 1;
            continue;
        }
        missed.push_back(instant);
        if missed.len() > at_most {
            missed.pop_front();
            dropped += 1;
        }
    }
    ToRun { run: missed.into_iter().chain(on_time).chain(due).collect(), dropped }
}

fn only_the_latest(due: impl Iterator<Item = DateTime<Utc>>) -> ToRun {
    let (latest, count) = due.fold((None, 0_u64), |(_, count), due| (Some(due), count + 1));
    ToRun { run: latest.into_iter().collect(), dropped: count.saturating_sub(1) }
}

/// How long to wait after a due time, so that not all schedules begin at once: from nothing to `at_most` in whole
/// milliseconds, always the same for the same schedule and due time.
pub fn jitter(schedule_name: &str, due: DateTime<Utc>, at_most: Duration) -> Duration {
    let hash = Sha256::new()
        .chain_update(due.timestamp_millis().to_be_bytes())
        .chain_update(schedule_name.as_bytes())
        .finalize();
    let share = hash.iter().take(8).fold(0_u64, |number, byte| (number << 8) | u64::from(*byte));
    let steps = at_most.as_millis().min(u128::from(u64::MAX)) + 1;
    Duration::from_millis(u64::try_from((u128::from(share) * steps) >> 64).unwrap_or(u64::MAX)).min(at_most)
}

/// Reading after reading, where only the first showing of each counts, is also instant after instant: the clock first shows
/// a later reading at a later instant, or at the same where both lie in one gap.
fn every_due_after(expression: &Expression, zone: Tz, after: DateTime<Utc>) -> impl Iterator<Item = DateTime<Utc>> {
    let mut latest = after;
    let mut reading = reading_at(zone, after);
    iter::from_fn(move || {
        loop {
            reading = expression.next_on_the_clock(reading)?;
            let Some((due, resume)) = first_showing(zone, reading) else { continue };
            reading = resume;
            if due > latest {
                latest = due;
                return Some(due);
            }
        }
    })
}

/// What the zone's clock shows at an instant, or the last second before 1970: no expression fires before it.
fn reading_at(zone: Tz, instant: DateTime<Utc>) -> NaiveDateTime {
    let before_all = DateTime::UNIX_EPOCH.naive_utc() - TimeDelta::seconds(1);
    let offset = zone.offset_from_utc_datetime(&instant.naive_utc()).fix();
    instant.naive_utc().checked_add_offset(offset).unwrap_or(before_all).max(before_all)
}

/// The first instant at which the clock shows this reading, or a later one where it skips it; and the reading after which
/// to go on, which passes over the rest of a gap.
fn first_showing(zone: Tz, reading: NaiveDateTime) -> Option<(DateTime<Utc>, NaiveDateTime)> {
    if let Some(shown) = zone.from_local_datetime(&reading).earliest() {
        return Some((shown.to_utc(), reading));
    }
    let end = GapInfo::new(&reading, &zone)?.end?;
    Some((end.to_utc(), reading.max(end.naive_local() - TimeDelta::seconds(1))))
}
