//! Made-up archives: any number of sessions, the same bytes for the same number.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::Result;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

/// Tracks, rooms and session types of every archive.
const TRACKS: u64 = 20;
const ROOMS: u64 = 50;
const TYPES: u64 = 6;

/// What an archive holds.
#[derive(Clone, Copy, Debug)]
pub struct Made {
    /// Rows that an import of it must leave behind, in tables of datasets and links; the event is one of them.
    pub rows: u64,
    /// Bytes of the sessions' JSON.
    pub session_bytes: u64,
    /// Bytes of the archive.
    pub bytes: u64,
}

/// Writes an archive with so many sessions, and a tenth as many speakers.
///
/// A session has 20 keys: 19 that are known and one that is not, with a track, a room, a type and two speakers.
pub fn write(path: &Path, sessions: u64, seed: u64) -> Result<Made> {
    let speakers = (sessions / 10).max(2);
    let mut chance = Chance(seed);
    let words = Words::new(&mut Chance(1));
    let mut zip = ZipWriter::new(BufWriter::with_capacity(1 << 20, File::create(path)?));
    let options = SimpleFileOptions::default()
        .compression_method(zip::CompressionMethod::Deflated)
        .compression_level(Some(6))
        .large_file(true);

    zip.start_file("meta", options)?;
    zip.write_all(br#"{"root_url": "https://bench.example.org"}"#)?;
    zip.start_file("event", options)?;
    write!(
        zip,
        r#"{{"id": {}, "name": "Made-up event {seed}", "starts_at": "2026-05-04T08:00:00+02:00", "ends_at": "2026-05-08T18:00:00+02:00", "timezone": "Europe/Berlin", "identifier": "b{seed:07}"}}"#,
        seed + 1
    )?;
    zip.start_file("microlocations", options)?;
    list(&mut zip, ROOMS, |id, text| {
        write!(text, r#"{{"id": {id}, "name": "Room {id}", "floor": {}}}"#, id % 5)
    })?;
    zip.start_file("tracks", options)?;
    list(&mut zip, TRACKS, |id, text| {
        write!(text, r##"{{"id": {id}, "name": "Track {id}", "color": "#{:06x}", "font_color": "#000000"}}"##, id * 700_001)
    })?;
    zip.start_file("session_types", options)?;
    list(&mut zip, TYPES, |id, text| {
        write!(text, r#"{{"id": {id}, "name": "Type {id}", "length": "00:{:02}"}}"#, id * 5)
    })?;
    zip.start_file("speakers", options)?;
    list(&mut zip, speakers, |id, text| {
        write!(
            text,
            r#"{{"id": {id}, "name": "{}", "email": "speaker{id}@example.org", "mobile": null, "organisation": "{}", "position": "{}", "country": "{}", "short_biography": "{}", "long_biography": "{}", "website": "https://example.org/people/{id}", "twitter": "", "github": "https://github.example.org/p{id}", "is_featured": {}}}"#,
            words.text(&mut chance, 20),
            words.text(&mut chance, 15),
            words.text(&mut chance, 15),
            words.text(&mut chance, 8),
            words.text(&mut chance, 80),
            words.text(&mut chance, 160),
            id % 10 == 0,
        )
    })?;
    zip.start_file("sessions", options)?;
    let session_bytes = list(&mut zip, sessions, |id, text| {
        let first = chance.below(speakers) + 1;
        let second = first % speakers + 1;
        let (day, hour, minute) = (4 + id % 5, 8 + id % 10, id % 4 * 15);
        write!(
            text,
            r#"{{"id": {id}, "title": "{}", "subtitle": "{}", "short_abstract": "{}", "long_abstract": "{}", "starts_at": "2026-05-{day:02}T{hour:02}:{minute:02}:00+02:00", "ends_at": "2026-05-{day:02}T{:02}:{minute:02}:00+02:00", "session_type_id": {}, "track_id": {}, "microlocation_id": {}, "speaker_ids": [{first}, {second}], "comments": "{}", "language": "en", "level": "beginner", "state": "accepted", "slides_url": null, "audio_url": null, "video_url": null, "signup_url": "https://example.org/sessions/{id}", "submitted_at": "2026-01-{:02}T12:{:02}:00+00:00", "is_locked": {}}}"#,
            words.text(&mut chance, 45),
            words.text(&mut chance, 30),
            words.text(&mut chance, 70),
            words.text(&mut chance, 130),
            hour + 1,
            chance.below(TYPES) + 1,
            chance.below(TRACKS) + 1,
            chance.below(ROOMS) + 1,
            words.text(&mut chance, 25),
            id % 28 + 1,
            id % 60,
            id % 7 == 0,
        )
    })?;
    zip.finish()?.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()?;
    Ok(Made {
        rows: 1 + ROOMS + TRACKS + TYPES + speakers + sessions * 3,
        session_bytes,
        bytes: std::fs::metadata(path)?.len(),
    })
}

fn list(
    zip: &mut impl Write,
    count: u64,
    mut each: impl FnMut(u64, &mut String) -> std::fmt::Result,
) -> Result<u64> {
    let mut text = String::from("[");
    let mut bytes = 0;
    for id in 1..=count {
        text.push_str(if id == 1 { "\n" } else { ",\n" });
        each(id, &mut text)?;
        if text.len() > 64 * 1024 {
            bytes += text.len() as u64;
            zip.write_all(text.as_bytes())?;
            text.clear();
        }
    }
    text.push_str("\n]\n");
    bytes += text.len() as u64;
    zip.write_all(text.as_bytes())?;
    Ok(bytes)
}

/// A generator of numbers (`SplitMix64`), the same ones on every machine.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut number = self.0;
        number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        number ^ (number >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// Words out of which texts are made; 2,000 of them pack about as well as prose does.
struct Words(Vec<String>);

impl Words {
    fn new(chance: &mut Chance) -> Self {
        const SYLLABLES: [&str; 16] =
            ["ka", "lo", "mi", "ne", "ru", "sta", "ver", "o", "an", "der", "é", "tion", "qu", "lin", "pro", "sch"];
        let word = |_| {
            let count = 1 + chance.below(4);
            (0..count).map(|_| SYLLABLES[usize::try_from(chance.below(16)).unwrap_or(0)]).collect()
        };
        Self((0..2000).map(word).collect())
    }

    /// A text of about so many bytes.
    fn text(&self, chance: &mut Chance, bytes: usize) -> String {
        let mut text = String::with_capacity(bytes + 16);
        while text.len() < bytes {
            if !text.is_empty() {
                text.push(' ');
            }
            text.push_str(&self.0[usize::try_from(chance.below(2000)).unwrap_or(0)]);
        }
        text
    }
}
