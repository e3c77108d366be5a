//! Names of time zones as archives write them, and local times in them.

use std::str::FromStr;

use chrono::{DateTime, LocalResult, NaiveDateTime, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;

/// A zone that was recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Zone {
    /// The zone under its canonical name.
    pub zone: Tz,
    /// Whether the name is one that the IANA database knows, or had to be guessed.
    pub certainty: Certainty,
}

/// How sure a zone is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Certainty {
    /// The name is in the IANA database.
    Known,
    /// The name resembles one.
    Guessed,
}

/// Old names and their canonical ones, from the IANA database's file `backward`: `old<blank>canonical` per line.
const LINKS: &str = include_str!("zone_links.txt");

/// Names that are in no database and yet mean one zone.
const HABITS: &[(&str, &str)] = &[
    ("hawaii-aleutian", "Pacific/Honolulu"),
    ("hawaii", "Pacific/Honolulu"),
    ("pacific", "America/Los_Angeles"),
    ("mountain", "America/Denver"),
    ("central", "America/Chicago"),
    ("eastern", "America/New_York"),
    ("pst", "America/Los_Angeles"),
    ("pdt", "America/Los_Angeles"),
    ("edt", "America/New_York"),
    ("cdt", "America/Chicago"),
    ("mdt", "America/Denver"),
    ("cest", "Europe/Berlin"),
    ("bst", "Europe/London"),
    ("ist", "Asia/Kolkata"),
    ("sgt", "Asia/Singapore"),
    ("jst", "Asia/Tokyo"),
];

/// Finds the zone that a name means.
pub fn recognise(name: &str) -> Option<Zone> {
    let name = name.trim();
    if let Ok(zone) = Tz::from_str(name) {
        return Some(Zone { zone: canonical(zone), certainty: Certainty::Known });
    }
    let squeezed: String = name.split_whitespace().collect::<Vec<_>>().join(" ");
    let joined = squeezed.replace(" / ", "/").replace(' ', "_");
    let guess = Tz::from_str_insensitive(&joined)
        .ok()
        .or_else(|| {
            let low = squeezed.to_ascii_lowercase();
            let low = low.strip_suffix(" time").or_else(|| low.strip_suffix(" standard time")).unwrap_or(&low);
            let habit = HABITS.iter().find(|(habit, _)| *habit == low)?;
            Tz::from_str(habit.1).ok()
        })
        // A bare city: the last part of exactly one name.
        .or_else(|| {
            let mut cities = chrono_tz::TZ_VARIANTS
                .iter()
                .filter(|zone| zone.name().rsplit('/').next().is_some_and(|city| city.eq_ignore_ascii_case(&joined)));
            let city = cities.next()?;
            cities.all(|other| canonical(*other) == canonical(*city)).then_some(*city)
        })?;
    Some(Zone { zone: canonical(guess), certainty: Certainty::Guessed })
}

/// The canonical zone of an old name.
fn canonical(zone: Tz) -> Tz {
    LINKS
        .lines()
        .filter_map(|line| line.split_once(' '))
        .find(|(old, _)| *old == zone.name())
        .and_then(|(_, new)| Tz::from_str(new).ok())
        .unwrap_or(zone)
}

/// The instant of a local time. A time that a clock change repeats is its first occurrence, one that it skips is moved
/// on by as much as the clocks are.
pub fn instant_in(zone: Tz, local: NaiveDateTime) -> DateTime<Utc> {
    match zone.from_local_datetime(&local) {
        LocalResult::Single(instant) | LocalResult::Ambiguous(instant, _) => instant.to_utc(),
        LocalResult::None => {
            let before = local - TimeDelta::hours(3);
            match zone.from_local_datetime(&before) {
                LocalResult::Single(instant) | LocalResult::Ambiguous(instant, _) => {
                    instant.to_utc() + TimeDelta::hours(3)
                }
                LocalResult::None => local.and_utc(),
            }
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed step fails the test")]
mod tests {
    use super::*;

    fn found(name: &str) -> (String, Certainty) {
        let zone = recognise(name).unwrap();
        (zone.zone.name().to_owned(), zone.certainty)
    }

    #[test]
    fn old_names_become_canonical_without_a_guess() {
        assert_eq!(found("US/Pacific"), ("America/Los_Angeles".to_owned(), Certainty::Known));
        assert_eq!(found("Asia/Calcutta"), ("Asia/Kolkata".to_owned(), Certainty::Known));
        assert_eq!(found(" Europe/Berlin "), ("Europe/Berlin".to_owned(), Certainty::Known));
        assert_eq!(found("UTC"), ("Etc/UTC".to_owned(), Certainty::Known));
    }

    #[test]
    fn odd_names_are_guessed() {
        assert_eq!(found("US / Pacific"), ("America/Los_Angeles".to_owned(), Certainty::Guessed));
        assert_eq!(found("Hawaii-Aleutian"), ("Pacific/Honolulu".to_owned(), Certainty::Guessed));
        assert_eq!(found("berlin"), ("Europe/Berlin".to_owned(), Certainty::Guessed));
        assert_eq!(recognise("Middle Earth"), None);
        assert_eq!(recognise(""), None);
    }

    #[test]
    fn every_link_leads_to_a_zone_that_is_known() {
        for line in LINKS.lines() {
            let (old, new) = line.split_once(' ').unwrap();
            assert!(Tz::from_str(old).is_ok(), "{old}");
            assert!(Tz::from_str(new).is_ok(), "{new}");
        }
    }

    #[test]
    fn local_times_around_a_clock_change_have_an_instant() {
        let local = |text: &str| text.parse::<NaiveDateTime>().unwrap();
        let at = |text: &str| instant_in(Tz::Europe__Berlin, local(text)).to_rfc3339();
        assert_eq!(at("2018-03-25T02:30:00"), "2018-03-25T01:30:00+00:00");
        assert_eq!(at("2018-10-28T02:30:00"), "2018-10-28T00:30:00+00:00");
        assert_eq!(at("2018-07-01T12:00:00"), "2018-07-01T10:00:00+00:00");
    }
}
