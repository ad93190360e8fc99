"""What the drift gate reports, and the comments that silence it."""

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

# The comments that silence a line; each is followed by a reason.
NO_STATUS = "not-a-workspace-status:"
DYNAMIC_SQL = "dynamic-sql:"
MARKS = (NO_STATUS, DYNAMIC_SQL)


class Severity(StrEnum):
    """Whether a finding fails the gate."""

    ERROR = "error"
    # Tolerated: a database with a value that the code lacks, for example.
    WARNING = "warning"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that drifted: where it is (no path: in the database), what is wrong, and what to do."""

    message: str
    fix: str
    path: str = ""
    line: int = 0
    severity: Severity = Severity.ERROR

    def __str__(self) -> str:
        return f"{self.place}{self.message} {self.fix}"

    @property
    def place(self) -> str:
        return f"{self.path}:{self.line}: " if self.path else ""


@dataclass(frozen=True, kw_only=True)
class Silenced:
    """A finding that a comment silences, with the reason it gives."""

    path: str
    line: int
    reason: str


@dataclass(kw_only=True)
class Report:
    """Everything found, and how much was checked: a gate that checked nothing fails."""

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
        """Add another report's findings and counts."""
        self.findings += other.findings
        self.silenced += other.silenced
        self.files += other.files
        self.statements += other.statements
        self.mentions += other.mentions

    def as_text(self) -> str:
        """Return the report for people, one finding a line, the counts last."""
        checked = "the connected database only"
        if self.files:
            checked = f"{self.files} files, {self.statements} SQL statements, {self.mentions} mentions of a status"
        return "\n".join(
            [
                *(f"{finding.severity}: {finding}" for finding in self.findings),
                *(f"silenced: {one.path}:{one.line}: {one.reason}" for one in self.silenced),
                f"{len(self.errors)} errors, {len(self.warnings)} warnings, {len(self.silenced)} silenced; "
                f"looked at {checked}.",
            ]
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the report for machines."""
        return asdict(self)
