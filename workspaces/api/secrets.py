"""Secrets of a workspace and global ones: set, list, delete. Values are never returned."""

from collections.abc import Mapping
from datetime import datetime
from typing import Literal, Self
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from ninja import Query, Router
from pydantic import model_validator
from typing_extensions import TypedDict

from events.pages import Paged, in_order, page_of
from workspaces.access import secrets
from workspaces.access.authentication import Access, Operator
from workspaces.api.edits import find
from workspaces.api.router import router
from workspaces.api.schemas import DoneOut, OperatorIn
from workspaces.lifecycle.transitions import WorkspaceStatus
from workspaces.models import ApiScope, Secret, SecretSet, Workspace
from workspaces.services.core import secret_changes
from workspaces.services.core.fields import InvalidWorkspace
from workspaces.services.core.transition import TransitionRefused

global_secrets = Router(tags=["secrets"])


class UnknownSecret(LookupError):
    """There is no secret with this name."""


class SecretsListed(Paged):
    """Which secrets to list: all without `limit`; with it the header Link has the address of the next page."""

    sort: Literal["name", "-name", "updated_at", "-updated_at"] = "name"


class SecretOut(TypedDict):
    """What is known of a secret. `key` is its name and `updated_at` is `set_at`, as existing consoles read them.

    `version` counts how often it was set; earlier values are not kept. `set_by` is empty if it isn't known.
    """

    name: str
    key: str
    scope: Literal["global", "set", "workspace"]
    secret_set: str | None
    version: int
    set_by: str
    set_at: datetime
    created_at: datetime
    updated_at: datetime


class SavedSecretsOut(TypedDict):
    """The names of the secrets that were set."""

    status: Literal["saved"]
    names: list[str]


class SecretsIn(OperatorIn):
    """One secret as `key` and `value`, or several by name in `secrets`. Those that are not named stay."""

    key: str | None = None
    value: str | None = None
    secrets: dict[str, str] | None = None

    @model_validator(mode="after")
    def check_one_form(self) -> Self:
        """Return the body. Raises ValueError unless it has exactly one of the two forms."""
        is_pair = self.key is not None and self.value is not None
        is_half_a_pair = (self.key is None) != (self.value is None)
        if is_half_a_pair or is_pair == (self.secrets is not None):
            raise ValueError("send `key` and `value`, or `secrets` with a value for each name")
        return self

    @property
    def values(self) -> Mapping[str, str]:
        """Return the values by their names."""
        return self.secrets if self.secrets is not None else {str(self.key): str(self.value)}


def secret_access(action: str, *scopes: ApiScope) -> Access:
    """Return the rule for calls that an API key with one of the scopes may make, or a user who may do that."""
    return Access(scopes=scopes, permission=f"workspaces.{action}_secret")


@router.get("/{workspace_id}/secrets", auth=secret_access("view", ApiScope.READ))
def list_secrets(
    request: HttpRequest, response: HttpResponse, workspace_id: UUID, wanted: Query[SecretsListed]
) -> list[SecretOut]:
    """List the secrets that a workspace gets: global ones, overridden by those of its sets, then by its own."""
    effective = secrets.effective_secrets([find(workspace_id).pk])
    rows = in_order(Secret.objects.filter(pk__in=[each.secret_id for each in effective]), wanted)
    return [secret_json(row) for row in page_of(rows, wanted, request=request, response=response)]


@router.put("/{workspace_id}/secrets", auth=secret_access("change", ApiScope.OPERATE))
def set_secrets(request: HttpRequest, workspace_id: UUID, body: SecretsIn) -> SavedSecretsOut:
    """Set or replace secrets of a workspace. Its agent gets them at the next launch."""
    workspace = find(workspace_id)
    check_not_removed(workspace)
    return put(request, body, workspace_id=workspace_id)


@router.delete("/{workspace_id}/secrets/{name}", auth=secret_access("delete", ApiScope.OPERATE))
def delete_secret(request: HttpRequest, workspace_id: UUID, name: str) -> DoneOut:
    """Delete a secret of a workspace. Its agent has it until the launch ends."""
    return delete(request, name, workspace=find(workspace_id))


@global_secrets.get("", auth=secret_access("view", ApiScope.READ))
def list_global_secrets(request: HttpRequest, response: HttpResponse, wanted: Query[SecretsListed]) -> list[SecretOut]:
    """List the secrets that every workspace gets."""
    rows = in_order(Secret.objects.filter(workspace=None, secret_set=None), wanted)
    return [secret_json(row) for row in page_of(rows, wanted, request=request, response=response)]


@global_secrets.put("", auth=secret_access("change", ApiScope.ADMIN))
def set_global_secrets(request: HttpRequest, body: SecretsIn) -> SavedSecretsOut:
    """Set or replace secrets that every workspace gets at its next launch."""
    return put(request, body)


@global_secrets.delete("/{name}", auth=secret_access("delete", ApiScope.ADMIN))
def delete_global_secret(request: HttpRequest, name: str) -> DoneOut:
    """Delete a secret that every workspace gets."""
    return delete(request, name)


def put(
    request: HttpRequest, body: SecretsIn, *, workspace_id: UUID | None = None, secret_set: str | None = None
) -> SavedSecretsOut:
    """Store the secrets. Raises InvalidWorkspace."""
    operator: Operator = request.auth  # type: ignore[attr-defined]
    try:
        secret_changes.set_secrets(body.values, workspace_id=workspace_id, secret_set=secret_set, by=operator.name)
    except secrets.InvalidSecret as error:
        of_pair = "key" if secrets.problem_with_name(str(body.key)) else "value"
        raise InvalidWorkspace({of_pair if body.secrets is None else "secrets": str(error)}) from error
    return {"status": "saved", "names": sorted(body.values)}


def delete(
    request: HttpRequest, name: str, *, workspace: Workspace | None = None, secret_set: SecretSet | None = None
) -> DoneOut:
    """Delete a secret. Raises UnknownSecret."""
    found = Secret.objects.filter(workspace=workspace, secret_set=secret_set, name=name.replace("\0", ""))
    if not found.exists():
        raise UnknownSecret(f"There is no secret {name[:80]!r} here.")
    operator: Operator = request.auth  # type: ignore[attr-defined]
    secret_changes.delete_secrets(found, by=operator.name)
    return {"status": "deleted"}


def check_not_removed(workspace: Workspace) -> None:
    """Raise TransitionRefused if the workspace was removed."""
    if workspace.status == WorkspaceStatus.REMOVED:
        raise TransitionRefused(workspace, "it can't get secrets.")


def secret_json(row: Secret) -> SecretOut:
    """Return what is known of a secret."""
    return {
        "name": row.name,
        "key": row.name,
        "scope": "workspace" if row.workspace_id else "set" if row.secret_set_id else "global",
        "secret_set": row.secret_set_id,
        "version": row.version,
        "set_by": row.set_by,
        "set_at": row.updated_at,
        "created_at": row.created_at,
        "updated_at": row.updated_at,
    }
