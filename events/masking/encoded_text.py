"""What Base64 and hexadecimal digits in a text stand for, and where in the text they are."""

import re
from base64 import b64decode
from collections.abc import Iterator
from typing import NamedTuple

# A shorter one can't hold the prefix of a credential and enough of what follows it.
_ENCODED_CHARACTERS, _DECODED_CHARACTERS = 16, 12
_BASE64 = re.compile(rf"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{{{_ENCODED_CHARACTERS},}}+={{0,2}}")
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
    for run in _BASE64.finditer(text):
        start, end = run.span()
        digits = run.group().rstrip("=").translate(_STANDARD)
        found = [EncodedText(from_base64(digits[skip:]), start + skip, end, bits=6) for skip in range(4)]
        for of_hex in _HEX.finditer(digits):
            begin, digits = start + of_hex.start(), of_hex.group()
            found += [EncodedText(from_hex(digits[skip:]), begin + skip, begin + len(digits), 4) for skip in range(2)]
        yield from (each for each in found if _WORD.search(each.text))


def from_base64(digits: str) -> str:
    """Return the whole bytes that these characters stand for, each as a character."""
    kept = len(digits) - (len(digits) % 4 == 1)
    return b64decode(digits[:kept] + "=" * (-kept % 4)).decode("latin-1")


def from_hex(digits: str) -> str:
    """Return the whole bytes that these digits stand for, each as a character."""
    return bytes.fromhex(digits[: len(digits) // 2 * 2]).decode("latin-1")
