"""The wall clock is set, forwards and back, while leases run and times are due; on PostgreSQL beside a daemon whose clock is
wrong all the time."""

import datetime
import math
import pathlib
import time

from archives import Stream
from checker import check
from ground import CONFIGURATION, BrokenPromise, Outcome
from kills import SETTINGS

NAME = "clocks"
ABOUT = "the wall clock is set by an hour and by a day, both ways, during leases and due times; daemons die meanwhile"

JUMPS = ("+0", "+1h", "-1h", "+1d", "-1d")

# An export that is due all the time, so that jumps meet due times.
SCHEDULE = """
[[export]]
name = "often"
cron = "0/2 * * * * * *"
formats = ["sessions.csv"]
keep = 3
"""



def run(context):
    jumps = context.times(12, 120)
    prove(context)
    made, slots, deaths, roots = 0, 0, 0, 0
    while made < jumps:
        roots += 1
        now = min(6, jumps - made)
        due, died = try_root(context, roots, now)
        made, slots, deaths = made + now, slots + due, deaths + died
        context.progress(f"{made} of {jumps} jumps")
    return Outcome(made, f"{slots} times of a schedule were due, {deaths} daemons were killed meanwhile")


def prove(context):
    """Makes sure that the program sees the clock that it is given, and each change of it."""
    root = context.root("proof")
    clock = Clock(root.folder / "clock")
    daemon = root.start(environment=clock.environment(), settings=SETTINGS)
    daemon.ready()
    stream = Stream(context.random, ("default",))
    for offset, seconds in (("+1d", 86_400), ("-1h", -3_600)):
        clock.set(offset)
        archive = stream.next("new")
        root.drop(archive.account, archive.name, archive.data)
        found = f"SELECT created_at AS at FROM jobs WHERE archive_name = '{archive.name}'"
        root.wait_until_idle(is_there=lambda found=found: root.tables.rows(found))
        at = datetime.datetime.fromisoformat(root.tables.rows(found)[0]["at"]).timestamp()
        if abs(at - time.time() - seconds) > 60:
            raise RuntimeError(f"with a clock at {offset} the program says {at}, and it is {time.time()}")
    daemon.kill()


def try_root(context, number, jumps):
    chance = context.random
    root = context.root(f"{number:03}")
    root.settings |= SETTINGS | {"import.chunk_records": "20"}
    clock = Clock(root.folder / "clock")
    # Each event comes once: which of two archives of one event was first could not be told from the clock.
    kinds = ("new", "new", "dirty", "no zip", "no event")
    stream = Stream(chance, ("default",), number * 1000, kinds, large=600)
    first = stream.next("new")
    root.drop(first.account, first.name, first.data)
    root.idle(environment=clock.environment())
    # From here on there is something to export.
    root.write_configuration(CONFIGURATION + SCHEDULE)
    daemon = root.start(environment=clock.environment())
    daemon.ready()
    skewed = None
    if context.database == "postgres":
        wrong = Clock(root.folder / "wrong-clock")
        wrong.set(chance.choice([jump for jump in JUMPS if jump != "+0"]))
        skewed = root.start(environment=wrong.environment())
        skewed.ready()
    large = stream.next("large")
    root.drop(large.account, large.name, large.data)
    deaths = 0
    for _ in range(jumps):
        for _ in range(chance.randint(0, 2)):
            archive = stream.next()
            root.drop(archive.account, archive.name, archive.data)
        time.sleep(math.exp(chance.uniform(math.log(0.05), math.log(3))))
        clock.set(chance.choice([jump for jump in JUMPS if jump != clock.now]))
        if not daemon.is_alive():
            raise BrokenPromise(f"a daemon ended by itself: {daemon.printed()}")
        if chance.random() < 0.3:
            time.sleep(chance.uniform(0, 0.5))
            daemon.kill()
            deaths += 1
            daemon = root.start(environment=clock.environment())
            daemon.ready()
    # Soon, however far the clock was set back: nothing waits for a time that was reckoned with another clock.
    root.wait_until_idle(patience=120, is_there=lambda: not root.files("inbox"), kinds=("import",))
    for each in [daemon, *([skewed] if skewed else [])]:
        if each.stop() != 0:
            raise BrokenPromise(f"a daemon did not stop softly: {each.printed()}")
    # Nothing more is due from here on.
    root.write_configuration(CONFIGURATION)
    root.idle(environment=clock.environment())
    root.idle(environment=clock.environment())
    check(root, stream.dropped, order="as they were dropped")
    return check_slots(root), deaths


def check_slots(root):
    """Each due time has one export, and each export its due time; says how many there were."""
    exports = {row["id"] for row in root.tables.rows("SELECT id FROM jobs WHERE kind = 'export'")}
    slots = [row["job_id"] for row in root.tables.rows("SELECT job_id FROM schedule_slots")]
    if set(slots) != exports or len(slots) != len(exports):
        raise BrokenPromise(f"{len(slots)} due times, {len(set(slots))} of them with a job of their own, {len(exports)} exports")
    return len(slots)


class Clock:
    """What a daemon takes for the wall clock: the real one, and what was set. Monotonic time goes on as it does."""

    def __init__(self, path):
        self._path = path
        self.set("+0")

    def set(self, offset):
        beside = self._path.with_suffix(".new")
        beside.write_text(f"{offset}\n")
        beside.rename(self._path)
        self.now = offset

    def environment(self):
        return {
            "LD_PRELOAD": str(next(pathlib.Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))),
            "FAKETIME_TIMESTAMP_FILE": str(self._path),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }
