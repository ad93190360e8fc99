"""Queue deadlines: a launch fails if its backend's queue stands still, not because others are ahead of it.

The limit for queued launches counts from when a launch of the same backend was last taken from the queue. This is
checked only for launches whose stored deadline has passed; if their queue has moved since, they get a new deadline.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import Max

from workspaces.deadlines.policy import Policy, queued_limit, stored_deadline
from workspaces.lifecycle.transitions import Phase
from workspaces.models import Launch, Workspace


def postpone(rows: Sequence[Workspace], *, now: datetime, policy: Policy) -> set[UUID]:
    """Give a new deadline to those of the locked rows that wait in a queue that moves; return their ids."""
    queued = [row for row in rows if row.phase == Phase.QUEUED]
    moved = queue_last_moved_at(now=now, policy=policy) if queued else {}
    for backend, moved_at in moved.items():
        waiting = [row for row in queued if row.backend == backend]
        if waiting:
            deadline = stored_deadline(waiting[0], phase=Phase.QUEUED, entered_at=moved_at, progress_at=moved_at)
            Workspace.objects.filter(pk__in=[row.pk for row in waiting]).update(
                phase_entered_at=moved_at, deadline_at=deadline
            )
    return {row.pk for row in queued if row.backend in moved}


def queue_last_moved_at(*, now: datetime, policy: Policy) -> Mapping[str, datetime]:
    """Return by backend when its queue last moved; a queue that has stood still for the limit has no entry."""
    since = now - timedelta(seconds=queued_limit(policy=policy).seconds)
    taken = Launch.objects.filter(launching_at__gt=since).order_by().values_list("backend")
    return dict(taken.annotate(moved_at=Max("launching_at")))
