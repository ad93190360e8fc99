"""Processes of this host, as psutil shows them: which are alive, who belongs to a session, and waiting for them."""

import os
import time
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from pathlib import Path

import psutil

_DEAD = frozenset({psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD})
_POLL_SECONDS = 0.02


def is_alive(process: psutil.Process) -> bool:
    """Return whether this very process still runs; a zombie doesn't, nor does a later process with the same pid."""
    try:
        # While its other threads still end, a process looks like a zombie but may hold its port.
        return process.is_running() and (process.status() not in _DEAD or process.num_threads() > 1)
    except psutil.NoSuchProcess:
        return False


def start_time(process: psutil.Process) -> float:
    """Return when the process started, in seconds after the host's boot; with the pid it identifies the process.

    Unlike `create_time()` it stays the same when the clock of the host is set. Raises psutil.NoSuchProcess.
    """
    try:
        fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError) as error:
        # Not every OSError: a host that lacks file descriptors says nothing about the process.
        raise psutil.NoSuchProcess(process.pid) from error
    return round(int(fields[19]) / os.sysconf("SC_CLK_TCK"), 2)


def find_processes(is_wanted: Callable[[psutil.Process], bool]) -> list[psutil.Process]:
    """Return the living processes that meet a condition; those that end meanwhile, or can't be read, are left out."""
    found = []
    for pid in psutil.pids():
        try:
            process = psutil.Process(pid)
            if is_wanted(process) and is_alive(process):
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def session_members(leader: psutil.Process) -> list[psutil.Process]:
    """Return the living processes of the session that this process leads or led, itself included."""
    # A session outlives its leader. If another process has the leader's pid now, the session is that one's.
    if psutil.pid_exists(leader.pid) and not leader.is_running():
        return []
    return find_processes(lambda process: os.getsid(process.pid) == leader.pid)


def children_of(pid: int) -> set[int]:
    """Return the pids of a process's children, zombies too; none if it has ended."""
    with suppress(OSError):
        return set(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))
    # Not every kernel has this file, which shows them at one moment.
    with suppress(psutil.NoSuchProcess):
        return {child.pid for child in psutil.Process(pid).children()}
    return set()


def signal_all(processes: Iterable[psutil.Process], number: int) -> None:
    """Send a signal to each process that still runs and that this user may signal."""
    for process in processes:
        with suppress(psutil.Error):
            process.send_signal(number)


def wait_until_gone(processes: Collection[psutil.Process], *, seconds: float) -> bool:
    """Wait until none of the processes runs any more; return whether that happened in time."""
    return wait_until(lambda: not any(map(is_alive, processes)), seconds=seconds)


def wait_until(condition: Callable[[], bool], *, seconds: float) -> bool:
    """Wait until the condition holds; return whether it did in time."""
    limit = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= limit:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def find_process(pid: int, started_at: float) -> psutil.Process | None:
    """Return the process with this pid and `start_time`, a zombie too, or None if it has ended."""
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        if start_time(process) == started_at:
            return process
    return None
