"""The brake: launches that are late together suggest a common cause, so their deadline failures are held for a while.

Failures by evidence are never held.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Count, Q

from events import outbox
from events.names import EventType
from postgres.advisory_locks import AdvisoryLock, lock_until_commit
from workspaces.deadlines.policy import Policy, format_duration
from workspaces.lifecycle.transitions import Phase
from workspaces.models import Workspace, WorkspaceQuerySet, is_overdue
from workspaces.models.incidents import Incident, IncidentKind
from workspaces.services.watching import outages

RELEASED_BY_TIME = "the longest hold"


class UnknownIncident(LookupError):
    """There is no incident of the brake with this id that holds anything."""

    def __init__(self, incident_id: int) -> None:
        super().__init__(f"Incident {incident_id} holds no launches: it is resolved, was let go, or never was.")


@dataclass(frozen=True, kw_only=True, order=True)
class Scope:
    """What late launches share: a runtime or a backend."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"

    @classmethod
    def of(cls, text: str) -> "Scope":
        kind, _, name = text.partition(":")
        return cls(kind=kind, name=name)

    @property
    def condition(self) -> Q:
        return Q(**{self.kind: self.name})


@dataclass(frozen=True, kw_only=True)
class LatenessCount:
    """The booting launches of one runtime on one backend, and how many of them are late."""

    runtime: str
    backend: str
    booting: int
    late: int


def hold_mass_lateness(*, now: datetime, policy: Policy) -> int:
    """Hold who is late together, let go whom nothing holds any more; return how many are held. The sweep's first step.

    Where nothing is late and no incident is open, that is one query.
    """
    if not _has_work(now=now, policy=policy):
        return 0
    return _brake(now=now, policy=policy)


@transaction.atomic
def _brake(*, now: datetime, policy: Policy) -> int:
    lock_until_commit(AdvisoryLock.MASS_LATENESS)
    for incident in Incident.objects.unresolved().about_mass_lateness().order_by("pk"):
        _review(incident, now=now, policy=policy)
    for scope, cells in find_mass_lateness(now=now, policy=policy).items():
        _open(scope, cells, now=now)
    return _hold(_held_scopes(), now=now, policy=policy)


def _has_work(*, now: datetime, policy: Policy) -> bool:
    late = _booting().overdue(now=now, override=policy.override).order_by()
    unresolved = Incident.objects.unresolved().about_mass_lateness().order_by()
    return late.values_list("name")[:1].union(unresolved.values_list("scope")[:1], all=True).exists()


def _booting() -> WorkspaceQuerySet:
    return Workspace.objects.provisioning().filter(phase=Phase.BOOTING)


# --- Deciding ------------------------------------------------------------------------------------


def find_mass_lateness(*, now: datetime, policy: Policy) -> dict[Scope, list[LatenessCount]]:
    """Return the scopes in which too many are late together and that no incident covers yet. Changes nothing."""
    cells = _uncovered(_cells(now=now, policy=policy))
    found: dict[Scope, list[LatenessCount]] = {}
    # A backend first, where several runtimes are late on it: one cause, one incident.
    for kind, least_runtimes in (("backend", 2), ("runtime", 1)):
        for name in sorted({str(getattr(cell, kind)) for cell in cells}):
            mine = [cell for cell in cells if getattr(cell, kind) == name]
            scope = Scope(kind=kind, name=name)
            if sum(cell.late > 0 for cell in mine) >= least_runtimes and _is_suspicious(mine) and _may_hold(scope, now):
                found[scope] = mine
                cells = [cell for cell in cells if cell not in mine]
    return found


def would_be_held(*, now: datetime, policy: Policy) -> Q:
    """Return the condition of those that a sweep would put on hold now. Changes nothing."""
    return Q(phase=Phase.BOOTING) & (_any_of(list(find_mass_lateness(now=now, policy=policy))) or Q(pk__in=[]))


def _cells(*, now: datetime, policy: Policy) -> list[LatenessCount]:
    late = is_overdue(now=now, override=policy.override)
    rows = _booting().order_by().values("runtime", "backend")
    # Of the index's columns alone: the rows themselves are a large part of the table, which all cores would read.
    return [LatenessCount(**row) for row in rows.annotate(booting=Count("runtime"), late=Count("runtime", filter=late))]


def _uncovered(cells: Iterable[LatenessCount]) -> list[LatenessCount]:
    covered = [
        Scope.of(text) for text in Incident.objects.unresolved().about_mass_lateness().values_list("scope", flat=True)
    ]
    return [cell for cell in cells if not any(getattr(cell, scope.kind) == scope.name for scope in covered)]


def _is_suspicious(cells: Iterable[LatenessCount]) -> bool:
    return is_mass_lateness(late=sum(cell.late for cell in cells), booting=sum(cell.booting for cell in cells))


def is_mass_lateness(*, late: int, booting: int) -> bool:
    """Tell whether so many of so many are no coincidence: at least BRAKE_LEAST_LATE, and more than BRAKE_PERCENT."""
    return late >= settings.BRAKE_LEAST_LATE and late * 100 > booting * settings.BRAKE_PERCENT


def _may_hold(scope: Scope, now: datetime) -> bool:
    # An operator who let this scope go would not have it held again a minute later.
    by_hand = Incident.objects.about_mass_lateness().filter(scope=str(scope), let_go_at__gt=now - _longest_hold())
    return not by_hand.exclude(let_go_by=RELEASED_BY_TIME).exists()


def _review(incident: Incident, *, now: datetime, policy: Policy) -> None:
    """Resolve an incident whose cause is gone; let its launches go where they were held for long enough.

    Asked of those that were booting when it opened: new launches in between prove nothing.
    """
    of_then = _booting().filter(Scope.of(incident.scope).condition, phase_entered_at__lte=incident.opened_at)
    late = of_then.overdue(now=now, override=policy.override).count()
    if not is_mass_lateness(late=late, booting=of_then.count()):
        incident.resolved_at = now
        incident.save(update_fields=["resolved_at"])
        _tell(EventType.INCIDENT_RESOLVED, incident)
    elif incident.let_go_at is None and incident.opened_at <= now - _longest_hold():
        _let_go(incident, by=RELEASED_BY_TIME, now=now)


def _longest_hold() -> timedelta:
    return timedelta(seconds=settings.BRAKE_LONGEST_HOLD_SECONDS)


# --- Acting --------------------------------------------------------------------------------------


def _open(scope: Scope, cells: list[LatenessCount], *, now: datetime) -> None:
    late, booting = sum(cell.late for cell in cells), sum(cell.booting for cell in cells)
    incident = Incident.objects.create(
        kind=IncidentKind.MASS_LATENESS,
        scope=str(scope),
        opened_at=now,
        count=late,
        message=_message(scope, late, booting),
    )
    _tell(EventType.INCIDENT_OPENED, incident)


def _message(scope: Scope, late: int, booting: int) -> str:
    return (
        f"{late} of {booting} booting launches of the {scope.kind} {scope.name} passed their deadline together. "
        "That suggests a common cause; which one is not known. Their failures are held until it is gone, "
        f"for {format_duration(settings.BRAKE_LONGEST_HOLD_SECONDS)} at most. "
        "Look at what they share: the network, a package mirror, the backend."
    )


def _held_scopes() -> list[Scope]:
    holding = Incident.objects.unresolved().about_mass_lateness().filter(let_go_at__isnull=True)
    return [Scope.of(text) for text in holding.values_list("scope", flat=True)]


def _hold(scopes: list[Scope], *, now: datetime, policy: Policy) -> int:
    """Mark who is held and unmark the others; one statement each, so a launch that moved on stays as it is."""
    late = _booting().overdue(now=now, override=policy.override)
    if outages.is_web_silent(now=now):
        # No agent can register: nobody is late by its own doing.
        held = late
    elif scopes:
        held = late.filter(_any_of(scopes))
    else:
        held = late.none()
    held.filter(held_since__isnull=True).update(held_since=now)
    _booting().filter(held_since__isnull=False).exclude(pk__in=held.values("pk")).update(held_since=None)
    return held.count()


def _any_of(scopes: list[Scope]) -> Q:
    condition = Q()
    for scope in scopes:
        condition |= scope.condition
    return condition


@transaction.atomic
def release(*, incident_id: int, by: str, now: datetime) -> tuple[Incident, int]:
    """Hold this incident's launches no longer, because an operator says so: the next sweep fails who is late.

    Return it, and how many launches were held. Raises UnknownIncident.
    """
    rows = Incident.objects.select_for_update().unresolved().about_mass_lateness().filter(let_go_at__isnull=True)
    incident = rows.filter(pk=incident_id).first()
    if incident is None:
        raise UnknownIncident(incident_id)
    _let_go(incident, by=by, now=now)
    held = _booting().filter(Scope.of(incident.scope).condition, held_since__isnull=False)
    return incident, held.update(held_since=None)


def _let_go(incident: Incident, *, by: str, now: datetime) -> None:
    incident.let_go_at, incident.let_go_by = now, by[:150]
    incident.save(update_fields=["let_go_at", "let_go_by"])


def _tell(event_type: EventType, incident: Incident) -> None:
    payload = {"kind": incident.kind, "scope": incident.scope, "count": incident.count, "message": incident.message}
    outbox.record([outbox.NewEvent(event_type=event_type, payload={**payload, "incident_id": incident.pk})])
