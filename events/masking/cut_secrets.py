"""Finds what is left of a secret at the end at which a text was cut before it came here."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

# Shorter texts and shorter rests occur by chance.
_MIN_TEXT_CHARACTERS = 8
_MIN_REST_CHARACTERS = 4
# A longer rest is found by its last characters, so that a secret which repeats itself costs no more than others.
_LONG_REST_CHARACTERS = 256
# In so few texts, each secret is tried.
_FEW_TEXTS = 8
# A text that lies inside of a secret counts from this length on.
_MIN_PIECE_CHARACTERS = 16
# Such a text holds a whole one of the blocks of this length into which a secret is divided.
_BLOCK_CHARACTERS = 8
# A cut may fall inside of an escape, and an ellipsis may follow it.
_REST_OF_ESCAPE = re.compile(r"[\[0-9;A-Za-z]{0,9}(?:[\x80-\xbf]|%[89ABab][0-9A-Fa-f]){0,3}")
_CUT_ESCAPE = re.compile(
    r"(?:[\xc2-\xf4][\x80-\xbf]{0,2}|%[C-Fc-f][0-9A-Fa-f](?:%[89ABab][0-9A-Fa-f]){0,2})?"
    r"(?:%[0-9A-Fa-f]?|\\(?:u[0-9A-Fa-f]{0,3}|U[0-9A-Fa-f]{0,7}|x[0-9A-Fa-f]?|[0-3][0-7]?)?|&#?[0-9A-Za-z]{0,5}|[0-9;]+)?\Z"
)
# The longest of these.
_CUT_CHARACTERS = 12
_ELLIPSIS = re.compile(r"[….\s]+\Z")


def rests_in_texts(text: str, secrets: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Yield (start, end) of what `rests_in` finds in each of the texts that NULs separate here."""
    texts = text.split("\0")
    # To try each secret in each of many texts would take too long.
    index = RestIndex(secrets, texts) if len(texts) > _FEW_TEXTS else None
    offset = 0
    for each in texts:
        found = index.rests_in(each) if index else rests_in(each, secrets)
        yield from ((offset + start, offset + end) for start, end in found)
        offset += len(each) + 1


class RestIndex:
    """Finds what `rests_in` finds in many texts, by look-ups in place of a try with each secret."""

    def __init__(self, secrets: Sequence[str], texts: Sequence[str]) -> None:
        """Take the secrets, and the texts in which they will be looked for."""
        self._endings = EndingIndex(secrets, texts)
        self._beginnings = EndingIndex([secret[::-1] for secret in secrets], [text[::-1] for text in texts])
        self._holders: dict[str, set[str]] = defaultdict(set)
        blocks = {block for text in texts for pair in outer_blocks(text) for block in pair}
        for secret in secrets if blocks else ():
            for at in range(0, len(secret), _BLOCK_CHARACTERS):
                if (block := secret[at : at + _BLOCK_CHARACTERS]) in blocks:
                    self._holders[block].add(secret)

    def rests_in(self, text: str) -> Iterator[tuple[int, int]]:
        """Yield what the function of this name yields."""
        if len(text) < _MIN_TEXT_CHARACTERS:
            return
        starts, cuts = _cuts_in(text)
        end = max(cuts)
        # The fewer, since many secrets may have one of the two in common.
        holders = (min((self._holders.get(block, set()) for block in pair), key=len) for pair in outer_blocks(text))
        if any(text[:end] in secret for secret in set().union(*holders)):
            yield 0, end
        for start in starts:
            if rest := self._endings.length_of_rest(text, start):
                yield 0, start + rest
        for cut in cuts:
            if rest := self._beginnings.length_of_rest(text[:cut][::-1]):
                yield cut - rest, end


class EndingIndex:
    """Finds the ends of secrets with which texts begin."""

    def __init__(self, secrets: Iterable[str], texts: Iterable[str]) -> None:
        """Take the secrets, and the texts in which they will be looked for."""
        pieces = {text[at : at + _MIN_REST_CHARACTERS] for text in texts for at in range(len(text))}
        self._begins: set[str] = set()
        self._endings: set[str] = set()
        self._long: dict[str, list[str]] = defaultdict(list)
        for secret in secrets:
            if secret[-_MIN_REST_CHARACTERS:] not in pieces:
                continue
            if len(secret) > _LONG_REST_CHARACTERS:
                self._long[secret[-_LONG_REST_CHARACTERS:]].append(secret)
            first = max(1, len(secret) - _LONG_REST_CHARACTERS)
            for at in range(first, len(secret) - _MIN_REST_CHARACTERS + 1):
                if (piece := secret[at : at + _MIN_REST_CHARACTERS]) in pieces:
                    self._begins.add(piece)
                    self._endings.add(secret[at:])

    def length_of_rest(self, text: str, start: int = 0) -> int:
        """Return the length of the longest end of a secret, but not a whole one, that stands there; 0 if none does."""
        shortest_long = start + _LONG_REST_CHARACTERS + 1
        for end in range(len(text), shortest_long - 1, -1) if self._long else ():
            for secret in self._long.get(text[end - _LONG_REST_CHARACTERS : end], ()):
                if end - start < len(secret) and secret.endswith(text[start:end]):
                    return end - start
        if text[start : start + _MIN_REST_CHARACTERS] in self._begins:
            for end in range(min(len(text), shortest_long - 1), start + _MIN_REST_CHARACTERS - 1, -1):
                if text[start:end] in self._endings:
                    return end - start
        return 0


def outer_blocks(text: str) -> Iterator[tuple[str, str]]:
    """Yield pairs of blocks: a secret that the text lies inside of has both of one pair. None if the text is short."""
    end = max(_cuts_in(text)[1])
    for start in range(_BLOCK_CHARACTERS) if end >= _MIN_PIECE_CHARACTERS else ():
        last = end - (end - start) % _BLOCK_CHARACTERS - _BLOCK_CHARACTERS
        yield text[start : start + _BLOCK_CHARACTERS], text[last : last + _BLOCK_CHARACTERS]


def rests_in(text: str, secrets: Iterable[str]) -> Iterator[tuple[int, int]]:
    """Yield (start, end) of the end of a secret that the text begins with, and of the beginning that it ends with."""
    if len(text) < _MIN_TEXT_CHARACTERS:
        return
    starts, cuts = _cuts_in(text)
    end = max(cuts)
    whole = text[:end]
    endings = [(text[:cut][::-1], text[max(0, cut - _MIN_REST_CHARACTERS) : cut]) for cut in cuts]
    beginnings = [(start, text[start : start + _MIN_REST_CHARACTERS]) for start in starts]
    # Most texts are short and hold no secret, so ask first for the few characters that each rest has.
    for secret in secrets:
        if end >= _MIN_PIECE_CHARACTERS and whole in secret:
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


def _cuts_in(text: str) -> tuple[range, set[int]]:
    """Return where the rest of a secret may begin at the text's begin, and where one may end at its end."""
    escape = _REST_OF_ESCAPE.match(text)
    end = _start_of(_ELLIPSIS, text, len(text))
    return range(escape.end() + 1 if escape else 1), {end, _start_of(_CUT_ESCAPE, text, end)}


def _start_of(pattern: re.Pattern[str], text: str, end: int) -> int:
    found = pattern.search(text, max(0, end - _CUT_CHARACTERS), end)
    return found.start() if found else end
