"""Which events a live client wants, by what each event says of its subject as it was then."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID

from django.http import QueryDict

from events.envelope import LoggedEvent
from events.names import EphemeralEventType, EventType

# An address is no place for more.
MAX_VALUES = 100
_MAX_RUNTIME_CHARACTERS = 63
Value = TypeVar("Value")
_NAMES = frozenset([*EventType.values, *EphemeralEventType.values])


class BadFilter(ValueError):
    """A filter's value means nothing; `field` names the query parameter."""

    def __init__(self, field: str, error: str) -> None:
        super().__init__(error)
        self.field = field


@dataclass(frozen=True, kw_only=True)
class Filter:
    """An event passes if it is among the values of every kind that is given; an empty kind lets all pass."""

    events: frozenset[str] = frozenset()
    workspaces: frozenset[UUID] = frozenset()
    runtimes: frozenset[str] = frozenset()
    # Each stands for a workspace and all below it.
    subtrees: frozenset[str] = frozenset()

    def passes(self, event: LoggedEvent) -> bool:
        """Tell whether a client with this filter gets the event. What concerns the fleet is about no workspace."""
        return (
            (not self.events or event.event_type in self.events)
            and (not self.workspaces or event.workspace_id in self.workspaces)
            and (not self.runtimes or event.subject.get("runtime") in self.runtimes)
            and (not self.subtrees or not self.subtrees.isdisjoint(_line(event)))
        )


EVERYTHING = Filter()


def parse(query: QueryDict) -> Filter:
    """Return the filter of the parameters event, workspace, runtime and subtree. Raises BadFilter.

    Each may be repeated, or hold several values with commas between them.
    """
    return Filter(
        events=frozenset(_values(query, "event", _name)),
        workspaces=frozenset(_values(query, "workspace", _workspace)),
        runtimes=frozenset(_values(query, "runtime", _runtime)),
        subtrees=frozenset(str(root) for root in _values(query, "subtree", _workspace)),
    )


def _line(event: LoggedEvent) -> list[str]:
    return [str(event.workspace_id), *event.subject.get("ancestors", ())]


def _values(query: QueryDict, field: str, read: Callable[[str], Value]) -> Iterator[Value]:
    texts = [text.strip() for given in query.getlist(field) for text in given.split(",")]
    if len(texts) > MAX_VALUES:
        raise BadFilter(field, f"{field} may have at most {MAX_VALUES} values.")
    for text in texts:
        try:
            yield read(text)
        except ValueError as error:
            raise BadFilter(field, str(error)) from None


def _name(text: str) -> str:
    if text not in _NAMES:
        raise ValueError(f"There is no event {text[:80]!r}. Known events: {', '.join(sorted(_NAMES))}.")
    return text


def _workspace(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise ValueError(f"{text[:80]!r} is no workspace's id.") from None


def _runtime(text: str) -> str:
    if not text or not text.isprintable() or len(text) > _MAX_RUNTIME_CHARACTERS:
        raise ValueError(f"A runtime's name has 1 to {_MAX_RUNTIME_CHARACTERS} printable characters.")
    return text
