"""Messages of beat that piled up while workers were away: one run does the work of all, the others end at once."""

import time
from dataclasses import dataclass
from typing import Any

from celery import Task


@dataclass(frozen=True, kw_only=True)
class Run:
    """When this process did a task last, in seconds of its own steady clock: no host's time of day has a say in it."""

    began_at: float
    ended_at: float


_last: dict[str, Run] = {}


def is_just_done(last: Run | None, *, interval_seconds: float, now: float) -> bool:
    """Tell whether a message that comes now asks for what was done a moment ago.

    Those of a beat that is heard in time come an interval apart, less what a busy worker delays: they are all heeded.
    After a run that takes about as long as the interval there is a short rest, so that a pile ends there too.
    """
    if last is None:
        return False
    return now - last.began_at < interval_seconds / 2 or now - last.ended_at < interval_seconds / 10


class PacedTask(Task):
    """A task that beat sends is done by each worker process at most about once an interval; all others as ever."""

    def __call__(self, *args: Any, **named: Any) -> Any:
        """Do the task, unless it is a message of beat's and was just done."""
        interval_seconds = self._interval_seconds()
        if self.request.called_directly or interval_seconds is None:
            return self.run(*args, **named)
        began_at = time.monotonic()
        if is_just_done(_last.get(self.name), interval_seconds=interval_seconds, now=began_at):
            return None
        # Noted at the start for the other threads, and also of a run that failed: beat's next message repeats it.
        _last[self.name] = Run(began_at=began_at, ended_at=began_at)
        try:
            return self.run(*args, **named)
        finally:
            _last[self.name] = Run(began_at=began_at, ended_at=time.monotonic())

    def _interval_seconds(self) -> float | None:
        schedule = self.app.conf.beat_schedule.values()
        return next((entry["schedule"] for entry in schedule if entry["task"] == self.name), None)
