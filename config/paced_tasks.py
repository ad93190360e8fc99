"""Tasks that beat sends: messages that piled up while the workers were away run once, the rest are skipped (ADR 18)."""

import time
from dataclasses import dataclass
from typing import Any

from celery import Task


@dataclass(frozen=True, kw_only=True)
class LastRun:
    """When this process last ran a task, on its monotonic clock, so that no host's time of day matters."""

    began_at: float
    ended_at: float


_last_runs: dict[str, LastRun] = {}


def has_just_run(last: LastRun | None, *, interval_seconds: float, now: float) -> bool:
    """Return whether a message that comes now repeats one that was done a moment ago.

    Messages that arrive in time are an interval apart, less what a busy worker delays, so all of them run. A run that
    takes about an interval is followed by a short rest, so that a pile of messages ends there too.
    """
    if last is None:
        return False
    return now - last.began_at < interval_seconds / 2 or now - last.ended_at < interval_seconds / 10


class PacedTask(Task):
    """A task that each worker process runs about once an interval at most, if beat sends it; others run as usual."""

    def __call__(self, *args: Any, **named: Any) -> Any:
        """Run the task, unless this is a message from beat and the task has just run."""
        schedule = self.app.conf.beat_schedule.values()
        interval_seconds = next((entry["schedule"] for entry in schedule if entry["task"] == self.name), None)
        if self.request.called_directly or interval_seconds is None:
            return self.run(*args, **named)
        began_at = time.monotonic()
        if has_just_run(_last_runs.get(self.name), interval_seconds=interval_seconds, now=began_at):
            return None
        # Recorded at the start for the other threads. A run that fails counts too: beat's next message repeats it.
        _last_runs[self.name] = LastRun(began_at=began_at, ended_at=began_at)
        try:
            return self.run(*args, **named)
        finally:
            _last_runs[self.name] = LastRun(began_at=began_at, ended_at=time.monotonic())
