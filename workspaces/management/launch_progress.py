"""Shows the progress of a launch: on one live line in a terminal, otherwise with a line for each change."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID

from django.core.management.base import OutputWrapper
from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from agent.texts import printable
from postgres.clock import database_now
from workspaces.deadlines.policy import current_policy
from workspaces.lifecycle.transitions import RUNNING, WorkspaceStatus, label_of
from workspaces.models import Workspace
from workspaces.overview import Overview, format_duration, format_time_left, overview

POLL_SECONDS = 0.3


@dataclass(frozen=True, kw_only=True)
class LaunchResult:
    """How a launch ended."""

    is_online: bool
    text: str


def follow_launch(workspace_id: UUID, *, out: OutputWrapper) -> LaunchResult:
    """Show the progress of a workspace until it is no longer provisioning."""
    with progress_view(out) as view:
        while True:
            workspace = Workspace.objects.get(pk=workspace_id)
            current = overview(workspace, now=database_now(), policy=current_policy())
            if workspace.status != WorkspaceStatus.PROVISIONING:
                return launch_result(current)
            view.show(current)
            time.sleep(POLL_SECONDS)


def launch_result(current: Overview) -> LaunchResult:
    """Return the result of a launch whose workspace is no longer provisioning."""
    workspace, after = current.workspace, format_duration(current.age.total_seconds())
    if current.status in RUNNING:
        return LaunchResult(is_online=True, text=f"{workspace.name} is online after {after}.")
    if current.status != WorkspaceStatus.FAILED:
        status = label_of(current.status).lower()
        return LaunchResult(is_online=False, text=f"{workspace.name} is {status} now: its launch was ended.")
    text = f"{workspace.name} failed after {after} ({workspace.failure_code}): {workspace.failure_message}"
    if workspace.failure_log_tail:
        text += f"\nEnd of its log:\n{workspace.failure_log_tail.rstrip()}"
    return LaunchResult(is_online=False, text=printable(text))


class ProgressLines:
    """Writes a line for each phase and step."""

    def __init__(self, out: OutputWrapper) -> None:
        self._out = out
        self._last = ""

    def show(self, current: Overview) -> None:
        if current.phase != self._last:
            self._last = current.phase
            self._out.write(f"{printable(current.phase)} ({timing(current)})")
            self._out.flush()


class LiveProgress:
    """Updates one line. Finished steps stay above it."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._spinner = Spinner("dots")
        self._last = ""

    def show(self, current: Overview) -> None:
        if self._last and current.phase != self._last:
            self._live.console.print(Text.assemble(("✓ ", "green"), printable(self._last)))
        self._last = current.phase
        self._spinner.update(text=Text.assemble((printable(current.phase), "bold"), ("  " + timing(current), "dim")))
        self._live.update(self._spinner)


@contextmanager
def progress_view(out: OutputWrapper) -> Iterator[ProgressLines | LiveProgress]:
    """Yield what shows progress on this output."""
    if not out.isatty():
        yield ProgressLines(out)
        return
    with Live(console=Console(), refresh_per_second=8, transient=True) as live:
        yield LiveProgress(live)


def timing(current: Overview) -> str:
    """Return the age, and the time left until the deadline if there is one."""
    age = format_duration(current.age.total_seconds())
    return age if current.seconds_left is None else f"{age}, deadline {format_time_left(current.seconds_left)}"
