"""Give back the time in which Slipway itself was away: deadlines and heartbeat limits do not count it.

The sweep and the web each store when they were alive last. A pause of at least OUTAGE_AFTER_SECONDS is a gap.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from django.conf import settings
from django.db import connection, transaction
from django.db.models import F

from events.names import EventType
from postgres.advisory_locks import AdvisoryLock, lock_until_commit
from workspaces.lifecycle.transitions import DEADLINE_FAILURES, TeardownReason, WorkspaceStatus
from workspaces.models import Launch, Workspace
from workspaces.models.incidents import Component, Incident, IncidentKind, Liveness
from workspaces.services.watching.incident_events import record_incident_events
from workspaces.services.watching.intervals import Interval, moment_before

# More outages than a heartbeat limit can reach back across.
_MAX_GAPS = 50

_EXTEND_PROVISIONING = """
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
    """Store that a part of Slipway is alive. After a gap, extend all deadlines by it and return the incident.

    Usually this is one UPDATE of one row, and returns None.
    """
    recent = Liveness.objects.filter(part=part, alive_at__gt=now - _gap_limit())
    if recent.filter(alive_at__lt=now).update(alive_at=now) or recent.exists():
        return None
    with transaction.atomic():
        lock_until_commit(AdvisoryLock.OUTAGES)
        known = Liveness.objects.filter(part=part).first()
        Liveness.objects.update_or_create(part=part, defaults={"alive_at": now})
        if known is None or now - known.alive_at < _gap_limit():
            return None
        return _record_outage(part, Interval(known.alive_at, now))


def is_web_silent(*, now: datetime) -> bool:
    """Return whether the web has left no sign of life for too long, so that no agent can report.

    False if no web process ever ran.
    """
    return Liveness.objects.filter(part=Component.WEB, alive_at__lte=now - _gap_limit()).exists()


def heartbeat_cutoff(*, now: datetime, limit: timedelta) -> datetime:
    """Return the time before which the last heartbeat of a silent agent lies: `limit` ago, outages not counted."""
    outages = Incident.objects.outages().filter(resolved_at__isnull=False).order_by("-resolved_at", "-pk")
    gaps = [_interval_of(incident) for incident in outages[:_MAX_GAPS]]
    ongoing = Liveness.objects.filter(part=Component.WEB, alive_at__lte=now - _gap_limit())
    gaps += [Interval(liveness.alive_at, now) for liveness in ongoing]
    return moment_before(now=now, duration=limit, gaps=gaps)


def _gap_limit() -> timedelta:
    return timedelta(seconds=settings.OUTAGE_AFTER_SECONDS)


def _interval_of(outage: Incident) -> Interval:
    return Interval(outage.opened_at, outage.resolved_at or outage.opened_at)


def _record_outage(part: Component, gap: Interval) -> Incident:
    """Extend deadlines by what no other part has recorded of the same outage. Parts that overlap share one incident."""
    overlapping = Incident.objects.outages().filter(opened_at__lte=gap.end, resolved_at__gte=gap.start)
    known = list(overlapping.order_by("opened_at"))
    waiting = _extend_deadlines(gap.without(_interval_of(incident) for incident in known))
    if not known:
        return _open_incident(part, gap, waiting=waiting)
    incident = known[0]
    incident.opened_at = min(gap.start, incident.opened_at)
    incident.resolved_at = max(gap.end, *(_interval_of(each).end for each in known))
    incident.save(update_fields=["opened_at", "resolved_at"])
    return incident


def _extend_deadlines(gaps: Sequence[Interval]) -> int:
    """Add the time inside the gaps to every deadline that was running. Return how many launches were provisioning.

    A launch gets back what it lost itself: one that entered its phase at 12:00 loses all of a gap from 12:02 to 12:22,
    one that entered it at 12:15 loses seven minutes. `phase_entered_at` moves too, so that the override counts alike.
    """
    if not gaps:
        return 0
    starts, ends = [gap.start for gap in gaps], [gap.end for gap in gaps]
    with connection.cursor() as cursor:
        provisioning = WorkspaceStatus.PROVISIONING.value
        cursor.execute(_EXTEND_PROVISIONING, [starts, ends, provisioning, provisioning])
        waiting = cursor.rowcount
    lost = sum((gap.length for gap in gaps), timedelta(0))
    hibernating = Workspace.objects.filter(status=WorkspaceStatus.HIBERNATING, deadline_at__gt=starts[0])
    hibernating.update(deadline_at=F("deadline_at") + lost)
    # The grace in which a late arrival undoes a deadline failure.
    graces = Launch.objects.not_torn_down().filter(teardown_reason=TeardownReason.FAILED, teardown_at__gt=starts[0])
    graces.filter(failure_code__in=DEADLINE_FAILURES).update(teardown_at=F("teardown_at") + lost)
    return waiting


def _open_incident(part: Component, gap: Interval, *, waiting: int) -> Incident:
    message = (
        f"Slipway's {part.label.lower()} was away for {gap.length.total_seconds():.0f} seconds, "
        f"until {gap.end:%H:%M:%S} UTC. That time was added to the deadlines of {waiting} waiting launches and to all "
        "heartbeat limits. If you did not stop it yourself, check its log of that time."
    )
    incident = Incident.objects.create(
        kind=IncidentKind.OWN_OUTAGE,
        scope=part.value,
        opened_at=gap.start,
        resolved_at=gap.end,
        count=waiting,
        message=message,
    )
    # The outage is over when it is noticed. Consumers that keep a list of open incidents need both events.
    record_incident_events(incident, EventType.INCIDENT_OPENED, EventType.INCIDENT_RESOLVED)
    return incident
