//! Who refers to whom: duplicates of ids, references that lead nowhere, records to rebuild, links given from both sides.
//!
//! Everything is kept as short records under the digest of an id, sorted and merged; see [`super::scratch`].

use std::collections::HashMap;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::scratch::{Sorted, Sorter, Texts, number_at};
use crate::format::record::{Digest16, digest_of};
use crate::format::{Converted, Ref};
use crate::model::Dataset;
use crate::model::catalogue::Rebuild;

/// A record that is defined: id (16), number (8), rejected (1), name (8), content (16).
const DEFINITION: usize = 49;

/// References to one id under one name: id (16), name (8), first referrer (8), count (8), text (8).
const REFERENCE: usize = 48;

/// A link given from one side: id of the other end (16), its name (8), number of this end (8).
const LINK: usize = 32;

/// What becomes of a record: number (8), verdict (1), which fresh id (8).
const DECISION: usize = 17;

/// References under one id that are counted in memory before they are written.
const GROUPS_IN_MEMORY: usize = 16 * 1024;

const MERGED: u8 = 1;
const RENAMED: u8 = 2;
const REJECTED: u8 = 3;

/// What becomes of a record of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// It goes in under its own id.
    Keep,
    /// It is equal to an earlier one and dropped.
    Merge,
    /// It goes in under its id with `~n` behind it.
    Rename(u64),
    /// It is bad and stays out.
    Reject,
}

/// The first eight bytes of the digest of a name; zero where there is none.
pub(crate) type NameKey = [u8; 8];

pub(crate) fn name_key(name: Option<&str>) -> NameKey {
    let Some(name) = name.filter(|name| !name.is_empty()) else { return [0; 8] };
    let mut key = [0; 8];
    key.copy_from_slice(&digest_of(name)[..8]);
    key
}

/// The id of a record that shares its own with another.
pub(crate) fn fresh_id(id: &str, number: u64) -> String {
    format!("{id}~{number}")
}

/// The records of one dataset while its file is read.
#[derive(Debug)]
pub(crate) struct DefinitionsBuilder {
    definitions: Sorter<DEFINITION>,
    decisions: Sorter<DECISION>,
    ids: Texts,
}

impl DefinitionsBuilder {
    pub(crate) fn new(folder: &Path, dataset: Dataset) -> io::Result<Self> {
        Ok(Self {
            definitions: Sorter::new(folder, &format!("{dataset}.definitions")),
            decisions: Sorter::new(folder, &format!("{dataset}.decisions")),
            ids: Texts::new(folder, &format!("{dataset}.ids"))?,
        })
    }

    /// Adds the next record; records are added in the order of their numbers.
    pub(crate) fn add(&mut self, ordinal: u64, dataset: Dataset, record: &Converted, rejected: bool) -> io::Result<()> {
        let id = record.source_id.as_deref().unwrap_or_default();
        self.ids.push(id)?;
        if record.source_id.is_none() {
            return self.reject(ordinal);
        }
        if rejected {
            self.reject(ordinal)?;
        }
        let mut definition = [0; DEFINITION];
        definition[..16].copy_from_slice(&digest_of(id));
        definition[16..24].copy_from_slice(&ordinal.to_be_bytes());
        definition[24] = u8::from(rejected);
        definition[25..33].copy_from_slice(&name_key(record.name(dataset)));
        definition[33..].copy_from_slice(&record.digest);
        self.definitions.push(definition)
    }

    /// Adds the next record, of which nothing can be told.
    pub(crate) fn add_unreadable(&mut self, ordinal: u64) -> io::Result<()> {
        self.ids.push("")?;
        self.reject(ordinal)
    }

    fn reject(&mut self, ordinal: u64) -> io::Result<()> {
        self.decisions.push(decision(ordinal, REJECTED, 0))
    }

    /// Finds records with the same id; `report` is told of each but the first, with both numbers and whether they are
    /// equal.
    pub(crate) fn finish(
        mut self,
        folder: &Path,
        dataset: Dataset,
        mut report: impl FnMut(&Twin),
    ) -> io::Result<Definitions> {
        self.ids.flush()?;
        let definitions = self.definitions.finish()?;
        let mut aliases = Sorter::new(folder, &format!("{dataset}.aliases"));
        let mut fresh = Sorter::new(folder, &format!("{dataset}.fresh"));
        let mut cursor = definitions.cursor()?;
        while cursor.head().is_some() {
            let group = cursor.take_group(16)?;
            if group.len() < 2 {
                continue;
            }
            let kept: Vec<_> = group.iter().filter(|definition| definition[24] == 0).collect();
            let mut next = 2;
            for (index, definition) in kept.iter().enumerate().skip(1) {
                let ordinal = number_at(definition, 16);
                let earlier = &kept[..index];
                let id = self.ids.get(ordinal)?;
                let equal = earlier.iter().find(|other| other[33..] == definition[33..]);
                let mut twin = Twin { ordinal, earlier: number_at(equal.unwrap_or(&kept[0]), 16), fresh_id: None, id };
                if equal.is_some() {
                    report(&twin);
                    self.decisions.push(decision(ordinal, MERGED, 0))?;
                    continue;
                }
                while !definitions.with_prefix(&digest_of(&fresh_id(&twin.id, next)))?.is_empty() {
                    next += 1;
                }
                twin.fresh_id = Some(fresh_id(&twin.id, next));
                report(&twin);
                self.decisions.push(decision(ordinal, RENAMED, next))?;
                fresh.push(digest_of(&fresh_id(&twin.id, next)))?;
                if earlier.iter().all(|other| other[25..33] != definition[25..33]) {
                    aliases.push(alias(definition, next))?;
                }
                next += 1;
            }
        }
        drop(cursor);
        Ok(Definitions {
            definitions,
            decisions: self.decisions.finish()?,
            aliases: aliases.finish()?,
            fresh: fresh.finish()?,
            ids: self.ids,
        })
    }
}

/// A record that has the id of an earlier one.
#[derive(Debug)]
pub(crate) struct Twin {
    pub(crate) id: String,
    pub(crate) ordinal: u64,
    pub(crate) earlier: u64,
    /// The id under which it goes in; none where it is equal to the earlier one.
    pub(crate) fresh_id: Option<String>,
}

fn decision(ordinal: u64, verdict: u8, number: u64) -> [u8; DECISION] {
    let mut record = [0; DECISION];
    record[..8].copy_from_slice(&ordinal.to_be_bytes());
    record[8] = verdict;
    record[9..].copy_from_slice(&number.to_be_bytes());
    record
}

fn alias(definition: &[u8; DEFINITION], number: u64) -> [u8; 32] {
    let mut record = [0; 32];
    record[..16].copy_from_slice(&definition[..16]);
    record[16..24].copy_from_slice(&definition[25..33]);
    record[24..].copy_from_slice(&number.to_be_bytes());
    record
}

/// The records of one dataset, after its file was read.
#[derive(Debug)]
pub(crate) struct Definitions {
    definitions: Sorted<DEFINITION>,
    decisions: Sorted<DECISION>,
    aliases: Sorted<32>,
    fresh: Sorted<16>,
    ids: Texts,
}

impl Definitions {
    /// Those of a dataset without a file.
    pub(crate) fn none(folder: &Path, dataset: Dataset) -> io::Result<Self> {
        DefinitionsBuilder::new(folder, dataset)?.finish(folder, dataset, |_| {})
    }

    /// What becomes of each record, for whoever walks over them in order.
    pub(crate) fn decisions(&self) -> io::Result<Decisions<'_>> {
        Ok(Decisions { cursor: self.decisions.cursor()? })
    }

    /// What becomes of one record.
    pub(crate) fn decision(&self, ordinal: u64) -> io::Result<Decision> {
        if self.decisions.is_empty() {
            return Ok(Decision::Keep);
        }
        let found = self.decisions.with_prefix(&ordinal.to_be_bytes())?;
        Ok(found.first().map_or(Decision::Keep, read_decision))
    }

    /// The id under which a record goes in.
    pub(crate) fn id_of(&self, ordinal: u64) -> io::Result<String> {
        let id = self.ids.get(ordinal)?;
        Ok(match self.decision(ordinal)? {
            Decision::Rename(number) => fresh_id(&id, number),
            Decision::Keep | Decision::Merge | Decision::Reject => id,
        })
    }

    /// The id that a reference means: that of the record with the name beside it where several share the id.
    pub(crate) fn meant_by(&self, reference: &Ref) -> io::Result<String> {
        if self.aliases.is_empty() || reference.name.is_none() {
            return Ok(reference.id.clone());
        }
        let name = name_key(reference.name.as_deref());
        let aliases = self.aliases.with_prefix(&digest_of(&reference.id))?;
        let found = aliases.iter().find(|alias| alias[16..24] == name);
        Ok(found.map_or_else(|| reference.id.clone(), |alias| fresh_id(&reference.id, number_at(alias, 24))))
    }

    /// Whether the archive has a record that goes in, or would without its errors, under this id.
    pub(crate) fn has(&self, source_id: &str) -> io::Result<bool> {
        let key = digest_of(source_id);
        Ok(!self.definitions.with_prefix(&key)?.is_empty() || !self.fresh.with_prefix(&key)?.is_empty())
    }

    /// Whether a record goes in under this id.
    pub(crate) fn goes_in(&self, source_id: &str) -> io::Result<bool> {
        let key = digest_of(source_id);
        let is_good = self.definitions.with_prefix(&key)?.iter().any(|definition| definition[24] == 0);
        Ok(is_good || !self.fresh.with_prefix(&key)?.is_empty())
    }

    /// The record that a link means; none where there is none, or only rejected ones.
    fn pick(group: &[[u8; DEFINITION]], name: &[u8]) -> Option<u64> {
        let good = || group.iter().filter(|definition| definition[24] == 0);
        let named = good().find(|definition| definition[25..33] == *name);
        named.or_else(|| good().next()).map(|definition| number_at(definition, 16))
    }
}

/// What becomes of each record, asked for in order.
#[derive(Debug)]
pub(crate) struct Decisions<'a> {
    cursor: super::scratch::Cursor<'a, DECISION>,
}

impl Decisions<'_> {
    pub(crate) fn of(&mut self, ordinal: u64) -> io::Result<Decision> {
        while let Some(head) = self.cursor.head() {
            let at = number_at(head, 0);
            if at > ordinal {
                break;
            }
            let decision = read_decision(head);
            if at == ordinal {
                return Ok(decision);
            }
            self.cursor.advance()?;
        }
        Ok(Decision::Keep)
    }
}

fn read_decision(record: &[u8; DECISION]) -> Decision {
    match record[8] {
        MERGED => Decision::Merge,
        RENAMED => Decision::Rename(number_at(record, 9)),
        _ => Decision::Reject,
    }
}

/// The references of one field, while the records that have them are read.
#[derive(Debug)]
pub(crate) struct ReferencesBuilder {
    sorter: Sorter<REFERENCE>,
    groups: HashMap<(Digest16, NameKey), Group>,
    texts: Texts,
    keep_nested: bool,
}

#[derive(Debug)]
struct Group {
    first: u64,
    count: u64,
    text: u64,
}

/// What is kept of a reference, to name it or to rebuild what it means.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ReferenceText {
    pub(crate) id: String,
    pub(crate) name: Option<String>,
    pub(crate) nested: Option<String>,
}

impl ReferencesBuilder {
    /// `keep_nested` says whether records may be rebuilt from the nested objects.
    pub(crate) fn new(folder: &Path, name: &str, keep_nested: bool) -> io::Result<Self> {
        Ok(Self {
            sorter: Sorter::new(folder, &format!("{name}.references")),
            groups: HashMap::new(),
            texts: Texts::new(folder, &format!("{name}.references"))?,
            keep_nested,
        })
    }

    pub(crate) fn add(&mut self, ordinal: u64, reference: &Ref) -> io::Result<()> {
        let key = (digest_of(&reference.id), name_key(reference.name.as_deref()));
        if let Some(group) = self.groups.get_mut(&key) {
            group.count += 1;
            return Ok(());
        }
        let text = ReferenceText {
            id: reference.id.clone(),
            name: reference.name.clone(),
            nested: reference.nested.clone().filter(|_| self.keep_nested),
        };
        let text = self.texts.push(&serde_json::to_string(&text)?)?;
        self.groups.insert(key, Group { first: ordinal, count: 1, text });
        if self.groups.len() >= GROUPS_IN_MEMORY { self.spill() } else { Ok(()) }
    }

    fn spill(&mut self) -> io::Result<()> {
        for ((id, name), group) in self.groups.drain() {
            let mut record = [0; REFERENCE];
            record[..16].copy_from_slice(&id);
            record[16..24].copy_from_slice(&name);
            record[24..32].copy_from_slice(&group.first.to_be_bytes());
            record[32..40].copy_from_slice(&group.count.to_be_bytes());
            record[40..].copy_from_slice(&group.text.to_be_bytes());
            self.sorter.push(record)?;
        }
        Ok(())
    }

    /// Compares the references with the records they mean.
    ///
    /// `may_rebuild` says whether the target's record with this id may be made from nested objects here; `dangling` is
    /// told of each id that leads nowhere, with the number of references.
    pub(crate) fn finish(
        mut self,
        folder: &Path,
        target: Dataset,
        definitions: &mut Definitions,
        mut may_rebuild: impl FnMut(&str) -> io::Result<bool>,
        mut dangling: impl FnMut(ReferenceText, u64) -> io::Result<()>,
    ) -> io::Result<Resolved> {
        self.spill()?;
        self.texts.flush()?;
        let references = self.sorter.finish()?;
        let mut rebuilt = Sorter::new(folder, &format!("{target}.rebuilt"));
        let mut aliases = Sorter::new(folder, &format!("{target}.rebuilt.aliases"));
        let mut fresh = Sorter::new(folder, &format!("{target}.rebuilt.fresh"));
        let mut mismatches = 0;
        let mut cursor = references.cursor()?;
        let mut defined = definitions.definitions.cursor()?;
        while cursor.head().is_some() {
            let mut group = named_groups(cursor.take_group(16)?);
            while defined.head().is_some_and(|definition| definition[..16] < group[0].record[..16]) {
                defined.advance()?;
            }
            let defined_here = if defined.head().is_some_and(|definition| definition[..16] == group[0].record[..16]) {
                defined.take_group(16)?
            } else {
                Vec::new()
            };
            if !defined_here.is_empty() {
                // A record that says no name itself is not named otherwise.
                let has = |name: &[u8]| {
                    defined_here.iter().any(|definition| definition[25..33] == *name || definition[25..33] == [0; 8])
                };
                mismatches += group
                    .iter()
                    .filter(|named| named.record[16..24] != [0; 8] && !has(&named.record[16..24]))
                    .map(|named| named.count)
                    .sum::<u64>();
                continue;
            }
            group.sort_by_key(|named| named.first);
            let mut number = 1;
            let has_name = group.iter().any(|named| named.record[16..24] != [0; 8]);
            let rebuild = has_name && may_rebuild(&reference_text(&self.texts, number_at(&group[0].record, 40))?.id)?;
            for named in group.iter().filter(|named| rebuild && named.record[16..24] != [0; 8]) {
                let mut record = [0; 24];
                record[..8].copy_from_slice(&named.first.to_be_bytes());
                record[8..16].copy_from_slice(&u64::to_be_bytes(number));
                record[16..].copy_from_slice(&named.record[40..]);
                rebuilt.push(record)?;
                let text = reference_text(&self.texts, number_at(&named.record, 40))?;
                if number > 1 {
                    fresh.push(digest_of(&fresh_id(&text.id, number)))?;
                    let mut record = [0; 32];
                    record[..24].copy_from_slice(&named.record[..24]);
                    record[24..].copy_from_slice(&number.to_be_bytes());
                    aliases.push(record)?;
                } else {
                    fresh.push(digest_of(&text.id))?;
                }
                number += 1;
            }
            if number == 1 {
                let count = group.iter().map(|named| named.count).sum();
                dangling(reference_text(&self.texts, number_at(&group[0].record, 40))?, count)?;
            }
        }
        drop(defined);
        merge_into(&mut definitions.aliases, folder, aliases.finish()?)?;
        merge_into(&mut definitions.fresh, folder, fresh.finish()?)?;
        Ok(Resolved { rebuilt: rebuilt.finish()?, texts: self.texts, mismatches })
    }
}

fn reference_text(texts: &Texts, number: u64) -> io::Result<ReferenceText> {
    Ok(serde_json::from_str(&texts.get(number)?)?)
}

struct Named {
    record: [u8; REFERENCE],
    first: u64,
    count: u64,
}

/// Adds up what was written in several goes.
fn named_groups(records: Vec<[u8; REFERENCE]>) -> Vec<Named> {
    let mut groups: Vec<Named> = Vec::new();
    for record in records {
        let (first, count) = (number_at(&record, 24), number_at(&record, 32));
        match groups.last_mut() {
            // Sorted by name and then by the first referrer: the earliest comes first.
            Some(last) if last.record[16..24] == record[16..24] => last.count += count,
            _ => groups.push(Named { record, first, count }),
        }
    }
    groups
}

fn merge_into<const N: usize>(target: &mut Sorted<N>, folder: &Path, more: Sorted<N>) -> io::Result<()> {
    if more.is_empty() {
        return Ok(());
    }
    if target.is_empty() {
        *target = more;
        return Ok(());
    }
    let mut merged = Sorter::new(folder, "merged");
    for list in [&*target, &more] {
        let mut cursor = list.cursor()?;
        while let Some(record) = cursor.head() {
            merged.push(*record)?;
            cursor.advance()?;
        }
    }
    *target = merged.finish()?;
    Ok(())
}

/// The references of a field, compared with the records they mean.
#[derive(Debug)]
pub(crate) struct Resolved {
    rebuilt: Sorted<24>,
    texts: Texts,
    /// References whose nested name is not the record's.
    pub(crate) mismatches: u64,
}

impl Resolved {
    /// Walks over what is to be rebuilt, in the order in which it is first referred to.
    pub(crate) fn each_rebuilt<E: From<io::Error>>(
        &self,
        mut visit: impl FnMut(String, ReferenceText) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut cursor = self.rebuilt.cursor()?;
        while let Some(record) = cursor.head() {
            let text = reference_text(&self.texts, number_at(record, 16))?;
            let id = match number_at(record, 8) {
                1 => text.id.clone(),
                number => fresh_id(&text.id, number),
            };
            visit(id, text)?;
            cursor.advance()?;
        }
        Ok(())
    }
}

/// Links between sessions and speakers, while both files are read.
#[derive(Debug)]
pub(crate) struct LinksBuilder {
    of_sessions: Sorter<LINK>,
    of_speakers: Sorter<LINK>,
    stating_speakers: Sorter<16>,
    sessions_state: bool,
    speakers_state: bool,
}

impl LinksBuilder {
    pub(crate) fn new(folder: &Path) -> Self {
        Self {
            of_sessions: Sorter::new(folder, "links.sessions"),
            of_speakers: Sorter::new(folder, "links.speakers"),
            stating_speakers: Sorter::new(folder, "links.stating"),
            sessions_state: false,
            speakers_state: false,
        }
    }

    /// A speaker's own list of sessions.
    pub(crate) fn speaker_states(&mut self, ordinal: u64, id: Option<&str>, sessions: &[Ref]) -> io::Result<()> {
        self.speakers_state = true;
        if let Some(id) = id {
            self.stating_speakers.push(digest_of(id))?;
        }
        sessions.iter().try_for_each(|session| self.of_speakers.push(link(session, ordinal)))
    }

    /// A speaker's own word that it has no sessions.
    pub(crate) fn speaker_clears(&mut self, id: Option<&str>) -> io::Result<()> {
        id.map_or(Ok(()), |id| self.stating_speakers.push(digest_of(id)))
    }

    /// A session's own list of speakers; speakers are read before sessions.
    pub(crate) fn session_states(&mut self, ordinal: u64, speakers: &[Ref]) -> io::Result<()> {
        self.sessions_state = true;
        if !self.speakers_state {
            return Ok(());
        }
        speakers.iter().try_for_each(|speaker| self.of_sessions.push(link(speaker, ordinal)))
    }

    /// Brings both sides together.
    pub(crate) fn finish(self, folder: &Path, sessions: &Definitions, speakers: &Definitions) -> io::Result<Links> {
        let mut pairs: Sorter<17> = Sorter::new(folder, "links.pairs");
        let mut push = |session: u64, speaker: u64, side: u8| {
            let mut pair = [0; 17];
            pair[..8].copy_from_slice(&session.to_be_bytes());
            pair[8..16].copy_from_slice(&speaker.to_be_bytes());
            pair[16] = side;
            pairs.push(pair)
        };
        join(&self.of_sessions.finish()?, sessions, speakers, |session, speaker| push(session, speaker, 0))?;
        join(&self.of_speakers.finish()?, speakers, sessions, |speaker, session| push(session, speaker, 1))?;
        let pairs = pairs.finish()?;
        let mut extra = Sorter::new(folder, "links.extra");
        let (mut only_sessions, mut only_speakers) = (0, 0);
        let mut cursor = pairs.cursor()?;
        while cursor.head().is_some() {
            let group = cursor.take_group(16)?;
            let by_session = group.iter().any(|pair| pair[16] == 0);
            let by_speaker = group.iter().any(|pair| pair[16] == 1);
            if !by_session {
                only_speakers += 1;
                let mut record = [0; 16];
                record.copy_from_slice(&group[0][..16]);
                extra.push(record)?;
            } else if !by_speaker {
                only_sessions += 1;
            }
        }
        drop(cursor);
        let both_state = self.sessions_state && self.speakers_state;
        Ok(Links {
            extra: extra.finish()?,
            stating_speakers: self.stating_speakers.finish()?,
            disagreement: (both_state && only_sessions + only_speakers > 0).then_some((only_sessions, only_speakers)),
        })
    }
}

fn link(to: &Ref, from: u64) -> [u8; LINK] {
    let mut record = [0; LINK];
    record[..16].copy_from_slice(&digest_of(&to.id));
    record[16..24].copy_from_slice(&name_key(to.name.as_deref()));
    record[24..].copy_from_slice(&from.to_be_bytes());
    record
}

/// Gives each pair of numbers whose both ends go in.
fn join(
    links: &Sorted<LINK>,
    from: &Definitions,
    to: &Definitions,
    mut push: impl FnMut(u64, u64) -> io::Result<()>,
) -> io::Result<()> {
    let mut cursor = links.cursor()?;
    let mut defined = to.definitions.cursor()?;
    while let Some(head) = cursor.head().copied() {
        while defined.head().is_some_and(|definition| definition[..16] < head[..16]) {
            defined.advance()?;
        }
        let defined_here = if defined.head().is_some_and(|definition| definition[..16] == head[..16]) {
            defined.take_group(16)?
        } else {
            Vec::new()
        };
        for link in cursor.take_group(16)? {
            let source = number_at(&link, 24);
            let goes_in = match from.decision(source)? {
                Decision::Keep | Decision::Rename(_) => true,
                Decision::Merge | Decision::Reject => false,
            };
            if let Some(target) = Definitions::pick(&defined_here, &link[16..24])
                && goes_in
            {
                push(source, target)?;
            }
        }
    }
    Ok(())
}

/// Links between sessions and speakers.
#[derive(Debug)]
pub(crate) struct Links {
    extra: Sorted<16>,
    stating_speakers: Sorted<16>,
    /// Pairs that only sessions give, and pairs that only speakers give, where both give any.
    pub(crate) disagreement: Option<(u64, u64)>,
}

impl Links {
    /// No links from the speakers' side.
    pub(crate) fn none() -> Self {
        Self { extra: Sorted::empty(), stating_speakers: Sorted::empty(), disagreement: None }
    }

    /// Pairs of numbers (session, speaker) that only speakers give, in the order of the sessions.
    pub(crate) fn extra(&self) -> io::Result<super::scratch::Cursor<'_, 16>> {
        self.extra.cursor()
    }

    /// Whether any speaker lists its sessions.
    pub(crate) fn any_speaker_states(&self) -> bool {
        !self.stating_speakers.is_empty()
    }

    /// Whether the speaker with this id lists its sessions.
    pub(crate) fn speaker_states(&self, source_id: &str) -> io::Result<bool> {
        Ok(!self.stating_speakers.with_prefix(&digest_of(source_id))?.is_empty())
    }
}

/// Whether records of a dataset may be made from nested objects in this archive.
pub(crate) fn may_rebuild(dataset: Dataset, has_file: bool) -> bool {
    match dataset.definition().rebuilt {
        Rebuild::Always => true,
        Rebuild::WithoutFile => !has_file,
        Rebuild::Never => false,
    }
}
