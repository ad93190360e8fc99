"""GET /events: the event log, newest first or from a position on."""

from datetime import datetime
from difflib import get_close_matches
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from ninja import Query, Router
from pydantic import BeforeValidator, Field, model_validator
from typing_extensions import TypedDict

from events.models import Event
from events.names import EventType
from events.pages import MOST_ROWS, Paged, in_order, page_of
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


class EventsListed(Paged):
    """Which events to list. The header Link has the address of the next page."""

    after: int | None = Field(
        None, ge=0, le=_LARGEST_POSITION, description="only events behind this position, oldest first"
    )
    sort: Literal["", "position", "-position"] = Field("", description="overrides which of them come first")
    limit: int | None = Field(100, ge=1, le=MOST_ROWS, description="at most this many")
    event: Annotated[list[EventType], BeforeValidator(known_names)] = Field(
        [], max_length=100, description="only events with this name; several may be given"
    )

    @model_validator(mode="after")
    def choose_order(self) -> Self:
        """Return the same with its order: the newest first, or those behind a position in order."""
        self.sort = self.sort or ("-position" if self.after is None else "position")
        return self


@router.get("")
def list_events(request: HttpRequest, response: HttpResponse, wanted: Query[EventsListed]) -> list[EventOut]:
    """List the events of all workspaces: the newest first, or with `after` those behind that position in order."""
    return _page(Event.objects.all(), wanted, request=request, response=response)


@router.get("/{workspace_id}")
def list_workspace_events(
    request: HttpRequest, response: HttpResponse, workspace_id: UUID, wanted: Query[EventsListed]
) -> list[EventOut]:
    """List one workspace's events, which remain after it is removed."""
    return _page(Event.objects.filter(workspace_id=workspace_id), wanted, request=request, response=response)


def _page(
    events: QuerySet[Event], wanted: EventsListed, *, request: HttpRequest, response: HttpResponse
) -> list[EventOut]:
    """Return one page of the events that match every filter."""
    after = {"position__isnull": False} if wanted.after is None else {"position__gt": wanted.after}
    events, names = in_order(events.filter(**after), wanted), set(wanted.event)
    if len(names) > 1:
        # The index has the events of one name in order, so as many of each are read as the page may need.
        most = (wanted.limit or MOST_ROWS) + 1
        first, *others = [events.filter(event_type=name)[:most] for name in names]
        events = first.union(*others, all=True).order_by(wanted.sort)
    elif names:
        events = events.filter(event_type=names.pop())
    page = page_of(events, wanted, request=request, response=response)
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
