//! What is done about files whose time has come: looked at, claimed, told of.

use std::time::Duration;

use chrono::SecondsFormat;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::blocking;
use super::claim::{Candidate, ClaimError, Held, take};
use super::hooks::{HookError, InboxNews, Refusal, Told};
use super::look::{Decision, decide};
use super::path::InboxPath;
use super::run::Inbox;
use super::settling::{Arrival, Finding, Stand, Step, Waiting};
use crate::clock::Timestamp;
use crate::fsx;
use crate::model::JobId;
use crate::signal::{FailPoint, Injected, Injection};

/// Most files that are dealt with before the loop looks for events again.
const ROUND: usize = 64;

impl Inbox {
    /// Deals with some of the files whose time has come. Says whether there were any.
    pub(super) async fn act(&mut self, cancel: &CancellationToken) -> Result<bool, Injected> {
        if self.trouble.is_some() {
            return Ok(false);
        }
        let due = self.settling.due(self.now().monotonic, ROUND);
        let acted = !due.is_empty();
        let mut refused = Vec::new();
        for (path, step) in due {
            if cancel.is_cancelled() || self.trouble.is_some() {
                break;
            }
            match step {
                Step::Look | Step::Reject => self.look(&path, step).await?,
                Step::Tell => match self.settling.get(&path).map(|waiting| &waiting.stand) {
                    Some(Stand::Incomplete(_)) => self.tell_owner(&path).await,
                    Some(Stand::Refused(..)) => refused.push(path),
                    Some(Stand::Settling | Stand::Nothing) | None => {}
                },
            }
        }
        if !refused.is_empty() && self.trouble.is_none() {
            self.tell_admin(&refused).await;
        }
        Ok(acted)
    }

    async fn look(&mut self, path: &InboxPath, step: Step) -> Result<(), Injected> {
        let Some(waiting) = self.settling.get(path) else { return Ok(()) };
        let (folders, at) = (self.options.folders.clone(), path.clone());
        let (identity, seen) = (waiting.identity, waiting.first_seen);
        let decision = match blocking(move || decide(&folders, &at, identity, seen)).await {
            Ok(decision) => decision,
            Err(error) => {
                self.rest_because(error.to_string());
                return Ok(());
            }
        };
        match decision {
            Decision::Take(candidate) => self.claim(candidate).await?,
            Decision::Wait(candidate, _) if step == Step::Reject => self.claim(candidate).await?,
            Decision::Wait(_, reason) => self.found(path, Finding::Incomplete(reason)),
            Decision::Leave(finding) => self.found(path, finding),
            Decision::Changed(identity) => self.observe(path.clone(), identity, Arrival::Seen, self.now()),
            Decision::Gone => self.forget(path),
        }
        Ok(())
    }

    fn found(&mut self, path: &InboxPath, finding: Finding) {
        self.settling.found(path, finding, self.now());
        self.unsaved.insert(path.clone());
    }

    async fn claim(&mut self, candidate: Candidate) -> Result<(), Injected> {
        let path = candidate.path.clone();
        let job = JobId(self.deps.clock.new_id());
        let (folders, signals, now) = (self.options.folders.clone(), self.deps.signals.clone(), self.now());
        let held = match blocking(move || take(&folders, &candidate, job, now, &signals)).await {
            Ok(held) => held,
            Err(error) => {
                self.rest_because(error.to_string());
                return Ok(());
            }
        };
        match held {
            Ok(held) => self.record(&path, held).await,
            Err(ClaimError::Gone) => {
                self.forget(&path);
                Ok(())
            }
            // The next look sees what it is now.
            Err(ClaimError::Changed) => {
                self.settling.forget(&path);
                self.rescan_soon();
                Ok(())
            }
            Err(ClaimError::Refused(code, reason)) => {
                self.found(&path, Finding::Refused(code, reason));
                Ok(())
            }
            Err(ClaimError::Injected(injected)) if injected.injection == Injection::Die => Err(injected),
            Err(error @ (ClaimError::Work { .. } | ClaimError::Injected(_))) => {
                self.rest_because(error.to_string());
                Ok(())
            }
        }
    }

    async fn record(&mut self, path: &InboxPath, held: Held) -> Result<(), Injected> {
        let claimed = held.claimed.clone();
        let (job, account, bytes) = (claimed.job, claimed.account.clone(), claimed.bytes);
        let archive = claimed.archive_name.clone();
        // From here on the file is the work folder's; should the row fail, the next recovery writes it.
        self.forget(path);
        let recorded = (self.deps.hooks.record)(claimed).await;
        if let Err(error) = recorded {
            self.rest_because(format!("a claimed archive waits for its job row: {error}"));
            return Ok(());
        }
        match self.deps.signals.reach(FailPoint::ClaimAfterRow) {
            Err(injected) if injected.injection == Injection::Die => return Err(injected),
            _ => {}
        }
        held.release();
        self.recorded.insert(job);
        self.claimed += 1;
        info!(job.id = %job, account, archive, bytes, "Claimed an archive from the inbox");
        Ok(())
    }

    async fn tell_owner(&mut self, path: &InboxPath) {
        let Some(waiting) = self.settling.get(path) else { return };
        let Stand::Incomplete(reason) = &waiting.stand else { return };
        let told = Told {
            subject_key: subject_key(path, waiting, "INCOMPLETE"),
            account: path.account(&self.options.folders.default_account).to_owned(),
            name: fsx::display_name(&path.name),
            bytes: waiting.identity.map_or(0, |identity| identity.size),
            reason: reason.clone(),
            first_seen: waiting.first_seen,
            rejected_at: later(waiting.changed_at, self.options.patience.incomplete_reject),
        };
        let said = (self.deps.hooks.tell)(InboxNews::Incomplete(told)).await;
        self.has_told(std::slice::from_ref(path), said);
    }

    async fn tell_admin(&mut self, paths: &[InboxPath]) {
        let mut refusals = Vec::with_capacity(paths.len());
        for path in paths {
            if let Some(waiting) = self.settling.get(path)
                && let Stand::Refused(code, reason) = &waiting.stand
            {
                refusals.push(Refusal {
                    subject_key: subject_key(path, waiting, code.as_str()),
                    path: shown(path),
                    code: *code,
                    reason: reason.clone(),
                });
            }
        }
        let said = (self.deps.hooks.tell)(InboxNews::Refused(refusals)).await;
        self.has_told(paths, said);
    }

    /// Notes that the news was taken in, or rests where it was not.
    fn has_told(&mut self, paths: &[InboxPath], said: Result<(), HookError>) {
        let now = self.now();
        match said {
            Ok(()) => {
                for path in paths {
                    self.settling.told(path, now);
                    self.unsaved.insert(path.clone());
                }
            }
            Err(error) => self.rest_because(format!("news about a file in the inbox waits: {error}")),
        }
    }
}

/// The same after a restart, and for every daemon that looks at this inbox; another one for the next file of this name.
fn subject_key(path: &InboxPath, waiting: &Waiting, code: &str) -> String {
    let file = match waiting.identity {
        Some(identity) => format!("{}-{}", identity.inode, identity.changed_ns),
        // SQLite keeps milliseconds.
        None => waiting.first_seen.to_rfc3339_opts(SecondsFormat::Millis, true),
    };
    format!("arrival:{code}:{file}:{}", path.key())
}

fn shown(path: &InboxPath) -> String {
    let name = fsx::display_name(&path.name);
    path.folder.as_ref().map_or_else(|| name.clone(), |folder| format!("{}/{name}", fsx::display_name(folder)))
}

fn later(instant: Timestamp, by: Duration) -> Timestamp {
    let by = chrono::TimeDelta::from_std(by).unwrap_or(chrono::TimeDelta::MAX);
    instant.checked_add_signed(by).unwrap_or(Timestamp::MAX_UTC)
}
