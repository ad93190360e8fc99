"""Which entry of `models` applies to a picked model, as the public runtime matches them. Standard library only.

Letter case and white space around an id don't matter. An id with `*` is a pattern; one that ends in `/`, `:` or `-`, or
that the model continues with `/` or `:`, is a prefix. The whole id wins over any pattern, a longer pattern over a
shorter one, and of equals the first.
"""

from collections.abc import Mapping
from typing import NamedTuple

from agent.shape import display_key

_PREFIX_ENDS = ("/", ":", "-")
_CONTINUATIONS = ("/", ":")


class ModelEntry(NamedTuple):
    """An entry that applies to a model: its place in the config, its id, the model, and what it requires, or None."""

    place: str
    id: str
    model: str
    required_env: list[object] | None

    def __str__(self) -> str:
        return f'The entry "{display_key(self.id)}" ({self.place}) applies to the model {display_key(self.model)}.'


def matching_entry(model: str | None, lists: Mapping[str, list[object]]) -> ModelEntry | None:
    """Return the entry of these lists, by their place in the config, that applies to the model; None if none does."""
    best: ModelEntry | None = None
    best_rank = 0
    for place, entries in lists.items() if model else ():
        for index, entry in enumerate(entries):
            identifier = entry.get("id") if isinstance(entry, Mapping) else None
            rank = match_rank(identifier, str(model)) if isinstance(identifier, str) else 0
            if rank > best_rank and isinstance(entry, Mapping):
                required = entry.get("required_env")
                required = required if isinstance(required, list) else None
                best = ModelEntry(f"{place}[{index}]", str(identifier), str(model), required)
                best_rank = rank
    return best


def match_rank(identifier: str, model: str) -> int:
    """Return how exactly an entry's id matches a model: 0 not at all, more for more letters, most for the whole id."""
    pattern, name = identifier.strip().casefold(), model.strip().casefold()
    if not pattern or not name:
        return 0
    if pattern == name:
        return 2 * len(name) + 2
    if "*" in pattern:
        return 1 + len(pattern.replace("*", "")) if matches_wildcard(pattern, name) else 0
    is_prefix = name.startswith(pattern) and (pattern.endswith(_PREFIX_ENDS) or name[len(pattern)] in _CONTINUATIONS)
    return 1 + len(pattern) if is_prefix else 0


def matches_wildcard(pattern: str, name: str) -> bool:
    """Return whether the name is the pattern with any text for each `*`. Takes time in proportion to both lengths."""
    first, *middle, last = pattern.split("*")
    if not name.startswith(first):
        return False
    position = len(first)
    for part in middle:
        position = name.find(part, position)
        if position < 0:
            return False
        position += len(part)
    return name.endswith(last) and len(name) - len(last) >= position
