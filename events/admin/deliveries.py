"""Deliveries in the admin: each attempt with what was answered; dead letters can be sent anew."""

import json
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin import ModelAdmin as DjangoModelAdmin
from django.contrib.admin import SimpleListFilter
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin
from unfold.decorators import display

from events.delivery import channel_operations
from events.models import Channel, Delivery, DeliveryState
from postgres.clock import database_now

# All of it is on the delivery's own page.
_WORD_CHARACTERS = 100
_LABELS = {
    DeliveryState.WAITING.label: "info",
    DeliveryState.SENDING.label: "info",
    DeliveryState.DELIVERED.label: "success",
    DeliveryState.DEAD.label: "danger",
}


class StateFilter(SimpleListFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: DjangoModelAdmin) -> list[tuple[str, str]]:
        return DeliveryState.choices

    def queryset(self, request: HttpRequest, queryset: QuerySet[Delivery]) -> QuerySet[Delivery]:
        return queryset.filter(state=self.value()) if self.value() in DeliveryState.values else queryset


class ChannelFilter(SimpleListFilter):
    title = "channel"
    parameter_name = "channel"

    def lookups(self, request: HttpRequest, model_admin: DjangoModelAdmin) -> list[tuple[str, str]]:
        return [(str(key), name) for key, name in Channel.objects.order_by("name").values_list("pk", "name")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Delivery]) -> QuerySet[Delivery]:
        value = self.value() or ""
        # Longer ones are no id of a row, and more than the database's integer.
        return queryset.filter(channel_id=int(value)) if value.isdecimal() and len(value) < 19 else queryset


class DeliveryAdmin(ModelAdmin):
    """Deliveries, newest first."""

    list_display = ["event_name", "workspace_name", "channel", "state_label", "attempts", "next_attempt", "last_word"]
    list_filter = [StateFilter, ChannelFilter]
    list_select_related = ["channel", "event"]
    ordering = ["-id"]
    sortable_by: list[str] = []
    show_full_result_count = False
    list_fullwidth = True
    actions = ["redrive_selected"]
    fields = ["channel", "event", "state_label", "attempts", "next_attempt", "settled_at", "attempts_made"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_redrive_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.has_perm("events.change_channel"))

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        """Refuse: any lookup that somebody types into the address would reach the database."""
        return False

    @display(description="Event")
    def event_name(self, delivery: Delivery) -> str:
        return str(delivery.event)

    @display(description="Workspace")
    def workspace_name(self, delivery: Delivery) -> str:
        return delivery.event.subject.get("name") or "the fleet"

    @display(description="State", label=_LABELS)
    def state_label(self, delivery: Delivery) -> str:
        return delivery.get_state_display()

    @display(description="Next attempt")
    def next_attempt(self, delivery: Delivery) -> str:
        if delivery.state != DeliveryState.WAITING:
            return ""
        return f"{delivery.next_attempt_at:%Y-%m-%d %H:%M:%S UTC}"

    @display(description="Last answer")
    def last_word(self, delivery: Delivery) -> str:
        last = delivery.history[-1] if delivery.history else {}
        word = str(last.get("error") or last.get("answer") or "")
        return word if len(word) <= _WORD_CHARACTERS else word[:_WORD_CHARACTERS] + "…"

    @display(description="Attempts made")
    def attempts_made(self, delivery: Delivery) -> SafeString | str:
        if not delivery.history:
            return "None yet."
        text = "\n".join(json.dumps(entry, ensure_ascii=False, indent=2) for entry in delivery.history)
        return format_html('<pre class="slipway-log" tabindex="0">{}</pre>', text)

    @admin.action(description="Redrive", permissions=["redrive"])
    def redrive_selected(self, request: HttpRequest, queryset: QuerySet[Delivery]) -> None:
        chosen = Delivery.objects.filter(pk__in=list(queryset.order_by().values_list("pk", flat=True)))
        count = channel_operations.redrive(chosen, now=database_now())
        self.message_user(request, f"{count} redriven.", messages.SUCCESS if count else messages.WARNING)
