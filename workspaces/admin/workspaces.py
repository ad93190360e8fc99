"""The operators' pages. They show and trigger; the services decide."""

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import DateTimeField, Func, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.decorators import display

from events.positions import last_position
from postgres.clock import database_now
from workspaces import tasks
from workspaces.admin.actions import OperationActions, change_url
from workspaces.admin.credentials import ApiKeyAdmin, SecretAdmin
from workspaces.admin.display import age_cell, deadline_cell, failure_cell, phase_cell, status_cell
from workspaces.admin.filters import RuntimeFilter, StatusFilter
from workspaces.admin.forms import CreateForm, WorkspaceForm
from workspaces.admin.incidents import IncidentAdmin
from workspaces.admin.launches import LaunchAdmin
from workspaces.admin.workspace_page import facts_of
from workspaces.deadlines.policy import current_policy
from workspaces.models import ApiKey, Launch, Secret, Workspace
from workspaces.models.incidents import Incident
from workspaces.overview import Overview, overview
from workspaces.services.launching import create

admin.site.index_template = "workspaces/index.html"
admin.site.index_title = "Overview"
admin.site.register(Launch, LaunchAdmin)
admin.site.register(Incident, IncidentAdmin)
admin.site.register(Secret, SecretAdmin)
admin.site.register(ApiKey, ApiKeyAdmin)


@admin.register(Workspace)
class WorkspaceAdmin(OperationActions):
    """Workspaces: what there is, how it is, and the verbs."""

    form = WorkspaceForm
    list_display = ["name_and_id", "status_label", "runtime_name", "age", "deadline", "phase_or_failure"]
    list_filter = [StatusFilter, RuntimeFilter]
    search_fields = ["name", "id"]
    search_help_text = "Name or id"
    ordering = ["name", "pk"]
    list_fullwidth = True
    change_form_template = "workspaces/workspace.html"
    fieldsets = [("Settings", {"fields": WorkspaceForm.Meta.fields})]

    # --- Permissions -----------------------------------------------------------------------------

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: a row is never deleted. Removing is a verb, see `has_remove_permission`."""
        return False

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

    @display(description="Runtime", ordering="runtime")
    def runtime_name(self, workspace: Workspace) -> SafeString:
        return format_html('<span class="slipway-runtime" title="{0}">{0}</span>', workspace.runtime)

    @display(description="Age", ordering="-created_at")
    def age(self, workspace: Workspace) -> SafeString | str:
        return age_cell(_glance(workspace))

    @display(description="Deadline", ordering="deadline_at")
    def deadline(self, workspace: Workspace) -> SafeString | str:
        return deadline_cell(_glance(workspace))

    @display(description="Phase or failure", ordering="failure_code")
    def phase_or_failure(self, workspace: Workspace) -> SafeString | str:
        # One column: a launch that is on its way has no failure, and one that failed has no phase.
        glance = _glance(workspace)
        return phase_cell(glance) or failure_cell(glance)

    # --- One workspace ---------------------------------------------------------------------------

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        position = last_position()
        workspace = self.get_object(request, object_id)
        facts = facts_of(workspace) if workspace and self.has_view_permission(request, workspace) else {}
        context = {**(extra_context or {}), **facts, "position": position, "show_save_and_add_another": False}
        return super().change_view(request, object_id, form_url, context)

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
            return HttpResponseRedirect(change_url(workspace.pk))
        if form.is_bound:
            form.remind_of_secrets()
        context = {**self.admin_site.each_context(request), "opts": self.opts, "media": self.media, "form": form}
        return TemplateResponse(request, "workspaces/create.html", {**context, "title": "New workspace"})

    def _create(self, request: HttpRequest, form: CreateForm) -> Workspace | None:
        try:
            with transaction.atomic():
                workspace = create.create(form.request(), now=database_now()).workspace
                tasks.enqueue_launch(workspace_id=workspace.pk, launch_id=workspace.launch_id)
                self.log_addition(request, workspace, "Created.")
        except create.InvalidWorkspace as error:
            form.add_invalid(error)
            return None
        return workspace


def _glance(workspace: Workspace) -> Overview:
    return overview(workspace, now=workspace.read_at, policy=current_policy())  # type: ignore[attr-defined]
