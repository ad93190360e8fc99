"""The event log, and the counter that gives each event its place in it."""

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
