"""The model field of a native Postgres enum, bound to a TextChoices.

A database may know more values than the code. If it knows fewer, /ready and the drift gate (status_drift) say so.
"""

from typing import Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper


class EnumField(models.CharField):
    """A column of the native type `enum_type`, mirrored by the TextChoices `enum`, whose members it reads back.

    Migrations know the type's name only; its values are made by CreateEnum.
    """

    description = "Native Postgres enum"

    def __init__(self, *args: Any, enum_type: str, enum: type[models.TextChoices] | None = None, **kwargs: Any) -> None:
        self.enum_type = enum_type
        self.enum = enum
        if enum is not None:
            kwargs["choices"] = enum.choices
        # CharField wants a length; Postgres bounds an enum's label to this one.
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
        # A database with more values than this code is tolerated: such a value stays plain text.
        return self.enum._value2member_map_.get(value, value)

    def get_prep_value(self, value: Any) -> Any:
        # Plain text for the driver, which would otherwise adapt the Python enum.
        prepared = super().get_prep_value(value)
        return prepared if prepared is None else str(prepared)

    def deconstruct(self) -> Any:
        name, path, args, kwargs = super().deconstruct()
        kwargs["enum_type"] = self.enum_type
        kwargs.pop("max_length")
        kwargs.pop("choices", None)
        return name, path, args, kwargs
