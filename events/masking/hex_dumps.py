"""Hexadecimal digits with gaps between the bytes, and dumps by `od`, `xxd` and `hexdump`, with only what is dumped."""

import re
from collections.abc import Iterator

from events.masking.decoded_text import DecodedText

_DIGIT = "[0-9A-Fa-f]"
# Four bytes, with the same in each gap: there are times and dates in most texts.
_HAS_GAPS = re.compile(
    rf"(?<![0-9A-WYZa-wyz]){_DIGIT}{{2}}(?:(?P<gap>[:-]){_DIGIT}{{2}}(?:(?P=gap){_DIGIT}{{2}}){{2}}"
    rf"|(?:,[ \t\r\n]{{0,8}}(?:0x)?{_DIGIT}{{2}}){{3}}"
    rf"|(?:{_DIGIT}{{2}})*+(?:[ \t\r\n]{{1,8}}+(?:0x)?(?:{_DIGIT}{{2}})++){{3}})"
)
# A text that was cut begins with a gap, or with half of a byte.
_GAP = re.compile(
    rf"(?:\A|(?<=\0)|(?<=\A{_DIGIT})|(?<=\0{_DIGIT})|(?<={_DIGIT}{{2}}))"
    rf"(?:[:,-][ \t\r\n]{{0,8}}+|[ \t\r\n]{{1,8}}+)(?:0x)?(?={_DIGIT}|[.…\0]|\Z)"
)
# From the last byte of a line to the first one of the next: what a dump shows as text, and an address.
_BETWEEN_LINES = re.compile(
    rf"(?<={_DIGIT}{{2}})(?:[ ]{{2,}}+[^\n\0]{{1,18}})?[ \t]{{0,8}}\r?\n{_DIGIT}{{6,8}}:?[ \t]{{1,4}}+(?={_DIGIT}{{2}})"
)
# All but what a dump shows as text.
_COLUMNS = re.compile(
    rf"(?:[|<]?\r?\n|\A|(?<=[\0\n])){_DIGIT}{{6,8}}:?[ \t]{{1,4}}+(?:{_DIGIT}{{2,4}}[ \t]{{1,2}}+){{1,16}}+[ ]*+[|>]?"
)


def without_gaps(text: DecodedText) -> Iterator[DecodedText]:
    """Yield the text with nothing between hexadecimal digits and, if it is a dump, with only its digits or texts."""
    if not _HAS_GAPS.search(text.text):
        return
    yield _without(_GAP, text)
    digits = _without(_BETWEEN_LINES, text)
    if digits.is_changed:
        yield _without(_GAP, digits)
        yield _without(_COLUMNS, text)


def _without(pattern: re.Pattern[str], text: DecodedText) -> DecodedText:
    return DecodedText(text, pattern, lambda found: "")
