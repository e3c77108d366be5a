//! Progress of an import: a bar on a terminal, a line per stage elsewhere.

use std::io::{IsTerminal, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

use indicatif::{ProgressBar, ProgressStyle};

use super::show::{self, Screen};
use crate::model::JobId;

/// Shows how one job goes on, on standard error.
pub(super) struct Progress {
    state: Mutex<State>,
    bar: Option<ProgressBar>,
    is_silent: bool,
}

#[derive(Default)]
struct State {
    job: Option<JobId>,
    stage: String,
}

impl Progress {
    pub(super) fn new(_screen: Screen, is_silent: bool) -> Self {
        let is_terminal = std::io::stderr().is_terminal();
        let bar = (is_terminal && !is_silent).then(|| {
            let bar = ProgressBar::no_length();
            if let Ok(style) = ProgressStyle::with_template("{bar:30} {msg}") {
                bar.set_style(style);
            }
            bar
        });
        Self { state: Mutex::default(), bar, is_silent }
    }

    /// From now on this job is shown, and no other.
    pub(super) fn follow(&self, job: JobId, activity: &str) {
        let mut state = self.lock();
        *state = State { job: Some(job), stage: String::new() };
        self.say(&format!("{activity} as job {job}"));
    }

    /// Shows what a job does.
    pub(super) fn show(&self, job: JobId, stage: &str, done: u64, total: u64) {
        let mut state = self.lock();
        if state.job != Some(job) {
            return;
        }
        let is_new = state.stage != stage;
        if is_new {
            stage.clone_into(&mut state.stage);
        }
        match &self.bar {
            Some(bar) => {
                bar.set_length(total.max(1));
                bar.set_position(done);
                bar.set_message(jobs_text(stage, done, total));
            }
            None if is_new => self.say(&jobs_text(stage, 0, 0)),
            None => {}
        }
    }

    /// Shows what a job waits for, once.
    pub(super) fn waits(&self, reason: &str) {
        let mut state = self.lock();
        if state.stage != reason {
            reason.clone_into(&mut state.stage);
            self.say(&format!("Waiting: {reason}"));
        }
    }

    /// Takes the bar away.
    pub(super) fn clear(&self) {
        self.lock().job = None;
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
            bar.reset();
        }
    }

    fn say(&self, text: &str) {
        let text = show::safe(text);
        match &self.bar {
            Some(bar) => bar.println(&text),
            None if self.is_silent => {}
            None => {
                // Progress that cannot be shown is no reason to stop.
                let _ = writeln!(anstream::stderr(), "{text}");
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn jobs_text(stage: &str, done: u64, total: u64) -> String {
    crate::store::jobs::progress_text(stage, done, total)
}
