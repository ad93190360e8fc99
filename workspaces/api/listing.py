"""The list of workspaces: which, in what order, and how many at once."""

import base64
import json
from datetime import datetime
from difflib import get_close_matches
from http import HTTPStatus
from typing import Annotated, Literal
from uuid import UUID

from django.db.models import Q, TextField
from django.db.models.functions import Cast
from django.http import HttpRequest, HttpResponse
from ninja import Schema
from pydantic import Field

from agent.texts import mend_line
from workspaces.access.errors import RequestRefused
from workspaces.lifecycle.transitions import FailureCode, WorkspaceStatus
from workspaces.models import Workspace, WorkspaceQuerySet
from workspaces.provisioners.kinds import BackendKind
from workspaces.services.core.lineage import with_descendants

Text = Annotated[str, Field(max_length=200)]
Texts = Annotated[list[Text], Field(max_length=50)]


class Listed(Schema):
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
    include_removed: bool = False
    sort: Literal["name", "-name", "created_at", "-created_at", "runtime", "-runtime"] = "name"
    limit: int | None = Field(None, ge=1, le=1000)
    cursor: Annotated[str, Field(max_length=1000)] = Field("", description="from the header Link of the page before")


def ordered(wanted: Listed) -> WorkspaceQuerySet:
    """Return the workspaces that match, behind the cursor, in order. Raises RequestRefused for a wrong cursor."""
    rows = filtered(wanted).order_by(wanted.sort, "-id" if wanted.sort.startswith("-") else "id")
    return rows.filter(behind(wanted.cursor, sort=wanted.sort)) if wanted.cursor else rows


def page_of(
    rows: WorkspaceQuerySet, wanted: Listed, *, request: HttpRequest, response: HttpResponse
) -> list[Workspace]:
    """Return one page of the workspaces, or all without a limit. Give the response the address of the next one."""
    if wanted.limit is None:
        return list(rows)
    page = list(rows[: wanted.limit + 1])
    if len(page) > wanted.limit:
        page.pop()
        following = request.GET.copy()
        following["cursor"] = cursor_of(page[-1], sort=wanted.sort)
        response["Link"] = f'<{request.path}?{following.urlencode()}>; rel="next"'
    return page


def filtered(wanted: Listed) -> WorkspaceQuerySet:
    """Return the workspaces that match every filter."""
    rows = Workspace.objects.all()
    if wanted.status:
        rows = rows.filter(status__in=wanted.status)
    elif not wanted.include_removed:
        rows = rows.not_removed()
    for name in ("runtime", "template", "failure_code", "backend"):
        if values := getattr(wanted, name):
            rows = rows.filter(**{f"{name}__in": values})
    for label in wanted.label:
        name, equals, value = label.partition("=")
        rows = rows.filter(labels__contains={name: value}) if equals else rows.filter(labels__has_key=name)
    if wanted.subtree:
        rows = rows.filter(pk__in=with_descendants(wanted.subtree))
    if text := mend_line(wanted.q):
        found = Q(name__icontains=text) | Q(role__icontains=text) | Q(runtime__icontains=text)
        found |= Q(failure_message__icontains=text) | Q(labels_text__icontains=text)
        rows = rows.annotate(labels_text=Cast("labels", TextField())).filter(found)
    return rows


def check_names(request: HttpRequest) -> None:
    """Raise RequestRefused for a parameter that the list doesn't have: it would list what nobody asked for.

    Names that begin with an underscore only keep caches away.
    """
    unknown = [name for name in request.GET if name not in Listed.model_fields and not name.startswith("_")]
    if not unknown:
        return
    fields = {}
    for name in unknown[:20]:
        near = get_close_matches(name, Listed.model_fields, n=1)
        fields[name[:200]] = "There is no such filter." + (f" Did you mean {near[0]}?" if near else "")
    sentence = " ".join(f"{name}: {why}" for name, why in fields.items())
    raise RequestRefused(HTTPStatus.UNPROCESSABLE_ENTITY, sentence, code="validation_error", fields=fields)


def cursor_of(row: Workspace, *, sort: str) -> str:
    """Return the cursor of the page that follows a workspace in an order."""
    value = getattr(row, sort.removeprefix("-"))
    position = [sort, value.isoformat() if isinstance(value, datetime) else value, str(row.pk)]
    return base64.urlsafe_b64encode(json.dumps(position).encode()).decode().rstrip("=")


def behind(cursor: str, *, sort: str) -> Q:
    """Return the condition for what follows a cursor in its order. Raises RequestRefused for one of another order."""
    field, step = sort.removeprefix("-"), "lt" if sort.startswith("-") else "gt"
    try:
        of_sort, value, pk = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        last = datetime.fromisoformat(value) if field == "created_at" else str(value).replace("\0", "")
        last_id = UUID(pk)
    except (ValueError, TypeError, AttributeError):
        of_sort = None
    if of_sort != sort:
        why = "This is not a cursor of a list in this order. Take it from the header Link."
        raise RequestRefused(
            HTTPStatus.UNPROCESSABLE_ENTITY, f"cursor: {why}", code="validation_error", fields={"cursor": why}
        )
    # The first condition alone lets Postgres begin at the right place of an index.
    return Q(**{f"{field}__{step}e": last}) & (Q(**{f"{field}__{step}": last}) | Q(**{f"id__{step}": last_id}))
