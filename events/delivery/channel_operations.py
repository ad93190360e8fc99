"""What operators do with channels: pause, resume, enable, rotate, redrive, test. Each is one short transaction."""

import json
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import uuid4

from django.db import transaction
from django.db.models import QuerySet

from events import outbox
from events.channels.base import Message, SendFailed
from events.channels.registry import kind_of
from events.channels.webhook import kind as webhook_channel
from events.delivery.claims import announce_due
from events.envelope import LoggedEvent
from events.models import Channel, Delivery, DeliveryState
from events.names import TEST_EVENT, EventType
from events.outbox import NewEvent
from postgres import encryption

DISABLED_KIND = "channel_disabled"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the receiver said to a test."""

    is_taken: bool
    answer: str
    response: str
    latency_ms: int


def all_options(channel: Channel) -> dict[str, Any]:
    """Return a channel's options, sealed ones included. Raises SendFailed where they can't be decrypted."""
    if not channel.sealed_options:
        return dict(channel.options)
    try:
        return {**channel.options, **json.loads(encryption.decrypt(channel.sealed_options))}
    except encryption.CannotDecrypt as error:
        raise SendFailed(f"Its sealed options are unreadable. {error} Add the key, or enter them anew.") from error


def encrypted(options: Mapping[str, Any]) -> str:
    """Return options as they are kept where nobody may read them."""
    return encryption.encrypt(json.dumps(dict(options)))


def send_test(channel: Channel, *, now: datetime) -> Answer:
    """Send a message that is no event, now, and return what was answered. Queues nothing, and changes no health."""
    event = LoggedEvent(
        position=0,
        event_type=TEST_EVENT,
        workspace_id=None,
        version=None,
        payload={"message": f"A test of the channel {channel.name}."},
        created_at=now,
        subject={"name": "A test"},
    )
    message = Message(id=f"test-{uuid4()}", event=event)
    began = time.monotonic()
    try:
        kind = kind_of(channel.kind)
        with closing(kind.open(all_options(channel), timeout_seconds=channel.timeout_seconds)) as sender:
            receipt = sender.send([message])
    except SendFailed as error:
        answer = f"{error.answer} {error}".strip()
        return Answer(is_taken=False, answer=answer, response=error.response, latency_ms=_since(began))
    return Answer(is_taken=True, answer=receipt.answer, response=receipt.response, latency_ms=_since(began))


def _since(began: float) -> int:
    return int((time.monotonic() - began) * 1000)


def pause(channels: QuerySet[Channel], *, now: datetime) -> int:
    """Stop sending; events go on queueing. Return how many were not paused before."""
    return channels.filter(paused_at__isnull=True).update(paused_at=now)


def resume(channels: QuerySet[Channel]) -> int:
    """Send again what has queued, in its order. Return how many were paused."""
    with transaction.atomic():
        count = channels.filter(paused_at__isnull=False).update(paused_at=None, held_until=None)
        announce_due()
    return count


def enable(channels: QuerySet[Channel]) -> int:
    """Queue events again, and send what was left. Return how many were disabled; an incident of them is resolved."""
    with transaction.atomic():
        disabled = list(channels.filter(is_enabled=False).select_for_update(no_key=True).order_by("pk"))
        if not disabled:
            return 0
        changes: dict[str, Any] = {"is_enabled": True, "disabled_reason": "", "held_until": None}
        Channel.objects.filter(pk__in=[channel.pk for channel in disabled]).update(**changes)
        outbox.record([_incident(EventType.INCIDENT_RESOLVED, channel, "It is enabled again.") for channel in disabled])
        announce_due()
    return len(disabled)


def disable(channel: Channel, *, reason: str) -> bool:
    """Queue nothing more for it, and open an incident: everyone else hears of it. False where it was disabled."""
    with transaction.atomic():
        changes: dict[str, Any] = {"is_enabled": False, "disabled_reason": reason}
        if not Channel.objects.filter(pk=channel.pk, is_enabled=True).update(**changes):
            return False
        outbox.record([_incident(EventType.INCIDENT_OPENED, channel, reason)])
    return True


def _incident(name: EventType, channel: Channel, reason: str) -> NewEvent:
    message = f"The channel {channel.name}: {reason}"
    payload = {"kind": DISABLED_KIND, "scope": f"channel {channel.name}", "count": 1, "message": message}
    return NewEvent(event_type=name, payload=payload)


def redrive(deliveries: QuerySet[Delivery], *, now: datetime) -> int:
    """Send dead letters anew, from the first attempt on; return how many. A narrower set is the caller's choice."""
    with transaction.atomic():
        count = deliveries.filter(state=DeliveryState.DEAD).update(
            state=DeliveryState.WAITING, attempts=0, next_attempt_at=now, settled_at=None
        )
        announce_due()
    return count


def rotate_secret(channel: Channel, *, now: datetime) -> str:
    """Give a webhook a new signing secret and return it, shown this once; the old one signs along for a day."""
    with transaction.atomic():
        locked = Channel.objects.select_for_update(no_key=True).get(pk=channel.pk)
        options = json.loads(encryption.decrypt(locked.sealed_options))
        options["signing"] = webhook_channel.rotated(options["signing"], now=now)
        Channel.objects.filter(pk=channel.pk).update(sealed_options=encrypted(options))
    return str(options["signing"][0]["secret"])
