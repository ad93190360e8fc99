"""SQL as Python writes it: constants, f-strings, `%` and `.format`, psycopg.sql; what isn't known there is a hole."""

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from string import Formatter

from workspaces.drift.folding import folded
from workspaces.drift.sources import Source, last_name

_DEPTH = 5
# What hands on the text of its first argument, or of the object that it is called on.
_WRAPPERS = frozenset({"SQL", "dedent", "cleandoc", "str"})
_TRIMMERS = frozenset({"strip", "lstrip", "rstrip"})


@dataclass(frozen=True)
class Hole:
    """A part that is known only at run time. `text` is what is known of it after all, as SQL; `name` is its name."""

    name: str = ""
    text: str = ""


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
        text = folded(node)
        if text is not None:
            return [Template((text,))]
        if depth == 0:
            return [Template((Hole(),))]
        if isinstance(node, ast.JoinedStr):
            return self._joined([self._piece(part) for part in node.values])
        if isinstance(node, ast.BinOp):
            return self._binary(node, depth)
        if isinstance(node, ast.IfExp):
            return self.templates(node.body, depth - 1) + self.templates(node.orelse, depth - 1)
        if isinstance(node, (ast.List, ast.Tuple)):
            return [one for item in node.elts for one in self.templates(item, depth - 1)]
        if isinstance(node, ast.Call):
            return self._call(node, depth)
        return self._named(node, depth)

    def _named(self, node: ast.expr, depth: int) -> list[Template]:
        name = last_name(node)
        behind = self._source.constants.get(name, [])
        known = [one for value in behind for one in self.templates(value, depth - 1)]
        return known or [Template((Hole(name=name),))]

    def _piece(self, part: ast.expr) -> list[Template]:
        if isinstance(part, ast.FormattedValue):
            return [Template((self.hole(part.value, quoted=False),))]
        return [Template((folded(part) or "",))]

    def _binary(self, node: ast.BinOp, depth: int) -> list[Template]:
        left = self.templates(node.left, depth - 1)
        if isinstance(node.op, ast.Add):
            return self._joined([left, self.templates(node.right, depth - 1)])
        if isinstance(node.op, ast.Mod):
            return [Template(self.printf(one.parts, node.right, quoted=False), one.spans) for one in left]
        return [Template((Hole(),))]

    def _call(self, node: ast.Call, depth: int) -> list[Template]:
        function, name = node.func, last_name(node.func)
        if isinstance(function, ast.Attribute):
            if name == "format":
                return [self._formatted(one, node) for one in self.templates(function.value, depth - 1)]
            if name in _TRIMMERS:
                return self.templates(function.value, depth - 1)
            if name == "join" and node.args and isinstance(node.args[0], (ast.List, ast.Tuple)):
                between = self.templates(function.value, depth - 1)
                items = [self.templates(item, depth - 1) for item in node.args[0].elts]
                return self._joined([one for item in items for one in (item, between)][:-1])
        if name in _WRAPPERS and node.args:
            return self.templates(node.args[0], depth - 1)
        return [Template((self.hole(node, quoted=False),))]

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
        return Template(self.braces(template.parts, call.args, named), template.spans)

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
        return folded(node) if len(behind) != 1 or not isinstance(node, ast.Name) else folded(behind[0])


def _items(values: ast.expr | None) -> dict[str, ast.expr]:
    if not isinstance(values, ast.Dict):
        return {}
    return {folded(key) or "": value for key, value in zip(values.keys, values.values, strict=True) if key is not None}


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
