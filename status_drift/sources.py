"""The project's Python as the gate reads it: which files, their syntax tree, their comments, their constants."""

import ast
import io
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from status_drift.findings import Finding, Report, Silenced

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
# Where the closed sets themselves are written.
DEFINING = frozenset({"workspaces/lifecycle/transitions.py", "events/names.py"})
# What a comment says to silence its line, with a reason behind it.
NO_STATUS = "not-a-workspace-status:"
DYNAMIC_SQL = "dynamic-sql:"
MARKS = (NO_STATUS, DYNAMIC_SQL)

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(kw_only=True)
class Source:
    """One parsed file. `comments` are by line; `constants` are the expressions a name of the file may stand for.

    `functions`, `calls` and `loads` (every mention of a name, called or not) are by the last name; `scopes` tells, by a
    node's id, in which function it stands.
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
    def _parents(self) -> dict[int, ast.AST]:
        return {id(child): node for node in ast.walk(self.tree) for child in ast.iter_child_nodes(node)}

    def ancestors(self, node: ast.AST) -> Iterator[ast.AST]:
        """Yield what the node stands in, from the innermost outwards."""
        while parent := self._parents.get(id(node)):
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

    def handed_on(self, name: str) -> list[ast.expr]:
        """Return where the name is mentioned without being called: from there, anyone may call what it stands for."""
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
    """Let each file know what the names stand for that it imports from another one."""
    modules = {source.path.removesuffix(".py").removesuffix("/__init__").replace("/", "."): source for source in parsed}
    for source in parsed:
        for node in ast.walk(source.tree):
            origin = modules.get(node.module or "") if isinstance(node, ast.ImportFrom) else None
            # The sets themselves are imported everywhere: their members are what is asked for.
            if origin is None or origin.defines_a_set:
                continue
            for alias in node.names:  # type: ignore[attr-defined]
                source.imported[alias.asname or alias.name] = origin.constants.get(alias.name, [])


def parse(text: str, *, path: str) -> Source:
    """Return the file's tree with what the scans ask of it; an SQL file has an empty tree. Raises SyntaxError."""
    if path.endswith(".sql"):
        comments = dict(enumerate(map(_sql_comment, text.splitlines()), start=1))
        return Source(path=path, tree=ast.parse(""), comments=comments, lines=text.splitlines())
    tree = ast.parse(text, filename=path)
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    comments = {token.start[0]: token.string for token in tokens if token.type == tokenize.COMMENT}
    source = Source(path=path, tree=tree, comments=comments, lines=text.splitlines())
    for node in ast.walk(tree):
        _index(node, source)
    return source


def _sql_comment(line: str) -> str:
    """Return a line's comment, also one inside a function's body; a `--` in a string begins none."""
    before, dashes, comment = line.partition("--")
    return comment if dashes and before.count("'") % 2 == 0 else ""


def _index(node: ast.AST, source: Source) -> None:
    for name, value in [*_assigned(node), *_assigned_in_class(node)]:
        if name:
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
        # An inner function comes later in the walk, and has the last word.
        source.scopes |= {id(inner): node for inner in ast.walk(node) if isinstance(inner, ast.Name)}


def _assigned(node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    if isinstance(node, ast.Assign):
        for target in node.targets:
            yield last_name(target), node.value
    elif isinstance(node, (ast.AnnAssign, ast.NamedExpr, ast.AugAssign)) and node.value is not None:
        yield last_name(node.target), node.value


def _assigned_in_class(node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """Yield a class's constants by the names that its users and its methods know: `Row.BROKEN`, `self.BROKEN`."""
    for statement in node.body if isinstance(node, ast.ClassDef) else []:
        for name, value in _assigned(statement):
            yield from ((f"{owner}.{name}", value) for owner in (node.name, "self", "cls"))  # type: ignore[attr-defined]


def last_name(node: ast.AST | None) -> str:
    """Return the identifier that an expression ends with: `status` of `row.status`; empty where it has none."""
    if isinstance(node, ast.Name):
        return node.id
    return node.attr if isinstance(node, ast.Attribute) else ""


class Findings:
    """Gathers the findings of one file: each literal once, and none that a comment silences."""

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
        """Report what is wrong about a text, once a line.

        A mark silences it on its line and on those of `also`: where the string or the statement starts and ends.
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
        """Report the marks that silence nothing or give no reason, and return everything."""
        for line, comment in self._source.comments.items():
            mark = next((mark for mark in MARKS if mark.rstrip(":") in comment), None)
            if mark is None or line in self._used:
                continue
            message = "This mark silences nothing." if self._reason(line, mark) else "This mark gives no reason."
            sign = "--" if self._source.is_sql else "#"
            fix = f"Write `{sign} {mark} reason`, or remove it."
            self.report.findings.append(Finding(path=self._source.path, line=line, message=message, fix=fix))
        return self.report

    def _reason(self, line: int, mark: str) -> str:
        _, found, reason = self._source.comments.get(line, "").partition(mark)
        return reason.strip() if found else ""
