"""The process that stands between a worker and a workspace's agent; run as `python -I -S shim.py FOLDER PARAMETERS`.

It leaves the worker for a session of its own, records who it is and whom it started, keeps the newest part of the
output, and records the exit code, which only a parent learns. The lock it inherited is free only when it is gone,
so that no record and a free lock mean that nothing runs. Standard library only, imports none of ours.
Its standard output stays open until the record is complete: that is how the worker knows.
"""

import json
import os
import select
import signal
import sys
import time

FIELD_OF_START_TIME = 19


def main(folder: str, parameters: dict) -> int:
    """Run the command to its end; the return value is for whoever reads the worker's log."""
    if os.fork():
        # The worker waits for this first process only; the second belongs to nobody and leaves no zombie to it.
        return 0
    os.setsid()
    for descriptor in parameters["held"]:
        # Ours for life: an agent that kept them would hold the locks for whatever it leaves behind.
        os.set_inheritable(descriptor, False)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    # Before there is a child: an agent whose output nobody could keep must not begin.
    log = Log(f"{folder}/agent.log", parameters["log_bytes"])
    ends = _wakes_on_child()
    reader, writer = os.pipe()
    record = {**parameters["record"], "shim": _identity(os.getpid()), "child": None}
    # Before there is a child: whatever kills us from here on, a record says that something may run.
    _write(f"{folder}/process.json", record)
    child = _spawn(parameters["command"], writer)
    os.close(writer)
    try:
        _write(f"{folder}/process.json", {**record, "child": _identity(child)})
    except OSError:
        os.kill(child, signal.SIGKILL)
        raise
    _let_go_of_worker()
    exit_code = _copy_until_end(child, reader, ends, log)
    _write(f"{folder}/exit.json", {"exit_code": exit_code, "at": time.time()})
    return 0


class Log:
    """A file that keeps the newest bytes: when it has half of what it may, it becomes the older half."""

    def __init__(self, path: str, most_bytes: int) -> None:
        self._path = path
        self._half = max(most_bytes // 2, 1)
        self._descriptor = self._opened()
        self._size = 0

    def add(self, chunk: bytes) -> None:
        """Write what the disk takes; output that can't be kept stops nobody."""
        while chunk:
            if self._size >= self._half:
                self._turn()
            part = chunk[: self._half - self._size]
            chunk = chunk[len(part) :]
            self._size += len(part)
            try:
                os.write(self._descriptor, part)
            except OSError:
                continue

    def _turn(self) -> None:
        self._size = 0
        try:
            os.replace(self._path, f"{self._path}.1")
            fresh = self._opened()
        except OSError:
            # No new file can be had: the one that is open starts again from nothing, rather than grow.
            os.ftruncate(self._descriptor, 0)
        else:
            os.close(self._descriptor)
            self._descriptor = fresh

    def _opened(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)


def _copy_until_end(child: int, reader: int, ends: int, log: Log) -> int:
    """Copy the output until the child has ended (its own children may hold the pipe for ever), return its code."""
    os.set_blocking(reader, False)
    sources = [reader, ends]
    while True:
        ready, _, _ = select.select(sources, [], [])
        if reader in ready and not _copy(reader, log):
            sources = [ends]
        if ends in ready:
            os.read(ends, 512)
            pid, status = os.waitpid(child, os.WNOHANG)
            if pid:
                _copy(reader, log, most=1_048_576)
                return os.waitstatus_to_exitcode(status)


def _copy(reader: int, log: Log, *, most: int = 65_536) -> bool:
    """Copy what is there now; False at the end of the pipe."""
    while most > 0:
        try:
            chunk = os.read(reader, 65_536)
        except BlockingIOError:
            return True
        if not chunk:
            return False
        log.add(chunk)
        most -= len(chunk)
    return True


def _wakes_on_child() -> int:
    """Return a descriptor that becomes readable whenever a child has ended."""
    wakes, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    return wakes


def _spawn(command: list[str], output: int) -> int:
    return os.posix_spawn(
        command[0],
        command,
        os.environ,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, output, 1),
            (os.POSIX_SPAWN_DUP2, output, 2),
        ],
        # Held back until the agent listens: a TERM in its first moments would leave no word in its log.
        setsigmask=[signal.SIGTERM, signal.SIGINT],
        setsigdef=[signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE, signal.SIGXFSZ, signal.SIGCHLD],
    )


def _identity(pid: int) -> list[int]:
    with open(f"/proc/{pid}/stat", errors="replace") as file:
        return [pid, int(file.read().rpartition(")")[2].split()[FIELD_OF_START_TIME])]


def _write(path: str, record: dict) -> None:
    """Write the file whole or not at all, and make it outlast a power cut."""
    with open(f"{path}.new", "w") as file:
        json.dump(record, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(f"{path}.new", path)


def _let_go_of_worker() -> None:
    nowhere = os.open("/dev/null", os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    os.close(nowhere)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1], json.loads(sys.argv[2])))
    except OSError as error:
        sys.exit(str(error))
