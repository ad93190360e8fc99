"""What a string stands beside, and what is wrong with it there."""

from enum import IntEnum

from status_drift.enum_terms import EnumTerm
from status_drift.findings import NO_STATUS


class Neighbour(IntEnum):
    """What a string stands beside, the strongest first."""

    # The enum's field, or a column of it: every string is reported.
    FIELD = 1
    # Something named like the field: values and misspelled values are reported.
    NAME = 2
    # Nothing that tells what it is: values are reported.
    NOTHING = 3
    # Another field or column: nothing is reported.
    OTHER_FIELD = 4


def problem_with(text: str, term: EnumTerm, neighbour: Neighbour, *, in_sql: bool = False) -> tuple[str, str] | None:
    """Return what is wrong with a string and what to do about it, None if it may stay."""
    if neighbour == Neighbour.OTHER_FIELD:
        return None
    if member := term.member(text):
        if in_sql:
            return f"The {term.label} {text!r} is written out in SQL.", f"Pass {member} as a parameter."
        return f"The {term.label} {text!r} is written out.", f"Use {member}."
    if neighbour == Neighbour.FIELD:
        return f"{term.enum_name} has no value {text!r}.", term.advice(text)
    if neighbour == Neighbour.NAME and term.misspelled(text):
        sign = "--" if in_sql else "#"
        otherwise = f"If it means something else, add the comment `{sign} {NO_STATUS} reason`."
        return f"{text!r} looks like a misspelled {term.label}.", f"{term.advice(text)} {otherwise}"
    return None
