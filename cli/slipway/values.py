"""Read what the user gives: files, answers, and secret values. Those are never arguments, which others can read."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout
from pathlib import Path
from typing import Any

import typer
import yaml

from slipway.errors import CommandFailed, ExitCode

# The server refuses larger bodies.
_MAX_BYTES = 2**20


def check_stdin(files: Mapping[str, Path | None], secrets: Sequence[str] | None = None) -> None:
    """Raise CommandFailed if more than one of these options would read the standard input. Call it before reading any.

    `files` are files by their options; secrets are asked for at a terminal.
    """
    readers = [option for option, path in files.items() if str(path) == "-"]
    if secrets and not sys.stdin.isatty():
        readers.append("--secret")
    if len(readers) > 1:
        why = f"Only one of these can read the standard input: {', '.join(readers)}. Name a file for the others."
        raise CommandFailed(why, ExitCode.WRONG_ARGUMENT)


def read_file(path: Path) -> str:
    """Return the text of a file; `-` is stdin. Raises CommandFailed for one that is no text or too large."""
    try:
        # Left open, since a secret may be asked for later.
        with nullcontext(sys.stdin.buffer) if str(path) == "-" else path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
        text = content.decode()
    except (OSError, ValueError) as error:
        raise CommandFailed(f"{path} can't be read: {error}", ExitCode.WRONG_ARGUMENT) from error
    if len(content) > _MAX_BYTES:
        raise CommandFailed(f"{path} has more than 1 MiB.", ExitCode.WRONG_ARGUMENT)
    return text


class YamlLoader(yaml.SafeLoader):
    """Leaves dates and times as the texts that they are, since JSON has none."""


YamlLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def parse_yaml(text: str, what: str) -> Any:
    """Return the value of a YAML text. Raises CommandFailed, with `what` the text is, if it is none."""
    try:
        loader = YamlLoader(text)
        try:
            return loader.get_single_data()
        finally:
            loader.dispose()
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise CommandFailed(f"{what} is no YAML: {error}", ExitCode.WRONG_ARGUMENT) from error
    except (AttributeError, LookupError, TypeError) as error:
        # What PyYAML raises for `!!bool maybe`, `!!int ''` or `!!timestamp x` is meant for nobody.
        raise CommandFailed(f"{what} is no YAML: a value doesn't fit its tag.", ExitCode.WRONG_ARGUMENT) from error


def read_yaml(text: str, what: str) -> Any:
    """Return the value of a YAML text. Raises CommandFailed, with `what` the text is, if it is none that JSON can say.

    Nor may it be larger than the server takes. Aliases can make it that from a few lines.
    """
    value, length = parse_yaml(text, what), 0
    try:
        for part in json.JSONEncoder(ensure_ascii=False, allow_nan=False).iterencode(value):
            length += len(part.encode())
            if length > _MAX_BYTES:
                raise CommandFailed(f"{what} has more than 1 MiB, written as JSON.", ExitCode.WRONG_ARGUMENT)
    except (RecursionError, TypeError, ValueError) as error:
        raise CommandFailed(f"{what} can't be written as JSON: {error}", ExitCode.WRONG_ARGUMENT) from error
    return value


def read_values(names: list[str]) -> dict[str, str]:
    """Return secrets by their names. From a pipe, each of several is a line, and one alone is all of it."""
    return {name: read_value(name, is_line=len(names) > 1) for name in names}


def read_value(name: str, *, file: Path | None = None, is_line: bool = False) -> str:
    """Return a secret's value without its last line break: from a file, asked for without echo, or from a pipe.

    With `is_line` only the next line of a pipe is read. Raises CommandFailed for a value that is empty or no text.
    """
    if file:
        value = read_file(file)
    elif sys.stdin.isatty():
        with asking(f"{name} got no value."):
            value = str(typer.prompt(name, hide_input=True, default="", show_default=False))
    elif is_line:
        try:
            value = sys.stdin.buffer.readline(_MAX_BYTES).decode()
        except ValueError as error:
            raise CommandFailed(f"{name} can't be read: {error}", ExitCode.WRONG_ARGUMENT) from error
    else:
        value = read_file(Path("-"))
    if not value.strip():
        raise CommandFailed(f"{name} got no value.", ExitCode.WRONG_ARGUMENT)
    return value.removesuffix("\n").removesuffix("\r")


def assignments(texts: list[str], what: str) -> dict[str, str]:
    """Return the values by their names, from texts like `team=search`. Raises CommandFailed for another text."""
    pairs = [text.partition("=") for text in texts]
    for name, equals, _ in pairs:
        if not name or not equals:
            raise CommandFailed(f"Write the {what} {name!r} as NAME=VALUE.", ExitCode.WRONG_ARGUMENT)
    return {name: value for name, _, value in pairs}


@contextmanager
def asking(refused: str) -> Iterator[None]:
    """Ask on stderr, since stdout may go to a program or a file.

    Ctrl-D raises CommandFailed with the sentence `refused`, Ctrl-C KeyboardInterrupt.
    """
    try:
        with redirect_stdout(sys.stderr):
            yield
    except typer.Abort as end:
        typer.echo(err=True)
        if isinstance(end.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from end
        raise CommandFailed(refused, ExitCode.WRONG_ARGUMENT) from end


def confirm(verb: str, what: str, *, yes: bool) -> None:
    """Ask whether to `remove` or `delete` something, unless `yes`.

    Raises CommandFailed if not, or if there is nobody to ask.
    """
    if yes:
        return
    refused = f"Nothing was {verb}d."
    if not sys.stdin.isatty():
        raise CommandFailed(f"{refused} To {verb} {what}, add --yes.", ExitCode.WRONG_ARGUMENT)
    with asking(refused):
        is_meant = typer.confirm(f"{verb.capitalize()} {what} for good?")
    if not is_meant:
        raise CommandFailed(refused, ExitCode.WRONG_ARGUMENT)
