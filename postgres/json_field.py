"""A JSON column that is mostly empty."""

from typing import Any

from django.db.models import JSONField


class SparseJSONField(JSONField):
    """Django's, except that an empty object is not parsed: a list reads several of them in each of its rows."""

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        """Return the value of a column as Python has it."""
        return {} if value == "{}" else super().from_db_value(value, expression, connection)

    def deconstruct(self) -> Any:
        """Return Django's own field for migrations, since the column is the same."""
        name, _, arguments, options = super().deconstruct()
        return name, "django.db.models.JSONField", arguments, options
