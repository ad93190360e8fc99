"""Raw statuses in Python: any literal that is a value of a native enum, beside anything named like its field."""

import ast
from collections.abc import Iterable, Iterator
from urllib.parse import parse_qsl

from status_drift.constant_text import constant_text
from status_drift.enum_terms import EnumTerm
from status_drift.sources import Findings, Source, last_name

# Arguments of Case and When: what they hold belongs to whatever the expression is assigned to or compared with.
_PASSED_ON = frozenset({"then", "default"})
_CONDITIONAL = frozenset({"Case", "When"})
_Comprehension = (ast.For, ast.AsyncFor, ast.comprehension)


def scan_events(source: Source, names: dict[str, str], findings: Findings) -> None:
    """Report each string that is the name of an event: it is unmistakable, whatever stands beside it."""
    for node in ast.walk(source.tree):
        value = constant_text(node)
        if value in names and id(node) not in source.docstrings:
            line = getattr(node, "lineno", 1)
            findings.add(f"The event name {value!r} is written out.", f"Use {names[value]}.", line=line)


class StatusScan(ast.NodeVisitor):
    """Visits one file for one enum; each method knows one way in which a value stands beside a name."""

    def __init__(self, source: Source, term: EnumTerm, findings: Findings) -> None:
        self._source = source
        self._term = term
        self._findings = findings
        self.mentions = 0

    # --- Where a literal stands beside a name ----------------------------------------------------

    def visit_Call(self, node: ast.Call) -> None:
        for keyword in node.keywords:
            if keyword.arg and self._term.is_named(keyword.arg):
                self._report(keyword.value)
        named_argument = any(self._is_key(argument) for argument in node.args)
        if named_argument or self._names_function(node.func) or self._is_named_case(node):
            self._report_all([*node.args, *(word.value for word in node.keywords if word.arg in _PASSED_ON)])
        if isinstance(node.func, ast.Attribute) and any(map(self._names, node.args)):
            self._report_keys(node.func.value)
        self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        operands = [node.left, *node.comparators]
        if any(map(self._names, operands)):
            self._report_all(operand for operand in operands if not self._is_key(operand))
        self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        for target in node.targets:
            self._assign(target, node.value)
        self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if self._names_target(node.target) or self._names(node.annotation):
            self._report_all([node.annotation, *([node.value] if node.value else [])])
        self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self._assign(node.target, node.value)
        self.generic_visit(node)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self._assign(node.target, node.value)
        self.generic_visit(node)

    def visit_Dict(self, node: ast.Dict) -> None:
        for key, value in zip(node.keys, node.values, strict=True):
            if key is not None and (self._is_key(key) or self._term.is_named(last_name(key))):
                self._report(value)
        self.generic_visit(node)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        if self._names_target(node.value):
            self._report(node.slice)
        if self._names(node.slice):
            self._report_keys(node.value)
        self.generic_visit(node)

    def visit_Tuple(self, node: ast.Tuple) -> None:
        self._pair(node)

    def visit_List(self, node: ast.List) -> None:
        self._pair(node)

    def visit_For(self, node: ast.For) -> None:
        self._loop(node)

    def visit_AsyncFor(self, node: ast.AsyncFor) -> None:
        self._loop(node)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        self._loop(node)

    def visit_Match(self, node: ast.Match) -> None:
        if self._names(node.subject):
            self._report_all(case.pattern for case in node.cases)
        self.generic_visit(node)

    def visit_MatchMapping(self, node: ast.MatchMapping) -> None:
        self._report_all(pattern for key, pattern in zip(node.keys, node.patterns, strict=True) if self._is_key(key))
        self.generic_visit(node)

    def visit_MatchClass(self, node: ast.MatchClass) -> None:
        pairs = zip(node.kwd_attrs, node.kwd_patterns, strict=True)
        self._report_all(pattern for name, pattern in pairs if self._term.is_named(name))
        self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._function(node)

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._defaults(node.args)
        self.generic_visit(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        if self._term.is_named(node.name):
            self._report_all(one.value for one in node.body if isinstance(one, ast.Assign))
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        self._query_string(node)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        for part in node.values:
            self._query_string(part)
        self.generic_visit(node)

    # --- What they share -------------------------------------------------------------------------

    def _assign(self, target: ast.expr, value: ast.expr) -> None:
        if isinstance(target, (ast.Tuple, ast.List)):
            same = isinstance(value, (ast.Tuple, ast.List)) and len(value.elts) == len(target.elts)
            for place, one in enumerate(target.elts):
                self._assign(one, value.elts[place] if same else value)  # type: ignore[attr-defined]
        elif self._names_target(target):
            self._report(value)

    def _pair(self, node: ast.Tuple | ast.List) -> None:
        if node.elts and self._is_key(node.elts[0]):
            self._report_all(node.elts[1:])
        self.generic_visit(node)

    def _loop(self, node: ast.For | ast.AsyncFor | ast.comprehension) -> None:
        if any(self._names_target(target) for target in ast.walk(node.target)):
            self._report(node.iter)
        self.generic_visit(node)

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self._defaults(node.args)
        if self._term.is_named(node.name) or (node.returns is not None and self._names(node.returns)):
            returned = [one.value for one in ast.walk(node) if isinstance(one, (ast.Return, ast.Yield))]
            self._report_all(value for value in returned if value is not None)
        self.generic_visit(node)

    def _defaults(self, arguments: ast.arguments) -> None:
        positional = [*arguments.posonlyargs, *arguments.args]
        pairs = [*zip(reversed(positional), reversed(arguments.defaults), strict=False)]
        pairs += [
            (name, value) for name, value in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if value
        ]
        for argument, value in pairs:
            if self._names_argument(argument):
                self._report(value)
        for argument in [*positional, *arguments.kwonlyargs]:
            if argument.annotation is not None and self._names_argument(argument):
                self._report(argument.annotation)

    def _names_argument(self, argument: ast.arg) -> bool:
        by_type = argument.annotation is not None and self._names(argument.annotation)
        return by_type or self._term.is_named(argument.arg)

    def _names_function(self, function: ast.expr) -> bool:
        if self._term.is_named(last_name(function)):
            return True
        # A method of what is named: `row.status.startswith(…)`.
        return isinstance(function, ast.Attribute) and self._names_target(function.value)

    def _is_named_case(self, node: ast.Call) -> bool:
        return last_name(node.func) in _CONDITIONAL and self._names(node)

    def _names_target(self, node: ast.AST) -> bool:
        if isinstance(node, ast.Subscript):
            return self._is_key(node.slice) or self._names_target(node.value)
        return self._term.is_named(last_name(node))

    def _names(self, node: ast.AST) -> bool:
        """Tell whether the expression speaks of the enum: by an identifier, a keyword, or a key as `row["status"]`."""
        return any(
            self._term.is_named(last_name(part))
            or self._is_key(part)
            or (isinstance(part, ast.keyword) and self._term.is_named(part.arg or ""))
            for part in ast.walk(node)
        )

    def _is_key(self, node: ast.AST) -> bool:
        """Tell whether the node is the name of a field or a key, written as a string."""
        is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
        return is_text and node.value.isidentifier() and self._term.is_named(node.value)  # type: ignore[attr-defined]

    def _query_string(self, node: ast.expr) -> None:
        value = constant_text(node)
        if value is None or "?" not in value:
            return
        for key, each in parse_qsl(value.partition("?")[2]):
            if self._term.is_named(key) and self._term.member(each):
                self._tell(node, each)

    def _report_keys(self, node: ast.expr) -> None:
        if isinstance(node, ast.Dict):
            self._report_all(key for key in node.keys if key is not None)

    def _report_all(self, nodes: Iterable[ast.AST]) -> None:
        for node in nodes:
            self._report(node)

    def _report(self, node: ast.AST) -> None:
        self.mentions += 1
        for literal, value in self._literals(node, set()):
            self._tell(literal, value)

    def _tell(self, literal: ast.AST, value: str) -> None:
        line = getattr(literal, "lineno", 1)
        member = self._term.member(value)
        name = next(iter(sorted(self._term.words)))
        ends = (getattr(literal, "end_lineno", line) or line,)
        self._findings.add(f"The {name} {value!r} is written out.", f"Use {member}.", line=line, also=ends)

    def _literals(self, node: ast.AST, seen: set[str]) -> Iterator[tuple[ast.AST, str]]:
        """Yield the raw values in an expression, also behind a name of this file and in a list as one string."""
        value = constant_text(node)
        if value is not None:
            words = [value] if self._term.member(value) else value.replace(",", " ").split()
            if all(map(self._term.member, words)):
                yield from ((node, word) for word in words)
            return
        yield from self._behind(node, seen)
        for child in self._children(node):
            yield from self._literals(child, seen)

    def _behind(self, node: ast.AST, seen: set[str]) -> Iterator[tuple[ast.AST, str]]:
        """Yield what a name stands for, where it was written; what another file wrote counts where it is used."""
        name = last_name(node)
        if isinstance(node, ast.Attribute):
            # A class's own; `row.code` is no name of this file.
            name = f"{last_name(node.value)}.{name}"
        if not name or name in seen:
            return
        for behind in filter(_is_plain, self._source.constants.get(name, [])):
            yield from self._literals(behind, seen | {name})
        for behind in filter(_is_plain, self._source.imported.get(name, [])):
            yield from ((node, value) for _, value in self._literals(behind, seen | {name}))

    def _children(self, node: ast.AST) -> Iterator[ast.AST]:
        for child in ast.iter_child_nodes(node):
            # A comparison is judged by itself; another keyword claims its value for another name.
            claimed = isinstance(child, ast.keyword) and child.arg not in _PASSED_ON
            if not claimed and not isinstance(child, ast.Compare):
                yield child


def _is_plain(node: ast.expr) -> bool:
    """Tell whether a name stands for what is written there, and not for what a call makes of it."""
    return isinstance(node, (ast.Constant, ast.JoinedStr, ast.BinOp, ast.Tuple, ast.List, ast.Set, ast.Dict, ast.Name))
