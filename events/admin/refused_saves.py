"""Forms of the admin whose data is refused only while it is saved, since something has changed since it was checked."""

from typing import Any, ClassVar

from django.contrib import messages
from django.db import IntegrityError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from psycopg.errors import ForeignKeyViolation, UniqueViolation

from events.admin.selection import SelectsIds

_CHANGED = "Something that belongs to it was added or removed at the same time. Try again."


class ExplainsRefusals(SelectsIds):
    """An admin that says why nothing was saved or deleted, and shows the form again."""

    # What services raise if the data can't be saved any more. The messages are sentences.
    refusals: ClassVar[tuple[type[Exception], ...]] = ()

    @property
    def all_refusals(self) -> tuple[type[Exception], ...]:
        """Return `refusals`, and what the database raises."""
        return (IntegrityError, *self.refusals)

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        try:
            return super().changeform_view(request, object_id, form_url, extra_context)
        except self.all_refusals as error:
            return self.answer_refusal(request, error, address=request.get_full_path())

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        try:
            return super().delete_view(request, object_id, extra_context)
        except self.all_refusals as error:
            opts = self.opts
            return self.answer_refusal(
                request, error, address=reverse(f"admin:{opts.app_label}_{opts.model_name}_changelist")
            )

    def answer_refusal(self, request: HttpRequest, error: Exception, *, address: str) -> HttpResponse:
        """Say why, and lead to the address. Raises the error if it is a mistake of ours."""
        is_bug = isinstance(error, IntegrityError) and not isinstance(
            error.__cause__, ForeignKeyViolation | UniqueViolation
        )
        if is_bug or request.method != "POST":
            raise error
        why = _CHANGED if isinstance(error, IntegrityError) else str(error)
        self.message_user(request, f"Nothing was changed. {why}", messages.ERROR)
        return HttpResponseRedirect(address)
