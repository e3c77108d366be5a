//! What is to be exported: by a schedule, or by hand.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// Version of the format in which a request is kept; grows when a field changes its meaning or goes.
pub const REQUEST_VERSION: u32 = 1;

/// A format that an event is exported in. The word is that of the configuration, and of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Format {
    /// The event archive, which can be imported again.
    #[serde(rename = "archive")]
    Archive,
    /// frab's XML: phones, recording crews, volunteer systems.
    #[serde(rename = "schedule.xml")]
    ScheduleXml,
    /// The same as JSON.
    #[serde(rename = "schedule.json")]
    ScheduleJson,
    /// Calendars: the event, and one per room and track.
    #[serde(rename = "schedule.ics")]
    ScheduleIcs,
    /// One page to look at.
    #[serde(rename = "schedule.html")]
    ScheduleHtml,
    /// A table of sessions.
    #[serde(rename = "sessions.csv")]
    SessionsCsv,
    /// A table of speakers.
    #[serde(rename = "speakers.csv")]
    SpeakersCsv,
    /// Everything as a workbook.
    #[serde(rename = "event.xlsx")]
    Workbook,
}

impl Format {
    /// All formats, in the order in which they are made.
    pub const ALL: [Self; 8] = [
        Self::Archive,
        Self::ScheduleXml,
        Self::ScheduleJson,
        Self::ScheduleIcs,
        Self::ScheduleHtml,
        Self::SessionsCsv,
        Self::SpeakersCsv,
        Self::Workbook,
    ];

    /// Every word with its format.
    pub const WORDS: [(&'static str, Self); 8] = [
        ("archive", Self::Archive),
        ("schedule.xml", Self::ScheduleXml),
        ("schedule.json", Self::ScheduleJson),
        ("schedule.ics", Self::ScheduleIcs),
        ("schedule.html", Self::ScheduleHtml),
        ("sessions.csv", Self::SessionsCsv),
        ("speakers.csv", Self::SpeakersCsv),
        ("event.xlsx", Self::Workbook),
    ];

    /// The word used in configuration, mails and `export.json`.
    pub fn as_str(self) -> &'static str {
        Self::WORDS.iter().find(|(_, format)| *format == self).map_or("", |(word, _)| word)
    }

    /// Whether it shows only sessions that take place at a known time.
    pub fn is_schedule(self) -> bool {
        match self {
            Self::ScheduleXml | Self::ScheduleJson | Self::ScheduleIcs | Self::ScheduleHtml => true,
            Self::Archive | Self::SessionsCsv | Self::SpeakersCsv | Self::Workbook => false,
        }
    }

    /// Reads the word back.
    pub fn parse(word: &str) -> Option<Self> {
        Self::WORDS.iter().find(|(known, _)| *known == word).map(|(_, format)| *format)
    }
}

/// Kinds of media that go into an exported archive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MediaSwitches {
    /// Pictures.
    pub image: bool,
    /// Films.
    pub video: bool,
    /// Sound.
    pub audio: bool,
    /// Slides and other documents.
    pub document: bool,
}

impl MediaSwitches {
    /// All of them.
    pub const ALL: Self = Self { image: true, video: true, audio: true, document: true };

    /// From their words: `image`, `video`, `audio`, `document`; none where one is not known.
    pub fn of_words<'a>(words: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let mut switches = Self::default();
        for word in words {
            match word {
                "image" => switches.image = true,
                "video" => switches.video = true,
                "audio" => switches.audio = true,
                "document" => switches.document = true,
                _ => return None,
            }
        }
        Some(switches)
    }
}

/// How many runs of an event are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keep {
    /// The newest so many; 0 for all.
    pub runs: u32,
    /// Those of the last so many days; 0 for all.
    pub days: u32,
}

/// What is to be exported. A job keeps it as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportRequest {
    /// Version of this format: [`REQUEST_VERSION`].
    pub version: u32,
    /// The schedule's name, or [`BY_HAND`]. What has changed is told since the last good run of the same scope.
    pub scope: String,
    /// Ids, identifiers or names of events; `all` for every one of the account.
    pub events: Vec<String>,
    /// Only events in this state.
    pub state: Option<String>,
    /// In which formats.
    pub formats: Vec<Format>,
    /// Which media go into the archive.
    pub media: MediaSwitches,
    /// Whether personal data goes in.
    pub private: bool,
    /// Which runs are kept.
    pub keep: Keep,
    /// When it was due; none by hand.
    pub due_at: Option<DateTime<Utc>>,
    /// Whether handlers are called; none where the account says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub with_handlers: Option<bool>,
}

/// The scope of exports that no schedule asked for.
pub const BY_HAND: &str = "by hand";

/// The word for every event.
pub const ALL_EVENTS: &str = "all";
