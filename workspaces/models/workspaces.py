"""Workspaces, and what their agents said last."""

import uuid
from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import connection, models
from django.db.models import CheckConstraint, F, Func, Q, Value
from django.db.models.base import ModelState
from django.db.models.functions import Now
from django.db.models.lookups import IsNull

from postgres.enum_field import EnumField
from workspaces.lifecycle.failures import advice_for
from workspaces.lifecycle.transitions import (
    FailureCode,
    FailureOwner,
    FailureSource,
    Phase,
    RestartPolicy,
    WorkspaceStatus,
)

MAX_BUDGET_CENTS = 10**12
MAX_TIMEOUT_SECONDS = 7 * 24 * 3600


class BackendKind(models.TextChoices):
    """Where a workspace runs."""

    # A process beside the worker; isolates nothing.
    PROCESS = "process", "Process"
    # Run by somebody else, who connects it.
    EXTERNAL = "external", "External"
    # Runs nowhere: its agents are played by `manage.py simulate`.
    SIMULATED = "simulated", "Simulated"

    @property
    def gives_address(self) -> bool:
        """Tell whether the backend's own address of a workspace stands, whatever its agent says."""
        return self in {BackendKind.PROCESS, BackendKind.SIMULATED}


def is_overdue(*, now: datetime, override: timedelta | None) -> Q:
    """Return the condition of those past the deadline in force: see WorkspaceQuerySet.overdue."""
    if override is None:
        return Q(deadline_at__lte=now)
    return Q(phase_entered_at__lte=now - override)


class WorkspaceQuerySet(models.QuerySet["Workspace"]):
    """Adjectives that chain."""

    def not_removed(self) -> "WorkspaceQuerySet":
        """Not removed."""
        return self.exclude(status=WorkspaceStatus.REMOVED)

    def provisioning(self) -> "WorkspaceQuerySet":
        return self.filter(status=WorkspaceStatus.PROVISIONING)

    def overdue(self, *, now: datetime, override: timedelta | None = None) -> "WorkspaceQuerySet":
        """Past the deadline in force: the stored one, or `override` (a timedelta) after the phase began."""
        return self.filter(is_overdue(now=now, override=override))

    def expects_heartbeats(self) -> "WorkspaceQuerySet":
        """Expected to send heartbeats."""
        return self.filter(status__in=[WorkspaceStatus.ONLINE, WorkspaceStatus.DEGRADED])

    def running(self) -> "WorkspaceQuerySet":
        """Launched by us and not stopped: what a shutdown of Slipway has to stop."""
        return self.exclude(backend=BackendKind.EXTERNAL).filter(
            status__in=[
                WorkspaceStatus.PROVISIONING,
                WorkspaceStatus.ONLINE,
                WorkspaceStatus.DEGRADED,
                WorkspaceStatus.OFFLINE,
            ]
        )


class Workspace(models.Model):
    """One agent's workspace. services/moving.py and its callers alone write `status` and the launch's clocks."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=100)
    role = models.CharField(max_length=200, blank=True, default="")
    tier = models.PositiveSmallIntegerField(default=1, validators=[MinValueValidator(1), MaxValueValidator(10)])
    runtime = models.CharField(max_length=63)
    # A catalog entry's name; empty where `config` was pasted.
    template = models.CharField(max_length=63, blank=True, default="")
    # The pasted config.yaml; empty where the template's present one counts.
    config = models.TextField(blank=True, default="")
    model = models.CharField(max_length=200, blank=True, default="")
    backend = models.CharField(max_length=20, choices=BackendKind.choices, default=BackendKind.PROCESS)
    parent = models.ForeignKey("self", null=True, blank=True, on_delete=models.PROTECT, related_name="children")
    labels = models.JSONField(blank=True, default=dict)
    x = models.FloatField(default=0)
    y = models.FloatField(default=0)
    budget_limit = models.PositiveBigIntegerField(null=True, blank=True, help_text="Cents a month.")
    hibernation_idle_minutes = models.PositiveIntegerField(null=True, blank=True)
    # Its own sweep limit for booting, in seconds; comes before the template's.
    provision_timeout_seconds = models.PositiveIntegerField(null=True, blank=True)
    # The same as it was when the present launch began, 0 for none: a change holds from the next launch on.
    launch_timeout_seconds = models.PositiveIntegerField(null=True, editable=False)
    # What the effective config.yaml said when it was read last.
    template_timeout_seconds = models.PositiveIntegerField(null=True, blank=True, editable=False)
    stall_timeout_seconds = models.PositiveIntegerField(null=True, blank=True, editable=False)
    restart_policy = models.CharField(
        max_length=20,
        choices=RestartPolicy.choices,
        default=RestartPolicy.ON_FAILURE,
        db_default=RestartPolicy.ON_FAILURE,
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    status = EnumField(
        enum=WorkspaceStatus, enum_type="workspace_status", default=WorkspaceStatus.PROVISIONING, editable=False
    )
    # Raised by exactly one with each move; counts moves only.
    version = models.PositiveBigIntegerField(default=1, editable=False)
    # The fencing token: what an earlier launch reports can't touch the present one.
    launch_id = models.UUIDField(default=uuid.uuid4, editable=False)
    phase = models.CharField(max_length=20, choices=Phase.choices, blank=True, default="", editable=False)
    provisioning_started_at = models.DateTimeField(null=True, editable=False)
    phase_entered_at = models.DateTimeField(null=True, editable=False)
    progress_at = models.DateTimeField(null=True, editable=False)
    progress_step = models.CharField(max_length=200, blank=True, default="", editable=False)
    deadline_at = models.DateTimeField(null=True, editable=False)
    # Since when the brake holds its deadline failure; see services/braking.py. Any move ends that.
    held_since = models.DateTimeField(null=True, editable=False)
    # The workspace whose pause took this one along; null where it was paused itself.
    paused_by = models.UUIDField(null=True, editable=False)
    # Restarts that its policy made since it was last online for long enough.
    restart_attempts = models.PositiveSmallIntegerField(default=0, db_default=0, editable=False)
    # When its policy restarts it; any move takes this back.
    restart_due_at = models.DateTimeField(null=True, editable=False)
    # When the files of a removed workspace were seen gone.
    files_deleted_at = models.DateTimeField(null=True, editable=False)
    url = models.CharField(max_length=2000, blank=True, default="", editable=False)
    agent_card = models.JSONField(blank=True, default=dict, editable=False)

    failure_code = models.CharField(max_length=30, choices=FailureCode.choices, blank=True, default="", editable=False)
    failure_source = models.CharField(
        max_length=30, choices=FailureSource.choices, blank=True, default="", editable=False
    )
    failure_message = models.TextField(blank=True, default="", editable=False)
    failure_at = models.DateTimeField(null=True, editable=False)
    failure_log_tail = models.TextField(blank=True, default="", editable=False)
    failure_owner = models.CharField(
        max_length=20, choices=FailureOwner.choices, blank=True, default="", db_default="", editable=False
    )
    # The phase of provisioning in which it failed; empty where it was online before.
    failure_phase = models.CharField(
        max_length=20, choices=Phase.choices, blank=True, default="", db_default="", editable=False
    )
    # What was known then: last step and when, what the backend said, which limit; see services/failing.py.
    failure_known = models.JSONField(
        blank=True, default=dict, db_default=Value({}, output_field=models.JSONField()), editable=False
    )

    objects = WorkspaceQuerySet.as_manager()

    class Meta:
        ordering = ["name", "id"]
        constraints = [
            CheckConstraint(condition=~Q(name=""), name="workspace_has_a_name"),
            CheckConstraint(condition=Q(backend__in=BackendKind.values), name="workspace_backend_known"),
            CheckConstraint(condition=Q(phase__in=Phase.values), name="workspace_phase_known"),
            CheckConstraint(condition=Q(failure_code__in=FailureCode.values), name="workspace_failure_code_known"),
            CheckConstraint(
                condition=Q(failure_source__in=FailureSource.values), name="workspace_failure_source_known"
            ),
            CheckConstraint(condition=Q(failure_owner__in=FailureOwner.values), name="workspace_failure_owner_known"),
            CheckConstraint(condition=Q(failure_phase__in=Phase.values), name="workspace_failure_phase_known"),
            # Whatever crashes, the sweep finds it: nothing waits without a deadline.
            CheckConstraint(
                condition=~Q(status__in=[WorkspaceStatus.PROVISIONING, WorkspaceStatus.HIBERNATING])
                | Q(deadline_at__isnull=False),
                name="workspace_waits_with_a_deadline",
            ),
            CheckConstraint(
                condition=~Q(status=WorkspaceStatus.PROVISIONING)
                | (~Q(phase="") & Q(phase_entered_at__isnull=False, provisioning_started_at__isnull=False)),
                name="workspace_provisioning_has_a_phase",
            ),
            CheckConstraint(
                condition=~Q(status=WorkspaceStatus.FAILED)
                | ~(Q(failure_code="") | Q(failure_source="") | Q(failure_message="") | Q(failure_at__isnull=True)),
                name="workspace_failed_with_a_reason",
            ),
            CheckConstraint(condition=~Q(parent=F("id")), name="workspace_not_its_own_parent"),
            CheckConstraint(
                condition=Q(restart_policy__in=RestartPolicy.values), name="workspace_restart_policy_known"
            ),
            CheckConstraint(
                condition=Q(held_since__isnull=True) | Q(status=WorkspaceStatus.PROVISIONING),
                name="workspace_held_while_provisioning",
            ),
            CheckConstraint(
                condition=Q(paused_by__isnull=True) | Q(status=WorkspaceStatus.PAUSED),
                name="workspace_paused_by_while_paused",
            ),
        ]
        indexes = [
            # services/sweeping.py, without an override.
            models.Index(
                fields=["deadline_at"], condition=Q(status=WorkspaceStatus.PROVISIONING), name="workspace_deadline"
            ),
            # services/sweeping.py, under PROVISION_TIMEOUT_SECONDS.
            models.Index(
                fields=["phase_entered_at"],
                condition=Q(status=WorkspaceStatus.PROVISIONING),
                name="workspace_phase_entered",
            ),
            # services/braking.py: how many are booting and late, from the index alone.
            models.Index(
                fields=["runtime", "backend", "deadline_at"],
                condition=Q(status=WorkspaceStatus.PROVISIONING, phase=Phase.BOOTING),
                name="workspace_booting",
            ),
            # services/braking.py: whom the brake holds.
            models.Index(fields=["id"], condition=Q(held_since__isnull=False), name="workspace_held"),
            # registry/services.py: those whose heartbeats are looked at.
            models.Index(
                fields=["id"],
                condition=Q(status__in=[WorkspaceStatus.ONLINE, WorkspaceStatus.DEGRADED]),
                name="workspace_alive",
            ),
            # services/hibernating.py: claims whose deadline passed.
            models.Index(
                fields=["deadline_at"],
                condition=Q(status=WorkspaceStatus.HIBERNATING),
                name="workspace_hibernating",
            ),
            # services/reviving.py: restarts that are due.
            models.Index(
                fields=["restart_due_at"], condition=Q(restart_due_at__isnull=False), name="workspace_restart_due"
            ),
            # services/removing.py: removed ones whose files may still be there.
            models.Index(
                fields=["id"],
                condition=Q(status=WorkspaceStatus.REMOVED, files_deleted_at__isnull=True),
                name="workspace_files_to_delete",
            ),
            models.Index(fields=["name", "id"], name="workspace_list_order"),
        ]

    def __str__(self) -> str:
        return self.name

    @classmethod
    def from_db(  # type: ignore[override]  # the stubs are Django 6's, which passes one more: that shall fail (ADR 16)
        cls, db: str | None, field_names: Collection[str], values: Collection[Any]
    ) -> "Workspace":
        """Return the instance of a row that was read; a field that was not is read when somebody asks for it.

        As Django's own does, which first marks each of some fifty fields as read or not: for the few fields that a
        sweep or a list needs of thousands of rows, that is most of the work.
        """
        row = cls.__new__(cls)
        row.__dict__.update(zip(field_names, values, strict=True))
        row._state = ModelState()
        row._state.adding, row._state.db = False, db
        return row

    @property
    def is_external(self) -> bool:
        return self.backend == BackendKind.EXTERNAL

    @property
    def own_limit_seconds(self) -> int | None:
        """Return its own sweep limit for booting: that of the launch in flight, or else of the next one."""
        is_in_flight = bool(self.phase) and self.launch_timeout_seconds is not None
        return self.launch_timeout_seconds if is_in_flight else self.provision_timeout_seconds

    @property
    def failure(self) -> dict[str, Any] | None:
        """Return the stored failure in the API's shape, or None."""
        if not self.failure_code:
            return None
        return {
            "code": self.failure_code,
            "message": self.failure_message,
            "source": self.failure_source,
            "at": self.failure_at,
            "log_tail": self.failure_log_tail,
            "owner": self.failure_owner or FailureOwner.UNKNOWN.value,
            "phase": self.failure_phase,
            "known": self.failure_known,
            "advice": advice_for(self.failure_code),
        }


class HeartbeatQuerySet(models.QuerySet["Heartbeat"]):
    """Adjectives that chain."""

    def committed_asynchronously(self) -> "HeartbeatQuerySet":
        """Let this UPDATE commit without waiting for the disk, unless it is part of a longer transaction.

        For what is said again soon. A crash of the database may lose the last instants of it, nothing else (ADR 19).
        """
        # All that a longer one does would be as easily lost: an operator may have each request be one.
        if connection.in_atomic_block:
            return self.all()
        return self.filter(IsNull(_COMMIT_UNAWAITED, False))


# By the statement itself: a SET before it would be another round trip. As long as its transaction lasts.
_COMMIT_UNAWAITED = Func(
    *(Value("synchronous_commit"), Value("off"), Value(True)), function="set_config", output_field=models.TextField()
)


class Heartbeat(models.Model):
    """What a workspace's agent said last: one narrow row each, so that beats never queue behind a sweep.

    No column that a beat writes is indexed, and pages keep room (fillfactor 70): every update is heap-only.
    """

    workspace = models.OneToOneField(Workspace, primary_key=True, on_delete=models.CASCADE, related_name="heartbeat")
    # The launch whose agent is heard: a beat of an earlier one finds no row to write.
    launch_id = models.UUIDField(null=True)
    last_heartbeat_at = models.DateTimeField(db_default=Now())
    error_rate = models.FloatField(default=0)
    sample_error = models.TextField(blank=True, default="")
    active_tasks = models.PositiveIntegerField(default=0)
    # Since when its beats have told of no active task; null while they tell of one.
    idle_since = models.DateTimeField(null=True)
    uptime_seconds = models.PositiveBigIntegerField(default=0)
    current_task = models.TextField(blank=True, default="")
    monthly_spend = models.PositiveBigIntegerField(default=0)
    runtime_state = models.CharField(max_length=20, blank=True, default="")
    runtime_metadata = models.JSONField(default=dict)

    objects = HeartbeatQuerySet.as_manager()

    class Meta:
        constraints = [
            CheckConstraint(condition=Q(error_rate__gte=0, error_rate__lte=1), name="heartbeat_error_rate_is_a_rate"),
            CheckConstraint(condition=Q(monthly_spend__lte=MAX_BUDGET_CENTS), name="heartbeat_spend_capped"),
        ]

    def __str__(self) -> str:
        return f"{self.workspace_id} at {self.last_heartbeat_at}"
