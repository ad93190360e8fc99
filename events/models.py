"""The event log, the counter of its positions, and the channels with their deliveries."""

from datetime import datetime
from typing import Self

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import BrinIndex
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import CheckConstraint, Q, UniqueConstraint
from django.db.models.functions import Now

from events.names import EventType


class Event(models.Model):
    """Something that happened, with a snapshot of its workspace instead of foreign keys.

    Read events by `position`, which is given after the commit (events/relay.py), and not by `id`.
    """

    event_type = models.CharField(max_length=63, choices=EventType.choices)
    # Null for incidents, which are about the fleet.
    workspace_id = models.UUIDField(null=True)
    # The workspace's version after a change of status, or at the time of any other event.
    version = models.PositiveBigIntegerField(null=True)
    # Whether this event is a change of status; each version has exactly one.
    is_move = models.BooleanField(default=False)
    payload = models.JSONField(default=dict)
    # The workspace at that time: {name, runtime, ancestors: [ID as text, nearest first]}.
    subject = models.JSONField(default=dict)
    created_at = models.DateTimeField(db_default=Now())
    position = models.PositiveBigIntegerField(null=True, unique=True)

    class Meta:
        ordering = ["id"]
        constraints = [
            CheckConstraint(condition=Q(event_type__in=EventType.values), name="event_type_known"),
            CheckConstraint(
                condition=Q(workspace_id__isnull=False, version__isnull=False)
                | Q(workspace_id__isnull=True, version__isnull=True, is_move=False),
                name="event_version_goes_with_workspace",
            ),
            # One event for each change of status.
            UniqueConstraint(fields=["workspace_id", "version"], condition=Q(is_move=True), name="event_one_per_move"),
        ]
        indexes = [
            # events_number_committed (events/sql): events without a position.
            models.Index(fields=["id"], condition=Q(position__isnull=True), name="event_unpositioned"),
            # GET /events/{workspace_id} and the admin's page of one workspace.
            models.Index(fields=["workspace_id", "position"], name="event_by_workspace"),
            # GET /events of some names, and the admin's list of one.
            models.Index(fields=["event_type", "position"], name="event_by_name"),
            # events/retention.py. The log is appended to, so a few pages of this index tell where the old events are.
            BrinIndex(fields=["created_at"], name="event_by_time"),
        ]

    def __str__(self) -> str:
        return f"{self.event_type} #{self.position or '–'}"


class PositionCounter(models.Model):
    """A single row with the position given last. A relay locks it while it numbers events."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    last_position = models.PositiveBigIntegerField(default=0)

    class Meta:
        constraints = [CheckConstraint(condition=Q(id=1), name="position_counter_single_row")]

    def __str__(self) -> str:
        return f"position {self.last_position}"


class ChannelQuerySet(models.QuerySet["Channel"]):
    def sending(self, *, now: datetime) -> Self:
        """Return the channels whose deliveries may be sent now."""
        held = Q(held_until__gt=now)
        return self.filter(is_enabled=True, paused_at__isnull=True).exclude(held)


class Channel(models.Model):
    """A receiver of one kind, and which events it wants.

    An event must match every filter that is not empty. Nothing is queued for a disabled channel. For a paused one
    deliveries are queued but not sent.
    """

    name = models.CharField(max_length=100, unique=True)
    # A key of events/channels/registry.py. It has no choices, so that a new kind needs no migration.
    kind = models.CharField(max_length=30)
    # The fields of the kind's form that may be shown.
    options = models.JSONField(default=dict, blank=True)
    # The other fields: a JSON object, encrypted (postgres/encryption.py).
    sealed_options = models.TextField(default="", blank=True)
    event_types = ArrayField(models.CharField(max_length=63), default=list, blank=True)
    runtimes = ArrayField(models.CharField(max_length=100), default=list, blank=True)
    failure_codes = ArrayField(models.CharField(max_length=63), default=list, blank=True)
    workspace_id = models.UUIDField(null=True, blank=True)
    with_descendants = models.BooleanField(default=True)
    # How many requests may run at once, in all processes together, and how long each may take.
    concurrency = models.PositiveSmallIntegerField(default=4, validators=[MinValueValidator(1), MaxValueValidator(32)])
    timeout_seconds = models.PositiveSmallIntegerField(
        default=10, validators=[MinValueValidator(1), MaxValueValidator(30)]
    )
    is_enabled = models.BooleanField(default=True)
    disabled_reason = models.TextField(default="", blank=True)
    paused_at = models.DateTimeField(null=True, blank=True)
    # The receiver asked for a pause until then (Retry-After).
    held_until = models.DateTimeField(null=True, blank=True)
    last_success_at = models.DateTimeField(null=True)
    last_latency_ms = models.PositiveIntegerField(null=True)
    last_error_at = models.DateTimeField(null=True)
    last_error = models.TextField(default="")
    created_at = models.DateTimeField(db_default=Now())

    objects = ChannelQuerySet.as_manager()

    class Meta:
        ordering = ["name", "pk"]
        constraints = [
            CheckConstraint(condition=Q(concurrency__gte=1, concurrency__lte=32), name="channel_concurrency_bounded"),
            CheckConstraint(
                condition=Q(timeout_seconds__gte=1, timeout_seconds__lte=30), name="channel_timeout_bounded"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class DeliveryState(models.TextChoices):
    # Due at `next_attempt_at`.
    WAITING = "waiting", "Waiting"
    # Claimed until `leased_until`. If that has passed, the process that claimed it died.
    SENDING = "sending", "Sending"
    DELIVERED = "delivered", "Delivered"
    # Given up. An operator may send it again (redrive).
    DEAD = "dead", "Dead letter"


class Delivery(models.Model):
    """One event for one channel. Written in batches only: events/relay.py, events/delivery/claims.py."""

    channel = models.ForeignKey(Channel, on_delete=models.CASCADE, db_index=False)
    event = models.ForeignKey(Event, on_delete=models.CASCADE, db_index=False)
    # A copy of the event's position, so that a claim sorts without a join.
    position = models.PositiveBigIntegerField()
    workspace_id = models.UUIDField(null=True)
    state = models.CharField(max_length=9, choices=DeliveryState.choices, db_default=DeliveryState.WAITING)
    # Attempts with a known result. A redrive starts from 0.
    attempts = models.PositiveSmallIntegerField(db_default=0)
    next_attempt_at = models.DateTimeField(db_default=Now())
    # Also distinguishes a claim from a later one of the same row.
    leased_until = models.DateTimeField(null=True)
    settled_at = models.DateTimeField(null=True)
    # The result of each attempt, oldest first: {at, ok, latency_ms, answer, response, error}.
    history = models.JSONField(default=list, db_default=models.Value([], output_field=models.JSONField()))

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "deliveries"
        constraints = [
            CheckConstraint(condition=Q(state__in=DeliveryState.values), name="delivery_state_known"),
            CheckConstraint(
                condition=Q(state=DeliveryState.SENDING, leased_until__isnull=False)
                | (~Q(state=DeliveryState.SENDING) & Q(leased_until__isnull=True)),
                name="delivery_lease_goes_with_sending",
            ),
            # Also serves retention: the deliveries of events that are deleted.
            UniqueConstraint(fields=["event", "channel"], name="delivery_once_per_channel"),
        ]
        indexes = [
            # events_claim (events/sql): first attempts, in the log's order.
            models.Index(
                fields=["channel", "position"],
                condition=Q(state=DeliveryState.WAITING, attempts=0),
                name="delivery_first",
            ),
            # events_claim: later attempts that are due.
            models.Index(
                fields=["channel", "next_attempt_at"],
                condition=Q(state=DeliveryState.WAITING, attempts__gt=0),
                name="delivery_later",
            ),
            # events_claim: deliveries that are being sent, or that a dead process left.
            models.Index(
                fields=["channel", "leased_until"], condition=Q(state=DeliveryState.SENDING), name="delivery_leased"
            ),
            # The dead letters of a channel, to count and redrive them.
            models.Index(fields=["channel", "position"], condition=Q(state=DeliveryState.DEAD), name="delivery_dead"),
            # A channel's page in the admin, and the number of messages of one group that were sent recently.
            models.Index(fields=["channel", "settled_at"], name="delivery_by_channel"),
        ]

    def __str__(self) -> str:
        return f"delivery {self.pk}"


class SentForm(models.Model):
    """A form of the admin that has acted, by the token it carries, so that it doesn't act twice. Kept for a day."""

    token = models.UUIDField(primary_key=True)
    # The address that the first answer led to; empty if it was a page.
    result = models.CharField(max_length=500, blank=True, default="")
    created_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return str(self.token)
