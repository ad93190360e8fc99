"""GET /events: the event log, newest first or from a position on."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from django.db.models import QuerySet
from django.http import HttpRequest
from ninja import Query, Router, Schema

from events.models import Event

router = Router(tags=["events"])

_LARGEST_POSITION = 2**63 - 1


class EventOut(Schema):
    """An event of the log, with the wire contract's field names."""

    id: int
    event_type: str
    workspace_id: UUID | None
    version: int | None
    payload: dict[str, Any]
    created_at: datetime
    position: int


After = Annotated[
    int | None, Query(ge=0, le=_LARGEST_POSITION, description="only events behind this position, oldest first")
]
Limit = Annotated[int, Query(ge=1, le=1000, description="at most this many")]


@router.get("", response=list[EventOut])
def list_events(request: HttpRequest, after: After = None, limit: Limit = 100) -> list[Event]:
    """List the events of all workspaces: the newest first, or with `after` those behind that position in order."""
    return _page(Event.objects.all(), after=after, limit=limit)


@router.get("/{workspace_id}", response=list[EventOut])
def list_workspace_events(
    request: HttpRequest, workspace_id: UUID, after: After = None, limit: Limit = 100
) -> list[Event]:
    """List one workspace's events, which remain after it is removed. An unknown ID gives an empty list."""
    return _page(Event.objects.filter(workspace_id=workspace_id), after=after, limit=limit)


def _page(events: QuerySet[Event], *, after: int | None, limit: int) -> list[Event]:
    # Read here: an error of the database that is raised while Ninja builds the answer would not be seen as one.
    if after is None:
        return list(events.filter(position__isnull=False).order_by("-position")[:limit])
    return list(events.filter(position__gt=after).order_by("position")[:limit])
