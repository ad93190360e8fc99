"""The static half of the drift gate: everything that can be checked without a database. Needs pglast."""

from collections.abc import Iterable
from pathlib import Path

from status_drift.completeness import migration_findings, status_findings
from status_drift.enum_terms import EnumTerm, event_names, native_enums
from status_drift.findings import Finding, Report
from status_drift.model_types import ModelTypes
from status_drift.python_literals import EnumVisitor, scan_event_names
from status_drift.sources import Findings, Source, sources
from status_drift.sql.scanner import SqlScanner


def static_report(root: Path) -> Report:
    """Check the project's code, its migrations and its transitions."""
    terms, events = native_enums(), event_names()
    report = scan(sources(root), terms=terms, events=events)
    report.findings += [*migration_findings(), *status_findings()]
    checked = {
        "file": report.files,
        "native enum": len(terms),
        "event name": len(events),
        "SQL statement": report.statements,
        "mention of a status": report.mentions,
    }
    for what in (what for what, number in checked.items() if not number):
        message, fix = f"The gate found no {what} to check.", "Correct PACKAGES in status_drift/sources.py."
        report.findings.append(Finding(message=message, fix=fix))
    return report


def scan(parsed: Iterable[Source], *, terms: list[EnumTerm], events: dict[str, str]) -> Report:
    """Check these files."""
    report = Report()
    for source in parsed:
        report.add(scan_source(source, terms=terms, events=events))
    return report


def scan_source(source: Source, *, terms: list[EnumTerm], events: dict[str, str]) -> Report:
    """Check one file: its SQL and its Python, except in migrations and where the enums are defined."""
    findings = Findings(source)
    sql = SqlScanner(source, terms, events, findings)
    mentions = 0
    if not source.is_migration and not source.defines_a_set:
        scan_event_names(source, events, findings)
        types = ModelTypes(source)
        for term in terms:
            visitor = EnumVisitor(source, term, findings, types)
            visitor.visit(source.tree)
            mentions += visitor.mentions
    sql.scan()
    report = findings.close()
    report.files, report.statements, report.mentions = 1, sql.statements, mentions + sql.mentions
    return report
