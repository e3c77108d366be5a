//! Archives of made-up events.

use serde_json::{Value, json};

use crate::fixtures::zips::{ZipEntry, zip};

/// Files of an archive: names with JSON or bytes.
pub(crate) struct Archive {
    entries: Vec<(String, Vec<u8>)>,
}

impl Archive {
    /// An event with nothing in it.
    pub(crate) fn of(id: u64, name: &str) -> Self {
        let event = json!({
            "id": id, "name": name, "starts_at": "2026-05-04T09:00:00+02:00", "ends_at": "2026-05-05T18:00:00+02:00",
            "timezone": "Europe/Berlin",
        });
        Self { entries: Vec::new() }
            .with("event", &event)
            .with("meta", &json!({"root_url": "https://events.example.org"}))
    }

    /// A file with JSON.
    pub(crate) fn with(self, name: &str, content: &Value) -> Self {
        self.with_bytes(name, content.to_string())
    }

    /// A file with bytes; takes the place of one of the same name.
    pub(crate) fn with_bytes(mut self, name: &str, content: impl Into<Vec<u8>>) -> Self {
        self.entries.retain(|(there, _)| there != name);
        self.entries.push((name.to_owned(), content.into()));
        self
    }

    /// Without a file.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.entries.retain(|(there, _)| there != name);
        self
    }

    /// So many tracks, `from` on.
    pub(crate) fn with_tracks(self, from: u64, count: u64) -> Self {
        let tracks: Vec<Value> =
            (from..from + count).map(|id| json!({"id": id, "name": format!("Track {id}")})).collect();
        self.with("tracks", &Value::from(tracks))
    }

    pub(crate) fn zip(&self) -> Vec<u8> {
        let entries: Vec<ZipEntry> =
            self.entries.iter().map(|(name, content)| ZipEntry::new(name, content.clone())).collect();
        zip(&entries)
    }
}

/// A small archive with a bit of everything: relations, media that are there and missing, a file that is no JSON, a
/// record without its name, a dangling reference.
pub(crate) fn harbour() -> Archive {
    let sessions = json!([
        {"id": 1, "title": "Knots", "track_id": 1, "microlocation_id": 1, "speakers": [{"id": 1}, {"id": 2}],
         "starts_at": "2026-05-04T10:00:00+02:00", "ends_at": "2026-05-04T11:00:00+02:00"},
        {"id": 2, "title": "Charts", "track_id": 2, "microlocation_id": 1, "speakers": [{"id": 2}]},
        {"id": 3, "track_id": 1},
        {"id": 4, "title": "Tides", "track_id": 99, "speakers": []},
        {"id": 5, "title": "Wind", "track_id": 2, "speakers": [{"id": 3}], "slides_url": "/slides/wind.pdf"},
    ]);
    let speakers = json!([
        {"id": 1, "name": "Ada", "photo_url": "/images/speakers/ada.png"},
        {"id": 2, "name": "Ben", "photo_url": "/images/speakers/ben.png"},
        {"id": 3, "name": "Cleo", "photo_url": "https://example.org/cleo.png"},
    ]);
    Archive::of(7, "Harbour Days")
        .with_tracks(1, 2)
        .with("microlocations", &json!([{"id": 1, "name": "Pier"}]))
        .with("speakers", &speakers)
        .with("sessions", &sessions)
        .with_bytes("session_types", "[\n  {\"id\": 1, \"name\": \"Talk\"},\n  {\"id\": 2 \"name\": \"Walk\"}\n]\n")
        .with_bytes("images/speakers/ada.png", b"a picture of Ada")
        .with_bytes("slides/wind.pdf", b"slides about wind")
}
