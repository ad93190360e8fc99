"""Hold the deadline failures of launches that are late together, because that suggests a common cause.

Failures by evidence, such as an exit status, are never held.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import reduce
from operator import or_

from django.conf import settings
from django.db import transaction
from django.db.models import Count, Q

from events.names import EventType
from postgres.advisory_locks import AdvisoryLock, lock_until_commit
from workspaces.deadlines.policy import Policy, format_duration
from workspaces.lifecycle.transitions import Phase
from workspaces.models import Workspace, WorkspaceQuerySet, is_overdue
from workspaces.models.incidents import Incident, IncidentKind, IncidentQuerySet
from workspaces.services.core.guarded_rows import RowGuard
from workspaces.services.watching import outages
from workspaces.services.watching.incident_events import record_incident_events

# What `let_go_by` holds if nobody released the launches before the longest hold was over.
RELEASED_BY_TIME = "the longest hold"


class UnknownIncident(LookupError):
    """No incident with this ID holds launches."""

    def __init__(self, incident_id: int) -> None:
        super().__init__(
            f"Incident {incident_id} holds no launches: it is resolved, already released, or does not exist."
        )


@dataclass(frozen=True, kw_only=True)
class LatenessCount:
    """The booting launches of one runtime on one backend, and how many of them are late."""

    runtime: str
    backend: str
    booting: int
    late: int


@dataclass(frozen=True, kw_only=True)
class Scope:
    """What launches that are late together share. `kind` is `runtime` or `backend`; as text it is `runtime:hermes`."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"

    @classmethod
    def of(cls, incident: Incident) -> "Scope":
        return cls(kind=incident.scope_kind, name=incident.scope_name)

    @property
    def condition(self) -> Q:
        """Return the condition of this scope's workspaces."""
        return Q(**{self.kind: self.name})

    def includes(self, count: LatenessCount) -> bool:
        return bool(getattr(count, self.kind) == self.name)


def hold_mass_lateness(*, now: datetime, policy: Policy) -> int:
    """Hold launches that are late together and release those that nothing holds any more. Return how many are held.

    Every sweep begins with this. If nothing is late and no incident is open, it is one query.
    """
    late = _booting().overdue(now=now, override=policy.override).order_by()
    unresolved = Incident.objects.unresolved().about_mass_lateness()
    either = late.values_list("name")[:1].union(unresolved.order_by().values_list("scope")[:1], all=True)
    if not either.exists():
        return 0
    with transaction.atomic():
        lock_until_commit(AdvisoryLock.MASS_LATENESS)
        guard = RowGuard[str](what="Mass lateness could not be judged", ids=lambda scope: {"scope": scope})
        for incident in unresolved.order_by("pk"):
            with guard.handling(incident.scope):
                _review(incident, now=now, policy=policy)
        for scope, counts in find_mass_lateness(now=now, policy=policy).items():
            with guard.handling(str(scope)):
                _open_incident(scope, counts, now=now)
        return _update_held(now=now, policy=policy)


@transaction.atomic
def release(*, incident_id: int, by: str, now: datetime) -> tuple[Incident, int]:
    """Release the launches that an incident holds, so that the next sweep fails those still late.

    `by` names the operator. Return the incident and the number of launches released. Raises UnknownIncident.
    """
    holding = _holding_incidents().select_for_update().filter(pk=incident_id).first()
    if holding is None:
        raise UnknownIncident(incident_id)
    _mark_released(holding, by=by, now=now)
    held = _booting().filter(Scope.of(holding).condition, held_since__isnull=False)
    return holding, held.update(held_since=None)


# --- Deciding ------------------------------------------------------------------------------------


def find_mass_lateness(*, now: datetime, policy: Policy) -> dict[Scope, list[LatenessCount]]:
    """Return the scopes in which too many launches are late and that no open incident covers. Changes nothing.

    A backend on which several runtimes are late is one scope, because it is one cause; its launches then don't count
    for their runtimes.
    """
    is_late = is_overdue(now=now, override=policy.override)
    # Counts `runtime`, which the partial index holds, so that Postgres need not read the rows.
    grouped = _booting().order_by().values("runtime", "backend")
    rows = list(grouped.annotate(booting=Count("runtime"), late=Count("runtime", filter=is_late)))
    covered = [Scope.of(incident) for incident in Incident.objects.unresolved().about_mass_lateness()]
    every_count = [LatenessCount(**row) for row in rows]
    counts = [count for count in every_count if not any(scope.includes(count) for scope in covered)]
    backends = {
        scope: group
        for scope, group in _by_scope(counts, kind="backend").items()
        if sum(count.late > 0 for count in group) >= 2 and _should_hold(scope, group, now=now)
    }
    elsewhere = [count for count in counts if not any(backend.includes(count) for backend in backends)]
    runtimes = {
        scope: group
        for scope, group in _by_scope(elsewhere, kind="runtime").items()
        if _should_hold(scope, group, now=now)
    }
    return backends | runtimes


def would_be_held(*, now: datetime, policy: Policy) -> Q:
    """Return the condition of the workspaces that a sweep would begin to hold now. Changes nothing."""
    return Q(phase=Phase.BOOTING) & _in_any(find_mass_lateness(now=now, policy=policy))


def is_mass_lateness(*, late: int, booting: int) -> bool:
    """Return whether late launches suggest a common cause: at least BRAKE_LEAST_LATE, and more than BRAKE_PERCENT."""
    return late >= settings.BRAKE_LEAST_LATE and late * 100 > booting * settings.BRAKE_PERCENT


def _by_scope(counts: Iterable[LatenessCount], *, kind: str) -> dict[Scope, list[LatenessCount]]:
    groups: dict[Scope, list[LatenessCount]] = {}
    for count in sorted(counts, key=lambda count: str(getattr(count, kind))):
        groups.setdefault(Scope(kind=kind, name=getattr(count, kind)), []).append(count)
    return groups


def _should_hold(scope: Scope, counts: list[LatenessCount], *, now: datetime) -> bool:
    late, booting = _totals(counts)
    if not is_mass_lateness(late=late, booting=booting):
        return False
    # An operator who released this scope does not want it held again a minute later.
    lately = Incident.objects.about_mass_lateness().filter(scope=str(scope), let_go_at__gt=now - _longest_hold())
    return not lately.exclude(let_go_by=RELEASED_BY_TIME).exists()


# --- Acting --------------------------------------------------------------------------------------


def _review(incident: Incident, *, now: datetime, policy: Policy) -> None:
    """Resolve an incident whose cause is gone; release its launches after the longest hold.

    Only launches that were booting when it opened count: later ones prove nothing about the cause.
    """
    affected = _booting().filter(Scope.of(incident).condition, phase_entered_at__lte=incident.opened_at)
    late = affected.overdue(now=now, override=policy.override).count()
    if not is_mass_lateness(late=late, booting=affected.count()):
        incident.resolved_at = now
        incident.save(update_fields=["resolved_at"])
        record_incident_events(incident, EventType.INCIDENT_RESOLVED)
    elif incident.let_go_at is None and incident.opened_at <= now - _longest_hold():
        _mark_released(incident, by=RELEASED_BY_TIME, now=now)


def _open_incident(scope: Scope, counts: list[LatenessCount], *, now: datetime) -> None:
    late, booting = _totals(counts)
    longest = format_duration(settings.BRAKE_LONGEST_HOLD_SECONDS)
    message = (
        f"{late} of {booting} booting launches of the {scope.kind} {scope.name} passed their deadline "
        "together. That suggests a common cause, which is not known. Their failures are held until it is gone, for "
        f"{longest} at most. Check what the launches share: the network, a package mirror, the backend."
    )
    incident = Incident.objects.create(
        kind=IncidentKind.MASS_LATENESS, scope=str(scope), opened_at=now, count=late, message=message
    )
    record_incident_events(incident, EventType.INCIDENT_OPENED)


def _update_held(*, now: datetime, policy: Policy) -> int:
    """Set `held_since` of the launches to hold, clear it of all others, and return how many are held.

    Each is one statement with its own condition, so a launch that moved on meanwhile is left as it is.
    """
    late = _booting().overdue(now=now, override=policy.override)
    if outages.is_web_silent(now=now):
        # No agent can register while the web is away, so no launch is late by its own fault.
        held = late
    else:
        held = late.filter(_in_any(Scope.of(incident) for incident in _holding_incidents()))
    held.filter(held_since__isnull=True).update(held_since=now)
    _booting().filter(held_since__isnull=False).exclude(pk__in=held.values("pk")).update(held_since=None)
    return held.count()


def _mark_released(incident: Incident, *, by: str, now: datetime) -> None:
    incident.let_go_at, incident.let_go_by = now, by[:150]
    incident.save(update_fields=["let_go_at", "let_go_by"])


# --- Selecting -----------------------------------------------------------------------------------


def _booting() -> WorkspaceQuerySet:
    return Workspace.objects.provisioning().filter(phase=Phase.BOOTING)


def _holding_incidents() -> IncidentQuerySet:
    return Incident.objects.unresolved().about_mass_lateness().filter(let_go_at__isnull=True)


def _in_any(scopes: Iterable[Scope]) -> Q:
    """Return the condition of the workspaces of these scopes; without scopes it matches nothing."""
    return reduce(or_, (scope.condition for scope in scopes), Q(pk__in=[]))


def _totals(counts: list[LatenessCount]) -> tuple[int, int]:
    """Return how many launches are late and how many are booting."""
    return sum(count.late for count in counts), sum(count.booting for count in counts)


def _longest_hold() -> timedelta:
    return timedelta(seconds=settings.BRAKE_LONGEST_HOLD_SECONDS)
