"""Follow a launch, step by step, until the workspace is no longer provisioning."""

import time
from collections.abc import Callable
from typing import Any

from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from slipway.answers import shapes
from slipway.client import Client
from slipway.errors import CommandFailed, ExitCode
from slipway.output import Format, console_for, say, warn
from slipway.texts import one_line, printable
from slipway.workspace_columns import short_duration

# How long to wait before the server is asked again: a tenth of the time since something changed.
_SHORTEST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.5, 3.0
# A server that restarts is back long before.
_LONGEST_OUTAGE_SECONDS = 300.0
_PROVISIONING = "provisioning"
_FAILED = "failed"
# An external workspace waits for its owner, so there is nothing to wait for.
_GOOD_ENDS = ("online", "degraded", "awaiting_agent")


def follow_launch(client: Client, workspace_id: str, output: Format) -> None:
    """Show each step of a launch. Raises CommandFailed unless the workspace comes online.

    Steps are for people: beside an answer for scripts they go to stderr.
    """
    began, is_for_people = time.monotonic(), output is Format.TABLE
    console, tell = console_for(stderr=not is_for_people), say if is_for_people else warn
    try:
        if console.is_terminal:
            with Live(console=console, transient=True, refresh_per_second=8) as live:
                steps = LiveSteps(live)
                row = poll(client, workspace_id, show=steps.show, tell=steps.tell)
                steps.end(is_good=row["status"] in _GOOD_ENDS)
        else:
            row = poll(client, workspace_id, show=lambda step: tell(f"  {step}"))
    except KeyboardInterrupt:
        warn("Stopped waiting; the launch goes on.")
        raise
    check_end(row, seconds=time.monotonic() - began, tell=tell)


def poll(
    client: Client, workspace_id: str, *, show: Callable[[str], None], tell: Callable[[str], None] = warn
) -> dict[str, Any]:
    """Show each new step, and return the workspace when its launch has ended. Raises CommandFailed.

    `tell` gets a sentence for each time in which the server can't be reached.
    """
    last, changed_at = "", time.monotonic()
    while True:
        row = ask(client, f"/workspaces/{workspace_id}", tell=tell)
        if row["status"] != _PROVISIONING:
            return row
        step = one_line(" · ".join(filter(None, (row["phase"], row["progress_step"]))))
        if step != last:
            show(step)
            last, changed_at = step, time.monotonic()
        unchanged_seconds = time.monotonic() - changed_at
        time.sleep(min(max(unchanged_seconds / 10, _SHORTEST_PAUSE_SECONDS), _LONGEST_PAUSE_SECONDS))


def ask(client: Client, path: str, *, tell: Callable[[str], None]) -> dict[str, Any]:
    """Return the answer to a GET, also of a server that can't be reached for a while: the launch goes on meanwhile.

    Raises CommandFailed if that lasts, or if the server refuses.
    """
    began, is_told = time.monotonic(), False
    while True:
        try:
            answer: dict[str, Any] = client.get(path, shape=shapes.WORKSPACE)
        except CommandFailed as error:
            if error.exit_code is not ExitCode.UNAVAILABLE or time.monotonic() - began > _LONGEST_OUTAGE_SECONDS:
                raise
            if not is_told:
                tell(f"{error} Asking again; the launch goes on.")
            is_told = True
        else:
            return answer
        time.sleep(_LONGEST_PAUSE_SECONDS)


class LiveSteps:
    """Updates one line in a terminal. Finished steps stay above it."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._last = ""

    def show(self, step: str) -> None:
        self.end(is_good=True)
        self._last = step
        self._live.update(Spinner("dots", text=Text(step, style="bold")))

    def tell(self, sentence: str) -> None:
        """Write a sentence above the line."""
        self._live.console.print(printable(sentence))

    def end(self, *, is_good: bool) -> None:
        """Let the last step stand as done, or as the one in which the launch failed."""
        if self._last:
            mark = ("✓ ", "green") if is_good else ("✗ ", "red")
            self._live.console.print(Text.assemble(mark, self._last))
        self._last = ""


def check_end(row: dict[str, Any], *, seconds: float, tell: Callable[[object], None]) -> None:
    """Say how a launch ended. Raises CommandFailed unless it is online."""
    name, status, after = one_line(row["name"]), row["status"], short_duration(seconds)
    if status in _GOOD_ENDS:
        tell(f"{name} is {status.replace('_', ' ')} after {after}.")
        return
    if status != _FAILED or not row["failure"]:
        raise CommandFailed(f"{name} is {status} now: its launch was ended.", ExitCode.FAILED)
    failure = row["failure"]
    if failure["log_tail"]:
        warn("End of its log:\n" + printable(failure["log_tail"]).rstrip())
    raise CommandFailed(f"{name} failed after {after} ({failure['code']}): {failure['message']}", ExitCode.FAILED)
