"""How one workspace's agent finds another workspace. Wakes it if it is hibernated."""

from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID

from django.db.models import F, Q
from typing_extensions import TypedDict

from postgres.enum_text import one_of
from registry.reachability import may_reach
from workspaces import operations
from workspaces.access.errors import RequestRefused
from workspaces.lifecycle.transitions import RUNNING, WorkspaceStatus
from workspaces.models import Workspace, WorkspaceQuerySet
from workspaces.services.core.transition import TransitionRefused, UnknownWorkspace
from workspaces.services.core.trees import TreeChanged

# After how many seconds to ask again, for the statuses that can end by themselves. The others need an operator.
_ASK_AGAIN_SECONDS: dict[str, int] = {
    WorkspaceStatus.PROVISIONING: 10,
    WorkspaceStatus.HIBERNATING: 10,
    WorkspaceStatus.HIBERNATED: 10,
    WorkspaceStatus.OFFLINE: 30,
    WorkspaceStatus.AWAITING_AGENT: 30,
}


class PeerOut(TypedDict):
    """A workspace near that of an agent."""

    id: UUID
    name: str
    role: str
    tier: int
    status: Annotated[str, one_of(WorkspaceStatus)]
    url: str
    parent_id: UUID | None
    active_tasks: int
    agent_card: dict[str, Any] | None


@dataclass(frozen=True, kw_only=True)
class DiscoveryResult:
    """The target workspace. `retry_after_seconds` is None if it is reachable, or if waiting doesn't help."""

    workspace: Workspace
    retry_after_seconds: int | None = None

    @property
    def is_reachable(self) -> bool:
        return self.workspace.status in RUNNING


def discover(*, caller_id: UUID, target_id: UUID) -> DiscoveryResult:
    """Return the target, after waking it if it is hibernated.

    Raises UnknownWorkspace, or RequestRefused if the caller may not discover it.
    """
    rows = {row.pk: row for row in Workspace.objects.not_removed().filter(pk__in=[caller_id, target_id])}
    for workspace_id in (target_id, caller_id):
        if workspace_id not in rows:
            raise UnknownWorkspace(workspace_id)
    if not may_reach(rows[caller_id], rows[target_id]):
        sentence = "The two workspaces are neither siblings nor ancestor and descendant."
        raise RequestRefused(HTTPStatus.FORBIDDEN, sentence, code="forbidden")
    if rows[target_id].status == WorkspaceStatus.HIBERNATED:
        # Refused if another request has woken it already.
        with suppress(TransitionRefused, TreeChanged):
            operations.wake(target_id)
    target = Workspace.objects.get(pk=target_id)
    return DiscoveryResult(workspace=target, retry_after_seconds=_ASK_AGAIN_SECONDS.get(target.status))


def check_access(*, asker_id: UUID, caller_id: UUID, target_id: UUID) -> bool:
    """Return whether the caller may reach the target; an unknown or removed workspace reaches nobody.

    Raises RequestRefused for an agent that asks about two others.
    """
    if asker_id not in {caller_id, target_id}:
        sentence = "An agent may ask only about itself: as caller_id or as target_id."
        raise RequestRefused(HTTPStatus.FORBIDDEN, sentence, code="forbidden")
    rows = {row.pk: row for row in Workspace.objects.not_removed().filter(pk__in=[caller_id, target_id])}
    return caller_id in rows and target_id in rows and may_reach(rows[caller_id], rows[target_id])


def find_peers(workspace_id: UUID, *, text: str) -> WorkspaceQuerySet:
    """Return the parent, the siblings and the children of a workspace that have the text in their name or role.

    Each has `active_tasks`.
    """
    own = Workspace.objects.values_list("parent_id", flat=True).get(pk=workspace_id)
    family = Q(parent_id=own) if own else Q(parent__isnull=True)
    near = Workspace.objects.not_removed().filter(family | Q(parent_id=workspace_id) | Q(pk=own))
    if text:
        near = near.filter(Q(name__icontains=text) | Q(role__icontains=text))
    return near.exclude(pk=workspace_id).annotate(active_tasks=F("heartbeat__active_tasks"))


def peer_json(row: Workspace) -> PeerOut:
    """Return the JSON of a workspace from `find_peers`."""
    return {
        "id": row.pk,
        "name": row.name,
        "role": row.role,
        "tier": row.tier,
        "status": row.status,
        "url": row.url,
        "parent_id": row.parent_id,
        "active_tasks": row.active_tasks,  # type: ignore[attr-defined]
        "agent_card": row.agent_card or None,
    }
