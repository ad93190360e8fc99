"""Events as text for people: what happened to which workspace, why, since when, and where to look."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.urls import get_script_prefix, reverse

from agent.texts import mend_line, mend_text
from events.channels.base import Message
from events.names import TEST_EVENT, EventType

_MAX_NAMES = 10
_MAX_CAUSE_CHARACTERS = 1500
_MAX_NAME_CHARACTERS = 100

# The rest of a title that begins with the workspace's name. A test checks that every event name is listed.
_PREDICATES: dict[str, str] = {
    EventType.WORKSPACE_PROVISIONING: "is being launched",
    EventType.WORKSPACE_ONLINE: "is online",
    EventType.WORKSPACE_PROVISION_FAILED: "failed",
    EventType.WORKSPACE_OFFLINE: "is offline",
    EventType.WORKSPACE_DEGRADED: "is degraded",
    EventType.WORKSPACE_PAUSED: "was paused",
    EventType.WORKSPACE_HIBERNATING: "is going into hibernation",
    EventType.WORKSPACE_HIBERNATED: "is hibernated",
    EventType.WORKSPACE_AWAITING_AGENT: "is waiting for its agent",
    EventType.WORKSPACE_REMOVED: "was removed",
    EventType.AGENT_CARD_UPDATED: "has a new agent card",
    EventType.WORKSPACE_OVER_BUDGET: "is over its budget",
    EventType.WORKSPACE_NEEDS_RESTART: "needs a restart: its secrets have changed",
    TEST_EVENT: "of this channel",
}
_INCIDENTS: dict[str, str] = {
    EventType.INCIDENT_OPENED: "Incident",
    EventType.INCIDENT_RESOLVED: "Incident resolved",
}
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
class Notification:
    """A message for people: a title, facts as (name, text), and a link to the admin."""

    title: str
    facts: Sequence[tuple[str, str]]
    link: str
    is_bad: bool

    @property
    def text(self) -> str:
        """The facts and the link, one per line."""
        return "\n".join([*(f"{name}: {text}" for name, text in self.facts), self.link])


def notification_of(messages: Sequence[Message]) -> Notification:
    """Return one notification of one message, or of several with the same group key."""
    return single_notification(messages[0]) if len(messages) == 1 else grouped_notification(messages)


def single_notification(message: Message) -> Notification:
    """Return what happened to one workspace, or which incident was opened or resolved."""
    event = message.event
    code = f" ({event.payload['code']})" if event.payload.get("code") else ""
    # During an upgrade, the log may contain a name that this version doesn't know.
    title = f"{_workspace_name(message)} {_PREDICATES.get(event.event_type, event.event_type)}{code}"
    if event.event_type in _INCIDENTS:
        title = f"{_INCIDENTS[event.event_type]}: {event.payload.get('kind', '')}".rstrip(": ")
    link = admin_url("events_event_changelist")
    if event.workspace_id:
        link = admin_url("workspaces_workspace_change", event.workspace_id)
    facts = [
        ("Why", _cause(message)),
        ("Missing", readable(", ".join(map(str, event.payload.get("missing") or [])))),
        ("Runtime", readable(event.subject.get("runtime") or "")),
        ("Since", _utc(event.created_at)),
    ]
    return Notification(
        title=readable(title),
        facts=[(name, text) for name, text in facts if text],
        link=link,
        is_bad=event.event_type in _BAD,
    )


def grouped_notification(messages: Sequence[Message]) -> Notification:
    """Return how often something happened, to which workspaces, and when."""
    first, last = messages[0], messages[-1]
    name, detail = group_key(first)
    label = EventType(name).label if name in EventType.values else name
    names = list(dict.fromkeys(_workspace_name(message) for message in messages))
    more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
    return Notification(
        title=readable(f"{len(messages)} × {label}: {detail}" if detail else f"{len(messages)} × {label}"),
        facts=[
            ("Workspaces", ", ".join(names[:_MAX_NAMES]) + more),
            ("For example", _cause(first)),
            ("Between", f"{_utc(first.event.created_at)} and {_utc(last.event.created_at)}"),
        ],
        link=admin_url("events_event_changelist"),
        is_bad=name in _BAD,
    )


def group_key(message: Message) -> tuple[str, str]:
    """Return the event's name and its failure code or incident kind. Messages with the same key can be grouped."""
    payload = message.event.payload
    return message.event.event_type, str(payload.get("code") or payload.get("kind") or "")


def readable(text: object, *, most: int = _MAX_CAUSE_CHARACTERS, is_line: bool = True) -> str:
    """Return the text mended and shortened.

    `is_line`: as one line. A text with line ends could look as if it had more facts than one.
    """
    kept = mend_line(str(text)) if is_line else mend_text(str(text))
    return kept if len(kept) <= most else kept[:most] + "…"


def _cause(message: Message) -> str:
    """Return the first text in the payload that says why, shortened."""
    for name in ("error", "message", "sample_error", "runtime_state"):
        if text := readable(message.event.payload.get(name) or "", is_line=False):
            return text
    return ""


def _workspace_name(message: Message) -> str:
    name = readable(message.event.subject.get("name") or "", most=_MAX_NAME_CHARACTERS)
    return name or str(message.event.workspace_id or "The fleet")


def _utc(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def admin_url(page: str, *arguments: Any) -> str:
    """Return the whole address of a page of the admin. PLATFORM_URL has the prefix of the paths, if there is one."""
    path = reverse(f"admin:{page}", args=arguments).removeprefix(get_script_prefix())
    return f"{settings.PLATFORM_URL}/{path}"
