"""Guards for loops over workspaces: whatever one of them raises is logged, shown and rolled back, and the others go on.

An outage of the database concerns all of them, so that is raised.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from django.db import connection, transaction

from postgres.errors import concerns_all
from workspaces.provisioners.guarded_calls import LoggedErrors, describe, reference_of

logger = logging.getLogger(__name__)

Row = TypeVar("Row")
# Of all guards of this process, since each look at the rows has a new one.
_logged = LoggedErrors()


@dataclass(frozen=True, kw_only=True)
class RowFailure(Generic[Row]):
    """A row whose handling raised something. `text` names the error and its reference in the log."""

    row: Row
    text: str


def by_workspace(row: object) -> Mapping[str, object]:
    """Name a workspace, given itself or its ID, in a line of the log."""
    return {"workspace_id": getattr(row, "pk", row)}


def by_launch(launch_id: object) -> Mapping[str, object]:
    """Name a launch in a line of the log."""
    return {"launch_id": launch_id}


@dataclass(kw_only=True)
class RowGuard(Generic[Row]):
    """Guards the handling of each row of a loop.

    `what` says in the log and in the failures what could not be done, `ids` names the row in the log's line.
    """

    what: str
    ids: Callable[[Row], Mapping[str, object]] = by_workspace
    failures: list[RowFailure[Row]] = field(default_factory=list)

    @contextmanager
    def handling(self, row: Row, *, is_read_only: bool = False) -> Iterator[None]:
        """Undo, log and keep whatever the block raises about this row. Raises only if the database can't be used.

        What a row raises again and again is logged once. A block that is read-only needs no savepoint inside a
        transaction.
        """
        has_begun = False
        try:
            # A failed statement must not spoil the transaction that the loop runs in.
            with nullcontext() if is_read_only or not connection.in_atomic_block else transaction.atomic():
                has_begun = True
                yield
        except Exception as error:
            if not has_begun or concerns_all(error):
                raise
            key = self.key(row)
            reference = reference_of(error, *key)
            if _logged.is_new(key, reference):
                logger.exception(self.what, extra={**self.ids(row), "reference": reference})
            self.failures.append(RowFailure(row=row, text=f"{self.what} ({describe(error, reference)})."))
        else:
            # Nearly always nothing was logged, and a sweep handles thousands of rows.
            if _logged.references:
                _logged.forget(self.key(row))

    def key(self, row: Row) -> tuple[object, ...]:
        """Return what distinguishes this work on the row from other work, and from this work on other rows."""
        return (self.what, *self.ids(row).values())

    def handle_together(self, rows: Sequence[Row], act: Callable[[Sequence[Row]], object]) -> None:
        """Act on all rows at once, in a savepoint. If that raises, act on each half, down to the rows that raise.

        `act` changes its instances last, since nothing but the database is rolled back.
        """
        if len(rows) < 2:
            for row in rows:
                with self.handling(row), transaction.atomic():
                    act(rows)
            return
        try:
            with transaction.atomic():
                act(rows)
        except Exception as error:
            if concerns_all(error):
                raise
            middle = len(rows) // 2
            self.handle_together(rows[:middle], act)
            self.handle_together(rows[middle:], act)
        else:
            for row in rows if _logged.references else ():
                _logged.forget(self.key(row))
