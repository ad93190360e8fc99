"""Awaiting one's turn fails nobody, a queue that stands still does.

The ten minutes of a queued launch count from when a launch of its backend was last taken from the queue. That is
asked only about those whose stored deadline has passed: where their queue has moved since, their clock begins anew.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import Max

from workspaces.deadlines.policy import Policy, queued_limit, stored_deadline
from workspaces.lifecycle.transitions import Phase
from workspaces.models import Launch, Workspace


def postpone(rows: Sequence[Workspace], *, now: datetime, policy: Policy) -> set[UUID]:
    """Let the clocks of those locked rows whose queue moves begin anew; return their ids."""
    queued = [row for row in rows if row.phase == Phase.QUEUED]
    moved = queue_last_moved_at(now=now, policy=policy) if queued else {}
    for backend, moved_at in moved.items():
        of_backend = [row for row in queued if row.backend == backend]
        if of_backend:
            until = stored_deadline(of_backend[0], phase=Phase.QUEUED, entered_at=moved_at, progress_at=moved_at)
            ids = [row.pk for row in of_backend]
            Workspace.objects.filter(pk__in=ids).update(phase_entered_at=moved_at, deadline_at=until)
    return {row.pk for row in queued if row.backend in moved}


def queue_last_moved_at(*, now: datetime, policy: Policy) -> Mapping[str, datetime]:
    """Return when the queues that do not stand still moved last, by backend."""
    since = now - timedelta(seconds=queued_limit(policy=policy).seconds)
    taken = Launch.objects.filter(launching_at__gt=since).order_by().values_list("backend")
    return dict(taken.annotate(moved_at=Max("launching_at")))
