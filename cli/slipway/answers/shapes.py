"""What commands read of each answer. Servers may send more; `name?` is what an older one may not send."""

from datetime import datetime
from types import NoneType
from typing import Any

from slipway.answers.check import OneOf


def is_time(value: Any) -> bool:
    """Return whether a value is a time with its zone."""
    try:
        return datetime.fromisoformat(value).tzinfo is not None
    except (TypeError, ValueError):
        return False


_TEXT = str | None
_COUNT = int | None
WORKSPACE = {
    "id": str,
    "name": str,
    "status": str,
    "version": _COUNT,
    "runtime": str,
    "created_at": is_time,
    "phase": _TEXT,
    "progress_step": _TEXT,
    "progress_detail?": _TEXT,
    "queue_position?": _COUNT,
    "current_task": _TEXT,
    "last_sample_error": _TEXT,
    "failure": OneOf(NoneType, {"code": str, "message": str, "log_tail": _TEXT}),
}
# Of a verb: only a removal, or an earlier server, leaves out the ID.
OPERATED = {"id?": str, "status": str, "connection?": OneOf(NoneType, {})}
CREATED = {
    "id": str,
    "status": str,
    "connection?": {},
    "warnings?": [OneOf(str, {"message": str, "hint": _TEXT})],
}
DONE = {"status": str}
TEMPLATE = {"id": str, "runtime": str, "required_env": [object], "problem?": _TEXT}

SECRET = {"name": str, "scope": str, "secret_set": _TEXT, "version": _COUNT, "set_by": _TEXT, "set_at": _TEXT}
SECRET_SET = {"name": str, "secrets": [SECRET]}
SECRET_SET_IN_LIST = {"name": str, "secrets": int, "workspaces": int}

CHANNEL = {
    "id": int | str,
    "name": str,
    "kind": str,
    "state": str,
    "backlog": int,
    "dead_letters": int,
    "last_error": _TEXT,
}
STORED_CHANNEL = {**CHANNEL, "signing_secret": _TEXT}
CHANNEL_TEST = {"is_accepted": bool, "answer": str}
REDRIVEN = {"redriven": int}
ROTATED = {"signing_secret": str}

EVENT = {
    "event_type": str,
    "workspace_id": _TEXT,
    "version": _COUNT,
    "payload": {},
    "created_at": str,
    "position": int,
}
ENVELOPE = {"event": str, "workspace_id": _TEXT, "payload": {}, "timestamp": str, "position?": _COUNT}
END_OF_LOG = {"reason": str}

_FINDING = {"code": str, "message": str, "hint": _TEXT, "path": _TEXT, "line": _COUNT, "column": _COUNT}
PREFLIGHT = {"ok": bool, "problems": [_FINDING], "warnings?": [_FINDING]}
