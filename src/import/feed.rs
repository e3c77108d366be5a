//! The second pass: records that go in, in chunks, read ahead of the writing on a thread of its own.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use chrono_tz::Tz;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::cells::{content_hash, references};
use super::check::{Checked, FoundMedia, find_media, media_of, rebuilt_record};
use super::definitions::{Decision, fresh_id};
use super::links::Links;
use super::scratch::{Cursor, number_at};
use super::source::{self, Layout, ReadError};
use crate::archive::{Archive, Limits};
use crate::format::FieldValue;
use crate::model::Dataset;
use crate::model::catalogue::{Field, FieldKind};
use crate::model::throttle::Throttle;
use crate::storage::hex;
use crate::store::media::MediaState;

/// What is read from.
#[derive(Debug)]
pub(crate) struct Feed {
    pub(crate) archive: Archive,
    pub(crate) layout: Layout,
    pub(crate) limits: Limits,
    pub(crate) zone: Tz,
    pub(crate) checked: Checked,
}

/// How much is read ahead as one chunk; asked for before each.
pub(crate) type ChunkSize = Arc<dyn Fn() -> Throttle + Send + Sync>;

/// A record that goes in.
#[derive(Debug)]
pub(crate) struct LoadRecord {
    /// Its number in the dataset.
    pub(crate) ordinal: u64,
    pub(crate) source_id: String,
    pub(crate) values: Vec<FieldValue>,
    pub(crate) extra: String,
    pub(crate) content_hash: String,
    /// References by field, under the ids that are meant.
    pub(crate) references: Vec<(&'static Field, Dataset, Vec<String>)>,
    /// Speakers of a session that only they themselves mention.
    pub(crate) extra_speakers: Vec<String>,
    /// Media fields.
    pub(crate) media: Vec<LoadMedia>,
}

/// A field of a record that names a media file.
#[derive(Debug)]
pub(crate) struct LoadMedia {
    pub(crate) field: &'static Field,
    pub(crate) state: MediaState,
    /// SHA-256 in hex of its bytes, where it is in the archive.
    pub(crate) sha256: Option<String>,
}

/// Records of one dataset that go in together.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) records: Vec<LoadRecord>,
    /// The number of the next record.
    pub(crate) next: u64,
    /// Whether it is the last of its dataset.
    pub(crate) is_last: bool,
}

/// Why the feed ended early.
#[derive(Debug)]
pub(crate) enum FeedError {
    /// What was good in the check is not now: the file was changed.
    Changed(String),
    /// The disk failed.
    Io(std::io::Error),
    /// Nobody wants more.
    Closed,
}

impl From<std::io::Error> for FeedError {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

/// Chunks that wait to be written.
const AHEAD: usize = 1;

/// Reads a dataset from the record number `next` on.
pub(crate) fn start(
    feed: &Arc<Feed>,
    dataset: Dataset,
    next: u64,
    size: ChunkSize,
) -> mpsc::Receiver<Result<Chunk, FeedError>> {
    let (sender, receiver) = mpsc::channel(AHEAD);
    let feed = Arc::clone(feed);
    tokio::task::spawn_blocking(move || {
        let result = Reader::new(&feed, dataset, next, size, &sender).and_then(Reader::read);
        match result {
            Ok(()) | Err(FeedError::Closed) => {}
            Err(error) => {
                // Nobody to tell it to means that nobody wants to know.
                let _ = sender.blocking_send(Err(error));
            }
        }
    });
    receiver
}

struct Reader<'a> {
    feed: &'a Feed,
    dataset: Dataset,
    first: u64,
    size: ChunkSize,
    bounds: Throttle,
    sender: &'a mpsc::Sender<Result<Chunk, FeedError>>,
    decisions: super::definitions::Decisions<'a>,
    extra_links: Cursor<'a, 16>,
    records: Vec<LoadRecord>,
    bytes: usize,
    ordinal: u64,
}

impl<'a> Reader<'a> {
    fn new(
        feed: &'a Feed,
        dataset: Dataset,
        first: u64,
        size: ChunkSize,
        sender: &'a mpsc::Sender<Result<Chunk, FeedError>>,
    ) -> Result<Self, FeedError> {
        let definitions = definitions(&feed.checked.definitions, dataset)?;
        let links: &Links = &feed.checked.links;
        Ok(Self {
            feed,
            dataset,
            first,
            bounds: size(),
            size,
            sender,
            decisions: definitions.decisions()?,
            extra_links: links.extra()?,
            records: Vec::new(),
            bytes: 0,
            ordinal: 0,
        })
    }

    fn read(mut self) -> Result<(), FeedError> {
        let feed = self.feed;
        let has_file =
            feed.checked.files.get(&self.dataset).is_some_and(|state| *state != super::check::FileState::Absent);
        if has_file {
            self.read_file()?;
        }
        if let Some(resolved) = feed.checked.resolved.get(&self.dataset) {
            resolved.each_rebuilt(|id, text| -> Result<(), FeedError> {
                let ordinal = self.ordinal;
                self.ordinal += 1;
                if ordinal < self.first {
                    return Ok(());
                }
                let record = rebuilt_record(self.dataset, &id, &text.name, text.nested.as_deref(), feed.zone);
                let size = text.nested.as_ref().map_or(0, String::len);
                self.add(id, record, Vec::new(), size)
            })?;
        }
        self.send(true)
    }

    fn read_file(&mut self) -> Result<(), FeedError> {
        let feed = self.feed;
        let dataset = self.dataset;
        let result = source::read_dataset(&feed.archive, &feed.layout, &feed.limits, dataset, feed.zone, &mut |item| {
            self.ordinal = item.ordinal + 1;
            let extra_speakers = self.extra_speakers(item.ordinal)?;
            if item.ordinal < self.first {
                return Ok(());
            }
            let decision = self.decisions.of(item.ordinal)?;
            let size = item.raw.map_or(0, <[u8]>::len);
            let changed = || FeedError::Changed(format!("a record of `{dataset}` reads otherwise than before"));
            match (decision, item.outcome) {
                (Decision::Merge | Decision::Reject, _) => Ok(()),
                (Decision::Keep, Ok(record)) => {
                    let id = record.source_id.clone().ok_or_else(changed)?;
                    self.add(id, record, extra_speakers, size)
                }
                (Decision::Rename(number), Ok(record)) => {
                    let id = record.source_id.as_deref().map(|id| fresh_id(id, number)).ok_or_else(changed)?;
                    self.add(id, record, extra_speakers, size)
                }
                (Decision::Keep | Decision::Rename(_), Err(_)) => Err(changed()),
            }
        });
        match result {
            Ok(()) => Ok(()),
            Err(ReadError::Stopped(error)) => Err(error),
            Err(ReadError::Io(error)) => Err(FeedError::Io(error)),
            Err(ReadError::File(problem) | ReadError::Archive(problem)) => Err(FeedError::Changed(problem.message)),
        }
    }

    /// The speakers that mention a session which does not mention them.
    fn extra_speakers(&mut self, ordinal: u64) -> Result<Vec<String>, FeedError> {
        let mut found = Vec::new();
        if self.dataset != Dataset::Sessions {
            return Ok(found);
        }
        let speakers = definitions(&self.feed.checked.definitions, Dataset::Speakers)?;
        while let Some(link) = self.extra_links.head().copied() {
            let session = number_at(&link, 0);
            if session > ordinal {
                break;
            }
            if session == ordinal {
                found.push(speakers.id_of(number_at(&link, 8))?);
            }
            self.extra_links.advance()?;
        }
        Ok(found)
    }

    fn add(
        &mut self,
        source_id: String,
        record: crate::format::Converted,
        extra_speakers: Vec<String>,
        size: usize,
    ) -> Result<(), FeedError> {
        let mut meant = Vec::new();
        let mut found = Vec::new();
        for (field, target, list) in references(self.dataset, &record.values) {
            let definitions = definitions(&self.feed.checked.definitions, target)?;
            let mut ids = Vec::with_capacity(list.len());
            let mut seen = HashSet::new();
            for reference in list {
                let id = definitions.meant_by(reference)?;
                if id != reference.id {
                    meant.push(id.clone());
                }
                if list.len() == 1 || seen.insert(id.clone()) {
                    ids.push(id);
                }
            }
            found.push((field, target, ids));
        }
        let media = media_of(self.dataset, &record).map(|(field, path)| load_media(self.feed, field, path)).collect();
        let content_hash = content_hash(&record, &meant, &extra_speakers);
        self.bytes += size;
        self.records.push(LoadRecord {
            // Counted on already.
            ordinal: self.ordinal - 1,
            source_id,
            values: record.values,
            extra: record.extra,
            content_hash,
            references: found,
            extra_speakers,
            media,
        });
        let is_full = self.records.len() >= self.bounds.chunk_records || self.bytes >= self.bounds.chunk_bytes;
        if is_full { self.send(false) } else { Ok(()) }
    }

    fn send(&mut self, is_last: bool) -> Result<(), FeedError> {
        let records = std::mem::take(&mut self.records);
        self.bytes = 0;
        self.bounds = (self.size)();
        let chunk = Chunk { records, next: self.ordinal, is_last };
        self.sender.blocking_send(Ok(chunk)).map_err(|_| FeedError::Closed)?;
        if !is_last {
            // The next chunk is begun when this one is taken: two are in memory, this one and the one that is written.
            Handle::current().block_on(self.sender.reserve()).map_err(|_| FeedError::Closed)?;
        }
        Ok(())
    }
}

fn definitions(
    all: &BTreeMap<Dataset, super::definitions::Definitions>,
    dataset: Dataset,
) -> Result<&super::definitions::Definitions, FeedError> {
    all.get(&dataset).ok_or_else(|| FeedError::Changed(format!("`{dataset}` was not checked")))
}

fn load_media(feed: &Feed, field: &'static Field, path: &str) -> LoadMedia {
    let mut sha256 = None;
    let state = match find_media(&feed.archive, &feed.checked.damaged, path) {
        FoundMedia::Remote => MediaState::Remote { link: path.to_owned() },
        FoundMedia::Entry(entry) => {
            sha256 = feed.checked.hashes.get(&entry).map(|hash| hex(hash));
            MediaState::Pending { path: feed.archive.entries()[entry].path.clone() }
        }
        FoundMedia::Damaged(_, reason) => MediaState::Missing { path: path.to_owned(), reason },
        FoundMedia::Missing => {
            MediaState::Missing { path: path.to_owned(), reason: "it is not in the archive".to_owned() }
        }
    };
    LoadMedia { field, state, sha256 }
}

/// Whether a field is a list of links.
pub(crate) fn is_list(field: &Field) -> bool {
    matches!(field.kind, FieldKind::References(_))
}
