"""What a terminal shows of a log: the last state of each line. Colours stay, other terminal sequences go."""

import re

from agent.texts import ESCAPE_SEQUENCE

COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_ERASE = re.compile(r"\x1b\[([012]?)K")
_TO_BEGIN = re.compile(r"\x1b\[[01]?G")
_MOVES = re.compile(rf"[\r\b]|{_ERASE.pattern}")
_PIECE = re.compile(r"[\r\b]|\x1b\[[012]?K|\x1b\[[0-9;]*m|[^\r\b\x1b]+|\x1b")


def shown_lines(text: str) -> str:
    """Return the text without what a terminal has overwritten after carriage returns and backspaces, or erased."""
    kept = ESCAPE_SEQUENCE.sub(kept_sequence, text)
    return "\n".join(last_state(line) if _MOVES.search(line) else line for line in kept.split("\n"))


def kept_sequence(found: re.Match[str]) -> str:
    """Return what is kept of a terminal sequence: colours, erasures, and a return to the begin of the line."""
    if COLOUR.fullmatch(found[0]) or _ERASE.fullmatch(found[0]):
        return found[0]
    return "\r" if _TO_BEGIN.fullmatch(found[0]) else ""


def last_state(line: str) -> str:
    """Return what one line shows in the end. It takes time in proportion to its length."""
    # Of each cell its character, with the colours that begin before it, and when it was written.
    cells: list[str] = []
    times: list[int] = []
    # When all cells up to one were erased, that one included.
    erased: dict[int, int] = {}
    at, colours = 0, list[str]()
    for time, piece in enumerate(_PIECE.findall(line)):
        if piece in "\r\b":
            at = 0 if piece == "\r" else max(at - 1, 0)
        elif erasure := _ERASE.fullmatch(piece):
            if erasure[1] in ("1", "2"):
                erased[at] = time
            if erasure[1] != "1":
                del cells[at:], times[at:]
        elif COLOUR.fullmatch(piece):
            colours.append(piece)
        else:
            end = at + len(piece)
            cells[at:end] = ["".join([*colours, piece[0]]), *piece[1:]]
            times[at:end] = [time] * len(piece)
            at, colours = end, []
    blank_erased(cells, times, erased)
    return "".join([*cells, *colours])


def blank_erased(cells: list[str], times: list[int], erased: dict[int, int]) -> None:
    """Blank the cells that were erased after they were written, and remove those at the end of the line."""
    last_erasure = max((time for at, time in erased.items() if at >= len(cells)), default=-1)
    is_at_end = True
    for at in range(len(cells) - 1, -1, -1) if erased else ():
        last_erasure = max(last_erasure, erased.get(at, -1))
        if times[at] < last_erasure:
            cells[at] = " "
            if is_at_end:
                del cells[at]
        else:
            is_at_end = False
