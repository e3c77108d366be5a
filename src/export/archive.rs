//! The event archive: a zip of JSON files and media, as an import takes it in again without changing anything.
//!
//! Pages of records are read by the database's own thread while another writes and compresses those before.

mod check;
mod media;
mod privacy;
mod record;
mod rows;
mod values;

use std::fs::File;
use std::io::{self, Seek, Write};

use chrono_tz::Tz;
use tokio::sync::mpsc;

use self::media::{MediaPlan, has_media};
use self::record::{Beside, Shape};
use self::rows::Rows;
use super::program::{Notes, Privacy, ReadError, RenderError, Rendered};
use crate::archive::Writer;
use crate::db::{DbError, Tx};
use crate::format::zone;
use crate::model::Dataset;
use crate::model::export::MediaSwitches;
use crate::storage::MediaStore;
use crate::store::exports::{self, EventHead, MediaRow, Page};

pub use self::check::{Checked, check};

/// What goes into an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArchiveOptions {
    /// Whether personal data goes in.
    pub privacy: Privacy,
    /// Which media go in.
    pub media: MediaSwitches,
}

/// Pages that are read before the first of them is written; one more is being read, and one is being written.
const AHEAD: usize = 1;

/// Bytes of JSON that are handed to the compression at once.
const WRITE_BYTES: usize = 64 * 1024;

/// How hard deflate tries; see `benches/README.md`.
const LEVEL: i64 = 3;

/// The order of the files; media follow.
const FILES: [Dataset; 9] = [
    Dataset::Event,
    Dataset::SocialLinks,
    Dataset::CustomForms,
    Dataset::Microlocations,
    Dataset::Sponsors,
    Dataset::Speakers,
    Dataset::Tracks,
    Dataset::SessionTypes,
    Dataset::Sessions,
];

/// Writes the archive of an event to `out`: the same records give the same bytes, in whatever database they are.
///
/// # Errors
/// [`RenderError::Read`] where the database is out of reach or does not have the event, [`RenderError::Write`] where
/// `out` or the media store cannot be used.
pub async fn render<W: Write + Seek + Send + 'static>(
    snapshot: &mut Tx,
    event_id: i64,
    options: &ArchiveOptions,
    store: &MediaStore,
    out: W,
) -> Result<Rendered, RenderError> {
    let head = exports::head(snapshot, event_id).await?;
    let head = head.ok_or_else(|| ReadError(format!("event {event_id} is not there")))?;
    let media = read_media(snapshot, event_id).await?;
    let (sender, pages) = mpsc::channel(AHEAD);
    let (options, store) = (*options, store.clone());
    let source = Source { head: head.clone(), media, pages };
    let writing = tokio::task::spawn_blocking(move || write(source, options, &store, out));
    let read = send_pages(snapshot, event_id, &head, &sender).await;
    drop(sender);
    let written = writing.await.map_err(|error| {
        let reason = format!("the writer ended: {error}");
        // A runtime that is shutting down says nothing of the event.
        if error.is_cancelled() { RenderError::Read(ReadError(reason)) } else { io::Error::other(reason).into() }
    })?;
    // Where the reading failed, the writer knows only that nothing more has come.
    read?;
    written
}

impl From<DbError> for RenderError {
    fn from(error: DbError) -> Self {
        Self::Read(ReadError(error.to_string()))
    }
}

/// What is on its way from the database.
#[derive(Debug)]
enum Piece {
    Page(Page),
    /// The dataset has no more records.
    End,
}

#[derive(Debug)]
struct Source {
    head: EventHead,
    media: Vec<(Dataset, Vec<MediaRow>)>,
    pages: mpsc::Receiver<Piece>,
}

async fn read_media(snapshot: &mut Tx, event_id: i64) -> Result<Vec<(Dataset, Vec<MediaRow>)>, DbError> {
    let mut found = Vec::new();
    for dataset in FILES.into_iter().filter(|dataset| has_media(*dataset)) {
        let mut rows: Vec<MediaRow> = Vec::new();
        loop {
            let after = rows.last().map_or((0, ""), |row| (row.record_id, row.field.as_str()));
            let page = exports::media(snapshot, dataset, event_id, after).await?;
            if page.is_empty() {
                break;
            }
            rows.extend(page);
        }
        found.push((dataset, rows));
    }
    Ok(found)
}

/// Sends the pages of all datasets in the order of the files; ends early where nobody takes them any more.
async fn send_pages(
    snapshot: &mut Tx,
    event_id: i64,
    head: &EventHead,
    pages: &mpsc::Sender<Piece>,
) -> Result<(), DbError> {
    for dataset in FILES {
        if let Some(mut remaining) = exports::all(snapshot, dataset, event_id).await? {
            while let Some(page) = exports::page(snapshot, dataset, event_id, head, &mut remaining).await? {
                if pages.send(Piece::Page(page)).await.is_err() {
                    return Ok(());
                }
            }
        }
        if pages.send(Piece::End).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

fn write<W: Write + Seek>(
    mut source: Source,
    options: ArchiveOptions,
    store: &MediaStore,
    out: W,
) -> Result<Rendered, RenderError> {
    let zone = source.head.timezone.as_deref().and_then(zone::recognise).map_or(Tz::UTC, |found| found.zone);
    let mut rendered = Rendered::default();
    let media = MediaPlan::new(std::mem::take(&mut source.media), options.media, store, &mut rendered.notes);
    let mut zip = Writer::new(out).with_level(LEVEL);
    let root_url = values::quoted(&source.head.root_url);
    zip.add("meta", &mut format!("{{\"root_url\":{root_url}}}\n").as_bytes())?;
    for dataset in FILES {
        let shape = Shape::new(dataset, options.privacy, zone);
        let notes = &mut rendered.notes;
        let mut count = 0;
        zip.add_with(dataset.definition().files[0], |entry| {
            count = write_dataset(entry, &shape, &mut source.pages, &media, notes)?;
            Ok::<(), RenderError>(())
        })?;
        match dataset {
            Dataset::Sessions => rendered.sessions = count,
            Dataset::Speakers => rendered.speakers = count,
            _ => {}
        }
    }
    for file in &media.files {
        zip.add_stored(&file.name, &mut File::open(&file.path)?)?;
    }
    zip.finish()?.flush()?;
    Ok(rendered)
}

/// Writes the records of a dataset, one a line, and says how many there were.
fn write_dataset(
    entry: &mut dyn Write,
    shape: &Shape,
    pages: &mut mpsc::Receiver<Piece>,
    media: &MediaPlan,
    notes: &mut Notes,
) -> Result<u64, RenderError> {
    let is_list = shape.dataset != Dataset::Event;
    let mut out = String::with_capacity(WRITE_BYTES * 2);
    let mut count = 0;
    if is_list {
        out.push('[');
    }
    loop {
        let page = match pages.blocking_recv() {
            Some(Piece::Page(page)) => page,
            Some(Piece::End) => break,
            None => return Err(ReadError("the reading ended early".to_owned()).into()),
        };
        let mut records = Rows::new(&page.records)?;
        let mut links = Links::new(page.links.as_deref())?;
        let mut row = Vec::new();
        while records.next(&mut row)? {
            let id = row.first().and_then(|id| id.parse::<i64>().ok());
            let id = id.ok_or_else(|| ReadError("the id of a record is no number".to_owned()))?;
            let beside = Beside {
                decimals: page.decimals.get(&id).map_or(&[][..], Vec::as_slice),
                speakers: links.of(id)?,
                unresolved: page.unresolved.get(&id).map_or(&[][..], Vec::as_slice),
            };
            if is_list {
                out.push_str(if count > 0 { ",\n" } else { "\n" });
            }
            shape.push(&mut out, &row, &beside, media, notes)?;
            count += 1;
            if out.len() >= WRITE_BYTES {
                entry.write_all(out.as_bytes())?;
                out.clear();
            }
        }
    }
    out.push_str(match (is_list, count) {
        (false, 0) => return Err(ReadError("the event is not there".to_owned()).into()),
        (false, _) => "\n",
        (true, 0) => "]\n",
        (true, _) => "\n]\n",
    });
    entry.write_all(out.as_bytes())?;
    Ok(count)
}

/// Speakers of sessions, in the order of the sessions.
struct Links<'a> {
    rows: Option<Rows<'a>>,
    /// Session and speaker.
    next: Vec<&'a str>,
}

impl<'a> Links<'a> {
    fn new(text: Option<&'a str>) -> Result<Self, ReadError> {
        let rows = text.map(Rows::new).transpose()?;
        let mut links = Self { rows, next: Vec::new() };
        links.advance()?;
        Ok(links)
    }

    fn advance(&mut self) -> Result<(), ReadError> {
        if let Some(rows) = &mut self.rows {
            rows.next(&mut self.next)?;
        }
        Ok(())
    }

    /// The ids of the speakers of a session; sessions are asked for in their order.
    fn of(&mut self, session: i64) -> Result<Vec<&'a str>, ReadError> {
        let mut found = Vec::new();
        while let [of, speaker] = self.next[..] {
            let of: i64 = of.parse().map_err(|_| ReadError("a link has no session".to_owned()))?;
            if of > session {
                break;
            }
            if of == session {
                found.push(speaker);
            }
            self.advance()?;
        }
        Ok(found)
    }
}
