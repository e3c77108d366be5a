//! The real daemon under archives that would fill memory or disk, or write outside of their place. It refuses them one after the
//! other and goes on; how much memory it ever had is read from the kernel.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use eventferry::db::{Database, DatabaseOptions, Sql};
use flate2::{Compress, Compression, FlushCompress};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::entries::quoting;
use crate::fixtures::archive::Archive;
use crate::fixtures::zips::{Packing, ZipEntry, zip};
use crate::support::binary::{Process, eventferry};

/// What the daemon may ever have had in memory, in KiB: what it has anyway, and the buffers of a job.
const MOST_MEMORY: u64 = 96 * 1024;

/// As [`MOST_MEMORY`], with records of the largest size (4 MiB) that hold hundreds of thousands of keys, some of them read ahead.
const MOST_MEMORY_FOR_RECORDS: u64 = 320 * 1024;

/// A daemon that is a process of its own, and a folder around its root with things that are none of its business.
struct Hostile {
    folder: TempDir,
    process: Process,
    database: Database,
}

impl Hostile {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("around/root");
        fs::create_dir_all(root.join("inbox")).unwrap();
        for place in ["canary", "around/canary", "around/here/canary"] {
            fs::create_dir_all(folder.path().join(place)).unwrap();
            fs::write(folder.path().join(place).join("evil"), "it sings").unwrap();
        }
        let settings = ["inbox.settle=10ms", "limits.entry_bytes=256MiB", "limits.total_bytes=512MiB"];
        let args: Vec<&str> =
            settings.iter().flat_map(|setting| ["--set", setting]).chain(["--quiet", "run"]).collect();
        let mut command = eventferry(&root, &args);
        command.current_dir(folder.path().join("around/here"));
        let process = Process::start(command);
        let url = format!("sqlite:{}", root.join("eventferry.db").display());
        let options = DatabaseOptions { url, connections: 1, busy_timeout: std::time::Duration::from_secs(30) };
        let database = Database::open(&options).await.unwrap();
        Self { folder, process, database }
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("around/root")
    }

    /// A path beside the inbox, on its file system.
    fn beside(&self) -> PathBuf {
        self.root().join("upload")
    }

    /// Drops what lies beside the inbox, waits for its end, and gives its result.
    async fn import_file(&mut self, name: &str) -> Value {
        fs::rename(self.beside(), self.root().join("inbox").join(name)).unwrap();
        let ended = format!("SELECT count(*) FROM jobs WHERE archive_name = '{name}' AND source_state = 'moved'");
        let ended = Sql::built("wait for the end of a job", ended);
        while self.database.fetch_all(&ended, &[]).await.unwrap()[0].get::<i64>(0).unwrap() == 0 {
            self.process.assert_alive();
            tokio::task::yield_now().await;
        }
        let latest = self.root().join("outbox/default/latest").join(name.replace(".zip", ".json"));
        serde_json::from_slice(&fs::read(&latest).unwrap_or_else(|error| panic!("{}: {error}", latest.display())))
            .unwrap()
    }

    async fn import(&mut self, name: &str, bytes: impl AsRef<[u8]>) -> Value {
        fs::write(self.beside(), bytes).unwrap();
        self.import_file(name).await
    }

    /// The most that the process ever had in memory, in KiB.
    fn most_memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the kernel says it");
        line.trim().strip_suffix(" kB").unwrap().parse().unwrap()
    }

    /// Everything outside of the root, with what tells a change.
    fn outside(&self) -> BTreeMap<PathBuf, (u64, i64, i64, u32)> {
        let mut found = BTreeMap::new();
        let root = self.root();
        walk(self.folder.path(), &mut |path| {
            if !path.starts_with(&root) {
                let data = fs::symlink_metadata(path).unwrap();
                found.insert(path.to_owned(), (data.ino(), data.mtime_nsec(), data.ctime_nsec(), data.mode()));
            }
        });
        found
    }

    /// Nothing is named after an entry, a good archive goes in, and the memory has stayed within its bound.
    async fn finish(mut self, bound: u64) {
        walk(&self.root(), &mut |path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            assert!(!name.contains("evil"), "{}", path.display());
        });
        let result = self.import("good.zip", Archive::flat().zip()).await;
        assert_eq!(result["state"], "succeeded", "{result:#}");
        let most = self.most_memory();
        assert!(most < bound, "the daemon had {most} KiB in memory");
        self.database.close().await;
        self.process.terminate();
        assert_eq!(self.process.ended().code, 0);
        let work = self.folder.path().join("around/root/work");
        let left: Vec<_> = fs::read_dir(work).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(left.iter().all(|name| name.as_encoded_bytes().starts_with(b".")), "{left:?}");
    }
}

/// What vanishes meanwhile is passed over.
fn walk(folder: &Path, visit: &mut impl FnMut(&Path)) {
    visit(folder);
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            walk(&entry.path(), visit);
        } else {
            visit(&entry.path());
        }
    }
}

#[track_caller]
fn assert_ends(result: &Value, state: &str, code: &str, what: &str) {
    assert_eq!(result["state"], state, "{what}: {result:#}");
    let problems = result["problems"].as_array().unwrap();
    let found = problems.iter().find(|problem| problem["code"] == code);
    assert!(
        found.is_some_and(|problem| problem["hint"].as_str().is_some_and(|hint| !hint.is_empty())),
        "{what}: {result:#}"
    );
}

/// `times` copies of a text between two others, packed as one entry; the whole is nowhere.
fn repeated(name: &str, [before, text, after]: [&[u8]; 3], times: usize) -> ZipEntry {
    let mut packed = pack(before);
    packed.extend(pack(text).repeat(times));
    packed.extend(pack(after));
    // The empty last block.
    packed.extend([3, 0]);
    let mut crc = crc32fast::Hasher::new();
    let mut of_one = crc32fast::Hasher::new();
    of_one.update(text);
    crc.update(before);
    (0..times).for_each(|_| crc.combine(&of_one));
    crc.update(after);
    let declared = before.len() + text.len() * times + after.len();
    ZipEntry {
        packed: Some(packed),
        crc: Some(crc.finalize()),
        declared: Some(u32::try_from(declared).unwrap_or(u32::MAX - 1)),
        ..ZipEntry::new(name, "")
    }
}

/// Blocks that refer to nothing before them and are not the last.
fn pack(text: &[u8]) -> Vec<u8> {
    let mut packed = Vec::with_capacity(text.len() + 1024);
    Compress::new(Compression::new(9), false).compress_vec(text, &mut packed, FlushCompress::Full).unwrap();
    packed
}

/// A zip of so many entries without bytes, all of which name one local header. Written piece by piece.
fn write_empty_entries(path: &Path, count: u64) {
    let mut out = BufWriter::new(File::create(path).unwrap());
    let one = zip(&[ZipEntry { packing: Packing::Stored, ..ZipEntry::new("e", "") }]);
    let start = one.windows(4).position(|window| window == b"PK\x01\x02").unwrap();
    let central = &one[start..one.len() - 22];
    out.write_all(&one[..start]).unwrap();
    for _ in 0..count {
        out.write_all(central).unwrap();
    }
    out.write_all(b"PK\x05\x06\0\0\0\0").unwrap();
    // Tools without zip64 keep the low bits only.
    let low = u16::try_from(count & 0xffff).unwrap().to_le_bytes();
    out.write_all(&[low, low].concat()).unwrap();
    out.write_all(&u32::try_from(count * central.len() as u64).unwrap().to_le_bytes()).unwrap();
    out.write_all(&u32::try_from(start).unwrap().to_le_bytes()).unwrap();
    out.write_all(&[0, 0]).unwrap();
    out.flush().unwrap();
}

/// Sixteen zips of sixteen zips of a file that is large when unpacked.
fn nested_bomb() -> Vec<u8> {
    let sixteen = |inner: &[u8]| {
        let names: Vec<String> = (0..16).map(|number| format!("lib {number:x}.zip")).collect();
        zip(&names.iter().map(|name| ZipEntry::new(name, inner)).collect::<Vec<_>>())
    };
    sixteen(&sixteen(&zip(&[repeated("0.dll", [b"", &vec![0; 1 << 20], b""], 4000)])))
}

/// A mebibyte that is packed forty times, not a thousand times smaller.
fn text() -> Vec<u8> {
    let odd = (0_u32..).map(|number| format!("{:016x}", u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15)));
    let mut text: Vec<u8> = odd.take(1024).flat_map(|odd| format!("{odd}{}", "x".repeat(1008)).into_bytes()).collect();
    text.truncate(1 << 20);
    text
}

#[tokio::test]
async fn bombs_are_refused_in_bounded_memory_and_the_daemon_goes_on() {
    let mut hostile = Hostile::start().await;
    let event = || ZipEntry::new("event", r#"{"id": 1, "name": "Bomb"}"#);
    let mebibyte = vec![0; 1 << 20];

    // Ten megabytes that become ten gigabytes, said truly and not.
    let zeros = repeated("images/zeros", [b"", &mebibyte, b""], 10_000);
    assert!(zeros.packed.as_ref().unwrap().len() < 12 << 20);
    let lying = ZipEntry { declared: Some(10), ..zeros.clone() };
    for (name, entry) in [("large.zip", zeros), ("lying.zip", lying)] {
        let result = hostile.import(name, zip(&[event(), entry])).await;
        assert_ends(&result, "failed", "LIMIT_ENTRY_BYTES", name);
    }
    let dense = repeated("images/dense", [b"", &mebibyte, b""], 64);
    let result = hostile.import("dense.zip", zip(&[event(), dense])).await;
    assert_ends(&result, "failed", "LIMIT_RATIO", "more than text ever gives");

    // Each too small to be a bomb, all of them together none.
    let one = repeated("", [b"", &mebibyte, b""], 1);
    for (name, declared) in [("many.zip", one.declared), ("many-lying.zip", Some(1))] {
        let entry = |number: u32| ZipEntry { name: format!("images/{number}").into(), declared, ..one.clone() };
        let entries: Vec<ZipEntry> = [event()].into_iter().chain((0..600).map(entry)).collect();
        let result = hostile.import(name, zip(&entries)).await;
        assert_ends(&result, "failed", "LIMIT_TOTAL_BYTES", name);
    }

    write_empty_entries(&hostile.beside(), 10_000_000);
    let result = hostile.import_file("ten-million.zip").await;
    assert_ends(&result, "failed", "LIMIT_ENTRIES", "a directory of 470 MB");
    let result = hostile.import("overlap.zip", quoting(400, &mebibyte)).await;
    assert_ends(&result, "failed", "OVERLAPPING_ENTRIES", "four hundred entries that share one mebibyte");
    let result = hostile.import("nested.zip", nested_bomb()).await;
    assert_ends(&result, "failed", "EVENT_MISSING", "zips in zips in zips");
    hostile.finish(MOST_MEMORY).await;
}

#[tokio::test]
async fn records_that_would_fill_the_memory_are_left_out_in_bounded_memory() {
    let mut hostile = Hostile::start().await;
    let event = || ZipEntry::new("event", r#"{"id": 1, "name": "Bomb"}"#);
    let text = text();

    let sessions = repeated("sessions", [br#"[{"id": 1, "title": "a"}, {"id": 2, "title": ""#, &text, br#""}]"#], 200);
    let result = hostile.import("record.zip", zip(&[event(), sessions])).await;
    assert_ends(&result, "partial", "LIMIT_RECORD_BYTES", "a record of 200 MiB");
    assert_eq!(result["datasets"]["sessions"]["created"], 1, "{result:#}");
    let whole = repeated("event", [br#"{"id": 1, "name": "Bomb", "x": ""#, &text, br#""}"#], 200);
    let result = hostile.import("event.zip", zip(&[whole])).await;
    assert_ends(&result, "failed", "LIMIT_RECORD_BYTES", "an event of 200 MiB");

    // A record of the largest size, of nothing but keys that are given again; in every file, so that they come side by side.
    let again = format!(r#"{{"id": 1, "name": "a", "title": "a"{}}}"#, r#","a":1"#.repeat(690_000));
    let record = format!("[{}]", [again.as_str(); 3].join(","));
    let files = ["microlocations", "sponsors", "speakers", "tracks", "session_types", "sessions"];
    let entries: Vec<ZipEntry> =
        [event()].into_iter().chain(files.map(|file| ZipEntry::new(file, record.as_str()))).collect();
    let result = hostile.import("again.zip", zip(&entries)).await;
    assert_ends(&result, "partial", "LIMIT_RECORD_BYTES", "keys that are given again");

    let fields: Vec<String> = (0..150_000).map(|number| format!(r#""f{number}":{{}}"#)).collect();
    let form = json!([{"id": 1, "session_form": format!("{{{}}}", fields.join(",")), "beside": "x".repeat(1 << 20)}]);
    let result = hostile.import("form.zip", zip(&[event(), ZipEntry::new("forms", form.to_string())])).await;
    assert_ends(&result, "partial", "LIMIT_RECORD_BYTES", "a form of very many fields");

    let deep = format!("[{}1{}]", "[".repeat(20_000_000), "]".repeat(20_000_000));
    let result = hostile
        .import("deep.zip", zip(&[event(), ZipEntry { packing: Packing::Stored, ..ZipEntry::new("tracks", deep) }]))
        .await;
    assert_ends(&result, "partial", "LIMIT_JSON_DEPTH", "twenty million levels");
    hostile.finish(MOST_MEMORY_FOR_RECORDS).await;
}

#[tokio::test]
async fn records_that_share_one_id_are_told_apart_in_bounded_memory() {
    let mut hostile = Hostile::start().await;
    let event = || ZipEntry::new("event", r#"{"id": 1, "name": "Twins"}"#);
    // Nothing is to be written: this is about the check.
    let policy = || ZipEntry::new("eventferry.json", r#"{"on_error": "reject"}"#);
    let bad = r#"{"id": 1, "x": "no name"}"#;

    let others: Vec<String> = (0..500_000).map(|number| format!(r#"{{"id":1,"name":"n{number}"}}"#)).collect();
    let tracks = ZipEntry::new("tracks", format!("[{},{bad}]", others.join(",")));
    let result = hostile.import("names.zip", zip(&[event(), policy(), tracks])).await;
    assert_ends(&result, "failed", "FIELD_REQUIRED", "500,000 tracks with one id");
    assert_eq!(result["problem_counts"]["DUPLICATE_ID"], 499_999, "{result:#}");

    // As many names for one id that no record has.
    let named: Vec<String> = (0..250_000)
        .map(|number| format!(r#"{{"id":{number},"title":"a","track":{{"id":1,"name":"n{number}"}}}}"#))
        .collect();
    let sessions = ZipEntry::new("sessions", format!("[{},{bad}]", named.join(",")));
    let result = hostile.import("references.zip", zip(&[event(), policy(), sessions])).await;
    assert_ends(&result, "failed", "FIELD_REQUIRED", "250,000 names for one id");
    hostile.finish(MOST_MEMORY).await;
}

#[tokio::test]
async fn nothing_is_written_outside_of_the_root_whatever_the_entries_are_called() {
    let mut hostile = Hostile::start().await;
    let before = hostile.outside();
    let event = || ZipEntry::new("event", r#"{"id": 1, "name": "Slip"}"#);
    let canary = hostile.folder.path().join("canary/evil").display().to_string();
    let names = [
        "../evil",
        "../../evil",
        "images/../../../canary/evil",
        "../../../../canary/evil",
        r"..\evil",
        r"images\..\..\canary\evil",
        canary.as_str(),
        "/evil",
        r"\evil",
        r"\\host\evil",
        r"C:\evil",
        "c:evil",
        "evil/..",
        "images/\0/evil",
    ];
    for (number, name) in names.into_iter().enumerate() {
        let result = hostile.import(&format!("slip-{number}.zip"), zip(&[event(), ZipEntry::new(name, "over")])).await;
        assert_ends(&result, "failed", "UNSAFE_ENTRY_NAME", name);
    }
    for (number, target) in ["../../canary", "/etc", &canary, "."].into_iter().enumerate() {
        let link =
            |name: &str, mode| ZipEntry { mode: Some(mode), packing: Packing::Stored, ..ZipEntry::new(name, target) };
        for (kind, mode) in [("link", 0o120_777), ("mode", 0o120_000)] {
            let entries = [event(), link("images/out", mode), ZipEntry::new("images/out/evil", "over")];
            let result = hostile.import(&format!("{kind}-{number}.zip"), zip(&entries)).await;
            assert_ends(&result, "failed", "ENTRY_IS_LINK", target);
        }
    }
    // Names that are allowed are still no names of files; a record may point anywhere and gets nothing.
    let entries = [
        ZipEntry::new(
            "event",
            r#"{"id": 1, "name": "Slip", "logo_url": "../../canary/evil", "original_image_url": "images/evil.png"}"#,
        ),
        ZipEntry::new("images/evil.png", "a picture"),
        ZipEntry::new("evil", "a stray"),
    ];
    let result = hostile.import("plain.zip", zip(&entries)).await;
    assert_ends(&result, "succeeded", "MEDIA_MISSING", "a path that leads out");
    assert_eq!(hostile.outside(), before);
    assert_eq!(fs::read_to_string(canary).unwrap(), "it sings");
    hostile.finish(MOST_MEMORY).await;
}
