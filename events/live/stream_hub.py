"""All live streams of a process. They share one reader of the log, one Redis subscription and one timer."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from events.live.authorization import Authorize, find_revoked
from events.live.ephemeral_subscriber import EphemeralSubscriber
from events.live.event_batch import EventBatch
from events.live.log_follower import LogFollower
from events.live.log_reader import LogReader, LogUnavailable
from events.live.stream import TOO_SLOW, UNAVAILABLE, Stream, StreamEnd

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How often streams are kept alive and their rights checked, and when a client counts as too slow."""

    # The wire contract asks for at least every 15 seconds.
    keep_alive_seconds: float = 10.0
    recheck_seconds: float = 15.0
    queue_bytes: int = 4 * 1024 * 1024
    # How long a client may read nothing from a full socket.
    stuck_seconds: float = 60.0


class StreamHub:
    """Runs its background tasks while it has streams."""

    def __init__(self, *, authorize: Authorize, limits: Limits) -> None:
        self.authorize = authorize
        self.limits = limits
        self.reader = LogReader()
        self._follower = LogFollower(self.reader, publish=partial(self._send_to_all, Stream.send_logged))
        self._subscriber = EphemeralSubscriber(publish=partial(self._send_to_all, Stream.send_ephemeral))
        self._streams: set[Stream] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._starting = asyncio.Lock()

    async def serve(self, stream: Stream, *, after: int, end: int) -> StreamEnd:
        """Replay the log from `after`, then send new events until the stream ends. Return why it ended.

        `end` was the log's last position when the request was checked.
        """
        try:
            # Replay most of the log before joining: from then on new events fill the client's queue.
            await self._replay(stream, after, end)
            joined_at = await self._join(stream)
            await self._replay(stream, end, joined_at)
            # The follower may be behind the position that the client brought.
            stream.go_live(sent=max(end, joined_at))
            reason = await stream.ended
        except LogUnavailable as error:
            logger.warning("A live stream ends: its events can't be read.", extra={"error": str(error)})
            reason = UNAVAILABLE
        except TimeoutError:
            reason = TOO_SLOW
        finally:
            self._streams.discard(stream)
            # Stop the background tasks when the last stream closes.
            if not self._streams:
                self._cancel_tasks()
                await self.reader.close()
        if reason is TOO_SLOW:
            logger.warning("A live client was too slow and is cut off.", extra={"queue_bytes": self.limits.queue_bytes})
        return reason

    async def _replay(self, stream: Stream, after: int, until: int) -> None:
        async for events in self.reader.read_between(after, until):
            if stream.ended.done():
                return
            await stream.replay(EventBatch(events), seconds=self.limits.stuck_seconds)

    async def _join(self, stream: Stream) -> int:
        """Return the position behind which the stream gets every event. Raises LogUnavailable."""
        async with self._starting:
            if not self._tasks:
                await self._follower.start_at_end()
                loops = (self._follower.follow, self._subscriber.listen, self._keep_alive, self._recheck)
                self._tasks = [asyncio.create_task(loop()) for loop in loops]
                for task in self._tasks:
                    task.add_done_callback(self._on_task_done)
        # No await from here on, so that no event is published between reading the position and joining.
        self._streams.add(stream)
        return self._follower.position

    def _cancel_tasks(self) -> None:
        for task in self._tasks:
            task.cancel()
        self._tasks = []

    def _on_task_done(self, task: "asyncio.Task[None]") -> None:
        if task.cancelled():
            return
        # A bug: end all streams rather than leave them silent. The next stream starts new tasks.
        logger.error("The live streams have failed; their clients connect again.", exc_info=task.exception())
        self._cancel_tasks()
        for stream in self._streams:
            stream.end(UNAVAILABLE)

    def _send_to_all(self, send: Callable[[Stream, EventBatch], None], batch: EventBatch) -> None:
        for stream in self._streams:
            send(stream, batch)

    async def _keep_alive(self) -> None:
        # A quiet stream is noticed at the second round at the latest.
        pause = self.limits.keep_alive_seconds / 2
        while True:
            await asyncio.sleep(pause)
            for stream in self._streams:
                stream.keep_alive(self._follower.position)
                if stream.stuck_ticks * pause > self.limits.stuck_seconds:
                    stream.end(TOO_SLOW)

    async def _recheck(self) -> None:
        while True:
            await asyncio.sleep(self.limits.recheck_seconds)
            for stream, refusal in await find_revoked(list(self._streams), authorize=self.authorize):
                stream.end(StreamEnd(reason=str(refusal), code=4000 + refusal.status))
