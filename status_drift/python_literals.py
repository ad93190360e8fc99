"""Statuses written out in Python: a string beside the field of a native enum, or beside anything named like it."""

import ast
from collections.abc import Iterable
from urllib.parse import parse_qsl

from status_drift.constant_text import constant_text
from status_drift.enum_terms import EnumTerm
from status_drift.literal_texts import VALUE_KEYWORDS, LiteralText, LiteralTexts
from status_drift.model_types import ModelClass, ModelTypes, field_at, relations
from status_drift.neighbours import Neighbour, problem_with
from status_drift.sources import Findings, Function, Source, last_name

_CONDITIONAL = frozenset({"Case", "When"})
# What one of these gives is compared as the text itself.
_SAME_TEXT = frozenset({"lower", "upper", "casefold", "strip"})
# Types whose items are values.
_COLLECTIONS = frozenset(
    {"list", "set", "frozenset", "Sequence", "Iterable", "Iterator", "Collection", "Set", "Optional"}
)
# Keywords of a queryset's methods that hold lookups in a dict; None stands for `**`.
_LOOKUP_DICTS = frozenset({None, "defaults", "create_defaults"})
# These take a lookup and its value as a pair.
_TAKING_PAIRS = frozenset({"Q", "filter", "exclude", "get"})


def scan_event_names(source: Source, names: dict[str, str], findings: Findings) -> None:
    """Report each string that is an event's name, whatever stands beside it."""
    for node in source.nodes:
        value = constant_text(node)
        if value in names and id(node) not in source.docstrings:
            line = getattr(node, "lineno", 1)
            findings.add(f"The event name {value!r} is written out.", f"Use {names[value]}.", line=line)


class EnumVisitor(ast.NodeVisitor):
    """Visits one file for one enum; each method knows one way in which a string stands beside a name."""

    def __init__(self, source: Source, term: EnumTerm, findings: Findings, types: ModelTypes) -> None:
        self._source = source
        self._term = term
        self._findings = findings
        self._types = types
        self._texts = LiteralTexts(source, types)
        self.mentions = 0

    # --- Where a string stands beside a name -----------------------------------------------------

    def visit_Call(self, node: ast.Call) -> None:
        for keyword in node.keywords:
            if keyword.arg and self._term.is_named(keyword.arg):
                self._report(keyword.value, self._lookup(self._types.model_of_lookups(node), keyword.arg))
        self._visit_arguments(node)
        table = node.func.value if isinstance(node.func, ast.Attribute) else None
        if isinstance(table, ast.Dict) and (neighbour := self._strongest(node.args)):
            self._report_all(filter(None, table.keys), neighbour)
        self.generic_visit(node)

    def _visit_arguments(self, node: ast.Call) -> None:
        values = [*node.args, *(keyword.value for keyword in node.keywords if keyword.arg in VALUE_KEYWORDS)]
        function = node.func
        if last_name(function) == self._term.enum_name:
            self._report_all(values, Neighbour.FIELD)
        elif any(map(self._is_key, node.args)):
            named = len(node.args) > 2 and last_name(function) in {"getattr", "setattr"}
            owner = self._types.model_of(node.args[0]) if named else None
            neighbour = self._lookup(owner, node.args[1].value) if named else Neighbour.NAME  # type: ignore[attr-defined]
            self._report_all(values[2:] if named else values, neighbour)
        elif self._term.is_named(last_name(function)) or (last_name(function) in _CONDITIONAL and self._names(node)):
            self._report_all(values, Neighbour.NAME)
        elif isinstance(function, ast.Attribute) and self._is_named_target(function.value):
            # A method of the status: `row.status.startswith(…)`.
            neighbour = self._neighbour(function.value)
            self._report_all(values, Neighbour.NAME if neighbour == Neighbour.FIELD else neighbour)

    def visit_Compare(self, node: ast.Compare) -> None:
        operands = [node.left, *node.comparators]
        if neighbour := self._strongest(operands):
            self._report_all((operand for operand in operands if not self._is_key(operand)), neighbour)
        self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        for target in node.targets:
            self._assign(target, node.value)
        self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if self._is_named_target(node.target) or self._names(node.annotation):
            self._report(node.annotation, Neighbour.NAME)
            if node.value is not None:
                self._report(node.value, self._typed(node.annotation) or self._neighbour(node.target))
        self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self._assign(node.target, node.value)
        self.generic_visit(node)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self._assign(node.target, node.value)
        self.generic_visit(node)

    def visit_Dict(self, node: ast.Dict) -> None:
        for key, value in zip(node.keys, node.values, strict=True):
            if key is not None and self._is_key(key):
                self._report(value, self._lookup(self._model_of_literal(node), key.value))  # type: ignore[attr-defined]
            elif key is not None and self._term.is_named(last_name(key)):
                self._report(value, Neighbour.NAME)
        self.generic_visit(node)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        if self._is_named_target(node.value):
            self._report(node.slice, Neighbour.NAME)
        if isinstance(node.value, ast.Dict) and (neighbour := self._strongest([node.slice])):
            self._report_all(filter(None, node.value.keys), neighbour)
        self.generic_visit(node)

    def visit_Tuple(self, node: ast.Tuple | ast.List) -> None:
        if node.elts and self._is_key(node.elts[0]):
            neighbour = self._lookup(self._model_of_literal(node), node.elts[0].value)  # type: ignore[attr-defined]
            self._report_all(node.elts[1:], neighbour)
        self.generic_visit(node)

    visit_List = visit_Tuple  # noqa: N815

    def visit_For(self, node: ast.For | ast.AsyncFor | ast.comprehension) -> None:
        if any(map(self._is_named_target, ast.walk(node.target))):
            self._report(node.iter, Neighbour.NAME)
        self.generic_visit(node)

    visit_AsyncFor = visit_comprehension = visit_For  # noqa: N815

    def visit_Match(self, node: ast.Match) -> None:
        if neighbour := self._strongest([node.subject]):
            self._report_all((case.pattern for case in node.cases), neighbour)
        self.generic_visit(node)

    def visit_MatchMapping(self, node: ast.MatchMapping) -> None:
        for key, pattern in zip(node.keys, node.patterns, strict=True):
            if self._is_key(key):
                self._report(pattern, Neighbour.NAME)
        self.generic_visit(node)

    def visit_MatchClass(self, node: ast.MatchClass) -> None:
        for name, pattern in zip(node.kwd_attrs, node.kwd_patterns, strict=True):
            if self._term.is_named(name):
                self._report(pattern, self._lookup(self._types.model_of(node.cls), name))
        self.generic_visit(node)

    def visit_FunctionDef(self, node: Function) -> None:
        self._visit_parameters(node.args)
        returns = self._typed(node.returns)
        if returns or self._term.is_named(node.name) or (node.returns is not None and self._names(node.returns)):
            returned = [one.value for one in ast.walk(node) if isinstance(one, (ast.Return, ast.Yield))]
            self._report_all(filter(None, returned), returns or Neighbour.NAME)
        self.generic_visit(node)

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._visit_parameters(node.args)
        self.generic_visit(node)

    def _visit_parameters(self, arguments: ast.arguments) -> None:
        positional = [*arguments.posonlyargs, *arguments.args]
        undefaulted = len(positional) - len(arguments.defaults)
        defaults = [*[None] * undefaulted, *arguments.defaults, *arguments.kw_defaults]
        for argument, default in zip([*positional, *arguments.kwonlyargs], defaults, strict=True):
            annotation = argument.annotation
            if not self._term.is_named(argument.arg) and not (annotation is not None and self._names(annotation)):
                continue
            if annotation is not None:
                self._report(annotation, Neighbour.NAME)
            if default is not None:
                self._report(default, self._typed(annotation) or Neighbour.NAME)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        if self._term.is_named(node.name):
            self._report_all((one.value for one in node.body if isinstance(one, ast.Assign)), Neighbour.NAME)
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        self._visit_query_string(node)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        for part in node.values:
            self._visit_query_string(part)
        self.generic_visit(node)

    def _visit_query_string(self, node: ast.expr) -> None:
        value = constant_text(node)
        if value is None or "?" not in value:
            return
        for key, each in parse_qsl(value.partition("?")[2]):
            if self._term.is_named(key):
                self._judge(LiteralText(node=node, text=each, is_value=True), Neighbour.NAME)

    def _assign(self, target: ast.expr, value: ast.expr) -> None:
        if isinstance(target, (ast.Tuple, ast.List)):
            paired = isinstance(value, (ast.Tuple, ast.List)) and len(value.elts) == len(target.elts)
            for place, one in enumerate(target.elts):
                self._assign(one, value.elts[place] if paired else value)  # type: ignore[attr-defined]
        elif self._is_named_target(target):
            self._report(value, self._neighbour(target))

    # --- What stands beside it -------------------------------------------------------------------

    def _strongest(self, nodes: Iterable[ast.expr]) -> Neighbour | None:
        """Return what one of the expressions is, the enum's field before all else; None if none has its name."""
        found = [self._neighbour(node) for node in nodes if self._field_of(node) or self._names(node)]
        return min(found, default=None)

    def _neighbour(self, node: ast.AST) -> Neighbour:
        return self._field_of(node) or Neighbour.NAME

    def _field_of(self, node: ast.AST, depth: int = 3) -> Neighbour | None:
        """Return whether the expression is the enum's field or another one; None if its file doesn't tell."""
        match node:
            case ast.Name() if depth:
                return self._field_of_variable(node, depth - 1)
            case ast.Attribute(value=owner, attr="value") | ast.NamedExpr(value=owner):
                return self._field_of(owner, depth)
            case ast.Call(func=ast.Name(id="str"), args=[owner]):
                return self._field_of(owner, depth)
            case ast.Call(func=ast.Attribute(value=owner, attr=name), args=[]) if name in _SAME_TEXT:
                return self._field_of(owner, depth)
            case (
                ast.Attribute(value=owner, attr=name)
                | ast.Subscript(value=owner, slice=ast.Constant(value=str(name)))
                | ast.Call(func=ast.Name(id="getattr"), args=[owner, ast.Constant(value=str(name)), *_])
                | ast.Call(func=ast.Attribute(value=owner, attr="get"), args=[ast.Constant(value=str(name)), *_])
            ) if self._term.is_named(name):
                found = self._lookup(self._types.model_of(owner), name)
                return found if found != Neighbour.NAME else None
        return None

    def _field_of_variable(self, node: ast.Name, depth: int) -> Neighbour | None:
        bindings = self._types.bindings(node)
        for binding in bindings:
            if typed := self._typed(binding.annotation):
                return typed
        if len(bindings) == 1 and bindings[0].value is not None:
            return self._field_of(bindings[0].value, depth)
        return None

    def _lookup(self, model: ModelClass | None, path: str) -> Neighbour:
        """Return what a model's lookup or attribute leads to: `status`, `workspace__status__in`."""
        first, _, rest = path.partition("__")
        if model is None and rest:
            model, path = relations().get(first), rest
        field = field_at(model, path) if model else None
        if field is None:
            return Neighbour.NAME
        return Neighbour.FIELD if field in self._term.fields else Neighbour.OTHER_FIELD

    def _typed(self, annotation: ast.expr | None) -> Neighbour | None:
        """Return FIELD for the enum's own type, optional or in a collection: `WorkspaceStatus | None`."""
        match annotation:
            case ast.Name() | ast.Attribute() if last_name(annotation) == self._term.enum_name:
                return Neighbour.FIELD
            case ast.Constant(value=str(text)) if text == self._term.enum_name:
                return Neighbour.FIELD
            case ast.BinOp(left=inner, right=ast.Constant(value=None)):
                return self._typed(inner)
            case ast.Subscript(value=kind, slice=inner) if last_name(kind) in _COLLECTIONS:
                return self._typed(inner)
        return None

    def _model_of_literal(self, node: ast.expr) -> ModelClass | None:
        """Return the model whose lookups a dict or a pair holds: `filter(**{…})`, `defaults={…}`, `Q((…))`."""
        around = [one for one in self._source.ancestors(node) if not isinstance(one, (ast.BinOp, ast.Starred))][:2]
        match around:
            case [ast.keyword(arg=name), ast.Call() as call] if name in _LOOKUP_DICTS:
                return self._types.model_of_lookups(call)
            case [ast.Call() as call, *_] if last_name(call.func) in _TAKING_PAIRS:
                return self._types.model_of_lookups(call)
        return None

    def _is_named_target(self, node: ast.AST) -> bool:
        if isinstance(node, ast.Subscript):
            return self._is_key(node.slice) or self._is_named_target(node.value)
        return self._term.is_named(last_name(node))

    def _names(self, node: ast.AST) -> bool:
        """Return whether the expression has the field's name as an identifier, a keyword or a key: `row["status"]`."""
        return any(
            self._term.is_named(last_name(part))
            or self._is_key(part)
            or (isinstance(part, ast.keyword) and self._term.is_named(part.arg or ""))
            for part in ast.walk(node)
        )

    def _is_key(self, node: ast.AST) -> bool:
        """Return whether the node is the name of a field or a key, written as a string."""
        is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
        return is_text and node.value.isidentifier() and self._term.is_named(node.value)  # type: ignore[attr-defined]

    # --- What is reported ------------------------------------------------------------------------

    def _report_all(self, nodes: Iterable[ast.AST], neighbour: Neighbour) -> None:
        for node in nodes:
            self._report(node, neighbour)

    def _report(self, node: ast.AST, neighbour: Neighbour) -> None:
        self.mentions += 1
        if neighbour == Neighbour.OTHER_FIELD:
            return
        if isinstance(node, ast.Dict):
            written = [constant_text(value) or last_name(value) for value in node.values]
            # A table by status, or one from something else to statuses.
            if not any(map(self._resembles, written)) and not any(map(self._names, node.values)):
                self._report_all(filter(None, node.keys), Neighbour.NAME)
        for literal in self._texts.of(node):
            words = literal.text.replace(",", " ").split()
            each = words if len(words) > 1 and all(map(self._resembles, words)) else [literal.text]
            for word in each:
                self._judge(LiteralText(node=literal.node, text=word, is_value=literal.is_value), neighbour)

    def _resembles(self, text: str) -> bool:
        return bool(self._term.member(text) or self._term.misspelled(text))

    def _judge(self, literal: LiteralText, neighbour: Neighbour) -> None:
        beside = neighbour if literal.is_value else max(neighbour, Neighbour.NOTHING)
        if problem := problem_with(literal.text, self._term, beside):
            line = getattr(literal.node, "lineno", 1)
            end = getattr(literal.node, "end_lineno", line) or line
            self._findings.add(*problem, line=line, about=literal.text, also=(end,))
