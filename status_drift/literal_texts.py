"""The strings that an expression holds: `"failed"`, `["failed", x]`, `Value("failed")`, a constant of that value."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, replace

from status_drift.constant_text import constant_text
from status_drift.model_types import ModelTypes
from status_drift.sources import Source, last_name

# Keywords of Case, When and fields; what they hold is the value of the whole expression.
VALUE_KEYWORDS = frozenset({"then", "default"})
# These return their first argument, or what it holds.
_CONTAINERS = frozenset({"Value", "Cast", "list", "tuple", "set", "frozenset", "sorted", "str"})
# Where these have their value, or the items of it.
_VALUE_SLOTS: dict[type[ast.AST], tuple[str, ...]] = {
    ast.Tuple: ("elts",),
    ast.List: ("elts",),
    ast.Set: ("elts",),
    ast.Dict: ("values",),
    ast.BoolOp: ("values",),
    ast.IfExp: ("body", "orelse"),
    ast.Starred: ("value",),
    ast.NamedExpr: ("value",),
    ast.keyword: ("value",),
    ast.MatchValue: ("value",),
    ast.MatchOr: ("patterns",),
    ast.MatchAs: ("pattern",),
}


@dataclass(frozen=True, kw_only=True)
class LiteralText:
    """A string in an expression. One that `is_value` is the expression's value, not an argument on the way to it."""

    node: ast.AST
    text: str
    is_value: bool


class LiteralTexts:
    """Finds the strings in the expressions of one file."""

    def __init__(self, source: Source, types: ModelTypes) -> None:
        self._source = source
        self._types = types

    def of(self, node: ast.AST, *, is_value: bool = True, seen: frozenset[str] = frozenset()) -> Iterator[LiteralText]:
        """Yield each string, also behind the name of a constant.

        Strings inside a comparison, or behind a keyword that names something else, belong to that.
        """
        text = constant_text(node)
        if text is not None:
            yield LiteralText(node=node, text=text, is_value=is_value)
            return
        yield from self._of_constant(node, is_value=is_value, seen=seen)
        values = {id(child) for child in _values(node)} if is_value else set()
        for child in ast.iter_child_nodes(node):
            belongs_elsewhere = isinstance(child, ast.keyword) and child.arg not in VALUE_KEYWORDS
            if not belongs_elsewhere and not isinstance(child, ast.Compare):
                yield from self.of(child, is_value=id(child) in values, seen=seen)

    def _of_constant(self, node: ast.AST, *, is_value: bool, seen: frozenset[str]) -> Iterator[LiteralText]:
        """Yield what a name of this file stands for, where it is written; another file's, where it is used."""
        name = last_name(node)
        if isinstance(node, ast.Attribute):
            # A constant of a class; `row.code` is not a name of this file.
            name = f"{last_name(node.value)}.{name}"
        if not name or name in seen:
            return
        for value in filter(_is_written_out, self._source.constants.get(name, [])):
            # A variable of another function may have the same name.
            bindings = self._types.bindings(node) if isinstance(node, ast.Name) and not name.isupper() else None
            is_same = bindings is None or any(one.value is value for one in bindings)
            yield from self.of(value, is_value=is_value and is_same, seen=seen | {name})
        for value in filter(_is_written_out, self._source.imported.get(name, [])):
            yield from (replace(one, node=node) for one in self.of(value, is_value=is_value, seen=seen | {name}))


def _values(node: ast.AST) -> list[ast.AST]:
    """Return the children that may be the expression's value, or an item of it."""
    match node:
        case ast.Subscript(value=ast.Name(id="Literal") | ast.Attribute(attr="Literal"), slice=child):
            return [child]
        case ast.Subscript(value=ast.Dict() as child):
            return [child]
        case ast.Attribute(value=child, attr="split") | ast.Call(func=ast.Attribute(attr="split") as child):
            return [child]
        case ast.Call():
            takes_text = last_name(node.func) in _CONTAINERS
            return [*node.keywords, *(one for one in node.args if takes_text or isinstance(one, ast.Call))]
    children: list[ast.AST] = []
    for slot in _VALUE_SLOTS.get(type(node), ()):
        child = getattr(node, slot)
        children += child if isinstance(child, list) else [child]
    return children


def _is_written_out(node: ast.expr) -> bool:
    """Return whether the value is written there, not made by a call."""
    return isinstance(node, (ast.Constant, ast.JoinedStr, ast.BinOp, ast.Tuple, ast.List, ast.Set, ast.Dict, ast.Name))
