"""Verifies the event log: the move events of a workspace, replayed from the oldest kept, must lead to its row."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from uuid import UUID

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import Exists, OuterRef
from django.db.models.functions import JSONObject

from events.models import Event
from events.names import EventType
from workspaces.lifecycle.transitions import TRANSITIONS, WorkspaceStatus, allowed_moves
from workspaces.models import Workspace
from workspaces.services.core.guarded_rows import RowGuard

_CHUNK = 500
# Each event type leads to exactly one status; a test checks TRANSITIONS for that.
TARGETS = {rule.event: rule.target for rule in TRANSITIONS}
CREATED = frozenset(rule.target for rule in TRANSITIONS if not rule.sources)


@dataclass(frozen=True, kw_only=True)
class Move:
    """A transition as the log recorded it."""

    version: int
    event_type: str

    @property
    def target(self) -> WorkspaceStatus | None:
        """Return the status it led to, or None if no transition writes such an event."""
        return TARGETS.get(EventType(self.event_type)) if self.event_type in EventType.values else None

    def __str__(self) -> str:
        return f"version {self.version} ({self.event_type})"


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A contradiction between the log and a workspace's row, or between the log and TRANSITIONS."""

    workspace_id: UUID
    name: str
    message: str

    def __str__(self) -> str:
        return f"{self.name or 'unknown'} ({self.workspace_id}): {self.message}"


def differences(workspace_id: UUID | None = None) -> tuple[int, list[Difference]]:
    """Replay the moves of one workspace or of all. Return how many workspaces were replayed, and the differences.

    One statement reads each row with its events, so that a transition in between makes no difference.
    """
    rows = Workspace.objects.order_by("pk") if workspace_id is None else Workspace.objects.filter(pk=workspace_id)
    events = Event.objects.filter(workspace_id=OuterRef("pk"), is_move=True).order_by("version", "id")
    moves = ArraySubquery(events.values(move=JSONObject(version="version", event_type="event_type")))
    replayed, found = 0, list[Difference]()
    guard = RowGuard[Workspace](what="its moves could not be replayed")
    for row in rows.annotate(moves=moves).iterator(chunk_size=_CHUNK):
        replayed += 1
        with guard.handling(row, is_read_only=True):
            messages = replay(row, [Move(**move) for move in row.moves])
            found += [Difference(workspace_id=row.pk, name=row.name, message=message) for message in messages]
    found += [Difference(workspace_id=each.row.pk, name=each.row.name, message=each.text) for each in guard.failures]
    return replayed, found + without_row(workspace_id)


def replay(row: Workspace, moves: Sequence[Move]) -> Iterator[str]:
    """Yield each difference between the moves, TRANSITIONS, and the row's status and version."""
    if not moves:
        yield f"its row is {row.status} at version {row.version}, and the log has no move of it."
        return
    if moves[0].version == 1 and moves[0].target not in CREATED:
        yield f"it begins with {moves[0]}, which doesn't create a workspace."
    yield from forbidden_steps(moves)
    last = moves[-1]
    if last.target != row.status:
        yield f"its row is {row.status}, but the log's last move, {last}, leads to {last.target}."
    if last.version != row.version:
        yield f"its row is at version {row.version}, but the log ends with {last}."


def forbidden_steps(moves: Sequence[Move]) -> Iterator[str]:
    """Yield each move that TRANSITIONS doesn't allow, and each gap in the versions."""
    for move in moves:
        if move.target is None:
            yield f"{move} is marked as a move, but no verb writes such an event."
    allowed = allowed_moves()
    for before, after in pairwise(moves):
        if after.version != before.version + 1:
            yield f"{before} is followed by {after}."
        elif before.target and after.target and (before.target, after.target) not in allowed:
            yield f"{after} leads from {before.target} to {after.target}, which no verb does."


def without_row(workspace_id: UUID | None) -> list[Difference]:
    """Return a difference for each workspace that the log has moves of but that has no row, unless it was removed.

    For a single workspace, any event counts as a trace of it, so that a mistyped ID is reported.
    """
    events = Event.objects.filter(workspace_id=workspace_id) if workspace_id else Event.objects.filter(is_move=True)
    rowless = events.filter(~Exists(Workspace.objects.filter(pk=OuterRef("workspace_id"))), workspace_id__isnull=False)
    removed = Event.objects.filter(workspace_id=OuterRef("workspace_id"), event_type=EventType.WORKSPACE_REMOVED)
    keys = rowless.filter(~Exists(removed)).order_by("workspace_id").values_list("workspace_id", flat=True).distinct()
    message = "the log has moves of it, but it has no row."
    return [Difference(workspace_id=UUID(str(key)), name="", message=message) for key in keys]
