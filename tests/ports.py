"""Ports for the servers that tests start, each used once, below the range from which Linux assigns free ports.

A port that Linux assigned and we closed again may go to another process before our server listens on it.
"""

import os
import random
import socket
from itertools import cycle, islice

from devserver.servers.embedded import LOCALHOST

# Below the range from which Linux assigns ports.
_LOWEST, _HIGHEST = 10_240, 32_000


def _own_ports():
    """Return this test worker's share, from a random start, since workers of another run have the same share."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    size = (_HIGHEST - _LOWEST) // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    share = range(_LOWEST + worker * size, _LOWEST + (worker + 1) * size)
    return islice(cycle(share), random.SystemRandom().randrange(size), None)


_PORTS = _own_ports()


def free_port():
    """Return a free port of this host that no other test gets."""
    return next(port for port in _PORTS if _is_free(port))


def _is_free(port):
    with socket.socket() as probe:
        try:
            probe.bind((LOCALHOST, port))
        except OSError:
            return False
        return True
