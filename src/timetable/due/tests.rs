#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

mod catch_up;
mod oracle;
mod property;

use chrono::{Datelike, NaiveDateTime, Timelike, Weekday};
use chrono_tz::{America, Asia, Australia, Europe, Pacific};

use super::*;

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn year(year: i32) -> (DateTime<Utc>, DateTime<Utc>) {
    (at(&format!("{}-12-31T23:59:00Z", year - 1)), at(&format!("{year}-12-31T23:59:00Z")))
}

fn due(text: &str, zone: Tz, after: &str, until: &str) -> Vec<String> {
    due_between(&Expression::parse(text).unwrap(), zone, at(after), at(until))
        .map(|due| due.format("%Y-%m-%dT%H:%MZ").to_string())
        .collect()
}

/// Every zone with the years in which something happens to its clock.
const YEARS: [(Tz, i32); 10] = [
    (Europe::Berlin, 2025),
    (Europe::Berlin, 2028),
    (Australia::Lord_Howe, 2025),
    (America::Sao_Paulo, 2018),
    (America::Sao_Paulo, 2019),
    (Asia::Kathmandu, 1986),
    (Asia::Kathmandu, 2025),
    (Tz::UTC, 2028),
    (Pacific::Apia, 2011),
    (Pacific::Apia, 2012),
];

type Fits = fn(&NaiveDateTime) -> bool;

fn on_the_hour(reading: &NaiveDateTime, hour: u32) -> bool {
    reading.hour() == hour && reading.minute() == 0
}

/// Expressions, each with its meaning written out by hand.
const MEANINGS: [(&str, Fits); 16] = [
    ("*/15 * * * *", |reading| reading.minute().is_multiple_of(15)),
    ("@hourly", |reading| reading.minute() == 0),
    ("0 2 * * *", |reading| on_the_hour(reading, 2)),
    ("30 2 * * *", |reading| reading.hour() == 2 && reading.minute() == 30),
    ("45 1 * * *", |reading| reading.hour() == 1 && reading.minute() == 45),
    ("0 0 * * *", |reading| on_the_hour(reading, 0)),
    ("30 23 * * *", |reading| reading.hour() == 23 && reading.minute() == 30),
    ("0 0 1 * *", |reading| on_the_hour(reading, 0) && reading.day() == 1),
    ("0 4 29 2 *", |reading| on_the_hour(reading, 4) && reading.day() == 29 && reading.month() == 2),
    ("15 10 * * 1-5", |reading| {
        reading.hour() == 10 && reading.minute() == 15 && !matches!(reading.weekday(), Weekday::Sat | Weekday::Sun)
    }),
    ("0 0 13 * 5", |reading| on_the_hour(reading, 0) && (reading.day() == 13 || reading.weekday() == Weekday::Fri)),
    ("0 2 * * 0", |reading| on_the_hour(reading, 2) && reading.weekday() == Weekday::Sun),
    ("0 2 * * 7", |reading| on_the_hour(reading, 2) && reading.weekday() == Weekday::Sun),
    ("*/7 0-3,23 * * *", |reading| reading.minute().is_multiple_of(7) && (reading.hour() <= 3 || reading.hour() == 23)),
    ("0 30 2 ? * 2-6", |reading| {
        reading.hour() == 2 && reading.minute() == 30 && !matches!(reading.weekday(), Weekday::Sat | Weekday::Sun)
    }),
    ("0 15 3 * 3-11 ? 2011-2025", |reading| {
        reading.hour() == 3
            && reading.minute() == 15
            && (3..=11).contains(&reading.month())
            && (2011..=2025).contains(&reading.year())
    }),
];

#[test]
fn whole_years_agree_with_watching_the_clock_minute_by_minute() {
    for (zone, number) in YEARS {
        let (after, until) = year(number);
        let reached = oracle::watch(zone, after, until);
        for (text, fits) in MEANINGS {
            let expected = oracle::due(&reached, fits);
            let expression = Expression::parse(text).unwrap();
            let found: Vec<_> = due_between(&expression, zone, after, until).collect();
            if found != expected {
                let differs = found.iter().zip(&expected).find(|(found, expected)| found != expected);
                assert_eq!((found.len(), differs), (expected.len(), None), "{text} in {zone}, {number}");
            }
        }
    }
}

#[test]
fn croner_is_of_the_same_opinion() {
    let texts = [
        "0 2 * * *",
        "30 2 * * *",
        "0 0 1 * *",
        "0 4 29 2 *",
        "15 10 * * 1-5",
        "0 0 13 * 5",
        "0 9 * 3,10 0",
        "5 4 1-7 * *",
    ];
    let zones = [Europe::Berlin, Australia::Lord_Howe, America::New_York, Asia::Kathmandu, Tz::UTC];
    for (zone, text) in zones.iter().flat_map(|zone| texts.map(|text| (*zone, text))) {
        let (after, until) = (year(2024).0, year(2028).1);
        let other: Vec<_> = text
            .parse::<croner::Cron>()
            .unwrap()
            .iter_after(after.with_timezone(&zone))
            .map(|due| due.to_utc())
            .take_while(|due| *due <= until)
            .collect();
        let found: Vec<_> = due_between(&Expression::parse(text).unwrap(), zone, after, until).collect();
        assert_eq!(found, other, "{text} in {zone}");
    }
}

#[test]
fn a_time_that_the_clock_skips_is_due_right_after_the_gap() {
    let spring = ("2025-03-29T12:00:00Z", "2025-03-30T12:00:00Z");
    assert_eq!(due("30 2 * * *", Europe::Berlin, spring.0, spring.1), ["2025-03-30T01:00Z"]);
    // 02:00, 02:15, 02:30 and 02:45 do not exist and are due at once, together with 03:00.
    assert_eq!(
        due("*/15 2,3 * * *", Europe::Berlin, spring.0, spring.1),
        ["2025-03-30T01:00Z", "2025-03-30T01:15Z", "2025-03-30T01:30Z", "2025-03-30T01:45Z"]
    );
    // Half an hour, from 02:00 to 02:30.
    assert_eq!(
        due("0,15,40 2 * * *", Australia::Lord_Howe, "2025-10-04T12:00:00Z", "2025-10-05T12:00:00Z"),
        ["2025-10-04T15:30Z", "2025-10-04T15:40Z"]
    );
    // From 00:00 to 01:00: the last time that the clock did so there.
    assert_eq!(
        due("0 0 * * *", America::Sao_Paulo, "2018-11-03T12:00:00Z", "2018-11-05T12:00:00Z"),
        ["2018-11-04T03:00Z", "2018-11-05T02:00Z"]
    );
    assert_eq!(
        due("0 0 * * *", America::Sao_Paulo, "2019-11-02T12:00:00Z", "2019-11-04T12:00:00Z"),
        ["2019-11-03T03:00Z", "2019-11-04T03:00Z"]
    );
}

#[test]
fn a_time_that_the_clock_shows_twice_is_due_the_first_time() {
    let autumn = ("2025-10-25T12:00:00Z", "2025-10-26T12:00:00Z");
    assert_eq!(due("30 2 * * *", Europe::Berlin, autumn.0, autumn.1), ["2025-10-26T00:30Z"]);
    assert_eq!(due("0 2 * * *", Europe::Berlin, autumn.0, autumn.1), ["2025-10-26T00:00Z"]);
    assert_eq!(due("0 3 * * *", Europe::Berlin, autumn.0, autumn.1), ["2025-10-26T02:00Z"]);
    assert_eq!(
        due("45 1 * * *", Australia::Lord_Howe, "2025-04-05T00:00:00Z", "2025-04-06T00:00:00Z"),
        ["2025-04-05T14:45Z"]
    );
    assert_eq!(
        due("30 23 * * *", America::Sao_Paulo, "2018-02-17T12:00:00Z", "2018-02-18T12:00:00Z"),
        ["2018-02-18T01:30Z"]
    );
    // Asked anew between the two showings, it is not due again.
    for after in ["2025-10-26T00:30:00Z", "2025-10-26T00:59:59Z", "2025-10-26T01:00:00Z", "2025-10-26T01:29:59Z"] {
        assert_eq!(due("30 2 * * *", Europe::Berlin, after, autumn.1), [""; 0], "{after}");
    }
}

#[test]
fn a_day_that_is_skipped_is_due_once_when_the_next_one_begins() {
    // Samoa went from the 29th straight to the 31st of December 2011, at 10:00 UTC.
    assert_eq!(
        due("0 12 * * *", Pacific::Apia, "2011-12-29T00:00:00Z", "2011-12-31T00:00:00Z"),
        ["2011-12-29T22:00Z", "2011-12-30T10:00Z", "2011-12-30T22:00Z"]
    );
    assert_eq!(
        due("*/10 * 30 12 *", Pacific::Apia, "2011-12-29T00:00:00Z", "2012-01-10T00:00:00Z"),
        ["2011-12-30T10:00Z"]
    );
}

#[test]
fn due_times_lie_after_the_one_end_and_up_to_the_other() {
    let ends = |after, until| due("0 2 * * *", Tz::UTC, after, until);
    assert_eq!(ends("2026-01-01T02:00:00Z", "2026-01-02T02:00:00Z"), ["2026-01-02T02:00Z"]);
    assert_eq!(ends("2026-01-01T01:59:59.999Z", "2026-01-01T02:00:00Z"), ["2026-01-01T02:00Z"]);
    assert_eq!(ends("2026-01-01T02:00:00.001Z", "2026-01-02T01:59:59.999Z"), [""; 0]);
    assert_eq!(ends("2026-01-05T00:00:00Z", "2026-01-01T00:00:00Z"), [""; 0]);
}

#[test]
fn the_ends_of_time_have_no_next_due_time_and_do_no_harm() {
    let daily = Expression::parse("0 2 * * *").unwrap();
    let zone = Europe::Berlin;
    assert_eq!(next_after(&daily, zone, at("2100-12-31T12:00:00Z")), None);
    assert_eq!(next_after(&daily, zone, DateTime::<Utc>::MAX_UTC), None);
    assert_eq!(next_after(&daily, zone, DateTime::<Utc>::MIN_UTC), Some(at("1970-01-01T01:00:00Z")));
    let past = Expression::parse("0 0 2 1 1 ? 2020").unwrap();
    assert_eq!(next_after(&past, zone, at("2019-06-01T00:00:00Z")), Some(at("2020-01-01T01:00:00Z")));
    assert_eq!(next_after(&past, zone, at("2026-06-01T00:00:00Z")), None);
}
