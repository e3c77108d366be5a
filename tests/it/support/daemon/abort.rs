//! The real program, which goes on with the work of a daemon of the test and aborts.

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use eventferry::clock::Clock;
use eventferry::signal::{FailPoint, Signals};
use rustix::process::Signal;

use super::TestDaemon;
use crate::support::binary::eventferry;

/// How long it may take to come to its end.
const PATIENCE: Duration = Duration::from_secs(60);

impl TestDaemon {
    /// Runs the real program on the root until it aborts at the `visit`-th visit of `point`. The next life begins at the time of
    /// the machine, which the program has seen.
    pub(crate) async fn abort_at(&mut self, point: FailPoint, visit: u32) {
        assert!(self.life.is_none(), "a daemon of the test is at work there");
        let set = self.sources.overrides.set.iter().flat_map(|(key, value)| ["--set".into(), format!("{key}={value}")]);
        let mut command = eventferry(&self.root(), &["run"]);
        command.arg("--config").arg(self.sources.file.as_ref().unwrap()).args(set);
        command.env("EVENTFERRY_ABORT_AT", format!("{point:?}:{visit}"));
        let mut command = assert_cmd::Command::from_std(command);
        let output = tokio::task::spawn_blocking(move || command.timeout(PATIENCE).output().unwrap()).await.unwrap();
        assert_eq!(output.status.signal(), Some(Signal::ABORT.as_raw()), "visit {visit} of {point:?}: {output:?}");
        self.clock = Clock::manual(self.clock.now().max(Clock::system().now()));
        self.signals = Signals::armed();
    }
}
