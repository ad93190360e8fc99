"""Notices that a client has disconnected, without a task for each client."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from events.live.stream import CLIENT_GONE, Stream

Receive = Callable[[], Awaitable[dict[str, Any]]]


class DisconnectWatcher:
    """Ends the stream when its client disconnects. Drops whatever else the client sends."""

    def __init__(self, receive: Receive, stream: Stream) -> None:
        self._receive = receive
        self._stream = stream
        self._wait_for_message()

    def stop(self) -> None:
        """Stop reading. Granian can't close a WebSocket while it is being read."""
        self._message.cancel()

    def _wait_for_message(self) -> None:
        self._message = asyncio.ensure_future(self._receive())
        self._message.add_done_callback(self._on_message)

    def _on_message(self, message: "asyncio.Future[dict[str, Any]]") -> None:
        if message.cancelled():
            return
        if message.exception() or message.result()["type"].endswith(".disconnect"):
            self._stream.end(CLIENT_GONE)
            self._stream.writer.abandon()
        else:
            self._wait_for_message()
