"""What a client asks for when it opens a stream: checked, before anything is sent."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.core.exceptions import DisallowedHost
from django.core.handlers.asgi import ASGIRequest
from django.db import DatabaseError

from events.live import filters
from events.live.authorization import django_request, require_authorization
from events.live.client_writer import ClientWriter, Send
from events.live.event_batch import StreamFormat, StreamOptions
from events.live.filters import BadFilter, Filter
from events.live.log_reader import LogUnavailable
from events.live.stream import Stream, StreamRefused
from events.live.stream_hub import StreamHub

# Positions are 64-bit integers.
_POSITION = re.compile(r"[0-9]{1,18}")
_UNREADABLE = "The event log can't be read now. Try again in a few seconds."


@dataclass(frozen=True, kw_only=True)
class StreamRequest:
    """A checked wish: the events behind `after`, of which those up to `present` are past."""

    filter: Filter
    after: int
    present: int
    workspace_id: UUID | None

    def stream(self, hub: StreamHub, scope: Mapping[str, Any], send: Send, *, shape: StreamFormat) -> Stream:
        """Return the stream for whoever is written to by `send`."""
        queue_bytes = hub.limits.queue_bytes
        return Stream(
            view=StreamOptions(filter=self.filter, shape=shape),
            writer=ClientWriter(send, limit_bytes=queue_bytes),
            queue_bytes=queue_bytes,
            scope=scope,
            workspace_id=self.workspace_id,
        )


async def check_request(hub: StreamHub, scope: Mapping[str, Any], *, workspace_id: UUID | None = None) -> StreamRequest:
    """Return what is asked for. Raises StreamRefused where it makes no sense, or is not for whoever asks."""
    request = django_request(scope)
    _require_host(request)
    try:
        await require_authorization(scope, workspace_id, authorize=hub.authorize)
        wanted = _filter(request, workspace_id)
        after = _after(request)
        present = await hub.reader.last_position()
    except (LogUnavailable, DatabaseError):
        raise StreamRefused(503, _UNREADABLE) from None
    if after is not None and after > present:
        raise _bad_position(f"Position {after} lies ahead of the log, which ends at {present}. Take a new snapshot.")
    return StreamRequest(
        filter=wanted, after=present if after is None else after, present=present, workspace_id=workspace_id
    )


def _require_host(request: ASGIRequest) -> None:
    try:
        request.get_host()
    except DisallowedHost:
        raise StreamRefused(400, "This host is not among ALLOWED_HOSTS.", code="bad_host") from None


def _filter(request: ASGIRequest, workspace_id: UUID | None) -> Filter:
    try:
        asked = filters.parse(request.GET)
    except BadFilter as error:
        raise StreamRefused(400, str(error), code="bad_filter", fields={error.field: str(error)}) from None
    if workspace_id is None:
        return asked
    if asked.workspaces or asked.subtrees:
        field = "workspace" if asked.workspaces else "subtree"
        sentence = "This stream is of one workspace already."
        raise StreamRefused(400, sentence, code="bad_filter", fields={field: sentence})
    return Filter(events=asked.events, runtimes=asked.runtimes, workspaces=frozenset([workspace_id]))


def _after(request: ASGIRequest) -> int | None:
    # A browser that connects again sends the header beside the address it was first given: the header is newer.
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
