"""Base classes of the admins, and the confirmation page."""

from collections.abc import Iterable, Mapping
from typing import Any

from django.http import HttpRequest
from django.template.response import TemplateResponse

from events.admin.read_only import ReadOnlyAdmin as EventsReadOnlyAdmin
from events.admin.sent_forms import CreatesOnce


class StrictAdmin(CreatesOnce):
    """Accepts no lookups in the address but those of its filters."""

    list_per_page = 100

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        return lookup in {each.parameter_name for each in self.get_list_filter(request)}

    def confirmation(self, request: HttpRequest, **context: Any) -> TemplateResponse:
        """Return the page that asks before something is done.

        Context: title, question, submit, cancel (an address), is_danger, hidden (pairs of name and value), affected and
        descendants (names), more_affected and more_descendants (how many names were left out).
        """
        return TemplateResponse(
            request,
            "workspaces/confirmation.html",
            {**self.admin_site.each_context(request), "opts": self.opts, "media": self.media, **context},
        )


class ReadOnlyAdmin(StrictAdmin, EventsReadOnlyAdmin):
    """Shows rows that only services write."""


def hidden_fields(action: str, selected: Iterable[Any], data: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the fields that make Django run an action of the list again, confirmed."""
    fields = [("action", action), ("confirmed", "yes")]
    if data.get("select_across") == "1":
        # Django takes the rows from the list. It needs one ID; thousands would make the form too large.
        fields.append(("select_across", "1"))
        selected = list(selected)[:1]
    return fields + [("_selected_action", str(key)) for key in selected]
