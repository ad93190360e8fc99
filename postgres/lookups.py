"""A lookup for long lists of UUIDs: one array parameter, which Postgres parses much faster than many placeholders."""

from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Lookup, UUIDField
from django.db.models.sql.compiler import SQLCompiler


@UUIDField.register_lookup
class AmongIds(Lookup):
    """`pk__among=ids`: the column is one of the UUIDs. Prefer a set: the ORM walks through the items of a list."""

    lookup_name = "among"
    prepare_rhs = False

    def as_sql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper) -> tuple[str, tuple[Any, ...]]:
        """Return the condition, with all UUIDs as one parameter."""
        left, parameters = self.process_lhs(compiler, connection)
        return f"{left} = ANY(%s::uuid[])", (*parameters, "{" + ",".join([one.hex for one in self.rhs]) + "}")
