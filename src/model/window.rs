//! A part of the day, on the clock of a time zone: `22:00-06:00 Europe/Berlin`.

use std::fmt;

use chrono::{DateTime, NaiveTime, TimeDelta, Timelike, Utc};
use chrono_tz::Tz;

/// A part of every day. One whose end comes before its begin goes on into the next day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    from: NaiveTime,
    to: NaiveTime,
    zone: Tz,
}

/// What is wrong with the text of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WindowError {
    /// It has not the form `HH:MM-HH:MM ZONE`.
    #[error("it is not of the form `22:00-06:00 Europe/Berlin`")]
    Form,
    /// A time is none.
    #[error("its times must be between 00:00 and 24:00")]
    Time,
    /// Begin and end are the same.
    #[error("its begin and end are the same, so it is always or never")]
    Empty,
    /// The zone is none.
    #[error("its zone is not the IANA name of a time zone")]
    Zone,
}

/// How far ahead an opening is looked for. A window that lies in the hour that a clock change skips opens a day later.
const MINUTES_AHEAD: i64 = 3 * 24 * 60;

impl Window {
    /// Reads `HH:MM-HH:MM ZONE`; the dash may be a long one, and 24:00 is midnight.
    ///
    /// # Errors
    /// See [`WindowError`].
    pub fn parse(text: &str) -> Result<Self, WindowError> {
        let (times, zone) = text.trim().rsplit_once(char::is_whitespace).ok_or(WindowError::Form)?;
        let (from, to) = times.split_once(['-', '–']).ok_or(WindowError::Form)?;
        let window =
            Self { from: parse_time(from)?, to: parse_time(to)?, zone: zone.parse().map_err(|_| WindowError::Zone)? };
        if window.from == window.to { Err(WindowError::Empty) } else { Ok(window) }
    }

    /// Whether it is open at this instant, by what the zone's clock shows.
    pub fn is_open(&self, at: DateTime<Utc>) -> bool {
        let shown = at.with_timezone(&self.zone).time();
        if self.from < self.to { self.from <= shown && shown < self.to } else { self.from <= shown || shown < self.to }
    }

    /// The first instant from this one on at which it is open, minute by minute: the clock of a zone may be set in any of
    /// them, and the answer is wanted once a minute at most.
    pub fn opens_at(&self, at: DateTime<Utc>) -> DateTime<Utc> {
        if self.is_open(at) {
            return at;
        }
        let whole = at.with_second(0).and_then(|at| at.with_nanosecond(0)).unwrap_or(at);
        let mut minutes = (1..=MINUTES_AHEAD).map(|minutes| whole + TimeDelta::minutes(minutes));
        minutes.find(|minute| self.is_open(*minute)).unwrap_or(at + TimeDelta::days(1))
    }

    /// When it begins, as people write it.
    pub fn begin(&self) -> String {
        self.from.format("%H:%M").to_string()
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}–{} {}", self.from.format("%H:%M"), self.to.format("%H:%M"), self.zone.name())
    }
}

fn parse_time(text: &str) -> Result<NaiveTime, WindowError> {
    let text = text.trim();
    if text == "24:00" {
        return Ok(NaiveTime::MIN);
    }
    let time = NaiveTime::parse_from_str(text, "%H:%M").map_err(|_| WindowError::Time)?;
    if time.second() == 0 { Ok(time) } else { Err(WindowError::Time) }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed step fails the test")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn a_window_over_midnight_is_open_in_the_night_of_its_zone() {
        let night = Window::parse("22:00–06:00 Europe/Berlin").unwrap();
        // Winter: an hour ahead of UTC.
        assert!(!night.is_open(at("2026-11-28T20:59:59Z")));
        assert!(night.is_open(at("2026-11-28T21:00:00Z")));
        assert!(night.is_open(at("2026-11-29T04:59:59Z")));
        assert!(!night.is_open(at("2026-11-29T05:00:00Z")));
        assert_eq!(night.opens_at(at("2026-11-29T05:00:00Z")), at("2026-11-29T21:00:00Z"));
        assert_eq!(night.opens_at(at("2026-11-29T03:00:00Z")), at("2026-11-29T03:00:00Z"));
        // Summer: two hours.
        assert_eq!(night.opens_at(at("2026-07-01T12:00:00Z")), at("2026-07-01T20:00:00Z"));
        assert_eq!(night.to_string(), "22:00–06:00 Europe/Berlin");
    }

    #[test]
    fn a_begin_that_the_clock_skips_comes_right_after_the_gap() {
        let early = Window::parse("02:30-04:00 Europe/Berlin").unwrap();
        assert_eq!(early.opens_at(at("2026-03-28T23:00:00Z")), at("2026-03-29T01:00:00Z"));
        // 03:00 on the clock is within the window.
        assert!(early.is_open(at("2026-03-29T01:00:00Z")));
    }

    #[test]
    fn midnight_may_be_written_as_the_end_of_a_day() {
        let evening = Window::parse("18:00-24:00 UTC").unwrap();
        assert!(evening.is_open(at("2026-11-28T23:59:59Z")));
        assert!(!evening.is_open(at("2026-11-29T00:00:00Z")));
    }

    #[test]
    fn what_is_no_window_is_said() {
        for (text, error) in [
            ("22:00-06:00", WindowError::Form),
            ("22:00 Europe/Berlin", WindowError::Form),
            ("25:00-06:00 UTC", WindowError::Time),
            ("22:00-22:00 UTC", WindowError::Empty),
            ("22:00-06:00 Mars/Olympus", WindowError::Zone),
            ("", WindowError::Form),
        ] {
            assert_eq!(Window::parse(text), Err(error), "{text}");
        }
    }

    proptest! {
        /// Minute by minute: the first open minute is the one that is told.
        #[test]
        fn the_next_opening_is_the_first_open_minute(
            from in 0_u32..1440,
            length in 1_u32..1440,
            start in 0_i64..(366 * 24 * 60),
            zone in prop::sample::select(vec!["Europe/Berlin", "Australia/Lord_Howe", "America/Sao_Paulo", "UTC"]),
        ) {
            let to = (from + length) % 1440;
            let text = format!("{:02}:{:02}-{:02}:{:02} {zone}", from / 60, from % 60, to / 60, to % 60);
            let window = Window::parse(&text).unwrap();
            let start = at("2026-01-01T00:00:00Z") + TimeDelta::minutes(start);
            let mut minute = start;
            while !window.is_open(minute) {
                minute += TimeDelta::minutes(1);
            }
            prop_assert_eq!(window.opens_at(start), minute, "{} from {}", text, start);
        }
    }
}
