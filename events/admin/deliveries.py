"""Deliveries in the admin, with each attempt and its answer. Dead letters can be redriven."""

import json
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin import ModelAdmin as DjangoModelAdmin
from django.contrib.admin import SimpleListFilter
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.decorators import display

from events.admin.read_only import ChoicesFilter, ReadOnlyAdmin
from events.delivery import channel_operations
from events.models import Channel, Delivery, DeliveryState
from postgres.clock import database_now

# The list shows the beginning of an answer; the delivery's own page shows all of it.
_ANSWER_CHARACTERS = 100
_LABELS = {
    DeliveryState.WAITING.label: "info",
    DeliveryState.SENDING.label: "info",
    DeliveryState.DELIVERED.label: "success",
    DeliveryState.DEAD.label: "danger",
}


class StateFilter(ChoicesFilter):
    title = parameter_name = field = "state"
    choices_type = DeliveryState


class ChannelFilter(SimpleListFilter):
    title = "channel"
    parameter_name = "channel"

    def lookups(self, request: HttpRequest, model_admin: DjangoModelAdmin) -> list[tuple[str, str]]:
        return [(str(key), name) for key, name in Channel.objects.order_by("name").values_list("pk", "name")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Delivery]) -> QuerySet[Delivery]:
        value = self.value() or ""
        # Longer numbers don't fit the database's integer.
        return queryset.filter(channel_id=int(value)) if value.isdecimal() and len(value) < 19 else queryset


@admin.register(Delivery)
class DeliveryAdmin(ReadOnlyAdmin):
    """Deliveries, newest first."""

    list_display = ["event", "workspace_name", "channel", "state_label", "attempts", "next_attempt", "last_answer"]
    list_filter = [StateFilter, ChannelFilter]
    list_select_related = ["channel", "event"]
    ordering = ["-id"]
    sortable_by: list[str] = []
    list_fullwidth = True
    actions = ["redrive_selected"]
    fields = ["channel", "event", "state_label", "attempts", "next_attempt", "settled_at", "attempt_history"]

    def has_redrive_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.has_perm("events.change_channel"))

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
    def last_answer(self, delivery: Delivery) -> str:
        last = delivery.history[-1] if delivery.history else {}
        text = str(last.get("error") or last.get("answer") or "")
        return text if len(text) <= _ANSWER_CHARACTERS else text[:_ANSWER_CHARACTERS] + "…"

    @display(description="Attempts made")
    def attempt_history(self, delivery: Delivery) -> SafeString | str:
        if not delivery.history:
            return "None yet."
        text = "\n".join(json.dumps(entry, ensure_ascii=False, indent=2) for entry in delivery.history)
        return format_html('<pre class="slipway-log" tabindex="0">{}</pre>', text)

    @admin.action(description="Redrive", permissions=["redrive"])
    def redrive_selected(self, request: HttpRequest, queryset: QuerySet[Delivery]) -> None:
        selected = Delivery.objects.filter(pk__in=list(queryset.order_by().values_list("pk", flat=True)))
        count = channel_operations.redrive(selected, now=database_now())
        self.message_user(request, f"Dead letters redriven: {count}.", messages.SUCCESS if count else messages.WARNING)
