"""The check of query parameters: an unknown one would give what nobody asked for."""

from collections.abc import Collection, Iterable, Mapping
from difflib import get_close_matches

_MOST_NAMED = 20


class UnknownParameters(ValueError):
    """Query parameters that a call doesn't have; `fields` maps each to a sentence with the nearest name."""

    def __init__(self, fields: Mapping[str, str]) -> None:
        super().__init__(" ".join(f"{name}: {why}" for name, why in fields.items()))
        self.fields = dict(fields)


def check_parameters(given: Iterable[str], known: Collection[str]) -> None:
    """Raise UnknownParameters unless all names are known. Those that begin with an underscore only keep caches away."""
    fields = {}
    for name in [name for name in given if name not in known and not name.startswith("_")][:_MOST_NAMED]:
        near = get_close_matches(name, known, n=1)
        fields[name[:200]] = "There is no such parameter." + (f" Did you mean {near[0]}?" if near else "")
    if fields:
        raise UnknownParameters(fields)
