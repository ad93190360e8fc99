"""What every status needs besides its name: migrations, transitions, an event, a label, a colour, a filter entry."""

from collections.abc import Iterable
from typing import Any

from django.db.migrations.loader import MigrationLoader
from django.http import HttpRequest

from postgres.enum_operations import AddEnumValue
from status_drift.findings import Finding
from workspaces.admin.filters import StatusFilter
from workspaces.lifecycle.autodetector import bound_enums, drifted_guard
from workspaces.lifecycle.declared import declared_enums, operations
from workspaces.lifecycle.transitions import TRANSITIONS, WorkspaceStatus
from workspaces.models import Workspace
from workspaces.status_colours import STATUS_COLOURS

_LIFECYCLE = "workspaces/lifecycle/transitions.py"
_MIGRATE = "Run `manage.py makemigrations`."


def migration_findings() -> list[Finding]:
    """Compare the code's enums and transitions with those that the migrations end with."""
    graph = MigrationLoader(None).graph
    declared = declared_enums(graph)
    found: list[Finding] = []
    for name, (_, enum) in bound_enums().items():
        wanted, present = enum.values, declared[name].values if name in declared else []
        missing = [value for value in wanted if value not in present]
        extra = [value for value in present if value not in wanted]
        found += [_finding(f"The migrations' {name} lacks {value}.", _MIGRATE) for value in missing]
        for value in extra:
            found.append(_finding(f"The code's {name} lacks {value}, which a migration adds.", "Put it back."))
        if not missing and not extra and wanted != present:
            found.append(_finding(f"The migrations' {name} has another order: {', '.join(present)}.", _MIGRATE))
    for where, transitions in drifted_guard(graph).items():
        found += [_finding(f"The transition {transition} is {where}.", _MIGRATE) for transition in sorted(transitions)]
    for migration, operation in operations(graph):
        if isinstance(operation, AddEnumValue) and len(migration.operations) > 1:
            found.append(_finding(f"{migration} does more than add a value.", "Give AddEnumValue its own migration."))
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
    with_event = {row.target for row in rows if row.event}
    shown = set(filter_values() if filtered is None else filtered)
    lacks = {
        "row in TRANSITIONS": [status for status in statuses if status not in used],
        "event: no row of TRANSITIONS leads to it": [status for status in statuses if status not in with_event],
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
