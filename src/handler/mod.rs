//! Event handlers: messages that were written with the data are delivered, at least once each, and in order where wanted.
//!
//! [`Dispatcher::run`] serves every handler of the configuration. A message is a row (`store::deliveries`); a receiver is
//! a webhook or a program, and what it answers decides what becomes of the row.

mod addresses;
mod dispatch;
mod program;
mod retry;
mod schema;
mod settle;
mod signature;
mod webhook;

use std::time::Duration;

use crate::clock::Clock;
use crate::config::{HandlerEntry, HandlerTarget};
use crate::store::deliveries::DueDelivery;

pub use dispatch::{Dispatcher, Dispatching, Tell};
pub use schema::message_schemas;

use program::Program;
use webhook::Webhook;

/// What came of one try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// The receiver has taken it.
    Delivered,
    /// It has not, or nobody knows. The reason is a clause for people.
    Failed(String),
    /// The receiver wants to be left alone for a while.
    Later(Duration, String),
    /// The receiver wants no more, ever.
    Gone(String),
}

/// Somebody who can be told.
enum Receiver {
    Webhook(Webhook),
    Program(Program),
}

impl Receiver {
    /// A receiver as its configuration describes it.
    fn of(entry: &HandlerEntry, clock: &Clock) -> Result<Self, String> {
        match &entry.target {
            HandlerTarget::Webhook(target) => {
                Webhook::new(target.clone(), entry.concurrency, clock.clone()).map(Self::Webhook)
            }
            HandlerTarget::Program(target) => {
                Ok(Self::Program(Program::new(entry.interest.handler.clone(), target.clone(), clock.clone())))
            }
        }
    }

    async fn deliver(&self, message: &DueDelivery) -> Attempt {
        match self {
            Self::Webhook(webhook) => webhook.deliver(message).await,
            Self::Program(program) => program.deliver(message).await,
        }
    }
}

/// Tells a handler something that has not happened, to see whether it listens. Nothing of it is kept.
pub async fn try_once(entry: &HandlerEntry, clock: &Clock, message: &DueDelivery) -> Attempt {
    match Receiver::of(entry, clock) {
        Ok(receiver) => receiver.deliver(message).await,
        Err(reason) => Attempt::Failed(reason),
    }
}

/// The beginning of what somebody has said, on one line.
fn excerpt(text: &[u8]) -> String {
    const CHARACTERS: usize = 200;
    let shown = crate::fsx::display_bytes(text.trim_ascii());
    let mut cut: String = shown.chars().take(CHARACTERS).collect();
    if cut.len() < shown.len() {
        cut.push('…');
    }
    cut
}
