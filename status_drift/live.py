"""The live half: what the connected database knows, in one query. Needs no parser, so that production asks it too."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from django.db import connection

from status_drift.findings import Finding, Severity
from workspaces.lifecycle.autodetector import bound_enums

_VALUES = """
SELECT pg_type.typname, pg_enum.enumlabel
FROM pg_enum JOIN pg_type ON pg_type.oid = pg_enum.enumtypid
WHERE pg_type.typname = ANY (%s) AND pg_type_is_visible(pg_type.oid)
ORDER BY pg_type.typname, pg_enum.enumsortorder
"""


@dataclass(frozen=True, kw_only=True)
class LiveEnum:
    """A type as the code has it and as this database has it."""

    type_name: str
    wanted: Sequence[str]
    present: Sequence[str]

    @property
    def missing(self) -> list[str]:
        """Return the values that a write would be refused for."""
        return [value for value in self.wanted if value not in self.present]

    @property
    def extra(self) -> list[str]:
        """Return the values of newer code: tolerated, read as plain text."""
        return [value for value in self.present if value not in self.wanted]

    @property
    def is_reordered(self) -> bool:
        known = [value for value in self.present if value in self.wanted]
        return not self.missing and known != list(self.wanted)


def live_enums() -> list[LiveEnum]:
    """Ask the database for every native enum that the code binds."""
    wanted = {name: enum.values for name, (_, enum) in bound_enums().items()}
    present = _present(list(wanted))
    return [LiveEnum(type_name=name, wanted=values, present=present.get(name, [])) for name, values in wanted.items()]


def live_findings(enums: Sequence[LiveEnum]) -> list[Finding]:
    """Return what is missing (an error), and what there is too much or in another order (warnings)."""
    found = []
    for enum in enums:
        for value in enum.missing:
            found.append(
                Finding(
                    message=f"The database's {enum.type_name} lacks {value}: writing it fails.",
                    fix="Run `manage.py migrate`.",
                )
            )
        for value in enum.extra:
            found.append(
                Finding(
                    message=f"The database's {enum.type_name} has {value}, which this code does not know.",
                    fix="Expected after a rollback; otherwise deploy the code that it belongs to.",
                    severity=Severity.WARNING,
                )
            )
        if enum.is_reordered:
            found.append(
                Finding(
                    message=f"The database's {enum.type_name} has another order: {', '.join(enum.present)}.",
                    fix="Sorting by it differs from the code's order, nothing else does.",
                    severity=Severity.WARNING,
                )
            )
    return found


def _present(names: list[str]) -> Mapping[str, list[str]]:
    found: dict[str, list[str]] = {}
    with connection.cursor() as cursor:
        cursor.execute(_VALUES, [names])
        for name, value in cursor.fetchall():
            found.setdefault(name, []).append(value)
    return found
