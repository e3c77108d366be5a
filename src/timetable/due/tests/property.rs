use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::sample::select;

use super::*;

/// A field of a crontab, as text and as the numbers it stands for.
type Written = (String, BTreeSet<u32>);

fn field(first: u32, last: u32) -> impl Strategy<Value = Written> {
    let all = ("*".to_owned(), (first..=last).collect());
    prop_oneof![
        3 => Just(all),
        2 => (first..=last).prop_map(|number| (number.to_string(), BTreeSet::from([number]))),
        1 => (1..=last).prop_map(move |step| {
            (format!("*/{step}"), (first..=last).filter(|number| (number - first).is_multiple_of(step)).collect())
        }),
        1 => (first..=last, first..=last, 1..4_u32).prop_map(|(one, other, step)| {
            let (from, to) = (one.min(other), one.max(other));
            (format!("{from}-{to}/{step}"), (from..=to).filter(|number| (number - from).is_multiple_of(step)).collect())
        }),
        1 => proptest::collection::btree_set(first..=last, 1..4).prop_map(|numbers| {
            (numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(","), numbers)
        }),
    ]
}

prop_compose! {
    fn written()(
        minute in field(0, 59), hour in field(0, 23), day in field(1, 31), month in field(1, 12), weekday in field(0, 6),
    ) -> [Written; 5] {
        [minute, hour, day, month, weekday]
    }
}

fn text(fields: &[Written; 5]) -> String {
    fields.iter().map(|(text, _)| text.as_str()).collect::<Vec<_>>().join(" ")
}

fn fits([minute, hour, day, month, weekday]: &[Written; 5], reading: &NaiveDateTime) -> bool {
    let day_fits = day.1.contains(&reading.day());
    let weekday_fits = weekday.1.contains(&reading.weekday().num_days_from_sunday());
    let both_restricted = !day.0.starts_with('*') && !weekday.0.starts_with('*');
    minute.1.contains(&reading.minute())
        && hour.1.contains(&reading.hour())
        && month.1.contains(&reading.month())
        && if both_restricted { day_fits || weekday_fits } else { day_fits && weekday_fits }
}

/// Instants at which some clock was set, and some at which none was.
fn around() -> impl Strategy<Value = (Tz, DateTime<Utc>)> {
    let changes = vec![
        (Europe::Berlin, "2026-03-29T01:00:00Z"),
        (Europe::Berlin, "2026-10-25T01:00:00Z"),
        (Australia::Lord_Howe, "2025-10-04T15:30:00Z"),
        (Australia::Lord_Howe, "2025-04-05T15:00:00Z"),
        (America::Sao_Paulo, "2018-11-04T03:00:00Z"),
        (America::Sao_Paulo, "2018-02-18T02:00:00Z"),
        (Pacific::Apia, "2011-12-30T10:00:00Z"),
        (Asia::Kathmandu, "1985-12-31T18:30:00Z"),
        (America::New_York, "2026-11-01T06:00:00Z"),
        (Europe::London, "2026-12-31T23:59:00Z"),
        (Tz::UTC, "2028-02-29T00:00:00Z"),
    ];
    (select(changes), -4000..100_i64)
        .prop_map(|((zone, change), minutes)| (zone, at(change) + TimeDelta::minutes(minutes)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn any_expression_is_due_as_watching_the_clock_says(
        fields in written(), (zone, after) in around(), hours in 1..100_i64,
    ) {
        // One that never fires is not understood, and is not due either.
        let until = after + TimeDelta::hours(hours);
        let expected = oracle::due(&oracle::watch(zone, after, until), |reading| fits(&fields, reading));
        let found: Vec<_> = match Expression::parse(&text(&fields)) {
            Ok(expression) => due_between(&expression, zone, after, until).collect(),
            Err(_) => Vec::new(),
        };
        prop_assert_eq!(found, expected, "{}", text(&fields));
    }

    #[test]
    fn asking_in_parts_repeats_nothing_and_loses_nothing(
        fields in written(), (zone, after) in around(), mut cuts in proptest::collection::vec(0..2_880_i64, 0..8),
    ) {
        let Ok(expression) = Expression::parse(&text(&fields)) else { return Ok(()) };
        let until = after + TimeDelta::minutes(2_880);
        let whole: Vec<_> = due_between(&expression, zone, after, until).collect();
        prop_assert!(whole.is_sorted_by(|one, next| one < next), "ascending, none twice");
        prop_assert!(whole.iter().all(|due| after < *due && *due <= until));

        cuts.push(2_880);
        cuts.sort_unstable();
        let mut from = after;
        let mut parts = Vec::new();
        for cut in cuts {
            let to = after + TimeDelta::minutes(cut);
            parts.extend(due_between(&expression, zone, from, to));
            from = to;
        }
        prop_assert_eq!(&parts, &whole);

        let one_by_one: Vec<_> = iter::successors(next_after(&expression, zone, after), |due| next_after(&expression, zone, *due))
            .take_while(|due| *due <= until)
            .collect();
        prop_assert_eq!(&one_by_one, &whole);
    }
}
