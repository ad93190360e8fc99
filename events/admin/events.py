"""The event log in the admin, read only."""

import json
from uuid import UUID

from django.contrib import admin
from django.contrib.admin import ModelAdmin as DjangoModelAdmin
from django.contrib.admin import SimpleListFilter
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.decorators import display

from events.admin.read_only import ChoicesFilter, ReadOnlyAdmin
from events.models import Event
from events.names import EventType


class NameFilter(ChoicesFilter):
    title = parameter_name = "event"
    field = "event_type"
    choices_type = EventType


class WorkspaceFilter(SimpleListFilter):
    """Filters by one workspace. Links set it: it offers no workspaces to choose from."""

    title = "workspace"
    parameter_name = "workspace"

    def lookups(self, request: HttpRequest, model_admin: DjangoModelAdmin) -> list[tuple[str, str]]:
        workspace_id = _parse_uuid(request.GET.get(self.parameter_name, ""))
        return [(str(workspace_id), f"Only {workspace_id}")] if workspace_id else []

    def queryset(self, request: HttpRequest, queryset: QuerySet[Event]) -> QuerySet[Event]:
        workspace_id = _parse_uuid(self.value() or "")
        return queryset.filter(workspace_id=workspace_id) if workspace_id else queryset


def _parse_uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


@admin.register(Event)
class EventAdmin(ReadOnlyAdmin):
    """Events, newest first."""

    list_display = ["position_label", "name", "subject_name", "created"]
    list_display_links = ["position_label", "name"]
    list_filter = [NameFilter, WorkspaceFilter]
    ordering = ["-id"]
    sortable_by = ["position_label"]
    fields = [
        "event_type",
        "position_label",
        "subject_name",
        "workspace_id",
        "version",
        "is_move",
        "created",
        "pretty_payload",
    ]

    @display(description="Position", ordering="id")
    def position_label(self, event: Event) -> str:
        return str(event.position) if event.position else "not yet"

    @display(description="Event")
    def name(self, event: Event) -> str:
        return event.event_type

    @display(description="Workspace")
    def subject_name(self, event: Event) -> str:
        return event.subject.get("name") or (str(event.workspace_id) if event.workspace_id else "the fleet")

    @display(description="Time", ordering="id")
    def created(self, event: Event) -> str:
        return f"{event.created_at:%Y-%m-%d %H:%M:%S UTC}"

    @display(description="Payload")
    def pretty_payload(self, event: Event) -> SafeString:
        text = json.dumps(event.payload, indent=2, ensure_ascii=False)
        return format_html('<pre class="slipway-log" tabindex="0">{}</pre>', text)
