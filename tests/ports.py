"""Ports for the servers that tests start, each given once: who asks the system for any port gets none of these.

The system may give a port that it has named free to somebody else before our server listens there.
"""

import os
import random
import socket
from itertools import cycle, islice

from devserver.servers.embedded import LOCALHOST

# Below the ports that Linux hands out.
_LOWEST, _HIGHEST = 10_240, 32_000


def _own_ports():
    """Return this test worker's share, from anywhere in it on: another run's worker has the same one."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    size = (_HIGHEST - _LOWEST) // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    share = range(_LOWEST + worker * size, _LOWEST + (worker + 1) * size)
    return islice(cycle(share), random.SystemRandom().randrange(size), None)


_PORTS = _own_ports()


def free_port():
    """Return a port of this host that nobody listens on, and that no other test is given."""
    return next(port for port in _PORTS if _is_free(port))


def _is_free(port):
    with socket.socket() as probe:
        try:
            probe.bind((LOCALHOST, port))
        except OSError:
            return False
        return True
