"""How wide the columns of a table are in a terminal that has no place for all of it."""

from collections.abc import Mapping

GAP = 2
# These say what a row is about and how that is. They stay whole as long as anything else can give way.
_ESSENTIAL = ("NAME", "STATUS", "STATE", "EVENT")
# Commands take the beginning of an ID.
_IDS = ("ID", "WORKSPACE")
_SHORT_ID = 9
_LAST = 24
_LONG_NAME = 40
_LONG = 20
_LEAST = 12
_LEAST_ESSENTIAL = 4


def fitting_widths(natural: Mapping[str, int], width: int) -> dict[str, int]:
    """Return the widths of the columns in which they fit, from those that they would have; some are left out.

    The last column gives way first, since it is free text, then IDs, then what is very long, then everything that is
    not essential. If that isn't enough, columns are left out, and in the end what is essential is cut.
    """
    shown = dict(natural)
    spare = [title for title in shown if title not in _ESSENTIAL]
    spare.sort(key=_IDS.__contains__)
    while excess(fitted := shrunk(shown, width), width) > 0:
        if not spare or len(shown) == 1:
            fitted = shrunk_to(fitted, dict.fromkeys(fitted, _LEAST), width)
            return shrunk_to(fitted, dict.fromkeys(fitted, _LEAST_ESSENTIAL), width)
        del shown[spare.pop()]
    return fitted


def shrunk(widths: Mapping[str, int], width: int) -> dict[str, int]:
    """Return the widths after everything has given way as far as it is still readable."""
    *others, last = [title for title in widths if title not in (*_ESSENTIAL, *_IDS)] or [""]
    steps = (
        {last: _LAST},
        dict.fromkeys(_IDS, _SHORT_ID),
        dict.fromkeys(_ESSENTIAL, _LONG_NAME),
        dict.fromkeys(reversed(others), _LONG),
        {last: _LEAST},
        dict.fromkeys(reversed(others), _LEAST),
    )
    fitted = dict(widths)
    for least in steps:
        fitted = shrunk_to(fitted, least, width)
    return fitted


def shrunk_to(widths: Mapping[str, int], least: Mapping[str, int], width: int) -> dict[str, int]:
    """Return the widths after the columns in `least` have given way in this order, none further than it says."""
    fitted = dict(widths)
    for title in filter(fitted.__contains__, least):
        fitted[title] -= max(min(excess(fitted, width), fitted[title] - least[title]), 0)
    return fitted


def excess(widths: Mapping[str, int], width: int) -> int:
    """Return by how much a table of these widths is too wide."""
    return sum(widths.values()) + GAP * (len(widths) - 1) - width
