"""Single facts of a workspace as the admin shows them: text first, colour beside it."""

from datetime import datetime, timedelta

from django.utils.html import format_html
from django.utils.safestring import SafeString

from workspaces.lifecycle.transitions import label_of
from workspaces.overview import Overview, format_duration, format_time_left
from workspaces.status_colours import colour_of


def status_cell(status: str) -> SafeString:
    """Return the status as a coloured label."""
    classes = f"slipway-status slipway-status-{status} slipway-tone-{colour_of(status)}"
    return format_html('<span class="{}">{}</span>', classes, label_of(status))


def age_cell(glance: Overview) -> SafeString | str:
    """Return how long the present launch, or the workspace, has been there; it ticks in the browser."""
    workspace = glance.workspace
    since = workspace.provisioning_started_at or workspace.created_at
    return _ticking(since, format_duration(glance.age.total_seconds()), kind="since")


def deadline_cell(glance: Overview) -> SafeString | str:
    """Return the time that is left until the deadline in force; it ticks in the browser."""
    if glance.deadline_at is None or glance.seconds_left is None:
        return ""
    ticking = _ticking(glance.deadline_at, format_time_left(glance.seconds_left), kind="until")
    if glance.workspace.held_since is None:
        return ticking
    why = "The brake holds its failure: many are late together."
    return format_html('<span class="slipway-held">{} <small title="{}">held</small></span>', ticking, why)


def failure_cell(glance: Overview) -> SafeString | str:
    """Return the failure in one line; all of it is in its title and on the workspace's page."""
    workspace = glance.workspace
    if not workspace.failure_code:
        return ""
    return format_html(
        '<span class="slipway-failure" title="{}"><code>{}</code> {}</span>',
        workspace.failure_message,
        workspace.failure_code,
        workspace.failure_message,
    )


def phase_cell(glance: Overview) -> SafeString | str:
    """Return the phase of a launch that is on its way, and its boot step."""
    workspace = glance.workspace
    if not workspace.phase:
        return ""
    return format_html('<span class="slipway-phase" title="{}" data-provisioning>{}</span>', glance.phase, glance.phase)


def moment_cell(moment: datetime | None) -> SafeString | str:
    """Return a point in time, to the second."""
    if moment is None:
        return ""
    return format_html('<time datetime="{}">{}</time>', moment.isoformat(), moment.strftime("%Y-%m-%d %H:%M:%S UTC"))


def lasted(start: datetime | None, end: datetime | None) -> str:
    """Return how long something took, or nothing where it never began or has not ended."""
    if start is None or end is None:
        return ""
    return format_duration(max(end - start, timedelta(0)).total_seconds())


def _ticking(moment: datetime, text: str, *, kind: str) -> SafeString:
    return format_html('<time datetime="{}" data-{}>{}</time>', moment.isoformat(), kind, text)
