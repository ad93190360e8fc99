"""What an owner that was killed left running: found by what the processes themselves show, never by a pid alone."""

import os
import signal
from pathlib import Path

from devserver.processes import PROC, environment, living, wait_until
from devserver.servers import embedded_redis
from workspaces.provisioners.process.processes import Process, is_alive, signal_all

# In the environment of every child of the supervisor; its value is the data folder.
SUPERVISED_FROM = "SLIPWAY_SUPERVISED_FROM"
_STOP_SECONDS = 10.0
_KILL_SECONDS = 5.0


def stop_stale_processes(folder: Path) -> int:
    """End the children and servers of an earlier owner of this folder; return how many there were.

    Only the folder's present owner may call it, before it starts anything of its own.
    """
    children = [process for process in living() if _is_child(process.pid, folder)]
    _stop(children, signal.SIGTERM)
    postgres = [process for process in living() if _is_postgres(process.pid, folder)]
    _stop(postgres, signal.SIGINT)
    redis = [process for process in living() if _is_redis(process.pid, folder)]
    _stop(redis, signal.SIGTERM)
    return len(children) + len(postgres) + len(redis)


def _stop(found: list[Process], polite: signal.Signals) -> None:
    for number, seconds in ((polite, _STOP_SECONDS), (signal.SIGKILL, _KILL_SECONDS)):
        signal_all(found, number)
        if wait_until(lambda: not any(is_alive(process) for process in found), seconds=seconds):
            return


def _is_child(pid: int, folder: Path) -> bool:
    variables = environment(pid)
    # A workspace's own process outlives its platform on purpose.
    return variables.get(SUPERVISED_FROM) == str(folder) and "LAUNCH_ID" not in variables and pid != os.getpid()


def _is_postgres(pid: int, folder: Path) -> bool:
    # Only the postmaster shows its data folder; its own children show what they do.
    return _name(pid) == "postgres" and os.fsencode(folder / "postgres" / "data") in _words(pid)


def _is_redis(pid: int, folder: Path) -> bool:
    # A Redis rewrites its command line; its working folder stays.
    if _name(pid) not in embedded_redis.PROGRAMS:
        return False
    try:
        return Path(os.readlink(PROC / str(pid) / "cwd")) == folder / "redis"
    except OSError:
        return False


def _name(pid: int) -> str:
    try:
        return (PROC / str(pid) / "comm").read_text().strip()
    except OSError:
        return ""


def _words(pid: int) -> list[bytes]:
    try:
        return (PROC / str(pid) / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return []
