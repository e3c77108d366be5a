//! What handlers are told of the end of a job.

use serde::Serialize;

use super::{Worker, account_of};
use crate::clock::Timestamp;
use crate::db::DbError;
use crate::model::JobId;
use crate::model::handler::{Action, Order};
use crate::model::message::{Envelope, job_kind, job_subject};
use crate::store::deliveries::NewDelivery;
use crate::store::jobs::{self, Lookup};

/// A job that has ended.
pub(super) struct Ended<'a> {
    pub(super) job: JobId,
    pub(super) account: &'a str,
    /// What it is to handlers.
    pub(super) action: Action,
    /// Whether handlers are called, where somebody has said so.
    pub(super) with_handlers: Option<bool>,
    /// The event it was about.
    pub(super) event_id: Option<i64>,
    pub(super) now: Timestamp,
}

impl Worker {
    /// Whether anybody is to be told of an import, and what a command or the archive has said of it.
    pub(super) async fn handlers_of(&self, job: JobId, account: &str) -> Result<Option<bool>, DbError> {
        if self.services.audience.of_account(account).is_empty() {
            return Ok(None);
        }
        match jobs::get(&self.services.database, &job.to_string()).await? {
            Lookup::Found(view) => Ok(view.with_handlers),
            Lookup::Ambiguous(_) | Lookup::Unknown => Ok(None),
        }
    }

    /// The messages about the end of a job.
    pub(super) fn messages_of_end(&self, ended: &Ended<'_>, data: &impl Serialize) -> Vec<NewDelivery> {
        let account = account_of(&self.settings, ended.account);
        if !ended.with_handlers.unwrap_or(account.with_handlers) {
            return Vec::new();
        }
        let told = self.services.audience.of_account(ended.account);
        let told = told.iter().filter(|interest| interest.wants(ended.account, ended.action));
        let message = |interest: &crate::model::handler::Interest| {
            let envelope = Envelope {
                id: self.services.clock.new_id(),
                source: &interest.source,
                kind: job_kind(ended.action),
                subject: job_subject(ended.job),
                time: ended.now,
            };
            let made = envelope.around(data);
            NewDelivery {
                message_id: made.id,
                handler: interest.handler.clone(),
                kind: made.kind,
                order_key: (interest.order == Order::PerRecord).then(|| made.subject.clone()),
                subject: made.subject,
                closes_job: interest.order == Order::PerRecord,
                account: ended.account.to_owned(),
                job: ended.job,
                event_id: ended.event_id,
                body: made.body,
                data: made.data,
                put_aside: None,
                now: ended.now,
            }
        };
        told.map(message).collect()
    }
}
