"""Raw statuses in SQL: wherever PostgreSQL's parser finds one in a statement that speaks of the enum."""

import ast
from typing import Any

from status_drift import sql_parser
from status_drift.constant_text import constant_text
from status_drift.enum_terms import EnumTerm
from status_drift.sources import DYNAMIC_SQL, NO_STATUS, Findings, Source, last_name
from status_drift.sql_columns import ColumnReader, Neighbour, mentions, strings
from status_drift.sql_templates import Hole, Reader, Template, is_sql

# Whoever takes SQL as text; the value is the place of its parameters.
_SINKS = {
    "execute": 1,
    "executemany": 1,
    "stream": 1,
    "copy": 1,
    "raw": 1,
    "RawSQL": 1,
    "RunSQL": None,
    "SQL": None,
    "extra": None,
}
# What they call their text, and its parameters.
_TEXT_KEYWORDS = frozenset({"query", "sql", "raw_query", "statement", "obj"})
_VALUE_KEYWORDS = frozenset({"params", "param_list", "params_seq"})
# Others have methods of these names too.
_COMMON = frozenset({"stream", "copy"})
# Where one of these is handed on, what it is called with is out of sight.
_METHODS = ("execute", "executemany", "stream", "copy", "raw")
# These take parts of a statement.
_FRAGMENTS = frozenset({"SQL", "RawSQL", "extra"})
_DML_WORDS = ("select", "insert", "update", "delete", "merge", "values", "with")


class SqlScan:
    """Scans the SQL of one file."""

    def __init__(self, source: Source, terms: list[EnumTerm], events: dict[str, str], findings: Findings) -> None:
        self._source = source
        self._terms = terms
        self._events = events
        self._findings = findings
        self._reader = Reader(source)
        self._done: set[int] = set()
        self.statements = 0
        self.mentions = 0

    def scan(self) -> None:
        """Scan an SQL file; of a Python file what a database executes, then every other text that is DML."""
        if self._source.is_sql:
            self._file()
            return
        for node in ast.walk(self._source.tree):
            if isinstance(node, ast.Call):
                self._call(node)
        for node in (node for name in _METHODS for node in self._source.handed_on(name)):
            if isinstance(node, ast.Attribute):
                self._unknown(ast.unparse(node), ((node.lineno, node.end_lineno or node.lineno),))
        self._texts(self._source.tree)

    def _file(self) -> None:
        for text, line in sql_parser.split_statements("\n".join(self._source.lines)):
            spans = ((line, line + text.count("\n")),)
            try:
                # A file that Python formats has placeholders.
                self._statements(self._parse(Template((text,)), None, is_fragment=False), spans)
            except sql_parser.Unparseable as error:
                self._unreadable(text, str(error), spans)
            except sql_parser.Unknown as hole:
                self._unknown(str(hole), spans)

    # --- Where SQL is ----------------------------------------------------------------------------

    def _call(self, node: ast.Call) -> None:
        name = last_name(node.func)
        if name == "format" and isinstance(node.func, ast.Attribute) and is_sql(node.func.value):
            self._done.add(id(node.func.value))
            self._judge(node, node, None, is_fragment=True)
        elif name in _SINKS and id(node) not in self._done and not (name in _COMMON and _is_anothers(node)):
            values = _values(node, _SINKS[name])
            for argument in self._arguments(node, name):
                self._judge(argument, node, values, is_fragment=name in _FRAGMENTS)

    def _arguments(self, node: ast.Call, name: str) -> list[ast.expr]:
        if name == "RunSQL":
            named = [word.value for word in node.keywords if word.arg in {"sql", "reverse_sql"}]
            return [*node.args[:2], *named]
        if name == "extra":
            return [one for word in node.keywords if word.arg in {"select", "where"} for one in _items(word.value)]
        return node.args[:1] or [word.value for word in node.keywords if word.arg is None or word.arg in _TEXT_KEYWORDS]

    def _judge(
        self,
        argument: ast.expr,
        call: ast.Call,
        values: ast.expr | None,
        *,
        is_fragment: bool,
    ) -> None:
        self._done |= {id(inner) for inner in ast.walk(argument) if not _is_open_part(inner)}
        for template in self._reader.templates(argument):
            spans = (*template.spans, (call.lineno, call.end_lineno or call.lineno))
            if template.is_open:
                self._unknown(ast.unparse(argument), spans)
            if not template.is_known:
                continue
            try:
                statements = self._parse(template, values, is_fragment=is_fragment)
            except sql_parser.Unparseable as error:
                self._unreadable(template.text, str(error), spans)
            except sql_parser.Unknown as hole:
                self._unknown(str(hole), spans)
            else:
                self._statements(statements, spans)

    def _parse(self, template: Template, values: ast.expr | None, *, is_fragment: bool) -> list[Any]:
        parts = self._reader.printf(template.parts, values, quoted=True)
        try:
            return sql_parser.parse(parts, is_fragment=is_fragment)
        except sql_parser.Unparseable:
            # A template that is formatted elsewhere has braces still.
            if "{" not in template.text:
                raise
            return sql_parser.parse(self._braces(parts), is_fragment=is_fragment)

    def _braces(self, parts: Any) -> Any:
        try:
            return self._reader.braces(parts)
        except ValueError as error:
            raise sql_parser.Unparseable(str(error)) from error

    def _texts(self, node: ast.AST) -> None:
        """Look at every text that no sink took, from the outermost expression inwards."""
        if id(node) in self._source.docstrings:
            return
        is_text = isinstance(node, (ast.Constant, ast.JoinedStr, ast.BinOp, ast.Call))
        if is_text and id(node) not in self._done and self._is_judged(node):
            return
        for child in ast.iter_child_nodes(node):
            self._texts(child)

    def _is_judged(self, node: Any) -> bool:
        if isinstance(node, ast.Call) and last_name(node.func) not in {"format", "join"}:
            return False
        judged = False
        for template in self._reader.templates(node):
            words = template.text.casefold().split()
            looks_whole = len(words) > 1 and any(word.strip("(") in _DML_WORDS for word in words)
            is_fragment = not looks_whole and self._looks_like_a_condition(template.text)
            if looks_whole or is_fragment:
                judged |= self._is_dml(template, is_fragment=is_fragment)
        return judged

    def _is_dml(self, template: Template, *, is_fragment: bool) -> bool:
        """Judge a text that may be SQL; tell whether it was."""
        try:
            statements = self._parse(template, None, is_fragment=is_fragment)
        except sql_parser.Unparseable:
            return False
        except sql_parser.Unknown as hole:
            if not _is_made_here(template):
                return False
            self._unknown(str(hole), template.spans)
            return True
        if not sql_parser.is_dml(statements):
            return False
        self._statements(statements, template.spans)
        return True

    def _looks_like_a_condition(self, text: str) -> bool:
        """Tell whether it may be a part of a statement that another file puts together."""
        return "'" in text and any(term.is_named(text) for term in self._terms)

    def _unreadable(self, text: str, error: str, spans: tuple[tuple[int, int], ...]) -> None:
        shown = " ".join(text.split())[:60]
        self._findings.add(
            f"This SQL can't be parsed ({error}): {shown}",
            "Correct it, or write it so that its structure is in the text.",
            line=spans[0][0],
            also=(spans[0][1],),
        )

    def _unknown(self, what: str, spans: tuple[tuple[int, int], ...]) -> None:
        self._findings.add(
            f"What this SQL says is made at run time, so nobody can judge it: {' '.join(what.split())[:60]}",
            "Write it in the text, or put it together with psycopg.sql; "
            f"where neither is possible, say why on its line: `# {DYNAMIC_SQL} reason`.",
            line=spans[-1][0],
            also=tuple(place for span in spans for place in span),
            mark=DYNAMIC_SQL,
        )

    # --- What is in it ---------------------------------------------------------------------------

    def _statements(self, statements: list[Any], spans: tuple[tuple[int, int], ...]) -> None:
        for statement in statements:
            self.statements += 1
            self._statement(statement, spans)
            for text, inner in sql_parser.nested(statement):
                if inner is None:
                    self._unreadable(text, "inside a function", spans)
                else:
                    self._statements(inner, spans)

    def _statement(self, statement: Any, spans: tuple[tuple[int, int], ...]) -> None:
        for value in strings(statement):
            if value in self._events:
                fix = f"Pass {self._events[value]} as a parameter."
                self._tell(f"The event name {value!r} is written out in SQL.", fix, value, spans)
        if self._source.is_migration:
            return
        for term in self._terms:
            if not mentions(statement, term):
                continue
            self.mentions += 1
            for text in ColumnReader(term, statement).texts():
                self._judge_text(term, text.text, text.neighbour, spans)

    def _judge_text(self, term: EnumTerm, text: str, neighbour: Neighbour, spans: tuple[tuple[int, int], ...]) -> None:
        if member := term.member(text):
            message, fix = f"The {term.label} {text!r} is written out in SQL.", f"Pass {member} as a parameter."
        elif neighbour == Neighbour.COLUMN:
            message, fix = f"{term.enum_name} has no value {text!r}, which this SQL uses.", term.advice(text)
        elif neighbour == Neighbour.NAME and term.misspelled(text):
            message = f"{text!r} in this SQL looks like a misspelled {term.label}."
            fix = f"{term.advice(text)} If it means something else, add the comment `{NO_STATUS} reason`."
        else:
            return
        self._tell(message, fix, text, spans)

    def _tell(self, message: str, fix: str, value: str, spans: tuple[tuple[int, int], ...]) -> None:
        line = self._line_of(value, spans)
        ends = tuple(place for span in spans for place in span)
        self._findings.add(message, fix, line=line, about=value, also=ends)

    def _line_of(self, value: str, spans: tuple[tuple[int, int], ...]) -> int:
        for text in (f"'{value}'", value):
            for first, last in spans:
                for line in range(first, last + 1):
                    if text in self._source.lines[line - 1]:
                        return line
        return spans[0][0]


def _is_open_part(node: ast.AST) -> bool:
    """Tell whether the node is a `SQL(…)` whose text is no constant: judged for itself, wherever it is put in."""
    return isinstance(node, ast.Call) and is_sql(node) and bool(node.args) and constant_text(node.args[0]) is None


def _values(node: ast.Call, place: int | None) -> ast.expr | None:
    """Return the parameters of the SQL that a call executes, by their place or their name."""
    if place is None:
        return None
    named = (word.value for word in node.keywords if word.arg in _VALUE_KEYWORDS)
    return node.args[place] if len(node.args) > place else next(named, None)


def _is_anothers(node: ast.Call) -> bool:
    """Tell whether a `stream` or `copy` is no cursor's: a function, of a module, with many arguments, or with a verb.

    `client.stream("POST", url)` has a verb, and no statement is a single word.
    """
    if not isinstance(node.func, ast.Attribute) or last_name(node.func.value) in {"shutil", "copy"}:
        return True
    text = constant_text(node.args[0]) if node.args else None
    return len(node.args) > 2 or (text is not None and len(text.split()) == 1)


def _is_made_here(template: Template) -> bool:
    """Tell whether a text that begins as a statement is put together here; a constant is judged where it's filled."""
    first = template.parts[0]
    words = first.casefold().split() if isinstance(first, str) else []
    is_filled = any(isinstance(part, Hole) for part in template.parts)
    return is_filled and bool(words) and words[0].strip("(") in _DML_WORDS


def _items(node: ast.expr) -> list[ast.expr]:
    """Return the values of a dict, the items of a list."""
    if isinstance(node, ast.Dict):
        return node.values
    return node.elts if isinstance(node, (ast.List, ast.Tuple)) else [node]
