"""Which deadline applies, and where it comes from: the resolver's answer in words."""

from dataclasses import dataclass
from datetime import datetime

from workspaces.deadlines.policy import (
    BOOT_LIMITS,
    Limit,
    LimitSource,
    Policy,
    deadline_in_force,
    phase_limit,
    watcher_deadline,
)
from workspaces.lifecycle.transitions import Phase
from workspaces.models import Workspace

PHASES = (Phase.QUEUED, Phase.LAUNCHING, Phase.BOOTING)
_SOURCES = {
    LimitSource.OVERRIDE: "PROVISION_TIMEOUT_SECONDS in the environment, for every phase and for launches in flight",
    LimitSource.WORKSPACE: "the workspace's own provision_timeout_seconds",
    LimitSource.TEMPLATE: "its configuration's runtime_config.provision_timeout_seconds",
    LimitSource.RUNTIME: "its runtime (workspaces/deadlines/policy.py)",
    LimitSource.DEFAULT: "the default",
}
_INNER = {
    Phase.QUEUED: "",
    Phase.LAUNCHING: "the backend's own start may take",
    Phase.BOOTING: "the watcher takes its last look after",
}


@dataclass(frozen=True, kw_only=True)
class PhaseLimit:
    """One phase's limit; `inner` says who acts before it."""

    phase: Phase
    limit: Limit

    @property
    def origin(self) -> str:
        return _SOURCES[self.limit.source]

    @property
    def inner_description(self) -> str:
        return _INNER[self.phase]


@dataclass(frozen=True, kw_only=True)
class CurrentDeadline:
    """A workspace's present deadline: None where it waits for nothing."""

    at: datetime | None
    is_stall: bool
    last_look_at: datetime | None


def phase_limits(workspace: Workspace, *, policy: Policy) -> list[PhaseLimit]:
    """Return the limit of each phase of this workspace's provisioning."""
    return [PhaseLimit(phase=phase, limit=phase_limit(workspace, phase=phase, policy=policy)) for phase in PHASES]


def runtime_phase_limits(runtime: str, *, policy: Policy) -> list[PhaseLimit]:
    """Return the limits of a workspace of this runtime that sets none itself."""
    return phase_limits(Workspace(runtime=runtime), policy=policy)


def current_deadline(workspace: Workspace, *, policy: Policy) -> CurrentDeadline:
    """Return the deadline that the workspace has now."""
    deadline = deadline_in_force(workspace, policy=policy)
    return CurrentDeadline(
        at=deadline.at if deadline else None,
        is_stall=deadline.is_stall if deadline else False,
        last_look_at=watcher_deadline(workspace, policy=policy) if deadline else None,
    )


def known_runtimes() -> list[str]:
    """Return the runtimes that have a limit of their own."""
    return sorted(BOOT_LIMITS)
