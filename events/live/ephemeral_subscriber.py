"""Hears the chatter of all processes for all live clients of this one; without Redis there is silence."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from django.conf import settings
from redis import RedisError
from redis.asyncio import Redis
from redis.asyncio.client import PubSub

from events.envelope import EncodedEvent, LoggedEvent
from events.ephemeral import TIMEOUT_SECONDS, decode, redis_channel
from events.live.event_batch import EventBatch

logger = logging.getLogger(__name__)

# Of what is said within this time of one workspace under one name, clients hear the last.
GATHER_SECONDS = 0.1
_MOST_AT_ONCE = 500
_PAUSE_SECONDS = 2.0
_PING_SECONDS = 10


class EphemeralSubscriber:
    """One Redis subscription, whatever the number of clients."""

    def __init__(self, *, publish: Callable[[EventBatch], None]) -> None:
        self._publish = publish
        self._is_away = False

    async def listen(self) -> None:
        """Never return: Redis may come and go."""
        while True:
            try:
                async with _subscribed() as subscription:
                    self._is_away = False
                    while True:
                        if gathered := await _gathered(subscription):
                            self._publish(EventBatch([EncodedEvent(event) for event in gathered]))
            except (RedisError, OSError, TimeoutError) as error:
                if not self._is_away:
                    logger.warning("Live chatter is not heard: Redis is away.", extra={"error": str(error)})
                self._is_away = True
                await asyncio.sleep(_PAUSE_SECONDS)


@asynccontextmanager
async def _subscribed() -> AsyncIterator[PubSub]:
    client = Redis.from_url(
        settings.REDIS_URL,
        socket_connect_timeout=TIMEOUT_SECONDS,
        socket_timeout=3 * _PING_SECONDS,
        health_check_interval=_PING_SECONDS,
    )
    async with client, client.pubsub(ignore_subscribe_messages=True) as subscription:
        await subscription.subscribe(redis_channel())
        yield subscription


async def _gathered(subscription: PubSub) -> list[LoggedEvent]:
    heard: dict[tuple[Any, str], LoggedEvent] = {}
    message = await subscription.get_message(timeout=_PING_SECONDS)
    if message:
        await asyncio.sleep(GATHER_SECONDS)
    for _ in range(_MOST_AT_ONCE):
        if message is None:
            break
        _keep_last(heard, message["data"])
        message = await subscription.get_message(timeout=0)
    return list(heard.values())


def _keep_last(heard: dict[tuple[Any, str], LoggedEvent], data: bytes) -> None:
    try:
        event = decode(data)
    except ValueError as error:
        logger.warning("What came over the chatter's channel is no chatter.", extra={"error": str(error)[:200]})
        return
    # Behind what was said meanwhile, so that the order is that of the last words.
    heard.pop((event.workspace_id, event.event_type), None)
    heard[event.workspace_id, event.event_type] = event
