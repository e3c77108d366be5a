//! The catalogue: what each dataset's file is called and which fields its records have, under which names, of which kind.
//!
//! Reading, checking, SQL, result files and documents are driven by this one table. Keys are compared after [`fold`].

use std::borrow::Cow;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A kind of record. The order is the order of loading: what a record refers to comes before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Dataset {
    /// The event itself.
    Event,
    /// Links to the event's pages elsewhere.
    SocialLinks,
    /// Fields of the forms for sessions and speakers.
    CustomForms,
    /// Rooms.
    Microlocations,
    /// Sponsors.
    Sponsors,
    /// Speakers.
    Speakers,
    /// Tracks.
    Tracks,
    /// Types of sessions.
    SessionTypes,
    /// Sessions.
    Sessions,
}

/// What a field holds and how it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldKind {
    /// A text, kept as given.
    Text,
    /// An instant: a column in UTC, and `<name>_offset` with the offset that was given.
    Instant,
    /// A whole number.
    Integer,
    /// A number.
    Decimal,
    /// True or false; blank is false.
    Boolean,
    /// Any JSON, kept as given.
    Json,
    /// The name of a time zone, stored under its canonical IANA name.
    Zone,
    /// A length of time: the given text, and `<name>_minutes` where it is clear.
    Length,
    /// A path of a media file in the archive, or a link.
    Media,
    /// The id of a record of another dataset. One that is not there is kept in `unresolved_references`.
    Reference(Dataset),
    /// A list of ids of records of another dataset; stored in a table of links.
    References(Dataset),
}

/// One field of a dataset.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Canonical name; also the column.
    pub name: &'static str,
    /// What it holds.
    pub kind: FieldKind,
    /// Other names it goes by in archives, folded.
    pub aliases: &'static [&'static str],
    /// Whether a record without it is rejected.
    pub required: bool,
}

/// One dataset: its files, its table, its fields.
#[derive(Clone, Copy, Debug)]
pub struct Definition {
    /// Which one.
    pub dataset: Dataset,
    /// Names of its file in an archive, without `.json`; the first is the one that is written.
    pub files: &'static [&'static str],
    /// Its table.
    pub table: &'static str,
    /// What people call one record of it.
    pub singular: &'static str,
    /// Its fields, in the order of writing.
    pub fields: &'static [Field],
    /// Whether records can be made from the objects nested in sessions.
    pub rebuilt: Rebuild,
}

/// When records of a dataset are made from objects nested in others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rebuild {
    /// Whenever a nested object names one that is not there.
    Always,
    /// Only where the whole file is missing.
    WithoutFile,
    /// Never.
    Never,
}

const fn field(name: &'static str, kind: FieldKind) -> Field {
    Field { name, kind, aliases: &[], required: false }
}

const fn text(name: &'static str) -> Field {
    field(name, FieldKind::Text)
}

impl Field {
    const fn also(self, aliases: &'static [&'static str]) -> Self {
        Self { aliases, ..self }
    }

    const fn required(self) -> Self {
        Self { required: true, ..self }
    }
}

use FieldKind::{Boolean, Decimal, Instant, Integer, Json, Length, Media, Reference, References, Zone};

static DEFINITIONS: [Definition; 9] = [
    Definition {
        dataset: Dataset::Event,
        files: &["event"],
        table: "events",
        singular: "event",
        rebuilt: Rebuild::Never,
        fields: &[
            text("name").required(),
            field("latitude", Decimal),
            field("longitude", Decimal),
            text("location_name"),
            text("searchable_location_name"),
            field("starts_at", Instant).also(&["start_time"]),
            field("ends_at", Instant).also(&["end_time"]),
            field("timezone", Zone),
            text("description"),
            field("original_image_url", Media).also(&["background_image", "background_url"]),
            field("logo_url", Media).also(&["logo"]),
            field("thumbnail_image_url", Media).also(&["thumbnail"]),
            field("large_image_url", Media).also(&["large"]),
            field("icon_image_url", Media).also(&["icon"]),
            field("placeholder_url", Media),
            text("owner_name").also(&["organizer_name"]),
            text("owner_description").also(&["organizer_description"]),
            text("external_event_url").also(&["event_url"]),
            text("ticket_url"),
            text("email"),
            text("privacy"),
            text("state"),
            text("event_type").also(&["type"]),
            text("event_topic").also(&["topic"]),
            text("event_sub_topic").also(&["sub_topic"]),
            text("code_of_conduct"),
            text("identifier"),
            field("schedule_published_on", Instant).also(&["scheduled_published_on"]),
            field("is_sessions_speakers_enabled", Boolean)
                .also(&["is_session_speakers_enabled", "has_session_speakers"]),
            field("copyright", Json).also(&["event_copyright"]),
            field("speakers_call", Json).also(&["call_for_papers"]),
            field("licence_details", Json),
        ],
    },
    Definition {
        dataset: Dataset::SocialLinks,
        files: &["social_links"],
        table: "social_links",
        singular: "social link",
        rebuilt: Rebuild::Never,
        fields: &[text("name"), text("link").also(&["url"])],
    },
    Definition {
        dataset: Dataset::CustomForms,
        files: &["forms", "custom_forms"],
        table: "custom_forms",
        singular: "form field",
        rebuilt: Rebuild::Never,
        fields: &[
            text("field_identifier"),
            text("form"),
            text("type"),
            text("name"),
            text("description"),
            field("is_required", Boolean).also(&["require"]),
            field("is_included", Boolean).also(&["include"]),
            field("is_fixed", Boolean),
            field("is_complex", Boolean),
            field("position", Integer),
        ],
    },
    Definition {
        dataset: Dataset::Microlocations,
        files: &["microlocations"],
        table: "microlocations",
        singular: "room",
        rebuilt: Rebuild::Always,
        fields: &[
            text("name").required(),
            field("floor", Integer),
            text("room"),
            field("latitude", Decimal),
            field("longitude", Decimal),
            field("position", Integer),
        ],
    },
    Definition {
        dataset: Dataset::Sponsors,
        files: &["sponsors"],
        table: "sponsors",
        singular: "sponsor",
        rebuilt: Rebuild::Never,
        fields: &[
            text("name").required(),
            field("logo_url", Media).also(&["logo"]),
            text("level"),
            text("type").also(&["sponsor_type"]),
            text("url"),
            text("description"),
        ],
    },
    Definition {
        dataset: Dataset::Speakers,
        files: &["speakers"],
        table: "speakers",
        singular: "speaker",
        rebuilt: Rebuild::WithoutFile,
        fields: &[
            text("name").required(),
            text("email"),
            text("mobile"),
            field("photo_url", Media).also(&["photo"]),
            field("thumbnail_image_url", Media).also(&["thumbnail"]),
            field("small_image_url", Media).also(&["small"]),
            field("icon_image_url", Media).also(&["icon"]),
            text("organisation"),
            text("position"),
            text("country"),
            text("city"),
            text("address"),
            text("gender"),
            text("short_biography"),
            text("long_biography"),
            text("speaking_experience"),
            text("heard_from"),
            text("sponsorship_required"),
            text("website"),
            text("twitter"),
            text("facebook"),
            text("github"),
            text("linkedin"),
            text("instagram"),
            text("mastodon"),
            field("is_featured", Boolean).also(&["featured"]),
            field("session_ids", References(Dataset::Sessions)).also(&["sessions"]),
        ],
    },
    Definition {
        dataset: Dataset::Tracks,
        files: &["tracks"],
        table: "tracks",
        singular: "track",
        rebuilt: Rebuild::Always,
        fields: &[
            text("name").required(),
            text("color"),
            text("font_color"),
            text("description"),
            text("location"),
            field("position", Integer),
            field("track_image_url", Media),
        ],
    },
    Definition {
        dataset: Dataset::SessionTypes,
        files: &["session_types"],
        table: "session_types",
        singular: "session type",
        rebuilt: Rebuild::Always,
        fields: &[text("name").required(), field("length", Length), field("position", Integer)],
    },
    Definition {
        dataset: Dataset::Sessions,
        files: &["sessions"],
        table: "sessions",
        singular: "session",
        rebuilt: Rebuild::Never,
        fields: &[
            text("title").also(&["name"]).required(),
            text("subtitle"),
            text("short_abstract"),
            text("long_abstract"),
            field("starts_at", Instant).also(&["start_time"]),
            field("ends_at", Instant).also(&["end_time"]),
            field("session_type_id", Reference(Dataset::SessionTypes)).also(&["session_type"]),
            field("track_id", Reference(Dataset::Tracks)).also(&["track"]),
            field("microlocation_id", Reference(Dataset::Microlocations)).also(&["microlocation"]),
            text("comments"),
            text("language"),
            text("level"),
            text("state"),
            field("slides_url", Media).also(&["slides"]),
            field("audio_url", Media).also(&["audio"]),
            field("video_url", Media).also(&["video"]),
            text("signup_url"),
            field("submitted_at", Instant),
            field("speaker_ids", References(Dataset::Speakers)).also(&["speakers"]),
        ],
    },
];

impl Dataset {
    /// All datasets in the order of loading.
    pub const ALL: [Self; 9] = [
        Self::Event,
        Self::SocialLinks,
        Self::CustomForms,
        Self::Microlocations,
        Self::Sponsors,
        Self::Speakers,
        Self::Tracks,
        Self::SessionTypes,
        Self::Sessions,
    ];

    /// Everything the catalogue knows about it.
    pub fn definition(self) -> &'static Definition {
        &DEFINITIONS[self as usize]
    }

    /// The name in result files: the table's, but `event`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Event => "event",
            other => other.definition().table,
        }
    }

    /// Reads the name back.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|dataset| dataset.as_str() == word)
    }

    /// What people call its records, all of them: `rooms`, `form fields`; there is one event.
    pub fn plural(self) -> String {
        match self {
            Self::Event => "event".to_owned(),
            other => format!("{}s", other.definition().singular),
        }
    }

    /// The dataset whose file has this name, with or without `.json`.
    pub fn of_file(path: &str) -> Option<Self> {
        let stem = path.strip_suffix(".json").unwrap_or(path);
        Self::ALL.into_iter().find(|dataset| dataset.definition().files.contains(&stem))
    }

    /// The fields, in the order of writing.
    pub fn fields(self) -> &'static [Field] {
        self.definition().fields
    }

    /// The field that goes by a folded key, and whether that is its canonical name.
    pub fn field_of_key(self, folded: &str) -> Option<(usize, NameKind)> {
        let fields = self.fields();
        if let Some(index) = fields.iter().position(|field| field.name == folded) {
            return Some((index, NameKind::Canonical));
        }
        let index = fields.iter().position(|field| field.aliases.contains(&folded))?;
        Some((index, NameKind::Alias))
    }
}

/// Whether a key is a field's own name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameKind {
    /// The canonical name.
    Canonical,
    /// Another name.
    Alias,
}

impl fmt::Display for Dataset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Brings a key to the one form in which keys are compared: lower case, `_` for `-`, no surrounding blanks.
pub fn fold(key: &str) -> Cow<'_, str> {
    let key = key.trim();
    if key.bytes().any(|byte| byte == b'-' || byte.is_ascii_uppercase()) {
        Cow::Owned(key.to_ascii_lowercase().replace('-', "_"))
    } else {
        Cow::Borrowed(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_stand_in_the_order_of_the_enum() {
        for (index, dataset) in Dataset::ALL.into_iter().enumerate() {
            assert_eq!(dataset as usize, index);
            assert_eq!(dataset.definition().dataset, dataset);
        }
    }

    #[test]
    fn no_key_means_two_fields() {
        for dataset in Dataset::ALL {
            let mut keys: Vec<&str> = Vec::new();
            for field in dataset.fields() {
                keys.push(field.name);
                keys.extend(field.aliases);
            }
            let count = keys.len();
            keys.sort_unstable();
            keys.dedup();
            assert_eq!(keys.len(), count, "{dataset}");
        }
    }

    #[test]
    fn keys_fold_case_and_dashes() {
        assert_eq!(fold("Starts-At"), "starts_at");
        assert_eq!(fold("title"), "title");
        assert_eq!(Dataset::of_file("custom_forms.json"), Some(Dataset::CustomForms));
        assert_eq!(Dataset::of_file("config.json"), None);
    }
}
