"""Locks of a launch and of its port, held as long as the launch's supervisor runs.

They use fcntl instead of filelock: the supervisor inherits the descriptor, so the lock is never free in between. When
the worker releases a FileLock, it unlocks the file for all processes that share the descriptor.
"""

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from workspaces.provisioners.files import open_regular

ATTEMPTS = 100


@contextmanager
def locked(path: Path, kind: int = fcntl.LOCK_EX) -> Iterator[int | None]:
    """Yield the descriptor of the held lock, or None if another process holds it. Raises OSError."""
    descriptor = open_regular(path, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        yield descriptor
    except BlockingIOError:
        yield None
    finally:
        os.close(descriptor)


def is_locked(path: Path) -> bool:
    """Tell whether the launch of this lock runs or is being started."""
    try:
        # A shared lock, so that two readers don't mistake each other for a launch.
        with locked(path, fcntl.LOCK_SH) as descriptor:
            return descriptor is None
    except FileNotFoundError:
        return False


@contextmanager
def reserved_port(folder: Path) -> Iterator[tuple[int, int]]:
    """Yield a free port of 127.0.0.1 that no other launch has, and its lock. Raises OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for _ in range(ATTEMPTS):
        port = _unbound_port()
        with locked(folder / str(port)) as descriptor:
            if descriptor is not None:
                yield port, descriptor
                return
    raise OSError(f"no free port was found in {ATTEMPTS} attempts")


def _unbound_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
