"""Whether this process lives, whether it can serve, and the fleet's numbers. Open to all: they name nobody."""

from dataclasses import asdict
from http import HTTPStatus
from typing import Any

from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST

from monitoring.metrics import render_metrics
from monitoring.readiness import OPTIONAL, readiness


@require_safe
def health(request: HttpRequest) -> HttpResponse:
    """Answer as long as the process runs; asks nothing of anybody."""
    return _json({"status": "ok"})


@require_safe
def ready(request: HttpRequest) -> HttpResponse:
    """Tell what works and what doesn't: 200 where this process can serve, if need be without Redis (degraded)."""
    checks = readiness()
    failing = {name for name, check in checks.items() if not check.ok}
    answer = {"checks": {name: asdict(check) for name, check in checks.items()}}
    if failing - OPTIONAL:
        return _json({"status": "not ready"} | answer, status=HTTPStatus.SERVICE_UNAVAILABLE)
    return _json({"status": "degraded" if failing else "ready"} | answer)  # not-a-workspace-status: this process's own


@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Return the metrics as Prometheus' text."""
    try:
        return HttpResponse(render_metrics(), content_type=CONTENT_TYPE_LATEST)
    except DatabaseError:
        error = "The database does not answer, so the metrics are not known."
        return _json({"error": error}, status=HTTPStatus.SERVICE_UNAVAILABLE)


def _json(data: dict[str, Any], *, status: HTTPStatus = HTTPStatus.OK) -> HttpResponse:
    return JsonResponse(data, status=status, json_dumps_params={"separators": (",", ":")})
