"""Judge by what a heartbeat says whether its workspace is degraded."""

from typing import Any, NamedTuple

from workspaces.lifecycle.transitions import RuntimeState, Verb, WorkspaceStatus, find_transition
from workspaces.models import Heartbeat, Workspace
from workspaces.services.core.transition import StatusChange, transition

DEGRADE = find_transition(Verb.DEGRADE, WorkspaceStatus.DEGRADED)
# From the wire contract. Between the two nothing changes, so that a rate near one limit doesn't flap.
DEGRADED_FROM = 0.5
RECOVERED_BELOW = 0.1


class StoredHeartbeat(NamedTuple):
    """What the database holds after a heartbeat, which may have left out what an earlier one said.

    All None if it stored nothing: the workspace has restarted meanwhile, or was inserted by hand.
    """

    error_rate: float | None
    sample_error: str | None
    runtime_state: str | None
    manages_status: bool | None

    @property
    def symptoms(self) -> dict[str, Any]:
        """Return what degrades an online workspace, as its event's payload; empty if nothing does."""
        if self._is_wedged:
            return {"runtime_state": RuntimeState.WEDGED.value, "sample_error": self.sample_error}
        if self._rate >= DEGRADED_FROM:
            return {"error_rate": self.error_rate, "sample_error": self.sample_error}
        return {}

    @property
    def is_well(self) -> bool:
        """Return whether a degraded workspace has recovered."""
        return not self._is_wedged and self._rate < RECOVERED_BELOW

    @property
    def _is_wedged(self) -> bool:
        return self.runtime_state == RuntimeState.WEDGED

    @property
    def _rate(self) -> float:
        # The error rate doesn't count for an agent that manages its status itself.
        return 0.0 if self.manages_status else self.error_rate or 0.0


def stored_heartbeat(workspace: Workspace) -> StoredHeartbeat:
    """Return what the last heartbeat of a workspace said."""
    beat = Heartbeat.objects.filter(pk=workspace.pk).first()
    if beat is None:
        return StoredHeartbeat(None, None, None, None)
    capabilities = beat.runtime_metadata.get("capabilities") or {}
    return StoredHeartbeat(
        beat.error_rate, beat.sample_error, beat.runtime_state, capabilities.get("status_mgmt") is True
    )


def degrade_again(workspace: Workspace) -> None:
    """Degrade a locked workspace that has just come online, in the same transaction, if its last heartbeat does."""
    if symptoms := stored_heartbeat(workspace).symptoms:
        transition(DEGRADE, [StatusChange(workspace=workspace, payload=symptoms)])
