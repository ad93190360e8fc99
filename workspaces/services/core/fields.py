"""The fields of a workspace that operators set: what is wrong with them, and the change of them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import transaction

from agent.texts import clean_name, mend_line
from workspaces.access import secret_sets
from workspaces.configuration.diagnostics import Diagnostic
from workspaces.lifecycle.transitions import WorkspaceStatus
from workspaces.models import MAX_TIMEOUT_SECONDS, Workspace
from workspaces.services.core.secret_changes import changing_sets
from workspaces.services.core.transition import TransitionRefused, lock_workspace
from workspaces.services.core.trees import BadParent, lock_roots, reparent

MAX_LABELS = 50
# A label's name and value together.
MAX_LABEL_CHARACTERS = 200
_NAMES = ("name", "role", "model", "runtime")
_BUDGET = ("budget_limit", "budget_action")


class InvalidWorkspace(ValueError):
    """The request is invalid; `fields` maps each wrong field to its message. Nothing was created.

    `problems` are all those of its configuration, of which the message has the first ones.
    """

    def __init__(self, fields: Mapping[str, str], *, problems: Sequence[Diagnostic] = ()) -> None:
        super().__init__(" ".join(fields.values()))
        self.fields = dict(fields)
        self.problems = list(problems)


def clean_labels(labels: Mapping[str, str]) -> dict[str, str]:
    """Return the labels with cleaned names and values. Raises ValueError with a clause about the first wrong one."""
    if len(labels) > MAX_LABELS:
        raise ValueError(f"A workspace can have {MAX_LABELS} labels; these are {len(labels)}")
    cleaned = {}
    for name, value in labels.items():
        if len(name) + len(value) > MAX_LABEL_CHARACTERS:
            shown = mend_line(name[:80])
            raise ValueError(f"The label {shown!r} is longer than {MAX_LABEL_CHARACTERS} characters with its value")
        for part, what in ((name, "name"), (value, "value")):
            try:
                clean_name(part)
            except ValueError as error:
                raise ValueError(f"The {what} of the label {mend_line(name)[:80]!r} {error}") from None
        if not name.strip():
            raise ValueError("A label has no name")
        cleaned[clean_name(name)] = clean_name(value)
    return cleaned


def field_problems(workspace: Workspace) -> dict[str, str]:
    """Return a message for each field of an unsaved workspace that is wrong. Its names and labels are cleaned."""
    problems: dict[str, str] = {}
    for name in _NAMES:
        try:
            setattr(workspace, name, clean_name(getattr(workspace, name)))
        except ValueError as error:
            problems[name] = f"{name} {error}."
    try:
        workspace.labels = clean_labels(workspace.labels)
    except ValueError as error:
        problems["labels"] = f"{error}."
    try:
        workspace.clean_fields(exclude=["parent", "agent_card"])
    except ValidationError as error:
        messages_of = {name: f"{name}: {' '.join(messages)}" for name, messages in error.message_dict.items()}
        problems = messages_of | problems
    if workspace.secret_sets and (problem := secret_sets.problem_with_sets(workspace.secret_sets)):
        problems["secret_sets"] = problem
    limit = workspace.provision_timeout_seconds
    if limit is not None and not 1 <= limit <= MAX_TIMEOUT_SECONDS:
        problems["provision_timeout_seconds"] = (
            f"provision_timeout_seconds must be a whole number from 1 to {MAX_TIMEOUT_SECONDS}, not {limit}."
        )
    return problems


def edit(
    workspace_id: UUID, changes: Mapping[str, Any], *, by: str, check: Callable[[Workspace], None] | None = None
) -> Workspace:
    """Change fields of a workspace, also its parent; limits and secrets take effect with the next launch.

    `by` names the operator. `check` gets the locked workspace first and may raise. Raises UnknownWorkspace,
    TransitionRefused for a removed one, and InvalidWorkspace for the fields that are wrong: then nothing is changed.
    """
    own = dict(changes)
    with transaction.atomic(), changing_sets(workspace_id, own.get("secret_sets"), by=by):
        # The roots first, as a change of sets locks them at the end.
        lock_roots(filter(None, [workspace_id, own.get("parent_id")]))
        workspace = lock_workspace(workspace_id)
        if workspace.status == WorkspaceStatus.REMOVED:
            raise TransitionRefused(workspace, "it can't be changed.")
        if check:
            check(workspace)
        if "parent_id" in own:
            try:
                workspace = reparent(workspace_id=workspace_id, parent_id=own.pop("parent_id"))
            except BadParent as error:
                raise InvalidWorkspace({"parent_id": str(error)}) from error
        has_other_budget = any(own.get(name, getattr(workspace, name)) != getattr(workspace, name) for name in _BUDGET)
        for name, value in own.items():
            setattr(workspace, name, value)
        if problems := {name: why for name, why in field_problems(workspace).items() if name in own}:
            raise InvalidWorkspace(problems)
        if has_other_budget:
            # Each of its levels is told anew.
            own["budget_told_percent"] = workspace.budget_told_percent = 0
        # Without fields it does nothing.
        workspace.save(update_fields=own)
        return workspace
