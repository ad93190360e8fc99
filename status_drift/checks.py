"""The gate's static half as a Django system check, for `manage.py check --deploy --tag drift`.

Django has no tag that other commands leave out. Checks for deployment are what it leaves out unless they are asked for,
and a check of the code before its deployment is what this is.
"""

from importlib import import_module
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register

from status_drift.findings import Severity

TAG = "drift"


@register(TAG, deploy=True)
def check_drift(**_: Any) -> list[CheckMessage]:
    """Report whatever drifted in the code, the migrations and the table."""
    # Imported on demand: it brings the parser, which no other command needs.
    report = import_module("status_drift.gate").static_report(settings.BASE_DIR)
    return [_message(finding) for finding in report.findings]


def _message(finding: Any) -> CheckMessage:
    place = f"{finding.path}:{finding.line}: " if finding.path else ""
    kind, number = (Error, "E020") if finding.severity == Severity.ERROR else (Warning, "W020")
    return kind(f"{place}{finding.message}", hint=finding.fix, id=f"slipway.{number}")
