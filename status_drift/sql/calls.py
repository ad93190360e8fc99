"""Which calls take SQL, and where in the call it is."""

import ast

from status_drift.constant_text import constant_text
from status_drift.sources import last_name

# Where one of these is passed on without being called, its arguments are out of sight.
CURSOR_METHODS = ("execute", "executemany", "stream", "copy", "raw")
# These take parts of a statement.
_TAKING_FRAGMENTS = frozenset({"SQL", "RawSQL", "extra"})
_TAKING_SQL = _TAKING_FRAGMENTS | {*CURSOR_METHODS, "RunSQL"}
# What they call their text, and its parameters.
_TEXT_KEYWORDS = frozenset({None, "query", "sql", "raw_query", "statement", "obj"})
_PARAMETER_KEYWORDS = frozenset({"params", "param_list", "params_seq"})


def takes_sql(call: ast.Call) -> bool:
    """Return whether the call takes SQL: a cursor's method, RawSQL, RunSQL, extra or psycopg's SQL.

    Others have a `stream` or `copy`, too: functions, modules, methods with more than two arguments. A first argument of
    one word isn't a statement: `client.stream("POST", url)`.
    """
    name = last_name(call.func)
    if name not in {"stream", "copy"}:
        return name in _TAKING_SQL
    if not isinstance(call.func, ast.Attribute) or last_name(call.func.value) in {"shutil", "copy"}:
        return False
    text = constant_text(call.args[0]) if call.args else None
    return len(call.args) <= 2 and (text is None or len(text.split()) != 1)


def takes_fragments(call: ast.Call) -> bool:
    """Return whether the call takes parts of a statement."""
    return last_name(call.func) in _TAKING_FRAGMENTS


def sql_arguments(call: ast.Call) -> list[ast.expr]:
    """Return the arguments that are SQL."""
    name, found = last_name(call.func), call.args[:1]
    if name == "RunSQL":
        return [*call.args[:2], *(word.value for word in call.keywords if word.arg in {"sql", "reverse_sql"})]
    if name != "extra":
        return found or [word.value for word in call.keywords if word.arg in _TEXT_KEYWORDS]
    clauses = [word.value for word in call.keywords if word.arg in {"select", "where"}]
    return [one for clause in clauses for one in getattr(clause, "values", getattr(clause, "elts", [clause]))]


def sql_parameters(call: ast.Call) -> ast.expr | None:
    """Return the parameters of the SQL."""
    if last_name(call.func) in {"RunSQL", "SQL", "extra"}:
        return None
    named = (word.value for word in call.keywords if word.arg in _PARAMETER_KEYWORDS)
    return call.args[1] if len(call.args) > 1 else next(named, None)


def is_sql_object(node: ast.AST) -> bool:
    """Return whether the expression is psycopg's `SQL(…)`."""
    return isinstance(node, ast.Call) and last_name(node.func) == "SQL"


def is_open_sql_object(node: ast.AST) -> bool:
    """Return whether the expression is a `SQL(…)` of a text that isn't constant."""
    return isinstance(node, ast.Call) and is_sql_object(node) and bool(node.args) and not constant_text(node.args[0])
