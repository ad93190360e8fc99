"""The views /health, /ready and /metrics. They need no login and name no workspace."""

from dataclasses import asdict
from http import HTTPStatus
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from prometheus_client import CONTENT_TYPE_LATEST

from monitoring.metrics import render_metrics
from monitoring.readiness import OPTIONAL, readiness


def health(request: HttpRequest) -> HttpResponse:
    """Answer 200 as long as the process runs. Uses neither the database nor Redis."""
    return _json({"status": "ok"})


def ready(request: HttpRequest) -> HttpResponse:
    """Say what works and what does not: 200 if this process can serve, also without Redis (`degraded`), else 503."""
    checks = readiness()
    failing = {name for name, check in checks.items() if not check.ok}
    answer = {"checks": {name: asdict(check) for name, check in checks.items()}}
    if failing - OPTIONAL:
        return _json({"status": "not ready"} | answer, status=HTTPStatus.SERVICE_UNAVAILABLE)
    return _json({"status": "degraded" if failing else "ready"} | answer)  # not-a-workspace-status: this process's own


def metrics(request: HttpRequest) -> HttpResponse:
    """Return the metrics in the Prometheus text format, or 404 if they are closed."""
    if not settings.METRICS_ENABLED:
        refusal = {"error": "METRICS_ENABLED=false closes the metrics.", "code": "not_found"}
        return _json(refusal, status=HTTPStatus.NOT_FOUND)
    return HttpResponse(render_metrics(), content_type=CONTENT_TYPE_LATEST)


def _json(data: dict[str, Any], *, status: HTTPStatus = HTTPStatus.OK) -> HttpResponse:
    return JsonResponse(data, status=status, json_dumps_params={"separators": (",", ":")})
