"""Flood control for channels that people read: many equal events become one message with their number."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import Count, Max
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Coalesce

from events.channels.notification import group_key
from events.delivery.claims import Claim, Claimed
from events.models import Delivery, DeliveryState

# So many messages of a sort go out one by one within the window; what comes on top waits, and goes out as one.
SINGLE_MESSAGES = 3

Sort = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class Sorted:
    """What of a claim goes out now, each unit as one message, and what is held until when."""

    units: list[list[Claimed]]
    held: dict[datetime, list[Claimed]]


@dataclass(frozen=True, kw_only=True)
class Recent:
    """What went out of one sort within the window, and when the last did."""

    count: int
    last_at: datetime


def group(claim: Claim, *, now: datetime, window: timedelta) -> Sorted:
    """Group a claim's deliveries. A workspace's later events wait behind one that is held, so that order is kept."""
    recent = _recent(claim, since=now - window)
    by_sort: dict[Sort, list[Claimed]] = {}
    for delivery in claim.deliveries:
        by_sort.setdefault(group_key(delivery.message), []).append(delivery)
    held_until = {
        sort: recent[sort].last_at + window
        for sort, deliveries in by_sort.items()
        if sort in recent and recent[sort].count + len(deliveries) > SINGLE_MESSAGES
    }
    going, held = _split(claim.deliveries, held_until, _held_workspaces(claim, now))
    return Sorted(units=_units(going), held=held)


def _split(
    deliveries: Sequence[Claimed], held_until: dict[Sort, datetime], workspaces: dict[UUID, datetime]
) -> tuple[list[Claimed], dict[datetime, list[Claimed]]]:
    going: list[Claimed] = []
    held: dict[datetime, list[Claimed]] = {}
    for delivery in deliveries:
        key = delivery.workspace_id
        until = held_until.get(group_key(delivery.message)) or (workspaces.get(key) if key else None)
        if until is None or delivery.attempts:
            going.append(delivery)
            continue
        held.setdefault(until, []).append(delivery)
        if key:
            workspaces.setdefault(key, until)
    return going, held


def _units(deliveries: Sequence[Claimed]) -> list[list[Claimed]]:
    """Return each delivery alone, or with its equals where there are too many; in order of each unit's first."""
    by_sort: dict[Sort, list[Claimed]] = {}
    for delivery in deliveries:
        by_sort.setdefault(group_key(delivery.message), []).append(delivery)
    units: list[list[Claimed]] = []
    for equals in by_sort.values():
        units += [equals] if len(equals) > SINGLE_MESSAGES else [[each] for each in equals]
    return sorted(units, key=lambda unit: unit[0].position)


def _recent(claim: Claim, *, since: datetime) -> dict[Sort, Recent]:
    sent = Delivery.objects.filter(
        channel_id=claim.channel.pk, settled_at__gt=since, state=DeliveryState.DELIVERED
    ).values_list(
        "event__event_type",
        Coalesce(KeyTextTransform("code", "event__payload"), KeyTextTransform("kind", "event__payload")),
    )
    counted = sent.annotate(count=Count("pk"), last_at=Max("settled_at")).order_by()
    return {(name, detail or ""): Recent(count=count, last_at=last_at) for name, detail, count, last_at in counted}


def _held_workspaces(claim: Claim, now: datetime) -> dict[UUID, datetime]:
    """Return the workspaces of which an event is held back already, and until when."""
    held = Delivery.objects.filter(
        channel_id=claim.channel.pk, state=DeliveryState.WAITING, attempts=0, next_attempt_at__gt=now
    )
    return dict(held.exclude(workspace_id=None).values_list("workspace_id").annotate(until=Max("next_attempt_at")))
