//! When a drop is looked at, told of and given up: a state machine without I/O, driven by what a scan has seen.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::time::Duration;

use super::path::InboxPath;
use crate::clock::{Clock, Timestamp};
use crate::fsx::FileIdentity;

/// How long the inbox waits for what.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// How long a file must be unchanged before it is looked at.
    pub settle: Duration,
    /// How long an incomplete file must be unchanged before its owner is told.
    pub incomplete_after: Duration,
    /// How long an incomplete file must be unchanged before it is rejected.
    pub incomplete_reject: Duration,
    /// How long until a file that could not be read or moved is tried again; doubles up to an hour.
    pub retry: Duration,
}

/// Longest time between two tries of a file that cannot be read or moved.
const LONGEST_RETRY: Duration = Duration::from_secs(3600);

/// One point in time on both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Time that never goes back, which decides.
    pub monotonic: Duration,
    /// Time that people read, which is kept.
    pub wall: Timestamp,
}

impl Moment {
    /// Now.
    pub fn now(clock: &Clock) -> Self {
        Self { monotonic: clock.monotonic(), wall: clock.now() }
    }
}

/// How a file came to be where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// It was found there, and may still be growing.
    Seen,
    /// It was renamed into place, which says that it is finished.
    RenamedIn,
}

/// Why a file is no job: stable names for mails, logs and tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RefusalCode {
    /// A link, a pipe, a socket or a device.
    NotARegularFile,
    /// A file with a second name somewhere else.
    MoreThanOneLink,
    /// A folder that is no account's.
    UnknownAccount,
    /// A folder within an account's folder.
    Subfolder,
    /// It may not be read or moved.
    Permission,
    /// It lies on another file system than the work folder.
    OtherFileSystem,
    /// The disk fails when it is read.
    Unreadable,
}

impl RefusalCode {
    /// All codes.
    pub const ALL: [Self; 7] = [
        Self::NotARegularFile,
        Self::MoreThanOneLink,
        Self::UnknownAccount,
        Self::Subfolder,
        Self::Permission,
        Self::OtherFileSystem,
        Self::Unreadable,
    ];

    /// The name used in mails, logs and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotARegularFile => "NOT_A_REGULAR_FILE",
            Self::MoreThanOneLink => "MORE_THAN_ONE_LINK",
            Self::UnknownAccount => "UNKNOWN_ACCOUNT",
            Self::Subfolder => "SUBFOLDER",
            Self::Permission => "PERMISSION",
            Self::OtherFileSystem => "OTHER_FILE_SYSTEM",
            Self::Unreadable => "UNREADABLE",
        }
    }

    /// Reads the name back.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.as_str() == word)
    }

    /// Whether it can pass without the file itself changing, so that it is worth another try.
    fn may_pass(self) -> bool {
        match self {
            Self::Permission | Self::OtherFileSystem | Self::Unreadable => true,
            Self::NotARegularFile | Self::MoreThanOneLink | Self::UnknownAccount | Self::Subfolder => false,
        }
    }
}

impl fmt::Display for RefusalCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a look at a settled file has shown, where it does not become a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// It is not whole yet; with a sentence for its owner.
    Incomplete(String),
    /// It stays where it is; with a sentence for the admin.
    Refused(RefusalCode, String),
    /// There is nothing to be done about it, like a folder without content.
    Nothing,
}

/// What is to be done about a file now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Look whether it is whole.
    Look,
    /// Tell its owner, or the admin, why it waits.
    Tell,
    /// It was incomplete for too long: claim it, so that its job fails.
    Reject,
}

/// How a file in the inbox stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stand {
    /// Not unchanged for long enough, or not looked at yet.
    Settling,
    /// Unchanged, but not whole.
    Incomplete(String),
    /// It stays where it is.
    Refused(RefusalCode, String),
    /// Nothing to be done about it.
    Nothing,
}

/// A file that the inbox waits for.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// What it was when it was seen last; none where it could not be looked at.
    pub identity: Option<FileIdentity>,
    /// How it stands.
    pub stand: Stand,
    /// When it was first seen under this name.
    pub first_seen: Timestamp,
    /// When it was last seen to be another than before.
    pub changed_at: Timestamp,
    told_at: Option<Timestamp>,
    told_incomplete: bool,
    told_refusal: Option<RefusalCode>,
    quiet_since: Duration,
    quiet_before: Duration,
    look_at: Duration,
    tries: u32,
}

/// What is known of a file from before a restart.
#[derive(Clone, Copy, Debug)]
pub struct Remembered {
    /// What it was when it was seen last.
    pub identity: Option<FileIdentity>,
    /// When it was first seen under this name.
    pub first_seen: Timestamp,
    /// When it was last seen to be another than before.
    pub changed_at: Timestamp,
    /// When somebody was told.
    pub told_at: Option<Timestamp>,
    /// What the admin was told; none where it was the owner.
    pub told_refusal: Option<RefusalCode>,
}

/// Every file that the inbox waits for.
#[derive(Clone, Debug)]
pub struct Settling {
    patience: Patience,
    files: BTreeMap<InboxPath, Waiting>,
}

impl Settling {
    /// Waits for nothing yet.
    pub fn new(patience: Patience) -> Self {
        Self { patience, files: BTreeMap::new() }
    }

    /// Takes up what was known before a restart. The time that passed meanwhile counts as quiet, as far as the file is the same.
    pub fn restore(&mut self, path: InboxPath, remembered: Remembered, now: Moment) {
        let quiet_before = (now.wall - remembered.changed_at).to_std().unwrap_or(Duration::ZERO);
        let told = remembered.told_at.is_some();
        let waiting = Waiting {
            identity: remembered.identity,
            stand: Stand::Settling,
            first_seen: remembered.first_seen,
            changed_at: remembered.changed_at,
            told_at: remembered.told_at,
            told_incomplete: told && remembered.told_refusal.is_none(),
            told_refusal: remembered.told_refusal.filter(|_| told),
            quiet_since: now.monotonic,
            quiet_before,
            look_at: now.monotonic + self.patience.settle,
            tries: 0,
        };
        self.files.insert(path, waiting);
    }

    /// A file was seen. A change of any part of its identity begins the wait anew; who was told stays told.
    pub fn observe(&mut self, path: InboxPath, identity: FileIdentity, arrival: Arrival, now: Moment) {
        let look_at = match arrival {
            Arrival::Seen => now.monotonic + self.patience.settle,
            Arrival::RenamedIn => now.monotonic,
        };
        match self.files.entry(path) {
            Entry::Vacant(entry) => {
                entry.insert(Waiting {
                    identity: Some(identity),
                    stand: Stand::Settling,
                    first_seen: now.wall,
                    changed_at: now.wall,
                    told_at: None,
                    told_incomplete: false,
                    told_refusal: None,
                    quiet_since: now.monotonic,
                    quiet_before: Duration::ZERO,
                    look_at,
                    tries: 0,
                });
            }
            Entry::Occupied(mut entry) => {
                let waiting = entry.get_mut();
                if waiting.identity == Some(identity) {
                    if waiting.stand == Stand::Settling {
                        waiting.look_at = waiting.look_at.min(look_at);
                    }
                } else {
                    waiting.identity = Some(identity);
                    waiting.stand = Stand::Settling;
                    waiting.changed_at = now.wall;
                    waiting.quiet_since = now.monotonic;
                    waiting.quiet_before = Duration::ZERO;
                    waiting.look_at = look_at;
                    waiting.tries = 0;
                }
            }
        }
    }

    /// A look has shown something.
    pub fn found(&mut self, path: &InboxPath, finding: Finding, now: Moment) {
        let Some(waiting) = self.files.get_mut(path) else { return };
        waiting.stand = match finding {
            Finding::Incomplete(reason) => Stand::Incomplete(reason),
            Finding::Nothing => Stand::Nothing,
            Finding::Refused(code, reason) => {
                let pause = self.patience.retry.saturating_mul(1 << waiting.tries.min(12)).min(LONGEST_RETRY);
                waiting.tries = waiting.tries.saturating_add(1);
                waiting.look_at = now.monotonic + pause;
                Stand::Refused(code, reason)
            }
        };
    }

    /// Something that cannot even be looked at, like a folder that cannot be read, stays where it is.
    pub fn refuse(&mut self, path: InboxPath, code: RefusalCode, reason: String, now: Moment) {
        let waiting = self.files.entry(path).or_insert_with(|| Waiting {
            identity: None,
            stand: Stand::Settling,
            first_seen: now.wall,
            changed_at: now.wall,
            told_at: None,
            told_incomplete: false,
            told_refusal: None,
            quiet_since: now.monotonic,
            quiet_before: Duration::ZERO,
            look_at: Duration::MAX,
            tries: 0,
        });
        waiting.identity = None;
        waiting.look_at = Duration::MAX;
        waiting.stand = Stand::Refused(code, reason);
    }

    /// Somebody was told about the file as it stands.
    pub fn told(&mut self, path: &InboxPath, now: Moment) {
        let Some(waiting) = self.files.get_mut(path) else { return };
        waiting.told_at = Some(now.wall);
        match &waiting.stand {
            Stand::Incomplete(_) => waiting.told_incomplete = true,
            Stand::Refused(code, _) => waiting.told_refusal = Some(*code),
            Stand::Settling | Stand::Nothing => {}
        }
    }

    /// The file is gone, or a job by now. Says what was known of it.
    pub fn forget(&mut self, path: &InboxPath) -> Option<Waiting> {
        self.files.remove(path)
    }

    /// Up to `limit` files about which something is to be done: in the order in which they came to rest, one of each folder
    /// in turn, so that a full folder does not hold up the others.
    pub fn due(&self, now: Duration, limit: usize) -> Vec<(InboxPath, Step)> {
        let mut folders: BTreeMap<&Option<String>, Vec<(&InboxPath, &Waiting, Step)>> = BTreeMap::new();
        for (path, waiting) in &self.files {
            if let Some((at, step)) = waiting.next(&self.patience, now)
                && at <= now
            {
                folders.entry(&path.folder).or_default().push((path, waiting, step));
            }
        }
        let mut turns = Vec::new();
        for (folder, mut files) in folders {
            files.sort_by_key(|(path, waiting, _)| {
                (waiting.quiet_since, waiting.identity.map(|identity| identity.changed_ns), *path)
            });
            turns.extend(
                files.into_iter().take(limit).enumerate().map(|(turn, (path, _, step))| (turn, folder, path, step)),
            );
        }
        turns.sort_by_key(|(turn, folder, _, _)| (*turn, *folder));
        turns.into_iter().take(limit).map(|(_, _, path, step)| (path.clone(), step)).collect()
    }

    /// When something is to be done next, on the monotonic clock; may be in the past.
    pub fn next_due(&self, now: Duration) -> Option<Duration> {
        self.files.values().filter_map(|waiting| waiting.next(&self.patience, now)).map(|(at, _)| at).min()
    }

    /// One file.
    pub fn get(&self, path: &InboxPath) -> Option<&Waiting> {
        self.files.get(path)
    }

    /// All files, in the order of their paths.
    pub fn iter(&self) -> impl Iterator<Item = (&InboxPath, &Waiting)> {
        self.files.iter()
    }

    /// How many files there are.
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }
}

impl Waiting {
    /// When somebody was told what is to be told about it as it stands; for a file that is changing, that it was incomplete.
    pub fn told_at(&self) -> Option<Timestamp> {
        let told = match &self.stand {
            Stand::Settling | Stand::Incomplete(_) | Stand::Nothing => self.told_incomplete,
            Stand::Refused(code, _) => self.told_refusal == Some(*code),
        };
        self.told_at.filter(|_| told)
    }

    /// Whether the admin was told of a refusal that may hold again once the file has come to rest.
    pub(super) fn is_told_refusal(&self) -> bool {
        self.told_refusal.is_some()
    }

    fn next(&self, patience: &Patience, now: Duration) -> Option<(Duration, Step)> {
        match &self.stand {
            Stand::Settling => Some((self.look_at, Step::Look)),
            Stand::Incomplete(_) => {
                let reject = self.quiet_for(patience.incomplete_reject);
                // After a long stop both may be due: the failed job says it all.
                if self.told_incomplete || reject <= now {
                    Some((reject, Step::Reject))
                } else {
                    Some((self.quiet_for(patience.incomplete_after), Step::Tell))
                }
            }
            Stand::Refused(code, _) if self.told_refusal != Some(*code) => Some((Duration::ZERO, Step::Tell)),
            Stand::Refused(code, _) if code.may_pass() && self.look_at < Duration::MAX => {
                Some((self.look_at, Step::Look))
            }
            Stand::Refused(..) | Stand::Nothing => None,
        }
    }

    /// When it will have been unchanged for `long`.
    fn quiet_for(&self, long: Duration) -> Duration {
        self.quiet_since + long.saturating_sub(self.quiet_before)
    }
}

#[cfg(test)]
mod tests;
