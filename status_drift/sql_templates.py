"""SQL as Python writes it: constants, f-strings, `%` and `.format`, psycopg.sql; what isn't known there is a hole."""

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from string import Formatter

from status_drift.constant_text import constant_text
from status_drift.sources import Function, Source, last_name

_DEPTH = 5
# What hands on the text of its first argument, or of the object that it is called on.
_WRAPPERS = frozenset({"SQL", "dedent", "cleandoc", "str"})
_TRIMMERS = frozenset({"strip", "lstrip", "rstrip"})
# What is of such a type was put together by psycopg.sql, from parts that are judged where they are written.
_COMPOSED = frozenset({"Composable", "Composed", "SQL"})


@dataclass(frozen=True)
class Hole:
    """A part that is known only at run time. `text` is what is known of it after all, as SQL; `name` is its name.

    One that `is_composed` is an object of psycopg.sql: what SQL it holds is judged where that is written.
    """

    name: str = ""
    text: str = ""
    is_composed: bool = False


Part = str | Hole


@dataclass(frozen=True)
class Template:
    """One text that an expression may stand for, and the lines that it is written on."""

    parts: tuple[Part, ...]
    spans: tuple[tuple[int, int], ...] = field(default=())

    @property
    def is_known(self) -> bool:
        """Tell whether any of it is written in the code."""
        return any(isinstance(part, str) and part.strip() for part in self.parts)

    @property
    def is_open(self) -> bool:
        """Tell whether nothing of it is written anywhere: SQL that nobody can judge."""
        holes = [part for part in self.parts if isinstance(part, Hole)]
        return not self.is_known and any(not hole.text and not hole.is_composed for hole in holes)

    @property
    def text(self) -> str:
        return "".join(part if isinstance(part, str) else " ? " for part in self.parts)


class Reader:
    """Reads the texts of one file's expressions."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def templates(self, node: ast.expr, depth: int = _DEPTH) -> list[Template]:
        """Return every text that the expression may stand for, as far as this file tells."""
        span = (node.lineno, node.end_lineno or node.lineno)
        found = [parts for parts in self._read(node, depth) if parts is not None]
        return [Template(tuple(one.parts), (*one.spans, span)) for one in found]

    def _read(self, node: ast.expr, depth: int) -> list[Template]:
        text = constant_text(node)
        if text is not None:
            return [Template((text,))]
        if depth == 0:
            return [Template((Hole(),))]
        if isinstance(node, (ast.JoinedStr, ast.BinOp)):
            return self._made(node, depth)
        if isinstance(node, ast.Call):
            return self._call(node, depth)
        if choices := _choices(node):
            return [one for choice in choices for one in self.templates(choice, depth - 1)]
        return self._named(node, depth)

    def _made(self, node: ast.JoinedStr | ast.BinOp, depth: int) -> list[Template]:
        if isinstance(node, ast.JoinedStr):
            return self._joined([self._piece(part) for part in node.values])
        return self._binary(node, depth)

    def _named(self, node: ast.expr, depth: int) -> list[Template]:
        name = last_name(node)
        if name == "noop":
            # RunSQL's own word for no statement.
            return [Template(("",))]
        behind = self._source.constants.get(name, [])
        known = [one for value in behind for one in self.templates(value, depth - 1)]
        # Of another file, so without its lines.
        elsewhere = self._source.imported.get(name, []) if not behind else []
        known += [Template(one.parts) for value in elsewhere for one in self._read(value, depth - 1)]
        return known + self._passed(node, depth) or [Template((Hole(name=name),))]

    def _passed(self, node: ast.expr, depth: int) -> list[Template]:
        """Return what is passed for a parameter, by all who call its function; nothing where the name is none."""
        function, name = self._source.scopes.get(id(node)), last_name(node)
        parameter = _parameter(function, name) if function else None
        if function is None or parameter is None:
            return []
        if parameter.annotation is not None and last_name(parameter.annotation) in _COMPOSED:
            return [Template((Hole(name=name, is_composed=True),))]
        calls = self._source.calls.get(function.name, [])
        given = [_argument(call, function, name) for call in calls]
        # Who may be called from anywhere, or by nobody here, may be handed anything.
        is_private = function.name.startswith("_") and not function.decorator_list
        is_ours = is_private and calls and all(given) and not self._source.handed_on(function.name)
        unknown = [] if is_ours else [Template((Hole(name=name),))]
        return unknown + [one for value in given if value for one in self.templates(value, depth - 1)]

    def _piece(self, part: ast.expr) -> list[Template]:
        if isinstance(part, ast.FormattedValue):
            return [Template((self.hole(part.value, quoted=False),))]
        return [Template((constant_text(part) or "",))]

    def _binary(self, node: ast.BinOp, depth: int) -> list[Template]:
        left = self.templates(node.left, depth - 1)
        if isinstance(node.op, ast.Add):
            return self._joined([left, self.templates(node.right, depth - 1)])
        if isinstance(node.op, ast.Mod):
            return [Template(self.printf(one.parts, node.right, quoted=False), one.spans) for one in left]
        return [Template((Hole(),))]

    def _call(self, node: ast.Call, depth: int) -> list[Template]:
        name = last_name(node.func)
        if isinstance(node.func, ast.Attribute):
            found = self._method(node, node.func.value, name, depth)
            if found is not None:
                return found
        if name in _WRAPPERS and node.args:
            return self.templates(node.args[0], depth - 1)
        functions = self._source.functions.get(name, [])
        if functions:
            return [one for function in functions for one in self._returned(function, depth)]
        return [Template((self.hole(node, quoted=False),))]

    def _method(self, node: ast.Call, owner: ast.expr, name: str, depth: int) -> list[Template] | None:
        """Return what a method of a text makes of it; None for another's method."""
        if name == "format":
            return [self._formatted(one, node) for one in self.templates(owner, depth - 1)]
        if name in _TRIMMERS or name == "as_string":
            return self.templates(owner, depth - 1)
        if name != "join" or not node.args:
            return None
        if isinstance(node.args[0], (ast.List, ast.Tuple)):
            between = self.templates(owner, depth - 1)
            items = [self.templates(item, depth - 1) for item in node.args[0].elts]
            return self._joined([one for item in items for one in (item, between)][:-1])
        return [Template((Hole(name=name, is_composed=is_sql(owner)),))]

    def _returned(self, function: Function, depth: int) -> list[Template]:
        if function.returns is not None and last_name(function.returns) in _COMPOSED:
            return [Template((Hole(name=function.name, is_composed=True),))]
        values = [one.value for one in ast.walk(function) if isinstance(one, ast.Return) and one.value is not None]
        return [one for value in values for one in self.templates(value, depth - 1)] or [
            Template((Hole(name=function.name),))
        ]

    def _joined(self, sequence: Sequence[list[Template]]) -> list[Template]:
        combined = list(product(*sequence))[:16]
        return [
            Template(
                tuple(part for one in each for part in one.parts), tuple(span for one in each for span in one.spans)
            )
            for each in combined
        ]

    def _formatted(self, template: Template, call: ast.Call) -> Template:
        named = {word.arg: word.value for word in call.keywords if word.arg}
        parts = self.braces(template.parts, call.args, named)
        if isinstance(call.func, ast.Attribute) and is_sql(call.func.value):
            parts = tuple(replace(part, is_composed=True) if isinstance(part, Hole) else part for part in parts)
        return Template(parts, template.spans)

    def braces(
        self, parts: Sequence[Part], positional: Sequence[ast.expr] = (), named: dict[str, ast.expr] | None = None
    ) -> tuple[Part, ...]:
        """Return the parts with the fields of `.format` as holes. Raises ValueError where the braces don't match."""
        given = dict(enumerate(positional))
        found: list[Part] = []
        place = 0
        for part in parts:
            for text, name, _, _ in Formatter().parse(part) if isinstance(part, str) else []:
                found.append(text)
                if name is None:
                    continue
                value = (named or {}).get(name) or given.get(int(name) if name.isdigit() else place)
                place += not name
                found.append(self.hole(value, quoted=False) if value is not None else Hole(name=name))
            if isinstance(part, Hole):
                found.append(part)
        return tuple(found)

    def printf(self, parts: Sequence[Part], values: ast.expr | None, *, quoted: bool) -> tuple[Part, ...]:
        """Return the parts with `%s` and `%(name)s` as holes; `quoted`: values are parameters."""
        given = list(values.elts) if isinstance(values, (ast.List, ast.Tuple)) else [values] if values else []
        named = _items(values)
        found: list[Part] = []
        for part in parts:
            for piece, name in _placeholders(part) if isinstance(part, str) else []:
                found.append(piece)
                if name is None:
                    continue
                value = named.get(name) if name else (given.pop(0) if given else None)
                found.append(self.hole(value, quoted=quoted) if value is not None else Hole(name=name))
            if isinstance(part, Hole):
                found.append(part)
        return tuple(found)

    def hole(self, value: ast.expr, *, quoted: bool) -> Hole:
        """Return the hole that this expression fills: with its text where it is constant."""
        name = last_name(value.func) if isinstance(value, ast.Call) else last_name(value)
        inner = value.args[0] if isinstance(value, ast.Call) and value.args else None
        if inner is not None and name in {"Literal", "Identifier", "SQL"}:
            text = self._constant(inner)
            marks = {"Literal": "'", "Identifier": '"', "SQL": ""}[name]
            return Hole(text=f"{marks}{text}{marks}") if text is not None else Hole(name=last_name(inner))
        text = self._constant(value)
        if text is None:
            return Hole(name=name)
        return Hole(text=f"'{text}'" if quoted else text)

    def _constant(self, node: ast.expr) -> str | None:
        behind = self._source.constants.get(last_name(node), [])
        return constant_text(node) if len(behind) != 1 or not isinstance(node, ast.Name) else constant_text(behind[0])


def is_sql(node: ast.expr) -> bool:
    """Tell whether the expression is psycopg's `SQL(…)`."""
    return isinstance(node, ast.Call) and last_name(node.func) == "SQL"


def _choices(node: ast.expr) -> list[ast.expr]:
    """Return the expressions of which this one is one or another."""
    if isinstance(node, ast.IfExp):
        return [node.body, node.orelse]
    if isinstance(node, ast.BoolOp):
        return node.values
    if isinstance(node, ast.Subscript):
        return [node.value]
    if isinstance(node, ast.Dict):
        return node.values
    return node.elts if isinstance(node, (ast.List, ast.Tuple)) else []


def _parameters(function: Function) -> list[ast.arg]:
    given = function.args
    return [*given.posonlyargs, *given.args, *given.kwonlyargs]


def _parameter(function: Function, name: str) -> ast.arg | None:
    return next((one for one in _parameters(function) if one.arg == name), None)


def _argument(call: ast.Call, function: Function, name: str) -> ast.expr | None:
    """Return what a call passes for a parameter, or None where it can't be told."""
    for word in call.keywords:
        if word.arg == name:
            return word.value
    names = [one.arg for one in _parameters(function)]
    place = names.index(name) - (names[0] in {"self", "cls"} and isinstance(call.func, ast.Attribute))
    is_spread = any(isinstance(one, ast.Starred) for one in call.args[:place])
    return call.args[place] if place < len(call.args) and not is_spread else None


def _items(values: ast.expr | None) -> dict[str, ast.expr]:
    if not isinstance(values, ast.Dict):
        return {}
    return {
        constant_text(key) or "": value
        for key, value in zip(values.keys, values.values, strict=True)
        if key is not None
    }


def _placeholders(text: str) -> Iterator[tuple[str, str | None]]:
    """Yield each stretch of text with the name of the placeholder after it: "" without a name, None at the end."""
    start = at = 0
    while (at := text.find("%", at)) != -1:
        name, length = _placeholder(text, at)
        if length:
            yield text[start:at] + ("%" if name is None else ""), name
            start = at = at + length
        else:
            at += 1
    yield text[start:], None


def _placeholder(text: str, at: int) -> tuple[str | None, int]:
    """Return name and length of the placeholder at this `%`: (None, 2) for `%%`, (None, 0) for none."""
    if text.startswith(("%s", "%b", "%t", "%d", "%r"), at):
        return "", 2
    if text.startswith("%%", at):
        return None, 2
    end = text.find(")s", at) if text.startswith("%(", at) else -1
    return (text[at + 2 : end], end + 2 - at) if end != -1 else (None, 0)
