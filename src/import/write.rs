//! One chunk in one transaction: rows, links, media rows, references that wait.

use std::collections::{HashMap, HashSet};

use super::Target;
use super::cells::{Targets, overlay, overlay_extra, push_cells};
use super::feed::{Feed, LoadMedia, LoadRecord, is_list};
use super::outgoing::{self, Changed};
use crate::db::{Arg, DbError, Tx};
use crate::format::FieldValue;
use crate::format::record::{Digest16, digest_of};
use crate::model::Dataset;
use crate::model::catalogue::FieldKind;
use crate::model::handler::Change;
use crate::model::message::RecordChange;
use crate::model::report::{DatasetCounts, LinkCounts};
use crate::store::media::{self, KnownFiles, MediaReference, MediaState};
use crate::store::records::{self, Existing, NewRecord, Resolved, Stored, Unresolved, Writing};

/// Most ids that are remembered between chunks, at 28 bytes each.
const REMEMBERED: usize = 110_000;

/// The ids here of records that later ones are likely to refer to, by dataset and the digest of the source id.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    ids: HashMap<Dataset, HashMap<Digest16, i64>>,
    count: usize,
}

/// How the records of an event are to be met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EventState {
    /// Whether the event was there before this job: only then can any of its records be.
    pub(crate) was_there: bool,
    /// Whether references wait for records to arrive.
    pub(crate) has_unresolved: bool,
    /// Whether handlers are told of changes.
    pub(crate) is_told: bool,
}

/// What became of a chunk.
#[derive(Clone, Debug, Default)]
pub(crate) struct Written {
    pub(crate) counts: DatasetCounts,
    pub(crate) links: LinkCounts,
    /// What handlers are told; empty where they are not.
    pub(crate) changes: Vec<Changed>,
}

/// The speakers of a session, or the sessions of a speaker that were there before.
#[derive(Debug, Default)]
struct Linked {
    is_changed: bool,
    before: Vec<i64>,
    now: Vec<i64>,
}

/// What a record says after a change.
struct Rewritten {
    cells: Vec<Arg>,
    extra: String,
    stored: Vec<Arg>,
    stored_extra: String,
}

impl Memory {
    fn remember(&mut self, dataset: Dataset, source_id: &str, id: i64) {
        if self.count >= REMEMBERED {
            *self = Self::default();
        }
        let before = self.ids.entry(dataset).or_default().insert(digest_of(source_id), id);
        self.count += usize::from(before.is_none());
    }

    fn get(&self, dataset: Dataset, source_id: &str) -> Option<i64> {
        self.ids.get(&dataset)?.get(&digest_of(source_id)).copied()
    }
}

/// Records of a chunk with what is remembered of the records that they refer to.
#[derive(Debug)]
pub(crate) struct Prepared {
    records: Vec<LoadRecord>,
    targets: Targets,
    /// Ids to ask the database for.
    asked: HashMap<Dataset, Vec<String>>,
}

impl Prepared {
    /// How many records there are.
    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }

    /// Keeps at most so many records, and gives the others.
    pub(crate) fn keep(&mut self, most: usize) -> Vec<LoadRecord> {
        self.records.split_off(most.min(self.records.len()))
    }
}

/// Finds out of memory what the records of a chunk refer to: all that can be done before its transaction.
pub(crate) fn prepare(memory: &Memory, records: Vec<LoadRecord>) -> Prepared {
    let mut wanted: HashMap<Dataset, HashSet<&str>> = HashMap::new();
    for record in &records {
        for (_, target, ids) in &record.references {
            wanted.entry(*target).or_default().extend(ids.iter().map(String::as_str));
        }
        if !record.extra_speakers.is_empty() {
            wanted.entry(Dataset::Speakers).or_default().extend(record.extra_speakers.iter().map(String::as_str));
        }
    }
    let mut targets = Targets::default();
    let mut asked: HashMap<Dataset, Vec<String>> = HashMap::new();
    for (target, ids) in wanted {
        for id in ids {
            match memory.get(target, id) {
                Some(found) => targets.insert(target, id.to_owned(), found),
                None => asked.entry(target).or_default().push(id.to_owned()),
            }
        }
    }
    Prepared { records, targets, asked }
}

/// Writes a chunk; it is in the database when the caller commits.
pub(crate) async fn write(
    tx: &mut Tx,
    feed: &Feed,
    dataset: Dataset,
    writing: &Writing,
    event: EventState,
    memory: &mut Memory,
    chunk: Prepared,
) -> Result<Written, DbError> {
    let Prepared { records: chunk, mut targets, asked } = chunk;
    for (target, ids) in asked {
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        for (source_id, id) in records::ids_of(tx, target, writing.event_id, &ids).await? {
            memory.remember(target, &source_id, id);
            targets.insert(target, source_id, id);
        }
    }
    let existing = if event.was_there {
        let ids: Vec<&str> = chunk.iter().map(|record| record.source_id.as_str()).collect();
        records::existing(tx, dataset, writing.event_id, &ids).await?
    } else {
        HashMap::new()
    };
    let mut writer = Writer { tx, writing, notes: Notes::new(feed, dataset, targets, event.is_told) };
    let (known, new): (Vec<_>, Vec<_>) = chunk.into_iter().partition(|record| existing.contains_key(&record.source_id));
    let created = writer.create(new).await?;
    writer.meet(known, &existing).await?;
    let Notes { mut written, unresolved, .. } = writer.notes;
    records::keep_unresolved(tx, writing.event_id, &unresolved).await?;
    if event.has_unresolved && !created.is_empty() {
        let arrived = created.iter().map(|(source_id, id)| (source_id.as_str(), *id)).collect();
        let resolved = records::resolve_arrived(tx, dataset, writing, &arrived).await?;
        if event.is_told {
            written.changes.extend(resolved_changes(tx, resolved).await?);
        }
    }
    if is_referred_to(dataset) {
        for (source_id, id) in created {
            memory.remember(dataset, &source_id, id);
        }
        for (source_id, existing) in existing {
            memory.remember(dataset, &source_id, existing.id);
        }
    }
    Ok(written)
}

/// A new event as a row.
pub(crate) fn event_row(id: i64, record: &LoadRecord) -> NewRecord {
    let mut cells = Vec::new();
    for (field, value) in Dataset::Event.fields().iter().zip(&record.values) {
        push_cells(&mut cells, field, value.clone(), None);
    }
    NewRecord {
        id,
        source_id: record.source_id.clone(),
        cells,
        extra: record.extra.clone(),
        content_hash: record.content_hash.clone(),
    }
}

/// The media rows of a new event.
pub(crate) async fn event_media(tx: &mut Tx, writing: &Writing, id: i64, record: &LoadRecord) -> Result<(), DbError> {
    media::insert(tx, writing, &media_rows(Dataset::Event, id, record)).await
}

/// Meets the event itself, which is found by the plan and not by its source id.
pub(crate) async fn write_event(
    tx: &mut Tx,
    feed: &Feed,
    writing: &Writing,
    target: &Target,
    is_told: bool,
    record: LoadRecord,
) -> Result<Written, DbError> {
    let content_hash = match target {
        Target::Existing(event) => event.content_hash.clone(),
        Target::New { .. } => String::new(),
    };
    let there = Existing { id: writing.event_id, content_hash, is_gone: false };
    let existing = HashMap::from([(record.source_id.clone(), there)]);
    let mut writer = Writer { tx, writing, notes: Notes::new(feed, Dataset::Event, Targets::default(), is_told) };
    writer.meet(vec![record], &existing).await?;
    Ok(writer.notes.written)
}

fn media_rows(dataset: Dataset, id: i64, record: &LoadRecord) -> Vec<MediaReference> {
    let row = |media: &LoadMedia| MediaReference {
        dataset,
        record_id: id,
        field: media.field.name,
        state: media.state.clone(),
    };
    record.media.iter().map(row).collect()
}

/// Whether the bytes that a field names are those in the store already, whatever their path was.
fn is_stored(id: i64, media: &LoadMedia, files: &KnownFiles) -> bool {
    let stored = files.get(&(id, media.field.name.to_owned())).and_then(Option::as_deref);
    stored.is_some() && stored == media.sha256.as_deref()
}

/// An export gives files other paths: where the bytes are the same, the path that was given first stays.
fn keep_paths(dataset: Dataset, same: &[&str], stored: &[Arg], new: &mut [Arg]) {
    let mut at = 0;
    for field in dataset.fields() {
        if same.contains(&field.name) {
            new[at].clone_from(&stored[at]);
        }
        at += records::columns_of(field).len();
    }
}

fn is_referred_to(dataset: Dataset) -> bool {
    matches!(dataset, Dataset::Microlocations | Dataset::Tracks | Dataset::SessionTypes | Dataset::Speakers)
}

struct Writer<'a> {
    tx: &'a mut Tx,
    writing: &'a Writing,
    notes: Notes<'a>,
}

/// What is found out about the records of a chunk while their rows are written.
struct Notes<'a> {
    feed: &'a Feed,
    dataset: Dataset,
    is_told: bool,
    targets: Targets,
    written: Written,
    unresolved: Vec<Unresolved>,
}

impl Writer<'_> {
    /// Inserts records that are new; returns their ids.
    ///
    /// All that is done for a record is done when its row is asked for, and so beside the writing of those before it.
    async fn create(&mut self, new: Vec<LoadRecord>) -> Result<Vec<(String, i64)>, DbError> {
        if new.is_empty() {
            return Ok(Vec::new());
        }
        let dataset = self.notes.dataset;
        let first = records::take_ids(self.tx, dataset.definition().table, new.len() as u64).await?;
        let mut created = Vec::with_capacity(new.len());
        let mut links = Vec::new();
        let mut files = Vec::new();
        let notes = &mut self.notes;
        notes.written.counts.created += new.len() as u64;
        let rows = (first..).zip(new).map(|(id, record)| {
            notes.note_unresolved(id, &record);
            let speakers = notes.speakers_of(&record);
            notes.count_links(&record, speakers.len() as u64);
            links.extend(speakers.iter().map(|speaker| (id, *speaker)));
            let elsewhere = notes.sessions_elsewhere(&record);
            notes.written.links.session_speakers += elsewhere.len() as u64;
            links.extend(elsewhere.iter().map(|session| (*session, id)));
            files.extend(media_rows(dataset, id, &record));
            created.push((record.source_id.clone(), id));
            let row = row(dataset, &notes.targets, id, record);
            if notes.is_told {
                let listed = if dataset == Dataset::Sessions { &speakers } else { &elsewhere };
                notes.written.changes.push(created_change(dataset, &row, listed));
            }
            row
        });
        records::insert(self.tx, dataset, self.writing, rows).await?;
        records::insert_links(self.tx, &links).await?;
        media::insert(self.tx, self.writing, &files).await?;
        Ok(created)
    }

    /// Compares records with those that are there, and changes what differs.
    async fn meet(&mut self, known: Vec<LoadRecord>, existing: &HashMap<String, Existing>) -> Result<(), DbError> {
        if known.is_empty() {
            return Ok(());
        }
        let ids: Vec<i64> = known.iter().map(|record| existing[&record.source_id].id).collect();
        let names_media = known.iter().any(|record| !record.media.is_empty());
        let files =
            if names_media { media::known(self.tx, self.notes.dataset, &ids).await? } else { KnownFiles::default() };
        let mut linked: HashMap<i64, Vec<(i64, String)>> = HashMap::new();
        if self.notes.dataset == Dataset::Sessions {
            for (session, speaker, source_id) in records::links_of(self.tx, &ids).await? {
                linked.entry(session).or_default().push((speaker, source_id));
            }
        }
        for record in known {
            let there = &existing[&record.source_id];
            let speakers = self.notes.speakers_of(&record);
            let links =
                self.meet_links(there.id, &record, &speakers, linked.remove(&there.id).unwrap_or_default()).await?;
            self.notes.count_links(&record, speakers.len() as u64);
            self.meet_media(there.id, &record, &files).await?;
            let rewritten = if there.content_hash == record.content_hash {
                None
            } else {
                self.change(there.id, record, &files).await?
            };
            if rewritten.is_some() || links.is_changed || there.is_gone {
                self.notes.written.counts.updated += 1;
                if rewritten.is_none() {
                    records::bring_back(self.tx, self.notes.dataset, self.writing, there.id).await?;
                }
                if self.notes.is_told {
                    self.tell_of_update(there, rewritten, &links).await?;
                }
            } else {
                self.notes.written.counts.unchanged += 1;
            }
        }
        Ok(())
    }

    /// Writes a record over the stored one, and says what that has changed, if anything.
    async fn change(&mut self, id: i64, record: LoadRecord, files: &KnownFiles) -> Result<Option<Rewritten>, DbError> {
        let (stored, stored_extra) = records::read(self.tx, self.notes.dataset, id).await?;
        self.notes.note_unresolved(id, &record);
        let media: Vec<_> = media_rows(self.notes.dataset, id, &record);
        let said = record.values.clone();
        let same: Vec<_> =
            record.media.iter().filter(|media| is_stored(id, media, files)).map(|one| one.field.name).collect();
        let mut row = row(self.notes.dataset, &self.notes.targets, id, record);
        keep_paths(self.notes.dataset, &same, &stored, &mut row.cells);
        let cells = overlay(self.notes.dataset, &stored, &said, &row.cells);
        let extra = overlay_extra(&stored_extra, &row.extra);
        let changed = cells != stored || extra != stored_extra;
        for (field, value) in self.notes.dataset.fields().iter().zip(&said) {
            let is_reference = matches!(field.kind, FieldKind::Reference(_) | FieldKind::References(_));
            if is_reference && *value != FieldValue::Absent {
                records::forget_unresolved(self.tx, self.notes.dataset, id, field.name).await?;
            }
        }
        if !changed {
            return Ok(None);
        }
        self.change_media(id, &stored, &cells, media).await?;
        let row = NewRecord { cells: cells.clone(), extra: extra.clone(), ..row };
        records::update(self.tx, self.notes.dataset, self.writing, row).await?;
        Ok(Some(Rewritten { cells, extra, stored, stored_extra }))
    }

    /// Tells what a record says now, and what of it is new.
    async fn tell_of_update(
        &mut self,
        there: &Existing,
        rewritten: Option<Rewritten>,
        links: &Linked,
    ) -> Result<(), DbError> {
        let stored = records::read_whole(self.tx, self.notes.dataset, there.id).await?;
        let (mut changed, mut previous) = match &rewritten {
            Some(new) => {
                outgoing::difference(self.notes.dataset, (&new.stored, &new.stored_extra), (&new.cells, &new.extra))
            }
            None => Default::default(),
        };
        let mut record = outgoing::record_of(self.notes.dataset, &stored.cells, &stored.extra);
        if self.notes.dataset == Dataset::Sessions || links.is_changed {
            let list = list_name(self.notes.dataset);
            record.insert(list.to_owned(), outgoing::list_of(&links.now));
            if links.is_changed {
                changed.push(list.to_owned());
                if self.notes.dataset == Dataset::Sessions {
                    previous.insert(list.to_owned(), outgoing::list_of(&links.before));
                }
            }
        }
        if there.is_gone {
            changed.push("gone_at".to_owned());
        }
        let change = RecordChange {
            action: Change::Updated,
            id: there.id,
            source_id: stored.source_id,
            record: Some(record),
            changed,
            previous,
        };
        self.notes.written.changes.push(Changed { dataset: self.notes.dataset, change });
        Ok(())
    }

    /// Media rows follow the fields that changed; those of the others keep what is known of them.
    async fn change_media(
        &mut self,
        id: i64,
        stored: &[Arg],
        new: &[Arg],
        media: Vec<MediaReference>,
    ) -> Result<(), DbError> {
        let mut at = 0;
        let mut insert = Vec::new();
        for field in self.notes.dataset.fields() {
            let width = records::columns_of(field).len();
            if field.kind == FieldKind::Media && stored[at] != new[at] {
                media::delete(self.tx, self.notes.dataset, id, field.name).await?;
                insert.extend(media.iter().filter(|row| row.field == field.name).cloned());
            }
            at += width;
        }
        media::insert(self.tx, self.writing, &insert).await
    }

    /// A file that was missing so far may be there now, or have other bytes than before.
    async fn meet_media(&mut self, id: i64, record: &LoadRecord, files: &KnownFiles) -> Result<(), DbError> {
        for media in record.media.iter().filter(|media| !is_stored(id, media, files)) {
            let field = media.field.name;
            if let MediaState::Pending { path } = &media.state
                && files.contains_key(&(id, field.to_owned()))
            {
                media::expect(self.tx, self.notes.dataset, self.writing, id, field, path).await?;
            }
        }
        Ok(())
    }

    /// Links change only where the archive states them. `speakers` are sorted.
    async fn meet_links(
        &mut self,
        id: i64,
        record: &LoadRecord,
        speakers: &[i64],
        linked: Vec<(i64, String)>,
    ) -> Result<Linked, DbError> {
        let mut links = Linked::default();
        if self.notes.dataset != Dataset::Sessions {
            let elsewhere = self.notes.sessions_elsewhere(record);
            self.notes.written.links.session_speakers += elsewhere.len() as u64;
            for session in elsewhere {
                links.is_changed |= records::link_once(self.tx, session, id).await?;
                links.now.push(session);
            }
            return Ok(links);
        }
        let session_states = (self.notes.dataset.fields().iter().zip(&record.values))
            .any(|(field, value)| is_list(field) && *value != FieldValue::Absent);
        let stated_links = &self.notes.feed.checked.links;
        for (speaker, source_id) in &linked {
            links.before.push(*speaker);
            let stated = session_states
                || (stated_links.any_speaker_states()
                    && stated_links.speaker_states(source_id).map_err(scratch_failed)?);
            if stated && speakers.binary_search(speaker).is_err() {
                records::delete_link(self.tx, id, *speaker).await?;
                links.is_changed = true;
            } else {
                links.now.push(*speaker);
            }
        }
        let there: HashSet<i64> = linked.iter().map(|(speaker, _)| *speaker).collect();
        let new: Vec<_> =
            (speakers.iter()).filter(|speaker| !there.contains(speaker)).map(|speaker| (id, *speaker)).collect();
        records::insert_links(self.tx, &new).await?;
        links.is_changed |= !new.is_empty();
        links.now.extend(new.into_iter().map(|(_, speaker)| speaker));
        links.now.sort_unstable();
        links.before.sort_unstable();
        Ok(links)
    }
}

impl<'a> Notes<'a> {
    fn new(feed: &'a Feed, dataset: Dataset, targets: Targets, is_told: bool) -> Self {
        Self { feed, dataset, is_told, targets, written: Written::default(), unresolved: Vec::new() }
    }

    /// The sessions in a speaker's list that this archive does not bring, but the database has.
    fn sessions_elsewhere(&self, record: &LoadRecord) -> Vec<i64> {
        let lists =
            record.references.iter().filter(|(field, target, _)| *target == Dataset::Sessions && is_list(field));
        lists
            .flat_map(|(_, _, ids)| ids.iter().filter(|id| !self.comes_later(Dataset::Sessions, id)))
            .filter_map(|id| self.targets.get(Dataset::Sessions, id))
            .collect()
    }

    fn speakers_of(&self, record: &LoadRecord) -> Vec<i64> {
        if self.dataset != Dataset::Sessions {
            return Vec::new();
        }
        let listed = record.references.iter().filter(|(field, _, _)| is_list(field)).flat_map(|(_, _, ids)| ids);
        let mut speakers: Vec<i64> = (listed.chain(&record.extra_speakers))
            .filter_map(|source_id| self.targets.get(Dataset::Speakers, source_id))
            .collect();
        speakers.sort_unstable();
        speakers.dedup();
        speakers
    }

    fn count_links(&mut self, record: &LoadRecord, speakers: u64) {
        let links = &mut self.written.links;
        links.session_speakers += speakers;
        for (field, target, ids) in &record.references {
            let there = ids.iter().any(|id| self.targets.get(*target, id).is_some());
            if is_list(field) || !there {
                continue;
            }
            match target {
                Dataset::Tracks => links.sessions_with_track += 1,
                Dataset::Microlocations => links.sessions_with_microlocation += 1,
                Dataset::SessionTypes => links.sessions_with_session_type += 1,
                _ => {}
            }
        }
    }

    /// Notes the references whose record is not there, and does not come later in this archive.
    fn note_unresolved(&mut self, id: i64, record: &LoadRecord) {
        for (field, target, ids) in &record.references {
            for source_id in ids {
                if self.targets.get(*target, source_id).is_some() || self.comes_later(*target, source_id) {
                    continue;
                }
                self.unresolved.push(Unresolved {
                    target: *target,
                    target_source_id: source_id.clone(),
                    dataset: self.dataset,
                    record_id: id,
                    field: field.name,
                });
            }
        }
    }

    /// Sessions come after the speakers that list them, and bring the link with them.
    fn comes_later(&self, target: Dataset, source_id: &str) -> bool {
        target == Dataset::Sessions
            && self.feed.checked.definitions.get(&target).is_some_and(|of| of.goes_in(source_id).unwrap_or(false))
    }
}

/// The list of links of a dataset, as messages name it.
fn list_name(dataset: Dataset) -> &'static str {
    if dataset == Dataset::Sessions { "speaker_ids" } else { "session_ids" }
}

/// A record that is new, with its speakers or the sessions that were there before it.
pub(crate) fn created_change(dataset: Dataset, row: &NewRecord, listed: &[i64]) -> Changed {
    let mut record = outgoing::record_of(dataset, &row.cells, &row.extra);
    if dataset == Dataset::Sessions || !listed.is_empty() {
        record.insert(list_name(dataset).to_owned(), outgoing::list_of(listed));
    }
    let change = RecordChange {
        action: Change::Created,
        id: row.id,
        source_id: row.source_id.clone(),
        record: Some(record),
        changed: Vec::new(),
        previous: serde_json::Map::new(),
    };
    Changed { dataset, change }
}

/// Records that refer to something since it has arrived.
async fn resolved_changes(tx: &mut Tx, mut resolved: Vec<Resolved>) -> Result<Vec<Changed>, DbError> {
    resolved.sort_unstable();
    resolved.dedup();
    let mut changes = Vec::new();
    for of_record in resolved.chunk_by(|one, next| (one.dataset, one.id) == (next.dataset, next.id)) {
        let Some(Resolved { dataset, id, .. }) = of_record.first().copied() else { continue };
        let Stored { source_id, cells, extra } = records::read_whole(tx, dataset, id).await?;
        let mut record = outgoing::record_of(dataset, &cells, &extra);
        if dataset == Dataset::Sessions {
            let speakers: Vec<i64> = records::links_of(tx, &[id]).await?.into_iter().map(|(_, one, _)| one).collect();
            record.insert(list_name(dataset).to_owned(), outgoing::list_of(&speakers));
        }
        let changed = of_record.iter().map(|one| one.field.unwrap_or_else(|| list_name(dataset)).to_owned()).collect();
        let previous = serde_json::Map::new();
        let action = Change::Updated;
        let change = RecordChange { action, id, source_id, record: Some(record), changed, previous };
        changes.push(Changed { dataset, change });
    }
    Ok(changes)
}

fn row(dataset: Dataset, targets: &Targets, id: i64, record: LoadRecord) -> NewRecord {
    let fields = dataset.fields();
    let mut cells = Vec::with_capacity(fields.len() * 2);
    for (field, value) in fields.iter().zip(record.values) {
        let target = match field.kind {
            FieldKind::Reference(target) => (record.references.iter())
                .find(|(of, _, _)| of.name == field.name)
                .and_then(|(_, _, ids)| targets.get(target, ids.first()?)),
            _ => None,
        };
        push_cells(&mut cells, field, value, target);
    }
    NewRecord { id, source_id: record.source_id, cells, extra: record.extra, content_hash: record.content_hash }
}

fn scratch_failed(error: std::io::Error) -> DbError {
    DbError::disk("read the bookkeeping of the import", error)
}
