//! The data files of an archive, and the records in them; read the same way by the check and by the load.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::ops::Range;
use std::sync::mpsc;
use std::thread;

use chrono_tz::Tz;
use serde_json::value::RawValue;

use crate::archive::{self, Archive, Limits};
use crate::format::split::{Bounds, syntax_within};
use crate::format::{Converted, Converter, Piece, RawRecord, SplitError, Splitter, Syntax, Top, forms, record, value};
use crate::model::catalogue::fold;
use crate::model::words::grouped;
use crate::model::{Code, Dataset, Problem};

/// Which entry holds what.
#[derive(Debug)]
pub(crate) struct Layout {
    /// The entry of each dataset that has one.
    pub(crate) files: BTreeMap<Dataset, usize>,
    /// The entry `meta`.
    pub(crate) meta: Option<usize>,
    /// The entry `eventferry.json`.
    pub(crate) directives: Option<usize>,
    /// Entries below `images/`, `videos/`, `audios/`, `slides/`.
    pub(crate) media: Vec<usize>,
    /// Entries that are none of these.
    pub(crate) ignored: Vec<usize>,
}

pub(super) const MEDIA_FOLDERS: &[&str] = &["images/", "videos/", "audios/", "slides/"];

/// The name of our own file in an archive.
pub(crate) const DIRECTIVES_FILE: &str = "eventferry.json";

/// One record of a file, read or not.
#[derive(Debug)]
pub(crate) struct Item<'a> {
    /// Its number within the dataset, counted from 0; fields of a form have one each.
    pub(crate) ordinal: u64,
    /// Its place in the file, counted from 1.
    pub(crate) position: u64,
    /// Its bytes as given; none where they were too many to be kept.
    pub(crate) raw: Option<&'a [u8]>,
    /// What it says, or why that cannot be told.
    pub(crate) outcome: Result<Converted, Problem>,
}

/// Why the reading of a file ended early.
#[derive(Debug)]
pub(crate) enum ReadError<E> {
    /// The file counts as not there.
    File(Problem),
    /// The archive as a whole is refused.
    Archive(Problem),
    /// The disk failed.
    Io(io::Error),
    /// Whoever was given the records wants no more.
    Stopped(E),
}

/// Finds out which entry holds what.
pub(crate) fn layout(archive: &Archive) -> Layout {
    let mut layout =
        Layout { files: BTreeMap::new(), meta: None, directives: None, media: Vec::new(), ignored: Vec::new() };
    let mut ranks: BTreeMap<Dataset, usize> = BTreeMap::new();
    for (index, entry) in archive.entries().iter().enumerate() {
        if entry.is_dir {
            continue;
        }
        let path = entry.path.as_str();
        if let Some(dataset) = Dataset::of_file(path) {
            let rank = rank_of(dataset, path);
            let taken = ranks.get(&dataset).copied();
            if taken.is_none_or(|taken| rank < taken) {
                ranks.insert(dataset, rank);
                if let Some(earlier) = layout.files.insert(dataset, index) {
                    layout.ignored.push(earlier);
                }
            } else if taken != Some(rank) {
                layout.ignored.push(index);
            }
        } else if path == "meta" || path == "meta.json" {
            layout.meta = layout.meta.or(Some(index));
        } else if path == DIRECTIVES_FILE {
            layout.directives = layout.directives.or(Some(index));
        } else if MEDIA_FOLDERS.iter().any(|folder| path.starts_with(folder)) {
            layout.media.push(index);
        } else {
            layout.ignored.push(index);
        }
    }
    layout
}

/// What to do about an archive without an event that can be read.
pub(crate) fn where_the_event_is(archive: &Archive, layout: &Layout) -> String {
    if layout.files.contains_key(&Dataset::Event) {
        return "mend the file `event`".to_owned();
    }
    let is_head = |file: &str| Dataset::of_file(file) == Some(Dataset::Event) || file == DIRECTIVES_FILE;
    if let Some((folder, file)) = ignored(archive, layout).find_map(|name| in_folder(name).filter(|(_, f)| is_head(f)))
    {
        return format!("`{file}` lies in the folder `{folder}`: zip the files of that folder themselves");
    }
    if let Some(unread) = unread(archive, layout).into_iter().find(|unread| unread.dataset == Dataset::Event) {
        return format!("the file `{}` is not read: {}", unread.name, unread.hint);
    }
    if let Some(inner) = ignored(archive, layout).find(|name| ending_of(name).is_some_and(|end| end == "zip")) {
        return format!("the archive holds another one, `{inner}`: drop that one itself");
    }
    match layout.directives {
        Some(_) => "add the file `event`".to_owned(),
        None => format!(
            "add the file `event`; or, if this is a corrected rejected.zip, put its `{DIRECTIVES_FILE}` back into it"
        ),
    }
}

/// An entry that is not read although its name speaks of records which the archive has nowhere else.
pub(crate) struct Unread<'a> {
    pub(crate) entry: usize,
    pub(crate) dataset: Dataset,
    pub(crate) name: &'a str,
    /// What to do for it to be read.
    pub(crate) hint: String,
}

/// The entries that were meant for records, and are not read because of their name, place or kind.
pub(crate) fn unread<'a>(archive: &'a Archive, layout: &Layout) -> Vec<Unread<'a>> {
    let unread = layout.ignored.iter().filter_map(|entry| {
        let name = archive.entries()[*entry].name.as_str();
        let (dataset, hint) = what_was_meant(name)?;
        Some(Unread { entry: *entry, dataset, name, hint })
    });
    unread.filter(|unread| !layout.files.contains_key(&unread.dataset)).collect()
}

fn what_was_meant(name: &str) -> Option<(Dataset, String)> {
    let (folder, file) = in_folder(name).map_or((None, name), |(folder, file)| (Some(folder), file));
    if let Some((dataset, folder)) = Dataset::of_file(file).zip(folder) {
        let hint = format!(
            "data files are looked for at the top of the archive: zip the files of the folder `{folder}` themselves"
        );
        return Some((dataset, hint));
    }
    let (stem, ending) = file.rsplit_once('.').unwrap_or((file, "json"));
    let dataset = spoken_of(stem)?;
    let wanted = dataset.definition().files[0];
    match ending.to_ascii_lowercase().as_str() {
        "json" => Some((dataset, format!("name it `{wanted}`, at the top of the archive"))),
        ending if TABLES.contains(&ending) => Some((
            dataset,
            format!("only JSON is read from an archive: put its records into a file `{wanted}` as JSON"),
        )),
        _ => None,
    }
}

/// The dataset that a name means whatever its capitals and hyphens, in the singular as well.
fn spoken_of(stem: &str) -> Option<Dataset> {
    let folded = fold(stem).replace(' ', "_");
    let in_plural = format!("{folded}s");
    let is_meant = |name: &str| name == folded || name == in_plural || format!("{name}s") == folded;
    Dataset::ALL.into_iter().find(|dataset| {
        let definition = dataset.definition();
        definition.files.iter().any(|file| is_meant(file)) || is_meant(&definition.singular.replace(' ', "_"))
    })
}

/// Endings of files that hold tables or the like.
const TABLES: &[&str] = &["csv", "tsv", "txt", "xls", "xlsx", "ods", "numbers", "xml", "yaml", "yml"];

/// The whole names of the entries that are no part of an event archive.
fn ignored<'a>(archive: &'a Archive, layout: &'a Layout) -> impl Iterator<Item = &'a str> {
    layout.ignored.iter().map(|entry| archive.entries()[*entry].name.as_str())
}

/// The folder and the last part of a name.
fn in_folder(name: &str) -> Option<(&str, &str)> {
    name.rsplit_once('/')
}

fn ending_of(name: &str) -> Option<String> {
    name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase())
}

/// Where several entries could be a dataset's file, the name that is written today counts.
fn rank_of(dataset: Dataset, path: &str) -> usize {
    let files = dataset.definition().files;
    let (stem, with_ending) = match path.strip_suffix(".json") {
        Some(stem) => (stem, 1),
        None => (path, 0),
    };
    files.iter().position(|file| *file == stem).unwrap_or(files.len()) * 2 + with_ending
}

/// Reads the records of a dataset one by one. Times without an offset are read in `zone`.
///
/// # Errors
/// See [`ReadError`]; records given before the error are of no worth where the file counts as not there.
pub(crate) fn read_dataset<E>(
    archive: &Archive,
    layout: &Layout,
    limits: &Limits,
    dataset: Dataset,
    zone: Tz,
    visit: &mut dyn FnMut(Item<'_>) -> Result<(), E>,
) -> Result<(), ReadError<E>> {
    match (layout.files.get(&dataset), dataset) {
        (Some(entry), _) => read_file(archive, limits, dataset, *entry, zone, visit),
        (None, Dataset::SocialLinks) => {
            let Some(entry) = layout.files.get(&Dataset::Event) else { return Ok(()) };
            read_nested_links(archive, limits, *entry, zone, visit)
        }
        (None, _) => Ok(()),
    }
}

/// Records are read and converted on a thread of their own, a little ahead of whoever looks at them.
fn read_file<E>(
    archive: &Archive,
    limits: &Limits,
    dataset: Dataset,
    entry: usize,
    zone: Tz,
    visit: &mut dyn FnMut(Item<'_>) -> Result<(), E>,
) -> Result<(), ReadError<E>> {
    thread::scope(|scope| {
        let (sender, receiver) = mpsc::sync_channel(BATCHES_AHEAD);
        let reader = scope.spawn(move || {
            let mut batch = Batch::default();
            let read = convert_file(archive, limits, dataset, entry, zone, &mut |item| {
                batch.push(item);
                if batch.is_full() { sender.send(std::mem::take(&mut batch)).map_err(|_| NobodyReads) } else { Ok(()) }
            });
            // What was read before an error comes before it.
            let sent = sender.send(batch).map_err(|_| NobodyReads);
            read.and(sent.map_err(ReadError::Stopped))
        });
        let visited = receiver.into_iter().try_for_each(|batch: Batch| batch.visit(visit));
        let read = reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        visited.map_err(ReadError::Stopped)?;
        read.map_err(|error| match error {
            ReadError::File(problem) => ReadError::File(problem),
            ReadError::Archive(problem) => ReadError::Archive(problem),
            ReadError::Io(error) => ReadError::Io(error),
            ReadError::Stopped(NobodyReads) => ReadError::Io(io::Error::other("the reader of a file was left alone")),
        })
    })
}

/// Batches that are read before the first of them is looked at.
const BATCHES_AHEAD: usize = 2;

/// Bytes of records in a batch, about.
const BATCH_BYTES: usize = 64 * 1024;

/// Records in a batch, at most.
const BATCH_RECORDS: usize = 256;

/// Bytes that all fields of a form together may hold, each counted with the whole form, in records of the largest size. The
/// largest forms that were seen have some 40 fields in 6 KiB.
const FORM_RECORDS: usize = 16;

/// Keys of a record, at most: what is kept of each would make a record of nothing else many times its size. The largest
/// records that were seen have some 60.
pub(super) const MOST_KEYS: usize = 10_000;

fn too_many_keys(keys: usize) -> Problem {
    Problem::new(
        Code::LimitRecordBytes,
        format!(
            "the record has {} keys, more than the {} that one may have",
            grouped(keys as u64),
            grouped(MOST_KEYS as u64)
        ),
        "leave out what is no field, or give each thing a record of its own",
    )
}

/// Whoever was given the records wants no more, and knows why.
struct NobodyReads;

/// Records on their way from one thread to another.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    records: Vec<BatchRecord>,
}

struct BatchRecord {
    ordinal: u64,
    position: u64,
    raw: Option<Range<usize>>,
    outcome: Result<Converted, Problem>,
}

impl Batch {
    fn push(&mut self, item: Item<'_>) {
        let Item { ordinal, position, raw, outcome } = item;
        let raw = raw.map(|raw| {
            let start = self.bytes.len();
            self.bytes.extend_from_slice(raw);
            start..self.bytes.len()
        });
        self.records.push(BatchRecord { ordinal, position, raw, outcome });
    }

    fn is_full(&self) -> bool {
        self.bytes.len() >= BATCH_BYTES || self.records.len() >= BATCH_RECORDS
    }

    fn visit<E>(self, visit: &mut dyn FnMut(Item<'_>) -> Result<(), E>) -> Result<(), E> {
        let Self { bytes, records } = self;
        records.into_iter().try_for_each(|BatchRecord { ordinal, position, raw, outcome }| {
            visit(Item { ordinal, position, raw: raw.map(|range| &bytes[range]), outcome })
        })
    }
}

fn convert_file<E>(
    archive: &Archive,
    limits: &Limits,
    dataset: Dataset,
    entry: usize,
    zone: Tz,
    visit: &mut dyn FnMut(Item<'_>) -> Result<(), E>,
) -> Result<(), ReadError<E>> {
    let mut ordinal = 0;
    let mut converter = Converter::new(dataset, zone);
    let top = if dataset == Dataset::Event { Top::Object } else { Top::Array };
    each_element(archive, limits, entry, top, &mut |position, bytes, outcome| {
        let (bytes, text) = match outcome {
            Err(problem) => {
                let item = Item { ordinal, position, raw: bytes, outcome: Err(problem) };
                ordinal += 1;
                return visit(item).map_err(ElementError::Stopped);
            }
            Ok(text) => (bytes, text),
        };
        let raw = RawRecord::parse_at_most(text, MOST_KEYS).map_err(ElementError::Syntax)?;
        if raw.more_keys > 0 {
            let item = Item { ordinal, position, raw: bytes, outcome: Err(too_many_keys(MOST_KEYS + raw.more_keys)) };
            ordinal += 1;
            return visit(item).map_err(ElementError::Stopped);
        }
        if dataset == Dataset::CustomForms && forms::is_whole(&raw) {
            let most = FORM_RECORDS * limits.record_bytes / text.len().max(1);
            let fields = match forms::fields(&raw, most) {
                Ok(fields) => fields,
                Err(problem) => {
                    let item = Item { ordinal, position, raw: bytes, outcome: Err(problem) };
                    ordinal += 1;
                    return visit(item).map_err(ElementError::Stopped);
                }
            };
            for field in &fields {
                let raw_field = RawRecord::parse(field).map_err(ElementError::Syntax)?;
                let outcome = Ok(converter.convert(&raw_field));
                visit(Item { ordinal, position, raw: bytes, outcome }).map_err(ElementError::Stopped)?;
                ordinal += 1;
            }
            return Ok(());
        }
        let mut converted = converter.convert(&raw);
        if dataset == Dataset::Event && converted.source_id.is_none() && raw.get("id").is_none() {
            converted.source_id = raw.get("identifier").and_then(|raw| value::id(raw).ok().flatten());
        }
        let item = Item { ordinal, position, raw: bytes, outcome: Ok(converted) };
        ordinal += 1;
        visit(item).map_err(ElementError::Stopped)
    })
}

/// The links of an event stand in the event itself in every archive that was seen.
fn read_nested_links<E>(
    archive: &Archive,
    limits: &Limits,
    entry: usize,
    zone: Tz,
    visit: &mut dyn FnMut(Item<'_>) -> Result<(), E>,
) -> Result<(), ReadError<E>> {
    each_element(archive, limits, entry, Top::Object, &mut |_, _, outcome| {
        let Ok(text) = outcome else { return Ok(()) };
        let event = RawRecord::parse(text).map_err(ElementError::Syntax)?;
        let Some(links) = event.get("social_links") else { return Ok(()) };
        if value::shape(links) != value::Shape::List {
            return Ok(());
        }
        let links: Vec<&RawValue> = serde_json::from_str(links).map_err(ElementError::Syntax)?;
        for (index, link) in links.into_iter().enumerate() {
            let position = index as u64 + 1;
            let outcome = match value::shape(link.get()) {
                value::Shape::Object => {
                    let raw = RawRecord::parse(link.get()).map_err(ElementError::Syntax)?;
                    let mut converted = record::convert(Dataset::SocialLinks, &raw, zone);
                    if converted.source_id.is_none() {
                        converted.source_id = Some(format!("link-{position}"));
                    }
                    Ok(converted)
                }
                _ => Err(not_an_object(link.get())),
            };
            let item = Item { ordinal: index as u64, position, raw: Some(link.get().as_bytes()), outcome };
            visit(item).map_err(ElementError::Stopped)?;
        }
        Ok(())
    })
}

/// Reads a small file that is one object, such as `meta`.
///
/// # Errors
/// As [`read_dataset`].
pub(crate) fn read_object<T, E>(
    archive: &Archive,
    limits: &Limits,
    entry: usize,
    read: impl FnOnce(&RawRecord<'_>, &str) -> T,
) -> Result<Option<T>, ReadError<E>> {
    let mut found = None;
    let mut read = Some(read);
    each_element(archive, limits, entry, Top::Object, &mut |_, _, outcome| {
        if let Ok(text) = outcome
            && let Some(read) = read.take()
        {
            let raw = RawRecord::parse(text).map_err(ElementError::Syntax)?;
            found = Some(read(&raw, text));
        }
        Ok(())
    })?;
    Ok(found)
}

enum ElementError<E> {
    Syntax(serde_json::Error),
    Stopped(E),
}

type Element<'v, E> = &'v mut dyn FnMut(u64, Option<&[u8]>, Result<&str, Problem>) -> Result<(), ElementError<E>>;

fn each_element<E>(
    archive: &Archive,
    limits: &Limits,
    entry: usize,
    top: Top,
    visit: Element<'_, E>,
) -> Result<(), ReadError<E>> {
    let name = archive.entries()[entry].path.as_str();
    let reader = archive.reader(entry).map_err(|error| from_archive(error, name))?;
    let bounds = Bounds { bytes: limits.record_bytes, depth: limits.json_depth };
    let mut splitter = Splitter::new(reader, top, bounds);
    loop {
        let piece = match splitter.next_piece() {
            Ok(None) => return Ok(()),
            Ok(Some(piece)) => piece,
            Err(SplitError::Syntax(syntax)) => return Err(ReadError::File(not_json(archive, entry, &syntax))),
            Err(SplitError::WrongTop { found }) => return Err(ReadError::File(wrong_top(name, top, found))),
            Err(SplitError::Io(error)) => return Err(from_io(error, name)),
        };
        let (position, bytes, place, outcome) = match piece {
            Piece::TooLarge { position } => (position, None, None, Err(too_large(limits))),
            Piece::TooDeep { position } => (position, None, None, Err(too_deep(limits))),
            Piece::Element { position, place, bytes } => (position, Some(bytes), Some(place), element_text(bytes)),
        };
        match visit(position, bytes, outcome) {
            Ok(()) => {}
            Err(ElementError::Stopped(stopped)) => return Err(ReadError::Stopped(stopped)),
            Err(ElementError::Syntax(error)) => {
                let syntax = match (place, bytes) {
                    (Some(place), Some(bytes)) => syntax_within(place, bytes, &error),
                    _ => return Err(ReadError::Io(io::Error::other(error))),
                };
                return Err(ReadError::File(not_json(archive, entry, &syntax)));
            }
        }
    }
}

fn element_text(bytes: &[u8]) -> Result<&str, Problem> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let at = error.valid_up_to();
        Problem::new(
            Code::Encoding,
            format!("the record is no valid UTF-8 (its byte {} cannot be read)", at + 1),
            "save the file again as UTF-8",
        )
        .with_value(&String::from_utf8_lossy(&bytes[at.saturating_sub(20)..(at + 20).min(bytes.len())]))
    })?;
    // What is no object is a bad record where it is JSON; where it is not, it is handed on and fails as a record, so that
    // the whole file is told to be broken at that place.
    let is_other_json =
        value::shape(text) != value::Shape::Object && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
    if is_other_json { Err(not_an_object(text)) } else { Ok(text) }
}

fn not_an_object(text: &str) -> Problem {
    Problem::new(
        Code::RecordNotAnObject,
        "this element of the list is no record",
        "every element must be an object, such as `{\"id\": 1, …}`",
    )
    .with_value(&value::shown(text))
}

fn too_large(limits: &Limits) -> Problem {
    Problem::new(
        Code::LimitRecordBytes,
        format!("the record has more than {} bytes", limits.record_bytes),
        "shorten its texts, or ask the admin to raise `limits.record_bytes`",
    )
}

fn too_deep(limits: &Limits) -> Problem {
    Problem::new(
        Code::LimitJsonDepth,
        format!("the record is nested more than {} levels deep", limits.json_depth),
        "flatten it, or ask the admin to raise `limits.json_depth`",
    )
}

fn not_json(archive: &Archive, entry: usize, syntax: &Syntax) -> Problem {
    let file = archive.entries()[entry].path.as_str();
    let of_whole_file = |what: &str, hint: &str| {
        Problem::new(Code::JsonSyntax, format!("`{file}` {what}; the whole file counts as not there"), hint)
            .in_file(file)
    };
    match peculiarity_of(archive, entry) {
        Some(Peculiarity::Empty) => of_whole_file("is empty", "fill it, or leave it out of the archive"),
        Some(Peculiarity::Utf16) => of_whole_file("is text in UTF-16", "save it again as UTF-8"),
        None => syntax_problem(file, syntax),
    }
}

/// What is wrong with a file as a whole, so that no place in it is.
enum Peculiarity {
    Empty,
    Utf16,
}

fn peculiarity_of(archive: &Archive, entry: usize) -> Option<Peculiarity> {
    /// More blanks than anybody leaves in an empty file.
    const LOOKED_AT: u64 = 1024;
    let mut start = Vec::new();
    // What cannot be read is told by whoever reads all of it.
    archive.reader(entry).ok()?.take(LOOKED_AT).read_to_end(&mut start).ok()?;
    let is_blank = |bytes: &[u8]| bytes.iter().all(u8::is_ascii_whitespace);
    match start.as_slice() {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [1..=255, 0, ..] | [0, 1..=255, ..] => Some(Peculiarity::Utf16),
        [0xef, 0xbb, 0xbf, rest @ ..] if is_blank(rest) => Some(Peculiarity::Empty),
        bytes if is_blank(bytes) && (bytes.len() as u64) < LOOKED_AT => Some(Peculiarity::Empty),
        _ => None,
    }
}

fn syntax_problem(file: &str, syntax: &Syntax) -> Problem {
    Problem::new(
        Code::JsonSyntax,
        format!(
            "`{file}` is not valid JSON: line {}, column {}: {}; the whole file counts as not there",
            syntax.place.line, syntax.place.column, syntax.message
        ),
        "mend the file at that place; a JSON checker shows it",
    )
    .in_file(file)
    .with_value(&syntax.quote)
}

fn wrong_top(file: &str, top: Top, found: &str) -> Problem {
    let wanted = match top {
        Top::Array => "a list of records (`[ … ]`)",
        Top::Object => "one object (`{ … }`)",
    };
    Problem::new(
        Code::WrongTopLevel,
        format!("`{file}` must hold {wanted}, but holds {found}; the whole file counts as not there"),
        format!("write {wanted}"),
    )
    .in_file(file)
}

/// Sorts a fault of an entry: what touches the whole archive, and what only this file.
pub(crate) fn from_archive<E>(error: archive::ReadError, file: &str) -> ReadError<E> {
    match error {
        archive::ReadError::Io(error) => from_io(error, file),
        archive::ReadError::Fault(fault) => from_fault(&fault, file),
    }
}

/// As [`from_archive`], for an error met while reading bytes.
pub(crate) fn from_io<E>(error: io::Error, file: &str) -> ReadError<E> {
    match archive::fault_of(&error) {
        Some(fault) => from_fault(fault, file),
        None => ReadError::Io(error),
    }
}

fn from_fault<E>(fault: &archive::Fault, file: &str) -> ReadError<E> {
    let problem = problem_of(fault).in_file(file);
    if fault.code.refuses_archive() { ReadError::Archive(problem) } else { ReadError::File(problem) }
}

/// What a fault of the zip says to the person who made it.
pub(crate) fn problem_of(fault: &archive::Fault) -> Problem {
    let code = Code::parse(fault.code.as_str()).unwrap_or(Code::EntryDamaged);
    let problem = Problem::new(code, fault.message.clone(), fault.hint.clone());
    match &fault.entry {
        Some(entry) => problem.in_file(entry.clone()),
        None => problem,
    }
}

/// Reads an entry to its end, so that its checksum is verified, and hands its bytes on.
///
/// # Errors
/// As [`read_dataset`].
pub(crate) fn read_through(
    archive: &Archive,
    entry: usize,
    buffer: &mut [u8],
    mut take: impl FnMut(&[u8]),
) -> Result<(), ReadError<std::convert::Infallible>> {
    let name = archive.entries()[entry].path.as_str();
    let mut reader = archive.reader(entry).map_err(|error| from_archive(error, name))?;
    loop {
        match reader.read(buffer) {
            Ok(0) => return Ok(()),
            Ok(read) => take(&buffer[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(from_io(error, name)),
        }
    }
}
