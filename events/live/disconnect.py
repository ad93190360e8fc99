"""Notices that a client has gone, without a task for each."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from events.live.stream import CLIENT_GONE, Stream

Receive = Callable[[], Awaitable[dict[str, Any]]]


class DisconnectWatcher:
    """Ends the stream when its client goes. Whatever else a client sends is dropped."""

    def __init__(self, receive: Receive, stream: Stream) -> None:
        self._receive = receive
        self._stream = stream
        self._listen()

    def stop(self) -> None:
        """Listen no more. Granian can't close a WebSocket that is still being read from."""
        self._message.cancel()

    def _listen(self) -> None:
        self._message = asyncio.ensure_future(self._receive())
        self._message.add_done_callback(self._heard)

    def _heard(self, message: "asyncio.Future[dict[str, Any]]") -> None:
        if message.cancelled():
            return
        if message.exception() or message.result()["type"].endswith(".disconnect"):
            self._stream.end(CLIENT_GONE)
            self._stream.writer.abandon()
        else:
            self._listen()
