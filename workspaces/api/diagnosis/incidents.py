"""Incidents of the fleet, and the release of launches that one of them holds."""

from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Literal

from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from ninja import Path, Query, Router
from pydantic import Field
from typing_extensions import TypedDict

from events.pages import MOST_ROWS, Paged, in_order, page_of
from events.parameters import Moment, Text
from postgres.clock import database_now
from postgres.enum_text import one_of
from workspaces.access.authentication import Access, Operator
from workspaces.access.errors import RequestRefused
from workspaces.models import ApiScope, Incident
from workspaces.models.incidents import IncidentKind
from workspaces.services.watching import mass_lateness

router = Router(tags=["incidents"])

READ = Access(scopes=(ApiScope.READ,), permission="workspaces.view_incident")
RELEASE = Access(scopes=(ApiScope.OPERATE,), permission="workspaces.change_incident")
IncidentId = Annotated[int, Path(ge=1, le=2**63 - 1)]


class IncidentsListed(Paged):
    """Which incidents to list; all filters have to match. The header Link has the address of the next page."""

    kind: list[IncidentKind] = Field([], max_length=10)
    scope: Text = Field("", description="for example runtime:hermes")
    is_resolved: bool | None = Field(None, description="false: only those that are open")
    since: Moment | None = Field(None, description="those that ended at this time or later, or are open")
    until: Moment | None = Field(None, description="those that were opened before this time")
    sort: Literal["opened_at", "-opened_at"] = "-opened_at"
    limit: int | None = Field(100, ge=1, le=MOST_ROWS)


class IncidentOut(TypedDict):
    """An incident. `is_holding`: its launches can be released; `released_by` is who did it, although it goes on."""

    id: int
    kind: Annotated[str, one_of(IncidentKind)]
    scope: str
    count: int
    message: str
    opened_at: datetime
    resolved_at: datetime | None
    is_holding: bool
    released_at: datetime | None
    released_by: str


class ReleasedOut(TypedDict):
    """An incident whose launches were released, and how many they were."""

    released: int
    incident: IncidentOut


@router.get("", auth=READ)
def list_incidents(request: HttpRequest, response: HttpResponse, wanted: Query[IncidentsListed]) -> list[IncidentOut]:
    """List incidents, the newest first."""
    rows = Incident.objects.all()
    if wanted.kind:
        rows = rows.filter(kind__in=wanted.kind)
    if wanted.scope:
        rows = rows.filter(scope=wanted.scope.replace("\0", ""))
    if wanted.is_resolved is not None:
        rows = rows.filter(resolved_at__isnull=not wanted.is_resolved)
    if wanted.since:
        rows = rows.filter(Q(resolved_at__isnull=True) | Q(resolved_at__gte=wanted.since))
    if wanted.until:
        rows = rows.filter(opened_at__lt=wanted.until)
    page = page_of(in_order(rows, wanted), wanted, request=request, response=response)
    return [incident_json(row) for row in page]


@router.get("/{incident_id}", auth=READ)
def get_incident(request: HttpRequest, incident_id: IncidentId) -> IncidentOut:
    """Show one incident."""
    return incident_json(find_incident(incident_id))


@router.post("/{incident_id}/release", auth=RELEASE)
def release_launches(request: HttpRequest, incident_id: IncidentId) -> ReleasedOut:
    """Release the launches that an incident holds: the next sweep fails those that are still late.

    409 if it holds none.
    """
    find_incident(incident_id)
    operator: Operator = request.auth  # type: ignore[attr-defined]
    incident, number = mass_lateness.release(incident_id=incident_id, by=operator.name, now=database_now())
    return {"released": number, "incident": incident_json(incident)}


def find_incident(incident_id: int) -> Incident:
    """Return an incident. Raises RequestRefused (404)."""
    if incident := Incident.objects.filter(pk=incident_id).first():
        return incident
    raise RequestRefused(HTTPStatus.NOT_FOUND, f"There is no incident {incident_id}.", code="not_found")


def incident_json(incident: Incident) -> IncidentOut:
    """Return the JSON of an incident."""
    return {
        "id": incident.pk,
        "kind": incident.kind,
        "scope": incident.scope,
        "count": incident.count,
        "message": incident.message,
        "opened_at": incident.opened_at,
        "resolved_at": incident.resolved_at,
        "is_holding": incident.is_holding,
        "released_at": incident.let_go_at,
        "released_by": incident.let_go_by,
    }
