"""A text without its terminal sequences, and with its escapes undone, that knows where each character was."""

import html
import json
import re
from bisect import bisect_right
from collections.abc import Callable, Iterator
from urllib.parse import unquote

from agent.texts import ESCAPE_SEQUENCE, INVISIBLE

# One character in UTF-8, each byte as %xx.
_PERCENT = re.compile(
    r"%[0-7][0-9a-f]|%[cd][0-9a-f]%[89ab][0-9a-f]|%e[0-9a-f](?:%[89ab][0-9a-f]){2}|%f[0-7](?:%[89ab][0-9a-f]){3}",
    re.IGNORECASE,
)
_BACKSLASH = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\U00(?:0[0-9a-fA-F]|10)[0-9a-fA-F]{4}"
    r"|\\x[0-9a-fA-F]{2}|\\[0-3][0-7]{2}|\\[nrtbf\"'\\/]"
)
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#x[0-9a-f]{1,6}|amp|lt|gt|quot|apos);", re.IGNORECASE)
_SIMPLE_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}
# A single quote within single quotes, as shells print it.
_SHELL_QUOTE = re.compile(r"'\\''|'\"'\"'")
_ESCAPE = re.compile(
    f"(?i:{_ENTITY.pattern}|{_PERCENT.pattern})|{_SHELL_QUOTE.pattern}|{_BACKSLASH.pattern}|{INVISIBLE.pattern}"
)
_BEGINS_ESCAPE = re.compile(r"[\\%&']")
_ROUNDS = 4
# One character in UTF-8, of which each byte was undone by itself, or read as Latin-1.
_BYTES = re.compile(r"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")
_PLUS = re.compile(r"\+")
# Base64 is wrapped at 64 or 76 characters.
_WRAP = re.compile(r"(?<=[A-Za-z0-9+/_-]{60})\r?\n(?=[A-Za-z0-9+/=_-])")


class DecodedText:
    """What a text becomes if each match of a pattern is replaced. `origin` leads back to the text before it."""

    # Shorter forms of values don't count in it.
    min_form_characters = 0

    def __init__(
        self,
        source: "str | DecodedText",
        pattern: re.Pattern[str],
        decode: Callable[[str], str],
    ) -> None:
        before: str = source if isinstance(source, str) else source.text
        self._source = source
        # From each of these positions on, characters were at the same distance in the source.
        self._positions, self._origins = [0], [0]
        pieces, end, length = [], 0, 0
        for match in pattern.finditer(before):
            literal, decoded = before[end : match.start()], decode(match.group())
            pieces += [literal, decoded]
            length += len(literal) + len(decoded)
            end = match.end()
            self._positions.append(length)
            self._origins.append(end)
        self.text: str = "".join([*pieces, before[end:]])
        self.is_changed = end > 0

    def origin(self, position: int, *, of: "DecodedText | None" = None) -> int:
        """Return where this character, or the end, was in the text that was decoded first, or in one between."""
        at = bisect_right(self._positions, position) - 1
        there = self._origins[at] + position - self._positions[at]
        return there if isinstance(self._source, str) or self._source is of else self._source.origin(there, of=of)

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Return where what stands there was in the text that was decoded first."""
        return self.origin(start), self.origin(end)


def without_escape_sequences(text: str) -> DecodedText:
    """Return what remains of a text if a terminal takes its colours, links and cursor movements out."""
    return DecodedText(text, ESCAPE_SEQUENCE, lambda sequence: "")


def without_wraps(text: str | DecodedText) -> DecodedText:
    """Return the text with its Base64 in one line each."""
    return DecodedText(text, _WRAP, lambda end: "")


def undone(plain: DecodedText) -> Iterator[DecodedText]:
    """Yield the text, and what it says with the escapes of URLs, JSON, Python, C and HTML undone, and unwrapped."""
    yield plain
    visible = plain if plain.text.isascii() else DecodedText(plain, INVISIBLE, lambda character: "")
    if visible is not plain and visible.is_changed:
        yield visible
    unwrapped, spaced = without_wraps(plain), DecodedText(plain, _PLUS, lambda plus: " ")
    yield from (text for text in (unwrapped, spaced) if text.is_changed)
    if not _BEGINS_ESCAPE.search(plain.text):
        return
    # Most texts that were escaped more than once, in different ways.
    decoded = visible
    for _ in range(_ROUNDS):
        decoded = DecodedText(decoded, _ESCAPE, _undo)
        if not decoded.is_changed:
            break
        yield decoded
    unescaped = DecodedText(plain, _BACKSLASH, _unescape)
    twice = DecodedText(unescaped, _BACKSLASH, _unescape)
    yield from (text for text in (unescaped, twice, DecodedText(plain, _ENTITY, html.unescape)) if text.is_changed)
    for text in (plain, unescaped) if unescaped.is_changed else (plain,):
        decoded = DecodedText(text, _PERCENT, _percent_decode)
        readings = [decoded, DecodedText(decoded, _PERCENT, _percent_decode)]
        if text is unescaped:
            unwrapped, spaced = without_wraps(text), DecodedText(text, _PLUS, lambda plus: " ")
            readings += [unwrapped, spaced]
        readings += [DecodedText(spaced, _PERCENT, _percent_decode)] if spaced.is_changed else []
        yield from (each for each in readings if each.is_changed)


def from_bytes(text: DecodedText) -> Iterator[DecodedText]:
    """Yield the text with the characters that its bytes are in UTF-8, if some are not ASCII."""
    if not text.text.isascii():
        decoded = DecodedText(text, _BYTES, lambda found: found.encode("latin-1").decode(errors="replace"))
        yield from [decoded] if decoded.is_changed else []


def _percent_decode(escapes: str) -> str:
    return unquote(escapes, errors="replace")


def _unescape(escape: str) -> str:
    if escape[1] == "u":
        return str(json.loads(f'"{escape}"'))
    if escape[1] == "U" or escape[1].isdigit():
        return chr(int(escape[2:], 16) if escape[1] == "U" else int(escape[1:], 8))
    return chr(int(escape[2:], 16)) if escape[1] == "x" else _SIMPLE_ESCAPES.get(escape[1], escape[1])


def _undo(escape: str) -> str:
    if escape[0] == "'":
        return "'"
    if escape[0] in "%&":
        return html.unescape(_percent_decode(escape))
    return _unescape(escape) if escape[0] == "\\" else ""
