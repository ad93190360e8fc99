"""The models of the app, one module for each group. Django imports all of them from here."""

from workspaces.models.configurations import Configuration
from workspaces.models.credentials import AgentToken, ApiKey, ApiScope, RetiredSecret, Secret, SecretSet
from workspaces.models.idempotency import StoredAnswer
from workspaces.models.incidents import Incident, Liveness
from workspaces.models.launches import Launch, LaunchOutcome, LaunchQuerySet
from workspaces.models.sweep_runs import SweepRun
from workspaces.models.usage import Usage, UsageCounter
from workspaces.models.workspaces import (
    MAX_BUDGET_CENTS,
    MAX_TIMEOUT_SECONDS,
    FailureOut,
    Heartbeat,
    Workspace,
    WorkspaceQuerySet,
    is_overdue,
)
from workspaces.provisioners.kinds import BackendKind

__all__ = [
    "MAX_BUDGET_CENTS",
    "MAX_TIMEOUT_SECONDS",
    "AgentToken",
    "ApiKey",
    "ApiScope",
    "BackendKind",
    "Configuration",
    "FailureOut",
    "Heartbeat",
    "Incident",
    "Launch",
    "LaunchOutcome",
    "LaunchQuerySet",
    "Liveness",
    "RetiredSecret",
    "Secret",
    "SecretSet",
    "StoredAnswer",
    "SweepRun",
    "Usage",
    "UsageCounter",
    "Workspace",
    "WorkspaceQuerySet",
    "is_overdue",
]
