"""The list of workspaces: which, in what order, and how many at once."""

from typing import Literal
from uuid import UUID

from django.db.models import Q, TextField
from django.db.models.functions import Cast
from pydantic import Field

from agent.texts import mend_line
from events.pages import Paged
from events.parameters import Text, Texts
from workspaces.lifecycle.transitions import FailureCode, WorkspaceStatus
from workspaces.models import Workspace, WorkspaceQuerySet
from workspaces.provisioners.kinds import BackendKind
from workspaces.services.core.lineage import with_descendants


class Listed(Paged):
    """Which workspaces to list. Of a filter that is given several times, one suffices; all filters have to match.

    Without `limit` all of them are listed at once; with it the header Link has the address of the next page.
    """

    status: list[WorkspaceStatus] = Field([], max_length=20)
    runtime: Texts = []
    template: Texts = []
    failure_code: list[FailureCode] = Field([], max_length=50)
    backend: list[BackendKind] = Field([], max_length=10)
    label: Texts = Field([], description="`team=search`, or `team` for any value; each one has to match")
    subtree: UUID | None = Field(None, description="this workspace and its descendants")
    q: Text = Field("", description="a text in the name, role, runtime, failure or labels")
    secret_set: Texts = Field([], description="the name of a set of secrets that they share")
    needs_restart: bool | None = Field(None, description="whether a launch runs with secrets that changed since")
    include_removed: bool = False
    sort: Literal["name", "-name", "created_at", "-created_at", "runtime", "-runtime"] = "name"


def filtered(wanted: Listed) -> WorkspaceQuerySet:
    """Return the workspaces that match every filter."""
    rows = in_condition(wanted)
    for name in ("runtime", "template", "failure_code", "backend"):
        if values := getattr(wanted, name):
            rows = rows.filter(**{f"{name}__in": values})
    for label in wanted.label:
        name, equals, value = label.partition("=")
        rows = rows.filter(labels__contains={name: value}) if equals else rows.filter(labels__has_key=name)
    if wanted.secret_set:
        rows = rows.filter(secret_sets__overlap=wanted.secret_set)
    if wanted.subtree:
        rows = rows.filter(pk__in=with_descendants(wanted.subtree))
    if text := mend_line(wanted.q):
        found = Q(name__icontains=text) | Q(role__icontains=text) | Q(runtime__icontains=text)
        found |= Q(failure_message__icontains=text) | Q(labels_text__icontains=text)
        rows = rows.annotate(labels_text=Cast("labels", TextField())).filter(found)
    return rows


def in_condition(wanted: Listed) -> WorkspaceQuerySet:
    """Return the workspaces with one of the statuses, and those that need a restart or don't."""
    rows = Workspace.objects.all()
    if wanted.status:
        rows = rows.filter(status__in=wanted.status)
    elif not wanted.include_removed:
        rows = rows.not_removed()
    if wanted.needs_restart is None:
        return rows
    needing = Workspace.objects.needing_restart().values("pk")
    return rows.filter(pk__in=needing) if wanted.needs_restart else rows.exclude(pk__in=needing)
