"""Generates the catalogue's documentation: a table for people, and AsyncAPI for programs."""

from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from events.catalogue import CATALOGUE, CatalogueEntry
from events.envelope import KEEP_ALIVE
from events.names import EphemeralEventType, EventType

_HEAD = """\
# Events

Generated from `events/catalogue.py` by `manage.py event_catalogue`; change it there. [asyncapi.yaml](asyncapi.yaml)
describes the same events with JSON Schemas. To receive them, use [live streams](streams.md) or
[channels](channels/README.md).

Live streams send every event in this envelope, and webhooks send it as `data`:

```json
{"event": "…", "workspace_id": "…", "timestamp": "…", "payload": {}, "position": 42, "version": 7}
```

`position` is the event's place in the log. Positions have no gaps, and a client resumes from one. `version` counts the
workspace's changes of status: apply an event if its version is at least the one that you hold. Fields marked `?` may be
missing. A later release may add fields; ignore those that you don't know.
"""
_LIVE = """
## Live only

Published over Redis to connected clients, best effort. They are not stored, have no position and go to no channel. If
several of one workspace and name come within a tenth of a second, clients get the last one.
"""


def reference_page() -> str:
    """Return docs/reference/events.md."""
    stored = "\n".join(_row(name) for name in EventType)
    live = "\n".join(_row(name) for name in EphemeralEventType)
    table = "\n| event | when | payload |\n|---|---|---|\n"
    return f"{_HEAD}\n## Stored\n{table}{stored}\n{_LIVE}{table}{live}\n"


def asyncapi_page() -> str:
    """Return docs/reference/asyncapi.yaml."""
    text = yaml.safe_dump(_asyncapi(), sort_keys=False, allow_unicode=True, width=110)
    return f"# Generated from events/catalogue.py by `manage.py event_catalogue`.\n{text}"


def _row(name: EventType | EphemeralEventType) -> str:
    schema = CATALOGUE[name].schema
    fields = [
        f"`{field}`{'' if field in schema['required'] else '?'} {_type(each)}"
        for field, each in schema["properties"].items()
    ]
    return f"| `{name.value}` | {CATALOGUE[name].when} | {', '.join(fields)} |"


def _type(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return " or ".join(str(value) for value in schema["enum"])
    types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    return " or ".join([schema.get("format", types[0]), *types[1:]])


def _asyncapi() -> dict[str, Any]:
    messages = {name.value: _message(name, entry) for name, entry in CATALOGUE.items()}
    names = list(messages)
    channels = {
        "websocket": _channel("/ws", [*names, KEEP_ALIVE]),
        "server-sent": _channel("/events/stream", [*names, KEEP_ALIVE]),
        "of-workspace": {
            **_channel("/workspaces/{workspace_id}/events/stream", [_OF_WORKSPACE["name"]]),
            "parameters": {"workspace_id": {"description": "the workspace"}},
        },
    }
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Slipway's live events", "version": "1", "description": _DESCRIPTION},
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": {
            channel: {
                "action": "send",
                "channel": {"$ref": f"#/channels/{channel}"},
                "messages": [{"$ref": f"#/channels/{channel}/messages/{name}"} for name in described["messages"]],
            }
            for channel, described in channels.items()
        },
        "components": {"messages": {**messages, **{each["name"]: each for each in (_KEEP_ALIVE, _OF_WORKSPACE)}}},
    }


_DESCRIPTION = (
    "WebSocket and server-sent events use the same envelope; the stream of one workspace has its own. Resume with "
    "?after= or Last-Event-ID; filter with ?event=, ?workspace=, ?runtime=, ?subtree=. At least every 15 seconds "
    "something is sent: KEEP_ALIVE, or a comment in the stream of one workspace. See streams.md."
)
_KEEP_ALIVE_PROPERTIES: dict[str, Any] = {
    "event": {"const": KEEP_ALIVE},
    "workspace_id": {"type": "null"},
    "timestamp": {"type": "string", "format": "date-time"},
    "payload": {"type": "object", "maxProperties": 0},
    "position": {"type": "integer", "minimum": 0},
    "version": {"type": "null"},
}
_KEEP_ALIVE: dict[str, Any] = {
    "name": KEEP_ALIVE,
    "summary": "Nothing happened. The log was searched up to this position.",
    "payload": {"type": "object", "properties": _KEEP_ALIVE_PROPERTIES, "required": list(_KEEP_ALIVE_PROPERTIES)},
}
_OF_WORKSPACE: dict[str, Any] = {
    "name": "OfWorkspace",
    "summary": "Any event of one workspace, as existing clients read it.",
    "payload": {
        "type": "object",
        "properties": {
            "type": {"enum": [name.value for name in CATALOGUE]},
            "timestamp": {"type": "integer", "description": "milliseconds since 1970"},
            "data": {"type": "object", "description": "the event's payload"},
        },
        "required": ["type", "timestamp", "data"],
    },
}


def _channel(address: str, names: Iterable[str]) -> dict[str, Any]:
    return {"address": address, "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in names}}


def _message(name: EventType | EphemeralEventType, entry: CatalogueEntry) -> dict[str, Any]:
    is_stored = isinstance(name, EventType)
    workspace: dict[str, Any] = {"type": "string", "format": "uuid"} if entry.of_workspace else {"type": "null"}
    properties = {
        "event": {"const": name.value},
        "workspace_id": workspace,
        "timestamp": {"type": "string", "format": "date-time"},
        "payload": entry.schema,
        "position": {"type": "integer", "minimum": 1} if is_stored else {"type": "null"},
        "version": {"type": "integer" if entry.of_workspace else "null"},
    }
    payload = {"type": "object", "properties": properties, "required": list(properties)}
    return {"name": name.value, "summary": entry.when, "payload": payload}
