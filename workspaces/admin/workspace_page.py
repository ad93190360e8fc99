"""The context of a workspace's page, read in a fixed number of queries."""

import json
from typing import Any

from django.urls import reverse
from django.utils.dateparse import parse_datetime
from django.utils.safestring import SafeString

from agent import rules
from events.models import Event
from postgres.clock import database_now
from workspaces.admin.coloured_log import coloured_html
from workspaces.admin.display import (
    display_age,
    display_deadline,
    display_evidence,
    display_launch_phases,
    display_phase,
    display_restart,
    display_status,
    display_teardown,
    display_time,
    display_warnings,
)
from workspaces.configuration.reports import report_on_workspace
from workspaces.deadlines.policy import current_policy
from workspaces.lifecycle.failures import advice_for
from workspaces.lifecycle.transitions import FailureOwner, FailureSource, Phase, WorkspaceStatus
from workspaces.models import Launch, Workspace
from workspaces.overview import describe_crash_loop, overview
from workspaces.services.launching import queue_limits

_SHOWN_LAUNCHES = 10
_SHOWN_EVENTS = 25
# The keys of `failure_known` (services/launching/fail.py) in the order of the page, with their labels.
_KNOWN_LABELS = {
    "phase_entered_at": "Phase began",
    "last_step": "Last boot step",
    "last_step_at": "Last boot step began",
    "backend_state": "State reported by the backend",
    "exit_code": "Exit code",
    "backend_seen_at": "Reported at",
    "limit_seconds": "Limit, in seconds",
    "limit_source": "Source of the limit",
    "configured_otherwise_at": "Template changed since the launch of",
}

Row = tuple[str, SafeString | str]


def workspace_context(workspace: Workspace, *, sees_secrets: bool) -> dict[str, Any]:
    """Return the context of a workspace's page. Rows without a value are left out."""
    launches = Launch.objects.filter(workspace_id=workspace.pk).order_by("-queued_at", "pk")[:_SHOWN_LAUNCHES]
    return {
        "workspace": workspace,
        "is_provisioning": workspace.status == WorkspaceStatus.PROVISIONING,
        "is_failed": workspace.status == WorkspaceStatus.FAILED,
        "status_rows": [row for row in status_rows(workspace) if row[1]],
        "identity_rows": [row for row in identity_rows(workspace) if row[1]],
        "failure_rows": [row for row in failure_rows(workspace) if row[1]],
        "failure_log": coloured_html(workspace.failure_log_tail),
        "card": json.dumps(workspace.agent_card, indent=2, ensure_ascii=False) if workspace.agent_card else "",
        "launches": [launch_row(launch, workspace, sees_secrets=sees_secrets) for launch in launches],
        "events": Event.objects.filter(workspace_id=workspace.pk).order_by("-id")[:_SHOWN_EVENTS],
        "events_address": f"{reverse('admin:events_event_changelist')}?workspace={workspace.pk}",
        **preflight_panel(workspace, sees_secrets=sees_secrets),
    }


def status_rows(workspace: Workspace) -> list[Row]:
    """Return the labels and values of the panel “State”."""
    summary = overview(workspace, now=database_now(), policy=current_policy())
    heartbeat = getattr(workspace, "heartbeat", None)
    began_at = workspace.provisioning_started_at or workspace.created_at
    # The row is created with the workspace. Until the current launch sends a heartbeat, its time means nothing.
    has_beaten = heartbeat is not None and heartbeat.last_heartbeat_at > began_at
    is_queued = workspace.phase == Phase.QUEUED
    place = queue_limits.queue_positions().get(workspace.pk, "") if is_queued else ""
    paused_by = Workspace.objects.filter(pk=workspace.paused_by).first() if workspace.paused_by else None
    return [
        ("Status", display_status(workspace.status)),
        ("Problem", summary.error),
        ("Secrets", display_restart(workspace)),
        ("Crash loop", describe_crash_loop(workspace)),
        ("Phase", display_phase(summary)),
        ("Age", display_age(summary)),
        ("Deadline", display_deadline(summary)),
        ("Held since", display_time(workspace.held_since)),
        ("Place in the queue", str(place)),
        ("Paused with", str(paused_by or "")),
        ("Next restart", display_time(workspace.restart_due_at)),
        ("Automatic restarts", str(workspace.restart_attempts or "")),
        ("URL", workspace.url),
        ("Last heartbeat", display_time(heartbeat.last_heartbeat_at) if heartbeat and has_beaten else ""),
        ("Runtime state", heartbeat.runtime_state if heartbeat else ""),
        ("Current task", heartbeat.current_task if heartbeat else ""),
        ("Last error of the agent", heartbeat.sample_error if heartbeat else ""),
    ]


def identity_rows(workspace: Workspace) -> list[Row]:
    """Return the labels and values of the panel “Identity”."""
    return [
        ("ID", str(workspace.pk)),
        ("Runtime", workspace.runtime),
        ("Configuration", f"template {workspace.template}" if workspace.template else "pasted config.yaml"),
        ("Template kept at", str(workspace.kept_configuration or "")),
        ("Model", workspace.model),
        ("Backend", workspace.get_backend_display()),
        ("Parent", str(workspace.parent or "")),
        ("Created", display_time(workspace.created_at)),
        ("Version", str(workspace.version)),
        ("Current launch", str(workspace.launch_id)),
    ]


def failure_rows(workspace: Workspace) -> list[Row]:
    """Return the labels and values of the panel “Failure”."""
    if not workspace.failure_code:
        return []
    known = workspace.failure_known
    names: list[str] = [name for name in _KNOWN_LABELS if name in known]
    names += [name for name in known if name not in _KNOWN_LABELS]
    known_rows: list[Row] = []
    for name in names:
        value = str(known[name])
        text = display_time(parse_datetime(value)) if name.endswith("_at") else value
        known_rows.append((_KNOWN_LABELS.get(name, name), text))
    return [
        ("Code", workspace.failure_code),
        ("Owner", str(FailureOwner(workspace.failure_owner or FailureOwner.UNKNOWN).label)),
        ("Phase", str(Phase(workspace.failure_phase).label) if workspace.failure_phase else ""),
        ("Reported by", str(FailureSource(workspace.failure_source).label)),
        ("Time", display_time(workspace.failure_at)),
        *known_rows,
        ("What to do", advice_for(workspace.failure_code)),
    ]


def launch_row(launch: Launch, workspace: Workspace, *, sees_secrets: bool) -> dict[str, Any]:
    """Return a row of the table of launches."""
    return {
        "launch": launch,
        "is_current": launch.pk == workspace.launch_id,
        "began": display_time(launch.queued_at),
        "phases": display_launch_phases(launch),
        "evidence": display_evidence(launch),
        "warnings": display_warnings(launch, sees_secrets=sees_secrets),
        "teardown": display_teardown(launch),
        "address": reverse("admin:workspaces_launch_change", args=[launch.pk]),
    }


def preflight_panel(workspace: Workspace, *, sees_secrets: bool, asks_backend: bool = False) -> dict[str, Any]:
    """Return the context of the panel “Preflight”, and whether the configuration lacks a command.

    `lacks_command`: only the agent runs, by its card once it has registered, until then by the configuration. The
    backend and the workers are asked only if wanted, since that may take seconds. If not, only the variables that the
    configuration asks for are listed: there may be thousands of others.
    """
    if workspace.is_external or workspace.status == WorkspaceStatus.REMOVED:
        return {}
    found = report_on_workspace(workspace, asks_backend=asks_backend, reads_secrets=sees_secrets)
    lacks_command = not found.checked.problems and not rules.command_of(found.checked.config)
    if "has_runtime" in workspace.agent_card:
        lacks_command = workspace.agent_card["has_runtime"] is False
    variables = [each for each in found.variables if asks_backend or each.is_required]
    return {
        "lacks_command": lacks_command,
        "report": found.report,
        "variables": variables,
        "other_variables": len(found.variables) - len(variables),
        "sees_secrets": sees_secrets,
        "asked_backend": asks_backend,
    }
