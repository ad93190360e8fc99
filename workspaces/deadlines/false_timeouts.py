"""How often time alone failed a launch, and how often that was wrong: the only honest measure of the limits."""

from dataclasses import dataclass

from django.db.models import Count, Q

from workspaces.lifecycle.transitions import DEADLINE_FAILURES
from workspaces.models import Launch


@dataclass(frozen=True, kw_only=True)
class FalseTimeouts:
    """A runtime's launches that a deadline failed; `false` are those whose agent arrived after all, in the grace."""

    runtime: str
    number: int
    false: int

    @property
    def false_percent(self) -> int:
        return round(100 * self.false / self.number) if self.number else 0


def false_timeouts_by_runtime() -> list[FalseTimeouts]:
    """Return each runtime that a deadline ever flipped, by name. One query, on the index `launch_flipped`."""
    taken_back = ~Q(false_flip_code="")
    flipped = Launch.objects.filter(Q(failure_code__in=sorted(DEADLINE_FAILURES)) | taken_back)
    counted = (
        flipped.order_by("runtime").values("runtime").annotate(number=Count("pk"), false=Count("pk", filter=taken_back))
    )
    return [FalseTimeouts(**row) for row in counted]
