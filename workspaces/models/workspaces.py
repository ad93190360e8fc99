"""Workspaces, and the last heartbeats of their agents."""

import uuid
from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Annotated, Any, Self

from django.contrib.postgres.fields import ArrayField
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import CheckConstraint, F, Q, Value
from django.db.models.base import ModelState
from django.db.models.functions import Now
from typing_extensions import TypedDict

from agent.texts import printable
from postgres.enum_field import EnumField
from postgres.enum_text import one_of
from postgres.json_field import SparseJSONField
from workspaces.lifecycle.failures import advice_for
from workspaces.lifecycle.transitions import (
    ACTIVE,
    RUNNING,
    WITH_DEADLINE,
    BudgetAction,
    FailureCode,
    FailureOwner,
    FailureSource,
    Phase,
    RestartPolicy,
    WorkspaceStatus,
)
from workspaces.models.configurations import Configuration
from workspaces.provisioners.kinds import BackendKind

MAX_BUDGET_CENTS = 10**12
MAX_SET_CHARACTERS = 63
MAX_STEP_CHARACTERS = 200
MAX_STEP_DETAIL_CHARACTERS = 1000
MAX_TIMEOUT_SECONDS = 7 * 24 * 3600


class FailureOut(TypedDict):
    """Why the last launch failed."""

    code: Annotated[str, one_of(FailureCode)]
    message: str
    source: Annotated[str, one_of(FailureSource)]
    at: datetime
    log_tail: str
    owner: Annotated[str, one_of(FailureOwner)]
    phase: Annotated[str, one_of(Phase)]
    known: dict[str, Any]
    advice: str


def is_overdue(*, now: datetime, override: timedelta | None) -> Q:
    """Return the condition for workspaces past their effective deadline; see WorkspaceQuerySet.overdue."""
    if override is None:
        return Q(deadline_at__lte=now)
    return Q(phase_entered_at__lte=now - override)


class WorkspaceQuerySet(models.QuerySet["Workspace"]):
    def not_removed(self) -> "WorkspaceQuerySet":
        return self.exclude(status=WorkspaceStatus.REMOVED)

    def provisioning(self) -> "WorkspaceQuerySet":
        return self.filter(status=WorkspaceStatus.PROVISIONING)

    def overdue(self, *, now: datetime, override: timedelta | None = None) -> "WorkspaceQuerySet":
        """Workspaces past their effective deadline: the stored one, or `override` after the phase began."""
        return self.filter(is_overdue(now=now, override=override))

    def expects_heartbeats(self) -> "WorkspaceQuerySet":
        return self.filter(status__in=RUNNING)

    def needing_restart(self) -> "WorkspaceQuerySet":
        """Workspaces whose launch runs with secrets that have changed since; see Workspace.needs_restart."""
        return self.filter(secrets_changed=True, status__in=ACTIVE).exclude(phase=Phase.QUEUED)

    def active(self) -> "WorkspaceQuerySet":
        """Workspaces that Slipway launched and that were not stopped: a shutdown of Slipway stops these."""
        return self.exclude(backend=BackendKind.EXTERNAL).filter(status__in=ACTIVE)


class DirectlyRead(models.Model):
    """A model whose rows are read by the thousands (ADR 16)."""

    class Meta:
        abstract = True

    @classmethod
    def from_db(  # type: ignore[override]  # Django 6 passes one argument more and has to fail here (ADR 16)
        cls, db: str | None, field_names: Collection[str], values: Collection[Any]
    ) -> Self:
        """Return an instance made of a row; fields that were not selected are deferred.

        Django's own from_db first goes through all of the fields, nearly fifty of a workspace. For a sweep or a list,
        which select a few fields of thousands of rows, that is most of the work.
        """
        row = cls.__new__(cls)
        row.__dict__.update(zip(field_names, values, strict=True))
        row._state = ModelState()
        row._state.adding, row._state.db = False, db
        return row


class Workspace(DirectlyRead):
    """A workspace for one agent.

    Only services/core/transition.py writes `status` and `version`; only the services write the clocks of the launch.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=100)
    role = models.CharField(max_length=200, blank=True, default="")
    tier = models.PositiveSmallIntegerField(default=1, validators=[MinValueValidator(1), MaxValueValidator(10)])
    runtime = models.CharField(max_length=63)
    # The name of a catalog entry; empty if `config` was pasted.
    template = models.CharField(max_length=63, blank=True, default="")
    # The pasted config.yaml; empty if the template's current one is used.
    config = models.TextField(blank=True, default="")
    # What an operator relaunched it with instead of its template's current one. A plain restart clears it.
    kept_configuration = models.ForeignKey(
        Configuration, null=True, blank=True, editable=False, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    model = models.CharField(max_length=200, blank=True, default="")
    backend = models.CharField(max_length=20, choices=BackendKind.choices, default=BackendKind.PROCESS)
    parent = models.ForeignKey("self", null=True, blank=True, on_delete=models.PROTECT, related_name="children")
    labels = SparseJSONField(blank=True, default=dict)
    x = models.FloatField(default=0)
    y = models.FloatField(default=0)
    # The names of its sets of secrets; of equal secrets the one of the last set wins.
    secret_sets = ArrayField(
        models.CharField(max_length=MAX_SET_CHARACTERS),
        blank=True,
        default=list,
        db_default=Value([], output_field=ArrayField(models.CharField(max_length=MAX_SET_CHARACTERS))),
    )
    # Whether it gets other secrets than those that its last launch was started with.
    secrets_changed = models.BooleanField(default=False, db_default=False, editable=False)
    budget_limit = models.PositiveBigIntegerField(null=True, blank=True, help_text="Cents a month.")
    budget_action = models.CharField(
        max_length=20, choices=BudgetAction.choices, default=BudgetAction.NOTIFY, db_default=BudgetAction.NOTIFY
    )
    # The level of the budget that was told last, in percent, and the first day of the month in which it was.
    budget_told_percent = models.PositiveSmallIntegerField(default=0, db_default=0, editable=False)
    budget_told_month = models.DateField(null=True, editable=False)
    hibernation_idle_minutes = models.PositiveIntegerField(null=True, blank=True)
    # Its own sweep limit for booting; takes precedence over the template's.
    provision_timeout_seconds = models.PositiveIntegerField(null=True, blank=True)
    # A copy from when the current launch began, 0 for none: a change takes effect with the next launch.
    launch_timeout_seconds = models.PositiveIntegerField(null=True, editable=False)
    # The limits of the effective config.yaml when it was last read.
    template_timeout_seconds = models.PositiveIntegerField(null=True, blank=True, editable=False)
    # Whether that limit counts even if it is shorter than the runtime's.
    template_timeout_override = models.BooleanField(default=False, db_default=False, editable=False)
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
    # Raised by exactly one with each transition, and by nothing else.
    version = models.PositiveBigIntegerField(default=1, editable=False)
    # The fencing token: reports of an earlier launch can't change the current one.
    launch_id = models.UUIDField(default=uuid.uuid4, editable=False)
    phase = models.CharField(max_length=20, choices=Phase.choices, blank=True, default="", editable=False)
    provisioning_started_at = models.DateTimeField(null=True, editable=False)
    phase_entered_at = models.DateTimeField(null=True, editable=False)
    progress_at = models.DateTimeField(null=True, editable=False)
    # The boot step that the agent reported last, and what it said of it.
    progress_step = models.CharField(max_length=MAX_STEP_CHARACTERS, blank=True, default="", editable=False)
    progress_detail = models.CharField(
        max_length=MAX_STEP_DETAIL_CHARACTERS, blank=True, default="", db_default="", editable=False
    )
    deadline_at = models.DateTimeField(null=True, editable=False)
    # Since when its deadline failure is held for mass lateness. Any transition clears it.
    held_since = models.DateTimeField(null=True, editable=False)
    # The ancestor whose pause also paused this one; null if it was paused itself.
    paused_by = models.UUIDField(null=True, editable=False)
    # Restarts by its policy since it was last online for long enough.
    restart_attempts = models.PositiveSmallIntegerField(default=0, db_default=0, editable=False)
    # The crash loop that it is in, through all its restarts: {count, attempt, most_attempts, next_attempt_at, gave_up,
    # state, exit_code, at, log_tail}, see services/watching/crash_recovery.py; empty if it is in none.
    crash_loop = SparseJSONField(
        blank=True, default=dict, db_default=Value({}, output_field=models.JSONField()), editable=False
    )
    # When its policy restarts it. Any transition clears it.
    restart_due_at = models.DateTimeField(null=True, editable=False)
    # When the files of a removed workspace were deleted.
    files_deleted_at = models.DateTimeField(null=True, editable=False)
    url = models.CharField(max_length=2000, blank=True, default="", editable=False)
    agent_card = SparseJSONField(blank=True, default=dict, editable=False)

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
    # The phase of provisioning in which it failed; empty if it was online before.
    failure_phase = models.CharField(
        max_length=20, choices=Phase.choices, blank=True, default="", db_default="", editable=False
    )
    # The facts at that time: last step, what the backend reported, which limit; see services/launching/fail.py.
    failure_known = SparseJSONField(
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
            # Nothing waits without a deadline, so the sweep finds it whatever crashes.
            CheckConstraint(
                condition=~Q(status__in=list(WITH_DEADLINE)) | Q(deadline_at__isnull=False),
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
            CheckConstraint(condition=Q(budget_action__in=BudgetAction.values), name="workspace_budget_action_known"),
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
            # services/watching/sweep.py, without an override.
            models.Index(
                fields=["deadline_at"], condition=Q(status=WorkspaceStatus.PROVISIONING), name="workspace_deadline"
            ),
            # services/watching/sweep.py, under PROVISION_TIMEOUT_SECONDS.
            models.Index(
                fields=["phase_entered_at"],
                condition=Q(status=WorkspaceStatus.PROVISIONING),
                name="workspace_phase_entered",
            ),
            # services/watching/mass_lateness.py: counts booting and late ones by an index-only scan.
            models.Index(
                fields=["runtime", "backend", "deadline_at"],
                condition=Q(status=WorkspaceStatus.PROVISIONING, phase=Phase.BOOTING),
                name="workspace_booting",
            ),
            # services/launching/queue_limits.py: the next launches of a backend, and how many are starting.
            models.Index(
                fields=["backend", "phase", "provisioning_started_at", "id"],
                condition=Q(status=WorkspaceStatus.PROVISIONING, phase__in=[Phase.QUEUED, Phase.LAUNCHING]),
                name="workspace_waiting",
            ),
            # services/watching/mass_lateness.py: workspaces whose failure is held.
            models.Index(fields=["id"], condition=Q(held_since__isnull=False), name="workspace_held"),
            # services/watching/watch.py: workspaces that should run.
            models.Index(
                fields=["id"],
                condition=Q(status__in=list(RUNNING)),
                name="workspace_alive",
            ),
            # services/stopping/hibernate.py: hibernations whose deadline passed.
            models.Index(
                fields=["deadline_at"],
                condition=Q(status=WorkspaceStatus.HIBERNATING),
                name="workspace_hibernating",
            ),
            # services/watching/crash_recovery.py: restarts that are due.
            models.Index(
                fields=["restart_due_at"], condition=Q(restart_due_at__isnull=False), name="workspace_restart_due"
            ),
            # services/stopping/remove.py: removed workspaces whose files may still exist.
            models.Index(
                fields=["id"],
                condition=Q(status=WorkspaceStatus.REMOVED, files_deleted_at__isnull=True),
                name="workspace_files_to_delete",
            ),
            models.Index(fields=["name", "id"], name="workspace_list_order"),
            # retention.py: whether a workspace is kept at a configuration.
            models.Index(
                fields=["kept_configuration"],
                condition=Q(kept_configuration__isnull=False),
                name="workspace_configuration",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def runs_a_launch(self) -> bool:
        """Return whether a launch was started with its secrets, as far as Slipway knows, and was not stopped."""
        return self.status in ACTIVE and self.phase != Phase.QUEUED

    @property
    def needs_restart(self) -> bool:
        """Return whether its launch runs with secrets that have changed since."""
        return self.secrets_changed and self.runs_a_launch

    @property
    def is_external(self) -> bool:
        return self.backend == BackendKind.EXTERNAL

    @property
    def own_limit_seconds(self) -> int | None:
        """Return its own sweep limit for booting: of the launch in flight, otherwise of the next one."""
        is_in_flight = bool(self.phase) and self.launch_timeout_seconds is not None
        return self.launch_timeout_seconds if is_in_flight else self.provision_timeout_seconds

    @property
    def failure(self) -> FailureOut | None:
        """Return the stored failure in the shape of the API, or None."""
        if not self.failure_code or self.failure_at is None:
            return None
        return {
            "code": self.failure_code,
            "message": self.failure_message,
            "source": self.failure_source,
            "at": self.failure_at,
            "log_tail": printable(self.failure_log_tail),
            "owner": self.failure_owner or FailureOwner.UNKNOWN.value,
            "phase": self.failure_phase,
            "known": self.failure_known,
            "advice": advice_for(self.failure_code),
        }


class Heartbeat(DirectlyRead):
    """The last heartbeat of a workspace's agent, in a narrow row of its own so that it never waits for a sweep.

    No column that a heartbeat writes is indexed, and the table has fillfactor 70, so every update is heap-only.
    workspaces_store_heartbeat writes it.
    """

    workspace = models.OneToOneField(Workspace, primary_key=True, on_delete=models.CASCADE, related_name="heartbeat")
    # The current launch: a heartbeat of an earlier one finds no row to update.
    launch_id = models.UUIDField(null=True)
    last_heartbeat_at = models.DateTimeField(db_default=Now())
    error_rate = models.FloatField(default=0)
    sample_error = models.TextField(blank=True, default="")
    active_tasks = models.PositiveIntegerField(default=0)
    # Since when its heartbeats report no active task; null while they report one.
    idle_since = models.DateTimeField(null=True)
    uptime_seconds = models.PositiveBigIntegerField(default=0)
    current_task = models.TextField(blank=True, default="")
    # In cents, and the first day of the month for which it was reported.
    monthly_spend = models.PositiveBigIntegerField(default=0)
    spend_month = models.DateField(null=True)
    runtime_state = models.CharField(max_length=20, blank=True, default="")
    # {capabilities: {name: bool}, idle_timeout_seconds}
    runtime_metadata = SparseJSONField(default=dict)

    class Meta:
        constraints = [
            CheckConstraint(condition=Q(error_rate__gte=0, error_rate__lte=1), name="heartbeat_error_rate_is_a_rate"),
            CheckConstraint(condition=Q(monthly_spend__lte=MAX_BUDGET_CENTS), name="heartbeat_spend_capped"),
        ]

    def __str__(self) -> str:
        return f"{self.workspace_id} at {self.last_heartbeat_at}"
