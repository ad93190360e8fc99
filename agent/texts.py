r"""Mend texts that people read: what is visibly empty, and which characters never reach a page, a mail or a terminal.

Pure functions of the standard library: the agent mends what it sends, the platform what it receives. A regular
expression finds the few suspicious characters, so that a long text costs little.
"""

import re
import unicodedata
from collections.abc import Mapping

MAX_DEPTH = 64

# ECMA-48: control sequences such as colours, strings such as links and titles, two-character sequences, and other
# control characters, which show nothing. One that the text's end cuts off counts, too, unless a single C1 character
# begins it: those also occur in wrongly decoded text.
ESCAPE_SEQUENCE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*+[ -/]*+(?:[@-~]|\Z)"
    r"|\x1b[\]PX^_][^\x07\x1b\x9c\n\0]*+(?:\x07|\x1b\\|\x9c|\Z)"
    r"|[\x90\x98\x9d-\x9f][^\x07\x1b\x90\x98\x9c-\x9f\n\0]*+(?:\x07|\x1b\\|\x9c)"
    r"|\x1b[ -/]*+[0-~]?"
    r"|[\x01-\x07\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f]"
)
_BIDI_CONTROLS = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
# All of C0 and C1 but tab and line feed.
_CONTROLS = "\x00-\x08\x0b-\x1f\x7f-\x9f"
_UNWANTED = re.compile(f"[{_CONTROLS}{_BIDI_CONTROLS}]")
_NEVER_SHOWN = f"{_CONTROLS}\u2028\u2029{_BIDI_CONTROLS}\ud800-\udfff"
# Most long texts have none of these, and to look for them takes a tenth of the time of removing them.
_TO_BE_MENDED = re.compile(f"[{_NEVER_SHOWN}]")
_REFUSED_IN_NAMES = re.compile(f"[{_NEVER_SHOWN}\t\n]")
_LINE_ENDS = re.compile("\r\n?|[\x0b\x0c\x85\u2028\u2029]")
# Unicode's Default_Ignorable_Code_Point, without the bidi controls, and the marks of annotations between lines.
_IGNORABLE = re.compile(
    "[\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200d\u2060-\u2065\u206a-\u206f\u3164\ufe00-\ufe0f"
    "\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
# What shows nothing inside of a line.
INVISIBLE = re.compile(f"{_IGNORABLE.pattern}|[{_BIDI_CONTROLS}]")
# Letters and symbols that have no ink: Braille's blank pattern and a musical null note.
_BLANK = re.compile("[\u2800\U0001d159]")
# Private and unassigned ones show a box at most, and the same one for all.
_WITHOUT_INK = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Mn", "Me", "Zs", "Zl", "Zp"})
# Reserved for emoji, so that one which is newer than this Python's Unicode has ink.
_FUTURE_EMOJI = re.compile("[\U0001f000-\U0001faff\U0001fc00-\U0001fffd]")
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
    if _FUTURE_EMOJI.search(inked):
        return False
    return all(unicodedata.category(character) in _WITHOUT_INK for character in inked)


def printable(text: str) -> str:
    """Return the text without terminal sequences, control characters, bidi controls and halves of surrogate pairs."""
    if (text.isascii() and text.isprintable()) or not _TO_BE_MENDED.search(text):
        return text
    text = ESCAPE_SEQUENCE.sub("", _LINE_ENDS.sub("\n", text)).encode(errors="replace").decode()
    return _UNWANTED.sub("", text)


def mend_text(text: str) -> str:
    """Return a describing text as it is kept: printable, nothing invisible in or around it, "" if visibly empty."""
    mended = _IGNORABLE.sub(kept_joiner, printable(text)).strip()
    return "" if is_visibly_empty(mended) else mended


def mend_line(text: str) -> str:
    """Return the text as one line that shows all it holds: mended, NFC, single spaces, nothing invisible in it."""
    return " ".join(unicodedata.normalize("NFC", mend_text(_BLANK.sub(" ", text))).split())


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


def last_characters(text: str, most: int) -> str:
    """Return the end of the text, without the line that is cut."""
    return text if len(text) <= most else without_cut_line(text[-most:])


def without_cut_line(text: str) -> str:
    """Return a text whose beginning was cut without what is left of its first line, unless that is half of it."""
    return text[text.find("\n", 0, len(text) // 2) + 1 :]
