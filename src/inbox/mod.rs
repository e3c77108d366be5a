//! From a dropped file to a claimed archive: seen, settled, looked at, claimed; and what stays where it is, told once.
//!
//! [`run`] is the loop. The kernel's events only wake it; a scan every `scan_every` is the truth and suffices alone.
//! Between two deadlines it sleeps.

mod act;
mod claim;
mod hooks;
mod look;
mod mount;
mod path;
mod recover;
mod rows;
mod run;
mod scan;
mod settling;
mod watch;

pub use claim::{Candidate, ClaimError, Claimed, CopyOrder, Held, Verdict, copy_in, take};
pub use hooks::{Health, Hook, HookError, Hooks, InboxNews, InboxView, Refusal, Told};
pub use path::{Ignored, InboxPath};
pub use recover::recover;
pub use run::{InboxDeps, InboxOptions, run};
pub use scan::{FolderIdentity, Folders, PAGE, Page, Sight, page};
pub use settling::{Arrival, Finding, Moment, Patience, RefusalCode, Remembered, Settling, Stand, Step, Waiting};

/// Runs file system calls where they hold up nobody.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, HookError> {
    Ok(tokio::task::spawn_blocking(work).await?)
}

#[cfg(test)]
mod tests;
