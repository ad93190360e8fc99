"""Which column a literal of a statement belongs to: what another one claims is no status."""

from collections.abc import Iterator
from typing import Any

from pglast import ast

from status_drift.enum_terms import EnumTerm


class Claims:
    """Finds the values of one statement that no other column claims: `outcome = 'failed'` is no status."""

    def __init__(self, term: EnumTerm) -> None:
        self._term = term

    def unclaimed(self, node: Any, claimed: bool = False) -> Iterator[str]:
        """Yield each value of the enum that stands as a literal here, unless it belongs to a column of another name."""
        if isinstance(node, (tuple, list)):
            for item in node:
                yield from self.unclaimed(item, claimed)
        elif isinstance(node, ast.A_Const):
            if not claimed and isinstance(node.val, ast.String) and self._term.member(node.val.sval):
                yield node.val.sval
        elif isinstance(node, ast.InsertStmt):
            yield from self._inserted(node)
        elif isinstance(node, ast.Node):
            claimed = self._claim(node, claimed)
            for child in _children(node):
                yield from self.unclaimed(child, claimed)

    def _claim(self, node: Any, claimed: bool) -> bool:
        if isinstance(node, ast.ResTarget) and node.name:
            return not self._term.is_named(node.name)
        if isinstance(node, ast.TypeCast) and _type_of(node) == self._term.type_name:
            return False
        if isinstance(node, (ast.A_Expr, ast.FuncCall, ast.CoalesceExpr)):
            columns = [name for child in _children(node) for name in _direct_columns(child)]
            return claimed if not columns else not any(map(self._term.is_named, columns))
        if isinstance(node, (ast.SelectStmt, ast.UpdateStmt, ast.DeleteStmt, ast.CommonTableExpr)):
            return False
        return claimed

    def _inserted(self, node: Any) -> Iterator[str]:
        names = [target.name for target in node.cols or ()]
        select = node.selectStmt
        rows = [list(row) for row in select.valuesLists or ()] if select is not None else []
        if select is not None and not rows and select.targetList:
            rows = [list(select.targetList)]
        for row in rows:
            for place, value in enumerate(row):
                other = place < len(names) and not self._term.is_named(names[place])
                yield from () if other else self.unclaimed(_bare(value))
        rest = [child for slot, child in _slots(node) if slot != "selectStmt"]
        if select is not None:
            rest += [child for slot, child in _slots(select) if slot not in {"valuesLists", "targetList"}]
        for child in rest:
            yield from self.unclaimed(child)


def _bare(value: Any) -> Any:
    # The place counts in `INSERT … SELECT`, not the name that an output has.
    return value.val if isinstance(value, ast.ResTarget) else value


def speaks_of(statement: Any, term: EnumTerm) -> bool:
    """Tell whether the statement names a column of the enum or its type, or fills its table without naming columns."""
    for node in walk(statement):
        if isinstance(node, ast.InsertStmt) and not node.cols and node.relation.relname.casefold() in term.tables:
            return True
        if isinstance(node, ast.TypeName) and node.names and node.names[-1].sval == term.type_name:
            return True
        if any(term.is_named(name) for name in _identifiers(node)):
            return True
    return False


def _identifiers(node: Any) -> Iterator[str]:
    if isinstance(node, ast.ColumnRef):
        yield from (part.sval for part in node.fields if isinstance(part, ast.String))
    elif isinstance(node, ast.ResTarget) and node.name:
        yield node.name
    elif isinstance(node, (ast.Alias, ast.CommonTableExpr)):
        names = node.colnames if isinstance(node, ast.Alias) else node.aliascolnames
        yield from (part.sval for part in names or ())


def _direct_columns(node: Any) -> Iterator[str]:
    """Yield the columns of an operand, not those of a query or a case inside it."""
    if isinstance(node, (tuple, list)):
        for item in node:
            yield from _direct_columns(item)
    elif isinstance(node, ast.ColumnRef):
        yield from (part.sval for part in node.fields[-1:] if isinstance(part, ast.String))
    elif isinstance(node, ast.Node) and not isinstance(node, (ast.SubLink, ast.SelectStmt, ast.CaseExpr)):
        for child in _children(node):
            yield from _direct_columns(child)


def _type_of(cast: Any) -> str:
    names = cast.typeName.names if cast.typeName else ()
    return names[-1].sval if names else ""


def texts_of(statement: Any) -> Iterator[str]:
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
    return [child for _, child in _slots(node)]


def _slots(node: Any) -> list[tuple[str, Any]]:
    return [(slot, getattr(node, slot)) for slot in node if getattr(node, slot) is not None]
