//! The records of an archive by their ids: which share one, and what becomes of each.
//!
//! Everything is kept as short records under the digest of an id, sorted and merged; see [`super::scratch`]. The records of
//! one id are never held together, since an archive may give the same one to all of them.

use std::io;
use std::path::Path;

use super::scratch::{Cursor, Sorted, Sorter, Texts, number_at};
use crate::format::record::digest_of;
use crate::format::{Converted, Ref};
use crate::model::Dataset;

/// A record: id (16), rejected (1), number (8), name (8), content (16), position (8). Of one id the good ones come first.
const DEFINITION: usize = 57;

/// A record that shares its id: id (16), name (8), rejected (1), number (8).
const SHARED: usize = 33;

/// A good record that shares its id: id (16), content (16), number (8), name (8), position (8).
const CONTENT: usize = 56;

/// The same in the order of the archive: id (16), number (8), name (8), position (8), then number (8) and position (8) of the
/// first one with its content.
const TWIN: usize = 56;

/// A name under which records share an id: id (16), name (8), which of the ids it means (8).
const ALIAS: usize = 32;

/// What becomes of a record: number (8), verdict (1), which fresh id (8).
const DECISION: usize = 17;

const GOOD: u8 = 0;
const BAD: u8 = 1;

const MERGED: u8 = 1;
const RENAMED: u8 = 2;
const REJECTED: u8 = 3;

/// The first record of an id keeps it; the others get `~2`, `~3` and so on behind it.
const OWN_ID: u64 = 1;

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

pub(super) const NO_NAME: NameKey = [0; 8];

pub(super) fn name_key(name: Option<&str>) -> NameKey {
    let Some(name) = name.filter(|name| !name.is_empty()) else { return NO_NAME };
    let mut key = NO_NAME;
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

    /// Adds the next record with its position in the file; records are added in the order of their numbers.
    pub(crate) fn add(
        &mut self,
        ordinal: u64,
        position: u64,
        dataset: Dataset,
        record: &Converted,
        rejected: bool,
    ) -> io::Result<()> {
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
        definition[16] = if rejected { BAD } else { GOOD };
        definition[17..25].copy_from_slice(&ordinal.to_be_bytes());
        definition[25..33].copy_from_slice(&name_key(record.name(dataset)));
        definition[33..49].copy_from_slice(&record.digest());
        definition[49..].copy_from_slice(&position.to_be_bytes());
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

    /// Finds records with the same id; `report` is told of each but the first.
    pub(crate) fn finish(
        mut self,
        folder: &Path,
        dataset: Dataset,
        mut report: impl FnMut(&Twin),
    ) -> io::Result<Definitions> {
        self.ids.flush()?;
        let definitions = self.definitions.finish()?;
        let (shared, contents) = sharing(&definitions, folder, dataset)?;
        let twins = in_order(&contents, folder, dataset)?;
        let mut aliases = Sorter::new(folder, &format!("{dataset}.aliases"));
        let mut fresh = Sorter::new(folder, &format!("{dataset}.fresh"));
        let mut cursor = twins.cursor()?;
        while let Some(first) = cursor.take()? {
            aliases.push(alias(&first[..16], &first[24..32], OWN_ID))?;
            let mut next = OWN_ID + 1;
            while let Some(record) = cursor.take_if_begins_with(&first[..16])? {
                let ordinal = number_at(&record, 16);
                let is_equal = number_at(&record, 40) != ordinal;
                let earlier = if is_equal { number_at(&record, 48) } else { number_at(&first, 32) };
                let position = number_at(&record, 32);
                let mut twin = Twin { id: self.ids.get(ordinal)?, position, earlier, fresh_id: None };
                if is_equal {
                    report(&twin);
                    self.decisions.push(decision(ordinal, MERGED, 0))?;
                    continue;
                }
                while definitions.has(&digest_of(&fresh_id(&twin.id, next)))? {
                    next += 1;
                }
                let own = fresh_id(&twin.id, next);
                fresh.push(digest_of(&own))?;
                twin.fresh_id = Some(own);
                report(&twin);
                self.decisions.push(decision(ordinal, RENAMED, next))?;
                aliases.push(alias(&record[..16], &record[24..32], next))?;
                next += 1;
            }
        }
        drop(cursor);
        Ok(Definitions {
            definitions,
            shared,
            decisions: self.decisions.finish()?,
            aliases: aliases.finish()?,
            fresh: fresh.finish()?,
            ids: self.ids,
        })
    }
}

/// Finds the records that share their ids, and the good ones among them by their contents.
fn sharing(
    definitions: &Sorted<DEFINITION>,
    folder: &Path,
    dataset: Dataset,
) -> io::Result<(Sorted<SHARED>, Sorted<CONTENT>)> {
    let mut shared = Sorter::new(folder, &format!("{dataset}.shared"));
    let mut contents = Sorter::new(folder, &format!("{dataset}.contents"));
    let mut note = |definition: &[u8; DEFINITION]| -> io::Result<()> {
        let mut record = [0; SHARED];
        record[..16].copy_from_slice(&definition[..16]);
        record[16..24].copy_from_slice(&definition[25..33]);
        record[24..].copy_from_slice(&definition[16..25]);
        shared.push(record)?;
        if definition[16] == BAD {
            return Ok(());
        }
        let mut record = [0; CONTENT];
        record[..16].copy_from_slice(&definition[..16]);
        record[16..32].copy_from_slice(&definition[33..49]);
        record[32..48].copy_from_slice(&definition[17..33]);
        record[48..].copy_from_slice(&definition[49..]);
        contents.push(record)
    };
    let mut cursor = definitions.cursor()?;
    while let Some(first) = cursor.take()? {
        let mut is_first_noted = false;
        while let Some(other) = cursor.take_if_begins_with(&first[..16])? {
            if !std::mem::replace(&mut is_first_noted, true) {
                note(&first)?;
            }
            note(&other)?;
        }
    }
    drop(cursor);
    Ok((shared.finish()?, contents.finish()?))
}

/// Puts records of equal ids into the order of the archive, each with the first one of its content.
fn in_order(contents: &Sorted<CONTENT>, folder: &Path, dataset: Dataset) -> io::Result<Sorted<TWIN>> {
    let mut twins = Sorter::new(folder, &format!("{dataset}.twins"));
    let mut cursor = contents.cursor()?;
    while let Some(first) = cursor.take()? {
        let mut next = Some(first);
        while let Some(record) = next {
            let mut twin = [0; TWIN];
            twin[..16].copy_from_slice(&record[..16]);
            twin[16..40].copy_from_slice(&record[32..]);
            twin[40..48].copy_from_slice(&first[32..40]);
            twin[48..].copy_from_slice(&first[48..]);
            twins.push(twin)?;
            next = cursor.take_if_begins_with(&first[..32])?;
        }
    }
    drop(cursor);
    twins.finish()
}

/// A record that has the id of an earlier one.
#[derive(Debug)]
pub(crate) struct Twin {
    pub(crate) id: String,
    /// Its place in the file.
    pub(crate) position: u64,
    /// The place of the record that it is equal to, or whose id it has.
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

/// What a reference to an id under a name means.
pub(super) fn alias(id: &[u8], name: &[u8], number: u64) -> [u8; ALIAS] {
    let mut record = [0; ALIAS];
    record[..24].copy_from_slice(&named(id, name));
    record[24..].copy_from_slice(&number.to_be_bytes());
    record
}

/// An id with a name, as records are found by both.
fn named(id: &[u8], name: &[u8]) -> [u8; 24] {
    let mut key = [0; 24];
    key[..16].copy_from_slice(id);
    key[16..].copy_from_slice(name);
    key
}

/// The records of one dataset, after its file was read.
#[derive(Debug)]
pub(crate) struct Definitions {
    definitions: Sorted<DEFINITION>,
    shared: Sorted<SHARED>,
    decisions: Sorted<DECISION>,
    aliases: Sorted<ALIAS>,
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
        let found = self.decisions.first_with_prefix(&ordinal.to_be_bytes())?;
        Ok(found.map_or(Decision::Keep, |record| read_decision(&record)))
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
        let id = &reference.id;
        if self.aliases.is_empty() || reference.name.is_none() {
            return Ok(id.clone());
        }
        // The lowest number is the first record of that name.
        let key = named(&digest_of(id), &name_key(reference.name.as_deref()));
        Ok(match self.aliases.first_with_prefix(&key)?.map(|alias| number_at(&alias, 24)) {
            None | Some(OWN_ID) => id.clone(),
            Some(number) => fresh_id(id, number),
        })
    }

    /// Whether the archive has a record that goes in, or would without its errors, under this id.
    pub(crate) fn has(&self, source_id: &str) -> io::Result<bool> {
        let key = digest_of(source_id);
        Ok(self.definitions.has(&key)? || self.fresh.has(&key)?)
    }

    /// Whether a record goes in under this id.
    pub(crate) fn goes_in(&self, source_id: &str) -> io::Result<bool> {
        let key = digest_of(source_id);
        let first = self.definitions.first_with_prefix(&key)?;
        Ok(first.is_some_and(|definition| definition[16] == GOOD) || self.fresh.has(&key)?)
    }

    /// Walks over the ids in the order of their digests.
    pub(super) fn walk(&self) -> io::Result<Walk<'_>> {
        Ok(Walk { definitions: self, cursor: self.definitions.cursor()? })
    }

    /// Adds records that are made from objects nested in others.
    pub(super) fn add_rebuilt(&mut self, folder: &Path, aliases: Sorted<ALIAS>, fresh: Sorted<16>) -> io::Result<()> {
        self.aliases.merge(folder, aliases)?;
        self.fresh.merge(folder, fresh)
    }
}

/// A place in the definitions, which are asked for by ids in the order of their digests.
pub(super) struct Walk<'a> {
    definitions: &'a Definitions,
    cursor: Cursor<'a, DEFINITION>,
}

impl Walk<'_> {
    fn first_of(&mut self, id: &[u8]) -> io::Result<Option<[u8; DEFINITION]>> {
        while self.cursor.head().is_some_and(|definition| definition[..16] < *id) {
            self.cursor.advance()?;
        }
        Ok(self.cursor.head().filter(|definition| definition[..16] == *id).copied())
    }

    /// Whether one of the records of an id has this name, or none at all; none where there is no record.
    pub(super) fn is_named(&mut self, id: &[u8], name: &[u8]) -> io::Result<Option<bool>> {
        let Some(first) = self.first_of(id)? else { return Ok(None) };
        let own = &first[25..33];
        let shared = &self.definitions.shared;
        let is_named =
            own == name || own == NO_NAME || shared.has(&named(id, name))? || shared.has(&named(id, &NO_NAME))?;
        Ok(Some(is_named))
    }

    /// The good record that an id with a name means: the first of that name, else the first.
    pub(super) fn meant(&mut self, id: &[u8], name: &[u8]) -> io::Result<Option<u64>> {
        let Some(first) = self.first_of(id)?.filter(|definition| definition[16] == GOOD) else { return Ok(None) };
        let by_name = self.definitions.shared.first_with_prefix(&named(id, name))?;
        let number = match by_name.filter(|shared| shared[24] == GOOD) {
            Some(shared) => number_at(&shared, 25),
            None => number_at(&first, 17),
        };
        Ok(Some(number))
    }
}

/// What becomes of each record, asked for in order.
#[derive(Debug)]
pub(crate) struct Decisions<'a> {
    cursor: Cursor<'a, DECISION>,
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
