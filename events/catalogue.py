"""Every event by name: when it is sent, and the JSON Schema of its payload. Plain data: imports no model.

A payload may hold more than its schema names. What is too large is replaced by a text (events/payload_limits.py).
"""

from collections.abc import Mapping
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
CARD: Schema = {"type": ["object", "string"], "description": "as the agent sent it, masked; a text where too large"}
VERSION: Schema = {"type": "integer", "minimum": 1, "description": "the workspace's version"}

# The stable codes of a failure and who failed it, as the wire contract has them (tests compare with the lifecycle).
FAILURE_CODES = (
    *("missing_env", "bad_config", "secret_unreadable", "never_launched", "launch_error"),
    *("crashed", "timed_out", "stalled", "cancelled"),
)
FAILURE_SOURCES = (*("preflight", "launcher", "bootstrap_watcher", "provision_timeout_sweep", "agent", "operator"),)


@dataclass(frozen=True, kw_only=True)
class CatalogueEntry:
    """What a consumer needs to know of an event."""

    when: str
    required: Mapping[str, Schema] = field(default_factory=dict)
    optional: Mapping[str, Schema] = field(default_factory=dict)
    # Of what concerns the fleet, workspace and version are null.
    of_workspace: bool = True

    @property
    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the payload."""
        required = {**self.required, **({"version": VERSION} if self.of_workspace else {})}
        return {
            "type": "object",
            "properties": {name: dict(each) for name, each in {**required, **self.optional}.items()},
            "required": list(required),
            "additionalProperties": True,
        }


def _nullable(schema: Schema) -> Schema:
    return {**schema, "type": [schema["type"], "null"]}


def _named(when: str) -> CatalogueEntry:
    return CatalogueEntry(when=when, required={"name": TEXT})


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
    ),
    EventType.WORKSPACE_ONLINE: CatalogueEntry(
        when="Its agent registered, or was heard of again (`recovered_from`).",
        optional={"url": TEXT, "agent_card": CARD, "recovered_from": SENTENCE},
    ),
    EventType.WORKSPACE_PROVISION_FAILED: CatalogueEntry(
        when="A launch did not get online, whoever found that out (`source`).",
        required={
            "error": SENTENCE,
            "code": {"enum": list(FAILURE_CODES)},
            "source": {"enum": list(FAILURE_SOURCES)},
            "runtime": TEXT,
            "launch_id": IDENTIFIER,
        },
        optional={
            "missing": {"type": "array", "items": SENTENCE, "description": "environment variables; preflight, agent"},
            "log_tail": {"type": "string", "description": "the end of its log; watcher, agent"},
            "timeout_secs": {"type": "number", "minimum": 0, "description": "the limit that passed; sweep"},
        },
    ),
    EventType.WORKSPACE_OFFLINE: CatalogueEntry(
        when="It fell silent, or its process was seen to have ended.",
        required={"last_heartbeat_at": _nullable(MOMENT)},
    ),
    EventType.WORKSPACE_DEGRADED: CatalogueEntry(
        when="It reports errors (`error_rate`), or calls itself wedged (`runtime_state`).",
        required={"sample_error": TEXT},
        optional={"error_rate": {"type": "number", "minimum": 0, "maximum": 1}, "runtime_state": SENTENCE},
    ),
    EventType.WORKSPACE_PAUSED: _named("It was stopped on purpose, until somebody resumes it."),
    EventType.WORKSPACE_HIBERNATING: _named("It is being stopped for idleness."),
    EventType.WORKSPACE_HIBERNATED: _named("It was stopped for idleness; a wake launches it."),
    EventType.WORKSPACE_AWAITING_AGENT: _named("It is run by somebody else, who has not connected it."),
    EventType.WORKSPACE_REMOVED: CatalogueEntry(
        when="It was removed, for good; `cascade_deleted` counts those removed below it.",
        required={"cascade_deleted": COUNT},
    ),
    EventType.AGENT_CARD_UPDATED: CatalogueEntry(when="Its agent sent another card.", required={"agent_card": CARD}),
    EventType.WORKSPACE_OVER_BUDGET: CatalogueEntry(
        when="It spent more this month than its limit.", required={"budget_limit": CENTS, "monthly_spend": CENTS}
    ),
    EventType.INCIDENT_OPENED: CatalogueEntry(
        when="Something concerns the fleet, or a channel.",
        required={"kind": SENTENCE, "scope": TEXT, "count": COUNT, "message": SENTENCE},
        of_workspace=False,
    ),
    EventType.INCIDENT_RESOLVED: CatalogueEntry(
        when="An incident is over.",
        required={"kind": SENTENCE, "scope": TEXT, "count": COUNT, "message": TEXT},
        of_workspace=False,
    ),
    EphemeralEventType.WORKSPACE_PROGRESS: CatalogueEntry(
        when="A boot reached a new step.",
        required={"phase": SENTENCE, "step": SENTENCE, "deadline_at": _nullable(MOMENT)},
    ),
    EphemeralEventType.WORKSPACE_HEARTBEAT: CatalogueEntry(
        when="Its agent sent a heartbeat.",
        required={"active_tasks": COUNT, "uptime_seconds": _nullable(COUNT)},
    ),
    EphemeralEventType.TASK_UPDATED: CatalogueEntry(
        when="Its agent took up another task, or ended one.", required={"current_task": TEXT, "active_tasks": COUNT}
    ),
}
