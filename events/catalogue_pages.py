"""The catalogue as pages: a table for people, and AsyncAPI for programs."""

from collections.abc import Mapping
from typing import Any

import yaml

from events.catalogue import CATALOGUE, Entry
from events.names import EventType, LiveEventType

_HEAD = """\
# Events

Printed from `events/catalogue.py` by `manage.py event_catalogue`; change it there. The same as
[AsyncAPI](asyncapi.yaml), with JSON Schemas.

Every event has this envelope on the live streams, and as `data` of a webhook:

```json
{"event": "…", "workspace_id": "…", "timestamp": "…", "payload": {}, "position": 42, "version": 7}
```

`position` is its place in the log: gap-free, and what a client resumes by. `version` counts the workspace's moves; an
event applies if its version is at least the one held. A payload may hold more than is named here, and what is marked
`?` may be missing.
"""
_LIVE = """
## Live only

Told to whoever listens, over Redis, best effort; never stored, without a position, and sent to no channel. Of several
within a tenth of a second the last is told.
"""


def reference_page() -> str:
    """Return docs/reference/events.md."""
    stored = "\n".join(_row(name) for name in EventType)
    live = "\n".join(_row(name) for name in LiveEventType)
    table = "\n| event | when | payload |\n|---|---|---|\n"
    return f"{_HEAD}\n## Stored\n{table}{stored}\n{_LIVE}{table}{live}\n"


def asyncapi_page() -> str:
    """Return docs/reference/asyncapi.yaml."""
    text = yaml.safe_dump(_asyncapi(), sort_keys=False, allow_unicode=True, width=110)
    return f"# Printed from events/catalogue.py by `manage.py event_catalogue`.\n{text}"


def _row(name: EventType | LiveEventType) -> str:
    schema = CATALOGUE[name].schema
    fields = [
        _field(field, kind, is_required=field in schema["required"]) for field, kind in schema["properties"].items()
    ]
    return f"| `{name.value}` | {CATALOGUE[name].when} | {', '.join(fields)} |"


def _field(name: str, schema: Mapping[str, Any], *, is_required: bool) -> str:
    return f"`{name}`{'' if is_required else '?'} {_kind(schema)}"


def _kind(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return " or ".join(schema["enum"])
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    return " or ".join([schema.get("format", kinds[0]), *kinds[1:]])


def _asyncapi() -> dict[str, Any]:
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Slipway's live events", "version": "1", "description": _DESCRIPTION},
        "defaultContentType": "application/json",
        "channels": {
            "websocket": {"address": "/ws", "messages": _references("components")},
            "server-sent": {"address": "/events/stream", "messages": _references("components")},
        },
        "operations": {
            channel: {
                "action": "send",
                "channel": {"$ref": f"#/channels/{channel}"},
                "messages": [{"$ref": f"#/channels/{channel}/messages/{name.value}"} for name in CATALOGUE],
            }
            for channel in ("websocket", "server-sent")
        },
        "components": {"messages": {name.value: _message(name, entry) for name, entry in CATALOGUE.items()}},
    }


_DESCRIPTION = (
    "Both carry the same envelope. Resume by ?after= or Last-Event-ID; filter by ?event=, ?workspace=, ?runtime=, "
    "?subtree=. The WebSocket says {event: KEEP_ALIVE, position} where nothing else was said for some seconds."
)


def _references(where: str) -> dict[str, Any]:
    return {name.value: {"$ref": f"#/{where}/messages/{name.value}"} for name in CATALOGUE}


def _message(name: EventType | LiveEventType, entry: Entry) -> dict[str, Any]:
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
