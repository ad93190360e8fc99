"""What `makemigrations` and `migrate` notice beside the models: the values of native enums, and the table of moves.

A class that replaces Django's; an app that brings one of its own (django-pgtrigger does) has to be joined with it.
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
from workspaces.lifecycle.trigger import guard_from_transitions

Confirm = Callable[[str], bool]


class CannotMigrate(CommandError):
    """The code's enum can't be reached from the migrations' by any operation that is safe to write unasked."""


class Autodetector(MigrationAutodetector):
    """Django's, and ahead of what it finds one migration for each new enum value, behind it one for the guard."""

    def _detect_changes(self, convert_apps: Any = None, graph: Any = None) -> dict[str, list[Migration]]:
        found: dict[str, list[Migration]] = super()._detect_changes(convert_apps, graph)  # type: ignore[misc]
        for app_label, additions in self._additions(graph).items():
            # A constraint or an index that Django found may name the new value.
            _prepend(found, app_label, additions)
        wanted, present = guard_from_transitions(), declared_guard(graph)
        if not wanted.is_same_as(present):
            _append(found, "workspaces", _migration("guard", "workspaces", wanted))
        return found

    def _additions(self, graph: MigrationGraph) -> dict[str, list[Migration]]:
        declared, found = declared_enums(graph), dict[str, list[Migration]]()
        for name, (app_label, enum) in bound_enums().items():
            app_label = declared[name].app_label if name in declared else app_label
            for operation in self._operations(name, enum.values, declared[name].values if name in declared else None):
                numbered = f"enum_{len(found.get(app_label, []))}"
                _append(found, app_label, _migration(numbered, app_label, operation))
        return found

    def _operations(self, name: str, wanted: Sequence[str], present: Sequence[str] | None) -> Sequence[Operation]:
        try:
            return enum_operations(name, wanted, present, confirm=self._confirm)
        except CannotMigrate:
            # `migrate` brings a questioner that asks nobody, and only tells that changes wait for a migration.
            if type(self.questioner) is MigrationQuestioner:
                return []
            raise

    def _confirm(self, question: str) -> bool:
        """Ask whoever sits at the terminal; with nobody there the answer is no."""
        if isinstance(self.questioner, InteractiveMigrationQuestioner):
            return bool(self.questioner._boolean_input(question, default=False))  # type: ignore[attr-defined]
        return False


def bound_enums() -> dict[str, tuple[str, type[models.TextChoices]]]:
    """Return each native enum that a model's field is bound to: its type's name, the field's app, its TextChoices."""
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
    """Return what leads a type from its present values (None: no such type) to the wanted ones. Raises CannotMigrate.

    `confirm(question)` is asked where a value seems to have been renamed.
    """
    if present is None:
        return [CreateEnum(name, list(wanted))]
    gone = [value for value in present if value not in wanted]
    new = [value for value in wanted if value not in present]
    if gone:
        return [_rename(name, wanted, present, gone=gone, new=new, confirm=confirm)]
    kept = [value for value in wanted if value in present]
    if kept != list(present):
        raise CannotMigrate(
            f"The members of {name} stand in another order than the type's values: {', '.join(kept)} instead of "
            f"{', '.join(present)}. Postgres can't reorder them: put the members back into the type's order."
        )
    return [_addition(name, value, wanted, present) for value in new]


def _addition(name: str, value: str, wanted: Sequence[str], present: Sequence[str]) -> AddEnumValue:
    place = wanted.index(value)
    if place == 0:
        return AddEnumValue(name, value, before=present[0])
    # What stands before it exists by then: it was there, or is added first.
    return AddEnumValue(name, value, after=wanted[place - 1])


def _rename(
    name: str, wanted: Sequence[str], present: Sequence[str], *, gone: list[str], new: list[str], confirm: Confirm
) -> RenameEnumValue:
    if len(gone) == len(new) == 1 and wanted.index(new[0]) == present.index(gone[0]):
        question = f"Was {gone[0]} of {name} renamed to {new[0]}? Code that knows the old name will fail. [y/N]"
        if confirm(question):
            return RenameEnumValue(name, gone[0], new[0])
        raise CannotMigrate(
            f"{name} lost {gone[0]} and gained {new[0]}. If that is a rename, confirm it: run makemigrations in a "
            f"terminal without --no-input. If not, put {gone[0]} back: Postgres can't take a value away."
        )
    more = f" and gained {', '.join(new)}: rename one at a time, a migration each" if new else ""
    raise CannotMigrate(
        f"{name} lost {', '.join(gone)}{more}. Postgres can't take a value away: put the member back and let no row "
        "of TRANSITIONS lead to it, or write a migration that makes a new type and moves the column to it."
    )


def _migration(name: str, app_label: str, operation: Operation) -> Migration:
    # Named for good by arrange_for_graph.
    subclass = type("Migration", (Migration,), {"operations": [operation], "dependencies": []})
    return subclass(name, app_label)


def _append(found: dict[str, list[Migration]], app_label: str, migration: Migration) -> None:
    earlier = found.setdefault(app_label, [])
    if earlier:
        migration.dependencies.append((app_label, earlier[-1].name))  # type: ignore[attr-defined]
    earlier.append(migration)


def _prepend(found: dict[str, list[Migration]], app_label: str, migrations: Sequence[Migration]) -> None:
    later = found.get(app_label, [])
    if later:
        later[0].dependencies.append((app_label, migrations[-1].name))  # type: ignore[attr-defined]
    found[app_label] = [*migrations, *later]


def drifted_guard(graph: MigrationGraph) -> Mapping[str, set[str]]:
    """Return where the migrations' guard and the table differ: the moves that only one of them has."""
    present = declared_guard(graph)
    ours, theirs = _moves(guard_from_transitions()), _moves(present) if present else set()
    return {"only in TRANSITIONS": ours - theirs, "only in the migrations": theirs - ours}


def _moves(guard: Any) -> set[str]:
    moves = {f"{source} → {target}" for source, targets in guard.moves.items() for target in targets}
    created = {f"created as {status}" for status in guard.first}
    return moves | created | {f"created as {status} (external)" for status in guard.first_external}
