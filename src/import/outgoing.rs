//! What handlers are told of a chunk: messages that are written in its transaction.

use serde_json::{Map, Value};

use crate::clock::{Clock, Timestamp};
use crate::db::{Arg, DbError, Tx};
use crate::model::handler::{Change, Interest, Order, Per};
use crate::model::message::{
    ChunkData, Envelope, MESSAGE_BYTES, Made, Message, RecordChange, RecordData, chunk_kind, chunk_subject,
    record_kind, record_subject,
};
use crate::model::{Dataset, JobId};
use crate::store::deliveries::{self, NewDelivery, Told};
use crate::store::records;

/// A change to a record, as handlers are told of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Changed {
    pub(crate) dataset: Dataset,
    pub(crate) change: RecordChange,
}

/// What all messages of a job have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin<'a> {
    pub(crate) account: &'a str,
    pub(crate) job: JobId,
    pub(crate) event: i64,
    pub(crate) clock: &'a Clock,
}

/// Room in a message for all but the changes.
const OVERHEAD: usize = 2 * 1024;

/// Handlers that are told of a job, and those of them that are switched off: their messages are put aside at once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Listening {
    pub(crate) interests: Vec<Interest>,
    pub(crate) off: Vec<String>,
}

impl Listening {
    pub(crate) fn is_empty(&self) -> bool {
        self.interests.is_empty()
    }

    /// Writes the messages about changes, in their order.
    pub(crate) async fn tell(&self, tx: &mut Tx, origin: &Origin<'_>, changes: &[Changed]) -> Result<(), DbError> {
        deliveries::insert(tx, self.messages(origin, changes)).await
    }

    fn messages(&self, origin: &Origin<'_>, changes: &[Changed]) -> Vec<NewDelivery> {
        let now = origin.clock.now();
        let mut messages = Vec::new();
        for interest in &self.interests {
            let wanted = |one: &&Changed| interest.wants_record(origin.account, one.dataset, one.change.action);
            let wanted: Vec<&Changed> = changes.iter().filter(wanted).collect();
            match interest.per {
                Per::Record => messages.extend(wanted.iter().map(|one| self.of_record(interest, origin, one, now))),
                Per::Chunk => {
                    let parts = wanted.chunk_by(|one, next| one.dataset == next.dataset);
                    messages.extend(parts.flat_map(|part| self.of_chunk(interest, origin, part, now)));
                }
            }
        }
        messages
    }

    fn of_record(&self, interest: &Interest, origin: &Origin<'_>, one: &Changed, now: Timestamp) -> NewDelivery {
        let data = RecordData {
            account: origin.account.to_owned(),
            job: origin.job,
            event: origin.event,
            dataset: one.dataset,
            change: one.change.clone(),
        };
        let kind = record_kind(one.dataset, one.change.action);
        let subject = record_subject(origin.event, one.dataset, one.change.id);
        let made = envelope(interest, origin, kind, subject, now).around(&data);
        self.delivery(interest, origin, made, now)
    }

    /// As many changes in each message as fit in. One that fits into none has a message of its own, which refers to it.
    fn of_chunk(
        &self,
        interest: &Interest,
        origin: &Origin<'_>,
        part: &[&Changed],
        now: Timestamp,
    ) -> Vec<NewDelivery> {
        let mut messages = Vec::new();
        let mut records = Vec::new();
        let mut bytes = 0;
        let dataset = part.first().map_or(Dataset::Event, |one| one.dataset);
        let mut send = |records: &mut Vec<RecordChange>| {
            if records.is_empty() {
                return;
            }
            let data = ChunkData {
                account: origin.account.to_owned(),
                job: origin.job,
                event: origin.event,
                dataset,
                records: std::mem::take(records),
            };
            let subject = chunk_subject(origin.event, dataset);
            let made = envelope(interest, origin, chunk_kind(dataset), subject, now).around(&data);
            messages.push(self.delivery(interest, origin, made, now));
        };
        for one in part {
            // A change can always be written as JSON.
            let size = serde_json::to_string(&one.change).map_or(0, |text| text.len() + 1);
            if bytes + size > MESSAGE_BYTES - OVERHEAD {
                send(&mut records);
                bytes = 0;
            }
            bytes += size;
            records.push(one.change.clone());
        }
        send(&mut records);
        messages
    }

    fn delivery(&self, interest: &Interest, origin: &Origin<'_>, made: Made, now: Timestamp) -> NewDelivery {
        let is_off = self.off.contains(&interest.handler);
        NewDelivery {
            message_id: made.id,
            handler: interest.handler.clone(),
            kind: made.kind,
            order_key: (interest.order == Order::PerRecord).then(|| made.subject.clone()),
            subject: made.subject,
            closes_job: false,
            account: origin.account.to_owned(),
            job: origin.job,
            event_id: Some(origin.event),
            body: made.body,
            data: made.data,
            put_aside: is_off.then(|| "the handler was switched off when this was written".to_owned()),
            now,
        }
    }

    /// Takes the messages after `after` and up to `upto` back of a job whose event is taken back: what nobody can have
    /// seen goes, and of what somebody may have seen it is told that it is gone.
    pub(crate) async fn take_back(
        &self,
        tx: &mut Tx,
        origin: &Origin<'_>,
        after: i64,
        upto: i64,
    ) -> Result<(), DbError> {
        let mut messages = Vec::new();
        let now = origin.clock.now();
        for message in deliveries::retract(tx, origin.job, after, upto).await? {
            let Some(interest) = self.interests.iter().find(|interest| interest.handler == message.handler) else {
                continue;
            };
            let created = created_in(&message);
            let gone: Vec<Changed> = created
                .into_iter()
                .filter(|(dataset, _)| interest.wants_record(origin.account, *dataset, Change::Gone))
                .map(|(dataset, change)| gone(dataset, change.id, change.source_id))
                .collect();
            let only = Self { interests: vec![interest.clone()], off: self.off.clone() };
            messages.extend(only.messages(origin, &gone));
        }
        for message in &mut messages {
            message.now = now;
        }
        deliveries::insert(tx, messages).await
    }
}

/// A record that is no longer there.
pub(crate) fn gone(dataset: Dataset, id: i64, source_id: String) -> Changed {
    let change =
        RecordChange { action: Change::Gone, id, source_id, record: None, changed: Vec::new(), previous: Map::new() };
    Changed { dataset, change }
}

/// The records of which a message has told that they are new.
fn created_in(message: &Told) -> Vec<(Dataset, RecordChange)> {
    let content = &message.content;
    let of_record = |data: RecordData| vec![(data.dataset, data.change)];
    let of_chunk = |data: ChunkData| data.records.into_iter().map(|change| (data.dataset, change)).collect();
    let found = match &content.data {
        Some(data) => (serde_json::from_str(data).map(of_record)).or_else(|_| serde_json::from_str(data).map(of_chunk)),
        None => (serde_json::from_str(&content.body).map(|message: Message<RecordData>| message.data.map(of_record)))
            .or_else(|_| {
                serde_json::from_str(&content.body).map(|message: Message<ChunkData>| message.data.map(of_chunk))
            })
            .map(Option::unwrap_or_default),
    };
    // What cannot be read was written by another version; nothing is known of it.
    let mut found: Vec<(Dataset, RecordChange)> = found.unwrap_or_default();
    found.retain(|(_, change)| change.action == Change::Created);
    found
}

fn envelope<'a>(
    interest: &'a Interest,
    origin: &Origin<'_>,
    kind: String,
    subject: String,
    now: Timestamp,
) -> Envelope<'a> {
    Envelope { id: origin.clock.new_id(), source: &interest.source, kind, subject, time: now }
}

/// A record under the names of the columns of its table.
pub(crate) fn record_of(dataset: Dataset, cells: &[Arg], extra: &str) -> Map<String, Value> {
    let columns = records::field_columns(dataset);
    let mut record: Map<String, Value> =
        columns.into_iter().zip(cells).map(|(column, cell)| (column.name, value_of(cell))).collect();
    record.insert("extra".to_owned(), json(extra));
    record
}

/// What a record says otherwise than before: the names of the columns, and what they said.
pub(crate) fn difference(
    dataset: Dataset,
    before: (&[Arg], &str),
    now: (&[Arg], &str),
) -> (Vec<String>, Map<String, Value>) {
    let mut changed = Vec::new();
    let mut previous = Map::new();
    for ((column, old), new) in records::field_columns(dataset).into_iter().zip(before.0).zip(now.0) {
        if old != new {
            previous.insert(column.name.clone(), value_of(old));
            changed.push(column.name);
        }
    }
    if before.1 != now.1 {
        previous.insert("extra".to_owned(), json(before.1));
        changed.push("extra".to_owned());
    }
    (changed, previous)
}

fn value_of(cell: &Arg) -> Value {
    match cell {
        Arg::Int(value) => Value::from(*value),
        Arg::Real(value) => Value::from(*value),
        Arg::Text(value) => Value::from(value.as_deref()),
        Arg::Bool(value) => Value::from(*value),
        Arg::Instant(value) => Value::from(value.map(|at| at.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true))),
        Arg::Json(value) => value.as_deref().map_or(Value::Null, json),
    }
}

/// JSON that is kept as text; what cannot be read as such is told as text.
fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::from(text))
}

/// A list of ids, for a column that is a table of its own.
pub(crate) fn list_of(ids: &[i64]) -> Value {
    Value::from(ids.to_vec())
}
