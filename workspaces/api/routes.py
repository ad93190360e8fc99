"""The operators' HTTP API for workspaces. Routes of operations are made from their table."""

import inspect
import json
from dataclasses import asdict
from http import HTTPStatus
from typing import Any
from uuid import UUID

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from ninja import Query, Router, Status
from ninja.responses import NinjaJSONEncoder

from events.positions import last_position
from postgres.clock import database_now
from workspaces.access.authentication import Operator
from workspaces.access.errors import RequestRefused
from workspaces.api.etags import etag_of
from workspaces.api.idempotency import once
from workspaces.api.listing import Listed, filtered
from workspaces.api.pages import in_order, page_of
from workspaces.api.router import access, router
from workspaces.api.schemas import CreateIn
from workspaces.api.serialize import WorkspaceOut, select_for_json, workspace_json
from workspaces.configuration import catalog
from workspaces.deadlines.policy import current_policy
from workspaces.lifecycle.transitions import Phase, WorkspaceStatus
from workspaces.models import ApiScope, Workspace
from workspaces.operations import OPERATIONS, Operation, OperationResult, run_one
from workspaces.services.core.transition import UnknownWorkspace
from workspaces.services.launching import queue_limits
from workspaces.services.launching.create import create
from workspaces.tasks import enqueue_launches

templates = Router(tags=["templates"])


@router.get("", response=list[WorkspaceOut], auth=access("view", ApiScope.READ))
def list_workspaces(request: HttpRequest, response: HttpResponse, wanted: Query[Listed]) -> HttpResponse:
    """List workspaces. X-Position is the event position of the list, to continue from with a stream."""
    response["X-Position"] = str(last_position())
    rows = in_order(select_for_json(filtered(wanted)), wanted)
    page = page_of(rows, wanted, request=request, response=response)
    policy, positions = current_policy(), queue_limits.queue_positions()
    listed = [workspace_json(row, policy=policy, positions=positions) for row in page]
    # Written here, since Ninja would check each row against the schema first, which takes longer than all the rest.
    response.content = json.dumps(listed, cls=NinjaJSONEncoder, separators=(",", ":"))
    return response


@router.get("/{workspace_id}", response=WorkspaceOut, auth=access("view", ApiScope.READ, own_agent=True))
def get_workspace(
    request: HttpRequest, response: HttpResponse, workspace_id: UUID, include_removed: bool = False
) -> dict[str, Any]:
    """Show one workspace. A removed one needs `include_removed`."""
    response["X-Position"] = str(last_position())
    row = select_for_json(Workspace.objects.filter(pk=workspace_id)).first()
    if row is None:
        raise UnknownWorkspace(workspace_id)
    if row.status == WorkspaceStatus.REMOVED and not include_removed:
        raise RequestRefused(HTTPStatus.GONE, f"{row.name} was removed.", code="removed")
    response["ETag"] = etag_of(row)
    positions = queue_limits.queue_positions() if row.phase == Phase.QUEUED else {}
    return workspace_json(row, policy=current_policy(), positions=positions)


@router.post("", auth=access("add", ApiScope.OPERATE), response={HTTPStatus.CREATED: dict[str, Any]})
def create_workspace(request: HttpRequest, response: HttpResponse, body: CreateIn) -> Status:
    """Create a workspace and launch it, or create an external one, which its owner runs and connects.

    `warnings`, if there are any, say what is probably not meant in its configuration. A request that is repeated with
    the same Idempotency-Key creates nothing.
    """
    operator: Operator = request.auth  # type: ignore[attr-defined]
    return once(request, response, lambda: _create(body, by=operator.name))


@templates.get("", auth=access("view", ApiScope.READ))
def list_templates(request: HttpRequest) -> list[dict[str, Any]]:
    """List the catalog's templates by name. `problem` says why one can't be launched; it is empty for the others."""
    return [asdict(template) for template in catalog.list_templates()]


def add_route(operation: Operation) -> None:
    """Add the route of an operation, with its options as query parameters."""

    def view(request: HttpRequest, response: HttpResponse, workspace_id: UUID, **options: bool) -> Status:
        operator: Operator = request.auth  # type: ignore[attr-defined]

        def act() -> Status:
            result = run_one(operation, workspace_id, by=operator.name, options=options)
            return Status(HTTPStatus.OK, _operation_answer(operation, result))

        return once(request, response, act)

    view.__name__ = f"{operation.name}_workspace"
    # What Ninja reads the parameters from.
    signature = inspect.signature(view)
    parameters = [each for each in signature.parameters.values() if each.kind != inspect.Parameter.VAR_KEYWORD]
    parameters += [
        inspect.Parameter(option.name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=bool)
        for option in operation.options
    ]
    view.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    router.api_operation(
        [operation.method],
        operation.api_path,
        auth=access(operation.permission, ApiScope.OPERATE),
        summary=operation.label,
        description=operation.help,
    )(view)


for _operation in OPERATIONS:
    if not _operation.is_admin_only:
        add_route(_operation)


def _create(body: CreateIn, *, by: str) -> Status:
    now = database_now()
    created = create(body.request(by=by), now=now)
    workspace = created.workspace
    answer = _id_and_status(workspace) | ({"warnings": created.warnings} if created.warnings else {})
    if workspace.is_external:
        return Status(HTTPStatus.CREATED, answer | _connection(workspace, created.token))
    enqueue_launches(workspace.backend, now=now)
    return Status(HTTPStatus.CREATED, answer)


def _operation_answer(operation: Operation, result: OperationResult) -> dict[str, Any]:
    workspace, descendants = result.workspace, len(result.changed) - 1
    if operation.method == "DELETE":
        return {"status": workspace.status, "cascade_deleted": descendants}
    answer = _id_and_status(workspace)
    if operation.cascades:
        skipped = [{"id": row.pk, "name": row.name} for row in result.skipped]
        answer |= {"went_along": descendants, "left": skipped}
    if result.token:
        answer |= _connection(workspace, result.token)
    return answer


def _id_and_status(workspace: Workspace) -> dict[str, Any]:
    return {"id": workspace.pk, "status": workspace.status}


def _connection(workspace: Workspace, token: str) -> dict[str, Any]:
    """Return what the agent of an external workspace needs. The token is shown only once."""
    platform = settings.PLATFORM_URL
    return {
        "connection": {
            "workspace_id": workspace.pk,
            "platform_url": platform,
            "auth_token": token,
            "registry_endpoint": f"{platform}/registry/register",
            "heartbeat_endpoint": f"{platform}/registry/heartbeat",
        }
    }
