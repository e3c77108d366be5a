"""Two daemons on one PostgreSQL and one inbox: side by side, one killed, one frozen past its lease."""

import signal
import time

from archives import Stream
from checker import check
from ground import ACCOUNTS, BrokenPromise, Outcome
from kills import SETTINGS

NAME = "two-daemons"
ABOUT = "two daemons on one inbox: each file one job; one is killed; one is frozen past its lease, and its late commit is refused"
DATABASES = ("postgres",)


def run(context):
    files = context.times(60, 1000)
    shares = side_by_side(context, files)
    freezes = max(2, files // 20)
    in_chunk = sum(freeze(context, number) for number in range(1, freezes + 1))
    return Outcome(
        files + freezes,
        f"{files} files, of which the two took {shares[0]} and {shares[1]}; {freezes} freezes, {in_chunk} within a transaction",
    )


def side_by_side(context, files):
    """Both take what is dropped; now and then one is killed and started again."""
    chance = context.random
    root = context.root("side")
    root.settings |= SETTINGS | {"import.chunk_records": "10"}
    stream = Stream(chance, ACCOUNTS)
    daemons = [root.start(), root.start()]
    for daemon in daemons:
        daemon.ready()
    sides = [[daemon] for daemon in daemons]
    for number in range(1, files + 1):
        archive = stream.next()
        root.drop(archive.account, archive.name, archive.data)
        time.sleep(chance.uniform(0, 0.03))
        if number % 20 == 10:
            dying = chance.randrange(2)
            daemons[dying].kill()
            daemons[dying] = root.start()
            sides[dying].append(daemons[dying])
    settled(root, stream, files)
    for daemon in daemons:
        if daemon.stop() != 0:
            raise BrokenPromise(f"a daemon did not stop softly: {daemon.printed()}")
    # What the killed ones have left in the media store goes at a start at which no job is open.
    root.idle()
    check(root, stream.dropped)
    # One that is killed early may have begun nothing; whoever comes in its place counts as well.
    shares = [sum(daemon.printed().count("a job begins") for daemon in side) for side in sides]
    if not all(shares):
        raise BrokenPromise(f"one of two daemons has done nothing: {shares}")
    return shares


def freeze(context, number):
    """One is frozen over its lease somewhere in an import; the other takes over; the first wakes. Says whether it was in a
    transaction."""
    chance = context.random
    root = context.root(f"freeze-{number}")
    root.settings |= SETTINGS | {"import.chunk_records": "10", "database.url": root.tables.socket_url}
    stream = Stream(chance, ACCOUNTS, large=400)
    sleeper = root.start()
    sleeper.ready()
    archive = stream.next("large")
    root.drop(archive.account, archive.name, archive.data)
    wait_for(root, "SELECT 1 AS one FROM jobs WHERE stage_done > 0 AND state = 'running'", "the import begins")
    time.sleep(chance.uniform(0, 0.5))
    sleeper.send(signal.SIGSTOP)
    before = root.tables.rows("SELECT id, owner, epoch, state FROM jobs")[0]
    sessions = root.tables.rows(
        "SELECT 1 AS one FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'eventferry' "
        "AND xact_start IS NOT NULL"
    )
    if before["state"] != "running":
        sleeper.send(signal.SIGCONT)
    other = root.start()
    other.ready()
    if before["state"] == "running":
        taken = f"SELECT 1 AS one FROM jobs WHERE epoch > {before['epoch']} AND owner IS DISTINCT FROM '{before['owner']}'"
        wait_for(root, taken, "the other daemon takes the job over")
        if chance.random() < 0.5:
            root.wait_until_idle()
        sleeper.send(signal.SIGCONT)
    second = stream.next("new")
    root.drop(second.account, second.name, second.data)
    settled(root, stream, 2)
    for daemon in (sleeper, other):
        if daemon.stop() != 0:
            raise BrokenPromise(f"a daemon did not stop softly: {daemon.printed()}")
    root.idle()
    check(root, stream.dropped)
    if before["state"] == "running" and "a job has ended job.id=" + before["id"] in sleeper.printed():
        raise BrokenPromise(f"the daemon that was frozen has ended a job that was no longer its: {sleeper.printed()}")
    return bool(sessions)


def settled(root, stream, files):
    """Waits until every file that can be a job has ended as one."""
    staying = sum(archive.kind == "unfinished" for archive in stream.dropped)
    wanted = files - staying

    def are_there():
        return root.tables.rows("SELECT count(*) AS many FROM jobs")[0]["many"] >= wanted

    root.wait_until_idle(is_there=are_there)


def wait_for(root, sql, what, patience=120):
    deadline = time.monotonic() + patience
    while not root.tables.rows(sql):
        if time.monotonic() > deadline:
            raise BrokenPromise(f"after {patience} s {what} not: {root.tables.rows('SELECT * FROM jobs')}")
        time.sleep(0.02)
