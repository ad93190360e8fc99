"""What commands read besides their arguments: files, and secrets that the list of processes must not show."""

import sys
from collections.abc import Sequence
from getpass import getpass
from pathlib import Path

from django.core.management.base import CommandError, CommandParser

from agent import rules
from agent.texts import printable
from workspaces.access.secrets import MAX_VALUE_BYTES
from workspaces.configuration import env_files

# An error in the arguments, as opposed to one of what the command does.
NOTHING_CREATED = 2


def add_secret_arguments(parser: CommandParser) -> None:
    """Add the three ways to give a secret."""
    parser.add_argument(
        "--secret",
        action="append",
        default=[],
        metavar="NAME",
        help="ask for this secret; repeatable. NAME=VALUE works too, but the list of processes shows the value",
    )
    parser.add_argument(
        "--secret-file",
        action="append",
        default=[],
        metavar="NAME=FILE",
        help="a secret whose value is the content of a file, without its last line break; repeatable",
    )
    parser.add_argument("--env-file", type=Path, metavar="FILE", help="NAME=VALUE lines, one secret each")


def read_secrets(secrets: Sequence[str], secret_files: Sequence[str]) -> dict[str, str]:
    """Return the values of --secret and --secret-file; --secret wins. Raises CommandError with every problem.

    Nothing is asked for before all arguments are known to be right.
    """
    values: dict[str, str] = {}
    asked: list[str] = []
    problems: list[str] = []
    for number, text in enumerate(secret_files, start=1):
        try:
            name, file = env_files.parse_assignment(text, place=f"--secret-file number {number}")
            values[name] = read_text(Path(file), limit=env_files.MAX_TEXT_BYTES).removesuffix("\n").removesuffix("\r")
        except (env_files.BadAssignment, CommandError) as error:
            problems.append(str(error))
    for number, text in enumerate(secrets, start=1):
        if rules.is_environment_name(text):
            asked.append(text)
            continue
        try:
            name, value = env_files.parse_assignment(text, place=f"--secret number {number}")
            values[name] = value
        except env_files.BadAssignment as error:
            problems.append(str(error))
    if problems:
        raise CommandError(" ".join(problems), returncode=NOTHING_CREATED)
    return values | {name: ask_for(name) for name in asked}


def read_value(name: str) -> str:
    """Return the secret that is entered without an echo, or the whole of an input that is not a terminal."""
    if sys.stdin.isatty():
        return ask_for(name)
    return decode(sys.stdin.buffer.read(MAX_VALUE_BYTES + 1), place="The standard input", limit=MAX_VALUE_BYTES)


def ask_for(name: str) -> str:
    """Return the secret that is entered without an echo, or the next line of an input that is not a terminal."""
    try:
        line = f"{getpass(f'Value of {name}: ')}\n" if sys.stdin.isatty() else sys.stdin.readline()
        line.encode()
    except EOFError:
        line = ""
    except UnicodeError as error:
        raise CommandError(f"The value of {name} is not UTF-8 text.", returncode=NOTHING_CREATED) from error
    if not line:
        raise CommandError(f"The standard input ended before the value of {name}.", returncode=NOTHING_CREATED)
    return line.rstrip("\r\n")


def warn_of_visible_secrets(secrets: Sequence[str]) -> str:
    """Return a sentence that names the secrets whose values are in the arguments; "" if there are none."""
    names = [text.partition("=")[0].strip() for text in secrets if "=" in text]
    if not names:
        return ""
    return (
        f"Warning: the list of processes shows the value of {', '.join(names)} to everybody on this machine. Use "
        f"--secret {names[0]}, which asks for it, --secret-file or --env-file."
    )


def read_text(file: Path, *, limit: int) -> str:
    """Return the text of a file of at most `limit` bytes. Raises CommandError."""
    try:
        with file.open("rb") as opened:
            content = opened.read(limit + 1)
    except (OSError, ValueError) as error:
        # A name with a NUL is a ValueError.
        reason = getattr(error, "strerror", None) or error
        raise CommandError(f"{printable(str(file))} can't be read: {reason}.", returncode=NOTHING_CREATED) from error
    return decode(content, place=printable(str(file)), limit=limit)


def decode(content: bytes, *, place: str, limit: int) -> str:
    """Return the text of at most `limit` bytes that were read at the place. Raises CommandError."""
    if len(content) > limit:
        raise CommandError(f"{place} is larger than {limit // 1024} KiB.", returncode=NOTHING_CREATED)
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise CommandError(f"{place} is not UTF-8 text (byte {error.start}).", returncode=NOTHING_CREATED) from error
