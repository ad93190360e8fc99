"""The closed sets that the gate guards: every native enum that a field is bound to, and the event names."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from django.apps import apps
from django.db import models

from events.names import EphemeralEventType, EventType
from postgres.enum_field import EnumField


@dataclass(frozen=True, kw_only=True)
class EnumTerm:
    """One native enum: its values, and the names beside which a raw value is taken for one of them.

    `members` are the ways to write a value, by the value; `words` are the names of the fields bound to it.
    """

    type_name: str
    members: Mapping[str, str]
    words: frozenset[str]
    tables: frozenset[str]

    def is_named(self, identifier: str) -> bool:
        """Tell whether the identifier speaks of this enum: `new_status`, `workspace__status__in`, `STATUSES`."""
        return any(word in identifier.casefold() for word in self.words)

    def member(self, text: str) -> str | None:
        """Return how to write the value rightly, in whatever case it is written here; None for another text."""
        return self.members.get(text.strip().casefold())


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
        members={value.casefold(): spelled for value, spelled in _spelled(bound[0].enum).items()},
        words=frozenset(field.name.casefold() for field in bound),
        tables=frozenset(field.model._meta.db_table for field in bound),
    )


def event_names() -> dict[str, str]:
    """Return how to write each event name, by the name."""
    return _spelled(EventType) | _spelled(EphemeralEventType)


def _spelled(enum: type[models.TextChoices] | None) -> dict[str, str]:
    return {str(member.value): f"{enum.__name__}.{member.name}" for member in enum} if enum else {}
