"""The admin's first page: how many workspaces are in which status."""

from typing import Any

from django.conf import settings
from django.db.models import Count
from django.http import HttpRequest
from django.urls import reverse

from postgres.clock import database_now
from workspaces.admin.boot_time_chart import DAYS, boot_plots
from workspaces.deadlines.false_timeouts import false_timeouts_by_runtime
from workspaces.deadlines.policy import current_policy
from workspaces.lifecycle.transitions import WorkspaceStatus
from workspaces.models import Workspace
from workspaces.models.incidents import Incident
from workspaces.overview import format_duration
from workspaces.services.watching.sweep import MISSED_SWEEPS, last_sweep_run
from workspaces.status_colours import colour_of


def with_counts(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Add the counts to the context of the admin's index, for those who may see workspaces."""
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
    shown = {"counts": counts, "total": sum(numbers.values()), "changelist": changelist}
    incidents = list(Incident.objects.unresolved().order_by("-opened_at", "-pk"))
    return {
        **context,
        **shown,
        "flips": false_timeouts_by_runtime(),
        "incidents": incidents,
        "sweep": _sweep(),
        **_plots(),
    }


def _plots() -> dict[str, Any]:
    return {"plots": boot_plots(now=database_now(), policy=current_policy()), "plot_days": DAYS}


def _sweep() -> dict[str, Any] | None:
    """Return the sweep's own record, with its age in words."""
    run = last_sweep_run()
    if run is None:
        return None
    age = max((database_now() - run.ran_at).total_seconds(), 0)
    return {
        "run": run,
        "age": format_duration(age),
        "is_late": age > MISSED_SWEEPS * settings.SWEEP_INTERVAL_SECONDS,
        "lag": format_duration(run.lag_seconds),
    }
