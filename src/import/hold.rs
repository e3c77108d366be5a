//! What keeps an import from writing though nothing is wrong with it: its hours, and handlers that are behind.

use std::time::Duration;

use chrono::TimeDelta;

use super::outgoing::Listening;
use crate::clock::Timestamp;
use crate::db::{Database, DbError};
use crate::model::JobId;
use crate::model::handler::{Interest, WhenDown};
use crate::model::window::Window;
use crate::model::words::grouped;
use crate::store::deliveries;
use crate::store::handlers::{self, HandlerRow, HandlerState};
use crate::store::jobs::Hold;

/// How long a job keeps its lease while what it waits for does not move; then it waits without one.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// How often what a job waits for is looked at.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How often a job that waits without a lease looks anew.
pub(super) const LOOK_AGAIN: Duration = Duration::from_secs(15);

/// What a look at the handlers of a job has shown.
pub(super) struct Look {
    /// The first that the job has to wait for.
    pub(super) hold: Option<Hold>,
    /// Undelivered messages of the job.
    pub(super) pending: u64,
    /// Handlers that are switched off.
    pub(super) off: Vec<String>,
}

/// Waits for the hours in which imports may write.
pub(super) fn of_window(window: Window) -> Hold {
    Hold { waits_for: format!("its hours ({window})"), detail: Some(format!("they begin at {}", window.begin())) }
}

/// Looks at the handlers that are told of a job.
pub(super) async fn look(
    database: &Database,
    listening: &Listening,
    job: JobId,
    now: Timestamp,
) -> Result<Look, DbError> {
    let backlog = deliveries::backlog(database, job).await?;
    let rows = handlers::all(database).await?;
    let mut hold = None;
    for interest in &listening.interests {
        let pending = backlog.iter().find(|(name, _)| *name == interest.handler).map_or(0, |(_, pending)| *pending);
        let row = rows.iter().find(|row| row.name == interest.handler);
        hold = hold.or_else(|| of_handler(interest, row, pending, now));
    }
    let off = rows.into_iter().filter(|row| row.state == HandlerState::Off).map(|row| row.name).collect();
    Ok(Look { hold, pending: backlog.iter().map(|(_, pending)| pending).sum(), off })
}

/// Whether a job with so many undelivered messages for a handler has to wait for it.
fn of_handler(interest: &Interest, row: Option<&HandlerRow>, pending: u64, now: Timestamp) -> Option<Hold> {
    let undelivered = format!("{} undelivered", grouped(pending));
    let hold =
        |detail: String| Some(Hold { waits_for: format!("handler `{}`", interest.handler), detail: Some(detail) });
    let is_full = pending >= interest.max_pending;
    let Some(row) = row else { return if is_full { hold(undelivered) } else { None } };
    if pending == 0 || row.state == HandlerState::Off {
        return None;
    }
    let since = match row.state {
        HandlerState::Paused => Some(row.state_since),
        HandlerState::On | HandlerState::Off => row.failing_since,
    };
    let down_after = TimeDelta::from_std(interest.down_after).unwrap_or(TimeDelta::MAX);
    let is_down = since.is_some_and(|since| now - since >= down_after);
    if is_down && interest.when_down == WhenDown::GoOn {
        return None;
    }
    let resting = row.rest_until.filter(|until| *until > now);
    match (row.state, resting) {
        (HandlerState::Paused, _) if is_full => hold(format!("which is paused, {undelivered}")),
        (HandlerState::On, Some(until)) => {
            hold(format!("which asks to be left alone until {}, {undelivered}", until.format("%H:%M")))
        }
        (HandlerState::On, None) if is_full => hold(undelivered),
        (HandlerState::On | HandlerState::Paused | HandlerState::Off, _) => None,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed step fails the test")]
mod tests {
    use super::*;
    use crate::model::handler::{Action, Order, Per};

    fn now() -> Timestamp {
        "2026-11-28T14:02:00Z".parse().unwrap()
    }

    fn interest(when_down: WhenDown) -> Interest {
        Interest {
            handler: "tickets".to_owned(),
            accounts: None,
            datasets: None,
            actions: vec![Action::Created],
            per: Per::Record,
            order: Order::PerRecord,
            source: "eventferry".to_owned(),
            max_pending: 1_000,
            when_down,
            down_after: Duration::from_hours(1),
        }
    }

    fn row() -> HandlerRow {
        HandlerRow {
            name: "tickets".to_owned(),
            owner: None,
            epoch: 1,
            beat: 1,
            state: HandlerState::On,
            state_reason: None,
            state_since: now() - TimeDelta::hours(9),
            rest_until: None,
            rest_reason: None,
            failing_since: None,
            failures: 0,
            last_error: None,
            last_delivered_at: None,
        }
    }

    fn detail(when_down: WhenDown, row: &HandlerRow, pending: u64) -> Option<String> {
        let hold = of_handler(&interest(when_down), Some(row), pending, now())?;
        assert_eq!(hold.waits_for, "handler `tickets`");
        hold.detail
    }

    #[test]
    fn an_import_waits_at_its_mark_and_not_before() {
        assert_eq!(detail(WhenDown::Hold, &row(), 999), None);
        assert_eq!(detail(WhenDown::Hold, &row(), 1_000).as_deref(), Some("1,000 undelivered"));
        assert_eq!(
            of_handler(&interest(WhenDown::Hold), None, 1_940, now()).unwrap().detail.unwrap(),
            "1,940 undelivered"
        );
    }

    #[test]
    fn a_receiver_that_wants_a_rest_gets_it_as_soon_as_something_waits_for_it() {
        let resting = HandlerRow { rest_until: Some(now() + TimeDelta::minutes(3)), ..row() };
        let told = "which asks to be left alone until 14:05, 1 undelivered";
        assert_eq!(detail(WhenDown::Hold, &resting, 1).as_deref(), Some(told));
        assert_eq!(detail(WhenDown::Hold, &resting, 0), None);
        let rested = HandlerRow { rest_until: Some(now()), ..row() };
        assert_eq!(detail(WhenDown::Hold, &rested, 1), None);
    }

    #[test]
    fn one_that_is_down_for_long_holds_or_not_as_configured() {
        let since = |minutes| HandlerRow { failing_since: Some(now() - TimeDelta::minutes(minutes)), ..row() };
        assert!(detail(WhenDown::GoOn, &since(59), 1_000).is_some());
        assert_eq!(detail(WhenDown::GoOn, &since(60), 1_000), None);
        assert!(detail(WhenDown::Hold, &since(600), 1_000).is_some());
        let paused = HandlerRow { state: HandlerState::Paused, ..row() };
        assert_eq!(detail(WhenDown::Hold, &paused, 1_000).as_deref(), Some("which is paused, 1,000 undelivered"));
        assert_eq!(detail(WhenDown::GoOn, &paused, 1_000), None);
        assert_eq!(detail(WhenDown::Hold, &HandlerRow { state: HandlerState::Off, ..row() }, 1_000), None);
    }
}
