"""Read the server's live stream, and go on where it was interrupted."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
from httpx_sse import EventSource, SSEError

from slipway.client import Client, Query
from slipway.errors import CommandFailed, ExitCode
from slipway.output import warn

_KEEP_ALIVE = "KEEP_ALIVE"
_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 30.0


def live_events(
    client: Client, query: Query, *, after: int | None = None, tell: Callable[[str], None] = warn
) -> Iterator[dict[str, Any]]:
    """Yield envelopes as they come, for ever. Interruptions are bridged: no logged event is missed or repeated.

    `tell` gets a sentence for each one. Raises CommandFailed if the server refuses the stream, or can't be reached at
    first.
    """
    position, pause, is_connected = after, _FIRST_PAUSE_SECONDS, False
    while True:
        try:
            for envelope in one_connection(client, query, after=position):
                is_connected, pause = True, _FIRST_PAUSE_SECONDS
                # Ephemeral events have no position; KEEP_ALIVE has that up to which the log was searched.
                position = position if envelope["position"] is None else envelope["position"]
                if envelope["event"] != _KEEP_ALIVE:
                    yield envelope
        except CommandFailed as error:
            if error.exit_code is not ExitCode.UNAVAILABLE or not is_connected:
                raise
            tell(f"{error} Connecting again.")
        time.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)


def one_connection(client: Client, query: Query, *, after: int | None) -> Iterator[dict[str, Any]]:
    """Yield the envelopes of one connection until it ends. Raises CommandFailed."""
    headers = {} if after is None else {"Last-Event-ID": str(after)}
    try:
        with client.stream("/events/stream", accept="text/event-stream", query=query, **headers) as response:
            for sent in EventSource(response).iter_sse():
                if sent.data:
                    yield json.loads(sent.data)
    except httpx.TransportError as error:
        raise client.unreachable(error) from error
    except (SSEError, ValueError) as error:
        raise CommandFailed(f"{client.url} sends no events: {error}", ExitCode.UNAVAILABLE) from error
