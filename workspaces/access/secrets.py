"""Secrets: environment variables encrypted at rest, one workspace's own or global."""

from collections.abc import Mapping
from contextlib import suppress
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.db.models.functions import Now

from agent import rules
from postgres import encryption
from workspaces.lifecycle.transitions import WorkspaceStatus
from workspaces.models import Launch, RetiredSecret, Secret, Workspace

MAX_VALUE_CHARACTERS = 65_536
# Of a file or an input that holds one: UTF-8, and a line break at its end.
MAX_VALUE_BYTES = 4 * MAX_VALUE_CHARACTERS + 2
MAX_NAME_CHARACTERS = 255
MAX_SECRETS = 1000
MAX_OPERATOR_CHARACTERS = 200
_SHOWN_PROBLEMS = 20
REMOVED = "The workspace is removed, so it can't get secrets."


# SQL instead of the ORM for the two queries of each launch: composing them took longer than running them.
# Global secrets come first, so that the workspace's own override them.
_ENVIRONMENT = """
SELECT name, ciphertext FROM workspaces_secret WHERE workspace_id = %s OR workspace_id IS NULL
ORDER BY workspace_id NULLS FIRST, name
"""
_VALUES = """
SELECT workspace_id, ciphertext FROM workspaces_secret WHERE workspace_id = ANY(%(ids)s) OR workspace_id IS NULL
UNION ALL
SELECT workspace_id, ciphertext FROM workspaces_retiredsecret WHERE workspace_id = ANY(%(ids)s) OR workspace_id IS NULL
"""


class InvalidSecret(ValueError):
    """The name or value of a secret can't be used; the message says why and never contains the value."""


class SecretUnreadable(Exception):
    """A stored secret can't be decrypted with the current SECRETS_KEYS."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"The stored secret {name} can't be decrypted with the current SECRETS_KEYS. "
            "Add the key it was encrypted with, or set the secret again, then restart."
        )
        self.name = name


def problem_with(name: str, value: str) -> str | None:
    """Return why this can't be an environment variable of a workspace, in a sentence without the value, or None."""
    if not rules.is_environment_name(name) or len(name) > MAX_NAME_CHARACTERS:
        return f"{name[:80]!r} is not a valid environment variable name: use letters, digits and underscores."
    if name in rules.GIVEN_NAMES:
        return f"{name} is set by Slipway itself and can't be a secret."
    if not value.strip():
        return f"The value of {name} is empty."
    if "\0" in value:
        return f"The value of {name} contains a NUL character, which environment variables can't."
    if len(value) > MAX_VALUE_CHARACTERS:
        return f"The value of {name} is longer than {MAX_VALUE_CHARACTERS} characters."
    return None


def check_secrets(values: Mapping[str, str]) -> None:
    """Raise InvalidSecret with every problem unless these can be environment variables of one workspace."""
    problems = [problem for name, value in values.items() if (problem := problem_with(name, value))]
    if len(values) > MAX_SECRETS:
        problems.insert(0, f"These are {len(values)} secrets. A workspace can have {MAX_SECRETS}.")
    if more := len(problems[_SHOWN_PROBLEMS:]):
        problems = [*problems[:_SHOWN_PROBLEMS], f"And {more} more."]
    if problems:
        raise InvalidSecret(" ".join(problems))


def add_initial_secrets(values: Mapping[str, str], *, workspace_id: UUID, by: str) -> None:
    """Add the secrets of a workspace that was just inserted. Raises InvalidSecret before anything is stored."""
    check_secrets(values)
    set_by = by[:MAX_OPERATOR_CHARACTERS]
    Secret.objects.bulk_create(
        Secret(workspace_id=workspace_id, name=name, ciphertext=encryption.encrypt(value), set_by=set_by)
        for name, value in values.items()
    )


@transaction.atomic
def put_secrets(values: Mapping[str, str], *, workspace_id: UUID | None, by: str = "") -> None:
    """Add or replace secrets of a workspace, or global ones (None), each with its next version.

    `by` names the operator. Raises InvalidSecret before anything is stored.
    """
    check_secrets(values)
    if workspace_id is not None:
        # Locked, because a removal deletes all secrets.
        owner = Workspace.objects.select_for_update(of=("self",), no_key=True).filter(pk=workspace_id).first()
        if owner is not None and owner.status == WorkspaceStatus.REMOVED:
            raise InvalidSecret(REMOVED)
    for name, value in values.items():
        new = {"ciphertext": encryption.encrypt(value), "set_by": by[:MAX_OPERATOR_CHARACTERS]}
        # None means IS NULL, which the stubs don't know.
        _retire(Secret.objects.filter(workspace_id=workspace_id, name=name))  # type: ignore[misc]
        Secret.objects.update_or_create(
            workspace_id=workspace_id,  # type: ignore[misc]
            name=name,
            defaults={**new, "updated_at": Now(), "version": F("version") + 1},
            create_defaults=new,
        )


@transaction.atomic
def delete_secrets(secrets: QuerySet[Secret]) -> None:
    """Delete these secrets. Their values are masked as long as a launch may have them."""
    _retire(secrets)
    secrets.delete()


def _retire(secrets: QuerySet[Secret]) -> None:
    RetiredSecret.objects.bulk_create(
        RetiredSecret(workspace_id=secret.workspace_id, ciphertext=secret.ciphertext) for secret in secrets
    )


def delete_unused_retired_secrets() -> int:
    """Delete the retired secrets that no launch can have any more; return their number."""
    holders = Launch.objects.not_torn_down().filter(queued_at__lte=OuterRef("retired_at"))
    own = Q(workspace__isnull=False) & ~Exists(holders.filter(workspace_id=OuterRef("workspace_id")))
    global_ones = Q(workspace__isnull=True) & ~Exists(holders)
    number, _ = RetiredSecret.objects.filter(own | global_ones).delete()
    return number


def read_environment(workspace_id: UUID) -> dict[str, str]:
    """Return the variables of a workspace: the global secrets, overridden by its own. Raises SecretUnreadable."""
    environment: dict[str, str] = {}
    with connection.cursor() as cursor:
        cursor.execute(_ENVIRONMENT, [workspace_id])
        for name, ciphertext in cursor.fetchall():
            try:
                environment[name] = encryption.decrypt(ciphertext)
            except encryption.CannotDecrypt:
                raise SecretUnreadable(name) from None
    return environment


def readable_values(workspace_ids: set[UUID]) -> dict[UUID | None, list[str]]:
    """Return every value that can be decrypted, retired ones included, by workspace; global ones under None."""
    with connection.cursor() as cursor:
        cursor.execute(_VALUES, {"ids": list(workspace_ids)})
        rows = cursor.fetchall()
    values: dict[UUID | None, list[str]] = {}
    for workspace_id, ciphertext in rows:
        with suppress(encryption.CannotDecrypt):
            values.setdefault(workspace_id, []).append(encryption.decrypt(ciphertext))
    return values
