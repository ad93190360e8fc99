"""Every event by name: when it is sent, and the JSON Schema of its payload. Plain data: imports no model.

A payload holds no field that its schema doesn't list; the tests check every event that they cause. A value that is too
large is replaced by a text (events/payload_limits.py).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from events.names import EphemeralEventType, EventType

Schema = Mapping[str, Any]

TEXT: Schema = {"type": "string"}
SENTENCE: Schema = {"type": "string", "minLength": 1}
IDENTIFIER: Schema = {"type": "string", "format": "uuid"}
MOMENT: Schema = {"type": "string", "format": "date-time"}
COUNT: Schema = {"type": "integer", "minimum": 0}
CENTS: Schema = {"type": "integer", "minimum": 0, "description": "cents"}
CARD: Schema = {"type": ["object", "string"], "description": "as the agent sent it, masked; a text if too large"}
VERSION: Schema = {"type": "integer", "minimum": 1, "description": "the workspace's version"}
EXIT_CODE: Schema = {"type": ["integer", "null"], "description": "negative for a signal"}

# The values of the lifecycle's enums, as the wire contract lists them. A test compares the two.
FAILURE_CODES = (
    *("missing_env", "bad_config", "secret_unreadable", "never_launched", "launch_error"),
    *("crashed", "crash_loop", "timed_out", "stalled", "cancelled"),
)
FAILURE_SOURCES = ("preflight", "launcher", "bootstrap_watcher", "provision_timeout_sweep", "agent", "operator")
FAILURE_OWNERS = ("configuration", "image", "platform", "backend", "unknown")
PHASES = ("queued", "launching", "booting")


@dataclass(frozen=True, kw_only=True)
class CatalogueEntry:
    """When an event is sent, and the fields of its payload. Every workspace's event has `version`, too."""

    when: str
    required: Mapping[str, Schema] = field(default_factory=dict)
    optional: Mapping[str, Schema] = field(default_factory=dict)
    # False for an event about the fleet: its workspace and version are null.
    of_workspace: bool = True

    @property
    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the payload."""
        required = {**self.required, **({"version": VERSION} if self.of_workspace else {})}
        return _closed({**required, **self.optional}, required=required)


def _closed(properties: Mapping[str, Schema], *, required: Iterable[str] = ()) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {name: dict(schema) for name, schema in properties.items()},
        "required": list(required),
        "additionalProperties": False,
    }


def _nullable(schema: Schema) -> Schema:
    return {**schema, "type": [schema["type"], "null"]}


# What was seen of a failed launch. A fact that is not known is missing.
FAILURE_FACTS: Mapping[str, Schema] = {
    "last_step": SENTENCE,
    "last_step_at": MOMENT,
    "phase_entered_at": MOMENT,
    "backend_state": SENTENCE,
    "backend_seen_at": MOMENT,
    "exit_code": EXIT_CODE,
    "limit_seconds": {"type": "number", "minimum": 0},
    "limit_source": SENTENCE,
    "configured_otherwise_at": MOMENT,
}
INCIDENT_FIELDS: Mapping[str, Schema] = {"kind": SENTENCE, "scope": TEXT, "count": COUNT}
INCIDENT_ID: Schema = {"type": "integer", "minimum": 1, "description": "absent for a channel's incident"}

_LOOP_FIELDS: Mapping[str, Schema] = {
    "count": COUNT,
    "attempt": COUNT,
    "most_attempts": COUNT,
    "next_attempt_at": _nullable(MOMENT),
    "gave_up": {"type": "boolean"},
}
CRASH_LOOP: Schema = {
    **_closed(_LOOP_FIELDS, required=_LOOP_FIELDS),
    "description": "if it crashes again and again: how often it has, and what its restart policy does about it",
}

CATALOGUE: dict[EventType | EphemeralEventType, CatalogueEntry] = {
    EventType.WORKSPACE_PROVISIONING: CatalogueEntry(
        when="A launch began: created, restarted, resumed or woken.",
        required={
            "name": TEXT,
            "tier": COUNT,
            "runtime": TEXT,
            "parent_id": _nullable(IDENTIFIER),
            "deadline_at": _nullable(MOMENT),
        },
        optional={
            "restart": {
                **_closed({"reason": TEXT, "attempt": COUNT}, required=("reason", "attempt")),
                "description": "if the restart policy began it",
            },
            "crash_loop": CRASH_LOOP,
        },
    ),
    EventType.WORKSPACE_ONLINE: CatalogueEntry(
        when="Its agent registered, or sent a heartbeat again (`recovered_from`).",
        optional={"url": TEXT, "agent_card": CARD, "recovered_from": SENTENCE, "crash_loop": CRASH_LOOP},
    ),
    EventType.WORKSPACE_PROVISION_FAILED: CatalogueEntry(
        when="A launch did not get online. `source` says who found out, `owner` where to look first.",
        required={
            "error": SENTENCE,
            "code": {"enum": list(FAILURE_CODES)},
            "source": {"enum": list(FAILURE_SOURCES)},
            "runtime": TEXT,
            "launch_id": IDENTIFIER,
            "owner": {"enum": list(FAILURE_OWNERS)},
            "phase": {"enum": list(PHASES)},
            "known": _closed(FAILURE_FACTS),
            "advice": TEXT,
        },
        optional={
            "missing": {"type": "array", "items": SENTENCE, "description": "environment variables; preflight, agent"},
            "log_tail": {"type": "string", "description": "the end of its log; watcher, agent"},
            "timeout_secs": {"type": "number", "minimum": 0, "description": "the limit that passed; sweep"},
        },
    ),
    EventType.WORKSPACE_OFFLINE: CatalogueEntry(
        when="Its heartbeats stopped, or its process was seen to have ended (`state`).",
        required={"name": TEXT, "last_heartbeat_at": MOMENT},
        optional={
            "state": SENTENCE,
            "exit_code": EXIT_CODE,
            "error": SENTENCE,
            "owner": {"enum": list(FAILURE_OWNERS)},
            "log_tail": TEXT,
            "restart_due_at": {**_nullable(MOMENT), "description": "null if its policy doesn't restart it"},
            "code": {"enum": ["crash_loop"]},
            "crash_loop": CRASH_LOOP,
        },
    ),
    EventType.WORKSPACE_DEGRADED: CatalogueEntry(
        when="It reports errors (`error_rate`), or calls itself wedged (`runtime_state`).",
        required={"sample_error": TEXT},
        optional={"error_rate": {"type": "number", "minimum": 0, "maximum": 1}, "runtime_state": SENTENCE},
    ),
    EventType.WORKSPACE_PAUSED: CatalogueEntry(
        when="It was stopped on purpose, until somebody resumes it.",
        required={"name": TEXT},
        optional={"paused_by": {**_nullable(IDENTIFIER), "description": "the ancestor that was paused"}},
    ),
    EventType.WORKSPACE_HIBERNATING: CatalogueEntry(
        when="It is being stopped because it is idle.", required={"name": TEXT}
    ),
    EventType.WORKSPACE_HIBERNATED: CatalogueEntry(
        when="It was stopped because it was idle; a wake launches it.", required={"name": TEXT}
    ),
    EventType.WORKSPACE_AWAITING_AGENT: CatalogueEntry(
        when="It is external, and its agent is not connected.",
        required={"name": TEXT},
        optional={"last_heartbeat_at": MOMENT},
    ),
    EventType.WORKSPACE_REMOVED: CatalogueEntry(
        when="It was removed for good. `cascade_deleted` counts its descendants, which were removed with it.",
        required={"cascade_deleted": COUNT},
    ),
    EventType.AGENT_CARD_UPDATED: CatalogueEntry(
        when="Its agent sent a different card.", required={"agent_card": CARD}
    ),
    EventType.WORKSPACE_OVER_BUDGET: CatalogueEntry(
        when="It has spent 80 % of its budget of the month, or all of it (`percent`); each is told once a month. "
        "At 100 % it is paused if its `budget_action` says so.",
        required={"budget_limit": CENTS, "monthly_spend": CENTS, "percent": {"enum": [80, 100]}},
        optional={"budget_action": {"enum": ["notify", "pause"]}},
    ),
    EventType.WORKSPACE_NEEDS_RESTART: CatalogueEntry(
        when="Its launch runs with secrets that have changed since: `secrets` has their names, `by` who changed them. "
        "Told once until the next launch.",
        required={"secrets": {"type": "array", "items": SENTENCE}, "by": TEXT},
    ),
    EventType.INCIDENT_OPENED: CatalogueEntry(
        when="Something concerns the fleet, or a channel.",
        required={**INCIDENT_FIELDS, "message": SENTENCE},
        optional={"incident_id": INCIDENT_ID},
        of_workspace=False,
    ),
    EventType.INCIDENT_RESOLVED: CatalogueEntry(
        when="An incident is over.",
        required={**INCIDENT_FIELDS, "message": TEXT},
        optional={"incident_id": INCIDENT_ID},
        of_workspace=False,
    ),
    EphemeralEventType.WORKSPACE_PROGRESS: CatalogueEntry(
        when="A boot reached a new step, or its agent has something else to say of it (`detail`).",
        required={
            "phase": {"enum": list(PHASES)},
            "step": SENTENCE,
            "detail": TEXT,
            "deadline_at": _nullable(MOMENT),
        },
    ),
    EphemeralEventType.WORKSPACE_HEARTBEAT: CatalogueEntry(
        when="Its agent sent a heartbeat.",
        required={"active_tasks": COUNT, "uptime_seconds": COUNT},
    ),
    EphemeralEventType.TASK_UPDATED: CatalogueEntry(
        when="Its agent began another task, or its number of tasks changed.",
        required={"current_task": TEXT, "active_tasks": COUNT},
    ),
}
