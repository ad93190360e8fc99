"""Finds the processes of a launch by what they show, as an operator would with ps."""

import os
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import psutil

from workspaces.provisioners.host_processes import is_alive

# What a hostile agent runs.
GETAWAYS = Path(__file__).parent / "workspaces" / "provisioners" / "process" / "getaways.py"


def processes_of(launch_id):
    """Return the living processes with this launch's name or its ID in their environment, the oldest first."""
    found = []
    for process in psutil.process_iter():
        try:
            is_ours = process.name() == name_of(launch_id) or process.environ().get("LAUNCH_ID") == str(launch_id)
        except psutil.Error:
            continue
        if is_ours and is_alive(process):
            found.append(process)
    return sorted(found, key=lambda process: (process.create_time(), process.pid))


def process_inside(leader, pid):
    """Return the process that has this pid in the pid namespace of another one, or None if it has ended."""
    namespace = os.readlink(f"/proc/{leader.pid}/ns/pid")
    for process in psutil.process_iter():
        with suppress(OSError):
            status = Path(f"/proc/{process.pid}/status").read_text()
            pids = next(line.split() for line in status.splitlines() if line.startswith("NSpid:"))
            if pids[-1] == str(pid) and os.readlink(f"/proc/{process.pid}/ns/pid") == namespace:
                return process
    return None


def name_of(launch_id):
    """Return the name of a launch's supervisor and agent: the end of its ID, as much as the kernel takes."""
    return str(launch_id).replace("-", "")[-15:]


def new_mark():
    """Return a word that no other process shows."""
    return str(uuid4().int)[:9]


def marked(mark):
    """Return how many processes of the host show the mark. One that forks all the time is missed by a single look."""
    return sum(_shows(pid, mark) for _ in range(10) for pid in psutil.pids())


def _shows(pid, mark):
    with suppress(OSError):
        return mark.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False
