"""Daemons that are ended at random moments over a stream of drops, by a signal."""

import math
import signal
import time

from archives import Stream
from checker import check
from ground import ACCOUNTS, BrokenPromise, CONFIGURATION, Outcome
from receiver import Receiver

# Ends of one root; then another one is begun, with handlers where the one before had none.
PER_ROOT = 15

# Everything small, so that every step is met often. No job is given up over it: the promise is what is looked at.
SETTINGS = {
    "inbox.settle": "30ms",
    "inbox.scan_every": "200ms",
    "import.chunk_pause": "3ms",
    "queue.heartbeat": "200ms",
    "queue.lease": "2s",
    "queue.poll": "50ms",
    "queue.retry_first": "20ms",
    "queue.retry_max": "200ms",
    "queue.strikes": "100",
}


def run(context, number):
    """Ends daemons by a signal until it was done often enough."""
    times = context.times(30, 300)
    made = Counts()
    while made.ended < times:
        try_root(context, number, made, min(PER_ROOT, times - made.ended))
        context.progress(f"{made.ended} of {times}; {made.said()}")
    return Outcome(made.ended, made.said())


class Counts:
    def __init__(self):
        self.roots = 0
        self.ended = 0
        self.at_start = 0
        self.rounds = 0
        self.drops = 0
        self.resumed = 0
        self.messages = 0
        self.hard = 0
        # Owners of jobs that were stopped at once: a start that is stopped early has not rescued them yet.
        self.stray = set()

    def said(self):
        said = f"{self.at_start} during start, {self.drops} drops, {self.rounds} checks, {self.messages} messages"
        return said + (f", {self.hard} stopped hard" if self.hard else "")


def try_root(context, number, made, times):
    chance = context.random
    made.roots += 1
    root = context.root(f"{made.roots:03}")
    root.settings |= SETTINGS
    root.settings["import.chunk_records"] = str(chance.choice([3, 10, 50]))
    if context.database == "postgres":
        # Both ways to the server.
        if chance.random() < 0.5:
            root.settings["database.url"] = root.tables.socket_url
    receiver = None
    if made.roots % 2 == 0:
        receiver = Receiver(chance, rudeness=0.001 if context.is_long else 0)
        context.at_the_end(receiver.close)
        root.write_configuration(CONFIGURATION + receiver.configuration())
        root.settings["import.with_handlers"] = "true"
    stream = Stream(chance, ACCOUNTS, first_number=made.roots * 1000, large=2_000 if context.is_long else 700)
    # The large one is there from the beginning, so that it is met often.
    drop(root, stream, made, "large")
    left = times
    while left > 0:
        for _ in range(min(left, chance.randint(1, 6))):
            one_life(context, root, stream, number, made)
            left -= 1
        come_to_rest(root, stream, receiver, made, by_daemon=chance.random() < 0.3)
    for daemon in root.daemons:
        daemon.kill()
    if receiver:
        made.messages += len(receiver.told)


def one_life(context, root, stream, number, made):
    """A daemon from its start to its end at a random moment, after its start or after a drop."""
    chance = context.random
    for _ in range(chance.choice([0, 0, 1, 2])):
        drop(root, stream, made)
    daemon = root.start()
    is_ready = chance.random() < 0.6
    if is_ready:
        daemon.ready()
        for _ in range(chance.choice([1, 1, 2, 3])):
            drop(root, stream, made)
    time.sleep(math.exp(chance.uniform(math.log(0.005), math.log(3))))
    if not daemon.is_alive():
        raise BrokenPromise(f"a daemon ended by itself: {daemon.printed()}")
    made.ended += 1
    made.at_start += not is_ready
    if number == signal.SIGKILL:
        daemon.kill()
    else:
        stop(root, daemon, made, chance)


def stop(root, daemon, made, chance):
    """Asks it to stop; now and then a second time, which ends it at once."""
    daemon.send(signal.SIGTERM)
    is_hard = chance.random() < 0.2
    if is_hard:
        time.sleep(chance.uniform(0, 0.05))
        daemon.send(signal.SIGTERM)
    code = daemon.wait()
    made.hard += code == 130
    # Before it listens to signals, the signal ends it as any program.
    if code not in (0, -signal.SIGTERM, *([130] if is_hard else [])):
        raise BrokenPromise(f"after SIGTERM a daemon ended with {code}: {daemon.printed()}")
    if root.tables.is_there():
        owned = root.tables.rows("SELECT id, state, owner FROM jobs WHERE owner IS NOT NULL")
        if code != 0:
            made.stray.update(row["owner"] for row in owned)
        elif any(row["owner"] not in made.stray for row in owned):
            raise BrokenPromise(f"a daemon has stopped softly and still owns jobs: {owned}")


def drop(root, stream, made, kind=None):
    """Uploads an archive: renamed into place, or written there piece by piece."""
    archive = stream.next(kind)
    made.drops += 1
    if stream.chance.random() < 0.7:
        root.drop(archive.account, archive.name, archive.data)
        return
    pieces = stream.chance.randint(1, 4)
    size = len(archive.data) // pieces + 1
    with open(root.inbox(archive.account) / archive.name, "wb") as upload:
        for piece in range(pieces):
            upload.write(archive.data[piece * size : (piece + 1) * size])
            upload.flush()
            time.sleep(stream.chance.uniform(0, 0.03))


def come_to_rest(root, stream, receiver, made, by_daemon):
    """Lets everything end, in a daemon that stays or by `run --once`, and looks at it."""
    if by_daemon:
        daemon = root.start()
        daemon.ready()
        root.wait_until_idle(is_there=lambda: is_taken(root, stream))
        if daemon.stop() != 0:
            raise BrokenPromise(f"a daemon did not stop softly: {daemon.printed()}")
    else:
        root.idle()
    # What a crash has left in the media store goes at a start at which no job is open.
    root.idle()
    made.rounds += 1
    check(root, stream.dropped, receiver.told if receiver else None)
    if receiver and receiver.changed:
        raise BrokenPromise(f"messages came again with other bytes under the same id: {receiver.changed}")


def is_taken(root, stream):
    """Whether the inbox holds only what stays there."""
    staying = {archive.name for archive in stream.dropped if archive.kind == "unfinished"}
    return all(file.rsplit("/", 1)[1] in staying for file in root.files("inbox"))
