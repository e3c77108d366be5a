//! Random uploads into a real folder against a reference that knows what was done to each file.

use proptest::prelude::*;

use super::*;

/// What an uploader does.
#[derive(Clone, Copy, Debug)]
enum Move {
    /// Writes the first bytes of a new archive under a name, in place of what was there.
    Begin(u8),
    /// Writes a part of what is missing.
    Append(u8),
    /// Writes all that is missing.
    Finish(u8),
    /// Gives the file another name.
    Rename(u8, u8),
    /// Removes the file.
    Delete(u8),
    /// Lets a second pass.
    Pass,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let name = 0u8..4;
    let one = prop_oneof![
        3 => name.clone().prop_map(Move::Begin),
        2 => name.clone().prop_map(Move::Append),
        4 => name.clone().prop_map(Move::Finish),
        1 => (name.clone(), name.clone()).prop_map(|(from, to)| Move::Rename(from, to)),
        1 => name.prop_map(Move::Delete),
        8 => Just(Move::Pass),
    ];
    proptest::collection::vec(one, 1..50)
}

/// A file as the reference knows it.
#[derive(Clone, Debug)]
struct Upload {
    whole: Vec<u8>,
    written: usize,
    changed: u64,
}

fn name_of(number: u8) -> &'static str {
    ["a.zip", "b.zip", "fossasia/a.zip", "pycon/c.zip"][usize::from(number)]
}

async fn play(moves: Vec<Move>) {
    let setting = Setting::new().await;
    let mut running = setting.start().await;
    let mut uploads: BTreeMap<u8, Upload> = BTreeMap::new();
    let mut expected: Vec<Vec<u8>> = Vec::new();
    let mut second = 0;
    // Archives differ in length, so that no two states of a file look alike however fast they follow on each other.
    let mut length = 1_000;
    for step in moves {
        match step {
            Move::Begin(name) => {
                length += 1_000;
                let whole = small_zip(&vec![b'x'; length]);
                let written = length / 2;
                setting.drop_file(name_of(name), &whole[..written]);
                uploads.insert(name, Upload { whole, written, changed: second });
            }
            Move::Append(name) | Move::Finish(name) => {
                let Some(upload) = uploads.get_mut(&name) else { continue };
                let missing = upload.whole.len() - upload.written;
                let piece = if matches!(step, Move::Append(_)) { missing / 3 } else { missing };
                if piece > 0 {
                    setting.append(name_of(name), &upload.whole[upload.written..upload.written + piece]);
                    upload.written += piece;
                    upload.changed = second;
                }
            }
            Move::Rename(from, to) => {
                let target = setting.inbox().join(name_of(to));
                if from != to && uploads.contains_key(&from) && !uploads.contains_key(&to) {
                    crate::fsx::rename_no_replace(&setting.inbox().join(name_of(from)), &target).unwrap();
                    let upload = uploads.remove(&from).unwrap();
                    uploads.insert(to, Upload { changed: second, ..upload });
                }
            }
            Move::Delete(name) => {
                if uploads.remove(&name).is_some() {
                    fs::remove_file(setting.inbox().join(name_of(name))).unwrap();
                }
            }
            Move::Pass => {
                second += 1;
                running.pass(1).await;
                // The scan of the next second has seen the change; two more seconds settle it.
                let settled = |upload: &Upload| upload.written == upload.whole.len() && upload.changed + 3 <= second;
                expected.extend(uploads.values().filter(|upload| settled(upload)).map(|upload| upload.whole.clone()));
                uploads.retain(|_, upload| !settled(upload));
                let mut claimed: Vec<Vec<u8>> = setting.rows().iter().map(|row| setting.source_of(row)).collect();
                claimed.sort();
                expected.sort();
                assert!(claimed == expected, "{} claimed, {} expected", claimed.len(), expected.len());
            }
        }
    }
    running.stop().await;
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 200, ..ProptestConfig::with_cases(24) })]

    #[test]
    fn each_file_that_is_whole_and_at_rest_becomes_one_job_and_no_other_does(moves in moves()) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(play(moves));
    }
}
