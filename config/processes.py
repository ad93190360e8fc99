"""Other processes as Linux shows them: who is that, is it still the same one, and how to end it for certain."""

import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
_POLL_SECONDS = 0.02


@dataclass(frozen=True)
class Identity:
    """One process for ever: a pid is given out again, a pid with its start time is not."""

    pid: int
    # Clock ticks since boot; field 22 of /proc/<pid>/stat.
    started: int

    @property
    def is_alive(self) -> bool:
        """Tell whether this very process still runs; a zombie is dead."""
        fields = _stat(self.pid)
        return fields is not None and fields[0] != "Z" and int(fields[19]) == self.started


def identify(pid: int) -> Identity | None:
    """Return the process' identity, or None where there is no such process."""
    fields = _stat(pid)
    return Identity(pid=pid, started=int(fields[19])) if fields else None


def _stat(pid: int) -> list[str] | None:
    try:
        text = (PROC / str(pid) / "stat").read_text()
    except OSError:
        return None
    # The name in brackets may hold spaces and brackets itself.
    return text.rpartition(")")[2].split()


def all_pids() -> Iterator[int]:
    """Yield the pids that exist now."""
    return (int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit())


def session_members(session: int) -> list[int]:
    """Return the living processes of a session, its leader included."""
    members = []
    for pid in all_pids():
        fields = _stat(pid)
        if fields and fields[0] != "Z" and int(fields[3]) == session:
            members.append(pid)
    return members


def works_in(pid: int, folder: Path) -> bool:
    """Tell whether the process has the folder, or one below it, as its working folder or in its command line."""
    try:
        if Path(os.readlink(PROC / str(pid) / "cwd")).is_relative_to(folder):
            return True
        return os.fsencode(folder) in (PROC / str(pid) / "cmdline").read_bytes()
    except OSError:
        return False


def environment(pid: int) -> dict[str, str]:
    """Return the environment that the process was started with; empty where it can't be read."""
    try:
        raw = (PROC / str(pid) / "environ").read_bytes()
    except OSError:
        return {}
    pairs = (item.partition(b"=") for item in raw.split(b"\0") if b"=" in item)
    return {os.fsdecode(name): os.fsdecode(value) for name, _, value in pairs}


def send(pids: Iterable[int], signal_number: signal.Signals) -> None:
    """Signal each process; one that is gone already is no error."""
    for pid in pids:
        try:
            os.kill(pid, signal_number)
        except (ProcessLookupError, PermissionError):
            continue


def wait_until(condition: Callable[[], bool], *, seconds: float) -> bool:
    """Wait until the condition holds; return whether it did in time."""
    limit = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= limit:
            return False
        time.sleep(_POLL_SECONDS)
    return True
