#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta};
use proptest::prelude::*;

use super::*;

const PATIENCE: Patience = Patience {
    settle: Duration::from_secs(2),
    incomplete_after: Duration::from_secs(900),
    incomplete_reject: Duration::from_secs(86_400),
    retry: Duration::from_secs(30),
};

/// `seconds` after the start, on both clocks.
fn at(seconds: u64) -> Moment {
    let start = DateTime::from_timestamp(1_790_000_000, 0).unwrap();
    Moment { monotonic: Duration::from_secs(seconds), wall: start + TimeDelta::seconds(seconds.cast_signed()) }
}

fn file(size: u64) -> FileIdentity {
    FileIdentity { device: 1, inode: 7, size, modified_ns: 5, changed_ns: 5 }
}

fn path(name: &str) -> InboxPath {
    InboxPath::new(None, name)
}

fn steps(settling: &Settling, now: Moment) -> Vec<Step> {
    settling.due(now.monotonic, 100).into_iter().map(|(_, step)| step).collect()
}

fn incomplete(settling: &mut Settling, now: Moment) {
    settling.found(&path("a"), Finding::Incomplete("the end is missing".to_owned()), now);
}

#[test]
fn a_file_is_looked_at_once_it_was_unchanged_for_the_settle_time() {
    let mut settling = Settling::new(PATIENCE);
    settling.observe(path("a"), file(1), Arrival::Seen, at(10));
    assert_eq!(steps(&settling, at(11)), []);
    assert_eq!(settling.next_due(at(11).monotonic), Some(Duration::from_secs(12)));
    settling.observe(path("a"), file(1), Arrival::Seen, at(11));
    assert_eq!(steps(&settling, at(12)), [Step::Look]);
}

#[test]
fn any_part_of_the_identity_that_changes_begins_the_wait_anew() {
    let first = file(1);
    for second in [
        FileIdentity { device: 2, ..first },
        FileIdentity { inode: 8, ..first },
        FileIdentity { size: 2, ..first },
        FileIdentity { modified_ns: 4, ..first },
        FileIdentity { changed_ns: 6, ..first },
    ] {
        let mut settling = Settling::new(PATIENCE);
        settling.observe(path("a"), first, Arrival::Seen, at(0));
        settling.observe(path("a"), second, Arrival::Seen, at(1));
        assert_eq!(steps(&settling, at(2)), [], "{second:?}");
        assert_eq!(steps(&settling, at(3)), [Step::Look], "{second:?}");
    }
}

#[test]
fn an_old_modification_time_does_not_shorten_the_wait() {
    let mut settling = Settling::new(PATIENCE);
    settling.observe(path("a"), FileIdentity { modified_ns: -1_000, ..file(1) }, Arrival::Seen, at(0));
    assert_eq!(steps(&settling, at(1)), []);
}

#[test]
fn a_file_that_was_renamed_in_is_looked_at_at_once() {
    let mut settling = Settling::new(PATIENCE);
    settling.observe(path("a"), file(1), Arrival::RenamedIn, at(5));
    assert_eq!(steps(&settling, at(5)), [Step::Look]);
    settling.observe(path("b"), file(1), Arrival::Seen, at(5));
    settling.observe(path("b"), file(1), Arrival::RenamedIn, at(6));
    assert_eq!(steps(&settling, at(6)), [Step::Look, Step::Look], "also where a scan has seen it first");
}

#[test]
fn a_file_that_grows_after_it_was_renamed_in_waits_like_any_other() {
    let mut settling = Settling::new(PATIENCE);
    settling.observe(path("a"), file(1), Arrival::RenamedIn, at(5));
    settling.observe(path("a"), file(2), Arrival::Seen, at(5));
    assert_eq!(steps(&settling, at(6)), []);
    assert_eq!(steps(&settling, at(7)), [Step::Look]);
}

#[test]
fn an_incomplete_file_is_told_of_once_and_then_rejected() {
    let mut settling = Settling::new(PATIENCE);
    settling.observe(path("a"), file(1), Arrival::Seen, at(0));
    incomplete(&mut settling, at(2));
    assert_eq!(steps(&settling, at(899)), []);
    assert_eq!(steps(&settling, at(900)), [Step::Tell]);
    settling.told(&path("a"), at(900));
    assert_eq!(steps(&settling, at(86_399)), []);
    assert_eq!(steps(&settling, at(86_400)), [Step::Reject]);
}

#[test]
fn growth_begins_both_waits_anew_and_keeps_the_told_mark() {
    let mut settling = Settling::new(PATIENCE);
    settling.observe(path("a"), file(1), Arrival::Seen, at(0));
    incomplete(&mut settling, at(2));
    settling.told(&path("a"), at(900));
    settling.observe(path("a"), file(2), Arrival::Seen, at(80_000));
    assert_eq!(steps(&settling, at(80_002)), [Step::Look]);
    incomplete(&mut settling, at(80_002));
    assert_eq!(steps(&settling, at(86_400)), [], "neither told again nor rejected by the age of the first piece");
    assert_eq!(steps(&settling, at(80_000 + 86_400)), [Step::Reject]);
}

#[test]
fn a_file_that_vanished_and_comes_again_is_a_new_one() {
    let mut settling = Settling::new(PATIENCE);
    settling.observe(path("a"), file(1), Arrival::Seen, at(0));
    incomplete(&mut settling, at(2));
    settling.told(&path("a"), at(900));
    assert!(settling.forget(&path("a")).is_some());
    assert!(settling.is_empty());
    settling.observe(path("a"), file(1), Arrival::Seen, at(1_000));
    incomplete(&mut settling, at(1_002));
    assert_eq!(steps(&settling, at(1_900)), [Step::Tell]);
}

#[test]
fn a_restart_counts_the_time_that_passed_and_does_not_tell_twice() {
    let mut settling = Settling::new(PATIENCE);
    let remembered = Remembered {
        identity: Some(file(1)),
        first_seen: at(0).wall,
        changed_at: at(0).wall,
        told_at: Some(at(900).wall),
        told_refusal: None,
    };
    // The new process begins at 0 on its own monotonic clock, an hour after the file has changed.
    let start = Moment { monotonic: Duration::ZERO, wall: at(3_600).wall };
    settling.restore(path("a"), remembered, start);
    settling.observe(path("a"), file(1), Arrival::Seen, start);
    assert_eq!(steps(&settling, at(1)), [], "what was there before the start settles too");
    assert_eq!(steps(&settling, at(2)), [Step::Look]);
    incomplete(&mut settling, at(2));
    assert_eq!(steps(&settling, at(86_400 - 3_601)), []);
    assert_eq!(steps(&settling, at(86_400 - 3_600)), [Step::Reject]);
}

#[test]
fn a_file_that_grew_while_nobody_watched_has_its_full_time() {
    let mut settling = Settling::new(PATIENCE);
    let remembered = Remembered {
        identity: Some(file(1)),
        first_seen: at(0).wall,
        changed_at: at(0).wall,
        told_at: None,
        told_refusal: None,
    };
    settling.restore(path("a"), remembered, Moment { monotonic: Duration::ZERO, wall: at(90_000).wall });
    settling.observe(path("a"), file(2), Arrival::Seen, at(0));
    incomplete(&mut settling, at(2));
    assert_eq!(steps(&settling, at(899)), []);
    assert_eq!(steps(&settling, at(900)), [Step::Tell]);
}

#[test]
fn after_a_long_stop_a_file_is_rejected_and_not_told_of_as_well() {
    let mut settling = Settling::new(PATIENCE);
    let remembered = Remembered {
        identity: Some(file(1)),
        first_seen: at(0).wall,
        changed_at: at(0).wall,
        told_at: None,
        told_refusal: None,
    };
    settling.restore(path("a"), remembered, Moment { monotonic: Duration::ZERO, wall: at(90_000).wall });
    settling.observe(path("a"), file(1), Arrival::Seen, at(0));
    incomplete(&mut settling, at(2));
    assert_eq!(steps(&settling, at(2)), [Step::Reject]);
}

#[test]
fn a_wall_clock_that_was_set_back_lets_nothing_wait_longer_than_from_the_start() {
    let mut settling = Settling::new(PATIENCE);
    let remembered = Remembered {
        identity: Some(file(1)),
        first_seen: at(5_000).wall,
        changed_at: at(5_000).wall,
        told_at: None,
        told_refusal: None,
    };
    settling.restore(path("a"), remembered, at(0));
    settling.observe(path("a"), file(1), Arrival::Seen, at(0));
    incomplete(&mut settling, at(2));
    assert_eq!(steps(&settling, at(900)), [Step::Tell]);
}

#[test]
fn a_refusal_is_told_once_and_never_looked_at_again_while_the_file_is_the_same() {
    let mut settling = Settling::new(PATIENCE);
    settling.observe(path("a"), file(1), Arrival::Seen, at(0));
    settling.found(&path("a"), Finding::Refused(RefusalCode::NotARegularFile, "a pipe".to_owned()), at(2));
    assert_eq!(steps(&settling, at(2)), [Step::Tell]);
    settling.told(&path("a"), at(2));
    assert_eq!(settling.next_due(at(2).monotonic), None);
    settling.observe(path("a"), file(2), Arrival::Seen, at(50));
    assert_eq!(steps(&settling, at(52)), [Step::Look]);
    settling.found(&path("a"), Finding::Refused(RefusalCode::NotARegularFile, "a pipe".to_owned()), at(52));
    assert_eq!(settling.next_due(at(52).monotonic), None, "told already");
    settling.found(&path("a"), Finding::Refused(RefusalCode::MoreThanOneLink, "two".to_owned()), at(53));
    assert_eq!(steps(&settling, at(53)), [Step::Tell], "another reason is news");
}

#[test]
fn what_could_not_be_read_is_tried_again_ever_more_rarely_and_told_of_once() {
    let mut settling = Settling::new(PATIENCE);
    settling.observe(path("a"), file(1), Arrival::Seen, at(0));
    let mut now = 2;
    let mut pauses = Vec::new();
    for _ in 0..9 {
        settling.found(&path("a"), Finding::Refused(RefusalCode::Permission, "no".to_owned()), at(now));
        if pauses.is_empty() {
            assert_eq!(steps(&settling, at(now)), [Step::Tell]);
            settling.told(&path("a"), at(now));
        }
        let next = settling.next_due(at(now).monotonic).unwrap().as_secs();
        assert_eq!(steps(&settling, at(next)), [Step::Look]);
        pauses.push(next - now);
        now = next;
    }
    assert_eq!(pauses, [30, 60, 120, 240, 480, 960, 1_920, 3_600, 3_600]);
}

#[test]
fn a_refusal_that_was_told_before_a_restart_is_not_told_again() {
    let mut settling = Settling::new(PATIENCE);
    let remembered = Remembered {
        identity: Some(file(1)),
        first_seen: at(0).wall,
        changed_at: at(0).wall,
        told_at: Some(at(2).wall),
        told_refusal: Some(RefusalCode::Subfolder),
    };
    settling.restore(path("a"), remembered, at(0));
    settling.observe(path("a"), file(1), Arrival::Seen, at(0));
    settling.found(&path("a"), Finding::Refused(RefusalCode::Subfolder, "x".to_owned()), at(2));
    assert_eq!(settling.next_due(at(2).monotonic), None);
}

#[test]
fn folders_take_turns_and_files_of_one_folder_go_in_the_order_in_which_they_came_to_rest() {
    let mut settling = Settling::new(PATIENCE);
    for number in 0..5_i64 {
        let identity = FileIdentity { changed_ns: 100 - number, ..file(1) };
        settling.observe(InboxPath::new(Some("full"), format!("{number}")), identity, Arrival::Seen, at(0));
    }
    settling.observe(InboxPath::new(Some("full"), "00-late"), file(1), Arrival::Seen, at(1));
    settling.observe(InboxPath::new(Some("small"), "only"), file(1), Arrival::Seen, at(1));
    settling.observe(path("top"), file(1), Arrival::Seen, at(1));
    let keys = |limit| -> Vec<String> {
        settling.due(at(9).monotonic, limit).into_iter().map(|(path, _)| path.key()).collect()
    };
    assert_eq!(
        keys(100),
        ["top", "full/4", "small/only", "full/3", "full/2", "full/1", "full/0", "full/00-late"],
        "the last change orders what was seen together"
    );
    assert_eq!(keys(4), ["top", "full/4", "small/only", "full/3"]);
}

/// What the reference keeps of a file: everything that was seen of it.
#[derive(Clone, Debug)]
struct Reference {
    identity: FileIdentity,
    changed: u64,
    in_place: bool,
    found: Option<bool>,
    told: bool,
}

#[derive(Clone, Debug)]
enum Move {
    Write(u8),
    RenameIn(u8),
    Delete(u8),
    Scan,
    Wait(u64),
    Act,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        3 => (0u8..3).prop_map(Move::Write),
        1 => (0u8..3).prop_map(Move::RenameIn),
        1 => (0u8..3).prop_map(Move::Delete),
        4 => Just(Move::Scan),
        4 => prop_oneof![Just(1u64), Just(2), Just(899), Just(40_000)].prop_map(Move::Wait),
        4 => Just(Move::Act),
    ];
    proptest::collection::vec(one, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Files of even inode are never whole. Steps must be those that follow from the history of what was seen alone.
    #[test]
    fn it_does_what_the_history_of_observations_says(moves in moves()) {
        let mut settling = Settling::new(PATIENCE);
        let mut disk: HashMap<u8, (FileIdentity, bool)> = HashMap::new();
        let mut reference: HashMap<u8, Reference> = HashMap::new();
        let (mut now, mut change, mut inode) = (0_u64, 0_i64, 0_u64);
        for step in moves {
            change += 1;
            match step {
                Move::Write(name) => {
                    inode += 1;
                    let entry = disk.entry(name).or_insert((FileIdentity { inode, ..file(0) }, false));
                    entry.0 = FileIdentity { size: entry.0.size + 1, changed_ns: change, ..entry.0 };
                    entry.1 = false;
                }
                Move::RenameIn(name) => {
                    inode += 1;
                    disk.insert(name, (FileIdentity { inode, changed_ns: change, ..file(9) }, true));
                }
                Move::Delete(name) => {
                    disk.remove(&name);
                }
                Move::Wait(seconds) => now += seconds,
                Move::Scan => {
                    reference.retain(|name, _| disk.contains_key(name));
                    for name in 0..3 {
                        if !disk.contains_key(&name) {
                            settling.forget(&path(&name.to_string()));
                        }
                    }
                    for (name, (identity, in_place)) in &mut disk {
                        let arrival = if *in_place { Arrival::RenamedIn } else { Arrival::Seen };
                        settling.observe(path(&name.to_string()), *identity, arrival, at(now));
                        let known = reference.get(name).cloned();
                        let same = known.as_ref().is_some_and(|known| known.identity == *identity);
                        let told = known.as_ref().is_some_and(|known| known.told);
                        if let Some(known) = known.filter(|_| same) {
                            reference.insert(*name, Reference { in_place: known.in_place || *in_place, ..known });
                        } else {
                            let new = Reference { identity: *identity, changed: now, in_place: *in_place, found: None, told };
                            reference.insert(*name, new);
                        }
                        *in_place = false;
                    }
                }
                Move::Act => {
                    let mut expected: Vec<(InboxPath, Step)> = reference.iter().filter_map(|(name, known)| {
                        let quiet = now - known.changed;
                        let step = match known.found {
                            None if known.in_place || quiet >= 2 => Step::Look,
                            Some(false) if quiet >= 86_400 => Step::Reject,
                            Some(false) if quiet >= 900 && !known.told => Step::Tell,
                            _ => return None,
                        };
                        Some((path(&name.to_string()), step))
                    }).collect();
                    expected.sort_by_key(|(path, _)| path.clone());
                    let mut due = settling.due(at(now).monotonic, 100);
                    due.sort_by_key(|(path, _)| path.clone());
                    prop_assert_eq!(&due, &expected);
                    for (path, step) in due {
                        let name: u8 = path.key().parse().unwrap();
                        let known = reference.get_mut(&name).unwrap();
                        match step {
                            Step::Look if known.identity.inode.is_multiple_of(2) => {
                                settling.found(&path, Finding::Incomplete(String::new()), at(now));
                                known.found = Some(false);
                            }
                            Step::Look | Step::Reject => {
                                settling.forget(&path);
                                reference.remove(&name);
                                disk.remove(&name);
                            }
                            Step::Tell => {
                                settling.told(&path, at(now));
                                known.told = true;
                            }
                        }
                    }
                }
            }
        }
    }
}
