"""The filters of the list of workspaces. They ignore values that they don't offer."""

from typing import Any

from django.contrib.admin import ModelAdmin, SimpleListFilter
from django.db.models import QuerySet
from django.http import HttpRequest

from workspaces.lifecycle.transitions import WorkspaceStatus
from workspaces.models import Workspace

ALL = "all"


class StatusFilter(SimpleListFilter):
    """By status. Removed workspaces are hidden unless they are chosen."""

    title = "status"
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin) -> list[tuple[str, str]]:
        return [*WorkspaceStatus.choices, (ALL, "All, including removed")]

    def choices(self, changelist: Any) -> Any:
        for choice in super().choices(changelist):
            # Django labels the choice without a parameter "All". Here it hides removed workspaces.
            if choice["query_string"] == changelist.get_query_string(remove=[self.parameter_name]):
                choice["display"] = "Not removed"
            yield choice

    def queryset(self, request: HttpRequest, queryset: QuerySet[Workspace]) -> QuerySet[Workspace]:
        if self.value() in WorkspaceStatus.values:
            return queryset.filter(status=self.value())
        if self.value() == ALL:
            return queryset
        return queryset.exclude(status=WorkspaceStatus.REMOVED)


class NeedsRestartFilter(SimpleListFilter):
    """Those whose launch runs with secrets that have changed since."""

    title = "secrets"
    parameter_name = "needs_restart"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin) -> list[tuple[str, str]]:
        return [("yes", "Needs a restart")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Workspace]) -> QuerySet[Workspace]:
        needing = Workspace.objects.needing_restart().values("pk")
        return queryset.filter(pk__in=needing) if self.value() == "yes" else queryset


class RuntimeFilter(SimpleListFilter):
    """By the runtimes in use."""

    title = "runtime"
    parameter_name = "runtime"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin) -> list[tuple[str, str]]:
        runtimes = Workspace.objects.not_removed().order_by("runtime").values_list("runtime", flat=True).distinct()
        return [(runtime, runtime) for runtime in runtimes]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Workspace]) -> QuerySet[Workspace]:
        if self.value() in {runtime for runtime, _ in self.lookup_choices}:
            return queryset.filter(runtime=self.value())
        return queryset
