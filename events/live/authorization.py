"""Asks whether somebody may listen: when a stream opens, and again while it lasts."""

import logging
from collections.abc import Callable, Iterable, Mapping
from io import BytesIO
from typing import Any
from uuid import UUID

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.db import DatabaseError, connections

from events.live.stream import Stream, StreamRefused

logger = logging.getLogger(__name__)

# Raises StreamRefused. It runs in a thread and may query. The id is the workspace's whose own stream is asked for.
Authorize = Callable[[ASGIRequest, UUID | None], None]


def django_request(scope: Mapping[str, Any]) -> ASGIRequest:
    """Return the request that opened a stream as Django knows requests, a WebSocket's too."""
    scheme = {"ws": "http", "wss": "https"}.get(scope.get("scheme", ""), scope.get("scheme", "http"))
    return ASGIRequest({**scope, "type": "http", "method": "GET", "scheme": scheme}, BytesIO())


async def require_authorization(scope: Mapping[str, Any], workspace_id: UUID | None, *, authorize: Authorize) -> None:
    """Raise StreamRefused unless whoever asks may listen."""
    await sync_to_async(_ask, thread_sensitive=False)(scope, workspace_id, authorize)


async def find_revoked(streams: Iterable[Stream], *, authorize: Authorize) -> list[tuple[Stream, StreamRefused]]:
    """Return the streams whose right is no more, with the refusal. Asks once for each credential."""
    askers: dict[Any, list[Stream]] = {}
    for stream in streams:
        askers.setdefault(_credential(stream), []).append(stream)
    refusals = await sync_to_async(_refusals, thread_sensitive=False)(
        {credential: members[0] for credential, members in askers.items()}, authorize
    )
    return [(stream, refusal) for credential, refusal in refusals.items() for stream in askers[credential]]


def _credential(stream: Stream) -> tuple[Any, ...]:
    sent = [(name, value) for name, value in stream.scope["headers"] if name in (b"authorization", b"cookie")]
    return (stream.workspace_id, *sorted(sent))


def _refusals(askers: Mapping[Any, Stream], authorize: Authorize) -> dict[Any, StreamRefused]:
    refusals = {}
    for credential, stream in askers.items():
        try:
            _ask(stream.scope, stream.workspace_id, authorize)
        except StreamRefused as refusal:
            refusals[credential] = refusal
        except DatabaseError as error:
            # Not to be able to ask is no refusal; the next round asks again.
            logger.warning("A live client's right can't be asked again now.", extra={"error": str(error).strip()})
            break
    return refusals


def _ask(scope: Mapping[str, Any], workspace_id: UUID | None, authorize: Authorize) -> None:
    try:
        authorize(django_request(scope), workspace_id)
    finally:
        # Streams last, threads are shared: without this each would keep the connection that its question took.
        connections.close_all()
