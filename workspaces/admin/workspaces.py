"""Workspaces in the admin, and the registration of all admins of this app."""

from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import DateTimeField, Func, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.decorators import display

from events.admin.sent_forms import SentBefore, check_not_sent, claim, note_result
from events.positions import last_position
from postgres.clock import database_now
from workspaces import tasks
from workspaces.admin.actions import OperationActions, change_url
from workspaces.admin.credentials import ApiKeyAdmin, SecretAdmin, SecretSetAdmin
from workspaces.admin.display import (
    display_age,
    display_deadline,
    display_failure,
    display_loop,
    display_phase,
    display_restart,
    display_status,
)
from workspaces.admin.filters import NeedsRestartFilter, RuntimeFilter, StatusFilter
from workspaces.admin.forms import CreateForm, WorkspaceForm
from workspaces.admin.incidents import IncidentAdmin
from workspaces.admin.launches import LaunchAdmin
from workspaces.admin.workspace_page import preflight_panel, workspace_context
from workspaces.configuration.reports import report_on_workspace
from workspaces.deadlines.policy import current_policy
from workspaces.models import ApiKey, Launch, Secret, SecretSet, Workspace
from workspaces.models.incidents import Incident
from workspaces.overview import Overview, overview
from workspaces.services.core import fields
from workspaces.services.core.fields import InvalidWorkspace
from workspaces.services.core.transition import TransitionRefused
from workspaces.services.launching import create

admin.site.index_template = "workspaces/index.html"
admin.site.index_title = "Overview"
admin.site.register(Launch, LaunchAdmin)
admin.site.register(Incident, IncidentAdmin)
admin.site.register(Secret, SecretAdmin)
admin.site.register(SecretSet, SecretSetAdmin)
admin.site.register(ApiKey, ApiKeyAdmin)


@admin.register(Workspace)
class WorkspaceAdmin(OperationActions):
    """The list of workspaces, a page for each, and the form that creates one."""

    form = WorkspaceForm
    refusals = (InvalidWorkspace, TransitionRefused)
    list_display = ["name_and_id", "status_label", "runtime_name", "age", "deadline", "phase_or_failure"]
    list_filter = [StatusFilter, RuntimeFilter, NeedsRestartFilter]
    search_fields = ["name", "id"]
    search_help_text = "Name or ID"
    ordering = ["name", "pk"]
    list_fullwidth = True
    change_form_template = "workspaces/workspace.html"
    fieldsets = [("Settings", {"fields": WorkspaceForm.Meta.fields})]

    # --- Permissions -----------------------------------------------------------------------------

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: rows are never deleted. `has_remove_permission` is about the operation that removes a workspace."""
        return False

    # --- The list --------------------------------------------------------------------------------

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        # Read before the rows, so that the stream repeats what happens in between.
        return super().changelist_view(request, {**(extra_context or {}), "position": last_position()})

    def get_queryset(self, request: HttpRequest) -> QuerySet[Workspace]:
        # The database's time comes with each row, so that no column has to query it.
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
        return display_status(workspace.status)

    @display(description="Runtime", ordering="runtime")
    def runtime_name(self, workspace: Workspace) -> SafeString:
        return format_html('<span class="slipway-runtime" title="{0}">{0}</span>', workspace.runtime)

    @display(description="Age", ordering="-created_at")
    def age(self, workspace: Workspace) -> SafeString | str:
        return display_age(_overview(workspace))

    @display(description="Deadline", ordering="deadline_at")
    def deadline(self, workspace: Workspace) -> SafeString | str:
        return display_deadline(_overview(workspace))

    @display(description="Phase or failure", ordering="failure_code")
    def phase_or_failure(self, workspace: Workspace) -> SafeString | str:
        # They share a column, because a launch in progress has no failure, and a failed one has no phase.
        summary = _overview(workspace)
        return (
            summary.error
            or display_loop(workspace)
            or display_phase(summary)
            or display_failure(workspace)
            or display_restart(workspace)
        )

    # --- One workspace ---------------------------------------------------------------------------

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        position = last_position()
        workspace = self.get_object(request, object_id)
        page: dict[str, Any] = {}
        if workspace and self.has_view_permission(request, workspace):
            page = workspace_context(workspace, sees_secrets=request.user.has_perm("workspaces.view_secret"))
        context = {**(extra_context or {}), **page, "position": position, "show_save_and_add_another": False}
        return super().change_view(request, object_id, form_url, context)

    def get_urls(self) -> list[URLPattern]:
        address = path(
            "<uuid:workspace_id>/preflight/",
            self.admin_site.admin_view(self.preflight_view),
            name="workspaces_workspace_preflight",
        )
        return [address, *super().get_urls()]

    def preflight_view(self, request: HttpRequest, workspace_id: UUID) -> HttpResponse:
        """Show what a preflight of the workspace's next launch finds, its backend and the launch workers included."""
        workspace = self.get_object(request, str(workspace_id))
        if workspace is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, str(workspace_id))
        if not self.has_view_permission(request, workspace):
            raise PermissionDenied
        sees_secrets = request.user.has_perm("workspaces.view_secret")
        panel = preflight_panel(workspace, sees_secrets=sees_secrets, asks_backend=True)
        context = {**self.admin_site.each_context(request), "opts": self.opts, "media": self.media, **panel}
        title = f"Preflight of {workspace.name}"
        return TemplateResponse(
            request, "workspaces/preflight.html", {**context, "workspace": workspace, "title": title}
        )

    def save_model(self, request: HttpRequest, obj: Workspace, form: WorkspaceForm, change: Any) -> None:
        changed = list(form.changed_data)
        if "secret_sets" in changed:
            changed.remove("secret_sets")
            changes = {"secret_sets": obj.secret_sets}
            fields.edit(obj.pk, changes, by=request.user.get_username())
        # Other fields may have been written since the page was rendered.
        obj.save(update_fields=changed)

    # --- Create ----------------------------------------------------------------------------------

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if not self.has_add_permission(request):
            raise PermissionDenied
        data = request.POST if request.method == "POST" else None
        form = CreateForm(data, initial={"template": request.GET.get("template", "")})
        if "_check" in request.POST:
            return self.answer_check(request, form)
        if form.is_bound and form.is_valid():
            try:
                check_not_sent(request)
                created = self.create_workspace(request, form)
            except SentBefore as repeated:
                return self.answer_again(request, repeated)
            except InvalidWorkspace as error:
                form.add_invalid(error)
            else:
                self.tell_created(request, created.workspace)
                for warning in created.warnings:
                    self.message_user(request, str(warning), messages.WARNING)
                return HttpResponseRedirect(change_url(created.workspace.pk))
        return self.answer_form(request, form)

    def tell_created(self, request: HttpRequest, workspace: Workspace) -> None:
        """Say that a workspace was created, and if its launch can't start, why."""
        # By the time the page is shown, a worker may have refused the launch for the same reason, or not yet.
        problems = report_on_workspace(workspace, asks_backend=False).report.problems
        if problems:
            text = f"{workspace.name} was created, but its launch fails: {' '.join(map(str, problems))}"
            self.message_user(request, text, messages.ERROR)
        else:
            text = f"{workspace.name} was created and is waiting for its launch."
            self.message_user(request, text, messages.SUCCESS)

    def answer_check(self, request: HttpRequest, form: CreateForm) -> HttpResponse:
        """Return the form with what a preflight says of it. Nothing is created."""
        form.full_clean()
        return self.answer_form(request, form, is_check=True, report=form.report(), asked_backend=True)

    def answer_form(self, request: HttpRequest, form: CreateForm, **context: Any) -> HttpResponse:
        """Return the page with the form."""
        if form.is_bound:
            form.add_secrets_reminder()
        context |= {"opts": self.opts, "media": self.media, "form": form, "title": "New workspace"}
        return TemplateResponse(request, "workspaces/create.html", {**self.admin_site.each_context(request), **context})

    def create_workspace(self, request: HttpRequest, form: CreateForm) -> create.Created:
        """Create the workspace and enqueue its launch. Raises InvalidWorkspace or SentBefore."""
        with transaction.atomic():
            claim(request)
            created = create.create(form.request(by=request.user.get_username()), now=database_now())
            workspace = created.workspace
            tasks.enqueue_launches(workspace.backend, now=database_now())
            self.log_addition(request, workspace, "Created.")
            note_result(request, change_url(workspace.pk))
        return created


def _overview(workspace: Workspace) -> Overview:
    return overview(workspace, now=workspace.read_at, policy=current_policy())  # type: ignore[attr-defined]
