"""Notices that a client has gone, without a task for each."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from events.streams import GONE, Stream

Receive = Callable[[], Awaitable[dict[str, Any]]]


def watch_for_departure(receive: Receive, stream: Stream) -> None:
    """End the stream when its client goes. Whatever else a client sends is dropped."""

    def heard(message: "asyncio.Future[dict[str, Any]]") -> None:
        if message.cancelled() or message.exception() or message.result()["type"].endswith(".disconnect"):
            stream.end(GONE)
            stream.outlet.abandon()
        else:
            listen()

    def listen() -> None:
        asyncio.ensure_future(receive()).add_done_callback(heard)

    listen()
