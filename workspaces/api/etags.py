"""ETags of workspaces: two who edit the same workspace don't overwrite each other's changes without noticing."""

import hashlib
import json
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, TypeVar

from django.http import HttpRequest

from workspaces.access.errors import RequestRefused
from workspaces.models import Workspace

View = TypeVar("View", bound=Callable[..., Any])

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


def honouring_if_match(view: View) -> View:
    """Mark a view that honours If-Match. Those that are not marked refuse it (config/api/parameters.py)."""
    view.honours_if_match = True  # type: ignore[attr-defined]
    return view


def check_of(request: HttpRequest) -> Callable[[Workspace], None] | None:
    """Return what holds a locked workspace against the request's If-Match, None without the header.

    It raises RequestRefused (412) if the header names only other states of the workspace.
    """
    header = request.headers.get("If-Match")
    if header is None:
        return None
    wanted = [tag.strip() for tag in header.split(",")]

    def check(workspace: Workspace) -> None:
        current = etag_of(workspace)
        if "*" not in wanted and current not in wanted:
            changed = f"{workspace.name} has changed since you read it: its ETag is {current} now."
            sentence = f"{changed} Read it again, then repeat the change."
            raise RequestRefused(HTTPStatus.PRECONDITION_FAILED, sentence, code="changed")

    return check
