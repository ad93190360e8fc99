"""Stops what a killed owner of the data folder left running. Processes are identified by what they show, not by pid."""

import os
import signal
from pathlib import Path

import psutil

from devserver.servers import embedded_redis
from workspaces.provisioners.host_processes import find_processes, signal_all, wait_until_gone

# Every child of the supervisor has this environment variable; its value is the data folder.
SUPERVISED_FROM = "SLIPWAY_SUPERVISED_FROM"
_STOP_SECONDS = 10.0
_KILL_SECONDS = 5.0


def stop_stale_processes(folder: Path) -> int:
    """Stop the children and servers of an earlier owner of this folder; return how many there were.

    Only the current owner of the folder may call this, before it starts anything of its own.
    """

    def is_child(process: psutil.Process) -> bool:
        variables = process.environ()
        # A workspace's own process is meant to outlive its platform.
        return (
            variables.get(SUPERVISED_FROM) == str(folder)
            and "LAUNCH_ID" not in variables
            and process.pid != os.getpid()
        )

    def is_postgres(process: psutil.Process) -> bool:
        # Only the postmaster shows its data folder; its child processes show what they do.
        return process.name() == "postgres" and str(folder / "postgres" / "data") in process.cmdline()

    def is_redis(process: psutil.Process) -> bool:
        # Redis overwrites its command line, so look at its working folder.
        return process.name() in embedded_redis.PROGRAMS and Path(process.cwd()) == folder / "redis"

    stopped = 0
    # Children first, while the servers that they use still run.
    for is_wanted, polite in ((is_child, signal.SIGTERM), (is_postgres, signal.SIGINT), (is_redis, signal.SIGTERM)):
        found = find_processes(is_wanted)
        for number, seconds in ((polite, _STOP_SECONDS), (signal.SIGKILL, _KILL_SECONDS)):
            signal_all(found, number)
            if wait_until_gone(found, seconds=seconds):
                break
        stopped += len(found)
    return stopped
