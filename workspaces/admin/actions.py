"""The operators' verbs in the admin: buttons on a workspace's page, actions on the list; what is grave asks first."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from unfold.decorators import action
from unfold.enums import ActionVariant

from workspaces import operations
from workspaces.admin.pages import StrictAdmin, hidden_fields
from workspaces.lifecycle.transitions import TRANSITIONS, Verb, WorkspaceStatus
from workspaces.models import Workspace
from workspaces.services.core.trees import with_descendants

_SHOWN_NAMES = 20


@dataclass(frozen=True, kw_only=True)
class AdminVerb:
    """A verb as the admin offers it. `along` introduces what goes along with a workspace; empty: nothing does."""

    verb: Verb
    apply: Callable[[UUID], operations.Done]
    # How it is called, and how once done: "Pause", "paused".
    label: str
    past: str
    question: str
    along: str = ""
    is_danger: bool = False
    # Asks first even for a single workspace chosen on the list.
    asks: bool = False

    @property
    def sources(self) -> frozenset[WorkspaceStatus]:
        """Return the statuses in which it is offered: those from which some row of the table lets it start."""
        return frozenset(status for row in TRANSITIONS if row.verb == self.verb for status in row.sources)


RESTART = AdminVerb(
    verb=Verb.RESTART,
    apply=operations.restart,
    label="Restart",
    past="restarted",
    question="Its present launch is stopped, confirmed gone, and followed by a new one.",
)
PAUSE = AdminVerb(
    verb=Verb.PAUSE,
    apply=operations.pause,
    label="Pause",
    past="paused",
    question="They are stopped until somebody resumes them. Their data stays.",
    along="Below them, and paused too:",
    asks=True,
)
RESUME = AdminVerb(
    verb=Verb.RESUME,
    apply=operations.resume,
    label="Resume",
    past="resumed",
    question="It is launched again, and below it what its pause took along.",
)
HIBERNATE = AdminVerb(
    verb=Verb.HIBERNATE,
    apply=operations.hibernate,
    label="Hibernate",
    past="going into hibernation",
    question="It is stopped until an operator or a request wakes it. Refused while it has active tasks.",
)
FORCE_HIBERNATION = AdminVerb(
    verb=Verb.HIBERNATE,
    apply=partial(operations.hibernate, forced=True),
    label="Hibernate by force",
    past="going into hibernation",
    question="They are stopped though they may have active tasks: what these have not saved is lost.",
    is_danger=True,
    asks=True,
)
WAKE = AdminVerb(
    verb=Verb.WAKE,
    apply=operations.wake,
    label="Wake",
    past="woken",
    question="It is launched again with the data it had.",
)
REMOVE = AdminVerb(
    verb=Verb.REMOVE,
    apply=operations.remove,
    label="Remove",
    past="removed",
    question="They are stopped, and their secrets and files are deleted. Nothing leads back; "
    "their launches and events stay on record.",
    along="Below them, and removed too:",
    is_danger=True,
    asks=True,
)


def cancel(request: HttpRequest) -> AdminVerb:
    """Return the way to cancel a launch, which tells who did it."""
    return AdminVerb(
        verb=Verb.FAIL,
        apply=partial(operations.cancel, by=request.user.get_username()),
        label="Cancel launch",
        past="cancelled",
        question="Its launch is failed and its process stopped. Restart it to launch it again.",
    )


class VerbActions(StrictAdmin):
    """The verbs. What they mean is the services' to judge: a refusal is shown as it is worded there."""

    actions = [
        *("restart_selected", "pause_selected", "resume_selected", "hibernate_selected"),
        *("force_hibernation_selected", "wake_selected", "cancel_selected", "remove_selected"),
    ]
    actions_detail = ["restart", "pause", "resume", "hibernate", "force_hibernation", "wake", "cancel", "remove"]

    def has_remove_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.has_perm("workspaces.delete_workspace"))

    def get_actions_detail(self, request: HttpRequest, object_id: int | str | None = None) -> Any:
        workspace = self.get_object(request, str(object_id))
        if workspace is None:
            return []
        offered = super().get_actions_detail(request, object_id)
        return [button for button in offered if workspace.status in _SOURCES[button.path]]

    # --- On the list -----------------------------------------------------------------------------

    @admin.action(description="Restart", permissions=["change"])
    def restart_selected(self, request: HttpRequest, queryset: QuerySet[Workspace]) -> HttpResponse | None:
        return self._of_selected(request, queryset, RESTART)

    @admin.action(description="Pause …", permissions=["change"])
    def pause_selected(self, request: HttpRequest, queryset: QuerySet[Workspace]) -> HttpResponse | None:
        return self._of_selected(request, queryset, PAUSE)

    @admin.action(description="Resume", permissions=["change"])
    def resume_selected(self, request: HttpRequest, queryset: QuerySet[Workspace]) -> HttpResponse | None:
        return self._of_selected(request, queryset, RESUME)

    @admin.action(description="Hibernate", permissions=["change"])
    def hibernate_selected(self, request: HttpRequest, queryset: QuerySet[Workspace]) -> HttpResponse | None:
        return self._of_selected(request, queryset, HIBERNATE)

    @admin.action(description="Hibernate by force …", permissions=["change"])
    def force_hibernation_selected(self, request: HttpRequest, queryset: QuerySet[Workspace]) -> HttpResponse | None:
        return self._of_selected(request, queryset, FORCE_HIBERNATION)

    @admin.action(description="Wake", permissions=["change"])
    def wake_selected(self, request: HttpRequest, queryset: QuerySet[Workspace]) -> HttpResponse | None:
        return self._of_selected(request, queryset, WAKE)

    @admin.action(description="Cancel launch", permissions=["change"])
    def cancel_selected(self, request: HttpRequest, queryset: QuerySet[Workspace]) -> HttpResponse | None:
        return self._of_selected(request, queryset, cancel(request))

    @admin.action(description="Remove …", permissions=["remove"])
    def remove_selected(self, request: HttpRequest, queryset: QuerySet[Workspace]) -> HttpResponse | None:
        return self._of_selected(request, queryset, REMOVE)

    # --- On a workspace's page -------------------------------------------------------------------

    @action(description="Restart", url_path="restart", icon="restart_alt", permissions=["change"])
    def restart(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._of_one(request, object_id, RESTART)

    @action(description="Pause …", url_path="pause", icon="pause", permissions=["change"])
    def pause(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._of_one(request, object_id, PAUSE)

    @action(description="Resume", url_path="resume", icon="play_arrow", permissions=["change"])
    def resume(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._of_one(request, object_id, RESUME)

    @action(description="Hibernate", url_path="hibernate", icon="bedtime", permissions=["change"])
    def hibernate(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._of_one(request, object_id, HIBERNATE)

    @action(description="Hibernate by force …", url_path="force-hibernation", icon="bedtime", permissions=["change"])
    def force_hibernation(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._of_one(request, object_id, FORCE_HIBERNATION)

    @action(description="Wake", url_path="wake", icon="wb_sunny", permissions=["change"])
    def wake(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._of_one(request, object_id, WAKE)

    @action(description="Cancel launch", url_path="cancel", icon="cancel", permissions=["change"])
    def cancel(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._of_one(request, object_id, cancel(request))

    @action(
        description="Remove …",
        url_path="remove",
        icon="delete",
        permissions=["remove"],
        variant=ActionVariant.DANGER,
    )
    def remove(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._of_one(request, object_id, REMOVE)

    # --- What they share -------------------------------------------------------------------------

    def _of_selected(self, request: HttpRequest, queryset: QuerySet[Workspace], way: AdminVerb) -> HttpResponse | None:
        selected = list(queryset.values_list("pk", flat=True))
        if way.asks and request.POST.get("confirmed") != "yes":
            hidden = hidden_fields(request.POST.get("action", ""), selected, request.POST)
            return self._ask(request, selected, way, hidden=hidden, cancel=request.get_full_path())
        self._report(request, operations.each(selected, way.apply, past=way.past))
        return None

    def _of_one(self, request: HttpRequest, object_id: str, way: AdminVerb) -> HttpResponse:
        workspace = self.get_object(request, object_id)
        if not isinstance(workspace, Workspace):
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)
        if request.method == "POST":
            self._report(request, operations.each([workspace.pk], way.apply, past=way.past))
            return HttpResponseRedirect(_list_address() if way is REMOVE else address(workspace.pk))
        return self._ask(request, [workspace.pk], way, hidden=[], cancel=address(workspace.pk))

    def _ask(
        self, request: HttpRequest, selected: list[UUID], way: AdminVerb, *, hidden: list[tuple[str, str]], cancel: str
    ) -> HttpResponse:
        affected, along = _names(selected, way)
        return self.confirmation(
            request,
            title=f"{way.label} {affected[0]}?" if len(affected) == 1 else f"{way.label} {len(affected)} workspaces?",
            question=way.question,
            affected=affected[:_SHOWN_NAMES] if way.asks else [],
            more_affected=max(len(affected) - _SHOWN_NAMES, 0),
            along_label=way.along,
            along=along[:_SHOWN_NAMES],
            more_along=max(len(along) - _SHOWN_NAMES, 0),
            submit=f"{way.label} {len(affected) + len(along)}" if way.asks else way.label,
            is_danger=way.is_danger,
            hidden=hidden,
            cancel=cancel,
        )

    def _report(self, request: HttpRequest, outcome: operations.Outcome) -> None:
        level = messages.WARNING if outcome.refused else messages.SUCCESS
        self.message_user(request, outcome.sentence, level)
        for note in outcome.notes:
            self.message_user(request, note, messages.INFO)


def _names(selected: Iterable[UUID], way: AdminVerb) -> tuple[list[str], list[str]]:
    """Return the names of those selected, and of those that would go along."""
    asked_for = set(selected)
    below = {key for each in asked_for for key in with_descendants(each)} - asked_for if way.along else set()
    rows = list(Workspace.objects.filter(pk__in=asked_for | below).only("name", "status").order_by("name", "pk"))
    along = [row.name for row in rows if row.pk not in asked_for and row.status in way.sources]
    return [row.name for row in rows if row.pk in asked_for], along


def address(workspace_id: UUID) -> str:
    """Return a workspace's page."""
    return reverse("admin:workspaces_workspace_change", args=[workspace_id])


def _list_address() -> str:
    return reverse("admin:workspaces_workspace_changelist")


_SOURCES = {
    "restart": RESTART.sources,
    "pause": PAUSE.sources,
    "resume": RESUME.sources,
    "hibernate": HIBERNATE.sources,
    "force-hibernation": FORCE_HIBERNATION.sources,
    "wake": WAKE.sources,
    "cancel": frozenset({WorkspaceStatus.PROVISIONING}),
    "remove": REMOVE.sources,
}
