"""How one workspace's agent finds another: where it is, or that it is not there and will be. Wakes who hibernates."""

from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from uuid import UUID

from registry.reachability import may_reach
from workspaces import operations
from workspaces.access.errors import RequestRefused
from workspaces.lifecycle.transitions import RUNNING, WorkspaceStatus
from workspaces.models import Workspace
from workspaces.services.core.transition import TransitionRefused, UnknownWorkspace
from workspaces.services.core.trees import TreeChanged

# Statuses that waiting can help, and after how many seconds to ask again. Others wait for an operator.
_ASK_AGAIN_SECONDS: dict[str, int] = {
    WorkspaceStatus.PROVISIONING: 10,
    WorkspaceStatus.HIBERNATING: 10,
    WorkspaceStatus.HIBERNATED: 10,
    WorkspaceStatus.OFFLINE: 30,
    WorkspaceStatus.AWAITING_AGENT: 30,
}


@dataclass(frozen=True, kw_only=True)
class DiscoveryResult:
    """The target as it is now. `retry_after_seconds` is None where it is reachable, or where waiting is no help."""

    workspace: Workspace
    retry_after_seconds: int | None = None

    @property
    def is_reachable(self) -> bool:
        return self.workspace.status in RUNNING


def discover(*, caller_id: UUID, target_id: UUID) -> DiscoveryResult:
    """Return the target, woken if it hibernated. Raises UnknownWorkspace, or Refusal for one it may not know of."""
    rows = {row.pk: row for row in Workspace.objects.not_removed().filter(pk__in=[caller_id, target_id])}
    for workspace_id in (target_id, caller_id):
        if workspace_id not in rows:
            raise UnknownWorkspace(workspace_id)
    if not may_reach(rows[caller_id], rows[target_id]):
        sentence = "These two are neither siblings, nor is one above the other."
        raise RequestRefused(HTTPStatus.FORBIDDEN, sentence, code="forbidden")
    if rows[target_id].status == WorkspaceStatus.HIBERNATED:
        # Another request may have been quicker; either way it is on its way.
        with suppress(TransitionRefused, TreeChanged):
            operations.wake(target_id)
    target = Workspace.objects.get(pk=target_id)
    return DiscoveryResult(workspace=target, retry_after_seconds=_ASK_AGAIN_SECONDS.get(target.status))
