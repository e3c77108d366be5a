"""Disks for scenarios: one whose operations fail on demand, one that is small and can be filled."""

import contextlib
import json
import os
import pathlib
import socket
import subprocess
import time

HERE = pathlib.Path(__file__).parent


class FaultyDisk:
    """A mounted folder; below it each folder has faults of its own, see `faultfs.py`."""

    def __init__(self, context):
        self._lower = context.folder / "lower"
        self.path = context.folder / "disk"
        self._control = context.folder / "faults"
        for folder in (self._lower, self.path):
            folder.mkdir()
        log = open(context.folder / "faultfs.log", "wb")
        program = [os.environ["EVENTFERRY_FUSE_PYTHON"], str(HERE / "faultfs.py")]
        self._child = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", *program, str(self._lower), str(self.path), str(self._control)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        context.at_the_end(self._unmount)
        deadline = time.monotonic() + 30
        while not (os.path.ismount(self.path) and self._control.exists()):
            if self._child.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"no faulty disk: {(context.folder / 'faultfs.log').read_text()}")
            time.sleep(0.05)

    def plan(self, folder, operation, first=1, last=0, error="EIO"):
        """Counts an operation from now on and lets the `first` to the `last` fail (None: for ever, 0: none)."""
        request = {"operation": operation, "from": first, "until": last, "error": error, "spare": os.getpid()}
        self._ask({"folder": folder, **request})

    def heal(self, folder):
        """Lets nothing fail any more; what has failed is still known."""
        self._ask({"folder": folder, "heal": True})

    def seen(self, folder):
        """How often the operation was called, and which calls have failed."""
        answer = self._ask({"folder": folder})
        return answer["count"], answer["failed"]

    def _ask(self, request):
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as control:
            control.connect(str(self._control))
            control.sendall(json.dumps(request).encode())
            answer = b""
            while piece := control.recv(65536):
                answer += piece
        return json.loads(answer)

    def _unmount(self):
        subprocess.run(["umount", "--lazy", str(self.path)], check=False)
        self._child.terminate()
        self._child.wait()


class SmallDisk:
    """A disk of so many bytes in memory at `path`, with nothing in it."""

    def __init__(self, context, path, size):
        self.path = path
        self._ballast = path / "ballast"
        path.mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)], check=True)
        context.at_the_end(lambda: subprocess.run(["umount", "--lazy", str(path)], check=False))

    def fill(self):
        """Takes everything that is free."""
        with open(self._ballast, "ab", buffering=0) as ballast, contextlib.suppress(OSError):
            for size in (1 << 20, 1 << 12):
                with contextlib.suppress(OSError):
                    while True:
                        ballast.write(b"\0" * size)

    def empty(self):
        """Gives back what `fill` has taken."""
        self._ballast.unlink(missing_ok=True)
