"""What Base64 and hexadecimal digits in a text stand for, and where in the text they are."""

import re
from binascii import a2b_base64
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import NamedTuple

# A shorter one can't hold the prefix of a credential and enough of what follows it.
_ENCODED_CHARACTERS, _DECODED_CHARACTERS = 16, 12
ENCODED = re.compile(rf"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{{{_ENCODED_CHARACTERS},}}+={{0,2}}")
_HEX = re.compile(rf"(?<![0-9A-Fa-f])[0-9A-Fa-f]{{{2 * _DECODED_CHARACTERS},}}+")
# Of what is not text, hardly anything has such a word.
_WORD = re.compile(rf"[A-Za-z0-9+/_-]{{{_DECODED_CHARACTERS}}}")
_STANDARD = str.maketrans("-_", "+/")


class EncodedText(NamedTuple):
    """What the characters from `start` to `end` of a text stand for, each of them for so many bits."""

    text: str
    start: int
    end: int
    bits: int

    def origin(self, start: int, end: int) -> tuple[int, int]:
        """Return where a part of it is in the text, with the padding if it is the last part."""
        last = self.start - (-end * 8 // self.bits)
        return self.start + start * 8 // self.bits, self.end if end == len(self.text) else last


def encoded_texts(text: str) -> Iterator[EncodedText]:
    """Yield what each run of Base64 and of hexadecimal digits may stand for, whichever character a byte begins with.

    What is not text is left out as far as it has no word of twelve characters.
    """
    for run in ENCODED.finditer(text):
        yield from encoded_texts_of(run.group(), run.start())


def encoded_texts_of(run: str, start: int = 0) -> Iterator[EncodedText]:
    """Yield what `encoded_texts` does of one run, which stands there in the text."""
    end = start + len(run)
    digits = run.rstrip("=").translate(_STANDARD)
    for skip in range(4):
        if _WORD.search(decoded := from_base64(digits[skip:])):
            yield EncodedText(decoded, start + skip, end, bits=6)
    for of_hex in _HEX.finditer(digits):
        begin, end = start + of_hex.start(), start + of_hex.end()
        for skip in range(2):
            if _WORD.search(decoded := from_hex(of_hex.group()[skip:])):
                yield EncodedText(decoded, begin + skip, end, bits=4)


class JoinedTexts:
    """What many runs may stand for, as one text: to search it once is quicker than to search many short ones."""

    def __init__(self, runs: Sequence[str]) -> None:
        self._texts = [(number, each) for number, run in enumerate(runs) for each in encoded_texts_of(run)]
        # Each is the end of a line, and no secret contains the NUL behind it.
        self.text = "".join(f"{each.text}\n\0" for _, each in self._texts)
        self._starts = list(accumulate((len(each.text) + 2 for _, each in self._texts), initial=0))

    def origin(self, start: int, end: int) -> tuple[int, int, int]:
        """Return the number of the run that a part of the text stands in, and its (start, end) there."""
        at = bisect_right(self._starts, start) - 1
        number, each = self._texts[at]
        return number, *each.origin(start - self._starts[at], min(end - self._starts[at], len(each.text)))


def from_base64(digits: str) -> str:
    """Return the whole bytes that these characters stand for, each as a character."""
    kept = len(digits) - (len(digits) % 4 == 1)
    return a2b_base64(digits[:kept] + "=" * (-kept % 4)).decode("latin-1")


def from_hex(digits: str) -> str:
    """Return the whole bytes that these digits stand for, each as a character."""
    return bytes.fromhex(digits[: len(digits) // 2 * 2]).decode("latin-1")
