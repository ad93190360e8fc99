"""What the drift gate reports."""

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any


class Severity(StrEnum):
    """Whether a finding makes the gate red."""

    ERROR = "error"
    # Tolerated, and to be known: a database that knows more than the code, say.
    WARNING = "warning"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that drifted: where it stands (no place: in the database), what is wrong, and what to do."""

    message: str
    fix: str
    path: str = ""
    line: int = 0
    severity: Severity = Severity.ERROR

    def __str__(self) -> str:
        place = f"{self.path}:{self.line}: " if self.path else ""
        return f"{place}{self.message} {self.fix}"


@dataclass(frozen=True, kw_only=True)
class Silenced:
    """A literal that a comment declares to be no status, with the reason it gives."""

    path: str
    line: int
    reason: str


@dataclass(kw_only=True)
class Report:
    """Everything found, and how much was looked at: a gate that looked at nothing is not green."""

    findings: list[Finding] = field(default_factory=list)
    silenced: list[Silenced] = field(default_factory=list)
    files: int = 0
    statements: int = 0
    mentions: int = 0

    @property
    def errors(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.severity == Severity.ERROR]

    @property
    def warnings(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.severity == Severity.WARNING]

    def add(self, other: "Report") -> None:
        """Take over what another report found and counted."""
        self.findings += other.findings
        self.silenced += other.silenced
        self.files += other.files
        self.statements += other.statements
        self.mentions += other.mentions

    def as_facts(self) -> dict[str, Any]:
        """Return the report for machines."""
        return asdict(self)
