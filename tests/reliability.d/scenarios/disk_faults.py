"""The n-th operation on the disk fails, for n = 1, 2, 3 and so on, until a run goes through untouched."""

import concurrent.futures
import shutil
import threading
import time

from archives import Event
from checker import check
from disks import FaultyDisk
from ground import BrokenPromise, Outcome

NAME = "disk-faults"
ABOUT = "the n-th write, sync, rename, read … fails with ENOSPC or EIO, once or until space is back"

# What the daemon asks the disk for. The waits of mails and of files that cannot be read are a minute: trials run side by side.
OPERATIONS = ("write", "sync", "rename", "create", "mkdir", "unlink", "open", "read")
FULL = ("write", "create", "mkdir", "rename")
SIDE_BY_SIDE = 6

SETTINGS = {
    "inbox__settle": "10ms",
    "inbox__scan_every": "1s",
    "import__chunk_records": "7",
    "import__chunk_pause": "0s",
    "queue__retry_first": "200ms",
    "queue__retry_max": "1s",
    "queue__poll": "200ms",
}


def run(context):
    trials = Trials(context)
    planned = []
    for operation in OPERATIONS:
        count = trials.undisturbed(operation)
        for place in places(context, count, operation):
            planned += [(operation, place, error, how) for error, how in kinds(context, operation, place)]
        if context.is_long:
            # One more than there are: this one must go through untouched, as there is nothing left to fail.
            planned.append((operation, count + 200, "EIO", "once"))
    failed = 0
    said = 0
    with concurrent.futures.ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        running = [pool.submit(trials.one, *plan) for plan in planned]
        try:
            for number, trial in enumerate(concurrent.futures.as_completed(running), 1):
                has_failed, has_said = trial.result()
                failed += has_failed
                said += has_said
                if number % 20 == 0:
                    context.progress(f"{number} of {len(running)}")
        finally:
            for trial in running:
                trial.cancel()
    return Outcome(len(planned), f"{failed} met their fault, {said} said so in the log, {trials.restarts} needed a restart")


def places(context, count, operation):
    """Which calls fail: in the long form all, else some from the first to the last."""
    if count == 0:
        return []
    wanted = count if context.is_long else {"write": 10, "sync": 6}.get(operation, 3)
    wanted = wanted if context.database == "sqlite" or context.is_long else max(2, wanted // 2)
    stride = max(1, -(-count // wanted))
    # Where it begins is left to chance, so that many short runs try them all; the first one is the worst of some.
    return sorted({1, *range(context.random.randint(1, stride), count + 1, stride)})


def kinds(context, operation, place):
    """With which error, and for how long."""
    both = [("ENOSPC" if operation in FULL else "EIO", "once"), ("EIO", "once")]
    for_a_while = ("ENOSPC" if operation in FULL else "EIO", "for a while")
    if context.is_long:
        return list(dict.fromkeys([*both, for_a_while]))
    return [for_a_while if place % 2 else both[0]]


class Trials:
    def __init__(self, context):
        self.context = context
        self.disk = FaultyDisk(context)
        self.lock = threading.Lock()
        self.number = 0
        self.restarts = 0
        self.prepared = None
        event = Event(context.random, 1, "berlin", 24)
        self.archive = event.archive("harbour.zip", is_dirty=True)
        if context.database == "sqlite":
            # The tables are made once: a start on a full disk is tried as well, but not a hundred times.
            root = self._root()
            root.idle()
            self.prepared = context.folder / "prepared.db"
            shutil.copy(root.path / "eventferry.db", self.prepared)

    def _root(self):
        with self.lock:
            self.number += 1
            root = self.context.root(f"disk/{self.number:05}", **SETTINGS)
        if self.prepared:
            shutil.copy(self.prepared, root.path / "eventferry.db")
        return root

    def undisturbed(self, operation):
        """How often a run that nothing disturbs calls an operation."""
        root = self._root()
        self.disk.plan(root.name.removeprefix("disk/"), operation)
        self._import(root, None)
        count, _ = self.disk.seen(root.name.removeprefix("disk/"))
        self._check(root)
        return count

    def one(self, operation, place, error, how):
        """Whether the fault was met, and whether the log says so."""
        root = self._root()
        folder = root.name.removeprefix("disk/")
        self.disk.plan(folder, operation, place, place if how == "once" else None, error)
        try:
            printed = self._import(root, folder if how != "once" else None)
            self.disk.heal(folder)
            _, failed = self.disk.seen(folder)
            self._check(root)
        except BrokenPromise as broken:
            _, failed = self.disk.seen(folder)
            what = f"{operation} {place} fails with {error} {how} ({failed[:3]})"
            raise BrokenPromise(f"{what}: {broken}\n{root.log} says what the daemon has said") from None
        said = any(f" {level} " in line for line in printed.splitlines() for level in ("WARN", "ERROR"))
        self._drop(root)
        return bool(failed), bool(failed) and said

    def _import(self, root, healed):
        """Drops the archive and runs the daemon until nothing waits; heals the disk after a while where it stays broken."""
        root.drop(self.archive.account, self.archive.name, self.archive.data)
        printed = []
        daemon = root.start()
        began = time.monotonic()
        while not self._is_done(root):
            if not daemon.is_alive():
                code = daemon.wait()
                printed.append(daemon.printed())
                last = printed[-1].splitlines()[-1:] or [""]
                if code != 3 or not last[0].startswith("eventferry: "):
                    raise BrokenPromise(f"the daemon ended with {code}: {printed[-1]}")
                with self.lock:
                    self.restarts += 1
                if healed:
                    self.disk.heal(healed)
                    healed = None
                daemon = root.start()
            if healed and time.monotonic() - began > 4:
                self.disk.heal(healed)
                healed = None
            if time.monotonic() - began > 150:
                raise BrokenPromise(f"it does not come to rest: {root.what_waits()}; it says: {daemon.printed()[-3000:]}")
            time.sleep(0.1)
        if daemon.stop() != 0:
            raise BrokenPromise(f"a soft stop ended badly: {daemon.printed()}")
        return "\n".join([*printed, daemon.printed()])

    def _is_done(self, root):
        try:
            if (root.inbox(self.archive.account) / self.archive.name).exists() or not root.tables.is_there():
                return False
            # First that it is there: a job that comes into the table behind the question would not be seen to wait.
            return bool(root.tables.rows("SELECT id FROM jobs")) and not root.what_waits()
        except Exception:
            # The disk fails for everybody who opens a file in this moment, or there are no tables yet.
            return False

    def _check(self, root):
        # What could not be removed in passing is swept, at the latest by a start.
        root.idle()
        # A file that cannot be read is told to the admin, who can mend that.
        check(root, [self.archive], admin_was_told=True)
        held = root.tables.rows("SELECT attempts, strikes FROM jobs WHERE attempts > 0 OR strikes > 0")
        if held:
            raise BrokenPromise(f"trouble with the disk was held against the job: {held}")

    def _drop(self, root):
        """Gives back what a trial that went well has taken; thousands follow."""
        root.drop_database()
        shutil.rmtree(root.folder, ignore_errors=True)
        with self.lock:
            self.context.forget(root)
