//! Who refers to whom: references that lead nowhere, and records to rebuild from the objects nested in others.

use std::collections::HashMap;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::definitions::{Definitions, NO_NAME, NameKey, alias, fresh_id, name_key};
use super::scratch::{Cursor, Sorted, Sorter, Texts, number_at};
use crate::format::Ref;
use crate::format::record::{Digest16, digest_of};
use crate::model::Dataset;
use crate::model::catalogue::Rebuild;

/// References to one id under one name: id (16), name (8), first referrer (8), count (8), text (8).
const REFERENCE: usize = 48;

/// The same where the id is no record's: id (16), first referrer (8), name (8), count (8), text (8).
const ORPHAN: usize = 48;

/// References under one id and name that are counted in memory before they are written.
const GROUPS_IN_MEMORY: usize = 16 * 1024;

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
        let (orphans, mismatches) = without_record(&references, definitions, folder, target)?;
        drop(references);
        let mut rebuilt = Sorter::new(folder, &format!("{target}.rebuilt"));
        let mut aliases = Sorter::new(folder, &format!("{target}.rebuilt.aliases"));
        let mut fresh = Sorter::new(folder, &format!("{target}.rebuilt.fresh"));
        let mut cursor = orphans.cursor()?;
        while let Some(first) = cursor.head().copied() {
            let text = reference_text(&self.texts, number_at(&first, 40))?;
            let (mut made, mut count, mut is_allowed) = (0, 0, None);
            while let Some(orphan) = cursor.take_if_begins_with(&first[..16])? {
                count += number_at(&orphan, 32);
                if orphan[24..32] == NO_NAME {
                    continue;
                }
                let may = match is_allowed {
                    Some(may) => may,
                    None => *is_allowed.insert(may_rebuild(&text.id)?),
                };
                if !may {
                    continue;
                }
                made += 1;
                rebuilt.push(rebuilt_from(&orphan, made))?;
                if made == 1 {
                    fresh.push(digest_of(&text.id))?;
                } else {
                    fresh.push(digest_of(&fresh_id(&text.id, made)))?;
                    aliases.push(alias(&orphan[..16], &orphan[24..32], made))?;
                }
            }
            if made == 0 {
                dangling(text, count)?;
            }
        }
        drop(cursor);
        definitions.add_rebuilt(folder, aliases.finish()?, fresh.finish()?)?;
        Ok(Resolved { rebuilt: rebuilt.finish()?, texts: self.texts, mismatches })
    }
}

/// The references to ids that no record has, and the number of those that name a record otherwise than it does itself.
fn without_record(
    references: &Sorted<REFERENCE>,
    definitions: &Definitions,
    folder: &Path,
    target: Dataset,
) -> io::Result<(Sorted<ORPHAN>, u64)> {
    let mut orphans = Sorter::new(folder, &format!("{target}.orphans"));
    let mut mismatches = 0;
    let mut walk = definitions.walk()?;
    let mut cursor = references.cursor()?;
    while let Some((reference, count)) = next_named(&mut cursor)? {
        let (id, name) = (&reference[..16], &reference[16..24]);
        match walk.is_named(id, name)? {
            Some(is_named) => mismatches += if is_named || *name == NO_NAME { 0 } else { count },
            None => {
                let mut orphan = [0; ORPHAN];
                orphan[..16].copy_from_slice(id);
                orphan[16..24].copy_from_slice(&reference[24..32]);
                orphan[24..32].copy_from_slice(name);
                orphan[32..40].copy_from_slice(&count.to_be_bytes());
                orphan[40..].copy_from_slice(&reference[40..]);
                orphans.push(orphan)?;
            }
        }
    }
    drop(cursor);
    Ok((orphans.finish()?, mismatches))
}

/// The next id with a name: its first reference, and how many there are, which may have been written in several goes.
fn next_named(cursor: &mut Cursor<'_, REFERENCE>) -> io::Result<Option<([u8; REFERENCE], u64)>> {
    let Some(first) = cursor.take()? else { return Ok(None) };
    let mut count = number_at(&first, 32);
    while let Some(more) = cursor.take_if_begins_with(&first[..24])? {
        count += number_at(&more, 32);
    }
    Ok(Some((first, count)))
}

fn rebuilt_from(orphan: &[u8; ORPHAN], number: u64) -> [u8; 24] {
    let mut record = [0; 24];
    record[..8].copy_from_slice(&orphan[16..24]);
    record[8..16].copy_from_slice(&number.to_be_bytes());
    record[16..].copy_from_slice(&orphan[40..]);
    record
}

fn reference_text(texts: &Texts, number: u64) -> io::Result<ReferenceText> {
    Ok(serde_json::from_str(&texts.get(number)?)?)
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

/// Whether records of a dataset may be made from nested objects in this archive.
pub(crate) fn may_rebuild(dataset: Dataset, has_file: bool) -> bool {
    match dataset.definition().rebuilt {
        Rebuild::Always => true,
        Rebuild::WithoutFile => !has_file,
        Rebuild::Never => false,
    }
}
