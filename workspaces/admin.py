"""The operators' pages. They show and trigger; the services decide."""

from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import DateTimeField, Func, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.decorators import action, display
from unfold.enums import ActionVariant

from events.positions import last_position
from workspaces import tasks, verbs
from workspaces.admin_cells import age_cell, deadline_cell, failure_cell, phase_cell, status_cell
from workspaces.admin_credentials import ApiKeyAdmin, SecretAdmin
from workspaces.admin_facts import facts_of
from workspaces.admin_filters import RuntimeFilter, StatusFilter
from workspaces.admin_forms import CreateForm, WorkspaceForm
from workspaces.admin_launches import LaunchAdmin
from workspaces.admin_pages import StrictAdmin, hidden_fields
from workspaces.clock import database_now
from workspaces.deadlines import present_policy
from workspaces.lifecycle import WorkspaceStatus
from workspaces.models import ApiKey, Launch, Secret, Workspace
from workspaces.overview import Overview, overview
from workspaces.services import creating
from workspaces.services.trees import with_descendants

_SHOWN_NAMES = 20

admin.site.index_template = "workspaces/index.html"
admin.site.index_title = "Overview"
admin.site.register(Launch, LaunchAdmin)
admin.site.register(Secret, SecretAdmin)
admin.site.register(ApiKey, ApiKeyAdmin)


@admin.register(Workspace)
class WorkspaceAdmin(StrictAdmin):
    """Workspaces: what there is, how it is, and the verbs."""

    form = WorkspaceForm
    list_display = ["name_and_id", "status_label", "runtime", "phase_and_step", "age", "deadline", "failure_text"]
    list_filter = [StatusFilter, RuntimeFilter]
    search_fields = ["name", "id"]
    search_help_text = "Name or id"
    ordering = ["name", "pk"]
    actions = ["restart_selected", "remove_selected"]
    actions_detail = ["restart", "remove"]
    list_fullwidth = True
    change_form_template = "workspaces/workspace.html"
    fieldsets = [("Settings", {"fields": ["name", "role", "tier", "labels", "provision_timeout_seconds"]})]

    # --- Permissions -----------------------------------------------------------------------------

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: a row is never deleted. Removing is a verb, see `has_remove_permission`."""
        return False

    def has_remove_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.has_perm("workspaces.delete_workspace"))

    # --- The list --------------------------------------------------------------------------------

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        # Read before the rows: what happens in between is streamed again, and nothing is missed.
        return super().changelist_view(request, {**(extra_context or {}), "position": last_position()})

    def get_queryset(self, request: HttpRequest) -> QuerySet[Workspace]:
        # Each row brings the clock along: no cell has to ask for it.
        read_at = Func(function="clock_timestamp", output_field=DateTimeField())
        return super().get_queryset(request).annotate(read_at=read_at)

    @display(description="Name", ordering="name")
    def name_and_id(self, workspace: Workspace) -> SafeString:
        return format_html(
            '<span class="slipway-name" data-row="{}" title="{}">{} <small>{}</small></span>',
            workspace.pk,
            workspace.name,
            workspace.name,
            str(workspace.pk)[:8],
        )

    @display(description="Status", ordering="status")
    def status_label(self, workspace: Workspace) -> SafeString:
        return status_cell(workspace.status)

    @display(description="Phase")
    def phase_and_step(self, workspace: Workspace) -> SafeString | str:
        return phase_cell(_glance(workspace))

    @display(description="Age", ordering="-created_at")
    def age(self, workspace: Workspace) -> SafeString | str:
        return age_cell(_glance(workspace))

    @display(description="Deadline", ordering="deadline_at")
    def deadline(self, workspace: Workspace) -> SafeString | str:
        return deadline_cell(_glance(workspace))

    @display(description="Failure", ordering="failure_code")
    def failure_text(self, workspace: Workspace) -> SafeString | str:
        return failure_cell(_glance(workspace))

    # --- One workspace ---------------------------------------------------------------------------

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        position = last_position()
        workspace = self.get_object(request, object_id)
        facts = facts_of(workspace) if workspace and self.has_view_permission(request, workspace) else {}
        context = {**(extra_context or {}), **facts, "position": position, "show_save_and_add_another": False}
        return super().change_view(request, object_id, form_url, context)

    def get_actions_detail(self, request: HttpRequest, object_id: int | str | None = None) -> Any:
        workspace = self.get_object(request, str(object_id))
        is_removed = workspace is None or workspace.status == WorkspaceStatus.REMOVED
        return [] if is_removed else super().get_actions_detail(request, object_id)

    def save_model(self, request: HttpRequest, obj: Workspace, form: WorkspaceForm, change: Any) -> None:
        # What an agent or a verb wrote since the page was rendered stays as it is.
        obj.save(update_fields=form.changed_data)

    # --- Create ----------------------------------------------------------------------------------

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if not self.has_add_permission(request):
            raise PermissionDenied
        form = CreateForm(
            request.POST if request.method == "POST" else None, initial={"template": request.GET.get("template", "")}
        )
        if request.method == "POST" and form.is_valid() and (workspace := self._create(request, form)):
            self.message_user(request, f"{workspace.name} was created and waits for its launch.", messages.SUCCESS)
            return HttpResponseRedirect(_address(workspace.pk))
        if form.is_bound:
            form.remind_of_secrets()
        context = {**self.admin_site.each_context(request), "opts": self.opts, "media": self.media, "form": form}
        return TemplateResponse(request, "workspaces/create.html", {**context, "title": "New workspace"})

    def _create(self, request: HttpRequest, form: CreateForm) -> Workspace | None:
        try:
            with transaction.atomic():
                workspace = creating.create(form.request(), now=database_now()).workspace
                tasks.enqueue_launch(workspace_id=workspace.pk, launch_id=workspace.launch_id)
                self.log_addition(request, workspace, "Created.")
        except creating.InvalidWorkspace as error:
            form.add_invalid(error)
            return None
        return workspace

    # --- Verbs -----------------------------------------------------------------------------------

    @admin.action(description="Restart", permissions=["change"])
    def restart_selected(self, request: HttpRequest, queryset: QuerySet[Workspace]) -> None:
        self._report(request, verbs.each(queryset.values_list("pk", flat=True), verbs.restart, past="restarted"))

    @admin.action(description="Remove …", permissions=["remove"])
    def remove_selected(self, request: HttpRequest, queryset: QuerySet[Workspace]) -> HttpResponse | None:
        selected = list(queryset.values_list("pk", flat=True))
        if request.POST.get("confirmed") == "yes":
            self._report(request, verbs.each(selected, verbs.remove, past="removed"))
            return None
        hidden = hidden_fields("remove_selected", selected, request.POST)
        return self._confirm_removal(request, selected, hidden=hidden, cancel=request.get_full_path())

    @action(description="Restart", url_path="restart", icon="restart_alt", permissions=["change"])
    def restart(self, request: HttpRequest, object_id: str) -> HttpResponse:
        workspace = self._asked_for(request, object_id)
        if workspace is None:
            return self._unknown(request, object_id)
        if request.method == "POST":
            self._report(request, verbs.each([workspace.pk], verbs.restart, past="restarted"))
            return HttpResponseRedirect(_address(workspace.pk))
        return self.confirmation(
            request,
            title=f"Restart {workspace.name}?",
            question="Its present launch is stopped, confirmed gone, and followed by a new one.",
            submit="Restart",
            cancel=_address(workspace.pk),
        )

    @action(
        description="Remove …",
        url_path="remove",
        icon="delete",
        permissions=["remove"],
        variant=ActionVariant.DANGER,
    )
    def remove(self, request: HttpRequest, object_id: str) -> HttpResponse:
        workspace = self._asked_for(request, object_id)
        if workspace is None:
            return self._unknown(request, object_id)
        if request.method == "POST":
            self._report(request, verbs.each([workspace.pk], verbs.remove, past="removed"))
            return HttpResponseRedirect(reverse("admin:workspaces_workspace_changelist"))
        return self._confirm_removal(request, [workspace.pk], hidden=[], cancel=_address(workspace.pk))

    def _asked_for(self, request: HttpRequest, object_id: str) -> Workspace | None:
        workspace = self.get_object(request, object_id)
        return workspace if isinstance(workspace, Workspace) else None

    def _unknown(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)

    def _confirm_removal(
        self, request: HttpRequest, selected: list[UUID], *, hidden: list[tuple[str, str]], cancel: str
    ) -> HttpResponse:
        everything = {key for each in selected for key in with_descendants(each)} | set(selected)
        names = dict(Workspace.objects.filter(pk__in=everything).order_by("name", "pk").values_list("pk", "name"))
        affected = [name for key, name in names.items() if key in set(selected)]
        along = [name for key, name in names.items() if key not in set(selected)]
        return self.confirmation(
            request,
            title=f"Remove {affected[0]}?" if len(affected) == 1 else f"Remove {len(affected)} workspaces?",
            question="They are stopped, and their secrets and files are deleted. Nothing leads back; "
            "their launches and events stay on record.",
            affected=affected[:_SHOWN_NAMES],
            more_affected=max(len(affected) - _SHOWN_NAMES, 0),
            along=along[:_SHOWN_NAMES],
            more_along=max(len(along) - _SHOWN_NAMES, 0),
            submit=f"Remove {len(names)}",
            is_danger=True,
            hidden=hidden,
            cancel=cancel,
        )

    def _report(self, request: HttpRequest, outcome: verbs.Outcome) -> None:
        level = messages.WARNING if outcome.refused else messages.SUCCESS
        self.message_user(request, outcome.sentence, level)
        for note in outcome.notes:
            self.message_user(request, note, messages.INFO)


def _address(workspace_id: UUID) -> str:
    return reverse("admin:workspaces_workspace_change", args=[workspace_id])


def _glance(workspace: Workspace) -> Overview:
    return overview(workspace, now=workspace.read_at, policy=present_policy())  # type: ignore[attr-defined]
