"""E-mail through Django's own backend (EMAIL_URL), as text and as HTML."""

import smtplib
from collections.abc import Mapping, Sequence
from typing import Any

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.mail import EmailMultiAlternatives, get_connection
from django.core.validators import validate_email
from django.template.loader import render_to_string
from unfold.widgets import UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from events.channels.base import KindForm, Message, Receipt, SendFailed
from events.channels.notification import worded

MAX_RECIPIENTS = 50


class EmailForm(KindForm):
    """Who gets the mail."""

    recipients = forms.CharField(
        max_length=5000,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
        help_text="One address a line.",
    )
    subject_prefix = forms.CharField(
        required=False, max_length=50, initial="[Slipway]", widget=UnfoldAdminTextInputWidget
    )

    def clean_recipients(self) -> str:
        addresses = self.cleaned_data["recipients"].replace(",", "\n").split()
        if not settings.EMAIL_URL:
            raise ValidationError("No mail can be sent: EMAIL_URL is not set (see .env.example).")
        if len(addresses) > MAX_RECIPIENTS:
            raise ValidationError(f"These are {len(addresses)} addresses; at most {MAX_RECIPIENTS} can be served.")
        for address in addresses:
            _check(address)
        return "\n".join(addresses)

    def clean_subject_prefix(self) -> str:
        return " ".join(str(self.cleaned_data["subject_prefix"]).split())


def _check(address: str) -> None:
    try:
        validate_email(address)
    except ValidationError:
        raise ValidationError(f"{address[:80]} is no e-mail address.") from None


class EmailKind:
    name = "email"
    label = "E-mail"
    form = EmailForm
    is_grouped = True
    # One conversation with the mail server at a time.
    is_sequential = True

    def initial_options(self) -> dict[str, Any]:
        return {}

    def open(self, options: Mapping[str, Any], *, timeout_seconds: float) -> "EmailSender":
        if not settings.EMAIL_URL:
            raise SendFailed("EMAIL_URL is not set, so no mail can be sent (see .env.example).")
        return EmailSender(options, timeout_seconds=timeout_seconds)


KIND = EmailKind()


class EmailSender:
    """Sends one mail to all recipients."""

    def __init__(self, options: Mapping[str, Any], *, timeout_seconds: float) -> None:
        self._recipients = options["recipients"].split()
        self._prefix = options.get("subject_prefix", "")
        self._seconds = timeout_seconds

    def send(self, messages: Sequence[Message]) -> Receipt:
        wording = worded(messages)
        # Names may hold anything, a header may not.
        subject = " ".join(f"{self._prefix} {wording.title}".split())[:200]
        # Backends that connect nowhere take no time limit.
        limit: dict[str, Any] = {"timeout": self._seconds} if settings.EMAIL_URL.startswith("smtp") else {}
        backend = get_connection(**limit)
        mail = EmailMultiAlternatives(
            subject=subject,
            body=wording.text,
            to=self._recipients,
            connection=backend,
            # Mail programs show a repeated one once.
            headers={
                "Message-ID": f"<event-{messages[0].id}-{len(messages)}@slipway>",
                "Auto-Submitted": "auto-generated",
            },
        )
        mail.attach_alternative(render_to_string("events/mail.html", {"wording": wording}), "text/html")
        return _sent(mail)

    def close(self) -> None:
        pass


def _sent(mail: EmailMultiAlternatives) -> Receipt:
    try:
        mail.send()
    except smtplib.SMTPRecipientsRefused as error:
        answers = {code for code, _ in error.recipients.values()}
        raise SendFailed(
            f"All recipients were refused: {sorted(answers)}.", is_permanent=min(answers) >= 500
        ) from error
    except smtplib.SMTPResponseException as error:
        text = error.smtp_error.decode(errors="replace") if isinstance(error.smtp_error, bytes) else error.smtp_error
        raise SendFailed(f"The mail server answered {error.smtp_code}.", response=text[:1024]) from error
    except (smtplib.SMTPException, OSError) as error:
        raise SendFailed(f"The mail server could not be used: {type(error).__name__}: {error}") from error
    return Receipt(answer=f"sent to {len(mail.to)}")
