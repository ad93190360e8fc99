"""Queue deadlines: a launch fails if its backend's queue stands still, not because some others are ahead of it.

The limit for queued launches counts from when a launch of the same backend was last taken from the queue. This is
checked only for launches whose stored deadline has passed; if their queue has moved since, they get a new deadline, but
never one beyond the longest wait (QUEUE_LONGEST_SECONDS).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from django.db.models import DateTimeField, ExpressionWrapper, F, Max, Value
from django.db.models.expressions import Combinable
from django.db.models.functions import Least

from workspaces.deadlines.policy import QUEUED_SECONDS, Policy, queued_limit
from workspaces.lifecycle.transitions import Phase
from workspaces.models import Launch, Workspace


@dataclass(frozen=True, kw_only=True)
class Queues:
    """When each backend's queue last moved, if that was not too long ago, and since when a launch may wait at most."""

    moved_at: Mapping[str, datetime]
    longest_since: datetime

    def is_moving(self, row: Workspace) -> bool:
        """Return whether the row waits in a queue that moves."""
        return row.phase == Phase.QUEUED and row.backend in self.moved_at

    def may_wait(self, row: Workspace) -> bool:
        """Return whether the row's deadline is to be postponed."""
        began_at = row.provisioning_started_at
        return self.is_moving(row) and began_at is not None and began_at > self.longest_since


NONE_MOVES = Queues(moved_at={}, longest_since=datetime.max.replace(tzinfo=UTC))


def postpone(rows: Sequence[Workspace], *, queues: Queues, now: datetime, policy: Policy) -> set[UUID]:
    """Give a new deadline to those of the locked rows that may keep waiting; return their ids."""
    waiting = [row for row in rows if queues.may_wait(row)]
    for backend in {row.backend for row in waiting}:
        longest_wait = now - queues.longest_since
        last_entry = _plus(F("provisioning_started_at"), longest_wait - _limit(policy))
        entered_at = Least(Value(queues.moved_at[backend]), last_entry)
        deadline_at = _plus(entered_at, timedelta(seconds=QUEUED_SECONDS))
        same_backend = Workspace.objects.filter(pk__in=[row.pk for row in waiting if row.backend == backend])
        same_backend.update(phase_entered_at=entered_at, deadline_at=deadline_at)
    return {row.pk for row in waiting}


def read_queues(*, longest_since: datetime, now: datetime, policy: Policy) -> Queues:
    """Return which queues move; one that has stood still for the limit does not. `longest_since` is `now` less the
    longest wait, outages of Slipway not counted.
    """
    taken = Launch.objects.filter(launching_at__gt=now - _limit(policy)).order_by().values_list("backend")
    return Queues(moved_at=dict(taken.annotate(moved_at=Max("launching_at"))), longest_since=longest_since)


def _plus(moment: Combinable, duration: timedelta) -> ExpressionWrapper:
    return ExpressionWrapper(moment + Value(duration), output_field=DateTimeField())


def _limit(policy: Policy) -> timedelta:
    return timedelta(seconds=queued_limit(policy=policy).seconds)
