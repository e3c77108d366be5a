#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

use chrono::{Datelike, NaiveDate, NaiveDateTime, Timelike, Weekday};
use proptest::prelude::*;

use super::*;

fn midnight(year: i32, month: u32, day: u32) -> NaiveDateTime {
    NaiveDate::from_ymd_opt(year, month, day).unwrap().and_hms_opt(0, 0, 0).unwrap()
}

/// The readings at which it fires from the first of November 2026, a Sunday, on.
fn readings(text: &str, count: usize) -> Vec<NaiveDateTime> {
    let expression = Expression::parse(text).unwrap();
    let before = midnight(2026, 11, 1) - TimeDelta::seconds(1);
    std::iter::successors(expression.next_on_the_clock(before), |after| expression.next_on_the_clock(*after))
        .take(count)
        .collect()
}

fn weekdays(text: &str) -> Vec<Weekday> {
    let mut days: Vec<Weekday> = readings(text, 14).iter().map(Datelike::weekday).collect();
    days.sort_by_key(Weekday::num_days_from_monday);
    days.dedup();
    days
}

fn error(text: &str) -> String {
    Expression::parse(text).unwrap_err().to_string()
}

const WORKING_DAYS: [Weekday; 5] = [Weekday::Mon, Weekday::Tue, Weekday::Wed, Weekday::Thu, Weekday::Fri];

#[test]
fn one_to_five_is_monday_to_friday_with_five_fields_and_sunday_to_thursday_with_six() {
    assert_eq!(weekdays("15 10 * * 1-5"), WORKING_DAYS);
    assert_eq!(weekdays("15 10 * * MON-FRI"), WORKING_DAYS);
    assert_eq!(weekdays("15 10 * * mon-friday"), WORKING_DAYS);
    assert_eq!(weekdays("0 15 10 * * 2-6"), WORKING_DAYS);
    assert_eq!(weekdays("0 15 10 * * Mon-Fri"), WORKING_DAYS);
    assert_eq!(
        weekdays("0 15 10 * * 1-5"),
        [Weekday::Mon, Weekday::Tue, Weekday::Wed, Weekday::Thu, Weekday::Sun],
        "the crate counts Sunday as 1"
    );
}

#[test]
fn sunday_is_zero_seven_and_its_name() {
    for text in ["0 3 * * 0", "0 3 * * 7", "0 3 * * SUN", "0 3 * * sunday", "0 3 * * 0,7", "0 0 3 * * 1", "@weekly"] {
        assert_eq!(weekdays(text), [Weekday::Sun], "{text}");
    }
    let weekend = [Weekday::Fri, Weekday::Sat, Weekday::Sun];
    for text in ["0 3 * * 5-7", "0 3 * * FRI-SUN", "0 3 * * 5,6,0", "0 3 * * 0,5-6"] {
        assert_eq!(weekdays(text), weekend, "{text}");
    }
    assert_eq!(weekdays("0 3 * * 0-7").len(), 7);
    assert_eq!(weekdays("0 3 * * */2"), [Weekday::Tue, Weekday::Thu, Weekday::Sat, Weekday::Sun]);
}

#[test]
fn words_stand_for_five_fields() {
    for (word, fields) in [
        ("@hourly", "0 * * * *"),
        ("@daily", "0 0 * * *"),
        ("@midnight", "0 0 * * *"),
        ("@weekly", "0 0 * * 0"),
        ("@monthly", "0 0 1 * *"),
        ("@yearly", "0 0 1 1 *"),
        ("@annually", "0 0 1 1 *"),
        ("@Daily", "0 0 * * *"),
    ] {
        assert_eq!(readings(word, 30), readings(fields, 30), "{word}");
    }
    assert_eq!(readings("@yearly", 1), [midnight(2027, 1, 1)]);
    assert!(error("@reboot").contains("@daily"));
}

#[test]
fn steps_ranges_and_lists_count_as_in_a_crontab() {
    let minutes = |text: &str, count| readings(text, count).iter().map(Timelike::minute).collect::<Vec<_>>();
    assert_eq!(minutes("*/15 * * * *", 5), [0, 15, 30, 45, 0]);
    assert_eq!(minutes("5-20/5,50 * * * *", 6), [5, 10, 15, 20, 50, 5]);
    assert_eq!(minutes("40/9 * * * *", 4), [40, 49, 58, 40]);
    assert_eq!(minutes("7,3,3,5 * * * *", 4), [3, 5, 7, 3]);
    let months = |text: &str| readings(text, 3).iter().map(Datelike::month).collect::<Vec<_>>();
    assert_eq!(months("0 0 1 */4 *"), [1, 5, 9]);
    assert_eq!(months("0 0 1 mar,Sept,DECEMBER *"), [12, 3, 9]);
}

#[test]
fn where_both_days_are_restricted_either_counts_with_five_fields() {
    // November 2026 begins on a Sunday: Fridays are 6, 13, 20 and 27.
    let days: Vec<u32> = readings("0 0 12 * 5", 5).iter().map(Datelike::day).collect();
    assert_eq!(days, [6, 12, 13, 20, 27]);
    let first = readings("0 0 13 * 5", 4).iter().map(Datelike::day).collect::<Vec<_>>();
    assert_eq!(first, [6, 13, 20, 27], "Friday the thirteenth once");
    // One that begins with a star does not count as restricted: then both must fit, as with six fields.
    assert_eq!(readings("0 0 */2 * 1", 3), [midnight(2026, 11, 9), midnight(2026, 11, 23), midnight(2026, 12, 7)]);
    assert_eq!(readings("0 0 0 13 * FRI", 2), [midnight(2026, 11, 13), midnight(2027, 8, 13)]);
}

#[test]
fn six_and_seven_fields_are_seconds_first_and_years_last() {
    let expected: Vec<NaiveDateTime> =
        [0, 20, 40].iter().map(|second| midnight(2026, 11, 1).with_second(*second).unwrap()).collect();
    assert_eq!(readings("*/20 0 0 * * *", 3), expected);
    assert_eq!(readings("0 0 0 1 1 ? 2031", 2), [midnight(2031, 1, 1)]);
    assert_eq!(readings("0 0 0 ? * 1 2040/20", 1), [midnight(2040, 1, 1)]);
}

#[test]
fn what_never_fires_is_an_error() {
    for text in ["0 0 30 2 *", "0 0 31 4,6,9,11 *", "0 0 0 30 2 *", "0 0 0 29 2 ? 2026", "0 0 0 29 2 SUN 2028"] {
        assert_eq!(Expression::parse(text), Err(ExpressionError::NeverFires { expression: text.to_owned() }), "{text}");
    }
    // The 29th of February is a Tuesday in 2028, and either day counts with five fields.
    for text in ["0 4 29 2 *", "0 0 30 2 1", "0 0 0 29 2 SUN", "0 0 0 29 2 TUE 2028"] {
        Expression::parse(text).unwrap();
    }
}

#[test]
fn an_error_says_what_where_and_how_to_write_it() {
    assert_eq!(
        error("61 2 * * *"),
        "the minute (field 1 of 5) in `61 2 * * *`: `61` is not understood; it takes 0 to 59; write for example `*/15`"
    );
    assert_eq!(
        error("0 2 * * 8"),
        "the day of the week (field 5 of 5) in `0 2 * * 8`: `8` is not understood; it takes 0 to 7, or SUN to SAT \
         (Sunday is 0 or 7); write for example `1-5`"
    );
    assert_eq!(
        error("0 0 2 * * 0"),
        "the day of the week (field 6 of 6) in `0 0 2 * * 0`: `0` is not understood; it takes 1 to 7, or SUN to SAT \
         (with six or seven fields Sunday is 1); write for example `MON-FRI`"
    );
    for (text, says) in [
        ("", "has no fields"),
        ("0", "has one field"),
        ("0 2 * *", "has 4 fields"),
        ("0 0 2 * * * 2026 7", "has 8 fields"),
        ("0 22-4 * * *", "`22-4` runs backwards: write `22-23,0-4`"),
        ("*/90 * * * *", "the step of `*/90` must be between 1 and 60"),
        ("*/0 * * * *", "the step of `*/0` must be between 1 and 60"),
        ("*/x * * * *", "the step of `*/x` is no number"),
        ("*5 * * * *", "`*5` is not understood"),
        ("0 2 *-5 * *", "a range of a star"),
        ("0 2 ? * *", "write `*` for any"),
        ("0 2 L * *", "`L` is not understood"),
        ("0 2 * * 5#2", "`5#2` holds `#`"),
        ("0 2 1,,3 * *", "a comma with nothing beside it"),
        ("0 2 1- * *", "`1-` is not finished"),
        ("0 2 * foo *", "month (field 4 of 5)"),
        ("0 2 * ma *", "`ma` is not understood"),
        ("99999999999 2 * * *", "minute (field 1 of 5)"),
        // The crate alone would read six stars out of five and take the rest one place further.
        ("0 *5 2 * * *", "`*5` is not understood"),
        ("** 0 2 * * *", "`**` is not understood"),
        ("0 0 2 * * * 1960", "the year (field 7 of 7)"),
        ("0 0 25 * * *", "the hour (field 3 of 6)"),
        ("0 0 2 * * FRI-SUN", "runs backwards"),
        ("MIN * * * * *", "the second (field 1 of 6)"),
    ] {
        assert!(error(text).contains(says), "{text}: {}", error(text));
    }
    assert!(error(&"9".repeat(5_000)).len() < 500);
}

#[test]
fn it_is_shown_as_it_was_written() {
    let expression: Expression = "  0  2 * * mon\n".parse().unwrap();
    assert_eq!(expression.to_string(), "0  2 * * mon");
    assert_eq!(expression.as_str(), "0  2 * * mon");
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in "[0-9*/,?@a-zA-Z# -]{0,40}|\\PC{0,40}") {
        let _ = Expression::parse(&text);
    }

    #[test]
    fn six_fields_are_taken_exactly_where_the_crate_takes_them(
        fields in proptest::collection::vec("[*?]|[0-9]{1,2}(-[0-9]{1,2})?(/[0-9])?(,[0-9]{1,2})?|\\*/[0-9]{1,2}|MON|jan-mar", 6),
    ) {
        let text = fields.join(" ");
        let fires = Schedule::from_str(&text)
            .is_ok_and(|schedule| schedule.after(&DateTime::UNIX_EPOCH).next().is_some());
        prop_assert_eq!(Expression::parse(&text).is_ok(), fires, "{}", text);
    }
}
