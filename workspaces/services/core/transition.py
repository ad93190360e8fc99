"""How a move is made: `move` is the only writer of `status`. For the verbs of this package, nobody else."""

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, cast
from uuid import UUID

from django.db import DatabaseError, connection, transaction
from django.db.models import Field
from psycopg import sql

from events import outbox
from workspaces.lifecycle.transitions import Phase, Transition, WorkspaceStatus, label_of
from workspaces.models import Workspace
from workspaces.services.core import locked_rows as rows
from workspaces.services.core.lineage import event_subjects

logger = logging.getLogger(__name__)

# Statuses in which something is awaited, so that a deadline holds.
_WAITING = frozenset({WorkspaceStatus.PROVISIONING, WorkspaceStatus.HIBERNATING})
# Statuses in which an earlier failure is history.
_FRESH = frozenset({WorkspaceStatus.PROVISIONING, WorkspaceStatus.ONLINE, WorkspaceStatus.AWAITING_AGENT})
_NO_FAILURE: dict[str, Any] = {
    "failure_code": "",
    "failure_source": "",
    "failure_message": "",
    "failure_at": None,
    "failure_log_tail": "",
    "failure_owner": "",
    "failure_phase": "",
    "failure_known": {},
}


class UnknownWorkspace(LookupError):
    """There is no workspace with this id."""

    def __init__(self, workspace_id: UUID) -> None:
        super().__init__(f"There is no workspace {workspace_id}.")


class TransitionRefused(Exception):
    """The workspace is not where this verb may start from, or its guard said no; nothing was changed."""

    def __init__(self, workspace: Workspace, reason: str) -> None:
        super().__init__(f"{workspace.name} is {label_of(workspace.status).lower()}: {reason}")
        self.workspace = workspace


@dataclass(frozen=True, kw_only=True)
class StatusChange:
    """One workspace's part in a move: the fields it changes beside status and version, and its event's payload."""

    workspace: Workspace
    changes: Mapping[str, Any] = field(default_factory=dict)
    payload: Mapping[str, Any] = field(default_factory=dict)


def lock_workspaces(workspace_ids: Iterable[UUID]) -> list[Workspace]:
    """Lock these rows by primary key, in id order, and return them as they are now.

    Ask a guard only afterwards: under READ COMMITTED a join or EXISTS inside the locking statement sees stale data.
    """
    return rows.read_locked(workspace_ids)


def lock_workspace(workspace_id: UUID) -> Workspace:
    """Lock one row and return it as it is now. Raises UnknownWorkspace."""
    found = lock_workspaces([workspace_id])
    if not found:
        raise UnknownWorkspace(workspace_id)
    return found[0]


def check_source(workspace: Workspace, edge: Transition) -> None:
    """Raise TransitionRefused unless the table lets this verb start from the workspace's status."""
    if workspace.status not in edge.sources:
        raise TransitionRefused(workspace, f"it can't {edge.verb} from there.")


def transition(edge: Transition, steps: Sequence[StatusChange]) -> None:
    """Move a locked set along one row of the table: one UPDATE, its events in one INSERT, in the open transaction."""
    if not steps:
        return
    for step in steps:
        check_source(step.workspace, edge)
    settled = _settled(edge.target)
    changes = [{**settled, **step.changes, "status": edge.target} for step in steps]
    _write([step.workspace for step in steps], changes)
    _record(edge, steps, raised_by=1)
    # Last: where the database refused any of it, the rows in memory still say what is true.
    for step, changed in zip(steps, changes, strict=True):
        _apply(step.workspace, {**changed, "version": step.workspace.version + 1})


def transition_each(edge: Transition, steps: Sequence[StatusChange]) -> list[StatusChange]:
    """Move a locked set; where the database refuses the batch, halve it down to the bad rows. Return those left out."""
    try:
        with transaction.atomic():
            transition(edge, steps)
    except DatabaseError:
        if len(steps) == 1:
            logger.exception(
                "A workspace could not be moved",
                extra={"workspace_id": steps[0].workspace.pk, "verb": str(edge.verb)},
            )
            return list(steps)
        middle = len(steps) // 2
        return transition_each(edge, steps[:middle]) + transition_each(edge, steps[middle:])
    return []


def record_creation(edge: Transition, step: StatusChange) -> None:
    """Write the event of a row that was just created."""
    _record(edge, [step], raised_by=0)


def _record(edge: Transition, steps: Sequence[StatusChange], *, raised_by: int) -> None:
    subjects = event_subjects([step.workspace for step in steps])
    outbox.record(
        [
            outbox.NewEvent(
                event_type=edge.event,
                workspace_id=step.workspace.pk,
                version=step.workspace.version + raised_by,
                is_move=True,
                payload=step.payload,
                subject=subject,
            )
            for step, subject in zip(steps, subjects, strict=True)
        ]
    )


def _settled(target: WorkspaceStatus) -> dict[str, Any]:
    # What held for the status that is left: whose pause it was, and when a policy would restart it.
    settled: dict[str, Any] = {"paused_by": None, "restart_due_at": None, "held_since": None}
    settled |= {} if target in _WAITING else {"phase": Phase.NONE, "deadline_at": None}
    return settled | (_NO_FAILURE if target in _FRESH else {})


def _apply(workspace: Workspace, changes: Mapping[str, Any]) -> None:
    for name, value in changes.items():
        setattr(workspace, name, value)


def _write(rows: Sequence[Workspace], changes: Sequence[Mapping[str, Any]]) -> None:
    """Write each row's own values in one UPDATE. All rows change the same fields; what they share is sent once."""
    first = changes[0]
    shared = {name for name in first if all(change[name] == first[name] for change in changes)}
    alike = [_field(name) for name in first if name in shared]
    own = [_field(name) for name in first if name not in shared]
    columns = [(field.attname, field.name) for field in own]
    new = [
        {"id": row.pk.hex, **{column: change[name] for column, name in columns}}
        for row, change in zip(rows, changes, strict=True)
    ]
    values = [field.get_db_prep_save(first[field.name], connection) for field in alike]
    with connection.cursor() as cursor:
        cursor.execute(_update(alike, own), [*values, json.dumps(new, default=_text)])
        if cursor.rowcount != len(rows):
            # The rows are locked: a difference means that a verb moved a row it doesn't hold.
            raise RuntimeError(f"{cursor.rowcount} of {len(rows)} rows were written")


def _update(alike: Sequence["Field[Any, Any]"], own: Sequence["Field[Any, Any]"]) -> sql.Composed:
    assignments = [sql.SQL("{} = %s").format(sql.Identifier(field.attname)) for field in alike]
    assignments += [sql.SQL("{0} = new.{0}").format(sql.Identifier(field.attname)) for field in own]
    columns = [sql.SQL("id uuid"), *(_column(field) for field in own)]
    return sql.SQL(
        "UPDATE workspaces_workspace AS present SET version = present.version + 1, {assignments}"
        " FROM jsonb_to_recordset(%s::jsonb) AS new ({columns}) WHERE present.id = new.id"
    ).format(assignments=_listed(assignments), columns=_listed(columns))


def _text(value: object) -> str:
    if isinstance(value, datetime | UUID):
        return str(value)
    raise TypeError(f"{type(value).__name__} is no column's value")


def _field(name: str) -> "Field[Any, Any]":
    return cast("Field[Any, Any]", Workspace._meta.get_field(name))


def _listed(parts: Sequence[sql.Composable]) -> sql.Composed:
    return sql.SQL(", ").join(parts)


def _column(field: "Field[Any, Any]") -> sql.Composed:
    type_name = sql.SQL(field.db_type(connection) or "text")  # dynamic-sql: the name of a type, by Django's own field
    return sql.SQL("{} {}").format(sql.Identifier(field.attname), type_name)
