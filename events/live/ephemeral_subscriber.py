"""Receives the ephemeral events of all processes for the live clients of this one. Without Redis there are none."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from django.conf import settings
from redis import RedisError
from redis.asyncio import Redis
from redis.asyncio.client import PubSub

from events.envelope import EncodedEvent, LoggedEvent
from events.ephemeral import TIMEOUT_SECONDS, decode, redis_channel
from events.live.event_batch import EventBatch

logger = logging.getLogger(__name__)

# Of several events of one workspace and name within this time, clients get the last one.
COLLECT_SECONDS = 0.1
_BATCH_SIZE = 500
_RETRY_SECONDS = 2.0
_PING_SECONDS = 10


class EphemeralSubscriber:
    """One Redis subscription, however many clients there are."""

    def __init__(self, *, publish: Callable[[EventBatch], None]) -> None:
        self._publish = publish
        self._is_away = False

    async def listen(self) -> None:
        """Publish what arrives, for ever, whether Redis can be reached or not."""
        while True:
            client = Redis.from_url(
                settings.REDIS_URL,
                socket_connect_timeout=TIMEOUT_SECONDS,
                socket_timeout=3 * _PING_SECONDS,
                health_check_interval=_PING_SECONDS,
            )
            try:
                async with client, client.pubsub(ignore_subscribe_messages=True) as subscription:
                    await subscription.subscribe(redis_channel())
                    self._is_away = False
                    while True:
                        if events := await _collect(subscription):
                            self._publish(EventBatch([EncodedEvent(event) for event in events]))
            except (RedisError, OSError, TimeoutError) as error:
                if not self._is_away:
                    logger.warning("No ephemeral events until Redis is back.", extra={"error": str(error)})
                self._is_away = True
                await asyncio.sleep(_RETRY_SECONDS)


async def _collect(subscription: PubSub) -> list[LoggedEvent]:
    """Wait for an event and those just behind it. Return the last of each workspace and name."""
    events: dict[tuple[Any, str], LoggedEvent] = {}
    message = await subscription.get_message(timeout=_PING_SECONDS)
    if message:
        await asyncio.sleep(COLLECT_SECONDS)
    for _ in range(_BATCH_SIZE):
        if message is None:
            break
        try:
            event = decode(message["data"])
        except ValueError as error:
            logger.warning("A message on the ephemeral channel is not an event.", extra={"error": str(error)[:200]})
        else:
            # Move it to the end, so that the order is that of the last events.
            events.pop((event.workspace_id, event.event_type), None)
            events[event.workspace_id, event.event_type] = event
        message = await subscription.get_message(timeout=0)
    return list(events.values())
