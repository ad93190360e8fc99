"""More tokens for the agent of a workspace's current launch, and the end of single ones."""

from datetime import datetime
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet

from workspaces.access.tokens import mint_agent_token
from workspaces.lifecycle.transitions import WorkspaceStatus
from workspaces.models import AgentToken, Launch, Workspace
from workspaces.services.core.transition import TransitionRefused, lock_workspace

MOST_VALID_TOKENS = 100


class UnknownToken(LookupError):
    """The workspace has no such token."""


@transaction.atomic
def mint(workspace_id: UUID) -> tuple[AgentToken, str]:
    """Store a new token of the current launch. Return its row and the token, which can't be read again.

    Raises UnknownWorkspace, and TransitionRefused if no agent of the launch can use it.
    """
    workspace = lock_workspace(workspace_id)
    if workspace.status == WorkspaceStatus.REMOVED:
        raise TransitionRefused(workspace, "it gets no more tokens.")
    if not workspace.is_external and not Launch.objects.not_torn_down().filter(pk=workspace.launch_id).exists():
        raise TransitionRefused(workspace, "its launch was stopped, and a token dies with its launch. Launch it again.")
    if valid_tokens(workspace).count() >= MOST_VALID_TOKENS:
        raise TransitionRefused(workspace, f"its launch has {MOST_VALID_TOKENS} tokens. Revoke one first.")
    token = mint_agent_token(workspace)
    return AgentToken.objects.filter(workspace=workspace).latest("pk"), token


def revoke(workspace_id: UUID, token_id: int, *, now: datetime) -> None:
    """Revoke a token; one that is revoked already stays as it is. Raises UnknownToken."""
    token = AgentToken.objects.filter(pk=token_id, workspace_id=workspace_id)
    if not token.exists():
        raise UnknownToken(f"The workspace {workspace_id} has no token {token_id}.")
    token.filter(revoked_at=None).update(revoked_at=now)


def valid_tokens(workspace: Workspace) -> QuerySet[AgentToken]:
    """Return the tokens of the current launch that are not revoked."""
    return AgentToken.objects.filter(workspace=workspace, launch_id=workspace.launch_id, revoked_at=None)
