"""Channels in the admin: their health, their forms, and what operators can do with them."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib import admin, messages
from django.db.models import DateTimeField, Func, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from unfold.decorators import action, display

from events.admin.redrive_form import RedriveForm
from events.admin.sent_forms import CreatesOnce, SentBefore, acting_once, claim
from events.channel_settings import saving
from events.channel_settings.forms import COMMON, FILTERS, ChannelForm, form_for
from events.channels.registry import KINDS, kind_of
from events.delivery import channel_operations
from events.delivery.channel_health import health_rows, state_of, with_delivery_counts
from events.models import Channel, Delivery
from postgres.clock import database_now

_STATES = {"Sending": "success", "Failing": "danger", "Disabled": "danger", "Paused": "warning", "Held": "warning"}
_RECENT_DELIVERIES = 15
_SECRET_ADVICE = "Give the signing secret to the receiver now. It can't be shown again; you can rotate it."  # noqa: S105

ChannelAction = Callable[["ChannelAdmin", HttpRequest, Channel], HttpResponse | None]
ChannelView = Callable[["ChannelAdmin", HttpRequest, str], HttpResponse]


def confirmed(*, title: str, question: str, submit: str) -> Callable[[ChannelAction], ChannelView]:
    """Let an action on one channel ask first. `{}` in the title is the channel's name.

    After the action, the operator returns to the channel's page unless the action returns a page of its own.
    """

    def decorate(act: ChannelAction) -> ChannelView:
        @wraps(act)
        def view(model_admin: "ChannelAdmin", request: HttpRequest, object_id: str) -> HttpResponse:
            channel = model_admin.get_object(request, object_id)
            if channel is None:
                return model_admin.redirect_to_list(request, object_id)
            if request.method == "POST":
                try:
                    with acting_once(request, result=_change_url(channel)):
                        return act(model_admin, request, channel) or HttpResponseRedirect(_change_url(channel))
                except SentBefore as repeated:
                    return model_admin.answer_again(request, repeated)
            context = {"title": title.format(channel.name), "question": question, "submit": submit}
            return model_admin.page(request, "events/confirm.html", back=_change_url(channel), **context)

        return view

    return decorate


@admin.register(Channel)
class ChannelAdmin(CreatesOnce):
    """Channels by name."""

    refusals = (saving.InvalidChannel,)
    list_display = ["name", "kind_label", "state", "success", "latency", "error", "backlog", "dead_letters"]
    search_fields = ["name"]
    ordering = ["name", "pk"]
    actions = ["pause_selected", "resume_selected", "redrive_selected"]
    actions_detail = ["send_test", "pause", "resume", "enable", "redrive", "rotate"]
    change_form_template = "events/channel.html"
    list_fullwidth = True

    # --- The list --------------------------------------------------------------------------------

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        """Allow none: the list has no filters, and lookups in the URL would query the database as they please."""
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Channel]:
        """Return the channels with `backlog`, `dead_letters` and `read_at`, the database's time, in one query."""
        read_at = Func(function="clock_timestamp", output_field=DateTimeField())
        return with_delivery_counts(super().get_queryset(request)).annotate(read_at=read_at)

    @display(description="Kind", ordering="kind")
    def kind_label(self, channel: Channel) -> str:
        return KINDS[channel.kind].label if channel.kind in KINDS else channel.kind

    @display(description="State", label=_STATES)
    def state(self, channel: Channel) -> str:
        return str(state_of(channel, now=channel.read_at).label)  # type: ignore[attr-defined]

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
        return form_for(kind_of(obj.kind if obj else request.GET.get("kind", "")))

    def get_fieldsets(self, request: HttpRequest, obj: Channel | None = None) -> Any:
        kind = kind_of(obj.kind if obj else request.GET.get("kind", ""))
        return [
            (kind.label, {"fields": [COMMON[0], *kind.form.option_names()]}),
            ("Which events", {"fields": FILTERS}),
            ("How", {"fields": COMMON[1:]}),
        ]

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if request.GET.get("kind") in KINDS or not self.has_add_permission(request):
            return super().add_view(request, form_url, extra_context)
        return self.page(request, "events/choose_kind.html", title="New channel", kinds=KINDS.values())

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        context = dict(extra_context or {})
        channel = self.get_object(request, object_id)
        if channel and self.has_view_permission(request, channel):
            deliveries = Delivery.objects.filter(channel=channel).select_related("event").order_by("-id")
            context |= {
                "health": health_rows(channel, now=channel.read_at),
                "deliveries": deliveries[:_RECENT_DELIVERIES],
                "deliveries_url": f"{reverse('admin:events_delivery_changelist')}?channel={channel.pk}",
            }
        return super().change_view(request, object_id, form_url, context)

    def save_model(self, request: HttpRequest, obj: Channel, form: ChannelForm, change: Any) -> None:
        if not change:
            claim(request)
        request.new_secret = saving.store(form)  # type: ignore[attr-defined]

    def response_add(self, request: HttpRequest, obj: Channel, post_url_continue: str | None = None) -> HttpResponse:
        return self.with_new_secret(request, obj, super().response_add(request, obj, post_url_continue))

    def response_change(self, request: HttpRequest, obj: Channel) -> HttpResponse:
        return self.with_new_secret(request, obj, super().response_change(request, obj))

    def with_new_secret(self, request: HttpRequest, channel: Channel, answer: HttpResponse) -> HttpResponse:
        """Return the page that shows the signing secret that this request made, or the answer if it made none."""
        secret = getattr(request, "new_secret", "")
        if not secret:
            return answer
        values = [(f"Signing secret of {channel.name}", secret)]
        return self.show_once(request, values, advice=_SECRET_ADVICE, back=_change_url(channel))

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Name the channels and count their deliveries: there may be too many to list."""
        number = Delivery.objects.filter(channel__in=objs).count()
        counted = {"channels": len(objs), "deliveries": number}
        return [str(channel) for channel in objs], counted, set(), []

    # --- Actions on several ----------------------------------------------------------------------

    @admin.action(description="Pause", permissions=["change"])
    def pause_selected(self, request: HttpRequest, queryset: QuerySet[Channel]) -> None:
        self._report(request, "Paused", channel_operations.pause(_without_counts(queryset), now=database_now()))

    @admin.action(description="Resume", permissions=["change"])
    def resume_selected(self, request: HttpRequest, queryset: QuerySet[Channel]) -> None:
        self._report(request, "Resumed", channel_operations.resume(_without_counts(queryset)))

    @admin.action(description="Redrive all dead letters", permissions=["change"])
    def redrive_selected(self, request: HttpRequest, queryset: QuerySet[Channel]) -> None:
        deliveries = Delivery.objects.filter(channel__in=_without_counts(queryset))
        self._report(request, "Dead letters redriven", channel_operations.redrive(deliveries, now=database_now()))

    # --- Actions on one --------------------------------------------------------------------------

    def get_actions_detail(self, request: HttpRequest, object_id: int | str | None = None) -> Any:
        """Offer the actions that make sense in the channel's state."""
        channel = self.get_object(request, str(object_id))
        if channel is None:
            return []
        fitting = {
            "send_test": True,
            "pause": not channel.paused_at,
            "resume": channel.paused_at,
            "enable": not channel.is_enabled,
            "redrive": channel.dead_letters,
            "rotate": channel.kind == "webhook",
        }
        offered = super().get_actions_detail(request, object_id)
        return [each for each in offered if fitting[str(each.action_name).rpartition("_channel_")[2]]]

    @action(description="Send a test", url_path="test", icon="send", permissions=["change"])
    @confirmed(
        title="Send a test to {}?",
        question="A message named TEST_MESSAGE is sent at once. It is not an event: nothing is queued or counted.",
        submit="Send",
    )
    def send_test(self, request: HttpRequest, channel: Channel) -> HttpResponse:
        answer = channel_operations.send_test(channel, now=database_now())
        title = f"Test of {channel.name}"
        return self.page(request, "events/test_result.html", title=title, answer=answer, back=_change_url(channel))

    @action(description="Pause", url_path="pause", icon="pause", permissions=["change"])
    @confirmed(
        title="Pause {}?",
        question="Events are still queued for it. When you resume it, they are sent in order.",
        submit="Pause",
    )
    def pause(self, request: HttpRequest, channel: Channel) -> None:
        self._report(
            request, "Paused", channel_operations.pause(Channel.objects.filter(pk=channel.pk), now=database_now())
        )

    @action(description="Resume", url_path="resume", icon="play_arrow", permissions=["change"])
    @confirmed(title="Resume {}?", question="Queued events are sent in order.", submit="Resume")
    def resume(self, request: HttpRequest, channel: Channel) -> None:
        self._report(request, "Resumed", channel_operations.resume(Channel.objects.filter(pk=channel.pk)))

    @action(description="Enable", url_path="enable", icon="power", permissions=["change"])
    @confirmed(
        title="Enable {}?",
        question="Events that were queued before it was disabled are sent. Events since then were not queued.",
        submit="Enable",
    )
    def enable(self, request: HttpRequest, channel: Channel) -> None:
        self._report(request, "Enabled", channel_operations.enable(Channel.objects.filter(pk=channel.pk)))

    @action(description="Redrive …", url_path="redrive", icon="replay", permissions=["change"])
    def redrive(self, request: HttpRequest, object_id: str) -> HttpResponse:
        channel = self.get_object(request, object_id)
        if channel is None:
            return self.redirect_to_list(request, object_id)
        form = RedriveForm(request.POST or None)
        if request.method == "POST" and form.is_valid():
            deliveries, since = Delivery.objects.filter(channel=channel), form.cleaned_data["since"]
            count = channel_operations.redrive(deliveries, since=since, now=database_now())
            self._report(request, "Dead letters redriven", count)
            return HttpResponseRedirect(_change_url(channel))
        title = f"Redrive dead letters of {channel.name}?"
        return self.page(request, "events/redrive.html", title=title, form=form, back=_change_url(channel))

    @action(description="Rotate the signing secret", url_path="rotate", icon="key", permissions=["change"])
    @confirmed(
        title="Rotate the signing secret of {}?",
        question="Events are signed with a new secret. For 24 hours, they are signed with the current one as well.",
        submit="Rotate",
    )
    def rotate(self, request: HttpRequest, channel: Channel) -> HttpResponse:
        request.new_secret = channel_operations.rotate_secret(channel, now=database_now())  # type: ignore[attr-defined]
        return self.with_new_secret(request, channel, HttpResponseRedirect(_change_url(channel)))

    # --- Helpers ---------------------------------------------------------------------------------

    def page(self, request: HttpRequest, template: str, **context: Any) -> TemplateResponse:
        """Return a page of the admin made from this template."""
        shared = {**self.admin_site.each_context(request), "opts": self.opts, "media": self.media}
        return TemplateResponse(request, template, {**shared, **context})

    def redirect_to_list(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Say that there is no such channel, as Django's own pages do."""
        return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)

    def _report(self, request: HttpRequest, done: str, count: int) -> None:
        self.message_user(request, f"{done}: {count}.", messages.SUCCESS if count else messages.WARNING)


def _without_counts(channels: QuerySet[Channel]) -> QuerySet[Channel]:
    """Return the same channels without annotations, which an UPDATE can't have."""
    return Channel.objects.filter(pk__in=list(channels.values_list("pk", flat=True)))


def _change_url(channel: Channel) -> str:
    return reverse("admin:events_channel_change", args=[channel.pk])
