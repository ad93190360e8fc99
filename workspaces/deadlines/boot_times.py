"""How long boots took, from the launches on record: by phase for the plot, one by one for a what-if."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection, models
from django.db.models import F, Q

from workspaces.lifecycle.transitions import DEADLINE_FAILURES
from workspaces.models import Launch, LaunchOutcome

# An agent may be quicker than the worker that notes its start: such a phase took no time.
_PHASES = """
SELECT runtime, phase, count(*), percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY took), max(took)
FROM (
    SELECT runtime, phase, greatest(extract(epoch FROM took), 0)::float AS took
    FROM workspaces_launch, LATERAL (VALUES
        ('queued', launching_at - queued_at),
        ('launching', booting_at - launching_at),
        ('booting', ended_at - booting_at)
    ) AS phases (phase, took)
    WHERE outcome = %s AND launching_at >= %s AND booting_at IS NOT NULL AND ended_at IS NOT NULL
) AS times
GROUP BY runtime, phase ORDER BY runtime, phase
"""


@dataclass(frozen=True, kw_only=True)
class PhaseTimes:
    """What one phase of a runtime's healthy boots took, in seconds; `number` is the sample's size."""

    runtime: str
    phase: str
    number: int
    p50: float
    p95: float
    p99: float
    maximum: float


@dataclass(frozen=True, kw_only=True)
class LimitEvaluation:
    """What another boot limit would have meant for the launches on record.

    `healthy` boots registered, `killed` of them only after that limit. `failed` ones never did: `saved` is how much
    sooner they would have been failed; negative where that limit would have let them wait for longer.
    """

    healthy: int
    killed: int
    failed: int
    saved: timedelta
    longest: timedelta


def phase_times(*, since: datetime) -> list[PhaseTimes]:
    """Return the times of the boots that went well since then, by runtime and phase. One query."""
    with connection.cursor() as cursor:
        cursor.execute(_PHASES, [LaunchOutcome.ONLINE, since])
        rows = cursor.fetchall()
    return [
        PhaseTimes(runtime=runtime, phase=phase, number=number, p50=p50, p95=p95, p99=p99, maximum=maximum)
        for runtime, phase, number, (p50, p95, p99), maximum in rows
    ]


def evaluate_limit(*, runtime: str, limit: timedelta, since: datetime) -> LimitEvaluation:
    """Ask the record what this boot limit would have done to a runtime's launches since then."""
    booted = Launch.objects.filter(runtime=runtime, launching_at__gte=since, booting_at__isnull=False)
    healthy, killed, longest = 0, 0, timedelta(0)
    for boot in _durations(booted.filter(outcome=LaunchOutcome.ONLINE)):
        healthy, killed, longest = healthy + 1, killed + (boot > limit), max(longest, boot)
    by_deadline = Q(failure_code__in=sorted(DEADLINE_FAILURES))
    ended = booted.filter(outcome=LaunchOutcome.FAILED)
    waits = [wait - limit for wait in _durations(ended.filter(by_deadline))]
    # What ended by evidence would have ended no later.
    seen = [max(wait - limit, timedelta(0)) for wait in _durations(ended.exclude(by_deadline))]
    saved = sum([*waits, *seen], timedelta(0))
    return LimitEvaluation(healthy=healthy, killed=killed, failed=len(waits) + len(seen), saved=saved, longest=longest)


def _durations(launches: models.QuerySet[Launch]) -> list[timedelta]:
    took = launches.filter(ended_at__isnull=False).values_list(F("ended_at") - F("booting_at"), flat=True)
    return [max(each, timedelta(0)) for each in took.order_by("pk")]
