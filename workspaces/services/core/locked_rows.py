"""Whole rows of workspaces by their ids, read by a statement that is made once (ADR 16).

The ORM makes it anew each time, of some fifty columns: half of what it costs to lock a workspace.
"""

from collections.abc import Callable, Iterable
from functools import cache
from typing import Any, NamedTuple, cast
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Field
from psycopg import sql

from workspaces.models import Workspace


class _Columns(NamedTuple):
    names: list[str]
    # By place: how a field makes its value of what the driver read.
    readers: list[tuple[int, Callable[..., Any]]]
    listed: sql.Composed


def read(workspace_ids: Iterable[UUID]) -> list[Workspace]:
    """Return these rows, in id order; what is not there is left out."""
    return _read(_READ, workspace_ids)


def read_locked(workspace_ids: Iterable[UUID]) -> list[Workspace]:
    """Lock these rows in id order, and return them as they are now. To be called in a transaction."""
    connection.validate_no_broken_transaction()
    if not connection.in_atomic_block:
        raise transaction.TransactionManagementError("A lock ends with its transaction, and there is none.")
    return _read(_LOCK, workspace_ids)


_READ = sql.SQL("SELECT {columns} FROM workspaces_workspace WHERE id = ANY(%s) ORDER BY id")
_LOCK = sql.SQL("SELECT {columns} FROM workspaces_workspace WHERE id = ANY(%s) ORDER BY id FOR NO KEY UPDATE")


def _read(statement: sql.SQL, workspace_ids: Iterable[UUID]) -> list[Workspace]:
    columns = _columns()
    with connection.cursor() as cursor:
        cursor.execute(statement.format(columns=columns.listed), [list(workspace_ids)])
        return [_row(columns, list(values)) for values in cursor.fetchall()]


def _row(columns: _Columns, values: list[Any]) -> Workspace:
    for place, reader in columns.readers:
        values[place] = reader(values[place], None, connection)
    return Workspace.from_db(connection.alias, columns.names, values)


@cache
def _columns() -> _Columns:
    fields = cast("list[Field[Any, Any]]", Workspace._meta.concrete_fields)
    readers = [(place, reader) for place, field in enumerate(fields) for reader in field.get_db_converters(connection)]
    listed: list[sql.Composable] = [sql.Identifier(field.attname) for field in fields]
    return _Columns([field.attname for field in fields], readers, sql.SQL(", ").join(listed))
