"""The launch supervisor: `python -I -S supervisor.py LAUNCH_FOLDER`, with its task as JSON on standard input.

It starts the agent as its child, records both, and keeps the newest output and the agent's exit code. As a subreaper
it becomes the parent of orphans that the agent's processes leave behind, and it ends after the last of them. TERM asks
the agent to end, then the orphans; QUIT kills all.

Its standard output closes when the record is complete, and the worker waits for that. It inherits the launch's lock, so
no record and a free lock mean that nothing runs. Standard library only.
"""

import ctypes
import json
import os
import select
import signal
import sys
import time

ROOT = os.path.abspath(f"{__file__}/../../../..")
PR_SET_CHILD_SUBREAPER = 36
KILL_AGAIN_SECONDS = 0.01
HANDLED = (signal.SIGCHLD, signal.SIGTERM, signal.SIGQUIT)
IGNORED = (signal.SIGINT, signal.SIGHUP)


def main(folder: str) -> None:
    # The worker waits for the process that it started, which ends here. The supervisor is a child of init.
    if os.fork():
        os._exit(0)
    os.setsid()
    try:
        task = json.load(sys.stdin)
        os.chdir(task["work"])
        os.environ.clear()
        os.environ.update(task["environment"])
        log = Log(f"{folder}/agent.log", task["log_bytes"])
    except (OSError, ValueError) as error:
        sys.exit(str(error))
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    wakes = listen()
    output, agents_output = os.pipe()
    gate, opener = os.pipe()
    # Blocked until the agent listens: a TERM in its first moments would leave no line in its log.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    agent = os.fork()
    if not agent:
        os.close(opener)
        run_agent(gate, agents_output)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGINT})
    os.close(agents_output)
    cgroup = record(agent, folder, task)
    # Open the gate only now, so that no agent ever runs without a record.
    os.write(opener, b"!")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    Supervisor(agent, folder, output=output, wakes=wakes, log=log, cgroup=cgroup).run()


def record(agent: int, folder: str, task: dict) -> str:
    """Write process.json and return the agent's cgroup, "" without one. Kill the agent and exit if that fails."""
    try:
        cgroup = contain(agent, task["cgroup"])
        who = {"supervisor": identity(os.getpid()), "agent": identity(agent), "cgroup": cgroup}
        write_json(f"{folder}/process.json", {**task["record"], **who})
    except OSError as error:
        os.kill(agent, signal.SIGKILL)
        os.waitpid(agent, 0)
        sys.exit(str(error))
    return cgroup


def listen() -> int:
    """Return a descriptor from which the numbers of arriving signals can be read."""
    wakes, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    for number in HANDLED:
        signal.signal(number, lambda number, frame: None)
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)
    return wakes


def run_agent(gate: int, output: int) -> None:
    """Run the agent once the gate is open. Exit if the supervisor died before it could open the gate."""
    signal.set_wakeup_fd(-1)
    for number in (*HANDLED, *IGNORED):
        signal.signal(number, signal.SIG_DFL)
    for descriptor in (1, 2):
        os.dup2(output, descriptor)
    if not os.read(gate, 1):
        os._exit(1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    # Close the supervisor's locks, too, which the agent's processes would otherwise keep.
    os.closerange(3, max(map(int, os.listdir("/proc/self/fd"))) + 1)
    sys.argv = [f"{ROOT}/agent"]
    sys.path.insert(0, ROOT)
    from agent.supervisor import main as run

    del sys.path[0]
    sys.exit(run(os.environ))


def contain(agent: int, cgroup: str) -> str:
    """Move the agent into the cgroup and return it, or "" if that fails."""
    if not cgroup:
        return ""
    try:
        with open(f"{cgroup}/cgroup.procs", "w") as file:
            file.write(str(agent))
    except OSError:
        return ""
    return cgroup


class Supervisor:
    """Handles output and signals until the agent and all its descendants have ended."""

    def __init__(self, agent: int, folder: str, *, output: int, wakes: int, log: "Log", cgroup: str) -> None:
        os.set_blocking(output, False)
        self._agent, self._exit_path, self._cgroup = agent, f"{folder}/exit.json", cgroup
        self._output, self._wakes, self._log = output, wakes, log
        self._has_agent = True
        self._received: set[int] = set()
        self._asked_to_end: set[int] = set()

    def run(self) -> None:
        """Run until no process of the launch is left."""
        sources = [self._output, self._wakes]
        while self._reap():
            self._end_children()
            wait = KILL_AGAIN_SECONDS if signal.SIGQUIT in self._received else None
            ready, _, _ = select.select(sources, [], [], wait)
            if self._output in ready and not self._copy():
                sources = [self._wakes]
            if self._wakes in ready:
                self._received.update(os.read(self._wakes, 512))

    def _end_children(self) -> None:
        """Pass on the signals received. When a child ends, its children become ours and get them next."""
        if signal.SIGQUIT in self._received:
            signal_all(children(), signal.SIGKILL)
        elif signal.SIGTERM in self._received:
            asked = ({self._agent} if self._has_agent else children()) - self._asked_to_end
            signal_all(asked, signal.SIGTERM)
            self._asked_to_end |= asked

    def _reap(self) -> bool:
        """Collect ended children. Return False if none is left. The agent stays a zombie until its exit is recorded."""
        try:
            while ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                if ended.si_pid == self._agent:
                    self._has_agent = False
                    self._copy(most=1_048_576)
                    exit_code = ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status
                    peaks = {name: number_in(f"{self._cgroup}/{name}") for name in ("memory.peak", "pids.peak")}
                    try:
                        write_json(self._exit_path, {"exit_code": exit_code, "at": time.time(), **peaks})
                    except OSError as error:
                        self._log.add(f"supervisor: {exit_code=} could not be recorded: {error}.\n".encode())
                os.waitpid(ended.si_pid, 0)
        except ChildProcessError:
            return False
        return True

    def _copy(self, *, most: int = 65_536) -> bool:
        """Copy the output that is there now. Return False at its end."""
        while most > 0:
            try:
                chunk = os.read(self._output, 65_536)
            except BlockingIOError:
                return True
            if not chunk:
                return False
            self._log.add(chunk)
            most -= len(chunk)
        return True


class Log:
    """A log of limited size in two files: at half of the limit, the file is renamed to `.1` and a new one starts."""

    def __init__(self, path: str, most_bytes: int) -> None:
        self._path = path
        self._half = max(most_bytes // 2, 1)
        self._descriptor = new_file(path)
        self._size = 0

    def add(self, chunk: bytes) -> None:
        """Write the chunk. Output that can't be written is dropped."""
        while chunk:
            if self._size >= self._half:
                self._rotate()
            part = chunk[: self._half - self._size]
            chunk = chunk[len(part) :]
            self._size += len(part)
            try:
                os.write(self._descriptor, part)
            except OSError:
                continue

    def _rotate(self) -> None:
        self._size = 0
        try:
            os.replace(self._path, f"{self._path}.1")
            fresh = new_file(self._path)
        except OSError:
            # No new file can be made, so empty the open one instead of letting it grow.
            os.ftruncate(self._descriptor, 0)
        else:
            os.close(self._descriptor)
            self._descriptor = fresh


def children() -> set[int]:
    """Return the pids of our children; none on a kernel without this file, where the worker kills them."""
    try:
        with open("/proc/thread-self/children") as file:
            return set(map(int, file.read().split()))
    except OSError:
        return set()


def signal_all(pids: "set[int]", number: int) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except PermissionError:
            # The process of a setuid program belongs to another user.
            continue


def identity(pid: int) -> list[int]:
    """Return the pid and its start time (field 22), in clock ticks since boot."""
    with open(f"/proc/{pid}/stat", errors="replace") as file:
        return [pid, int(file.read().rpartition(")")[2].split()[19])]


def new_file(path: str) -> int:
    """Open a new file. Remove what has its name first, since the agent may have put a link or a FIFO there."""
    if os.path.lexists(path):
        os.unlink(path)
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)


def write_json(path: str, value: dict) -> None:
    """Write the file atomically and flush it to the disk."""
    with open(new_file(f"{path}.new"), "w") as file:
        json.dump(value, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(f"{path}.new", path)


def number_in(path: str) -> "int | None":
    try:
        with open(path) as file:
            return int(file.read())
    except (OSError, ValueError):
        return None


if __name__ == "__main__":
    main(sys.argv[1])
