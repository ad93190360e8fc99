"""NAME=VALUE lines of an env file or a form. An error names the line and never repeats it: it may hold a secret."""

import io
import re
from typing import NamedTuple

from dotenv.parser import Binding, parse_stream

from agent import rules

MAX_TEXT_BYTES = 256 * 1024
_SHOWN_PROBLEMS = 20
# python-dotenv looks for a comment behind every run of spaces, which takes long if the run is long.
_LONGEST_RUN = 200
_LONG_RUN = re.compile(rf"(?<![^\S\r\n])[^\S\r\n]{{{_LONGEST_RUN + 1},}}")
_NO_EQUALS_SIGN = "{} is not NAME=VALUE: it has no equals sign."
_BAD_NAME = "{} is not NAME=VALUE: a name has letters, digits and underscores, and no digit first."
_BAD_QUOTE = "{} has a quote that is never closed, or text after its closing quote."
_REST_OF_VALUE = "{} looks like the rest of a value that begins further up: put the whole value in quotes."


class BadAssignment(ValueError):
    """Lines are not NAME=VALUE; the message names each and repeats none of it, since it may be a secret."""


class Assignment(NamedTuple):
    """One NAME=VALUE and the line on which it begins."""

    name: str
    value: str
    line: int


class Problem(NamedTuple):
    """What is wrong with a line, as a sentence that names it."""

    line: int
    message: str


def parse_assignments(text: str) -> dict[str, str]:
    """Return the variables of an env file. The last of equal names wins. Raises BadAssignment with every problem."""
    assignments, problems = read_assignments(text)
    refuse(problems)
    return {each.name: each.value for each in assignments}


def refuse(problems: list[Problem]) -> None:
    """Raise BadAssignment if there are problems; the message has the first ones, and how many more there are."""
    if problems:
        raise BadAssignment(join_problems(problems))


def join_problems(problems: list[Problem]) -> str:
    """Return the sentences of the first problems, and how many more there are; "" for none."""
    messages = [problem.message for problem in sorted(problems)]
    more = len(messages) - _SHOWN_PROBLEMS
    return " ".join([*messages[:_SHOWN_PROBLEMS], *([f"And {more} more."] if more > 0 else [])])


def read_assignments(text: str) -> tuple[list[Assignment], list[Problem]]:
    """Return what an env file in python-dotenv's syntax assigns, and what is wrong with its other lines.

    Nothing is interpolated. A quoted value may span lines. An `export`, empty lines and comments are skipped.
    """
    # Forms send CRLF, which must not end up in a value of several lines.
    text = text.replace("\r\n", "\n")
    if len(text.encode(errors="replace")) > MAX_TEXT_BYTES:
        return [], [Problem(1, f"The text is larger than {MAX_TEXT_BYTES // 1024} KiB.")]
    assignments: list[Assignment] = []
    problems = [
        Problem(number, f"Line {number} has more than {_LONGEST_RUN} spaces in a row.")
        for number, line in enumerate(text.split("\n"), start=1)
        if _LONG_RUN.search(line)
    ]
    for binding in parse_stream(io.StringIO(_LONG_RUN.sub(" ", text))):
        # The parser counts from the first of the empty lines before a variable.
        original = binding.original.string
        line = binding.original.line + original[: len(original) - len(original.lstrip())].count("\n")
        if template := problem_of(binding):
            problems.append(Problem(line, template.format(f"Line {line}")))
        elif binding.key is not None:
            assignments.append(Assignment(binding.key, binding.value or "", line))
    return assignments, problems


def problem_of(binding: Binding) -> str | None:
    """Return the sentence about what is wrong with a binding, with a place for its line; None if nothing is."""
    if binding.error or (binding.key is not None and binding.value is None):
        name, separator, value = binding.original.string.partition("=")
        has_name = rules.is_environment_name(name.strip().removeprefix("export").strip())
        has_quote = has_name and value.lstrip()[:1] in {'"', "'"}
        return (_BAD_QUOTE if has_quote else _BAD_NAME) if separator else _NO_EQUALS_SIGN
    if binding.key is None:
        return None
    # The padding of base64, whose beginning stands on an earlier line.
    if binding.value and not binding.value.strip("=") and binding.original.string.rstrip().endswith("="):
        return _REST_OF_VALUE
    return None if rules.is_environment_name(binding.key) else _BAD_NAME


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
