"""Forms that create something act once: each carries a token, and a second sending of it creates nothing."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from django.contrib import messages
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from events.admin.refused_saves import ExplainsRefusals
from events.models import SentForm

FIELD = "form_token"
_KEPT = timedelta(days=1)
_SENT_BEFORE = (
    "This form was sent twice; it acted once. A value that is shown only once was in the first answer: if you did not "
    "see it, revoke or rotate it."
)


class SentBefore(Exception):
    """This form was sent before. `result` is the address that the first answer led to, or empty."""

    def __init__(self, result: str) -> None:
        super().__init__(_SENT_BEFORE)
        self.result = result


def form_token(request: HttpRequest) -> dict[str, Any]:
    """Give every page `form_token`, new at each rendering (a context processor)."""
    return {FIELD: uuid.uuid4}


def check_not_sent(request: HttpRequest) -> None:
    """Raise SentBefore if the posted form acted before."""
    if (token := read_token(request)) and (sent := SentForm.objects.filter(pk=token).first()):
        raise SentBefore(sent.result)


def claim(request: HttpRequest, *, result: str = "") -> None:
    """Note that the posted form acts now. Raises SentBefore; within a transaction, waits for the other one's end.

    A form without a token (a script's) always acts.
    """
    token = read_token(request)
    if token is None:
        return
    SentForm.objects.filter(created_at__lt=Now() - _KEPT).delete()
    sent, is_first = SentForm.objects.get_or_create(pk=token, defaults={"result": result})
    if not is_first:
        raise SentBefore(sent.result)


@contextmanager
def acting_once(request: HttpRequest, *, result: str = "") -> Iterator[None]:
    """Claim the posted form for an act that is not one transaction. If the block raises, it can be sent again.

    Raises SentBefore.
    """
    claim(request, result=result)
    try:
        yield
    except Exception:
        if token := read_token(request):
            SentForm.objects.filter(pk=token).delete()
        raise


def note_result(request: HttpRequest, result: str) -> None:
    """Store where a second sending of the posted form leads."""
    if token := read_token(request):
        SentForm.objects.filter(pk=token).update(result=result)


def read_token(request: HttpRequest) -> uuid.UUID | None:
    """Return the token of the posted form, or None."""
    try:
        return uuid.UUID(request.POST.get(FIELD, ""))
    except ValueError:
        return None


class CreatesOnce(ExplainsRefusals):
    """An admin whose form creates one row, however often it is sent, and may show a value once in its answer."""

    change_form_before_template = "events/form_token.html"

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        try:
            if request.method == "POST":
                check_not_sent(request)
            return super().add_view(request, form_url, extra_context)
        except SentBefore as repeated:
            return self.answer_again(request, repeated)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: Any) -> None:
        if not change:
            claim(request)
        super().save_model(request, obj, form, change)

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> HttpResponse:
        answer = super().response_add(request, obj, post_url_continue)
        note_result(request, answer.get("Location", ""))
        return answer

    def answer_again(self, request: HttpRequest, repeated: SentBefore) -> HttpResponse:
        """Say that the form was sent twice, and lead where the first answer led, or to the list."""
        self.message_user(request, str(repeated), messages.WARNING)
        opts = self.opts
        return HttpResponseRedirect(repeated.result or reverse(f"admin:{opts.app_label}_{opts.model_name}_changelist"))

    def show_once(self, request: HttpRequest, values: list[tuple[str, str]], *, advice: str, back: str) -> HttpResponse:
        """Return the page, never cached, that shows these (label, value) pairs, each with a button that copies it."""
        shared = {**self.admin_site.each_context(request), "opts": self.opts, "media": self.media}
        context = {**shared, "title": "Shown only once", "values": values, "advice": advice, "back": back}
        return TemplateResponse(request, "events/shown_once.html", context, headers={"Cache-Control": "no-store"})
