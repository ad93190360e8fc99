"""The live stream: server-sent events by position, from which a client resumes and misses nothing."""

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.db import connections
from django.http import HttpRequest, HttpResponseBase, JsonResponse, StreamingHttpResponse

from events.frames import joined
from events.reader import LogReader, LogUnavailable
from events.tail import QUEUE_SIZE, Listener, Tail

logger = logging.getLogger(__name__)

Authorise = Callable[[HttpRequest], bool]
# The contract says at least every 15 s.
KEEP_ALIVE_SECONDS = 10.0
# After this a client has to connect again, so that a right that was withdrawn ends its stream too.
LONGEST_SECONDS = 1800.0
_OPENING = b"retry: 2000\n: stream opened\n\n"
_KEEP_ALIVE = b": keep-alive\n\n"
_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
# Positions are 64-bit integers.
_POSITION = re.compile(r"[0-9]{1,18}")


class RefusedStream(Exception):
    """The request gets no stream, but this status and sentence."""

    def __init__(self, status: int, error: str, *, headers: dict[str, str] | None = None, **more: object) -> None:
        super().__init__(error)
        self.status = status
        self.headers = headers or {}
        self.body = {"error": error, **more}


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How long a stream may be silent, how long it lasts, and how many events may wait for a slow client."""

    keep_alive_seconds: float = KEEP_ALIVE_SECONDS
    longest_seconds: float = LONGEST_SECONDS
    queue_size: int = QUEUE_SIZE


def stream_view(
    *, authorise: Authorise, limits: Limits | None = None
) -> Callable[[HttpRequest], Coroutine[Any, Any, HttpResponseBase]]:
    """Return the view of GET /events/stream.

    `authorise` tells who may listen; it runs in a thread and may query. A process needs one such view: each has a
    tail of its own.
    """
    stream = _Stream(authorise=authorise, limits=limits or Limits())

    async def events_stream(request: HttpRequest) -> HttpResponseBase:
        try:
            return await stream.open(request)
        except RefusedStream as refusal:
            return JsonResponse(refusal.body, status=refusal.status, headers=refusal.headers)

    return events_stream


@dataclass(kw_only=True)
class _Stream:
    authorise: Authorise
    limits: Limits
    reader: LogReader = field(default_factory=LogReader)

    def __post_init__(self) -> None:
        self.tail = Tail(self.reader, queue_size=self.limits.queue_size)

    async def open(self, request: HttpRequest) -> StreamingHttpResponse:
        _require_stream_request(request)
        await self._require_right(request)
        after = _after(request)
        present = await self._present()
        if after is not None and after > present:
            raise _bad_position(
                f"Position {after} lies ahead of the log, which ends at {present}. Take a new snapshot."
            )
        chunks = self._chunks(present if after is None else after, present)
        return StreamingHttpResponse(chunks, content_type="text/event-stream; charset=utf-8", headers=_HEADERS)

    async def _require_right(self, request: HttpRequest) -> None:
        if not await sync_to_async(_asked)(self.authorise, request):
            raise RefusedStream(
                401, "Sign in, or send an API key with the scope `read`.", headers={"WWW-Authenticate": "Bearer"}
            )

    async def _present(self) -> int:
        try:
            return await self.reader.last_position()
        except LogUnavailable:
            raise RefusedStream(503, "The event log can't be read now. Try again in a few seconds.") from None

    async def _chunks(self, after: int, present: int) -> AsyncIterator[bytes]:
        yield _OPENING
        listener = None
        try:
            # What is long past comes first: the queue fills only while the rest is read.
            async for frames in self.reader.between(after, present):
                yield joined(frames)
            listener = await self.tail.join()
            async for frames in self.reader.between(present, listener.since):
                yield joined(frames)
            async for chunk in self._arriving(listener, sent=max(present, listener.since)):
                yield chunk
        except LogUnavailable as error:
            # The client connects again by itself and resumes by its last position.
            logger.warning("A live stream ends: its events can't be read.", extra={"error": str(error)})
        finally:
            if listener is not None:
                await self.tail.leave(listener)

    async def _arriving(self, listener: Listener, *, sent: int) -> AsyncIterator[bytes]:
        clock = asyncio.get_running_loop().time
        end = clock() + self.limits.longest_seconds
        while (left := end - clock()) > 0:
            frames = await listener.take(seconds=min(self.limits.keep_alive_seconds, left))
            # The tail may be a moment behind the position that the client brought along.
            yield joined([frame for frame in frames if frame.position > sent]) or _KEEP_ALIVE


def _asked(authorise: Authorise, request: HttpRequest) -> bool:
    try:
        return authorise(request)
    finally:
        # A stream lasts: without this each would keep the connection that its question took.
        connections.close_all()


def _require_stream_request(request: HttpRequest) -> None:
    if request.method != "GET":
        raise RefusedStream(405, "The live stream answers GET only.", headers={"Allow": "GET"})
    if not isinstance(request, ASGIRequest):
        raise RefusedStream(
            501, "Live streams need the ASGI server, and this one speaks WSGI. Send /events/stream to config.asgi."
        )


def _after(request: HttpRequest) -> int | None:
    # A browser that connects again sends the header beside the address it was first given: the header is newer.
    for field_name, text in (
        ("Last-Event-ID", request.headers.get("Last-Event-ID") or None),
        ("after", request.GET.get("after")),
    ):
        if text is not None:
            if not _POSITION.fullmatch(text):
                raise _bad_position(f"{field_name} must be a position: a whole number from 0 on.", field_name)
            return int(text)
    return None


def _bad_position(error: str, field_name: str = "after") -> RefusedStream:
    return RefusedStream(400, error, code="bad_position", fields={field_name: error})
