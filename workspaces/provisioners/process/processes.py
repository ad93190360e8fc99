"""Processes of this host, read from /proc: who lives, who carries a launch's id, and which host this is."""

import os
from pathlib import Path
from typing import NamedTuple

_DEAD_STATES = frozenset({"Z", "X", "x"})


class Process(NamedTuple):
    """A process that no later one with the same pid can be taken for: its start time (clock ticks) goes with it."""

    pid: int
    started_at: int


class Host(NamedTuple):
    """Where a pid means something: this machine, since this boot, in this pid namespace."""

    machine_id: str
    hostname: str
    boot_id: str
    pid_namespace: str

    def is_same_machine(self, other: "Host") -> bool:
        # Both must match: machine ids are copied with images, hostnames are given twice.
        return (self.machine_id, self.hostname) == (other.machine_id, other.hostname)


class Stat(NamedTuple):
    """What of /proc/<pid>/stat is needed here."""

    state: str
    session: int
    started_at: int


def this_host() -> Host:
    """Return where we are. Raises OSError where there is no /proc."""
    return Host(
        machine_id=_text_of("/etc/machine-id"),
        hostname=os.uname().nodename,
        boot_id=Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
        pid_namespace=os.readlink("/proc/self/ns/pid"),
    )


def stat_of(pid: int) -> Stat | None:
    """Return the process's stat, or None if there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name in brackets may itself hold brackets and spaces: fields are counted from the last one.
    fields = text.rpartition(")")[2].split()
    return Stat(state=fields[0], session=int(fields[3]), started_at=int(fields[19]))


def is_alive(process: Process) -> bool:
    """Say whether this very process still runs. A zombie is dead, and so is one whose pid was given away."""
    stat = stat_of(process.pid)
    return stat is not None and stat.state not in _DEAD_STATES and stat.started_at == process.started_at


def carrying(launch_id: str, *, session_of: Process | None = None) -> list[Process]:
    """Return the living processes of a launch, wherever they fled to.

    They carry LAUNCH_ID in the environment that /proc shows of them, or belong to the session of its first process.
    """
    session = session_of.pid if session_of and _is_ours(session_of) else None
    wanted = f"LAUNCH_ID={launch_id}".encode()
    found = []
    for pid in (int(entry) for entry in os.listdir("/proc") if entry.isdigit()):
        stat = stat_of(pid)
        if stat is None or stat.state in _DEAD_STATES or pid == os.getpid():
            continue
        if stat.session == session or wanted in _environment_of(pid):
            found.append(Process(pid, stat.started_at))
    return found


def values_of(name: str) -> set[str]:
    """Return the values that this environment variable has in the living processes of this host."""
    prefix = f"{name}=".encode()
    found = set()
    for pid in (int(entry) for entry in os.listdir("/proc") if entry.isdigit()):
        stat = stat_of(pid)
        if stat is not None and stat.state not in _DEAD_STATES:
            found |= {entry[len(prefix) :] for entry in _environment_of(pid) if entry.startswith(prefix)}
    return {os.fsdecode(value) for value in found}


def signal_all(processes: list[Process], number: int) -> None:
    """Send the signal to each that still is the process it was."""
    for process in processes:
        if is_alive(process):
            try:
                os.kill(process.pid, number)
            except ProcessLookupError:
                continue


def _is_ours(leader: Process) -> bool:
    # A session keeps its number while it has members, even without its leader; a new leader has a new start time.
    stat = stat_of(leader.pid)
    return stat is None or stat.started_at == leader.started_at


def _environment_of(pid: int) -> list[bytes]:
    try:
        # What a shim and its agent show is padded.
        return Path(f"/proc/{pid}/environ").read_bytes().rstrip(b"\0").split(b"\0")
    except OSError:
        return []


def _text_of(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""
