//! `eventferry handlers test`

use std::io::Write;

use serde_json::json;

use super::super::show::safe;
use super::super::{Context, Exit, Failure, Loudness};
use super::{NameArgs, unknown};
use crate::handler::{self, Attempt};
use crate::model::message::Envelope;
use crate::store::deliveries::DueDelivery;

/// The type of a message that means nothing.
const KIND: &str = "eventferry.test.v1";

/// Tells a handler nothing, to see whether it listens.
pub(super) async fn run(args: &NameArgs, context: &Context, out: &mut dyn Write) -> Result<Exit, Failure> {
    let entry = context.settings.handlers.iter().find(|entry| entry.interest.handler == args.name);
    let Some(entry) = entry else { return Err(unknown(&args.name)) };
    let now = context.clock.now();
    let made = Envelope {
        id: context.clock.new_id(),
        source: &entry.interest.source,
        kind: KIND.to_owned(),
        subject: "test".to_owned(),
        time: now,
    }
    .around(&json!({ "handler": entry.interest.handler }));
    let message = DueDelivery {
        id: 0,
        message_id: made.id.to_string(),
        kind: made.kind,
        subject: made.subject,
        job: None,
        body: made.body,
        attempts: 0,
        put_off_since: None,
    };
    let name = safe(&args.name);
    match handler::try_once(entry, &context.clock, &message).await {
        Attempt::Delivered => {
            if context.loudness == Loudness::Normal {
                writeln!(out, "Handler {name} has taken message {} of type `{KIND}`.", message.message_id)?;
            }
            Ok(Exit::AllIn)
        }
        Attempt::Failed(reason) => Err(Failure::could_not_run(format!("handler {name} has not taken it: {reason}"))),
        Attempt::Later(rest, reason) => Err(Failure::could_not_run(format!(
            "handler {name} wants to be left alone for {} s: {reason}",
            rest.as_secs()
        ))),
        Attempt::Gone(reason) => {
            Err(Failure::could_not_run(format!("handler {name} wants no messages, ever: {reason}")))
        }
    }
}
