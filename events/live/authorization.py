"""Asks whether a client may read a stream: when it opens, and repeatedly while it lasts."""

import logging
from collections.abc import Callable, Iterable, Mapping
from io import BytesIO
from typing import Any, TypeVar
from uuid import UUID

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.db import DatabaseError, connections

from events.live.stream import Stream, StreamRefused

logger = logging.getLogger(__name__)

# Raises StreamRefused if the request may not read the events of the workspace (None: of all workspaces). It runs in a
# thread and may query.
Authorize = Callable[[ASGIRequest, UUID | None], None]
T = TypeVar("T")


def django_request(scope: Mapping[str, Any]) -> ASGIRequest:
    """Return the request that opened a stream, a WebSocket too, as a Django request."""
    scheme = {"ws": "http", "wss": "https"}.get(scope.get("scheme", ""), scope.get("scheme", "http"))
    return ASGIRequest({**scope, "type": "http", "method": "GET", "scheme": scheme}, BytesIO())


async def require_authorization(
    scope: Mapping[str, Any], workspace_id: UUID | None, *, authorize: Callable[[ASGIRequest, UUID | None], T]
) -> T:
    """Return what `authorize` does; raise StreamRefused unless the client may read the stream."""
    return await sync_to_async(lambda: _call(authorize, scope, workspace_id), thread_sensitive=False)()


async def find_revoked(streams: Iterable[Stream], *, authorize: Authorize) -> list[tuple[Stream, StreamRefused]]:
    """Return the streams that their clients may no longer read, with the refusal.

    Asks once for each credential and address, since a credential may be bound to networks.
    """
    by_credential: dict[Any, list[Stream]] = {}
    for stream in streams:
        sent = [(name, value) for name, value in stream.scope["headers"] if name in (b"authorization", b"cookie")]
        address = (stream.scope.get("client") or ("",))[0]
        by_credential.setdefault((stream.workspace_id, address, *sorted(sent)), []).append(stream)
    refusals = await sync_to_async(_refusals, thread_sensitive=False)(
        {credential: alike[0] for credential, alike in by_credential.items()}, authorize
    )
    return [(stream, refusal) for credential, refusal in refusals.items() for stream in by_credential[credential]]


def _refusals(streams: Mapping[Any, Stream], authorize: Authorize) -> dict[Any, StreamRefused]:
    refusals = {}
    for credential, stream in streams.items():
        try:
            _call(authorize, stream.scope, stream.workspace_id)
        except StreamRefused as refusal:
            refusals[credential] = refusal
        except DatabaseError as error:
            # An outage ends no stream. The next round asks again.
            logger.warning("The rights of live clients can't be checked now.", extra={"error": str(error).strip()})
            break
    return refusals


def _call(authorize: Callable[[ASGIRequest, UUID | None], T], scope: Mapping[str, Any], workspace_id: UUID | None) -> T:
    try:
        return authorize(django_request(scope), workspace_id)
    finally:
        # The thread is one of a pool, and each would keep its database connection.
        connections.close_all()
