"""Explain in words which deadline applies and where it comes from."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from workspaces.deadlines.policy import (
    BOOT_LIMITS,
    Limit,
    LimitSource,
    Policy,
    deadline_in_force,
    longest_wait,
    phase_limit,
    runtime_seconds,
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
    LimitSource.LONGEST_WAIT: "QUEUE_LONGEST_SECONDS in the environment",
}
_OTHER = {
    Phase.QUEUED: "while its queue moves it may wait for",
    Phase.LAUNCHING: "the backend's own start may take",
    Phase.BOOTING: "the watcher takes its last look after",
}


@dataclass(frozen=True, kw_only=True)
class PhaseLimit:
    """The limit of one phase."""

    phase: Phase
    limit: Limit

    @property
    def origin(self) -> str:
        """Return in words where the limit comes from."""
        return _SOURCES[self.limit.source]

    @property
    def other_description(self) -> str:
        """Return in words what the phase's other limit is, to be followed by `other_seconds`."""
        return _OTHER[self.phase]

    @property
    def other_seconds(self) -> float:
        """Return the phase's other limit: of what acts earlier, or of the whole wait in a queue that moves."""
        return longest_wait().seconds if self.phase == Phase.QUEUED else self.limit.inner_seconds


@dataclass(frozen=True, kw_only=True)
class CurrentDeadline:
    """A workspace's current deadline. `at` and `last_look_at` are None if it waits for nothing."""

    at: datetime | None
    is_stall: bool
    last_look_at: datetime | None


class TemplateWithLimit(Protocol):
    """What counts of a template here; configuration/catalog.py has the templates."""

    @property
    def id(self) -> str: ...
    @property
    def runtime(self) -> str: ...
    @property
    def provision_timeout_seconds(self) -> int | None: ...
    @property
    def provision_timeout_override(self) -> bool: ...


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The limits of a workspace, or of a runtime's workspaces that set none themselves.

    `runtime` is empty for all runtimes without limits of their own. `warnings` name limits that don't count.
    """

    runtime: str
    phases: list[PhaseLimit]
    warnings: list[str]
    workspace: Workspace | None = None
    current: CurrentDeadline | None = None


def limits_of_runtimes(*, policy: Policy, templates: Sequence[TemplateWithLimit]) -> list[Limits]:
    """Return the limits of each runtime that has its own, then those of all others."""
    return [limits_of_runtime(name, policy=policy, templates=templates) for name in (*known_runtimes(), "")]


def limits_of_runtime(runtime: str, *, policy: Policy, templates: Iterable[TemplateWithLimit]) -> Limits:
    """Return the limits of a runtime ("": of all without their own), with warnings of its templates."""
    warnings = []
    for template in templates:
        ignored = ignored_limit(
            runtime=template.runtime,
            template_seconds=template.provision_timeout_seconds,
            template_overrides=template.provision_timeout_override,
        )
        if ignored and template.runtime == runtime:
            warnings.append(f"template {template.id}: {ignored}")
    return Limits(runtime=runtime, phases=runtime_phase_limits(runtime, policy=policy), warnings=warnings)


def limits_of_workspace(workspace: Workspace, *, policy: Policy) -> Limits:
    """Return the limits of a workspace, and the deadline that counts now."""
    ignored = ignored_limit(
        runtime=workspace.runtime,
        template_seconds=workspace.template_timeout_seconds,
        template_overrides=workspace.template_timeout_override,
    )
    return Limits(
        runtime=workspace.runtime,
        phases=phase_limits(workspace, policy=policy),
        warnings=[ignored] if ignored else [],
        workspace=workspace,
        current=current_deadline(workspace, policy=policy),
    )


def phase_limits(workspace: Workspace, *, policy: Policy) -> list[PhaseLimit]:
    """Return the limit of each phase of this workspace's provisioning, in order."""
    return [PhaseLimit(phase=phase, limit=phase_limit(workspace, phase=phase, policy=policy)) for phase in PHASES]


def runtime_phase_limits(runtime: str, *, policy: Policy) -> list[PhaseLimit]:
    """Return the limits of a workspace of this runtime that sets no limit itself."""
    return phase_limits(Workspace(runtime=runtime), policy=policy)


def current_deadline(workspace: Workspace, *, policy: Policy) -> CurrentDeadline:
    """Return the workspace's current deadline under this policy."""
    deadline = deadline_in_force(workspace, policy=policy)
    return CurrentDeadline(
        at=deadline.at if deadline else None,
        is_stall=deadline.is_stall if deadline else False,
        last_look_at=watcher_deadline(workspace, policy=policy) if deadline else None,
    )


def ignored_limit(*, runtime: str, template_seconds: int | None, template_overrides: bool) -> str:
    """Return a sentence if a template's limit doesn't count because its runtime's is longer; "" if it counts."""
    longer = runtime_seconds(runtime)
    if not template_seconds or template_overrides or template_seconds >= longer:
        return ""
    return (
        f"runtime_config.provision_timeout_seconds ({template_seconds} seconds) doesn't count, because the limit of "
        f"the runtime {runtime} is longer ({longer} seconds). If the shorter one is meant, add "
        "provision_timeout_override: true."
    )


def known_runtimes() -> list[str]:
    """Return the runtimes that have their own boot limit."""
    return sorted(BOOT_LIMITS)
