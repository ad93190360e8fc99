"""Guards the connections of libraries that open their own through urllib3 (Apprise through requests)."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from urllib3.util import connection

from events.channels.network.addresses import Purpose, resolve_allowed

_is_guarded: ContextVar[bool] = ContextVar("is_guarded", default=False)
_create_connection = connection.create_connection


@contextmanager
def guarded_sockets() -> Iterator[None]:
    """Let urllib3 connect only where channels may go, redirects included. Affects this thread and block only."""
    token = _is_guarded.set(True)
    try:
        yield
    finally:
        _is_guarded.reset(token)


def create_guarded_connection(address: tuple[str, int], *arguments: Any, **keywords: Any) -> Any:
    """Stand in for urllib3's `create_connection`."""
    if _is_guarded.get():
        host, port = address
        # Connect to the address that was checked: a second look-up may give another one.
        address = (resolve_allowed(host.strip("[]"), port, purpose=Purpose.CHANNEL), port)
    return _create_connection(address, *arguments, **keywords)


# urllib3 has no hook for this.
connection.create_connection = create_guarded_connection
