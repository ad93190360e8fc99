"""Launches: every attempt to bring a workspace online, kept as history."""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import models
from django.db.models import CheckConstraint, F, Q

from workspaces.lifecycle.transitions import DEADLINE_FAILURES, FailureCode, Phase, TeardownReason
from workspaces.models.configurations import Configuration
from workspaces.models.workspaces import MAX_STEP_CHARACTERS, MAX_STEP_DETAIL_CHARACTERS, Workspace
from workspaces.provisioners.kinds import BackendKind


class LaunchOutcome(models.TextChoices):
    """How a launch's provisioning ended."""

    IN_FLIGHT = "in_flight", "In flight"
    ONLINE = "online", "Online"
    FAILED = "failed", "Failed"
    # Another launch, a pause or the removal ended it before it was online.
    WITHDRAWN = "withdrawn", "Withdrawn"


@dataclass(frozen=True, kw_only=True)
class LaunchPhase:
    """A phase that a launch has entered. `left_at` is None while it lasts."""

    phase: Phase
    entered_at: datetime
    left_at: datetime | None

    @property
    def seconds(self) -> float | None:
        """Return how long it took, or None while it lasts."""
        return max(self.left_at - self.entered_at, timedelta(0)).total_seconds() if self.left_at else None


class LaunchQuerySet(models.QuerySet["Launch"]):
    def in_flight(self) -> "LaunchQuerySet":
        return self.filter(outcome=LaunchOutcome.IN_FLIGHT)

    def not_torn_down(self) -> "LaunchQuerySet":
        """Launches that are not confirmed stopped: their backend objects may exist."""
        return self.filter(torn_down_at__isnull=True)

    def current(self) -> "LaunchQuerySet":
        """The current launch of each workspace."""
        return self.filter(workspace__launch_id=F("pk"))

    def due_for_teardown(self, *, now: datetime) -> "LaunchQuerySet":
        """Launches whose scheduled stop is due and not confirmed."""
        return self.not_torn_down().filter(teardown_at__lte=now)


class Launch(models.Model):
    """One attempt to bring a workspace online. Its id is the fencing token.

    `teardown_at` is when its backend object is to be stopped, `torn_down_at` when the backend confirmed the stop.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    workspace = models.ForeignKey(Workspace, on_delete=models.PROTECT, related_name="launches")
    backend = models.CharField(max_length=20, choices=BackendKind.choices)
    runtime = models.CharField(max_length=63)
    # What it ran with; null if it never came so far that this was valid.
    configuration = models.ForeignKey(
        Configuration, null=True, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    outcome = models.CharField(max_length=20, choices=LaunchOutcome.choices, default=LaunchOutcome.IN_FLIGHT)
    queued_at = models.DateTimeField()
    launching_at = models.DateTimeField(null=True)
    booting_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    # How long its log was when it came online: the boot output ends there. Null if it was not online, or that could not
    # be told.
    boot_log_bytes = models.BigIntegerField(null=True)
    # When a task for it (launch or teardown) was last queued; Celery beat queues a lost one again.
    dispatched_at = models.DateTimeField(null=True)
    # The boot step that its agent reported last: when it began, and what was said of it.
    last_step = models.CharField(max_length=MAX_STEP_CHARACTERS, blank=True, default="", db_default="")
    last_step_detail = models.CharField(max_length=MAX_STEP_DETAIL_CHARACTERS, blank=True, default="", db_default="")
    last_step_at = models.DateTimeField(null=True)
    # The last observation of it: {state, exit_code, detail, at}.
    evidence = models.JSONField(default=dict)
    failure_code = models.CharField(max_length=30, choices=FailureCode.choices, blank=True, default="")
    # What its preflight found that is probably not meant, masked: [{code, message, path, line, column, hint}].
    warnings = models.JSONField(default=list, db_default=[])
    # What the failure said, masked.
    failure_message = models.TextField(blank=True, default="", db_default="")
    # The deadline failure that a late registration undid: the limit had failed a healthy launch.
    false_flip_code = models.CharField(
        max_length=30, choices=FailureCode.choices, blank=True, default="", db_default=""
    )
    teardown_at = models.DateTimeField(null=True)
    teardown_reason = models.CharField(max_length=20, choices=TeardownReason.choices, blank=True, default="")
    # A forced hibernation: a task that begins meanwhile does not cancel it.
    teardown_is_forced = models.BooleanField(default=False, db_default=False)
    # How often the stop was sent since it was scheduled.
    teardown_attempts = models.PositiveIntegerField(default=0)
    teardown_error = models.TextField(blank=True, default="")
    torn_down_at = models.DateTimeField(null=True)

    objects = LaunchQuerySet.as_manager()

    class Meta:
        ordering = ["-queued_at", "id"]
        verbose_name_plural = "launches"
        constraints = [
            CheckConstraint(condition=Q(outcome__in=LaunchOutcome.values), name="launch_outcome_known"),
            CheckConstraint(condition=Q(backend__in=BackendKind.values), name="launch_backend_known"),
            CheckConstraint(condition=Q(failure_code__in=FailureCode.values), name="launch_failure_code_known"),
            CheckConstraint(condition=Q(false_flip_code__in=FailureCode.values), name="launch_false_flip_code_known"),
            CheckConstraint(
                condition=Q(teardown_reason__in=TeardownReason.values), name="launch_teardown_reason_known"
            ),
        ]
        indexes = [
            # services/stopping/teardown.py: launches to stop.
            models.Index(
                fields=["teardown_at"],
                condition=Q(torn_down_at__isnull=True, teardown_at__isnull=False),
                name="launch_to_tear_down",
            ),
            # services/watching/watch.py and services/launching/redispatch.py: launches in flight.
            models.Index(fields=["queued_at"], condition=Q(outcome="in_flight"), name="launch_in_flight"),
            # monitoring/metrics.py: recent launches; the admin's list: the newest first.
            models.Index(fields=["queued_at"], name="launch_queued"),
            # services/launching/stalled_queue.py: when a queue last moved; deadlines/boot_times.py: recent launches.
            models.Index(fields=["launching_at"], name="launch_launching"),
            # deadlines/false_timeouts.py: launches that a deadline failed, undone or not.
            models.Index(
                fields=["runtime"],
                condition=Q(failure_code__in=sorted(DEADLINE_FAILURES)) | ~Q(false_flip_code=""),
                name="launch_flipped",
            ),
            # retention.py: whether a launch has a configuration.
            models.Index(
                fields=["configuration"], condition=Q(configuration__isnull=False), name="launch_configuration"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.id} ({self.outcome})"

    @property
    def phases(self) -> list[LaunchPhase]:
        """Return the phases that it has entered, in order; the last one ends with the launch."""
        begun = ((Phase.QUEUED, self.queued_at), (Phase.LAUNCHING, self.launching_at), (Phase.BOOTING, self.booting_at))
        entered = [(phase, at) for phase, at in begun if at is not None]
        ends = [at for _, at in entered[1:]] + [self.ended_at]
        return [
            LaunchPhase(phase=phase, entered_at=at, left_at=end) for (phase, at), end in zip(entered, ends, strict=True)
        ]
