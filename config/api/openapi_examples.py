"""An example of each request body and of each answer, by the name of its view. Tests hold each against its schema."""

from typing import Any

from events.delivery.channel_health import ChannelState
from events.names import EventType
from workspaces.access.api_keys import KeyState
from workspaces.deadlines.policy import LimitSource
from workspaces.lifecycle.failures import advice_for
from workspaces.lifecycle.transitions import (
    BudgetAction,
    FailureCode,
    FailureOwner,
    FailureSource,
    Phase,
    RestartPolicy,
    WorkspaceStatus,
)
from workspaces.models import ApiScope, BackendKind, LaunchOutcome
from workspaces.models.incidents import IncidentKind
from workspaces.provisioners.base import BackendState

_WORKSPACE_ID = "0b8d4a5e-3f0e-4b1c-9a57-2f6f3c1d7e42"
_OTHER_ID = "7c2e6f10-58d3-4c6e-8f1b-0d9a4e5b6c73"
_CARD = {"name": "nightly", "skills": [{"id": "summarise", "name": "Summarise"}]}

REQUESTS: dict[str, Any] = {
    "create_workspace": {
        "name": "nightly",
        "template": "hermes",
        "secrets": {"HERMES_API_KEY": "the key"},
        "labels": {"team": "search"},
        "budget_limit": 5000,
    },
    "change_workspace": {"name": "weekly", "x": 120, "y": 80, "labels": {"team": "search"}},
    "change_budget": {"budget_limit": 5000, "budget_action": "pause"},
    "set_secrets": {"secrets": {"OPENAI_API_KEY": "the key"}},
    "set_global_secrets": {"key": "OPENAI_API_KEY", "value": "the key"},
    "put_secret_set": {"secrets": {"OPENAI_API_KEY": "the key"}},
    "preflight_request": {"template": "hermes", "secrets": {"HERMES_API_KEY": "the key"}},
    "create_api_key": {"name": "scripts", "scopes": ["read", "operate"], "networks": ["10.0.0.0/8"]},
    "change_api_key": {"expires_at": "2027-01-31T00:00:00Z"},
    "add_channel": {
        "name": "on-call",
        "kind": "webhook",
        "options": {"url": "https://hooks.example/slipway"},
        "event_types": [EventType.WORKSPACE_PROVISION_FAILED],
    },
    "change_channel": {"event_types": [EventType.WORKSPACE_PROVISION_FAILED, EventType.WORKSPACE_OFFLINE]},
    "redrive_channel": {"since": "2026-01-31T00:00:00Z"},
    "register": {"id": _WORKSPACE_ID, "url": "http://localhost:9100", "agent_card": _CARD},
    "update_card": {"workspace_id": _WORKSPACE_ID, "agent_card": _CARD},
    "report_progress": {"workspace_id": _WORKSPACE_ID, "step": "install", "detail": "12 of 42 packages"},
    "failed": {
        "workspace_id": _WORKSPACE_ID,
        "code": "missing_env",
        "error": "OPENAI_API_KEY is not set.",
        "missing": ["OPENAI_API_KEY"],
    },
    "check_access": {"caller_id": _WORKSPACE_ID, "target_id": _OTHER_ID},
    "bootstrap_failed": {"error": "The disk is full.", "log_tail": "No space left on device\n"},
    "heartbeat": {
        "workspace_id": _WORKSPACE_ID,
        "error_rate": 0.0,
        "active_tasks": 1,
        "uptime_seconds": 3600,
        "current_task": "Summarise the release notes",
        "usage": {"input_tokens": 1200, "output_tokens": 300, "total_calls": 2, "counter": 17},
    },
}

# --- Answers ---------------------------------------------------------------------------------------

_QUEUED_AT, _LAUNCHING_AT, _BOOTING_AT = "2026-11-27T08:00:00Z", "2026-11-27T08:00:01.204Z", "2026-11-27T08:00:01.950Z"
_ENDED_AT = "2026-11-27T08:00:14.310Z"
_MISSING = (
    "Missing required environment variable HERMES_API_KEY. Add it to this workspace's secrets or to the global "
    "secrets, then restart."
)
_WORKSPACE = {
    "id": _WORKSPACE_ID,
    "name": "nightly",
    "role": "researcher",
    "tier": 2,
    "status": WorkspaceStatus.ONLINE,
    "runtime": "hermes",
    "template": "hermes",
    "model": "",
    "backend": BackendKind.PROCESS,
    "labels": {"team": "search"},
    "url": "http://localhost:9100",
    "agent_card": _CARD,
    "parent_id": None,
    "secret_sets": ["search"],
    "needs_restart": False,
    "budget_limit": 5000,
    "budget_action": BudgetAction.PAUSE,
    "created_at": _QUEUED_AT,
    "x": 120.0,
    "y": 80.0,
    "version": 2,
    "phase": Phase.NONE,
    "progress_step": "",
    "progress_detail": "",
    "held": False,
    "hibernation_idle_minutes": 30,
    "provision_timeout_seconds": None,
    "restart_policy": RestartPolicy.ON_FAILURE,
    "restart_attempts": 0,
    "restart_due_at": None,
    "paused_by": None,
    "active_tasks": 1,
    "uptime_seconds": 3600,
    "last_error_rate": 0.0,
    "last_sample_error": "",
    "current_task": "Summarise the release notes",
    "runtime_state": "",
    "idle_timeout_seconds": 600.0,
    "capabilities": {"scheduler": True, "status_mgmt": False},
    "monthly_spend": 1250,
    "provision_timeout_ms": 600000,
    "deadline_at": None,
    "queue_position": None,
    "crash_loop": None,
    "failure": None,
    "stopping": None,
}
_FAILED_WORKSPACE = {
    **_WORKSPACE,
    "id": _OTHER_ID,
    "name": "weekly",
    "status": WorkspaceStatus.FAILED,
    "url": "",
    "agent_card": None,
    "active_tasks": 0,
    "uptime_seconds": 0,
    "current_task": "",
    "idle_timeout_seconds": None,
    "capabilities": {},
    "last_sample_error": _MISSING,
    "failure": {
        "code": FailureCode.MISSING_ENV,
        "message": _MISSING,
        "source": FailureSource.PREFLIGHT,
        "at": _LAUNCHING_AT,
        "log_tail": "",
        "owner": FailureOwner.CONFIGURATION,
        "phase": Phase.LAUNCHING,
        "known": {"missing": ["HERMES_API_KEY"]},
        "advice": advice_for(FailureCode.MISSING_ENV),
    },
}
_LAUNCH = {
    "id": "d4a3c0de-77aa-4a55-9d0e-5f3b1c2a9e10",
    "workspace_id": _WORKSPACE_ID,
    "workspace_name": "nightly",
    "is_current": True,
    "backend": BackendKind.PROCESS,
    "runtime": "hermes",
    "outcome": LaunchOutcome.ONLINE,
    "queued_at": _QUEUED_AT,
    "ended_at": _ENDED_AT,
    "phases": [
        {"phase": Phase.QUEUED, "entered_at": _QUEUED_AT, "left_at": _LAUNCHING_AT, "seconds": 1.204},
        {"phase": Phase.LAUNCHING, "entered_at": _LAUNCHING_AT, "left_at": _BOOTING_AT, "seconds": 0.746},
        {"phase": Phase.BOOTING, "entered_at": _BOOTING_AT, "left_at": _ENDED_AT, "seconds": 12.36},
    ],
    "boot_log_bytes": 1284,
    "evidence": {"state": BackendState.RUNNING, "exit_code": None, "detail": "", "at": _ENDED_AT},
    "last_step": {"step": "install", "detail": "42 of 42 packages", "at": "2026-11-27T08:00:02.120Z"},
    "warnings": [],
    "failure": None,
    "undone_failure_code": FailureCode.NONE,
    "teardown": None,
}
_SECRET = {
    "name": "HERMES_API_KEY",
    "key": "HERMES_API_KEY",
    "scope": "workspace",
    "secret_set": None,
    "version": 2,
    "set_by": "the API key scripts",
    "set_at": _ENDED_AT,
    "created_at": _QUEUED_AT,
    "updated_at": _ENDED_AT,
}
_GLOBAL_SECRET = {**_SECRET, "name": "OPENAI_API_KEY", "key": "OPENAI_API_KEY", "scope": "global"}
_SECRET_OF_SET = {**_SECRET, "scope": "set", "secret_set": "search"}
_SAVED = {"status": "saved", "names": ["OPENAI_API_KEY"]}
_DELETED, _REVOKED, _UPDATED = ({"status": done} for done in ("deleted", "revoked", "updated"))
_BUDGET = {
    "budget_limit": 5000,
    "budget_used": 1250,
    "monthly_spend": 1250,
    "budget_remaining": 3750,
    "budget_action": BudgetAction.PAUSE,
}
_USED = {"input_tokens": 120_000, "output_tokens": 30_000, "total_calls": 200}
_KEY = {
    "id": 7,
    "name": "scripts",
    "prefix": "slw_Jq3x8fWb",
    "scopes": [ApiScope.READ, ApiScope.OPERATE],
    "networks": ["10.0.0.0/8"],
    "state": KeyState.VALID,
    "created_at": _QUEUED_AT,
    "expires_at": "2027-01-31T00:00:00Z",
    "last_used_at": _ENDED_AT,
    "revoked_at": None,
}
_INCIDENT = {
    "id": 3,
    "kind": IncidentKind.MASS_LATENESS,
    "scope": "runtime:hermes",
    "count": 14,
    "message": "14 of 16 launches of hermes are late together. Their failures are held.",
    "opened_at": _QUEUED_AT,
    "resolved_at": None,
    "is_holding": True,
    "released_at": None,
    "released_by": "",
}
_CHANNEL = {
    "id": 4,
    "name": "on-call",
    "kind": "webhook",
    "options": {"url": "https://hooks.example/slipway"},
    "encrypted": ["headers"],
    "event_types": [EventType.WORKSPACE_PROVISION_FAILED],
    "failure_codes": [],
    "runtimes": [],
    "workspace_id": None,
    "with_descendants": True,
    "concurrency": 4,
    "timeout_seconds": 10,
    "state": ChannelState.SENDING,
    "is_enabled": True,
    "disabled_reason": "",
    "paused_at": None,
    "held_until": None,
    "created_at": _QUEUED_AT,
    "last_success_at": _ENDED_AT,
    "last_latency_ms": 85,
    "last_error_at": None,
    "last_error": "",
    "backlog": 0,
    "dead_letters": 0,
}
_SIGNING = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
_EVENT = {
    "id": 1042,
    "event_type": EventType.WORKSPACE_ONLINE,
    "workspace_id": _WORKSPACE_ID,
    "version": 2,
    "payload": {"url": "http://localhost:9100", "agent_card": _CARD, "version": 2},
    "created_at": _ENDED_AT,
    "position": 1040,
}
_PROBLEM = {
    "code": "missing_env",
    "path": "runtime_config.required_env",
    "line": 12,
    "column": 5,
    "message": "Missing required environment variable HERMES_API_KEY.",
    "hint": "Add it to this workspace's secrets or to the global secrets.",
}
_VARIABLE = {
    "name": "HERMES_API_KEY",
    "required": True,
    "set": False,
    "source": None,
    "secret_set": None,
    "required_by": "runtime_config.required_env",
    "any_of": [],
}
_LIMITS = {
    "runtime": "hermes",
    "workspace_id": None,
    "phases": [
        {
            "phase": Phase.BOOTING,
            "seconds": 1800,
            "source": LimitSource.RUNTIME,
            "origin": "its runtime (workspaces/deadlines/policy.py)",
            "other": "the watcher takes its last look after",
            "other_seconds": 1740.0,
        }
    ],
    "stall_seconds": None,
    "warnings": [],
    "current": None,
}
_LAUNCHED = {"id": _WORKSPACE_ID, "status": WorkspaceStatus.PROVISIONING}

# Of an answer that is no success also by its status.
ANSWERS: dict[str, Any] = {
    "list_workspaces": [_WORKSPACE, _FAILED_WORKSPACE],
    "get_workspace": _WORKSPACE,
    "create_workspace": _LAUNCHED,
    "change_workspace": _UPDATED,
    "remove_workspace": {"status": WorkspaceStatus.REMOVED, "cascade_deleted": 0},
    "restart_workspace": _LAUNCHED,
    "pause_workspace": {"id": _WORKSPACE_ID, "status": WorkspaceStatus.PAUSED, "went_along": 1, "left": []},
    "resume_workspace": {**_LAUNCHED, "went_along": 0, "left": [{"id": _OTHER_ID, "name": "weekly"}]},
    "hibernate_workspace": {"id": _WORKSPACE_ID, "status": WorkspaceStatus.HIBERNATING},
    "wake_workspace": _LAUNCHED,
    "cancel_workspace": {"id": _WORKSPACE_ID, "status": WorkspaceStatus.FAILED},
    "get_state": {
        "workspace_id": _WORKSPACE_ID,
        "status": WorkspaceStatus.ONLINE,
        "paused": False,
        "deleted": False,
    },
    "get_budget": _BUDGET,
    "change_budget": _BUDGET,
    "get_metrics": {
        **_USED,
        "estimated_cost_usd": "12.500000",
        "period_start": "2026-11-01T00:00:00Z",
        "period_end": "2026-12-01T00:00:00Z",
    },
    "list_usage": [{"day": "2026-11-27", **_USED}],
    "get_console": {"output": "serving on port 9100\n"},
    "mint_token": {"id": 12, "auth_token": "slwt_Ub6o2m0qL4kYc8wZ"},
    "list_tokens": [
        {"id": 12, "launch_id": _LAUNCH["id"], "is_current": True, "created_at": _LAUNCHING_AT, "revoked_at": None}
    ],
    "revoke_token": _REVOKED,
    "list_launches": [_LAUNCH],
    "list_launches_of_workspace": [_LAUNCH],
    "get_launch": _LAUNCH,
    "list_secrets": [_SECRET, _GLOBAL_SECRET],
    "set_secrets": _SAVED,
    "delete_secret": _DELETED,
    "list_global_secrets": [_GLOBAL_SECRET],
    "set_global_secrets": _SAVED,
    "delete_global_secret": _DELETED,
    "list_secret_sets": [{"name": "search", "created_at": _QUEUED_AT, "secrets": 1, "workspaces": 1}],
    "get_secret_set": {
        "name": "search",
        "created_at": _QUEUED_AT,
        "secrets": [_SECRET_OF_SET],
        "workspaces": [{"id": _WORKSPACE_ID, "name": "nightly"}],
        "workspaces_total": 1,
    },
    "put_secret_set": _SAVED,
    "delete_secret_set": _DELETED,
    "delete_secret_of_set": _DELETED,
    "preflight_request": {"ok": False, "problems": [_PROBLEM], "warnings": []},
    "preflight_workspace": {"ok": False, "problems": [_PROBLEM], "warnings": [], "variables": [_VARIABLE]},
    "list_deadlines": [_LIMITS],
    "list_api_keys": [_KEY],
    "create_api_key": {**_KEY, "last_used_at": None, "key": "slw_Jq3x8fWbX0c5vYt2nR7eKd1uLs6pGh9aMzQw4iTo8By"},
    "change_api_key": _KEY,
    "revoke_api_key": _REVOKED,
    "list_templates": [
        {
            "id": "hermes",
            "name": "Hermes Agent",
            "runtime": "hermes",
            "provision_timeout_seconds": None,
            "required_env": ["HERMES_API_KEY"],
            "provision_timeout_override": False,
            "problem": "",
        }
    ],
    "list_incidents": [_INCIDENT],
    "get_incident": _INCIDENT,
    "release_launches": {
        "released": 14,
        "incident": {**_INCIDENT, "is_holding": False, "released_at": _ENDED_AT, "released_by": "root"},
    },
    "list_channels": [_CHANNEL],
    "add_channel": {**_CHANNEL, "last_success_at": None, "last_latency_ms": None, "signing_secret": _SIGNING},
    "get_channel": _CHANNEL,
    "change_channel": {**_CHANNEL, "signing_secret": None},
    "remove_channel": _DELETED,
    "test_channel": {"is_accepted": True, "answer": "204 No Content", "response": "", "latency_ms": 85},
    "pause_channel": {**_CHANNEL, "state": ChannelState.PAUSED, "paused_at": _ENDED_AT},
    "resume_channel": _CHANNEL,
    "enable_channel": _CHANNEL,
    "redrive_channel": {"redriven": 3},
    "rotate_channel": {"signing_secret": _SIGNING},
    "list_events": [_EVENT],
    "list_workspace_events": [_EVENT],
    "register": {"status": "registered"},
    "update_card": {"status": "updated"},
    "report_progress": {"status": "ok", "deadline_at": "2026-11-27T08:30:01.950Z"},
    "failed": {"status": "ok"},
    "heartbeat": {"status": "ok", "ignored": {"active_tasks": "must be a number"}},
    "discover": {"id": _OTHER_ID, "url": "http://localhost:9101", "name": "weekly"},
    "discover 503": {
        "error": "weekly is provisioning.",
        "code": "unreachable",
        "status": WorkspaceStatus.PROVISIONING,
    },
    "list_peers": [
        {
            "id": _OTHER_ID,
            "name": "weekly",
            "role": "writer",
            "tier": 1,
            "status": WorkspaceStatus.ONLINE,
            "url": "http://localhost:9101",
            "parent_id": None,
            "active_tasks": 0,
            "agent_card": None,
        }
    ],
    "check_access": {"allowed": True},
    "bootstrap_failed": {"ok": True},
}
# Of GET /workspaces/{workspace_id}/logs, by the type of its content.
LOG = {
    "text/plain": "serving on port 9100\n",
    "text/event-stream": f"id: 21@{_LAUNCH['id']}\ndata: serving on port 9100\n\n",
}
