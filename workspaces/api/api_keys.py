"""The API keys of scripts: create, list, change, revoke."""

from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Literal

from django.db import transaction
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse
from ninja import Path, Query, Router, Status
from pydantic import AwareDatetime, BeforeValidator, Field
from typing_extensions import TypedDict

from events.pages import MOST_ROWS, Paged, in_order, page_of
from events.parameters import no_number
from postgres.enum_text import one_of
from workspaces.access import api_keys
from workspaces.access.authentication import Access
from workspaces.api.idempotency import once
from workspaces.api.router import answering
from workspaces.api.schemas import DoneOut, OperatorIn
from workspaces.models import ApiKey, ApiScope

router = Router(tags=["api-keys"])


KeyId = Annotated[int, Path(ge=1, le=2**63 - 1)]
Expiry = Annotated[AwareDatetime | None, BeforeValidator(no_number)]
Texts = Annotated[list[Annotated[str, Field(max_length=100)]], Field(max_length=api_keys.MAX_NETWORKS)]


class KeyIn(OperatorIn):
    """A new key. Without `expires_at` it never expires, without `networks` it may be used from anywhere."""

    name: str
    scopes: Texts
    expires_at: Expiry = None
    networks: Texts = []


class KeyChangesIn(OperatorIn):
    """The fields to change. Those that are left out stay; `null` and `[]` lift a limit."""

    name: str = ""
    expires_at: Expiry = None
    networks: Texts = []


class KeysListed(Paged):
    """Which keys to list. The header Link has the address of the next page."""

    include_revoked: bool = False
    sort: Literal["created_at", "-created_at", "name", "-name"] = "-created_at"
    limit: int | None = Field(100, ge=1, le=MOST_ROWS)


class KeyOut(TypedDict):
    """What is known of a key. `last_used_at` is up to a minute behind."""

    id: int
    name: str
    prefix: str
    scopes: list[Annotated[str, one_of(ApiScope)]]
    networks: list[str]
    state: api_keys.KeyState
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None


class MintedKeyOut(KeyOut):
    """A new key. `key` is shown only here."""

    key: str


def access(action: str) -> Access:
    """Return the rule for a call about API keys."""
    return Access(scopes=(ApiScope.ADMIN,), permission=f"workspaces.{action}_apikey")


@router.get("", auth=access("view"))
def list_api_keys(request: HttpRequest, response: HttpResponse, wanted: Query[KeysListed]) -> list[KeyOut]:
    """List the keys, the newest first. The keys themselves can't be read again."""
    rows = ApiKey.objects.with_clock()
    if not wanted.include_revoked:
        rows = rows.filter(revoked_at__isnull=True)
    page = page_of(in_order(rows, wanted), wanted, request=request, response=response)
    return [key_json(row) for row in page]


@router.post("", auth=access("add"))
@answering({HTTPStatus.CREATED: MintedKeyOut})
def create_api_key(request: HttpRequest, response: HttpResponse, body: KeyIn) -> Status[MintedKeyOut]:
    """Create a key. A request that is repeated with the same Idempotency-Key creates nothing."""

    @transaction.atomic
    def create() -> Status[MintedKeyOut]:
        row, key = api_keys.mint_api_key(**body.model_dump())
        return Status(HTTPStatus.CREATED, {**key_json(ApiKey.objects.with_clock().get(pk=row.pk)), "key": key})

    return once(request, response, create)


@router.patch("/{key_id}", auth=access("change"))
def change_api_key(request: HttpRequest, key_id: KeyId, body: KeyChangesIn) -> KeyOut:
    """Change a key's name, expiry or networks. Its scopes never change."""
    return key_json(api_keys.change_api_key(key_id, body.model_dump(exclude_unset=True)))


@router.delete("/{key_id}", auth=access("change"))
def revoke_api_key(request: HttpRequest, key_id: KeyId) -> DoneOut:
    """Revoke a key at once. It stays in the list with `include_revoked`."""
    key = ApiKey.objects.filter(pk=key_id)
    if not key.exists():
        raise api_keys.UnknownKey(f"There is no API key {key_id}.")
    key.filter(revoked_at__isnull=True).update(revoked_at=Now())
    return {"status": "revoked"}  # not-a-workspace-status: of the key


def key_json(key: ApiKey) -> KeyOut:
    """Return what is known of a key from `with_clock`."""
    return {
        "id": key.pk,
        "name": key.name,
        "prefix": key.prefix,
        "scopes": key.scopes,
        "networks": key.networks,
        "state": api_keys.state_of(key),
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "last_used_at": key.last_used_at,
        "revoked_at": key.revoked_at,
    }
