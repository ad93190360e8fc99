"""The model field of a native Postgres enum, bound to a TextChoices.

A database may know more values than the code. If it knows fewer, /ready and the drift gate (status_drift) say so.
"""

from typing import Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper


class EnumField(models.CharField):
    """A column of the Postgres type `enum_type`. Values are read as members of the TextChoices `enum`.

    Migrations know the type's name only; CreateEnum creates its values.
    """

    description = "Native Postgres enum"

    def __init__(self, *args: Any, enum_type: str, enum: type[models.TextChoices] | None = None, **kwargs: Any) -> None:
        self.enum_type = enum_type
        self.enum = enum
        if enum is not None:
            kwargs["choices"] = enum.choices
        # CharField requires a length. This is the limit of an enum label in Postgres.
        kwargs["max_length"] = 63
        super().__init__(*args, **kwargs)

    def db_type(self, connection: BaseDatabaseWrapper) -> str:
        return self.enum_type

    def cast_db_type(self, connection: BaseDatabaseWrapper) -> str:
        return self.enum_type

    def from_db_value(self, value: str | None, expression: Any, connection: BaseDatabaseWrapper) -> Any:
        return self.to_python(value)

    def to_python(self, value: Any) -> Any:
        if value is None or self.enum is None:
            return value
        # A value that this code doesn't know, from a newer release, stays plain text.
        return self.enum._value2member_map_.get(value, value)

    def get_prep_value(self, value: Any) -> Any:
        # Plain text: psycopg would adapt a Python enum differently.
        prepared = super().get_prep_value(value)
        return prepared if prepared is None else str(prepared)

    def deconstruct(self) -> Any:
        name, path, args, kwargs = super().deconstruct()
        kwargs["enum_type"] = self.enum_type
        kwargs.pop("max_length")
        kwargs.pop("choices", None)
        return name, path, args, kwargs
