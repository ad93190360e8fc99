"""The variables of a workspace's next launch: which it needs, which are set, and from where."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple
from uuid import UUID

from django.db.models import Q

from agent import rules
from postgres import encryption
from workspaces.access.secrets import effective_secrets
from workspaces.models import Secret


class VariableSource(StrEnum):
    """Where a variable's value comes from."""

    WORKSPACE = "workspace"
    SET = "set"
    GLOBAL = "global"
    # Slipway sets it for every workspace.
    SLIPWAY = "slipway"


class StoredVariable(NamedTuple):
    """A stored secret; `value` is None if it can't be decrypted. `secret_set` is the name of its set, or ""."""

    source: VariableSource
    value: str | None
    secret_set: str = ""


@dataclass(frozen=True, kw_only=True)
class Variable:
    """What is known of one variable, without its value.

    `required_by` is the place in config.yaml that asks for it, or "". Of the names in `any_of` one suffices.
    """

    name: str
    is_required: bool
    is_set: bool
    source: VariableSource | None
    secret_set: str
    required_by: str
    any_of: Sequence[str]


def read_variables(*, workspace_id: UUID | None = None, secret_sets: Sequence[str] = ()) -> dict[str, StoredVariable]:
    """Return the secrets that a workspace gets by name: global ones, overridden by those of its sets, then its own."""
    wanted = Q(workspace=None, secret_set=None) | Q(secret_set__in=secret_sets)
    if workspace_id:
        wanted |= Q(workspace_id=workspace_id)
    rows = list(Secret.objects.filter(wanted))
    found: dict[str, StoredVariable] = {}
    for secret_set in (None, *secret_sets):
        found |= {row.name: stored(row) for row in rows if not row.workspace_id and row.secret_set_id == secret_set}
    return found | {row.name: stored(row) for row in rows if row.workspace_id}


def values_of(stored: Mapping[str, StoredVariable]) -> dict[str, str | None]:
    """Return the values by name, None for one that can't be decrypted."""
    return {name: each.value for name, each in stored.items()}


def read_values(secret_sets: Sequence[str]) -> dict[str, str | None]:
    """Return the values that a new workspace with these sets gets by name, None for one that can't be decrypted."""
    return values_of(read_variables(secret_sets=secret_sets))


def read_effective_values(workspace_id: UUID) -> dict[str, str | None]:
    """Return the values that a workspace's launch gets by name, None for one that can't be decrypted."""
    return {each.name: decrypted(each.ciphertext) for each in effective_secrets([workspace_id])}


def stored(row: Secret) -> StoredVariable:
    """Return a stored secret with its value."""
    source = VariableSource.SET if row.secret_set_id else VariableSource.GLOBAL
    source = VariableSource.WORKSPACE if row.workspace_id else source
    return StoredVariable(source, decrypted(row.ciphertext), row.secret_set_id or "")


def decrypted(ciphertext: str) -> str | None:
    """Return the value, None if it can't be decrypted."""
    try:
        return encryption.decrypt(ciphertext)
    except encryption.CannotDecrypt:
        return None


def describe_variables(
    config: Mapping[str, Any], secrets: Mapping[str, StoredVariable], model: str | None
) -> list[Variable]:
    """Return what the config requires, in its order, then what else is set, by name."""
    found: dict[str, Variable] = {}
    for requirement, place in rules.required_places(config, model).items():
        for name in requirement.names:
            any_of = requirement.names if len(requirement.names) > 1 else ()
            found.setdefault(name, variable(name, secrets, required_by=place, any_of=any_of))
    others = sorted(set(secrets) - set(found))
    return [*found.values(), *(variable(name, secrets) for name in others)]


def variable(
    name: str, secrets: Mapping[str, StoredVariable], *, required_by: str = "", any_of: Sequence[str] = ()
) -> Variable:
    """Return what is known of a variable."""
    secret = secrets.get(name)
    if name in rules.GIVEN_NAMES:
        secret = StoredVariable(VariableSource.SLIPWAY, name)
    if secret and secret.value is not None and not secret.value.strip():
        secret = None
    return Variable(
        name=name,
        is_required=bool(required_by),
        is_set=secret is not None,
        source=secret.source if secret else None,
        secret_set=secret.secret_set if secret else "",
        required_by=required_by,
        any_of=any_of,
    )
