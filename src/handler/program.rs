//! A message on the standard input of a program.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

use super::{Attempt, excerpt};
use crate::clock::Clock;
use crate::config::ProgramTarget;
use crate::store::deliveries::DueDelivery;

/// The exit status that says "later" (`EX_TEMPFAIL` of `sysexits.h`).
const LATER: i32 = 75;

/// How much of what a program prints is kept for people: the end of it.
const KEPT_BYTES: usize = 1024;

/// The variable by which everything that a program has started is found again, wherever it has moved to.
const MARK: &str = "EVENTFERRY_MESSAGE";

/// Sets the bound on memory before the program begins; of Debian's essential package `util-linux`.
const LIMITER: &str = "/usr/bin/prlimit";

/// How long what a program has said last is waited for, where something holds on to its output.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Looks for what a program has left behind: each round may find what the one before it has just started.
const ROUNDS: usize = 20;

/// A program on this machine; started once per message.
pub(super) struct Program {
    handler: String,
    target: ProgramTarget,
    clock: Clock,
}

/// How a program ended.
enum End {
    Exited(ExitStatus),
    TookTooLong,
    PrintedTooMuch,
    Unknown,
}

/// A program with everything it has started; killed when this is dropped.
struct Family {
    group: Option<Pid>,
    mark: String,
}

impl Program {
    pub(super) fn new(handler: String, target: ProgramTarget, clock: Clock) -> Self {
        Self { handler, target, clock }
    }

    /// Starts the program, gives it the message as one line of JSON, and waits for its end.
    pub(super) async fn deliver(&self, message: &DueDelivery) -> Attempt {
        let mut child = match self.start(message) {
            Ok(child) => child,
            Err(reason) => return Attempt::Failed(reason),
        };
        let family = Family { group: child.id().and_then(pid_of), mark: format!("{MARK}={}", message.message_id) };
        let mut said = Vec::new();
        let end = self.watch(&mut child, family, &message.body, &mut said).await;
        // Killed, or ended by itself: there is nothing to wait for.
        let _ = child.wait().await;
        self.judge(&end, &said)
    }

    #[expect(clippy::disallowed_methods, reason = "programs of handlers are started here, with their bounds")]
    fn start(&self, message: &DueDelivery) -> Result<Child, String> {
        let target = &self.target;
        let path = target.path.display();
        match std::fs::metadata(&target.path) {
            Ok(file) if file.is_file() => {}
            Ok(_) => return Err(format!("`{path}` is not a file")),
            Err(error) => return Err(format!("`{path}` cannot be started: {error}")),
        }
        let mut command = match target.memory {
            Some(bytes) => {
                let mut command = Command::new(LIMITER);
                command.args([OsString::from(format!("--data={bytes}")), "--core=0".into(), "--".into()]);
                command.arg(&target.path);
                command
            }
            None => Command::new(&target.path),
        };
        command
            .args(&target.arguments)
            .env_clear()
            .envs(target.environment.iter().filter_map(|name| Some((name, std::env::var_os(name)?))))
            .env("EVENTFERRY_HANDLER", &self.handler)
            .env(MARK, &message.message_id)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        if let Some(name) = &target.user {
            let user = nix::unistd::User::from_name(name).ok().flatten();
            let user = user.ok_or_else(|| format!("there is no user `{name}`"))?;
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        let starter = target.memory.map_or(target.path.as_path(), |_| Path::new(LIMITER));
        command.spawn().map_err(|error| match &target.user {
            Some(user) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                format!("`{path}` cannot be started as `{user}`: {error}; only a daemon that runs as root can do so")
            }
            _ => format!("`{path}` cannot be started by `{}`: {error}", starter.display()),
        })
    }

    /// Feeds the program and listens to it until it ends, or has to be ended; then nothing of it is left.
    async fn watch(&self, child: &mut Child, family: Family, body: &str, said: &mut Vec<u8>) -> End {
        let (stdin, mut stdout, mut stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let line = format!("{body}\n");
        let feed = async move {
            if let Some(mut stdin) = stdin {
                // A program that does not read to the end may have seen enough: its exit status says.
                let _ = stdin.write_all(line.as_bytes()).await;
                let _ = stdin.shutdown().await;
            }
        };
        let mut heard = Heard { said, bytes: 0, most: self.target.output };
        let listen = listen(&mut stdout, &mut stderr, &mut heard);
        let exit = async { tokio::join!(feed, child.wait()).1 };
        let too_long = self.clock.sleep(self.target.time);
        tokio::pin!(listen, exit, too_long);
        let mut is_silent = false;
        let ended = loop {
            tokio::select! {
                biased;
                is_within = &mut listen, if !is_silent => match is_within {
                    true => is_silent = true,
                    false => break Err(End::PrintedTooMuch),
                },
                status = &mut exit => break Ok(status),
                () = &mut too_long => break Err(End::TookTooLong),
            }
        };
        // While its pipes are still open: one that finds them closed might go on in another way before it is killed. And
        // its children hold the other ends: without them what it has said last comes to its end.
        drop(family);
        let status = match ended {
            Ok(status) => status,
            Err(end) => return end,
        };
        if !is_silent {
            tokio::select! {
                is_within = &mut listen => if !is_within { return End::PrintedTooMuch },
                () = self.clock.sleep(LAST_WORDS) => {}
            }
        }
        // One that cannot be waited for is one of which nobody knows how it ended.
        status.map_or(End::Unknown, End::Exited)
    }

    fn judge(&self, end: &End, said: &[u8]) -> Attempt {
        let words = excerpt(said);
        let with_words = |told: String| if words.is_empty() { told } else { format!("{told}; it said: {words}") };
        match end {
            End::TookTooLong => Attempt::Failed(with_words(format!(
                "it did not end within {} s and was killed",
                self.target.time.as_secs_f32()
            ))),
            End::PrintedTooMuch => {
                Attempt::Failed(with_words(format!("it printed more than {} bytes and was killed", self.target.output)))
            }
            End::Exited(status) => match (status.code(), status.signal()) {
                (Some(0), _) => Attempt::Delivered,
                (Some(LATER), _) => {
                    Attempt::Later(self.target.later_after, with_words("it ended with status 75, later".to_owned()))
                }
                (Some(code), _) => Attempt::Failed(with_words(format!("it ended with status {code}"))),
                (None, Some(signal)) => Attempt::Failed(with_words(format!("it was killed by signal {signal}"))),
                (None, None) => self.judge(&End::Unknown, said),
            },
            End::Unknown => Attempt::Failed(with_words("nobody knows how it ended".to_owned())),
        }
    }
}

/// The end of what a program says.
struct Heard<'a> {
    said: &'a mut Vec<u8>,
    bytes: u64,
    most: u64,
}

impl Heard<'_> {
    /// Takes in what was printed; false where it was too much.
    fn take(&mut self, printed: &[u8]) -> bool {
        self.bytes += printed.len() as u64;
        self.said.extend_from_slice(printed);
        let surplus = self.said.len().saturating_sub(KEPT_BYTES);
        self.said.drain(..surplus);
        self.bytes <= self.most
    }
}

/// Listens until both are closed; false as soon as it was too much. They are closed by whoever has them, after what prints is killed.
async fn listen(
    stdout: &mut Option<impl AsyncRead + Unpin>,
    stderr: &mut Option<impl AsyncRead + Unpin>,
    heard: &mut Heard<'_>,
) -> bool {
    let (mut of_stdout, mut of_stderr) = ([0; 8192], [0; 8192]);
    while stdout.is_some() || stderr.is_some() {
        let printed = tokio::select! {
            read = read(stdout, &mut of_stdout), if stdout.is_some() => &of_stdout[..read],
            read = read(stderr, &mut of_stderr), if stderr.is_some() => &of_stderr[..read],
        };
        if !heard.take(printed) {
            return false;
        }
    }
    true
}

/// Reads once; at the end nothing is read from it any more.
async fn read(from: &mut Option<impl AsyncRead + Unpin>, into: &mut [u8]) -> usize {
    let Some(reader) = from else { return 0 };
    let read = reader.read(into).await.unwrap_or(0);
    if read == 0 {
        *from = None;
    }
    read
}

impl Drop for Family {
    fn drop(&mut self) {
        if let Some(group) = self.group {
            // Those that are gone already need not be killed.
            let _ = rustix::process::kill_process_group(group, Signal::KILL);
        }
        for _ in 0..ROUNDS {
            if kill_marked(&self.mark) == 0 {
                return;
            }
        }
    }
}

/// Kills every process whose environment has the mark: those that have left the group of their program. Says how many.
fn kill_marked(mark: &str) -> usize {
    let Ok(processes) = std::fs::read_dir("/proc") else { return 0 };
    let mut killed = 0;
    for process in processes.flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse().ok()).and_then(pid_of) else {
            continue;
        };
        // Of another user, or gone: none of ours.
        let Ok(environment) = std::fs::read(process.path().join("environ")) else { continue };
        if environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes()) {
            killed += usize::from(rustix::process::kill_process(pid, Signal::KILL).is_ok());
        }
    }
    killed
}

fn pid_of(number: u32) -> Option<Pid> {
    i32::try_from(number).ok().and_then(Pid::from_raw)
}
