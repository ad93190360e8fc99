"""Processor time from /proc: of processes with all that they started, or of one alone, in milliseconds."""

import os
from collections.abc import Iterable
from pathlib import Path

_MS_A_TICK = 1000 / os.sysconf("SC_CLK_TCK")


def of_trees(roots: Iterable[int]) -> float:
    """Return the time of these processes and of their living descendants; processes that have ended do not count."""
    children = _children()
    waiting, total = list(roots), 0.0
    while waiting:
        pid = waiting.pop()
        waiting += children.get(pid, [])
        # utime and stime, of all threads.
        total += of_process(pid)
    return total


def of_process(pid: int) -> float:
    """Return the time of a process with all its threads."""
    return sum(_fields(pid)[11:13]) * _MS_A_TICK


def of_ended_children(pid: int) -> float:
    """Return the time of the children that a process has waited for, and of theirs."""
    return sum(_fields(pid)[13:15]) * _MS_A_TICK


def of_one(pid: int) -> float:
    """Return the time of a process with a single thread, exactly: a short life is less than a tick."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e6


def _children() -> dict[int, list[int]]:
    children: dict[int, list[int]] = {}
    for pid in (int(entry) for entry in os.listdir("/proc") if entry.isdigit()):
        fields = _fields(pid)
        children.setdefault(fields[1], []).append(pid)
    return children


def _fields(pid: int) -> list[int]:
    """Return the fields of /proc/<pid>/stat after the name, the state as 0; zeros for a process that is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return [0] * 50
    return [0, *map(int, text.rpartition(")")[2].split()[1:])]
