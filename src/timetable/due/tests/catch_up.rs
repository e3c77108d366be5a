use super::*;

const GRACE: Duration = Duration::from_secs(90);

/// Nights at two, the last of them now.
fn nights(count: i64) -> Vec<DateTime<Utc>> {
    (0..count).rev().map(|ago| at("2026-11-20T02:00:00Z") - TimeDelta::days(ago)).collect()
}

fn choose(due: &[DateTime<Utc>], now: &str, policy: &Missed) -> ToRun {
    to_run(due.iter().copied(), at(now), policy, GRACE)
}

fn all(at_most: u32, days: u64) -> Missed {
    Missed::All { at_most, not_older_than: Duration::from_secs(days * 86_400) }
}

#[test]
fn what_is_on_time_runs_under_every_policy() {
    for policy in [Missed::One, Missed::None, all(0, 0), all(9, 9)] {
        for now in ["2026-11-20T02:00:00Z", "2026-11-20T02:01:30Z"] {
            let chosen = choose(&nights(1), now, &policy);
            assert_eq!(chosen, ToRun { run: nights(1), dropped: 0 }, "{policy:?} at {now}");
        }
        assert_eq!(choose(&[], "2026-11-20T02:00:00Z", &policy), ToRun::default());
    }
}

#[test]
fn three_missed_nights_follow_the_policy() {
    let now = "2026-11-20T09:00:00Z";
    let due = nights(3);
    assert_eq!(choose(&due, now, &Missed::One), ToRun { run: vec![due[2]], dropped: 2 });
    assert_eq!(choose(&due, now, &Missed::None), ToRun { run: vec![], dropped: 3 });
    assert_eq!(choose(&due, now, &all(10, 10)), ToRun { run: due.clone(), dropped: 0 });
    assert_eq!(choose(&due, now, &all(2, 10)), ToRun { run: due[1..].to_vec(), dropped: 1 });
    assert_eq!(choose(&due, now, &all(10, 2)), ToRun { run: due[1..].to_vec(), dropped: 1 });
    assert_eq!(choose(&due, now, &all(0, 10)), ToRun { run: vec![], dropped: 3 });
}

#[test]
fn missed_nights_run_before_the_one_that_is_on_time() {
    let now = "2026-11-20T02:00:30Z";
    let due = nights(4);
    assert_eq!(choose(&due, now, &Missed::One), ToRun { run: vec![due[3]], dropped: 3 });
    assert_eq!(choose(&due, now, &Missed::None), ToRun { run: vec![due[3]], dropped: 3 });
    assert_eq!(choose(&due, now, &all(2, 30)), ToRun { run: due[1..].to_vec(), dropped: 1 });
}

#[test]
fn what_lies_ahead_is_left_for_later() {
    let due = nights(3);
    let chosen = choose(&due, "2026-11-19T02:00:00Z", &all(9, 9));
    assert_eq!(chosen, ToRun { run: due[..2].to_vec(), dropped: 0 });
    assert_eq!(choose(&due, "2026-11-19T02:00:00Z", &Missed::One), ToRun { run: vec![due[1]], dropped: 1 });
    assert_eq!(choose(&due, "2026-11-01T02:00:00Z", &Missed::One), ToRun::default());
}

#[test]
fn a_year_that_was_missed_is_counted_and_not_kept() {
    let every_tenth_minute = Expression::parse("9-59/10 * * * *").unwrap();
    let (after, now) = year(2025);
    let due = due_between(&every_tenth_minute, Europe::Berlin, after, now);
    let chosen = to_run(due, now, &all(5, 400), GRACE);
    // Five missed and one that is on time, of six an hour in 8,760 hours, without the hour that the clock shows twice, and
    // one for the hour that it skips.
    assert_eq!(chosen.run.len(), 6);
    assert_eq!(chosen.run.last(), Some(&now));
    assert_eq!(chosen.dropped, 6 * 8_759 + 1 - 6);
}

#[test]
fn jitter_is_the_same_every_time_and_spreads_schedules_and_nights() {
    let hour = Duration::from_secs(3_600);
    let due = at("2026-11-20T02:00:00Z");
    assert_eq!(jitter("nightly", due, hour), jitter("nightly", due, hour));
    assert_eq!(jitter("nightly", due, Duration::ZERO), Duration::ZERO);
    assert!(jitter("nightly", due, Duration::MAX) <= Duration::MAX);

    let quarters: Vec<u128> =
        (0..400).map(|number| jitter(&format!("schedule {number}"), due, hour).as_millis() / 900_001).collect();
    for quarter in 0..4 {
        let count = quarters.iter().filter(|other| **other == quarter).count();
        assert!((60..=140).contains(&count), "{count} of 400 in quarter {quarter}");
    }
    let nights: std::collections::BTreeSet<_> = nights(50).iter().map(|due| jitter("nightly", *due, hour)).collect();
    assert_eq!(nights.len(), 50);
    assert!(nights.iter().all(|wait| *wait <= hour));
}

#[test]
fn jitter_is_the_share_of_the_bound_that_the_hash_says() {
    // Python: int.from_bytes(sha256(struct.pack(">q", 1763604000000) + b"nightly").digest()[:8]) * 3600001 >> 64
    let waits = jitter("nightly", at("2025-11-20T02:00:00Z"), Duration::from_secs(3_600));
    assert_eq!(waits, Duration::from_millis(3_142_819));
}
