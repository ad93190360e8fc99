"""The event log in the admin, read only; channels and deliveries have modules of their own."""

import json
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.contrib.admin import ModelAdmin as DjangoModelAdmin
from django.contrib.admin import SimpleListFilter
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin
from unfold.decorators import display

from events.admin.channels import ChannelAdmin
from events.admin.deliveries import DeliveryAdmin
from events.models import Channel, Delivery, Event
from events.names import EventType

admin.site.register(Channel, ChannelAdmin)
admin.site.register(Delivery, DeliveryAdmin)


class NameFilter(SimpleListFilter):
    """By the event's name."""

    title = "event"
    parameter_name = "event"

    def lookups(self, request: HttpRequest, model_admin: DjangoModelAdmin) -> list[tuple[str, str]]:
        return EventType.choices

    def queryset(self, request: HttpRequest, queryset: QuerySet[Event]) -> QuerySet[Event]:
        return queryset.filter(event_type=self.value()) if self.value() in EventType.values else queryset


class WorkspaceFilter(SimpleListFilter):
    """By one workspace, whose id comes with the address."""

    title = "workspace"
    parameter_name = "workspace"

    def lookups(self, request: HttpRequest, model_admin: DjangoModelAdmin) -> list[tuple[str, str]]:
        asked_for = _uuid(request.GET.get(self.parameter_name, ""))
        return [(str(asked_for), f"Only {asked_for}")] if asked_for else []

    def queryset(self, request: HttpRequest, queryset: QuerySet[Event]) -> QuerySet[Event]:
        asked_for = _uuid(self.value() or "")
        return queryset.filter(workspace_id=asked_for) if asked_for else queryset


@admin.register(Event)
class EventAdmin(ModelAdmin):
    """Events, newest first."""

    list_display = ["place", "name", "subject_name", "created"]
    list_display_links = ["place", "name"]
    list_filter = [NameFilter, WorkspaceFilter]
    ordering = ["-id"]
    sortable_by = ["place"]
    show_full_result_count = False
    fields = ["event_type", "place", "subject_name", "workspace_id", "version", "is_move", "created", "pretty_payload"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        """Allow the filters above: any other lookup typed into the address would reach the database."""
        return lookup in {NameFilter.parameter_name, WorkspaceFilter.parameter_name}

    @display(description="Position", ordering="id")
    def place(self, event: Event) -> str:
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


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
