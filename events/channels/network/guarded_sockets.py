"""Guards the connections of Apprise, which opens its own with requests and so with urllib3."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from django.conf import settings
from requests import PreparedRequest, Response
from requests.adapters import HTTPAdapter
from urllib3.util import connection

from events.channels.network.addresses import Purpose, origin_of, resolve_allowed
from events.channels.network.outbound_proxy import is_proxy, judge_target

_is_guarded: ContextVar[bool] = ContextVar("is_guarded", default=False)
_create_connection = connection.create_connection
_send = HTTPAdapter.send


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
    host, port = address
    if _is_guarded.get() and not is_proxy(host, port):
        # Connect to the address that was checked: a second look-up may give another one.
        address = (resolve_allowed(host.strip("[]"), port, purpose=Purpose.CHANNEL), port)
    return _create_connection(address, *arguments, **keywords)


def send_through_our_proxy(adapter: HTTPAdapter, request: PreparedRequest, **keywords: Any) -> Response:
    """Stand in for `HTTPAdapter.send`, which each hop of a redirect uses: take no proxy but OUTBOUND_PROXY."""
    if _is_guarded.get():
        scheme, host, port = origin_of(request.url or "")
        is_proxied = judge_target(host or "", port or 0)
        keywords["proxies"] = {scheme: settings.OUTBOUND_PROXY} if is_proxied else {}
        # The login of a proxy of the environment, which requests adds to a redirect.
        request.headers.pop("Proxy-Authorization", None)
    return _send(adapter, request, **keywords)


# Neither has a hook for this.
connection.create_connection = create_guarded_connection
HTTPAdapter.send = send_through_our_proxy  # type: ignore[method-assign,assignment]
