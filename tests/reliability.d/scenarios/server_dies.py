"""The PostgreSQL server is stopped and killed in the middle of imports, and comes back."""

import os
import shutil
import signal
import socket
import subprocess
import time

from archives import Stream
from checker import check
from ground import BrokenPromise, Outcome, Postgres

NAME = "server-dies"
ABOUT = "PostgreSQL is killed with -9, stopped, and away for a while in the middle of imports, and comes back"
DATABASES = ("postgres",)


def run(context):
    server = Server(context)
    context.at_the_end(server.kill)
    times = context.times(4, 40)
    root = context.root(
        "root",
        database__busy_timeout="2s",
        database__connections="4",
        queue__retry_first="200ms",
        queue__retry_max="1s",
        queue__poll="200ms",
        queue__heartbeat="1s",
        queue__lease="10s",
        inbox__settle="10ms",
        inbox__scan_every="1s",
        import__chunk_records="10",
        import__chunk_pause="20ms",
    )
    root.drop_database()
    root.tables = server.database()
    root.settings["database.url"] = root.tables.url
    daemon = root.start()
    daemon.ready()
    stream = Stream(context.random, ["berlin", "oslo"])
    for number in range(times):
        for _ in range(3):
            made = stream.next()
            root.drop(made.account, made.name, made.data)
        time.sleep(context.random.uniform(0.0, 1.5))
        how = ("killed", "stopped at once", "stopped")[number % 3]
        server.end(how)
        # A drop while nobody answers waits in the inbox.
        made = stream.next("new")
        root.drop(made.account, made.name, made.data)
        daemon.live_until(f"not ready after the server was {how}", lambda: daemon.printed().count("not ready: ") > number)
        time.sleep(context.random.uniform(0.0, 2.0))
        server.start()
        daemon.live_until("ready again", lambda: daemon.printed().count("ready again: ") > number)
        staying = [one for one in stream.dropped if one.kind == "unfinished"]
        root.wait_until_idle(is_there=lambda: len(root.files("inbox")) == len(staying) and has_jobs(root, stream))
    if daemon.stop() != 0:
        raise BrokenPromise(f"a soft stop ended badly: {daemon.printed()}")
    held = root.tables.rows("SELECT id, attempts, strikes FROM jobs WHERE attempts > 0 OR strikes > 0")
    if held:
        raise BrokenPromise(f"an outage was held against jobs: {held}")
    # What an update has left without use in the media folder is swept by a start.
    root.idle()
    check(root, stream.dropped)
    return Outcome(times, f"{len(stream.dropped)} archives, readiness false and true again each time")


def has_jobs(root, stream):
    jobs = root.tables.rows("SELECT count(*) AS many FROM jobs")[0]["many"]
    return jobs == sum(one.kind != "unfinished" for one in stream.dropped)


class Server:
    """A cluster that may die; that of `tests/reliability` is needed by others."""

    def __init__(self, context):
        self.folder = context.folder / "cluster"
        self.bin = os.path.dirname(os.environ["EVENTFERRY_TEST_PSQL"])
        self.user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"] if os.getuid() == 0 else []
        self.folder.mkdir()
        context.folder.chmod(0o755)
        if self.user:
            shutil.chown(self.folder, "postgres", "postgres")
        initdb = [f"{self.bin}/initdb", "-D", str(self.folder / "data"), "-U", "postgres", "-A", "trust", "-E", "UTF8"]
        subprocess.run(
            [*self.user, *initdb, "--locale=C", "-N"], cwd=self.folder, check=True, stdout=subprocess.DEVNULL
        )
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.child = None
        self.start()

    def database(self):
        return DatabaseOf(self)

    def start(self):
        """Starts it and waits until it answers. At once after a kill it may refuse: its memory is still in use."""
        deadline = time.monotonic() + 60
        while True:
            if self.child is None or self.child.poll() is not None:
                # Killed processes do not matter to a server without fsync; power cuts do.
                command = [f"{self.bin}/postgres", "-D", str(self.folder / "data"), "-k", str(self.folder)]
                command += ["-p", str(self.port), "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]
                with open(self.folder / "server.log", "ab") as log:
                    self.child = subprocess.Popen(
                        ["setpriv", "--pdeathsig", "INT", *self.user[1:], *command],
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=log,
                        cwd=self.folder,
                    )
            ready = [f"{self.bin}/pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]
            if subprocess.run(ready, check=False).returncode == 0:
                return
            if time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL does not start: {(self.folder / 'server.log').read_text()[-2000:]}")
            time.sleep(0.05)

    def end(self, how):
        if how == "killed":
            # All of it, as by the kernel when memory is short: the children end with their parent, but not at once.
            self.child.send_signal(signal.SIGKILL)
        else:
            self.child.send_signal(signal.SIGQUIT if how == "stopped at once" else signal.SIGINT)
        self.child.wait()

    def kill(self):
        if self.child and self.child.poll() is None:
            self.child.send_signal(signal.SIGQUIT)
            self.child.wait()


class DatabaseOf(Postgres):
    """The database `postgres` of such a server."""

    def __init__(self, server):
        self.name = "postgres"
        self._psql = os.environ["EVENTFERRY_TEST_PSQL"]
        self._server = f"postgres://postgres@127.0.0.1:{server.port}"
        self.url = f"{self._server}/{self.name}"

    def drop(self):
        """It goes with its server."""
