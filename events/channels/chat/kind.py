"""Sends readable messages to Slack, Teams, Discord, Telegram, Matrix and other chats through Apprise."""

from collections.abc import Mapping, Sequence
from typing import Any

from apprise import Apprise, NotifyType
from django import forms
from django.core.exceptions import ValidationError
from unfold.widgets import UnfoldAdminPasswordWidget

from events.channels.base import Kind, KindForm, Message, Receipt, Sender, SendFailed
from events.channels.chat.apprise_warnings import apprise_warnings
from events.channels.network.addresses import ForbiddenAddress
from events.channels.network.guarded_sockets import guarded_sockets
from events.channels.notification import notification_of

# Services that people read. Apprise supports others that write files or run programs on this host.
SERVICES = (
    *("slack", "workflows", "discord", "tgram", "matrix", "matrixs", "mmost", "mmosts", "rocket", "rockets", "gchat"),
    *("ntfy", "ntfys", "pagerduty", "opsgenie", "pover", "zulip", "wxteams", "gotify", "gotifys", "signal", "signals"),
    *("ryver", "flock", "guilded", "feishu", "lark", "dingtalk", "twist", "mastodon"),
)


class ChatForm(KindForm):
    """The chat, as an Apprise URL."""

    encrypted = ("url",)

    url = forms.CharField(
        label="Apprise URL",
        max_length=2000,
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "off"}, render_value=False),
        help_text="For example slack://token-a/token-b/token-c/#channel, discord://id/token, tgram://token/chat, "
        "or workflows://… for Teams. Encrypted and never shown again.",
    )

    def clean_url(self) -> str:
        url = str(self.cleaned_data["url"])
        service = url.partition("://")[0].lower()
        if service not in SERVICES:
            raise ValidationError(f"Begin with the name of a service and ://. Services: {', '.join(SERVICES)}.")
        if Apprise.instantiate(url, suppress_exceptions=True) is None:
            raise ValidationError(f"Apprise can't parse this {service} URL. See appriseit.com for its format.")
        return url


class ChatSender(Sender):
    """Sends through one Apprise plugin."""

    def __init__(self, options: Mapping[str, Any], *, timeout_seconds: float) -> None:
        plugin = Apprise.instantiate(options["url"], suppress_exceptions=True)
        if plugin is None:
            raise SendFailed("Apprise can't parse the channel's URL. Enter it again.", is_permanent=True)
        plugin.socket_connect_timeout = plugin.socket_read_timeout = timeout_seconds / 2
        self._plugin = plugin

    def send(self, messages: Sequence[Message]) -> Receipt:
        notification = notification_of(messages)
        kind = NotifyType.FAILURE if notification.is_bad else NotifyType.INFO
        with guarded_sockets(), apprise_warnings() as warnings:
            try:
                is_sent = self._plugin.notify(title=notification.title, body=notification.text, notify_type=kind)
            except ForbiddenAddress as error:
                raise SendFailed(str(error), is_permanent=True) from error
        if not is_sent:
            raise SendFailed(" ".join(warnings) or f"{self._plugin.service_name} did not accept the message.")
        return Receipt(answer="accepted")


CHAT = Kind(
    name="chat",
    label="Chat",
    form=ChatForm,
    sender=ChatSender,
    is_grouped=True,
    # People read a chat from top to bottom, and services limit the rate of messages.
    is_sequential=True,
)
