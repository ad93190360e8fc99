"""All live streams of a process: one tail, one ear for chatter, one clock for keep-alives and rights."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from events.live.authorization import Authorize, find_revoked
from events.live.ephemeral_subscriber import EphemeralSubscriber
from events.live.event_batch import EventBatch
from events.live.log_follower import LogFollower
from events.live.log_reader import LogReader, LogUnavailable
from events.live.stream import TOO_SLOW, UNAVAILABLE, Stream, StreamEnd

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How long a stream may be silent, when its right is asked again, and how much may wait for a slow client."""

    # The contract says at least every 15 s.
    keep_alive_seconds: float = 10.0
    recheck_seconds: float = 15.0
    queue_bytes: int = 4 * 1024 * 1024
    # Nothing of a full socket was read for so long.
    stuck_seconds: float = 60.0


class StreamHub:
    """Works from its first stream to its last."""

    def __init__(self, *, authorize: Authorize, limits: Limits) -> None:
        self.authorize = authorize
        self.limits = limits
        self.reader = LogReader()
        self._tail = LogFollower(self.reader, publish=self._publish)
        self._ear = EphemeralSubscriber(publish=self._mention)
        self._streams: set[Stream] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._starting = asyncio.Lock()

    async def serve(self, stream: Stream, *, after: int, present: int) -> StreamEnd:
        """Send the past from `after`, then what happens, until the stream ends; return why it did."""
        try:
            # What is long past comes first: the queue fills only while the rest is read.
            await self._replay(stream, after, present)
            since = await self._join(stream)
            await self._replay(stream, present, since)
            # The tail may be a moment behind the position that the client brought along.
            stream.go_live(sent=max(present, since))
            ending = await stream.ended
        except LogUnavailable as error:
            logger.warning("A live stream ends: its events can't be read.", extra={"error": str(error)})
            ending = UNAVAILABLE
        except TimeoutError:
            ending = TOO_SLOW
        finally:
            await self._leave(stream)
        if ending is TOO_SLOW:
            logger.warning("A live client was too slow and is cut off.", extra={"queue_bytes": self.limits.queue_bytes})
        return ending

    async def _replay(self, stream: Stream, after: int, until: int) -> None:
        async for frames in self.reader.between(after, until):
            if stream.ended.done():
                return
            await stream.catch_up(EventBatch(frames), seconds=self.limits.stuck_seconds)

    async def _join(self, stream: Stream) -> int:
        """Return the position from which on the stream gets every event; raises LogUnavailable."""
        async with self._starting:
            if not self._tasks:
                await self._tail.start_here()
                self._tasks = [asyncio.create_task(work()) for work in self._works()]
                for task in self._tasks:
                    task.add_done_callback(self._report_end)
        # No await from here on: nothing is published between the position and the place in the set.
        self._streams.add(stream)
        return self._tail.position

    async def _leave(self, stream: Stream) -> None:
        """Stop serving the stream; the last one switches off the light."""
        self._streams.discard(stream)
        if not self._streams:
            for task in self._tasks:
                task.cancel()
            self._tasks = []
            await self.reader.close()

    def _works(self) -> list[Callable[[], Any]]:
        return [self._tail.follow, self._ear.listen, self._keep_alive, self._recheck]

    def _report_end(self, task: "asyncio.Task[None]") -> None:
        if task.cancelled():
            return
        # A fault of ours: clients that would wait for ever are sent away, and the next one starts afresh.
        logger.error("The live streams have failed; their clients connect again.", exc_info=task.exception())
        for other in self._tasks:
            other.cancel()
        self._tasks = []
        for stream in self._streams:
            stream.end(UNAVAILABLE)

    def _publish(self, batch: EventBatch) -> None:
        for stream in self._streams:
            stream.send_logged(batch)

    def _mention(self, batch: EventBatch) -> None:
        for stream in self._streams:
            stream.send_ephemeral(batch)

    async def _keep_alive(self) -> None:
        # A stream is found quiet at the second look at the latest.
        pause = self.limits.keep_alive_seconds / 2
        while True:
            await asyncio.sleep(pause)
            for stream in self._streams:
                stream.keep_alive(self._tail.position)
                if stream.stuck_ticks * pause > self.limits.stuck_seconds:
                    stream.end(TOO_SLOW)

    async def _recheck(self) -> None:
        while True:
            await asyncio.sleep(self.limits.recheck_seconds)
            for stream, refusal in await find_revoked(list(self._streams), authorize=self.authorize):
                stream.end(StreamEnd(reason=str(refusal), code=4000 + refusal.status))
