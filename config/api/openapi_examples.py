"""An example of each request body, by the name of its view. A test holds each against its schema."""

from typing import Any

from events.names import EventType

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
    "report_progress": {"workspace_id": _WORKSPACE_ID, "step": "install"},
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
