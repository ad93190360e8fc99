"""The forms in which a secret value appears in texts: its parts, and their Base64 and hexadecimal spellings.

Escapes of URLs, JSON, Python, C and HTML, and gaps between hexadecimal digits, make no forms of their own: masker.py
undoes them before it searches.
"""

import json
import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterable, Iterator
from enum import Enum, auto
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

# Shorter values occur inside ordinary words by chance, so they are masked only as whole words.
_MIN_SUBSTRING_CHARACTERS = 4
# The same for lines of a value, and for values inside of JSON, most of which are less secret.
_MIN_PART_CHARACTERS = 8
_MIN_NUMBER_DIGITS = 6
_MOST_NESTED = 4
# Ends of names whose value is secret however short it is.
_SECRET_NAME = re.compile(
    r"(?:pass|passwd|password|passphrase|pwd|pin|secret|token|key|auth|authorization|credentials?|sig|signature)$",
    re.IGNORECASE,
)
_MOST_TRAILING = 16
_WORD = re.compile(r"\w")
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]")
_BASE64_END = re.compile(r"[A-Za-z0-9+/_-]?={0,2}")
# `password=…` in a query, a connection string or a line of an env file; `password: …` in a line.
_ASSIGNMENT = re.compile(
    r"(?:\b(?P<name>[A-Za-z_][\w.-]{0,100}+)[ \t]?=[ \t]?|^[ \t]*(?P<key>[\w.-]{1,100}+):[ \t]+)"
    r"(?P<value>\"[^\"\n]*\"|'[^'\n]*'|[^\s;&,\"']+)",
    re.MULTILINE,
)


class Where(Enum):
    """Where a form counts. The shorter it is, the more often it occurs by chance."""

    ANYWHERE = auto()
    WHOLE_WORD = auto()
    END_OF_LINE = auto()


class Form(NamedTuple):
    """A text to mask. Of Base64, the characters next to it may hold some of its bits."""

    text: str
    where: Where = Where.ANYWHERE
    is_base64: bool = False

    def counts_in(self, text: str, start: int, end: int) -> bool:
        """Return whether the form, which stands there in the text, is more than a part of a word."""
        if self.where is Where.ANYWHERE:
            return True
        line_end = text.find("\n", end, end + _MOST_TRAILING)
        after = text[end : line_end if line_end >= 0 else end + _MOST_TRAILING]
        if self.where is Where.END_OF_LINE and after.strip():
            return False
        return not (_WORD.match(text[max(0, start - 1) : start]) or _WORD.match(after[:1]))

    def extended_in(self, text: str, start: int, end: int) -> tuple[int, int]:
        """Return the span to mask if the form stands there."""
        if not self.is_base64:
            return start, end
        after = _BASE64_END.match(text, end)
        return start - bool(_BASE64.match(text[max(0, start - 1) : start])), after.end() if after else end


def forms_of(values: Iterable[str]) -> set[Form]:
    """Return every form of the values that programs print."""
    forms: set[Form] = set()
    for part in {part for value in values for part in parts_of(value)}:
        forms.add(part)
        raw = part.text.encode(errors="replace")
        if part.where is Where.ANYWHERE and len(raw) >= _MIN_SUBSTRING_CHARACTERS:
            forms |= {Form(raw.hex()), Form(raw.hex().upper())}
            forms |= {Form(text, is_base64=True) for each in (raw, b64encode(raw)) for text in base64_forms(each)}
    return forms


def parts_of(value: str, *, nested: int = _MOST_NESTED) -> Iterator[Form]:
    """Yield the value and what is secret by itself in it: its lines, the values in JSON, passwords in URLs."""
    short = len(value.strip()) < _MIN_SUBSTRING_CHARACTERS
    for text in {value, value.strip()} - {""}:
        yield Form(text, Where.WHOLE_WORD if short else Where.ANYWHERE)
    if short or nested == 0:
        return
    lines = [line.strip() for line in value.splitlines()]
    for line in lines if len(lines) > 1 else []:
        yield from _less_secret(line, short=Where.END_OF_LINE)
    with_scheme = [word for word in value.split() if "://" in word]
    for secret in [*assigned_values(value), *(part for word in with_scheme for part in user_and_password(word))]:
        yield from parts_of(secret, nested=nested - 1)
    if value.lstrip()[:1] in ("{", "[", '"'):
        try:
            content = json.loads(value)
        except (ValueError, RecursionError):
            return
        yield from parts_of_json(content, nested=nested - 1)


def _less_secret(text: str, *, short: Where | None) -> Iterator[Form]:
    if len(text) >= _MIN_PART_CHARACTERS:
        yield Form(text)
    elif len(text) >= _MIN_SUBSTRING_CHARACTERS:
        yield Form(text, Where.WHOLE_WORD)
    elif short and any(map(str.isalnum, text)):
        yield Form(text, short)


def parts_of_json(content: Any, *, nested: int) -> Iterator[Form]:
    """Yield the texts and numbers in a JSON value, short ones only under a name that says that they are secret."""
    # A loop instead of recursion, since a value may be nested as deeply as the parser allows.
    waiting: list[tuple[str, Any]] = [("", content)]
    while waiting:
        name, item = waiting.pop()
        if isinstance(item, dict):
            waiting.extend(item.items())
        elif isinstance(item, list):
            waiting.extend((name, each) for each in item)
        elif isinstance(item, str) and (_SECRET_NAME.search(name) or len(item) >= _MIN_PART_CHARACTERS):
            yield from parts_of(item, nested=nested)
        elif isinstance(item, str):
            yield from _less_secret(item.strip(), short=None)
        elif isinstance(item, int | float) and not isinstance(item, bool):
            digits = str(item)
            if _SECRET_NAME.search(name) or len(digits) >= _MIN_NUMBER_DIGITS:
                yield Form(digits, Where.WHOLE_WORD)


def user_and_password(url: str) -> Iterator[str]:
    """Yield the password in a URL, or the user name if it has none; as it stands and decoded."""
    try:
        location = urlsplit(url).netloc
    except ValueError:
        return
    user_info, at, _ = location.rpartition("@")
    user, colon, password = user_info.partition(":")
    secret = password if colon else user
    if at and secret:
        yield secret
        yield unquote(secret)


def assigned_values(value: str) -> Iterator[str]:
    """Yield what is assigned to names: to any name in a value of several lines, otherwise to names of secrets."""
    is_file = "\n" in value.strip()
    for name, key, assigned in _ASSIGNMENT.findall(value):
        plain = assigned.strip("\"'")
        if _SECRET_NAME.search(name or key) or (is_file and len(plain) >= _MIN_PART_CHARACTERS):
            yield plain
            yield unquote(plain)


def base64_forms(raw: bytes) -> Iterator[str]:
    """Yield what Base64 makes of the bytes, whatever precedes and follows them: only characters made of them alone."""
    for before in range(3):
        encoded = b64encode(bytes(before) + raw).decode()
        # The first characters, and one before the padding, hold bits of the neighbours.
        begin = (before * 8 + 5) // 6
        end = (before + len(raw)) * 8 // 6
        text = encoded[begin:end]
        if len(text) >= _MIN_SUBSTRING_CHARACTERS:
            yield text
            yield urlsafe_b64encode(bytes(before) + raw).decode()[begin:end]
