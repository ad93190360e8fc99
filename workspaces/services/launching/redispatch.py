"""Find launches whose task was lost, by an outage of the broker or a killed worker."""

from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import F, Q

from workspaces.deadlines.policy import current_policy, start_retry_seconds
from workspaces.lifecycle.transitions import Phase, WorkspaceStatus
from workspaces.models import BackendKind, Launch

# Much longer than a task takes to reach a worker, much shorter than the ten minutes that a launch may be queued.
REPEAT_AFTER_SECONDS = 20


def claim_undispatched(*, now: datetime) -> list[tuple[UUID, UUID]]:
    """Return (workspace id, launch id) of current launches that no worker has taken, and mark them dispatched."""
    cutoff = now - timedelta(seconds=REPEAT_AFTER_SECONDS)
    queued = Q(workspace__phase=Phase.QUEUED)
    worker_died = Q(
        workspace__phase=Phase.LAUNCHING,
        workspace__progress_at__lte=now - timedelta(seconds=start_retry_seconds(policy=current_policy())),
    )
    due = (
        Launch.objects.in_flight()
        .filter(queued | worker_died, workspace__status=WorkspaceStatus.PROVISIONING, workspace__launch_id=F("pk"))
        .filter(Q(dispatched_at__lte=cutoff) | Q(dispatched_at__isnull=True, queued_at__lte=now - timedelta(seconds=2)))
        .exclude(backend=BackendKind.EXTERNAL)
    )
    claimed = list(due.order_by("queued_at", "pk").values_list("workspace_id", "pk"))
    Launch.objects.filter(pk__in=[launch_id for _, launch_id in claimed]).update(dispatched_at=now)
    return claimed
