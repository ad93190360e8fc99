"""The closed sets that the gate guards: every native enum that a field is bound to, and the event names."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from django.apps import apps
from django.db import models

from events.names import EphemeralEventType, EventType
from postgres.enum_field import EnumField

# A text that needs no more edits than these to become a value is taken for a misspelled one.
MAX_EDITS = 2


@dataclass(frozen=True, kw_only=True)
class EnumTerm:
    """One native enum: its values, and the fields and columns beside which a string is taken for one of them.

    `members` maps each value to the code for it (`WorkspaceStatus.FAILED`); `fields` are the model fields bound to the
    type, `field_names` and `tables` their names and tables.
    """

    type_name: str
    members: Mapping[str, str]
    field_names: frozenset[str]
    tables: frozenset[str]
    fields: frozenset[models.Field] = frozenset()

    @property
    def enum_name(self) -> str:
        return next(iter(self.members.values())).partition(".")[0]

    @property
    def label(self) -> str:
        """Return the word for a value in messages: the name of its field."""
        return min(self.field_names)

    def is_named(self, identifier: str) -> bool:
        """Return whether the identifier contains the field's name: `new_status`, `workspace__status`, `STATUSES`."""
        return any(name in identifier.casefold() for name in self.field_names)

    def member(self, text: str) -> str | None:
        """Return the code for a value, whatever its letter case; None if the enum has no such value."""
        return self.members.get(text.strip().casefold())

    def misspelled(self, text: str) -> str | None:
        """Return the code for the value within MAX_EDITS of the text, None for a value itself or any other text."""
        folded = text.strip().casefold()
        distance, member = min((edit_distance(folded, value), member) for value, member in self.members.items())
        return member if 0 < distance <= MAX_EDITS else None

    def advice(self, text: str) -> str:
        """Return what to write instead of a text that is not a value."""
        near = self.misspelled(text)
        if near is None:
            close = get_close_matches(text.strip().casefold(), self.members, n=1)
            near = self.members[close[0]] if close else None
        return f"Did you mean {near}?" if near else f"Use a member of {self.enum_name}."


def edit_distance(left: str, right: str) -> int:
    """Count the letters to insert, delete, replace or swap with their neighbour to turn one text into the other.

    Returns MAX_EDITS + 1 for texts whose lengths alone differ by more than MAX_EDITS.
    """
    if abs(len(left) - len(right)) > MAX_EDITS:
        return MAX_EDITS + 1
    before: list[int] = []
    row = list(range(len(right) + 1))
    for i, letter in enumerate(left, start=1):
        earlier, before, row = before, row, [i]
        for j, other in enumerate(right, start=1):
            edits = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != other))
            if i > 1 and j > 1 and letter == right[j - 2] and left[i - 2] == other:
                edits = min(edits, earlier[j - 2] + 1)
            row.append(edits)
    return row[-1]


def native_enums() -> list[EnumTerm]:
    """Return a term for each native enum that a model's field is bound to."""
    fields: dict[str, list[EnumField]] = {}
    for model in apps.get_models():
        for field in model._meta.local_fields:
            if isinstance(field, EnumField) and field.enum is not None:
                fields.setdefault(field.enum_type, []).append(field)
    return [enum_term(type_name, bound) for type_name, bound in sorted(fields.items())]


def enum_term(type_name: str, fields: Iterable[EnumField]) -> EnumTerm:
    """Return the term of the fields that are bound to one type."""
    bound = list(fields)
    return EnumTerm(
        type_name=type_name,
        members={value.casefold(): code for value, code in _codes(bound[0].enum).items()},
        field_names=frozenset(field.name.casefold() for field in bound),
        tables=frozenset(field.model._meta.db_table for field in bound),
        fields=frozenset(bound),
    )


def event_names() -> dict[str, str]:
    """Map each event name to the code for it."""
    return _codes(EventType) | _codes(EphemeralEventType)


def _codes(enum: type[models.TextChoices] | None) -> dict[str, str]:
    return {str(member.value): f"{enum.__name__}.{member.name}" for member in enum} if enum else {}
