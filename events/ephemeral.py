"""Ephemeral events: published over Redis to the clients that are connected now, best effort, and not stored.

Callers never wait: a thread publishes, and drops what it can't send.
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

# How many events may wait while Redis is slow. Then the oldest is dropped.
_QUEUE_SIZE = 1000
TIMEOUT_SECONDS = 1.0
# How long to wait after an error before trying Redis again.
_RETRY_SECONDS = 2.0
# How long to leave out what only clients hear after Redis had none.
_UNHEARD_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True)
class EphemeralEvent:
    """An event for clients that are connected now. The caller masks secrets in the payload."""

    event_type: EphemeralEventType
    workspace_id: UUID
    version: int
    payload: Mapping[str, Any] = field(default_factory=dict)
    subject: Mapping[str, Any] = field(default_factory=dict)


def redis_channel() -> str:
    """Return the name of the Redis channel for ephemeral events."""
    return f"{settings.REDIS_PREFIX}live"


def publish(*events: EphemeralEvent) -> None:
    """Send the events to the clients of all web processes. Call it after the commit; it neither waits nor fails."""
    _publisher.publish([encode(event) for event in events])


def is_heard() -> bool:
    """Return whether somebody may receive what is published now. It is asked anew each second."""
    return time.monotonic() >= _publisher.unheard_until


def decode(message: bytes) -> LoggedEvent:
    """Return the event in a message of the Redis channel. Raises ValueError if it is not one of ours."""
    try:
        fields = json.loads(message)
        return LoggedEvent(
            position=0,
            event_type=EphemeralEventType(fields["event"]).value,
            workspace_id=UUID(fields["workspace_id"]),
            version=int(fields["version"]),
            payload=dict(fields["payload"]),
            created_at=datetime.fromisoformat(fields["at"]),
            subject=dict(fields["subject"]),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error


def encode(event: EphemeralEvent) -> bytes:
    """Return the event as a message of the Redis channel."""
    fields = {
        "event": event.event_type.value,
        "workspace_id": str(event.workspace_id),
        "version": event.version,
        "payload": {**event.payload, "version": event.version},
        "subject": dict(event.subject),
        "at": timezone.now().isoformat(),
    }
    return json.dumps(fields, default=str).encode()


class _Publisher:
    def __init__(self) -> None:
        self._queue: deque[bytes] = deque(maxlen=_QUEUE_SIZE)
        self._has_messages = threading.Event()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._is_away = False
        self.unheard_until = 0.0

    def publish(self, messages: list[bytes]) -> None:
        self._queue.extend(messages)
        self._has_messages.set()
        # A forked process has no thread yet.
        if self._thread is None or not self._thread.is_alive():
            with self._starting:
                if self._thread is None or not self._thread.is_alive():
                    self._thread = threading.Thread(target=self._run, name="ephemeral events", daemon=True)
                    self._thread.start()

    def _run(self) -> None:
        client = redis.Redis.from_url(
            settings.REDIS_URL,
            socket_timeout=TIMEOUT_SECONDS,
            socket_connect_timeout=TIMEOUT_SECONDS,
            retry=redis.retry.Retry(redis.backoff.NoBackoff(), 0),
        )
        while self._has_messages.wait():
            self._has_messages.clear()
            messages = [self._queue.popleft() for _ in range(len(self._queue))]
            try:
                with client.pipeline(transaction=False) as pipeline:
                    for message in messages:
                        pipeline.publish(redis_channel(), message)
                    receivers = pipeline.execute()
                if not any(receivers):
                    self.unheard_until = time.monotonic() + _UNHEARD_SECONDS
                self._is_away = False
            except (redis.RedisError, OSError) as error:
                if not self._is_away:
                    logger.warning("Ephemeral events are dropped until Redis is back.", extra={"error": str(error)})
                self._is_away = True
                time.sleep(_RETRY_SECONDS)


_publisher = _Publisher()
