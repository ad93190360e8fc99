"""Values as the admin displays them."""

from datetime import datetime

from django.utils.html import format_html
from django.utils.safestring import SafeString

from workspaces.configuration.diagnostics import Diagnostic, without_findings_of_secrets
from workspaces.deadlines.policy import stop_deadline
from workspaces.lifecycle.transitions import FailureCode, TeardownReason, label_of
from workspaces.models import Launch, Workspace
from workspaces.overview import Overview, describe_crash_loop, format_duration, format_time_left
from workspaces.status_colours import colour_of


def display_status(status: str) -> SafeString:
    """Return a coloured label."""
    classes = f"slipway-status slipway-status-{status} slipway-tone-{colour_of(status)}"
    return format_html('<span class="{}">{}</span>', classes, label_of(status))


def display_age(overview: Overview) -> SafeString:
    """Return the age of the current launch, or of the workspace. The browser keeps it current."""
    since = overview.workspace.provisioning_started_at or overview.workspace.created_at
    text = format_duration(overview.age.total_seconds())
    return format_html('<time datetime="{}" data-since>{}</time>', since.isoformat(), text)


def display_deadline(overview: Overview) -> SafeString | str:
    """Return the time left until the deadline in force. The browser keeps it current."""
    if overview.deadline_at is None or overview.seconds_left is None:
        return ""
    text = format_time_left(overview.seconds_left)
    left = format_html('<time datetime="{}" data-until>{}</time>', overview.deadline_at.isoformat(), text)
    if overview.workspace.held_since is None:
        return left
    reason = "Many launches are late together, so this one is not failed yet."
    return format_html('<span class="slipway-held">{} <small title="{}">held</small></span>', left, reason)


def display_failure(workspace: Workspace) -> SafeString | str:
    """Return the failure in one line. The whole message is in its tooltip."""
    if not workspace.failure_code:
        return ""
    return format_html(
        '<span class="slipway-failure" title="{}"><code>{}</code> {}</span>',
        workspace.failure_message,
        workspace.failure_code,
        workspace.failure_message,
    )


def display_loop(workspace: Workspace) -> SafeString | str:
    """Return the crash loop in one line, through all of its restarts."""
    if not workspace.crash_loop:
        return ""
    code, text = FailureCode.CRASH_LOOP.value, describe_crash_loop(workspace)
    title = workspace.failure_message or text
    return format_html('<span class="slipway-failure" title="{}"><code>{}</code> {}</span>', title, code, text)


def display_restart(workspace: Workspace) -> str:
    """Return that a restart is needed for secrets that changed, if it is."""
    return "Needs a restart: its secrets have changed" if workspace.needs_restart else ""


def display_phase(overview: Overview) -> SafeString | str:
    """Return the phase of a launch in progress, and its boot step."""
    if not overview.phase:
        return ""
    return format_html('<span class="slipway-phase" title="{0}" data-provisioning>{0}</span>', overview.phase)


def display_time(moment: datetime | None) -> SafeString | str:
    """Return a point in time, to the second."""
    if moment is None:
        return ""
    return format_html('<time datetime="{}">{}</time>', moment.isoformat(), moment.strftime("%Y-%m-%d %H:%M:%S UTC"))


def display_launch_phases(launch: Launch) -> str:
    """Return how long each finished phase took."""
    ended = [each for each in launch.phases if each.seconds is not None]
    return ", ".join(f"{each.phase} {format_duration(each.seconds or 0)}" for each in ended)


def display_evidence(launch: Launch) -> str:
    """Return what the backend last reported of the launch."""
    evidence = launch.evidence or {}
    exit_code = evidence.get("exit_code")
    parts = (
        str(evidence.get("state", "")),
        "" if exit_code is None else f"exit code {exit_code}",
        str(evidence.get("detail", "")),
    )
    return ", ".join(part for part in parts if part)


def display_warnings(launch: Launch, *, sees_secrets: bool) -> str:
    """Return what the launch's preflight found that is probably not meant."""
    shown = launch.warnings if sees_secrets else without_findings_of_secrets(launch.warnings)
    return " ".join(str(Diagnostic(**each)) for each in shown)


def display_teardown(launch: Launch) -> str:
    """Return whether the launch's process is gone, is to be stopped, or could not be confirmed gone."""
    if launch.torn_down_at:
        return f"Gone. {launch.teardown_error}".strip()
    if launch.teardown_at is None:
        return "Not to be stopped"
    if launch.teardown_attempts and launch.teardown_error:
        return f"Not confirmed gone after {launch.teardown_attempts} attempts: {launch.teardown_error}"
    by = stop_deadline(launch.teardown_at)
    reason = TeardownReason(launch.teardown_reason).label.lower()
    return f"Stop scheduled for {launch.teardown_at:%H:%M:%S UTC}, to be confirmed by {by:%H:%M:%S} ({reason})"
