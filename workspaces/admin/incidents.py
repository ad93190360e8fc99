"""Incidents in the admin, and the release of launches that one of them holds."""

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.safestring import SafeString
from unfold.decorators import action, display

from postgres.clock import database_now
from workspaces.admin.base import ReadOnlyAdmin
from workspaces.admin.display import display_time
from workspaces.models.incidents import Incident
from workspaces.services.watching import mass_lateness


class IncidentAdmin(ReadOnlyAdmin):
    """Incidents, newest first."""

    list_display = ["opened", "kind", "scope", "count", "state", "message"]
    ordering = ["-opened_at", "-pk"]
    actions_detail = ["let_go"]
    fields = ["kind", "scope", "opened", "state", "count", "message"]

    @display(description="Opened", ordering="opened_at")
    def opened(self, incident: Incident) -> SafeString | str:
        return display_time(incident.opened_at)

    @display(description="State")
    def state(self, incident: Incident) -> str:
        if incident.resolved_at:
            return f"Resolved at {incident.resolved_at:%H:%M:%S} UTC"
        return f"Released by {incident.let_go_by}" if incident.let_go_at else "Open"

    def has_let_go_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.has_perm("workspaces.change_incident"))

    def get_actions_detail(self, request: HttpRequest, object_id: int | str | None = None) -> Any:
        incident = self.get_object(request, str(object_id))
        is_holding = isinstance(incident, Incident) and incident.is_holding
        return super().get_actions_detail(request, object_id) if is_holding else []

    @action(description="Release …", url_path="let-go", icon="lock_open", permissions=["let_go"])
    def let_go(self, request: HttpRequest, object_id: str) -> HttpResponse:
        incident = self.get_object(request, object_id)
        if not isinstance(incident, Incident):
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)
        address = reverse("admin:workspaces_incident_change", args=[incident.pk])
        if request.method != "POST":
            return self.confirmation(
                request,
                title="Release the held launches?",
                question=f"The next sweep fails the launches of {incident.scope} that are still late. "
                "Release them if you know that they will not come online.",
                submit="Release",
                is_danger=True,
                cancel=address,
            )
        try:
            by = request.user.get_username()
            _, number = mass_lateness.release(incident_id=incident.pk, by=by, now=database_now())
        except mass_lateness.UnknownIncident as error:
            self.message_user(request, str(error), messages.WARNING)
        else:
            self.log_change(request, incident, "Released.")
            self.message_user(request, f"{number} launches were released.", messages.SUCCESS)
        return HttpResponseRedirect(address)
