"""Re-encrypts everything that SECRETS_KEYS encrypt with the first of them, so that the others can be dropped."""

from collections.abc import Iterator
from typing import NamedTuple

from django.db.models import Model

from events.models import Channel
from postgres import encryption
from workspaces.models import RetiredSecret, Secret, StoredAnswer

BATCH_SIZE = 100


class EncryptedColumn(NamedTuple):
    """A column of texts that SECRETS_KEYS encrypt; an empty one is not encrypted."""

    model: type[Model]
    name: str


ENCRYPTED = (
    EncryptedColumn(Secret, "ciphertext"),
    EncryptedColumn(RetiredSecret, "ciphertext"),
    EncryptedColumn(Channel, "sealed_options"),
    EncryptedColumn(StoredAnswer, "body"),
)


class Rotation(NamedTuple):
    """How far it came: rows that were looked at, those re-encrypted, and those that no key can decrypt."""

    seen: int = 0
    rotated: int = 0
    unreadable: tuple[str, ...] = ()

    @property
    def summary(self) -> str:
        """Return one sentence."""
        untouched = self.seen - self.rotated - len(self.unreadable)
        text = f"{self.rotated} re-encrypted, {untouched} had the first key already"
        return f"{text}, {len(self.unreadable)} can't be decrypted." if self.unreadable else f"{text}."


def count_rows() -> int:
    """Return how many rows `rotate_keys` is going to look at."""
    return sum(column.model._default_manager.count() for column in ENCRYPTED)


def rotate_keys() -> Iterator[Rotation]:
    """Re-encrypt row by row, each in its own statement, and yield how far it came after each batch.

    It may be killed at any row: the next run finds what is left, since it asks each text which key it has.
    """
    done = Rotation()
    for column in ENCRYPTED:
        rows = column.model._default_manager.order_by("pk")
        batch = list(rows[:BATCH_SIZE])
        while batch:
            for row in batch:
                done = rotate_row(column, row, done)
            yield done
            batch = list(rows.filter(pk__gt=batch[-1].pk)[:BATCH_SIZE])


def rotate_row(column: EncryptedColumn, row: Model, done: Rotation) -> Rotation:
    """Re-encrypt the row's text unless it has the first key; return what is done with it."""
    done = done._replace(seen=done.seen + 1)
    ciphertext = getattr(row, column.name)
    if not ciphertext or encryption.is_current(ciphertext):
        return done
    try:
        rotated = encryption.rotate(ciphertext)
    except encryption.CannotDecrypt:
        place = f" ({row.origin})" if isinstance(row, Secret) else ""
        return done._replace(unreadable=(*done.unreadable, f"{row._meta.verbose_name} {row}{place}"))
    # Only if nobody has set it meanwhile: that text is newer.
    found = column.model._default_manager.filter(pk=row.pk, **{column.name: ciphertext})
    return done._replace(rotated=done.rotated + found.update(**{column.name: rotated}))
