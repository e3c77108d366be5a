//! The first pass: every byte is read, every record checked, and nothing is written to the database.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::path::Path;

use chrono_tz::Tz;
use sha2::{Digest, Sha256};

use super::definitions::{Definitions, DefinitionsBuilder};
use super::links::{Links, LinksBuilder};
use super::problems::Problems;
use super::references::{ReferencesBuilder, Resolved, may_rebuild};
use super::source::{self, Item, Layout, ReadError};
use crate::archive::{Archive, Limits};
use crate::format::value::{self, Shape};
use crate::format::{Converted, FieldValue, RawRecord, Ref, record};
use crate::model::catalogue::{Field, FieldKind, fold};
use crate::model::report::{DatasetCounts, Datasets, MediaCounts};
use crate::model::words::{counted, grouped};
use crate::model::{Code, Dataset, Problem, Severity};

/// What the check needs to know.
pub(crate) struct CheckInput<'a> {
    pub(crate) archive: &'a Archive,
    pub(crate) layout: &'a Layout,
    pub(crate) limits: &'a Limits,
    /// Where bookkeeping may be written.
    pub(crate) scratch: &'a Path,
    /// The event's zone.
    pub(crate) zone: Tz,
    /// Whether the archive only adds to an import, and so refers to what is in the database.
    pub(crate) is_supplement: bool,
    /// Which of these records the event already has in the database.
    pub(crate) known: &'a dyn Fn(Dataset, Vec<String>) -> Result<HashSet<String>, CheckError>,
    /// Called now and then with the dataset and the number of records read.
    pub(crate) step: &'a dyn Fn(Dataset, u64) -> Result<(), CheckError>,
}

/// Why a check did not come to its end.
#[derive(Debug)]
pub(crate) enum CheckError {
    /// The archive as a whole is refused.
    Refused(Box<Problem>),
    /// The disk failed.
    Io(io::Error),
    /// The database failed.
    Db(crate::db::DbError),
    /// The job is to stop here.
    Stopped(super::Stop),
}

impl From<io::Error> for CheckError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<crate::db::DbError> for CheckError {
    fn from(error: crate::db::DbError) -> Self {
        Self::Db(error)
    }
}

/// What the check found out.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) files: BTreeMap<Dataset, FileState>,
    pub(crate) definitions: BTreeMap<Dataset, Definitions>,
    pub(crate) resolved: BTreeMap<Dataset, Resolved>,
    pub(crate) links: Links,
    pub(crate) problems: Problems,
    pub(crate) counts: Datasets,
    pub(crate) media: MediaCounts,
    /// Which entries are named by a record that goes in.
    pub(crate) referenced: Vec<bool>,
    /// Entries that cannot be read, with the reason.
    pub(crate) damaged: HashMap<usize, String>,
    /// SHA-256 of the entries that are no data files and can be read: the same file may come under another name.
    pub(crate) hashes: HashMap<usize, [u8; 32]>,
}

impl Checked {
    /// Whether a record that a dataset of the archive does not have is gone: the file is whole and not all bad, and the
    /// archive is not one of which nothing goes in.
    pub(crate) fn tells_what_is_gone(&self, dataset: Dataset) -> bool {
        let counts = self.counts.get(&dataset).copied().unwrap_or_default();
        let is_all_bad = counts.read > 0 && counts.read == counts.rejected;
        self.files.get(&dataset) == Some(&FileState::Whole) && !is_all_bad && !self.fails()
    }

    /// Whether there are errors, and nothing that goes in.
    pub(crate) fn fails(&self) -> bool {
        let goes_in = |counts: &DatasetCounts| counts.read + counts.rebuilt > counts.rejected + counts.merged;
        self.problems.errors() > 0 && !self.counts.values().any(goes_in)
    }
}

/// Whether a dataset's file is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileState {
    /// There is none, or it cannot be read.
    Absent,
    /// Some of its records have no id: what is gone cannot be told.
    Incomplete,
    /// Every record can be told.
    Whole,
}

/// Records between two steps.
const STEP: u64 = 2_000;

/// Bytes of records after which there is a step all the same.
const STEP_BYTES: usize = 4 << 20;

/// Ids asked for at once.
const KNOWN_AT_ONCE: usize = 500;

/// Reads and checks the whole archive.
pub(crate) fn check(input: &CheckInput<'_>) -> Result<Checked, CheckError> {
    input.archive.begin_pass();
    let mut check = Check {
        input,
        problems: Problems::new(input.limits.problems_kept),
        counts: Datasets::new(),
        files: BTreeMap::new(),
        media: MediaCounts::default(),
        referenced: vec![false; input.archive.entries().len()],
        named: HashSet::new(),
        damaged: HashMap::new(),
        hashes: HashMap::new(),
        forms: Vec::new(),
        noted: 0,
        since_step: 0,
        links: LinksBuilder::new(input.scratch),
        references: BTreeMap::new(),
        event_states_links: false,
    };
    check.read_other_entries()?;
    let mut definitions = BTreeMap::new();
    for dataset in Dataset::ALL {
        let read = check.read_dataset(dataset)?;
        definitions.insert(dataset, read);
    }
    let resolved = check.resolve(&mut definitions)?;
    let links = check.bring_links_together(&definitions)?;
    check.say_what_forms_miss();
    check.say_what_is_not_used();
    Ok(Checked {
        files: check.files,
        definitions,
        resolved,
        links,
        problems: check.problems,
        counts: check.counts,
        media: check.media,
        referenced: check.referenced,
        damaged: check.damaged,
        hashes: check.hashes,
    })
}

struct Check<'a> {
    input: &'a CheckInput<'a>,
    problems: Problems,
    counts: Datasets,
    files: BTreeMap<Dataset, FileState>,
    media: MediaCounts,
    referenced: Vec<bool>,
    /// Entries that only a record is known to name which stays out.
    named: HashSet<usize>,
    damaged: HashMap<usize, String>,
    hashes: HashMap<usize, [u8; 32]>,
    forms: Vec<FormField>,
    /// Records and references so far: what the scratch folder grows with.
    noted: u64,
    /// Bytes of records since the last step.
    since_step: usize,
    links: LinksBuilder,
    references: BTreeMap<Dataset, (Dataset, &'static Field, ReferencesBuilder)>,
    event_states_links: bool,
}

/// A field that the event's own form requires.
struct FormField {
    dataset: Dataset,
    field: usize,
    missing: u64,
}

impl Check<'_> {
    /// Media and strays first, so that a reference to a damaged picture can be told as soon as it is met.
    fn read_other_entries(&mut self) -> Result<(), CheckError> {
        let archive = self.input.archive;
        let data: HashSet<usize> = self.input.layout.files.values().copied().collect();
        let mut buffer = vec![0; 128 * 1024];
        for (index, entry) in archive.entries().iter().enumerate() {
            if entry.is_dir || data.contains(&index) {
                continue;
            }
            (self.input.step)(Dataset::Event, 0)?;
            let mut hash = Sha256::new();
            match source::read_through(archive, index, &mut buffer, |bytes| hash.update(bytes)) {
                Ok(()) => {
                    self.hashes.insert(index, hash.finalize().into());
                }
                Err(ReadError::File(problem)) => {
                    self.damaged.insert(index, problem.message);
                }
                Err(ReadError::Archive(problem)) => return Err(CheckError::Refused(Box::new(problem))),
                Err(ReadError::Io(error)) => return Err(error.into()),
                Err(ReadError::Stopped(never)) => match never {},
            }
        }
        Ok(())
    }

    fn read_dataset(&mut self, dataset: Dataset) -> Result<Definitions, CheckError> {
        let input = self.input;
        let mut builder = DefinitionsBuilder::new(input.scratch, dataset)?;
        let (media_before, referenced_before) = (self.media, self.referenced.clone());
        self.counts.insert(dataset, DatasetCounts::default());
        self.files.insert(dataset, FileState::Absent);
        if self.has_own_records(dataset) {
            self.files.insert(dataset, FileState::Whole);
        }
        self.expect_references(dataset)?;
        if dataset == Dataset::SocialLinks && self.stands_in_a_file_that_is_not_there() {
            return Ok(Definitions::none(input.scratch, dataset)?);
        }
        let result =
            source::read_dataset(input.archive, input.layout, input.limits, dataset, input.zone, &mut |item| {
                self.check_item(dataset, item, &mut builder)
            });
        match result {
            Ok(()) => {}
            Err(ReadError::File(problem)) => {
                self.problems.forget(dataset);
                self.problems.add_to(dataset, problem);
                self.media = media_before;
                let referenced = std::mem::replace(&mut self.referenced, referenced_before);
                self.named.extend((0..referenced.len()).filter(|entry| referenced[*entry]));
                self.files.insert(dataset, FileState::Absent);
                self.counts.insert(dataset, DatasetCounts::default());
                self.references.retain(|_, (from, _, _)| *from != dataset);
                self.expect_references(dataset)?;
                if dataset == Dataset::Speakers {
                    self.links = LinksBuilder::new(input.scratch);
                }
                return Ok(Definitions::none(input.scratch, dataset)?);
            }
            Err(ReadError::Archive(problem)) => return Err(CheckError::Refused(Box::new(problem))),
            Err(ReadError::Io(error)) => return Err(error.into()),
            Err(ReadError::Stopped(error)) => return Err(error),
        }
        let file = self.file_name(dataset);
        let (problems, counts) = (&mut self.problems, &mut self.counts);
        let definitions = builder.finish(input.scratch, dataset, |twin| {
            let singular = dataset.definition().singular;
            let (position, earlier) = (twin.position, twin.earlier);
            let problem = match &twin.fresh_id {
                None => {
                    counts.entry(dataset).or_default().merged += 1;
                    Problem::new(
                        Code::DuplicateRecord,
                        format!("the same {singular} stands at {earlier} and {position}; only one of them counts"),
                        "remove one of the two",
                    )
                }
                Some(fresh) => Problem::new(
                    Code::DuplicateId,
                    format!(
                        "two different records, at {earlier} and {position}, have the same id; this one counts as `{fresh}`"
                    ),
                    "give each record an id of its own",
                ),
            };
            problems.add_to(dataset, problem.in_file(&file).at(position).of_record(&twin.id).in_field("id"));
        })?;
        Ok(definitions)
    }

    /// Social links stand in the event where it speaks of them, other records in a file of their own.
    fn has_own_records(&self, dataset: Dataset) -> bool {
        self.input.layout.files.contains_key(&dataset)
            || (dataset == Dataset::SocialLinks
                && self.event_states_links
                && self.files.get(&Dataset::Event) == Some(&FileState::Whole))
    }

    /// What is wrong with the file of the event was told when the event was read.
    fn stands_in_a_file_that_is_not_there(&self) -> bool {
        !self.input.layout.files.contains_key(&Dataset::SocialLinks)
            && self.files.get(&Dataset::Event) == Some(&FileState::Absent)
    }

    fn file_name(&self, dataset: Dataset) -> String {
        match self.input.layout.files.get(&dataset) {
            Some(entry) => self.input.archive.entries()[*entry].path.clone(),
            None if dataset == Dataset::SocialLinks => "event".to_owned(),
            None => dataset.definition().files[0].to_owned(),
        }
    }

    fn expect_references(&mut self, dataset: Dataset) -> Result<(), CheckError> {
        for field in dataset.fields() {
            let (FieldKind::Reference(target) | FieldKind::References(target)) = field.kind else { continue };
            let has_file = self.files.get(&target).is_some_and(|state| *state != FileState::Absent);
            let name = format!("{dataset}.{}", field.name);
            let builder = ReferencesBuilder::new(self.input.scratch, &name, may_rebuild(target, has_file))?;
            self.references.insert(target, (dataset, field, builder));
        }
        Ok(())
    }

    fn check_item(
        &mut self,
        dataset: Dataset,
        item: Item<'_>,
        builder: &mut DefinitionsBuilder,
    ) -> Result<(), CheckError> {
        let Item { ordinal, position, outcome, raw } = item;
        if dataset == Dataset::Event {
            self.event_states_links = raw.is_some_and(states_links);
        }
        self.note(1)?;
        let counts = self.counts.entry(dataset).or_default();
        counts.read += 1;
        self.since_step += raw.map_or(0, <[u8]>::len);
        if counts.read.is_multiple_of(STEP) || self.since_step >= STEP_BYTES {
            self.since_step = 0;
            (self.input.step)(dataset, counts.read)?;
        }
        let file = self.file_name(dataset);
        let mut converted = match outcome {
            Ok(converted) => converted,
            Err(problem) => {
                self.reject(dataset);
                self.files.insert(dataset, FileState::Incomplete);
                self.problems.add_to(dataset, problem.in_file(file).at(position));
                return Ok(builder.add_unreadable(ordinal)?);
            }
        };
        self.check_record(dataset, &mut converted)?;
        let rejected = converted.problems.iter().any(|problem| problem.severity == Severity::Error);
        if rejected {
            self.reject(dataset);
        }
        if converted.source_id.is_none() {
            self.files.insert(dataset, FileState::Incomplete);
        }
        for problem in converted.problems.drain(..) {
            let problem = problem.in_file(&file).at(position);
            let problem = match &converted.source_id {
                Some(id) => problem.of_record(id),
                None => problem,
            };
            self.problems.add_to(dataset, problem);
        }
        if rejected {
            self.note_media_left_out(dataset, &converted);
        } else {
            self.check_media(dataset, &file, Some(position), &converted);
            self.note_references(dataset, ordinal, &converted)?;
            self.check_forms(dataset, &converted);
        }
        Ok(builder.add(ordinal, position, dataset, &converted, rejected)?)
    }

    /// Counts records or references, which the disk must have room for.
    fn note(&mut self, more: usize) -> Result<(), CheckError> {
        self.noted += more as u64;
        let most = self.input.limits.records;
        if self.noted <= most {
            return Ok(());
        }
        Err(CheckError::Refused(Box::new(Problem::new(
            Code::LimitRecords,
            format!("the archive has more than {} records and references between them", grouped(most)),
            "split it, or ask the admin to raise `limits.records`",
        ))))
    }

    fn reject(&mut self, dataset: Dataset) {
        self.counts.entry(dataset).or_default().rejected += 1;
    }

    fn check_record(&mut self, dataset: Dataset, record: &mut Converted) -> Result<(), CheckError> {
        if record.source_id.is_none() && !record.problems.iter().any(|problem| problem.field.as_deref() == Some("id")) {
            record.problems.push(
                Problem::new(
                    Code::IdMissing,
                    format!("the {} has no id", dataset.definition().singular),
                    "give every record an `id`",
                )
                .in_field("id"),
            );
        }
        if !record.unsaid.is_empty() {
            let is_known = match &record.source_id {
                Some(id) => (self.input.known)(dataset, vec![id.clone()])?.contains(id),
                None => false,
            };
            if !is_known {
                for field in &record.unsaid {
                    record.problems.push(
                        Problem::new(
                            Code::FieldRequired,
                            format!("the {} has no `{}`", dataset.definition().singular, field.name),
                            format!("give the record a `{}`", field.name),
                        )
                        .in_field(field.name),
                    );
                }
            }
        }
        if let (FieldValue::Instant(start), FieldValue::Instant(end)) =
            (record.value(dataset, "starts_at"), record.value(dataset, "ends_at"))
            && end.utc < start.utc
        {
            let value = format!("{} – {}", start.utc.to_rfc3339(), end.utc.to_rfc3339());
            record.problems.push(
                Problem::new(
                    Code::EndBeforeStart,
                    format!(
                        "the {} ends before it starts; both times are taken as given",
                        dataset.definition().singular
                    ),
                    "look at both times",
                )
                .in_field("ends_at")
                .with_value(&value),
            );
        }
        Ok(())
    }

    fn check_media(&mut self, dataset: Dataset, file: &str, position: Option<u64>, record: &Converted) {
        for (field, path) in media_of(dataset, record) {
            self.media.referenced += 1;
            let state = find_media(self.input.archive, &self.damaged, path);
            let problem = match state {
                FoundMedia::Remote => {
                    self.media.remote += 1;
                    continue;
                }
                FoundMedia::Entry(entry) => {
                    self.referenced[entry] = true;
                    self.media.stored += 1;
                    continue;
                }
                FoundMedia::Damaged(entry, reason) => {
                    self.referenced[entry] = true;
                    Problem::new(Code::MediaDamaged, reason, "put the file into the archive again")
                }
                FoundMedia::Missing => Problem::new(
                    Code::MediaMissing,
                    "this file is not in the archive",
                    "add the file, or correct the path; the record goes without it",
                ),
            };
            self.media.missing += 1;
            let mut problem = problem.in_file(file).in_field(field.name).with_value(path);
            problem.position = position;
            problem.source_id.clone_from(&record.source_id);
            self.problems.add_to(dataset, problem);
        }
    }

    /// Nobody needs to be told of media that go in when their record is corrected.
    fn note_media_left_out(&mut self, dataset: Dataset, record: &Converted) {
        for (_, path) in media_of(dataset, record) {
            match find_media(self.input.archive, &self.damaged, path) {
                FoundMedia::Entry(entry) | FoundMedia::Damaged(entry, _) => {
                    self.named.insert(entry);
                }
                FoundMedia::Remote | FoundMedia::Missing => {}
            }
        }
    }

    fn note_references(&mut self, dataset: Dataset, ordinal: u64, record: &Converted) -> Result<(), CheckError> {
        for (field, value) in dataset.fields().iter().zip(&record.values) {
            let (FieldKind::Reference(target) | FieldKind::References(target)) = field.kind else { continue };
            let references: &[Ref] = match value {
                FieldValue::Reference(reference) => std::slice::from_ref(reference),
                FieldValue::References(references) => references,
                FieldValue::Cleared if target == Dataset::Sessions => {
                    self.links.speaker_clears(record.source_id.as_deref())?;
                    continue;
                }
                _ => continue,
            };
            self.note(references.len())?;
            if let Some((_, _, builder)) = self.references.get_mut(&target) {
                for reference in references {
                    builder.add(ordinal, reference)?;
                }
            }
            match target {
                Dataset::Speakers => self.links.session_states(ordinal, references)?,
                Dataset::Sessions => {
                    self.links.speaker_states(ordinal, record.source_id.as_deref(), references)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The fields that a form requires, and how many records leave each of them empty.
    fn check_forms(&mut self, dataset: Dataset, record: &Converted) {
        if dataset == Dataset::CustomForms {
            let text = |name: &str| match record.value(dataset, name) {
                FieldValue::Text(text) => text.trim().to_ascii_lowercase(),
                _ => String::new(),
            };
            let is = |name: &str| matches!(record.value(dataset, name), FieldValue::Boolean(true));
            let target = match text("form").as_str() {
                "session" => Dataset::Sessions,
                "speaker" => Dataset::Speakers,
                _ => return,
            };
            let identifier = text("field_identifier");
            if let Some((field, _)) = target.field_of_key(&fold(&identifier))
                && is("is_required")
                && is("is_included")
                && !self.forms.iter().any(|form| form.dataset == target && form.field == field)
            {
                self.forms.push(FormField { dataset: target, field, missing: 0 });
            }
            return;
        }
        for form in self.forms.iter_mut().filter(|form| form.dataset == dataset) {
            let is_empty = match &record.values[form.field] {
                FieldValue::Absent | FieldValue::Cleared => true,
                FieldValue::Text(text) => text.trim().is_empty(),
                FieldValue::References(references) => references.is_empty(),
                _ => false,
            };
            form.missing += u64::from(is_empty);
        }
    }

    fn resolve(
        &mut self,
        definitions: &mut BTreeMap<Dataset, Definitions>,
    ) -> Result<BTreeMap<Dataset, Resolved>, CheckError> {
        let mut resolved = BTreeMap::new();
        for (target, (from, field, builder)) in std::mem::take(&mut self.references) {
            let file = self.file_name(from);
            let has_file = self.files.get(&target).is_some_and(|state| *state != FileState::Absent);
            let is_supplement = self.input.is_supplement;
            let rebuild = may_rebuild(target, has_file) && (!is_supplement || may_rebuild(target, true));
            let Some(of_target) = definitions.get_mut(&target) else { continue };
            let mut dangling = Vec::new();
            let problems = &mut self.problems;
            let known = self.input.known;
            let mut say = |dangling: &mut Vec<(String, u64)>| -> Result<(), CheckError> {
                let ids = dangling.iter().map(|(id, _)| id.clone()).collect();
                let there = known(target, ids)?;
                for (id, count) in dangling.drain(..).filter(|(id, _)| !there.contains(id)) {
                    problems.add_to(from, dangling_reference(from, field, target, &id, count).in_file(&file));
                }
                Ok(())
            };
            let failed = RefCell::new(None);
            // What a supplement does not bring is in the database, unless only the rejected records spoke of it.
            let rebuild = |id: &str| {
                if !rebuild || !is_supplement {
                    return Ok(rebuild);
                }
                Ok(match known(target, vec![id.to_owned()]) {
                    Ok(there) => !there.contains(id),
                    Err(error) => {
                        failed.replace(Some(error));
                        false
                    }
                })
            };
            let found = builder.finish(self.input.scratch, target, of_target, rebuild, |text, count| {
                if failed.borrow().is_some() {
                    return Ok(());
                }
                dangling.push((text.id, count));
                if dangling.len() >= KNOWN_AT_ONCE {
                    failed.replace(say(&mut dangling).err());
                }
                Ok(())
            })?;
            if let Some(error) = failed.into_inner() {
                return Err(error);
            }
            say(&mut dangling)?;
            if found.mismatches > 0 {
                self.problems.add_to(from, name_mismatch(from, field, target, found.mismatches).in_file(&file));
            }
            self.check_rebuilt(target, &found)?;
            resolved.insert(target, found);
        }
        Ok(resolved)
    }

    fn check_rebuilt(&mut self, dataset: Dataset, resolved: &Resolved) -> Result<(), CheckError> {
        let mut rebuilt = 0;
        let file = self.file_name(dataset);
        resolved.each_rebuilt(|id, text| -> Result<(), CheckError> {
            rebuilt += 1;
            let mut record = rebuilt_record(dataset, &id, &text.name, text.nested.as_deref(), self.input.zone);
            for problem in record.problems.drain(..) {
                self.problems.add_to(dataset, problem.in_file(&file).of_record(&id));
            }
            self.check_media(dataset, &file, None, &record);
            Ok(())
        })?;
        if rebuilt > 0 {
            self.counts.entry(dataset).or_default().rebuilt = rebuilt;
            let problem = Problem::new(
                Code::RecordsRebuilt,
                format!(
                    "{} nested in others, as the archive lacks {}",
                    counted(rebuilt, "record was made from the object", "records were made from the objects"),
                    if rebuilt == 1 { "it" } else { "them" }
                ),
                format!("add what is lacking to the file `{}`", dataset.definition().files[0]),
            );
            self.problems.add_to(dataset, problem.in_file(file));
        }
        Ok(())
    }

    fn bring_links_together(&mut self, definitions: &BTreeMap<Dataset, Definitions>) -> Result<Links, CheckError> {
        let builder = std::mem::replace(&mut self.links, LinksBuilder::new(self.input.scratch));
        let (Some(sessions), Some(speakers)) =
            (definitions.get(&Dataset::Sessions), definitions.get(&Dataset::Speakers))
        else {
            return Ok(Links::none());
        };
        let links = builder.finish(self.input.scratch, sessions, speakers)?;
        if let Some((only_sessions, only_speakers)) = links.disagreement {
            let problem = Problem::new(
                Code::LinksDisagree,
                format!(
                    "{} only with the session and {only_speakers} only with the speaker; all count",
                    counted(only_sessions, "link stands", "links stand")
                ),
                "list the speakers of each session and the sessions of each speaker alike",
            );
            self.problems
                .add_to(Dataset::Sessions, problem.in_file(self.file_name(Dataset::Sessions)).in_field("speaker_ids"));
        }
        Ok(links)
    }

    fn say_what_forms_miss(&mut self) {
        for form in std::mem::take(&mut self.forms) {
            if form.missing == 0 {
                continue;
            }
            let field = form.dataset.fields()[form.field].name;
            let problem = Problem::new(
                Code::FormFieldMissing,
                format!(
                    "the event's own form requires `{field}`, which {} of `{}` {}; that leaves nothing out",
                    counted(form.missing, "record", "records"),
                    form.dataset,
                    if form.missing == 1 { "does not have" } else { "do not have" }
                ),
                "fill the field in, or make it optional in the form",
            );
            self.problems.add_to(form.dataset, problem.in_file(self.file_name(form.dataset)).in_field(field));
        }
    }

    fn is_named_by_none(&self, entry: usize) -> bool {
        !self.referenced[entry] && !self.named.contains(&entry)
    }

    fn say_what_is_not_used(&mut self) {
        let entries = self.input.archive.entries();
        let unused: Vec<&str> = (self.input.layout.media.iter())
            .filter(|entry| self.is_named_by_none(**entry))
            .map(|entry| entries[*entry].path.as_str())
            .collect();
        let mut unread = source::unread(self.input.archive, self.input.layout);
        // A picture or a table that a record names is no file of records.
        unread.retain(|unread| self.is_named_by_none(unread.entry));
        for unread in &unread {
            let plural = unread.dataset.as_str();
            let problem = Problem::new(
                Code::FileNotRead,
                format!("by its name the file holds `{plural}`, but it is not read; the archive has no others"),
                unread.hint.clone(),
            );
            self.problems.add_to(unread.dataset, problem.in_file(unread.name));
        }
        // What a file that could not be read names cannot be told.
        let names_media = |dataset: &Dataset| dataset.fields().iter().any(|field| field.kind == FieldKind::Media);
        let is_all_read = (self.input.layout.files.keys().filter(|dataset| names_media(dataset)))
            .all(|dataset| self.files.get(dataset).is_some_and(|state| *state != FileState::Absent))
            && !unread.iter().any(|unread| names_media(&unread.dataset));
        if !unused.is_empty() && is_all_read {
            self.problems.add(
                Problem::new(
                    Code::MediaUnreferenced,
                    match unused.len() {
                        1 => "1 media file is named by no record and is not stored".to_owned(),
                        many => format!("{many} media files are named by no record and are not stored"),
                    },
                    "name what is wanted in a record, and leave out the rest",
                )
                .with_value(&unused.join(", ")),
            );
        }
        let told: HashSet<usize> = unread.iter().map(|unread| unread.entry).collect();
        let ignored: Vec<&str> = (self.input.layout.ignored.iter())
            .filter(|entry| self.is_named_by_none(**entry) && !told.contains(*entry))
            .map(|entry| entries[*entry].name.as_str())
            .collect();
        if !ignored.is_empty() {
            self.problems.add(
                Problem::new(
                    Code::EntryIgnored,
                    match ignored.len() {
                        1 => "1 entry is no part of an event archive and is ignored".to_owned(),
                        many => format!("{many} entries are no part of an event archive and are ignored"),
                    },
                    "nothing needs to be done",
                )
                .with_value(&ignored.join(", ")),
            );
        }
    }
}

/// Whether an event has a word about its social links that can be understood.
fn states_links(event: &[u8]) -> bool {
    let event = std::str::from_utf8(event).ok().and_then(|text| RawRecord::parse(text).ok());
    let links = event.and_then(|event| event.get("social_links").map(value::shape));
    links.is_some_and(|shape| matches!(shape, Shape::List | Shape::Null))
}

fn dangling_reference(from: Dataset, field: &Field, target: Dataset, id: &str, count: u64) -> Problem {
    let singular = target.definition().singular;
    Problem::new(
        Code::DanglingReference,
        match count {
            1 => format!("1 record of `{from}` refers to the {singular} `{id}`, which is not there"),
            _ => format!("{count} records of `{from}` refer to the {singular} `{id}`, which is not there"),
        },
        format!("add the {singular}, or remove the reference; it is kept and takes effect when the record arrives"),
    )
    .in_field(field.name)
    .with_value(id)
}

fn name_mismatch(from: Dataset, field: &Field, target: Dataset, count: u64) -> Problem {
    let singular = target.definition().singular;
    Problem::new(
        Code::NameMismatch,
        format!(
            "{} the {singular} otherwise than its own record does; the id was followed",
            counted(count, &format!("reference of `{from}` names"), &format!("references of `{from}` name"))
        ),
        "look whether the ids are the right ones",
    )
    .in_field(field.name)
}

/// The media fields of a record that say something.
pub(crate) fn media_of(dataset: Dataset, record: &Converted) -> impl Iterator<Item = (&'static Field, &str)> {
    dataset.fields().iter().zip(&record.values).filter_map(|(field, value)| match (field.kind, value) {
        (FieldKind::Media, FieldValue::Text(path)) => Some((field, path.as_str())),
        _ => None,
    })
}

/// Where the file is that a media field names.
pub(crate) enum FoundMedia {
    /// Elsewhere: the value is a link.
    Remote,
    /// In the archive.
    Entry(usize),
    /// In the archive, but not readable, for this reason.
    Damaged(usize, String),
    /// Nowhere.
    Missing,
}

pub(crate) fn find_media(archive: &Archive, damaged: &HashMap<usize, String>, path: &str) -> FoundMedia {
    if is_remote(path) {
        return FoundMedia::Remote;
    }
    match archive.find(path) {
        None => FoundMedia::Missing,
        Some(entry) => match damaged.get(&entry) {
            Some(reason) => FoundMedia::Damaged(entry, reason.clone()),
            None => FoundMedia::Entry(entry),
        },
    }
}

/// Whether a value has a scheme such as `https:`, or begins with `//`.
fn is_remote(value: &str) -> bool {
    if value.starts_with("//") {
        return true;
    }
    let Some((scheme, _)) = value.split_once(':') else { return false };
    scheme.len() > 1
        && scheme.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
}

/// A record made from an object nested in another; where that object is bad, from its id and name alone.
pub(crate) fn rebuilt_record(
    dataset: Dataset,
    id: &str,
    name: &Option<String>,
    nested: Option<&str>,
    zone: Tz,
) -> Converted {
    let convert = |text: &str| {
        let raw = RawRecord::parse(text).ok()?;
        let mut converted = record::convert(dataset, &raw, zone);
        converted.source_id = Some(id.to_owned());
        let is_good = converted.problems.iter().all(|problem| problem.severity == Severity::Warning);
        (is_good && converted.unsaid.is_empty()).then_some(converted)
    };
    nested.and_then(convert).unwrap_or_else(|| {
        let plain = serde_json::json!({ "id": id, "name": name }).to_string();
        let raw = RawRecord::parse(&plain).unwrap_or_default();
        let mut converted = record::convert(dataset, &raw, zone);
        converted.source_id = Some(id.to_owned());
        converted
    })
}
