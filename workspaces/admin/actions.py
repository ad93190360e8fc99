"""The operations in the admin, made from their table: buttons on a workspace's page and actions on the list."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.defaultfilters import pluralize
from django.urls import reverse
from unfold.decorators import action
from unfold.enums import ActionVariant

from events.admin.sent_forms import SentBefore, acting_once
from workspaces.admin.base import StrictAdmin, hidden_fields
from workspaces.models import Workspace
from workspaces.operations import OPERATIONS, Operation, run_each
from workspaces.services.core.lineage import with_descendants

_SHOWN_NAMES = 20


class OperationActions(StrictAdmin):
    """Runs operations and shows their results. Services decide whether an operation is possible."""

    def has_remove_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.has_perm("workspaces.delete_workspace"))

    def get_actions_detail(self, request: HttpRequest, object_id: int | str | None = None) -> Any:
        workspace = self.get_object(request, str(object_id))
        if workspace is None:
            return []
        possible = {
            operation.name
            for operation in OPERATIONS
            if workspace.status in operation.sources and operation.is_offered(workspace)
        }
        return [button for button in super().get_actions_detail(request, object_id) if button.path in possible]

    def run_on_selection(
        self, request: HttpRequest, queryset: QuerySet[Workspace], operation: Operation
    ) -> HttpResponse | None:
        """Run the operation on the selected rows, or show the confirmation page if it asks first."""
        selected = list(queryset.values_list("pk", flat=True))
        if operation.asks_first and request.POST.get("confirmed") != "yes":
            hidden = hidden_fields(request.POST.get("action", ""), selected, request.POST)
            return self._ask(request, selected, operation, hidden=hidden, cancel=request.get_full_path())
        try:
            with acting_once(request, result=request.get_full_path()):
                return self._run(request, selected, operation, back=request.get_full_path())
        except SentBefore as repeated:
            return self.answer_again(request, repeated)

    def run_on_one(self, request: HttpRequest, object_id: str, operation: Operation) -> HttpResponse:
        """Show the confirmation page, or run the operation if that page was submitted."""
        workspace = self.get_object(request, object_id)
        if not isinstance(workspace, Workspace):
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)
        page = change_url(workspace.pk)
        if request.method != "POST":
            return self._ask(request, [workspace.pk], operation, hidden=[], cancel=page)
        is_removal = operation.permission == "delete"
        back = reverse("admin:workspaces_workspace_changelist") if is_removal else page
        try:
            with acting_once(request, result=back):
                return self._run(request, [workspace.pk], operation, back=back) or HttpResponseRedirect(back)
        except SentBefore as repeated:
            return self.answer_again(request, repeated)

    def _ask(
        self,
        request: HttpRequest,
        selected: list[UUID],
        operation: Operation,
        *,
        hidden: list[tuple[str, str]],
        cancel: str,
    ) -> HttpResponse:
        names, descendants = _affected_names(selected, operation)
        label, number, total = operation.label, len(names), len(names) + len(descendants)
        return self.confirmation(
            request,
            title=f"{label} {names[0]}?" if number == 1 else f"{label} {number} workspaces?",
            question=operation.question,
            affected=names[:_SHOWN_NAMES] if operation.asks_first else [],
            more_affected=max(number - _SHOWN_NAMES, 0),
            descendants_label=f"Descendants that will also be {operation.past}:",
            descendants=descendants[:_SHOWN_NAMES],
            more_descendants=max(len(descendants) - _SHOWN_NAMES, 0),
            submit=f"{label} {total} workspace{pluralize(total)}" if operation.asks_first else label,
            is_danger=operation.is_dangerous,
            hidden=hidden,
            cancel=cancel,
        )

    def _run(
        self, request: HttpRequest, selected: list[UUID], operation: Operation, *, back: str
    ) -> HttpResponse | None:
        """Run the operation. Return a page if it shows something once."""
        result = run_each(operation, selected, by=request.user.get_username(), options=operation.admin_options)
        self.message_user(request, result.summary, messages.WARNING if result.refused else messages.SUCCESS)
        if not result.tokens:
            return None
        values = [(f"New token of {name}", token) for name, token in result.tokens]
        advice = "Give each agent its token now. It can't be shown again."
        return self.show_once(request, values, advice=advice, back=back)


def _affected_names(selected: list[UUID], operation: Operation) -> tuple[list[str], list[str]]:
    """Return the names of the selected workspaces, and of the descendants that a cascade would change."""
    descendants: set[UUID] = set()
    if operation.cascades and operation.asks_first:
        descendants = {key for each in selected for key in with_descendants(each)} - set(selected)
    rows = Workspace.objects.filter(pk__in=descendants.union(selected)).only("name", "status").order_by("name", "pk")
    names = [row.name for row in rows if row.pk not in descendants]
    return names, [row.name for row in rows if row.pk in descendants and row.status in operation.sources]


def change_url(workspace_id: UUID) -> str:
    """Return the address of a workspace's page."""
    return reverse("admin:workspaces_workspace_change", args=[workspace_id])


def list_action(operation: Operation) -> Callable[..., HttpResponse | None]:
    """Return the action of the list: a method of the admin, as Django expects one."""

    def run(model_admin: OperationActions, request: HttpRequest, queryset: QuerySet[Workspace]) -> Any:
        return model_admin.run_on_selection(request, queryset, operation)

    # Django names an action by its function.
    run.__name__ = f"{_attribute(operation)}_selected"
    return admin.action(run, description=_description(operation), permissions=[_permission(operation)])


def detail_action(operation: Operation) -> Callable[..., HttpResponse]:
    """Return the button of the page: a method of the admin, as django-unfold expects one."""

    def run(model_admin: OperationActions, request: HttpRequest, object_id: str) -> HttpResponse:
        return model_admin.run_on_one(request, object_id, operation)

    # django-unfold looks for the function's name in `actions_detail`.
    run.__name__ = _attribute(operation)
    decorated: Callable[..., HttpResponse] = action(
        run,
        description=_description(operation),
        url_path=operation.name,
        icon=operation.icon,
        permissions=[_permission(operation)],
        variant=ActionVariant.DANGER if operation.is_dangerous else ActionVariant.DEFAULT,
    )
    return decorated


def _attribute(operation: Operation) -> str:
    return operation.name.replace("-", "_")


def _description(operation: Operation) -> str:
    return f"{operation.label} …" if operation.asks_first else operation.label


def _permission(operation: Operation) -> str:
    # `has_delete_permission` would offer Django's own deletion of rows.
    return "remove" if operation.permission == "delete" else operation.permission


OperationActions.actions = [list_action(operation) for operation in OPERATIONS]
OperationActions.actions_detail = [_attribute(operation) for operation in OPERATIONS]
for each in OPERATIONS:
    setattr(OperationActions, _attribute(each), detail_action(each))
