//! The days of a schedule: from four in the morning to four in the morning, by the clock in the event's zone.

use std::ops::Range;

use chrono::{DateTime, Datelike, NaiveDate, Offset, SecondsFormat, TimeDelta, Utc};
use chrono_tz::Tz;

use crate::export::program::{DAY_CHANGE_HOUR, Order, Programme, ReadError, Selection, Session, Source, Span};

/// One day of a schedule.
#[derive(Clone, Copy, Debug)]
pub(super) struct Day {
    /// Its date.
    pub(super) date: NaiveDate,
    /// The first instant of it.
    pub(super) start: DateTime<Utc>,
    /// The first instant after it.
    pub(super) end: DateTime<Utc>,
}

/// The day of a date.
pub(super) fn day(programme: &Programme, date: NaiveDate) -> Day {
    let next = date.succ_opt().unwrap_or(date);
    Day { date, start: first_instant(programme, date), end: first_instant(programme, next) }
}

/// A day's sessions, room by room, with the time of each.
pub(super) fn sessions<'a>(
    source: &'a dyn Source,
    day: Day,
) -> impl Iterator<Item = Result<(Session, Span), ReadError>> + 'a {
    let programme = source.programme();
    let date = day.date;
    let selection =
        Selection { starts_in: Some(window(programme.zone, &day)), order: Order::Room, ..Selection::SCHEDULED };
    let sessions = source.sessions(&selection);
    sessions.filter_map(move |session| match session {
        Ok(session) => {
            let span = span(&session, programme).filter(|span| programme.day_of(span.start) == date)?;
            Some(Ok((session, span)))
        }
        Err(error) => Some(Err(error)),
    })
}

/// When a session is shown, where the formats can say it: their years have four digits.
pub(super) fn span(session: &Session, programme: &Programme) -> Option<Span> {
    session.span(programme).filter(|span| can_be_said(span.start) && can_be_said(span.end))
}

/// Whether an instant's year has four digits in every zone.
pub(super) fn can_be_said(instant: DateTime<Utc>) -> bool {
    (2..=9997).contains(&instant.year())
}

/// An instant by the clock of a zone, with its offset; in UTC where the offset has seconds, as in the nineteenth century.
pub(super) fn written(instant: DateTime<Utc>, zone: Tz) -> String {
    let local = instant.with_timezone(&zone);
    if local.offset().fix().local_minus_utc() % 60 == 0 {
        local.fixed_offset().to_rfc3339_opts(SecondsFormat::Secs, false)
    } else {
        instant.to_rfc3339_opts(SecondsFormat::Secs, false)
    }
}

/// The first instant that belongs to a date or a later one: a clock change may have skipped the hour itself.
fn first_instant(programme: &Programme, date: NaiveDate) -> DateTime<Utc> {
    let change = date.and_hms_opt(DAY_CHANGE_HOUR, 0, 0).unwrap_or_default().and_utc();
    // Wider than any offset and the whole day that Samoa skipped.
    let (mut before, mut after) = (change - TimeDelta::hours(40), change + TimeDelta::hours(40));
    while after - before > TimeDelta::seconds(1) {
        let middle = before + TimeDelta::seconds((after - before).num_seconds() / 2);
        if programme.day_of(middle) >= date { after = middle } else { before = middle }
    }
    after
}

/// From when to when a day's sessions can begin: the day itself, or more around it where the clock changes, since then
/// a local hour may come twice.
fn window(zone: Tz, day: &Day) -> Range<DateTime<Utc>> {
    let margin = TimeDelta::days(1);
    let offset = |instant: DateTime<Utc>| instant.with_timezone(&zone).offset().fix();
    let around = [day.start - margin, day.start, day.end, day.end + margin];
    if around.iter().all(|instant| offset(*instant) == offset(day.start)) {
        day.start..day.end
    } else {
        day.start - margin..day.end + margin
    }
}
