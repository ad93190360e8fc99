"""Sends readable messages to Slack, Teams, Discord, Telegram, Matrix and other chats through Apprise."""

from collections.abc import Mapping, Sequence
from typing import Any

from apprise import Apprise, NotifyBase, NotifyType
from apprise.plugins import url_to_dict
from django import forms
from django.core.exceptions import ValidationError
from unfold.widgets import UnfoldAdminPasswordWidget

from events.channels.base import Kind, KindForm, Message, Receipt, Sender, SendFailed
from events.channels.chat.apprise_warnings import apprise_warnings
from events.channels.chat.markup import MARKUPS, written
from events.channels.network.addresses import ForbiddenAddress
from events.channels.network.guarded_sockets import guarded_sockets
from events.channels.notification import notification_of

# Room for each mention that the `ping=` of a URL adds to a text, besides its name.
_PING_CHARACTERS = 8


def service_of(url: str) -> str:
    """Return the name of a URL's service."""
    return url.partition("://")[0].lower()


def open_plugin(url: str) -> NotifyBase | None:
    """Return the Apprise plugin of a URL, or None if Apprise can't parse it.

    The URL can't choose the format: each service has the one that it is written in (markup.py).
    """
    options = url_to_dict(url) if service_of(url) in MARKUPS else None  # type: ignore[no-untyped-call]
    if options is None:
        return None
    return Apprise.instantiate({**options, "format": MARKUPS[service_of(url)].apprise_format})


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
        service = service_of(url)
        if service not in MARKUPS:
            raise ValidationError(f"Begin with the name of a service and ://. Services: {', '.join(MARKUPS)}.")
        if open_plugin(url) is None:
            raise ValidationError(f"Apprise can't parse this {service} URL. See appriseit.com for its format.")
        return url


class ChatSender(Sender):
    """Sends through one Apprise plugin."""

    def __init__(self, options: Mapping[str, Any], *, timeout_seconds: float) -> None:
        plugin = open_plugin(options["url"])
        if plugin is None:
            raise SendFailed("Apprise can't parse the channel's URL. Enter it again.", is_permanent=True)
        plugin.socket_connect_timeout = plugin.socket_read_timeout = timeout_seconds / 2
        self._plugin = plugin
        self._markup = MARKUPS[service_of(options["url"])]

    def send(self, messages: Sequence[Message]) -> Receipt:
        notification = notification_of(messages)
        pings = sum(len(each) + _PING_CHARACTERS for each in getattr(self._plugin, "ping", ()))
        title, body = written(
            notification,
            markup=self._markup,
            title_limit=self._plugin.title_maxlen,
            body_limit=self._plugin.body_maxlen - pings,
        )
        kind = NotifyType.FAILURE if notification.is_bad else NotifyType.INFO
        with guarded_sockets(), apprise_warnings() as warnings:
            try:
                # Without `body_format`, Apprise passes the body on as it is.
                is_sent = self._plugin.notify(title=title, body=body, notify_type=kind)
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
