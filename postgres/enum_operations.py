"""The migration operations that create a native Postgres enum type and add or rename its values.

`makemigrations` writes them (workspaces/lifecycle/autodetector.py).
"""

from collections.abc import Sequence
from typing import Any

from django.db import OperationalError, transaction
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState
from psycopg import errors, sql

# Long enough for a short transaction to end, short enough that what queues up behind us hardly notices.
LOCK_TIMEOUT = "5s"


class LockNotGranted(OperationalError):
    """A migration waited in vain for its lock; nothing was changed by it."""


class NotAloneInMigration(RuntimeError):
    """AddEnumValue shares its migration; nothing was changed by it."""


class EnumOperation(Operation):
    """What the operations on a type share. A type is no part of the models' state: fields name it.

    Its values after some migrations are therefore found by replaying these operations: `values_after`.
    """

    reversible = True
    name: str

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        """Change nothing: see above."""

    def values_after(self, values: list[str]) -> list[str]:
        """Return the type's values after this operation, from those before it."""
        raise NotImplementedError


class CreateEnum(EnumOperation):
    """Create the enum type with these values in this order; reversing drops it."""

    def __init__(self, name: str, values: Sequence[str]) -> None:
        self.name = name
        self.values = list(values)

    def values_after(self, values: list[str]) -> list[str]:
        return list(self.values)

    def database_forwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        labels = sql.SQL(", ").join(map(sql.Literal, self.values))
        execute_with_lock_timeout(
            schema_editor, sql.SQL("CREATE TYPE {} AS ENUM ({})").format(sql.Identifier(self.name), labels)
        )

    def database_backwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        execute_with_lock_timeout(schema_editor, sql.SQL("DROP TYPE {}").format(sql.Identifier(self.name)))

    def reduce(self, operation: Operation, app_label: str) -> bool | list[Operation]:
        # For squashing: a type that is made in the same transaction may be made with all its values at once.
        if isinstance(operation, (AddEnumValue, RenameEnumValue)) and operation.name == self.name:
            return [CreateEnum(self.name, operation.values_after(self.values))]
        return super().reduce(operation, app_label)

    def describe(self) -> str:
        return f"Create enum type {self.name}"

    @property
    def migration_name_fragment(self) -> str:
        return f"create_{self.name}"


class AddEnumValue(EnumOperation):
    """Add a value to the type, before or after one that it has, or at its end; alone in its migration.

    Postgres refuses a value in the transaction that adds it, so nothing that might use it may stand beside it.
    Reversing changes nothing: Postgres can't take a value away, and older code tolerates one that it doesn't know.
    """

    def __init__(self, name: str, value: str, *, before: str = "", after: str = "") -> None:
        if before and after:
            raise ValueError(f"{value} of {name}: say `before` or `after`, not both.")
        self.name = name
        self.value = value
        self.before = before
        self.after = after

    def deconstruct(self) -> tuple[str, Sequence[Any], dict[str, Any]]:
        place = {key: value for key, value in (("before", self.before), ("after", self.after)) if value}
        return type(self).__name__, [], {"name": self.name, "value": self.value, **place}

    def values_after(self, values: list[str]) -> list[str]:
        if self.value in values:
            return values
        if self.before:
            place = values.index(self.before)
        else:
            place = values.index(self.after) + 1 if self.after else len(values)
        return [*values[:place], self.value, *values[place:]]

    def database_forwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        self._check_alone(app_label)
        execute_with_lock_timeout(
            schema_editor,
            sql.SQL("ALTER TYPE {} ADD VALUE IF NOT EXISTS {}{}").format(
                sql.Identifier(self.name), sql.Literal(self.value), self._place()
            ),
        )

    def database_backwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        """Leave the value: see the class."""

    def _place(self) -> sql.Composable:
        if self.before:
            return sql.SQL(" BEFORE {}").format(sql.Literal(self.before))
        return sql.SQL(" AFTER {}").format(sql.Literal(self.after)) if self.after else sql.SQL("")

    def _check_alone(self, app_label: str) -> None:
        for migration in MigrationLoader(None).disk_migrations.values():
            holds_this = any(operation is self for operation in migration.operations)
            if migration.app_label == app_label and holds_this and len(migration.operations) > 1:
                raise NotAloneInMigration(
                    f"{migration}: {self.describe()} must be alone in its migration, since Postgres refuses a value "
                    "in the transaction that adds it. Move the other operations into a migration that follows it."
                )

    def describe(self) -> str:
        return f"Add {self.value} to enum type {self.name} (stays when reversed)"

    @property
    def migration_name_fragment(self) -> str:
        return f"{self.name}_{self.value}"


class RenameEnumValue(EnumOperation):
    """Rename a value, on every row at once. Code that knows the old name only fails from then on: plan a stop."""

    def __init__(self, name: str, old: str, new: str) -> None:
        self.name = name
        self.old = old
        self.new = new

    def values_after(self, values: list[str]) -> list[str]:
        return [self.new if value == self.old else value for value in values]

    def database_forwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        execute_with_lock_timeout(schema_editor, _renaming(self.name, self.old, self.new))

    def database_backwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        execute_with_lock_timeout(schema_editor, _renaming(self.name, self.new, self.old))

    def describe(self) -> str:
        return f"Rename {self.old} of enum type {self.name} to {self.new}"

    @property
    def migration_name_fragment(self) -> str:
        return f"{self.name}_{self.old}_to_{self.new}"


def _renaming(name: str, old: str, new: str) -> sql.Composed:
    statement = sql.SQL("ALTER TYPE {} RENAME VALUE {} TO {}")
    return statement.format(sql.Identifier(name), sql.Literal(old), sql.Literal(new))


def execute_with_lock_timeout(schema_editor: BaseDatabaseSchemaEditor, statement: sql.Composable) -> None:
    """Execute what takes a strong lock, without queueing for it longer than LOCK_TIMEOUT. Raises LockNotGranted.

    Whoever waits for a lock makes all later ones wait too: the migration gives way, and is run again.
    """
    text = statement.as_string(schema_editor.connection.connection)
    try:
        with transaction.atomic(using=schema_editor.connection.alias):
            schema_editor.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'", None)
            schema_editor.execute(text, None)
    except OperationalError as error:
        if not isinstance(error.__cause__, errors.LockNotAvailable):
            raise
        raise LockNotGranted(
            f"Another session held a lock for longer than {LOCK_TIMEOUT}, so this was not done: {text[:200]} "
            "Run `manage.py migrate` again; pg_stat_activity shows who holds on."
        ) from error
