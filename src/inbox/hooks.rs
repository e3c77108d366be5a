//! What the inbox asks of the rest of the daemon, and what it tells it.

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::claim::Claimed;
use super::settling::RefusalCode;
use crate::clock::Timestamp;
use crate::model::JobId;

/// Trouble of a hook, which passes: the inbox pauses and tries again with the next scan.
pub type HookError = Box<dyn std::error::Error + Send + Sync>;

/// An asynchronous function that is handed in.
pub type Hook<I, O> = Arc<dyn Fn(I) -> BoxFuture<'static, Result<O, HookError>> + Send + Sync>;

/// What the inbox asks of the rest of the daemon.
#[derive(Clone)]
pub struct Hooks {
    /// Writes the job row of a claimed archive and wakes the queue. Must do nothing where the row is there already.
    pub record: Hook<Claimed, ()>,
    /// Whether a job has its row.
    pub is_recorded: Hook<JobId, bool>,
    /// Takes news, and keeps it (a mail in its queue, a notification): what it has returned `Ok` for is not told again.
    /// The same news may come twice after a crash, with the same [`Told::subject_key`].
    pub tell: Hook<InboxNews, ()>,
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks").finish_non_exhaustive()
    }
}

/// What people are told about files that are no jobs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InboxNews {
    /// A file of an account stays incomplete: for its owner.
    Incomplete(Told),
    /// Files or folders stay where they are: for the admin, all of one scan together.
    Refused(Vec<Refusal>),
}

/// An incomplete file, for its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The same for the same news, also after a restart; different for other news.
    pub subject_key: String,
    /// Whose it is.
    pub account: String,
    /// Its name, to be shown.
    pub name: String,
    /// How much of it is there.
    pub bytes: u64,
    /// Why it waits.
    pub reason: String,
    /// When it was first seen.
    pub first_seen: Timestamp,
    /// When it is rejected, if it does not grow meanwhile.
    pub rejected_at: Timestamp,
}

/// Something that stays where it is, for the admin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The same for the same refusal, also after a restart; different for others.
    pub subject_key: String,
    /// Where it lies in the inbox, to be shown.
    pub path: String,
    /// Why, as a stable name.
    pub code: RefusalCode,
    /// Why, and what to do.
    pub reason: String,
}

/// Whether the inbox works as it should.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Health {
    /// It does.
    #[default]
    Good,
    /// It works, but more slowly: with the reason and what to do.
    Degraded(String),
    /// It claims nothing: with the reason and what to do.
    Paused(String),
}

/// How the inbox stands, renewed each time it comes to rest and once a second while it is busy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InboxView {
    /// Whether it works as it should.
    pub health: Health,
    /// Whether it is just looking at files and claiming them, and will show a new view soon.
    pub is_busy: bool,
    /// Complete scans since the start.
    pub scans: u64,
    /// Archives claimed since the start.
    pub claimed: u64,
    /// How often the kernel has dropped events since the start; each is made up for by a scan.
    pub overflows: u64,
    /// Files that are not at rest, or not looked at yet.
    pub settling: usize,
    /// Files that are at rest but incomplete.
    pub incomplete: usize,
    /// Files and folders that stay where they are.
    pub refused: usize,
}

impl InboxView {
    /// Whether there is nothing left that would become a job without anybody's doing: files that are incomplete or
    /// refused do not count. A paused inbox is never idle.
    pub fn is_idle(&self) -> bool {
        self.scans > 0 && !self.is_busy && self.settling == 0 && !matches!(self.health, Health::Paused(_))
    }
}
