//! `rejected.zip`: what did not go in, to be corrected and dropped again.

use std::collections::BTreeSet;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use super::check::{FileState, FoundMedia, find_media, media_of};
use super::definitions::Decision;
use super::feed::Feed;
use super::head::{DIRECTIVES_VERSION, Directives};
use super::source::{self, MOST_KEYS, ReadError};
use crate::archive::Writer;
use crate::format::{RawRecord, record};
use crate::fsx::{self, AtomicFile};
use crate::model::{Dataset, JobId};

/// Writes the rejected records of a job, and the files that could not be read at all, as an archive that adds to the
/// same event. Says whether there was anything to write.
///
/// A crash leaves the whole file or none; the same archive gives the same bytes.
pub(super) fn write(path: &Path, feed: &Feed, event: i64, job: JobId) -> io::Result<bool> {
    let folder = path.parent().unwrap_or(path);
    let mut rejects = Rejects { feed, folder, media: BTreeSet::new(), wrote: false };
    let mut zip = Writer::new(AtomicFile::create(path)?);
    feed.archive.begin_pass();
    for dataset in Dataset::ALL {
        rejects.write_dataset(&mut zip, dataset)?;
    }
    if !rejects.wrote {
        return Ok(false);
    }
    for entry in &rejects.media {
        let name = feed.archive.entries()[*entry].path.as_str();
        let mut reader = match feed.archive.reader(*entry) {
            Ok(reader) => reader,
            Err(error) => return Err(to_io(source::from_archive::<()>(error, name))),
        };
        zip.add(name, &mut reader)?;
    }
    let directives = Directives {
        version: Some(DIRECTIVES_VERSION),
        event: Some(event),
        supplement_of: Some(job),
        ..Directives::default()
    };
    let text = serde_json::to_string_pretty(&directives)? + "\n";
    zip.add(source::DIRECTIVES_FILE, &mut text.as_bytes())?;
    zip.finish()?.commit()?;
    Ok(true)
}

struct Rejects<'a> {
    feed: &'a Feed,
    folder: &'a Path,
    media: BTreeSet<usize>,
    wrote: bool,
}

impl Rejects<'_> {
    fn write_dataset(&mut self, zip: &mut Writer<AtomicFile>, dataset: Dataset) -> io::Result<()> {
        let feed = self.feed;
        let file = feed.checked.files.get(&dataset).copied().unwrap_or(FileState::Absent);
        match (feed.layout.files.get(&dataset), file) {
            (Some(entry), FileState::Absent) => self.copy_broken(zip, *entry),
            (_, FileState::Incomplete | FileState::Whole) => self.write_records(zip, dataset),
            (None, FileState::Absent) => Ok(()),
        }
    }

    /// A file that is no JSON goes in as it is. Of one whose bytes are damaged there is nothing to correct.
    fn copy_broken(&mut self, zip: &mut Writer<AtomicFile>, entry: usize) -> io::Result<()> {
        let archive = &self.feed.archive;
        let mut buffer = vec![0; 64 * 1024];
        if source::read_through(archive, entry, &mut buffer, |_| {}).is_err() {
            return Ok(());
        }
        let name = archive.entries()[entry].path.as_str();
        let mut reader = archive.reader(entry).map_err(|error| to_io(source::from_archive::<()>(error, name)))?;
        self.wrote = true;
        zip.add(name, &mut reader)
    }

    fn write_records(&mut self, zip: &mut Writer<AtomicFile>, dataset: Dataset) -> io::Result<()> {
        let feed = self.feed;
        if feed.checked.counts.get(&dataset).is_none_or(|counts| counts.rejected == 0) {
            return Ok(());
        }
        let Some(definitions) = feed.checked.definitions.get(&dataset) else { return Ok(()) };
        let mut decisions = definitions.decisions()?;
        let mut list = fsx::unnamed_file(&self.folder.join("rejects"))?;
        let mut count = 0_u64;
        let mut last_position = 0;
        let media = &mut self.media;
        let mut visit = |item: source::Item<'_>| {
            let is_rejected = decisions.of(item.ordinal)? == Decision::Reject;
            // The fields of one form share its bytes: it goes in once.
            if !is_rejected || item.position == last_position {
                return Ok(());
            }
            let Some(raw) = item.raw else { return Ok(()) };
            last_position = item.position;
            list.write_all(if count == 0 { b"" } else { b",\n" })?;
            list.write_all(raw)?;
            count += 1;
            if let Some(raw) =
                std::str::from_utf8(raw).ok().and_then(|text| RawRecord::parse_at_most(text, MOST_KEYS).ok())
            {
                let converted = record::convert(dataset, &raw, feed.zone);
                for (_, path) in media_of(dataset, &converted) {
                    if let FoundMedia::Entry(entry) = find_media(&feed.archive, &feed.checked.damaged, path) {
                        media.insert(entry);
                    }
                }
            }
            Ok::<(), io::Error>(())
        };
        source::read_dataset(&feed.archive, &feed.layout, &feed.limits, dataset, feed.zone, &mut visit).map_err(
            |error| match error {
                ReadError::Stopped(error) => error,
                other => to_io(other),
            },
        )?;
        if count == 0 {
            return Ok(());
        }
        self.wrote = true;
        list.seek(SeekFrom::Start(0))?;
        let name = dataset.definition().files[0];
        if dataset == Dataset::Event {
            return zip.add(name, &mut list);
        }
        zip.add(name, &mut (&b"[\n"[..]).chain(list).chain(&b"\n]\n"[..]))
    }
}

fn to_io<E>(error: ReadError<E>) -> io::Error {
    match error {
        ReadError::Io(error) => error,
        ReadError::File(problem) | ReadError::Archive(problem) => io::Error::other(problem.message),
        ReadError::Stopped(_) => io::Error::other("the reading was stopped"),
    }
}
