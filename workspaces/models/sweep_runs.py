"""The record that the sweep keeps of its last run."""

from django.db import models
from django.db.models import CheckConstraint, Q


class SweepRun(models.Model):
    """The single row in which the sweep records its last run. Its age tells whether the sweep still runs."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    ran_at = models.DateTimeField()
    duration_seconds = models.FloatField()
    # How long ago the earliest deadline that the sweep found had passed.
    lag_seconds = models.FloatField(default=0)
    looked_at = models.PositiveIntegerField(default=0)
    flips = models.PositiveIntegerField(default=0)
    # Workspaces that were not failed: held because many are late together, waiting in a queue that moves, refused by
    # the database.
    held = models.PositiveIntegerField(default=0)
    postponed = models.PositiveIntegerField(default=0)
    set_aside = models.PositiveIntegerField(default=0)

    class Meta:
        constraints = [CheckConstraint(condition=Q(id=1), name="sweep_run_single_row")]

    def __str__(self) -> str:
        return f"sweep at {self.ran_at}"
