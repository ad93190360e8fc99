"""Follows a launch in the terminal: live where there is one, a line for each change where there isn't."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from django.core.management.base import OutputWrapper
from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from postgres.clock import database_now
from workspaces.deadlines.policy import current_policy
from workspaces.lifecycle.transitions import RUNNING, WorkspaceStatus, label_of
from workspaces.models import Workspace
from workspaces.overview import Overview, format_duration, format_time_left, overview, printable

POLL_SECONDS = 0.3


@dataclass(frozen=True, kw_only=True)
class End:
    """How a launch that was followed ended, in words."""

    is_online: bool
    sentence: str


class Screen(Protocol):
    """Where progress is shown."""

    def show(self, glance: Overview) -> None: ...


def follow(workspace_id: UUID, *, out: OutputWrapper) -> End:
    """Show a workspace's progress until it provisions no longer; what ends the launch is everybody's to decide."""
    with _screen(out) as screen:
        while True:
            glance = overview(Workspace.objects.get(pk=workspace_id), now=database_now(), policy=current_policy())
            if glance.status != WorkspaceStatus.PROVISIONING:
                return _end(glance)
            screen.show(glance)
            time.sleep(POLL_SECONDS)


def _end(glance: Overview) -> End:
    workspace, after = glance.workspace, format_duration(glance.age.total_seconds())
    if glance.status in RUNNING:
        return End(is_online=True, sentence=f"{workspace.name} is online after {after}.")
    if glance.status != WorkspaceStatus.FAILED:
        became = label_of(glance.status).lower()
        return End(is_online=False, sentence=f"{workspace.name} is {became} now: somebody ended its launch.")
    sentence = f"{workspace.name} failed after {after} ({workspace.failure_code}): {workspace.failure_message}"
    if workspace.failure_log_tail:
        sentence += f"\nThe end of its log:\n{workspace.failure_log_tail.rstrip()}"
    return End(is_online=False, sentence=printable(sentence))


@contextmanager
def _screen(out: OutputWrapper) -> Iterator[Screen]:
    if not out.isatty():
        yield _Lines(out)
        return
    with Live(console=Console(), refresh_per_second=8, transient=True) as live:
        yield _Terminal(live)


class _Lines:
    """One line for each phase and step."""

    def __init__(self, out: OutputWrapper) -> None:
        self._out = out
        self._last = ""

    def show(self, glance: Overview) -> None:
        if glance.phase != self._last:
            self._last = glance.phase
            self._out.write(f"{printable(glance.phase)} ({_clock(glance)})")
            self._out.flush()


class _Terminal:
    """Keeps each step that is done above one moving line."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._spinner = Spinner("dots")
        self._last = ""

    def show(self, glance: Overview) -> None:
        if self._last and glance.phase != self._last:
            self._live.console.print(Text.assemble(("✓ ", "green"), printable(self._last)))
        self._last = glance.phase
        line = Text.assemble((printable(glance.phase), "bold"), ("  " + _clock(glance), "dim"))
        self._spinner.update(text=line)
        self._live.update(self._spinner)


def _clock(glance: Overview) -> str:
    since = format_duration(glance.age.total_seconds())
    if glance.seconds_left is None:
        return since
    return f"{since}, deadline {format_time_left(glance.seconds_left)}"
