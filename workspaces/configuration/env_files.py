"""NAME=VALUE lines, as an env file or a form's text holds them. An error names the line, never what it holds."""

from agent import rules

MAX_TEXT_BYTES = 256 * 1024


class BadAssignment(ValueError):
    """A line is no NAME=VALUE; the message names the line and repeats none of it, since it may be a secret."""


def parse_assignments(text: str) -> dict[str, str]:
    """Return the variables of such a text; the last of equal names wins. Raises BadAssignment.

    Empty lines and those that begin with # count as nothing; `export ` before a name and quotes around a value are
    taken off.
    """
    values: dict[str, str] = {}
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), start=1):
        stripped = line.strip()
        if stripped and not stripped.startswith("#"):
            name, value = parse_assignment(stripped.removeprefix("export "), place=f"Line {number}")
            values[name] = _unquoted(value.strip())
    return values


def parse_assignment(text: str, *, place: str) -> tuple[str, str]:
    """Return the name and the value of one NAME=VALUE. Raises BadAssignment, which calls it by `place`."""
    name, separator, value = text.partition("=")
    name = name.strip()
    if not separator:
        raise BadAssignment(f"{place} is no NAME=VALUE: it has no equals sign.")
    if not rules.is_environment_name(name):
        raise BadAssignment(f"{place} is no NAME=VALUE: a name has letters, digits and underscores, no digit first.")
    return name, value


def _unquoted(value: str) -> str:
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
        return value[1:-1]
    return value
