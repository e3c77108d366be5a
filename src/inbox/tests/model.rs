//! Random uploads into a real folder against a reference that knows what was done to each file.

use std::cell::RefCell;
use std::os::unix::fs::FileExt as _;
use std::time::SystemTime;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::*;

/// What an uploader does.
#[derive(Clone, Copy, Debug)]
enum Move {
    /// Makes an empty file under a name, in place of what was there.
    Create(u8),
    /// Writes the first bytes of a new archive under a name, in place of what was there.
    Begin(u8),
    /// Gives a new file the length of its archive, with nothing in it yet.
    Allocate(u8),
    /// Writes a part of what is missing.
    Append(u8),
    /// Writes all that is missing.
    Finish(u8),
    /// Sets an old time, as clients do that keep the times of what they copy.
    Touch(u8),
    /// Gives the file another name, unless that is taken.
    Rename(u8, u8),
    /// Gives the file another name, in place of what was there.
    Replace(u8, u8),
    /// Gives the file another name by a second link and the loss of the first one, as SFTP servers do.
    Link(u8, u8),
    /// Removes the file.
    Delete(u8),
    /// Lets so many seconds pass.
    Pass(u8),
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let name = 0u8..6;
    let two = (name.clone(), name.clone());
    let one = prop_oneof![
        1 => name.clone().prop_map(Move::Create),
        3 => name.clone().prop_map(Move::Begin),
        1 => name.clone().prop_map(Move::Allocate),
        2 => name.clone().prop_map(Move::Append),
        4 => name.clone().prop_map(Move::Finish),
        1 => name.clone().prop_map(Move::Touch),
        1 => two.clone().prop_map(|(from, to)| Move::Rename(from, to)),
        1 => two.clone().prop_map(|(from, to)| Move::Replace(from, to)),
        1 => two.prop_map(|(from, to)| Move::Link(from, to)),
        1 => name.prop_map(Move::Delete),
        8 => (1u8..4).prop_map(Move::Pass),
    ];
    proptest::collection::vec(one, 1..40)
}

/// A file as the reference knows it.
#[derive(Clone, Debug)]
struct Upload {
    whole: Vec<u8>,
    written: usize,
    changed: u64,
}

/// The last two are temporary names, which are never looked at.
const NAMES: [&str; 6] = ["a.zip", "b.zip", "fossasia/a.zip", "pycon/c.zip", "pycon/c.zip.part", ".d.zip"];

fn is_temporary(name: u8) -> bool {
    name >= 4
}

/// An inbox that goes on from one sequence to the next.
struct Stage {
    setting: Setting,
    running: Running,
    uploads: BTreeMap<u8, Upload>,
    expected: Vec<Vec<u8>>,
    second: u64,
    length: usize,
}

impl Stage {
    async fn new() -> Self {
        let setting = Setting::new().await;
        let running = setting.start().await;
        Self { setting, running, uploads: BTreeMap::new(), expected: Vec::new(), second: 0, length: 0 }
    }

    fn path(&self, name: u8) -> PathBuf {
        self.setting.inbox().join(NAMES[usize::from(name)])
    }

    /// Takes away what the sequence before has left, whether it has failed or not.
    async fn clear(&mut self) {
        for name in 0..6 {
            let _ = fs::remove_file(self.path(name));
        }
        self.running.pass(1).await;
        for row in self.setting.rows() {
            fs::remove_dir_all(self.setting.work().join(row.job.to_string())).unwrap();
        }
        self.setting.rest.lock().unwrap().rows.clear();
        self.uploads.clear();
        self.expected.clear();
        self.length = 0;
    }

    /// Archives differ in length, so that no two files look alike however fast they follow on each other.
    fn new_archive(&mut self) -> Vec<u8> {
        self.length += 1_000;
        small_zip(&vec![b'x'; self.length])
    }

    async fn play(&mut self, moves: &[Move]) {
        self.clear().await;
        for step in moves {
            self.step(*step).await;
        }
    }

    async fn step(&mut self, step: Move) {
        match step {
            Move::Create(name) | Move::Begin(name) | Move::Allocate(name) => {
                let whole = self.new_archive();
                let written = if matches!(step, Move::Begin(_)) { whole.len() / 2 } else { 0 };
                let file = File::create(self.path(name)).unwrap();
                if matches!(step, Move::Allocate(_)) {
                    file.set_len(whole.len() as u64).unwrap();
                }
                self.fill(&file, &whole[..written], 0);
                self.uploads.insert(name, Upload { whole, written, changed: self.second });
            }
            Move::Append(name) | Move::Finish(name) => {
                let Some(upload) = self.uploads.get(&name).cloned() else { return };
                let missing = upload.whole.len() - upload.written;
                let piece = if matches!(step, Move::Append(_)) { missing / 3 } else { missing };
                if piece > 0 {
                    let file = File::options().write(true).open(self.path(name)).unwrap();
                    let written = upload.written + piece;
                    self.fill(&file, &upload.whole[upload.written..written], upload.written);
                    self.uploads.insert(name, Upload { written, changed: self.second, ..upload });
                }
            }
            Move::Touch(name) => {
                if let Some(upload) = self.uploads.get(&name).cloned() {
                    let file = File::options().write(true).open(self.path(name)).unwrap();
                    self.fill(&file, &[], 0);
                    self.uploads.insert(name, Upload { changed: self.second, ..upload });
                }
            }
            Move::Rename(from, to) | Move::Replace(from, to) | Move::Link(from, to) => self.move_to(step, from, to),
            Move::Delete(name) => {
                if self.uploads.remove(&name).is_some() {
                    fs::remove_file(self.path(name)).unwrap();
                }
            }
            Move::Pass(seconds) => {
                for _ in 0..seconds {
                    self.pass().await;
                }
            }
        }
    }

    /// Writes a piece and sets a time long ago, another one each time: what is filled into a file of fixed length looks
    /// different however coarse the clock of the file system is.
    fn fill(&mut self, file: &File, piece: &[u8], at: usize) {
        file.write_all_at(piece, at as u64).unwrap();
        self.length += 1;
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(self.length as u64)).unwrap();
    }

    fn move_to(&mut self, step: Move, from: u8, to: u8) {
        let is_taken = self.uploads.contains_key(&to);
        if from == to || !self.uploads.contains_key(&from) || (is_taken && !matches!(step, Move::Replace(..))) {
            return;
        }
        let (one, other) = (self.path(from), self.path(to));
        match step {
            Move::Link(..) => {
                fs::hard_link(&one, &other).unwrap();
                fs::remove_file(&one).unwrap();
            }
            Move::Replace(..) => rustix::fs::rename(&one, &other).unwrap(),
            _ => crate::fsx::rename_no_replace(&one, &other).unwrap(),
        }
        let upload = self.uploads.remove(&from).unwrap();
        self.uploads.insert(to, Upload { changed: self.second, ..upload });
    }

    async fn pass(&mut self) {
        self.second += 1;
        self.running.pass(1).await;
        // The scan of the next second has seen the change; two more seconds settle it.
        let second = self.second;
        let settled = |name: u8, upload: &Upload| {
            !is_temporary(name) && upload.written == upload.whole.len() && upload.changed + 3 <= second
        };
        let claimed_now = self.uploads.extract_if(.., |name, upload| settled(*name, upload));
        self.expected.extend(claimed_now.map(|(_, upload)| upload.whole));
        let rows = self.setting.rows();
        let mut claimed: Vec<Vec<u8>> = rows.iter().map(|row| self.setting.source_of(row)).collect();
        claimed.sort();
        self.expected.sort();
        assert!(claimed == self.expected, "{} claimed, {} expected", claimed.len(), self.expected.len());
    }
}

/// Sequences that are tried; `tests/reliability --long` asks for more by the same word as in `tests/it/support/effort.rs`.
fn cases() -> u32 {
    if std::env::var("EVENTFERRY_TEST_EFFORT").is_ok_and(|effort| effort == "long") { 10_000 } else { 500 }
}

#[test]
fn each_file_that_is_whole_and_at_rest_becomes_one_job_and_no_other_does() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let stage = RefCell::new(runtime.block_on(Stage::new()));
    let config =
        ProptestConfig { max_shrink_iters: 500, failure_persistence: None, ..ProptestConfig::with_cases(cases()) };
    let tried = TestRunner::new(config).run(&moves(), |moves| {
        runtime.block_on(stage.borrow_mut().play(&moves));
        Ok(())
    });
    tried.unwrap();
    runtime.block_on(stage.into_inner().running.stop());
}
