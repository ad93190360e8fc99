"""The event log, the counter that gives each event its place in it, and whom its events are delivered to."""

from datetime import datetime
from typing import Self

from django.contrib.postgres.fields import ArrayField
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import CheckConstraint, Q, UniqueConstraint
from django.db.models.functions import Now

from events.names import EventType


class Event(models.Model):
    """One thing that happened, as it was then: a snapshot, without foreign keys.

    `id` is given before the commit, `position` after it (see events/relay.py): readers go by position.
    """

    event_type = models.CharField(max_length=63, choices=EventType.choices)
    # Null for incidents, which concern the fleet.
    workspace_id = models.UUIDField(null=True)
    # The workspace's version after the move, or at the time of any other event.
    version = models.PositiveBigIntegerField(null=True)
    # Whether this event is a change of status; each version has exactly one.
    is_move = models.BooleanField(default=False)
    payload = models.JSONField(default=dict)
    # What the event is about, as it was then: name, runtime, ancestors (ids, nearest first).
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
            # Backs "one event per move".
            UniqueConstraint(fields=["workspace_id", "version"], condition=Q(is_move=True), name="event_one_per_move"),
        ]
        indexes = [
            # relay.number_committed: the events that have no position yet.
            models.Index(fields=["id"], condition=Q(position__isnull=True), name="event_unpositioned"),
            # GET /events/{workspace_id} and the admin's page of one workspace.
            models.Index(fields=["workspace_id", "position"], name="event_by_workspace"),
        ]

    def __str__(self) -> str:
        return f"{self.event_type} #{self.position or '–'}"


class PositionCounter(models.Model):
    """A single row: the position given last. Whoever numbers events holds its lock."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    last_position = models.PositiveBigIntegerField(default=0)

    class Meta:
        constraints = [CheckConstraint(condition=Q(id=1), name="position_counter_single_row")]

    def __str__(self) -> str:
        return f"position {self.last_position}"


class ChannelQuerySet(models.QuerySet["Channel"]):
    def sending(self, *, now: datetime) -> Self:
        """Return those whose deliveries may be sent now."""
        held = Q(held_until__gt=now)
        return self.filter(is_enabled=True, paused_at__isnull=True).exclude(held)


class Channel(models.Model):
    """Where events go: a receiver of one kind, and which events it wants.

    Every filter that is not empty must match. Disabled: nothing is queued for it. Paused: it queues, nothing is sent.
    """

    name = models.CharField(max_length=100, unique=True)
    # A key of events/channels/registry.py; no choices, so that another kind needs no migration.
    kind = models.CharField(max_length=30)
    # What the kind's form asked for, and may be shown.
    options = models.JSONField(default=dict, blank=True)
    # The rest of it: a JSON object, encrypted (postgres/encryption.py).
    sealed_options = models.TextField(default="", blank=True)
    event_types = ArrayField(models.CharField(max_length=63), default=list, blank=True)
    runtimes = ArrayField(models.CharField(max_length=100), default=list, blank=True)
    failure_codes = ArrayField(models.CharField(max_length=63), default=list, blank=True)
    workspace_id = models.UUIDField(null=True, blank=True)
    with_descendants = models.BooleanField(default=True)
    # How many sends may run at a time, in all processes together, and how long each may take.
    concurrency = models.PositiveSmallIntegerField(default=4, validators=[MinValueValidator(1), MaxValueValidator(32)])
    timeout_seconds = models.PositiveSmallIntegerField(
        default=10, validators=[MinValueValidator(1), MaxValueValidator(30)]
    )
    is_enabled = models.BooleanField(default=True)
    disabled_reason = models.TextField(default="", blank=True)
    paused_at = models.DateTimeField(null=True, blank=True)
    # The receiver asked to be left alone until then (Retry-After).
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
    # Claimed until `leased_until`; whoever claimed it died where that has passed.
    SENDING = "sending", "Sending"
    DELIVERED = "delivered", "Delivered"
    # Given up; an operator may redrive it.
    DEAD = "dead", "Dead letter"


class Delivery(models.Model):
    """One event on its way to one channel. Written in batches only: events/relay.py, events/delivery/claims.py."""

    channel = models.ForeignKey(Channel, on_delete=models.CASCADE, db_index=False)
    event = models.ForeignKey(Event, on_delete=models.CASCADE, db_index=False)
    # The event's own, so that a claim needs no join to keep the order.
    position = models.PositiveBigIntegerField()
    workspace_id = models.UUIDField(null=True)
    state = models.CharField(max_length=9, choices=DeliveryState.choices, db_default=DeliveryState.WAITING)
    # Attempts with a known end; a redrive begins anew.
    attempts = models.PositiveSmallIntegerField(db_default=0)
    next_attempt_at = models.DateTimeField(db_default=Now())
    # Also tells one claim from a later one of the same row.
    leased_until = models.DateTimeField(null=True)
    settled_at = models.DateTimeField(null=True)
    # What each attempt came to, oldest first: {at, ok, latency_ms, answer, response, error}.
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
            # Also finds the deliveries of events that are pruned.
            UniqueConstraint(fields=["event", "channel"], name="delivery_once_per_channel"),
        ]
        indexes = [
            # claims.claim: first attempts, in the log's order.
            models.Index(
                fields=["channel", "position"],
                condition=Q(state=DeliveryState.WAITING, attempts=0),
                name="delivery_first",
            ),
            # claims.claim: later attempts, when they are due.
            models.Index(
                fields=["channel", "next_attempt_at"],
                condition=Q(state=DeliveryState.WAITING, attempts__gt=0),
                name="delivery_later",
            ),
            # claims.claim: what is under way, and what a dead process left.
            models.Index(
                fields=["channel", "leased_until"], condition=Q(state=DeliveryState.SENDING), name="delivery_leased"
            ),
            # The dead letters of a channel, counted and redriven.
            models.Index(fields=["channel", "position"], condition=Q(state=DeliveryState.DEAD), name="delivery_dead"),
            # A channel's page in the admin, and how many messages of one sort went out lately.
            models.Index(fields=["channel", "settled_at"], name="delivery_by_channel"),
        ]

    def __str__(self) -> str:
        return f"delivery {self.pk}"
