"""A folder as another place shows it, whose operations can be told to fail.

    faultfs.py FOLDER MOUNTPOINT SOCKET

Below MOUNTPOINT each folder has faults of its own. A connection to SOCKET brings one request as JSON and takes one answer:

    {"folder": "7", "operation": "write", "from": 3, "until": 3, "error": "ENOSPC"}    begins to count anew; "until" null: for ever
    {"folder": "7"}                                                                    gives the count and what has failed
    {"folder": "7", "heal": true}                                                      lets nothing fail any more

Operations of whoever is asked to be left alone (`"spare": process id`) are neither counted nor disturbed. Only calls that reach the
file system count: what the kernel has in its cache is read without it.
"""

import errno
import json
import os
import socket
import sys
import threading

import mfusepy

STAT = ("st_atime_ns", "st_ctime_ns", "st_mtime_ns", "st_gid", "st_ino", "st_mode", "st_nlink", "st_size", "st_uid", "st_blocks")
STATFS = ("f_bavail", "f_bfree", "f_blocks", "f_bsize", "f_favail", "f_ffree", "f_files", "f_flag", "f_frsize", "f_namemax")

# SQLite shares its index of the write-ahead log through memory that the kernel writes back when it likes. On a disk of the kernel that
# has its blocks already; here it would be lost. What the library itself hides under `.fuse_hidden` is nobody's doing.
LEFT_ALONE = "-shm"


class Plan:
    def __init__(self, request):
        self.operation = request.get("operation")
        self.first = request.get("from", 1)
        self.last = request.get("until", 0)
        self.error = getattr(errno, request.get("error", "EIO"))
        self.spare = request.get("spare", 0)
        self.count = 0
        self.failed = []


class Faulty(mfusepy.Operations):
    use_ns = True

    def __init__(self, folder, control):
        self._folder = folder
        self._mutex = threading.Lock()
        self._plans = {}
        server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        server.bind(control)
        server.listen(64)
        threading.Thread(target=self._serve, args=(server,), daemon=True).start()

    def _serve(self, server):
        while True:
            client, _ = server.accept()
            with client:
                request = json.loads(client.recv(65536))
                with self._mutex:
                    plan = self._plans.get(request["folder"])
                    answer = {"count": plan.count, "failed": plan.failed} if plan else {}
                    if request.get("heal") and plan:
                        plan.last = 0
                    if "operation" in request:
                        self._plans[request["folder"]] = Plan(request)
                client.sendall(json.dumps(answer).encode())

    def _step(self, operation, path):
        """Counts an operation, and fails where that is planned."""
        parts = path.split("/", 3)
        # Only what lies in the root of a daemon: `/<folder>/root/…`.
        if len(parts) < 3 or parts[2] != "root":
            return
        plan = self._plans.get(parts[1])
        if plan is None or plan.operation != operation or path.endswith(LEFT_ALONE) or ".fuse_hidden" in path:
            return
        if plan.spare and os.path.exists(f"/proc/{plan.spare}/task/{mfusepy.fuse_get_context()[2]}"):
            return
        with self._mutex:
            plan.count += 1
            if plan.count >= plan.first and (plan.last is None or plan.count <= plan.last):
                plan.failed.append(f"{operation} {'/'.join(parts[3:])}")
                raise mfusepy.FuseOSError(plan.error)

    def _at(self, path):
        return self._folder + path

    def getattr(self, path, fh=None):
        found = os.fstat(fh) if fh is not None else os.lstat(self._at(path))
        return {key.replace("_ns", ""): getattr(found, key) for key in STAT}

    def readdir(self, path, fh):
        return [".", "..", *os.listdir(self._at(path))]

    def statfs(self, path):
        found = os.statvfs(self._at(path))
        return {key: getattr(found, key) for key in STATFS}

    def readlink(self, path):
        return os.readlink(self._at(path))

    def symlink(self, name, target):
        self._step("create", name)
        os.symlink(target, self._at(name))

    def link(self, new, existing):
        self._step("link", new)
        os.link(self._at(existing), self._at(new))

    def mkdir(self, path, mode):
        self._step("mkdir", path)
        os.mkdir(self._at(path), mode)

    def rmdir(self, path):
        self._step("unlink", path)
        os.rmdir(self._at(path))

    def unlink(self, path):
        self._step("unlink", path)
        os.unlink(self._at(path))

    def rename(self, old, new):
        self._step("rename", new)
        os.rename(self._at(old), self._at(new))

    def chmod(self, path, mode):
        os.chmod(self._at(path), mode)

    def chown(self, path, uid, gid):
        os.chown(self._at(path), uid, gid)

    def utimens(self, path, times=None):
        os.utime(self._at(path), ns=times)

    def mknod(self, path, mode, dev):
        os.mknod(self._at(path), mode, dev)

    def create(self, path, mode, fi=None):
        self._step("create", path)
        return os.open(self._at(path), os.O_RDWR | os.O_CREAT | os.O_EXCL, mode)

    def open(self, path, flags):
        self._step("open", path)
        # The kernel itself sees to appending.
        return os.open(self._at(path), flags & ~os.O_APPEND)

    def read(self, path, size, offset, fh):
        self._step("read", path)
        return os.pread(fh, size, offset)

    def write(self, path, data, offset, fh):
        self._step("write", path)
        return os.pwrite(fh, data, offset)

    def truncate(self, path, length, fh=None):
        self._step("write", path)
        os.truncate(fh if fh is not None else self._at(path), length)

    def fsync(self, path, datasync, fh):
        self._step("sync", path)

    def fsyncdir(self, path, datasync, fh):
        self._step("sync", path)

    def release(self, path, fh):
        os.close(fh)


if __name__ == "__main__":
    faulty = Faulty(os.path.realpath(sys.argv[1]), sys.argv[3])
    mfusepy.FUSE(faulty, sys.argv[2], foreground=True, attr_timeout=0, entry_timeout=0, hard_remove=False)
