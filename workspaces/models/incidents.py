"""Incidents of the fleet, and when the parts of Slipway were alive last."""

from django.db import models
from django.db.models import CheckConstraint, F, Func, Q, UniqueConstraint, Value


class IncidentKind(models.TextChoices):
    """What an incident is about."""

    # Many launches of one runtime or backend are late together, so their deadline failures are held.
    MASS_LATENESS = "mass_lateness", "Mass lateness"
    # Slipway itself was away. The time was added to the deadlines of everything that waited.
    OWN_OUTAGE = "own_outage", "Own outage"


class Component(models.TextChoices):
    """A part of Slipway that leaves a record of being alive."""

    SWEEP = "sweep", "Sweep"
    WEB = "web", "Web"


class IncidentQuerySet(models.QuerySet["Incident"]):
    """Adjectives that chain."""

    def unresolved(self) -> "IncidentQuerySet":
        return self.filter(resolved_at__isnull=True)

    def about_mass_lateness(self) -> "IncidentQuerySet":
        """Incidents of launches that are late together."""
        return self.filter(kind=IncidentKind.MASS_LATENESS)

    def outages(self) -> "IncidentQuerySet":
        return self.filter(kind=IncidentKind.OWN_OUTAGE)


class Incident(models.Model):
    """Something that concerns the fleet rather than one workspace. One event tells that it opened, one that it ended.

    Written by services/watching/mass_lateness.py and outages.py. `let_go_at` and `let_go_by` say when its launches
    were released, and who released them, although the cause was not gone.
    """

    kind = models.CharField(max_length=30, choices=IncidentKind.choices)
    # `runtime:hermes`, `backend:process`, `sweep`, `web`.
    scope = models.CharField(max_length=100)
    # The part of `scope` before the first colon, and the part after it (empty without a colon).
    scope_kind = models.GeneratedField(
        expression=Func(F("scope"), Value(":"), Value(1), function="split_part"),
        output_field=models.CharField(max_length=100),
        db_persist=True,
    )
    scope_name = models.GeneratedField(
        expression=Func(F("scope"), Value("^[^:]*:?"), Value(""), function="regexp_replace"),
        output_field=models.CharField(max_length=100),
        db_persist=True,
    )
    opened_at = models.DateTimeField()
    let_go_at = models.DateTimeField(null=True)
    let_go_by = models.CharField(max_length=150, blank=True, default="")
    resolved_at = models.DateTimeField(null=True)
    count = models.PositiveIntegerField()
    message = models.TextField()

    objects = IncidentQuerySet.as_manager()

    class Meta:
        ordering = ["-opened_at", "-id"]
        constraints = [
            CheckConstraint(condition=Q(kind__in=IncidentKind.values), name="incident_kind_known"),
            # Concurrent sweeps open one incident, not two.
            UniqueConstraint(
                fields=["kind", "scope"], condition=Q(resolved_at__isnull=True), name="incident_open_once"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()}: {self.scope}"

    @property
    def is_holding(self) -> bool:
        """Whether it holds launches, so that they can be released."""
        is_over = self.resolved_at is not None or self.let_go_at is not None
        return self.kind == IncidentKind.MASS_LATENESS and not is_over


class Liveness(models.Model):
    """When a part of Slipway was alive last."""

    part = models.CharField(max_length=20, primary_key=True, choices=Component.choices)
    alive_at = models.DateTimeField()

    class Meta:
        verbose_name_plural = "liveness"

    def __str__(self) -> str:
        return f"{self.part} at {self.alive_at}"
