//! What follows from what a receiver has said: rows of messages and of the handler, and what the admin is told.

use chrono::TimeDelta;

use super::Attempt;
use super::dispatch::{Server, longest};
use super::retry::wait_after;
use crate::clock::Timestamp;
use crate::db::{DbError, Tx};
use crate::model::AdminTrouble;
use crate::model::handler::WhenDown;
use crate::model::words::counted;
use crate::store::deliveries::{self, DueDelivery};
use crate::store::handlers::{self, HandlerRow, HandlerState};
use crate::store::{mails, notifications};

impl Server {
    /// Writes down what came of messages; says whether the admin is told of something.
    pub(super) async fn settle(&self, tx: &mut Tx, row: &HandlerRow, now: Timestamp) -> Result<bool, DbError> {
        let delivered: Vec<i64> = (self.done.iter())
            .filter(|(_, attempt)| *attempt == Attempt::Delivered)
            .map(|(message, _)| message.id)
            .collect();
        if !delivered.is_empty() {
            // Before a receiver that wants no more has everything put aside that is still undelivered.
            deliveries::mark_delivered(tx, &delivered, now).await?;
        }
        let (mut failed, mut dead, mut last_error, mut told) = (0, 0, "", false);
        let known = row.rest_until.filter(|until| *until > now && *until <= now + longest());
        let (mut rest, mut is_put_off) = (known, false);
        for (message, attempt) in &self.done {
            match attempt {
                Attempt::Delivered => {}
                Attempt::Failed(reason) => {
                    (failed, last_error) = (failed + 1, reason.as_str());
                    dead += u64::from(self.settle_failed(tx, message, reason, now).await?);
                }
                Attempt::Later(wait, reason) => {
                    let until = now + TimeDelta::from_std(*wait).unwrap_or_else(|_| longest());
                    (last_error, is_put_off) = (reason, true);
                    dead += u64::from(self.put_off(tx, message, until, reason, now).await?);
                    // The longest wish of those that were under way together counts.
                    if rest.is_none_or(|rest| rest < until) {
                        handlers::rest(tx, self.name(), until, reason).await?;
                        rest = Some(until);
                    }
                }
                Attempt::Gone(reason) => {
                    let why = format!("switched off: {reason}");
                    deliveries::mark_dead(tx, message.id, 1, now, &why).await?;
                    if handlers::set_state(tx, self.name(), HandlerState::Off, Some(reason), now).await? {
                        deliveries::put_all_aside(tx, self.name(), &self.busy(), now, &why).await?;
                        self.tell_of_end(tx, reason, now).await?;
                        told = true;
                    }
                }
            }
        }
        if failed > 0 || is_put_off {
            // One that is always put off takes nothing either, though no try has failed.
            handlers::failed(tx, self.name(), failed, last_error, now).await?;
            if row.failing_since.is_none() {
                tracing::warn!(
                    handler = self.name(),
                    reason = last_error,
                    "a handler does not take messages; they are tried again"
                );
            }
        }
        if dead > 0 {
            tracing::error!(handler = self.name(), messages = dead, reason = last_error, "messages are put aside");
        }
        if !delivered.is_empty() {
            handlers::went_well(tx, self.name(), now).await?;
            if row.failing_since.is_some() && rest.is_none() {
                // It takes messages again: those that were put off while it did not are tried at once.
                deliveries::hurry_once(tx, self.name(), now).await?;
                tracing::info!(handler = self.name(), "a handler takes messages again");
            }
        }
        Ok(told || dead > 0)
    }

    /// Whether it was the last try.
    async fn settle_failed(
        &self,
        tx: &mut Tx,
        message: &DueDelivery,
        reason: &str,
        now: Timestamp,
    ) -> Result<bool, DbError> {
        let tries = u32::try_from(message.attempts).unwrap_or(u32::MAX).saturating_add(1);
        if tries >= self.entry.attempts {
            let tries = counted(tries.into(), "try", "tries");
            let why = format!("given up after {tries}; the last one: {reason}");
            deliveries::mark_dead(tx, message.id, 1, now, &why).await?;
            self.tell_of_dead_letter(tx, message, &why, now).await?;
            return Ok(true);
        }
        let wait = wait_after(tries, &message.message_id);
        let next = now + TimeDelta::from_std(wait).unwrap_or_else(|_| longest());
        deliveries::mark_later(tx, message.id, next, reason).await?;
        tracing::debug!(
            handler = self.name(),
            message.id = message.message_id,
            reason,
            wait_s = wait.as_secs(),
            "put off"
        );
        Ok(false)
    }

    /// What its receiver puts off is no failed try; only time ends that. Whether it has.
    async fn put_off(
        &self,
        tx: &mut Tx,
        message: &DueDelivery,
        until: Timestamp,
        reason: &str,
        now: Timestamp,
    ) -> Result<bool, DbError> {
        let age = (now - message.put_off_since.unwrap_or(now)).to_std().unwrap_or_default();
        if age >= self.entry.give_up_after {
            let why = format!("given up after {} days of being put off; last: {reason}", age.as_secs() / 86_400);
            deliveries::mark_dead(tx, message.id, 0, now, &why).await?;
            self.tell_of_dead_letter(tx, message, &why, now).await?;
            return Ok(true);
        }
        deliveries::put_off(tx, message.id, until, reason, now).await?;
        Ok(false)
    }

    /// A handler that takes nothing for long is told to the admin, once for each time.
    pub(super) async fn tell_if_down(&mut self, row: &HandlerRow, now: Timestamp) -> Result<(), DbError> {
        let Some(since) = row.failing_since else { return Ok(()) };
        let down_after = TimeDelta::from_std(self.entry.interest.down_after).unwrap_or(TimeDelta::MAX);
        if row.state != HandlerState::On || now - since < down_after || self.told_down == Some(since) {
            return Ok(());
        }
        // A second one of the same key, as after a restart, is not kept.
        let subject_key = format!("handler {} down since {}", self.name(), since.timestamp_millis());
        let goes_on = match self.entry.interest.when_down {
            WhenDown::Hold => "Imports that have messages for it wait (`when_down = \"hold\"`).",
            WhenDown::GoOn => "Imports go on without it (`when_down = \"go_on\"`); the messages wait.",
        };
        let trouble = AdminTrouble {
            job: None,
            subject_key,
            title: format!("Handler {} does not answer", self.name()),
            what: format!(
                "The handler `{}` has taken nothing since {} UTC ({} failed tries).",
                self.name(),
                since.format("%Y-%m-%d %H:%M"),
                row.failures
            ),
            why: row.last_error.clone().unwrap_or_else(|| "it is not known why".to_owned()),
            what_now: format!(
                "{goes_on} Look after the receiver; `eventferry handlers show {}` says more, and `eventferry handlers \
                 resume {}` tries at once.",
                self.name(),
                self.name()
            ),
        };
        let mut tx = self.shared.database.begin().await?;
        self.tell(&mut tx, &trouble).await?;
        tx.commit().await?;
        self.told_down = Some(since);
        self.shared.mail_wake.notify_one();
        Ok(())
    }

    /// Once a day and handler.
    async fn tell_of_dead_letter(
        &self,
        tx: &mut Tx,
        message: &DueDelivery,
        why: &str,
        now: Timestamp,
    ) -> Result<(), DbError> {
        let name = self.name();
        let trouble = AdminTrouble {
            job: None,
            subject_key: format!("handler {name} dead letters {}", now.date_naive()),
            title: format!("Handler {name} did not take a message"),
            what: format!("The message `{}` about `{}` was put aside.", message.kind, message.subject),
            why: why.to_owned(),
            what_now: format!(
                "`eventferry handlers show {name}` lists what was put aside, and `eventferry handlers replay --handler \
                 {name}` sends it again. This is told once a day."
            ),
        };
        self.tell(tx, &trouble).await
    }

    async fn tell_of_end(&self, tx: &mut Tx, reason: &str, now: Timestamp) -> Result<(), DbError> {
        let name = self.name();
        tracing::error!(handler = name, reason, "a handler wants no more messages and is switched off");
        let trouble = AdminTrouble {
            job: None,
            subject_key: format!("handler {name} off {}", now.timestamp_millis()),
            title: format!("Handler {name} is switched off"),
            what: format!("The receiver of the handler `{name}` wants no more messages, ever. It is switched off."),
            why: reason.to_owned(),
            what_now: format!(
                "Take it out of the configuration, or mend the receiver: `eventferry handlers resume {name}` switches it \
                 on, and `eventferry handlers replay --handler {name}` sends what was put aside meanwhile."
            ),
        };
        self.tell(tx, &trouble).await
    }

    async fn tell(&self, tx: &mut Tx, trouble: &AdminTrouble) -> Result<(), DbError> {
        let (mail, notification) = (self.shared.tell)(trouble);
        mails::queue(tx, &mail).await?;
        notifications::keep(tx, &notification).await?;
        Ok(())
    }
}
