"""ETags of workspaces: two who edit the same workspace don't overwrite each other's changes without noticing."""

import hashlib
import json
from http import HTTPStatus

from workspaces.access.errors import RequestRefused
from workspaces.models import Workspace

_EDITABLE = (
    *("name", "role", "tier", "parent_id", "x", "y", "labels", "budget_limit", "budget_action", "restart_policy"),
    *("hibernation_idle_minutes", "provision_timeout_seconds", "secret_sets"),
)


def etag_of(workspace: Workspace) -> str:
    """Return the ETag of a workspace: it changes with its status and with the fields that an operator edits."""
    edited = [getattr(workspace, name) for name in ("version", *_EDITABLE)]
    # Postgres stores the names of labels in an order of its own.
    text = json.dumps(edited, default=str, sort_keys=True)
    return f'"{hashlib.sha256(text.encode()).hexdigest()[:20]}"'


def check_if_match(workspace: Workspace, header: str | None) -> None:
    """Raise RequestRefused (412) if the header If-Match names only other states of the workspace."""
    wanted = [tag.strip() for tag in ("*" if header is None else header).split(",")]
    if "*" not in wanted and etag_of(workspace) not in wanted:
        sentence = f"{workspace.name} has changed since you read it. Read it again, then repeat the change."
        raise RequestRefused(HTTPStatus.PRECONDITION_FAILED, sentence, code="changed")
