"""Our own outages are nobody's fault: who waited while Slipway was away gets that time back, once."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.db.models import F

from events import outbox
from events.names import EventType
from postgres.advisory_locks import AdvisoryLock, lock_until_commit
from workspaces.lifecycle.transitions import DEADLINE_FAILURES, TeardownReason, WorkspaceStatus
from workspaces.models import Launch, Workspace
from workspaces.models.incidents import Component, Incident, IncidentKind, Liveness

# More outages than any heartbeat's limit can reach across.
_MOST_GAPS = 50

Gap = tuple[datetime, datetime]

_EXTEND = """
UPDATE workspaces_workspace AS present
SET deadline_at = deadline_at + missed.time, phase_entered_at = phase_entered_at + missed.time
FROM (
    SELECT waiting.id, sum(greatest(gap.ended - greatest(gap.began, waiting.phase_entered_at), interval '0')) AS time
    FROM workspaces_workspace AS waiting, unnest(%s::timestamptz[], %s::timestamptz[]) AS gap (began, ended)
    WHERE waiting.status = %s GROUP BY waiting.id
) AS missed
WHERE present.id = missed.id AND present.status = %s AND missed.time > interval '0'
"""


def record_liveness(*, part: Component, now: datetime) -> Incident | None:
    """Store that this part of Slipway is alive. After a gap, give those who waited their time back, and tell it.

    Usually that is one UPDATE of one row. Returns the incident, or None.
    """
    seamless = Liveness.objects.filter(part=part, alive_at__gt=now - _gap_limit())
    if seamless.filter(alive_at__lt=now).update(alive_at=now) or seamless.exists():
        return None
    return _note_after_gap(part, now=now)


@transaction.atomic
def _note_after_gap(part: Component, *, now: datetime) -> Incident | None:
    lock_until_commit(AdvisoryLock.OUTAGES)
    known = Liveness.objects.filter(part=part).first()
    Liveness.objects.update_or_create(part=part, defaults={"alive_at": now})
    if known is None or now - known.alive_at < _gap_limit():
        return None
    return _record(part, (known.alive_at, now))


def is_web_silent(*, now: datetime) -> bool:
    """Tell whether web has left no sign of life for too long: no agent can report. Never where none ever ran."""
    return Liveness.objects.filter(part=Component.WEB, alive_at__lte=now - _gap_limit()).exists()


def heartbeat_cutoff(*, now: datetime, limit: timedelta) -> datetime:
    """Return since when an agent must have been silent to be lost: `limit` of the time in which we could hear it."""
    return moment_before(now=now, limit=limit, gaps=_gaps(now=now))


def moment_before(*, now: datetime, limit: timedelta, gaps: Iterable[Gap]) -> datetime:
    """Return the moment before `now` since which `limit` has passed, the gaps not counted."""
    at, left = now, limit
    for began, ended in sorted(gaps, key=lambda gap: gap[1], reverse=True):
        heard = max(at - ended, timedelta(0))
        if began >= at:
            continue
        if heard >= left:
            break
        at, left = began, left - heard
    return at - left


def _gaps(*, now: datetime) -> list[Gap]:
    rows = Incident.objects.outages().filter(resolved_at__isnull=False).order_by("-resolved_at", "-pk")
    gaps = [(row.opened_at, row.resolved_at) for row in rows[:_MOST_GAPS] if row.resolved_at]
    ongoing = Liveness.objects.filter(part=Component.WEB, alive_at__lte=now - _gap_limit())
    return gaps + [(row.alive_at, now) for row in ongoing]


def _gap_limit() -> timedelta:
    return timedelta(seconds=settings.OUTAGE_AFTER_SECONDS)


def _record(part: Component, gap: Gap) -> Incident:
    """Extend by what no other part's record of the same outage has extended yet; one outage is one incident."""
    overlapping = (
        Incident.objects.outages().filter(opened_at__lte=gap[1], resolved_at__gte=gap[0]).order_by("opened_at")
    )
    known = list(overlapping)
    waiting = _extend(without(gap, [(row.opened_at, row.resolved_at) for row in known if row.resolved_at]))
    if known:
        incident = known[0]
        incident.opened_at = min(gap[0], incident.opened_at)
        incident.resolved_at = max(gap[1], *(row.resolved_at for row in known if row.resolved_at))
        incident.save(update_fields=["opened_at", "resolved_at"])
        return incident
    return _open(part, gap, waiting)


def without(gap: Gap, known: Sequence[Gap]) -> list[Gap]:
    """Return the parts of the gap that none of the known ones covers."""
    parts, at = [], gap[0]
    for began, ended in sorted(known):
        if began > at:
            parts.append((at, min(began, gap[1])))
        at = max(at, ended)
    return [*parts, (at, gap[1])] if at < gap[1] else parts


def _extend(gaps: Sequence[Gap]) -> int:
    """Move the clocks of all who waited by the time that each of them lost. Return how many launches that were."""
    if not gaps:
        return 0
    began, ended = [gap[0] for gap in gaps], [gap[1] for gap in gaps]
    with connection.cursor() as cursor:
        provisioning = WorkspaceStatus.PROVISIONING.value
        cursor.execute(_EXTEND, [began, ended, provisioning, provisioning])
        waiting = cursor.rowcount
    lost = sum((gap[1] - gap[0] for gap in gaps), timedelta(0))
    hibernating = Workspace.objects.filter(status=WorkspaceStatus.HIBERNATING, deadline_at__gt=began[0])
    hibernating.update(deadline_at=F("deadline_at") + lost)
    # The grace in which a late arrival wins.
    graces = Launch.objects.not_torn_down().filter(teardown_reason=TeardownReason.FAILED, teardown_at__gt=began[0])
    graces.filter(failure_code__in=DEADLINE_FAILURES).update(teardown_at=F("teardown_at") + lost)
    return waiting


def _open(part: Component, gap: Gap, waiting: int) -> Incident:
    seconds = round((gap[1] - gap[0]).total_seconds())
    message = (
        f"Slipway's {part.label.lower()} was away for {seconds} seconds, until {gap[1]:%H:%M:%S} UTC. "
        f"{waiting} launches that waited then, and all heartbeat limits, were given that time back. "
        "If you did not stop it yourself, look at its log of that time."
    )
    incident = Incident.objects.create(
        kind=IncidentKind.OWN_OUTAGE,
        scope=part.value,
        opened_at=gap[0],
        resolved_at=gap[1],
        count=waiting,
        message=message,
    )
    payload: dict[str, Any] = {"kind": incident.kind, "scope": incident.scope, "count": waiting, "message": message}
    told = {**payload, "incident_id": incident.pk}
    # It is over when it is noticed: those who keep a list of open incidents hear both.
    outbox.record(
        [
            outbox.NewEvent(event_type=EventType.INCIDENT_OPENED, payload=told),
            outbox.NewEvent(event_type=EventType.INCIDENT_RESOLVED, payload=told),
        ]
    )
    return incident
