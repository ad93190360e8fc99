"""PostgreSQL's own parser, over texts with holes, fragments of statements and the bodies of functions."""

from collections.abc import Iterator
from typing import Any

from pglast import ast, parse_plpgsql, parse_sql
from pglast.parser import ParseError, split
from pglast.stream import RawStream

from status_drift.sql_columns import walk
from status_drift.sql_templates import Hole, Part

# What a hole may be: a name (which stands for a value too), a parameter, an assignment, a list, a text, nothing.
_READINGS = ("hole_{}", "${}", "hole_{0} = hole_{0}", "(hole_{})", "'hole_{}'", "")
# Read so, a hole is no name and no value: what the statement does is written elsewhere.
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
    """PostgreSQL can't read the text, however its holes are filled; the message is PostgreSQL's."""


class Unknown(ValueError):
    """The text has a hole that is neither a name nor a value; the message is what it is called."""


def parse(parts: tuple[Part, ...], *, is_fragment: bool = False) -> list[Any]:
    """Return the statements in the text. Raises Unparseable, or Unknown where it reads only with a part left out."""
    error: Unparseable | None = None
    for frame in _FRAMES if is_fragment else _FRAMES[:1]:
        before, after = frame.split("{}")
        try:
            return _fill((before, *parts, after))
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


def _fill(parts: tuple[Part, ...]) -> list[Any]:
    """Try the readings of the holes, from the left; the parser says how far it came."""
    readings = [0 if isinstance(part, Hole) and not part.text else None for part in parts]
    while True:
        text, starts = _text(parts, readings)
        try:
            statements = [raw.stmt for raw in parse_sql(text)]
        except ParseError as error:
            if not _advance(readings, starts, error):
                raise Unparseable(str(error.args[0])) from None
        else:
            _refuse_structural(parts, readings, statements)
            return statements


def _refuse_structural(parts: tuple[Part, ...], readings: list[int | None], statements: list[Any]) -> None:
    open_holes = {
        number: part
        for number, part in enumerate(parts, start=1)
        if isinstance(part, Hole) and not part.text and not part.is_composed
    }
    # A clause that is left out reads as the alias of what stands before it.
    aliases = {name.split("_")[1] for name in _aliases(statements)} if open_holes else set()
    for number, part in open_holes.items():
        if readings[number - 1] in _STRUCTURAL or str(number) in aliases:
            raise Unknown(part.name or "a part")


def _aliases(statements: list[Any]) -> Iterator[str]:
    """Yield the aliases that holes were read as."""
    for node in walk(statements):
        named = [node.aliasname] if isinstance(node, ast.Alias) else []
        if isinstance(node, ast.SelectStmt):
            named = [target.name for target in node.targetList or ()]
        yield from (name for name in named if name and name.startswith("hole_"))


def _text(parts: tuple[Part, ...], readings: list[int | None]) -> tuple[str, list[int]]:
    text, starts = "", []
    for number, (part, reading) in enumerate(zip(parts, readings, strict=True), start=1):
        starts.append(len(text))
        if isinstance(part, str):
            text += part
        elif reading is None:
            text += part.text
        else:
            text += _READINGS[reading].format(f"{number}_{part.name}" if reading != 1 and part.name else number)
    return text, starts


def _advance(readings: list[int | None], starts: list[int], error: ParseError) -> bool:
    """Read the hole before the error in the next way; where none is left, give up."""
    at = error.args[1] if len(error.args) > 1 and isinstance(error.args[1], int) else starts[-1]
    before = [place for place, start in enumerate(starts) if start <= at]
    for place in [*reversed(before), *range(len(before), len(starts))]:
        reading = readings[place]
        if reading is not None and reading + 1 < len(_READINGS):
            readings[place] = reading + 1
            return True
    return False


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
