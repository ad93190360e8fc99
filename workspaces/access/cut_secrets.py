"""Finds what is left of a secret at the end at which a text was cut before it came here."""

import re
from collections.abc import Iterable, Iterator

# Shorter texts and shorter rests occur by chance.
_MIN_TEXT_CHARACTERS = 8
_MIN_REST_CHARACTERS = 4
# A longer rest is found by its last characters, so that a secret which repeats itself costs no more than others.
_LONG_REST_CHARACTERS = 256
# A text that lies inside of a secret counts from this length on.
_MIN_PIECE_CHARACTERS = 16
# A cut may fall inside of an escape, and an ellipsis may follow it.
_REST_OF_ESCAPE = re.compile(r"[\[0-9;A-Za-z]{0,8}")
_CUT_ESCAPE = re.compile(r"(?:%[0-9A-Fa-f]?|\\(?:u[0-9A-Fa-f]{0,3}|x[0-9A-Fa-f]?)?|&#?[0-9A-Za-z]{0,5}|[0-9;]+)\Z")
_ELLIPSIS = re.compile(r"[….\s]+\Z")


def rests_in(text: str, secrets: Iterable[str]) -> Iterator[tuple[int, int]]:
    """Yield (start, end) of the end of a secret that the text begins with, and of the beginning that it ends with."""
    if len(text) < _MIN_TEXT_CHARACTERS:
        return
    end = _start_of(_ELLIPSIS, text, len(text))
    cuts = {end, _start_of(_CUT_ESCAPE, text, end)}
    endings = [(text[:cut][::-1], text[max(0, cut - _MIN_REST_CHARACTERS) : cut]) for cut in cuts]
    escape = _REST_OF_ESCAPE.match(text)
    starts = range(escape.end() + 1 if escape else 1)
    beginnings = [(start, text[start : start + _MIN_REST_CHARACTERS]) for start in starts]
    # Most texts are short and hold no secret, so ask first for the few characters that each rest has.
    for secret in secrets:
        if end >= _MIN_PIECE_CHARACTERS and secret.find(text[:end]) >= 0:
            yield 0, end
        for start, first in beginnings:
            if first in secret and (rest := length_of_rest(secret, text, start)):
                yield 0, start + rest
        for backwards, last in endings:
            if last in secret and (rest := length_of_rest(secret[::-1], backwards)):
                yield len(backwards) - rest, end


def length_of_rest(secret: str, text: str, start: int = 0) -> int:
    """Return the length of the secret's end, but not the whole secret, that stands there in the text; otherwise 0."""
    longest = min(len(secret) - 1, len(text) - start)
    ending = secret[-_LONG_REST_CHARACTERS:]
    for find in (text.rfind, text.find) if longest > len(ending) else ():
        found = find(ending, start, start + longest)
        if found >= 0 and secret.endswith(text[start : found + len(ending)]):
            return found + len(ending) - start
    first = text[start : start + _MIN_REST_CHARACTERS]
    at = ending.find(first, max(0, len(ending) - longest)) if len(first) == _MIN_REST_CHARACTERS else -1
    while at >= 0 and not text.startswith(ending[at:], start):
        at = ending.find(first, at + 1)
    return len(ending) - at if at >= 0 else 0


def _start_of(pattern: re.Pattern[str], text: str, end: int) -> int:
    found = pattern.search(text, max(0, end - _MIN_TEXT_CHARACTERS), end)
    return found.start() if found else end
