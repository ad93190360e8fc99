"""Incidents, which concern the fleet rather than one workspace, and the record of our own being alive."""

from django.db import models
from django.db.models import CheckConstraint, Q, UniqueConstraint


class IncidentKind(models.TextChoices):
    """What an incident is about."""

    # Many launches of one runtime or backend are late together: the brake holds their failures.
    MASS_LATENESS = "mass_lateness", "Mass lateness"
    # Slipway itself was away; who waited then was given that time back.
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
        """About launches that are late together."""
        return self.filter(kind=IncidentKind.MASS_LATENESS)

    def outages(self) -> "IncidentQuerySet":
        return self.filter(kind=IncidentKind.OWN_OUTAGE)


class Incident(models.Model):
    """One incident: told once when it opens, once when it is resolved. Written by services/braking.py and outages.py.

    `let_go_at` is when the brake let its launches go though the cause was not gone, `let_go_by` who or what did so.
    """

    kind = models.CharField(max_length=30, choices=IncidentKind.choices)
    # `runtime:hermes`, `backend:process`, `sweep`, `web`.
    scope = models.CharField(max_length=100)
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
            # Sweeps at once raise one incident, not two.
            UniqueConstraint(
                fields=["kind", "scope"], condition=Q(resolved_at__isnull=True), name="incident_open_once"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()}: {self.scope}"


class Liveness(models.Model):
    """When a part of Slipway was alive last."""

    part = models.CharField(max_length=20, primary_key=True, choices=Component.choices)
    alive_at = models.DateTimeField()

    class Meta:
        verbose_name_plural = "liveness"

    def __str__(self) -> str:
        return f"{self.part} at {self.alive_at}"
