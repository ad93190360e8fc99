"""How answers are shown: tables for people, JSON, YAML and names for scripts."""

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any

import typer
import yaml
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from slipway.table_widths import GAP, fitting_widths
from slipway.texts import one_line, printable

Row = Mapping[str, Any]
Columns = Mapping[str, Callable[[Row], str | Text]]
# Wide enough that nothing is cut for another program.
_PIPE_WIDTH = 2000


class Format(StrEnum):
    """What `-o` takes."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"
    NAME = "name"


OutputOption = Annotated[Format, typer.Option("--output", "-o", help="How to show the answer.")]


def console_for(*, stderr: bool = False) -> Console:
    """Return the console. It reads no markup, and shows colours only in a terminal and without NO_COLOR."""
    stream = sys.stderr if stderr else sys.stdout
    console = Console(stderr=stderr, markup=False, highlight=False, emoji=False, soft_wrap=True)
    if not stream.isatty() and not console.is_terminal:
        console.width = _PIPE_WIDTH
    return console


def say(text: object) -> None:
    """Write a text to stdout, made harmless."""
    console_for().print(printable(text))


def warn(text: object) -> None:
    """Write a text to stderr, made harmless."""
    console_for(stderr=True).print(printable(text))


def show_rows(rows: Sequence[Row], columns: Columns, output: Format, *, name: str = "name") -> None:
    """Show the rows. `name` is the key that `-o name` shows."""
    if output is Format.TABLE:
        console = console_for()
        show_table(table_of(rows, columns, console), console)
    elif output is Format.NAME:
        for row in rows:
            typer.echo(one_line(row[name]))
    else:
        typer.echo(encoded(list(rows), output))


def show_one(row: Row, output: Format, *, name: str = "name") -> None:
    """Show one answer: in a table its fields below each other, without the empty ones."""
    if output is Format.NAME:
        typer.echo(one_line(row[name]))
    elif output is not Format.TABLE:
        typer.echo(encoded(row, output))
    else:
        show_fields(row)


def show_fields(row: Row) -> None:
    """Show the fields of a row below each other. A long value goes on in the next line, beside its field."""
    console = console_for()
    cells = [(Text(one_line(field), style="bold"), Text(printable(value).rstrip())) for field, value in flattened(row)]
    longest = max((field.cell_len for field, _ in cells), default=0)
    if not console.is_terminal:
        console.width = max(
            _PIPE_WIDTH, longest * 3, longest + GAP + max((value.cell_len for _, value in cells), default=0)
        )
    grid = Table.grid(padding=(0, GAP))
    grid.add_column(width=min(longest, console.width // 3), overflow="fold")
    grid.add_column(overflow="fold")
    for field, value in cells:
        grid.add_row(field, value)
    show_table(grid, console)


def show_done(sentence: str, rows: Sequence[Row], output: Format) -> None:
    """Say what was done: to people in a sentence, to scripts by what it was done to."""
    if output is Format.TABLE:
        say(sentence)
    else:
        show_rows(rows, {}, output)


def show_once(row: Row) -> None:
    """Write what no later answer shows to stderr, for a format that would lose it."""
    warn("This is shown only now:")
    for field, value in flattened(row):
        warn(f"  {one_line(field)}  {one_line(value)}")


def show_table(table: Table, console: Console) -> None:
    """Write a table to the console of stdout, without spaces at the ends of lines if that is no terminal."""
    if console.is_terminal:
        console.print(table)
        return
    with console.capture() as written:
        console.print(table)
    typer.echo("\n".join(line.rstrip() for line in written.get().splitlines()))


def table_of(rows: Iterable[Row], columns: Columns, console: Console) -> Table:
    """Return the rows as a table, one line each: as wide as the terminal at most, elsewhere as wide as it is."""
    cells = {title: [cell(column(row)) for row in rows] for title, column in columns.items()}
    widths = {title: max(cell_len(title), *(each.cell_len for each in [Text(), *cells[title]])) for title in cells}
    if console.is_terminal:
        widths = fitting_widths(widths, console.width)
    else:
        console.width = max(_PIPE_WIDTH, sum(widths.values()) + GAP * len(widths))
    table = Table(box=None, padding=(0, GAP, 0, 0), pad_edge=False, header_style="bold")
    for title, width in widths.items():
        table.add_column(title, width=width, no_wrap=True, overflow="ellipsis")
    for row in zip(*(cells[title] for title in widths), strict=True):
        table.add_row(*row)
    return table


def cell(value: str | Text) -> Text:
    """Return a harmless cell. A Text keeps its style."""
    return Text(one_line(value), style=value.style if isinstance(value, Text) else "")


def encoded(value: Any, output: Format) -> str:
    """Return JSON or YAML in ASCII, in which every control character is escaped."""
    if output is Format.JSON:
        return json.dumps(value, indent=2)
    return str(yaml.safe_dump(value, sort_keys=False, allow_unicode=False)).rstrip()


def flattened(row: Row, *, above: str = "") -> Iterable[tuple[str, Any]]:
    """Yield the fields that hold something, those of nested objects as `failure.code`."""
    for key, value in row.items():
        if isinstance(value, Mapping):
            yield from flattened(value, above=f"{above}{key}.")
        elif value not in (None, "", []):
            yield f"{above}{key}", json.dumps(value) if isinstance(value, list | bool) else value
