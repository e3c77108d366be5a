//! What the formats are made from: an event's programme, its head in memory and its sessions as a stream.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use chrono::{DateTime, NaiveDate, TimeDelta, Timelike, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Everything of an event that is small: the event itself, its rooms, tracks, types, links and sponsors.
#[derive(Clone, Debug)]
pub struct Programme {
    /// The event.
    pub event: Event,
    /// Its zone; UTC where it names none.
    pub zone: Tz,
    /// Rooms in the order in which people list them (position, name, id).
    pub rooms: Vec<Room>,
    /// Tracks in the order in which people list them (position, name, id).
    pub tracks: Vec<Track>,
    /// Types of sessions (position, name, id).
    pub kinds: Vec<SessionKind>,
    /// The event's pages elsewhere.
    pub links: Vec<Link>,
    /// Sponsors by level and name.
    pub sponsors: Vec<Sponsor>,
    /// When anything of the event was last changed. The only time of making that a file may carry: the same data gives
    /// the same bytes.
    pub changed_at: DateTime<Utc>,
    /// Whether e-mail addresses, telephone numbers, addresses and comments may be shown.
    pub privacy: Privacy,
}

/// Whether personal data may be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Privacy {
    /// It may not; [`Speaker`] and [`Session`] carry none of it.
    Public,
    /// It may.
    Private,
}

/// The event itself.
#[derive(Clone, Debug, Default)]
pub struct Event {
    /// Stable across renames and new imports.
    pub uuid: Uuid,
    /// The name in folders and addresses: small letters, digits and dashes.
    pub slug: String,
    /// Its name.
    pub name: String,
    /// When it begins, where that is known.
    pub starts_at: Option<DateTime<Utc>>,
    /// When it ends, where that is known.
    pub ends_at: Option<DateTime<Utc>>,
    /// Where it is.
    pub location: Option<String>,
    /// About it; rich text.
    pub description: Option<String>,
    /// Who organises it.
    pub owner_name: Option<String>,
    /// About them; rich text.
    pub owner_description: Option<String>,
    /// A picture, a link only.
    pub image_url: Option<String>,
    /// A logo, a link only.
    pub logo_url: Option<String>,
    /// Its page.
    pub url: Option<String>,
    /// Where tickets are sold.
    pub ticket_url: Option<String>,
    /// How people are to behave; rich text.
    pub code_of_conduct: Option<String>,
}

/// A room.
#[derive(Clone, Debug)]
pub struct Room {
    /// Stable across renames and new imports.
    pub uuid: Uuid,
    /// The id here.
    pub id: i64,
    /// Its name.
    pub name: String,
}

/// A track.
#[derive(Clone, Debug)]
pub struct Track {
    /// Stable across renames and new imports.
    pub uuid: Uuid,
    /// The id here.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// `#rrggbb`, where one is given.
    pub color: Option<String>,
}

/// A type of session.
#[derive(Clone, Debug)]
pub struct SessionKind {
    /// The id here.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// How long its sessions take, where that is clear.
    pub minutes: Option<i64>,
}

/// A page of the event elsewhere.
#[derive(Clone, Debug)]
pub struct Link {
    /// What it is.
    pub name: String,
    /// Where it is.
    pub url: String,
}

/// A sponsor.
#[derive(Clone, Debug)]
pub struct Sponsor {
    /// Its name.
    pub name: String,
    /// Its page.
    pub url: Option<String>,
    /// What kind of sponsor.
    pub kind: Option<String>,
}

/// A speaker as sessions name them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpeakerName {
    /// Stable across renames and new imports; never made from an e-mail address.
    pub uuid: Uuid,
    /// The id here.
    pub id: i64,
    /// Their name.
    pub name: String,
    /// Where they work.
    pub organisation: Option<String>,
}

/// A speaker.
#[derive(Clone, Debug)]
pub struct Speaker {
    /// Name and ids.
    pub who: SpeakerName,
    /// The id in the archive.
    pub source_id: String,
    /// What they do where they work.
    pub position: Option<String>,
    /// Their country.
    pub country: Option<String>,
    /// Their city.
    pub city: Option<String>,
    /// About them, short; rich text.
    pub short_biography: Option<String>,
    /// About them, long; rich text.
    pub long_biography: Option<String>,
    /// A picture, a link only.
    pub photo_url: Option<String>,
    /// Their pages: what it is (`website`, `twitter`, `github` …) and where.
    pub links: Vec<Link>,
    /// Whether they are shown first.
    pub is_featured: bool,
    /// Private.
    pub email: Option<String>,
    /// Private.
    pub mobile: Option<String>,
    /// Private.
    pub address: Option<String>,
    /// When the record was last changed.
    pub updated_at: DateTime<Utc>,
}

/// A session.
#[derive(Clone, Debug)]
pub struct Session {
    /// Stable across renames and new imports.
    pub uuid: Uuid,
    /// The id here.
    pub id: i64,
    /// The id in the archive.
    pub source_id: String,
    /// Its title.
    pub title: String,
    /// Its subtitle.
    pub subtitle: Option<String>,
    /// About it, short; rich text.
    pub short_abstract: Option<String>,
    /// About it, long; rich text.
    pub long_abstract: Option<String>,
    /// When it begins, where that is known.
    pub starts_at: Option<DateTime<Utc>>,
    /// When it ends, as given; see [`Session::span`].
    pub ends_at: Option<DateTime<Utc>>,
    /// Index into [`Programme::rooms`].
    pub room: Option<usize>,
    /// Index into [`Programme::tracks`].
    pub track: Option<usize>,
    /// Index into [`Programme::kinds`].
    pub kind: Option<usize>,
    /// Its language, as given.
    pub language: Option<String>,
    /// For whom it is, as given.
    pub level: Option<String>,
    /// Whether it takes place, as given: `accepted`, `rejected`, `pending` …
    pub state: Option<String>,
    /// Private.
    pub comments: Option<String>,
    /// Where the slides are, a link only.
    pub slides_url: Option<String>,
    /// Where the recording is, a link only.
    pub audio_url: Option<String>,
    /// Where the recording is, a link only.
    pub video_url: Option<String>,
    /// Where people sign up.
    pub signup_url: Option<String>,
    /// Who speaks, by name and id.
    pub speakers: Vec<SpeakerName>,
    /// How often what a calendar shows of it has changed since it was first exported.
    pub sequence: u32,
    /// When the record was made here.
    pub created_at: DateTime<Utc>,
    /// When the record was last changed.
    pub updated_at: DateTime<Utc>,
}

/// From when to when a session is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Its begin.
    pub start: DateTime<Utc>,
    /// Its end, never before its begin.
    pub end: DateTime<Utc>,
    /// Whether the end was given, and not before the begin.
    pub end_is_given: bool,
}

/// Until this hour of the night sessions belong to the day before, as schedules for phones and recording crews have it.
pub const DAY_CHANGE_HOUR: u32 = 4;

/// How long a session is shown where neither its end nor its type says it.
const USUAL_MINUTES: i64 = 30;

impl Session {
    /// When it is shown; none where its begin is not known. Without a usable end its type's length counts, else half an
    /// hour.
    pub fn span(&self, programme: &Programme) -> Option<Span> {
        let start = self.starts_at?;
        if let Some(end) = self.ends_at.filter(|end| *end >= start) {
            return Some(Span { start, end, end_is_given: true });
        }
        let minutes = self.kind.and_then(|kind| programme.kinds[kind].minutes).filter(|minutes| *minutes > 0);
        let length = TimeDelta::try_minutes(minutes.unwrap_or(USUAL_MINUTES)).unwrap_or_default();
        Some(Span { start, end: start.checked_add_signed(length).unwrap_or(start), end_is_given: false })
    }

    /// Whether it takes place, as far as its state says: one that is not stated counts as accepted.
    pub fn is_accepted(&self) -> bool {
        self.state.as_deref().is_none_or(|state| {
            let state = state.trim();
            state.is_empty() || ["accepted", "confirmed"].iter().any(|word| state.eq_ignore_ascii_case(word))
        })
    }
}

impl Programme {
    /// The day to which an instant belongs: by the clock in the event's zone, and until [`DAY_CHANGE_HOUR`] still the day
    /// before.
    pub fn day_of(&self, instant: DateTime<Utc>) -> NaiveDate {
        let local = instant.with_timezone(&self.zone).naive_local();
        let date = local.date();
        if local.hour() < DAY_CHANGE_HOUR { date.pred_opt().unwrap_or(date) } else { date }
    }
}

/// Which sessions are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// By what is known of them.
    pub which: Which,
    /// Only those that begin in this range.
    pub starts_in: Option<Range<DateTime<Utc>>>,
    /// Only those in this room (index into [`Programme::rooms`]); `Some(None)`: those in none.
    pub room: Option<Option<usize>>,
    /// Only those of this track (index into [`Programme::tracks`]).
    pub track: Option<usize>,
    /// In which order.
    pub order: Order,
}

impl Selection {
    /// Every one that is not gone, by its begin.
    pub const ALL: Self = Self { which: Which::All, ..Self::SCHEDULED };

    /// All that take place at a known time, by their begin.
    pub const SCHEDULED: Self =
        Self { which: Which::Scheduled, starts_in: None, room: None, track: None, order: Order::Start };
}

/// Which sessions are read, by what is known of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// Every one that is not gone from its archive.
    All,
    /// Those that take place and whose begin is known.
    Scheduled,
    /// Those that take place and whose begin is not known.
    Unscheduled,
}

/// In which order sessions are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// By begin, then by id; those without a begin last.
    Start,
    /// By room as people list them, those in none last, then by begin, then by id.
    Room,
    /// By id.
    Id,
}

/// Where a programme is read from. Every stream shows the same state, however often it is begun.
pub trait Source {
    /// The head.
    fn programme(&self) -> &Programme;

    /// Sessions, one by one.
    fn sessions(&self, selection: &Selection) -> Stream<'_, Session>;

    /// All speakers that are not gone, by id.
    fn speakers(&self) -> Stream<'_, Speaker>;
}

/// Records, one by one, until the first that cannot be read.
pub type Stream<'a, T> = Box<dyn Iterator<Item = Result<T, ReadError>> + 'a>;

/// Why a programme cannot be read on.
#[derive(Debug, thiserror::Error)]
#[error("the event cannot be read: {0}")]
pub struct ReadError(pub String);

/// Why a file cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// The database failed.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The disk failed.
    #[error("could not write: {0}")]
    Write(#[from] std::io::Error),
    /// A template of the admin is wrong.
    #[error("{0}")]
    Template(String),
    /// What was made is not what it should be.
    #[error("the file that was made is not valid: {0}")]
    Invalid(String),
}

/// What was left out or changed, by reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notes(BTreeMap<NoteCode, Noted>);

/// How often something was noted, with the first cases.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Noted {
    /// How often.
    pub count: u64,
    /// The first cases: which record, and what about it.
    pub examples: Vec<Example>,
}

/// One case of a note.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Example {
    /// The record's id in the archive; none for the event itself.
    pub source_id: Option<String>,
    /// Its title or name, cut.
    pub title: String,
    /// What was found, cut.
    pub detail: String,
}

/// Cases that are named one by one.
const EXAMPLES: usize = 20;

/// Characters of a title or detail.
const EXAMPLE_LENGTH: usize = 120;

/// Why something was left out or changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum NoteCode {
    /// The event has no begin: the first session's counts.
    EventWithoutStart,
    /// The event names no zone that is known: UTC counts.
    EventWithoutZone,
    /// A session takes place and has no begin: it is left out of schedules.
    NotScheduled,
    /// A session does not take place: it is left out of schedules.
    NotAccepted,
    /// A session has no end, or one before its begin: it was given one.
    EndGuessed,
    /// A session lies outside of the event's days.
    OutsideEvent,
    /// Two sessions are in one room at the same time.
    Overlapping,
    /// A session has no room.
    WithoutRoom,
    /// A session begins after midnight: it stands under the day before.
    AfterMidnight,
    /// A text holds characters that the format cannot carry: they were left out.
    CharactersRemoved,
    /// A text begins like a formula: it was made harmless.
    FormulaNeutralised,
    /// A text is longer than the format carries: it was cut.
    TextCut,
    /// A session takes longer than the format can say: it was given the longest time.
    LengthCut,
    /// A name is missing, or two rooms have the same: it was given one of its own.
    NameGiven,
    /// A table has more rows than the format carries: the rest was left out.
    RowsLeftOut,
    /// Rich text held what a page must not show: it was taken out.
    MarkupRemoved,
    /// A link is none that a page may carry: it was left out.
    LinkLeftOut,
    /// Personal data was left out.
    PrivateLeftOut,
    /// A media file is not there, or its kind is not exported.
    MediaLeftOut,
}

impl NoteCode {
    /// What it means, for people: before a colon and the count.
    pub fn words(self) -> &'static str {
        match self {
            Self::EventWithoutStart => "event without a begin, the first session's counts",
            Self::EventWithoutZone => "event without a zone, times are in UTC",
            Self::NotScheduled => "without a time, not in schedules",
            Self::NotAccepted => "not accepted, not in schedules",
            Self::EndGuessed => "without a usable end, one was assumed",
            Self::OutsideEvent => "outside of the event's days",
            Self::Overlapping => "in a room that is taken at that time",
            Self::WithoutRoom => "without a room",
            Self::AfterMidnight => "after midnight, shown under the day before",
            Self::CharactersRemoved => "characters that the format cannot carry, left out",
            Self::FormulaNeutralised => "beginning like a formula, made harmless",
            Self::TextCut => "too long for the format, cut",
            Self::LengthCut => "longer than the format can say, given the longest time",
            Self::NameGiven => "without a name of its own, given one",
            Self::RowsLeftOut => "rows beyond what the format carries, left out",
            Self::MarkupRemoved => "markup that a page must not show, taken out",
            Self::LinkLeftOut => "links that a page must not carry, left out",
            Self::PrivateLeftOut => "personal data (such as e-mail addresses) left out",
            Self::MediaLeftOut => "media files not in the archive",
        }
    }
}

impl Notes {
    /// Notes one case.
    pub fn add(&mut self, code: NoteCode, source_id: Option<&str>, title: &str, detail: impl fmt::Display) {
        let noted = self.0.entry(code).or_default();
        noted.count += 1;
        if noted.examples.len() < EXAMPLES {
            noted.examples.push(Example {
                source_id: source_id.map(str::to_owned),
                title: cut(title),
                detail: cut(&detail.to_string()),
            });
        }
    }

    /// Takes over the notes of another part.
    pub fn merge(&mut self, other: Self) {
        for (code, noted) in other.0 {
            let mine = self.0.entry(code).or_default();
            mine.count += noted.count;
            let room = EXAMPLES.saturating_sub(mine.examples.len());
            mine.examples.extend(noted.examples.into_iter().take(room));
        }
    }

    /// How often something was noted.
    pub fn count(&self, code: NoteCode) -> u64 {
        self.0.get(&code).map_or(0, |noted| noted.count)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (NoteCode, &Noted)> {
        self.0.iter().map(|(code, noted)| (*code, noted))
    }
}

fn cut(text: &str) -> String {
    text.chars().take(EXAMPLE_LENGTH).collect()
}

/// What a format was made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rendered {
    /// Sessions in it.
    pub sessions: u64,
    /// Speakers in it, where it lists them.
    pub speakers: u64,
    /// What was left out or changed by this format.
    pub notes: Notes,
}
