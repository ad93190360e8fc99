"""Chat: a readable message by Apprise to Slack, Teams, Discord, Telegram, Matrix and others."""

import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from apprise import Apprise, NotifyType
from apprise.plugins import NotifyBase
from django import forms
from django.core.exceptions import ValidationError
from unfold.widgets import UnfoldAdminPasswordWidget

from events.channels.base import KindForm, Message, Receipt, SendFailed
from events.channels.network.addresses import ForbiddenAddress
from events.channels.network.guarded_sockets import guarded_sockets
from events.channels.notification import worded

# Services that people read. Apprise knows more, and some of those write files or run programs of this host.
SERVICES = (
    *("slack", "workflows", "discord", "tgram", "matrix", "matrixs", "mmost", "mmosts", "rocket", "rockets", "gchat"),
    *("ntfy", "ntfys", "pagerduty", "opsgenie", "pover", "zulip", "wxteams", "gotify", "gotifys", "signal", "signals"),
    *("ryver", "flock", "guilded", "feishu", "lark", "dingtalk", "twist", "mastodon"),
)


class ChatForm(KindForm):
    """Where the chat is, as an Apprise address."""

    sealed = ("url",)

    url = forms.CharField(
        label="Apprise address",
        max_length=2000,
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "off"}, render_value=False),
        help_text="Such as slack://token-a/token-b/token-c/#channel, discord://id/token, tgram://token/chat, "
        "workflows://… for Teams. Encrypted, never shown again.",
    )

    def clean_url(self) -> str:
        url = str(self.cleaned_data["url"]).strip()
        service = url.partition("://")[0].lower()
        if service not in SERVICES:
            raise ValidationError(f"Begin with one of these services, then ://. {', '.join(SERVICES)}")
        if _plugin(url) is None:
            raise ValidationError(
                f"Apprise can't read this address of {service}: compare it with its page on appriseit.com."
            )
        return url


class ChatKind:
    name = "chat"
    label = "Chat"
    form = ChatForm
    is_grouped = True
    # A chat is read from top to bottom, and its service wants one message at a time.
    is_sequential = True

    def initial_options(self) -> dict[str, Any]:
        return {}

    def open(self, options: Mapping[str, Any], *, timeout_seconds: float) -> "ChatSender":
        plugin = _plugin(options["url"])
        if plugin is None:
            raise SendFailed("Its Apprise address can't be read: enter it again.", is_permanent=True)
        plugin.socket_connect_timeout = plugin.socket_read_timeout = timeout_seconds / 2
        return ChatSender(plugin)


KIND = ChatKind()


class ChatSender:
    """Sends through one Apprise plugin."""

    def __init__(self, plugin: NotifyBase) -> None:
        self._plugin = plugin

    def send(self, messages: Sequence[Message]) -> Receipt:
        wording = worded(messages)
        kind = NotifyType.FAILURE if wording.is_bad else NotifyType.INFO
        with guarded_sockets(), _heard() as heard:
            try:
                is_taken = self._plugin.notify(title=wording.title, body=wording.text, notify_type=kind)
            except ForbiddenAddress as error:
                raise SendFailed(str(error), is_permanent=True) from error
        if not is_taken:
            raise SendFailed(" ".join(heard) or f"{self._plugin.service_name} did not take the message.")
        return Receipt(answer="taken")

    def close(self) -> None:
        pass


def _plugin(url: str) -> NotifyBase | None:
    return Apprise.instantiate(url, suppress_exceptions=True)


@contextmanager
def _heard() -> Iterator[list[str]]:
    """Collect what Apprise logs in this thread: it returns no reason."""
    heard: list[str] = []
    handler = _Listener(heard)
    logger = logging.getLogger("apprise")
    logger.addHandler(handler)
    try:
        yield heard
    finally:
        logger.removeHandler(handler)


class _Listener(logging.Handler):
    def __init__(self, heard: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._heard = heard
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread:
            self._heard.append(record.getMessage()[:300])
