"""How often a deadline failed a launch, and how often that was wrong. This measures whether the limits are right."""

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, Q

from workspaces.lifecycle.transitions import DEADLINE_FAILURES
from workspaces.models import Launch


@dataclass(frozen=True, kw_only=True)
class FalseTimeouts:
    """How many launches of a runtime a deadline failed, and how many (`false`) registered within the grace period."""

    runtime: str
    number: int
    false: int

    @property
    def false_percent(self) -> int:
        """Return the share of false timeouts, rounded, 0 to 100."""
        return round(100 * self.false / self.number) if self.number else 0


def false_timeouts_by_runtime(*, since: datetime | None = None) -> list[FalseTimeouts]:
    """Return each runtime with a launch that failed by a deadline, by name. One query, on index `launch_flipped`.

    With `since`, only launches that were queued later.
    """
    is_false = ~Q(false_flip_code="")
    launches = Launch.objects.filter(Q(failure_code__in=sorted(DEADLINE_FAILURES)) | is_false)
    if since:
        launches = launches.filter(queued_at__gt=since)
    counted = launches.order_by("runtime").values("runtime")
    rows = counted.annotate(number=Count("pk"), false=Count("pk", filter=is_false))
    return [FalseTimeouts(**row) for row in rows]
