"""A small disk that is full in the middle of imports, and has space again."""

import email
import email.policy
import time

from archives import Stream
from checker import check
from disks import SmallDisk
from ground import BrokenPromise, Outcome

NAME = "full-disk"
ABOUT = "a small real disk under the whole root gets full in the middle of imports and has space again"

MIB = 1 << 20


def run(context):
    times = context.times(2 if context.database == "sqlite" else 1, 12)
    said = []
    for number in range(times):
        said.append(once(context, number))
    return Outcome(times, f"the admin read of it while the disk was full in {sum(said)} of {times} runs")


def once(context, number):
    name = f"root-{number}"
    disk = SmallDisk(context, context.folder / name / "root", 64 * MIB)
    # A 32nd of the floor is kept back in the outbox: half a megabyte here.
    root = context.root(
        name,
        queue__free_space_floor="16MiB",
        queue__retry_first="200ms",
        queue__retry_max="1s",
        queue__poll="200ms",
        inbox__settle="10ms",
        inbox__scan_every="1s",
        import__chunk_records="20",
        import__chunk_pause="20ms",
    )
    stream = Stream(context.random, ["berlin", "oslo"])
    daemon = root.start()
    daemon.ready()
    for kind in ("large", "new", "dirty", "large", "change", "again"):
        made = stream.next(kind)
        drop(root, made)
    # Somewhere in the middle: while it is claimed, checked, loaded or reported.
    time.sleep(context.random.uniform(0.3, 4.0))
    disk.fill()
    reserve = root.path / "outbox" / ".eventferry-reserve"
    daemon.live_until("the reserve is given up", lambda: not reserve.exists())
    # Whoever comes meanwhile takes what the reserve has given back to the very last byte, or nobody does.
    if number % 2:
        disk.fill()
        time.sleep(1)
        was_told = False
    else:
        daemon.live_until("the admin is told on the full disk", lambda: told(root))
        was_told = True
    code, status = root.run("status")
    if "no job begins below" not in status or code not in (0, 3):
        raise BrokenPromise(f"`eventferry status` ended with {code} and does not speak of the disk: {status}")
    if "not ready: " not in daemon.printed():
        raise BrokenPromise(f"the log does not say that it is not ready: {daemon.printed()}")
    disk.empty()
    daemon.live_until("it is ready again", lambda: "ready again: " in daemon.printed())
    root.wait_until_idle(is_there=lambda: has_jobs(root, stream))
    daemon.live_until("the reserve is taken again", reserve.exists)
    if daemon.stop() != 0:
        raise BrokenPromise(f"a soft stop ended badly: {daemon.printed()}")
    held = root.tables.rows("SELECT id, attempts, strikes FROM jobs WHERE attempts > 0 OR strikes > 0")
    if held:
        raise BrokenPromise(f"a full disk was held against jobs: {held}")
    if not told(root):
        raise BrokenPromise("the admin was never told")
    # What an update has left without use in the media folder is swept by a start.
    root.idle(settings={"queue.free_space_floor": "0"})
    check(root, stream.dropped, admin_was_told=True)
    return was_told


def drop(root, made):
    """Uploads under a temporary name: beside the root there is another disk."""
    beside = root.inbox(made.account) / f".{made.name}"
    beside.write_bytes(made.data)
    beside.rename(root.inbox(made.account) / made.name)


def has_jobs(root, stream):
    return root.tables.rows("SELECT count(*) AS many FROM jobs")[0]["many"] == len(stream.dropped)


def told(root):
    """Whether a mail to the admin lies there, whole."""
    for file in (root.path / "mail").glob("*.eml"):
        mail = email.message_from_bytes(file.read_bytes(), policy=email.policy.default)
        if mail["To"] == "admin@example.org" and "nearly full" in (mail["Subject"] or ""):
            return True
    return False
