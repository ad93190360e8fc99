"""Make texts from a server harmless: names, failures and logs may hold whatever an agent has sent."""

import re

# Colours, links, titles and other sequences of ECMA-48, with their text: without it, they would leave rubbish behind.
_SEQUENCES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*+[ -/]*+[@-~]?"
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c\n]*+(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]*+[0-~]?"
)
_LINE_ENDS = re.compile("\r\n?|[\x0b\x0c\x85\u2028\u2029]")


def printable(text: object) -> str:
    """Return the text with nothing in it that a terminal obeys: no sequences, controls, or changes of direction."""
    cleaned = _SEQUENCES.sub("", _LINE_ENDS.sub("\n", str(text)))
    if cleaned.isprintable():
        return cleaned
    # Not printable are also invisible characters, lone surrogates, and spaces other than the usual one.
    return "".join(each if each.isprintable() or each in "\n\t" else " " * each.isspace() for each in cleaned)


def one_line(text: object) -> str:
    """Return the text as one harmless line."""
    return " ".join(printable(text).split())
