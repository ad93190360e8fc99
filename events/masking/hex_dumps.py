"""Hexadecimal digits with gaps between the bytes, and dumps by `od`, `xxd` and `hexdump`, with only what is dumped."""

import re
from collections.abc import Iterator

from events.masking.decoded_text import DecodedText

_DIGIT = "[0-9A-Fa-f]"
# Four bytes, with the same in each gap, since there are times and dates in most texts; or a line of `xxd`.
_HAS_GAPS = re.compile(
    rf"(?<![0-9A-WYZa-wyz]){_DIGIT}{{2}}(?:(?P<gap>[:-]){_DIGIT}{{2}}(?:(?P=gap){_DIGIT}{{2}}){{2}}"
    rf"|(?:,[ \t\r\n]{{0,8}}(?:0x)?{_DIGIT}{{2}}){{3}}"
    rf"|(?:{_DIGIT}{{2}})*+(?:[ \t\r\n]{{1,8}}+(?:0x)?(?:{_DIGIT}{{2}})++){{3}}|{_DIGIT}{{6}}:[ ]{_DIGIT}{{4}})"
)
# A text that was cut begins with a gap, or with half of a byte.
_GAP = re.compile(
    rf"(?:\A|(?<=\0)|(?<=\A{_DIGIT})|(?<=\0{_DIGIT})|(?<={_DIGIT}{{2}}))"
    rf"(?:[:,-][ \t\r\n]{{0,8}}+|[ \t\r\n]{{1,8}}+)(?:0x)?(?={_DIGIT}|[.…\0]|\Z)"
)
# From the last byte of a line to the first one of the next: what a dump shows as text, and an address.
_BETWEEN_LINES = re.compile(
    rf"(?<={_DIGIT}{{2}})(?:[ ]{{2,}}+[^\n\0]{{1,18}})?[ \t]{{0,8}}\r?\n"
    rf"(?:[^\n\0|]{{1,64}}[|][ ])?{_DIGIT}{{6,8}}:?[ \t]{{1,4}}+(?={_DIGIT}{{2}})"
)
# All but what a dump shows as text.
_COLUMNS = re.compile(
    rf"(?:[|<]?\r?\n|\A|(?<=[\0\n])){_DIGIT}{{6,8}}:?[ \t]{{1,4}}+(?:{_DIGIT}{{2,4}}[ \t]{{1,2}}+){{1,16}}+[ ]*+[|>]?"
)
# What a dump shows as text, behind the digits of its line.
_REST_OF_LINE = re.compile(rf"(?:[ \t]{{1,2}}{_DIGIT}{{2,16}}){{0,15}}[ ]{{2,}}[^\n\0]{{1,18}}(?=[\n\0]|\Z)")
# A shorter value that consists of digits is a part of many times and dates. No value is so short in hexadecimal digits.
_MIN_FORM_CHARACTERS = 8


class HexDigits(DecodedText):
    """A text with nothing between its hexadecimal digits."""

    min_form_characters = _MIN_FORM_CHARACTERS

    def __init__(self, source: DecodedText, *, with_gaps: DecodedText) -> None:
        super().__init__(source, _GAP, lambda gap: "")
        self._with_gaps = with_gaps

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Return where these digits are, with what the dump shows of them as text."""
        after = self.origin(end - 1, of=self._with_gaps) + 1
        shown = _REST_OF_LINE.match(self._with_gaps.text, after)
        return self.origin(start), self._with_gaps.origin(shown.end() if shown else after)


def without_gaps(text: DecodedText) -> Iterator[DecodedText]:
    """Yield the text with nothing between hexadecimal digits and, if it is a dump, with only its digits or texts."""
    if not _HAS_GAPS.search(text.text):
        return
    yield HexDigits(text, with_gaps=text)
    digits = _without(_BETWEEN_LINES, text)
    if digits.is_changed:
        yield HexDigits(digits, with_gaps=text)
        yield _without(_COLUMNS, text)


def _without(pattern: re.Pattern[str], text: DecodedText) -> DecodedText:
    return DecodedText(text, pattern, lambda found: "")
