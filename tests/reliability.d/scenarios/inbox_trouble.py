"""Thousands of files at once with a kernel that keeps hardly any events, and an inbox that is unmounted and comes back."""

import pathlib
import shutil
import signal
import subprocess
import time

from archives import Event, Stream
from checker import check
from disks import SmallDisk
from ground import BrokenPromise, Outcome

NAME = "inbox-trouble"
ABOUT = "a burst of files with an event queue of 16; an inbox that is unmounted, written under, and mounted again"
DATABASES = ("sqlite",)

QUEUED_EVENTS = pathlib.Path("/proc/sys/fs/inotify/max_queued_events")


def run(context):
    count = context.times(120, 10_000)
    overflows = burst(context, count)
    unmounted(context)
    return Outcome(2, f"{count} files at once: {overflows} overflows, all imported; nothing taken from under the mount point")


def burst(context, count):
    root = context.root("burst", inbox__settle="10ms", inbox__scan_every="1h", import__chunk_pause="0s")
    daemon = start_with_a_short_queue(root)
    event = Event(context.random, 1, "berlin", 4)
    dropped = []
    # Nobody takes events from the queue while the files come.
    daemon.send(signal.SIGSTOP)
    for number in range(count):
        # They differ only in the comment of the zip: the first one makes the event, the others find nothing to change.
        made = event.archive(f"burst-{number:05}.zip")
        dropped.append(made)
        root.drop(made.account, made.name, made.data)
    daemon.send(signal.SIGCONT)
    started = time.monotonic()
    root.wait_until_idle(
        patience=60 + count, is_there=lambda: root.tables.rows("SELECT count(*) AS many FROM jobs")[0]["many"] == count
    )
    context.progress(f"{count} files in {time.monotonic() - started:.0f} s")
    said = daemon.printed()
    if daemon.stop() != 0:
        raise BrokenPromise(f"a soft stop ended badly: {said}")
    overflows = said.count("The kernel dropped events")
    if not overflows:
        raise BrokenPromise(f"the kernel has dropped no event, so this was not tried: {said[-2000:]}")
    check(root, dropped)
    return overflows


def start_with_a_short_queue(root):
    """The kernel looks at the limit, which is the whole machine's, when a watcher is made: it is put back at once."""
    before = QUEUED_EVENTS.read_text()
    QUEUED_EVENTS.write_text("16")
    try:
        daemon = root.start()
        daemon.ready()
    finally:
        QUEUED_EVENTS.write_text(before)
    return daemon


def unmounted(context):
    # A disk that is mounted a second time where inbox and work folder are, so that it can go and come back with what is on it.
    disk = SmallDisk(context, context.folder / "disk", 8 << 20)
    shared = context.folder / "shared"
    shared.mkdir()
    for folder in ("inbox/berlin", "inbox/oslo", "work"):
        (disk.path / folder).mkdir(parents=True)
    mount(disk.path, shared)
    context.at_the_end(lambda: subprocess.run(["umount", "--lazy", str(shared)], check=False, stderr=subprocess.DEVNULL))
    root = context.root(
        "unmounted",
        folders__inbox=str(shared / "inbox"),
        folders__work=str(shared / "work"),
        inbox__settle="10ms",
        inbox__scan_every="200ms",
        import__chunk_pause="0s",
    )
    # Whoever looks for the folders in the root finds those.
    shutil.rmtree(root.path / "inbox")
    for folder in ("inbox", "work"):
        (root.path / folder).symlink_to(shared / folder)
    daemon = root.start()
    daemon.ready()
    stream = Stream(context.random, ["berlin", "oslo"])

    def drop(folder):
        made = stream.next("new")
        beside = folder / f".{made.name}"
        beside.write_bytes(made.data)
        beside.rename(folder / made.account / made.name)
        return made

    drop(shared / "inbox")
    root.wait_until_idle(is_there=lambda: has_jobs(root, 1))
    subprocess.run(["umount", "--lazy", str(shared)], check=True)
    for folder in ("inbox/berlin", "inbox/oslo", "work"):
        (shared / folder).mkdir(parents=True)
    daemon.live_until("the missing mount is said", lambda: "is not mounted" in daemon.printed(), patience=60)
    # What is written under the mount point is not the inbox's.
    under = drop(shared / "inbox")
    drop(disk.path / "inbox")
    # Five scans.
    time.sleep(1)
    if not (shared / "inbox" / under.account / under.name).exists() or not has_jobs(root, 1):
        raise BrokenPromise(f"something was taken from under the mount point; it said: {daemon.printed()}")
    mount(disk.path, shared)
    daemon.live_until("it is ready again", lambda: daemon.printed().count("ready again: ") > 0, patience=60)
    root.wait_until_idle(is_there=lambda: has_jobs(root, 2))
    if daemon.stop() != 0:
        raise BrokenPromise(f"a soft stop ended badly: {daemon.printed()}")
    check(root, [one for one in stream.dropped if one is not under])
    # What lies under the mount point is found there by whoever looks, as if nobody had ever dropped it.
    subprocess.run(["umount", str(shared)], check=True)
    found = shared / "inbox" / under.account / under.name
    if not found.exists() or found.read_bytes() != under.data:
        raise BrokenPromise(f"`{found}` is not what was written there")


def mount(what, where):
    subprocess.run(["mount", "--bind", str(what), str(where)], check=True)


def has_jobs(root, count):
    return root.tables.rows("SELECT count(*) AS many FROM jobs")[0]["many"] == count
