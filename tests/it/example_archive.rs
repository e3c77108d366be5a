//! The example conference: the zip that the README imports is the folder beside it.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::Value;

#[test]
fn the_zip_holds_exactly_the_files_of_the_folder() {
    let file = fs::File::open(inbox().join("example-conference.zip")).unwrap();
    let mut archive = zip::ZipArchive::new(file).unwrap();
    let mut packed = BTreeMap::new();
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).unwrap();
        let name = entry.name().unwrap().into_owned();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        packed.insert(name, bytes);
    }

    let folder = inbox().join("example");
    let mut source = BTreeMap::new();
    for path in files(&folder) {
        let name = path.strip_prefix(&folder).unwrap().to_str().unwrap().to_owned();
        source.insert(name, fs::read(&path).unwrap());
    }

    assert!(packed == source, "the zip and its folder differ: run `inbox/pack-example`");
}

#[test]
fn the_conference_is_whole() {
    let read = |name: &str| -> Value {
        serde_json::from_slice(&fs::read(inbox().join("example").join(name)).unwrap()).unwrap()
    };
    let counts: Vec<usize> =
        ["sessions", "speakers", "microlocations", "tracks", "session_types", "sponsors", "social_links", "forms"]
            .iter()
            .map(|name| read(name).as_array().unwrap().len())
            .collect();
    assert_eq!(counts, [12, 8, 3, 3, 3, 3, 3, 10]);

    let ids =
        |name: &str| -> Vec<Value> { read(name).as_array().unwrap().iter().map(|one| one["id"].clone()).collect() };
    let (rooms, tracks, types, speakers) =
        (ids("microlocations"), ids("tracks"), ids("session_types"), ids("speakers"));
    let mut links = 0;
    for session in read("sessions").as_array().unwrap() {
        assert!(rooms.contains(&session["microlocation_id"]), "{session}");
        assert!(tracks.contains(&session["track_id"]), "{session}");
        assert!(types.contains(&session["session_type_id"]), "{session}");
        for speaker in session["speakers"].as_array().unwrap() {
            assert!(speakers.contains(&speaker["id"]), "{session}");
            links += 1;
        }
    }
    assert_eq!(links, 18);

    for image in ["original_image_url", "logo_url"] {
        let path = read("event")[image].as_str().unwrap().trim_start_matches('/').to_owned();
        assert!(inbox().join("example").join(&path).exists(), "{path}");
    }
}

fn inbox() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("inbox")
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}
