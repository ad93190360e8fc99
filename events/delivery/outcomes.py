"""Stores the outcomes of a claim. A message whose outcome is lost is sent again."""

import time
from collections.abc import Callable, Sequence

from django.db import DatabaseError, InterfaceError, connection, transaction

from events.channels.base import SendFailed
from events.delivery.channel_operations import disable
from events.delivery.claims import Claim, ClaimedDelivery, Mark, mark, release
from events.models import Channel
from postgres.errors import is_outage


def store_marks(claim: Claim, marks: Sequence[Mark]) -> None:
    """Mark deliveries and update the channel's health, in one transaction."""
    health: dict[str, object] = {}
    if delivered := [each for each in marks if each.is_delivered]:
        health |= {"last_success_at": marks[-1].at, "last_latency_ms": delivered[-1].entry["latency_ms"]}
    if failed := [each for each in marks if not each.is_delivered]:
        health |= {"last_error_at": marks[-1].at, "last_error": failed[-1].entry["error"]}
    with transaction.atomic():
        # Lock the channel's row first, as a claim does. In the other order, two processes could deadlock.
        Channel.objects.filter(pk=claim.channel.pk).update(**health)
        mark(claim, marks)


def finish(claim: Claim, *, unsent: Sequence[ClaimedDelivery], stopped_by: SendFailed | None) -> None:
    """Give back what was not attempted. Hold or disable the channel if the receiver asked for that."""
    if unsent:
        release(claim, unsent)
    if stopped_by is None:
        return
    if stopped_by.retry_after:
        Channel.objects.filter(pk=claim.channel.pk).update(held_until=claim.now() + stopped_by.retry_after)
    if stopped_by.is_gone:
        disable(claim.channel, reason=f"The receiver wants no more events. {stopped_by}")


def despite_outage(write: Callable[[], object]) -> None:
    """Call `write`, again and again through an outage of Postgres of up to 16 seconds. Other errors are raised."""
    for pause_seconds in (0.2, 0.5, 1, 2, 4, 8):
        try:
            write()
        except (DatabaseError, InterfaceError) as error:
            if not is_outage(error):
                raise
            connection.close()
            time.sleep(pause_seconds)
        else:
            return
    write()
