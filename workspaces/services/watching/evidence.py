"""What the watcher saw of a launch, stored on it as `evidence`; also that it could not be looked at, and why."""

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from uuid import UUID

from agent.texts import ESCAPE_SEQUENCE, INVISIBLE, printable
from events.masking.terminal_lines import shown_lines
from workspaces.access.masking import masker_of
from workspaces.lifecycle.transitions import STOPPED
from workspaces.models import Launch, LaunchQuerySet
from workspaces.provisioners.base import DEAD_STATES, BackendState, LaunchKey, Observation
from workspaces.provisioners.guarded_calls import NOT_LOOKED_AT
from workspaces.services.core.guarded_rows import RowGuard, by_launch
from workspaces.services.core.transition import TransitionRefused

logger = logging.getLogger(__name__)

# A log line that begins with this marker says that the boot failed, even if a process lives on.
CRASH_MARKER = "SLIPWAY-BOOTSTRAP-FAILED"
# The marker, whatever colours and invisible characters stand between its characters.
_MARKER = re.compile(f"(?:{ESCAPE_SEQUENCE.pattern}|{INVISIBLE.pattern})*+".join(CRASH_MARKER))


def crash_message(log: str) -> str | None:
    """Return the text after the log's crash marker (may be empty), or None if the log holds no marker."""
    # The watcher asks every few seconds, and few logs hold the marker.
    marked = [line for line in log.split("\n") if _MARKER.search(line)] if _MARKER.search(log) else []
    for line in printable(shown_lines("\n".join(marked))).splitlines():
        found = _MARKER.search(line)
        if found and not INVISIBLE.sub("", line[: found.start()]):
            return line[found.end() :].lstrip(": ").strip()
    return None


def store_evidence(key: LaunchKey, observation: Observation, *, now: datetime) -> None:
    """Store {state, exit_code, said_failed?, detail?, at} if it differs: the watcher looks every few seconds."""
    seen: dict[str, Any] = {"state": str(observation.state), "exit_code": observation.exit_code}
    if observation.state not in DEAD_STATES and crash_message(observation.log_tail) is not None:
        seen["said_failed"] = True
    if observation.state == BackendState.UNKNOWN:
        seen["detail"] = masker_of(key.workspace_id).mask_start(observation.detail, most_characters=2000)
    launch = Launch.objects.filter(pk=key.launch_id)
    launch.exclude(evidence__contains=seen).update(evidence={**seen, "at": now.isoformat()})


@contextmanager
def watching(key: LaunchKey, *, clock: Callable[[], datetime]) -> Iterator[None]:
    """Handle what was seen of one launch. Whatever that raises is logged and stored on it, and the watcher goes on."""
    guard = RowGuard[UUID](what="What was seen of it could not be handled", ids=by_launch)
    with guard.handling(key.launch_id):
        try:
            yield
        except TransitionRefused as refusal:
            # It changed between its inspection and the lock.
            logger.info("A watched launch moved on", extra={"launch_id": key.launch_id, "why": str(refusal)})
    for failure in list(guard.failures):
        unknown = Observation(state=BackendState.UNKNOWN, detail=f"{NOT_LOOKED_AT}{failure.text}")
        with guard.handling(key.launch_id):
            store_evidence(key, unknown, now=clock())


def launches_not_looked_at() -> LaunchQuerySet:
    """Return the current launches that could not be looked at; why is in their evidence's `detail`."""
    watched = Launch.objects.current().not_torn_down().exclude(workspace__status__in=STOPPED)
    rows = watched.filter(evidence__state=BackendState.UNKNOWN, evidence__detail__startswith=NOT_LOOKED_AT)
    return rows.select_related("workspace").order_by("workspace__name", "pk")
