"""Texts from a server never command the terminal."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from slipway.texts import one_line, printable


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("plain ü 漢 😀", "plain ü 漢 😀"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07after", "after"),
        ("\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x9b2Jcleared", "cleared"),
        ("cut off \x1b[", "cut off "),
        ("50%\rdone", "50%\ndone"),
        ("a\u202eb\u200bc\x00d\x08e\ud800f", "abcdef"),
        ("a\u00a0b", "a b"),
        ("[bold]x[/bold] :smile:", "[bold]x[/bold] :smile:"),
        ("tab\tand\nline", "tab\tand\nline"),
    ],
)
def test_only_what_can_be_seen_is_left(sent, shown):
    assert printable(sent) == shown


def test_one_line_is_one_line():
    assert one_line("a\r\n\tb\u2028c ") == "a b c"


@given(st.text(alphabet=st.characters(), max_size=200))
def test_no_text_holds_a_control_afterwards(text):
    assert all(each.isprintable() or each in "\n\t" for each in printable(text))
    assert one_line(text).isprintable()
