"""The migration autodetector of `makemigrations` and `migrate`: it also finds enum values and changed TRANSITIONS.

It replaces Django's class, so an app that brings its own (django-pgtrigger, for example) needs a common subclass.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from django.apps import apps
from django.core.management.base import CommandError
from django.db import models
from django.db.migrations import Migration
from django.db.migrations.autodetector import MigrationAutodetector
from django.db.migrations.graph import MigrationGraph
from django.db.migrations.operations.base import Operation
from django.db.migrations.questioner import InteractiveMigrationQuestioner, MigrationQuestioner

from postgres.enum_field import EnumField
from postgres.enum_operations import AddEnumValue, CreateEnum, RenameEnumValue
from workspaces.lifecycle.declared import declared_enums, declared_guard
from workspaces.lifecycle.trigger import GuardMoves, guard_from_transitions

Confirm = Callable[[str], bool]


class CannotMigrate(CommandError):
    """No operation that is safe to write automatically leads from the migrations' enum to the code's."""


class Autodetector(MigrationAutodetector):
    """Django's autodetector, with a migration for each new enum value before its own and one for the guard after."""

    def _detect_changes(self, convert_apps: Any = None, graph: Any = None) -> dict[str, list[Migration]]:
        found: dict[str, list[Migration]] = super()._detect_changes(convert_apps, graph)  # type: ignore[misc]
        for app_label, migrations in self.enum_migrations(graph).items():
            # They come first, because a constraint or an index that Django found may use a new value.
            later = found.get(app_label, [])
            if later:
                later[0].dependencies.append((app_label, migrations[-1].name))  # type: ignore[attr-defined]
            found[app_label] = [*migrations, *later]
        guard = guard_from_transitions()
        if not guard.is_same_as(declared_guard(graph)):
            _append(found, "workspaces", "guard", guard)
        return found

    def enum_migrations(self, graph: MigrationGraph) -> dict[str, list[Migration]]:
        """Return by app label the migrations that bring the enum types up to the code, one operation in each."""
        declared, found = declared_enums(graph), dict[str, list[Migration]]()
        for name, (app_label, enum) in bound_enums().items():
            known = declared.get(name)
            try:
                operations = enum_operations(
                    name, enum.values, known.values if known else None, confirm=self.ask_at_terminal
                )
            except CannotMigrate:
                # `migrate` brings the questioner that never asks; it only reports that a migration is missing.
                if type(self.questioner) is not MigrationQuestioner:
                    raise
                continue
            for operation in operations:
                label = known.app_label if known else app_label
                _append(found, label, f"enum_{len(found.get(label, []))}", operation)
        return found

    def ask_at_terminal(self, question: str) -> bool:
        """Ask the person at the terminal; without one the answer is no."""
        if isinstance(self.questioner, InteractiveMigrationQuestioner):
            return bool(self.questioner._boolean_input(question, default=False))  # type: ignore[attr-defined]
        return False


def _append(found: dict[str, list[Migration]], app_label: str, name: str, operation: Operation) -> None:
    """Add a migration that depends on the app's last one. Django gives it its final name later."""
    migration = type("Migration", (Migration,), {"operations": [operation], "dependencies": []})(name, app_label)
    earlier = found.setdefault(app_label, [])
    if earlier:
        migration.dependencies.append((app_label, earlier[-1].name))
    earlier.append(migration)


def bound_enums() -> dict[str, tuple[str, type[models.TextChoices]]]:
    """Return for the name of each enum type that a field is bound to the field's app label and its TextChoices.

    Raises CannotMigrate if two fields bind one type to different TextChoices.
    """
    found: dict[str, tuple[str, type[models.TextChoices]]] = {}
    for model in apps.get_models():
        for field in model._meta.local_fields:
            if not isinstance(field, EnumField) or field.enum is None:
                continue
            _, enum = found.setdefault(field.enum_type, (model._meta.app_label, field.enum))
            if enum is not field.enum:
                raise CannotMigrate(
                    f"{field} binds the type {field.enum_type} to {field.enum.__name__}, another field to "
                    f"{enum.__name__}: bind one type to one TextChoices."
                )
    return found


def enum_operations(
    name: str, wanted: Sequence[str], present: Sequence[str] | None, *, confirm: Confirm
) -> Sequence[Operation]:
    """Return the operations that lead a type from its present values (None: no such type) to the wanted ones.

    A value that seems to be renamed is passed to `confirm(question)`. Raises CannotMigrate.
    """
    if present is None:
        return [CreateEnum(name, list(wanted))]
    lost = [value for value in present if value not in wanted]
    added = [value for value in wanted if value not in present]
    if lost:
        return [_rename(name, wanted, present, lost=lost, added=added, confirm=confirm)]
    kept = [value for value in wanted if value in present]
    if kept != list(present):
        raise CannotMigrate(
            f"The members of {name} are in a different order than the type's values: {', '.join(kept)} instead of "
            f"{', '.join(present)}. Postgres can't reorder values, so put the members back into the type's order."
        )
    operations = []
    for value in added:
        position = wanted.index(value)
        # The value before it exists by then: it was there already, or is added first.
        neighbour = {"after": wanted[position - 1]} if position else {"before": present[0]}
        operations.append(AddEnumValue(name, value, **neighbour))
    return operations


def _rename(
    name: str, wanted: Sequence[str], present: Sequence[str], *, lost: list[str], added: list[str], confirm: Confirm
) -> RenameEnumValue:
    """Return the rename of the one lost value to the one added in its position. Raises CannotMigrate otherwise."""
    if len(lost) == len(added) == 1 and wanted.index(added[0]) == present.index(lost[0]):
        question = f"Was {lost[0]} of {name} renamed to {added[0]}? Code that knows the old name will fail. [y/N]"
        if confirm(question):
            return RenameEnumValue(name, lost[0], added[0])
        raise CannotMigrate(
            f"{name} lost {lost[0]} and gained {added[0]}. If you renamed it, confirm that: run makemigrations in a "
            f"terminal without --no-input. If not, put {lost[0]} back: Postgres can't remove a value."
        )
    more = f" and gained {', '.join(added)}: rename one value at a time, each in its own migration" if added else ""
    raise CannotMigrate(
        f"{name} lost {', '.join(lost)}{more}. Postgres can't remove a value: put the member back and let no "
        "transition lead to it, or write a migration that creates a new type and converts the column to it."
    )


def drifted_guard(graph: MigrationGraph) -> Mapping[str, set[str]]:
    """Return the moves that only TRANSITIONS or only the migrations' guard has, by which of the two has them."""
    declared = declared_guard(graph)
    ours, theirs = _moves(guard_from_transitions()), _moves(declared) if declared else set()
    return {"only in TRANSITIONS": ours - theirs, "only in the migrations": theirs - ours}


def _moves(guard: GuardMoves) -> set[str]:
    moves = {f"{source} → {target}" for source, targets in guard.moves.items() for target in targets}
    creations = {f"created as {status}" for status in guard.first}
    return moves | creations | {f"created as {status} (external)" for status in guard.first_external}
