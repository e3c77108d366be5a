//! The second pass into the database: chunk by chunk, each with its checkpoint, so that a restart goes on after the last.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::FutureExt;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use tokio::sync::mpsc::Receiver;

use super::feed::{self, Chunk, Feed, FeedError, LoadRecord};
use super::head::{EventHead, Head};
use super::outgoing::{self, Listening, Origin};
use super::write::{self, EventState, Memory, Prepared};
use super::{Context, RunError, Services, Target};
use crate::db::Tx;
use crate::model::report::{Datasets, LinkCounts};
use crate::model::{Code, Dataset, Problem};
use crate::pace::Turn;
use crate::signal::FailPoint;
use crate::storage::Stored;
use crate::store::jobs::{self, CheckpointUpdate, Lease};
use crate::store::records;
use crate::store::{deliveries, events, media, problems};

/// Where a load is; written with every chunk.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Version of this format.
    pub version: u32,
    /// What is being done.
    pub stage: Stage,
    /// The next record, problem, or entry of the stage.
    pub next: u64,
    /// The event that the archive goes into.
    pub event: Option<EventPlace>,
    /// What became of the records so far.
    pub datasets: Datasets,
    /// Links so far.
    pub links: LinkCounts,
    /// Whether the event is being taken back: whatever becomes of the job, the rest of it goes first. `next` is then the
    /// last message to handlers that was taken back.
    #[serde(default)]
    pub taking_back: bool,
    /// The last message to handlers that is taken back; those after it tell that records are gone. 0 where that is not
    /// known yet.
    #[serde(default)]
    pub told_last: u64,
    /// Problems of each code, as the check found them whose problem rows are written.
    #[serde(default)]
    pub problem_counts: BTreeMap<Code, u64>,
}

impl Checkpoint {
    /// The same as none: nothing of the job is in the database.
    pub(super) fn is_fresh(&self) -> bool {
        self.stage == Stage::Problems && self.next == 0 && !self.taking_back
    }

    /// Whether something was written into an event that had been there before.
    pub(super) fn has_changed_an_event(&self) -> bool {
        self.stage > Stage::Problems && self.event.as_ref().is_some_and(|event| !event.created)
    }
}

/// The event that an archive goes into.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventPlace {
    /// Its id here.
    pub id: i64,
    /// Whether this job made it.
    pub created: bool,
}

/// What a load does, in this order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Problem rows.
    #[default]
    Problems,
    /// Records of a dataset.
    Records(Dataset),
    /// Marking what is gone from a dataset.
    Gone(Dataset),
    /// Media files.
    Media,
    /// Nothing is left.
    Done,
}

const CHECKPOINT_VERSION: u32 = 1;

/// Problem rows, and records looked at for being gone, in one transaction.
pub(super) const ROWS_AT_ONCE: usize = 1_000;

/// Bytes of messages to handlers that are taken back in one transaction, where they are several: about a large record.
const TOLD_BYTES_AT_ONCE: i64 = 4 * 1024 * 1024;

/// Media files whose rows are written in one transaction.
const MEDIA_AT_ONCE: usize = 20;

/// Loads what the check found good. Returns the last checkpoint.
pub(super) async fn load(
    context: &mut Context<'_>,
    feed: &Arc<Feed>,
    head: &Head,
    target: &Target,
    problems: &[Problem],
    from: Option<Checkpoint>,
) -> Result<Checkpoint, RunError> {
    let mut checkpoint = from.unwrap_or_else(|| begin(feed, target));
    if checkpoint.event.is_none() {
        // Interrupted before its event was made; another import may have made it since.
        checkpoint.event = place_of(target);
    }
    let mut event = EventState {
        was_there: checkpoint.event.as_ref().is_some_and(|event| !event.created),
        has_unresolved: false,
        is_told: false,
    };
    if let Some(place) = checkpoint.event.as_ref().filter(|_| event.was_there) {
        let mut tx = context.database.begin().await?;
        event.has_unresolved = records::has_unresolved(&mut tx, place.id).await?;
        tx.rollback().await?;
    }
    let mut memory = Memory::default();
    feed.archive.begin_pass();
    // A restart may find handlers as far behind as it has left them.
    context.wait_for_handlers().await?;
    loop {
        match checkpoint.stage {
            Stage::Problems => load_problems(context, problems, &mut checkpoint).await?,
            Stage::Records(Dataset::Event) => {
                load_event(context, feed, head, target, &mut checkpoint).await?;
            }
            Stage::Records(dataset) => {
                load_records(context, feed, dataset, event, &mut memory, &mut checkpoint).await?;
            }
            Stage::Gone(dataset) => mark_gone(context, feed, dataset, event, &mut checkpoint).await?,
            Stage::Media => load_media(context, feed, &mut checkpoint).await?,
            Stage::Done => return Ok(checkpoint),
        }
        checkpoint.stage = after(checkpoint.stage);
        checkpoint.next = 0;
    }
}

fn place_of(target: &Target) -> Option<EventPlace> {
    match target {
        Target::New { .. } => None,
        Target::Existing(event) => Some(EventPlace { id: event.id, created: false }),
    }
}

fn begin(feed: &Feed, target: &Target) -> Checkpoint {
    Checkpoint {
        version: CHECKPOINT_VERSION,
        stage: Stage::Problems,
        next: 0,
        event: place_of(target),
        datasets: feed.checked.counts.clone(),
        problem_counts: feed.checked.problems.counts(),
        ..Checkpoint::default()
    }
}

fn after(stage: Stage) -> Stage {
    let following = |dataset: Dataset| Dataset::ALL.into_iter().find(|other| *other > dataset);
    match stage {
        Stage::Problems => Stage::Records(Dataset::Event),
        Stage::Records(dataset) => following(dataset).map_or(Stage::Gone(Dataset::SocialLinks), Stage::Records),
        Stage::Gone(dataset) => following(dataset).map_or(Stage::Media, Stage::Gone),
        Stage::Media | Stage::Done => Stage::Done,
    }
}

/// What a stage does, in lower case.
pub(super) fn phrase(stage: Stage) -> String {
    match stage {
        Stage::Problems => "writing problems".to_owned(),
        Stage::Records(dataset) => format!("importing {}", dataset.plural()),
        Stage::Gone(dataset) => format!("looking for {} that are gone", dataset.plural()),
        Stage::Media => "storing media".to_owned(),
        Stage::Done => "reporting".to_owned(),
    }
}

/// Begins a chunk. Where its event was deleted since the last one, the plan is made anew.
async fn begin_chunk(context: &mut Context<'_>, event: Option<&EventPlace>) -> Result<Tx, RunError> {
    context.chunk_begun = context.clock.monotonic();
    let mut tx = context.database.begin().await?;
    if let Some(event) = event
        && !events::hold(&mut tx, event.id).await?
    {
        tx.rollback().await?;
        return Err(RunError::Replan);
    }
    Ok(tx)
}

/// How far a stage is after a chunk.
#[derive(Clone, Copy, Debug)]
struct Progress {
    /// Records, problems or entries that the chunk has written.
    written: usize,
    /// Those of the stage that are done.
    done: u64,
    /// Those of the stage in all; 0 where that is not known.
    total: u64,
}

/// Ends a chunk: checkpoint, commit, then the pause that lets others have the database.
async fn commit(
    context: &mut Context<'_>,
    mut tx: Tx,
    checkpoint: &Checkpoint,
    progress: Progress,
) -> Result<(), RunError> {
    context.check_source()?;
    let update = CheckpointUpdate {
        stage: phrase(checkpoint.stage),
        stage_done: progress.done,
        stage_total: progress.total,
        checkpoint: serde_json::to_string(checkpoint).map_err(std::io::Error::from)?,
        event_id: checkpoint.event.as_ref().map(|event| event.id),
        event_created: checkpoint.event.as_ref().is_some_and(|event| event.created),
    };
    let cancel = jobs::checkpoint(&mut tx, &context.lease, &update).await?;
    context.signals.reach(FailPoint::ChunkBeforeCommit)?;
    tx.commit().await?;
    context.signals.reach(FailPoint::ChunkAfterCommit)?;
    context.report_progress(&update);
    if cancel.0 {
        return Err(RunError::Cancelled);
    }
    context.between_chunks(progress.written).await
}

async fn load_problems(
    context: &mut Context<'_>,
    problems: &[Problem],
    checkpoint: &mut Checkpoint,
) -> Result<(), RunError> {
    let total = problems.len();
    let mut next = usize::try_from(checkpoint.next).unwrap_or(total);
    while next < total {
        let end = (next + ROWS_AT_ONCE).min(total);
        let mut tx = begin_chunk(context, None).await?;
        problems::insert(&mut tx, context.lease.job, next as u64 + 1, &problems[next..end]).await?;
        let progress = Progress { written: end - next, done: end as u64, total: total as u64 };
        next = end;
        checkpoint.next = next as u64;
        commit(context, tx, checkpoint, progress).await?;
    }
    Ok(())
}

/// The event is made, or changed, in a chunk of its own, before everything that hangs on it.
async fn load_event(
    context: &mut Context<'_>,
    feed: &Arc<Feed>,
    head: &Head,
    target: &Target,
    checkpoint: &mut Checkpoint,
) -> Result<(), RunError> {
    if checkpoint.next > 0 {
        return Ok(());
    }
    let mut chunks = feed::start(feed, Dataset::Event, 0, context.chunk_size());
    let mut record = None;
    while let Some(chunk) = chunks.recv().await {
        let chunk = chunk?;
        record = chunk.records.into_iter().next().or(record);
        if chunk.is_last {
            break;
        }
    }
    let Some(record) = record else { return Ok(()) };
    let mut tx = begin_chunk(context, checkpoint.event.as_ref()).await?;
    let counts = checkpoint.datasets.entry(Dataset::Event).or_default();
    match (&checkpoint.event, target, &head.event) {
        (None, Target::New { .. }, Some(source)) => {
            make_sure_it_is_new(context, &mut tx, head, source, target).await?;
            let id = records::take_ids(&mut tx, Dataset::Event.definition().table, 1).await?;
            let row = write::event_row(id, &record);
            let created = context.is_told().then(|| write::created_change(Dataset::Event, &row, &[]));
            let account = context.account;
            records::insert_event(&mut tx, &account.name, &head.root_url, context.lease.job, context.clock.now(), row)
                .await?;
            events::add_owner(
                &mut tx,
                id,
                &account.name,
                account.email.as_ref().map(ToString::to_string).as_deref(),
                Some(account.display_name.as_str()),
                context.clock.now(),
            )
            .await?;
            counts.created += 1;
            checkpoint.event = Some(EventPlace { id, created: true });
            write::event_media(&mut tx, &context.writing(id), id, &record).await?;
            context.tell(&mut tx, id, created.as_slice()).await?;
        }
        (Some(place), _, _) => {
            let writing = context.writing(place.id);
            let written = write::write_event(&mut tx, feed, &writing, target, context.is_told(), record).await?;
            context.tell(&mut tx, place.id, &written.changes).await?;
            counts.updated += written.counts.updated;
            counts.unchanged += written.counts.unchanged;
        }
        (None, _, _) => return Err(RunError::Replan),
    }
    checkpoint.next = 1;
    commit(context, tx, checkpoint, Progress { written: 1, done: 1, total: 1 }).await
}

/// Another import may have made the event since the plan: then the plan is made anew.
async fn make_sure_it_is_new(
    context: &Context<'_>,
    tx: &mut Tx,
    head: &Head,
    source: &EventHead,
    target: &Target,
) -> Result<(), RunError> {
    let there = events::candidates_locked(
        tx,
        &context.account.name,
        &head.root_url,
        &source.source_id,
        source.identifier.as_deref(),
    )
    .await?;
    match super::plan::choose(&there, source, context.on_existing) {
        Ok(now) if now == *target => Ok(()),
        Ok(_) | Err(_) => Err(RunError::Replan),
    }
}

async fn load_records(
    context: &mut Context<'_>,
    feed: &Arc<Feed>,
    dataset: Dataset,
    event: EventState,
    memory: &mut Memory,
    checkpoint: &mut Checkpoint,
) -> Result<(), RunError> {
    let Some(place) = checkpoint.event.clone() else { return Err(RunError::Replan) };
    let counts = feed.checked.counts.get(&dataset).copied().unwrap_or_default();
    let total = counts.read + counts.rebuilt;
    if total == 0 || checkpoint.next >= total {
        return Ok(());
    }
    let mut ahead = Ahead::new(feed::start(feed, dataset, checkpoint.next, context.chunk_size()));
    let mut following = ahead.next(context.chunk_records(), memory).await?;
    while let Some(mut chunk) = following {
        // The bounds may have changed since it was prepared.
        ahead.put_back(chunk.keep(context.chunk_records()));
        let (written, next) = (chunk.len(), ahead.next_ordinal());
        let mut tx = begin_chunk(context, Some(&place)).await?;
        let (writing, event) = (context.writing(place.id), EventState { is_told: context.is_told(), ..event });
        let outcome = write::write(&mut tx, feed, dataset, &writing, event, memory, chunk).await?;
        context.tell(&mut tx, place.id, &outcome.changes).await?;
        let counts = checkpoint.datasets.entry(dataset).or_default();
        counts.created += outcome.counts.created;
        counts.updated += outcome.counts.updated;
        counts.unchanged += outcome.counts.unchanged;
        checkpoint.links.session_speakers += outcome.links.session_speakers;
        checkpoint.links.sessions_with_track += outcome.links.sessions_with_track;
        checkpoint.links.sessions_with_microlocation += outcome.links.sessions_with_microlocation;
        checkpoint.links.sessions_with_session_type += outcome.links.sessions_with_session_type;
        checkpoint.next = next;
        let most = context.chunk_records();
        // The next chunk is prepared while the database waits for the disk; a fault of it is told after the commit.
        let ((), prepared) = futures_util::try_join!(
            commit(context, tx, checkpoint, Progress { written, done: next, total }),
            ahead.next(most, memory).map(Ok)
        )?;
        following = prepared?;
    }
    Ok(())
}

/// Chunks of a dataset as they were read ahead, cut to what may be written at once.
struct Ahead {
    chunks: Receiver<Result<Chunk, FeedError>>,
    /// Read, and not yet given out.
    waiting: Vec<LoadRecord>,
    /// The number of the record after those.
    after: u64,
    is_over: bool,
}

impl Ahead {
    fn new(chunks: Receiver<Result<Chunk, FeedError>>) -> Self {
        Self { chunks, waiting: Vec::new(), after: 0, is_over: false }
    }

    /// Waits for the next records, and gives out at most so many; none after the last.
    async fn next(&mut self, most: usize, memory: &Memory) -> Result<Option<Prepared>, RunError> {
        if self.waiting.is_empty() && !self.is_over {
            let Some(chunk) = self.chunks.recv().await else { return Ok(None) };
            let Chunk { records, next, is_last } = chunk?;
            (self.waiting, self.after, self.is_over) = (records, next, is_last);
        }
        if self.waiting.is_empty() {
            return Ok(None);
        }
        let rest = self.waiting.split_off(most.min(self.waiting.len()));
        let records = std::mem::replace(&mut self.waiting, rest);
        Ok(Some(write::prepare(memory, records)))
    }

    /// Takes records back that were given out last.
    fn put_back(&mut self, mut records: Vec<LoadRecord>) {
        records.append(&mut self.waiting);
        self.waiting = records;
    }

    /// The number of the record after those that are given out.
    fn next_ordinal(&self) -> u64 {
        self.waiting.first().map_or(self.after, |record| record.ordinal)
    }
}

/// Marks records that a dataset does not have any more, where it can tell.
async fn mark_gone(
    context: &mut Context<'_>,
    feed: &Arc<Feed>,
    dataset: Dataset,
    event: EventState,
    checkpoint: &mut Checkpoint,
) -> Result<(), RunError> {
    let Some(place) = checkpoint.event.clone() else { return Ok(()) };
    if !event.was_there || context.is_supplement || !feed.checked.tells_what_is_gone(dataset) {
        return Ok(());
    }
    let Some(definitions) = feed.checked.definitions.get(&dataset) else { return Ok(()) };
    loop {
        let mut tx = begin_chunk(context, Some(&place)).await?;
        let after = i64::try_from(checkpoint.next).unwrap_or(i64::MAX);
        let page = records::page(&mut tx, dataset, place.id, after, ROWS_AT_ONCE as i64).await?;
        let Some(last) = page.last else {
            return Ok(tx.rollback().await?);
        };
        let mut gone = Vec::new();
        for (source_id, id) in page.records {
            if !definitions.has(&source_id)? {
                gone.push((id, source_id));
            }
        }
        checkpoint.next = u64::try_from(last).unwrap_or(0);
        if gone.is_empty() {
            tx.rollback().await?;
            continue;
        }
        let ids: Vec<i64> = gone.iter().map(|(id, _)| *id).collect();
        records::mark_gone(&mut tx, dataset, &context.writing(place.id), &ids).await?;
        if context.is_told() {
            let changes: Vec<_> =
                gone.into_iter().map(|(id, source_id)| outgoing::gone(dataset, id, source_id)).collect();
            context.tell(&mut tx, place.id, &changes).await?;
        }
        checkpoint.datasets.entry(dataset).or_default().gone += ids.len() as u64;
        commit(context, tx, checkpoint, Progress { written: ids.len(), done: 0, total: 0 }).await?;
    }
}

async fn load_media(context: &mut Context<'_>, feed: &Arc<Feed>, checkpoint: &mut Checkpoint) -> Result<(), RunError> {
    let Some(place) = checkpoint.event.clone() else { return Ok(()) };
    let wanted: Vec<usize> = (feed.checked.referenced.iter().enumerate())
        .filter(|(entry, wanted)| **wanted && !feed.checked.damaged.contains_key(entry))
        .map(|(entry, _)| entry)
        .collect();
    let total = wanted.len();
    let mut next = usize::try_from(checkpoint.next).unwrap_or(total);
    while next < total {
        let end = (next + MEDIA_AT_ONCE).min(total);
        let stored = store_entries(context, feed, &wanted[next..end]).await?;
        context.signals.reach(FailPoint::MediaBeforeRow)?;
        let mut tx = begin_chunk(context, Some(&place)).await?;
        let writing = context.writing(place.id);
        for (path, file) in &stored {
            media::mark_stored(&mut tx, &writing, path, &file.sha256, file.bytes).await?;
        }
        let progress = Progress { written: end - next, done: end as u64, total: total as u64 };
        next = end;
        checkpoint.next = next as u64;
        commit(context, tx, checkpoint, progress).await?;
    }
    Ok(())
}

async fn store_entries(
    context: &Context<'_>,
    feed: &Arc<Feed>,
    entries: &[usize],
) -> Result<BTreeMap<String, Stored>, RunError> {
    let (feed, store, entries) = (Arc::clone(feed), context.media.clone(), entries.to_vec());
    let stored = tokio::task::spawn_blocking(move || {
        let mut stored = BTreeMap::new();
        for entry in entries {
            let path = feed.archive.entries()[entry].path.clone();
            let changed = |why: String| FeedError::Changed(format!("`{path}` cannot be read any more: {why}"));
            let mut reader = match feed.archive.reader(entry) {
                Ok(reader) => reader,
                Err(crate::archive::ReadError::Io(error)) => return Err(FeedError::Io(error)),
                Err(crate::archive::ReadError::Fault(fault)) => return Err(changed(fault.message)),
            };
            let file = match store.put(&mut reader) {
                Ok(file) => file,
                Err(error) => match crate::archive::fault_of(&error) {
                    Some(fault) => return Err(changed(fault.message.clone())),
                    None => return Err(FeedError::Io(error)),
                },
            };
            stored.insert(path, file);
        }
        Ok(stored)
    });
    Ok(stored.await??)
}

/// Takes back an event that this job made, in chunks. The first says so in the checkpoint and the last leaves a fresh one,
/// so that a restart neither goes on with half an event nor looks for one that is gone. Of an event that somebody else has
/// deleted, only that checkpoint is left to write.
///
/// What handlers were told goes first: messages that nobody can have seen, and of the others it is told that their records
/// are gone. Whoever waits for a turn has it before the next chunk.
pub(super) async fn take_back(
    services: &Services,
    turn: &Mutex<Turn>,
    account: &str,
    lease: &Lease,
    event: &EventPlace,
    from: Option<&Checkpoint>,
) -> Result<(), RunError> {
    let from = from.filter(|from| from.taking_back);
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let (mut told_until, mut told_last) = from.map_or((0, 0), |from| (number(from.next), number(from.told_last)));
    loop {
        turn.lock().await.breathe().await;
        let mut tx = services.database.begin().await?;
        if told_last == 0 {
            told_last = deliveries::last_of_job(&mut tx, lease.job).await?;
        }
        let (rows, bytes) = (ROWS_AT_ONCE as i64, TOLD_BYTES_AT_ONCE);
        let upto = deliveries::some_of_job(&mut tx, lease.job, told_until, told_last, rows, bytes).await?;
        let is_left = match upto {
            Some(upto) => {
                let listening = Listening { interests: services.audience.of_account(account), off: Vec::new() };
                let origin = Origin { account, job: lease.job, event: event.id, clock: &services.clock };
                listening.take_back(&mut tx, &origin, told_until, upto).await?;
                told_until = upto;
                true
            }
            None => events::delete_some(&mut tx, event.id, rows).await?,
        };
        if !is_left {
            problems::delete(&mut tx, lease.job).await?;
        }
        let checkpoint = Checkpoint {
            version: CHECKPOINT_VERSION,
            event: is_left.then(|| event.clone()),
            taking_back: is_left,
            next: if is_left { u64::try_from(told_until).unwrap_or(0) } else { 0 },
            told_last: if is_left { u64::try_from(told_last).unwrap_or(0) } else { 0 },
            ..Checkpoint::default()
        };
        let update = CheckpointUpdate {
            stage: "taking back what was written".to_owned(),
            stage_done: 0,
            stage_total: 0,
            checkpoint: serde_json::to_string(&checkpoint).map_err(std::io::Error::from)?,
            event_id: is_left.then_some(event.id),
            event_created: is_left,
        };
        jobs::checkpoint(&mut tx, lease, &update).await?;
        tx.commit().await?;
        if upto.is_some() {
            services.audience.written.ring();
        }
        services.signals.reach(FailPoint::TakingBackAfterCommit)?;
        if !is_left {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_are_told_in_the_words_of_the_report() {
        let stages = [
            Stage::Records(Dataset::Event),
            Stage::Records(Dataset::Microlocations),
            Stage::Gone(Dataset::CustomForms),
        ];
        assert_eq!(stages.map(phrase), ["importing event", "importing rooms", "looking for form fields that are gone"]);
    }
}
