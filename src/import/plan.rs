//! Into which event an archive goes.

use chrono::TimeDelta;

use super::head::EventHead;
use crate::model::{Code, OnExisting, Problem};
use crate::store::events::EventRow;

/// Where an archive goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// Into a new event.
    New {
        /// Another event that uses the same id.
        warning: Option<Box<Problem>>,
    },
    /// Into this event.
    Existing(Box<EventRow>),
}

/// Two events of one name that start further apart than this are two years' editions.
const SAME_EDITION: TimeDelta = TimeDelta::days(300);

/// Chooses among the events that share server, account, and id or identifier with the archive's.
///
/// Ids and identifiers are copied between real, different events; so name or start must be the same as well.
///
/// # Errors
/// The problem for which the archive is refused.
pub(crate) fn choose(
    candidates: &[EventRow],
    event: &EventHead,
    on_existing: OnExisting,
) -> Result<Target, Box<Problem>> {
    if on_existing == OnExisting::Create {
        return Ok(Target::New { warning: None });
    }
    let same: Vec<&EventRow> = candidates.iter().filter(|candidate| is_same(candidate, event)).collect();
    match same.as_slice() {
        [] => Ok(Target::New { warning: candidates.first().map(|other| Box::new(reused(other, event))) }),
        [one] if on_existing == OnExisting::Update => Ok(Target::Existing(Box::new((*one).clone()))),
        [one] => Err(Box::new(
            Problem::new(
                Code::EventExists,
                format!("the event is there already (event {}), and this account refuses updates", one.id),
                "drop only new events, or ask the admin to set `on_existing` to \"update\"",
            )
            .in_file("event")
            .of_record(&event.source_id),
        )),
        several => {
            let ids: Vec<String> = several.iter().map(|event| event.id.to_string()).collect();
            let example = several.first().map_or(String::new(), |first| naming(first.id));
            Err(Box::new(
                Problem::new(
                    Code::EventAmbiguous,
                    format!("the archive may mean any of the events {}", ids.join(", ")),
                    format!(
                        "add a file `eventferry.json` to the archive that names the right one ({}), such as: {example}",
                        ids.join(" or ")
                    ),
                )
                .in_file("event")
                .of_record(&event.source_id),
            ))
        }
    }
}

/// What `eventferry.json` says to go into this event.
fn naming(id: i64) -> String {
    format!("{{\"event\": {id}}}")
}

fn has_name_of(candidate: &EventRow, event: &EventHead) -> bool {
    candidate.name.as_deref().is_some_and(|name| name.trim() == event.name)
}

fn is_same(candidate: &EventRow, event: &EventHead) -> bool {
    let same_name = has_name_of(candidate, event);
    match (candidate.starts_at, event.starts_at) {
        (Some(one), Some(other)) => (same_name || one == other) && (one - other).abs() < SAME_EDITION,
        (None, None) | (Some(_), None) | (None, Some(_)) => same_name,
    }
}

fn reused(other: &EventRow, event: &EventHead) -> Problem {
    let name = other.name.as_deref().unwrap_or_default();
    let id = other.id;
    let (message, or_else) = if has_name_of(other, event) {
        let apart = SAME_EDITION.num_days();
        (
            format!(
                "event {id} (“{name}”) has the same id and name, but starts {apart} days or more apart: another edition, \
                 which stays as it is"
            ),
            "nothing needs to be done; only if the event was moved by so much",
        )
    } else {
        (
            format!(
                "event {id} (“{name}”) has the same id or identifier, but another name and start: another event, which \
                 stays as it is"
            ),
            "nothing needs to be done; only if it is the same event after all",
        )
    };
    let hint = format!("{or_else}, name it in a file `eventferry.json`: {}", naming(id));
    Problem::new(Code::EventIdReused, message, hint).in_file("event").of_record(&event.source_id)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic, reason = "a failed step fails the test")]
mod tests {
    use super::*;
    use crate::clock::Timestamp;

    fn row(id: i64, name: &str, starts_at: Option<&str>) -> EventRow {
        EventRow {
            id,
            account: "a".to_owned(),
            root_url: String::new(),
            source_id: "1".to_owned(),
            identifier: None,
            name: Some(name.to_owned()),
            starts_at: starts_at.map(at),
            timezone: None,
            content_hash: String::new(),
        }
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn event(name: &str, starts_at: &str) -> EventHead {
        EventHead {
            source_id: "1".to_owned(),
            identifier: None,
            name: name.to_owned(),
            starts_at: Some(at(starts_at)),
            zone: None,
        }
    }

    const MARCH: &str = "2018-03-22T01:30:00Z";

    #[test]
    fn the_same_name_within_a_year_is_the_same_event() {
        let there = row(7, "Summit", Some("2018-05-01T00:00:00Z"));
        let target = choose(std::slice::from_ref(&there), &event("Summit", MARCH), OnExisting::Update);
        assert_eq!(target, Ok(Target::Existing(Box::new(there))));
    }

    #[test]
    fn the_same_start_under_another_name_is_the_same_event() {
        let there = row(7, "Summit (draft)", Some(MARCH));
        let target = choose(std::slice::from_ref(&there), &event("Summit", MARCH), OnExisting::Update);
        assert_eq!(target, Ok(Target::Existing(Box::new(there))));
    }

    #[test]
    fn next_years_edition_is_another_event_and_a_warning() {
        // 300 days later to the second.
        let there = row(7, "Summit", Some("2019-01-16T01:30:00Z"));
        let target = choose(&[there], &event("Summit", MARCH), OnExisting::Update).unwrap();
        let Target::New { warning: Some(problem) } = target else { panic!("{target:?}") };
        assert_eq!(problem.code, Code::EventIdReused);
        let said = "event 7 (“Summit”) has the same id and name, but starts 300 days or more apart";
        assert!(problem.message.starts_with(said), "{}", problem.message);
        assert!(problem.hint.ends_with("in a file `eventferry.json`: {\"event\": 7}"), "{}", problem.hint);
    }

    #[test]
    fn several_that_match_are_an_error_and_several_that_do_not_are_none() {
        let same = row(7, "Summit", Some(MARCH));
        let other = row(8, "Camp", Some("2018-04-01T00:00:00Z"));
        let twin = row(9, "Summit", Some(MARCH));
        let refused = choose(&[same, twin], &event("Summit", MARCH), OnExisting::Update).unwrap_err();
        assert_eq!(refused.code, Code::EventAmbiguous);
        assert!(refused.hint.ends_with("names the right one (7 or 9), such as: {\"event\": 7}"), "{}", refused.hint);
        let target = choose(&[other.clone(), other], &event("Summit", MARCH), OnExisting::Update).unwrap();
        assert!(matches!(target, Target::New { warning: Some(_) }));
    }

    #[test]
    fn the_policy_decides_what_happens_to_a_known_event() {
        let there = row(7, "Summit", None);
        let refused = choose(std::slice::from_ref(&there), &event("Summit", MARCH), OnExisting::Reject).unwrap_err();
        assert_eq!(refused.code, Code::EventExists);
        let target = choose(&[there], &event("Summit", MARCH), OnExisting::Create).unwrap();
        assert_eq!(target, Target::New { warning: None });
    }
}
