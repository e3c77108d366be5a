//! The real binary, as a person, a script or systemd starts it.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;

/// What a command printed, and how it ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ended {
    fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or_else(|| panic!("it was killed: {output:?}")),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// The output as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// `eventferry --root ROOT …` with no environment but `PATH`.
pub(crate) fn eventferry(root: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_eventferry"));
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.arg("--root").arg(root).args(args);
    command
}

/// How long a command may take that has to end by itself.
const PATIENCE: Duration = Duration::from_secs(120);

/// Runs it to its end.
pub(crate) fn run(root: &Path, args: &[&str]) -> Ended {
    run_to_end(eventferry(root, args))
}

/// Runs a command to its end.
pub(crate) fn run_to_end(command: Command) -> Ended {
    Ended::of(assert_cmd::Command::from_std(command).timeout(PATIENCE).output().unwrap())
}

/// Runs it where it has to succeed without a word on stderr.
pub(crate) fn succeed(root: &Path, args: &[&str]) -> Ended {
    let ended = run(root, args);
    assert_eq!((ended.code, ended.err.as_str()), (0, ""), "{args:?}: {ended:?}");
    ended
}

/// A command that goes on until it is stopped. It is killed with this value.
#[derive(Debug)]
pub(crate) struct Process {
    child: Option<Child>,
}

impl Process {
    pub(crate) fn start(mut command: Command) -> Self {
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        Self { child: Some(child) }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// Makes sure that it still runs.
    pub(crate) fn assert_alive(&mut self) {
        let child = self.child.as_mut().unwrap();
        if let Some(status) = child.try_wait().unwrap() {
            let mut said = String::new();
            child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
            panic!("it has ended with {status}: {said}");
        }
    }

    /// Waits until these words stand on its stderr, and takes what it said up to them away.
    pub(crate) fn wait_for(&mut self, words: &str) {
        let stderr = self.child.as_mut().unwrap().stderr.as_mut().unwrap();
        let mut said = Vec::new();
        while !String::from_utf8_lossy(&said).contains(words) {
            let mut byte = [0];
            assert_eq!(stderr.read(&mut byte).unwrap(), 1, "{words}: {}", String::from_utf8_lossy(&said));
            said.extend(byte);
        }
    }

    /// Asks it to stop, as systemd does.
    pub(crate) fn terminate(&self) {
        let process = rustix::process::Pid::from_child(self.child.as_ref().unwrap());
        rustix::process::kill_process(process, rustix::process::Signal::TERM).unwrap();
    }

    /// Lets it read its configuration again.
    pub(crate) fn hang_up(&self) {
        let process = rustix::process::Pid::from_child(self.child.as_ref().unwrap());
        rustix::process::kill_process(process, rustix::process::Signal::HUP).unwrap();
    }

    /// Waits for its end.
    pub(crate) fn ended(mut self) -> Ended {
        Ended::of(self.child.take().unwrap().wait_with_output().unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
