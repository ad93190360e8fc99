"""A baseline ASGI application: a Django view that streams, one shared subscription, a queue for each client."""

import asyncio
import os
from collections.abc import AsyncIterator

import django
import psycopg
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, StreamingHttpResponse
from django.urls import path

from bench.fanout.bare_stream import CHANNEL

settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="only-for-benchmarks")  # noqa: S106
django.setup()

_queues: set[asyncio.Queue[bytes]] = set()
_subscription: list[asyncio.Task[None]] = []


async def stream(request: HttpRequest) -> StreamingHttpResponse:
    if not _subscription:
        _subscription.append(asyncio.create_task(_subscribe()))
    return StreamingHttpResponse(_messages(), content_type="text/event-stream")


async def _messages() -> AsyncIterator[bytes]:
    queue: asyncio.Queue[bytes] = asyncio.Queue()
    _queues.add(queue)
    try:
        yield b": stream opened\n\n"
        while True:
            yield await queue.get()
    finally:
        _queues.discard(queue)


async def _subscribe() -> None:
    connection = await psycopg.AsyncConnection.connect(os.environ["DATABASE_URL"], autocommit=True)
    await connection.execute(f"LISTEN {CHANNEL}")
    async for notification in connection.notifies():
        data = notification.payload.encode()
        for queue in _queues:
            queue.put_nowait(data)


urlpatterns = [path("events/stream", stream)]
application = get_asgi_application()
