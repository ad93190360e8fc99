"""Sets of secrets that several workspaces share."""

from collections.abc import Iterable, Sequence
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import transaction

from postgres.advisory_locks import AdvisoryLock, lock_until_commit
from workspaces.access import secrets
from workspaces.models import Secret, SecretSet, Workspace

MAX_SETS = 20


class UnknownSet(LookupError):
    """There is no set of secrets with this name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"There is no secret set {name[:80]!r}.")


class SetInUse(Exception):
    """Workspaces have the set, so it can't be deleted. `workspaces` are some of them."""

    def __init__(self, name: str, workspaces: Sequence[Workspace]) -> None:
        names = ", ".join(workspace.name for workspace in workspaces)
        super().__init__(f"The secret set {name} can't be deleted: {names} have it. Take it from them first.")
        self.workspaces = list(workspaces)


def problem_with_sets(names: Sequence[str]) -> str | None:
    """Return why a workspace can't have these sets, in a sentence, or None. Call it under AdvisoryLock.SECRETS."""
    if len(names) > MAX_SETS:
        return f"These are {len(names)} secret sets. A workspace can have {MAX_SETS}."
    if twice := next((name for name in names if names.count(name) > 1), None):
        return f"The secret set {twice[:80]!r} is named twice."
    known = set(SecretSet.objects.filter(name__in=names).values_list("name", flat=True))
    unknown = next((name for name in names if name not in known), None)
    return str(UnknownSet(unknown)) if unknown is not None else None


def find_set(name: str) -> SecretSet:
    """Return a set. Raises UnknownSet."""
    if found := SecretSet.objects.filter(name=name.replace("\0", "")).first():
        return found
    raise UnknownSet(name)


def create_set(name: str) -> None:
    """Create an empty set unless there is one with this name. Raises InvalidSecret.

    Nobody deletes it before the caller's transaction ends.
    """
    try:
        SecretSet(name=name).clean_fields()
    except ValidationError as error:
        raise secrets.InvalidSecret(f"{' '.join(error.messages)}") from error
    lock_until_commit(AdvisoryLock.SECRETS)
    SecretSet.objects.get_or_create(name=name)


@transaction.atomic
def delete_set(name: str) -> None:
    """Delete a set with its secrets. Raises UnknownSet, or SetInUse if a workspace has it."""
    lock_until_commit(AdvisoryLock.SECRETS)
    found = find_set(name)
    if users := list(secrets.workspaces_with(found.name).order_by("name", "pk")[:10]):
        raise SetInUse(found.name, users)
    secrets.delete_secrets(Secret.objects.filter(secret_set=found))
    found.delete()


def retire_sets(workspace_id: UUID, names: Iterable[str]) -> None:
    """Keep the values of sets that a workspace loses, for masking, as long as its launch may have them."""
    lost = Secret.objects.filter(secret_set__in=list(names))
    secrets.retire((workspace_id, secret) for secret in lost)
