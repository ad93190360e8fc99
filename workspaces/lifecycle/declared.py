"""Enum types and the guard as the migrations declare them, found by replaying their operations in order.

The state of Django's models knows neither.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from django.db.migrations import Migration
from django.db.migrations.graph import MigrationGraph
from django.db.migrations.operations.base import Operation
from django.db.migrations.operations.special import SeparateDatabaseAndState

from postgres.enum_operations import EnumOperation
from workspaces.lifecycle.trigger import GuardMoves


@dataclass(frozen=True)
class DeclaredEnum:
    """An enum type after all migrations, and the app whose migrations create and change it."""

    app_label: str
    values: list[str] = field(default_factory=list)


def declared_enums(graph: MigrationGraph) -> dict[str, DeclaredEnum]:
    """Return by name each type that the migrations create, with its final values in their order."""
    found: dict[str, DeclaredEnum] = {}
    for migration, operation in operations(graph):
        if isinstance(operation, EnumOperation):
            before = found.get(operation.name, DeclaredEnum(migration.app_label))
            found[operation.name] = DeclaredEnum(before.app_label, operation.values_after(before.values))
    return found


def declared_guard(graph: MigrationGraph) -> GuardMoves | None:
    """Return the last guard that the migrations install."""
    guards = [operation for _, operation in operations(graph) if isinstance(operation, GuardMoves)]
    return guards[-1] if guards else None


def operations(graph: MigrationGraph) -> Iterator[tuple[Migration, Operation]]:
    """Yield every operation on the database with its migration, in the order in which they are applied."""
    seen = set()
    for leaf in sorted(graph.leaf_nodes()):
        for key in graph.forwards_plan(leaf):
            if key not in seen:
                seen.add(key)
                migration = graph.nodes[key]
                # A node without a migration is a dummy, which the loader has already refused.
                yield from _flat(migration, migration.operations) if migration else ()


def _flat(migration: Migration, found: Sequence[Operation]) -> Iterator[tuple[Migration, Operation]]:
    for operation in found:
        if isinstance(operation, SeparateDatabaseAndState):
            yield from _flat(migration, operation.database_operations)
        else:
            yield migration, operation
