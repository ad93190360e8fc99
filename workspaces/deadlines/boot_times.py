"""How long past boots took, and what another boot limit would have done to them."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection, models
from django.db.models import F, Q

from workspaces.lifecycle.transitions import DEADLINE_FAILURES
from workspaces.models import Launch, LaunchOutcome

# `greatest`: an agent may register before the worker records its start. Such a phase took no time.
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
    """How long one phase of a runtime's successful boots took, in seconds. `number` is the size of the sample."""

    runtime: str
    phase: str
    number: int
    p50: float
    p95: float
    p99: float
    maximum: float


@dataclass(frozen=True, kw_only=True)
class LimitEvaluation:
    """What another boot limit would have done to past launches.

    `healthy` boots registered; `false_timeouts` of them would have failed, because they took longer than the limit.
    `longest` is the longest healthy boot. `failed` boots never registered; `saved` is how much sooner they would have
    failed, all together. It is negative if the limit would have let them wait longer.
    """

    healthy: int
    false_timeouts: int
    failed: int
    saved: timedelta
    longest: timedelta


def phase_times(*, since: datetime) -> list[PhaseTimes]:
    """Return the times of successful boots since then, by runtime and phase. One query."""
    with connection.cursor() as cursor:
        cursor.execute(_PHASES, [LaunchOutcome.ONLINE, since])
        rows = cursor.fetchall()
    return [
        PhaseTimes(runtime=runtime, phase=phase, number=number, p50=p50, p95=p95, p99=p99, maximum=maximum)
        for runtime, phase, number, (p50, p95, p99), maximum in rows
    ]


def evaluate_limit(*, runtime: str, limit: timedelta, since: datetime) -> LimitEvaluation:
    """Return what this boot limit would have done to the runtime's launches since then. Three queries."""
    booted = Launch.objects.filter(runtime=runtime, launching_at__gte=since, booting_at__isnull=False)
    healthy = _durations(booted.filter(outcome=LaunchOutcome.ONLINE))
    failed = booted.filter(outcome=LaunchOutcome.FAILED)
    by_deadline = Q(failure_code__in=sorted(DEADLINE_FAILURES))
    saved_by_time = [waited - limit for waited in _durations(failed.filter(by_deadline))]
    # A boot that failed by evidence would not have failed later with a longer limit.
    saved_by_evidence = [max(waited - limit, timedelta(0)) for waited in _durations(failed.exclude(by_deadline))]
    saved = [*saved_by_time, *saved_by_evidence]
    return LimitEvaluation(
        healthy=len(healthy),
        false_timeouts=sum(boot > limit for boot in healthy),
        failed=len(saved),
        saved=sum(saved, timedelta(0)),
        longest=max(healthy, default=timedelta(0)),
    )


def _durations(launches: models.QuerySet[Launch]) -> list[timedelta]:
    took = launches.filter(ended_at__isnull=False).values_list(F("ended_at") - F("booting_at"), flat=True)
    return [max(each, timedelta(0)) for each in took.order_by("pk")]
