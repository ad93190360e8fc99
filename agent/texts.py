r"""Mend texts that people read: what is visibly empty, and which characters never reach a page, a mail or a terminal.

Pure functions of the standard library: the agent mends what it sends, the platform what it receives. A regular
expression finds the few suspicious characters, so that a long text costs little.
"""

import re
import unicodedata
from collections.abc import Mapping

MAX_DEPTH = 64

# Terminal control sequences: CSI, OSC, and those of two characters.
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
_BIDI_CONTROLS = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
# All of C0 and C1 but tab and line feed.
_CONTROLS = "\x00-\x08\x0b-\x1f\x7f-\x9f"
_UNWANTED = re.compile(f"[{_CONTROLS}{_BIDI_CONTROLS}]")
_REFUSED_IN_NAMES = re.compile(f"[{_CONTROLS}\t\n\u2028\u2029{_BIDI_CONTROLS}\ud800-\udfff]")
_LINE_ENDS = re.compile("\r\n?|[\x0b\x0c\x85\u2028\u2029]")
# Unicode's Default_Ignorable_Code_Point, without the bidi controls.
_IGNORABLE = re.compile(
    "[\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200d\u2060-\u2065\u206a-\u206f\u3164\ufe00-\ufe0f"
    "\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
# What shows nothing inside of a line.
INVISIBLE = re.compile(f"{_IGNORABLE.pattern}|[{_BIDI_CONTROLS}]")
# Letters and symbols that have no ink: Braille's blank pattern and a musical null note.
_BLANK = re.compile("[\u2800\U0001d159]")
_WITHOUT_INK = frozenset({"Cc", "Cf", "Cs", "Mn", "Me", "Zs", "Zl", "Zp"})
_JOINERS = frozenset("\u200c\u200d")
_VARIATIONS = frozenset("\ufe0e\ufe0f")
_VIRAMA = 9
# A selector of the coloured form and the skin tones stand between an emoji and its joiner.
_SYMBOLS = re.compile("[\ufe0f\U0001f3fb-\U0001f3ff]")


def is_visibly_empty(text: str) -> bool:
    """Return whether a reader would see nothing: only white space, controls, and characters without ink."""
    if text.isascii() and text.isprintable():
        return not text.strip()
    inked = _BLANK.sub("", _IGNORABLE.sub("", text))
    return all(unicodedata.category(character) in _WITHOUT_INK for character in inked)


def printable(text: str) -> str:
    """Return the text without terminal sequences, control characters, bidi controls and halves of surrogate pairs."""
    if text.isascii() and text.isprintable():
        return text
    text = _LINE_ENDS.sub("\n", _ESCAPES.sub("", text)).encode(errors="replace").decode()
    return _UNWANTED.sub("", text)


def mend_text(text: str) -> str:
    """Return a describing text as it is kept: printable, without white space around it, "" if visibly empty."""
    mended = printable(text).strip()
    return "" if is_visibly_empty(mended) else mended


def mend_line(text: str) -> str:
    """Return the text as one line that shows all it holds: mended, NFC, single spaces, nothing invisible in it."""
    line = " ".join(mend_text(text).split())
    if line.isascii():
        return line
    return unicodedata.normalize("NFC", _IGNORABLE.sub(kept_joiner, line)).strip()


def mend_values(value: object, *, depth: int = 0) -> object:
    """Return a JSON value with every text and key mended; null for what JSON or Postgres can't hold or nests too deep.

    These are NaN and infinity, and what lies more than 64 levels deep.
    """
    if isinstance(value, str):
        return mend_text(value)
    if isinstance(value, float) and (value != value or abs(value) == float("inf")):
        return None
    if isinstance(value, Mapping | list) and depth >= MAX_DEPTH:
        return None
    if isinstance(value, Mapping):
        return {mend_line(str(key)): mend_values(item, depth=depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [mend_values(item, depth=depth + 1) for item in value]
    return value


def kept_joiner(match: re.Match[str]) -> str:
    """Return an invisible character if it shapes what stands beside it, otherwise an empty text.

    Kept are joiners after a virama or between Arabic letters (IDNA's CONTEXTJ), and what joins or colours emoji.
    """
    character, text, at = match.group(), match.string, match.start()
    before, after = text[at - 1 : at], text[at + 1 : at + 2]
    if before and character in _VARIATIONS:
        return character if _SYMBOLS.match(before) or unicodedata.category(before) == "So" else ""
    if not before or not after or character not in _JOINERS:
        return ""
    joins_letters = unicodedata.combining(before) == _VIRAMA or (
        unicodedata.bidirectional(before) == unicodedata.bidirectional(after) == "AL"
    )
    joins_emoji = unicodedata.category(after) == "So" and bool(
        _SYMBOLS.match(before) or unicodedata.category(before) == "So"
    )
    return character if joins_letters or joins_emoji else ""


def clean_name(name: str) -> str:
    """Return a name that someone typed as it is kept: NFC, single spaces, nothing invisible in it. "" stays "".

    Raises ValueError, with a clause that follows the field's name, for a control or bidi character, half of a surrogate
    pair, and a name that shows nothing.
    """
    if found := _REFUSED_IN_NAMES.search(name.strip()):
        raise ValueError(f"contains the control character U+{ord(found.group()):04X}")
    if name.strip() and is_visibly_empty(name):
        raise ValueError("shows nothing: it holds only invisible characters")
    return mend_line(name)
