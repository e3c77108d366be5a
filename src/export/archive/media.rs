//! Media in an archive: which files go in, and under which names.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use unicode_normalization::UnicodeNormalization;

use crate::export::program::{NoteCode, Notes};
use crate::format::record::digest_of;
use crate::model::Dataset;
use crate::model::catalogue::FieldKind;
use crate::model::export::MediaSwitches;
use crate::storage::{MediaStore, hex};
use crate::store::exports::MediaRow;

/// Whether files that a field names go into an archive.
fn allows(switches: MediaSwitches, field: &str) -> bool {
    match field {
        "video_url" => switches.video,
        "audio_url" => switches.audio,
        "slides_url" => switches.document,
        _ => switches.image,
    }
}

/// A file that goes into the archive.
#[derive(Debug)]
pub(super) struct MediaFile {
    /// Its name there.
    pub(super) name: String,
    /// Where it lies.
    pub(super) path: PathBuf,
}

/// What becomes of the media of an event.
#[derive(Debug, Default)]
pub(super) struct MediaPlan {
    /// The files, each once, in the order of the archive.
    pub(super) files: Vec<MediaFile>,
    /// The file of each field that has one, by id here and field.
    fields: HashMap<(Dataset, i64, &'static str), usize>,
}

/// Longest part of a file's name that comes from a record's.
const NAME_LENGTH: usize = 60;

/// Longest ending of a file.
const ENDING_LENGTH: usize = 8;

/// Most digits of an id that is a part of a file's name.
const ID_LENGTH: usize = 40;

impl MediaPlan {
    /// Chooses the files and their names. What is left out keeps the path that it came with, which then must not be
    /// another file's name here.
    pub(super) fn new(
        rows: Vec<(Dataset, Vec<MediaRow>)>,
        switches: MediaSwitches,
        store: &MediaStore,
        notes: &mut Notes,
    ) -> Self {
        let mut plan = Self::default();
        let mut taken: HashSet<String> = HashSet::new();
        let mut chosen = Vec::new();
        for (dataset, rows) in rows {
            let fields = dataset.fields();
            let place = |row: &MediaRow| fields.iter().position(|field| field.name == row.field);
            let mut rows: Vec<(usize, MediaRow)> =
                rows.into_iter().filter_map(|row| place(&row).map(|place| (place, row))).collect();
            rows.sort_by_key(|(place, row)| (row.record_id, *place));
            for (place, row) in rows {
                match left_out(&row, switches, store) {
                    Some(why) => {
                        let title = row.name.as_deref().unwrap_or_default();
                        let id = (dataset != Dataset::Event).then_some(row.source_id.as_str());
                        notes.add(NoteCode::MediaLeftOut, id, title, format!("{} `{}`: {why}", row.field, row.path));
                        taken.extend(meanings(&row.path));
                    }
                    None => chosen.push((dataset, fields[place].name, row)),
                }
            }
        }
        let mut by_hash: HashMap<String, usize> = HashMap::new();
        for (dataset, field, row) in chosen {
            let Some(sha256) = row.sha256.clone() else { continue };
            let path = store.path_of(&sha256);
            let file = *by_hash.entry(sha256).or_insert_with(|| {
                plan.files.push(MediaFile { name: free_name(dataset, field, &row, &taken), path });
                plan.files.len() - 1
            });
            plan.fields.insert((dataset, row.record_id, field), file);
        }
        plan
    }

    /// The name of the file of a field, where it goes in.
    pub(super) fn name(&self, dataset: Dataset, record_id: i64, field: &'static str) -> Option<&str> {
        if self.fields.is_empty() {
            return None;
        }
        self.fields.get(&(dataset, record_id, field)).map(|file| self.files[*file].name.as_str())
    }
}

/// Whether records of a dataset can name media.
pub(super) fn has_media(dataset: Dataset) -> bool {
    dataset.fields().iter().any(|field| field.kind == FieldKind::Media)
}

fn left_out(row: &MediaRow, switches: MediaSwitches, store: &MediaStore) -> Option<&'static str> {
    let Some(sha256) = &row.sha256 else { return Some("the file did not come with the archive") };
    if !allows(switches, &row.field) {
        return Some("this kind of media is not exported");
    }
    (!store.path_of(sha256).is_file()).then_some("the file is not in the media store any more")
}

/// The names of entries that a path in the data may mean.
fn meanings(path: &str) -> Vec<String> {
    let normal = |path: &str| {
        let parts: Vec<&str> = path.split(['/', '\\']).filter(|part| !part.is_empty() && *part != ".").collect();
        parts.join("/")
    };
    let mut meanings = vec![normal(path)];
    if path.contains('%') {
        meanings.push(normal(&decoded(path)));
    }
    meanings
}

/// With `%41` made `A`; bytes that are not ASCII are in no name here.
fn decoded(path: &str) -> String {
    let mut decoded = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find('%') {
        decoded.push_str(&rest[..at]);
        rest = &rest[at..];
        match rest.get(1..3).and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                decoded.push(char::from(byte));
                rest = &rest[3..];
            }
            None => {
                decoded.push('%');
                rest = &rest[1..];
            }
        }
    }
    decoded + rest
}

fn free_name(dataset: Dataset, field: &str, row: &MediaRow, taken: &HashSet<String>) -> String {
    let stem = stem(dataset, field, row);
    let ending = ending(&row.path);
    let name = format!("{stem}{ending}");
    if !taken.contains(&name) {
        return name;
    }
    (2_u32..).map(|number| format!("{stem}-{number}{ending}")).find(|name| !taken.contains(name)).unwrap_or(name)
}

/// The name without its ending. No two fields have the same: behind the last `_` stands the id, and before it what
/// tells the fields of a record apart.
fn stem(dataset: Dataset, field: &str, row: &MediaRow) -> String {
    let id = safe_id(&row.source_id);
    let what = match field {
        "original_image_url" => "background",
        "logo_url" => "logo",
        "thumbnail_image_url" => "thumbnail",
        "large_image_url" => "large",
        "small_image_url" => "small",
        "icon_image_url" => "icon",
        "placeholder_url" => "placeholder",
        other => other,
    };
    match (dataset, field) {
        (Dataset::Event, _) => format!("images/{what}"),
        (Dataset::Tracks, _) => format!("images/tracks/image_{id}"),
        (_, "slides_url") => format!("slides/session_{id}"),
        (_, "audio_url") => format!("audios/session_{id}"),
        (_, "video_url") => format!("videos/session_{id}"),
        (_, "photo_url" | "logo_url") => format!("images/{dataset}/{}{id}", safe_name(row.name.as_deref())),
        _ => format!("images/{dataset}/{}{what}_{id}", safe_name(row.name.as_deref())),
    }
}

/// Letters and digits of a name, without accents, and a `_` behind it.
fn safe_name(name: Option<&str>) -> String {
    let mut safe = String::new();
    for character in name.unwrap_or_default().nfd() {
        if character.is_ascii_alphanumeric() {
            safe.push(character);
        } else if character.is_whitespace() && !safe.is_empty() && !safe.ends_with('_') {
            safe.push('_');
        }
        if safe.len() >= NAME_LENGTH {
            break;
        }
    }
    if !safe.is_empty() && !safe.ends_with('_') {
        safe.push('_');
    }
    safe
}

/// An id of digits as it is; any other with a digest behind it, so that no two become the same.
fn safe_id(id: &str) -> String {
    if id.len() <= ID_LENGTH && id.bytes().all(|byte| byte.is_ascii_digit()) {
        return id.to_owned();
    }
    let plain: String = id.chars().filter(char::is_ascii_alphanumeric).take(20).collect();
    format!("{plain}-{}", &hex(&digest_of(id))[..16])
}

fn ending(path: &str) -> String {
    let file = path.rsplit(['/', '\\']).next().unwrap_or(path);
    match file.rsplit_once('.') {
        Some((_, ending))
            if (1..=ENDING_LENGTH).contains(&ending.len())
                && ending.bytes().all(|byte| byte.is_ascii_alphanumeric()) =>
        {
            format!(".{}", ending.to_ascii_lowercase())
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(source_id: &str, name: &str, field: &str, path: &str) -> MediaRow {
        MediaRow {
            record_id: 1,
            source_id: source_id.to_owned(),
            name: Some(name.to_owned()),
            field: field.to_owned(),
            path: path.to_owned(),
            sha256: None,
        }
    }

    #[test]
    fn names_are_those_of_the_documents_and_safe() {
        let name = |dataset, field: &'static str, id: &str, name: &str, path: &str| {
            free_name(dataset, field, &row(id, name, field, path), &HashSet::new())
        };
        assert_eq!(name(Dataset::Event, "original_image_url", "1", "E", "/a/b.PNG"), "images/background.png");
        assert_eq!(
            name(Dataset::Speakers, "photo_url", "12", "Zo\u{eb}  O'Hara/..", "x.jpeg"),
            "images/speakers/Zoe_OHara_12.jpeg"
        );
        assert_eq!(name(Dataset::Speakers, "icon_image_url", "12", "\u{738b}", "x"), "images/speakers/icon_12");
        assert_eq!(name(Dataset::Sponsors, "logo_url", "3", "Buoy", "x.p/g"), "images/sponsors/Buoy_3");
        assert_eq!(name(Dataset::Tracks, "track_image_url", "3", "T", "x.svg"), "images/tracks/image_3.svg");
        assert_eq!(name(Dataset::Sessions, "slides_url", "3", "S", "x.pdf"), "slides/session_3.pdf");
        let odd = name(Dataset::Sessions, "video_url", "../x", "S", "x.mp4");
        assert!(odd.starts_with("videos/session_x-") && odd.len() == "videos/session_x-.mp4".len() + 16, "{odd}");
    }

    #[test]
    fn a_path_that_is_left_out_is_no_other_files_name() {
        let taken: HashSet<String> = meanings("//images/./speakers/%41_1.png").into_iter().collect();
        let row = row("1", "A", "photo_url", "photos/a.png");
        assert_eq!(free_name(Dataset::Speakers, "photo_url", &row, &taken), "images/speakers/A_1-2.png");
    }
}
