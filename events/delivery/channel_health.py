"""The health of channels, for the admin and the metrics."""

from datetime import datetime

from django.db.models import Count, IntegerField, Min, OuterRef, QuerySet, Subquery, TextChoices
from django.db.models.functions import Coalesce

from events.models import Channel, Delivery, DeliveryState

OPEN = (DeliveryState.WAITING, DeliveryState.SENDING)


class ChannelState(TextChoices):
    """What a channel does at present."""

    # Nothing is queued for it.
    DISABLED = "disabled", "Disabled"
    # What is queued waits until somebody resumes it.
    PAUSED = "paused", "Paused"
    # The receiver asked for a pause.
    HELD = "held", "Held"
    # It sends, but its last attempt failed.
    FAILING = "failing", "Failing"
    SENDING = "sending", "Sending"


def with_delivery_counts(channels: QuerySet[Channel]) -> QuerySet[Channel]:
    """Annotate the channels with `backlog` and `dead_letters`, in the same query."""

    def count(*states: DeliveryState) -> Coalesce:
        found = Delivery.objects.filter(channel_id=OuterRef("pk"), state__in=states).order_by()
        counted = found.values("channel_id").annotate(number=Count("pk")).values("number")
        return Coalesce(Subquery(counted, output_field=IntegerField()), 0)

    return channels.annotate(backlog=count(*OPEN), dead_letters=count(DeliveryState.DEAD))


def state_of(channel: Channel, *, now: datetime) -> ChannelState:
    """Return what the channel does at present."""
    if not channel.is_enabled:
        return ChannelState.DISABLED
    if channel.paused_at:
        return ChannelState.PAUSED
    if channel.held_until and channel.held_until > now:
        return ChannelState.HELD
    if channel.last_error_at and (channel.last_success_at is None or channel.last_success_at < channel.last_error_at):
        return ChannelState.FAILING
    return ChannelState.SENDING


def health_rows(channel: Channel, *, now: datetime) -> list[tuple[str, str]]:
    """Return what the channel's page shows, as (name, text). The channel has `with_delivery_counts`."""
    held = channel.held_until and channel.held_until > now
    rows = [
        ("State", str(state_of(channel, now=now).label)),
        ("Why disabled", channel.disabled_reason),
        ("Held until", f"{_utc(channel.held_until)}, as the receiver asked" if held else ""),
        ("Last success", _utc(channel.last_success_at)),
        ("Latency", f"{channel.last_latency_ms} ms" if channel.last_latency_ms is not None else ""),
        ("Last error", f"{_utc(channel.last_error_at)}: {channel.last_error}" if channel.last_error_at else ""),
        ("Backlog", str(channel.backlog)),  # type: ignore[attr-defined]
        ("Dead letters", str(channel.dead_letters)),  # type: ignore[attr-defined]
    ]
    return [(name, text) for name, text in rows if text]


def _utc(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC" if moment else ""


def count_by_kind() -> list[tuple[str, str, int]]:
    """Return (kind, state, number) of the deliveries that are waiting, being sent, or dead letters."""
    undelivered = Delivery.objects.filter(state__in=[*OPEN, DeliveryState.DEAD]).order_by("channel__kind", "state")
    counted = undelivered.values_list("channel__kind", "state").annotate(number=Count("pk"))
    return [(kind, str(state), number) for kind, state, number in counted]


def oldest_due_at(*, now: datetime) -> datetime | None:
    """Return when the oldest first attempt became due that has not been made, or None.

    Leaves out channels that may not be sent to now.
    """
    due = Delivery.objects.filter(
        channel__in=Channel.objects.sending(now=now),
        state=DeliveryState.WAITING,
        attempts=0,
        next_attempt_at__lte=now,
    )
    oldest: datetime | None = due.aggregate(oldest=Min("next_attempt_at"))["oldest"]
    return oldest
