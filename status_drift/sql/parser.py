"""PostgreSQL's own parser for texts with placeholders, fragments of statements and bodies of functions."""

from collections.abc import Iterator
from typing import Any

from pglast import ast, parse_plpgsql, parse_sql
from pglast.parser import ParseError, split
from pglast.stream import RawStream

from status_drift.sql.columns import walk
from status_drift.sql.placeholders import Part, Placeholder

# How to read a placeholder: a name (or a value), a parameter, an assignment, a list, a text, nothing.
_READINGS = ("part_{}", "${}", "part_{0} = part_{0}", "(part_{})", "'part_{}'", "")
# Read in these ways, it is neither a name nor a value: what the statement does is written elsewhere.
_STRUCTURAL = frozenset({2, 5})
# Where a fragment of psycopg.sql may belong.
_FRAMES = (
    "{}",
    "SELECT {}",
    "SELECT a {} b",
    "UPDATE t SET {}",
    "SELECT a FROM {}",
    "SELECT a FROM t {}",
    "SELECT a FROM t WHERE {}",
    "SELECT a FROM t WHERE a {}",
    "SELECT NULL::{}",
    "INSERT INTO t {}",
    "ALTER TYPE t ADD VALUE 'a' {}",
    "UPDATE t SET a = b {}",
)
_DML = (ast.SelectStmt, ast.InsertStmt, ast.UpdateStmt, ast.DeleteStmt, ast.MergeStmt)


class Unparseable(ValueError):
    """PostgreSQL can't parse the text, however its placeholders are filled; the message is PostgreSQL's."""


class UnknownPart(ValueError):
    """The text has a placeholder that is neither a name nor a value; the message is its name."""


def parse(parts: tuple[Part, ...], *, is_fragment: bool = False) -> list[Any]:
    """Return the statements in the text. Raises Unparseable or UnknownPart."""
    error: Unparseable | None = None
    for frame in _FRAMES if is_fragment else _FRAMES[:1]:
        before, after = frame.split("{}")
        try:
            return _parse_with_placeholders((before, *parts, after))
        except Unparseable as refused:
            error = error or refused
    raise error or Unparseable("nothing to parse")


def split_statements(text: str) -> list[tuple[str, int]]:
    """Return each statement of a file with the line that it begins on; the whole text if it can't be parsed as is."""
    try:
        pieces = split(text, only_slices=True)
    except ParseError:
        return [(text, 1)]
    return [(text[piece], text.count("\n", 0, piece.start) + 1) for piece in pieces]


def is_dml(statements: list[Any]) -> bool:
    return any(isinstance(statement, _DML) for statement in statements)


def _parse_with_placeholders(parts: tuple[Part, ...]) -> list[Any]:
    readings = Readings(parts)
    while True:
        try:
            statements = [raw.stmt for raw in parse_sql(readings.text())]
        except ParseError as error:
            if not readings.advance(error):
                raise Unparseable(str(error.args[0])) from None
        else:
            if unknown := readings.unknown_part(statements):
                raise UnknownPart(unknown.name or "a part")
            return statements


class Readings:
    """The ways in which the placeholders of one text are read at present."""

    def __init__(self, parts: tuple[Part, ...]) -> None:
        self._parts = parts
        is_open = [isinstance(part, Placeholder) and not part.text for part in parts]
        self._readings = [0 if one else None for one in is_open]
        self._starts: list[int] = []

    def text(self) -> str:
        """Return the text with each placeholder as it is read."""
        text, self._starts = "", []
        for number, (part, reading) in enumerate(zip(self._parts, self._readings, strict=True), start=1):
            self._starts.append(len(text))
            if isinstance(part, str) or reading is None:
                text += part if isinstance(part, str) else part.text
            else:
                text += _READINGS[reading].format(f"{number}_{part.name}" if reading != 1 and part.name else number)
        return text

    def advance(self, error: ParseError) -> bool:
        """Read the placeholder before the error, or one after it, in the next way; return False if none is left."""
        at = error.args[1] if len(error.args) > 1 and isinstance(error.args[1], int) else self._starts[-1]
        before = [place for place, start in enumerate(self._starts) if start <= at]
        for place in [*reversed(before), *range(len(before), len(self._starts))]:
            reading = self._readings[place]
            if reading is not None and reading + 1 < len(_READINGS):
                self._readings[place] = reading + 1
                return True
        return False

    def unknown_part(self, statements: list[Any]) -> Placeholder | None:
        """Return a placeholder that stands for a clause; one that is left out may be read as an alias."""
        names = [node.aliasname for node in walk(statements) if isinstance(node, ast.Alias)]
        selects = [node for node in walk(statements) if isinstance(node, ast.SelectStmt)]
        names += [target.name for select in selects for target in select.targetList or ()]
        aliases = {name.split("_")[1] for name in names if name and name.startswith("part_")}
        for number, (part, reading) in enumerate(zip(self._parts, self._readings, strict=True), start=1):
            if not isinstance(part, Placeholder) or part.text or part.is_composed:
                continue
            if reading in _STRUCTURAL or str(number) in aliases:
                return part
        return None


def nested(statement: Any) -> Iterator[tuple[str, list[Any] | None]]:
    """Yield the texts inside a DO block or the body of a function, each with its statements (None: unparseable)."""
    if not isinstance(statement, (ast.DoStmt, ast.CreateFunctionStmt)):
        return
    is_block = isinstance(statement, ast.DoStmt)
    options = {option.defname: option.arg for option in (statement.args if is_block else statement.options) or ()}
    language = options["language"].sval if "language" in options else "plpgsql"
    if "as" not in options or language not in {"plpgsql", "sql"}:
        return
    body = options["as"].sval if is_block else options["as"][0].sval
    if language == "sql":
        yield body, _statements_or_none((body,))
        return
    wrapped = f"CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $_f_$ {body} $_f_$"
    try:
        queries = [*_queries(parse_plpgsql(wrapped if is_block else RawStream()(statement)))]
    except ParseError:
        yield body, None
        return
    for text in queries:
        left, assigned, right = text.partition(":=")
        # An assignment is judged as one to a column: `NEW.status := 'x'`.
        column = left.strip().rpartition(".")[2]
        # Parsed only.
        candidate = f"UPDATE t SET {column} = {right}" if assigned else text  # noqa: S608
        yield text, _statements_or_none((candidate,))


def _statements_or_none(parts: tuple[Part, ...]) -> list[Any] | None:
    try:
        return parse(parts, is_fragment=True)
    except Unparseable:
        return None


def _queries(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("query"), str):
            yield node["query"]
        for value in node.values():
            yield from _queries(value)
    elif isinstance(node, list):
        for value in node:
            yield from _queries(value)
