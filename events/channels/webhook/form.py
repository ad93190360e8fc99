"""What a webhook needs to know."""

import re
from typing import Any
from urllib.parse import urlsplit

from django import forms
from django.core.exceptions import ValidationError
from unfold.widgets import UnfoldAdminPasswordWidget, UnfoldAdminTextareaWidget, UnfoldBooleanSwitchWidget

from events.channels.base import KindForm
from events.channels.network.addresses import ForbiddenAddress, Unresolved, reachable_address

_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
# Ours, or the connection's.
_RESERVED = frozenset(
    {"host", "content-length", "content-type", "transfer-encoding", "connection", "user-agent", "accept"}
)
MAX_HEADERS = 20
# Typed in place of headers: an empty field leaves them as they are.
_NONE = "-"


class WebhookForm(KindForm):
    """The receiver's address, and what is sent along to it."""

    sealed = ("url", "headers")

    url = forms.CharField(
        label="Address",
        max_length=2000,
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "off"}, render_value=False),
        help_text="Where events are posted, such as https://example.com/hooks/slipway. Encrypted, never shown again.",
    )
    is_https_only = forms.BooleanField(
        label="HTTPS only",
        required=False,
        initial=True,
        widget=UnfoldBooleanSwitchWidget,
        help_text="Refuse an address whose connection anybody on the way can read.",
    )
    headers = forms.CharField(
        required=False,
        max_length=10_000,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3, "autocomplete": "off"}),
        help_text=f"One Name: value a line, sent with each event; a single {_NONE} sends none. "
        "Encrypted, never shown again.",
    )

    def clean_url(self) -> str:
        return str(self.cleaned_data["url"]).strip()

    def clean_headers(self) -> dict[str, str]:
        lines = [line for line in self.cleaned_data["headers"].splitlines() if line.strip() not in {"", _NONE}]
        if len(lines) > MAX_HEADERS:
            raise ValidationError(f"These are {len(lines)} headers; at most {MAX_HEADERS} can be sent.")
        return dict(_header(number, line) for number, line in enumerate(lines, start=1))

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if url := cleaned.get("url") or self.present.get("url"):
            try:
                check_url(url, is_https_only=bool(cleaned.get("is_https_only")))
            except ValidationError as error:
                self.add_error("url", error)
        return cleaned


def check_url(url: str, *, is_https_only: bool) -> None:
    """Raise ValidationError unless events could be posted there; that it answers is for the test button to show."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        raise ValidationError("This is no address: write it like https://example.com/hooks/slipway.") from None
    if parts.scheme not in {"http", "https"} or not host or not url.isascii() or not url.isprintable() or " " in url:
        raise ValidationError("This is no address: write it like https://example.com/hooks/slipway.")
    if parts.username or parts.password:
        raise ValidationError("Leave name and password out of the address: send them as an Authorization header.")
    if is_https_only and parts.scheme != "https":
        raise ValidationError("This address is not https. Use another, or switch “HTTPS only” off.")
    _check_host(host, port)


def _check_host(host: str, port: int) -> None:
    try:
        reachable_address(host, port)
    except ForbiddenAddress as error:
        raise ValidationError(str(error)) from None
    except Unresolved:
        # Its name server may be down just now: every send asks again.
        return


def _header(number: int, line: str) -> tuple[str, str]:
    name, separator, value = line.partition(":")
    name, value = name.strip(), value.strip()
    # The value is a secret and stays out of the message.
    if not separator or not _HEADER_NAME.fullmatch(name) or not value or not value.isascii() or not value.isprintable():
        raise ValidationError(f"Line {number} is no header: write it like Authorization: Bearer abc.")
    if name.lower() in _RESERVED or name.lower().startswith("webhook-"):
        raise ValidationError(f"Line {number}: {name[:80]} is set by Slipway itself.")
    return name, value
