"""History that proves itself: a workspace's move events, replayed from the oldest kept, end where its row stands."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any
from uuid import UUID

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import Exists, OuterRef, QuerySet
from django.db.models.functions import JSONObject

from events.models import Event
from events.names import EventType
from workspaces.lifecycle.transitions import TRANSITIONS, WorkspaceStatus, allowed_moves
from workspaces.models import Workspace

_CHUNK = 500
# Each move event tells of one status; a test holds the table to that.
TARGETS = {row.event: row.target for row in TRANSITIONS}
CREATED = frozenset(row.target for row in TRANSITIONS if not row.sources)


@dataclass(frozen=True, kw_only=True)
class Move:
    """A move as the log tells it."""

    version: int
    event_type: str

    @property
    def target(self) -> WorkspaceStatus | None:
        """Return where it led; None for an event that no verb of the table writes as a move."""
        return TARGETS.get(EventType(self.event_type)) if self.event_type in EventType.values else None

    def __str__(self) -> str:
        return f"version {self.version} ({self.event_type})"


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Something that log and row, or log and table, tell differently."""

    workspace_id: UUID
    name: str
    message: str

    def __str__(self) -> str:
        return f"{self.name or 'unknown'} ({self.workspace_id}): {self.message}"


def differences(workspace_id: UUID | None = None) -> tuple[int, list[Difference]]:
    """Replay one workspace's moves, or all workspaces'. Return how many were replayed, and what differs.

    Row and events are read by one statement, so that a move in between is no difference.
    """
    rows = Workspace.objects.order_by("pk") if workspace_id is None else Workspace.objects.filter(pk=workspace_id)
    replayed, found = 0, list[Difference]()
    for row in rows.annotate(moves=ArraySubquery(_moves())).iterator(chunk_size=_CHUNK):
        replayed += 1
        moves = [Move(**move) for move in row.moves]
        found += [Difference(workspace_id=row.pk, name=row.name, message=one) for one in replay(row, moves)]
    return replayed, found + list(_strays(workspace_id))


def _moves() -> "QuerySet[Event, Any]":
    told = Event.objects.filter(workspace_id=OuterRef("pk"), is_move=True).order_by("version", "id")
    return told.values(move=JSONObject(version="version", event_type="event_type"))


def replay(row: Workspace, moves: Sequence[Move]) -> Iterator[str]:
    """Yield each difference between the moves, the table and the row's status and version."""
    if not moves:
        yield f"its row is {row.status} at version {row.version}, and the log has no move of it."
        return
    if moves[0].version == 1 and moves[0].target not in CREATED:
        yield f"it begins with {moves[0]}, by which no workspace is created."
    yield from _steps(moves)
    last = moves[-1]
    if last.target != row.status:
        yield f"its row is {row.status}, the log's last move, {last}, leads to {last.target}."
    if last.version != row.version:
        yield f"its row is at version {row.version}, the log ends with {last}."


def _steps(moves: Sequence[Move]) -> Iterator[str]:
    allowed = allowed_moves()
    for move in moves:
        if move.target is None:
            yield f"{move} is marked as a move, and no verb writes such a one."
    for before, after in pairwise(moves):
        if after.version != before.version + 1:
            yield f"{before} is followed by {after}."
        elif before.target and after.target and (before.target, after.target) not in allowed:
            yield f"{after} leads from {before.target} to {after.target}, which no verb does."


def _strays(workspace_id: UUID | None) -> Iterator[Difference]:
    """Yield what is told of workspaces that have no row: a removed one keeps its own."""
    told = (
        Event.objects.filter(is_move=True) if workspace_id is None else Event.objects.filter(workspace_id=workspace_id)
    )
    rowless = told.filter(~Exists(Workspace.objects.filter(pk=OuterRef("workspace_id"))), workspace_id__isnull=False)
    for key in rowless.order_by("workspace_id").values_list("workspace_id", flat=True).distinct():
        yield Difference(
            workspace_id=UUID(str(key)), name="", message="the log tells of its moves, and there is no such row."
        )
