"""NAME=VALUE lines of an env file or a form. An error names the line and never repeats it: it may hold a secret."""

import io

from dotenv.parser import Binding, parse_stream

from agent import rules

MAX_TEXT_BYTES = 256 * 1024
_NO_EQUALS_SIGN = "{} is not NAME=VALUE: it has no equals sign."
_BAD_NAME = "{} is not NAME=VALUE: a name has letters, digits and underscores, and no digit first."
_BAD_QUOTE = "{} has a quote that is never closed, or text after its closing quote."


class BadAssignment(ValueError):
    """A line is not NAME=VALUE; the message names the line and repeats none of it, since it may be a secret."""


def parse_assignments(text: str) -> dict[str, str]:
    """Return the variables of an env file in python-dotenv's syntax, without interpolation. Raises BadAssignment.

    The last of equal names wins. A quoted value may span lines; `export` before a name, empty lines and comments are
    skipped.
    """
    values: dict[str, str] = {}
    # Forms send CRLF, which must not end up in a value of several lines.
    for binding in parse_stream(io.StringIO(text.replace("\r\n", "\n"))):
        if binding.error or (binding.key is not None and binding.value is None):
            name, separator, value = binding.original.string.partition("=")
            has_name = rules.is_environment_name(name.strip().removeprefix("export").strip())
            has_quote = has_name and value.lstrip()[:1] in {'"', "'"}
            message = (_BAD_QUOTE if has_quote else _BAD_NAME) if separator else _NO_EQUALS_SIGN
            raise BadAssignment(message.format(_place(binding)))
        if binding.key is not None and binding.value is not None:
            if not rules.is_environment_name(binding.key):
                raise BadAssignment(_BAD_NAME.format(_place(binding)))
            values[binding.key] = binding.value
    return values


def parse_assignment(text: str, *, place: str) -> tuple[str, str]:
    """Return name and value of one NAME=VALUE from a command line, where quotes are the shell's. Raises BadAssignment.

    `place` is how the message calls it.
    """
    name, separator, value = text.partition("=")
    name = name.strip()
    if not separator:
        raise BadAssignment(_NO_EQUALS_SIGN.format(place))
    if not rules.is_environment_name(name):
        raise BadAssignment(_BAD_NAME.format(place))
    return name, value


def _place(binding: Binding) -> str:
    # The parser counts from the first of the empty lines before a variable.
    text = binding.original.string
    empty_lines = text[: len(text) - len(text.lstrip())].count("\n")
    return f"Line {binding.original.line + empty_lines}"
