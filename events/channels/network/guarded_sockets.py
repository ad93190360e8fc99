"""Puts the connections of a library that opens its own (Apprise, by requests and urllib3) under the guard."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from urllib3.util import connection

from events.channels.network.addresses import reachable_address

_is_guarded: ContextVar[bool] = ContextVar("is_guarded", default=False)


@contextmanager
def guarded_sockets() -> Iterator[None]:
    """Let urllib3 connect only where channels may go, redirects included, for as long as the block lasts here."""
    token = _is_guarded.set(True)
    try:
        yield
    finally:
        _is_guarded.reset(token)


def _under_guard(connect: Callable[..., Any]) -> Callable[..., Any]:
    def guarded(address: tuple[str, int], *arguments: Any, **keywords: Any) -> Any:
        if _is_guarded.get():
            host, port = address
            # Judged and connected to: a name can't change its mind in between.
            address = (reachable_address(host.strip("[]"), port), port)
        return connect(address, *arguments, **keywords)

    return guarded


# urllib3 offers no other place; outside of the block above, and in other threads, nothing changes.
connection.create_connection = _under_guard(connection.create_connection)
