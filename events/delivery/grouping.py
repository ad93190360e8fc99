"""Grouping for channels that people read: many equal events become one message with a count.

Up to `SINGLE_MESSAGES` equal messages are sent singly within the window. Further ones are held until the window ends
and are then sent as one. Messages are equal if their `group_key` is.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from django.db.models import Count, Max, Q
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Coalesce

from events.channels.notification import group_key
from events.delivery.claims import Claim, ClaimedDelivery, Mark, mark
from events.models import Delivery, DeliveryState

SINGLE_MESSAGES = 3
IN_CRASH_LOOP = "Not sent: the workspace is in a crash loop. One message tells of it when its restart policy gives up."

GroupKey = tuple[str, str]
Groups = list[list[ClaimedDelivery]]
Held = dict[datetime, list[ClaimedDelivery]]


def without_quiet(claim: Claim) -> Claim:
    """Settle the deliveries that people are not told of, and return the claim with the others.

    A workspace in a crash loop goes offline and online again and again. When its restart policy gives up, one message
    tells of the whole loop.
    """
    at, marks, told = claim.now(), list[Mark](), list[ClaimedDelivery]()
    entry = {"ok": True, "latency_ms": 0, "answer": IN_CRASH_LOOP, "response": ""}
    for each in claim.deliveries:
        if each.event.payload.get("crash_loop", {}).get("gave_up") is False:
            marks.append(Mark(delivery=each, is_delivered=True, at=at, entry=entry))
        else:
            told.append(each)
    if marks:
        mark(claim, marks)
    return replace(claim, deliveries=told)


def group(claim: Claim, *, window: timedelta) -> tuple[Groups, Held]:
    """Return the deliveries to send now, each group as one message, and those to hold, by the time to hold them until.

    Later events of a workspace wait behind one that is held, so that the order is kept. Retries are never held.
    """
    now = claim.now()
    equals: dict[GroupKey, list[ClaimedDelivery]] = {}
    for delivery in claim.deliveries:
        equals.setdefault(group_key(delivery), []).append(delivery)
    held_keys = {
        key: last_sent_at + window
        for key, (count, last_sent_at) in _sent_since(claim, now - window).items()
        if key in equals and count + len(equals[key]) > SINGLE_MESSAGES
    }
    held_before = Delivery.objects.filter(
        channel_id=claim.channel.pk, state=DeliveryState.WAITING, attempts=0, next_attempt_at__gt=now
    ).exclude(workspace_id=None)
    held_workspaces = dict(held_before.values_list("workspace_id").annotate(until=Max("next_attempt_at")))
    to_send: dict[GroupKey, list[ClaimedDelivery]] = {}
    held: Held = {}
    for delivery in claim.deliveries:
        key, workspace_id = group_key(delivery), delivery.event.workspace_id
        until = held_keys.get(key) or held_workspaces.get(workspace_id)
        if until is None or delivery.attempts:
            to_send.setdefault(key, []).append(delivery)
        else:
            held.setdefault(until, []).append(delivery)
            if workspace_id:
                held_workspaces.setdefault(workspace_id, until)
    groups: Groups = []
    for deliveries in to_send.values():
        groups += [deliveries] if len(deliveries) > SINGLE_MESSAGES else [[each] for each in deliveries]
    return sorted(groups, key=lambda each: each[0].event.position), held


def _sent_since(claim: Claim, since: datetime) -> dict[GroupKey, tuple[int, datetime]]:
    """Return how many messages of each group key the channel has delivered since then, and when the last one."""
    sent = Delivery.objects.filter(channel_id=claim.channel.pk, settled_at__gt=since, state=DeliveryState.DELIVERED)
    is_told = Q(event__payload__crash_loop__gave_up__isnull=True) | Q(event__payload__crash_loop__gave_up=True)
    told = sent.filter(is_told)
    # As group_key does.
    detail = Coalesce(KeyTextTransform("code", "event__payload"), KeyTextTransform("kind", "event__payload"))
    delivered = told.values_list("event__event_type", detail)
    counted = delivered.annotate(count=Count("pk"), last_at=Max("settled_at")).order_by()
    return {(name, text or ""): (count, last_at) for name, text, count, last_at in counted}
