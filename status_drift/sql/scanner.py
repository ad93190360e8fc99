"""Statuses written out in SQL, in `.sql` files and in the texts of Python."""

import ast
from typing import Any

from status_drift.enum_terms import EnumTerm
from status_drift.findings import DYNAMIC_SQL
from status_drift.neighbours import problem_with
from status_drift.sources import Findings, Source, last_name
from status_drift.sql import parser
from status_drift.sql.calls import (
    CURSOR_METHODS,
    is_open_sql_object,
    is_sql_object,
    sql_arguments,
    sql_parameters,
    takes_fragments,
    takes_sql,
)
from status_drift.sql.columns import ColumnReader, mentions, strings
from status_drift.sql.placeholders import Template, fill_braces
from status_drift.sql.templates import TemplateReader

# The first and last lines of the expressions that a text comes from.
Spans = tuple[tuple[int, int], ...]


class SqlScanner:
    """Scans the SQL of one file."""

    def __init__(self, source: Source, terms: list[EnumTerm], events: dict[str, str], findings: Findings) -> None:
        self._source = source
        self._terms = terms
        self._events = events
        self._findings = findings
        self._reader = TemplateReader(source)
        self._done: set[int] = set()
        self.statements = 0
        self.mentions = 0

    def scan(self) -> None:
        """Scan an SQL file; in a Python file what a database executes, then every other text that is DML."""
        if self._source.is_sql:
            for text, line in parser.split_statements("\n".join(self._source.lines)):
                self._judge(Template((text,)), None, ((line, line + text.count("\n")),), is_fragment=False)
            return
        for node in self._source.nodes:
            if isinstance(node, ast.Call):
                self._scan_call(node)
        for node in (node for name in CURSOR_METHODS for node in self._source.uses_without_call(name)):
            if isinstance(node, ast.Attribute):
                self._report_unknown(ast.unparse(node), ((node.lineno, node.end_lineno or node.lineno),))
        self._scan_texts(self._source.tree)

    # --- Where SQL is ----------------------------------------------------------------------------

    def _scan_call(self, call: ast.Call) -> None:
        is_formatted = last_name(call.func) == "format" and is_sql_object(getattr(call.func, "value", call))
        if is_formatted:
            self._done.add(id(call.func.value))  # type: ignore[attr-defined]
        elif not takes_sql(call) or id(call) in self._done:
            return
        parameters = None if is_formatted else sql_parameters(call)
        for argument in [call] if is_formatted else sql_arguments(call):
            # A part put into a composition is judged where it is written.
            self._done |= {id(inner) for inner in ast.walk(argument) if not is_open_sql_object(inner)}
            for template in self._reader.templates(argument):
                spans = (*template.spans, (call.lineno, call.end_lineno or call.lineno))
                if template.is_unknown:
                    self._report_unknown(ast.unparse(argument), spans)
                if template.has_text:
                    self._judge(template, parameters, spans, is_fragment=is_formatted or takes_fragments(call))

    def _scan_texts(self, node: ast.AST) -> None:
        """Scan every text that no call took, from the outermost expression inwards."""
        if id(node) in self._source.docstrings:
            return
        is_text = isinstance(node, (ast.Constant, ast.JoinedStr, ast.BinOp)) or (
            isinstance(node, ast.Call) and last_name(node.func) in {"format", "join"}
        )
        if is_text and id(node) not in self._done and self._scan_text(node):  # type: ignore[arg-type]
            return
        for child in ast.iter_child_nodes(node):
            self._scan_texts(child)

    def _scan_text(self, node: ast.expr) -> bool:
        """Judge an expression if it is SQL; tell whether it was."""
        found = False
        for template in self._reader.templates(node):
            text = template.text
            # A condition may be part of a statement that another file puts together.
            is_condition = "'" in text and any(term.is_named(text) for term in self._terms)
            if template.has_dml_word or is_condition:
                found |= self._judge_if_dml(template, is_fragment=not template.has_dml_word)
        return found

    def _judge_if_dml(self, template: Template, *, is_fragment: bool) -> bool:
        try:
            statements = self._parse(template, None, is_fragment=is_fragment)
        except parser.Unparseable:
            return False
        except parser.UnknownPart as part:
            # A constant template is judged where it is filled.
            if template.is_filled_dml:
                self._report_unknown(str(part), template.spans)
            return template.is_filled_dml
        if parser.is_dml(statements):
            self._judge_statements(statements, template.spans)
            return True
        return False

    # --- What is in it ---------------------------------------------------------------------------

    def _judge(self, template: Template, parameters: ast.expr | None, spans: Spans, *, is_fragment: bool) -> None:
        try:
            statements = self._parse(template, parameters, is_fragment=is_fragment)
        except parser.Unparseable as error:
            self._report_unparseable(template.text, str(error), spans)
        except parser.UnknownPart as part:
            self._report_unknown(str(part), spans)
        else:
            self._judge_statements(statements, spans)

    def _parse(self, template: Template, parameters: ast.expr | None, *, is_fragment: bool) -> list[Any]:
        parts = self._reader.fill_percents(template.parts, parameters, quoted=True)
        try:
            return parser.parse(parts, is_fragment=is_fragment)
        except parser.Unparseable as error:
            # A template that is formatted elsewhere still has its braces.
            if "{" not in template.text:
                raise
            try:
                parts = fill_braces(parts, lambda field: None)
            except ValueError:
                raise error from None
            return parser.parse(parts, is_fragment=is_fragment)

    def _judge_statements(self, statements: list[Any], spans: Spans) -> None:
        for statement in statements:
            self.statements += 1
            for text in strings(statement):
                if text in self._events:
                    message = f"The event name {text!r} is written out in SQL."
                    self._report(text, message, f"Pass {self._events[text]} as a parameter.", spans)
            for term in self._terms:
                if not self._source.is_migration and mentions(statement, term):
                    self.mentions += 1
                    self._judge_values(term, statement, spans)
            for text, inner in parser.nested(statement):
                if inner is None:
                    self._report_unparseable(text, "inside a function", spans)
                else:
                    self._judge_statements(inner, spans)

    def _judge_values(self, term: EnumTerm, statement: Any, spans: Spans) -> None:
        for text, neighbour in ColumnReader(term, statement).texts():
            if problem := problem_with(text, term, neighbour, in_sql=True):
                self._report(text, *problem, spans)

    # --- What is reported ------------------------------------------------------------------------

    def _report(self, text: str, message: str, fix: str, spans: Spans) -> None:
        """Report a string on the line that has it, in quotes if possible."""
        places = [line for first, last in spans for line in range(first, last + 1)]
        having = [line for line in places if text in self._source.lines[line - 1]]
        quoted = [line for line in having if f"'{text}'" in self._source.lines[line - 1]]
        line = (quoted or having or places)[0]
        self._findings.add(message, fix, line=line, about=text, also=_ends(spans))

    def _report_unparseable(self, text: str, error: str, spans: Spans) -> None:
        self._findings.add(
            f"This SQL can't be parsed ({error}): {' '.join(text.split())[:60]}",
            "Correct it, or write out its structure.",
            line=spans[0][0],
            also=(spans[0][1],),
        )

    def _report_unknown(self, what: str, spans: Spans) -> None:
        self._findings.add(
            f"This SQL is made at run time, so the gate can't judge it: {' '.join(what.split())[:60]}",
            "Write it out, or compose it with psycopg.sql. If neither is possible, add the comment "
            f"`# {DYNAMIC_SQL} reason`.",
            line=spans[-1][0],
            also=_ends(spans),
            mark=DYNAMIC_SQL,
        )


def _ends(spans: Spans) -> tuple[int, ...]:
    return tuple(line for span in spans for line in span)
