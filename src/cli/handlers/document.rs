//! Handlers and messages as programs read them, and in one line for people.

use std::collections::BTreeMap;

use serde::Serialize;

use super::super::show::{Tone, counted, time_and_age};
use crate::clock::Timestamp;
use crate::config::{HandlerEntry, HandlerTarget, Settings};
use crate::db::{Database, DbError};
use crate::store::deliveries::{self, DeliveryState, DeliveryView};
use crate::store::handlers::{self, HandlerRow, HandlerState};

/// A handler as `--json` prints it; fields may be added.
#[derive(Clone, Debug, Serialize)]
pub(in crate::cli) struct HandlerDocument {
    pub(in crate::cli) name: String,
    /// Whether it stands in the configuration; messages of others wait for it to come back.
    pub(in crate::cli) configured: bool,
    /// `webhook` or `program`
    pub(in crate::cli) kind: Option<&'static str>,
    /// The URL without its query, or the path.
    pub(in crate::cli) target: Option<String>,
    /// `on`, `paused` or `off`
    pub(in crate::cli) state: &'static str,
    pub(in crate::cli) state_reason: Option<String>,
    pub(in crate::cli) state_since: Option<Timestamp>,
    /// Until when it wants to be left alone.
    pub(in crate::cli) rest_until: Option<Timestamp>,
    pub(in crate::cli) rest_reason: Option<String>,
    pub(in crate::cli) failing_since: Option<Timestamp>,
    /// Failed tries since then.
    pub(in crate::cli) failures: i64,
    pub(in crate::cli) last_error: Option<String>,
    pub(in crate::cli) last_delivered_at: Option<Timestamp>,
    pub(in crate::cli) undelivered: u64,
    pub(in crate::cli) dead: u64,
    pub(in crate::cli) delivered: u64,
}

/// A message as `--json` prints it; fields may be added.
#[derive(Clone, Debug, Serialize)]
pub(super) struct MessageDocument {
    pub(super) id: String,
    pub(super) handler: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) subject: String,
    pub(super) account: String,
    pub(super) job: String,
    /// `pending`, `delivered` or `dead`
    pub(super) state: &'static str,
    /// Failed tries so far.
    pub(super) attempts: i64,
    pub(super) created_at: Timestamp,
    /// When it is tried next; none where it is settled.
    pub(super) next_attempt_at: Option<Timestamp>,
    /// When it was delivered or put aside.
    pub(super) finished_at: Option<Timestamp>,
    pub(super) last_error: Option<String>,
}

impl From<&DeliveryView> for MessageDocument {
    fn from(view: &DeliveryView) -> Self {
        Self {
            id: view.message_id.clone(),
            handler: view.handler.clone(),
            kind: view.kind.clone(),
            subject: view.subject.clone(),
            account: view.account.clone(),
            job: view.job.clone(),
            state: view.state.as_str(),
            attempts: view.attempts,
            created_at: view.created_at,
            next_attempt_at: (view.state == DeliveryState::Pending).then_some(view.next_attempt_at),
            finished_at: view.finished_at,
            last_error: view.last_error.clone(),
        }
    }
}

/// All handlers: those of the configuration in its order, then those of which something is left.
///
/// # Errors
/// Where the database is out of reach.
pub(in crate::cli) async fn gather(settings: &Settings, database: &Database) -> Result<Vec<HandlerDocument>, DbError> {
    let mut counts: BTreeMap<String, BTreeMap<&'static str, u64>> = BTreeMap::new();
    for (name, state, count) in deliveries::counts(database).await? {
        counts.entry(name).or_default().insert(state.as_str(), count);
    }
    let rows = handlers::all(database).await?;
    let row_of = |name: &str| rows.iter().find(|row| row.name == name);
    let mut documents: Vec<HandlerDocument> = settings
        .handlers
        .iter()
        .map(|entry| document(&entry.interest.handler, Some(entry), row_of(&entry.interest.handler)))
        .collect();
    let left = counts.keys().filter(|name| settings.handlers.iter().all(|entry| entry.interest.handler != **name));
    documents.extend(left.map(|name| document(name, None, row_of(name))));
    for document in &mut documents {
        let count = |state: DeliveryState| {
            counts.get(&document.name).and_then(|of_name| of_name.get(state.as_str())).copied().unwrap_or(0)
        };
        (document.undelivered, document.dead, document.delivered) =
            (count(DeliveryState::Pending), count(DeliveryState::Dead), count(DeliveryState::Delivered));
    }
    Ok(documents)
}

fn document(name: &str, entry: Option<&HandlerEntry>, row: Option<&HandlerRow>) -> HandlerDocument {
    let (kind, target) = match entry.map(|entry| &entry.target) {
        Some(HandlerTarget::Webhook(target)) => {
            let mut url = target.url.clone();
            // It may hold a secret.
            url.set_query(None);
            (Some("webhook"), Some(url.to_string()))
        }
        Some(HandlerTarget::Program(target)) => (Some("program"), Some(target.path.display().to_string())),
        None => (None, None),
    };
    HandlerDocument {
        name: name.to_owned(),
        configured: entry.is_some(),
        kind,
        target,
        state: row.map_or(HandlerState::On, |row| row.state).as_str(),
        state_reason: row.and_then(|row| row.state_reason.clone()),
        state_since: row.map(|row| row.state_since),
        rest_until: row.and_then(|row| row.rest_until),
        rest_reason: row.and_then(|row| row.rest_reason.clone()),
        failing_since: row.and_then(|row| row.failing_since),
        failures: row.map_or(0, |row| row.failures),
        last_error: row.and_then(|row| row.last_error.clone()),
        last_delivered_at: row.and_then(|row| row.last_delivered_at),
        undelivered: 0,
        dead: 0,
        delivered: 0,
    }
}

/// How a handler does, in one line.
pub(in crate::cli) fn state_line(handler: &HandlerDocument, now: Timestamp) -> (String, Tone) {
    let because = |reason: &Option<String>| reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
    let since = |at: Option<Timestamp>| at.map_or_else(String::new, |at| format!(" since {}", time_and_age(at, now)));
    if !handler.configured {
        return ("not in the configuration".to_owned(), Tone::Doubtful);
    }
    if handler.state != HandlerState::On.as_str() {
        let line = format!("{}{}{}", handler.state, since(handler.state_since), because(&handler.state_reason));
        return (line, Tone::Doubtful);
    }
    if let Some(until) = handler.rest_until.filter(|until| *until > now) {
        let line =
            format!("wants to be left alone until {}{}", time_and_age(until, now), because(&handler.rest_reason));
        return (line, Tone::Doubtful);
    }
    if handler.failing_since.is_some() {
        let tries = counted(u64::try_from(handler.failures).unwrap_or(0), "try", "tries");
        let line = format!("failing{} ({tries}){}", since(handler.failing_since), because(&handler.last_error));
        return (line, Tone::Bad);
    }
    ("on".to_owned(), Tone::Good)
}
