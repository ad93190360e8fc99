"""The tokens of a workspace's agent: mint, list, revoke."""

from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Literal
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from ninja import Path, Query, Status
from pydantic import Field
from typing_extensions import TypedDict

from events.pages import MOST_ROWS, Paged, in_order, page_of
from postgres.clock import database_now
from workspaces.api.edits import find
from workspaces.api.idempotency import once
from workspaces.api.router import access, router
from workspaces.api.schemas import DoneOut
from workspaces.models import AgentToken, ApiScope
from workspaces.services.core import agent_tokens

TokenId = Annotated[int, Path(ge=1, le=2**63 - 1)]


class TokensListed(Paged):
    """Which tokens to list. The header Link has the address of the next page."""

    sort: Literal["created_at", "-created_at"] = "-created_at"
    limit: int | None = Field(200, ge=1, le=MOST_ROWS)


class MintedOut(TypedDict):
    """A new token. It is shown only here."""

    id: int
    auth_token: str


class TokenOut(TypedDict):
    """What is known of a token. It is valid while its launch is the current one and runs, unless it was revoked."""

    id: int
    launch_id: UUID
    is_current: bool
    created_at: datetime
    revoked_at: datetime | None


@router.post("/{workspace_id}/tokens", auth=access("change", ApiScope.OPERATE))
def mint_token(request: HttpRequest, response: HttpResponse, workspace_id: UUID) -> Status[MintedOut]:
    """Mint another token for the agent of the current launch. Its other tokens stay valid; all die with the launch."""

    def mint() -> Status[MintedOut]:
        row, token = agent_tokens.mint(workspace_id)
        return Status(HTTPStatus.OK, {"id": row.pk, "auth_token": token})

    return once(request, response, mint)


@router.get("/{workspace_id}/tokens", auth=access("view", ApiScope.READ))
def list_tokens(
    request: HttpRequest, response: HttpResponse, workspace_id: UUID, wanted: Query[TokensListed]
) -> list[TokenOut]:
    """List a workspace's tokens, the newest first. The tokens themselves can't be read again."""
    workspace = find(workspace_id)
    rows = in_order(AgentToken.objects.filter(workspace=workspace), wanted)
    return [
        {
            "id": row.pk,
            "launch_id": row.launch_id,
            "is_current": row.launch_id == workspace.launch_id,
            "created_at": row.created_at,
            "revoked_at": row.revoked_at,
        }
        for row in page_of(rows, wanted, request=request, response=response)
    ]


@router.delete("/{workspace_id}/tokens/{token_id}", auth=access("change", ApiScope.OPERATE))
def revoke_token(request: HttpRequest, workspace_id: UUID, token_id: TokenId) -> DoneOut:
    """Revoke a token at once."""
    agent_tokens.revoke(workspace_id, token_id, now=database_now())
    return {"status": "revoked"}  # not-a-workspace-status: of the token
