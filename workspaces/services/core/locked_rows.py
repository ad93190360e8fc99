"""Reads whole rows of workspaces by primary key with a prepared statement text (ADR 16).

The ORM composes the statement for nearly fifty columns anew each time, which takes half of the time of a lock.
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
    # The fields' own conversions of values that the driver read, with the position of the value.
    converters: list[tuple[int, Callable[..., Any]]]
    statement: sql.SQL


def read(workspace_ids: Iterable[UUID]) -> list[Workspace]:
    """Return these rows in id order. Unknown ids are left out."""
    return _read(_NOT_LOCKED, workspace_ids)


def read_locked(workspace_ids: Iterable[UUID]) -> list[Workspace]:
    """Lock these rows in id order and return them as they are now. Unknown ids are left out.

    Raises TransactionManagementError outside a transaction.
    """
    connection.validate_no_broken_transaction()
    if not connection.in_atomic_block:
        raise transaction.TransactionManagementError("Rows can be locked only inside a transaction.")
    return _read(_LOCKED, workspace_ids)


_NOT_LOCKED = sql.SQL("")
_LOCKED = sql.SQL(" FOR NO KEY UPDATE")


def _read(lock: sql.SQL, workspace_ids: Iterable[UUID]) -> list[Workspace]:
    columns = _columns()
    rows = []
    with connection.cursor() as cursor:
        cursor.execute(columns.statement + lock, [list(workspace_ids)])
        for record in cursor.fetchall():
            values = list(record)
            for position, convert in columns.converters:
                values[position] = convert(values[position], None, connection)
            rows.append(Workspace.from_db(connection.alias, columns.names, values))
    return rows


@cache
def _columns() -> _Columns:
    fields = cast("list[Field[Any, Any]]", Workspace._meta.concrete_fields)
    converters = [
        (index, convert) for index, field in enumerate(fields) for convert in field.get_db_converters(connection)
    ]
    names = [field.attname for field in fields]
    select_list = sql.SQL(", ").join(sql.Identifier(name) for name in names)
    statement = sql.SQL("SELECT {} FROM workspaces_workspace WHERE id = ANY(%s) ORDER BY id").format(select_list)
    # As one text, since composing it takes as long as reading a row.
    return _Columns(names, converters, sql.SQL(statement.as_string()))
