"""Read the server's live streams, and go on where they were interrupted."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
from httpx_sse import EventSource, ServerSentEvent, SSEError

from slipway.answers import shapes
from slipway.client import Client, Query, parsed
from slipway.errors import CommandFailed, ExitCode
from slipway.output import warn

_KEEP_ALIVE = "KEEP_ALIVE"
_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 30.0


def live_events(
    client: Client,
    query: Query,
    *,
    after: int | None = None,
    tell: Callable[[str], None] = warn,
    on_open: Callable[[], None] = lambda: None,
) -> Iterator[dict[str, Any]]:
    """Yield envelopes as they come, for ever. No logged event is missed or repeated.

    `tell` gets a sentence for each interruption; `on_open` is called when a connection is open. Raises CommandFailed if
    the server refuses the stream, or can't be reached at first.
    """
    position = "" if after is None else str(after)
    for sent in messages(client, "/events/stream", query, after=position, tell=tell, on_open=on_open):
        envelope = parsed(sent.data, shapes.ENVELOPE, url=client.url)
        if envelope["event"] != _KEEP_ALIVE:
            yield envelope


def messages(
    client: Client,
    path: str,
    query: Query,
    *,
    after: str = "",
    tell: Callable[[str], None] = warn,
    on_open: Callable[[], None] = lambda: None,
) -> Iterator[ServerSentEvent]:
    """Yield server-sent events for ever, over as many connections as it takes, behind the ID `after`.

    `tell` and `on_open` are called as by `live_events`. Raises CommandFailed if the server refuses the stream, or
    can't be reached at first.
    """
    last, pause, is_connected = after, _FIRST_PAUSE_SECONDS, False
    while True:
        try:
            for number, sent in enumerate(one_connection(client, path, query, last_id=last)):
                # The server sends a first message at once.
                if number == 0:
                    on_open()
                is_connected, pause, last = True, _FIRST_PAUSE_SECONDS, sent.id or last
                # A comment that only moves the ID on is a message without data.
                if sent.data:
                    yield sent
        except CommandFailed as error:
            if error.exit_code is not ExitCode.UNAVAILABLE or not is_connected:
                raise
            tell(f"{error} Connecting again.")
        time.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)


def one_connection(client: Client, path: str, query: Query, *, last_id: str) -> Iterator[ServerSentEvent]:
    """Yield the messages of one connection until it ends. Raises CommandFailed."""
    headers = {"Last-Event-ID": last_id} if last_id else {}
    try:
        with client.stream(path, accept="text/event-stream", query=query, **headers) as response:
            yield from EventSource(response).iter_sse()
    except httpx.RequestError as error:
        raise client.unreachable(error) from error
    except SSEError as error:
        raise CommandFailed(f"{client.url} sends no events: {error}", ExitCode.UNAVAILABLE) from error
