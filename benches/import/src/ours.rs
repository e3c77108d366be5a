//! `eventferry` as a process: how long it takes, and how much memory.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How one import went.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// From the start of the process to its end.
    pub time: Duration,
    /// The most memory that it had resident, in KiB.
    pub peak_kib: u64,
}

/// Imports an archive into the SQLite file under `root`, or into the database at `url`, without pauses.
pub fn import(binary: &Path, archive: &Path, root: &Path, url: Option<&str>) -> Result<Run> {
    let mut command = Command::new(binary);
    command.arg("import").arg(archive).arg("--root").arg(root).args(["--set", "import.chunk_pause=0s"]);
    if let Some(url) = url {
        command.args(["--set", &format!("database.url={url}")]);
    }
    run(&mut command, &root.with_extension("log"))
}

/// Exports the event of the SQLite file under `root` as an archive into `out`.
pub fn export(binary: &Path, root: &Path, out: &Path) -> Result<Run> {
    let mut command = Command::new(binary);
    command.args(["export", "1", "--format", "archive", "--out"]).arg(out).arg("--root").arg(root);
    run(&mut command, &root.with_extension("log"))
}

/// Runs a program to its end.
pub fn run(command: &mut Command, log: &Path) -> Result<Run> {
    let started = Instant::now();
    let mut child = spawn(command, log)?;
    let (status, peak_kib) = watch(&mut child)?;
    let time = started.elapsed();
    if !status.success() {
        bail!("{} ended with {status}:\n{}", command.get_program().display(), fs::read_to_string(log)?);
    }
    Ok(Run { time, peak_kib })
}

/// Starts the daemon.
pub fn daemon(binary: &Path, root: &Path) -> Result<Child> {
    spawn(Command::new(binary).arg("run").arg("--root").arg(root), &root.with_extension("log"))
}

fn spawn(command: &mut Command, log: &Path) -> Result<Child> {
    let log = File::create(log)?;
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    command.spawn().with_context(|| format!("cannot start {}", command.get_program().display()))
}

/// Waits for the end, and reads the high-water mark of the memory until then: what `wait4` says would count this
/// process as well, from which the other was forked.
fn watch(child: &mut Child) -> Result<(ExitStatus, u64)> {
    let status = PathBuf::from(format!("/proc/{}/status", child.id()));
    let mut peak = 0;
    loop {
        if let Ok(text) = fs::read_to_string(&status) {
            peak = text.lines().find_map(high_water_mark).unwrap_or(0).max(peak);
        }
        if let Some(status) = child.try_wait()? {
            return Ok((status, peak));
        }
        thread::sleep(Duration::from_millis(5));
    }
}

fn high_water_mark(line: &str) -> Option<u64> {
    line.strip_prefix("VmHWM:")?.trim().strip_suffix("kB")?.trim().parse().ok()
}
