"""Locks that live as long as a launch's supervisor: of the launch, and of its port.

With fcntl, not filelock: the supervisor inherits the descriptor, so the lock passes from worker to supervisor without a
moment in which it is free. A FileLock unlocks the file when the worker releases it, for all who share the descriptor.
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
    """Yield the held lock's descriptor, None where somebody else holds it. Raises OSError."""
    descriptor = open_regular(path, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        yield descriptor
    except BlockingIOError:
        yield None
    finally:
        os.close(descriptor)


def is_locked(path: Path) -> bool:
    """Tell whether the launch of this lock lives or is just being started."""
    try:
        # Shared, so that two that look at once don't take each other for a launch.
        with locked(path, fcntl.LOCK_SH) as descriptor:
            return descriptor is None
    except FileNotFoundError:
        return False


@contextmanager
def reserved_port(folder: Path) -> Iterator[tuple[int, int]]:
    """Yield a port of 127.0.0.1 that nothing listens on and no other launch was given, and its lock. Raises OSError."""
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
