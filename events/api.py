"""GET /events: the event log, newest first or from a position on."""

from datetime import datetime
from difflib import get_close_matches
from typing import Annotated, Any
from uuid import UUID

from django.db.models import QuerySet
from django.http import HttpRequest
from ninja import Query, Router, Schema
from pydantic import BeforeValidator, Field
from typing_extensions import TypedDict

from events.models import Event
from events.names import EventType
from postgres.enum_text import one_of

router = Router(tags=["events"])

_LARGEST_POSITION = 2**63 - 1


class EventOut(TypedDict):
    """An event of the log, with the wire contract's field names."""

    id: int
    event_type: Annotated[str, one_of(EventType)]
    workspace_id: UUID | None
    version: int | None
    payload: dict[str, Any]
    created_at: datetime
    position: int


def known_names(names: list[str]) -> list[str]:
    """Return the names of events. Raises ValueError for one that the log never has, with the nearest one."""
    for name in names:
        if name not in EventType.values:
            near = get_close_matches(name, EventType.values, n=1)
            meant = f" Did you mean {near[0]}?" if near else ""
            raise ValueError(f"The log has no event {name[:80]!r}.{meant}")
    return names


class Wanted(Schema):
    """Which events to list."""

    after: int | None = Field(
        None, ge=0, le=_LARGEST_POSITION, description="only events behind this position, oldest first"
    )
    limit: int = Field(100, ge=1, le=1000, description="at most this many")
    event: Annotated[list[EventType], BeforeValidator(known_names)] = Field(
        [], max_length=100, description="only events with this name; several may be given"
    )


@router.get("")
def list_events(request: HttpRequest, wanted: Query[Wanted]) -> list[EventOut]:
    """List the events of all workspaces: the newest first, or with `after` those behind that position in order."""
    return _page(Event.objects.all(), wanted)


@router.get("/{workspace_id}")
def list_workspace_events(request: HttpRequest, workspace_id: UUID, wanted: Query[Wanted]) -> list[EventOut]:
    """List one workspace's events, which remain after it is removed. An unknown ID gives an empty list."""
    return _page(Event.objects.filter(workspace_id=workspace_id), wanted)


def _page(events: QuerySet[Event], wanted: Wanted) -> list[EventOut]:
    if wanted.after is None:
        events, order = events.filter(position__isnull=False), "-position"
    else:
        events, order = events.filter(position__gt=wanted.after), "position"
    names = set(wanted.event)
    if len(names) > 1:
        # The index has the events of one name in order, so as many of each are read as may be listed.
        first, *others = [events.filter(event_type=name).order_by(order)[: wanted.limit] for name in names]
        events = first.union(*others, all=True)
    elif names:
        events = events.filter(event_type=names.pop())
    page = events.order_by(order)[: wanted.limit]
    return [event_json(event, position) for event in page if (position := event.position) is not None]


def event_json(event: Event, position: int) -> EventOut:
    """Return the JSON of an event that has its position."""
    return {
        "id": event.pk,
        "event_type": event.event_type,
        "workspace_id": event.workspace_id,
        "version": event.version,
        "payload": event.payload,
        "created_at": event.created_at,
        "position": position,
    }
