"""What scenarios stand on: folders, databases, daemons. Nothing here knows the code of the daemon; it is started and looked
at as anybody could."""

import contextlib
import dataclasses
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import sqlite3
import subprocess
import tempfile
import time

# The accounts that every root has; `default` gets what lies in the inbox itself.
ACCOUNTS = ("default", "berlin", "oslo")

CONFIGURATION = "\n".join(
    ['[mail]\nadmin = "admin@example.org"\ndigest_over = 1000000\n[mail.send]\nexport_unchanged = true']
    + [f'[[accounts]]\nname = "{name}"\nemail = "{name}@example.org"' for name in ACCOUNTS]
)

# How long anything may take that has to end by itself, and how long nothing may go on.
PATIENCE = 300


class BrokenPromise(Exception):
    """What was promised is not so. Its text says what was found."""


@dataclasses.dataclass
class Outcome:
    """That the promise was kept: how often it was tried, and in a few words what happened meanwhile."""

    tried: int
    said: str = ""


class Context:
    """What one scenario on one database may use. Everything is gone after its `end`, but for what is kept."""

    def __init__(self, scenario, database, is_long, seed, times):
        self.scenario = scenario
        self.database = database
        self.is_long = is_long
        self.binary = os.environ["EVENTFERRY_BINARY"]
        self.random = random.Random(f"{seed}/{scenario}/{database}")
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix=f"eventferry-{scenario}-{database}."))
        self._times = times
        self._roots = []
        self._clean_ups = contextlib.ExitStack()

    def times(self, short, long):
        """How often to try."""
        return self._times or (long if self.is_long else short)

    def progress(self, text):
        print(f"  {self.scenario} on {self.database}: {text}", flush=True)

    def at_the_end(self, work, *arguments):
        """Does something at the end, however it comes; the last first."""
        self._clean_ups.callback(work, *arguments)

    def root(self, name, database=None, **settings):
        """A new root with an empty database and a configuration; `import__chunk_pause="1ms"` sets a key."""
        root = Root(self, name, database or self.database, settings)
        self._roots.append(root)
        return root

    def forget(self, root):
        """Of a root that is gone nothing is to be kept."""
        self._roots.remove(root)

    def end(self, keep):
        for root in self._roots:
            root.kill_all()
        if keep:
            for root in self._roots:
                root.keep()
        self._clean_ups.close()
        for root in self._roots:
            # A server that has gone must not hide why.
            with contextlib.suppress(RuntimeError):
                root.drop_database()
        if not keep:
            shutil.rmtree(self.folder, ignore_errors=True)


class Root:
    """A root of a daemon with its database."""

    def __init__(self, context, name, database, settings):
        self.context = context
        self.name = name
        self.folder = context.folder / name
        self.path = self.folder / "root"
        self.log = self.folder / "log"
        for account in ACCOUNTS:
            self.inbox(account).mkdir(parents=True, exist_ok=True)
        self.log.mkdir()
        self.settings = {
            "queue.free_space_floor": "0",
            "database.connections": "6",
            **{key.replace("__", "."): value for key, value in settings.items()},
        }
        self.tables = Sqlite(self.path / "eventferry.db") if database == "sqlite" else Postgres(context)
        if database == "postgres":
            self.settings["database.url"] = self.tables.url
        self.write_configuration(CONFIGURATION)
        self.lives = 0
        self.daemons = []

    def write_configuration(self, text):
        (self.folder / "eventferry.toml").write_text(text)

    def inbox(self, account):
        """The folder of an account; `default` has the inbox itself."""
        inbox = self.path / "inbox"
        return inbox if account == "default" else inbox / account

    def drop(self, account, name, data):
        """Uploads beside the inbox and renames into place, as careful clients do."""
        beside = self.folder / f"upload-{name}"
        beside.write_bytes(data)
        beside.rename(self.inbox(account) / name)

    def command(self, *arguments, settings=None):
        given = {**self.settings, **(settings or {})}
        sets = [word for key, value in given.items() for word in ("--set", f"{key}={value}")]
        config = str(self.folder / "eventferry.toml")
        return [self.context.binary, "--config", config, "--root", str(self.path), *sets, *arguments]

    def start(self, *arguments, settings=None, environment=None):
        """A daemon; `eventferry run` where nothing else is asked for. Nothing is waited for."""
        self.lives += 1
        command = self.command(*(arguments or ("run",)), settings=settings)
        daemon = Daemon(command, environment or {}, self.log / f"{self.lives:04}")
        self.daemons = [other for other in self.daemons if other.is_alive()] + [daemon]
        return daemon

    def run(self, *arguments, settings=None, environment=None, patience=PATIENCE):
        """Runs a command to its end and gives what it printed."""
        daemon = self.start(*arguments, settings=settings, environment=environment)
        code = daemon.wait(patience)
        return code, daemon.printed()

    def idle(self, environment=None, settings=None):
        """Runs `eventferry run --once` until no job is unfinished and no file or mail waits."""
        standstill = Standstill(self, PATIENCE)
        while True:
            code, printed = self.run("run", "--once", environment=environment, settings=settings)
            if code != 0:
                raise BrokenPromise(f"`eventferry run --once` ended with {code}: {printed}")
            waits = self.what_waits()
            if not waits:
                return
            standstill.check(waits)
            time.sleep(0.1)

    def what_waits(self, kinds=("import", "export")):
        """What a daemon would still do by itself; for people."""
        of_kinds = "kind IN (" + ", ".join(f"'{kind}'" for kind in kinds) + ")"
        rows = self.tables.rows(
            f"SELECT (SELECT count(*) FROM jobs WHERE state IN ('queued', 'running', 'blocked', 'paused') AND {of_kinds}) "
            f"AS jobs, (SELECT count(*) FROM jobs WHERE source_state <> 'moved' AND {of_kinds}) AS sources, "
            f"(SELECT count(*) FROM mails WHERE state = 'queued' AND job_id IN (SELECT id FROM jobs WHERE {of_kinds})) "
            "AS mails, (SELECT count(*) FROM deliveries WHERE state = 'pending') AS deliveries"
        )
        waits = {what: count for what, count in rows[0].items() if count}
        # A claim without its row, which a scan recovers.
        claimed = [path.name for path in (self.path / "work").glob("*") if not path.name.startswith(".")]
        known = {row["id"] for row in self.tables.rows("SELECT id FROM jobs")}
        lost = [name for name in claimed if name not in known]
        return {**waits, **({"claims": lost} if lost else {})}

    def wait_until_idle(self, patience=PATIENCE, is_there=lambda: True, kinds=("import", "export")):
        """Waits until a daemon that runs has nothing left to do and `is_there` says that nothing is to come."""
        standstill = Standstill(self, patience)
        while True:
            waits = self.what_waits(kinds)
            if is_there() and not waits:
                return
            standstill.check(waits)
            time.sleep(0.1)

    def files(self, folder):
        """Every file below a folder of the root, by its path in the root."""
        found = []
        for place, _, names in os.walk(self.path / folder):
            found += [os.path.relpath(os.path.join(place, name), self.path) for name in names]
        return sorted(found)

    def kill_all(self):
        for daemon in self.daemons:
            daemon.kill()

    def keep(self):
        """Puts what the database holds beside the root, for whoever looks into a broken promise."""
        with contextlib.suppress(Exception):
            self.tables.save(self.folder / "database.sql")

    def drop_database(self):
        self.tables.drop()


class Standstill:
    """That nothing goes on for so many seconds. How long everything takes says more of the machine."""

    def __init__(self, root, patience):
        self._root = root
        self._patience = patience
        self._last = None
        self._since = time.monotonic()

    def check(self, waits):
        """Raises where what waits has been the same for too long."""
        jobs = self._root.tables.rows(
            "SELECT id, state, stage, stage_done, attempts, last_trouble, waits_for FROM jobs "
            "WHERE state IN ('queued', 'running', 'blocked', 'paused') ORDER BY id"
        )
        if (waits, jobs) != self._last:
            self._last, self._since = (waits, jobs), time.monotonic()
        elif time.monotonic() - self._since > self._patience:
            raise BrokenPromise(f"nothing goes on for {self._patience} s, and it is not idle: {waits} {jobs}")


class Daemon:
    """A child of this process."""

    def __init__(self, command, environment, log):
        self._ready = log.with_suffix(".ready")
        self._log = log.with_suffix(".log")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self._ready))
        base = {"PATH": os.environ["PATH"], "NOTIFY_SOCKET": str(self._ready), "RUST_BACKTRACE": "1"}
        with open(self._log, "wb") as output:
            output.write(f"{command}\n".encode())
            output.flush()
            # It ends with this process, however that ends; `setpriv` becomes the program.
            self._child = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *command],
                env={**base, **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        self.started = time.monotonic()

    @property
    def id(self):
        return self._child.pid

    def is_alive(self):
        return self._child.poll() is None

    def ready(self, patience=60):
        """Waits until it says that everything is at work."""
        deadline = time.monotonic() + patience
        while True:
            self._socket.settimeout(0.2)
            with contextlib.suppress(TimeoutError):
                if b"READY=1" in self._socket.recv(4096):
                    return
            if not self.is_alive():
                raise BrokenPromise(f"a daemon ended before it was ready: {self.printed()}")
            if time.monotonic() > deadline:
                raise BrokenPromise(f"a daemon is not ready after {patience} s: {self.printed()}")

    def send(self, number):
        """A signal; nothing where it has ended."""
        if self.is_alive():
            self._child.send_signal(number)

    def kill(self):
        """Kills it; says whether it was alive."""
        was_alive = self.is_alive()
        if was_alive:
            self._child.kill()
        self._child.wait()
        self._forget()
        return was_alive

    def stop(self, patience=PATIENCE):
        """Stops it softly, as systemd does."""
        self.send(signal.SIGTERM)
        return self.wait(patience)

    def live_until(self, what, is_so, patience=90):
        """Waits until it is so, and it must live until then."""
        deadline = time.monotonic() + patience
        while not is_so():
            if not self.is_alive():
                raise BrokenPromise(f"the daemon has ended before this: {what}; it said: {self.printed()}")
            if time.monotonic() > deadline:
                raise BrokenPromise(f"{patience} s and still not so: {what}; it said: {self.printed()[-4000:]}")
            time.sleep(0.1)

    def wait(self, patience=PATIENCE):
        """Waits for its end and gives its status, negative for a signal."""
        try:
            code = self._child.wait(patience)
        except subprocess.TimeoutExpired:
            self.kill()
            raise BrokenPromise(f"a process did not end within {patience} s: {self.printed()}") from None
        self._forget()
        return code

    def printed(self):
        """What it has said, without the command."""
        return self._log.read_text(errors="replace").split("\n", 1)[1].strip()

    def _forget(self):
        self._socket.close()
        self._ready.unlink(missing_ok=True)


class Sqlite:
    """The tables of a root, as anybody with the file reads them."""

    def __init__(self, path):
        self.path = path

    def rows(self, sql):
        """Rows as dictionaries; none where there is no database yet."""
        with contextlib.closing(sqlite3.connect(self.path, timeout=30)) as database:
            database.row_factory = sqlite3.Row
            return [dict(row) for row in database.execute(sql)]

    def is_there(self):
        return self.path.exists() and bool(self.rows("SELECT 1 FROM sqlite_master WHERE name = 'deliveries'"))

    def faults(self):
        """What the database itself finds wrong."""
        found = [row["integrity_check"] for row in self.rows("PRAGMA integrity_check")]
        foreign = self.rows("PRAGMA foreign_key_check")
        return ([] if found == ["ok"] else found) + [f"a foreign key leads nowhere: {row}" for row in foreign]

    def save(self, path):
        with contextlib.closing(sqlite3.connect(self.path)) as database:
            path.write_text("\n".join(database.iterdump()))

    def drop(self):
        pass


class Postgres:
    """A database of its own in the server of `tests/reliability`."""

    made = 0

    def __init__(self, context):
        Postgres.made += 1
        self.name = f"reliability_{os.getpid()}_{Postgres.made}"
        self._psql = os.environ["EVENTFERRY_TEST_PSQL"]
        self._server = os.environ["EVENTFERRY_TEST_POSTGRES"].rsplit("/", 1)[0]
        self.url = f"{self._server}/{self.name}"
        # The same over the server's socket file.
        folder = self._run("postgres", "SHOW unix_socket_directories").strip()
        self.socket_url = f"{self.url}?host={folder}"
        self._run("postgres", f"CREATE DATABASE {self.name} TEMPLATE template0")

    def _run(self, database, sql):
        command = [self._psql, "--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1"]
        command += ["--dbname", f"{self._server}/{database}", "--command", sql]
        ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if ended.returncode != 0:
            raise RuntimeError(f"psql refused `{sql}`: {ended.stderr}")
        return ended.stdout

    def rows(self, sql):
        """Rows as dictionaries."""
        return json.loads(self._run(self.name, f"SELECT coalesce(json_agg(found), '[]') FROM ({sql}) AS found"))

    def execute(self, sql):
        self._run(self.name, sql)

    def is_there(self):
        return bool(self.rows("SELECT 1 AS one FROM pg_tables WHERE tablename = 'deliveries'"))

    def faults(self):
        """Its foreign keys cannot be broken."""
        return []

    def save(self, path):
        dump = os.path.join(os.path.dirname(self._psql), "pg_dump")
        with open(path, "wb") as output:
            subprocess.run([dump, self.url], stdout=output, check=False)

    def drop(self):
        self._run("postgres", f"DROP DATABASE IF EXISTS {self.name} WITH (FORCE)")
