"""Which strings of an SQL statement belong to a column of the enum: `status = 'failed'`, not `outcome = 'failed'`."""

from collections.abc import Iterator
from functools import cache
from itertools import zip_longest
from typing import Any

from django.apps import apps
from pglast import ast
from pglast.enums import A_Expr_Kind

from status_drift.enum_terms import EnumTerm
from status_drift.neighbours import Neighbour

_WRITING = (ast.InsertStmt, ast.UpdateStmt, ast.MergeStmt)
_STATEMENTS = (*_WRITING, ast.SelectStmt, ast.DeleteStmt, ast.CommonTableExpr)
# These give one of their operands.
_CHOOSING = (ast.CoalesceExpr, ast.MinMaxExpr)
_COMPARING = frozenset({"=", "<>", "!=", "<", ">", "<=", ">="})
# `a = ANY (…)`, `a IN (…)`, `a IS DISTINCT FROM b`, `NULLIF (a, b)`, `a BETWEEN b AND c` and their like; not LIKE.
_COMPARING_KINDS = frozenset(
    {
        A_Expr_Kind.AEXPR_OP_ANY,
        A_Expr_Kind.AEXPR_OP_ALL,
        A_Expr_Kind.AEXPR_IN,
        A_Expr_Kind.AEXPR_DISTINCT,
        A_Expr_Kind.AEXPR_NOT_DISTINCT,
        A_Expr_Kind.AEXPR_NULLIF,
        A_Expr_Kind.AEXPR_BETWEEN,
        A_Expr_Kind.AEXPR_NOT_BETWEEN,
    }
)


def mentions(statement: Any, term: EnumTerm) -> bool:
    """Return whether the statement names a column of the enum or its type, or fills its table without column names."""
    for node in walk(statement):
        match node:
            case ast.InsertStmt(cols=None) if node.relation.relname.casefold() in term.tables:
                return True
            case ast.TypeName(names=names) if names and names[-1].sval == term.type_name:
                return True
            case ast.ColumnRef(fields=names) | ast.Alias(colnames=names) | ast.CommonTableExpr(aliascolnames=names):
                if any(term.is_named(name.sval) for name in names or () if isinstance(name, ast.String)):
                    return True
            case ast.ResTarget(name=str(name)) if term.is_named(name):
                return True
    return False


class ColumnReader:
    """Finds the strings of one statement that may be values of the enum."""

    def __init__(self, term: EnumTerm, statement: Any) -> None:
        self._term = term
        self._statement = statement
        self._done: set[int] = set()
        relations = [node for node in walk(statement) if isinstance(node, ast.RangeVar)]
        self._tables = {(one.alias.aliasname if one.alias else one.relname): one.relname for one in relations}

    def texts(self) -> Iterator[tuple[str, Neighbour]]:
        """Yield each string with what it stands beside, and each item of an array's text: `'{online,paused}'`."""
        return self._texts(self._statement, Neighbour.NOTHING, "")

    def _texts(self, node: Any, neighbour: Neighbour, table: str) -> Iterator[tuple[str, Neighbour]]:
        """Yield the strings below a node; `table` is the one that the statement around it writes to."""
        match node:
            case tuple() | list():
                for item in node:
                    if id(item) not in self._done:
                        yield from self._texts(item, neighbour, table)
            case ast.A_Const(val=ast.String(sval=text)):
                is_array = text.startswith("{") and text.endswith("}")
                yield from ((item, neighbour) for item in (text[1:-1].split(",") if is_array else [text]))
            case ast.CaseExpr():
                yield from self._case(node, neighbour, table)
            case ast.Node():
                yield from self._below(node, neighbour, table)

    def _below(self, node: Any, neighbour: Neighbour, table: str) -> Iterator[tuple[str, Neighbour]]:
        if isinstance(node, _STATEMENTS):
            table = node.relation.relname if isinstance(node, _WRITING) else ""
        for value, beside in self._by_place(node):
            yield from self._texts(value, beside, table)
            self._done.add(id(value))
        yield from self._texts(_children(node), self._neighbour(node, neighbour, table), table)

    def _neighbour(self, node: Any, around: Neighbour, table: str) -> Neighbour:
        """Return what the strings right below a node stand beside."""
        if isinstance(node, ast.ResTarget) and node.name:
            column = self._column((node.name,), table)
            # Without a table that is written, it is the name of an output.
            return Neighbour.NAME if column == Neighbour.FIELD and not table else column
        if isinstance(node, ast.TypeCast):
            names = node.typeName.names if node.typeName else ()
            return Neighbour.FIELD if names and names[-1].sval == self._term.type_name else around
        if isinstance(node, (ast.A_Expr, ast.FuncCall, *_CHOOSING)):
            operator = node.name[-1].sval if isinstance(node, ast.A_Expr) and node.name else ""
            compares = isinstance(node, _CHOOSING) or getattr(node, "kind", None) in _COMPARING_KINDS
            compares |= operator in _COMPARING and node.kind == A_Expr_Kind.AEXPR_OP
            strongest = self._strongest(_children(node), around)
            return Neighbour.NAME if strongest == Neighbour.FIELD and not compares else strongest
        return Neighbour.NOTHING if isinstance(node, _STATEMENTS) else around

    def _strongest(self, node: Any, otherwise: Neighbour = Neighbour.NOTHING) -> Neighbour:
        """Return what an operand's columns are, the enum's own before all else; `otherwise` if it has no column."""
        columns = [self._column(names) for names in _direct_columns(node)]
        return min(columns or [otherwise])

    def _column(self, names: tuple[str, ...], table: str = "") -> Neighbour:
        """Return what a column is: `("status",)`, `("w", "status")`."""
        *owner, column = names
        if not self._term.is_named(column):
            return Neighbour.OTHER_FIELD
        if column.casefold() not in self._term.field_names:
            return Neighbour.NAME
        if owner:
            table = self._tables.get(owner[-1], owner[-1])
        tables = {table.casefold()} if table else {name.casefold() for name in self._tables.values()}
        columns = columns_by_table()
        having = {name for name in tables if name in self._term.tables or column.casefold() in columns.get(name, ())}
        if not having:
            return Neighbour.NAME
        if having <= self._term.tables:
            return Neighbour.FIELD
        return Neighbour.NAME if having & self._term.tables else Neighbour.OTHER_FIELD

    def _case(self, node: Any, neighbour: Neighbour, table: str) -> Iterator[tuple[str, Neighbour]]:
        """Take conditions for the column between CASE and WHEN, results for what the whole expression stands beside."""
        beside = self._strongest(node.arg) if node.arg else Neighbour.NOTHING
        yield from self._texts(node.arg, Neighbour.NOTHING, table)
        for when in node.args:
            yield from self._texts(when.expr, beside, table)
            yield from self._texts(when.result, neighbour, table)
        yield from self._texts(node.defresult, neighbour, table)

    def _by_place(self, node: Any) -> Iterator[tuple[Any, Neighbour]]:
        """Yield the values that belong to a column by their place: `(status, id) VALUES (…)`, `(status, id) = …`."""
        if isinstance(node, ast.InsertStmt) and node.selectStmt is not None:
            table, select = node.relation.relname, node.selectStmt
            columns = [self._column((target.name,), table) for target in node.cols or ()]
            rest = Neighbour.NAME if not columns and table in self._term.tables else Neighbour.NOTHING
            # In `INSERT … SELECT` the place counts, not the name that an output has.
            selected = [] if select.valuesLists else [[target.val for target in select.targetList or ()]]
            for row in (*(select.valuesLists or ()), *selected):
                yield from zip_longest(row, columns[: len(row)], fillvalue=rest)
        elif isinstance(node, ast.CommonTableExpr) and isinstance(node.ctequery, ast.SelectStmt):
            columns = [self._column((name.sval,), node.ctename) for name in node.aliascolnames or ()]
            for row in node.ctequery.valuesLists or ():
                yield from zip(row, columns, strict=False)
        elif isinstance(node, ast.A_Expr) and isinstance(node.lexpr, ast.RowExpr):
            columns = [self._strongest(one) for one in node.lexpr.args]
            rows = node.rexpr if isinstance(node.rexpr, tuple) else (node.rexpr,)
            for row in rows:
                if isinstance(row, ast.RowExpr):
                    yield from zip(row.args, columns, strict=False)


@cache
def columns_by_table() -> dict[str, set[str]]:
    """Map each table of ours to its columns."""
    tables = [model._meta for model in apps.get_models()]
    return {table.db_table: {str(field.column) for field in table.local_concrete_fields} for table in tables}


def _direct_columns(node: Any) -> Iterator[tuple[str, ...]]:
    """Yield the columns of an operand with the names before them, not those of a query or a case inside it."""
    if isinstance(node, (tuple, list)):
        for item in node:
            yield from _direct_columns(item)
    elif isinstance(node, ast.ColumnRef):
        names = tuple(part.sval for part in node.fields if isinstance(part, ast.String))
        if names and isinstance(node.fields[-1], ast.String):
            yield names
    elif isinstance(node, ast.Node) and not isinstance(node, (ast.SubLink, ast.SelectStmt, ast.CaseExpr)):
        for child in _children(node):
            yield from _direct_columns(child)


def strings(statement: Any) -> Iterator[str]:
    """Yield every string in a statement."""
    for node in walk(statement):
        if isinstance(node, ast.A_Const) and isinstance(node.val, ast.String):
            yield node.val.sval


def walk(node: Any) -> Iterator[Any]:
    """Yield every node of a statement, or of several."""
    if isinstance(node, (tuple, list)):
        for item in node:
            yield from walk(item)
    elif isinstance(node, ast.Node):
        yield node
        for child in _children(node):
            yield from walk(child)


def _children(node: Any) -> list[Any]:
    return [child for slot in node if (child := getattr(node, slot)) is not None]
