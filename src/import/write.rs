//! One chunk in one transaction: rows, links, media rows, references that wait.

use std::collections::{HashMap, HashSet};

use super::Target;
use super::cells::{Targets, overlay, overlay_extra, push_cells};
use super::feed::{Feed, LoadMedia, LoadRecord, is_list};
use crate::db::{Arg, DbError, Tx};
use crate::format::FieldValue;
use crate::format::record::{Digest16, digest_of};
use crate::model::Dataset;
use crate::model::catalogue::FieldKind;
use crate::model::report::{DatasetCounts, LinkCounts};
use crate::store::media::{self, KnownFiles, MediaReference, MediaState};
use crate::store::records::{self, Existing, NewRecord, Unresolved, Writing};

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
}

/// What became of a chunk.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Written {
    pub(crate) counts: DatasetCounts,
    pub(crate) links: LinkCounts,
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

/// Writes a chunk; it is in the database when the caller commits.
pub(crate) async fn write(
    tx: &mut Tx,
    feed: &Feed,
    dataset: Dataset,
    writing: &Writing,
    event: EventState,
    memory: &mut Memory,
    chunk: Vec<LoadRecord>,
) -> Result<Written, DbError> {
    let targets = targets_of(tx, writing, memory, &chunk).await?;
    let existing = if event.was_there {
        let ids: Vec<&str> = chunk.iter().map(|record| record.source_id.as_str()).collect();
        records::existing(tx, dataset, writing.event_id, &ids).await?
    } else {
        HashMap::new()
    };
    let mut writer =
        Writer { tx, feed, dataset, writing, targets, written: Written::default(), unresolved: Vec::new() };
    let (known, new): (Vec<_>, Vec<_>) = chunk.into_iter().partition(|record| existing.contains_key(&record.source_id));
    let created = writer.create(new).await?;
    writer.meet(known, &existing).await?;
    records::keep_unresolved(writer.tx, writing.event_id, &writer.unresolved).await?;
    let written = writer.written;
    if event.has_unresolved && !created.is_empty() {
        let arrived = created.iter().map(|(source_id, id)| (source_id.as_str(), *id)).collect();
        records::resolve_arrived(tx, dataset, writing, &arrived).await?;
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
    record: LoadRecord,
) -> Result<Written, DbError> {
    let content_hash = match target {
        Target::Existing(event) => event.content_hash.clone(),
        Target::New { .. } => String::new(),
    };
    let there = Existing { id: writing.event_id, content_hash, is_gone: false };
    let existing = HashMap::from([(record.source_id.clone(), there)]);
    let mut writer = Writer {
        tx,
        feed,
        dataset: Dataset::Event,
        writing,
        targets: Targets::default(),
        written: Written::default(),
        unresolved: Vec::new(),
    };
    writer.meet(vec![record], &existing).await?;
    Ok(writer.written)
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

/// Finds the ids here of everything that a chunk refers to.
async fn targets_of(
    tx: &mut Tx,
    writing: &Writing,
    memory: &mut Memory,
    chunk: &[LoadRecord],
) -> Result<Targets, DbError> {
    let mut wanted: HashMap<Dataset, HashSet<&str>> = HashMap::new();
    for record in chunk {
        for (_, target, ids) in &record.references {
            wanted.entry(*target).or_default().extend(ids.iter().map(String::as_str));
        }
        if !record.extra_speakers.is_empty() {
            wanted.entry(Dataset::Speakers).or_default().extend(record.extra_speakers.iter().map(String::as_str));
        }
    }
    let mut targets = Targets::default();
    for (target, ids) in wanted {
        let mut asked = Vec::new();
        for id in ids {
            match memory.get(target, id) {
                Some(found) => targets.insert(target, id.to_owned(), found),
                None => asked.push(id),
            }
        }
        if asked.is_empty() {
            continue;
        }
        for (source_id, id) in records::ids_of(tx, target, writing.event_id, &asked).await? {
            memory.remember(target, &source_id, id);
            targets.insert(target, source_id, id);
        }
    }
    Ok(targets)
}

struct Writer<'a> {
    tx: &'a mut Tx,
    feed: &'a Feed,
    dataset: Dataset,
    writing: &'a Writing,
    targets: Targets,
    written: Written,
    unresolved: Vec<Unresolved>,
}

impl Writer<'_> {
    /// Inserts records that are new; returns their ids.
    async fn create(&mut self, new: Vec<LoadRecord>) -> Result<Vec<(String, i64)>, DbError> {
        if new.is_empty() {
            return Ok(Vec::new());
        }
        let table = self.dataset.definition().table;
        let first = records::take_ids(self.tx, table, new.len() as u64).await?;
        let mut created = Vec::with_capacity(new.len());
        let mut links = Vec::new();
        let mut files = Vec::new();
        for (id, record) in (first..).zip(&new) {
            self.note_unresolved(id, record);
            let speakers = self.speakers_of(record);
            self.count_links(record, speakers.len() as u64);
            links.extend(speakers.iter().map(|speaker| (id, *speaker)));
            let elsewhere = self.sessions_elsewhere(record);
            self.written.links.session_speakers += elsewhere.len() as u64;
            links.extend(elsewhere.into_iter().map(|session| (session, id)));
            files.extend(media_rows(self.dataset, id, record));
            created.push((record.source_id.clone(), id));
        }
        self.written.counts.created += new.len() as u64;
        let rows = (first..).zip(new).map(|(id, record)| row(self.dataset, &self.targets, id, record));
        records::insert(self.tx, self.dataset, self.writing, rows).await?;
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
        let files = if names_media { media::known(self.tx, self.dataset, &ids).await? } else { KnownFiles::default() };
        let mut linked: HashMap<i64, Vec<(i64, String)>> = HashMap::new();
        if self.dataset == Dataset::Sessions {
            for (session, speaker, source_id) in records::links_of(self.tx, &ids).await? {
                linked.entry(session).or_default().push((speaker, source_id));
            }
        }
        for record in known {
            let there = &existing[&record.source_id];
            let speakers = self.speakers_of(&record);
            let links_changed =
                self.meet_links(there.id, &record, &speakers, linked.remove(&there.id).unwrap_or_default()).await?;
            self.count_links(&record, speakers.len() as u64);
            self.meet_media(there.id, &record, &files).await?;
            let changed = there.content_hash != record.content_hash && self.change(there.id, record, &files).await?;
            if changed || links_changed || there.is_gone {
                self.written.counts.updated += 1;
                if !changed {
                    records::bring_back(self.tx, self.dataset, self.writing, there.id).await?;
                }
            } else {
                self.written.counts.unchanged += 1;
            }
        }
        Ok(())
    }

    /// Writes a record over the stored one, and says whether that changed anything.
    async fn change(&mut self, id: i64, record: LoadRecord, files: &KnownFiles) -> Result<bool, DbError> {
        let (stored, stored_extra) = records::read(self.tx, self.dataset, id).await?;
        self.note_unresolved(id, &record);
        let media: Vec<_> = media_rows(self.dataset, id, &record);
        let said = record.values.clone();
        let same: Vec<_> =
            record.media.iter().filter(|media| is_stored(id, media, files)).map(|one| one.field.name).collect();
        let mut row = row(self.dataset, &self.targets, id, record);
        keep_paths(self.dataset, &same, &stored, &mut row.cells);
        let cells = overlay(self.dataset, &stored, &said, &row.cells);
        let extra = overlay_extra(&stored_extra, &row.extra);
        let changed = cells != stored || extra != stored_extra;
        for (field, value) in self.dataset.fields().iter().zip(&said) {
            let is_reference = matches!(field.kind, FieldKind::Reference(_) | FieldKind::References(_));
            if is_reference && *value != FieldValue::Absent {
                records::forget_unresolved(self.tx, self.dataset, id, field.name).await?;
            }
        }
        if changed {
            self.change_media(id, &stored, &cells, media).await?;
            let row = NewRecord { cells, extra, ..row };
            records::update(self.tx, self.dataset, self.writing, row).await?;
        }
        Ok(changed)
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
        for field in self.dataset.fields() {
            let width = records::columns_of(field).len();
            if field.kind == FieldKind::Media && stored[at] != new[at] {
                media::delete(self.tx, self.dataset, id, field.name).await?;
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
                media::expect(self.tx, self.dataset, self.writing, id, field, path).await?;
            }
        }
        Ok(())
    }

    /// Links change only where the archive states them.
    async fn meet_links(
        &mut self,
        id: i64,
        record: &LoadRecord,
        speakers: &[i64],
        linked: Vec<(i64, String)>,
    ) -> Result<bool, DbError> {
        if self.dataset != Dataset::Sessions {
            let mut changed = false;
            let elsewhere = self.sessions_elsewhere(record);
            self.written.links.session_speakers += elsewhere.len() as u64;
            for session in elsewhere {
                changed |= records::link_once(self.tx, session, id).await?;
            }
            return Ok(changed);
        }
        let session_states = (self.dataset.fields().iter().zip(&record.values))
            .any(|(field, value)| is_list(field) && *value != FieldValue::Absent);
        let links = &self.feed.checked.links;
        let mut changed = false;
        for (speaker, source_id) in &linked {
            let stated = session_states
                || (links.any_speaker_states() && links.speaker_states(source_id).map_err(scratch_failed)?);
            if stated && !speakers.contains(speaker) {
                records::delete_link(self.tx, id, *speaker).await?;
                changed = true;
            }
        }
        let new: Vec<_> = (speakers.iter())
            .filter(|speaker| !linked.iter().any(|(there, _)| there == *speaker))
            .map(|speaker| (id, *speaker))
            .collect();
        records::insert_links(self.tx, &new).await?;
        Ok(changed || !new.is_empty())
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
