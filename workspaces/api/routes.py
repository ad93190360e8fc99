"""The operators' HTTP API: each call translates in, makes one call of a service, translates out."""

from http import HTTPStatus
from typing import Any
from uuid import UUID

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from ninja import Router, Status

from events.positions import last_position
from postgres.clock import database_now
from workspaces import operations
from workspaces.access.authentication import Access, Operator
from workspaces.access.errors import RequestRefused
from workspaces.api.schemas import CreateIn
from workspaces.api.serialize import WorkspaceOut, item, shown
from workspaces.deadlines.policy import current_policy
from workspaces.lifecycle.transitions import Phase, WorkspaceStatus
from workspaces.models import ApiScope, Workspace
from workspaces.services.core.transition import UnknownWorkspace
from workspaces.services.launching import queue_limits
from workspaces.services.launching.create import create
from workspaces.tasks import enqueue_launch

router = Router(tags=["workspaces"])


def _may(verb: str, scope: ApiScope, *, own_agent: bool = False) -> Access:
    return Access(scopes=(scope,), permission=f"workspaces.{verb}_workspace", own_agent=own_agent)


READ = _may("view", ApiScope.READ)
READ_OR_OWN = _may("view", ApiScope.READ, own_agent=True)
ADD = _may("add", ApiScope.OPERATE)
CHANGE = _may("change", ApiScope.OPERATE)
DELETE = _may("delete", ApiScope.OPERATE)


@router.get("", response=list[WorkspaceOut], auth=READ)
def list_workspaces(
    request: HttpRequest,
    response: HttpResponse,
    status: WorkspaceStatus | None = None,
    include_removed: bool = False,
) -> list[dict[str, Any]]:
    """List the workspaces by name. X-Position is the position that they reflect, from which a client streams on."""
    response["X-Position"] = str(last_position())
    rows = shown(Workspace.objects.order_by("name", "id"))
    if status is not None:
        rows = rows.filter(status=status)
    elif not include_removed:
        rows = rows.not_removed()
    policy, positions = current_policy(), queue_limits.queue_positions()
    return [item(row, policy=policy, positions=positions) for row in rows]


@router.get("/{workspace_id}", response=WorkspaceOut, auth=READ_OR_OWN)
def get_workspace(
    request: HttpRequest, response: HttpResponse, workspace_id: UUID, include_removed: bool = False
) -> dict[str, Any]:
    """Show one workspace; one that was removed only where that is asked for."""
    response["X-Position"] = str(last_position())
    row = shown(Workspace.objects.filter(pk=workspace_id)).first()
    if row is None:
        raise UnknownWorkspace(workspace_id)
    if row.status == WorkspaceStatus.REMOVED and not include_removed:
        raise RequestRefused(HTTPStatus.GONE, f"{row.name} was removed.", code="removed")
    positions = queue_limits.queue_positions() if row.phase == Phase.QUEUED else {}
    return item(row, policy=current_policy(), positions=positions)


@router.post("", auth=ADD, response={HTTPStatus.CREATED: dict[str, Any]})
def create_workspace(request: HttpRequest, body: CreateIn) -> Status:
    """Create a workspace and launch it, or one that somebody else runs and connects."""
    created = create(body.request(), now=database_now())
    workspace = created.workspace
    if workspace.is_external:
        return Status(HTTPStatus.CREATED, _moved(workspace) | _connection(workspace, created.token))
    enqueue_launch(workspace_id=workspace.pk, launch_id=workspace.launch_id)
    return Status(HTTPStatus.CREATED, _moved(workspace))


@router.post("/{workspace_id}/restart", auth=CHANGE)
def restart_workspace(request: HttpRequest, workspace_id: UUID) -> dict[str, Any]:
    """Begin a new launch; an external workspace gets a new token."""
    done = operations.restart(workspace_id)
    return _moved(done.workspace) | (_connection(done.workspace, done.token) if done.token else {})


@router.post("/{workspace_id}/cancel", auth=CHANGE)
def cancel_launch(request: HttpRequest, workspace_id: UUID) -> dict[str, Any]:
    """Fail the present launch."""
    operator: Operator = request.auth  # type: ignore[attr-defined]
    return _moved(operations.cancel(workspace_id, by=operator.name).workspace)


@router.post("/{workspace_id}/pause", auth=CHANGE)
def pause_workspace(request: HttpRequest, workspace_id: UUID) -> dict[str, Any]:
    """Stop it and all below it, until somebody resumes it."""
    return _cascaded(operations.pause(workspace_id))


@router.post("/{workspace_id}/resume", auth=CHANGE)
def resume_workspace(request: HttpRequest, workspace_id: UUID) -> dict[str, Any]:
    """Launch it again, and what its pause took along."""
    return _cascaded(operations.resume(workspace_id))


@router.post("/{workspace_id}/hibernate", auth=CHANGE)
def hibernate_workspace(request: HttpRequest, workspace_id: UUID, force: bool = False) -> dict[str, Any]:
    """Stop it until something needs it; a busy one only by force."""
    return _moved(operations.hibernate(workspace_id, forced=force).workspace)


@router.post("/{workspace_id}/wake", auth=CHANGE)
def wake_workspace(request: HttpRequest, workspace_id: UUID) -> dict[str, Any]:
    """Launch a hibernated workspace again."""
    return _moved(operations.wake(workspace_id).workspace)


@router.delete("/{workspace_id}", auth=DELETE)
def remove_workspace(request: HttpRequest, workspace_id: UUID, confirm: bool = False) -> dict[str, Any]:
    """Remove a workspace; one with children only where that is confirmed, and they go along."""
    done = operations.remove(workspace_id, confirmed=confirm)
    return {"status": done.workspace.status, "cascade_deleted": len(done.moved) - 1}


def _moved(workspace: Workspace) -> dict[str, Any]:
    return {"id": workspace.pk, "status": workspace.status}


def _cascaded(done: operations.Done) -> dict[str, Any]:
    """Return the one asked for, how many below it went along, and which could not."""
    left = [{"id": workspace.pk, "name": workspace.name} for workspace in done.left]
    return _moved(done.workspace) | {"went_along": len(done.moved) - 1, "left": left}


def _connection(workspace: Workspace, token: str) -> dict[str, Any]:
    """Return what an external workspace's agent needs. The token is shown this once."""
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
