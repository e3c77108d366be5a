//! Points at which a test can stop, fail or watch the daemon. In production nothing is armed and a point costs one branch.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

macro_rules! fail_points {
    ($($(#[$said:meta])* $point:ident,)+) => {
        /// A place where a crash could leave two truths.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum FailPoint {
            $($(#[$said])* $point,)+
        }

        impl FailPoint {
            /// Every point, in the order in which an archive and an export pass them.
            pub const ALL: [Self; [$(FailPoint::$point),+].len()] = [$(FailPoint::$point),+];
        }
    };
}

fail_points! {
    /// `claim.json` is written, the file still lies in the inbox.
    ClaimBeforeRename,
    /// The file lies in `work/<job>/`, there is no job row.
    ClaimAfterRename,
    /// The job row is committed.
    ClaimAfterRow,
    /// The check is finished, nothing is written to the domain tables.
    Checked,
    /// A chunk is written, not committed.
    ChunkBeforeCommit,
    /// A chunk is committed.
    ChunkAfterCommit,
    /// A media file lies under its hash, its row is not written.
    MediaBeforeRow,
    /// Some rows of an event that is taken back are deleted, that is committed.
    TakingBackAfterCommit,
    /// The outcome is frozen, no result file is written.
    Frozen,
    /// Some result files are written, `result.json` is not.
    ResultFilesBeforeManifest,
    /// All result files are written, the final state is not committed.
    ResultFilesWritten,
    /// The final state is committed, the source still lies in `work/`.
    FinalBeforeMove,
    /// The source was moved, that is not recorded.
    MovedBeforeRow,
    /// The files of an export are made and checked, its folder has no name yet.
    ExportBeforePublish,
    /// An export is published, its outcome is not frozen.
    ExportAfterPublish,
    /// The slot of a due export and its job are committed.
    SlotTaken,
    /// A message is about to be handed to its handler.
    MessageBeforeSend,
    /// The handler has answered, that is not recorded.
    MessageAfterSend,
    /// The mail is about to be handed to the transport.
    MailBeforeSend,
    /// The transport has accepted the mail, that is not recorded.
    MailAfterSend,
}

/// What an armed point does to the code that reaches it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Injection {
    /// The step fails as if the disk had failed.
    Fail,
    /// The code stops there as if the process had died: no clean-up of its own runs.
    Die,
}

/// An injected failure, as the code that reached the point sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("injected at {point:?}")]
pub struct Injected {
    /// Where.
    pub point: FailPoint,
    /// What.
    pub injection: Injection,
}

/// The points of one daemon. The default is unarmed.
#[derive(Clone, Debug, Default)]
pub struct Signals {
    armed: Option<Arc<Armed>>,
}

#[derive(Debug)]
struct Armed {
    plan: Mutex<HashMap<FailPoint, (u32, Injection)>>,
    /// The visit at which the process aborts.
    fatal: Option<(FailPoint, u32)>,
    visits: watch::Sender<HashMap<FailPoint, u32>>,
}

impl Signals {
    /// Signals that count visits and can be told to fail.
    pub fn armed() -> Self {
        Self::with(None)
    }

    /// Signals that abort the process, as `place` says: `ChunkAfterCommit:2` is the second visit of that point. None where it
    /// says something else.
    pub fn fatal(place: &str) -> Option<Self> {
        let (name, visit) = place.split_once(':')?;
        let point = FailPoint::ALL.into_iter().find(|point| format!("{point:?}") == name)?;
        Some(Self::with(Some((point, visit.parse().ok()?))))
    }

    fn with(fatal: Option<(FailPoint, u32)>) -> Self {
        let (visits, _) = watch::channel(HashMap::new());
        Self { armed: Some(Arc::new(Armed { plan: Mutex::default(), fatal, visits })) }
    }

    /// Lets the `visit`-th visit (1 is the next one after a fresh start) of `point` end in `injection`.
    pub fn inject(&self, point: FailPoint, visit: u32, injection: Injection) {
        if let Some(armed) = &self.armed {
            armed.plan.lock().unwrap_or_else(PoisonError::into_inner).insert(point, (visit, injection));
        }
    }

    /// Marks that `point` was reached.
    ///
    /// # Errors
    /// The injected failure, where a test has asked for one.
    pub fn reach(&self, point: FailPoint) -> Result<(), Injected> {
        let Some(armed) = &self.armed else { return Ok(()) };
        let mut visit = 0;
        armed.visits.send_modify(|visits| {
            let count = visits.entry(point).or_insert(0);
            *count += 1;
            visit = *count;
        });
        if armed.fatal == Some((point, visit)) {
            std::process::abort();
        }
        let plan = armed.plan.lock().unwrap_or_else(PoisonError::into_inner);
        match plan.get(&point) {
            Some((due, injection)) if *due == visit => Err(Injected { point, injection: *injection }),
            _ => Ok(()),
        }
    }

    /// How often `point` was reached so far.
    pub fn visits(&self, point: FailPoint) -> u32 {
        self.armed.as_ref().map_or(0, |armed| armed.visits.borrow().get(&point).copied().unwrap_or(0))
    }

    /// Waits until `point` was reached `times` times since the start; returns at once when unarmed.
    pub async fn reached(&self, point: FailPoint, times: u32) {
        if let Some(armed) = &self.armed {
            let mut visits = armed.visits.subscribe();
            // The sender lives in `armed`, which this future borrows: it cannot be closed.
            let _ = visits.wait_for(|visits| visits.get(&point).copied().unwrap_or(0) >= times).await;
        }
    }
}
