"""What operators do with channels: pause, resume, enable, disable, redrive, rotate, test. Each is one transaction."""

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
from events.channels.base import Message, Receipt, SendFailed
from events.channels.registry import kind_of
from events.channels.webhook import signing
from events.delivery.claims import announce_due
from events.delivery.masking_sender import MaskingSender
from events.envelope import LoggedEvent
from events.models import Channel, Delivery, DeliveryState
from events.names import TEST_EVENT, EventType
from events.outbox import NewEvent
from postgres import encryption
from postgres.clock import in_utc

# The `kind` of the incident that tells that a channel was disabled.
DISABLED_KIND = "channel_disabled"


@dataclass(frozen=True, kw_only=True)
class ReceiverAnswer:
    """How a receiver answered a test message. `answer` and `response` are as in `Receipt`."""

    is_accepted: bool
    answer: str
    response: str
    latency_ms: int


class NothingToRotate(Exception):
    """The channel has no signing secret; only webhooks have one."""


def all_options(channel: Channel) -> dict[str, Any]:
    """Return a channel's options, with the encrypted ones decrypted. Raises SendFailed if that is not possible."""
    if not channel.sealed_options:
        return dict(channel.options)
    try:
        return {**channel.options, **json.loads(encryption.decrypt(channel.sealed_options))}
    except encryption.CannotDecrypt as error:
        raise SendFailed(
            f"The channel's encrypted options can't be decrypted. {error} Add the key, or enter the options again."
        ) from error


def open_sender(channel: Channel) -> MaskingSender:
    """Return a sender for a channel. Close it. Raises SendFailed, and UnknownKind."""
    options = all_options(channel)
    sealed = {name: value for name, value in options.items() if name not in channel.options}
    kind, seconds = kind_of(channel.kind), channel.timeout_seconds
    return MaskingSender(kind, options, sealed=sealed, name=channel.name, timeout_seconds=seconds)


def encrypt_options(options: Mapping[str, Any]) -> str:
    """Return the options as they are stored in `Channel.sealed_options`."""
    return encryption.encrypt(json.dumps(dict(options)))


def send_test(channel: Channel, *, now: datetime) -> ReceiverAnswer:
    """Send a test message now. Queues nothing and doesn't change the channel's health."""
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
    result: Receipt | SendFailed
    started = time.monotonic()
    try:
        with closing(open_sender(channel)) as sender:
            result = sender.send([message])
    except SendFailed as error:
        result = error
    return ReceiverAnswer(
        is_accepted=isinstance(result, Receipt),
        answer=result.answer if isinstance(result, Receipt) else f"{result.answer} {result}".strip(),
        response=result.response,
        latency_ms=int((time.monotonic() - started) * 1000),
    )


def pause(channels: QuerySet[Channel], *, now: datetime) -> int:
    """Stop sending; events are still queued. Return how many channels were not paused before."""
    return channels.filter(paused_at__isnull=True).update(paused_at=now)


def resume(channels: QuerySet[Channel]) -> int:
    """Send what has been queued, in order. Return how many channels were paused before."""
    with transaction.atomic():
        count = channels.filter(paused_at__isnull=False).update(paused_at=None, held_until=None)
        announce_due()
    return count


def enable(channels: QuerySet[Channel]) -> int:
    """Queue events again and send what was queued before. Resolve the incident of each channel.

    Return how many channels were disabled before.
    """
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
    """Queue no more events for the channel, and open an incident for the other channels to report.

    Return False if it was disabled already.
    """
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


def redrive(deliveries: QuerySet[Delivery], *, now: datetime, since: datetime | None = None) -> int:
    """Send the dead letters among these deliveries again, beginning with a first attempt. Return how many.

    With `since` only those of events since that time.
    """
    dead = deliveries.filter(state=DeliveryState.DEAD)
    if since:
        dead = dead.filter(event__created_at__gte=in_utc(since))
    with transaction.atomic():
        count = dead.update(state=DeliveryState.WAITING, attempts=0, next_attempt_at=now, settled_at=None)
        announce_due()
    return count


def rotate_secret(channel: Channel, *, now: datetime) -> str:
    """Give a webhook a new signing secret and return it; it can't be shown again. The old one also signs for a day.

    Raises NothingToRotate for other channels, and SendFailed if its options can't be decrypted.
    """
    with transaction.atomic():
        locked = Channel.objects.select_for_update(no_key=True).get(pk=channel.pk)
        options = {name: value for name, value in all_options(locked).items() if name not in locked.options}
        if "signing" not in options:
            raise NothingToRotate(f"The channel {channel.name} has no signing secret; only webhooks have one.")
        options["signing"] = signing.rotate(options["signing"], now=now)
        Channel.objects.filter(pk=channel.pk).update(sealed_options=encrypt_options(options))
    return str(options["signing"][0]["secret"])
