"""What the admin's pages share: strict addresses, and one page that asks before something is done."""

from collections.abc import Iterable, Mapping
from typing import Any

from django.contrib import messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect
from django.template.response import TemplateResponse
from unfold.admin import ModelAdmin


class StrictAdmin(ModelAdmin):
    """Filters by its own filters only: any lookup that somebody types into the address would reach the database."""

    list_per_page = 100

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        return lookup in {each.parameter_name for each in self.get_list_filter(request)}

    def response_action(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponseBase | None:
        """Refuse a selection that is no id, with which Django would ask the database and fail."""
        for selected in request.POST.getlist(ACTION_CHECKBOX_NAME):
            try:
                self.opts.pk.to_python(selected)
            except ValidationError:
                self.message_user(request, "The selection holds something that is no id.", messages.ERROR)
                return HttpResponseRedirect(request.get_full_path())
        return super().response_action(request, queryset)

    def confirmation(self, request: HttpRequest, **context: Any) -> TemplateResponse:
        """Return the page that asks. Context: title, question, submit; affected, along, hidden, cancel, is_danger."""
        return TemplateResponse(
            request,
            "workspaces/confirmation.html",
            {**self.admin_site.each_context(request), "opts": self.opts, "media": self.media, **context},
        )


class ReadOnlyAdmin(StrictAdmin):
    """Shows and triggers; what it shows is written by the services."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


def hidden_fields(action: str, selected: Iterable[Any], data: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what makes Django run a changelist's action again, confirmed."""
    fields = [("action", action), ("confirmed", "yes")]
    if data.get("select_across") == "1":
        # Thousands of ids are no form; Django takes the changelist's own rows, and wants one id.
        fields.append(("select_across", "1"))
        selected = list(selected)[:1]
    return fields + [("_selected_action", str(key)) for key in selected]
