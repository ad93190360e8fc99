"""Bounds the look-ups of who asks, which come before anyone knows whether it is an operator, an agent or neither."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from events.live.stream import StreamRefused


class PendingChecks:
    """Counts checks by the credential that was sent. Of one credential only a few are worked on, the others wait."""

    def __init__(self, *, most: int, most_of_one: int, most_at_once: int) -> None:
        self._most = most
        self._most_of_one = most_of_one
        self._most_at_once = most_at_once
        self._pending: Counter[str] = Counter()
        self._turns: dict[str, asyncio.Semaphore] = {}

    @asynccontextmanager
    async def turn(self, credential: str) -> AsyncIterator[None]:
        """Wait for the turn of a check. Raises StreamRefused if too many wait, of this credential or of all."""
        if self._pending[credential] >= self._most_of_one or self._pending.total() >= self._most:
            why = "Too many requests to follow a log are being checked. Try again in a few seconds."
            raise StreamRefused(503, why, headers={"Retry-After": "2"}, code="unavailable")
        self._pending[credential] += 1
        try:
            async with self._turns.setdefault(credential, asyncio.Semaphore(self._most_at_once)):
                yield
        finally:
            self._pending[credential] -= 1
            if not self._pending[credential]:
                del self._pending[credential], self._turns[credential]
