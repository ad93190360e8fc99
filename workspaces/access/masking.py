"""Masks the secrets of workspaces: what they are is read from the database, how they are found is in events/masking."""

from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import chain
from uuid import UUID

from events.masking.masker import Masker
from workspaces.access import secrets
from workspaces.access.tokens import digest
from workspaces.models import AgentToken


def masker_of(workspace_id: UUID) -> Masker:
    """Return what masks the texts of a workspace: its secrets, the global ones and its agent tokens."""
    stored = [value for values in secrets.readable_values({workspace_id}).values() for value in values]
    return WorkspaceMasker(stored, workspace_id=workspace_id)


def masker_of_sets(secret_sets: Sequence[str]) -> Masker:
    """Return what masks the texts of a workspace that is not created yet: global secrets and those of sets."""
    return Masker(chain.from_iterable(secrets.readable_values(set(), secret_sets).values()))


def masker_of_log(workspace_id: UUID) -> Masker:
    """Return what masks the log of a workspace's current launch, which is shown after its stop, too.

    It also knows the values that were replaced or deleted since, which no other text can hold any more.
    """
    stored = [value for values in secrets.readable_values({workspace_id}).values() for value in values]
    return WorkspaceMasker([*stored, *secrets.values_only_in_logs(workspace_id)], workspace_id=workspace_id)


def masker_for_token(token: str, *, workspace_id: UUID) -> Masker | None:
    """Return what masks the texts of a workspace, or None, quickly, if this is no token that it ever had."""
    values = secrets.values_for_token(digest(token), workspace_id)
    return None if values is None else WorkspaceMasker(values, workspace_id=workspace_id)


class WorkspaceMasker(Masker):
    """Masks these values and the agent tokens of a workspace, also those without a prefix."""

    def __init__(self, values: Iterable[str], *, workspace_id: UUID) -> None:
        super().__init__(values)
        self._workspace_id = workspace_id

    def is_former_token(self, word: str) -> bool:
        return digest(word) in self._digests

    @cached_property
    def _digests(self) -> set[str]:
        return set(AgentToken.objects.filter(workspace_id=self._workspace_id).values_list("digest", flat=True))
