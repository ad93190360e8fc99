"""The files that the gate reads: their syntax tree, comments, constants, calls and functions."""

import ast
import io
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from status_drift.findings import MARKS, NO_STATUS, Finding, Report, Silenced

PACKAGES = (
    "devserver",
    "config",
    "monitoring",
    "status_drift",
    "registry",
    "workspaces",
    "events",
    "postgres",
    "agent",
)
# Where the enums and the event names are defined.
DEFINING = frozenset({"workspaces/lifecycle/transitions.py", "events/names.py"})

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(kw_only=True)
class Source:
    """One parsed file.

    `comments` are by line. `constants` are the expressions that a name of the file may stand for, `imported` those that
    an imported name may stand for; `imports` tells where it comes from: module and name. `functions`, `calls` and
    `loads` (each use of a name, called or not) are by the last name. `scopes` is the innermost function around a name,
    by the id of its node.
    """

    path: str
    tree: ast.Module
    comments: dict[int, str]
    lines: list[str]
    constants: dict[str, list[ast.expr]] = field(default_factory=dict)
    imported: dict[str, list[ast.expr]] = field(default_factory=dict)
    docstrings: set[int] = field(default_factory=set)
    functions: dict[str, list[Function]] = field(default_factory=dict)
    calls: dict[str, list[ast.Call]] = field(default_factory=dict)
    loads: dict[str, list[ast.expr]] = field(default_factory=dict)
    scopes: dict[int, Function] = field(default_factory=dict)
    imports: dict[str, tuple[str, str]] = field(default_factory=dict)

    @cached_property
    def nodes(self) -> list[ast.AST]:
        """Return all nodes of the file, outer ones first."""
        return list(ast.walk(self.tree))

    @cached_property
    def parents(self) -> dict[int, ast.AST]:
        return {id(child): node for node in self.nodes for child in ast.iter_child_nodes(node)}

    def ancestors(self, node: ast.AST) -> Iterator[ast.AST]:
        """Yield the nodes around a node, from the innermost outwards."""
        while parent := self.parents.get(id(node)):
            node = parent
            yield node

    @property
    def is_sql(self) -> bool:
        return self.path.endswith(".sql")

    @property
    def is_migration(self) -> bool:
        return "/migrations/" in self.path

    @property
    def defines_a_set(self) -> bool:
        return self.path in DEFINING

    def uses_without_call(self, name: str) -> list[ast.expr]:
        """Return where the name is used without being called; from there it may be called with anything."""
        called = {id(call.func) for call in self.calls.get(name, [])}
        return [one for one in self.loads.get(name, []) if id(one) not in called]


def sources(root: Path) -> list[Source]:
    """Parse all Python and SQL files of our packages under the project's folder."""
    found = [path for package in PACKAGES for kind in ("*.py", "*.sql") for path in (root / package).rglob(kind)]
    paths = sorted(path for path in (*found, root / "manage.py") if path.exists())
    parsed = [parse(path.read_text(), path=path.relative_to(root).as_posix()) for path in paths]
    resolve_imports(parsed)
    return parsed


def resolve_imports(parsed: list[Source]) -> None:
    """Resolve the names that each file imports from another one."""
    modules = {source.path.removesuffix(".py").removesuffix("/__init__").replace("/", "."): source for source in parsed}
    for source in parsed:
        for node in source.nodes:
            origin = modules.get(node.module or "") if isinstance(node, ast.ImportFrom) else None
            # Everyone imports the enums, and should.
            if origin is None or origin.defines_a_set:
                continue
            for alias in node.names:  # type: ignore[attr-defined]
                source.imported[alias.asname or alias.name] = origin.constants.get(alias.name, [])


def parse(text: str, *, path: str) -> Source:
    """Parse a Python or SQL file; an SQL file has an empty tree. Raises SyntaxError."""
    if path.endswith(".sql"):
        source = Source(path=path, tree=ast.parse(""), comments={}, lines=text.splitlines())
        for number, line in enumerate(source.lines, start=1):
            # Also inside a function's body; a `--` in a string begins no comment.
            before, _, comment = line.partition("--")
            source.comments[number] = comment if before.count("'") % 2 == 0 else ""
        return source
    tree = ast.parse(text, filename=path)
    # Most files have no comment that silences anything, and tokens take as long as the tree.
    is_marked = any(mark.rstrip(":") in text for mark in MARKS)
    tokens = tokenize.generate_tokens(io.StringIO(text).readline) if is_marked else []
    comments = {token.start[0]: token.string for token in tokens if token.type == tokenize.COMMENT}
    source = Source(path=path, tree=tree, comments=comments, lines=text.splitlines())
    for node in source.nodes:
        _index(node, source)
    return source


def _index(node: ast.AST, source: Source) -> None:
    """Add a node to the file's indexes."""
    for name, value in _assigned(node):
        source.constants.setdefault(name, []).append(value)
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        source.docstrings.add(id(node.value))
    elif isinstance(node, ast.ImportFrom):
        module = "" if node.level else node.module or ""
        source.imports |= {alias.asname or alias.name: (module, alias.name) for alias in node.names}
    elif isinstance(node, ast.Call):
        source.calls.setdefault(last_name(node.func), []).append(node)
    elif isinstance(node, (ast.Name, ast.Attribute)) and isinstance(node.ctx, ast.Load):
        source.loads.setdefault(last_name(node), []).append(node)
    elif isinstance(node, Function):
        source.functions.setdefault(node.name, []).append(node)
        # The walk reaches inner functions later, so they replace the outer ones.
        source.scopes |= {id(inner): node for inner in ast.walk(node) if isinstance(inner, ast.Name)}


def _assigned(node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """Yield the names that a statement gives a value to; a class's own as `Row.BROKEN` and `self.BROKEN`."""
    targets: list[ast.expr] = []
    if isinstance(node, ast.Assign):
        targets = node.targets
    elif isinstance(node, (ast.AnnAssign, ast.NamedExpr, ast.AugAssign)) and node.value is not None:
        targets = [node.target]
    elif isinstance(node, ast.ClassDef):
        own = [one for statement in node.body for one in _assigned(statement)]
        yield from ((f"{owner}.{name}", value) for name, value in own for owner in (node.name, "self", "cls"))
    yield from ((last_name(target), node.value) for target in targets if last_name(target))  # type: ignore[attr-defined]


def last_name(node: ast.AST | None) -> str:
    """Return the identifier that an expression ends with: `status` for `row.status`, "" if there is none."""
    if isinstance(node, ast.Name):
        return node.id
    return node.attr if isinstance(node, ast.Attribute) else ""


def root_name(node: ast.AST | None) -> str:
    """Return the variable that a chain of attributes, calls and items begins with."""
    while isinstance(node, (ast.Attribute, ast.Call, ast.Subscript, ast.Await)):
        node = node.func if isinstance(node, ast.Call) else node.value
    return last_name(node)


def parameter_of(function: Function, name: str) -> ast.arg | None:
    """Return the function's parameter of this name."""
    return next((one for one in _parameters(function) if one.arg == name), None)


def argument_for(call: ast.Call, function: Function, name: str) -> ast.expr | None:
    """Return what a call passes for a parameter, None if that can't be told."""
    for word in call.keywords:
        if word.arg == name:
            return word.value
    names = [one.arg for one in _parameters(function)]
    place = names.index(name) - (names[0] in {"self", "cls"} and isinstance(call.func, ast.Attribute))
    is_spread = any(isinstance(one, ast.Starred) for one in call.args[:place])
    return call.args[place] if place < len(call.args) and not is_spread else None


def _parameters(function: Function) -> list[ast.arg]:
    return [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]


class Findings:
    """Collects the findings of one file, each text once a line, without those that a comment silences."""

    def __init__(self, source: Source) -> None:
        self.report = Report()
        self._source = source
        self._seen: set[tuple[int, str]] = set()
        self._used: set[int] = set()

    def add(
        self,
        message: str,
        fix: str,
        *,
        line: int,
        about: str = "",
        also: tuple[int, ...] = (),
        mark: str = NO_STATUS,
    ) -> None:
        """Report what is wrong with the text `about`.

        A comment with the mark silences it on its line, and on the lines in `also`, where the string or statement
        starts and ends.
        """
        if (line, about or message) in self._seen:
            return
        self._seen.add((line, about or message))
        for place in (line, *also):
            if reason := self._reason(place, mark):
                self._used.add(place)
                self.report.silenced.append(Silenced(path=self._source.path, line=line, reason=reason))
                return
        self.report.findings.append(Finding(path=self._source.path, line=line, message=message, fix=fix))

    def close(self) -> Report:
        """Report comments that silence nothing or give no reason, and return the report."""
        for line, comment in self._source.comments.items():
            mark = next((mark for mark in MARKS if mark.rstrip(":") in comment), None)
            if mark is None or line in self._used:
                continue
            message = "This comment silences nothing." if self._reason(line, mark) else "This comment gives no reason."
            sign = "--" if self._source.is_sql else "#"
            fix = f"Write `{sign} {mark} reason`, or remove it."
            self.report.findings.append(Finding(path=self._source.path, line=line, message=message, fix=fix))
        return self.report

    def _reason(self, line: int, mark: str) -> str:
        _, found, reason = self._source.comments.get(line, "").partition(mark)
        return reason.strip() if found else ""
