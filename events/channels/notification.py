"""An event in words for people: what happened to which workspace, why, since when, and where to look."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.urls import reverse

from events.channels.base import Message
from events.names import TEST_EVENT, EventType

_NAMED = 10
_ERROR_CHARACTERS = 1500

# What is said of a workspace, in one sentence without its end; tests hold every name to it.
_SAID: dict[str, str] = {
    EventType.WORKSPACE_PROVISIONING: "is being launched",
    EventType.WORKSPACE_ONLINE: "is online",
    EventType.WORKSPACE_PROVISION_FAILED: "failed",
    EventType.WORKSPACE_OFFLINE: "is offline",
    EventType.WORKSPACE_DEGRADED: "is degraded",
    EventType.WORKSPACE_PAUSED: "was paused",
    EventType.WORKSPACE_HIBERNATING: "goes into hibernation",
    EventType.WORKSPACE_HIBERNATED: "hibernates",
    EventType.WORKSPACE_AWAITING_AGENT: "awaits its agent",
    EventType.WORKSPACE_REMOVED: "was removed",
    EventType.AGENT_CARD_UPDATED: "has a new agent card",
    EventType.WORKSPACE_OVER_BUDGET: "is over its budget",
    EventType.INCIDENT_OPENED: "Incident",
    EventType.INCIDENT_RESOLVED: "Incident resolved",
    TEST_EVENT: "of this channel",
}
_INCIDENTS = frozenset({EventType.INCIDENT_OPENED, EventType.INCIDENT_RESOLVED})
_BAD = frozenset(
    {
        EventType.WORKSPACE_PROVISION_FAILED,
        EventType.WORKSPACE_OFFLINE,
        EventType.WORKSPACE_DEGRADED,
        EventType.WORKSPACE_OVER_BUDGET,
        EventType.INCIDENT_OPENED,
    }
)


@dataclass(frozen=True, kw_only=True)
class Wording:
    """A message for people: a title, facts as (name, text), and a link."""

    title: str
    facts: Sequence[tuple[str, str]]
    link: str
    is_bad: bool

    @property
    def text(self) -> str:
        """Return the facts and the link as lines."""
        return "\n".join([*(f"{name}: {text}" for name, text in self.facts), self.link])


def worded(messages: Sequence[Message]) -> Wording:
    """Return one message for people of one event, or of several equal ones with their number."""
    first = messages[0]
    name = first.event.event_type
    if len(messages) == 1:
        return Wording(title=_title(first), facts=_facts(first), link=_link(first), is_bad=name in _BAD)
    return Wording(
        title=f"{len(messages)} × {_sameness(first)}",
        facts=[
            ("Workspaces", _names(messages)),
            ("For example", _cause(first.event.payload)),
            ("Between", f"{_moment(first.event.created_at)} and {_moment(messages[-1].event.created_at)}"),
        ],
        link=_address("events_event_changelist"),
        is_bad=name in _BAD,
    )


def group_key(message: Message) -> tuple[str, str]:
    """Return what makes messages equal for a flood: the event's name, and the failure's code or incident's kind."""
    payload = message.event.payload
    return message.event.event_type, str(payload.get("code") or payload.get("kind") or "")


def _title(message: Message) -> str:
    # During an upgrade the log may hold a name that this code doesn't know yet.
    said = _SAID.get(message.event.event_type, message.event.event_type)
    payload = message.event.payload
    if message.event.event_type in _INCIDENTS:
        return f"{said}: {payload.get('kind', '')}".rstrip(": ")
    code = f" ({payload['code']})" if payload.get("code") else ""
    return f"{_name(message)} {said}{code}"


def _sameness(message: Message) -> str:
    name, detail = group_key(message)
    label = EventType(name).label if name in EventType.values else name
    return f"{label}: {detail}" if detail else label


def _facts(message: Message) -> list[tuple[str, str]]:
    payload = message.event.payload
    facts = [
        ("Why", _cause(payload)),
        ("Missing", ", ".join(map(str, payload.get("missing") or []))),
        ("Runtime", str(message.event.subject.get("runtime") or "")),
        ("Since", _moment(message.event.created_at)),
    ]
    return [(name, text) for name, text in facts if text]


def _cause(payload: Mapping[str, Any]) -> str:
    for name in ("error", "message", "sample_error", "runtime_state"):
        if text := str(payload.get(name) or "").strip():
            return text if len(text) <= _ERROR_CHARACTERS else text[:_ERROR_CHARACTERS] + "…"
    return ""


def _names(messages: Sequence[Message]) -> str:
    names = list(dict.fromkeys(_name(message) for message in messages))
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _name(message: Message) -> str:
    return str(message.event.subject.get("name") or message.event.workspace_id or "The fleet")


def _moment(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _link(message: Message) -> str:
    workspace_id = message.event.workspace_id
    if workspace_id is None:
        return _address("events_event_changelist")
    return _address("workspaces_workspace_change", workspace_id)


def _address(page: str, *arguments: Any) -> str:
    return f"{settings.PLATFORM_URL}{reverse(f'admin:{page}', args=arguments)}"
