"""The live half of the gate: the values that the connected database has, in one query. Production runs it, too."""

from collections.abc import Sequence
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
        """Return the values that can't be written."""
        return [value for value in self.wanted if value not in self.present]

    @property
    def extra(self) -> list[str]:
        """Return the values of newer code; they are read as plain text."""
        return [value for value in self.present if value not in self.wanted]

    @property
    def is_reordered(self) -> bool:
        known = [value for value in self.present if value in self.wanted]
        return not self.missing and known != list(self.wanted)


def live_enums() -> list[LiveEnum]:
    """Read from the database every native enum that a field of the code is bound to."""
    wanted = {name: enum.values for name, (_, enum) in bound_enums().items()}
    present: dict[str, list[str]] = {}
    with connection.cursor() as cursor:
        cursor.execute(_VALUES, [list(wanted)])
        for name, value in cursor.fetchall():
            present.setdefault(name, []).append(value)
    return [LiveEnum(type_name=name, wanted=values, present=present.get(name, [])) for name, values in wanted.items()]


def live_findings(enums: Sequence[LiveEnum]) -> list[Finding]:
    """Return missing values as errors, extra values and another order as warnings."""
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
                    message=f"The database's {enum.type_name} has {value}, which this code doesn't have.",
                    fix="Expected after a rollback. Otherwise deploy the code that has it.",
                    severity=Severity.WARNING,
                )
            )
        if enum.is_reordered:
            found.append(
                Finding(
                    message=f"The database's {enum.type_name} has another order: {', '.join(enum.present)}.",
                    fix="Only sorting by it differs from the code's order.",
                    severity=Severity.WARNING,
                )
            )
    return found
