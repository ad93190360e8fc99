"""The fields of a workspace that operators change, its budget, and its state in short."""

import logging
from typing import Annotated, Any, NotRequired
from uuid import UUID

from django.db import transaction
from django.http import HttpRequest, HttpResponse
from typing_extensions import TypedDict

from postgres.clock import database_now
from postgres.enum_text import one_of
from workspaces import operations
from workspaces.access.authentication import Operator
from workspaces.api.etags import check_of, etag_of, honouring_if_match
from workspaces.api.router import access, router
from workspaces.api.schemas import BudgetIn, ChangesIn, DoneOut
from workspaces.lifecycle.transitions import BudgetAction, WorkspaceStatus
from workspaces.models import ApiScope, Workspace
from workspaces.services.core import fields
from workspaces.services.core.transition import UnknownWorkspace
from workspaces.services.watching.budgets import month_of, spent_in

logger = logging.getLogger(__name__)

NOT_ENFORCED = (
    "The budget was stored, but Slipway could not check whether it is spent; the error was logged. "
    "The agent's next heartbeat that says what was spent repeats the check."
)


class BudgetOut(TypedDict):
    """A budget and what was spent of it this month, in cents.

    `warnings` are there if the budget was stored, but not yet held against what is spent.
    """

    budget_limit: int | None
    budget_used: int
    monthly_spend: int
    budget_remaining: int | None
    budget_action: Annotated[str, one_of(BudgetAction)]
    warnings: NotRequired[list[str]]


class StateOut(TypedDict):
    """The status of a workspace, and whether it is paused or removed."""

    workspace_id: UUID
    status: Annotated[str, one_of(WorkspaceStatus)]
    paused: bool
    deleted: bool


@router.patch("/{workspace_id}", auth=access("change", ApiScope.OPERATE))
@honouring_if_match
def change_workspace(request: HttpRequest, response: HttpResponse, workspace_id: UUID, body: ChangesIn) -> DoneOut:
    """Change fields of a workspace. With If-Match only if its ETag is still that one; otherwise 412."""
    edit(request, response, workspace_id, body.model_dump(exclude_unset=True))
    return {"status": "updated"}


@router.get("/{workspace_id}/budget", auth=access("view", ApiScope.READ, own_agent=True))
def get_budget(request: HttpRequest, response: HttpResponse, workspace_id: UUID) -> BudgetOut:
    """Show a workspace's budget and what it has spent of it this month, in cents.

    Without a budget `budget_limit` and `budget_remaining` are null; what is left of one that is exceeded is negative.
    """
    workspace = find(workspace_id)
    response["ETag"] = etag_of(workspace)
    return budget_json(workspace)


@router.patch("/{workspace_id}/budget", auth=access("change", ApiScope.OPERATE))
@honouring_if_match
def change_budget(request: HttpRequest, response: HttpResponse, workspace_id: UUID, body: BudgetIn) -> BudgetOut:
    """Change a workspace's budget in cents a month, null for none, and what happens when it is spent.

    `warnings`, if there are any, say that the budget was stored but could not be enforced yet.
    """
    with transaction.atomic():
        edit(request, response, workspace_id, body.model_dump(exclude_unset=True))
        answer = budget_json(find(workspace_id))
    is_enforced = operations.enforce_budget(workspace_id)
    try:
        # It may be paused now.
        response["ETag"] = etag_of(find(workspace_id))
    except Exception:
        # The change is stored. With the ETag that it had then, nothing that came later can be overwritten.
        logger.exception("A changed budget could not be read again", extra={"workspace_id": workspace_id})
    return answer if is_enforced else {**answer, "warnings": [NOT_ENFORCED]}


@router.get("/{workspace_id}/state", auth=access("view", ApiScope.READ, own_agent=True))
def get_state(request: HttpRequest, workspace_id: UUID) -> StateOut:
    """Show a workspace's status, also that of a removed one."""
    workspace = find(workspace_id)
    return {
        "workspace_id": workspace.pk,
        "status": workspace.status,
        "paused": workspace.status == WorkspaceStatus.PAUSED,
        "deleted": workspace.status == WorkspaceStatus.REMOVED,
    }


def find(workspace_id: UUID) -> Workspace:
    """Return a workspace with its heartbeat, also a removed one. Raises UnknownWorkspace."""
    if workspace := Workspace.objects.select_related("heartbeat").filter(pk=workspace_id).first():
        return workspace
    raise UnknownWorkspace(workspace_id)


def edit(request: HttpRequest, response: HttpResponse, workspace_id: UUID, changes: dict[str, Any]) -> Workspace:
    """Change fields if the request's If-Match allows it, and give the response the new ETag."""
    operator: Operator = request.auth  # type: ignore[attr-defined]
    workspace = fields.edit(workspace_id, changes, by=operator.name, check=check_of(request))
    response["ETag"] = etag_of(workspace)
    return workspace


def budget_json(workspace: Workspace) -> BudgetOut:
    """Return the budget in cents. All fields are always there."""
    spent, limit = spent_in(month_of(database_now()), workspace.pk), workspace.budget_limit
    return {
        "budget_limit": limit,
        "budget_used": spent,
        "monthly_spend": spent,
        "budget_remaining": None if limit is None else limit - spent,
        "budget_action": workspace.budget_action,
    }
