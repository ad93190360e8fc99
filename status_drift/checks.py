"""The gate's static half as a Django system check, for `manage.py check --deploy --tag drift`.

Django runs checks before most commands, but leaves out deployment checks unless you ask for them.
"""

from importlib import import_module
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register

from status_drift.findings import Severity

TAG = "drift"


@register(TAG, deploy=True)
def check_drift(**_: Any) -> list[CheckMessage]:
    """Report what drifted in the code, the migrations and the transitions."""
    # Imported on demand, because no other command needs the parser.
    report = import_module("status_drift.gate").static_report(settings.BASE_DIR)
    messages: list[CheckMessage] = []
    for finding in report.findings:
        kind, number = (Error, "E020") if finding.severity == Severity.ERROR else (Warning, "W020")
        messages.append(kind(f"{finding.place}{finding.message}", hint=finding.fix, id=f"slipway.{number}"))
    return messages
