"""The watcher's last look at a boot, taken at the watcher's limit and stored for the sweep, which decides by time."""

from collections.abc import Callable
from datetime import datetime
from uuid import UUID

from workspaces.access.masking import masker_of
from workspaces.deadlines.policy import Policy, watcher_deadline
from workspaces.lifecycle.transitions import Phase
from workspaces.models import BackendKind, Launch, Workspace
from workspaces.provisioners.base import LaunchKey, Observation
from workspaces.provisioners.guarded_calls import look
from workspaces.services.watching.evidence import watching

_NEEDED = (
    *("id", "launch_id", "backend", "runtime", "phase", "phase_entered_at"),
    *("provision_timeout_seconds", "launch_timeout_seconds", "template_timeout_seconds"),
    "template_timeout_override",
)


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
        key = LaunchKey(workspace_id=workspace.pk, launch_id=workspace.launch_id)
        with watching(key, clock=clock):
            limit = watcher_deadline(workspace, policy=policy)
            if limit is None or limit > now:
                continue
            if _store_last_look(key, look(workspace.backend, key), now=clock()):
                looked_at.append(workspace.pk)
    return looked_at


def _store_last_look(key: LaunchKey, observation: Observation, *, now: datetime) -> bool:
    masker = masker_of(key.workspace_id)
    evidence = {
        "state": observation.state.value,
        "exit_code": observation.exit_code,
        "at": now.isoformat(),
        "last_look_at": now.isoformat(),
        "detail": masker.mask(observation.detail),
        "log_tail": masker.mask_log_tail(observation.log_tail),
    }
    return bool(Launch.objects.in_flight().filter(pk=key.launch_id).update(evidence=evidence))
