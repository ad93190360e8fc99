"""What a client asks for when it opens a stream. Everything is checked before anything is sent."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.core.exceptions import DisallowedHost, TooManyFieldsSent
from django.core.handlers.asgi import ASGIRequest
from django.db import DatabaseError

from events.live import filters
from events.live.authorization import django_request, require_authorization
from events.live.client_writer import ClientWriter, Send
from events.live.event_batch import StreamFormat, StreamOptions
from events.live.filters import FIELDS, BadFilter, Filter
from events.live.log_reader import LogUnavailable
from events.live.stream import BAD_HOST, Stream, StreamRefused
from events.live.stream_hub import StreamHub
from events.parameters import WrongParameters, check_parameters

# Fits a 64-bit integer.
_POSITION = re.compile(r"[0-9]{1,18}")


def own_path(scope: Mapping[str, Any]) -> str:
    """Return the path of a scope without the prefix below which Slipway is served."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path") or "")


@dataclass(frozen=True, kw_only=True)
class StreamRequest:
    """A checked request for the events behind the position `after`. `end` is the log's last position at that time."""

    filter: Filter
    after: int
    end: int
    workspace_id: UUID | None

    def stream(self, hub: StreamHub, scope: Mapping[str, Any], send: Send, *, format: StreamFormat) -> Stream:
        """Return the stream that writes to the client by `send`."""
        return Stream(
            options=StreamOptions(filter=self.filter, format=format),
            writer=ClientWriter(send, limit_bytes=hub.limits.queue_bytes),
            queue_bytes=hub.limits.queue_bytes,
            scope=scope,
            workspace_id=self.workspace_id,
        )


async def check_request(hub: StreamHub, scope: Mapping[str, Any], *, workspace_id: UUID | None = None) -> StreamRequest:
    """Return what a client asks for; `workspace_id` if it is one workspace's stream.

    Raises StreamRefused if the method, the host or a parameter is invalid, if the client may not read the stream, or if
    the log can't be read.
    """
    # A WebSocket's scope has no method.
    if scope.get("method", "GET") != "GET":
        why = "The live stream answers GET only."
        raise StreamRefused(405, why, code="method_not_allowed", headers={"Allow": "GET"})
    request = django_request(scope)
    try:
        request.get_host()
        await require_authorization(scope, workspace_id, authorize=hub.authorize)
        wanted = _parse_filter(request, workspace_id)
        after = _parse_position(request)
        end = await hub.reader.last_position()
    except TooManyFieldsSent:
        raise StreamRefused(400, "The request has too many parameters.", code="bad_request") from None
    except DisallowedHost:
        raise StreamRefused(400, BAD_HOST, code="bad_host") from None
    except (LogUnavailable, DatabaseError):
        why = "The event log can't be read now. Try again in a few seconds."
        raise StreamRefused(503, why, code="unavailable", headers={"Retry-After": "2"}) from None
    if after is not None and after > end:
        raise _bad_position(f"Position {after} lies ahead of the log, which ends at {end}. Take a new snapshot.")
    return StreamRequest(filter=wanted, after=end if after is None else after, end=end, workspace_id=workspace_id)


def _parse_filter(request: ASGIRequest, workspace_id: UUID | None) -> Filter:
    try:
        check_parameters(request.GET, (*FIELDS, "after"), repeatable=FIELDS)
        asked = filters.parse(request.GET)
    except WrongParameters as error:
        raise StreamRefused(400, str(error), code="bad_filter", fields=error.fields) from None
    except BadFilter as error:
        raise StreamRefused(400, str(error), code="bad_filter", fields={error.field: str(error)}) from None
    if workspace_id is None:
        return asked
    if asked.workspaces or asked.subtrees:
        field = "workspace" if asked.workspaces else "subtree"
        sentence = "This stream is limited to one workspace already."
        raise StreamRefused(400, sentence, code="bad_filter", fields={field: sentence})
    return Filter(events=asked.events, runtimes=asked.runtimes, workspaces=frozenset([workspace_id]))


def _parse_position(request: ASGIRequest) -> int | None:
    # A browser that reconnects sends the header with the URL that it was given first, so the header is newer.
    for field, text in (
        ("Last-Event-ID", request.headers.get("Last-Event-ID") or None),
        ("after", request.GET.get("after")),
    ):
        if text is not None:
            if not _POSITION.fullmatch(text):
                raise _bad_position(f"{field} must be a position: a whole number from 0 on.", field)
            return int(text)
    return None


def _bad_position(error: str, field: str = "after") -> StreamRefused:
    return StreamRefused(400, error, code="bad_position", fields={field: error})
