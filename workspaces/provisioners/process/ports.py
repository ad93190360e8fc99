"""Free ports, each given to one launch: reserved by a lock that lives as long as the launch's shim."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from workspaces.provisioners.process.folders import lock

ATTEMPTS = 100


class Reservation(NamedTuple):
    """A port and the descriptor of its lock, for the shim to inherit."""

    port: int
    descriptor: int


@contextmanager
def reserved_port(folder: Path) -> Iterator[Reservation]:
    """Yield a port of 127.0.0.1 that nothing listens on and no other launch was given. Raises OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for _ in range(ATTEMPTS):
        port = _unbound_port()
        descriptor = os.open(folder / str(port), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if lock(descriptor):
                yield Reservation(port, descriptor)
                return
        finally:
            os.close(descriptor)
    raise OSError(f"no free port was found in {ATTEMPTS} attempts")


def _unbound_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
