"""Live-only events: told to whoever listens now, over Redis, and to nobody later. Losing one loses nothing.

Nobody waits for it: a thread of its own publishes, and drops what it can't.
"""

import json
import logging
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import redis
from django.conf import settings
from django.utils import timezone

from events.envelope import LoggedEvent
from events.names import EphemeralEventType

logger = logging.getLogger(__name__)

# What waits while Redis is slow; beyond it the oldest is dropped.
_QUEUE_SIZE = 1000
TIMEOUT_SECONDS = 1.0
# Redis is asked again after so long.
_PAUSE_SECONDS = 2.0


@dataclass(frozen=True, kw_only=True)
class EphemeralEvent:
    """Something that concerns only those who look at present. Texts in the payload are masked by their producer."""

    event_type: EphemeralEventType
    workspace_id: UUID
    version: int
    payload: Mapping[str, Any] = field(default_factory=dict)
    subject: Mapping[str, Any] = field(default_factory=dict)


def redis_channel() -> str:
    """Return the name of the Redis channel on which chatter travels."""
    return f"{settings.REDIS_PREFIX}live"


def publish(*events: EphemeralEvent) -> None:
    """Tell the listeners of all web processes, some time soon. Call it after the commit; it neither waits nor fails."""
    _publisher.publish([_packed(event) for event in events])


def decode(message: bytes) -> LoggedEvent:
    """Return the event of a message on the channel. Raises ValueError where it is none of ours."""
    try:
        told = json.loads(message)
        return LoggedEvent(
            position=0,
            event_type=EphemeralEventType(told["event"]).value,
            workspace_id=UUID(told["workspace_id"]),
            version=int(told["version"]),
            payload=dict(told["payload"]),
            created_at=datetime.fromisoformat(told["at"]),
            subject=dict(told["subject"]),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error


def _packed(event: EphemeralEvent) -> bytes:
    told = {
        "event": event.event_type.value,
        "workspace_id": str(event.workspace_id),
        "version": event.version,
        "payload": {**event.payload, "version": event.version},
        "subject": dict(event.subject),
        "at": timezone.now().isoformat(),
    }
    return json.dumps(told, default=str).encode()


class _Publisher:
    def __init__(self) -> None:
        self._queue: deque[bytes] = deque(maxlen=_QUEUE_SIZE)
        self._rings = threading.Event()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._is_away = False

    def publish(self, messages: list[bytes]) -> None:
        self._queue.extend(messages)
        self._rings.set()
        # A fork leaves its threads behind.
        if self._thread is None or not self._thread.is_alive():
            self._start()

    def _start(self) -> None:
        with self._starting:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="chatter", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        client = redis.Redis.from_url(
            settings.REDIS_URL,
            socket_timeout=TIMEOUT_SECONDS,
            socket_connect_timeout=TIMEOUT_SECONDS,
            retry=redis.retry.Retry(redis.backoff.NoBackoff(), 0),
        )
        while self._rings.wait():
            self._rings.clear()
            self._send_all(client)

    def _send_all(self, client: redis.Redis) -> None:
        messages = [self._queue.popleft() for _ in range(len(self._queue))]
        try:
            with client.pipeline(transaction=False) as pipeline:
                for message in messages:
                    pipeline.publish(redis_channel(), message)
                pipeline.execute()
            self._is_away = False
        except (redis.RedisError, OSError) as error:
            if not self._is_away:
                logger.warning("Live chatter is dropped: Redis can't be reached.", extra={"error": str(error)})
            self._is_away = True
            time.sleep(_PAUSE_SECONDS)


_publisher = _Publisher()
