"""The admin's first page: incidents, the number of workspaces by status, the sweep, and boot times."""

from datetime import datetime
from typing import Any

from django.conf import settings
from django.db.models import Count
from django.http import HttpRequest
from django.urls import reverse

from postgres.clock import database_now
from workspaces.admin.boot_time_chart import DAYS, boot_time_charts
from workspaces.deadlines.false_timeouts import false_timeouts_by_runtime
from workspaces.deadlines.policy import current_policy
from workspaces.lifecycle.transitions import WorkspaceStatus
from workspaces.models import Workspace
from workspaces.models.incidents import Incident
from workspaces.overview import format_duration
from workspaces.services.watching.sweep import MISSED_SWEEPS, last_sweep_run
from workspaces.status_colours import colour_of


def dashboard_context(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Extend the context of the admin's index for users who may see workspaces."""
    if not request.user.has_perm("workspaces.view_workspace"):
        return context
    rows = Workspace.objects.not_removed().order_by().values_list("status").annotate(number=Count("pk"))
    numbers = dict(rows)
    changelist = reverse("admin:workspaces_workspace_changelist")
    counts = [
        {
            "status": status.value,
            "colour": colour_of(status),
            "label": status.label,
            "number": numbers.get(status.value, 0),
            "address": f"{changelist}?status={status.value}",
        }
        for status in WorkspaceStatus
        if status != WorkspaceStatus.REMOVED
    ]
    now = database_now()
    return {
        **context,
        "counts": counts,
        "total": sum(numbers.values()),
        "changelist": changelist,
        "false_timeouts": false_timeouts_by_runtime(),
        "incidents": list(Incident.objects.unresolved().order_by("-opened_at", "-pk")),
        "sweep": sweep_context(now=now),
        "charts": boot_time_charts(now=now, policy=current_policy()),
        "chart_days": DAYS,
    }


def sweep_context(*, now: datetime) -> dict[str, Any] | None:
    """Return the last run of the sweep, with its age in words. None if it has not run yet."""
    run = last_sweep_run()
    if run is None:
        return None
    age = max((now - run.ran_at).total_seconds(), 0)
    return {
        "run": run,
        "age": format_duration(age),
        "is_late": age > MISSED_SWEEPS * settings.SWEEP_INTERVAL_SECONDS,
        "lag": format_duration(run.lag_seconds),
    }
