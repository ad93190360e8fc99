"""What is visibly empty, and what is left of a text when it is mended."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.texts import is_visibly_empty, mend_line, mend_text, mend_values, printable
from tests.growth import assert_grows_linearly

HEART_ON_FIRE = "\u2764\ufe0f\u200d\U0001f525"
FAMILY = "\U0001f469\U0001f3fd\u200d\U0001f4bb"
PERSIAN = "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"
SINHALA = "\u0dc1\u0dca\u200d\u0dbb\u0dd3"
INVISIBLE = [
    "\u200b",
    "\u200d",
    "\u2060",
    "\ufeff",
    "\u00ad",
    "\u034f",
    "\u115f",
    "\u3164",
    "\uffa0",
    "\u2800",
    "\u180e",
]
INVISIBLE += [
    "\u202e",
    "\u2066",
    "\u200e",
    "\u061c",
    "\u2028",
    "\u00a0",
    "\u3000",
    "\0",
    "\x1b[31m\x1b[0m",
    "\x85",
    "\r\n",
]
INVISIBLE += ["\U000e0041", "\U0001d159", "\ufe0f", "\u0301", ""]
INVISIBLE += ["\ufff9", "\ufffb", "\ue000", "\U000f0000", "\ufdd0", "\uffff", "\U0010ffff", "\u0378"]


def test_a_log_that_nothing_is_removed_from_is_returned_without_a_copy():
    text = "\tcaf\u00e9 \U0001f680\n" * 3
    assert printable(text) is text


def test_a_character_is_removed_alone_as_it_is_beside_others():
    kept = [chr(code) for code in range(0x10000) if printable(f"\u00e9{chr(code)}") == f"\u00e9{chr(code)}"]
    # With a NUL, every character is looked at.
    assert all(printable(f"\0\u00e9{each}") == f"\u00e9{each}" for each in kept)


@pytest.mark.parametrize("text", INVISIBLE, ids=ascii)
def test_a_text_that_shows_nothing_is_empty(text):
    assert mend_text(text * 3) == ""
    assert mend_line(f" {text}{text} ") == ""


@pytest.mark.parametrize(
    "text", [".", "\u00e9", "\u4e2d", "\U0001f680", HEART_ON_FIRE, PERSIAN, "\U0001fae9"], ids=ascii
)
def test_a_text_with_ink_is_not_empty(text):
    assert not is_visibly_empty(f"\u200b{text}")
    assert mend_text(text) == text


@pytest.mark.parametrize("text", [HEART_ON_FIRE, FAMILY, PERSIAN, SINHALA, "caf\u00e9", "\u65e5\u672c"], ids=ascii)
def test_what_shapes_letters_and_emoji_stays(text):
    assert mend_line(text) == text


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("ad\u200dmin", "admin"),
        ("ad\u200cm\ufe0fin\u200d", "admin"),
        ("\u0430\u0434\u200c\u043c", "\u0430\u0434\u043c"),
        ("e\u0301", "\u00e9"),
        ("a\u00a0\u3000 b", "a b"),
        ("a\r\nb\u2028c\x0bd", "a b c d"),
        ("a\x1b]0;title\x07b\x1b[1;31mc\x9b", "abc"),
        ("\u202egnp.exe", "gnp.exe"),
        ("\x1b]0;never closed: disk full", ""),
        ("disk full\x1b]0;never closed", "disk full"),
        ("\x1b]0;no title\ndisk full", "0;no title disk full"),
        ("h\x9b1mu", "hu"),
        ("h\x1bPq\x1b\\u", "hu"),
        ("h\x1b_a\x07\x1b^p\x1b\\\x1bXs\x9cu", "hu"),
        ("h\x90q\x9c\x9dtitle\x07\x9fa\x1b\\u", "hu"),
        ("\u00e2\x80\x9ddisk full", "\u00e2disk full"),
        ("h\x1b(B\x1b7\x1bcu", "hu"),
        ("h\x1b[31", "h"),
        ("a\ufff9b\U0001d159c", "ab c"),
        ("ad\u2800min", "ad min"),
        ("a \u200b b", "a b"),
        ("\ud800\udc00", "??"),
    ],
    ids=ascii,
)
def test_a_line_shows_all_it_holds(text, line):
    assert mend_line(text) == line


@given(st.text(st.characters(), max_size=60))
def test_mending_twice_changes_nothing_more(text):
    line = mend_line(text)
    assert mend_line(line) == line
    assert mend_text(mend_text(text)) == mend_text(text)
    assert "\n" not in line
    assert unicodedata.is_normalized("NFC", line)
    line.encode()


def test_values_that_json_lacks_become_null():
    value = {"a\0": [float("nan"), float("inf"), "\ud800", 1, True, None]}
    assert mend_values(value) == {"a": [None, None, "?", 1, True, None]}


@pytest.mark.parametrize(
    "piece",
    [
        "\u200b",
        "\x1b[",
        "\x1b]",
        "\x9d",
        "\x1bPa\x9d",
        "\ue000",
        "\u202e",
        "\ud800",
        "\r",
        "e\u0301",
        "\u200d\U0001f525",
        "\0",
    ],
)
def test_mending_takes_time_in_proportion_to_the_text(piece):
    assert_grows_linearly(mend_line, lambda times: piece * times, size=100_000)
