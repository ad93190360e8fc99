"""The operators' HTTP API for workspaces. Routes of operations are made from their table."""

import inspect
from http import HTTPStatus
from typing import Annotated, NotRequired
from uuid import UUID

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from ninja import Query, Router, Status
from typing_extensions import TypedDict

from events.pages import in_order, page_of
from events.positions import last_position
from postgres.clock import database_now
from postgres.enum_text import one_of
from workspaces.access.authentication import Operator
from workspaces.access.errors import RequestRefused
from workspaces.api.etags import check_of, etag_of, honouring_if_match
from workspaces.api.idempotency import once
from workspaces.api.listing import Listed, filtered
from workspaces.api.router import access, answering, router
from workspaces.api.schemas import CreateIn, WorkspaceNameOut
from workspaces.api.serialize import WorkspaceOut, select_for_json, workspace_json
from workspaces.configuration import listed_templates
from workspaces.configuration.diagnostics import DiagnosticOut
from workspaces.deadlines.policy import current_policy
from workspaces.lifecycle.transitions import Phase, WorkspaceStatus
from workspaces.models import ApiScope, Workspace
from workspaces.operations import OPERATIONS, Operation, OperationResult, run_one
from workspaces.services.core.transition import UnknownWorkspace
from workspaces.services.launching import queue_limits
from workspaces.services.launching.create import create
from workspaces.tasks import enqueue_launches

templates = Router(tags=["templates"])


class TemplateOut(TypedDict):
    """A template of the catalog. `problem` says why it can't be launched, if so."""

    id: str
    name: str
    runtime: str
    provision_timeout_seconds: int | None
    required_env: list[str]
    provision_timeout_override: bool
    problem: str


class ConnectionOut(TypedDict):
    """What the agent of an external workspace needs. The token is shown only once."""

    workspace_id: UUID
    platform_url: str
    auth_token: str
    registry_endpoint: str
    heartbeat_endpoint: str


class OperatedOut(TypedDict):
    """A workspace and its status after an operation. `connection` is there if an external one got a new token."""

    id: UUID
    status: Annotated[str, one_of(WorkspaceStatus)]
    connection: NotRequired[ConnectionOut]


class CreatedOut(OperatedOut):
    """A new workspace. `warnings` are there if something in its configuration is probably not meant."""

    warnings: NotRequired[list[DiagnosticOut]]


class CascadedOut(OperatedOut):
    """A workspace after an operation that applies to its descendants too: how many went along, and which did not."""

    went_along: int
    left: list[WorkspaceNameOut]


class RemovedOut(TypedDict):
    """A removed workspace, and how many descendants were removed with it."""

    status: Annotated[str, one_of(WorkspaceStatus)]
    cascade_deleted: int


@router.get("", auth=access("view", ApiScope.READ))
def list_workspaces(request: HttpRequest, response: HttpResponse, wanted: Query[Listed]) -> list[WorkspaceOut]:
    """List workspaces. X-Position is the event position of the list, to continue from with a stream."""
    response["X-Position"] = str(last_position())
    rows = in_order(select_for_json(filtered(wanted)), wanted)
    page = page_of(rows, wanted, request=request, response=response)
    policy, positions = current_policy(), queue_limits.queue_positions()
    return [workspace_json(row, policy=policy, positions=positions) for row in page]


@router.get("/{workspace_id}", auth=access("view", ApiScope.READ, own_agent=True))
def get_workspace(
    request: HttpRequest, response: HttpResponse, workspace_id: UUID, include_removed: bool = False
) -> WorkspaceOut:
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


@router.post("", auth=access("add", ApiScope.OPERATE))
@answering({HTTPStatus.CREATED: CreatedOut})
def create_workspace(request: HttpRequest, response: HttpResponse, body: CreateIn) -> Status[CreatedOut]:
    """Create a workspace and launch it, or create an external one, which its owner runs and connects.

    `warnings`, if there are any, say what is probably not meant in its configuration. A request that is repeated with
    the same Idempotency-Key creates nothing.
    """
    operator: Operator = request.auth  # type: ignore[attr-defined]
    return once(request, response, lambda: _create(body, operator))


@templates.get("", auth=access("view", ApiScope.READ))
def list_templates(request: HttpRequest) -> list[TemplateOut]:
    """List the catalog's templates by name. `problem` says why one can't be launched; it is empty for the others."""
    return [
        {
            "id": template.id,
            "name": template.name,
            "runtime": template.runtime,
            "provision_timeout_seconds": template.provision_timeout_seconds,
            "required_env": template.required_env,
            "provision_timeout_override": template.provision_timeout_override,
            "problem": template.problem,
        }
        for template in listed_templates.list_templates()
    ]


def add_route(operation: Operation) -> None:
    """Add the route of an operation, with its options as query parameters."""
    is_removal = operation.method == "DELETE"
    shape = RemovedOut if is_removal else CascadedOut if operation.cascades else OperatedOut

    def view(
        request: HttpRequest, response: HttpResponse, workspace_id: UUID, **options: bool
    ) -> Status[RemovedOut | CascadedOut | OperatedOut]:
        operator: Operator = request.auth  # type: ignore[attr-defined]

        def act() -> Status[RemovedOut | CascadedOut | OperatedOut]:
            result = run_one(operation, workspace_id, by=operator.name, options=options, check=check_of(request))
            if is_removal:
                return Status(HTTPStatus.OK, removed_json(result))
            return Status(HTTPStatus.OK, cascaded_json(result) if operation.cascades else operated_json(result))

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
    )(answering({HTTPStatus.OK: shape})(honouring_if_match(view)))


for _operation in OPERATIONS:
    if not _operation.is_admin_only:
        add_route(_operation)


def _create(body: CreateIn, operator: Operator) -> Status[CreatedOut]:
    now = operator.received_at or database_now()
    created = create(body.request(by=operator.name), now=now)
    workspace = created.workspace
    answer: CreatedOut = {"id": workspace.pk, "status": workspace.status}
    if created.warnings:
        answer["warnings"] = [each.as_json() for each in created.warnings]
    if workspace.is_external:
        answer["connection"] = connection_json(workspace, created.token)
    else:
        enqueue_launches(workspace.backend, now=now)
    return Status(HTTPStatus.CREATED, answer)


def operated_json(result: OperationResult) -> OperatedOut:
    """Return the answer of an operation."""
    workspace = result.workspace
    answer: OperatedOut = {"id": workspace.pk, "status": workspace.status}
    if result.token:
        answer["connection"] = connection_json(workspace, result.token)
    return answer


def cascaded_json(result: OperationResult) -> CascadedOut:
    """Return the answer of an operation that applies to descendants too."""
    left: list[WorkspaceNameOut] = [{"id": row.pk, "name": row.name} for row in result.skipped]
    return {**operated_json(result), "went_along": len(result.changed) - 1, "left": left}


def removed_json(result: OperationResult) -> RemovedOut:
    """Return the answer of a removal."""
    return {"status": result.workspace.status, "cascade_deleted": len(result.changed) - 1}


def connection_json(workspace: Workspace, token: str) -> ConnectionOut:
    """Return what the agent of an external workspace needs. The token is shown only once."""
    platform = settings.PLATFORM_URL
    return {
        "workspace_id": workspace.pk,
        "platform_url": platform,
        "auth_token": token,
        "registry_endpoint": f"{platform}/registry/register",
        "heartbeat_endpoint": f"{platform}/registry/heartbeat",
    }
