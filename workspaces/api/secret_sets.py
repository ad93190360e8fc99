"""Sets of secrets that several workspaces share. PATCH and POST /workspaces take the names in `secret_sets`."""

from collections import Counter
from datetime import datetime
from itertools import chain
from typing import Literal

from django.db import transaction
from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from ninja import Query, Router
from typing_extensions import TypedDict

from events.pages import Paged, in_order, page_of
from workspaces.access import secret_sets as sets
from workspaces.access.secrets import InvalidSecret, workspaces_with
from workspaces.api.schemas import DoneOut, WorkspaceNameOut
from workspaces.api.secrets import SavedSecretsOut, SecretOut, SecretsIn, delete, put, secret_access, secret_json
from workspaces.models import ApiScope, SecretSet, Workspace
from workspaces.services.core.fields import InvalidWorkspace

secret_sets = Router(tags=["secrets"])
# How many of a set's workspaces are shown with it.
MOST_WORKSPACES = 100


class SetsListed(Paged):
    """Which sets to list: all without `limit`; with it the header Link has the address of the next page."""

    sort: Literal["name", "-name", "created_at", "-created_at"] = "name"


class SetInListOut(TypedDict):
    """A set, and how many secrets it has and workspaces have it."""

    name: str
    created_at: datetime
    secrets: int
    workspaces: int


class SetOut(TypedDict):
    """A set, its secrets without their values, and the workspaces that have it.

    `workspaces` are the first 100 by name, of the `workspaces_total` that have it. `GET /workspaces?secret_set=NAME`
    lists all of them.
    """

    name: str
    created_at: datetime
    secrets: list[SecretOut]
    workspaces: list[WorkspaceNameOut]
    workspaces_total: int


@secret_sets.get("", auth=secret_access("view", ApiScope.READ))
def list_secret_sets(request: HttpRequest, response: HttpResponse, wanted: Query[SetsListed]) -> list[SetInListOut]:
    """List the sets of secrets by name."""
    chosen = Workspace.objects.not_removed().exclude(secret_sets=[]).values_list("secret_sets", flat=True)
    users = Counter(chain.from_iterable(chosen))
    rows = in_order(SecretSet.objects.annotate(number=Count("secrets")), wanted)
    page = page_of(rows, wanted, request=request, response=response)
    return [
        {
            "name": row.name,
            "created_at": row.created_at,
            "secrets": row.number,  # type: ignore[attr-defined]
            "workspaces": users[row.name],
        }
        for row in page
    ]


@secret_sets.get("/{name}", auth=secret_access("view", ApiScope.READ))
def get_secret_set(request: HttpRequest, name: str) -> SetOut:
    """Show a set of secrets, without their values, and the first workspaces that have it, by name."""
    found = sets.find_set(name)
    users = workspaces_with(found.name)
    shown = users.order_by("name", "pk").only("id", "name")[:MOST_WORKSPACES]
    return {
        "name": found.name,
        "created_at": found.created_at,
        "secrets": [secret_json(row) for row in found.secrets.all()],
        "workspaces": [{"id": row.pk, "name": row.name} for row in shown],
        "workspaces_total": users.count(),
    }


@secret_sets.put("/{name}", auth=secret_access("change", ApiScope.ADMIN))
def put_secret_set(request: HttpRequest, name: str, body: SecretsIn) -> SavedSecretsOut:
    """Set or replace secrets of a set, and create it if there is none with this name. Those that are not named stay."""
    with transaction.atomic():
        try:
            sets.create_set(name)
        except InvalidSecret as error:
            raise InvalidWorkspace({"name": str(error)}) from error
        return put(request, body, secret_set=name)


@secret_sets.delete("/{name}", auth=secret_access("delete", ApiScope.ADMIN))
def delete_secret_set(request: HttpRequest, name: str) -> DoneOut:
    """Delete a set with its secrets. A set that a workspace has is kept: 409."""
    sets.delete_set(name)
    return {"status": "deleted"}


@secret_sets.delete("/{name}/{secret}", auth=secret_access("delete", ApiScope.ADMIN))
def delete_secret_of_set(request: HttpRequest, name: str, secret: str) -> DoneOut:
    """Delete a secret of a set."""
    return delete(request, secret, secret_set=sets.find_set(name))
