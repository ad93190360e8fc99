"""Sends readable messages to Slack, Teams, Discord, Telegram, Matrix and other chats through Apprise."""

from collections.abc import Mapping, Sequence
from typing import Any

from apprise import Apprise, NotifyBase, NotifyType
from apprise.plugins import N_MGR, url_to_dict
from django import forms
from django.core.exceptions import ValidationError
from unfold.widgets import UnfoldAdminPasswordWidget

from events.channels.base import Kind, KindForm, Message, Receipt, Sender, SendFailed
from events.channels.chat.apprise_warnings import apprise_warnings
from events.channels.chat.markup import MARKUPS, written
from events.channels.network.addresses import ForbiddenAddress, Unresolved
from events.channels.network.guarded_sockets import guarded_sockets
from events.channels.notification import notification_of

# Room for each mention that the `ping=` of a URL adds to a text, besides its name.
_PING_CHARACTERS = 8
# Read a file of this host or what another URL leads to, or let the service fetch that.
_REFUSED_PARAMETERS = frozenset({"template", "include", "attach", "filename", "actions"})


def service_of(url: str) -> str:
    """Return the name of a URL's service."""
    return url.partition("://")[0].lower()


def open_plugin(url: str) -> NotifyBase:
    """Return the Apprise plugin of a URL. Raises ValueError, with no secret in it, if the URL can't be used.

    The URL can't choose the format: each service has the one that it is written in (markup.py).
    """
    service = service_of(url)
    if service not in MARKUPS:
        raise ValueError(f"Begin with the name of a service and ://. Services: {', '.join(MARKUPS)}.")
    unreadable = ValueError(f"Apprise can't parse this {service} URL. See appriseit.com for its format.")
    options = url_to_dict(url)  # type: ignore[no-untyped-call]
    if options is None:
        raise unreadable
    known = set(N_MGR[service].template_args) - _REFUSED_PARAMETERS
    for name in options["qsd"]:
        if name.lower() not in known:
            raise ValueError(f"Leave {name[:80]}= out of the URL. For {service}: {', '.join(sorted(known))}.")
    plugin = Apprise.instantiate({**options, "format": MARKUPS[service].apprise_format})
    if plugin is None:
        raise unreadable
    return plugin


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
        if not url:
            return url
        try:
            open_plugin(url)
        except ValueError as error:
            raise ValidationError(str(error)) from None
        return url


class ChatSender(Sender):
    """Sends through one Apprise plugin."""

    def __init__(self, options: Mapping[str, Any], *, timeout_seconds: float) -> None:
        try:
            plugin = open_plugin(options["url"])
        except ValueError as error:
            raise SendFailed(f"The channel's URL can't be used. {error}", is_permanent=True) from error
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
            except Unresolved as error:
                raise SendFailed(str(error)) from error
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
