"""Changes of secrets. They mark the workspaces whose launch has other secrets than the next one will get."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from uuid import UUID

from django.db import transaction
from django.db.models import Q, QuerySet

from events import outbox
from events.names import EventType
from postgres.advisory_locks import AdvisoryLock, lock_until_commit
from workspaces.access import secret_sets, secrets
from workspaces.models import BackendKind, Secret, Workspace, WorkspaceQuerySet
from workspaces.services.core.lineage import event_subjects
from workspaces.services.core.transition import lock_workspaces
from workspaces.services.core.trees import lock_roots

_LOCKED_AT_ONCE = 500


def set_secrets(
    values: Mapping[str, str], *, workspace_id: UUID | None = None, secret_set: str | None = None, by: str
) -> None:
    """Set secrets of a workspace, of a set, or global ones. `by` names the operator.

    Raises InvalidSecret before anything is stored.
    """
    secrets.check_secrets(values)
    owners = [workspace_id] if workspace_id else []
    with changing(holders(workspace_id, secret_set), values, owners=owners, by=by):
        secrets.put_secrets(values, workspace_id=workspace_id, secret_set=secret_set, by=by)


@transaction.atomic
def delete_secrets(found: QuerySet[Secret], *, by: str) -> None:
    """Delete these secrets. Their values are masked as long as a launch may have them."""
    lock_until_commit(AdvisoryLock.SECRETS)
    rows = list(found)
    owners = {row.workspace_id for row in rows if row.workspace_id}
    sets = {row.secret_set_id for row in rows if row.secret_set_id}
    affected = Workspace.objects.filter(Q(pk__in=owners) | Q(secret_sets__overlap=list(sets)))
    if any(not row.workspace_id and not row.secret_set_id for row in rows):
        affected = Workspace.objects.all()
    with changing(affected, {row.name for row in rows}, owners=owners, by=by):
        secrets.delete_secrets(Secret.objects.filter(pk__in=[row.pk for row in rows]))


@contextmanager
def changing_sets(workspace_id: UUID, names: Sequence[str] | None, *, by: str) -> Iterator[None]:
    """Change the sets that a workspace has to these in the block; None if it doesn't change them.

    Open it before you lock the workspace.
    """
    if names is None:
        yield
        return
    with transaction.atomic():
        lock_until_commit(AdvisoryLock.SECRETS)
        row = Workspace.objects.filter(pk=workspace_id).only("secret_sets").first()
        earlier = row.secret_sets if row else []
        affected = Secret.objects.filter(secret_set__in=[*earlier, *names]).values_list("name", flat=True)
        with changing(holders(workspace_id, None), affected, by=by):
            yield
            secret_sets.retire_sets(workspace_id, set(earlier) - set(names))


@contextmanager
def changing(
    workspaces: WorkspaceQuerySet, names: Iterable[str], *, owners: Collection[UUID] = (), by: str
) -> Iterator[None]:
    """Change secrets with these names in the block, in one transaction, and mark those workspaces that get others.

    `owners` are the workspaces whose own secrets change.
    """
    with transaction.atomic():
        lock_until_commit(AdvisoryLock.SECRETS)
        # Slipway gives external workspaces no environment. New workspaces wait for the lock.
        launched = workspaces.not_removed().exclude(backend=BackendKind.EXTERNAL)
        workspace_ids, wanted = list(launched.values_list("pk", flat=True)), list(names)
        if owners:
            # In the order of a removal: the roots, the workspaces, then their secrets.
            lock_roots([*workspace_ids, *owners])
            lock_workspaces(owners)
        before = secrets.effective_ciphertexts(workspace_ids, wanted)
        yield
        mark(changed_names(before, secrets.effective_ciphertexts(workspace_ids, wanted)), by=by)


def holders(workspace_id: UUID | None, secret_set: str | None) -> WorkspaceQuerySet:
    """Return the workspaces that may get a secret of this workspace, of this set, or a global one."""
    if secret_set is not None:
        return secrets.workspaces_with(secret_set)
    return Workspace.objects.filter(pk=workspace_id) if workspace_id else Workspace.objects.all()


def changed_names(before: secrets.Ciphertexts, after: secrets.Ciphertexts) -> dict[UUID, list[str]]:
    """Return the names of the secrets that have other values, for each workspace that has some.

    Many workspaces have the same mapping, so each pair of them is compared once.
    """
    found: dict[tuple[int, int], list[str]] = {}
    readable = cache(secrets.value_of)
    changed = {}
    for workspace_id in before.keys() | after.keys():
        old, new = before.get(workspace_id, {}), after.get(workspace_id, {})
        pair = (id(old) if old else 0, id(new) if new else 0)
        if pair not in found:
            names = sorted(old.keys() | new.keys())
            found[pair] = [name for name in names if readable(old.get(name)) != readable(new.get(name))]
        if found[pair]:
            changed[workspace_id] = found[pair]
    return changed


def mark(changed: Mapping[UUID, Sequence[str]], *, by: str) -> None:
    """Mark workspaces whose secrets with these names changed; those that a launch runs with the old ones are told."""
    ordered = sorted(changed)
    # All of them before the first workspace, in the order of the verbs on trees.
    lock_roots(ordered)
    for start in range(0, len(ordered), _LOCKED_AT_ONCE):
        rows = lock_workspaces(part := ordered[start : start + _LOCKED_AT_ONCE])
        Workspace.objects.filter(pk__in=part).update(secrets_changed=True)
        told = [row for row in rows if row.runs_a_launch and not row.secrets_changed]
        outbox.record(
            [
                outbox.NewEvent(
                    event_type=EventType.WORKSPACE_NEEDS_RESTART,
                    workspace_id=row.pk,
                    version=row.version,
                    payload={"secrets": list(changed[row.pk]), "by": by},
                    subject=subject,
                )
                for row, subject in zip(told, event_subjects(told), strict=True)
            ]
        )
