"""All that a workspace's page shows, read in a fixed number of queries."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.urls import reverse
from django.utils.dateparse import parse_datetime
from django.utils.safestring import SafeString

from agent import rules
from events.models import Event
from postgres.clock import database_now
from workspaces.admin.display import (
    age_cell,
    deadline_cell,
    lasted,
    moment_cell,
    phase_cell,
    status_cell,
)
from workspaces.configuration import catalog
from workspaces.configuration.parser import BadConfig, parse_config
from workspaces.deadlines.policy import current_policy, stop_deadline
from workspaces.lifecycle.failures import advice_for
from workspaces.lifecycle.transitions import (
    FailureOwner,
    FailureSource,
    Phase,
    TeardownReason,
    WorkspaceStatus,
)
from workspaces.models import Launch, Workspace
from workspaces.overview import overview
from workspaces.services.launching import queue_limits

_LAUNCHES = 10
_EVENTS = 25

Row = tuple[str, SafeString | str]


@dataclass(frozen=True, kw_only=True)
class LaunchLine:
    """A launch as a row of the page's table."""

    launch: Launch
    is_present: bool
    began: SafeString | str
    phases: str
    evidence: str
    teardown: str
    address: str


def facts_of(workspace: Workspace) -> dict[str, Any]:
    """Return the context of a workspace's page."""
    return {
        "workspace": workspace,
        "is_provisioning": workspace.status == WorkspaceStatus.PROVISIONING,
        "is_failed": workspace.status == WorkspaceStatus.FAILED,
        "status_rows": _status_rows(workspace),
        "identity_rows": _identity_rows(workspace),
        "failure_rows": _failure_rows(workspace),
        "card": json.dumps(workspace.agent_card, indent=2, ensure_ascii=False) if workspace.agent_card else "",
        "launches": [_line(row, workspace) for row in _present_launches(workspace.pk)],
        "events": Event.objects.filter(workspace_id=workspace.pk).order_by("-id")[:_EVENTS],
        "events_address": f"{reverse('admin:events_event_changelist')}?workspace={workspace.pk}",
        "lacks_command": _lacks_command(workspace),
    }


def _present_launches(workspace_id: UUID) -> list[Launch]:
    return list(Launch.objects.filter(workspace_id=workspace_id).order_by("-queued_at", "pk")[:_LAUNCHES])


def _status_rows(workspace: Workspace) -> list[Row]:
    glance = overview(workspace, now=database_now(), policy=current_policy())
    beat = getattr(workspace, "heartbeat", None)
    rows: list[Row] = [
        ("Status", status_cell(workspace.status)),
        ("Phase", phase_cell(glance)),
        ("Age", age_cell(glance)),
        ("Deadline", deadline_cell(glance)),
        ("Held since", moment_cell(workspace.held_since)),
        ("Place in the queue", _place(workspace)),
        ("Paused with", _name_of(workspace.paused_by)),
        ("Restarts", moment_cell(workspace.restart_due_at)),
        ("Restarts by its policy", str(workspace.restart_attempts or "")),
        ("Url", workspace.url),
        ("Last heartbeat", moment_cell(beat.last_heartbeat_at) if beat and _has_beaten(workspace) else ""),
        ("Current task", beat.current_task if beat else ""),
        ("Last error of its agent", beat.sample_error if beat else ""),
    ]
    return _filled(rows)


def _place(workspace: Workspace) -> str:
    return str(queue_limits.queue_positions().get(workspace.pk, "")) if workspace.phase == Phase.QUEUED else ""


def _name_of(workspace_id: UUID | None) -> str:
    return str(Workspace.objects.filter(pk=workspace_id).first() or "") if workspace_id else ""


def _has_beaten(workspace: Workspace) -> bool:
    # The row is made with the workspace: until a beat of the present launch, it tells of nothing.
    began = workspace.provisioning_started_at or workspace.created_at
    return workspace.heartbeat.last_heartbeat_at > began


def _identity_rows(workspace: Workspace) -> list[Row]:
    return _filled(
        [
            ("Id", str(workspace.pk)),
            ("Runtime", workspace.runtime),
            ("Runs from", f"template {workspace.template}" if workspace.template else "pasted config.yaml"),
            ("Model", workspace.model),
            ("Backend", workspace.get_backend_display()),
            ("Parent", str(workspace.parent) if workspace.parent else ""),
            ("Created", moment_cell(workspace.created_at)),
            ("Version", str(workspace.version)),
            ("Present launch", str(workspace.launch_id)),
        ]
    )


def _failure_rows(workspace: Workspace) -> list[Row]:
    if not workspace.failure_code:
        return []
    rows: list[Row] = [
        ("Code", workspace.failure_code),
        ("Whose it is", str(FailureOwner(workspace.failure_owner or FailureOwner.UNKNOWN).label)),
        ("In phase", str(Phase(workspace.failure_phase).label) if workspace.failure_phase else ""),
        ("Seen by", str(FailureSource(workspace.failure_source).label)),
        ("At", moment_cell(workspace.failure_at)),
        *_known_rows(workspace.failure_known),
        ("What to do", advice_for(workspace.failure_code)),
    ]
    return _filled(rows)


# How the facts of services/failing.py are called on a page, in this order; the database keeps none.
_KNOWN_AS = {
    "phase_entered_at": "The phase began",
    "last_step": "Last boot step",
    "last_step_at": "That step began",
    "backend_state": "Its backend said",
    "exit_code": "Exit code",
    "backend_seen_at": "It said so at",
    "limit_seconds": "Limit, in seconds",
    "limit_source": "That limit comes from",
}


def _known_rows(known: Mapping[str, Any]) -> list[Row]:
    names = [*(name for name in _KNOWN_AS if name in known), *(name for name in known if name not in _KNOWN_AS)]
    return [(_KNOWN_AS.get(name, name), _known_cell(name, known[name])) for name in names]


def _known_cell(name: str, value: Any) -> SafeString | str:
    return moment_cell(parse_datetime(str(value))) if name.endswith("_at") else str(value)


def _filled(rows: list[Row]) -> list[Row]:
    return [(name, value) for name, value in rows if value]


def _line(launch: Launch, workspace: Workspace) -> LaunchLine:
    return LaunchLine(
        launch=launch,
        is_present=launch.pk == workspace.launch_id,
        began=moment_cell(launch.queued_at),
        phases=phases_of(launch),
        evidence=evidence_of(launch),
        teardown=teardown_of(launch),
        address=reverse("admin:workspaces_launch_change", args=[launch.pk]),
    )


def phases_of(launch: Launch) -> str:
    """Return how long each phase lasted."""
    ends = (
        ("queued", launch.queued_at, launch.launching_at),
        ("launching", launch.launching_at, launch.booting_at),
        ("booting", launch.booting_at, launch.ended_at),
    )
    spoken = ((name, lasted(start, end)) for name, start, end in ends)
    return ", ".join(f"{name} {length}" for name, length in spoken if length)


def evidence_of(launch: Launch) -> str:
    """Return what was seen of the launch last, in one line."""
    seen = launch.evidence or {}
    parts = [str(seen.get("state", ""))]
    if seen.get("exit_code") is not None:
        parts.append(f"exit code {seen['exit_code']}")
    parts.append(str(seen.get("detail", "")))
    return ", ".join(part for part in parts if part)


def teardown_of(launch: Launch) -> str:
    """Return whether its backend object is gone, is to go, or can't be confirmed gone."""
    if launch.torn_down_at:
        return f"Gone. {launch.teardown_error}".strip()
    if launch.teardown_at is None:
        return "Stands"
    reason = TeardownReason(launch.teardown_reason).label.lower()
    if launch.teardown_attempts and launch.teardown_error:
        return f"Not confirmed gone after {launch.teardown_attempts} attempts: {launch.teardown_error}"
    by = stop_deadline(launch.teardown_at)
    return f"To be stopped at {launch.teardown_at:%H:%M:%S UTC}, confirmed by {by:%H:%M:%S} ({reason})"


def _lacks_command(workspace: Workspace) -> bool:
    """Tell whether the agent alone runs: by its own card once it has registered, before that by the configuration."""
    if workspace.is_external:
        return False
    if "runtime_command" in workspace.agent_card:
        return workspace.agent_card["runtime_command"] is None
    try:
        return not rules.command_of(parse_config(workspace.config or catalog.read_config_text(workspace.template)))
    except (BadConfig, catalog.UnknownTemplate):
        return False
