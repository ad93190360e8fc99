"""Stands between a worker and a workspace's agent; begins as a fork in fork_shims.py.

It leaves the worker for a session of its own, records who it is and whom it started, keeps the newest part of the
output, and records the exit code, which only a parent learns. The lock it inherited is free only when it is gone,
so that no record and a free lock mean that nothing runs. Standard library only, imports none of ours.
Its standard output stays open until the record is complete: that is how the worker knows.

The agent is a fork of the shim that runs a program, a folder with a __main__.py. So `ps` shows the same command for
both.
"""

import json
import os
import select
import signal
import sys
import time

FIELD_OF_START_TIME = 19
_IGNORED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Program:
    """A folder with a __main__.py, to be run in the interpreter that is here."""

    def __init__(self, folder: str) -> None:
        """Raises OSError where it can't be read, SyntaxError where it is no Python."""
        self.folder = folder
        self._path = f"{folder}/__main__.py"
        with open(self._path, "rb") as file:
            self._code = compile(file.read(), self._path, "exec")

    def prepare(self) -> None:
        """Import what it imports; then `run` finds it there."""
        self._execute("prepared")

    def run(self) -> None:
        """Do what `python FOLDER` does."""
        sys.argv = [self.folder]
        self._execute("__main__")

    def _execute(self, name: str) -> None:
        # Where Python looks first when it is given a folder; the agent forgets that place again itself.
        sys.path.insert(0, self.folder)
        exec(self._code, {"__name__": name, "__file__": self._path, "__package__": ""})  # noqa: S102


def start(folder: str, parameters: dict, program: Program) -> None:
    """Be the shim, and in its fork the agent."""
    try:
        is_agent = keep(folder, parameters)
    except OSError as error:
        sys.exit(str(error))
    if is_agent:
        program.run()


def keep(folder: str, parameters: dict) -> bool:
    """Keep the agent until its end. True in the agent itself, at its beginning."""
    os.setsid()
    for number in (*_IGNORED, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    # Before there is a child: an agent whose output nobody could keep must not begin.
    log = Log(f"{folder}/agent.log", parameters["log_bytes"])
    ends = _wakes_on_child()
    reader, writer = os.pipe()
    gate, opener = os.pipe()
    # Held back until the agent listens: a TERM in its first moments would leave no word in its log.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    child = os.fork()
    if not child:
        return _may_begin(gate, opener, output=writer)
    os.close(writer)
    os.close(gate)
    try:
        shim, agent = _identity(os.getpid()), _identity(child)
        _write(f"{folder}/process.json", {**parameters["record"], "shim": shim, "child": agent})
    except OSError:
        # It would end by itself as we do, but a moment later, when the worker has been told that nothing runs.
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        raise
    # Only now: whatever kills us, nothing has begun of which no record tells.
    os.write(opener, b"!")
    os.close(opener)
    _let_go_of_worker()
    exit_code = _copy_until_end(child, reader, ends, log)
    _write(f"{folder}/exit.json", {"exit_code": exit_code, "at": time.time()})
    return False


def _may_begin(gate: int, opener: int, *, output: int) -> bool:
    """Make the fork a process as the worker would have started it; False where the shim died before its record."""
    for descriptor in (1, 2):
        os.dup2(output, descriptor)
    os.close(opener)
    is_open = bool(os.read(gate, 1))
    # The shim's locks, too: an agent that kept them would hold them for whatever it leaves behind.
    os.closerange(3, max(map(int, os.listdir("/proc/self/fd"))) + 1)
    signal.set_wakeup_fd(-1)
    for number in (*_IGNORED, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    return is_open


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
