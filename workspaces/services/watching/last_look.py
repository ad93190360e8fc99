"""The watcher's last look at a boot, at its own limit: what it sees is stored for the sweep, which decides by time."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from uuid import UUID

from django.db import DataError, IntegrityError

from workspaces.access.masking import last_bytes, mask
from workspaces.deadlines.policy import Policy, watcher_deadline
from workspaces.lifecycle.transitions import Phase
from workspaces.models import BackendKind, Launch, Workspace
from workspaces.provisioners.base import LaunchKey, Observation
from workspaces.provisioners.registry import get_provisioner

logger = logging.getLogger(__name__)

# A line of a boot's log that begins with this says that the boot is over and failed, though a process may live on.
CRASH_MARKER = "SLIPWAY-BOOTSTRAP-FAILED"
_NEEDED = (
    *("id", "launch_id", "backend", "runtime", "phase", "phase_entered_at"),
    *("provision_timeout_seconds", "launch_timeout_seconds", "template_timeout_seconds"),
)


def crash_message(log: str) -> str | None:
    """Return what the log's crash marker says, empty where it gives no reason; None where there is no marker."""
    for line in log.splitlines():
        if line.startswith(CRASH_MARKER):
            return line.removeprefix(CRASH_MARKER).lstrip(": ").strip()
    return None


def take_last_looks(*, clock: Callable[[], datetime], policy: Policy) -> list[UUID]:
    """Look once more at every boot that reached the watcher's limit. Return the workspaces looked at; fails nobody."""
    now = clock()
    looked_at = []
    for workspace in _booting():
        limit = watcher_deadline(workspace, policy=policy)
        if limit is None or limit > now:
            continue
        key = LaunchKey(workspace_id=workspace.pk, launch_id=workspace.launch_id)
        observation = get_provisioner(workspace.backend).inspect(key)
        with log_database_errors(key.launch_id):
            if _store(key, observation, now=clock()):
                looked_at.append(workspace.pk)
    return looked_at


@contextmanager
def log_database_errors(launch_id: UUID) -> Iterator[None]:
    """Log what the database refuses of one row, and let the watcher's look go on to the others."""
    try:
        yield
    except (DataError, IntegrityError):
        logger.exception("What was seen of a launch could not be stored", extra={"launch_id": launch_id})


def _booting() -> list[Workspace]:
    rows = Workspace.objects.provisioning().filter(phase=Phase.BOOTING).exclude(backend=BackendKind.EXTERNAL)
    seen = Launch.objects.in_flight().filter(evidence__has_key="last_look_at").values("pk")
    return list(rows.exclude(launch_id__in=seen).only(*_NEEDED).order_by("phase_entered_at", "pk"))


def _store(key: LaunchKey, observation: Observation, *, now: datetime) -> bool:
    evidence = {
        "state": observation.state.value,
        "exit_code": observation.exit_code,
        "at": now.isoformat(),
        "last_look_at": now.isoformat(),
        "detail": mask(observation.detail, workspace_id=key.workspace_id),
        "log_tail": last_bytes(mask(observation.log_tail, workspace_id=key.workspace_id)),
    }
    return bool(Launch.objects.in_flight().filter(pk=key.launch_id).update(evidence=evidence))
