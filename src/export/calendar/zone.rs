//! A zone's rules over a span of time, as calendars carry them.

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Offset, TimeDelta, TimeZone, Utc};
use chrono_tz::{OffsetComponents, OffsetName, Tz};

/// From when on a zone has an offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Observance {
    /// By the clock as it was shown before.
    pub(super) onset: NaiveDateTime,
    /// The offset before, in seconds east of UTC.
    pub(super) from: i32,
    /// The offset after, in seconds east of UTC.
    pub(super) to: i32,
    /// What people call it.
    pub(super) name: String,
    /// Which kind of time it is.
    pub(super) kind: Kind,
}

/// A kind of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The zone's own.
    Standard,
    /// Summer time.
    Daylight,
}

/// How far back the change is looked for that was in force at the begin.
const LOOK_BACK: TimeDelta = TimeDelta::days(400);

/// From when to when zones change their clocks: before it there was no zone, after it the tables end.
const CHANGES: std::ops::Range<i32> = 1800..2200;

/// Two changes are never closer together.
const STEP: TimeDelta = TimeDelta::days(1);

/// What was in force at the begin, and every change until the end. Never empty.
pub(super) fn observances(zone: Tz, (first, last): (DateTime<Utc>, DateTime<Utc>)) -> Vec<Observance> {
    let mut found: Vec<Observance> = Vec::new();
    let new_year = |year| NaiveDate::from_ymd_opt(year, 1, 1).unwrap_or_default().and_time(NaiveTime::MIN).and_utc();
    let mut at = (first - LOOK_BACK).max(new_year(CHANGES.start));
    while at <= last.min(new_year(CHANGES.end)) {
        let next = at + STEP;
        if offset(zone, at) != offset(zone, next) {
            let change = change_between(zone, at, next);
            if change <= first {
                found.clear();
            }
            if change <= last {
                found.push(observance(zone, offset(zone, at), change));
            }
        }
        at = next;
    }
    if found.first().is_none_or(|earliest| instant_of(earliest) > first) {
        found.insert(0, since_ever(zone, first));
    }
    found
}

/// Whether a zone's clock showed an instant's time twice. What is written by that clock would then mean the first.
pub(super) fn is_shown_twice(zone: Tz, instant: DateTime<Utc>) -> bool {
    zone.from_local_datetime(&instant.with_timezone(&zone).naive_local()).single().is_none()
}

fn offset(zone: Tz, instant: DateTime<Utc>) -> i32 {
    instant.with_timezone(&zone).offset().fix().local_minus_utc()
}

/// The first second with another offset than at the begin.
fn change_between(zone: Tz, mut before: DateTime<Utc>, mut after: DateTime<Utc>) -> DateTime<Utc> {
    let old = offset(zone, before);
    while after - before > TimeDelta::seconds(1) {
        let middle = before + TimeDelta::seconds((after - before).num_seconds() / 2);
        if offset(zone, middle) == old { before = middle } else { after = middle }
    }
    after
}

fn observance(zone: Tz, from: i32, change: DateTime<Utc>) -> Observance {
    let local = change.with_timezone(&zone);
    let kind = if local.offset().dst_offset() > TimeDelta::zero() { Kind::Daylight } else { Kind::Standard };
    let to = local.offset().fix().local_minus_utc();
    let name = local.offset().abbreviation().unwrap_or(zone.name()).to_owned();
    Observance { onset: change.naive_utc() + TimeDelta::seconds(from.into()), from, to, name, kind }
}

/// The offset at the begin, for zones that did not change for long.
fn since_ever(zone: Tz, first: DateTime<Utc>) -> Observance {
    let usual = NaiveDate::from_ymd_opt(1970, 1, 1).unwrap_or_default().and_time(NaiveTime::MIN);
    let mut observance = observance(zone, offset(zone, first), first);
    observance.onset = usual.min(observance.onset - TimeDelta::days(1));
    observance
}

fn instant_of(observance: &Observance) -> DateTime<Utc> {
    observance.onset.and_utc() - TimeDelta::seconds(observance.from.into())
}
