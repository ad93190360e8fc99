"""What the admin's read-only pages have in common."""

from typing import Any

from django.contrib.admin import ModelAdmin as DjangoModelAdmin
from django.contrib.admin import SimpleListFilter
from django.db.models import QuerySet, TextChoices
from django.http import HttpRequest

from events.admin.selection import SelectsIds


class ReadOnlyAdmin(SelectsIds):
    """Shows rows that only services write."""

    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        """Allow only the list's own filters. Other lookups in the URL would query the database as they please."""
        return lookup in {each.parameter_name for each in self.get_list_filter(request)}


class ChoicesFilter(SimpleListFilter):
    """Filters by a field with choices. Ignores a value in the URL that is not one of them."""

    field: str
    choices_type: type[TextChoices]

    def lookups(self, request: HttpRequest, model_admin: DjangoModelAdmin) -> list[tuple[str, str]]:
        return self.choices_type.choices

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        return queryset.filter(**{self.field: value}) if value in self.choices_type.values else queryset
