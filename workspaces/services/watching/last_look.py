"""The watcher's last look at a boot, taken at the watcher's limit and stored for the sweep, which decides by time."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from uuid import UUID

from django.db import DataError, IntegrityError

from agent.texts import printable
from workspaces.access.masking import mask, mask_log_tail
from workspaces.access.terminal_lines import shown_lines
from workspaces.deadlines.policy import Policy, watcher_deadline
from workspaces.lifecycle.transitions import Phase
from workspaces.models import BackendKind, Launch, Workspace
from workspaces.provisioners.base import LaunchKey, Observation
from workspaces.provisioners.registry import get_provisioner

logger = logging.getLogger(__name__)

# A log line that begins with this marker says that the boot failed, even if a process lives on.
CRASH_MARKER = "SLIPWAY-BOOTSTRAP-FAILED"
_NEEDED = (
    *("id", "launch_id", "backend", "runtime", "phase", "phase_entered_at"),
    *("provision_timeout_seconds", "launch_timeout_seconds", "template_timeout_seconds"),
    "template_timeout_override",
)


def crash_message(log: str) -> str | None:
    """Return the text after the log's crash marker (may be empty), or None if the log holds no marker."""
    # The watcher asks every few seconds, and few logs hold the marker.
    for line in printable(shown_lines(log)).splitlines() if CRASH_MARKER in log else ():
        if line.startswith(CRASH_MARKER):
            return line.removeprefix(CRASH_MARKER).lstrip(": ").strip()
    return None


def take_last_looks(*, clock: Callable[[], datetime], policy: Policy) -> list[UUID]:
    """Inspect every boot that reached the watcher's limit and store what is seen. Return the workspaces' IDs.

    Each boot gets one last look. No workspace fails here.
    """
    now = clock()
    booting = Workspace.objects.provisioning().filter(phase=Phase.BOOTING).exclude(backend=BackendKind.EXTERNAL)
    seen = Launch.objects.in_flight().filter(evidence__has_key="last_look_at").values("pk")
    rows = booting.exclude(launch_id__in=seen).only(*_NEEDED).order_by("phase_entered_at", "pk")
    looked_at = []
    for workspace in list(rows):
        limit = watcher_deadline(workspace, policy=policy)
        if limit is None or limit > now:
            continue
        key = LaunchKey(workspace_id=workspace.pk, launch_id=workspace.launch_id)
        observation = get_provisioner(workspace.backend).inspect(key)
        with log_database_errors(key.launch_id):
            if _store_last_look(key, observation, now=clock()):
                looked_at.append(workspace.pk)
    return looked_at


@contextmanager
def log_database_errors(launch_id: UUID) -> Iterator[None]:
    """Log that the database refused to store one launch, and let the watcher continue with the others."""
    try:
        yield
    except (DataError, IntegrityError):
        logger.exception("What was seen of a launch could not be stored", extra={"launch_id": launch_id})


def _store_last_look(key: LaunchKey, observation: Observation, *, now: datetime) -> bool:
    evidence = {
        "state": observation.state.value,
        "exit_code": observation.exit_code,
        "at": now.isoformat(),
        "last_look_at": now.isoformat(),
        "detail": mask(observation.detail, workspace_id=key.workspace_id),
        "log_tail": mask_log_tail(observation.log_tail, workspace_id=key.workspace_id),
    }
    return bool(Launch.objects.in_flight().filter(pk=key.launch_id).update(evidence=evidence))
