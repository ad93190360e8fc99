"""Keeps threads and database connections of an ASGI process free for agents whatever operators do, and the reverse."""

import asyncio
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from django.conf import settings

from config.entry import bodies
from config.entry.rates import Policy

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Any, Receive, Send], Awaitable[None]]

# Of a pool's connections this many are left for the other kind of calls.
LEFT_FREE = 2
_DEFAULT_POOL_SIZE = 8
# They need next to nothing, and a probe must not wait.
_NEEDS_NO_TURN = re.compile(r"/(?:static/.*|health|ready|metrics)", re.DOTALL)


class Shares:
    """Lets only so many calls of a kind be worked on at once; further ones of this kind wait in their order.

    A call waits for its turn when its body has arrived, so slow bodies take none. Its turn ends when its answer begins,
    so streams take none for longer.
    """

    def __init__(self) -> None:
        most = max(1, (settings.DATABASE_POOL_SIZE or _DEFAULT_POOL_SIZE) - LEFT_FREE)
        self._turns = {kind: asyncio.Semaphore(most) for kind in Policy}

    async def serve(self, application: Application, scope: Any, receive: Receive, send: Send, *, path: str) -> None:
        """Serve one request in its turn. Raises TurnedAway if it waits longer than DATABASE_POOL_WAIT_SECONDS."""
        turns = self._turns[Policy.of(path)]
        has_waited = is_at_work = False

        async def receive_in_turn() -> Message:
            nonlocal has_waited, is_at_work
            message = await receive()
            if not has_waited and message["type"] == "http.request" and not message.get("more_body"):
                has_waited = True
                try:
                    async with asyncio.timeout(settings.DATABASE_POOL_WAIT_SECONDS):
                        await turns.acquire()
                except TimeoutError:
                    raise bodies.too_busy() from None
                is_at_work = True
            return message

        async def send_and_end_turn(message: Message) -> None:
            nonlocal has_waited, is_at_work
            # A stream asks for the body only after its answer began, to learn when the client leaves.
            has_waited = True
            if is_at_work:
                is_at_work = False
                turns.release()
            await send(message)

        if scope["type"] != "http" or _NEEDS_NO_TURN.fullmatch(path):
            await application(scope, receive, send)
            return
        try:
            await application(scope, receive_in_turn, send_and_end_turn)
        finally:
            if is_at_work:
                turns.release()
