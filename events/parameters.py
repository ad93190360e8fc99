"""Query parameters: types of some, and the check of unknown ones, which would give what nobody asked for."""

import re
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from difflib import get_close_matches
from itertools import islice
from typing import Annotated, Any

from django.http import QueryDict
from pydantic import AfterValidator, BeforeValidator, Field

from agent.texts import clean_name
from postgres.clock import in_utc

_MOST_NAMED = 20
_NUMBER = re.compile(r"\s*[-+]?[0-9_.]+(?:[eE][-+]?[0-9]+)?\s*")


# As names and labels are stored: nothing can equal a text with a control character, so it is refused.
Text = Annotated[str, Field(max_length=200), AfterValidator(clean_name)]
Texts = Annotated[list[Text], Field(max_length=50)]


def no_number(given: Any) -> Any:
    """Return what is given as a time. Raises ValueError for a number, which could be of seconds or milliseconds."""
    if isinstance(given, int | float) or (isinstance(given, str) and _NUMBER.fullmatch(given)):
        raise ValueError("is a number; write the time as 2027-01-31T12:00:00Z")
    return given


Moment = Annotated[datetime, BeforeValidator(no_number), AfterValidator(in_utc)]


class WrongParameters(ValueError):
    """Parameters that a call can't use; `fields` maps each to a sentence."""

    def __init__(self, fields: Mapping[str, str]) -> None:
        super().__init__(" ".join(f"{name}: {why}" for name, why in fields.items()))
        self.fields = dict(fields)


def check_parameters(given: QueryDict, known: Collection[str], *, repeatable: Collection[str]) -> None:
    """Raise WrongParameters unless all names are known, and only those that are `repeatable` are given several times.

    Names that begin with an underscore only keep caches away.
    """
    meant = [name for name in given if not name.startswith("_")]
    fields = unknown([name for name in meant if name not in known], known, what="parameter")
    if not fields:
        repeated = [name for name in meant if name not in repeatable and len(given.getlist(name)) > 1]
        fields = dict.fromkeys(repeated, "This parameter is given more than once.")
    if fields:
        raise WrongParameters(fields)


def unknown(names: Iterable[str], known: Collection[str], *, what: str, nearest: str = "") -> dict[str, str]:
    """Return for each of the first unknown names a sentence with the nearest known one."""
    fields = {}
    for name in islice(names, _MOST_NAMED):
        near = get_close_matches(name, known, n=1)
        fields[name[:200]] = f"There is no such {what}." + (f" Did you mean {nearest}{near[0]}?" if near else "")
    return fields
