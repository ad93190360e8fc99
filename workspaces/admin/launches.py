"""Launches in the admin, and the operator's declaration that a launch is gone."""

from typing import Any

from django.contrib import messages
from django.db.models import QuerySet, Value
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.decorators import action, display

from postgres.clock import database_now
from workspaces.admin.base import ReadOnlyAdmin
from workspaces.admin.display import (
    display_evidence,
    display_launch_phases,
    display_teardown,
    display_time,
    display_warnings,
)
from workspaces.models import Launch
from workspaces.services.stopping.teardown import confirm_stopped


class LaunchAdmin(ReadOnlyAdmin):
    """Launches, newest first."""

    list_display = ["began", "workspace_name", "runtime", "outcome", "phases", "evidence_line", "teardown"]
    search_fields = ["id", "workspace__name", "workspace__id"]
    search_help_text = "ID, or the workspace's name or ID"
    ordering = ["-queued_at", "pk"]
    actions_detail = ["declare_gone"]
    fields = [
        "id",
        "workspace_link",
        "backend",
        "runtime",
        "outcome",
        "failure_code",
        "began",
        "phases",
        "boot_step",
        "warnings_line",
        "evidence_line",
        "teardown",
        "teardown_attempts",
        "teardown_error",
    ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Launch]:
        # Its displays don't get the request.
        sees_secrets = Value(request.user.has_perm("workspaces.view_secret"))
        return super().get_queryset(request).select_related("workspace").annotate(sees_secrets=sees_secrets)

    def has_declare_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.has_perm("workspaces.change_launch"))

    @display(description="Began", ordering="queued_at")
    def began(self, launch: Launch) -> SafeString | str:
        return display_time(launch.queued_at)

    @display(description="Workspace")
    def workspace_name(self, launch: Launch) -> str:
        return launch.workspace.name

    @display(description="Workspace")
    def workspace_link(self, launch: Launch) -> SafeString:
        address = reverse("admin:workspaces_workspace_change", args=[launch.workspace_id])
        return format_html('<a href="{}" class="slipway-link">{}</a>', address, launch.workspace.name)

    @display(description="Phases")
    def phases(self, launch: Launch) -> str:
        return display_launch_phases(launch)

    @display(description="Last boot step")
    def boot_step(self, launch: Launch) -> str:
        return " · ".join(filter(None, (launch.last_step, launch.last_step_detail)))

    @display(description="Warnings of its preflight")
    def warnings_line(self, launch: Launch) -> str:
        return display_warnings(launch, sees_secrets=getattr(launch, "sees_secrets", False))

    @display(description="Last report")
    def evidence_line(self, launch: Launch) -> str:
        return display_evidence(launch)

    @display(description="Process")
    def teardown(self, launch: Launch) -> str:
        return display_teardown(launch)

    def get_actions_detail(self, request: HttpRequest, object_id: int | str | None = None) -> Any:
        launch = self.get_object(request, str(object_id))
        is_stopping = launch is not None and launch.teardown_at is not None and launch.torn_down_at is None
        return super().get_actions_detail(request, object_id) if is_stopping else []

    @action(description="Declare gone …", url_path="declare-gone", icon="help_center", permissions=["declare"])
    def declare_gone(self, request: HttpRequest, object_id: str) -> HttpResponse:
        launch = self.get_object(request, object_id)
        if not isinstance(launch, Launch):
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)
        address = reverse("admin:workspaces_launch_change", args=[launch.pk])
        if request.method != "POST":
            return self.confirmation(
                request,
                title="Declare this launch gone?",
                question=f"Slipway could not confirm that the process of {launch.workspace.name} has stopped. "
                "Declare it gone only if you know that it has: if it still runs, a restart starts a second one.",
                submit="Declare gone",
                is_danger=True,
                cancel=address,
            )
        if confirm_stopped(launch_id=launch.pk, now=database_now()):
            self.log_change(request, launch, "Declared gone.")
            self.message_user(request, "1 launch was declared gone.", messages.SUCCESS)
        else:
            text = "0 launches were changed: this one is gone already, or is not to be stopped."
            self.message_user(request, text, messages.WARNING)
        return HttpResponseRedirect(address)
