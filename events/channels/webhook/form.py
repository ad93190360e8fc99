"""The admin's form for a webhook's options."""

import re
from typing import Any
from urllib.parse import urlsplit

from django import forms
from django.core.exceptions import ValidationError
from unfold.widgets import UnfoldAdminPasswordWidget, UnfoldAdminTextareaWidget, UnfoldBooleanSwitchWidget

from events.channels.base import NOTHING, KindForm
from events.channels.network.addresses import ForbiddenAddress, Unresolved
from events.channels.network.outbound_proxy import judge_target

_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
# Set by Slipway or by the connection.
_RESERVED_HEADERS = frozenset(
    {"host", "content-length", "content-type", "transfer-encoding", "connection", "user-agent", "accept"}
)
MAX_HEADERS = 20


class WebhookForm(KindForm):
    """The receiver's URL, and headers to send with each event."""

    encrypted = ("url", "headers")
    address = "url"

    url = forms.CharField(
        label="URL",
        max_length=2000,
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "off"}, render_value=False),
        help_text="Events are posted here, for example https://example.com/hooks/slipway. "
        "Encrypted and never shown again.",
    )
    is_https_only = forms.BooleanField(
        label="HTTPS only",
        required=False,
        initial=True,
        widget=UnfoldBooleanSwitchWidget,
        help_text="Refuse a URL that is not https: others could read the events on their way.",
    )
    headers = forms.CharField(
        required=False,
        max_length=10_000,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3, "autocomplete": "off"}),
        help_text=f"One “Name: value” per line, sent with each event. Enter {NOTHING} to send none. "
        "Encrypted, never shown again, and only for this URL's host.",
    )

    def clean_headers(self) -> dict[str, str]:
        lines = [line for line in self.cleaned_data["headers"].splitlines() if line.strip() not in {"", NOTHING}]
        if len(lines) > MAX_HEADERS:
            raise ValidationError(f"You entered {len(lines)} headers; at most {MAX_HEADERS} are allowed.")
        headers = {}
        for number, line in enumerate(lines, start=1):
            name, _, value = (part.strip() for part in line.partition(":"))
            # Keep the value out of the message: it is a secret.
            if not _HEADER_NAME.fullmatch(name) or not value or not value.isascii() or not value.isprintable():
                raise ValidationError(f"Line {number} is not a header. Enter one like Authorization: Bearer abc.")
            if name.lower() in _RESERVED_HEADERS or name.lower().startswith("webhook-"):
                raise ValidationError(f"Line {number}: Slipway sets {name[:80]} itself.")
            headers[name] = value
        return headers

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if url := cleaned.get("url") or self.stored.get("url"):
            try:
                check_url(url, is_https_only=bool(cleaned.get("is_https_only")))
            except ValidationError as error:
                self.add_error("url", error)
        return cleaned


def check_url(url: str, *, is_https_only: bool) -> None:
    """Raise ValidationError unless events may be posted to this URL. Sends nothing."""
    malformed = ValidationError("This is not a URL. Enter one like https://example.com/hooks/slipway.")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        raise malformed from None
    if parts.scheme not in {"http", "https"} or not host or not url.isascii() or not url.isprintable() or " " in url:
        raise malformed
    if "@" in parts.netloc:
        raise ValidationError("Leave the user name and password out of the URL. Send an Authorization header instead.")
    if is_https_only and parts.scheme != "https":
        raise ValidationError("This URL is not https. Use another one, or switch “HTTPS only” off.")
    try:
        judge_target(host, port)
    except ForbiddenAddress as error:
        raise ValidationError(str(error)) from None
    except Unresolved:
        # The name server may be down for a moment. Every send checks again.
        return
