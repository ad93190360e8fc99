"""Secrets: environment variables encrypted at rest, one workspace's own, those of a set, or global."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet, Window
from django.db.models.functions import Coalesce, Now, RowNumber

from agent import rules
from postgres import encryption
from postgres.advisory_locks import AdvisoryLock, lock_until_commit
from workspaces.lifecycle.transitions import WorkspaceStatus
from workspaces.models import BackendKind, Launch, RetiredSecret, Secret, SecretSet, Workspace, WorkspaceQuerySet

MAX_VALUE_CHARACTERS = 65_536
# Of a file or an input that holds one: UTF-8, and a line break at its end.
MAX_VALUE_BYTES = 4 * MAX_VALUE_CHARACTERS + 2
MAX_NAME_CHARACTERS = 255
MAX_SECRETS = 1000
MAX_OPERATOR_CHARACTERS = 200
# Of one name, of one workspace or global.
MAX_RETIRED = 100
_LONGEST_CHANGE = timedelta(hours=1)
_SHOWN_PROBLEMS = 20
REMOVED = "The workspace is removed, so it can't get secrets."


# SQL instead of the ORM for the two queries of each launch: composing them took longer than running them.
_EFFECTIVE = "SELECT workspace_id, name, secret_id, ciphertext FROM workspaces_effective_secrets(%s)"
# Together, since most workspaces get the same ones.
_GROUPED = """
SELECT secret_ids, array_agg(workspace_id) FROM (
    SELECT workspace_id, array_agg(secret_id ORDER BY name) AS secret_ids
    FROM workspaces_effective_secrets(%(ids)s) WHERE name = ANY(%(names)s) GROUP BY workspace_id
) AS workspace GROUP BY secret_ids
"""
_VALUES = "SELECT workspace_id, ciphertext FROM workspaces_secret_values(%s, %s)"
# One row without a value if there are none, no row if the workspace never had the token.
_VALUES_OF_OWNER = """
SELECT value.ciphertext FROM workspaces_agenttoken AS token
LEFT JOIN workspaces_secret_values(ARRAY[token.workspace_id], '{}') AS value ON true
WHERE token.digest = %s AND token.workspace_id = %s
"""

# By workspace, then by name.
Ciphertexts = Mapping[UUID, Mapping[str, str]]


class EffectiveSecret(NamedTuple):
    """A secret that a workspace gets."""

    workspace_id: UUID
    name: str
    secret_id: int
    ciphertext: str


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


def problem_with_name(name: str) -> str | None:
    """Return why a secret can't have this name, in a sentence, or None."""
    if not rules.is_environment_name(name) or len(name) > MAX_NAME_CHARACTERS:
        return f"{name[:80]!r} is not a valid environment variable name: use letters, digits and underscores."
    if name in rules.GIVEN_NAMES:
        return f"{name} is set by Slipway itself and can't be a secret."
    return None


def problem_with(name: str, value: str) -> str | None:
    """Return why this can't be an environment variable of a workspace, in a sentence without the value, or None."""
    if problem := problem_with_name(name):
        return problem
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


def check_number(names: Iterable[str], *, workspace_id: UUID | None, secret_set: str | None) -> None:
    """Raise InvalidSecret if a workspace, a set or the global secrets would be too many with secrets of these names."""
    # None means IS NULL, which the stubs don't know.
    owner: dict[str, Any] = {"workspace_id": workspace_id, "secret_set_id": secret_set}
    stored = set(Secret.objects.filter(**owner).values_list("name", flat=True))
    number = len(stored.union(names))
    # More than that, from before there was a limit, can still be replaced.
    if number > max(MAX_SECRETS, len(stored)):
        raise InvalidSecret(
            f"With these there would be {number} secrets here. A workspace and a set can have {MAX_SECRETS} each, "
            f"and there can be {MAX_SECRETS} global ones."
        )


def add_initial_secrets(values: Mapping[str, str], *, workspace_id: UUID, by: str) -> None:
    """Add the secrets of a workspace that was just inserted. Raises InvalidSecret before anything is stored."""
    check_secrets(values)
    set_by = by[:MAX_OPERATOR_CHARACTERS]
    Secret.objects.bulk_create(
        Secret(workspace_id=workspace_id, name=name, ciphertext=encryption.encrypt(value), set_by=set_by)
        for name, value in values.items()
    )


@transaction.atomic
def put_secrets(
    values: Mapping[str, str], *, workspace_id: UUID | None, secret_set: str | None = None, by: str = ""
) -> None:
    """Add or replace secrets of a workspace or of a set, or global ones (None), each with its next version.

    `by` names the operator. Raises InvalidSecret before anything is stored, also if their owner is gone.
    """
    check_secrets(values)
    lock_until_commit(AdvisoryLock.SECRETS)
    check_number(values, workspace_id=workspace_id, secret_set=secret_set)
    if workspace_id is not None:
        # Locked, because a removal deletes all secrets.
        owner = Workspace.objects.select_for_update(of=("self",), no_key=True).filter(pk=workspace_id).first()
        if owner is None or owner.status == WorkspaceStatus.REMOVED:
            raise InvalidSecret(REMOVED)
    if secret_set is not None and not SecretSet.objects.filter(pk=secret_set).exists():
        raise InvalidSecret(f"There is no secret set {secret_set[:80]!r} any more.")
    for name, value in values.items():
        new: dict[str, Any] = {"ciphertext": encryption.encrypt(value), "set_by": by[:MAX_OPERATOR_CHARACTERS]}
        # None means IS NULL, which the stubs don't know.
        key: dict[str, Any] = {"workspace_id": workspace_id, "secret_set_id": secret_set, "name": name}
        stored = Secret.objects.filter(**key)
        if all(value_of(secret.ciphertext) != value for secret in stored):
            _retire(stored)
            new["value_since"] = Now()
        Secret.objects.update_or_create(
            **key,
            defaults={**new, "updated_at": Now(), "version": F("version") + 1},
            create_defaults=new,
        )


@transaction.atomic
def delete_secrets(secrets: QuerySet[Secret]) -> None:
    """Delete these secrets. Their values are masked as long as a launch may have them."""
    _retire(secrets)
    secrets.delete()


def _retire(secrets: QuerySet[Secret]) -> None:
    """Keep the values for masking: those of a set for each workspace that has the set."""
    values: list[tuple[UUID | None, Secret]] = []
    for secret in secrets:
        holders: Iterable[UUID | None] = [secret.workspace_id]
        if secret.secret_set_id:
            # Also removed ones: their processes may be running.
            users = Workspace.objects.filter(secret_sets__contains=[secret.secret_set_id])
            holders = users.values_list("pk", flat=True)
        values += [(holder, secret) for holder in holders]
    retire(values)


def retire(values: Iterable[tuple[UUID | None, Secret]]) -> None:
    """Keep values, to mask them in texts of a workspace or of all (None), while a launch may have them."""
    rows = RetiredSecret.objects.bulk_create(
        RetiredSecret(
            workspace_id=workspace_id,
            name=secret.name,
            ciphertext=secret.ciphertext,
            value_since=secret.value_since,
            retired_at=Now() + _LONGEST_CHANGE,
        )
        for workspace_id, secret in values
    )
    # Launches get them until the commit, which may wait for the locks of many workspaces.
    retired = RetiredSecret.objects.filter(pk__in=[row.pk for row in rows])
    transaction.on_commit(lambda: retired.update(retired_at=Now()), robust=True)


def workspaces_with(secret_set: str) -> WorkspaceQuerySet:
    """Return the workspaces that have a set."""
    return Workspace.objects.not_removed().filter(secret_sets__contains=[secret_set])


def delete_unused_retired_secrets() -> int:
    """Delete the retired secrets that no launch can have any more, and no log that is shown; return their number.

    Also all but the newest MAX_RETIRED of a name. Those that no running launch can have are for logs only, unless one
    of these launches comes back: its texts are masked again when this ran next, with the reaper.
    """
    # A launch reads its secrets after it is queued and before it is booting. An unknown beginning rules none out.
    read_before = Q(booting_at__lt=Coalesce(OuterRef("value_since"), F("booting_at")), booting_at__isnull=False)
    may_have = Launch.objects.filter(~read_before, queued_at__lte=OuterRef("retired_at"))
    # The log of a workspace's current launch is shown after its stop, too, and masked each time.
    is_shown = ~Q(workspace__status=WorkspaceStatus.REMOVED) & ~Q(backend=BackendKind.EXTERNAL)
    of_it, is_own = Q(workspace_id=OuterRef("workspace_id")), Q(workspace__isnull=False)

    def without(launches: QuerySet[Launch]) -> Q:
        return (is_own & ~Exists(launches.filter(of_it))) | (~is_own & ~Exists(launches))

    running, shown = may_have.not_torn_down(), may_have.current().filter(is_shown)
    RetiredSecret.objects.filter(without(running), only_in_logs=False).update(only_in_logs=True)
    # A launch that was confirmed gone may have started after all.
    RetiredSecret.objects.filter(~without(running), only_in_logs=True).update(only_in_logs=False)
    unused, _ = RetiredSecret.objects.filter(without(shown), only_in_logs=True).delete()
    place = Window(RowNumber(), partition_by=["workspace_id", "name"], order_by="-pk")
    ranked = RetiredSecret.objects.exclude(name="").annotate(place=place)
    too_many, _ = RetiredSecret.objects.filter(pk__in=ranked.filter(place__gt=MAX_RETIRED).values("pk")).delete()
    return unused + too_many


def read_environment(workspace_id: UUID) -> dict[str, str]:
    """Return the variables of a workspace: its effective secrets. Raises SecretUnreadable."""
    environment: dict[str, str] = {}
    for secret in effective_secrets([workspace_id]):
        try:
            environment[secret.name] = encryption.decrypt(secret.ciphertext)
        except encryption.CannotDecrypt:
            raise SecretUnreadable(secret.name) from None
    return environment


def effective_secrets(workspace_ids: Iterable[UUID]) -> list[EffectiveSecret]:
    """Return the secrets that the workspaces get: global ones, overridden by those of their sets, then by their own."""
    with connection.cursor() as cursor:
        cursor.execute(_EFFECTIVE, [list(workspace_ids)])
        return [EffectiveSecret(*row) for row in cursor.fetchall()]


def is_environment_of(workspace_id: UUID, environment: Mapping[str, str]) -> bool:
    """Return whether a workspace still gets this environment."""
    try:
        return read_environment(workspace_id) == environment
    except SecretUnreadable:
        return False


def effective_ciphertexts(workspace_ids: Iterable[UUID], names: Iterable[str]) -> Ciphertexts:
    """Return what each workspace gets of the secrets with these names, encrypted.

    Workspaces that get the same ones share one mapping; those that get none are left out.
    """
    found: dict[UUID, Mapping[str, str]] = {}
    with connection.cursor() as cursor:
        cursor.execute(_GROUPED, {"ids": list(workspace_ids), "names": list(names)})
        groups = cursor.fetchall()
    stored = Secret.objects.in_bulk({secret_id for secret_ids, _ in groups for secret_id in secret_ids})
    for secret_ids, members in groups:
        shared = {stored[secret_id].name: stored[secret_id].ciphertext for secret_id in secret_ids}
        found |= dict.fromkeys(members, shared)
    return found


def value_of(ciphertext: str | None) -> str | None:
    """Return the value, or the ciphertext itself if it can't be decrypted; None if there is none."""
    try:
        return ciphertext and encryption.decrypt(ciphertext)
    except encryption.CannotDecrypt:
        return ciphertext


def readable_values(workspace_ids: set[UUID], secret_sets: Sequence[str] = ()) -> dict[UUID | None, list[str]]:
    """Return every value that can be decrypted, also retired ones that a running launch may have, by workspace.

    Global ones, and those of the named sets, are under None.
    """
    with connection.cursor() as cursor:
        cursor.execute(_VALUES, [list(workspace_ids), list(secret_sets)])
        rows = cursor.fetchall()
    values: dict[UUID | None, list[str]] = {}
    for workspace_id, ciphertext in rows:
        with suppress(encryption.CannotDecrypt):
            values.setdefault(workspace_id, []).append(encryption.decrypt(ciphertext))
    return values


def values_only_in_logs(workspace_id: UUID) -> list[str]:
    """Return the retired values that only the log of a workspace's stopped launch can hold, global ones included.

    Read them after `readable_values`, since those of a launch that ends in between are moved here.
    """
    of_it = Q(workspace_id=workspace_id) | Q(workspace__isnull=True)
    values = []
    for ciphertext in RetiredSecret.objects.filter(of_it, only_in_logs=True).values_list("ciphertext", flat=True):
        with suppress(encryption.CannotDecrypt):
            values.append(encryption.decrypt(ciphertext))
    return values


def values_for_token(token_digest: str, workspace_id: UUID) -> list[str] | None:
    """Return what `readable_values` has for a workspace, at the cost of one query.

    None if the workspace never had a token with this digest: then nothing is read or decrypted.
    """
    with connection.cursor() as cursor:
        cursor.execute(_VALUES_OF_OWNER, [token_digest, workspace_id])
        rows = cursor.fetchall()
    values = []
    for ciphertext in (ciphertext for (ciphertext,) in rows if ciphertext):
        with suppress(encryption.CannotDecrypt):
            values.append(encryption.decrypt(ciphertext))
    return values if rows else None
