//! What every database must do with events, their records, media and problems: each function of the store on both.

mod bulk;
mod deletion;
mod deliveries;
mod events;
mod media;
mod migrations;
mod problems;
mod records;
mod references;
mod schedules;
mod statements;

use std::collections::BTreeMap;

use chrono::TimeDelta;
use eventferry::clock::Timestamp;
use eventferry::db::{Arg, Column, ColumnType, Database, FromColumn, Sql, Tx};
use eventferry::model::report::{ArchiveReport, Datasets, EventReport, LinkCounts, MediaCounts, REPORT_VERSION};
use eventferry::model::{Dataset, JobId, JobState, Report};
use eventferry::store;
use eventferry::store::jobs::{JobKind, NewJob};
use eventferry::store::records::{NewRecord, Writing};
use uuid::Uuid;

/// Datasets whose records belong to an event.
fn of_events() -> impl Iterator<Item = Dataset> {
    Dataset::ALL.into_iter().filter(|dataset| *dataset != Dataset::Event)
}

fn job(number: u128) -> JobId {
    JobId(Uuid::from_u128(0x0193_5000_0000_7000_8000_0000_0000_0000 + number))
}

fn start() -> Timestamp {
    "2026-11-22T04:00:00.125Z".parse().unwrap()
}

fn after(seconds: i64) -> Timestamp {
    start() + TimeDelta::seconds(seconds)
}

/// Job 1 writes into an event.
fn writing(event_id: i64) -> Writing {
    Writing { event_id, job: job(1), now: start() }
}

/// Job 2 writes into an event, a minute later.
fn writing_later(event_id: i64) -> Writing {
    Writing { event_id, job: job(2), now: after(60) }
}

/// A job of an account that has put these bytes into an event.
fn imported(account: &str, event_id: i64, sha256: &str, number: u128) -> Report {
    Report {
        version: REPORT_VERSION,
        job: job(number),
        state: JobState::Succeeded,
        summary: String::new(),
        account: account.to_owned(),
        archive: ArchiveReport { name: "harbour.zip".to_owned(), sha256: Some(sha256.to_owned()), bytes: 1 },
        event: Some(EventReport { id: event_id, name: String::new(), created: false }),
        related_job: None,
        datasets: Datasets::default(),
        links: LinkCounts::default(),
        media: MediaCounts::default(),
        problems: Vec::new(),
        problem_counts: BTreeMap::new(),
        started: start(),
        finished: start(),
    }
}

async fn insert_job(database: &Database, number: u128) {
    let job = NewJob {
        id: job(number),
        kind: JobKind::Import,
        account: "harbour".to_owned(),
        archive_name: "harbour.zip".to_owned(),
        archive_bytes: 1,
        source_key: None,
        again: false,
        retry_of: None,
        with_handlers: None,
        created_at: start(),
    };
    store::jobs::insert(database, &job).await.unwrap();
}

/// Nothing, as a column of this kind holds it.
fn nothing(kind: ColumnType) -> Arg {
    match kind {
        ColumnType::Int => Arg::Int(None),
        ColumnType::Real => Arg::Real(None),
        ColumnType::Text => Arg::Text(None),
        ColumnType::Bool => Arg::Bool(None),
        ColumnType::Instant => Arg::Instant(None),
        ColumnType::Json => Arg::Json(None),
    }
}

/// A record without any value; its hash is `hash of ID`.
fn blank(dataset: Dataset, id: i64, source_id: &str) -> NewRecord {
    NewRecord {
        id,
        source_id: source_id.to_owned(),
        cells: store::records::field_columns(dataset).iter().map(|column| nothing(column.kind)).collect(),
        extra: "{}".to_owned(),
        content_hash: format!("hash of {id}"),
    }
}

/// The record with another value in a column.
fn with(dataset: Dataset, mut record: NewRecord, column: &str, value: impl Into<Arg>) -> NewRecord {
    record.cells[index_of(dataset, column)] = value.into();
    record
}

fn index_of(dataset: Dataset, column: &str) -> usize {
    let has_name = |known: &Column| known.name == column;
    store::records::field_columns(dataset)
        .iter()
        .position(has_name)
        .unwrap_or_else(|| panic!("no `{column}` in {dataset}"))
}

/// Writes an event of account `harbour` from `https://events.example.org`; gives its id.
async fn insert_event(tx: &mut Tx, source_id: &str) -> i64 {
    let id = store::records::take_ids(tx, "events", 1).await.unwrap();
    let record = blank(Dataset::Event, id, source_id);
    store::records::insert_event(tx, "harbour", "https://events.example.org", job(1), start(), record).await.unwrap();
    id
}

/// As [`insert_event`], committed.
async fn event(database: &Database, source_id: &str) -> i64 {
    let mut tx = database.begin().await.unwrap();
    let id = insert_event(&mut tx, source_id).await;
    tx.commit().await.unwrap();
    id
}

/// Writes a blank record for each source id; gives their ids.
async fn insert_blanks(tx: &mut Tx, dataset: Dataset, event_id: i64, source_ids: &[&str]) -> Vec<i64> {
    let count = source_ids.len() as u64;
    let first = store::records::take_ids(tx, dataset.definition().table, count).await.unwrap();
    let blanks: Vec<NewRecord> =
        (first..).zip(source_ids).map(|(id, source_id)| blank(dataset, id, source_id)).collect();
    let ids = blanks.iter().map(|record| record.id).collect();
    store::records::insert(tx, dataset, &writing(event_id), blanks.into_iter()).await.unwrap();
    ids
}

/// The first column of every row.
async fn column<T: FromColumn>(database: &Database, sql: &str) -> Vec<T> {
    let rows = database.fetch_all(&Sql::built("look at the tables", sql.to_owned()), &[]).await.unwrap();
    rows.iter().map(|row| row.get(0).unwrap()).collect()
}

/// How many rows there are in a table, or in what follows `FROM`.
async fn count(database: &Database, from: &str) -> i64 {
    column(database, &format!("SELECT count(*) FROM {from}")).await[0]
}
