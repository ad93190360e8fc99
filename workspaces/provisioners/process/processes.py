"""Processes of this host: whether a process is alive, and which processes belong to a launch."""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psutil

_DEAD_STATES = frozenset({"Z", "X", "x"})


class Process(NamedTuple):
    """A pid and its start in clock ticks since boot, which differs from a later process with the same pid.

    Records keep it, so psutil's `create_time` would not do: it changes when the clock is set.
    """

    pid: int
    started_at: int


class Stat(NamedTuple):
    """The fields of /proc/<pid>/stat that are needed here."""

    state: str
    started_at: int


class Seen(NamedTuple):
    """A process as listed by `look`."""

    pid: int
    parent: int | None
    session: int | None
    command: list[str]


def stat_of(pid: int) -> Stat | None:
    """Return the process's stat, or None if there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name in brackets may contain brackets and spaces, so count fields from the last bracket.
    fields = text.rpartition(")")[2].split()
    return Stat(state=fields[0], started_at=int(fields[19]))


def is_alive(process: Process) -> bool:
    """Tell whether this process still runs. A zombie does not, nor does one whose pid another process has."""
    stat = stat_of(process.pid)
    return stat is not None and stat.state not in _DEAD_STATES and stat.started_at == process.started_at


def is_zombie(process: Process) -> bool:
    """Tell whether this process has ended but its parent has not collected its exit."""
    stat = stat_of(process.pid)
    return stat is not None and stat.state == "Z" and stat.started_at == process.started_at


def look() -> list[Seen]:
    """Return the processes of this host."""
    seen = psutil.process_iter(["ppid", "cmdline"])
    return [Seen(each.pid, each.info["ppid"], session_of(each.pid), each.info["cmdline"] or []) for each in seen]


def family(seen: Iterable[Seen], roots: set[int], *, leader: Process | None) -> list[Process]:
    """Return the living processes among the roots and in the leader's session, with all their descendants."""
    # A session keeps its ID while it has members. If the leader's pid has another start, the session is another one.
    is_same = leader and ((stat := stat_of(leader.pid)) is None or stat.started_at == leader.started_at)
    session = leader.pid if leader and is_same else -1
    pids = roots | {each.pid for each in seen if each.session == session}
    while children := {each.pid for each in seen if each.parent in pids} - pids:
        pids |= children
    stats = {pid: stat_of(pid) for pid in sorted(pids - {os.getpid()})}
    return [Process(pid, stat.started_at) for pid, stat in stats.items() if stat and stat.state not in _DEAD_STATES]


def command_of(process: Process) -> list[str]:
    """Return the command line of this process if it leads a session, else nothing."""
    if not is_alive(process) or session_of(process.pid) != process.pid:
        return []
    with suppress(psutil.Error):
        return psutil.Process(process.pid).cmdline()
    return []


def session_of(pid: int) -> int | None:
    """Return the session of a process, or None if it has ended."""
    with suppress(ProcessLookupError):
        return os.getsid(pid)
    return None


def signal_all(processes: Iterable[Process], number: int) -> None:
    """Send the signal to each process that still runs."""
    for process in processes:
        if is_alive(process):
            with suppress(ProcessLookupError):
                os.kill(process.pid, number)
