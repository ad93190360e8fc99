"""Status transitions: `transition` is the only writer of `status`. Only services call it."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, cast
from uuid import UUID

from django.db import connection
from django.db.models import Field
from psycopg import sql

from events import outbox
from workspaces.lifecycle.transitions import (
    ACTIVE,
    CLEARS_FAILURE,
    WITH_DEADLINE,
    Phase,
    Transition,
    WorkspaceStatus,
    label_of,
)
from workspaces.models import Workspace
from workspaces.services.core import locked_rows
from workspaces.services.core.guarded_rows import RowFailure, RowGuard
from workspaces.services.core.lineage import event_subjects

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
    """There is no workspace with this ID."""

    def __init__(self, workspace_id: UUID) -> None:
        super().__init__(f"There is no workspace {workspace_id}.")


class TransitionRefused(Exception):
    """The verb can't start from the workspace's status, or its guard refused it; nothing was changed."""

    def __init__(self, workspace: Workspace, reason: str) -> None:
        super().__init__(f"{workspace.name} is {label_of(workspace.status).lower()}: {reason}")
        self.workspace = workspace


@dataclass(frozen=True, kw_only=True)
class StatusChange:
    """One workspace in a transition: the fields that change besides status and version, and its event's payload."""

    workspace: Workspace
    changes: Mapping[str, Any] = field(default_factory=dict)
    payload: Mapping[str, Any] = field(default_factory=dict)


def lock_workspaces(workspace_ids: Iterable[UUID]) -> list[Workspace]:
    """Lock these rows by primary key, in id order, and return them as they are now. Unknown ids are left out.

    Check a guard only afterwards: under READ COMMITTED a join or EXISTS in the locking statement sees stale data.
    """
    return locked_rows.read_locked(workspace_ids)


def lock_workspace(workspace_id: UUID) -> Workspace:
    """Lock one row and return it as it is now. Raises UnknownWorkspace."""
    found = lock_workspaces([workspace_id])
    if not found:
        raise UnknownWorkspace(workspace_id)
    return found[0]


def check_source(workspace: Workspace, rule: Transition) -> None:
    """Raise TransitionRefused unless the transition may start from the workspace's status."""
    if workspace.status not in rule.sources:
        raise TransitionRefused(workspace, f"it can't {rule.verb} from there.")


def transition(rule: Transition, steps: Sequence[StatusChange]) -> None:
    """Apply one of TRANSITIONS to locked workspaces: one UPDATE, and one INSERT for the events.

    Each step changes the same fields. Call it in a transaction; the caller checks the guard. Raises TransitionRefused,
    or DatabaseError if a constraint or the trigger refuses a row.
    """
    if not steps:
        return
    for step in steps:
        check_source(step.workspace, rule)
    reset = _reset_fields(rule.target)
    changes = [{**reset, **step.changes, "status": rule.target} for step in steps]
    _write([step.workspace for step in steps], changes)
    _record_events(rule, steps, version_step=1)
    # Last, so that the instances stay true if the database refuses a row.
    for step, changed in zip(steps, changes, strict=True):
        for name, value in changed.items():
            setattr(step.workspace, name, value)
        step.workspace.version += 1


def transition_each(
    rule: Transition, steps: Sequence[StatusChange], *, first: Callable[[Sequence[Workspace]], None] | None = None
) -> list[RowFailure[StatusChange]]:
    """Apply a transition to all workspaces for which nothing raises; return the steps of the others, and why.

    `first` is done with each workspace's transition, before it, or not at all. Raises TransitionRefused if the
    transition may not start from the status of one of them.
    """
    for step in steps:
        check_source(step.workspace, rule)

    def apply(part: Sequence[StatusChange]) -> None:
        if first:
            first([step.workspace for step in part])
        transition(rule, part)

    guard = RowGuard[StatusChange](
        what="Something went wrong in its transition",
        ids=lambda step: {"workspace_id": step.workspace.pk, "verb": str(rule.verb)},
    )
    guard.handle_together(steps, apply)
    return guard.failures


def record_creation(rule: Transition, step: StatusChange) -> None:
    """Write the event of a workspace that was just inserted."""
    _record_events(rule, [step], version_step=0)


def _record_events(rule: Transition, steps: Sequence[StatusChange], *, version_step: int) -> None:
    subjects = event_subjects([step.workspace for step in steps])
    outbox.record(
        [
            outbox.NewEvent(
                event_type=rule.event,
                workspace_id=step.workspace.pk,
                version=step.workspace.version + version_step,
                is_move=True,
                payload=step.payload,
                subject=subject,
            )
            for step, subject in zip(steps, subjects, strict=True)
        ]
    )


def _reset_fields(target: WorkspaceStatus) -> dict[str, Any]:
    """Return the fields that entering a status resets: they described the status that was left."""
    reset: dict[str, Any] = {"paused_by": None, "restart_due_at": None, "held_since": None}
    if target not in WITH_DEADLINE:
        reset |= {"phase": Phase.NONE, "deadline_at": None}
    if target in CLEARS_FAILURE:
        reset |= _NO_FAILURE
    if target not in ACTIVE:
        reset["crash_loop"] = {}
    return reset


def _write(rows: Sequence[Workspace], changes: Sequence[Mapping[str, Any]]) -> None:
    """Write the changes of each row in one UPDATE and raise its version.

    A value that all rows share is a parameter, as all are of a single row; the others come as JSON, one object a row.
    Two launches that fail for different reasons give:

        UPDATE workspaces_workspace AS workspace
        SET version = workspace.version + 1, "status" = 'failed', "failure_message" = new."failure_message"
        FROM jsonb_to_recordset('[{"id": …, "failure_message": …}, …]'::jsonb)
            AS new (id uuid, "failure_message" text)
        WHERE workspace.id = new.id
    """
    first = changes[0]
    fields = {name: _field(name) for name in first}
    shared = tuple(name for name in first if all(change[name] == first[name] for change in changes))
    own = tuple(name for name in first if name not in shared)
    values = [fields[name].get_db_prep_save(first[name], connection) for name in shared]
    with connection.cursor() as cursor:
        cursor.execute(update_statement(shared, own), [*values, _rows_parameter(rows, changes, own)])
        if cursor.rowcount != len(rows):
            # The rows are locked, so this is a service that changes a row without its lock.
            raise RuntimeError(f"{cursor.rowcount} of {len(rows)} rows were written")


def _rows_parameter(
    rows: Sequence[Workspace], changes: Sequence[Mapping[str, Any]], own: Sequence[str]
) -> list[UUID] | str:
    """Return what `update_statement` is told of the rows: their ids, or JSON if some fields differ between them."""
    if not own:
        return [row.pk for row in rows]
    columns = {name: _field(name).attname for name in own}
    records = [
        {"id": row.pk, **{column: change[name] for name, column in columns.items()}}
        for row, change in zip(rows, changes, strict=True)
    ]
    return json.dumps(records, default=str)


@cache
def update_statement(shared: tuple[str, ...], own: tuple[str, ...]) -> sql.SQL:
    """Return the UPDATE of these fields; see _write. Kept, since composing it takes longer than running it."""
    fields = {name: _field(name) for name in (*shared, *own)}
    assignments: list[sql.Composable] = [sql.SQL("version = workspace.version + 1")]
    assignments += [sql.SQL("{} = %s").format(sql.Identifier(fields[name].attname)) for name in shared]
    assignments += [sql.SQL("{0} = new.{0}").format(sql.Identifier(fields[name].attname)) for name in own]
    columns = [sql.SQL("id uuid"), *(_column_definition(fields[name]) for name in own)]
    rows = sql.SQL(" FROM jsonb_to_recordset(%s::jsonb) AS new ({}) WHERE workspace.id = new.id")
    statement = sql.SQL("UPDATE workspaces_workspace AS workspace SET {assignments}{rows}").format(
        assignments=sql.SQL(", ").join(assignments),
        # Without a join, which takes Postgres as long to plan as all the rest.
        rows=rows.format(sql.SQL(", ").join(columns)) if own else sql.SQL(" WHERE workspace.id = ANY(%s)"),
    )
    return sql.SQL(statement.as_string())


def _field(name: str) -> "Field[Any, Any]":
    return cast("Field[Any, Any]", Workspace._meta.get_field(name))


def _column_definition(field: "Field[Any, Any]") -> sql.Composed:
    type_name = sql.SQL(field.db_type(connection) or "text")  # dynamic-sql: the name of a type, by Django's own field
    return sql.SQL("{} {}").format(sql.Identifier(field.attname), type_name)
