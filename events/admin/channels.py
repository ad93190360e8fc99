"""Channels in the admin: how each is, and what an operator can do about it."""

from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.db.models import DateTimeField, Func, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from unfold.admin import ModelAdmin
from unfold.decorators import action, display

from events.admin.channel_forms import COMMON, FILTERS, ChannelForm, form_for
from events.admin.redrive_form import RedriveForm
from events.channels.base import Kind
from events.channels.registry import KINDS, kind_of
from events.delivery import channel_operations
from events.delivery.channel_health import health_rows, state_of, with_counts
from events.models import Channel, Delivery
from postgres.clock import database_now

_STATES = {"Sending": "success", "Failing": "danger", "Disabled": "danger", "Paused": "warning", "Held": "warning"}
_DELIVERIES = 15
_SHOWN_ONCE = "The signing secret of {}, shown this once: {} Its receiver verifies with it."


class ChannelAdmin(ModelAdmin):
    """Channels by name."""

    list_display = ["name", "kind_label", "state", "success", "latency", "error", "backlog", "dead_letters"]
    search_fields = ["name"]
    ordering = ["name", "pk"]
    actions = ["pause_selected", "resume_selected", "redrive_selected"]
    actions_detail = ["send_test", "pause", "resume", "enable", "redrive", "rotate"]
    change_form_template = "events/channel.html"
    list_fullwidth = True

    # --- The list --------------------------------------------------------------------------------

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        """Refuse: any lookup that somebody types into the address would reach the database."""
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Channel]:
        # Each row brings the clock along: no cell has to ask for it.
        read_at = Func(function="clock_timestamp", output_field=DateTimeField())
        return with_counts(super().get_queryset(request)).annotate(read_at=read_at)

    @display(description="Kind", ordering="kind")
    def kind_label(self, channel: Channel) -> str:
        return KINDS[channel.kind].label if channel.kind in KINDS else channel.kind

    @display(description="State", label=_STATES)
    def state(self, channel: Channel) -> str:
        return state_of(channel, now=channel.read_at)  # type: ignore[attr-defined]

    @display(description="Last success", ordering="last_success_at")
    def success(self, channel: Channel) -> str:
        return f"{channel.last_success_at:%Y-%m-%d %H:%M:%S UTC}" if channel.last_success_at else ""

    @display(description="Latency", ordering="last_latency_ms")
    def latency(self, channel: Channel) -> str:
        return f"{channel.last_latency_ms} ms" if channel.last_latency_ms is not None else ""

    @display(description="Last error", ordering="last_error_at")
    def error(self, channel: Channel) -> str:
        return channel.last_error

    @display(description="Backlog", ordering="backlog")
    def backlog(self, channel: Channel) -> int:
        return channel.backlog  # type: ignore[attr-defined]

    @display(description="Dead letters", ordering="dead_letters")
    def dead_letters(self, channel: Channel) -> int:
        return channel.dead_letters  # type: ignore[attr-defined]

    # --- One channel -----------------------------------------------------------------------------

    def get_form(
        self, request: HttpRequest, obj: Channel | None = None, change: bool = False, **keywords: Any
    ) -> type[ChannelForm]:
        return form_for(_kind(request, obj))

    def get_fieldsets(self, request: HttpRequest, obj: Channel | None = None) -> Any:
        kind = _kind(request, obj)
        return [
            (kind.label, {"fields": [COMMON[0], *kind.form.declared_names()]}),
            ("Which events", {"fields": FILTERS}),
            ("How", {"fields": COMMON[1:]}),
        ]

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if request.GET.get("kind") in KINDS or not self.has_add_permission(request):
            return super().add_view(request, form_url, extra_context)
        return self._page(request, "events/choose_kind.html", title="New channel", kinds=KINDS.values())

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        channel = self._asked_for(request, object_id)
        facts = _facts(channel) if channel and self.has_view_permission(request, channel) else {}
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), **facts})

    def save_model(self, request: HttpRequest, obj: Channel, form: ChannelForm, change: Any) -> None:
        obj.kind = form.kind.name
        obj.options = form.plain_options()
        sealed = form.sealed_options()
        obj.sealed_options = channel_operations.encrypted(sealed)
        if change:
            # What the delivery wrote since the page was rendered stays as it is.
            obj.save(update_fields=[*COMMON, *FILTERS, "options", "sealed_options"])
            return
        obj.save()
        if sealed.get("signing"):
            secret = sealed["signing"][0]["secret"]
            self.message_user(request, _SHOWN_ONCE.format(obj.name, secret), messages.WARNING)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Name the channels and count what goes with them: listing each delivery would be no page."""
        number = Delivery.objects.filter(channel__in=objs).count()
        counted = {"channels": len(objs), "deliveries": number}
        return [str(channel) for channel in objs], counted, set(), []

    # --- Actions on several ----------------------------------------------------------------------

    @admin.action(description="Pause", permissions=["change"])
    def pause_selected(self, request: HttpRequest, queryset: QuerySet[Channel]) -> None:
        self._report(request, channel_operations.pause(_plain(queryset), now=database_now()), "paused")

    @admin.action(description="Resume", permissions=["change"])
    def resume_selected(self, request: HttpRequest, queryset: QuerySet[Channel]) -> None:
        self._report(request, channel_operations.resume(_plain(queryset)), "resumed")

    @admin.action(description="Redrive all dead letters", permissions=["change"])
    def redrive_selected(self, request: HttpRequest, queryset: QuerySet[Channel]) -> None:
        letters = Delivery.objects.filter(channel__in=_plain(queryset))
        self._report(request, channel_operations.redrive(letters, now=database_now()), "dead letters redriven")

    # --- Actions on one --------------------------------------------------------------------------

    def get_actions_detail(self, request: HttpRequest, object_id: int | str | None = None) -> Any:
        """Offer what this channel's state allows."""
        offered = super().get_actions_detail(request, object_id)
        channel = self._asked_for(request, str(object_id))
        fitting = _fitting(channel) if channel else set()
        return [each for each in offered if str(each.action_name).rpartition("_channel_")[2] in fitting]

    @action(description="Send a test", url_path="test", icon="send", permissions=["change"])
    def send_test(self, request: HttpRequest, object_id: str) -> HttpResponse:
        def test(channel: Channel) -> HttpResponse:
            answer = channel_operations.send_test(channel, now=database_now())
            title = f"Test of {channel.name}"
            return self._page(request, "events/test_result.html", title=title, answer=answer, back=_address(channel))

        question = "A message named TEST_MESSAGE is sent at once. It is no event: nothing is queued or counted."
        return self._asked(request, object_id, "Send a test to {}?", question, "Send", test)

    @action(description="Pause", url_path="pause", icon="pause", permissions=["change"])
    def pause(self, request: HttpRequest, object_id: str) -> HttpResponse:
        def pause(channel: Channel) -> None:
            self._report(request, channel_operations.pause(_only(channel), now=database_now()), "paused")

        question = "Events go on queueing for it, and are sent in order once it is resumed."
        return self._asked(request, object_id, "Pause {}?", question, "Pause", pause)

    @action(description="Resume", url_path="resume", icon="play_arrow", permissions=["change"])
    def resume(self, request: HttpRequest, object_id: str) -> HttpResponse:
        def resume(channel: Channel) -> None:
            self._report(request, channel_operations.resume(_only(channel)), "resumed")

        return self._asked(request, object_id, "Resume {}?", "What has queued is sent, in order.", "Resume", resume)

    @action(description="Enable", url_path="enable", icon="power", permissions=["change"])
    def enable(self, request: HttpRequest, object_id: str) -> HttpResponse:
        def enable(channel: Channel) -> None:
            self._report(request, channel_operations.enable(_only(channel)), "enabled")

        question = "What was queued before it was disabled is sent. What happened meanwhile was never queued."
        return self._asked(request, object_id, "Enable {}?", question, "Enable", enable)

    @action(description="Redrive …", url_path="redrive", icon="replay", permissions=["change"])
    def redrive(self, request: HttpRequest, object_id: str) -> HttpResponse:
        channel = self._asked_for(request, object_id)
        if channel is None:
            return self._unknown(request, object_id)
        form = RedriveForm(request.POST or None)
        if request.method == "POST" and form.is_valid():
            letters = form.chosen(Delivery.objects.filter(channel=channel))
            self._report(request, channel_operations.redrive(letters, now=database_now()), "dead letters redriven")
            return HttpResponseRedirect(_address(channel))
        title = f"Redrive dead letters of {channel.name}?"
        return self._page(request, "events/redrive.html", title=title, form=form, back=_address(channel))

    @action(description="Rotate the signing secret", url_path="rotate", icon="key", permissions=["change"])
    def rotate(self, request: HttpRequest, object_id: str) -> HttpResponse:
        def rotate(channel: Channel) -> None:
            secret = channel_operations.rotate_secret(channel, now=database_now())
            self.message_user(request, _SHOWN_ONCE.format(channel.name, secret), messages.WARNING)

        question = "Events are signed with a new secret and, for 24 hours, with the present one along with it."
        return self._asked(request, object_id, "Rotate the signing secret of {}?", question, "Rotate", rotate)

    # --- Helpers ---------------------------------------------------------------------------------

    def _asked(
        self,
        request: HttpRequest,
        object_id: str,
        title: str,
        question: str,
        submit: str,
        act: Callable[[Channel], HttpResponse | None],
    ) -> HttpResponse:
        """Ask, and on the answer act; go back to the channel unless the act has a page of its own."""
        channel = self._asked_for(request, object_id)
        if channel is None:
            return self._unknown(request, object_id)
        if request.method == "POST":
            return act(channel) or HttpResponseRedirect(_address(channel))
        context = {"title": title.format(channel.name), "question": question, "submit": submit}
        return self._page(request, "events/confirm.html", back=_address(channel), **context)

    def _page(self, request: HttpRequest, template: str, **context: Any) -> TemplateResponse:
        shared = {**self.admin_site.each_context(request), "opts": self.opts, "media": self.media}
        return TemplateResponse(request, template, {**shared, **context})

    def _report(self, request: HttpRequest, count: int, done: str) -> None:
        self.message_user(request, f"{count} {done}.", messages.SUCCESS if count else messages.WARNING)

    def _asked_for(self, request: HttpRequest, object_id: str) -> Channel | None:
        channel = self.get_object(request, object_id)
        return channel if isinstance(channel, Channel) else None

    def _unknown(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)


def _kind(request: HttpRequest, channel: Channel | None) -> Kind:
    return kind_of(channel.kind if channel else request.GET.get("kind", ""))


def _fitting(channel: Channel) -> set[str]:
    actions = {"send_test", "resume" if channel.paused_at else "pause"}
    if not channel.is_enabled:
        actions.add("enable")
    if channel.dead_letters:  # type: ignore[attr-defined]
        actions.add("redrive")
    if channel.kind == "webhook":
        actions.add("rotate")
    return actions


def _facts(channel: Channel) -> dict[str, Any]:
    recent = Delivery.objects.filter(channel=channel).select_related("event").order_by("-id")[:_DELIVERIES]
    return {
        "health": health_rows(channel, now=channel.read_at),  # type: ignore[attr-defined]
        "deliveries": recent,
        "deliveries_address": f"{reverse('admin:events_delivery_changelist')}?channel={channel.pk}",
    }


def _only(channel: Channel) -> QuerySet[Channel]:
    return Channel.objects.filter(pk=channel.pk)


def _plain(channels: QuerySet[Channel]) -> QuerySet[Channel]:
    """Return the same channels without their counts: an UPDATE can't have them."""
    return Channel.objects.filter(pk__in=list(channels.values_list("pk", flat=True)))


def _address(channel: Channel) -> str:
    return reverse("admin:events_channel_change", args=[channel.pk])
