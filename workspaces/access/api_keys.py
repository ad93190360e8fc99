"""API keys of scripts: mint, find, change, revoke. A key is shown once and stored only as SHA-256."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import cache
from ipaddress import ip_address, ip_network
from typing import Any

from django.db import transaction
from django.db.models import TextChoices
from django.db.models.functions import Now

from agent.texts import clean_name
from events.masking.credentials import KEY_PREFIX
from postgres.clock import database_now, in_utc
from workspaces.access.tokens import PREFIX_CHARACTERS, digest, random_text
from workspaces.models import ApiKey, ApiScope

MAX_NAME_CHARACTERS = 100
MAX_NETWORKS = 100
# Postgres keeps later times than Python reads.
LAST_YEAR = 9000

_INCLUDED = {
    ApiScope.ADMIN: {ApiScope.ADMIN, ApiScope.OPERATE, ApiScope.READ},
    ApiScope.OPERATE: {ApiScope.OPERATE, ApiScope.READ},
    ApiScope.READ: {ApiScope.READ},
    ApiScope.WATCH: {ApiScope.WATCH},
}


class KeyState(TextChoices):
    """Whether an API key may be used."""

    VALID = "valid", "Valid"
    EXPIRED = "expired", "Expired"
    REVOKED = "revoked", "Revoked"


class InvalidKey(ValueError):
    """A field of an API key is invalid: `field` is its name, the message says why."""

    def __init__(self, field: str, why: str) -> None:
        super().__init__(why)
        self.field = field


class UnknownKey(LookupError):
    """No valid API key, or more than one, is meant; the message says which."""


def mint_api_key(
    *, name: str, scopes: Iterable[str], expires_at: datetime | None = None, networks: Iterable[str] = ()
) -> tuple[ApiKey, str]:
    """Store a new API key. Return its row and the key, which can't be read again. Raises InvalidKey.

    Without `expires_at` it never expires, without networks (`10.0.0.0/8`) it may be used from anywhere.
    """
    fields = clean_key({"name": name, "scopes": scopes, "expires_at": expires_at, "networks": networks})
    key = KEY_PREFIX + random_text()
    return ApiKey.objects.create(prefix=key[:PREFIX_CHARACTERS], digest=digest(key), **fields), key


def clean_key(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of an API key as they are stored. Raises InvalidKey."""
    return {field: _CLEAN[field](value) for field, value in fields.items()}


def clean_key_name(name: str) -> str:
    """Return the name. Raises InvalidKey."""
    rule = f"A key's name is one line of 1 to {MAX_NAME_CHARACTERS} characters that can be seen"
    try:
        name = clean_name(name)
    except ValueError as error:
        raise InvalidKey("name", f"{rule}; this one {error}.") from None
    if not 0 < len(name) <= MAX_NAME_CHARACTERS:
        raise InvalidKey("name", f"{rule}.")
    return name


def clean_scopes(scopes: Iterable[str]) -> list[str]:
    """Return the scopes in order, each once. Raises InvalidKey."""
    given = set(scopes)
    unknown = sorted(given - set(ApiScope.values))
    if unknown or not given:
        what = f"There is no scope {unknown[0][:80]!r}." if unknown else "A key needs a scope."
        raise InvalidKey("scopes", f"{what} Known scopes: {', '.join(ApiScope.values)}.")
    return sorted(given)


def clean_expiry(expires_at: datetime | None) -> datetime | None:
    """Return when a key is to expire, in UTC, or None for never. Raises InvalidKey unless that is in the future."""
    if expires_at is None:
        return None
    expires_at = in_utc(expires_at)
    if expires_at.year >= LAST_YEAR:
        raise InvalidKey("expires_at", f"The expiry must lie before the year {LAST_YEAR}. Leave it out for never.")
    if expires_at <= database_now():
        raise InvalidKey("expires_at", "The expiry must lie in the future. Revoke a key to end it at once.")
    return expires_at


def clean_networks(networks: Iterable[str]) -> list[str]:
    """Return the networks in canonical form, each once; `10.1.2.3` is `10.1.2.3/32`. Raises InvalidKey."""
    cleaned: list[str] = []
    for text in networks:
        if "%" in text:
            raise InvalidKey("networks", f"{text[:80]!r} names a zone, which is known on one host only. Leave it out.")
        try:
            network = str(ip_network(text.strip()))
        except ValueError as error:
            why = f"{error}"[:200].rstrip(".").replace("\0", "")
            raise InvalidKey("networks", f"{why}. Write a network as 10.0.0.0/8, one address as 10.1.2.3.") from None
        if network not in cleaned:
            cleaned.append(network)
        if len(cleaned) > MAX_NETWORKS:
            raise InvalidKey("networks", f"A key has at most {MAX_NETWORKS} networks.")
    return cleaned


_CLEAN: Mapping[str, Callable[[Any], Any]] = {
    "name": clean_key_name,
    "scopes": clean_scopes,
    "expires_at": clean_expiry,
    "networks": clean_networks,
}


_DIGEST = "the digest"


def find_api_key(key: str) -> ApiKey | None:
    """Return the key's row as `with_clock` has it, or None if it is unknown or revoked. It may have expired."""
    statement, parameters = find_statement()
    values = [digest(key) if value == _DIGEST else value for value in parameters]
    return next(iter(ApiKey.objects.raw(statement, values)), None)  # dynamic-sql: the ORM's own statement, kept


@cache
def find_statement() -> tuple[str, tuple[Any, ...]]:
    """Return the statement that finds a key, and its parameters with _DIGEST among them.

    Kept, since the ORM takes longer to compose it than Postgres to run it, and each call of a script needs it.
    """
    wanted = ApiKey.objects.with_clock().filter(digest=_DIGEST, revoked_at__isnull=True).order_by()
    return wanted.query.sql_with_params()


def is_allowed_from(key: ApiKey, address: str) -> bool:
    """Return whether the key may be used from an address. One without networks may be used from anywhere."""
    if not key.networks:
        return True
    try:
        client = ip_address(address)
    except ValueError:
        # A Unix socket, for example.
        return False
    client = getattr(client, "ipv4_mapped", None) or client
    return any(client in ip_network(network) for network in key.networks)


def note_use(key: ApiKey) -> None:
    """Store that the key is used now. Does nothing if its row is locked: no request waits for that."""
    with transaction.atomic():
        free = ApiKey.objects.select_for_update(skip_locked=True).filter(pk=key.pk).values("pk")
        ApiKey.objects.filter(pk__in=free).update(last_used_at=Now())


@transaction.atomic
def change_api_key(key_id: int, changes: Mapping[str, Any]) -> ApiKey:
    """Change the name, expiry or networks of a key that is not revoked. Raises UnknownKey and InvalidKey."""
    if not ApiKey.objects.select_for_update().filter(pk=key_id, revoked_at__isnull=True).exists():
        raise UnknownKey(f"There is no valid API key {key_id}.")
    if cleaned := clean_key(changes):
        ApiKey.objects.filter(pk=key_id).update(**cleaned)
    return ApiKey.objects.with_clock().get(pk=key_id)


def find_by_prefix(prefix: str) -> ApiKey:
    """Return the only key with this prefix that is not revoked. Raises UnknownKey."""
    matching = list(ApiKey.objects.filter(revoked_at__isnull=True, prefix__startswith=prefix).order_by("pk")[:2])
    if not prefix or not matching:
        raise UnknownKey(f"No valid API key begins with {prefix[:80]!r}. `manage.py api_key list` shows them.")
    if len(matching) > 1:
        raise UnknownKey(f"Several API keys begin with {prefix!r}: give more of it.")
    return matching[0]


def revoke_api_key(prefix: str, *, now: datetime) -> ApiKey:
    """Revoke the only valid key with this prefix and return its row. Raises UnknownKey."""
    row = find_by_prefix(prefix)
    ApiKey.objects.filter(pk=row.pk).update(revoked_at=now)
    return row


def state_of(key: ApiKey) -> KeyState:
    """Return whether a key from `with_clock` may be used."""
    if key.revoked_at:
        return KeyState.REVOKED
    return KeyState.EXPIRED if key.is_expired else KeyState.VALID


def allows(key: ApiKey, scope: ApiScope) -> bool:
    """Return whether the key's scopes include this one."""
    return any(scope in _INCLUDED[ApiScope(own)] for own in key.scopes)
