"""The host's processes as the supervisor needs them: found by session or environment, waited for."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from workspaces.provisioners.process.processes import Process, stat_of

PROC = Path("/proc")
_DEAD = frozenset({"Z", "X", "x"})
_POLL_SECONDS = 0.02


def identify(pid: int) -> Process | None:
    """Return who has the pid now, or None where nobody who lives has it."""
    stat = stat_of(pid)
    return Process(pid, stat.started_at) if stat and stat.state not in _DEAD else None


def living() -> Iterator[Process]:
    """Yield the processes of this host."""
    for entry in os.listdir(PROC):
        if entry.isdigit() and (process := identify(int(entry))):
            yield process


def session_members(leader: Process) -> list[Process]:
    """Return the living processes of the session that this process led, itself included."""
    now = stat_of(leader.pid)
    # A session keeps its number while it has members; a leader with another start time is another session's.
    if now and now.started_at != leader.started_at:
        return []
    return [process for process in living() if (stat := stat_of(process.pid)) and stat.session == leader.pid]


def environment(pid: int) -> dict[str, str]:
    """Return the environment that the process was started with; empty where it can't be read."""
    try:
        raw = (PROC / str(pid) / "environ").read_bytes()
    except OSError:
        return {}
    pairs = (item.partition(b"=") for item in raw.split(b"\0") if b"=" in item)
    return {os.fsdecode(name): os.fsdecode(value) for name, _, value in pairs}


def wait_until(condition: Callable[[], bool], *, seconds: float) -> bool:
    """Wait until the condition holds; return whether it did in time."""
    limit = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= limit:
            return False
        time.sleep(_POLL_SECONDS)
    return True
