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

# Long enough for a short transaction to end, and short enough for the sessions that queue behind this one.
LOCK_TIMEOUT = "5s"


class LockNotGranted(OperationalError):
    """A migration did not get its lock in time. It changed nothing."""


class NotAloneInMigration(RuntimeError):
    """AddEnumValue is not alone in its migration. It changed nothing."""


class EnumOperation(Operation):
    """The base of the operations on an enum type.

    The models' state has no types, only fields that name one. To find a type's values, call `values_after` on all
    operations in order.
    """

    reversible = True
    name: str

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        """Change nothing: see the class."""

    def values_after(self, values: list[str]) -> list[str]:
        """Return the type's values after this operation; `values` are those before it."""
        raise NotImplementedError


class CreateEnum(EnumOperation):
    """Create the enum type with these values in this order. Reversing drops it."""

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
        # Squashing: create a new type with all its values at once.
        if isinstance(operation, (AddEnumValue, RenameEnumValue)) and operation.name == self.name:
            return [CreateEnum(self.name, operation.values_after(self.values))]
        return super().reduce(operation, app_label)

    def describe(self) -> str:
        return f"Create enum type {self.name}"

    @property
    def migration_name_fragment(self) -> str:
        return f"create_{self.name}"


class AddEnumValue(EnumOperation):
    """Add a value to the type: before or after another one, or at the end.

    It must be alone in its migration, since Postgres refuses a value in the transaction that adds it. Reversing changes
    nothing: Postgres can't remove a value, and older code tolerates one that it doesn't know.
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
        place: sql.Composable = sql.SQL("")
        if self.before:
            place = sql.SQL(" BEFORE {}").format(sql.Literal(self.before))
        elif self.after:
            place = sql.SQL(" AFTER {}").format(sql.Literal(self.after))
        execute_with_lock_timeout(
            schema_editor,
            sql.SQL("ALTER TYPE {} ADD VALUE IF NOT EXISTS {}{}").format(
                sql.Identifier(self.name), sql.Literal(self.value), place
            ),
        )

    def database_backwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        """Leave the value: see the class."""

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
    """Rename a value, in all rows at once. Stop all processes first: code that uses the old name fails from then on."""

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
    """Execute a statement that takes a strong lock. Raises LockNotGranted after LOCK_TIMEOUT.

    A session that waits for a strong lock makes all later ones wait, too, so the migration gives up and is run again.
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
            "Run `manage.py migrate` again; pg_stat_activity shows which session holds the lock."
        ) from error
