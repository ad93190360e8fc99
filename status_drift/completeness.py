"""What every status needs beside its name: a place in the migrations and in the table, and a face in the admin."""

from collections.abc import Iterable
from typing import Any

from django.db.migrations.loader import MigrationLoader
from django.http import HttpRequest

from postgres.enum_operations import AddEnumValue
from status_drift.findings import Finding
from workspaces.admin.filters import StatusFilter
from workspaces.lifecycle.autodetector import bound_enums, drifted_guard
from workspaces.lifecycle.declared import DeclaredEnum, declared_enums, operations
from workspaces.lifecycle.transitions import TRANSITIONS, WorkspaceStatus
from workspaces.models import Workspace
from workspaces.status_colours import STATUS_COLOURS

_LIFECYCLE = "workspaces/lifecycle/transitions.py"


def migration_findings() -> list[Finding]:
    """Compare the code's enums and its table of moves with what the migrations end with."""
    graph = MigrationLoader(None).graph
    declared = declared_enums(graph)
    found = [one for name, (_, enum) in bound_enums().items() for one in _enum(name, enum.values, declared.get(name))]
    for where, moves in drifted_guard(graph).items():
        found += [_finding(f"The move {move} is {where}.", "Run `manage.py makemigrations`.") for move in sorted(moves)]
    for migration, operation in operations(graph):
        if isinstance(operation, AddEnumValue) and len(migration.operations) > 1:
            found.append(_finding(f"{migration} does more than add a value.", "Give AddEnumValue its own migration."))
    return found


def _enum(name: str, values: list[str], declared: DeclaredEnum | None) -> list[Finding]:
    present = declared.values if declared else []
    fix = "Run `manage.py makemigrations`."
    found = [_finding(f"The migrations' {name} lacks {value}.", fix) for value in values if value not in present]
    gone = [value for value in present if value not in values]
    found += [_finding(f"The code's {name} lacks {value}, which a migration adds.", "Put it back.") for value in gone]
    if not found and values != present:
        found.append(_finding(f"The migrations' {name} has another order: {', '.join(present)}.", fix))
    return found


def status_findings(
    statuses: Iterable[Any] = WorkspaceStatus,
    *,
    transitions: Iterable[Any] = TRANSITIONS,
    colours: Any = STATUS_COLOURS,
    filtered: Iterable[str] | None = None,
) -> list[Finding]:
    """Return the statuses that lack a row of the table, an event, a label, a colour or their entry in the filter."""
    rows = list(transitions)
    used = {row.target for row in rows} | {source for row in rows for source in row.sources}
    told = {row.target for row in rows if row.event}
    shown = set(filter_values() if filtered is None else filtered)
    lacks = {
        "row in TRANSITIONS": [status for status in statuses if status not in used],
        "event: no row of TRANSITIONS leads to it": [status for status in statuses if status not in told],
        "label": [status for status in statuses if not str(status.label).strip()],
        "colour in workspaces/status_colours.py": [status for status in statuses if status not in colours],
        "entry in the admin's status filter": [status for status in statuses if status.value not in shown],
    }
    return [
        _finding(f"The status {status.value} has no {what}.", "docs/how-to/add-a-status.md lists what it needs.")
        for what, those in lacks.items()
        for status in those
    ]


def filter_values() -> list[str]:
    """Return the values that the admin's filter offers."""
    chosen = StatusFilter(HttpRequest(), {}, Workspace, None)  # type: ignore[arg-type]
    return [str(value) for value, _ in chosen.lookup_choices]


def _finding(message: str, fix: str) -> Finding:
    return Finding(path=_LIFECYCLE, line=1, message=message, fix=fix)
