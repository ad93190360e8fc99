"""Env files: python-dotenv's syntax without interpolation, and errors that name the line but not what it holds."""

import pytest

from workspaces.configuration.env_files import BadAssignment, parse_assignments

PEM = "-----BEGIN KEY-----\nMII\n-----END KEY-----\n"


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("A=1\nB=two words\nA=3\n", {"A": "3", "B": "two words"}),
        ("# comment\n\n  A = 1 \n", {"A": "1"}),
        ("export A=1\nexportB=2", {"A": "1", "exportB": "2"}),
        ("A='one'\nB=\"two\"\nC=it's", {"A": "one", "B": "two", "C": "it's"}),
        (f"KEY='{PEM}'\nA=1", {"KEY": PEM, "A": "1"}),
        (f'KEY="{PEM}"'.replace("\n", "\r\n") + "\r\nA=1\r\n", {"KEY": PEM, "A": "1"}),
        ("A=\"first\\nsecond\"\nB='no\\nbreak'", {"A": "first\nsecond", "B": "no\\nbreak"}),
        ("A=$HOME\nB=${A}x\nC='$A'", {"A": "$HOME", "B": "${A}x", "C": "$A"}),
        ("A=1 # comment\nB=a#b\nC='1 # 2'", {"A": "1", "B": "a#b", "C": "1 # 2"}),
        ("A=\nB=''", {"A": "", "B": ""}),
        ("\ufeffA=1", {"A": "1"}),
        ("", {}),
    ],
)
def test_an_env_file_is_read(text, values):
    assert parse_assignments(text) == values


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("A=1\n\ns3cr3t\n", "Line 3 is not NAME=VALUE: it has no equals sign."),
        ("A=1\n=s3cr3t\n", "Line 2 is not NAME=VALUE: a name has letters"),
        ("1A=s3cr3t", "Line 1 is not NAME=VALUE: a name has letters"),
        ("s3cr3t-key=s3cr3t", "Line 1 is not NAME=VALUE: a name has letters"),
        ("A=1\nB='s3cr3t\nC=2\n", "Line 2 has a quote that is never closed"),
        ('A="two\nlines"\n\nB="s3cr3t', "Line 4 has a quote that is never closed"),
        ("A='s3'cr3t", "Line 1 has a quote that is never closed, or text after its closing quote."),
    ],
)
def test_an_error_names_its_line_without_repeating_it(text, message):
    with pytest.raises(BadAssignment) as refusal:
        parse_assignments(text)
    assert str(refusal.value).startswith(message)
    assert "s3cr3t" not in str(refusal.value)
