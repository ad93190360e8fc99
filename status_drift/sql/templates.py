"""The SQL that a Python expression may stand for: constants, f-strings, `%` and `.format`, psycopg.sql."""

import ast
from collections.abc import Sequence
from dataclasses import replace
from itertools import product

from status_drift.constant_text import constant_text
from status_drift.sources import Source, argument_for, last_name, parameter_of
from status_drift.sql.calls import is_sql_object
from status_drift.sql.placeholders import Part, Placeholder, Template, fill_braces, fill_percents

_DEPTH = 5
_MOST_COMBINATIONS = 16
# These return the text of their first argument, or of the object that they are called on.
_WRAPPERS = frozenset({"SQL", "dedent", "cleandoc", "str"})
_TRIMMERS = frozenset({"strip", "lstrip", "rstrip", "as_string"})
# Types of psycopg.sql: their parts are judged where they are written.
_COMPOSED = frozenset({"Composable", "Composed", "SQL"})
_QUOTES = {"Literal": "'", "Identifier": '"', "SQL": ""}


class TemplateReader:
    """Reads the texts of one file's expressions."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def templates(self, node: ast.expr, depth: int = _DEPTH) -> list[Template]:
        """Return every text that the expression may stand for, as far as this file tells."""
        span = (node.lineno, node.end_lineno or node.lineno)
        return [Template(one.parts, (*one.spans, span)) for one in self._read(node, depth)]

    def fill_percents(self, parts: Sequence[Part], values: ast.expr | None, *, quoted: bool) -> tuple[Part, ...]:
        """Return the parts with `%s` and `%(name)s` filled; `quoted` values are parameters, not parts of the text."""
        given = dict(enumerate(values.elts if isinstance(values, (ast.List, ast.Tuple)) else [values]))
        named: dict[str, ast.expr] = {}
        if isinstance(values, ast.Dict):
            pairs = zip(values.keys, values.values, strict=True)
            named = {constant_text(key) or "": value for key, value in pairs if key is not None}

        def filler(field: str | int) -> Placeholder | None:
            value = given.get(field) if isinstance(field, int) else named.get(field)
            return self._placeholder(value, quoted=quoted) if value is not None else None

        return fill_percents(parts, filler)

    def _read(self, node: ast.expr, depth: int) -> list[Template]:
        text = constant_text(node)
        if text is not None:
            return [Template((text,))]
        if depth == 0:
            return [Template((Placeholder(),))]
        match node:
            case ast.JoinedStr():
                texts = [str(part.value) if isinstance(part, ast.Constant) else None for part in node.values]
                pairs = zip(texts, node.values, strict=True)
                return [Template(tuple(text or self._placeholder(part, quoted=False) for text, part in pairs))]
            case ast.BinOp():
                return self._operation(node, depth)
            case ast.Call():
                return self._call(node, depth)
            case ast.IfExp(body=one, orelse=other):
                return self._each([one, other], depth)
            case (
                ast.BoolOp(values=choices) | ast.Dict(values=choices) | ast.List(elts=choices) | ast.Tuple(elts=choices)
            ):
                return self._each(choices, depth)
        return self.templates(node.value, depth - 1) if isinstance(node, ast.Subscript) else self._named(node, depth)

    def _each(self, nodes: Sequence[ast.expr], depth: int) -> list[Template]:
        return [template for node in nodes for template in self.templates(node, depth - 1)]

    def _operation(self, node: ast.BinOp, depth: int) -> list[Template]:
        left = self.templates(node.left, depth - 1)
        if isinstance(node.op, ast.Add):
            return _joined([left, self.templates(node.right, depth - 1)])
        if isinstance(node.op, ast.Mod):
            return [Template(self.fill_percents(one.parts, node.right, quoted=False), one.spans) for one in left]
        return [Template((Placeholder(),))]

    def _named(self, node: ast.expr, depth: int) -> list[Template]:
        """Return what a name stands for: a constant of this or another file, or what is passed for a parameter."""
        name = last_name(node)
        if name == "noop":
            # RunSQL's own word for no statement.
            return [Template(("",))]
        constants = self._source.constants.get(name, [])
        known = self._each(constants, depth)
        if not constants:
            # Another file's, so without its lines.
            elsewhere = self._source.imported.get(name, [])
            known = [Template(one.parts) for value in elsewhere for one in self._read(value, depth - 1)]
        return known + self._passed(node, depth) or [Template((Placeholder(name=name),))]

    def _passed(self, node: ast.expr, depth: int) -> list[Template]:
        """Return what all callers pass for a parameter; nothing if the name isn't a parameter."""
        function, name = self._source.scopes.get(id(node)), last_name(node)
        parameter = parameter_of(function, name) if function else None
        if function is None or parameter is None:
            return []
        if parameter.annotation is not None and last_name(parameter.annotation) in _COMPOSED:
            return [Template((Placeholder(name=name, is_composed=True),))]
        calls = self._source.calls.get(function.name, [])
        given = [argument_for(call, function, name) for call in calls]
        # If anyone may call the function, or nothing in this file does, anything may be passed.
        is_private = function.name.startswith("_") and not function.decorator_list
        is_ours = is_private and calls and all(given) and not self._source.uses_without_call(function.name)
        unknown = [] if is_ours else [Template((Placeholder(name=name),))]
        return unknown + self._each([value for value in given if value], depth)

    def _call(self, node: ast.Call, depth: int) -> list[Template]:
        name = last_name(node.func)
        owner = node.func.value if isinstance(node.func, ast.Attribute) else None
        if owner is not None and name == "format":
            return [self._formatted(one, node, owner) for one in self.templates(owner, depth - 1)]
        if owner is not None and name in _TRIMMERS:
            return self.templates(owner, depth - 1)
        if owner is not None and name == "join" and node.args:
            return self._join(owner, node.args[0], depth)
        if name in _WRAPPERS and node.args:
            return self.templates(node.args[0], depth - 1)
        found: list[Template] = []
        for function in self._source.functions.get(name, []):
            if function.returns is not None and last_name(function.returns) in _COMPOSED:
                found.append(Template((Placeholder(name=name, is_composed=True),)))
            else:
                returned = [one.value for one in ast.walk(function) if isinstance(one, ast.Return) and one.value]
                found += self._each(returned, depth) or [Template((Placeholder(name=name),))]
        return found or [Template((self._placeholder(node, quoted=False),))]

    def _join(self, separator: ast.expr, items: ast.expr, depth: int) -> list[Template]:
        if not isinstance(items, (ast.List, ast.Tuple)):
            return [Template((Placeholder(name="join", is_composed=is_sql_object(separator)),))]
        between = self.templates(separator, depth - 1)
        read = [self.templates(item, depth - 1) for item in items.elts]
        return _joined([one for item in read for one in (item, between)][:-1])

    def _formatted(self, template: Template, call: ast.Call, owner: ast.expr) -> Template:
        named = {word.arg: word.value for word in call.keywords if word.arg}

        def filler(field: str | int) -> Placeholder | None:
            value = named.get(field) if isinstance(field, str) else dict(enumerate(call.args)).get(field)
            return self._placeholder(value, quoted=False) if value is not None else None

        parts = fill_braces(template.parts, filler)
        if is_sql_object(owner):
            parts = tuple(replace(part, is_composed=True) if isinstance(part, Placeholder) else part for part in parts)
        return Template(parts, template.spans)

    def _placeholder(self, value: ast.expr, *, quoted: bool) -> Placeholder:
        """Return the placeholder that this expression fills, with its text if that is constant."""
        if isinstance(value, ast.FormattedValue):
            value = value.value
        name = last_name(value.func) if isinstance(value, ast.Call) else last_name(value)
        quote = "'" if quoted else ""
        if isinstance(value, ast.Call) and value.args and name in _QUOTES:
            quote, value = _QUOTES[name], value.args[0]
            name = last_name(value)
        constants = self._source.constants.get(last_name(value), []) if isinstance(value, ast.Name) else []
        text = constant_text(constants[0] if len(constants) == 1 else value)
        return Placeholder(name=name) if text is None else Placeholder(text=f"{quote}{text}{quote}")


def _joined(sequence: Sequence[list[Template]]) -> list[Template]:
    combinations = list(product(*sequence))[:_MOST_COMBINATIONS]
    return [
        Template(tuple(part for one in each for part in one.parts), tuple(span for one in each for span in one.spans))
        for each in combinations
    ]
