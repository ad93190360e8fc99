"""What a terminal shows of a log: the last state of each line. Colours stay, other terminal sequences go."""

import re

from agent.texts import ESCAPE_SEQUENCE

COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_ERASE = re.compile(r"\x1b\[([012]?)K")
# A character with the colours that begin before it, an erasure, or a colour at the end.
_CELL = re.compile(r"\x1b\[[012]?K|(?:\x1b\[[0-9;]*m)*(?:[^\x1b]|\Z)", re.DOTALL)


def shown_lines(text: str) -> str:
    """Return the text without what a terminal has overwritten after carriage returns and backspaces, or erased."""
    kept = ESCAPE_SEQUENCE.sub(
        lambda found: found[0] if COLOUR.fullmatch(found[0]) or _ERASE.match(found[0]) else "", text
    )
    lines = kept.split("\n")
    return "\n".join(last_state(line) if "\r" in line or "\b" in line else _ERASE.sub("", line) for line in lines)


def last_state(line: str) -> str:
    """Return what one line shows in the end. It takes time in proportion to its length: each state is read once."""
    shown: list[str] = []
    # From the last state to the first: an earlier one shows only where it is longer, and not beyond an erasure.
    for state in reversed(line.split("\r")):
        cells, is_erased = cells_of(state)
        shown += cells[len(shown) :]
        if is_erased:
            break
    return "".join(shown)


def cells_of(state: str) -> tuple[list[str], bool]:
    """Return the characters that a state writes, with their colours, and whether it erases what was there before."""
    cells: list[str] = []
    is_erased = False
    for cell in _CELL.findall(state):
        if erasure := _ERASE.match(cell):
            is_erased = True
            if erasure[1] in ("1", "2"):
                cells = [" "] * len(cells)
        elif cell.endswith("\b"):
            del cells[-1:]
        elif cell.startswith("\x1b") and cell.endswith("m") and COLOUR.sub("", cell) == "":
            cells[-1:] = ["".join([*cells[-1:], cell])]
        elif cell:
            cells.append(cell)
    return cells, is_erased
