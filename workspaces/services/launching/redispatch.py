"""Find launches whose worker died while it started them."""

from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import F, Q

from workspaces.deadlines.policy import current_policy, start_retry_seconds
from workspaces.lifecycle.transitions import Phase, WorkspaceStatus
from workspaces.models import BackendKind, Launch
from workspaces.services.launching.queue_limits import REPEAT_AFTER_SECONDS


def claim_lost_starts(*, now: datetime, room: int) -> list[tuple[UUID, UUID]]:
    """Return (workspace id, launch id) of at most `room` launches that a dead worker left, and mark them dispatched."""
    cutoff = now - timedelta(seconds=REPEAT_AFTER_SECONDS)
    without_progress = now - timedelta(seconds=start_retry_seconds(policy=current_policy()))
    lost = (
        Launch.objects.in_flight()
        .filter(workspace__status=WorkspaceStatus.PROVISIONING, workspace__phase=Phase.LAUNCHING)
        .filter(workspace__launch_id=F("pk"), workspace__progress_at__lte=without_progress)
        .filter(Q(dispatched_at__lte=cutoff) | Q(dispatched_at__isnull=True))
        .exclude(backend=BackendKind.EXTERNAL)
    )
    claimed = list(lost.order_by("queued_at", "pk").values_list("workspace_id", "pk")[:room])
    Launch.objects.filter(pk__in=[launch_id for _, launch_id in claimed]).update(dispatched_at=now)
    return claimed
