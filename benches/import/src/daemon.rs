//! The daemon: how soon it reads what is dropped, and what it costs while nothing is.

use std::fs;
use std::mem::MaybeUninit;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify;

use crate::{archive, ours};

/// Small archives that are dropped one after the other.
const DROPS: u64 = 20;

/// How long the daemon is watched while it is idle.
const IDLE: Duration = Duration::from_secs(60);

/// How long anything of it may take at most.
const PATIENCE: Duration = Duration::from_secs(60);

/// What was seen.
#[derive(Debug)]
pub struct Seen {
    /// From the rename into the inbox to the first byte read, in ascending order.
    pub first_byte: Vec<Duration>,
    /// Processor time per time, while idle.
    pub idle_share: f64,
}

/// A process that is ended with its owner.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Drops small archives into the inbox of a daemon, then leaves it alone.
pub fn measure(binary: &Path, folder: &Path) -> Result<Seen> {
    let root = folder.join("daemon");
    let _ = fs::remove_dir_all(&root);
    let inbox = root.join("inbox");
    fs::create_dir_all(&inbox)?;
    let mut archives = Vec::new();
    for number in 0..DROPS {
        let path = root.join(format!("small-{number}.zip"));
        archive::write(&path, 20, 100 + number)?;
        archives.push(path);
    }
    let daemon = Running(ours::daemon(binary, &root)?);
    // The first one only shows that the daemon is up.
    let mut first_byte = Vec::new();
    for (number, archive) in archives.iter().enumerate() {
        let seen = drop_one(&inbox, archive)?;
        if number > 0 {
            first_byte.push(seen);
        }
        wait_for_done(&root, number + 1)?;
    }
    first_byte.sort_unstable();

    thread::sleep(Duration::from_secs(3));
    let (started, before) = (Instant::now(), processor_time(daemon.0.id())?);
    thread::sleep(IDLE);
    let used = processor_time(daemon.0.id())?.saturating_sub(before);
    let idle_share = used.as_secs_f64() / started.elapsed().as_secs_f64();
    Ok(Seen { first_byte, idle_share })
}

/// The kernel tells of the first read of the file (`IN_ACCESS`), whoever makes it.
fn drop_one(inbox: &Path, archive: &Path) -> Result<Duration> {
    let watch = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
    inotify::add_watch(&watch, inbox, inotify::WatchFlags::ACCESS)?;
    let name = archive.file_name().context("an archive without a name")?;
    let started = Instant::now();
    fs::rename(archive, inbox.join(name))?;
    let patience = Timespec { tv_sec: i64::try_from(PATIENCE.as_secs())?, tv_nsec: 0 };
    loop {
        if poll(&mut [PollFd::new(&watch, PollFlags::IN)], Some(&patience))? == 0 {
            bail!("the daemon does not read what was dropped");
        }
        let seen = started.elapsed();
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut events = inotify::Reader::new(&watch, &mut buffer);
        while let Ok(event) = events.next() {
            if event.file_name().is_some_and(|of| of.to_bytes() == name.as_encoded_bytes()) {
                return Ok(seen);
            }
        }
    }
}

fn wait_for_done(root: &Path, count: usize) -> Result<()> {
    let done = root.join("done/default");
    let started = Instant::now();
    while fs::read_dir(&done).map_or(0, Iterator::count) < count {
        if started.elapsed() > PATIENCE {
            bail!("the daemon does not finish what was dropped:\n{}", fs::read_to_string(root.with_extension("log"))?);
        }
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// The time that all threads of a process were on a processor, in nanoseconds as the scheduler counts.
fn processor_time(process: u32) -> Result<Duration> {
    let mut nanoseconds = 0;
    for thread in fs::read_dir(format!("/proc/{process}/task"))? {
        let path: PathBuf = thread?.path().join("schedstat");
        let text = fs::read_to_string(path)?;
        nanoseconds += text.split(' ').next().context("an empty schedstat")?.parse::<u64>()?;
    }
    Ok(Duration::from_nanos(nanoseconds))
}
