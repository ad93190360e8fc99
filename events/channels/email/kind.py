"""Sends e-mail as text and HTML through Django's mail backend (EMAIL_URL)."""

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

from events.channels.base import RESPONSE_BYTES, Kind, KindForm, Message, Receipt, Sender, SendFailed
from events.channels.notification import notification_of

MAX_RECIPIENTS = 50


class EmailForm(KindForm):
    """The recipients and the subject's prefix."""

    recipients = forms.CharField(
        max_length=5000,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
        help_text="One address per line.",
    )
    subject_prefix = forms.CharField(
        required=False, max_length=50, initial="[Slipway]", widget=UnfoldAdminTextInputWidget
    )

    def clean_recipients(self) -> str:
        addresses = self.cleaned_data["recipients"].replace(",", "\n").split()
        if not settings.EMAIL_URL:
            raise ValidationError("Slipway can't send e-mail: EMAIL_URL is not set (see .env.example).")
        if len(addresses) > MAX_RECIPIENTS:
            raise ValidationError(f"You entered {len(addresses)} addresses; at most {MAX_RECIPIENTS} are allowed.")
        for address in addresses:
            try:
                validate_email(address)
            except ValidationError:
                raise ValidationError(f"{address[:80]} is not an e-mail address.") from None
        return "\n".join(addresses)


class EmailSender(Sender):
    """Sends one e-mail to all recipients."""

    def __init__(self, options: Mapping[str, Any], *, timeout_seconds: float) -> None:
        if not settings.EMAIL_URL:
            raise SendFailed("Slipway can't send e-mail: EMAIL_URL is not set (see .env.example).")
        self._recipients = options["recipients"].split()
        self._prefix = options.get("subject_prefix", "")
        # Backends that connect to no server take no timeout.
        self._limits: dict[str, Any] = {"timeout": timeout_seconds} if settings.EMAIL_URL.startswith("smtp") else {}

    def send(self, messages: Sequence[Message]) -> Receipt:
        notification = notification_of(messages)
        connection = get_connection(**self._limits)
        mail = EmailMultiAlternatives(
            # A workspace's name may contain line ends, a header must not.
            subject=" ".join(f"{self._prefix} {notification.title}".split())[:200],
            body=notification.text,
            to=self._recipients,
            connection=connection,
            headers={
                # Mail programs show a repeated message only once.
                "Message-ID": f"<event-{messages[0].id}-{len(messages)}@slipway>",
                "Auto-Submitted": "auto-generated",
            },
        )
        mail.attach_alternative(render_to_string("events/mail.html", {"notification": notification}), "text/html")
        try:
            mail.send()
        except smtplib.SMTPRecipientsRefused as error:
            codes = {code for code, _ in error.recipients.values()}
            raise SendFailed(
                f"The mail server refused all recipients: {sorted(codes)}.", is_permanent=min(codes) >= 500
            ) from error
        except smtplib.SMTPResponseException as error:
            text = error.smtp_error if isinstance(error.smtp_error, str) else error.smtp_error.decode(errors="replace")
            raise SendFailed(f"The mail server answered {error.smtp_code}.", response=text[:RESPONSE_BYTES]) from error
        except (smtplib.SMTPException, OSError) as error:
            raise SendFailed(f"Sending to the mail server failed: {type(error).__name__}: {error}") from error
        finally:
            # Django leaves it open if the login fails.
            connection.close()
        return Receipt(answer=f"sent to {len(self._recipients)}")


EMAIL = Kind(
    name="email",
    label="E-mail",
    form=EmailForm,
    sender=EmailSender,
    is_grouped=True,
    # One connection to the mail server at a time.
    is_sequential=True,
)
