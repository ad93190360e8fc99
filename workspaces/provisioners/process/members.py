"""Which processes of this host belong to a launch."""

import os
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psutil

from workspaces.provisioners.host_processes import children_of, is_alive
from workspaces.provisioners.process import cgroups, namespaces
from workspaces.provisioners.process.folders import LaunchFolder
from workspaces.provisioners.process.records import Record

_STUCK_SECONDS = 0.1


class Seen(NamedTuple):
    """A process as listed by `look`. Its session is the pid of the session's leader."""

    process: psutil.Process
    pid: int
    parent: int
    session: int
    name: str
    cgroup: Path | None


class Members(NamedTuple):
    """The living processes of a launch, and its cgroup if any of them is in it."""

    supervisors: list[psutil.Process]
    others: list[psutil.Process]
    cgroup: Path | None

    @property
    def all(self) -> list[psutil.Process]:
        """Return the supervisors and the others."""
        return [*self.supervisors, *self.others]


def leads(process: psutil.Process, folder: LaunchFolder) -> bool:
    """Return whether a process is this launch's supervisor. Its agent has the same name, but leads no session."""
    try:
        return process.name() == folder.process_name and os.getsid(process.pid) == process.pid and is_alive(process)
    except (psutil.NoSuchProcess, ProcessLookupError):
        return False


def may_be_killed(supervisor: psutil.Process) -> bool:
    """Return whether a supervisor that runs on may be killed.

    If it is the first process of a namespace, nothing outlives it. Otherwise its descendants would be lost: then only
    if it is stuck, which shows in zombies that it doesn't collect.
    """
    if namespaces.pids_of(supervisor.pid)[1:][-1:] == [1]:
        return True
    before = children_of(supervisor.pid)
    time.sleep(_STUCK_SECONDS)
    with suppress(psutil.NoSuchProcess):
        living = any(is_alive(psutil.Process(pid)) for pid in before)
        return not living and before == children_of(supervisor.pid)
    return False


def look() -> list[Seen]:
    """Return the processes of this host, without this one."""
    seen = []
    for process in psutil.process_iter(["ppid", "name"]):
        with suppress(ProcessLookupError):
            session, cgroup = os.getsid(process.pid), cgroups.of_process(process.pid)
            parent, name = process.info["ppid"], process.info["name"]
            seen.append(Seen(process, process.pid, parent, session, name, cgroup))
    return [each for each in seen if each.pid != os.getpid()]


def shows_launch(seen: Seen, folder: LaunchFolder) -> bool:
    """Return whether a process has the launch's name, as its agent has, or the launch's ID in its environment."""
    try:
        is_from_launch = seen.process.environ().get("LAUNCH_ID") == str(folder.key.launch_id)
    except psutil.Error:
        is_from_launch = False
    return is_from_launch or seen.name == folder.process_name


def members(folder: LaunchFolder, record: Record | None, seen: Sequence[Seen]) -> Members:
    """Return the launch's supervisor, found by its name, and its other processes: the supervisor's descendants.

    If the supervisor was killed, the others are the processes in its cgroup and session, and their descendants.
    """
    named = [each for each in seen if each.name == folder.process_name]
    leaders = {each.pid for each in named if each.session == each.pid}
    # The record's session is believed only if a process in it shows this launch. It keeps its ID while it has members.
    session = record.supervisor[0] if record else None
    if not any(shows_launch(each, folder) for each in seen if each.session == session):
        session = None
    cgroup = next((path for each in seen if (path := cgroups.enclosing(folder.cgroup_name, each.cgroup))), None)
    inside = {each.pid for each in seen if cgroup and each.cgroup and each.cgroup.is_relative_to(cgroup)}
    pids = leaders | inside | {each.pid for each in seen if each.session == session}
    while children := {each.pid for each in seen if each.parent in pids} - pids:
        pids |= children
    living = [each.process for each in seen if each.pid in pids and is_alive(each.process)]
    supervisors = [process for process in living if process.pid in leaders]
    return Members(supervisors, [process for process in living if process.pid not in leaders], cgroup)
